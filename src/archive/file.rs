//! [`Archive`]: a file as it stood when it was scanned.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::member::BLOCK;
use super::problems::{self, Problem};
use super::scan::{Tail, Trust, scan, scan_tail};
use super::view::{View, read_slot};
use super::window::read_range;
use super::{Object, Oid};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// Which file this is on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device number.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The compacted base, in bytes.
    pub base_bytes: u64,
    /// The transactions after it, in bytes.
    pub tail_bytes: u64,
    /// Objects in the tail.
    pub loose_objects: u64,
    /// Objects in the base's packs.
    pub packed_objects: u64,
}

/// What tells that a file was written to: size, mtime and ctime in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

/// The coarsest clock of a file system (FAT's), in seconds.
const TICK: i64 = 2;

/// An immutable view of the file as it stood when it was scanned.
///
/// Cheap to clone; reads use pread(2) on a shared descriptor and take no lock. A file that others rewrite in place
/// meanwhile yields errors, never wrong bytes, for each object is compared with its name.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: Arc<File>,
    id: FileId,
    stamp: Stamp,
    /// Whether the last write was so long ago that the next one must show in the times.
    settled: bool,
    /// The headers and first blocks of the last members of base and tail: a file that still has them only grew.
    marks: Vec<u8>,
    view: View,
    tail: Tail,
    synced: Arc<AtomicU64>,
}

impl Archive {
    /// Opens a keynode for reading.
    ///
    /// # Errors
    /// `IsDirectory`; `Invalid` where it is no keynode; `Failed` where it is of a newer version; `Damaged` where its
    /// base, or its only transaction, is; those of open(2).
    pub fn open(path: &Path) -> Result<Self> {
        // Found again wherever this process goes.
        let path = &std::path::absolute(path).map_err(|e| Error::io("open", path, e))?;
        let file = open_file(path, OpenOptions::new().read(true))?;
        Self::of(path, Arc::new(file), Arc::default())
    }

    fn of(path: &Path, file: Arc<File>, synced: Arc<AtomicU64>) -> Result<Self> {
        let (id, stamp) = identify(path, &file)?;
        let (view, tail) = scan(&file, stamp.size).map_err(|e| e.at(path.display()))?;
        Self::assemble(path, file, (id, stamp), (view, tail), synced)
    }

    fn assemble(
        path: &Path,
        file: Arc<File>,
        (id, stamp): (FileId, Stamp),
        (view, tail): (View, Tail),
        synced: Arc<AtomicU64>,
    ) -> Result<Self> {
        let marks = marks(&file, &view).map_err(|e| e.at(path.display()))?;
        let path = path.to_owned();
        let settled = stamp.mtime.0.max(stamp.ctime.0) + TICK < Timestamp::now().seconds;
        Ok(Self { inner: Arc::new(Inner { path, file, id, stamp, settled, marks, view, tail, synced }) })
    }

    /// What the file is now; nothing if it has not changed. Of a file that only grew, only the new part is read.
    ///
    /// # Errors
    /// As for [`Archive::open`].
    pub fn refresh(&self) -> Result<Option<Self>> {
        let inner = &*self.inner;
        let path = &inner.path;
        let there = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        if (FileId { device: there.dev(), inode: there.ino() }) != inner.id {
            return Self::open(path).map(Some);
        }
        let (id, stamp) = identify(path, &inner.file)?;
        // What is unfinished may be finished within one tick of the clock, at the same size.
        if stamp == inner.stamp && (inner.settled || inner.tail == Tail::Clean) {
            return Ok(None);
        }
        self.rescan((id, stamp), Trust::Verify).map(Some)
    }

    /// The state after this process appended to the file.
    pub(super) fn after_append(&self) -> Result<Self> {
        let identity = identify(&self.inner.path, &self.inner.file)?;
        self.rescan(identity, Trust::Written)
    }

    fn rescan(&self, (id, stamp): (FileId, Stamp), trust: Trust) -> Result<Self> {
        let inner = &*self.inner;
        let grew = stamp.size >= inner.view.end && marks(&inner.file, &inner.view).is_ok_and(|m| m == inner.marks);
        if !grew {
            return Self::of(&inner.path, Arc::clone(&inner.file), Arc::default());
        }
        let found =
            scan_tail(&inner.file, stamp.size, inner.view.clone(), trust).map_err(|e| e.at(inner.path.display()))?;
        Self::assemble(&inner.path, Arc::clone(&inner.file), (id, stamp), found, Arc::clone(&inner.synced))
    }

    /// Whether another view shows the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Which file it is.
    pub fn file_id(&self) -> FileId {
        self.inner.id
    }

    /// Where what was accepted ends, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a keynode is never empty")]
    pub fn len(&self) -> u64 {
        self.inner.view.end
    }

    /// Reads an object, loose or packed; nothing where it is absent.
    ///
    /// # Errors
    /// Damaged: it does not inflate, does not match its name, or is larger than [`super::MAX_OBJECT`].
    pub fn object(&self, oid: &Oid) -> Result<Option<Object>> {
        self.inner.view.object(&self.inner.file, oid)
    }

