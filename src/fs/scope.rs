//! What a tree shows of the keynode: all of it, or what one share covers.

use std::sync::Arc;

use log::error;
use parking_lot::Mutex;

use super::FileSystem;
use crate::error::Result;
use crate::node::{Keynode, Sha256, Share, ShareName, Snapshot};

/// One share, as the keynode has it at the moment.
pub(super) struct Scope {
    name: ShareName,
    /// What it was when the shares last changed.
    known: Mutex<Option<(Sha256, Arc<Share>)>>,
}

impl Scope {
    pub(super) fn new(name: ShareName) -> Self {
        Self { name, known: Mutex::default() }
    }

    pub(super) fn name(&self) -> &ShareName {
        &self.name
    }

    fn share(&self, keynode: &Keynode, snapshot: &Snapshot) -> Result<Arc<Share>> {
        let digest = snapshot.shares_digest();
        let known = self.known.lock().clone();
        if let Some((_, share)) = known.filter(|(of, _)| Some(*of) == digest) {
            return Ok(share);
        }
        // A share that was deleted covers nothing.
        let share = Arc::new(keynode.shares(snapshot)?.0.remove(&self.name).unwrap_or_default());
        *self.known.lock() = digest.map(|digest| (digest, share.clone()));
        Ok(share)
    }
}

impl FileSystem {
    /// The keynode's present state, as far as this tree shows it.
    pub(super) fn present(&self) -> Arc<Snapshot> {
        let snapshot = self.keynode.snapshot();
        self.shown(&snapshot, &snapshot)
    }

    /// A state of the keynode, as far as this tree shows it by the shares of the present one.
    pub(super) fn shown(&self, snapshot: &Arc<Snapshot>, present: &Snapshot) -> Arc<Snapshot> {
        let Some(scope) = &self.scope else { return snapshot.clone() };
        let share = scope.share(&self.keynode, present).unwrap_or_else(|error| {
            error!("share {}: {error}; nothing of it is shown", scope.name);
            Arc::default()
        });
        Arc::new(snapshot.restricted(&share))
    }
}
