//! What a checkpoint says, as text: names in the directory, what they stand for among the items, heads apart. Each is
//! in parts, which are sealed and opened one by one.

use std::fmt::Write as _;

use super::change::{Change, SecretLine};
use super::id::ItemId;
use super::name::Name;
use super::namespace::{Content, Head, Item, Namespace, SecretState};
use super::quote::quote;
use crate::crypto::Locked;
use crate::error::{Error, Result};

/// A part of the directory ends with the line that brings it to this many bytes.
const PART: usize = 128 << 10;
/// So many items are in one part, in the order of their ids.
pub(super) const ITEMS: usize = 256;

/// What an item is that is no directory: the first word of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Secret,
    Symlink,
    Fifo,
    Socket,
}

impl Thing {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }

    pub fn parse(word: &[u8]) -> Option<Self> {
        [Self::Secret, Self::Symlink, Self::Fifo, Self::Socket]
            .into_iter()
            .find(|thing| thing.word().as_bytes() == word)
    }

    /// What a line brings into being, if it does so without a name.
    pub fn of(change: &Change) -> Option<(ItemId, Self)> {
        match change {
            Change::Secret { id, .. } => Some((*id, Self::Secret)),
            Change::Symlink { id, .. } => Some((*id, Self::Symlink)),
            Change::Fifo { id, .. } => Some((*id, Self::Fifo)),
            Change::Socket { id, .. } => Some((*id, Self::Socket)),
            _ => None,
        }
    }

    /// Such an item's content where nothing is known of it: a symlink to nowhere, a secret without a head.
    pub fn bare(self) -> Result<Content> {
        Ok(match self {
            Self::Secret => Content::Secret(SecretState { line: SecretLine::unknown()?, head: None }),
            Self::Symlink => Content::Symlink(Vec::new().into()),
            Self::Fifo => Content::Fifo,
            Self::Socket => Content::Socket,
        })
    }

    /// What an item is, unless it is a directory.
    pub fn of_item(item: &Item) -> Option<Self> {
        match item.content {
            Content::Directory(_) => None,
            Content::Secret(_) => Some(Self::Secret),
            Content::Symlink(_) => Some(Self::Symlink),
            Content::Fifo => Some(Self::Fifo),
            Content::Socket => Some(Self::Socket),
        }
    }
}

/// All that a checkpoint says of a tree.
#[derive(PartialEq, Eq)]
pub(super) struct Written {
    /// Directories, the names in each, and what was deleted.
    pub directory: Text,
    /// Parts of the lines that say what the items are.
    pub items: Vec<Locked>,
    /// The heads of the secrets in each of these parts.
    pub heads: Vec<Vec<u8>>,
}

impl Written {
    /// The lines that make this tree.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`]: some of it cannot be read. Too large: more than 4 GiB.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        namespace.read_all()?;
        let mut directory = Directory::default();
        let mut things: Vec<(ItemId, Change)> = Vec::new();
        namespace.lines(&mut |change| match Thing::of(&change) {
            Some((id, thing)) => {
                directory.nameless();
                directory.defined = Some((id, thing));
                things.push((id, change));
            }
            None => directory.line(&change),
        });
        let directory = directory.finish().ok_or_else(|| Error::damaged("the tree of names is too large"))?;
        things.sort_unstable_by_key(|(id, _)| *id);
        let head = |id: &ItemId| Some((*id, namespace.item(*id)?.secret()?.head()?));
        let (mut items, mut heads) = (Vec::new(), Vec::new());
        for part in things.chunks(ITEMS) {
            let mut text = Locked::default();
            for (_, line) in part {
                line.write(&mut text);
            }
            items.push(text);
            let known: Vec<(ItemId, Head)> = part.iter().filter_map(|(id, _)| head(id)).collect();
            let mut lines = String::with_capacity(known.len() * 160);
            for (id, head) in known {
                // Writing to a string does not fail.
                let _ = writeln!(lines, "{id} {} {}", head.number, head.commit);
            }
            heads.push(lines.into_bytes());
        }
        namespace.whole()?;
        Ok(Self { directory, items, heads })
    }
}

/// The directory while it is being written.
#[derive(Default)]
struct Directory {
    parts: Vec<Locked>,
    text: Locked,
    /// What the line before says, which has no name yet.
    defined: Option<(ItemId, Thing)>,
}

impl Directory {
    /// The first name of what was defined last stands there without its directory, in a line `called`.
    fn line(&mut self, change: &Change) {
        match (change, self.defined) {
            (Change::Name { path, id }, Some((defined, thing))) if *id == defined => {
                self.defined = None;
                if let Some(name) = path.name() {
                    called(name, *id, thing, &mut self.text);
                }
            }
            _ => {
                self.nameless();
                change.write(&mut self.text);
            }
        }
        self.ended();
    }

    /// What was defined last got no name.
    fn nameless(&mut self) {
        if let Some((id, _)) = self.defined.take() {
            self.text.extend_from_slice(format!("deleted\t{id}\n").as_bytes());
            self.ended();
        }
    }

    fn ended(&mut self) {
        if self.text.len() >= PART {
            self.parts.push(std::mem::take(&mut self.text));
        }
    }

    fn finish(mut self) -> Option<Text> {
        self.nameless();
        if self.parts.is_empty() || !self.text.is_empty() {
            self.parts.push(self.text);
        }
        Text::from_parts(self.parts)
    }
}

fn called(name: &Name, id: ItemId, thing: Thing, out: &mut Locked) {
    let mut line = b"called\t".to_vec();
    quote(name.as_bytes(), &mut line);
    line.extend_from_slice(format!("\t{id}\t{}\n", thing.word()).as_bytes());
    out.extend_from_slice(&line);
}

/// The lines of a directory.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Text {
    parts: Vec<Part>,
    len: u32,
}

#[derive(PartialEq, Eq)]
struct Part {
    /// How many bytes the parts before it have.
    start: u32,
    text: Locked,
}

impl Text {
    /// Takes the parts in their order; `None` beyond 4 GiB.
    pub fn from_parts(parts: Vec<Locked>) -> Option<Self> {
        let mut len = 0_u32;
        let mut all = Vec::with_capacity(parts.len());
        for text in parts {
            let start = len;
            len = len.checked_add(u32::try_from(text.len()).ok()?)?;
            all.push(Part { start, text });
        }
        Some(Self { parts: all, len })
    }

    /// Bytes of all lines.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The text of each part.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.parts.iter().map(|part| part.text.as_slice())
    }

    /// All lines, each with where it starts, without their newlines.
    pub fn lines(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.parts.iter().flat_map(|part| lines(&part.text).map(|(at, line)| (part.start + at, line)))
    }

    /// The line that starts here.
    pub fn line(&self, at: u32) -> Option<&[u8]> {
        let part = self.parts.get(self.parts.partition_point(|part| part.start <= at).checked_sub(1)?)?;
        line(&part.text, at - part.start)
    }
}

/// Lines with where they start, without their newlines; what follows 4 GiB is not there.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let line = line(text, at).filter(|_| (at as usize) < text.len())?;
        let from = at;
        at = u32::try_from(at as usize + line.len() + 1).unwrap_or(u32::MAX);
        Some((from, line))
    })
}

/// The line that starts here.
pub(super) fn line(text: &[u8], at: u32) -> Option<&[u8]> {
    let rest = text.get(at as usize..)?;
    Some(&rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())])
}
