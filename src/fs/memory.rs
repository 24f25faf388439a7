//! What is not in the keynode: new files before their first commit, editors' scratch files, attributes on their way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::types::{FileKind, SetAttributes};
use crate::node::{Attributes, ItemId, Name};
use crate::time::Timestamp;

/// How long a waiting file must be left alone before it becomes a secret, and how long a secret may be taken for a
/// temporary file of whoever made it.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// How a file that was created through the mount becomes a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// With its first commit.
    Lasting,
    /// If it still exists [`WAIT`] after its last close: `*~`, `4913`, `sed??????`.
    Waiting,
    /// Never: `.*.sw?`, `.*.swpx`, `.#*`, `#*#`.
    Volatile,
}

impl Class {
    /// What the name says.
    pub(super) fn of(name: &Name) -> Self {
        let name = name.as_bytes();
        // With one letter more, vim tries whether the file system cuts names off.
        let swap = matches!(name, [b'.', _, .., b'.', b's', b'w', _] | [b'.', _, .., b'.', b's', b'w', b'p', b'x']);
        let emacs = name.starts_with(b".#") || (name.len() >= 3 && name.starts_with(b"#") && name.ends_with(b"#"));
        if swap || emacs {
            Self::Volatile
        } else if (name.len() >= 2 && name.ends_with(b"~")) || name == b"4913" || is_sed(name) {
            Self::Waiting
        } else {
            Self::Lasting
        }
    }
}

/// `sed -i` makes its temporary file with mkstemp: six letters and digits.
fn is_sed(name: &[u8]) -> bool {
    name.len() == 9 && name.strip_prefix(b"sed").is_some_and(|rest| rest.iter().all(u8::is_ascii_alphanumeric))
}

/// A file or symlink in memory. A file's content is the buffer of its inode.
#[derive(Debug, Clone)]
pub(super) struct MemoryItem {
    pub(super) parent: ItemId,
    pub(super) name: Name,
    pub(super) attributes: Attributes,
    /// A symlink's target.
    pub(super) target: Option<Arc<[u8]>>,
    pub(super) class: Class,
    /// Since when nobody has it open.
    pub(super) closed: Option<Instant>,
    /// A secret that was renamed to a scratch name, and whose history this file goes on with.
    pub(super) continues: Option<ItemId>,
}

impl MemoryItem {
    /// Its type.
    pub(super) fn kind(&self) -> FileKind {
        if self.target.is_some() { FileKind::Symlink } else { FileKind::Regular }
    }
}

/// Everything that the next transactions may bring to the keynode.
#[derive(Default)]
pub(super) struct Memory {
    items: HashMap<ItemId, MemoryItem>,
    names: BTreeMap<ItemId, BTreeMap<Name, ItemId>>,
    attributes: HashMap<ItemId, AttributeChange>,
    /// Directories in which names in memory came and went, and when: shown until something later is known of them.
    touched: HashMap<ItemId, Timestamp>,
    /// Names from which secrets were moved to scratch names, and where those went.
    aside: HashMap<(ItemId, Name), ItemId>,
    /// Secrets that this mount made.
    made: HashMap<ItemId, Made>,
}

/// How a secret began.
#[derive(Debug, Clone, Copy)]
struct Made {
    /// When the session that made it was last seen at work.
    last: Instant,
    /// Its first version was empty, to have the name, and it was written to by the second.
    filled: bool,
}

/// Fields of an item's attributes that are to be set with the next transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AttributeChange {
    set: SetAttributes,
    ctime: Timestamp,
}

impl AttributeChange {
    /// A change, made now.
    pub(super) fn new(set: SetAttributes, ctime: Timestamp) -> Self {
        Self { set: SetAttributes { size: None, ..set }, ctime }
    }

    /// The attributes with the change made.
    pub(super) fn applied(&self, to: Attributes) -> Attributes {
        let set = &self.set;
        Attributes {
            mode: set.mode.unwrap_or(to.mode),
            uid: set.uid.unwrap_or(to.uid),
            gid: set.gid.unwrap_or(to.gid),
            atime: set.atime.unwrap_or(to.atime),
            mtime: set.mtime.unwrap_or(to.mtime),
            ctime: to.ctime.max(self.ctime),
        }
    }

    fn merged(self, newer: Self) -> Self {
        let (old, new) = (self.set, newer.set);
        let set = SetAttributes {
            mode: new.mode.or(old.mode),
            uid: new.uid.or(old.uid),
            gid: new.gid.or(old.gid),
            atime: new.atime.or(old.atime),
            mtime: new.mtime.or(old.mtime),
            size: None,
        };
        Self { set, ctime: newer.ctime }
    }
}

impl Memory {
    /// The item of this id, if it is in memory.
    pub(super) fn get(&self, id: ItemId) -> Option<&MemoryItem> {
        self.items.get(&id)
    }

    /// As [`Self::get`], to be changed; not its place.
    pub(super) fn get_mut(&mut self, id: ItemId) -> Option<&mut MemoryItem> {
        self.items.get_mut(&id)
    }

    /// What this name leads to in memory.
    pub(super) fn child(&self, parent: ItemId, name: &Name) -> Option<ItemId> {
        self.names.get(&parent)?.get(name).copied()
    }

    /// The names in memory of a directory.
    pub(super) fn children(&self, parent: ItemId) -> impl Iterator<Item = (&Name, ItemId)> {
        self.names.get(&parent).into_iter().flatten().map(|(name, id)| (name, *id))
    }

    /// Adds an item at its place.
    pub(super) fn insert(&mut self, id: ItemId, item: MemoryItem) {
        self.names.entry(item.parent).or_default().insert(item.name.clone(), id);
        self.items.insert(id, item);
    }

