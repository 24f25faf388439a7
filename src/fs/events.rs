//! What inotify must tell: the mount's own process does on its own mount what others did to the keynode.
//!
//! While it does, *its own* look-ups are answered with what those who watch believe, so that the kernel sees one inode
//! replaced by another, a name that goes, or one that comes. The request itself changes nothing but that belief.

use std::time::{Duration, Instant};

use super::FileSystem;
use super::inode::Node;
use super::state::{Directory, State};
use super::turn::Spot;
use super::types::{Act, Entry, Event, FileKind, Ino};
use crate::error::{Error, Kind, Result};
use crate::node::{ItemId, ItemPath, Name};

/// From when everything is saved until it is unmounted.
const REST: Duration = Duration::from_secs(1);

/// What the mount's own process is doing.
pub(super) struct Current {
    spot: Spot,
    /// What the name is to lead to in the end.
    new: Option<Ino>,
    doing: Doing,
    /// Whether the request for it has come.
    done: bool,
}

#[derive(Clone)]
enum Doing {
    /// An inode comes to the name, from a hidden one beside it.
    Appear { hidden: Name, id: ItemId, ino: Ino },
    /// It comes from where it was seen before, perhaps in exchange.
    Move { from: Spot, ino: Ino, exchange: bool },
    /// The name goes.
    Remove,
}

impl FileSystem {
    /// Waits for something that those who watch must hear; `None`: there will be nothing more. Each is to be followed by
    /// [`Self::event_done`].
    pub fn next_event(&self) -> Option<Event> {
        while self.notices.bell.answer() {
            let event = self.state.lock().begin_event();
            let event = event.or_else(|| self.trees.all().iter().find_map(|tree| tree.begin_event_below()));
            if event.is_some() {
                return event;
            }
            self.notices.bell.done(false);
        }
        None
    }

    /// Something that those who watch in this tree of `.views` must hear.
    fn begin_event_below(&self) -> Option<Event> {
        let share = self.scope.as_ref()?.name();
        let names = [b".views", share.as_str().as_bytes()].map(Name::new);
        let place: ItemPath = names.into_iter().collect::<Result<_>>().ok()?;
        Some(self.state.lock().begin_event()?.below(&place))
    }

    /// Keeps the mount's own process off its mount for a moment, so that it can be unmounted.
    pub fn rest(&self) {
        self.notices.bell.rest(Instant::now() + REST);
    }

    /// The event that was handed out last has happened, or cannot.
    pub fn event_done(&self) {
        self.state.lock().end_event();
        for tree in self.trees.all() {
            tree.state.lock().end_event();
        }
        self.notices.bell.done(true);
    }

    /// There will be no more events.
    pub fn end_events(&self) {
        self.notices.bell.end();
    }

    /// A look-up by the mount's own process.
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn own_lookup(&self, parent: Ino, name: &[u8]) -> Result<Entry> {
        let name = Name::new(name)?;
        {
            let mut state = self.state.lock();
            let spot = (parent, name.clone());
            let hidden = state.turn.current.as_ref().and_then(|current| current.hidden_at(&spot));
            if let Some((name, id)) = hidden {
                let Directory::Item(directory) = state.directory(parent)? else { return Err(unexpected()) };
                // The kernel keeps this when the name moves. Otherwise it would ask again, holding no lock, and might take
                // in an answer to be remembered after it was told that the name is about to change.
                let keep = state.is_lasting(directory, &name, id);
                let ino = state.inodes.look_up(&Node::Item(id));
                return Ok(Entry { stat: state.stat(ino)?, keep, gate: state.is_gate(id) });
            }
            if let Some(pending) = state.turn.pending.get(&spot) {
                let old = pending.old.ok_or_else(|| Error::not_found("no such file or directory"))?;
                let stat = state.stat(old)?;
                state.inodes.get_mut(old)?.lookups += 1;
                return Ok(Entry { stat, keep: false, gate: false });
            }
        }
        self.lookup(parent, name.as_bytes())
    }

