//! The tree that a checkpoint holds, read as it is needed.
//!
//! Opening a keynode reads the directory: which names there are, and whose. What an item is stands in [`Details`], a part of
//! which is read when one of its items is first asked for. The lines are the node's own, under its signature; `fsck` reads
//! them all.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use log::error;

use super::attributes::Attributes;
use super::change::Change;
use super::details::{Details, Known, Source};
use super::directory::{ITEMS, Text, Thing};
use super::id::ItemId;
use super::name::{ItemPath, Name};
use super::namespace::{Content, Item, Namespace, SecretState};
use super::quote::{is_plain, unquote};
use crate::error::{Error, Result};

/// What the line of a name has on average, at least; only memory depends on it.
const SHORT: usize = 45;

/// A checkpoint's directory and where to find what in it.
#[derive(Default)]
pub(super) struct Base {
    text: Text,
    /// All that is no directory, by id.
    things: Vec<Row>,
    details: Details,
    /// In the order of the text.
    directories: Vec<Directory>,
    /// Where a directory is among them, by id.
    places: Vec<(ItemId, u32)>,
    made: Vec<OnceLock<Option<Arc<Item>>>>,
    made_directories: Vec<OnceLock<Option<Arc<Item>>>>,
    names: Vec<NameLine>,
    /// Second and further names of hard links, by id.
    links: Vec<(ItemId, u32)>,
    /// Whether something was asked for that cannot be read.
    lacking: AtomicBool,
}

/// One item that is no directory.
struct Row {
    id: ItemId,
    thing: Thing,
    /// Its first name in `names`; none: it was deleted.
    name: Option<u32>,
}

impl Known for Row {
    fn id(&self) -> ItemId {
        self.id
    }

    fn thing(&self) -> Thing {
        self.thing
    }
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
    /// Where its line starts in the text.
    at: u32,
    /// What it is called and in which directory; none for the top.
    name: Option<(u32, Name)>,
    names: std::ops::Range<u32>,
    /// In the order of their names.
    subdirectories: Vec<u32>,
}

