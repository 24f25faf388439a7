//! The mounted tree without FUSE: inodes, handles, history, caches.
//!
//! [`FileSystem`] answers requests in its own words ([`Ino`], [`HandleId`], [`Stat`], [`crate::error::Error`]);
//! [`crate::fuse`] translates. A request looks things up under one short lock and does cryptography and I/O without it.
//!
//! | module | holds |
//! |---|---|
//! | `types` | the words of the interface |
//! | `state` | what is known at one moment, stat(2) |
//! | `inode`, `handle` | the numbers that the kernel holds, and what they stand for |
//! | `tree`, `listings` | looking and reading; listings, and the positions in them |
//! | `content` | the cache of decrypted contents |
//! | `write`, `buffer` | files being written |
//! | `commit` | bringing them into the keynode |
//! | `names`, `rename` | making, removing, moving names |
//! | `attributes` | chmod, chown, times, truncation |
//! | `memory` | new files, scratch files, attributes on their way |
//! | `background` | what happens without a request |
//! | `changes`, `differences` | changes from outside, notices for the kernel |
//! | `turn`, `events`, `bell` | names on their way from old to new, what inotify must tell, and when |
//! | `history` | `.versions` |
//! | `scope`, `trees` | one share alone, and `.views` |
//! | `views`, `callers` | which shares cover what; who a caller is |
//! | `programs`, `digests` | which file a program is, and its digest |
//! | `admission`, `asker`, `sight` | who may see what; what is given to whom; what shares have to do with it |
//! | `audit`, `alert` | the record of decisions; commands that are run at them |
//! | `xattr` | extended attributes |
//! | `statfs`, `errno` | space; the one mapping of errors |
//!
//! # How a read travels
//!
//! `read` finds under the lock where the inode's content comes from: a buffer that is being written, the head of a
//! secret in the present snapshot, the head in the snapshot of the time when the inode lost its name, or a version. The
//! cache has it, or the keynode decrypts it, once for all who wait.
//!
//! # How a write travels
//!
//! `write` changes the inode's buffer, which takes the committed content at its first change. `flush`, `fsync` and
//! `release` seal it, take the right to change the namespace, begin a transaction (which sees what others did
//! meanwhile), write, commit, and adopt the new snapshot.
#![doc = include_str!("fs/semantics.md")]

mod admission;
mod alert;
mod asker;
mod attributes;
mod audit;
mod background;
mod bell;
mod buffer;
mod callers;
mod changes;
mod commit;
mod content;
mod differences;
mod digests;
mod errno;
mod events;
mod handle;
mod history;
mod inode;
mod listings;
mod memory;
mod names;
mod programs;
mod rename;
mod scope;
mod sight;
mod state;
mod statfs;
mod tree;
mod trees;
mod turn;
mod types;
mod views;
mod write;
mod xattr;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;

pub use self::admission::Want;
pub use self::audit::Audit;
pub use self::errno::{errno, level};
pub use self::listings::Listed;
pub use self::statfs::Space;
pub use self::types::{
    Act, Caller, DirEntry, Entry, Event, FileKind, HandleId, Ino, Notice, OpenMode, RenameMode, SetAttributes, Slice,
    Stat,
};

use self::admission::Rules;
use self::alert::Alerts;
use self::callers::Callers;
use self::changes::Notices;
use self::content::Contents;
use self::scope::Scope;
use self::state::State;
use self::trees::Trees;
use crate::error::{Error, Kind, Result};
use crate::node::{Keynode, ShareName};

/// How a keynode is shown.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Budget in bytes for decrypted contents.
    pub cache_bytes: usize,
    /// The largest secret in bytes.
    pub max_size: u64,
    /// Shown as the owner of everything.
    pub uid: Option<u32>,
    /// Shown as the group of everything.
    pub gid: Option<u32>,
    /// Permission bits to hide.
    pub umask: Option<u32>,
    /// What its owner may read anybody may who gets there, and nobody may change it: shares decide who gets there.
    pub open_modes: bool,
}

impl Default for Options {
    fn default() -> Self {
        const MIB_64: usize = 64 << 20;
        Self {
            read_only: false,
            cache_bytes: MIB_64,
            max_size: MIB_64 as u64,
            uid: None,
            gid: None,
            umask: None,
            open_modes: false,
        }
    }
}

/// A keynode as a tree of files.
///
/// Locks are taken in this order: the commit order of a buffer, the right to change the namespace (`writer`), the right to
/// show another snapshot (`showing`), `state`. Whoever has `writer` may be waiting for another process; `showing` waits for
/// the disk alone.
pub struct FileSystem {
    keynode: Arc<Keynode>,
    options: Options,
    contents: Arc<Contents>,
    writer: Mutex<()>,
    showing: Mutex<()>,
    state: Mutex<State>,
    notices: Notices,
    /// One share alone is shown.
    scope: Option<Scope>,
    trees: Trees,
    /// Who may see what.
    rules: Option<Rules>,
    callers: Arc<Callers>,
    audit: Option<Arc<Audit>>,
    alerts: Option<Arc<Alerts>>,
}

impl FileSystem {
    /// The tree of an unlocked keynode. Nothing is decrypted yet.
    pub fn new(keynode: Arc<Keynode>, options: Options) -> Self {
        let contents = Arc::new(Contents::new(options.cache_bytes));
        Self::of(keynode, options, contents, None, 0)
    }

    /// The tree of one share of an unlocked keynode, read-only.
    ///
    /// # Errors
    /// `NotFound`: there is no such share. `Damaged`: the shares cannot be read.
    pub fn of_share(keynode: Arc<Keynode>, options: Options, share: ShareName) -> Result<Self> {
        keynode.shares(&keynode.snapshot())?.get(&share)?;
        let contents = Arc::new(Contents::new(options.cache_bytes));
        Ok(Self::of(keynode, Options { read_only: true, ..options }, contents, Some(share), 0))
    }

    /// The tree of a share beside the whole.
    fn new_tree(whole: &Self, options: Options, share: ShareName, tree: usize) -> Self {
        let mut new = Self::of(whole.keynode.clone(), options, whole.contents.clone(), Some(share), tree);
        new.notices = Notices::beside(&whole.notices);
        new.audit.clone_from(&whole.audit);
        new.alerts.clone_from(&whole.alerts);
        new.callers = whole.callers.clone();
        new
    }

    fn of(
        keynode: Arc<Keynode>,
        options: Options,
        contents: Arc<Contents>,
        share: Option<ShareName>,
        tree: usize,
    ) -> Self {
        let snapshot = keynode.snapshot();
        let mut new = Self {
            contents,
            writer: Mutex::new(()),
            showing: Mutex::new(()),
            state: Mutex::new(State::new(snapshot, options, tree, share.is_some())),
            notices: Notices::default(),
            scope: share.map(Scope::new),
            trees: Trees::default(),
            rules: None,
            callers: Arc::default(),
            audit: None,
            alerts: None,
            keynode,
            options,
        };
        let present = new.present();
        new.state.get_mut().snapshot = present;
        new
    }

    /// Whether the tree can be changed.
    pub fn is_writable(&self) -> bool {
        self.writable().is_ok()
    }

    fn writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::new(Kind::ReadOnly, "mounted read-only"));
        }
        match self.keynode.read_only() {
            Some(why) => Err(Error::new(Kind::ReadOnly, format!("the keynode is read-only: {why}"))),
            None => Ok(()),
        }
    }
}