    /// rename(2) by the mount's own process.
    ///
    /// # Errors
    /// `NotPermitted` for anything but the present event.
    pub fn own_rename(&self, from: Ino, name: &[u8], to: Ino, new_name: &[u8]) -> Result<()> {
        let (from, to) = ((from, Name::new(name)?), (to, Name::new(new_name)?));
        let mut state = self.state.lock();
        let present = state.number_at(&to);
        let current = state.turn.current.as_mut().filter(|current| current.leads_to(&to, present));
        let Some(current) = current else { return Err(unexpected()) };
        match current.doing.clone() {
            Doing::Appear { hidden, ino, .. } if from.0 == to.0 && from.1 == hidden => {
                current.done = true;
                state.watchers_see(&to, Some(ino), &self.notices);
            }
            Doing::Move { from: source, ino, exchange } if source == from => {
                current.done = true;
                let other = state.turn.pending.get(&to).and_then(|pending| pending.old).filter(|_| exchange);
                state.watchers_see(&to, Some(ino), &self.notices);
                state.watchers_see(&from, other, &self.notices);
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    /// unlink(2) or rmdir(2) by the mount's own process.
    ///
    /// # Errors
    /// `NotPermitted` for anything but the present event.
    pub fn own_remove(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let spot = (parent, Name::new(name)?);
        let mut state = self.state.lock();
        let present = state.number_at(&spot);
        match &mut state.turn.current {
            Some(current) if current.leads_to(&spot, present) && matches!(current.doing, Doing::Remove) => {
                current.done = true;
                state.watchers_see(&spot, None, &self.notices);
                // What comes in its place follows at once.
                if state.turn.queue.back() == Some(&spot) {
                    state.turn.queue.rotate_right(1);
                }
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }
}

impl Event {
    /// The same in a tree that has its place there.
    fn below(self, place: &ItemPath) -> Self {
        let below = |path: &ItemPath| place.components().iter().chain(path.components()).cloned().collect();
        let act = match self.act {
            Act::Move { from, exchange } => Act::Move { from: below(&from), exchange },
            act => act,
        };
        Self { directory: below(&self.directory), name: self.name, act }
    }
}

impl Current {
    /// Whether the event is one of this name, is to come, and leaves the name as it is now. It may have been changed since
    /// the event was begun, and the kernel been told: from an event that comes later, it would learn the old inode again.
    fn leads_to(&self, spot: &Spot, present: Option<Ino>) -> bool {
        self.spot == *spot && !self.done && self.new == present
    }

    /// Where a hidden name is to go, and what it leads to.
    fn hidden_at(&self, spot: &Spot) -> Option<(Name, ItemId)> {
        match &self.doing {
            Doing::Appear { hidden, id, .. } if self.spot.0 == spot.0 && *hidden == spot.1 => {
                Some((self.spot.1.clone(), *id))
            }
            _ => None,
        }
    }
}

impl State {
    /// Takes the next name of the queue of which there is something to tell.
    fn begin_event(&mut self) -> Option<Event> {
        while let Some(spot) = self.turn.queue.pop_front() {
            let present = self.number_at(&spot);
            let Some(pending) = self.turn.pending.get_mut(&spot) else { continue };
            pending.queued = false;
            let (old, new) = (pending.old, pending.new);
            // A name that was changed here meanwhile is one that everybody has heard of.
            let deferred = pending.deferred;
            if present != new || old == new || !self.may_tell(spot.0) || self.is_out_of_earshot(old) {
                self.heard(&spot);
                continue;
            }
            if !deferred && self.is_moving(old) {
                if let Some(pending) = self.turn.pending.get_mut(&spot) {
                    (pending.deferred, pending.queued) = (true, true);
                }
                self.turn.queue.push_back(spot);
                continue;
            }
            let event = self.doing(&spot, old, new).and_then(|doing| Some((self.event(&spot, &doing)?, doing)));
            let Some((event, doing)) = event else {
                self.heard(&spot);
                continue;
            };
            self.turn.current = Some(Current { spot, new, doing, done: false });
            return Some(event);
        }
        None
    }

    /// The event that was begun has happened, or cannot. What changed meanwhile is queued already.
    fn end_event(&mut self) {
        let Some(current) = self.turn.current.take().filter(|current| !current.done) else { return };
        if !self.turn.pending.get(&current.spot).is_some_and(|pending| pending.queued) {
            self.heard(&current.spot);
        }
    }

    fn doing(&self, spot: &Spot, old: Option<Ino>, new: Option<Ino>) -> Option<Doing> {
        let Some(ino) = new else { return old.map(|_| Doing::Remove) };
        let (Ok(Directory::Item(directory)), name) = (self.directory(spot.0), &spot.1) else {
            return None;
        };
        let id = self.child(directory, name)?;
        let spots = self.turn.seen.get(&ino);
        let seen = spots.and_then(|spots| spots.iter().find(|other| *other != spot && self.may_tell(other.0)));
        if let Some(from) = seen {
            let exchange = old.is_some() && self.turn.pending.get(from).is_some_and(|other| other.new == old);
            if exchange {
                return Some(Doing::Move { from: from.clone(), ino, exchange });
            }
        }
        // rename(2) replaces no directory by a file.
        let is_directory = |kind| kind == FileKind::Directory;
        if let Some(old) = old
            && is_directory(self.stat(old).ok()?.kind) != is_directory(self.stat_item(id).ok()?.kind)
        {
            return Some(Doing::Remove);
        }
        Some(match seen {
            Some(from) => Doing::Move { from: from.clone(), ino, exchange: false },
            None => Doing::Appear { hidden: hidden_name()?, id, ino },
        })
    }

    fn event(&self, spot: &Spot, doing: &Doing) -> Option<Event> {
        let directory = self.seen_path(spot.0)?;
        let act = match doing {
            Doing::Appear { hidden, .. } => Act::Appear { hidden: hidden.clone() },
            Doing::Move { from, exchange, .. } => {
                Act::Move { from: self.seen_path(from.0)?.join(from.1.clone()), exchange: *exchange }
            }
            Doing::Remove => {
                let old = self.turn.pending.get(spot)?.old?;
                Act::Remove { directory: self.stat(old).ok()?.kind == FileKind::Directory }
            }
        };
        Some(Event { directory, name: spot.1.clone(), act })
    }

    /// Whether all who can watch a directory may know the names in it: whoever watches hears them.
    fn may_tell(&self, directory: Ino) -> bool {
        if self.views.is_none() {
            return true;
        }
        let seen = self.seen(directory);
        !seen.is_root && seen.sight.is_uniform()
    }

    /// Whether an inode is where nothing is told: to have it go from elsewhere would be its end in the kernel.
    fn is_out_of_earshot(&self, ino: Option<Ino>) -> bool {
        self.places_of(ino).any(|(directory, _)| !self.may_tell(directory))
    }

    /// Whether an inode is to leave its place for another one: it must, before something else takes that.
    fn is_moving(&self, ino: Option<Ino>) -> bool {
        self.places_of(ino).any(|spot| self.turn.pending.get(&spot).is_some_and(|pending| pending.new == ino))
    }

    /// The names of an inode.
    fn places_of(&self, ino: Option<Ino>) -> impl Iterator<Item = Spot> {
        let id = match ino.and_then(|ino| self.inodes.get(ino).ok()).map(|inode| &inode.node) {
            Some(Node::Item(id)) => Some(*id),
            _ => None,
        };
        let item = id.and_then(|id| self.item(id).ok());
        let names = item.map(|item| item.names().map(|(parent, name)| (self.inodes.number_of(parent), name.clone())));
        names.into_iter().flatten()
    }

    /// Those who watch have been shown this.
    fn watchers_see(&mut self, spot: &Spot, ino: Option<Ino>, notices: &super::changes::Notices) {
        self.believe(spot, ino);
        // More may have changed since.
        self.enqueue(vec![spot.clone()], notices);
    }
}

/// Nobody has such a name.
fn hidden_name() -> Option<Name> {
    Name::new(format!(".new-{}", ItemId::random()).as_bytes()).ok()
}

fn unexpected() -> Error {
    Error::new(Kind::NotPermitted, "the mount's own process is not to do this")
}
