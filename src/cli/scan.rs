//! What is in a directory of the host, as `import` takes it over.

use std::collections::HashSet;
use std::fs::{self, Metadata, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::edit;
use super::edit::VALUE_LIMIT;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::node::{Attributes, ItemPath, Locked, Name};
use crate::time::Timestamp;

/// All of a directory.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where it shall go.
    pub(super) prefix: ItemPath,
    /// What is in it, each directory before what is in it.
    pub(super) found: Vec<Found>,
    /// What cannot be taken over, and why.
    pub(super) skipped: Vec<(PathBuf, &'static str)>,
}

/// Something in it.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it shall be.
    pub(super) path: ItemPath,
    /// Where it is.
    host: PathBuf,
    pub(super) attributes: Attributes,
    pub(super) kind: Kind,
}

/// What it is; an inode is a device's and a file's number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File {
        inode: (u64, u64),
    },
    /// A further name of a file that was found before.
    Link {
        inode: (u64, u64),
    },
    Symlink(Vec<u8>),
    Fifo,
}

impl Scan {
    /// The regular files, each once.
    pub(super) fn files(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| matches!(found.kind, Kind::File { .. }))
    }
}

impl Found {
    /// Reads the file, which must still be the one that was found.
    ///
    /// # Errors
    ///
    /// It cannot be read, is too large, or is another one.
    pub(super) fn read(&self) -> Result<Locked> {
        let io = |e| Error::io("read", &self.host, e);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.host).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() || self.kind != (Kind::File { inode: inode(&metadata) }) {
            let text = format!("{} was replaced while it was read", self.host.display());
            return Err(Error::new(ErrorKind::Failed, text).hint("try again, nothing was changed"));
        }
        if metadata.len() > VALUE_LIMIT as u64 {
            return Err(too_large(&self.host, metadata.len()));
        }
        edit::value(file).map_err(|e| e.at(self.host.display()))
    }
}

/// Looks through a directory; symbolic links in it are not followed.
///
/// # Errors
///
/// It, or a directory in it, cannot be read; a file is larger than a value may be.
pub(super) fn directory(top: &Path, prefix: &ItemPath) -> Result<Scan> {
    let mut scan = Scan { prefix: prefix.clone(), found: Vec::new(), skipped: Vec::new() };
    let mut inodes = HashSet::new();
    let mut waiting = vec![(top.to_owned(), prefix.clone())];
    while let Some((host, path)) = waiting.pop() {
        for name in names(&host)? {
            let host = host.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
            let path = path.join(name);
            let metadata = fs::symlink_metadata(&host).map_err(|e| Error::io("look at", &host, e))?;
            let file_type = metadata.file_type();
            let kind = if file_type.is_dir() {
                waiting.push((host.clone(), path.clone()));
                Kind::Directory
            } else if file_type.is_symlink() {
                let target = fs::read_link(&host).map_err(|e| Error::io("read the link", &host, e))?;
                Kind::Symlink(target.as_os_str().as_bytes().to_vec())
            } else if file_type.is_fifo() {
                Kind::Fifo
            } else if !file_type.is_file() {
                scan.skipped.push((host, if file_type.is_socket() { "a socket" } else { "a device" }));
                continue;
            } else if metadata.len() > VALUE_LIMIT as u64 {
                return Err(too_large(&host, metadata.len()));
            } else if metadata.nlink() > 1 && !inodes.insert(inode(&metadata)) {
                Kind::Link { inode: inode(&metadata) }
            } else {
                Kind::File { inode: inode(&metadata) }
            };
            scan.found.push(Found { path, host, attributes: attributes(&metadata), kind });
        }
    }
    Ok(scan)
}

fn names(directory: &Path) -> Result<Vec<Name>> {
    let io = |e| Error::io("read the directory", directory, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        names.push(Name::new(entry.map_err(io)?.file_name().as_bytes())?);
    }
    names.sort();
    Ok(names)
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn attributes(metadata: &Metadata) -> Attributes {
    let time = |seconds, nanoseconds: i64| Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) };
    Attributes {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        atime: time(metadata.atime(), metadata.atime_nsec()),
        ctime: Timestamp::now(),
    }
}

fn too_large(path: &Path, size: u64) -> Error {
    let text = format!("{}: {size} bytes, a secret has at most {VALUE_LIMIT}", path.display());
    Error::new(ErrorKind::TooLarge, text).hint("leave it out and keep it elsewhere, nothing was changed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tree_is_found_whole_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir(top.join("d")).unwrap();
        fs::write(top.join("d/a"), "1").unwrap();
        fs::hard_link(top.join("d/a"), top.join("z")).unwrap();
        std::os::unix::fs::symlink("/etc", top.join("etc")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(top.join("s")).unwrap();
        let scan = directory(top, &ItemPath::parse(b"p").unwrap()).unwrap();
        let seen: Vec<String> = scan.found.iter().map(|f| f.path.to_string()).collect();
        assert_eq!(seen, ["p/d", "p/etc", "p/z", "p/d/a"]);
        assert_eq!(scan.found[1].kind, Kind::Symlink(b"/etc".to_vec()));
        assert!(matches!(scan.found[2].kind, Kind::File { .. }) && matches!(scan.found[3].kind, Kind::Link { .. }));
        assert_eq!(scan.skipped.len(), 1);
        assert_eq!(scan.found[2].read().unwrap().as_slice(), b"1");
        fs::remove_file(top.join("z")).unwrap();
        fs::write(top.join("z"), "other").unwrap();
        assert!(scan.found[2].read().is_err());
    }
}
