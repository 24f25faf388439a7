//! Creating, opening and writing files.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::FileSystem;
use super::buffer::{Buffer, Occasion, too_large};
use super::inode::Node;
use super::memory::{Class, MemoryItem};
use super::state::{State, read_only_history};
use super::types::{Caller, Entry, FileKind, HandleId, Ino, Notice, OpenMode, SetAttributes};
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, ItemId, Locked, Name};
use crate::time::Timestamp;

impl FileSystem {
    /// Creates a file and opens it for writing. It becomes a secret with its first commit.
    ///
    /// # Errors
    /// `Exists` with `exclusive`, `NotPermitted` for a reserved name, `ReadOnly`.
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        caller: Caller,
        open: OpenMode,
    ) -> Result<(Entry, HandleId)> {
        let name = Name::new(name)?;
        self.writable()?;
        // The right to change names is not needed, since this waits in memory, and would be waited for: whoever has it
        // may wait for another process.
        let mut state = self.state.lock();
        let directory = state.changeable(parent, &name)?;
        if let Some(id) = state.child(directory, &name) {
            drop(state);
            if open.exclusive {
                return Err(Error::new(Kind::Exists, "the name exists already"));
            }
            let entry = self.entry(&Node::Item(id))?;
            let handle = self.open(entry.stat.ino, open, caller)?;
            return Ok((entry, handle));
        }
        let (id, continues) = state.history_for(directory, &name);
        let attributes = state.new_attributes(directory, mode, caller)?;
        let class = Class::of(&name);
        let item = MemoryItem { parent: directory, name, attributes, target: None, class, closed: None, continues };
        state.memory.insert(id, item);
        state.memory.name_came(directory);
        let ino = state.inodes.look_up(&Node::Item(id));
        let inode = state.inodes.get_mut(ino)?;
        inode.buffer = Some(Arc::new(Buffer::created()));
        inode.opens += 1;
        inode.writers += 1;
        let handle = state.handles.open(ino, true);
        Ok((state.entry(ino, true)?, handle))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// `ReadOnly`, `IsDirectory`, `NotFound`.
    pub fn open(&self, ino: Ino, open: OpenMode, caller: Caller) -> Result<HandleId> {
        let mut state = self.state.lock();
        let stat = state.stat(ino)?;
        if stat.kind == FileKind::Directory {
            return Err(Error::new(Kind::IsDirectory, "a directory"));
        }
        let node = state.inodes.get(ino)?.node.clone();
        if open.write {
            if matches!(node, Node::Place(_)) {
                return Err(read_only_history());
            }
            self.writable()?;
        }
        let inode = state.inodes.get_mut(ino)?;
        inode.opens += 1;
        if open.write {
            inode.writers += 1;
            let buffer = inode.buffer.get_or_insert_with(|| Arc::new(Buffer::over_committed())).clone();
            buffer.opened();
            if open.truncate {
                let (mut set, now) = (SetAttributes::default(), Timestamp::now());
                if stat.size > 0 {
                    // No content is needed to empty it, so this takes no time.
                    buffer.truncate(0, self.options.max_size, true, || Ok(Arc::default()))?;
                } else {
                    set.mtime = Some(now);
                }
                if caller.uid != 0 && stat.mode & 0o6000 != 0 {
                    set.mode = Some(stat.mode & !0o6000);
                }
                if set != SetAttributes::default() {
                    state.set(ino, &set, now)?;
                }
            }
        }
        if let Node::Item(id) = node
            && let Some(item) = state.memory.get_mut(id)
        {
            item.closed = None;
        }
        Ok(state.handles.open(ino, open.write))
    }

    /// Writes bytes at an offset. The number of bytes written is always all of them.
    ///
    /// # Errors
    /// `TooLarge`, `ReadOnly`; what decrypting the present content brings.
    pub fn write(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<()> {
        let buffer = self.buffer(ino).inspect_err(|error| {
            // A page of a mapping was changed before anybody was asked.
            if error.kind() == Kind::ReadOnly {
                self.notices.send(Notice::Content(ino));
            }
        })?;
        buffer.write(offset, bytes, self.options.max_size, || self.committed(ino))
    }

    /// Makes sure that the file has this many bytes at least, as fallocate(2) promises.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn allocate(&self, ino: Ino, size: u64) -> Result<()> {
        self.writable()?;
        if size > self.options.max_size {
            return Err(too_large(self.options.max_size));
        }
        if self.getattr(ino)?.stat.size >= size {
            return self.date(ino);
        }
        self.buffer(ino)?.truncate(size, self.options.max_size, false, || self.committed(ino))
    }

    /// Makes zeros of bytes, as `FALLOC_FL_PUNCH_HOLE` does; the size stays.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn clear(&self, ino: Ino, offset: u64, length: u64) -> Result<()> {
        self.buffer(ino)?.clear(offset, length, || self.committed(ino))
    }

    /// A change that leaves the content as it is.
    pub(super) fn date(&self, ino: Ino) -> Result<()> {
        let now = Timestamp::now();
        self.state.lock().set(ino, &SetAttributes { mtime: Some(now), ..SetAttributes::default() }, now)
    }

    /// close(2) of a descriptor.
    ///
    /// # Errors
    /// What committing brings; the content stays unsaved then, for another try.
    pub fn flush(&self, ino: Ino) -> Result<()> {
        self.commit(ino, Occasion::Flush)?;
        if let Some(buffer) = &self.state.lock().inodes.get(ino)?.buffer {
            buffer.closed();
        }
        Ok(())
    }

    /// fsync(2): content and attributes are on disk afterwards.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub fn fsync(&self, ino: Ino) -> Result<()> {
        self.commit(ino, Occasion::Sync)?;
        self.save_attributes()
    }

    /// fsync(2) of a directory: its names are on disk already, attributes may be on their way.
    ///
    /// # Errors
    /// What a transaction brings.
    pub fn fsync_attributes(&self) -> Result<()> {
        self.save_attributes()
    }

    /// The last close of a handle.
    ///
    /// # Errors
    /// As for [`Self::flush`]; the handle is closed all the same.
    pub fn release(&self, handle: HandleId) -> Result<()> {
        let (handle, last) = {
            let mut state = self.state.lock();
            let Some(handle) = state.handles.close(handle) else { return Ok(()) };
            let writers = state.inodes.get_mut(handle.ino).map(|inode| {
                inode.writers = inode.writers.saturating_sub(u32::from(handle.writes));
                inode.writers
            });
            let last = handle.writes && writers.is_ok_and(|writers| writers == 0);
            (handle, last)
        };
        // Whatever is not saved yet is of those who still write: the kernel tells of a close some time afterwards.
        let saved = if last { self.commit(handle.ino, Occasion::Release) } else { Ok(()) };
        let mut state = self.state.lock();
        if let Ok(inode) = state.inodes.get_mut(handle.ino) {
            inode.opens = inode.opens.saturating_sub(1);
            if let (true, Node::Item(id)) = (handle.writes, &inode.node) {
                let id = *id;
                state.memory.written(id);
            }
        }
        state.let_go(handle.ino);
        saved
    }

    /// Sets the size of a file; durable at return where nobody has it open for writing, as far as is known.
    pub(super) fn truncate(&self, ino: Ino, size: u64) -> Result<()> {
        let buffer = self.buffer(ino)?;
        let another = buffer.opened();
        buffer.truncate(size, self.options.max_size, false, || self.committed(ino))?;
        let others = self.state.lock().inodes.get(ino)?.writers > 0;
        if !another && others {
            return Ok(());
        }
        self.commit(ino, if others { Occasion::Flush } else { Occasion::Release })
    }

    /// The buffer of an inode that is about to be changed.
    fn buffer(&self, ino: Ino) -> Result<Changing<'_>> {
        let mut state = self.state.lock();
        let inode = state.inodes.get_mut(ino)?;
        if matches!(inode.node, Node::Place(_)) {
            return Err(read_only_history());
        }
        self.writable()?;
        // A page of a mapping may be written back after the last close: that is a session of its own, which the
        // background work commits.
        inode.changing += 1;
        let buffer = inode.buffer.get_or_insert_with(|| Arc::new(Buffer::over_committed())).clone();
        Ok(Changing { fs: self, ino, buffer })
    }

    /// The content below the buffer.
    fn committed(&self, ino: Ino) -> Result<Arc<Locked>> {
        self.content(ino)
    }

    /// The id of a directory in which this name may be changed, and the right to change names.
    pub(super) fn changeable(&self, parent: Ino, name: &Name) -> Result<(ItemId, parking_lot::MutexGuard<'_, ()>)> {
        let writer = self.writer.lock();
        let directory = self.state.lock().changeable(parent, name)?;
        self.writable()?;
        Ok((directory, writer))
    }
}

