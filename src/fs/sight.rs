//! What shares have to do with inodes and names: who may see them, which are gates, which modes they show.

use std::sync::Arc;

use super::admission::hidden;
use super::asker::Given;
use super::history::date_key;
use super::inode::Node;
use super::state::{State, kind_of};
use super::turn::Spot;
use super::types::{DirEntry, Entry, FileKind, Ino, Notice};
use super::views::{Sight, Views};
use crate::error::Result;
use crate::node::{ItemId, ItemPath, Name};

/// What is known of an inode before it is decided who may see it.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sight: Sight,
    pub(super) directory: bool,
    /// A file that somebody has open.
    pub(super) open: bool,
    pub(super) is_root: bool,
}

/// All that the kernel may have of an item by the rules: what shares have to do with it, whether it is a gate, and whether
/// somebody may write it.
type Shown = (Sight, bool, bool);

/// What that is of each.
#[derive(Default)]
pub(super) struct Judged(Vec<(Ino, ItemId, Shown)>);

impl State {
    /// Lets other shares decide from now on. The kernel asks anew for whatever changes with that.
    pub(super) fn show_by(&mut self, views: Arc<Views>, notices: &super::changes::Notices) {
        let before = self.judged();
        self.views = Some(views);
        self.judge_anew(before, notices);
        notices.send(Notice::Attributes(self.inodes.root()));
    }

    /// What the kernel may have of all items that it knows, by the rules.
    pub(super) fn judged(&self) -> Judged {
        let known = self.inodes.iter().filter_map(|(ino, inode)| match inode.node {
            Node::Item(id) if inode.lookups > 0 => Some((ino, id, self.shown(id))),
            _ => None,
        });
        Judged(known.collect())
    }

    /// The same if one of these names leads to a directory, which takes what is below it along.
    pub(super) fn judged_below(&self, spots: &[Spot]) -> Judged {
        let leads_on = |spot| self.number_at(spot).and_then(|ino| self.inodes.get(ino).ok());
        let directory = |node: &Node| matches!(node, Node::Item(id) if self.is_directory(*id));
        let moved = spots.iter().filter_map(leads_on).any(|inode| directory(&inode.node));
        if moved { self.judged() } else { Judged::default() }
    }

    /// Whether an item is a directory.
    pub(super) fn is_directory(&self, id: ItemId) -> bool {
        self.item(id).is_ok_and(crate::node::Item::is_directory)
    }

    /// Has the kernel ask anew for what has another place in the shares than before.
    pub(super) fn judge_anew(&mut self, before: Judged, notices: &super::changes::Notices) {
        for (ino, id, before) in before.0 {
            if self.shown(id) == before {
                continue;
            }
            notices.send(Notice::Attributes(ino));
            let names: Vec<_> = self
                .item(id)
                .map(|item| item.names().map(|(parent, name)| (parent, name.clone())).collect())
                .unwrap_or_default();
            for (parent, name) in names {
                let spot = (self.inodes.number_of(parent), name);
                self.turn.expire(spot, notices);
            }
        }
    }

    /// The tree of a date, for who may see nothing of it: while the kernel holds its name that stays, for those who may.
    pub(super) fn held_date(&mut self, name: &[u8]) -> Result<Entry> {
        let date = name.strip_prefix(b"@").and_then(|date| std::str::from_utf8(date).ok()).ok_or_else(hidden)?;
        let ino = self.inodes.number_of_place(&date_key(date));
        let held = self.inodes.get_mut(ino).ok().filter(|inode| inode.lookups > 0).ok_or_else(hidden)?;
        held.lookups += 1;
        Ok(Entry { stat: self.stat(ino)?, keep: false, gate: false })
    }

    fn shown(&self, id: ItemId) -> Shown {
        let sight = self.sight(id);
        let written = self.views.as_ref().is_some_and(|views| sight.whole & views.written() != 0);
        (sight, self.is_gate(id), written)
    }

    pub(super) fn seen(&self, ino: Ino) -> Seen {
        self.seen_by(self.views.as_deref(), ino)
    }

    /// The same by other shares than those that decide here.
    pub(super) fn seen_by(&self, views: Option<&Views>, ino: Ino) -> Seen {
        let nothing = Seen::default();
        if ino == self.inodes.root() {
            return Seen { directory: true, is_root: true, ..nothing };
        }
        let Ok(inode) = self.inodes.get(ino) else { return nothing };
        let open = inode.opens > 0;
        let of = |path: Option<ItemPath>| match (views, path) {
            (Some(views), Some(path)) => views.sight(path.components()),
            _ => Sight::default(),
        };
        match &inode.node {
            Node::Item(id) => {
                Seen { sight: self.sight_by(views, *id), directory: self.is_directory(*id), open, ..nothing }
            }
            Node::Detached(detached) => {
                let path = detached.snapshot.as_ref().and_then(|s| s.namespace().path_of(detached.id));
                Seen { sight: of(path), directory: detached.kind == FileKind::Directory, open, ..nothing }
            }
            Node::Place(place) => {
                let sight = of(Some(place.path().clone()));
                let directory = place.leads_on();
                Seen { sight, directory, open, is_root: place.is_top() }
            }
            Node::Views => nothing,
        }
    }

