//! An export as a tree of plain files. Nothing outside the tree is ever touched: each name is made new in a directory
//! that was reached without a symbolic link.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};

use super::command::export::Sink;
use super::edit;
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, ItemPath, Name};

/// A tree being written.
pub(super) struct TreeSink {
    path: PathBuf,
    /// The top directory was made for this.
    made: bool,
    top: OwnedFd,
    /// The directory that the last thing was made in: most often the next goes there too.
    last: Option<(ItemPath, OwnedFd)>,
    /// Modes and times of directories, set when all is in them.
    directories: Vec<(ItemPath, Attributes)>,
}

impl TreeSink {
    /// Makes the directory, or takes an empty one.
    ///
    /// # Errors
    ///
    /// It cannot be made, is not empty, or others may look into it and not `force`.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        let io = |e| Error::io("make the directory", path, e);
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(path).map_err(io)?;
                if entries.next().is_some() {
                    return Err(Error::new(Kind::NotEmpty, format!("{} is not empty", path.display()))
                        .hint("name a new directory"));
                }
                false
            }
            made => made.map(|()| true).map_err(io)?,
        };
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let top = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
        if top.metadata().map_err(io)?.mode() & 0o007 != 0 && !force {
            return Err(open_to_others(path));
        }
        Ok(Self { path: path.to_owned(), made, top: top.into(), last: None, directories: Vec::new() })
    }

    /// Does something with a name in its directory.
    fn at<T>(&mut self, path: &ItemPath, act: impl FnOnce(&OwnedFd, &OsStr) -> io::Result<T>) -> Result<T> {
        let (parent, name) = edit::split(path)?;
        let name = OsStr::from_bytes(Name::as_bytes(name));
        let done = self.directory_of(&parent).and_then(|directory| act(directory, name));
        done.map_err(|e| Error::io("write", &self.path.join(OsStr::from_bytes(&path.to_bytes())), e))
    }

    fn directory_of(&mut self, parent: &ItemPath) -> io::Result<&OwnedFd> {
        if parent.is_root() {
            return Ok(&self.top);
        }
        if self.last.as_ref().is_none_or(|(path, _)| path != parent) {
            self.last = Some((parent.clone(), self.open(parent, OFlags::DIRECTORY)?));
        }
        self.last.as_ref().map(|(_, fd)| fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, path: &ItemPath, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = path.to_bytes();
        let path = if path.is_empty() { b".".as_slice() } else { &path };
        Ok(rustix::fs::openat2(&self.top, OsStr::from_bytes(path), flags, Mode::empty(), inside)?)
    }
}

impl Sink for TreeSink {
    fn directory(&mut self, path: &ItemPath, attributes: &Attributes) -> Result<()> {
        self.at(path, |at, name| Ok(rustix::fs::mkdirat(at, name, Mode::RWXU)?))?;
        self.directories.push((path.clone(), *attributes));
        Ok(())
    }

    fn file(&mut self, path: &ItemPath, attributes: &Attributes, value: &[u8]) -> Result<()> {
        self.at(path, |at, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR)?);
            file.write_all(value)?;
            rustix::fs::fchmod(&file, mode(attributes))?;
            rustix::fs::futimens(&file, &times(attributes))?;
            Ok(())
        })
    }

    fn link(&mut self, path: &ItemPath, _: &Attributes, first: &ItemPath) -> Result<()> {
        let (parent, first) = edit::split(first)?;
        let from = self.open(&parent, OFlags::DIRECTORY);
        self.at(path, |at, name| Ok(rustix::fs::linkat(from?, first.as_bytes(), at, name, AtFlags::empty())?))
    }

    fn symlink(&mut self, path: &ItemPath, attributes: &Attributes, target: &[u8]) -> Result<()> {
        self.at(path, |at, name| {
            rustix::fs::symlinkat(OsStr::from_bytes(target), at, name)?;
            Ok(rustix::fs::utimensat(at, name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)?)
        })
    }

    fn fifo(&mut self, path: &ItemPath, attributes: &Attributes) -> Result<()> {
        self.at(path, |at, name| {
            rustix::fs::mknodat(at, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            rustix::fs::chmodat(at, name, mode(attributes), AtFlags::empty())?;
            Ok(rustix::fs::utimensat(at, name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)?)
        })
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for (path, attributes) in std::mem::take(&mut self.directories).iter().rev() {
            let set = self.open(path, OFlags::DIRECTORY).and_then(|directory| {
                rustix::fs::futimens(&directory, &times(attributes))?;
                Ok(rustix::fs::fchmod(&directory, mode(attributes))?)
            });
            set.map_err(|e| Error::io("write", &self.path.join(OsStr::from_bytes(&path.to_bytes())), e))?;
        }
        rustix::fs::syncfs(&self.top).map_err(|e| Error::io("write", &self.path, e.into()))
    }

    fn abandon(self: Box<Self>) {
        let within = |path: &Path| -> io::Result<()> {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let directory = entry.file_type()?.is_dir();
                if directory { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
            }
            Ok(())
        };
        // One that was there before stays, empty as it was.
        if let Err(error) = if self.made { fs::remove_dir_all(&self.path) } else { within(&self.path) } {
            log::warn!("{} holds secrets of an export that failed: {error}", self.path.display());
        }
    }
}

/// The error for a place that is open to everybody.
pub(super) fn open_to_others(path: &Path) -> Error {
    Error::new(Kind::NotPermitted, format!("everybody may read {}", path.display()))
        .hint("choose a new directory, chmod 700 this one, or --force")
}

/// Without setuid, setgid and sticky bits: whose they are is not kept either.
fn mode(attributes: &Attributes) -> Mode {
    Mode::from_raw_mode(attributes.mode & 0o777)
}

fn times(attributes: &Attributes) -> Timestamps {
    let time = |t: crate::time::Timestamp| Timespec { tv_sec: t.seconds, tv_nsec: i64::from(t.nanoseconds) };
    Timestamps { last_access: time(attributes.atime), last_modification: time(attributes.mtime) }
}
