//! The tree of names and what stands behind them, as of one transaction.
//!
//! All maps are persistent: a clone costs nothing and shares what is not changed since, so that a transaction edits a
//! copy of its own while readers go on with theirs.

use std::collections::HashSet;
use std::sync::Arc;

use imbl::OrdMap;

use super::attributes::Attributes;
use super::base::Base;
use super::change::{Change, SecretLine};
use super::id::{CommitRef, ItemId};
use super::items::Items;
use super::name::{ItemPath, Name};
use super::suggest::closest;
use crate::error::{Error, Kind, Result};

/// What to do about items that cannot be read.
const DAMAGED: &str = "`pkfs fsck KEYNODE` says what is damaged; with --repair NEW it saves what is left";

/// The present state of a secret's branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the version that it belongs to, from 1.
    pub number: u32,
    /// The commit.
    pub commit: CommitRef,
}

impl Head {
    /// Reads `<id> <version> <commit> sha256:<digest>`.
    pub(super) fn parse(line: &[u8]) -> Result<(ItemId, Self)> {
        let read = || {
            let mut fields = line.splitn(3, |&b| b == b' ');
            let id = ItemId::from_hex(fields.next()?)?;
            let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            Some((id, Self { number, commit: CommitRef::from_bytes(fields.next()?)? }))
        };
        read().ok_or_else(|| Error::damaged("the head of a secret is not understood"))
    }
}

/// A secret's state in the namespace.
#[derive(Clone, Debug)]
pub struct SecretState {
    pub(super) line: SecretLine,
    pub(super) head: Option<Head>,
}

impl SecretState {
    /// Bytes of the present value.
    pub fn size(&self) -> u64 {
        self.line.size
    }

    /// Its newest commit; `None` only inside a transaction that has not been committed.
    pub fn head(&self) -> Option<Head> {
        self.head
    }
}

/// What an item is.
#[derive(Clone, Debug)]
pub enum Content {
    /// Names and what they lead to.
    Directory(OrdMap<Name, ItemId>),
    /// A value with its history.
    Secret(SecretState),
    /// A target, as symlink(2) was given it.
    Symlink(Arc<[u8]>),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

/// Anything that can have a name.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is called by in the log.
    pub id: ItemId,
    /// Mode, owner, times.
    pub attributes: Attributes,
    /// What it is.
    pub content: Content,
    pub(super) names: Vec<(ItemId, Name)>,
    /// How many directories it holds, itself a directory.
    pub(super) subdirectories: u32,
}

