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
use crate::crypto::Locked;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

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
    fn take(&mut self, name: &Name, directory: bool) {
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
    items: Items,
    /// Last names of secrets that have none any more, newest last.
    former: OrdMap<Vec<u8>, Vec<ItemId>>,
    secrets: usize,
}

impl Namespace {
    /// A tree that holds its top directory alone.
    pub fn new(attributes: Attributes) -> Self {
        let content = Content::Directory(OrdMap::new());
        let root = Item { id: ItemId::ROOT, attributes, content, names: Vec::new(), subdirectories: 0 };
        let mut items = Items::default();
        items.insert(root);
        Self { items, former: OrdMap::new(), secrets: 0 }
    }

    /// The tree of a checkpoint.
    pub(super) fn of(base: Base, former: OrdMap<Vec<u8>, Vec<ItemId>>, secrets: usize) -> Self {
        Self { items: Items::new(base), former, secrets }
    }

    /// What has this id, deleted secrets included.
    pub fn item(&self, id: ItemId) -> Option<&Item> {
        self.items.get(id)
    }

    /// The top directory.
    #[allow(clippy::missing_panics_doc, reason = "there from the start and never removed")]
    pub fn root(&self) -> &Item {
        self.item(ItemId::ROOT).expect("the top directory is there")
    }

    /// What this name leads to in that directory.
    pub fn child(&self, directory: ItemId, name: &[u8]) -> Option<&Item> {
        self.item(*self.item(directory)?.children()?.get(name)?)
    }

    /// What a path leads to; symlinks are not followed.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with a suggestion where a name is close, or [`Kind::NotDirectory`].
    pub fn resolve(&self, path: &ItemPath) -> Result<&Item> {
        let mut item = self.root();
        let mut at = ItemPath::root();
        for name in path.components() {
            let Some(children) = item.children() else {
                return Err(Error::new(Kind::NotDirectory, format!("{at}: not a directory")));
            };
            let Some(next) = children.get(name).and_then(|&id| self.item(id)) else {
                let error = Error::not_found(format!("{path}: no such secret"));
                let close = closest(name, children.keys());
                return Err(match close {
                    Some(near) => error.hint(format!("did you mean {}?", at.join(near.clone()))),
                    None => error,
                });
            };
            item = next;
            at.push(name.clone());
        }
        Ok(item)
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
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// Everything below an item and itself, depth first, names in order of their bytes.
    pub fn walk(&self, from: ItemId) -> Walk<'_> {
        let start = self.path_of(from).and_then(|path| self.item(from).map(|item| (path, item)));
        Walk { namespace: self, pending: start.into_iter().collect() }
    }

    /// Does what a line says.
    ///
    /// `date` is the transaction's: directories whose names change, and items whose names change, take it as mtime and
    /// ctime; `None` while reading a checkpoint, whose lines are the state itself.
    ///
    /// # Errors
    /// A [`Kind`] as the system call would have it: the line does not fit the tree.
    pub fn apply(&mut self, change: &Change, date: Option<Timestamp>) -> Result<()> {
        match change {
            Change::Directory { path, id, attributes } if path.is_root() => {
                if *id != ItemId::ROOT {
                    return Err(Error::damaged("the top directory has a foreign id"));
                }
                self.edit(ItemId::ROOT)?.attributes = *attributes;
                Ok(())
            }
            Change::Directory { path, id, attributes } => {
                self.define(*id, *attributes, Content::Directory(OrdMap::new()))?;
                self.bind(path, *id, date.map(|_| attributes.ctime))
            }
            Change::Secret { id, attributes, secret } => self.set_secret(*id, *attributes, secret),
            Change::Symlink { id, attributes, target } => {
                self.define(*id, *attributes, Content::Symlink(target.clone()))
            }
            Change::Fifo { id, attributes } => self.define(*id, *attributes, Content::Fifo),
            Change::Socket { id, attributes } => self.define(*id, *attributes, Content::Socket),
            Change::Attributes { id, attributes } => {
                self.edit(*id)?.attributes = *attributes;
                Ok(())
            }
            Change::Name { path, id } => self.bind(path, *id, date),
            Change::Former { path, id } => {
                if !self.item(*id).is_some_and(|item| item.secret().is_some() && item.names.is_empty()) {
                    return Err(Error::damaged(format!("former name {path} of what is no deleted secret")));
                }
                self.former.entry(path.to_bytes()).or_default().push(*id);
                Ok(())
            }
            Change::Remove { path } => self.unbind(path, date).map(|id| self.settle(id, path)),
            Change::Forget { path } => {
                let id = self.unbind(path, date)?;
                if self.item(id).is_some_and(|item| item.names.is_empty()) {
                    self.items.remove(id);
                }
                Ok(())
            }
            Change::Move { from, to } => self.relocate(from, to, date),
            Change::Exchange { one, other } => self.exchange(one, other, date),
            Change::Slot { .. } | Change::Share { .. } | Change::Repaired { .. } => Ok(()),
        }
    }

