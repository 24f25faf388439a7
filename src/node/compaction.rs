//! Rewriting the file: one pack of all that can be reached, and a fresh checkpoint.

use std::sync::Arc;

use super::built::Built;
use super::log::REFERENCE;
use super::snapshot::Snapshot;
use super::transaction::Transaction;
use crate::archive::Oid;
use crate::error::Result;

/// What a compaction did, in bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

impl Transaction<'_> {
    /// Compacts the keynode as it stands.
    pub(super) fn compact_now(&mut self) -> Result<Compaction> {
        self.lock.can_compact()?;
        let before = self.base.archive.len();
        let after = self.compact(&self.base.clone())?.archive.len();
        Ok(Compaction { before, after })
    }

    /// Writes a state that is on disk already into a new file.
    pub(super) fn compact(&mut self, snapshot: &Snapshot) -> Result<Arc<Snapshot>> {
        self.rewrite(&Built { objects: Vec::new(), references: Vec::new(), snapshot: snapshot.clone() })
    }

    /// Writes a new file that holds the base and what was built on it.
    pub(super) fn rewrite(&mut self, built: &Built) -> Result<Arc<Snapshot>> {
        let mut snapshot = built.snapshot.clone();
        let mut checkpoint = Vec::new();
        // A part that cannot be read cannot be copied either.
        snapshot.namespace.read_all()?;
        let stale = snapshot.checkpoint.is_none() || snapshot.namespace.needs_checkpoint();
        if snapshot.since.transactions > 0 || stale {
            snapshot.renew_checkpoint(&self.keynode.key, &mut checkpoint)?;
        }
        let references = snapshot.references()?;
        let slots = self.final_slots()?;
        snapshot.archive = self.lock.compact(&references, &slots, built.objects.iter().chain(&checkpoint))?;
        Ok(self.acknowledge(snapshot))
    }

    fn final_slots(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut slots = Vec::new();
        for name in self.slots() {
            let new = self.slots.iter().rev().find(|(other, _)| *other == name).map(|(_, bytes)| bytes.clone());
            let bytes = match new {
                Some(bytes) => Some(bytes),
                None => self.base.archive.slot(&name)?,
            };
            slots.extend(bytes.map(|bytes| (name, bytes)));
        }
        Ok(slots)
    }
}

impl Snapshot {
    /// Every reference that this state needs: secrets, the checkpoint, what waits in the inbox, the log.
    fn references(&self) -> Result<Vec<(String, Oid)>> {
        let heads =
            self.namespace.items()?.filter_map(|item| Some((item.id.reference(), item.secret()?.head?.commit.oid)));
        let mut references: Vec<(String, Oid)> = heads.collect();
        references.extend(self.checkpoint.map(|commit| (super::checkpoint::REFERENCE.to_owned(), commit.oid)));
        references.extend(self.archive.references("refs/heads/inbox/"));
        references.push((REFERENCE.to_owned(), self.log.oid));
        references.sort_unstable();
        Ok(references)
    }
}