    /// Takes an item out: it is a secret now, or gone.
    pub(super) fn remove(&mut self, id: ItemId) -> Option<MemoryItem> {
        let item = self.items.remove(&id)?;
        if let Some(names) = self.names.get_mut(&item.parent) {
            names.remove(&item.name);
            if names.is_empty() {
                self.names.remove(&item.parent);
            }
        }
        Some(item)
    }

    /// Notes that an editor moved a secret to a scratch name, to write a new file under the old one.
    pub(super) fn moved_aside(&mut self, parent: ItemId, name: Name, id: ItemId) {
        self.aside.insert((parent, name), id);
    }

    /// The secret that was moved from this name, once.
    pub(super) fn take_aside(&mut self, parent: ItemId, name: &Name) -> Option<ItemId> {
        self.aside.remove(&(parent, name.clone()))
    }

    /// Notes that a session of this mount has just made a secret.
    pub(super) fn made(&mut self, id: ItemId) {
        self.made.insert(id, Made { last: Instant::now(), filled: false });
    }

    /// Notes that a secret whose only version was empty has another one now.
    pub(super) fn filled(&mut self, id: ItemId) {
        if let Some(made) = self.made.get_mut(&id) {
            made.filled = true;
        }
    }

    /// Notes that a writer of a secret has just closed it.
    pub(super) fn written(&mut self, id: ItemId) {
        if let Some(made) = self.made.get_mut(&id) {
            made.last = Instant::now();
        }
    }

    /// Whether a secret with this many versions was made and written once, just now, by this mount.
    pub(super) fn is_new(&self, id: ItemId, versions: u32) -> bool {
        self.made.get(&id).is_some_and(|made| versions == 1 || (made.filled && versions == 2))
    }

    /// Forgets what was made a while ago and is not `open` any more, and directories that are gone.
    pub(super) fn age(&mut self, now: Instant, open: impl Fn(ItemId) -> bool, lives: impl Fn(ItemId) -> bool) {
        self.touched.retain(|id, _| lives(*id));
        self.made.retain(|id, made| now.saturating_duration_since(made.last) < WAIT || open(*id));
    }

    /// Notes an attribute change of an item of the namespace.
    pub(super) fn change(&mut self, id: ItemId, set: SetAttributes, ctime: Timestamp) {
        if set.mtime.is_some() {
            self.touched.remove(&id);
        }
        let newer = AttributeChange::new(set, ctime);
        let entry = self.attributes.entry(id).or_default();
        *entry = entry.merged(newer);
    }

    /// Notes that a name came to a directory in memory: if it becomes a secret's, this is saved with it.
    pub(super) fn name_came(&mut self, directory: ItemId) {
        self.touched.insert(directory, Timestamp::now());
    }

    /// Notes that a name in memory left a directory. Of scratch files that never become secrets nothing is saved.
    pub(super) fn name_went(&mut self, directory: ItemId, class: Class) {
        let now = Timestamp::now();
        if class == Class::Volatile {
            self.touched.insert(directory, now);
        } else {
            self.change(directory, SetAttributes { mtime: Some(now), ..SetAttributes::default() }, now);
        }
    }

    /// Attribute changes on their way.
    pub(super) fn changes(&self) -> &HashMap<ItemId, AttributeChange> {
        &self.attributes
    }

    /// An item's attributes with what is on its way.
    pub(super) fn effective(&self, id: ItemId, attributes: Attributes) -> Attributes {
        let saved_soon = self.attributes.get(&id).map_or(attributes, |change| change.applied(attributes));
        let Some(&touched) = self.touched.get(&id) else { return saved_soon };
        // A time ahead of the last change was set, before the directory was touched: setting one forgets that.
        let ahead = saved_soon.mtime > saved_soon.ctime;
        let mtime = if ahead { touched } else { touched.max(saved_soon.mtime) };
        Attributes { mtime, ctime: touched.max(saved_soon.ctime), ..saved_soon }
    }

    /// These changes are on disk, or their items are gone; what was changed again since stays.
    pub(super) fn changes_saved(&mut self, saved: &HashMap<ItemId, AttributeChange>) {
        self.attributes.retain(|id, change| saved.get(id) != Some(change));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn class(name: &str) -> Class {
        Class::of(&Name::new(name.as_bytes()).unwrap())
    }

    #[test]
    fn scratch_files_are_known_by_name() {
        for name in [".password.swp", ".a.swx", ".a.swpx", ".#notes", "#notes#"] {
            assert_eq!(class(name), Class::Volatile, "{name}");
        }
        for name in ["password~", "4913", "sedA1b2C3"] {
            assert_eq!(class(name), Class::Waiting, "{name}");
        }
        for name in [
            "password",
            "~",
            ".swp",
            ".swpx",
            "a.swp",
            "a.swpx",
            "49130",
            "sedation",
            "sed-------",
            "#",
            "##",
            "sedAAAAAA.txt",
        ] {
            assert_eq!(class(name), Class::Lasting, "{name}");
        }
    }

    #[test]
    fn a_change_made_while_another_is_saved_stays() {
        let (id, mut memory) = (ItemId::random(), Memory::default());
        let now = Timestamp::now();
        memory.change(id, SetAttributes { mode: Some(0o600), ..SetAttributes::default() }, now);
        let saving = memory.changes().clone();
        memory.change(id, SetAttributes { uid: Some(7), ..SetAttributes::default() }, now);
        memory.changes_saved(&saving);
        let after = memory.effective(id, Attributes::new(0o644));
        assert_eq!((after.mode, after.uid), (0o600, 7));
        memory.changes_saved(&memory.changes().clone());
        assert!(memory.changes().is_empty());
    }
}
