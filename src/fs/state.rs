//! What the file system knows at one moment: the snapshot, and over it inodes, handles and what waits in memory.

use std::sync::Arc;

use super::Options;
use super::handle::Handles;
use super::history::Place;
use super::inode::{Detached, Inode, Inodes, Node};
use super::listings::Listings;
use super::memory::{Memory, MemoryItem};
use super::turn::Turn;
use super::types::{DirEntry, Entry, FileKind, Ino, Stat};
use super::views::Views;
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, Content, Item, ItemId, Name, Namespace, SecretState, Snapshot};

/// Guarded by one lock, which is held for look-ups in maps alone, never across cryptography or I/O.
pub(super) struct State {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) inodes: Inodes,
    pub(super) handles: Handles,
    pub(super) listings: Listings,
    pub(super) memory: Memory,
    pub(super) turn: Turn,
    /// Which shares cover what, on a mount with rules.
    pub(super) views: Option<Arc<Views>>,
    /// What one share covers is shown, and no more.
    partial: bool,
    options: Options,
}

/// A directory, of either kind.
pub(super) enum Directory {
    Item(ItemId),
    Place(Arc<Place>),
    Views,
}

impl State {
    pub(super) fn new(snapshot: Arc<Snapshot>, options: Options, tree: usize, partial: bool) -> Self {
        Self {
            snapshot,
            inodes: Inodes::of(tree),
            handles: Handles::default(),
            listings: Listings::default(),
            memory: Memory::default(),
            turn: Turn::default(),
            views: None,
            partial,
            options,
        }
    }

    /// Whether no more is shown than what one share covers.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// The directory behind a number.
    pub(super) fn directory(&self, ino: Ino) -> Result<Directory> {
        if ino == self.inodes.root() {
            return Ok(Directory::Item(ItemId::ROOT));
        }
        match &self.inodes.get(ino)?.node {
            Node::Item(id) => match self.item(*id)?.content {
                Content::Directory(_) => Ok(Directory::Item(*id)),
                _ => Err(Error::new(Kind::NotDirectory, "not a directory")),
            },
            Node::Place(place) => Ok(Directory::Place(place.clone())),
            Node::Views => Ok(Directory::Views),
            Node::Detached(_) => Err(Error::not_found("the directory is gone")),
        }
    }

    /// A directory whose names may be changed.
    pub(super) fn writable_directory(&self, ino: Ino) -> Result<ItemId> {
        match self.directory(ino)? {
            Directory::Item(id) => Ok(id),
            Directory::Place(_) => Err(read_only_history()),
            Directory::Views => Err(Error::new(Kind::ReadOnly, "shares are changed by `pkfs share`")),
        }
    }

    /// An item of the namespace that has a name.
    pub(super) fn item(&self, id: ItemId) -> Result<&Item> {
        living(self.snapshot.namespace(), id).ok_or_else(|| Error::not_found("the file is gone"))
    }

    /// A secret's state in the namespace.
    pub(super) fn secret(&self, id: ItemId) -> Result<&SecretState> {
        match &self.item(id)?.content {
            Content::Secret(secret) => Ok(secret),
            _ => Err(Error::new(Kind::Invalid, "not a secret")),
        }
    }

    /// What a name leads to; what waits in memory hides what is below.
    pub(super) fn child(&self, directory: ItemId, name: &Name) -> Option<ItemId> {
        self.memory
            .child(directory, name)
            .or_else(|| self.snapshot.namespace().child(directory, name.as_bytes()).map(|item| item.id))
    }

