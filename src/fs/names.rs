//! Making and removing names: each a transaction of its own, on disk when the call returns.

use super::FileSystem;
use super::buffer::Occasion;
use super::inode::Node;
use super::memory::{Class, MemoryItem};
use super::types::{Caller, Entry, FileKind, Ino, OpenMode};
use crate::error::{Error, Kind, Result};
use crate::node::{Content, ItemId, Name};

/// The longest symlink target that Linux resolves.
const LONGEST_TARGET: usize = 4095;

impl FileSystem {
    /// mkdir(2)
    ///
    /// # Errors
    /// `Exists`, `NotPermitted` for a reserved name, `ReadOnly`, and what a transaction brings.
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Entry> {
        let name = Name::new(name)?;
        let (directory, writer) = self.vacant(parent, &name)?;
        let attributes = {
            let state = self.state.lock();
            let inherited = state.memory.effective(directory, state.item(directory)?.attributes).mode & 0o2000;
            state.new_attributes(directory, mode | inherited, caller)?
        };
        let id = ItemId::random();
        self.transact(
            &writer,
            |transaction| transaction.create_directory_as(id, directory, &name, attributes),
            |_, (), _| (),
        )?;
        self.entry(&Node::Item(id))
    }

    /// mknod(2) for FIFOs, sockets and regular files.
    ///
    /// # Errors
    /// As for [`Self::mkdir`]; `NotPermitted` for devices, `Invalid` for directories and links.
    pub fn mknod(&self, parent: Ino, name: &[u8], kind: FileKind, mode: u32, caller: Caller) -> Result<Entry> {
        if kind == FileKind::Regular {
            let open = OpenMode { write: true, exclusive: true, truncate: false };
            let (entry, handle) = self.create(parent, name, mode, caller, open)?;
            self.release(handle)?;
            return Ok(entry);
        }
        let name = Name::new(name)?;
        let (directory, writer) = self.vacant(parent, &name)?;
        let attributes = self.state.lock().new_attributes(directory, mode, caller)?;
        let id = ItemId::random();
        self.transact(
            &writer,
            |transaction| match kind {
                FileKind::Fifo => transaction.create_fifo(id, directory, &name, attributes),
                FileKind::Socket => transaction.create_socket(id, directory, &name, attributes),
                _ => Err(Error::new(Kind::Invalid, "mknod makes no directories and no links")),
            },
            |_, (), _| (),
        )?;
        self.entry(&Node::Item(id))
    }

    /// symlink(2)
    ///
    /// # Errors
    /// As for [`Self::mkdir`]; `NameTooLong` for a target beyond 4095 bytes.
    pub fn symlink(&self, parent: Ino, name: &[u8], target: &[u8], caller: Caller) -> Result<Entry> {
        if target.is_empty() {
            return Err(Error::not_found("a symbolic link to nothing"));
        }
        if target.len() > LONGEST_TARGET {
            return Err(Error::new(Kind::NameTooLong, "the target of a symbolic link is too long"));
        }
        let name = Name::new(name)?;
        let (directory, writer) = self.vacant(parent, &name)?;
        let attributes = self.state.lock().new_attributes(directory, 0o777, caller)?;
        // Emacs' locks are links.
        let id = ItemId::random();
        if Class::of(&name) == Class::Volatile {
            let target = Some(target.into());
            let class = Class::Volatile;
            let item = MemoryItem { parent: directory, name, attributes, target, class, closed: None, continues: None };
            let mut state = self.state.lock();
            state.memory.insert(id, item);
            state.memory.name_came(directory);
            drop(state);
            return self.entry(&Node::Item(id));
        }
        self.transact(
            &writer,
            |transaction| transaction.create_symlink(id, directory, &name, target, attributes),
            |_, (), _| (),
        )?;
        self.entry(&Node::Item(id))
    }

    /// link(2). A file that waits in memory becomes a secret first.
    ///
    /// # Errors
    /// As for [`Self::mkdir`]; `NotPermitted` for directories and for scratch files that never become secrets.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Entry> {
        let name = Name::new(name)?;
        self.make_lasting(ino)?;
        let (directory, writer) = self.vacant(parent, &name)?;
        let id = {
            let state = self.state.lock();
            match state.inodes.get(ino)?.node {
                Node::Item(id) if state.memory.get(id).is_some() => {
                    return Err(Error::new(Kind::NotPermitted, "a scratch file has one name only"));
                }
                Node::Item(id) => id,
                Node::Detached(_) => return Err(Error::not_found("the file is gone")),
                Node::Place(_) | Node::Views => return Err(super::state::read_only_history()),
            }
        };
        self.transact(&writer, |transaction| transaction.link(id, directory, &name), |_, (), _| ())?;
        self.entry(&Node::Item(id))
    }

    /// unlink(2). Whoever has the file open goes on with it; nothing of that is committed any more.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`, and what a transaction brings.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let name = Name::new(name)?;
        let (directory, writer) = self.changeable(parent, &name)?;
        let (id, links) = {
            let mut state = self.state.lock();
            let id = state.existing(directory, &name)?;
            if let Some(class) = state.memory.get(id).map(|item| item.class) {
                let before = state.snapshot.clone();
                state.orphan(id, &before);
                state.memory.name_went(directory, class);
                return Ok(());
            }
            let item = state.item(id)?;
            if matches!(item.content, Content::Directory(_)) {
                return Err(Error::new(Kind::IsDirectory, "a directory"));
            }
            (id, item.links())
        };
        self.transact(
            &writer,
            |transaction| transaction.unlink(directory, &name),
            |state, (), before| {
                if links == 1 {
                    state.orphan(id, before);
                }
            },
        )
    }

    /// rmdir(2)
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotEmpty`, `ReadOnly`, and what a transaction brings.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let name = Name::new(name)?;
        let (directory, writer) = self.changeable(parent, &name)?;
        let id = {
            let state = self.state.lock();
            let id = state.existing(directory, &name)?;
            if state.memory.get(id).is_some() {
                return Err(Error::new(Kind::NotDirectory, "not a directory"));
            }
            if !state.is_empty(id) {
                return Err(Error::new(Kind::NotEmpty, "the directory is not empty"));
            }
            id
        };
        self.transact(
            &writer,
            |transaction| transaction.remove_directory(directory, &name),
            |state, (), before| state.orphan(id, before),
        )
    }

    /// A directory in which this name is free, and the right to take it.
    fn vacant(&self, parent: Ino, name: &Name) -> Result<(ItemId, super::commit::Writer<'_>)> {
        let (directory, writer) = self.changeable(parent, name)?;
        if self.state.lock().child(directory, name).is_some() {
            return Err(Error::new(Kind::Exists, "the name exists already"));
        }
        Ok((directory, writer))
    }

    /// A new or waiting file becomes a secret now.
    pub(super) fn make_lasting(&self, ino: Ino) -> Result<()> {
        let waits = {
            let state = self.state.lock();
            matches!(state.inodes.get(ino)?.node, Node::Item(id) if state.memory.get(id).is_some())
        };
        if waits { self.commit(ino, Occasion::Sync) } else { Ok(()) }
    }
}
