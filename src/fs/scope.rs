//! What a tree shows of the keynode: all of it, or what one share covers.

use std::sync::Arc;

use log::error;

use super::FileSystem;
use crate::error::Result;
use crate::node::{Keynode, Share, ShareName, Snapshot};

/// One share, as the keynode has it at the moment.
pub(super) struct Scope(ShareName);

impl Scope {
    pub(super) const fn new(name: ShareName) -> Self {
        Self(name)
    }

    pub(super) const fn name(&self) -> &ShareName {
        &self.0
    }

    /// A share that was deleted covers nothing.
    fn share(&self, keynode: &Keynode, snapshot: &Snapshot) -> Result<Share> {
        Ok(keynode.shares(snapshot)?.0.get(&self.0).cloned().unwrap_or_default())
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
            error!("share {}: {error}; nothing of it is shown", scope.name());
            Share::default()
        });
        Arc::new(snapshot.restricted(&share))
    }
}
