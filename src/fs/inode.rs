//! The inode table: what each number that the kernel holds stands for.
//!
//! A number is a function of what it stands for: of a secret's id and, once the secret was changed from outside, of
//! its head at that time; of its place, for the history. Two things with the same number are told apart by stepping
//! on to the next one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::buffer::Buffer;
use super::history::Place;
use super::types::{FileKind, Ino};
use crate::error::{Error, Result};
use crate::node::{Attributes, CommitRef, ItemId, Snapshot};

/// What an inode stands for.
#[derive(Clone)]
pub(super) enum Node {
    /// An item of the namespace, or a file that waits in memory: whatever has this id now.
    Item(ItemId),
    /// What an item once was: unlinked, or replaced from outside, but still open or in use.
    Detached(Arc<Detached>),
    /// A file or directory of the history.
    Place(Arc<Place>),
    /// `.views`.
    Views,
}

/// An item as it was when its inode lost its name.
pub(super) struct Detached {
    /// The snapshot in which it is found, for reading; `None` for what was in memory alone.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Its id in that snapshot.
    pub(super) id: ItemId,
    /// Its attributes since.
    pub(super) attributes: Attributes,
    /// Its type. Of a directory nothing is left but a working directory.
    pub(super) kind: FileKind,
    /// The secret that its unsaved changes go on top of: it was replaced from outside, not unlinked.
    pub(super) commits_to: Option<ItemId>,
}

/// One inode.
pub(super) struct Inode {
    pub(super) node: Node,
    /// References that the kernel holds.
    pub(super) lookups: u64,
    /// Open handles, and how many of them may write.
    pub(super) opens: u32,
    pub(super) writers: u32,
    /// Calls that are changing the content just now.
    pub(super) changing: u32,
    /// The content while it is being written or waits in memory.
    pub(super) buffer: Option<Arc<Buffer>>,
}

impl Inode {
    fn is_unused(&self) -> bool {
        self.lookups == 0 && self.opens == 0 && self.changing == 0 && self.buffer.is_none()
    }
}

/// What leads to an inode.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Item(ItemId),
    Place(String),
    Views,
}

impl Node {
    /// Detached nodes are reached by number alone.
    fn key(&self) -> Option<Key> {
        match self {
            Self::Item(id) => Some(Key::Item(*id)),
            Self::Place(place) => Some(Key::Place(place.key().to_owned())),
            Self::Views => Some(Key::Views),
            Self::Detached(_) => None,
        }
    }
}

/// All inodes that the kernel or a handle refers to, or whose content waits in memory.
#[derive(Default)]
pub(super) struct Inodes {
    by_number: HashMap<Ino, Inode>,
    by_key: HashMap<Key, Ino>,
    /// Heads by which others last changed secrets.
    origins: HashMap<ItemId, CommitRef>,
    /// The tree that they belong to.
    tree: usize,
}

impl Inodes {
    /// None yet, of a tree.
    pub(super) fn of(tree: usize) -> Self {
        Self { tree, ..Self::default() }
    }

    /// The number of the top directory.
    pub(super) const fn root(&self) -> Ino {
        Ino::within(self.tree, Ino::ROOT.0)
    }

    /// The inode of a number.
    ///
    /// # Errors
    /// `NotFound` if nothing has this number.
    pub(super) fn get(&self, ino: Ino) -> Result<&Inode> {
        self.by_number.get(&ino).ok_or_else(stale)
    }

    /// As [`Self::get`], to be changed.
    pub(super) fn get_mut(&mut self, ino: Ino) -> Result<&mut Inode> {
        self.by_number.get_mut(&ino).ok_or_else(stale)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ino, &Inode)> {
        self.by_number.iter().map(|(ino, inode)| (*ino, inode))
    }

    /// The number that an item has or would get.
    pub(super) fn number_of(&self, id: ItemId) -> Ino {
        self.number(&Key::Item(id))
    }

    /// The number that a place of the history has or would get.
    pub(super) fn number_of_place(&self, key: &str) -> Ino {
        self.number(&Key::Place(key.to_owned()))
    }

    /// The number of `.views`.
    pub(super) fn number_of_views(&self) -> Ino {
        self.number(&Key::Views)
    }

    /// The inode of an item, if it is in the table.
    pub(super) fn find(&self, id: ItemId) -> Option<(Ino, &Inode)> {
        let ino = *self.by_key.get(&Key::Item(id))?;
        Some((ino, self.by_number.get(&ino)?))
    }