    /// What shares have to do with an item, by any of its names.
    pub(super) fn sight(&self, id: ItemId) -> Sight {
        self.sight_by(self.views.as_deref(), id)
    }

    fn sight_by(&self, views: Option<&Views>, id: ItemId) -> Sight {
        let Some(views) = views else { return Sight::default() };
        let namespace = self.snapshot.namespace();
        let mut sight = Sight::default();
        let mut add = |parent: ItemId, name: &Name| {
            if let Some(path) = namespace.path_of(parent) {
                let one = views.sight(path.components().iter().chain([name]));
                sight = Sight { whole: sight.whole | one.whole, some: sight.some | one.some };
            }
        };
        if let Some(item) = self.memory.get(id) {
            add(item.parent, &item.name);
        } else if id == ItemId::ROOT {
            return views.sight([]);
        } else if let Ok(item) = self.item(id) {
            item.names().for_each(|(parent, name)| add(parent, name));
        }
        sight
    }

    /// What shares (`views`) have to do with a name in a directory.
    pub(super) fn sight_below(&self, views: Option<&Views>, directory: Ino, name: &Name) -> Sight {
        match (views, self.path_of_directory(directory)) {
            (Some(views), Some(path)) => views.sight(path.components().iter().chain([name])),
            _ => Sight::default(),
        }
    }

    fn path_of_directory(&self, directory: Ino) -> Option<ItemPath> {
        match self.inodes.get(directory).map(|inode| &inode.node) {
            Ok(Node::Item(id)) => self.snapshot.namespace().path_of(*id),
            _ if directory == self.inodes.root() => Some(ItemPath::root()),
            _ => None,
        }
    }

    /// Whether everybody has to ask for the attributes of an item for himself: what is next to one of its names is not the
    /// same for all, or the kernel opens it without asking for more.
    pub(super) fn is_gate(&self, id: ItemId) -> bool {
        if self.views.is_none() || id == ItemId::ROOT {
            return false;
        }
        if self.is_opened_by_the_kernel(id) {
            return true;
        }
        let mixed = |parent: ItemId| parent == ItemId::ROOT || !self.sight(parent).is_uniform();
        match self.memory.get(id) {
            Some(item) => mixed(item.parent),
            None => self.item(id).map_or(true, |item| item.names().any(|(parent, _)| mixed(parent))),
        }
    }

    /// FIFOs and sockets: the kernel has all of them, but their attributes.
    fn is_opened_by_the_kernel(&self, id: ItemId) -> bool {
        let kind = match self.memory.get(id) {
            Some(waiting) => Some(waiting.kind()),
            None => self.item(id).ok().map(|item| kind_of(&item.content)),
        };
        matches!(kind, Some(FileKind::Fifo | FileKind::Socket))
    }

    /// The listing of a directory as far as whoever opened it may see it.
    pub(super) fn listed_for(&self, directory: Ino, given: Option<&Given>, entries: Vec<DirEntry>) -> Vec<DirEntry> {
        // By the shares of the moment when it was opened.
        let Some(Given { views, grant }) = given else { return entries };
        let path = self.path_of_directory(directory);
        let place = match self.inodes.get(directory).map(|inode| &inode.node) {
            Ok(Node::Place(place)) => Some(place.clone()),
            _ => None,
        };
        let shows = |entry: &DirEntry| {
            let sight = match (&place, &path) {
                (Some(place), _) => {
                    let path = place.path_of_child(self.snapshot.namespace(), &entry.name);
                    path.map(|path| views.sight(path.components()))
                }
                (None, Some(path)) => Some(views.sight(path.components().iter().chain([&entry.name]))),
                (None, None) => None,
            };
            sight.is_some_and(|sight| grant.shows(sight, entry.kind == FileKind::Directory))
        };
        entries.into_iter().filter(shows).collect()
    }

    /// Modes on a mount with rules: shares are the permission. What leads to a share, and what a share covers, may be read
    /// by all who get there; covered by one that somebody may write, it may be written by all as far as the mode goes.
    pub(super) fn shared_mode(&self, id: ItemId, mode: u32) -> u32 {
        let Some(views) = &self.views else { return mode };
        let sight = if id == ItemId::ROOT { views.sight([]) } else { self.sight(id) };
        if sight.some == 0 && id != ItemId::ROOT {
            return mode;
        }
        let writes = sight.whole & views.written() != 0;
        // By the mode alone it is decided who may write to what the kernel opens: no rule is asked then.
        let (mode, open) = if self.is_opened_by_the_kernel(id) {
            (mode & !0o022, 0o5)
        } else {
            (mode, if writes { 0o7 } else { 0o5 })
        };
        let owner = mode >> 6 & open;
        mode | owner << 3 | owner
    }
}