    /// Sets the head of a secret.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: there is no such secret.
    pub(super) fn set_head(&mut self, id: ItemId, head: Head) -> Result<()> {
        match self.edit(id).map(|item| &mut item.content) {
            Ok(Content::Secret(secret)) => {
                secret.head = Some(head);
                Ok(())
            }
            _ => Err(Error::damaged(format!("a head for {id}, which is no secret"))),
        }
    }

    /// Writes the whole as lines that [`Self::apply`] reads back.
    pub(super) fn write(&self, out: &mut Locked) {
        self.lines(&mut |line| line.write(out));
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
        let mut deleted: Vec<&Item> = self.items().filter(|i| i.names.is_empty() && i.secret().is_some()).collect();
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

    /// Drops an item that cannot be read any more, with all its names.
    pub(super) fn drop_item(&mut self, id: ItemId) {
        let Some(item) = self.item(id) else { return };
        let (names, secret, is_directory) = (item.names.clone(), item.secret().is_some(), item.is_directory());
        for (directory, name) in &names {
            if let Ok(parent) = self.edit(*directory) {
                parent.take(name, is_directory);
            }
        }
        if secret && !names.is_empty() {
            self.secrets -= 1;
        }
        self.drop_former(&ItemPath::root(), id);
        self.items.remove(id);
    }

    fn edit(&mut self, id: ItemId) -> Result<&mut Item> {
        self.items.get_mut(id).ok_or_else(|| Error::damaged(format!("there is no item {id}")))
    }

    fn define(&mut self, id: ItemId, attributes: Attributes, content: Content) -> Result<()> {
        if self.items.get(id).is_some() {
            return Err(Error::damaged(format!("the id {id} is taken")));
        }
        self.items.insert(Item { id, attributes, content, names: Vec::new(), subdirectories: 0 });
        Ok(())
    }

    fn set_secret(&mut self, id: ItemId, attributes: Attributes, line: &SecretLine) -> Result<()> {
        if self.items.get(id).is_none() {
            return self.define(id, attributes, Content::Secret(SecretState { line: line.clone(), head: None }));
        }
        let item = self.edit(id)?;
        let Content::Secret(secret) = &mut item.content else {
            return Err(Error::damaged(format!("the id {id} belongs to something else than a secret")));
        };
        secret.line = line.clone();
        item.attributes = attributes;
        Ok(())
    }

    /// The directory and last name of a path.
    fn place<'p>(&self, path: &'p ItemPath) -> Result<(ItemId, &'p Name)> {
        let Some(name) = path.name() else {
            return Err(Error::new(Kind::Invalid, "the top directory cannot be moved or removed"));
        };
        let mut at = self.root();
        for part in &path.components()[..path.components().len() - 1] {
            let next = at.children().and_then(|children| children.get(part)).and_then(|&id| self.item(id));
            at = next.ok_or_else(|| Error::not_found(format!("{path}: no such directory")))?;
        }
        if at.is_directory() {
            Ok((at.id, name))
        } else {
            Err(Error::new(Kind::NotDirectory, format!("{path}: its parent is not a directory")))
        }
    }

