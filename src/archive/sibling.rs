//! A new file beside the one that it becomes, gone unless it does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

/// A file under a temporary name, mode 0600; removed when dropped before it got its own.
pub(super) struct Sibling {
    path: PathBuf,
    file: File,
    placed: bool,
}

impl Sibling {
    /// Makes one in the directory of `path`.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let directory = directory(path);
        for n in 0..1000 {
            let path = directory.join(format!(".pkfs-{}-{n}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { path, file, placed: false }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("write in", directory, e)),
            }
        }
        Err(Error::new(Kind::Exists, format!("{} is full of files of earlier attempts", directory.display()))
            .hint("remove its files .pkfs-*"))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable, and gives it the name if nothing has that.
    pub(super) fn place_new(mut self, path: &Path) -> Result<File> {
        self.sync(path)?;
        match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => self.placed = true,
            // A file system without it, such as NFS; dropping this one removes the other name.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::hard_link(&self.path, path).map_err(|e| failed(path, e))?,
            Err(e) => return Err(failed(path, e.into())),
        }
        self.settle(path)
    }

    /// Makes it durable, and puts it in the place of the file of that name. [`Sibling::settle`] must follow.
    pub(super) fn replace(&mut self, path: &Path) -> Result<()> {
        self.sync(path)?;
        std::fs::rename(&self.path, path).map_err(|e| failed(path, e))?;
        self.placed = true;
        Ok(())
    }

    fn sync(&self, path: &Path) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io("write", path, e))
    }

    /// Makes its new name durable.
    pub(super) fn settle(self, path: &Path) -> Result<File> {
        let directory = directory(path);
        File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::io("sync", directory, e))?;
        self.file.try_clone().map_err(|e| Error::io("open", path, e))
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn failed(path: &Path, e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::AlreadyExists {
        return Error::new(Kind::Exists, format!("{} exists already", path.display()));
    }
    Error::io("write", path, e)
}

/// The directory that a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
