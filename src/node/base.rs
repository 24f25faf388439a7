//! The tree that a checkpoint holds, read as it is needed.
//!
//! Opening a keynode looks at each line of the checkpoint only long enough to know whose it is; an item is made of its
//! lines when it is first asked for. The lines are the node's own, under its signature; `fsck` reads them all.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use log::error;

use super::change::Change;
use super::directory::{Text, line};
use super::id::ItemId;
use super::name::{ItemPath, Name};
use super::namespace::{Content, Head, Item, Namespace, SecretState};
use super::quote::unquote;
use crate::error::{Error, Result};

/// What the line of a secret and that of its name have on average, at least; only memory depends on it.
const SHORT: usize = 90;

/// A checkpoint's lines and where to find what in them.
#[derive(Default)]
pub(super) struct Base {
    text: Text,
    heads: Vec<u8>,
    /// By id.
    rows: Vec<Row>,
    made: Vec<OnceLock<Option<Arc<Item>>>>,
    directories: Vec<Directory>,
    names: Vec<NameLine>,
    /// Second and further names of hard links, by id.
    links: Vec<(ItemId, u32)>,
}

/// One item.
struct Row {
    id: ItemId,
    /// Where its line starts in the text.
    at: u32,
    /// Its first name in `names`, or its place in `directories`.
    place: Place,
    /// Whether it is a secret, which has a head.
    secret: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Directory(u32),
    Name(u32),
    Nameless,
}

/// A line `called` or `name`.
struct NameLine {
    at: u32,
    directory: u32,
    id: ItemId,
}

/// A line `directory`, which is followed by all the names in it that are not directories.
struct Directory {
    id: ItemId,
    /// What it is called and in which directory; none for the top.
    name: Option<(u32, Name)>,
    names: std::ops::Range<u32>,
    subdirectories: Vec<u32>,
}

impl Namespace {
    /// Takes the lines of a checkpoint and the heads of its secrets.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`]: they are not what [`Text::of`] gives.
    pub(super) fn load(text: Text, heads: Vec<u8>) -> Result<Self> {
        let mut reader = Reader::default();
        let lines = text.len() / SHORT;
        reader.base.rows.reserve(lines / 2);
        reader.base.names.reserve(lines / 2);
        for (at, line) in text.lines() {
            reader.line(at, line).ok_or_else(|| wrong(line))?;
        }
        reader.finish(text, heads).ok_or_else(|| Error::damaged("the checkpoint does not fit together"))
    }
}

/// Looks at the lines in their order.
#[derive(Default)]
struct Reader {
    base: Base,
    /// Directories by the bytes of their paths; the top one is empty.
    paths: HashMap<Vec<u8>, u32>,
    /// The path of the last directory, with a slash behind it unless it is the top.
    prefix: Vec<u8>,
    /// The last name in it.
    last: Vec<u8>,
    former: OrdMap<Vec<u8>, Vec<ItemId>>,
}

