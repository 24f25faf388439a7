//! An export as a tar archive.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::command::export::Sink;
use super::{export_tree, new_file, output};
use crate::error::{Error, Result};
use crate::node::{Attributes, ItemPath};

/// An archive being written.
pub(super) struct TarSink {
    archive: Builder<File>,
    /// Where it is; `None` for standard output.
    path: Option<PathBuf>,
}

impl TarSink {
    /// Makes a new archive, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be made; others may read it all the same, because of the file system, and not `force`.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        let file = new_file::create(path)?;
        let sink = Self { archive: builder(file), path: Some(path.to_owned()) };
        let mode = sink.archive.get_ref().metadata().map_err(|e| Error::io("look at", path, e))?.mode();
        if mode & 0o004 != 0 && !force {
            Box::new(sink).abandon();
            return Err(export_tree::open_to_others(path));
        }
        Ok(sink)
    }

    /// Writes to standard output.
    ///
    /// # Errors
    ///
    /// That is a file which others may read, and not `force`.
    pub(super) fn stdout(force: bool) -> Result<Self> {
        let file = io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(output::failed)?;
        let metadata = file.metadata().map_err(output::failed)?;
        if metadata.is_file() && metadata.mode() & 0o004 != 0 && !force {
            return Err(export_tree::open_to_others(Path::new("standard output")));
        }
        Ok(Self { archive: builder(file), path: None })
    }

    fn append(&mut self, path: &ItemPath, a: &Attributes, kind: EntryType, data: &[u8]) -> Result<()> {
        let mut header = header(a, kind);
        header.set_size(data.len() as u64);
        let mut name = path.to_bytes();
        if kind == EntryType::Directory {
            name.push(b'/');
        }
        let done = self.archive.append_data(&mut header, Path::new(OsStr::from_bytes(&name)), data);
        done.map_err(|e| self.failed(e))
    }

    fn append_link(&mut self, path: &ItemPath, a: &Attributes, kind: EntryType, target: &[u8]) -> Result<()> {
        let mut header = header(a, kind);
        header.set_size(0);
        let name = path.to_bytes();
        let done = self.archive.append_link(&mut header, OsStr::from_bytes(&name), OsStr::from_bytes(target));
        done.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: io::Error) -> Error {
        match &self.path {
            Some(path) => Error::io("write", path, error),
            None => output::failed(error),
        }
    }
}

impl Sink for TarSink {
    fn directory(&mut self, path: &ItemPath, attributes: &Attributes) -> Result<()> {
        self.append(path, attributes, EntryType::Directory, &[])
    }

    fn file(&mut self, path: &ItemPath, attributes: &Attributes, value: &[u8]) -> Result<()> {
        self.append(path, attributes, EntryType::Regular, value)
    }

    fn link(&mut self, path: &ItemPath, attributes: &Attributes, first: &ItemPath) -> Result<()> {
        self.append_link(path, attributes, EntryType::Link, &first.to_bytes())
    }

    fn symlink(&mut self, path: &ItemPath, attributes: &Attributes, target: &[u8]) -> Result<()> {
        self.append_link(path, attributes, EntryType::Symlink, target)
    }

    fn fifo(&mut self, path: &ItemPath, attributes: &Attributes) -> Result<()> {
        self.append(path, attributes, EntryType::Fifo, &[])
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.archive.finish().and_then(|()| self.archive.get_mut().flush()).map_err(|e| self.failed(e))?;
        let Some(path) = &self.path else { return Ok(()) };
        let synced = self.archive.get_ref().sync_all().and_then(|()| new_file::sync_directory(path));
        synced.map_err(|e| self.failed(e))
    }

    fn abandon(mut self: Box<Self>) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
    }
}

fn builder(file: File) -> Builder<File> {
    let mut archive = Builder::new(file);
    archive.follow_symlinks(false);
    archive
}

fn header(attributes: &Attributes, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(attributes.mode);
    header.set_uid(u64::from(attributes.uid));
    header.set_gid(u64::from(attributes.gid));
    header.set_mtime(u64::try_from(attributes.mtime.seconds).unwrap_or(0));
    header
}