impl Namespace {
    /// Takes the directory of a checkpoint; `source` has the rest, in so many parts. `whole`: all of it is read at once.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`]: it is not what [`super::directory::Written::of`] gives.
    pub(super) fn load(text: Text, parts: usize, source: Box<dyn Source>, whole: bool) -> Result<Self> {
        let mut reader = Reader::default();
        let lines = text.len() / SHORT;
        reader.base.things.reserve(lines);
        reader.base.names.reserve(lines);
        for (at, line) in text.lines() {
            reader.line(at, line).ok_or_else(|| wrong(line))?;
        }
        reader.finish(text).ok_or_else(unfit)?.filled(parts, source, whole)
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
            b"deleted" => {
                self.base.things.push(Row { id: ItemId::from_hex(rest)?, thing: Thing::Secret, name: None });
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
                let before = self.base.directories.get(parent as usize)?.subdirectories.last();
                let before = before.and_then(|&n| self.base.directories.get(n as usize)?.name.as_ref());
                before.is_none_or(|(_, before)| before < name).then_some(())?;
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
        self.base.directories.push(Directory { id, at, name, names: next..next, subdirectories: Vec::new() });
        self.base.places.push((id, number));
        Some(())
    }

    /// `<name> TAB <id> TAB <thing>`: an item's first name, in the last directory.
    fn called(&mut self, at: u32, rest: &[u8]) -> Option<()> {
        let tab = memchr::memchr(b'\t', rest)?;
        let (quoted, rest) = (&rest[..tab], &rest[tab + 1..]);
        let (id, rest) = rest.split_at_checked(32)?;
        let (id, thing) = (ItemId::from_hex(id)?, Thing::parse(rest.strip_prefix(b"\t")?)?);
        let name = Some(u32::try_from(self.base.names.len()).ok()?);
        self.base.things.push(Row { id, thing, name });
        let unquoted;
        let name = if quoted.first() == Some(&b'"') {
            unquoted = unquote(quoted)?;
            &unquoted
        } else {
            is_plain(quoted).then_some(quoted)?
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
        if !Name::is_possible(name) || name <= self.last.as_slice() {
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
    fn finish(self, text: Text) -> Option<Loaded> {
        let Self { mut base, former, .. } = self;
        base.things.sort_unstable_by_key(|row| row.id);
        base.places.sort_unstable();
        base.links.sort_unstable();
        let distinct = base.things.windows(2).all(|pair| pair[0].id != pair[1].id)
            && base.places.windows(2).all(|pair| pair[0].0 != pair[1].0)
            && base.places.iter().all(|(id, _)| base.thing(*id).is_none());
        if !distinct || base.directories.is_empty() {
            return None;
        }
        let named = base.things.iter().filter(|row| row.thing == Thing::Secret && row.name.is_some()).count();
        let row = |id: &ItemId| base.thing(*id).map(|place| &base.things[place]);
        base.links.iter().all(|(id, _)| row(id).is_some_and(|row| row.name.is_some())).then_some(())?;
        former.values().flatten().all(|id| row(id).is_some_and(|row| row.name.is_none())).then_some(())?;
        let mut once = HashSet::new();
        former.values().flatten().all(|id| once.insert(*id)).then_some(())?;
        base.made.resize_with(base.things.len(), OnceLock::new);
        base.made_directories.resize_with(base.directories.len(), OnceLock::new);
        base.text = text;
        // One name leads to one item.
        let taken = |(parent, name): &(u32, Name)| base.named(&base.directories[*parent as usize], name.as_bytes());
        base.directories
            .iter()
            .filter_map(|below| below.name.as_ref())
            .all(|name| taken(name).is_none())
            .then_some(())?;
        Some(Loaded { base, former, named })
    }
}

/// A directory that was read.
struct Loaded {
    base: Base,
    former: OrdMap<Vec<u8>, Vec<ItemId>>,
    named: usize,
}

impl Loaded {
    fn filled(self, parts: usize, source: Box<dyn Source>, whole: bool) -> Result<Namespace> {
        let Self { mut base, former, named } = self;
        if parts != base.things.len().div_ceil(ITEMS) {
            return Err(unfit());
        }
        base.details = Details::new(parts, source);
        if whole {
            base.details.complete(&base.things)?;
        }
        Ok(Namespace::of(base, former, named))
    }
}

impl Base {
    pub fn len(&self) -> usize {
        self.things.len() + self.directories.len()
    }

    pub fn get(&self, id: ItemId) -> Option<&Arc<Item>> {
        match self.place(id) {
            Some(place) => self.directory(place),
            None => self.at(self.thing(id)?),
        }
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item>> {
        let directories = (0..self.directories.len()).filter_map(|place| self.directory(place));
        (0..self.things.len()).filter_map(|place| self.at(place)).chain(directories)
    }

    /// What this name leads to in that directory.
    pub fn child(&self, directory: ItemId, name: &[u8]) -> Option<ItemId> {
        let place = self.place(directory)?;
        if let Some(made) = self.made_directories.get(place)?.get() {
            return made.as_ref()?.children()?.get(name).copied();
        }
        let directory = self.directories.get(place)?;
        if let Some(line) = self.named(directory, name) {
            return Some(line.id);
        }
        let below = &directory.subdirectories;
        let called = |&number: &u32| Some(self.directories.get(number as usize)?.name.as_ref()?.1.as_bytes());
        let found = below.partition_point(|number| called(number).is_some_and(|found| found < name));
        let number = below.get(found).filter(|number| called(number) == Some(name))?;
        Some(self.directories.get(*number as usize)?.id)
    }

    /// Whether there is such an item, readable or not.
    pub fn contains(&self, id: ItemId) -> bool {
        self.is_directory(id) || self.thing(id).is_some()
    }

    pub fn is_directory(&self, id: ItemId) -> bool {
        self.place(id).is_some()
    }

    /// A secret that takes this state; `None` where there is no such secret. What it was is not read.
    pub fn renewed(&self, id: ItemId, attributes: Attributes, state: SecretState) -> Option<Item> {
        let row = self.things.get(self.thing(id)?).filter(|row| row.thing == Thing::Secret)?;
        let content = Content::Secret(state);
        Some(Item { id, attributes, content, names: self.names_of(row)?, subdirectories: 0 })
    }

    /// Reads all that has not been read.
    pub fn read_all(&self) -> Result<()> {
        self.details.read_all(&self.things)?;
        // What stands in the way of these was refused when they were loaded.
        if (0..self.directories.len()).any(|place| self.directory(place).is_none()) {
            return Err(unfit());
        }
        Ok(())
    }

    /// All that can be read, and what else has a name: an item of its kind without content, of which nothing is known.
    /// Nothing is read from elsewhere.
    pub fn salvage(&self) -> Result<(Vec<Arc<Item>>, Vec<Item>)> {
        let (mut sound, mut bare) = (Vec::with_capacity(self.len()), Vec::new());
        for (place, row) in self.things.iter().enumerate() {
            if self.details.can_read(place, &self.things) {
                sound.extend(self.at(place).cloned());
            } else if let Some(names) = self.names_of(row) {
                let (attributes, content) = (Attributes::new(0o600), row.thing.bare()?);
                bare.push(Item { id: row.id, attributes, content, names, subdirectories: 0 });
            }
        }
        sound.extend((0..self.directories.len()).filter_map(|place| self.directory(place)).cloned());
        Ok((sound, bare))
    }

    /// Whether a new checkpoint is better than this one.
    pub fn is_damaged(&self) -> bool {
        self.details.are_damaged()
    }

    /// Whether something was asked for that cannot be read.
    pub fn lacks(&self) -> bool {
        self.lacking.load(Ordering::Relaxed)
    }

    fn place(&self, id: ItemId) -> Option<usize> {
        let found = self.places.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.places[found].1 as usize)
    }

    fn thing(&self, id: ItemId) -> Option<usize> {
        self.things.binary_search_by_key(&id, |row| row.id).ok()
    }

    fn directory(&self, place: usize) -> Option<&Arc<Item>> {
        let (made, directory) = (self.made_directories.get(place)?, self.directories.get(place)?);
        made.get_or_init(|| self.kept(directory.id, self.make_directory(directory))).as_ref()
    }

    fn at(&self, place: usize) -> Option<&Arc<Item>> {
        let (made, row) = (self.made.get(place)?, self.things.get(place)?);
        made.get_or_init(|| self.kept(row.id, self.make(place, row))).as_ref()
    }

    fn kept(&self, id: ItemId, made: Option<Item>) -> Option<Arc<Item>> {
        if made.is_none() && !self.lacking.swap(true, Ordering::Relaxed) {
            error!("item {id} of the checkpoint cannot be read, others perhaps neither; `pkfs fsck` tells more");
        }
        made.map(Arc::new)
    }

    fn make_directory(&self, directory: &Directory) -> Option<Item> {
        let Change::Directory { attributes, id, .. } = Change::parse(self.text.line(directory.at)?).ok()? else {
            return None;
        };
        let content = Content::Directory(self.children(directory)?);
        let names = match &directory.name {
            Some((parent, name)) => vec![(self.directories.get(*parent as usize)?.id, name.clone())],
            None => Vec::new(),
        };
        let subdirectories = u32::try_from(directory.subdirectories.len()).ok()?;
        Some(Item { id, attributes, content, names, subdirectories })
    }

    fn make(&self, place: usize, row: &Row) -> Option<Item> {
        let (attributes, content) = self.details.get(place, &self.things)?;
        Some(Item { id: row.id, attributes, content, names: self.names_of(row)?, subdirectories: 0 })
    }

    fn children(&self, directory: &Directory) -> Option<OrdMap<Name, ItemId>> {
        let mut children = OrdMap::new();
        for line in self.names.get(directory.names.start as usize..directory.names.end as usize)? {
            children.insert(self.name(line)?, line.id);
        }
        for &number in &directory.subdirectories {
            let below = self.directories.get(number as usize)?;
            let name = below.name.as_ref()?.1.clone();
            children.insert(name, below.id).is_none().then_some(())?;
        }
        Some(children)
    }

    fn names_of(&self, row: &Row) -> Option<Vec<(ItemId, Name)>> {
        let Some(first) = row.name else { return Some(Vec::new()) };
        let from = self.links.partition_point(|(id, _)| *id < row.id);
        let more = self.links.iter().skip(from).take_while(|(id, _)| *id == row.id).map(|(_, number)| *number);
        let named = |number: u32| {
            let line = self.names.get(number as usize)?;
            Some((self.directories.get(line.directory as usize)?.id, self.name(line)?))
        };
        std::iter::once(first).chain(more).map(named).collect()
    }

    /// The line of this name in a directory, unless it is a directory's.
    fn named(&self, directory: &Directory, name: &[u8]) -> Option<&NameLine> {
        let lines = self.names.get(directory.names.start as usize..directory.names.end as usize)?;
        let found = lines.partition_point(|line| self.name(line).is_some_and(|found| found.as_bytes() < name));
        lines.get(found).filter(|line| self.name(line).is_some_and(|found| found.as_bytes() == name))
    }

    /// What a line `called` or `name` says: the last part of its path.
    fn name(&self, line: &NameLine) -> Option<Name> {
        let mut fields = self.text.line(line.at)?.split(|&b| b == b'\t').skip(1);
        let path = unquote(fields.next()?)?;
        let last = memchr::memrchr(b'/', &path).map_or(0, |slash| slash + 1);
        Name::new(&path[last..]).ok()
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("items", &self.len()).finish_non_exhaustive()
    }
}

fn unfit() -> Error {
    Error::damaged("the checkpoint does not fit together")
}

fn wrong(line: &[u8]) -> Error {
    let word = line.split(|&b| b == b'\t').next().unwrap_or_default();
    let word = String::from_utf8_lossy(&word[..word.len().min(20)]);
    Error::damaged(format!("the checkpoint has a line {word:?} that does not fit"))
}