/// The buffer of an inode while it is changed: until then no close, of which the kernel may tell late, takes it away.
struct Changing<'a> {
    fs: &'a FileSystem,
    ino: Ino,
    buffer: Arc<Buffer>,
}

impl Deref for Changing<'_> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        &self.buffer
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let mut state = self.fs.state.lock();
        if let Ok(inode) = state.inodes.get_mut(self.ino) {
            inode.changing -= 1;
            state.let_go(self.ino);
        }
    }
}

impl State {
    /// The id of a directory in which this name may be changed.
    pub(super) fn changeable(&self, parent: Ino, name: &Name) -> Result<ItemId> {
        let directory = self.writable_directory(parent)?;
        if directory == ItemId::ROOT && name.is_reserved() {
            return Err(Error::new(Kind::NotPermitted, format!("the name {name} is reserved for the mount")));
        }
        Ok(directory)
    }

    /// The id that a new file of this name gets: it goes on with the history of a secret that had the name and has no
    /// other. Where that secret was only moved aside to a scratch name, as editors do, it is the second one returned.
    fn history_for(&mut self, directory: ItemId, name: &Name) -> (ItemId, Option<ItemId>) {
        if let Some(aside) = self.memory.take_aside(directory, name)
            && self.moved_aside(aside, directory).is_some()
        {
            return (ItemId::random(), Some(aside));
        }
        (self.former(directory, name).unwrap_or_else(ItemId::random), None)
    }

