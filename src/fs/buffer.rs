//! The content of an inode that is being written, shared by all who have it open.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, Kind, Result};
use crate::node::{LARGEST_VALUE, Locked, Session};
use crate::time::Timestamp;

/// Up to this size holes take as much memory, and room in the file, as data: a smaller limit holds for both.
const HOLES: u64 = 64 << 20;

/// The unsaved and the saved content of one session of writing.
///
/// Until the first change there is no content here, the committed one counts. Sealing works on a shared reference;
/// whoever writes meanwhile copies first.
pub(super) struct Buffer {
    order: Mutex<()>,
    inner: Mutex<Inner>,
}

struct Inner {
    content: Option<Arc<Locked>>,
    session: Session,
    /// Changes made, and how many of them are committed.
    changes: u64,
    committed: u64,
    /// How many changes there were when the session began.
    earlier: u64,
    /// A descriptor was closed since the last change, and all is committed.
    closed: bool,
    /// The changes since the last commit come from `O_CREAT` and `O_TRUNC` alone.
    by_open: bool,
    modified: Option<Timestamp>,
    /// The most data that there can be in a content with holes, as far as counted.
    data: Option<u64>,
}

/// A content to be committed.
pub(super) struct Unsaved {
    pub(super) content: Arc<Locked>,
    pub(super) session: Session,
    /// `None`: it is older than the buffer.
    pub(super) modified: Option<Timestamp>,
    changes: u64,
}

/// What asks for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// close(2) of one descriptor: the command that a shell opened the file for may not have written yet.
    Flush,
    /// The last close.
    Release,
    /// fsync(2), and whatever else must be lasting at once.
    Sync,
}

impl Buffer {
    /// For a secret that exists: its committed content counts until the first change.
    pub(super) fn over_committed() -> Self {
        Self::with(None, false)
    }

    /// For a file that was created just now, empty.
    pub(super) fn created() -> Self {
        Self::with(Some(Arc::default()), true)
    }

    /// For a file that lives in memory with this content from now on, unsaved.
    pub(super) fn holding(content: Arc<Locked>) -> Self {
        let buffer = Self::with(Some(content), false);
        buffer.inner.lock().changes = 1;
        buffer
    }

    /// What is committed was another file's: this one is unsaved from now on.
    pub(super) fn unsave(&self) {
        let mut inner = self.inner.lock();
        inner.changes += 1;
        inner.by_open = false;
    }

    fn with(content: Option<Arc<Locked>>, created: bool) -> Self {
        Self {
            order: Mutex::new(()),
            inner: Mutex::new(Inner {
                content,
                session: Session::random(),
                changes: u64::from(created),
                committed: 0,
                earlier: 0,
                closed: false,
                by_open: created,
                modified: created.then(Timestamp::now),
                data: None,
            }),
        }
    }

    /// Held by whoever commits: commits of one buffer happen one after the other, in order.
    pub(super) fn commit_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// The content as written so far; `None`: what is committed.
    pub(super) fn content(&self) -> Option<Arc<Locked>> {
        self.inner.lock().content.clone()
    }

    /// Size in bytes as written so far; `None`: as committed.
    pub(super) fn size(&self) -> Option<u64> {
        self.inner.lock().content.as_ref().map(|c| c.len() as u64)
    }

    /// When it was last written to, if that is not committed yet.
    pub(super) fn modified(&self) -> Option<Timestamp> {
        self.inner.lock().modified
    }

    /// utimensat(2) after writing.
    pub(super) fn set_modified(&self, time: Timestamp) {
        let mut inner = self.inner.lock();
        if inner.modified.is_some() {
            inner.modified = Some(time);
        }
    }