    /// The object as it stands, not compared with its name: for what a stronger digest vouches for.
    ///
    /// # Errors
    /// `Damaged` where it cannot be read.
    pub fn vouched_object(&self, oid: &Oid) -> Result<Option<Object>> {
        self.inner.view.unchecked_object(&self.inner.file, oid)
    }

    /// Whether an object is there; it is not read.
    ///
    /// # Errors
    /// Those of reading a pack's index.
    pub fn contains(&self, oid: &Oid) -> Result<bool> {
        self.inner.view.contains(&self.inner.file, oid)
    }

    /// What the ref of this full name points to.
    pub fn reference(&self, name: &str) -> Option<Oid> {
        self.inner.view.reference(name)
    }

    /// The refs whose full names start so, sorted by name.
    pub fn references(&self, prefix: &str) -> Vec<(String, Oid)> {
        let view = &self.inner.view;
        let packed = view.packed_refs.with_prefix(prefix).map(|(name, oid)| (name.to_owned(), oid));
        let mut refs: std::collections::BTreeMap<_, _> = packed.collect();
        let loose = view.refs.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        refs.extend(loose.map(|(name, oid)| (name.clone(), *oid)));
        refs.into_iter().collect()
    }

    /// The names of the unlock slots, sorted: `passphrase`, fingerprints.
    pub fn slots(&self) -> Vec<String> {
        self.inner.view.slots.keys().cloned().collect()
    }

    /// The message in an unlock slot; nothing where there is no such slot.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn slot(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let extent = self.inner.view.slots.get(name);
        let content = extent.map(|extent| read_slot(&self.inner.file, *extent)).transpose();
        content.map_err(|e| e.at(format_args!("{}: unlock/{name}.pgp", self.inner.path.display())))
    }

    /// How much there is of what.
    pub fn sizes(&self) -> Sizes {
        let view = &self.inner.view;
        Sizes {
            base_bytes: view.base_end,
            tail_bytes: view.end - view.base_end,
            loose_objects: view.loose.len() as u64,
            packed_objects: view.packs.iter().map(|p| p.index.count()).sum(),
        }
    }

    /// What follows the last accepted transaction.
    pub fn tail(&self) -> &Tail {
        &self.inner.tail
    }

    /// All that is wrong with the file on this layer. Reads all of it.
    pub fn problems(&self) -> Vec<Problem> {
        problems::find(self)
    }

    /// Makes the file durable as it is. Comes before anything that relies on what was read to stay.
    ///
    /// # Errors
    /// Those of fdatasync(2).
    pub fn sync(&self) -> Result<()> {
        if !self.is_synced() {
            self.inner.file.sync_data().map_err(|e| Error::io("sync", self.path(), e))?;
            self.set_synced();
        }
        Ok(())
    }

    pub(super) fn view(&self) -> &View {
        &self.inner.view
    }

    pub(super) fn file(&self) -> &File {
        &self.inner.file
    }

    /// The size of the file when it was scanned.
    pub(super) fn file_size(&self) -> u64 {
        self.inner.stamp.size
    }

    /// Whether this process has made the file durable up to its present end.
    fn is_synced(&self) -> bool {
        self.inner.synced.load(Ordering::Acquire) == self.len()
    }

    /// Notes that the file is durable up to its present end.
    pub fn set_synced(&self) {
        self.inner.synced.store(self.len(), Ordering::Release);
    }
}

/// Opens a regular file without waiting for a FIFO or taking a terminal.
pub(super) fn open_file(path: &Path, how: &mut OpenOptions) -> Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = how.custom_flags(flags).open(path).map_err(|e| match e.raw_os_error() {
        Some(libc::EISDIR) => directory(path),
        Some(libc::ENXIO) => Error::new(Kind::Invalid, format!("{} is not a keynode: no regular file", path.display())),
        _ => Error::io("open", path, e),
    })?;
    let kind = file.metadata().map_err(|e| Error::io("read", path, e))?.file_type();
    if kind.is_dir() {
        return Err(directory(path));
    }
    if kind.is_file() {
        return Ok(file);
    }
    let what = if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "no regular file"
    };
    Err(Error::new(Kind::Invalid, format!("{} is not a keynode: it is {what}", path.display())))
}

fn directory(path: &Path) -> Error {
    Error::new(Kind::IsDirectory, format!("{} is a directory, and a keynode is a file", path.display()))
}

fn identify(path: &Path, file: &File) -> Result<(FileId, Stamp)> {
    let meta = file.metadata().map_err(|e: io::Error| Error::io("read", path, e))?;
    if meta.len() == 0 {
        return Err(Error::new(Kind::Invalid, format!("{} is not a keynode: it is empty", path.display())));
    }
    let stamp =
        Stamp { size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()), ctime: (meta.ctime(), meta.ctime_nsec()) };
    Ok((FileId { device: meta.dev(), inode: meta.ino() }, stamp))
}

/// Header and first block of the last members of base and tail, which name the commits that they end with.
fn marks(file: &File, view: &View) -> Result<Vec<u8>> {
    let mut marks = Vec::new();
    for (at, end) in [(view.base_last, view.base_end), (view.last, view.end)] {
        let len = usize::try_from((end - at).min(2 * BLOCK)).unwrap_or_default();
        marks.extend(read_range(file, at, len)?);
    }
    Ok(marks)
}
