//! chmod, chown, times and truncation by path.

use std::sync::Arc;

use super::FileSystem;
use super::inode::{Detached, Node};
use super::memory::AttributeChange;
use super::state::{State, read_only_history};
use super::types::{Entry, FileKind, Ino, SetAttributes};
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, ItemId};
use crate::time::Timestamp;

impl FileSystem {
    /// Sets attributes; they reach the disk with the next transaction or fsync, within a second at most. A new size is
    /// a session of its own unless the file is open for writing.
    ///
    /// # Errors
    /// `ReadOnly`, `IsDirectory` for the size of a directory, and what [`Self::write`] has.
    pub fn setattr(&self, ino: Ino, set: &SetAttributes) -> Result<Entry> {
        self.writable()?;
        if let Some(size) = set.size {
            let stat = self.getattr(ino)?.stat;
            match stat.kind {
                FileKind::Regular => {}
                FileKind::Directory => return Err(Error::new(Kind::IsDirectory, "a directory")),
                _ => return Err(Error::new(Kind::Invalid, "only files have a size")),
            }
            if stat.size == size {
                self.date(ino)?;
            } else {
                self.truncate(ino, size)?;
            }
        }
        let mut state = self.state.lock();
        if (SetAttributes { size: None, ..*set }) != SetAttributes::default() {
            state.set(ino, set, Timestamp::now())?;
            if ino == state.inodes.root() {
                state.attributes_changed(ino, &self.notices);
            }
        }
        state.entry(ino, true)
    }
}

impl State {
    /// Notes an attribute change where it belongs: in memory, or on its way to the keynode.
    pub(super) fn set(&mut self, ino: Ino, set: &SetAttributes, now: Timestamp) -> Result<()> {
        let node =
            if ino == self.inodes.root() { Node::Item(ItemId::ROOT) } else { self.inodes.get(ino)?.node.clone() };
        match node {
            Node::Item(id) => {
                if let Some(item) = self.memory.get_mut(id) {
                    item.attributes = changed(item.attributes, set, now);
                } else {
                    self.memory.change(id, *set, now);
                }
            }
            Node::Detached(old) => {
                let attributes = changed(old.attributes, set, now);
                let (snapshot, id) = (old.snapshot.clone(), old.id);
                let new = Detached { snapshot, id, attributes, kind: old.kind, commits_to: old.commits_to };
                self.inodes.get_mut(ino)?.node = Node::Detached(Arc::new(new));
            }
            Node::Place(_) | Node::Views => return Err(read_only_history()),
        }
        if let (Some(mtime), Ok(inode)) = (set.mtime, self.inodes.get(ino))
            && let Some(buffer) = &inode.buffer
        {
            buffer.set_modified(mtime);
        }
        Ok(())
    }
}

fn changed(attributes: Attributes, set: &SetAttributes, now: Timestamp) -> Attributes {
    AttributeChange::new(*set, now).applied(attributes)
}
