//! What can be said of a keynode at a glance.

use super::keynode::Keynode;
use super::slot::Slot;
use crate::archive::WriteLock;
use crate::crypto::{Fingerprint, Profile};
use crate::error::Result;
use crate::time::Timestamp;

/// See [`Keynode::info`]. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct Info {
    /// The node's own key.
    pub node: Fingerprint,
    /// Which kinds of keys and messages.
    pub profile: Profile,
    /// The version of the format.
    pub format: u32,
    /// Secrets that have a name.
    pub secrets: usize,
    /// Secrets that have none any more, but a history.
    pub deleted: usize,
    /// Directories, the top one left out.
    pub directories: usize,
    /// The whole file.
    pub file_size: u64,
    /// Its compacted part.
    pub base_size: u64,
    /// What was appended since.
    pub tail_size: u64,
    /// The last transaction.
    pub last_change: Timestamp,
    /// Its commit.
    pub last_commit: String,
    /// Transactions that opening reads beyond the checkpoint.
    pub since_checkpoint: usize,
    /// Ways to unlock.
    pub slots: Vec<Slot>,
    /// Pushes that wait to be filed.
    pub inbox: usize,
    /// Why nothing can be written.
    pub read_only: Option<String>,
    /// Why the file cannot be rewritten.
    pub not_compactable: Option<String>,
}

impl Keynode {
    /// Sizes, counts and state.
    ///
    /// # Errors
    /// A slot is damaged.
    pub fn info(&self) -> Result<Info> {
        let snapshot = self.snapshot();
        let sizes = snapshot.archive.sizes();
        let namespace = &snapshot.namespace;
        let deleted = namespace.items()?.filter(|item| item.secret().is_some() && item.links() == 0).count();
        let directories = namespace.items()?.filter(|item| item.is_directory()).count() - 1;
        let not_compactable = match self.read_only() {
            Some(why) => Some(why.to_owned()),
            None => WriteLock::acquire_from(&snapshot.archive)
                .and_then(|lock| lock.can_compact())
                .err()
                .map(|e| e.to_string()),
        };
        Ok(Info {
            node: self.key.fingerprint(),
            profile: self.key.profile(),
            format: 1,
            secrets: namespace.secrets(),
            deleted,
            directories,
            file_size: sizes.base_bytes + sizes.tail_bytes,
            base_size: sizes.base_bytes,
            tail_size: sizes.tail_bytes,
            last_change: snapshot.date(),
            last_commit: snapshot.log.oid.to_string(),
            since_checkpoint: snapshot.since.transactions,
            slots: self.slots()?,
            inbox: snapshot.archive.references("refs/heads/inbox/").len(),
            read_only: self.read_only().map(str::to_owned),
            not_compactable,
        })
    }
}