    /// What a name leads to.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn existing(&self, directory: ItemId, name: &Name) -> Result<ItemId> {
        self.child(directory, name).ok_or_else(|| Error::not_found("no such file or directory"))
    }

    /// Whether a directory has neither names in the namespace nor in memory.
    pub(super) fn is_empty(&self, directory: ItemId) -> bool {
        let below = match self.item(directory).map(|item| &item.content) {
            Ok(Content::Directory(children)) => children.is_empty(),
            _ => true,
        };
        below && self.memory.children(directory).next().is_none()
    }

    /// The names of a directory in order.
    pub(super) fn list(&self, directory: ItemId) -> Result<Vec<DirEntry>> {
        let Content::Directory(below) = &self.item(directory)?.content else {
            return Err(Error::new(Kind::NotDirectory, "not a directory"));
        };
        let hidden = |name: &Name| directory == ItemId::ROOT && name.is_reserved();
        let mut entries = Vec::with_capacity(below.len());
        for (name, id) in below {
            if !hidden(name) && self.memory.child(directory, name).is_none() {
                let kind = kind_of(&self.item(*id)?.content);
                entries.push(DirEntry { ino: self.inodes.number_of(*id), kind, name: name.clone() });
            }
        }
        for (name, id) in self.memory.children(directory) {
            let kind = self.memory.get(id).map_or(FileKind::Regular, MemoryItem::kind);
            entries.push(DirEntry { ino: self.inodes.number_of(id), kind, name: name.clone() });
        }
        Ok(entries)
    }

    /// The path of a directory's child, for messages and the history.
    pub(super) fn path(&self, directory: ItemId, name: &Name) -> Option<crate::node::ItemPath> {
        Some(self.snapshot.namespace().path_of(directory)?.join(name.clone()))
    }

    /// stat(2) by inode number.
    pub(super) fn stat(&self, ino: Ino) -> Result<Stat> {
        if ino == self.inodes.root() {
            return self.stat_item(ItemId::ROOT);
        }
        let inode = self.inodes.get(ino)?;
        match &inode.node {
            Node::Item(id) => self.stat_item(*id),
            Node::Detached(detached) => Ok(self.stat_detached(ino, inode, detached)),
            Node::Place(place) => Ok(self.options.shown_past(place.stat(ino))),
            Node::Views => directory_stat(self, ino),
        }
    }

    /// stat(2) of an inode, and how long the kernel may keep it and its name.
    pub(super) fn entry(&self, ino: Ino, keep: bool) -> Result<Entry> {
        let gate = match self.inodes.get(ino).map(|inode| &inode.node) {
            Ok(Node::Item(id)) => self.is_gate(*id),
            Ok(Node::Detached(_) | Node::Views) => self.views.is_some(),
            _ => false,
        };
        Ok(Entry { stat: self.stat(ino)?, keep, gate })
    }

    /// stat(2) of an item.
    pub(super) fn stat_item(&self, id: ItemId) -> Result<Stat> {
        let ino = self.inodes.number_of(id);
        let buffer = self.inodes.find(id).and_then(|(_, inode)| inode.buffer.as_ref());
        let (attributes, kind, links, size) = if let Some(item) = self.memory.get(id) {
            (item.attributes, item.kind(), 1, item.target.as_ref().map_or(0, |target| target.len() as u64))
        } else {
            let item = self.item(id)?;
            let size = size_of(&item.content);
            let kind = kind_of(&item.content);
            let links = if kind == FileKind::Directory { 2 + item.subdirectories() } else { self.links(ino, item) };
            (self.memory.effective(id, item.attributes), kind, links, size)
        };
        let size = buffer.and_then(|b| b.size()).unwrap_or(size);
        let mut stat = self.options.shown(ino, kind, attributes, links, size);
        stat.mode = self.shared_mode(id, stat.mode);
        if let Some(modified) = buffer.and_then(|b| b.modified()) {
            stat.mtime = modified;
            stat.ctime = stat.ctime.max(modified);
        }
        Ok(stat)
    }

    /// The names of what is no directory, as far as they are shown; or as those who watch believe.
    fn links(&self, ino: Ino, item: &Item) -> u32 {
        if !self.partial {
            return item.links();
        }
        let namespace = self.snapshot.namespace();
        let shown = item.names().filter(|(parent, name)| namespace.reaches(*parent, name, item.id)).count();
        if shown == 0 { self.turn.links(ino) } else { u32::try_from(shown).unwrap_or(u32::MAX) }
    }

    fn stat_detached(&self, ino: Ino, inode: &Inode, detached: &Detached) -> Stat {
        let committed = detached.size();
        let size = inode.buffer.as_ref().and_then(|b| b.size()).unwrap_or(committed);
        let links = self.turn.links(ino);
        let mut stat = self.options.shown(ino, detached.kind, detached.attributes, links, size);
        if let Some(modified) = inode.buffer.as_ref().and_then(|b| b.modified()) {
            stat.mtime = modified;
        }
        stat
    }
}

impl Detached {
    /// Its size in bytes, changes that are not committed aside.
    fn size(&self) -> u64 {
        let item = self.snapshot.as_ref().and_then(|snapshot| snapshot.namespace().item(self.id));
        item.map_or(0, |item| size_of(&item.content))
    }
}

impl Options {
    /// What stat(2) shows of attributes.
    pub(super) fn shown(&self, ino: Ino, kind: FileKind, attributes: Attributes, links: u32, size: u64) -> Stat {
        Stat {
            ino,
            kind,
            mode: if self.open_modes { opened(attributes.mode, kind) } else { attributes.mode }
                & 0o7777
                & !self.umask.unwrap_or(0),
            uid: self.uid.unwrap_or(attributes.uid),
            gid: self.gid.unwrap_or(attributes.gid),
            links,
            size,
            atime: attributes.atime,
            mtime: attributes.mtime,
            ctime: attributes.ctime,
        }
    }

    /// The same of something in the history.
    fn shown_past(&self, stat: Stat) -> Stat {
        if self.open_modes { Stat { mode: opened(stat.mode, stat.kind), ..stat } } else { stat }
    }
}

/// What may be read or run by its owner may be by all, and changed by nobody. The owner's right to change a directory,
/// where nothing can be changed, is that of the mount's own process to tell those who watch.
const fn opened(mode: u32, kind: FileKind) -> u32 {
    let owner = mode >> 6 & 0o5;
    let own = if matches!(kind, FileKind::Directory) { mode & 0o200 } else { 0 };
    mode & 0o7000 | own | owner << 6 | owner << 3 | owner
}

/// stat(2) of `.views`: for whoever owns the whole.
pub(super) fn directory_stat(state: &State, ino: Ino) -> Result<Stat> {
    let root = state.stat_item(ItemId::ROOT)?;
    Ok(Stat { ino, mode: 0o500, links: 2, size: 0, ..root })
}

/// An item that has a name: deleted secrets have none.
pub(super) fn living(namespace: &Namespace, id: ItemId) -> Option<&Item> {
    namespace.item(id).filter(|item| id == ItemId::ROOT || item.links() > 0)
}

/// The file type of a content.
pub(super) const fn kind_of(content: &Content) -> FileKind {
    match content {
        Content::Directory(_) => FileKind::Directory,
        Content::Secret(_) => FileKind::Regular,
        Content::Symlink(_) => FileKind::Symlink,
        Content::Fifo => FileKind::Fifo,
        Content::Socket => FileKind::Socket,
    }
}

/// The size in bytes that stat(2) shows.
fn size_of(content: &Content) -> u64 {
    match content {
        Content::Secret(secret) => secret.size(),
        Content::Symlink(target) => target.len() as u64,
        Content::Directory(_) | Content::Fifo | Content::Socket => 0,
    }
}

/// The error for changes in `.versions`.
pub(super) fn read_only_history() -> Error {
    Error::new(Kind::ReadOnly, "the history cannot be changed")
        .hint("copy a version over the present file to restore it")
}
