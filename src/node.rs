//! The model: what a keynode is.
//!
//! Joins the file ([`crate::archive`]) and the keys ([`crate::crypto`]); the only place that knows what a secret is.
//!
//! Opening takes the names from the checkpoint, and what a name stands for when it is asked for; then the changes of the
//! log since. A mount reads all of it first, so that it needs the file as it was no more.
//!
//! A *read* ([`Keynode::read_head`]) goes from the namespace's head of the secret to its commit (believed by the digest
//! that the log names), to its tree and message (believed by the commit's `Content`), and opens that with the session key
//! that the namespace keeps: no public-key operation.
//!
//! A *write* seals the value outside of any lock ([`Keynode::seal`]), takes the file's lock ([`Keynode::begin`]), edits a
//! copy of the namespace, and commits: a signed commit for the secret, one for the log, all appended and synced before
//! [`Transaction::commit`] returns.
#![doc = include_str!("node/format.md")]

mod attributes;
mod base;
mod built;
mod change;
mod checkpoint;
mod commit;
mod compaction;
mod details;
mod directory;
mod edit;
mod fsck;
mod id;
mod info;
mod items;
mod keynode;
mod keyring;
mod log;
mod memory;
mod name;
mod namespace;
mod objects;
mod parallel;
mod quote;
mod recovery;
mod remains;
mod repair;
mod restricted;
mod share;
mod share_text;
mod slot;
mod snapshot;
mod suggest;
#[cfg(test)]
mod tests;
mod transaction;
mod version;

pub use crate::archive::Oid;
pub use crate::crypto::{
    Certificate, Fingerprint, Locked, NodeKey, Profile, Sha256, UserKey, counts, gpg, sha256, strength::weakness,
};
pub use attributes::Attributes;
pub use change::{Change, SecretLine, ShareChange};
pub use compaction::Compaction;
pub use fsck::{Finding, Report, Severity, fsck};
pub use id::{CommitRef, ItemId, Session};
pub use info::Info;
pub use keynode::{InitOptions, Keynode, LARGEST_VALUE, OpenOptions, SealedValue};
pub use log::LogEntry;
pub use name::{ItemPath, Name};
pub use namespace::{Content, Head, Item, Namespace, SecretState, Walk};
pub use quote::{quote, quoted, unquote};
pub use repair::{RepairReport, repair};
pub use share::{Condition, MOST_SHARES, Rule, Share, ShareName, Shares};
pub use slot::{SealedKeynode, Slot};
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use version::Version;

/// Keynodes for the tests of the layers above, with a state directory that is not the user's.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing {
    use std::path::Path;

    use super::{Keynode, NodeKey, OpenOptions, Profile, memory::Memory};

    /// A new keynode `app.pk` in this directory.
    pub(crate) fn keynode(directory: &Path) -> Keynode {
        let key = NodeKey::generate(Profile::Gnupg).unwrap();
        Keynode::init_in(&directory.join("app.pk"), key, None, Memory::at(&directory.join("state"))).unwrap()
    }

    /// The same keynode as another process has it.
    pub(crate) fn again(keynode: &Keynode) -> Keynode {
        let key = NodeKey::from_secret(&keynode.key().to_secret().unwrap()).unwrap();
        let archive = crate::archive::Archive::open(keynode.path()).unwrap();
        let state = keynode.path().with_file_name("state");
        Keynode::open_in(&archive, key, &OpenOptions::default(), Memory::at(&state)).unwrap()
    }
}
