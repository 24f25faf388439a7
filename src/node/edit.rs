//! Changing a tree: what the lines of a transaction do to it.

use std::collections::{BTreeSet, HashMap};

use imbl::OrdMap;

use super::attributes::Attributes;
use super::change::{Change, SecretLine};
use super::id::ItemId;
use super::name::{ItemPath, Name};
use super::namespace::{Content, Head, Item, Namespace, SecretState};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

impl Namespace {
    /// Does what a line says.
    ///
    /// `date` is the transaction's: directories whose names change, and items whose names change, take it as mtime and
    /// ctime; `None` where the lines are the state itself.
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

    /// Gives a secret the state that a line and a head say, without reading the one before. `false`: nothing was done,
    /// and [`Self::apply`] is to do what the line says.
    pub(super) fn renew(&mut self, change: &Change, heads: &HashMap<ItemId, Head>) -> bool {
        let Change::Secret { id, attributes, secret } = change else { return false };
        let Some(&head) = heads.get(id) else { return false };
        self.items.renew(*id, *attributes, SecretState { line: secret.clone(), head: Some(head) })
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

    /// Gives an item of which little is known what is known of it.
    pub(super) fn fill(&mut self, id: ItemId, attributes: Attributes, content: Content) {
        if let Ok(item) = self.edit(id) {
            (item.attributes, item.content) = (attributes, content);
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

    /// Takes all other names out of a directory.
    pub(super) fn keep_names(&mut self, directory: ItemId, names: &BTreeSet<Name>) {
        let Some(children) = self.item(directory).and_then(Item::children) else { return };
        let kept: OrdMap<Name, ItemId> =
            names.iter().filter_map(|name| Some((name.clone(), *children.get(name)?))).collect();
        let directories = kept.values().filter(|id| self.item(**id).is_some_and(Item::is_directory)).count();
        if let Ok(item) = self.edit(directory) {
            item.content = Content::Directory(kept);
            item.subdirectories = u32::try_from(directories).unwrap_or(u32::MAX);
        }
    }

    /// Drops all other former names.
    pub(super) fn keep_former(&mut self, keep: impl Fn(&ItemPath) -> bool) {
        let kept = |path: &[u8]| ItemPath::parse(path).is_ok_and(|path| keep(&path));
        self.former =
            self.former.iter().filter(|(path, _)| kept(path)).map(|(p, ids)| (p.clone(), ids.clone())).collect();
    }

    fn edit(&mut self, id: ItemId) -> Result<&mut Item> {
        self.items.get_mut(id).ok_or_else(|| Error::damaged(format!("there is no item {id}")))
    }

    fn define(&mut self, id: ItemId, attributes: Attributes, content: Content) -> Result<()> {
        if self.items.contains(id) {
            return Err(Error::damaged(format!("the id {id} is taken")));
        }
        self.items.insert(Item { id, attributes, content, names: Vec::new(), subdirectories: 0 });
        Ok(())
    }

    fn set_secret(&mut self, id: ItemId, attributes: Attributes, line: &SecretLine) -> Result<()> {
        if !self.items.contains(id) {
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
        let mut at = ItemId::ROOT;
        for part in &path.components()[..path.components().len() - 1] {
            at = self
                .child_id(at, part.as_bytes())
                .ok_or_else(|| Error::not_found(format!("{path}: no such directory")))?;
        }
        if self.is_directory(at) {
            Ok((at, name))
        } else {
            Err(Error::new(Kind::NotDirectory, format!("{path}: its parent is not a directory")))
        }
    }

    /// What this name leads to.
    fn named(&self, directory: ItemId, name: &Name, path: &ItemPath) -> Result<&Item> {
        let id = self.child_id(directory, name.as_bytes());
        let item = id.map(|id| self.lookup(id)).transpose()?.flatten();
        item.ok_or_else(|| Error::not_found(format!("{path}: no such secret")))
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
        if self.child_id(directory, name.as_bytes()).is_some() {
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
        let item = self.named(directory, name, path)?;
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
        let item = self.named(old_directory, old_name, from)?;
        let (id, directory) = (item.id, item.is_directory());
        self.refuse_inside(id, new_directory, to)?;
        if let Some(target) = self.child_id(new_directory, new_name.as_bytes()) {
            if target == id {
                return Ok(());
            }
            match (directory, self.is_directory(target)) {
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
        let a = self.named(one_directory, one_name, one)?.id;
        let b = self.named(other_directory, other_name, other)?.id;
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
