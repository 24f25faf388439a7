//! Names that lead elsewhere since a change from outside: what the kernel still remembers of them, and what those who
//! watch believe.
//!
//! A change is shown in three steps. *Before*: the kernel is told to ask for the names anew, and look-ups meanwhile are
//! answered with the old inodes, not to be remembered. *The flip*: all names change in memory at once. *After*: the mount's
//! own process does on its mount what others did to the keynode, name by name ([`super::events`]), so that inotify tells
//! of it.
//!
//! A request that finds a change under way flips without the first step, since it must not wait for the kernel. Until the
//! kernel has caught up, and for a second or two after that, opening an outdated inode is refused, and the kernel looks its
//! name up anew: whoever opens it may have found the name before the kernel heard of it, and ask only now.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::changes::Notices;
use super::events::Current;
use super::inode::Node;
use super::state::{Directory, State};
use super::types::{Ino, Notice};
use crate::node::{Head, Item, ItemId, ItemPath, Name, Namespace, SecretState, Snapshot};

/// More directories than this above each other are a circle.
const DEEPEST: usize = 4096;

/// A name in a directory. Directories that are gone still have a number.
pub(super) type Spot = (Ino, Name);

/// All names that are in turn.
#[derive(Default)]
pub(super) struct Turn {
    coming: Option<Coming>,
    /// Names that the kernel is being told of, each with the last notice about it.
    expiring: HashMap<Spot, u64>,
    /// Notices sent, and how many of them the kernel has taken, in their order.
    asked: u64,
    told: u64,
    /// Inodes that names led away from since the last tick, and those of the tick before.
    outdated: HashSet<Ino>,
    outdated_before: HashSet<Ino>,
    /// Threads that were refused to open an outdated inode, and have opened nothing since.
    refused: HashSet<u32>,
    pub(super) pending: HashMap<Spot, Pending>,
    /// Where those who watch believe an inode to be, if it is not there any more.
    pub(super) seen: HashMap<Ino, Vec<Spot>>,
    pub(super) queue: VecDeque<Spot>,
    pub(super) current: Option<Current>,
}

/// What will be shown next.
struct Coming {
    snapshot: Arc<Snapshot>,
    /// Names that the kernel was told of before.
    expired: HashSet<Spot>,
}

/// What a name led to when those who watch last heard of it, and what it leads to now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) old: Option<Ino>,
    pub(super) new: Option<Ino>,
    pub(super) queued: bool,
    /// It has let others pass once.
    pub(super) deferred: bool,
}

impl Turn {
    /// Has the kernel ask for a name anew.
    pub(super) fn expire(&mut self, spot: Spot, notices: &Notices) {
        if notices.heard() {
            self.asked += 1;
            self.expiring.insert(spot.clone(), self.asked);
            notices.send(Notice::Entry { parent: spot.0, name: spot.1 });
        }
    }

    /// As [`Self::expire`], for names that change with the coming flip.
    pub(super) fn announce(&mut self, snapshot: Arc<Snapshot>, spots: impl Iterator<Item = Spot>, notices: &Notices) {
        let mut expired = HashSet::new();
        for spot in spots {
            if expired.insert(spot.clone()) {
                self.expire(spot, notices);
            }
        }
        self.coming = Some(Coming { snapshot, expired });
    }

    /// The flip has come, or nothing comes; the names that the kernel was told of.
    pub(super) fn arrived(&mut self) -> HashSet<Spot> {
        self.coming.take().map(|coming| coming.expired).unwrap_or_default()
    }

    /// The kernel has taken a notice.
    pub(super) fn expired(&mut self, spot: &Spot) {
        self.told += 1;
        if self.expiring.get(spot).is_some_and(|last| *last <= self.told) {
            self.expiring.remove(spot);
        }
        self.forgive();
    }

    /// Names lead away from an inode.
    pub(super) fn leave(&mut self, ino: Ino, notices: &Notices) {
        if notices.heard() {
            self.outdated.insert(ino);
        }
    }

    /// Whoever found a name before the last tick has opened what it led to by now. To be called about once a second.
    pub(super) fn tick(&mut self) {
        self.outdated_before = std::mem::take(&mut self.outdated);
        self.forgive();
    }

    fn forgive(&mut self) {
        if self.expiring.is_empty() && self.outdated.is_empty() && self.outdated_before.is_empty() {
            self.refused.clear();
        }
    }

    /// The notice that was sent last, to be compared with [`Self::has_told`].
    pub(super) fn last_asked(&self) -> u64 {
        self.asked
    }

    /// Whether the kernel has taken all notices up to this one.
    pub(super) fn has_told(&self, notice: u64) -> bool {
        self.told >= notice
    }

    /// How many names those who watch believe an inode to have, that it has not.
    pub(super) fn links(&self, ino: Ino) -> u32 {
        self.seen.get(&ino).map_or(0, |spots| u32::try_from(spots.len()).unwrap_or(u32::MAX))
    }

    /// Whether a name may have led there a moment ago.
    fn is_left(&self, ino: Ino) -> bool {
        let is_expiring =
            || self.seen.get(&ino).is_some_and(|spots| spots.iter().any(|s| self.expiring.contains_key(s)));
        self.outdated.contains(&ino)
            || self.outdated_before.contains(&ino)
            || !self.expiring.is_empty() && is_expiring()
    }
}