    /// Writes bytes at an offset, filling a gap with zeros. `base` gives the committed content for the first change.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes, holes aside; whatever `base` reports.
    pub(super) fn write(
        &self,
        offset: u64,
        bytes: &[u8],
        limit: u64,
        base: impl FnOnce() -> Result<Arc<Locked>>,
    ) -> Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or_else(|| too_large(limit))?;
        let (start, end) = (to_usize(offset)?, within(end)?);
        self.load(base)?;
        let mut inner = self.inner.lock();
        inner.make_room(bytes.len(), end, limit)?;
        let content = inner.change();
        if content.len() < end && !content.try_resize(end) {
            return Err(no_memory());
        }
        content
            .get_mut(start..end)
            .ok_or_else(|| Error::new(Kind::Failed, "a write outside of its buffer"))?
            .copy_from_slice(bytes);
        Ok(())
    }

    /// Makes zeros of the bytes in this range that there are.
    ///
    /// # Errors
    /// Whatever `base` reports.
    pub(super) fn clear(&self, offset: u64, length: u64, base: impl FnOnce() -> Result<Arc<Locked>>) -> Result<()> {
        self.load(base)?;
        let mut inner = self.inner.lock();
        let content = inner.change();
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        content.clear(at(offset)..at(offset.saturating_add(length)));
        Ok(())
    }

    /// Sets the size. `by_open`: for `O_TRUNC`, which waits for the writes that follow.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub(super) fn truncate(
        &self,
        size: u64,
        limit: u64,
        by_open: bool,
        base: impl FnOnce() -> Result<Arc<Locked>>,
    ) -> Result<()> {
        let size = within(size)?;
        if size == 0 {
            let mut inner = self.inner.lock();
            let waits = by_open && (inner.by_open || inner.changes == inner.committed);
            *inner.replace() = Locked::default();
            inner.by_open = waits;
            return Ok(());
        }
        self.load(base)?;
        let mut inner = self.inner.lock();
        inner.make_room(0, size, limit)?;
        if inner.change().try_resize(size) { Ok(()) } else { Err(no_memory()) }
    }

    /// What a commit on this occasion must save, if anything.
    pub(super) fn unsaved(&self, occasion: Occasion) -> Option<Unsaved> {
        let inner = self.inner.lock();
        if inner.changes == inner.committed || (occasion == Occasion::Flush && inner.by_open) {
            return None;
        }
        Some(Unsaved {
            content: inner.content.clone()?,
            session: inner.session,
            modified: inner.modified,
            changes: inner.changes,
        })
    }

    /// Notes that this much is on disk.
    pub(super) fn saved(&self, what: &Unsaved) {
        let mut inner = self.inner.lock();
        inner.committed = inner.committed.max(what.changes);
        if inner.committed == inner.changes {
            inner.by_open = false;
            inner.modified = None;
        }
    }

    /// Notes that a descriptor was closed.
    pub(super) fn closed(&self) {
        let mut inner = self.inner.lock();
        inner.closed = inner.changes == inner.committed;
    }

    /// Notes that the file was opened for writing, or is truncated. Where whoever wrote last has closed it, this is
    /// another session, and `true`: the kernel may tell of the last close after what comes next.
    pub(super) fn opened(&self) -> bool {
        let mut inner = self.inner.lock();
        let another = std::mem::take(&mut inner.closed);
        if another {
            inner.session = Session::random();
            inner.earlier = inner.changes;
        }
        another
    }

    /// Whether everything is committed.
    pub(super) fn is_clean(&self) -> bool {
        let inner = self.inner.lock();
        inner.changes == inner.committed
    }

    /// The session that wrote the content; `None`: one that is over.
    pub(super) fn session(&self) -> Option<Session> {
        let inner = self.inner.lock();
        (inner.changes > inner.earlier).then_some(inner.session)
    }

    /// Decrypts outside of the lock, then installs the content unless somebody was faster.
    fn load(&self, base: impl FnOnce() -> Result<Arc<Locked>>) -> Result<()> {
        if self.inner.lock().content.is_none() {
            let content = base()?;
            self.inner.lock().content.get_or_insert(content);
        }
        Ok(())
    }
}

impl Inner {
    /// The content, to be changed in place; a copy where somebody else still looks at it.
    fn change(&mut self) -> &mut Locked {
        self.changes += 1;
        self.closed = false;
        self.by_open = false;
        self.modified = Some(Timestamp::now());
        Arc::make_mut(self.content.get_or_insert_default())
    }

    /// Whether this many bytes may be written that end here. Within the limit they always may; beyond it there may be holes,
    /// but no more data.
    fn make_room(&mut self, bytes: usize, end: usize, limit: u64) -> Result<()> {
        let content = self.content.get_or_insert_default();
        let more = |data: u64| data + bytes as u64;
        if end as u64 <= limit {
            self.data = self.data.map(more).filter(|_| content.len() as u64 > limit);
            return Ok(());
        }
        if limit < HOLES {
            return Err(too_large(limit));
        }
        let fits = |data: u64| Some(more(data)).filter(|data| *data <= limit);
        // What is written may replace data: before it is refused, they are counted.
        let data = self.data.and_then(fits).or_else(|| fits(content.data() as u64)).ok_or_else(|| too_large(limit))?;
        self.data = Some(data);
        Ok(())
    }

    /// A new, empty content in place of the present one, which is not copied.
    fn replace(&mut self) -> &mut Locked {
        self.content = Some(Arc::default());
        self.data = None;
        self.change()
    }
}

pub(super) fn too_large(limit: u64) -> Error {
    Error::new(Kind::TooLarge, format!("the limit for one secret is {limit} bytes"))
        .hint("mount with a greater --max-size")
}

fn no_memory() -> Error {
    Error::new(Kind::NoSpace, "this machine has not that much memory")
}

/// A size that a secret may have with its holes.
fn within(size: u64) -> Result<usize> {
    to_usize(size).ok().filter(|size| *size <= LARGEST_VALUE).ok_or_else(|| {
        Error::new(Kind::TooLarge, format!("one secret has at most {LARGEST_VALUE} bytes, holes included"))
    })
}

fn to_usize(n: u64) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::new(Kind::TooLarge, "larger than this machine can address"))
}
