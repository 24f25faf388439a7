//! Which keynode is mounted at a directory, as `/proc/self/mountinfo` tells (`proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What the kernel calls a mounted keynode.
const FILE_SYSTEM: &[u8] = b"fuse.pkfs";

/// A mounted keynode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// The keynode's file, as the mount names its source.
    pub(super) source: PathBuf,
}

/// The mount that `directory` lies in, if that is a keynode's.
///
/// # Errors
///
/// The directory or the table of mounts cannot be read; the mount is of a part of a keynode only.
pub(super) fn at(directory: &Path) -> Result<Option<Mount>> {
    let directory = fs::canonicalize(directory).map_err(|e| Error::io("open", directory, e))?;
    find(&table()?, &directory)
}

/// Where a keynode's file is mounted, all of it or a part, in the order in which it was mounted.
///
/// # Errors
/// The table of mounts cannot be read.
pub(super) fn of(file: &Path) -> Result<Vec<PathBuf>> {
    let table = table()?;
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mounts = table.split(|&b| b == b'\n').filter_map(Line::parse);
    Ok(mounts
        .filter(|line| line.kind == FILE_SYSTEM && path(line.source) == file)
        .map(|line| path(line.point))
        .collect())
}

fn table() -> Result<Vec<u8>> {
    let table = Path::new("/proc/self/mountinfo");
    fs::read(table).map_err(|e| Error::io("read", table, e))
}

/// What a line of the table says.
struct Line<'a> {
    root: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
    source: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        let dash = fields.iter().position(|field| field == b"-")?;
        let (root, point) = (fields.get(3)?, fields.get(4)?);
        Some(Self { root, point, kind: fields.get(dash + 1)?, source: fields.get(dash + 2)? })
    }
}

fn find(table: &[u8], directory: &Path) -> Result<Option<Mount>> {
    let mut found = None;
    let mut deepest = 0;
    for Line { root, point, kind, source } in table.split(|&b| b == b'\n').filter_map(Line::parse) {
        let point = path(point);
        let depth = point.components().count();
        // Of several mounts at one place the last is on top.
        if directory.starts_with(&point) && depth >= deepest {
            deepest = depth;
            found = (kind == FILE_SYSTEM).then(|| (root == b"/", Mount { point, source: path(source) }));
        }
    }
    match found {
        Some((true, mount)) => Ok(Some(mount)),
        Some((false, mount)) => {
            Err(Error::not_found(format!("only a part of a keynode is mounted at {}", mount.point.display()))
                .hint("name the keynode's file"))
        }
        None => Ok(None),
    }
}

/// A field with its `\040` escapes undone.
fn path(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\').then(|| tail.get(..3)).flatten();
        let byte = code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 8).ok());
        if let Some(byte) = byte {
            out.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            out.push(first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// Whether the operand is a directory at all, without complaint where it is nothing.
pub(super) fn is_directory(operand: &Path) -> bool {
    !operand.as_os_str().as_bytes().is_empty() && operand.is_dir()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw
40 22 0:50 / /run/my\\040secrets rw,nosuid shared:2 - fuse.pkfs /srv/my\\040app.pk rw,user_id=0
41 40 0:51 / /run/my\\040secrets/tmp rw - tmpfs tmpfs rw
42 22 0:50 /.views/web /srv/web ro - fuse.pkfs /srv/my\\040app.pk rw
garbage
";

    #[test]
    fn the_innermost_mount_counts() {
        let at = |d: &str| find(TABLE, Path::new(d));
        let mount = at("/run/my secrets/db").unwrap().unwrap();
        assert_eq!(mount, Mount { point: "/run/my secrets".into(), source: "/srv/my app.pk".into() });
        assert_eq!(at("/run/my secrets/tmp/x").unwrap(), None);
        assert_eq!(at("/run/my secrets2").unwrap(), None);
        assert!(at("/srv/web").is_err());
    }
}
