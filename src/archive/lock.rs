//! The exclusive right to write.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::file::{Archive, FileId, open_file};
use super::ofd;
use crate::error::{Error, Kind, Result};

/// The exclusive right to write to a keynode: a lock that ends when this is dropped, or with the process.
///
/// Not a lock of flock(2), which anybody who may read the file could hold for ever.
#[derive(Debug)]
pub struct WriteLock {
    pub(super) file: File,
    /// Where the file is, symlinks resolved.
    pub(super) path: PathBuf,
    pub(super) archive: Archive,
    pub(super) health: Health,
}

/// Whether this lock may still be written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Sound,
    /// A failed write could not be undone: nothing may follow it before it is cut off.
    Torn,
    /// The file was replaced, and what followed failed: this lock holds the old one.
    Gone,
}

/// How often a file is opened anew because it was replaced before the lock was had.
const ATTEMPTS: u32 = 100;

impl WriteLock {
    /// Waits for the lock and reads the file as it is then.
    ///
    /// # Errors
    /// `NotPermitted` or `ReadOnly` where it cannot be written to; as for [`Archive::open`].
    pub fn acquire(path: &Path) -> Result<Self> {
        Self::acquire_with(path, || Archive::open(path))
    }

    /// The same for a file of which an earlier state is known: only what is new is read.
    ///
    /// # Errors
    /// As for [`WriteLock::acquire`].
    pub fn acquire_from(known: &Archive) -> Result<Self> {
        Self::acquire_with(known.path(), || Ok(known.refresh()?.unwrap_or_else(|| known.clone())))
    }

    fn acquire_with(given: &Path, read: impl Fn() -> Result<Archive>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let path = std::fs::canonicalize(given).map_err(|e| Error::io("open", given, e))?;
            let file = open_file(&path, OpenOptions::new().read(true).write(true))?;
            lock(&path, &file)?;
            let held = file.metadata().map_err(|e| Error::io("read", &path, e))?;
            let id = FileId { device: held.dev(), inode: held.ino() };
            match std::fs::metadata(given) {
                Ok(there) if (there.dev(), there.ino()) != (held.dev(), held.ino()) => continue,
                Ok(_) if held.nlink() == 0 => return Err(orphan(given)),
                Ok(_) => {}
                Err(e) => return Err(Error::io("open", given, e)),
            }
            let archive = read()?;
            if archive.file_id() == id {
                return Ok(Self { file, path, archive, health: Health::Sound });
            }
        }
        Err(Error::new(Kind::Failed, format!("{} is replaced again and again", given.display())))
    }

    /// The file as it is now, which nobody else changes meanwhile.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        // A descriptor inherited by a child would hold the lock on.
        if let Err(error) = ofd::unlock(&self.file) {
            log::warn!("cannot unlock {}: {error}", self.path.display());
        }
    }
}

fn lock(path: &Path, file: &File) -> Result<()> {
    let failed = |e| {
        Error::new(Kind::ReadOnly, format!("{} is on a file system without locks, so it is read-only", path.display()))
            .because(e)
    };
    if ofd::try_lock(file).map_err(failed)? {
        return Ok(());
    }
    log::info!("waiting for another process that writes to {}", path.display());
    ofd::wait_lock(file).map_err(failed)
}

/// A file without a name: a container into which it was bind-mounted keeps it after compaction.
fn orphan(path: &Path) -> Error {
    Error::new(
        Kind::ReadOnly,
        format!("{} was replaced outside, and this mount of it still leads to the old file", path.display()),
    )
    .hint("bind-mount the directory of the keynode instead")
}
