//! Answers from a mount: what the kernel shows of it needs no passphrase.

use std::ffi::OsStr;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::history::RevisionArgs;
use super::mountinfo::Mount;
use super::prompt;
use crate::error::{Error, Kind, Result};
use crate::node::{ItemPath, LARGEST_VALUE, Locked};

/// Reads a secret, or one of its versions.
///
/// # Errors
///
/// There is none, it is something else, or the mount cannot read it.
pub(super) fn read(mount: &Mount, path: &ItemPath, revision: &RevisionArgs) -> Result<Locked> {
    let tree = tree(mount, revision);
    let host = match revision.revision {
        Some(number) => under(&mount.point.join(".versions"), path).join(number.to_string()),
        None => under(&tree, path),
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&host)
        .map_err(|e| failed(e, path, revision))?;
    let metadata = file.metadata().map_err(|e| failed(e, path, revision))?;
    if metadata.is_dir() {
        return Err(Error::new(Kind::IsDirectory, format!("{path}: a directory, not a secret")));
    }
    if !metadata.is_file() {
        return Err(Error::new(Kind::Invalid, format!("{path}: not a secret")));
    }
    prompt::bounded(file, LARGEST_VALUE, "value").map_err(|e| e.at(path))
}

/// What is in a directory, or the thing itself: path and what the kernel knows of it, in order; all below with
/// `recursive`.
///
/// # Errors
///
/// There is no such thing, or it may not be read.
pub(super) fn list(
    mount: &Mount,
    path: &ItemPath,
    revision: &RevisionArgs,
    recursive: bool,
) -> Result<Vec<(ItemPath, Metadata, PathBuf)>> {
    let tree = tree(mount, revision);
    let stat = |path: &ItemPath| {
        let host = under(&tree, path);
        let metadata = fs::symlink_metadata(&host).map_err(|e| failed(e, path, revision))?;
        Ok((path.clone(), metadata, host))
    };
    let top = stat(path)?;
    if !top.1.is_dir() {
        return Ok(vec![top]);
    }
    let mut found = Vec::new();
    let mut waiting = vec![path.clone()];
    while let Some(directory) = waiting.pop() {
        let mut names = Vec::new();
        let host = under(&tree, &directory);
        for entry in fs::read_dir(&host).map_err(|e| failed(e, &directory, revision))? {
            names.push(entry.map_err(|e| failed(e, &directory, revision))?.file_name());
        }
        for name in names {
            let mut bytes = directory.to_bytes();
            bytes.extend_from_slice(b"/");
            bytes.extend_from_slice(name.as_bytes());
            let path = ItemPath::parse(&bytes)?;
            match stat(&path) {
                Ok(entry) => {
                    if recursive && entry.1.is_dir() {
                        waiting.push(path);
                    }
                    found.push(entry);
                }
                // Gone since the directory was read.
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The root of the tree that `--at` means.
fn tree(mount: &Mount, revision: &RevisionArgs) -> PathBuf {
    match revision.at {
        Some(when) => mount.point.join(".versions").join(format!("@{}", when.to_rfc3339())),
        None => mount.point.clone(),
    }
}

fn under(tree: &Path, path: &ItemPath) -> PathBuf {
    tree.join(OsStr::from_bytes(&path.to_bytes()))
}

fn failed(error: io::Error, path: &ItemPath, revision: &RevisionArgs) -> Error {
    let found = match (error.raw_os_error(), revision.revision) {
        (Some(libc::ENOENT | libc::ENOTDIR), Some(n)) => Error::not_found(format!("{path}: no version {n}")),
        (Some(libc::ENOENT | libc::ENOTDIR), None) => Error::not_found(format!("{path}: no such secret")),
        (Some(libc::ELOOP), _) => Error::new(Kind::Invalid, format!("{path}: a symbolic link, not a secret")),
        (Some(libc::EACCES | libc::EPERM), _) => Error::new(Kind::NotPermitted, format!("{path}: not permitted")),
        (Some(libc::EIO), _) => Error::damaged(format!("{path}: not verified, the mount's log says why")),
        _ => return Error::system("read it from the mount", error).at(path),
    };
    found.because(error)
}