    /// Makes sure that the node has an inode.
    pub(super) fn ensure(&mut self, node: &Node) -> Ino {
        // A detached node has an inode for as long as it exists, so it never comes here.
        let Some(key) = node.key() else { return Ino(0) };
        let ino = self.number(&key);
        if let Entry::Vacant(free) = self.by_number.entry(ino) {
            free.insert(Inode { node: node.clone(), lookups: 0, opens: 0, writers: 0, changing: 0, buffer: None });
            self.by_key.insert(key, ino);
        }
        ino
    }

    /// Counts one look-up by the kernel.
    pub(super) fn look_up(&mut self, node: &Node) -> Ino {
        let ino = self.ensure(node);
        if let Some(inode) = self.by_number.get_mut(&ino) {
            inode.lookups += 1;
        }
        ino
    }

    /// The kernel drops this many references.
    pub(super) fn forget(&mut self, ino: Ino, count: u64) {
        if let Some(inode) = self.by_number.get_mut(&ino) {
            inode.lookups = inode.lookups.saturating_sub(count);
            self.drop_if_unused(ino);
        }
    }

    /// Drops an inode that nobody refers to.
    pub(super) fn drop_if_unused(&mut self, ino: Ino) {
        if self.by_number.get(&ino).is_some_and(Inode::is_unused)
            && let Some(inode) = self.by_number.remove(&ino)
            && let Some(key) = inode.node.key()
        {
            self.by_key.remove(&key);
        }
    }

    /// Lets a number stand for something else from now on: its item goes on under another id, or lost its name.
    pub(super) fn rebind(&mut self, ino: Ino, node: Node) {
        let Some(inode) = self.by_number.get_mut(&ino) else { return };
        if let Some(key) = inode.node.key()
            && self.by_key.get(&key) == Some(&ino)
        {
            self.by_key.remove(&key);
        }
        if let Some(key) = node.key() {
            self.by_key.insert(key, ino);
        }
        inode.node = node;
    }

    /// Notes that others changed a secret: its next inode is another one.
    pub(super) fn changed_outside(&mut self, id: ItemId, head: CommitRef) {
        self.origins.insert(id, head);
    }

    /// The item is gone for good.
    pub(super) fn gone(&mut self, id: ItemId) {
        self.origins.remove(&id);
    }

    fn number(&self, key: &Key) -> Ino {
        if let Some(ino) = self.by_key.get(key) {
            return *ino;
        }
        let mut hash = Hash::new();
        match key {
            Key::Item(ItemId::ROOT) => return self.root(),
            Key::Item(id) => {
                hash.add(id.as_bytes());
                if let Some(head) = self.origins.get(id) {
                    hash.add(head.oid.to_string().as_bytes());
                }
            }
            Key::Place(path) => {
                hash.add(b".versions/");
                hash.add(path.as_bytes());
            }
            Key::Views => hash.add(b".views"),
        }
        let mut number = Ino::within(self.tree, hash.finish());
        while number.0 == Ino::within(self.tree, 0).0 || number == self.root() || self.by_number.contains_key(&number) {
            number = Ino::within(self.tree, number.0.wrapping_add(1));
        }
        number
    }
}

fn stale() -> Error {
    Error::not_found("the file is gone")
}

/// FNV-1a with a final mix: the same on every machine and in every release.
pub(super) struct Hash(u64);

impl Hash {
    /// That of a few bytes.
    pub(super) fn of(bytes: &[u8]) -> u64 {
        let mut hash = Self::new();
        hash.add(bytes);
        hash.finish()
    }

    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    const fn finish(&self) -> u64 {
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_the_item_and_not_on_the_order_of_lookups() {
        let (a, b) = (ItemId::random(), ItemId::random());
        let (mut one, mut two) = (Inodes::default(), Inodes::default());
        let first = (one.look_up(&Node::Item(a)), one.look_up(&Node::Item(b)));
        let second = (two.look_up(&Node::Item(b)), two.look_up(&Node::Item(a)));
        assert_eq!(first, (second.1, second.0));
        assert_eq!(one.number_of(ItemId::ROOT), Ino::ROOT);
    }

    #[test]
    fn an_inode_lives_until_the_last_reference_goes() {
        let id = ItemId::random();
        let mut inodes = Inodes::default();
        let ino = inodes.look_up(&Node::Item(id));
        inodes.look_up(&Node::Item(id));
        inodes.forget(ino, 1);
        assert_eq!(inodes.get(ino).unwrap().lookups, 1);
        inodes.forget(ino, 1);
        assert!(inodes.get(ino).is_err());
    }

    #[test]
    fn a_number_that_is_taken_is_stepped_over() {
        let id = ItemId::random();
        let mut inodes = Inodes::default();
        let first = inodes.look_up(&Node::Item(id));
        inodes.rebind(first, Node::Item(ItemId::random()));
        let second = inodes.look_up(&Node::Item(id));
        assert_eq!(second.0, first.0 + 1);
    }
}