    fn touch(&mut self, directory: ItemId, date: Option<Timestamp>) -> Result<()> {
        if let Some(date) = date {
            let attributes = &mut self.edit(directory)?.attributes;
            (attributes.mtime, attributes.ctime) = (date, date);
        }
        Ok(())
    }

    /// Gives an item a name that is free.
    fn bind(&mut self, path: &ItemPath, id: ItemId, date: Option<Timestamp>) -> Result<()> {
        let (directory, name) = self.place(path)?;
        if self.child(directory, name.as_bytes()).is_some() {
            return Err(Error::new(Kind::Exists, format!("{path}: exists already")));
        }
        let item = self.edit(id)?;
        let is_directory = item.is_directory();
        if is_directory && !item.names.is_empty() || id == ItemId::ROOT {
            return Err(Error::damaged(format!("{path}: a directory has one name only")));
        }
        item.names.push((directory, name.clone()));
        if let Some(date) = date {
            item.attributes.ctime = date;
        }
        let revived = item.secret().is_some() && item.names.len() == 1;
        if revived {
            self.secrets += 1;
            self.drop_former(path, id);
        }
        if !self.edit(directory)?.put(name.clone(), id, is_directory) {
            return Err(Error::new(Kind::NotDirectory, format!("{path}: its parent is not a directory")));
        }
        self.touch(directory, date)
    }

