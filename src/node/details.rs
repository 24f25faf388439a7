//! What the items of a checkpoint are: parts of their lines and heads, read as they are needed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{error, warn};

use super::attributes::Attributes;
use super::change::Change;
use super::directory::{ITEMS, Thing, line, lines};
use super::id::ItemId;
use super::namespace::{Content, Head, Item, Namespace, SecretState};
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
    /// Whether a part that cannot be read was told of.
    told: AtomicBool,
}

/// Lines of items and heads, each of which can be read, with where each starts.
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
        for wanted in wanted {
            let (at, line) = items.next()?;
            (Thing::of(&Change::parse(line).ok()?)? == wanted).then_some(())?;
            starts.push(at);
            heads_at.push(if wanted.1 == Thing::Secret {
                let (at, line) = known.next()?;
                (Head::parse(line).ok()?.0 == wanted.0).then_some(at)?
            } else {
                u32::MAX
            });
        }
        (items.next().is_none() && known.next().is_none()).then_some(())?;
        drop((items, known));
        Some(Self { text, heads, starts, heads_at })
    }

    /// What the n-th item is.
    fn get(&self, n: usize) -> Option<(Attributes, Content)> {
        match Change::parse(line(&self.text, *self.starts.get(n)?)?).ok()? {
            Change::Secret { attributes, secret, .. } => {
                let head = Head::parse(line(&self.heads, *self.heads_at.get(n)?)?).ok()?.1;
                Some((attributes, Content::Secret(SecretState { line: secret, head: Some(head) })))
            }
            Change::Symlink { attributes, target, .. } => Some((attributes, Content::Symlink(target))),
            Change::Fifo { attributes, .. } => Some((attributes, Content::Fifo)),
            Change::Socket { attributes, .. } => Some((attributes, Content::Socket)),
            _ => None,
        }
    }
}

impl Details {
    /// So many parts, none of them read yet.
    pub fn new(count: usize, source: Box<dyn Source>) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(count, OnceLock::new);
        Self { parts, source: Some(source), ..Self::default() }
    }

    /// What the item in this place is, of all `things` in the order of their ids.
    pub fn get(&self, place: usize, things: &[impl Known]) -> Option<(Attributes, Content)> {
        let known = things.get(place)?;
        match self.part(place / ITEMS, things) {
            Some(part) => part.get(place % ITEMS),
            None => self.elsewhere(known).map(|item| (item.attributes, item.content.clone())),
        }
    }

    /// Whether the part with this item can be read.
    pub fn can_read(&self, place: usize, things: &[impl Known]) -> bool {
        self.part(place / ITEMS, things).is_some()
    }

    /// Reads all parts that have not been read.
    ///
    /// # Errors
    /// There is one that cannot be read, nor what it says from elsewhere.
    pub fn read_all(&self, things: &[impl Known]) -> Result<()> {
        let unread: Vec<usize> = (0..self.parts.len()).filter(|&number| self.parts[number].get().is_none()).collect();
        parallel::map(unread, 2, |number| self.part(number, things).map(drop));
        for (part, things) in self.parts.iter().zip(things.chunks(ITEMS)) {
            if matches!(part.get(), Some(None)) && things.iter().any(|known| self.elsewhere(known).is_none()) {
                return Err(Error::damaged("a part of the checkpoint cannot be read, nor what it says from the log"));
            }
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
            let tell = |error: &Error| {
                if !self.told.swap(true, Ordering::Relaxed) {
                    warn!("checkpoint: {error}");
                }
            };
            part.inspect_err(tell).ok()
        };
        self.parts.get(number)?.get_or_init(read).as_ref()
    }

    /// The item as the other way has it.
    fn elsewhere(&self, known: &impl Known) -> Option<&Item> {
        self.instead()?.item(known.id()).filter(|item| Thing::of_item(item) == Some(known.thing()))
    }

    fn instead(&self) -> Option<&Namespace> {
        let read = || {
            warn!("what the checkpoint does not say any more is read from the log");
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
