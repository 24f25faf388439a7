//! What the items of a checkpoint are: parts of their lines and heads, read as they are needed.

use std::sync::OnceLock;

use log::{error, warn};

use super::attributes::Attributes;
use super::change::Change;
use super::directory::{ITEMS, Thing, line, lines};
use super::id::ItemId;
use super::namespace::{Content, Head, Namespace, SecretState};
use super::parallel;
use crate::crypto::Locked;
use crate::error::{Error, Result};

/// Where the parts come from.
pub(super) trait Source: Send + Sync {
    /// The n-th part, from 0, as it was signed: lines of items, and lines of the heads of the secrets among them.
    ///
    /// # Errors
    /// It is missing or damaged.
    fn part(&self, number: usize) -> Result<(Locked, Vec<u8>)>;

    /// The tree of the same checkpoint by another way, where a part cannot be read.
    ///
    /// # Errors
    /// There is no other way.
    fn instead(&self) -> Result<Namespace>;
}

/// All parts.
#[derive(Default)]
pub(super) struct Details {
    parts: Vec<OnceLock<Option<Part>>>,
    /// `None`: all parts have been read.
    source: Option<Box<dyn Source>>,
    instead: OnceLock<Option<Namespace>>,
}

/// Lines of items and heads, with where each starts.
struct Part {
    text: Locked,
    heads: Vec<u8>,
    starts: Vec<u32>,
    /// For each item; nothing that is read is there for what is no secret.
    heads_at: Vec<u32>,
}

impl Part {
    fn new(text: Locked, heads: Vec<u8>, wanted: impl Iterator<Item = (ItemId, Thing)>) -> Option<Self> {
        let (mut starts, mut heads_at) = (Vec::with_capacity(ITEMS), Vec::with_capacity(ITEMS));
        let (mut items, mut known) = (lines(&text), lines(&heads));
        for (id, thing) in wanted {
            let digits = id.to_string();
            let (at, line) = items.next()?;
            let rest = line.strip_prefix(thing.word().as_bytes())?.strip_prefix(b"\t")?;
            rest.starts_with(digits.as_bytes()).then_some(())?;
            starts.push(at);
            heads_at.push(if thing == Thing::Secret {
                let (at, line) = known.next()?;
                line.starts_with(digits.as_bytes()).then_some(at)?
            } else {
                u32::MAX
            });
        }
        (items.next().is_none() && known.next().is_none()).then_some(())?;
        drop((items, known));
        Some(Self { text, heads, starts, heads_at })
    }

    /// What the n-th item is.
    fn get(&self, n: usize, id: ItemId) -> Option<(Attributes, Content)> {
        let (attributes, content, of) = match Change::parse(line(&self.text, *self.starts.get(n)?)?).ok()? {
            Change::Secret { attributes, secret, id } => {
                let head = Head::parse(line(&self.heads, *self.heads_at.get(n)?)?).ok()?;
                let head = (head.0 == id).then_some(head.1)?;
                (attributes, Content::Secret(SecretState { line: secret, head: Some(head) }), id)
            }
            Change::Symlink { attributes, target, id } => (attributes, Content::Symlink(target), id),
            Change::Fifo { attributes, id } => (attributes, Content::Fifo, id),
            Change::Socket { attributes, id } => (attributes, Content::Socket, id),
            _ => return None,
        };
        (of == id).then_some((attributes, content))
    }
}

impl Details {
    /// So many parts, none of them read yet.
    pub fn new(count: usize, source: Box<dyn Source>) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(count, OnceLock::new);
        Self { parts, source: Some(source), instead: OnceLock::new() }
    }

    /// What the item in this place is, of all `things` in the order of their ids.
    pub fn get(&self, place: usize, things: &[impl Known]) -> Option<(Attributes, Content)> {
        let id = things.get(place)?.id();
        match self.part(place / ITEMS, things) {
            Some(part) => part.get(place % ITEMS, id),
            None => self.instead()?.item(id).map(|item| (item.attributes, item.content.clone())),
        }
    }

    /// Reads all parts that have not been read.
    ///
    /// # Errors
    /// There is one that cannot be read, nor what it says from elsewhere.
    pub fn read_all(&self, things: &[impl Known]) -> Result<()> {
        let unread: Vec<usize> = (0..self.parts.len()).filter(|&number| self.parts[number].get().is_none()).collect();
        parallel::map(unread, 2, |number| self.part(number, things).map(drop));
        if self.parts.iter().any(|part| matches!(part.get(), Some(None))) && self.instead().is_none() {
            return Err(Error::damaged("a part of the checkpoint cannot be read, nor the log from its beginning"));
        }
        Ok(())
    }

    /// Reads all parts, and needs their source no more.
    ///
    /// # Errors
    /// The first part that cannot be read.
    pub fn complete(&mut self, things: &[impl Known]) -> Result<()> {
        let Some(source) = self.source.take() else { return Ok(()) };
        let read = parallel::map((0..self.parts.len()).collect(), 2, |number| load(&*source, number, things));
        for (place, part) in self.parts.iter_mut().zip(read) {
            *place = OnceLock::from(Some(part?));
        }
        Ok(())
    }

    /// Whether a part could not be read, so that a new checkpoint is better than this one.
    pub fn are_damaged(&self) -> bool {
        self.instead.get().is_some()
    }

    fn part(&self, number: usize, things: &[impl Known]) -> Option<&Part> {
        let read = || {
            let part = load(self.source.as_deref()?, number, things);
            part.inspect_err(|error| warn!("checkpoint: {error}; reading the whole log instead")).ok()
        };
        self.parts.get(number)?.get_or_init(read).as_ref()
    }

    fn instead(&self) -> Option<&Namespace> {
        let read = || {
            let tree = self.source.as_ref()?.instead();
            tree.inspect_err(|error| error!("the log cannot be read: {error}; `pkfs fsck` tells more")).ok()
        };
        self.instead.get_or_init(read).as_ref()
    }
}

/// What the directory says of an item that is no directory.
pub(super) trait Known: Sync {
    fn id(&self) -> ItemId;
    fn thing(&self) -> Thing;
}

fn load(source: &dyn Source, number: usize, things: &[impl Known]) -> Result<Part> {
    let (text, heads) = source.part(number)?;
    let wanted = things.iter().skip(number * ITEMS).take(ITEMS).map(|known| (known.id(), known.thing()));
    Part::new(text, heads, wanted)
        .ok_or_else(|| Error::damaged(format!("part {} does not fit its directory", number + 1)))
}