impl Reader {
    fn line(&mut self, at: u32, line: &[u8]) -> Option<()> {
        let tab = memchr::memchr(b'\t', line)?;
        let (word, rest) = (&line[..tab], &line[tab + 1..]);
        match word {
            b"called" => self.called(at, rest),
            b"name" => self.linked(at, rest),
            b"secret" | b"symlink" | b"fifo" | b"socket" => {
                let id = ItemId::from_hex(rest.get(..32)?)?;
                self.base.rows.push(Row { id, at, place: Place::Nameless, secret: word == b"secret" });
                Some(())
            }
            b"directory" => match Change::parse(line).ok()? {
                Change::Directory { path, id, .. } => self.directory(at, &path, id),
                _ => None,
            },
            b"former" => match Change::parse(line).ok()? {
                Change::Former { path, id } => {
                    self.former.entry(path.to_bytes()).or_default().push(id);
                    Some(())
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn directory(&mut self, at: u32, path: &ItemPath, id: ItemId) -> Option<()> {
        let number = u32::try_from(self.base.directories.len()).ok()?;
        let next = u32::try_from(self.base.names.len()).ok()?;
        let name = match path.split() {
            Some((parent, name)) => {
                let parent = *self.paths.get(&parent.to_bytes())?;
                self.base.directories.get_mut(parent as usize)?.subdirectories.push(number);
                Some((parent, name.clone()))
            }
            None => None,
        };
        if name.is_none() != (id == ItemId::ROOT) || name.is_none() != self.base.directories.is_empty() {
            return None;
        }
        self.prefix = path.to_bytes();
        self.paths.insert(self.prefix.clone(), number).is_none().then_some(())?;
        if !path.is_root() {
            self.prefix.push(b'/');
        }
        self.last.clear();
        self.base.directories.push(Directory { id, name, names: next..next, subdirectories: Vec::new() });
        self.base.rows.push(Row { id, at, place: Place::Directory(number), secret: false });
        Some(())
    }

    /// `<name>`: the last item, in the last directory.
    fn called(&mut self, at: u32, quoted: &[u8]) -> Option<()> {
        let row = self.base.rows.last_mut().filter(|row| row.place == Place::Nameless)?;
        row.place = Place::Name(u32::try_from(self.base.names.len()).ok()?);
        let id = row.id;
        let unquoted;
        let name = if quoted.first() == Some(&b'"') {
            unquoted = unquote(quoted)?;
            &unquoted
        } else {
            quoted
        };
        self.add(at, name, id)
    }

    /// `<path> TAB <id>`: a further name.
    fn linked(&mut self, at: u32, rest: &[u8]) -> Option<()> {
        let tab = memchr::memchr(b'\t', rest)?;
        let (path, id) = (unquote(&rest[..tab])?, ItemId::from_hex(&rest[tab + 1..])?);
        let name = path.strip_prefix(self.prefix.as_slice())?;
        self.base.links.push((id, u32::try_from(self.base.names.len()).ok()?));
        self.add(at, name, id)
    }

    fn add(&mut self, at: u32, name: &[u8], id: ItemId) -> Option<()> {
        if name.is_empty() || memchr::memchr(b'/', name).is_some() || name <= self.last.as_slice() {
            return None;
        }
        self.last.clear();
        self.last.extend_from_slice(name);
        let number = u32::try_from(self.base.names.len()).ok()?;
        let directory = u32::try_from(self.base.directories.len().checked_sub(1)?).ok()?;
        self.base.names.push(NameLine { at, directory, id });
        self.base.directories.last_mut()?.names.end = number + 1;
        Some(())
    }

    /// Checks what concerns the whole, and hands it over.
    fn finish(self, text: Text, heads: Vec<u8>) -> Option<Namespace> {
        let Self { mut base, former, .. } = self;
        base.rows.sort_unstable_by_key(|row| row.id);
        base.links.sort_unstable();
        let distinct = base.rows.windows(2).all(|pair| pair[0].id != pair[1].id);
        if !distinct || base.directories.is_empty() {
            return None;
        }
        let secrets = base.rows.iter().filter(|row| row.secret);
        let (all, named) =
            secrets.fold((0, 0), |(all, named), row| (all + 1, named + usize::from(row.place != Place::Nameless)));
        // One line each; which is whose is seen when it is asked for.
        (memchr::memchr_iter(b'\n', &heads).count() == all).then_some(())?;
        base.rows.iter().all(|row| row.secret || row.place != Place::Nameless).then_some(())?;
        let linked = |id: &ItemId| {
            let row = base.row(*id)?;
            matches!(base.rows[row].place, Place::Name(_)).then_some(())
        };
        base.links.iter().all(|(id, _)| linked(id).is_some()).then_some(())?;
        let deleted = |id: &ItemId| {
            let row = base.row(*id)?;
            (base.rows[row].place == Place::Nameless).then_some(())
        };
        former.values().flatten().all(|id| deleted(id).is_some()).then_some(())?;
        base.made.resize_with(base.rows.len(), OnceLock::new);
        (base.text, base.heads) = (text, heads);
        // Everything starts there, so it is read at once.
        base.get(ItemId::ROOT)?;
        Some(Namespace::of(base, former, named))
    }
}

impl Base {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn get(&self, id: ItemId) -> Option<&Arc<Item>> {
        self.at(self.row(id)?)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item>> {
        (0..self.rows.len()).filter_map(|row| self.at(row))
    }

    fn row(&self, id: ItemId) -> Option<usize> {
        self.rows.binary_search_by_key(&id, |row| row.id).ok()
    }

    fn at(&self, row: usize) -> Option<&Arc<Item>> {
        let (made, row) = (self.made.get(row)?, self.rows.get(row)?);
        let make = || {
            let item = self.make(row);
            if item.is_none() {
                error!("item {} of the checkpoint is not understood; `pkfs fsck` tells more", row.id);
            }
            item.map(Arc::new)
        };
        made.get_or_init(make).as_ref()
    }

    /// Reads the lines of one item.
    fn make(&self, row: &Row) -> Option<Item> {
        let mut subdirectories = 0;
        let (attributes, content) = match Change::parse(self.text.line(row.at)?).ok()? {
            Change::Directory { attributes, .. } => {
                let Place::Directory(number) = row.place else { return None };
                let directory = self.directories.get(number as usize)?;
                subdirectories = u32::try_from(directory.subdirectories.len()).ok()?;
                (attributes, Content::Directory(self.children(directory)?))
            }
            Change::Secret { attributes, secret, .. } => {
                let head = self.head(row.id)?;
                (attributes, Content::Secret(SecretState { line: secret, head: Some(head) }))
            }
            Change::Symlink { attributes, target, .. } => (attributes, Content::Symlink(target)),
            Change::Fifo { attributes, .. } => (attributes, Content::Fifo),
            Change::Socket { attributes, .. } => (attributes, Content::Socket),
            _ => return None,
        };
        Some(Item { id: row.id, attributes, content, names: self.names_of(row)?, subdirectories })
    }

    /// The head of a secret, from the lines that are in the order of the ids.
    fn head(&self, id: ItemId) -> Option<Head> {
        let wanted = id.to_string();
        let (mut from, mut to) = (0, self.heads.len());
        while from < to {
            let middle = from + (to - from) / 2;
            let start = memchr::memrchr(b'\n', &self.heads[from..middle]).map_or(from, |newline| from + newline + 1);
            let found = line(&self.heads, u32::try_from(start).ok()?)?;
            match found.get(..32)?.cmp(wanted.as_bytes()) {
                Ordering::Less => from = start + found.len() + 1,
                Ordering::Equal => return Head::parse(found).ok().filter(|(of, _)| *of == id).map(|(_, head)| head),
                Ordering::Greater => to = start,
            }
        }
        None
    }

    fn children(&self, directory: &Directory) -> Option<OrdMap<Name, ItemId>> {
        let mut children = OrdMap::new();
        for number in directory.names.clone() {
            let (name, id) = self.name(number)?;
            children.insert(name, id);
        }
        for &number in &directory.subdirectories {
            let below = self.directories.get(number as usize)?;
            let name = below.name.as_ref()?.1.clone();
            children.insert(name, below.id).is_none().then_some(())?;
        }
        Some(children)
    }

    fn names_of(&self, row: &Row) -> Option<Vec<(ItemId, Name)>> {
        match row.place {
            Place::Nameless => Some(Vec::new()),
            Place::Directory(number) => {
                let named = self.directories.get(number as usize)?.name.as_ref();
                named.map_or(Some(Vec::new()), |(parent, name)| {
                    Some(vec![(self.directories.get(*parent as usize)?.id, name.clone())])
                })
            }
            Place::Name(first) => {
                let from = self.links.partition_point(|(id, _)| *id < row.id);
                let more = self.links.iter().skip(from).take_while(|(id, _)| *id == row.id).map(|(_, number)| *number);
                let named = |number: u32| {
                    let directory = self.names.get(number as usize)?.directory;
                    Some((self.directories.get(directory as usize)?.id, self.name(number)?.0))
                };
                std::iter::once(first).chain(more).map(named).collect()
            }
        }
    }

    /// What a line `called` or `name` says: the last part of its path, and whose it is.
    fn name(&self, number: u32) -> Option<(Name, ItemId)> {
        let found = self.names.get(number as usize)?;
        let mut fields = self.text.line(found.at)?.split(|&b| b == b'\t').skip(1);
        let path = unquote(fields.next()?)?;
        let last = memchr::memrchr(b'/', &path).map_or(0, |slash| slash + 1);
        Some((Name::new(&path[last..]).ok()?, found.id))
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("items", &self.rows.len()).finish_non_exhaustive()
    }
}

fn wrong(line: &[u8]) -> Error {
    let word = line.split(|&b| b == b'\t').next().unwrap_or_default();
    let word = String::from_utf8_lossy(&word[..word.len().min(20)]);
    Error::damaged(format!("the checkpoint has a line {word:?} that does not fit"))
}
