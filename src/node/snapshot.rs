//! The state of a keynode after one transaction.

use std::sync::Arc;

use super::commit::content_digest;
use super::id::CommitRef;
use super::namespace::Namespace;
use super::objects::CHANGE_FILE;
use crate::archive::{Archive, NewObject, ObjectKind, Oid, TreeEntry, tree};
use crate::crypto::{Epoch, NodeKey, Padding, Sha256, seal, sha256};
use crate::error::Result;
use crate::time::Timestamp;

/// What every control commit carries on from its parent: the certificate, shares and grants.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// Entries of the tree beside `change.pgp`.
    pub entries: Vec<TreeEntry>,
    /// Their files with digests, in the order of the paths.
    pub digests: Vec<(String, Sha256)>,
}

/// The file that holds the shares, and what its message is bound to.
pub(super) const SHARES_FILE: &str = "shares.pgp";
pub(super) const SHARES: &str = "shares";

impl Carried {
    /// That of a new keynode: its certificate, no shares.
    pub fn new(key: &NodeKey, objects: &mut Vec<NewObject>) -> Result<Self> {
        let mut carried = Self::default();
        let shares = seal(key, SHARES, b"", Padding::Change)?.message;
        for (name, data) in [("cert.asc", key.certificate().to_armored()?), (SHARES_FILE, shares)] {
            carried.digests.push((name.to_owned(), sha256(&data)));
            let blob = NewObject::new(ObjectKind::Blob, data);
            carried.entries.push(TreeEntry { name: name.into(), oid: blob.oid, directory: false });
            objects.push(blob);
        }
        Ok(carried)
    }

    /// The same with other shares.
    pub fn with_shares(&self, message: Vec<u8>, objects: &mut Vec<NewObject>) -> Self {
        let mut carried = self.clone();
        carried.entries.retain(|entry| entry.name != SHARES_FILE.as_bytes());
        carried.digests.retain(|(path, _)| path != SHARES_FILE);
        carried.digests.push((SHARES_FILE.to_owned(), sha256(&message)));
        carried.digests.sort_unstable();
        let blob = NewObject::new(ObjectKind::Blob, message);
        carried.entries.push(TreeEntry { name: SHARES_FILE.into(), oid: blob.oid, directory: false });
        objects.push(blob);
        carried
    }

    /// The tree of the next control commit, and what its `Content` trailer must say.
    pub fn with_change(&self, message: Vec<u8>, objects: &mut Vec<NewObject>) -> (Oid, Sha256) {
        let mut digests = self.digests.clone();
        digests.push((CHANGE_FILE.to_owned(), sha256(&message)));
        digests.sort_unstable();
        let change = NewObject::new(ObjectKind::Blob, message);
        let mut entries = self.entries.clone();
        entries.push(TreeEntry { name: CHANGE_FILE.into(), oid: change.oid, directory: false });
        let control = NewObject::new(ObjectKind::Tree, tree(&entries));
        let oid = control.oid;
        objects.extend([change, control]);
        (oid, content_digest(&digests))
    }
}

/// A state that does not change any more; readers keep the one that they began with.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) archive: Archive,
    pub(super) namespace: Namespace,
    pub(super) log: CommitRef,
    pub(super) date: i64,
    pub(super) carried: Arc<Carried>,
    /// The key of the changes that follow the checkpoint.
    pub(super) epoch: Arc<Epoch>,
    /// `None` where it is missing or damaged: the next transaction makes one.
    pub(super) checkpoint: Option<CommitRef>,
    /// Transactions since the checkpoint, and the lines that they changed.
    pub(super) since: Since,
}

/// How much the log has grown since the checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    pub transactions: usize,
    pub lines: usize,
}

impl Since {
    /// Whether opening has become slow enough that a new checkpoint pays.
    pub fn is_due(self, items: usize) -> bool {
        let limit = (items / 10).clamp(64, 2_000);
        self.transactions >= limit || self.lines >= 4 * limit
    }
}

impl Snapshot {
    /// The tree.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The transaction that made it.
    pub fn commit(&self) -> CommitRef {
        self.log
    }

    /// When that was.
    pub fn date(&self) -> Timestamp {
        Timestamp::from_seconds(self.date)
    }

    /// Names the present shares: another value, other shares.
    pub fn shares_digest(&self) -> Option<Sha256> {
        self.carried.digests.iter().find(|(path, _)| path == SHARES_FILE).map(|(_, digest)| *digest)
    }

    /// How many transactions opening has to read beyond the checkpoint.
    pub fn transactions_since_checkpoint(&self) -> usize {
        self.since.transactions
    }
}
