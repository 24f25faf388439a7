//! Changes that others make to the keynode, and what the kernel must hear of them.
//!
//! Nothing outside ever changes the content of an inode: a secret that was changed from outside gets a new one under its
//! name, and whoever has the old one open goes on with what it was.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, MutexGuard};

use super::FileSystem;
use super::bell::Bell;
use super::commit::Showing;
use super::differences::{Difference, differences};
use super::inode::{Detached, Node};
use super::sight::Judged;
use super::state::{State, kind_of, living};
use super::turn::{Spot, head_of};
use super::types::{Caller, Ino, Notice};
use crate::error::Result;
use crate::node::{Attributes, CommitRef, Item, ItemId, Name, Namespace, Snapshot};
use crate::time::Timestamp;

/// How long a flip waits for the kernel, which may itself wait for a request that changes names in a directory. Whoever opens
/// an outdated inode is then sent to look up its name again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The same where nothing can be changed: no request takes long there, and opening is not asked for.
const PATIENCE_OF_READERS: Duration = Duration::from_secs(2);

/// Where notices go: to whoever tells the kernel, in a thread of its own, since telling waits for requests.
#[derive(Default)]
pub(super) struct Notices {
    sender: OnceLock<mpsc::Sender<Notice>>,
    /// The kernel has taken a notice.
    taken: Condvar,
    /// Those who watch have something to hear.
    pub(super) bell: Arc<Bell>,
}

impl Notices {
    /// Tells the same kernel as others do, and those who watch by the same process.
    pub(super) fn beside(other: &Self) -> Self {
        let sender = other.sender.get().cloned().map_or_else(OnceLock::new, OnceLock::from);
        Self { sender, taken: Condvar::new(), bell: other.bell.clone() }
    }

    /// Whether there is a kernel to be told.
    pub(super) fn heard(&self) -> bool {
        self.sender.get().is_some()
    }

    pub(super) fn send(&self, notice: Notice) {
        if let Some(sender) = self.sender.get() {
            let _ = sender.send(notice);
        }
    }

    /// Waits until the kernel has taken a notice, or the time has come; whether it has.
    fn wait_until(&self, state: &mut MutexGuard<'_, State>, until: Instant) -> bool {
        self.taken.wait_until(state, until).timed_out()
    }
}

/// What has become of an inode's item.
struct Compared {
    ino: Ino,
    id: ItemId,
    outcome: Outcome,
    /// Its names that lead elsewhere or nowhere now.
    lost: Vec<Spot>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Same,
    Attributes,
    Replaced(Option<CommitRef>),
    Removed,
}

impl FileSystem {
    /// What the kernel must be told from now on; it can be asked for once. After each [`Notice::Entry`] comes
    /// [`Self::expired`].
    pub fn notices(&self) -> mpsc::Receiver<Notice> {
        let (sender, receiver) = mpsc::channel();
        let _ = self.notices.sender.set(sender);
        receiver
    }

    /// The kernel will ask for this name anew.
    pub fn expired(&self, parent: Ino, name: Name) {
        if let Some(tree) = self.tree(parent) {
            return tree.expired(parent, name);
        }
        self.state.lock().turn.expired(&(parent, name));
        self.notices.taken.notify_all();
    }

    /// Whether the kernel may be using an inode by a name that leads elsewhere already: it is to look the name up again.
    pub fn is_outdated(&self, ino: Ino, caller: Caller) -> bool {
        self.state.lock().is_outdated(ino, caller.pid)
    }

    /// Looks at the file again and adopts what others have changed. Not for a request: it waits for the kernel.
    ///
    /// # Errors
    /// Whatever reading and verifying it brings; what was known before stays in force then.
    pub fn refresh(&self) -> Result<()> {
        let before = self.keynode.snapshot();
        self.keynode.refresh()?;
        self.renew_rules();
        self.catch_up();
        for tree in self.trees.all() {
            tree.catch_up();
        }
        self.keynode.remember_since(&before)
    }

    /// Shows what the keynode is now.
    fn catch_up(&self) {
        // Of the whole it costs nothing to look.
        if self.scope.is_some() && self.state.lock().snapshot.commit() == self.keynode.snapshot().commit() {
            return;
        }
        self.announce();
        let showing = self.showing.lock();
        self.adopt(&showing, self.present());
    }