impl State {
    /// Whether the kernel may remember what it is told of a name.
    pub(super) fn is_lasting(&self, directory: ItemId, name: &Name, id: ItemId) -> bool {
        let Some(coming) = &self.turn.coming else { return true };
        let next = coming.snapshot.namespace().child(directory, name.as_bytes());
        self.memory.get(id).is_some()
            || next.is_some_and(|next| next.id == id && head_of(next) == head_in(self.snapshot.namespace(), id))
    }

    /// Whether a thread may have reached an inode only because the kernel had not heard yet that its name leads elsewhere.
    /// What it opens next counts: it has asked for the name since, or comes by no name. The kernel tries no third time.
    pub(super) fn is_outdated(&mut self, ino: Ino, thread: u32) -> bool {
        let was_refused = self.turn.refused.remove(&thread);
        let outdated = !was_refused
            && self.turn.is_left(ino)
            && self.inodes.get(ino).is_ok_and(|inode| matches!(inode.node, Node::Detached(_)));
        if outdated {
            self.turn.refused.insert(thread);
        }
        outdated
    }

    /// Whether somebody may watch a directory: the kernel knows it.
    pub(super) fn is_watched(&self, directory: Ino) -> bool {
        directory == self.inodes.root() || self.inodes.get(directory).is_ok_and(|inode| inode.lookups > 0)
    }

    /// Notes what those who watch a name believe it to lead to. What was noted before stands: they heard of nothing since.
    pub(super) fn note(&mut self, spot: &Spot, old: Option<Ino>) {
        if self.turn.pending.contains_key(spot) {
            return;
        }
        self.turn.pending.insert(spot.clone(), Pending { old: None, new: None, queued: false, deferred: false });
        self.believe(spot, old);
    }

    /// Those who watch believe this of a name from now on. The inode stays for as long as they do.
    pub(super) fn believe(&mut self, spot: &Spot, ino: Option<Ino>) {
        let Some(pending) = self.turn.pending.get_mut(spot) else { return };
        let before = pending.old.take();
        if let Some(ino) = ino
            && let Ok(inode) = self.inodes.get_mut(ino)
        {
            inode.lookups += 1;
            pending.old = Some(ino);
            self.turn.seen.entry(ino).or_default().push(spot.clone());
        }
        if let Some(before) = before {
            if let Some(spots) = self.turn.seen.get_mut(&before) {
                spots.retain(|other| other != spot);
                if spots.is_empty() {
                    self.turn.seen.remove(&before);
                }
            }
            self.inodes.forget(before, 1);
        }
    }

    /// Those who watch have heard all of a name, or never will.
    pub(super) fn heard(&mut self, spot: &Spot) {
        self.believe(spot, None);
        self.turn.pending.remove(spot);
    }

    /// Queues names that were noted, after the flip: what goes before what comes, so that names are free; what lies deeper
    /// goes first and comes last.
    pub(super) fn enqueue(&mut self, spots: Vec<Spot>, notices: &Notices) {
        let mut waiting = Vec::new();
        for spot in spots {
            let new = self.number_at(&spot);
            let Some(pending) = self.turn.pending.get_mut(&spot) else { continue };
            pending.new = new;
            if pending.old == new {
                self.heard(&spot);
            } else if !std::mem::replace(&mut pending.queued, true) {
                let path = self.seen_path(spot.0).unwrap_or_default();
                let depth = i64::try_from(path.components().len()).unwrap_or(i64::MAX);
                waiting.push((new.is_some(), if new.is_some() { depth } else { -depth }, path, spot));
            }
        }
        waiting.sort_unstable();
        self.turn.queue.extend(waiting.into_iter().map(|(_, _, _, spot)| spot));
        notices.bell.ring();
    }

    /// The inode that a name leads to now.
    pub(super) fn number_at(&self, spot: &Spot) -> Option<Ino> {
        match self.directory(spot.0) {
            Ok(Directory::Item(directory)) => Some(self.inodes.number_of(self.child(directory, &spot.1)?)),
            _ => None,
        }
    }

    /// The path by which those who watch reach a directory.
    pub(super) fn seen_path(&self, directory: Ino) -> Option<ItemPath> {
        let (mut names, mut at) = (Vec::new(), directory);
        while at != self.inodes.root() {
            if names.len() > DEEPEST {
                return None;
            }
            let (parent, name) = match self.turn.seen.get(&at).and_then(|spots| spots.first()) {
                Some(spot) => spot.clone(),
                None => self.place_of(at)?,
            };
            names.push(name);
            at = parent;
        }
        Some(names.into_iter().rev().collect())
    }

    fn place_of(&self, ino: Ino) -> Option<Spot> {
        let Node::Item(id) = self.inodes.get(ino).ok()?.node else { return None };
        let (parent, name) = self.item(id).ok()?.names().next()?;
        Some((self.inodes.number_of(parent), name.clone()))
    }
}

/// The head of a secret; `None` for anything else.
pub(super) fn head_of(item: &Item) -> Option<Head> {
    item.secret().and_then(SecretState::head)
}

fn head_in(namespace: &Namespace, id: ItemId) -> Option<Head> {
    namespace.item(id).and_then(head_of)
}
