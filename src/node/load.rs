//! Reading a whole tree from the lines of a checkpoint, quickly.
//!
//! The same as applying each line ([`Namespace::apply`]), but paths are looked up by their text and the maps are built
//! once; with 10,000 secrets that is most of the time that opening takes.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use imbl::OrdMap;

use super::change::Change;
use super::id::ItemId;
use super::name::{ItemPath, Name};
use super::namespace::{Content, Head, IdHasher, Item, Namespace, SecretState};
use super::quote::unquote;
use crate::error::{Error, Result};

type Items = HashMap<ItemId, Item, BuildHasherDefault<IdHasher>>;

impl Namespace {
    /// Reads the lines of a checkpoint and the heads of its secrets.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`]: they are not what [`Namespace::lines`] gives.
    pub(super) fn load(lines: &[u8], heads: &[u8]) -> Result<Self> {
        let mut tree = Tree { items: Items::default(), directories: HashMap::new(), former: OrdMap::new() };
        for line in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            match line.strip_prefix(b"name\t") {
                Some(rest) => tree.name(rest).ok_or_else(|| wrong("a name"))?,
                None => tree.line(Change::parse(line)?)?,
            }
        }
        for line in heads.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            let (id, head) = Head::parse(line)?;
            match tree.items.get_mut(&id).map(|item| &mut item.content) {
                Some(Content::Secret(secret)) if secret.head.is_none() => secret.head = Some(head),
                _ => return Err(wrong("a head")),
            }
        }
        tree.finish()
    }
}

struct Tree {
    items: Items,
    /// Directories by the text of their paths, unquoted; the top one is empty.
    directories: HashMap<Vec<u8>, ItemId>,
    former: OrdMap<Vec<u8>, Vec<ItemId>>,
}

impl Tree {
    /// `<path> TAB <id>`.
    fn name(&mut self, rest: &[u8]) -> Option<()> {
        let at = rest.iter().position(|&b| b == b'\t')?;
        let id = ItemId::from_hex(rest.get(at + 1..)?)?;
        let quoted = &rest[..at];
        if quoted.first() == Some(&b'"') { self.bind(&unquote(quoted)?, id) } else { self.bind(quoted, id) }
    }

    fn bind(&mut self, path: &[u8], id: ItemId) -> Option<()> {
        let (parent, name) = match path.iter().rposition(|&b| b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let directory = *self.directories.get(parent)?;
        let name = Name::new(name).ok()?;
        let item = self.items.get_mut(&id)?;
        if id == ItemId::ROOT || item.is_directory() && item.links() > 0 {
            return None;
        }
        item.names.push((directory, name.clone()));
        let is_directory = item.is_directory();
        let parent = self.items.get_mut(&directory)?;
        let free = parent.children().is_some_and(|children| !children.contains_key(&name));
        (free && parent.put(name, id, is_directory)).then_some(())
    }

    fn line(&mut self, line: Change) -> Result<()> {
        let (id, attributes, content) = match line {
            Change::Directory { path, id, attributes } => {
                if path.is_root() != (id == ItemId::ROOT) {
                    return Err(wrong("the top directory"));
                }
                self.define(id, attributes, Content::Directory(OrdMap::new()))?;
                let path = path.to_bytes();
                if id != ItemId::ROOT {
                    self.bind(&path, id).ok_or_else(|| wrong("a directory"))?;
                }
                self.directories.insert(path, id);
                return Ok(());
            }
            Change::Former { path, id } => {
                self.former.entry(ItemPath::to_bytes(&path)).or_default().push(id);
                return Ok(());
            }
            Change::Secret { id, attributes, secret } => {
                (id, attributes, Content::Secret(SecretState { line: secret, head: None }))
            }
            Change::Symlink { id, attributes, target } => (id, attributes, Content::Symlink(target)),
            Change::Fifo { id, attributes } => (id, attributes, Content::Fifo),
            Change::Socket { id, attributes } => (id, attributes, Content::Socket),
            _ => return Err(wrong("a change")),
        };
        self.define(id, attributes, content)
    }

    fn define(&mut self, id: ItemId, attributes: super::Attributes, content: Content) -> Result<()> {
        let item = Item { id, attributes, content, names: Vec::new(), subdirectories: 0 };
        if self.items.insert(id, item).is_some() {
            return Err(wrong("an id that is taken"));
        }
        Ok(())
    }

    /// Checks the whole and hands it over.
    fn finish(self) -> Result<Namespace> {
        let mut secrets = 0;
        for item in self.items.values() {
            let named = item.links() > 0 || item.id == ItemId::ROOT;
            match item.secret() {
                Some(secret) if secret.head.is_none() => return Err(wrong("a secret without a head")),
                Some(_) => secrets += usize::from(named),
                None if !named => return Err(wrong("an item without a name")),
                None => {}
            }
        }
        let nameless = |id| self.items.get(id).is_some_and(|item| item.secret().is_some() && item.links() == 0);
        if !self.former.values().flatten().all(nameless) {
            return Err(wrong("a former name"));
        }
        if !self.items.contains_key(&ItemId::ROOT) {
            return Err(wrong("no top directory"));
        }
        let items = self.items.into_iter().map(|(id, item)| (id, Arc::new(item))).collect();
        Ok(Namespace { items, former: self.former, secrets })
    }
}

fn wrong(what: &str) -> Error {
    Error::damaged(format!("the checkpoint has {what} that does not fit"))
}