    /// The secret that had this name last and has none now.
    pub(super) fn former(&self, directory: ItemId, name: &Name) -> Option<ItemId> {
        let path = self.path(directory, name)?;
        let last = *self.snapshot.namespace().former(&path).last()?;
        // A file that waits in memory may have taken it already.
        (self.memory.get(last).is_none() && self.inodes.find(last).is_none()).then_some(last)
    }

    /// The scratch name that is all that is left to a secret, if it stands in this directory.
    pub(super) fn moved_aside(&self, id: ItemId, directory: ItemId) -> Option<Name> {
        let item = self.item(id).ok()?;
        let mut names = item.names();
        let (parent, name) = names.next()?;
        (names.next().is_none() && parent == directory && Class::of(name) != Class::Lasting).then(|| name.clone())
    }

    /// Attributes of something new: its group comes from the directory where that is set-group-id.
    pub(super) fn new_attributes(&self, directory: ItemId, mode: u32, caller: Caller) -> Result<Attributes> {
        let parent = self.memory.effective(directory, self.item(directory)?.attributes);
        let gid = if parent.mode & 0o2000 != 0 { parent.gid } else { caller.gid };
        Ok(Attributes { uid: caller.uid, gid, ..Attributes::new(mode & 0o7777) })
    }

    /// Frees what a closed file needs no longer.
    pub(super) fn let_go(&mut self, ino: Ino) {
        let Ok(inode) = self.inodes.get_mut(ino) else { return };
        if inode.writers == 0 && inode.changing == 0 {
            let dispensable = match (&inode.node, &inode.buffer) {
                (Node::Item(id), Some(buffer)) => self.memory.get(*id).is_none() && buffer.is_clean(),
                (Node::Detached(detached), Some(buffer)) => {
                    buffer.is_clean() || (detached.commits_to.is_none() && inode.opens == 0)
                }
                _ => false,
            };
            if dispensable {
                inode.buffer = None;
            }
        }
        if inode.opens == 0
            && let Node::Item(id) = inode.node
            && let Some(item) = self.memory.get_mut(id)
        {
            item.closed = Some(Instant::now());
        }
        self.inodes.drop_if_unused(ino);
    }
}
