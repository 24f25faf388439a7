//! Looking: names, attributes, listings, links, contents.

use std::sync::Arc;

use super::FileSystem;
use super::admission::hidden;
use super::history::Place;
use super::inode::Node;
use super::listings::positioned;
use super::state::{Directory, State};
use super::types::{DirEntry, Entry, HandleId, Ino, Listing, Slice};
use crate::error::{Error, Kind, Result};
use crate::node::{Content, ItemId, Locked, Name, Snapshot};

/// Where a content comes from, found under the lock and read without it.
pub(super) enum Source {
    /// It is at hand.
    Here(Arc<Locked>),
    /// The head of a secret in a snapshot.
    Head(Arc<Snapshot>, ItemId),
    /// A file of the history.
    Place(Arc<Place>),
}

impl FileSystem {
    /// Looks up a name and counts a reference for the kernel.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`; for the history what reading it brings.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Entry> {
        self.lookup_if(parent, name, &|_, _| true)
    }

    /// As [`Self::lookup`], if `may` says so of the inode before the reference is counted.
    pub(super) fn lookup_if(&self, parent: Ino, name: &[u8], may: &dyn Fn(&State, Ino) -> bool) -> Result<Entry> {
        let name = Name::new(name)?;
        let place = {
            let mut state = self.state.lock();
            match state.directory(parent)? {
                Directory::Item(ItemId::ROOT) if name.is_reserved() => {
                    if name.as_bytes() == b".views" {
                        drop(state);
                        return self.views_entry(may);
                    }
                    let root = Node::Place(Arc::new(Place::root(&state.snapshot)));
                    let ino = state.reach(&root, may)?;
                    return Ok(Entry { stat: state.stat(ino)?, keep: false, gate: false });
                }
                Directory::Item(directory) => {
                    let id = state.existing(directory, &name)?;
                    let keep = state.is_lasting(directory, &name, id);
                    state.stat_item(id)?;
                    let ino = state.reach(&Node::Item(id), may)?;
                    return state.entry(ino, keep);
                }
                Directory::Place(place) => place,
                Directory::Views => {
                    if !may(&state, parent) {
                        return Err(hidden());
                    }
                    drop(state);
                    return self.view(&name);
                }
            }
        };
        let found = Node::Place(Arc::new(self.history_child(&place, &name)?));
        let mut state = self.state.lock();
        let ino = state.reach(&found, may)?;
        // Who may read it may have changed since it was looked up before.
        state.inodes.get_mut(ino)?.node = found;
        Ok(Entry { stat: state.stat(ino)?, keep: false, gate: false })
    }

    /// The kernel drops references.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.state.lock().inodes.forget(ino, count);
    }

    /// stat(2), and whether the kernel may keep it.
    ///
    /// # Errors
    /// `NotFound` for a number that stands for nothing.
    pub fn getattr(&self, ino: Ino) -> Result<Entry> {
        let state = self.state.lock();
        let keep = ino == state.inodes.root() || !matches!(state.inodes.get(ino)?.node, Node::Place(_));
        state.entry(ino, keep)
    }

    /// A symlink's target.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn readlink(&self, ino: Ino) -> Result<Arc<[u8]>> {
        let not_a_link = || Error::new(Kind::Invalid, "not a symbolic link");
        let state = self.state.lock();
        let (snapshot, id) = match &state.inodes.get(ino)?.node {
            Node::Item(id) => {
                if let Some(item) = state.memory.get(*id) {
                    return item.target.clone().ok_or_else(not_a_link);
                }
                (&state.snapshot, *id)
            }
            Node::Detached(detached) => (detached.snapshot.as_ref().ok_or_else(not_a_link)?, detached.id),
            Node::Place(place) => return place.link().ok_or_else(not_a_link),
            Node::Views => return Err(not_a_link()),
        };
        match snapshot.namespace().item(id).map(|item| &item.content) {
            Some(Content::Symlink(target)) => Ok(target.clone()),
            _ => Err(not_a_link()),
        }
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// `NotDirectory`, `NotFound`.
    pub fn opendir(&self, ino: Ino) -> Result<HandleId> {
        let mut state = self.state.lock();
        let stat = state.stat(ino)?;
        if stat.kind != super::FileKind::Directory {
            return Err(Error::new(Kind::NotDirectory, "not a directory"));
        }
        Ok(state.handles.open(ino, false))
    }

    /// The listing of an open directory, without `.` and `..`; `rewind`: as it is now.
    ///
    /// # Errors
    /// `Invalid` for a wrong handle; for the history what reading it brings.
    pub fn readdir(&self, handle: HandleId, rewind: bool) -> Result<Listing> {
        let open = self.state.lock().handles.get(handle)?.clone();
        if let (Some(listing), false) = (open.listing, rewind) {
            return Ok(listing);
        }
        let listed = self.listing_now(open.ino)?;
        let mut state = self.state.lock();
        let listing = positioned(state.listed_for(open.ino, open.given.as_ref(), listed));
        state.handles.get(handle)?.listing = Some(listing.clone());
        Ok(listing)
    }

    /// What a directory lists now, for whoever may see all of it.
    pub(super) fn listing_now(&self, ino: Ino) -> Result<Vec<DirEntry>> {
        let state = self.state.lock();
        match state.directory(ino) {
            Ok(Directory::Item(id)) => state.list(id),
            Ok(Directory::Place(place)) => {
                drop(state);
                self.history_list(&place)
            }
            Ok(Directory::Views) => {
                drop(state);
                self.list_views()
            }
            // A removed directory that is still somebody's working directory is empty.
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Counts a reference for an entry of a listing, as a look-up of it would, but never decrypts; `None` if the name
    /// has changed since.
    pub fn lookup_listed(&self, parent: Ino, entry: &DirEntry) -> Option<Entry> {
        let mut state = self.state.lock();
        let directory = match state.directory(parent).ok()? {
            Directory::Item(id) => id,
            Directory::Place(place) => {
                let listed = place.listed(&entry.name, entry.kind);
                let ino = state.inodes.look_up(&Node::Place(Arc::new(listed)));
                return Some(Entry { stat: state.stat(ino).ok()?, keep: false, gate: false });
            }
            Directory::Views => {
                drop(state);
                return self.view(&entry.name).ok();
            }
        };
        let id = state.child(directory, &entry.name)?;
        let keep = state.is_lasting(directory, &entry.name, id);
        state.stat_item(id).ok()?;
        let ino = state.inodes.look_up(&Node::Item(id));
        state.entry(ino, keep).ok()
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: HandleId) {
        self.state.lock().handles.close(handle);
    }

    /// Reads at most `size` bytes.
    ///
    /// # Errors
    /// Whatever decryption brings: `Damaged` for a failed check.
    pub fn read(&self, ino: Ino, offset: u64, size: u32) -> Result<Slice> {
        Ok(Slice::new(self.content(ino)?, offset, size))
    }

    /// The whole content of a file as a local reader sees it now.
    pub(super) fn content(&self, ino: Ino) -> Result<Arc<Locked>> {
        let source = {
            let state = self.state.lock();
            let inode = state.inodes.get(ino)?;
            match (inode.buffer.as_ref().and_then(|b| b.content()), &inode.node) {
                (Some(content), _) => Source::Here(content),
                (None, Node::Item(id)) => Source::Head(state.snapshot.clone(), *id),
                (None, Node::Detached(detached)) => match &detached.snapshot {
                    Some(snapshot) => Source::Head(snapshot.clone(), detached.id),
                    None => Source::Here(Arc::default()),
                },
                (None, Node::Place(place)) => Source::Place(place.clone()),
                (None, Node::Views) => return Err(Error::new(Kind::IsDirectory, "a directory")),
            }
        };
        match source {
            Source::Here(content) => Ok(content),
            Source::Head(snapshot, id) => self.head(&snapshot, id),
            Source::Place(place) => self.history_content(&place),
        }
    }

    /// The content of a secret's head in a snapshot.
    pub(super) fn head(&self, snapshot: &Snapshot, id: ItemId) -> Result<Arc<Locked>> {
        match snapshot.namespace().item(id).map(|item| &item.content) {
            Some(Content::Secret(secret)) => {
                let head = secret.head().ok_or_else(|| Error::damaged("a secret without a value"))?;
                self.contents.get(head.commit.digest, || self.keynode.read_head(snapshot, id))
            }
            Some(Content::Directory(_)) => Err(Error::new(Kind::IsDirectory, "a directory")),
            _ => Err(Error::new(Kind::Invalid, "not a secret")),
        }
    }

    /// What a number, and perhaps a name below it, is called; for the log.
    pub fn describe(&self, ino: Ino, name: Option<&[u8]>) -> String {
        let state = self.state.lock();
        let namespace = state.snapshot.namespace();
        let mut path = match state.inodes.get(ino).map(|inode| &inode.node) {
            Ok(Node::Item(id)) => match state.memory.get(*id) {
                Some(item) => namespace.path_of(item.parent).map(|path| path.join(item.name.clone()).to_string()),
                None => namespace.path_of(*id).map(|path| path.to_string()),
            },
            Ok(Node::Detached(detached)) => detached
                .snapshot
                .as_ref()
                .and_then(|snapshot| snapshot.namespace().path_of(detached.id))
                .map(|path| format!("{path} (gone)")),
            Ok(Node::Place(place)) => Some(format!(".versions/{}", place.key().trim_start_matches('/'))),
            Ok(Node::Views) => Some(".views".to_owned()),
            Err(_) => (ino == state.inodes.root()).then(String::new),
        }
        .unwrap_or_else(|| format!("inode {}", ino.0));
        if let Some(name) = name {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&String::from_utf8_lossy(name).escape_debug().to_string());
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// stat(2) after a change of an item.
    pub(super) fn entry(&self, node: &Node) -> Result<Entry> {
        let mut state = self.state.lock();
        let ino = state.inodes.look_up(node);
        state.entry(ino, true)
    }
}

impl State {
    /// The inode of a node with one more reference, if `may` says so of it before.
    pub(super) fn reach(&mut self, node: &Node, may: &dyn Fn(&State, Ino) -> bool) -> Result<Ino> {
        let ino = self.inodes.ensure(node);
        if !may(self, ino) {
            self.inodes.drop_if_unused(ino);
            return Err(hidden());
        }
        Ok(self.inodes.look_up(node))
    }
}