    /// Has the kernel ask anew for all names that are about to change, so that they change together.
    fn announce(&self) {
        let showing = self.showing.lock();
        let next = self.present();
        let mut state = self.state.lock();
        if !self.notices.heard() || state.snapshot.commit() == next.commit() {
            return;
        }
        drop(showing);
        let compared = state.compare(state.snapshot.namespace(), next.namespace());
        let spots = compared.into_iter().flat_map(|one| one.lost);
        state.turn.announce(next, spots, &self.notices);
        let patience = if self.options.read_only { PATIENCE_OF_READERS } else { PATIENCE };
        let (last, deadline) = (state.turn.last_asked(), Instant::now() + patience);
        while !state.turn.has_told(last) {
            if self.notices.wait_until(&mut state, deadline) {
                return;
            }
        }
    }

    /// Makes a snapshot that others brought about the present one.
    pub(super) fn adopt(&self, _showing: &Showing<'_>, snapshot: Arc<Snapshot>) {
        let (before, watched) = {
            let mut state = self.state.lock();
            if state.snapshot.commit() == snapshot.commit() {
                state.turn.arrived();
                return;
            }
            (state.snapshot.clone(), state.watched_directories(&self.notices))
        };
        let differences = differences(before.namespace(), snapshot.namespace(), &watched);
        self.state.lock().flip(snapshot, &differences, &self.notices);
    }
}

impl State {
    fn watched_directories(&self, notices: &Notices) -> Vec<ItemId> {
        if !notices.heard() {
            return Vec::new();
        }
        let known = self.inodes.iter().filter(|(_, inode)| inode.lookups > 0);
        let items = known.filter_map(|(_, inode)| match inode.node {
            Node::Item(id) if self.item(id).is_ok_and(Item::is_directory) => Some(id),
            _ => None,
        });
        items.chain([ItemId::ROOT]).collect()
    }

    /// Shows another snapshot.
    fn flip(&mut self, snapshot: Arc<Snapshot>, differences: &[Difference], notices: &Notices) {
        let mut spots = Vec::new();
        for difference in differences {
            spots.extend(self.note_difference(difference));
        }
        let compared = self.compare(self.snapshot.namespace(), snapshot.namespace());
        // What is below something that was moved may have another place in the shares.
        let moved =
            self.views.is_some() && compared.iter().any(|one| !one.lost.is_empty() && self.is_directory(one.id));
        let judged = if moved { self.judged() } else { Judged::default() };
        let expired = self.turn.arrived();
        for Compared { ino, lost, .. } in &compared {
            if !lost.is_empty() {
                self.turn.leave(*ino, notices);
            }
            for spot in lost {
                if notices.heard() && self.is_watched(spot.0) {
                    self.note(spot, Some(*ino));
                    spots.push(spot.clone());
                }
                if !expired.contains(spot) {
                    self.turn.expire(spot.clone(), notices);
                }
            }
        }
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        for Compared { ino, id, outcome, .. } in compared {
            match outcome {
                Outcome::Same => {}
                Outcome::Attributes => self.attributes_changed(ino, notices),
                Outcome::Replaced(head) => {
                    self.detach(ino, id, &before, Some(id));
                    if let Some(head) = head {
                        self.inodes.changed_outside(id, head);
                    }
                }
                Outcome::Removed => {
                    self.detach(ino, id, &before, None);
                    self.inodes.gone(id);
                }
            }
        }
        self.judge_anew(judged, notices);
        let mut listings: HashSet<Ino> = spots.iter().map(|(directory, _)| *directory).collect();
        listings.extend(self.shown_directories());
        self.listings.changed(&listings);
        for directory in listings {
            notices.send(Notice::Content(directory));
        }
        self.enqueue(spots, notices);
    }

    /// Has the kernel ask for attributes anew, and for those of `.views`, which belongs to whoever owns the top.
    pub(super) fn attributes_changed(&self, ino: Ino, notices: &Notices) {
        notices.send(Notice::Attributes(ino));
        if ino == self.inodes.root() {
            notices.send(Notice::Attributes(self.inodes.number_of_views()));
        }
    }

