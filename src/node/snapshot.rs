//! The state of a keynode after one transaction.

use std::sync::Arc;

use super::id::CommitRef;
use super::namespace::Namespace;
use crate::archive::{Archive, TreeEntry};
use crate::crypto::{Epoch, Sha256};
use crate::time::Timestamp;

/// What every control commit carries on from its parent: the certificate, shares and grants.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// Entries of the tree beside `change.pgp`.
    pub entries: Vec<TreeEntry>,
    /// Their files with digests, in the order of the paths.
    pub digests: Vec<(String, Sha256)>,
}

/// A state that does not change any more; readers keep the one that they began with.
#[derive(Debug)]
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

    /// How many transactions opening has to read beyond the checkpoint.
    pub fn transactions_since_checkpoint(&self) -> usize {
        self.since.transactions
    }
}