impl Item {
    /// Its names, each with the directory that holds it; none for the top directory and for deleted secrets.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (ItemId, &Name)> {
        self.names.iter().map(|(parent, name)| (*parent, name))
    }

    /// How many names it has, as `stat` counts links of anything but a directory.
    pub fn links(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// How many directories are in this one.
    pub fn subdirectories(&self) -> u32 {
        self.subdirectories
    }

    /// Puts a name into this directory, or leads it elsewhere. `false`: it is no directory.
    pub(super) fn put(&mut self, name: Name, id: ItemId, directory: bool) -> bool {
        let Content::Directory(children) = &mut self.content else { return false };
        children.insert(name, id);
        self.subdirectories += u32::from(directory);
        true
    }

    /// Takes a name out of this directory.
    pub(super) fn take(&mut self, name: &Name, directory: bool) {
        if let Content::Directory(children) = &mut self.content {
            children.remove(name);
            self.subdirectories = self.subdirectories.saturating_sub(u32::from(directory));
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    /// The state of a secret, `None` for anything else.
    pub fn secret(&self) -> Option<&SecretState> {
        match &self.content {
            Content::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// A directory's names, `None` for anything else.
    pub fn children(&self) -> Option<&OrdMap<Name, ItemId>> {
        match &self.content {
            Content::Directory(children) => Some(children),
            _ => None,
        }
    }
}

/// The tree.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub(super) items: Items,
    /// Last names of secrets that have none any more, newest last.
    pub(super) former: OrdMap<Vec<u8>, Vec<ItemId>>,
    pub(super) secrets: usize,
    /// Whether a checkpoint was written since it was read, for which all was read that there was.
    pub(super) renewed: bool,
}

impl Namespace {
    /// A tree that holds its top directory alone.
    pub fn new(attributes: Attributes) -> Self {
        let content = Content::Directory(OrdMap::new());
        let root = Item { id: ItemId::ROOT, attributes, content, names: Vec::new(), subdirectories: 0 };
        let mut items = Items::default();
        items.insert(root);
        Self { items, former: OrdMap::new(), secrets: 0, renewed: false }
    }

    /// The tree of a checkpoint.
    pub(super) fn of(base: Base, former: OrdMap<Vec<u8>, Vec<ItemId>>, secrets: usize) -> Self {
        Self { items: Items::new(base), former, secrets, renewed: false }
    }

    /// What has this id, deleted secrets included.
    pub fn item(&self, id: ItemId) -> Option<&Item> {
        self.items.get(id)
    }

    /// As [`Self::item`], where nothing must be taken for free that is only unreadable.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: there is such an item, and it cannot be read.
    pub fn lookup(&self, id: ItemId) -> Result<Option<&Item>> {
        match self.item(id) {
            None if self.items.contains(id) => Err(Error::damaged(format!("item {id} cannot be read")).hint(DAMAGED)),
            item => Ok(item),
        }
    }

    /// The top directory.
    #[allow(clippy::missing_panics_doc, reason = "there from the start and never removed")]
    pub fn root(&self) -> &Item {
        self.item(ItemId::ROOT).expect("the top directory is there")
    }

    /// What this name leads to in that directory.
    pub fn child(&self, directory: ItemId, name: &[u8]) -> Option<&Item> {
        self.item(self.child_id(directory, name)?)
    }

    /// The id of what this name leads to in that directory, whether or not it can be read.
    pub fn child_id(&self, directory: ItemId, name: &[u8]) -> Option<ItemId> {
        self.items.child(directory, name)
    }

    /// Whether there is a directory with this id.
    pub fn is_directory(&self, id: ItemId) -> bool {
        self.items.is_directory(id)
    }

    /// What a checkpoint says of its items is read when it is asked for: reads all the rest.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: some of it cannot be read.
    pub fn read_all(&self) -> Result<()> {
        self.items.read_all()?;
        self.whole()
    }

    /// Fails where something was asked for and could not be read, so that nothing is built on its absence.
    pub(super) fn whole(&self) -> Result<()> {
        if self.items.base().lacks() {
            return Err(Error::damaged("some items of the checkpoint cannot be read").hint(DAMAGED));
        }
        Ok(())
    }

    /// As much of this tree as can be read, apart from the checkpoint that it comes from; with those of its items of which
    /// nothing is left but their names.
    pub(super) fn salvaged(&self) -> Result<(Self, Vec<ItemId>)> {
        let (items, bare) = self.items.salvaged()?;
        Ok((Self { items, former: self.former.clone(), secrets: self.secrets, renewed: false }, bare))
    }

    /// Whether the checkpoint that it comes from is damaged, and no other was written since.
    pub(super) fn needs_checkpoint(&self) -> bool {
        !self.renewed && self.items.base().is_damaged()
    }

    /// What a path leads to; symlinks are not followed.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with a suggestion where a name is close, or [`Kind::NotDirectory`].
    pub fn resolve(&self, path: &ItemPath) -> Result<&Item> {
        let mut id = ItemId::ROOT;
        let mut at = ItemPath::root();
        for name in path.components() {
            if !self.is_directory(id) {
                return Err(Error::new(Kind::NotDirectory, format!("{at}: not a directory")));
            }
            let Some(next) = self.child_id(id, name.as_bytes()) else {
                let error = Error::not_found(format!("{path}: no such secret"));
                let close = closest(name, self.item(id).and_then(Item::children).into_iter().flat_map(OrdMap::keys));
                return Err(match close {
                    Some(near) => error.hint(format!("did you mean {}?", at.join(near.clone()))),
                    None => error,
                });
            };
            id = next;
            at.push(name.clone());
        }
        let cannot = || Error::damaged(format!("{path}: cannot be read")).hint(DAMAGED);
        self.item(id).ok_or_else(cannot)
    }

    /// The path of an item's first name; `None` for what has no name.
    pub fn path_of(&self, id: ItemId) -> Option<ItemPath> {
        let mut names = Vec::new();
        let mut at = id;
        while at != ItemId::ROOT {
            let (parent, name) = self.item(at)?.names.first()?;
            names.push(name.clone());
            at = *parent;
        }
        Some(names.into_iter().rev().collect())
    }

    /// Whether a name of an item can be reached from the top: a state as a share shows it has names that cannot.
    pub fn reaches(&self, parent: ItemId, name: &Name, id: ItemId) -> bool {
        let (mut parent, mut name, mut id) = (parent, name, id);
        while self.child(parent, name.as_bytes()).is_some_and(|child| child.id == id) {
            if parent == ItemId::ROOT {
                return true;
            }
            // A directory has one name.
            let Some(above) = self.item(parent).and_then(|item| item.names.first()) else { return false };
            id = parent;
            (parent, name) = (above.0, &above.1);
        }
        false
    }

    /// The most bytes that a path has below this item, with a slash before each name.
    pub(super) fn longest_below(&self, id: ItemId) -> usize {
        let mut longest = 0;
        let mut open = vec![(id, 0)];
        while let Some((id, length)) = open.pop() {
            longest = longest.max(length);
            let children = self.item(id).and_then(Item::children).into_iter().flatten();
            open.extend(children.map(|(name, child)| (*child, length + name.as_bytes().len() + 1)));
        }
        longest
    }

    /// Secrets that had this path as their last name and have none now, newest last.
    pub fn former(&self, path: &ItemPath) -> &[ItemId] {
        self.former.get(&path.to_bytes()).map_or(&[], Vec::as_slice)
    }

    /// All former names with their secrets, in the order of their bytes.
    pub fn former_names(&self) -> impl Iterator<Item = (&[u8], &[ItemId])> {
        self.former.iter().map(|(path, ids)| (path.as_slice(), ids.as_slice()))
    }

    /// Names directly in a directory that only deleted secrets know: each with whether it was a directory.
    pub fn deleted_below(&self, directory: &ItemPath) -> Vec<(Name, bool)> {
        let mut prefix = directory.to_bytes();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let mut names: Vec<(Name, bool)> = Vec::new();
        let mut seen = HashSet::new();
        for (path, _) in self.former.range(prefix.clone()..) {
            let Some(rest) = path.strip_prefix(prefix.as_slice()) else { break };
            let mut parts = rest.splitn(2, |&b| b == b'/');
            let Some(Ok(name)) = parts.next().map(Name::new) else { continue };
            let entry = (name, parts.next().is_some());
            if names.last() != Some(&entry) && seen.insert(entry.clone()) {
                names.push(entry);
            }
        }
        names
    }

    /// How many secrets have a name.
    pub fn secrets(&self) -> usize {
        self.secrets
    }

    /// How many items there are, directories and deleted secrets included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing but the top directory was ever here.
    pub fn is_empty(&self) -> bool {
        self.items.len() == 1
    }

    /// Everything, in no order.
    ///
    /// # Errors
    /// As [`Self::read_all`].
    pub fn items(&self) -> Result<impl Iterator<Item = &Item>> {
        self.read_all()?;
        Ok(self.items.iter())
    }

    /// Everything below an item and itself, depth first, names in order of their bytes.
    ///
    /// # Errors
    /// As [`Self::read_all`].
    pub fn walk(&self, from: ItemId) -> Result<Walk<'_>> {
        if self.is_directory(from) {
            self.read_all()?;
        }
        let start = self.lookup(from)?.and_then(|item| Some((self.path_of(from)?, item)));
        Ok(Walk { namespace: self, pending: start.into_iter().collect() })
    }

    /// The lines that make this tree, in an order in which they can be applied: each directory is followed by the names in
    /// it that are not directories.
    pub(super) fn lines(&self, visit: &mut dyn FnMut(Change)) {
        let mut linked = HashSet::new();
        let mut open = vec![(ItemPath::root(), self.root())];
        while let Some((path, directory)) = open.pop() {
            let below = open.len();
            let attributes = directory.attributes;
            visit(Change::Directory { path: path.clone(), id: directory.id, attributes });
            for (name, id) in directory.children().into_iter().flatten() {
                let Some(item) = self.item(*id) else { continue };
                let path = path.join(name.clone());
                if item.is_directory() {
                    open.push((path, item));
                    continue;
                }
                if item.names.len() == 1 || linked.insert(item.id) {
                    visit(item.definition());
                }
                visit(Change::Name { path, id: item.id });
            }
            open[below..].reverse();
        }
        let mut deleted: Vec<&Item> =
            self.items.iter().filter(|i| i.names.is_empty() && i.secret().is_some()).collect();
        deleted.sort_unstable_by_key(|item| item.id);
        for item in deleted {
            visit(item.definition());
        }
        for (path, ids) in &self.former {
            if let Ok(path) = ItemPath::parse(path) {
                for &id in ids {
                    visit(Change::Former { path: path.clone(), id });
                }
            }
        }
    }
}

impl Item {
    /// The line that brings it into being, names aside.
    fn definition(&self) -> Change {
        let (id, attributes) = (self.id, self.attributes);
        match &self.content {
            // A directory's one line carries its path, which only the tree knows.
            Content::Directory(_) => Change::Attributes { id, attributes },
            Content::Secret(secret) => Change::Secret { id, attributes, secret: secret.line.clone() },
            Content::Symlink(target) => Change::Symlink { id, attributes, target: target.clone() },
            Content::Fifo => Change::Fifo { id, attributes },
            Content::Socket => Change::Socket { id, attributes },
        }
    }
}

/// See [`Namespace::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    namespace: &'a Namespace,
    pending: Vec<(ItemPath, &'a Item)>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (ItemPath, &'a Item);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, item) = self.pending.pop()?;
        if let Some(children) = item.children() {
            for (name, id) in children.iter().rev() {
                if let Some(child) = self.namespace.item(*id) {
                    self.pending.push((path.join(name.clone()), child));
                }
            }
        }
        Some((path, item))
    }
}