    /// A deleted secret that gets a name is no former one any more, whatever name it had.
    fn drop_former(&mut self, path: &ItemPath, id: ItemId) {
        let key = path.to_bytes();
        let here = self.former.get(&key).is_some_and(|ids| ids.contains(&id));
        let keys: Vec<Vec<u8>> = if here {
            vec![key]
        } else if self.former.is_empty() {
            return;
        } else {
            self.former.iter().filter(|(_, ids)| ids.contains(&id)).map(|(path, _)| path.clone()).collect()
        };
        for key in keys {
            if let Some(ids) = self.former.get_mut(&key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.former.remove(&key);
                }
            }
        }
    }

    /// Takes a name away; says whose it was. An item without names stays for [`Self::settle`].
    fn unbind(&mut self, path: &ItemPath, date: Option<Timestamp>) -> Result<ItemId> {
        let (directory, name) = self.place(path)?;
        let Some(item) = self.child(directory, name.as_bytes()) else {
            return Err(Error::not_found(format!("{path}: no such secret")));
        };
        let (id, is_directory) = (item.id, item.is_directory());
        if item.children().is_some_and(|children| !children.is_empty()) {
            return Err(Error::new(Kind::NotEmpty, format!("{path}: the directory is not empty")));
        }
        self.edit(directory)?.take(name, is_directory);
        let item = self.edit(id)?;
        item.names.retain(|(parent, other)| (*parent, other) != (directory, name));
        if let Some(date) = date {
            item.attributes.ctime = date;
        }
        if item.names.is_empty() && item.secret().is_some() {
            self.secrets -= 1;
        }
        self.touch(directory, date)?;
        Ok(id)
    }

    /// After a name went: a secret without names is kept for its history, anything else goes.
    fn settle(&mut self, id: ItemId, path: &ItemPath) {
        let Some(item) = self.item(id) else { return };
        if !item.names.is_empty() {
            return;
        }
        if item.secret().is_some() {
            self.former.entry(path.to_bytes()).or_default().push(id);
        } else {
            self.items.remove(id);
        }
    }

    /// rename(2) of names.
    fn relocate(&mut self, from: &ItemPath, to: &ItemPath, date: Option<Timestamp>) -> Result<()> {
        let (old_directory, old_name) = self.place(from)?;
        let (new_directory, new_name) = self.place(to)?;
        let Some(item) = self.child(old_directory, old_name.as_bytes()) else {
            return Err(Error::not_found(format!("{from}: no such secret")));
        };
        let (id, directory) = (item.id, item.is_directory());
        self.refuse_inside(id, new_directory, to)?;
        if let Some(target) = self.child(new_directory, new_name.as_bytes()) {
            if target.id == id {
                return Ok(());
            }
            match (directory, target.is_directory()) {
                (true, false) => return Err(Error::new(Kind::NotDirectory, format!("{to}: not a directory"))),
                (false, true) => return Err(Error::new(Kind::IsDirectory, format!("{to}: a directory"))),
                _ => {
                    let replaced = self.unbind(to, date)?;
                    self.settle(replaced, to);
                }
            }
        }
        self.rehang(id, (old_directory, old_name), (new_directory, new_name), date)
    }

    fn exchange(&mut self, one: &ItemPath, other: &ItemPath, date: Option<Timestamp>) -> Result<()> {
        let (one_directory, one_name) = self.place(one)?;
        let (other_directory, other_name) = self.place(other)?;
        let find = |directory, name: &Name, path| {
            let item = self.child(directory, name.as_bytes());
            item.map(|i| i.id).ok_or_else(|| Error::not_found(format!("{path}: no such secret")))
        };
        let (a, b) = (find(one_directory, one_name, one)?, find(other_directory, other_name, other)?);
        if a == b {
            return Ok(());
        }
        self.refuse_inside(a, other_directory, other)?;
        self.refuse_inside(b, one_directory, one)?;
        for (id, old, new) in [
            (a, (one_directory, one_name), (other_directory, other_name)),
            (b, (other_directory, other_name), (one_directory, one_name)),
        ] {
            let item = self.edit(id)?;
            if let Some(entry) = item.names.iter_mut().find(|(parent, name)| (*parent, name) == old) {
                *entry = (new.0, new.1.clone());
            }
            if let Some(date) = date {
                item.attributes.ctime = date;
            }
            let is_directory = item.is_directory();
            self.edit(new.0)?.put(new.1.clone(), id, is_directory);
            let left = self.edit(old.0)?;
            left.subdirectories = left.subdirectories.saturating_sub(u32::from(is_directory));
            self.touch(new.0, date)?;
        }
        Ok(())
    }

    /// A directory does not move into itself.
    fn refuse_inside(&self, moved: ItemId, into: ItemId, path: &ItemPath) -> Result<()> {
        let mut at = into;
        loop {
            if at == moved {
                return Err(Error::new(Kind::Invalid, format!("{path}: inside the directory that is to move")));
            }
            match self.item(at).and_then(|item| item.names.first()) {
                Some((parent, _)) => at = *parent,
                None => return Ok(()),
            }
        }
    }

    fn rehang(
        &mut self,
        id: ItemId,
        (old_directory, old_name): (ItemId, &Name),
        (new_directory, new_name): (ItemId, &Name),
        date: Option<Timestamp>,
    ) -> Result<()> {
        let item = self.edit(id)?;
        let old = (old_directory, old_name);
        if let Some(entry) = item.names.iter_mut().find(|(parent, name)| (*parent, name) == old) {
            *entry = (new_directory, new_name.clone());
        }
        if let Some(date) = date {
            item.attributes.ctime = date;
        }
        let is_directory = item.is_directory();
        self.edit(old_directory)?.take(old_name, is_directory);
        self.edit(new_directory)?.put(new_name.clone(), id, is_directory);
        self.touch(old_directory, date)?;
        self.touch(new_directory, date)
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

/// The name nearest to a mistyped one: at most two edits away, and fewer than half its letters.
fn closest<'a>(wanted: &Name, names: impl Iterator<Item = &'a Name>) -> Option<&'a Name> {
    let far = wanted.as_bytes().len().div_ceil(2).min(3);
    names
        .take(10_000)
        .map(|name| (distance(wanted.as_bytes(), name.as_bytes()), name))
        .filter(|(edits, _)| *edits < far.max(2))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Levenshtein's distance between two names.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