    /// Notes a name in a directory that may be watched. What waits in memory hides it.
    fn note_difference(&mut self, difference: &Difference) -> Option<Spot> {
        let Difference { directory, name, old, new } = difference;
        if self.memory.child(*directory, name).is_some() {
            return None;
        }
        let known = old.and_then(|id| self.inodes.find(id).map(|(ino, _)| ino));
        // The kernel can only be told that something goes if there is something.
        let gone = old.filter(|_| known.is_none() && new.is_none());
        let ino = known.or_else(|| gone.map(|id| self.inodes.ensure(&Node::Item(id))));
        let spot = (self.inodes.number_of(*directory), name.clone());
        self.note(&spot, ino);
        Some(spot)
    }

    /// Compares what all inodes in the table stand for in two namespaces.
    fn compare(&self, before: &Namespace, after: &Namespace) -> Vec<Compared> {
        let known = self.inodes.iter().filter_map(|(ino, inode)| match inode.node {
            Node::Item(id) if self.memory.get(id).is_none() => Some((ino, id)),
            _ => None,
        });
        let compared = known.chain([(self.inodes.root(), ItemId::ROOT)]).map(|(ino, id)| {
            let (old, new) = (living(before, id), living(after, id));
            // By the directories: of what a share does not cover any more these names alone are gone.
            let has = |namespace: &Namespace, parent, name: &Name| {
                namespace.child(parent, name.as_bytes()).is_some_and(|child| child.id == id)
            };
            let (old_head, new_head) = (old.and_then(head_of), new.and_then(head_of));
            let outcome = match (old, new) {
                (Some(_), None) => Outcome::Removed,
                _ if old_head.is_some() && old_head.map(|h| h.commit) != new_head.map(|h| h.commit) => {
                    Outcome::Replaced(new_head.map(|head| head.commit))
                }
                _ if old.map(|item| item.attributes) != new.map(|item| item.attributes) => Outcome::Attributes,
                _ => Outcome::Same,
            };
            let replaced = matches!(outcome, Outcome::Replaced(_));
            let names = old.into_iter().flat_map(Item::names);
            let names = names.filter(|(parent, name)| has(before, *parent, name));
            let lost = names.filter(|(parent, name)| replaced || !has(after, *parent, name));
            let lost = lost.map(|(parent, name)| (self.inodes.number_of(parent), name.clone())).collect();
            Compared { ino, id, outcome, lost }
        });
        compared.filter(|one| one.outcome != Outcome::Same || !one.lost.is_empty()).collect()
    }

    /// An inode keeps what it shows while its item goes on without it, or is gone.
    pub(super) fn detach(&mut self, ino: Ino, id: ItemId, before: &Arc<Snapshot>, commits_to: Option<ItemId>) {
        let item = before.namespace().item(id);
        let (snapshot, attributes, kind) = match (self.memory.get(id), item) {
            (Some(waiting), _) => (None, waiting.attributes, waiting.kind()),
            (None, Some(item)) => {
                (Some(before.clone()), self.memory.effective(id, item.attributes), kind_of(&item.content))
            }
            (None, None) => return,
        };
        // Losing its name is a change of an inode, being replaced from outside is not.
        let ctime = if commits_to.is_none() { Timestamp::now() } else { attributes.ctime };
        let attributes = Attributes { ctime, ..attributes };
        self.inodes.rebind(ino, Node::Detached(Arc::new(Detached { snapshot, id, attributes, kind, commits_to })));
        self.let_go(ino);
    }

    /// As [`Self::detach`] for an item that lost its last name, if it has an inode.
    pub(super) fn orphan(&mut self, id: ItemId, before: &Arc<Snapshot>) {
        if let Some((ino, _)) = self.inodes.find(id) {
            self.detach(ino, id, before, None);
        }
        self.memory.remove(id);
        self.inodes.gone(id);
    }

    /// The names of an item lead to another inode than before; the kernel and those who watch have still to hear of it.
    pub(super) fn replaced(&mut self, id: ItemId, before: Ino, notices: &Notices) {
        let names = self.item(id).map(|item| item.names().map(|(parent, name)| (parent, name.clone())).collect());
        let names: Vec<(ItemId, Name)> = names.unwrap_or_default();
        let mut spots = Vec::new();
        self.turn.leave(before, notices);
        for (parent, name) in names {
            let spot = (self.inodes.number_of(parent), name);
            self.turn.expire(spot.clone(), notices);
            if notices.heard() && self.is_watched(spot.0) {
                self.note(&spot, Some(before));
                spots.push(spot);
            }
        }
        self.enqueue(spots, notices);
    }
}
