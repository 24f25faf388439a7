//! Files that hold something secret: readable by their owner alone, and whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::node::ItemId;

/// Makes a new file of mode 0600 with these bytes, on disk when this returns.
///
/// # Errors
///
/// The file exists, or cannot be written; then none is left behind.
pub(super) fn write(path: &Path, data: &[u8]) -> Result<()> {
    let file = create(path)?;
    filled(file, data).and_then(|()| sync_directory(path)).map_err(|e| {
        let _ = fs::remove_file(path);
        Error::io("write", path, e)
    })
}

/// Puts a file of mode 0600 with these bytes in the place of whatever is there, at once. What is no regular file (a
/// device, a pipe) is written to.
///
/// # Errors
///
/// The file cannot be written; what was there stays.
pub(super) fn replace(path: &Path, data: &[u8]) -> Result<()> {
    let io = |e| Error::io("write", path, e);
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return OpenOptions::new().write(true).open(path).and_then(|mut f| f.write_all(data)).map_err(io);
    }
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{:.8}", ItemId::random().to_string()));
    let beside = PathBuf::from(beside);
    write(&beside, data)?;
    fs::rename(&beside, path).and_then(|()| sync_directory(path)).map_err(|e| {
        let _ = fs::remove_file(&beside);
        io(e)
    })
}

/// Makes a new, empty file of mode 0600.
///
/// # Errors
///
/// It exists, or cannot be made.
pub(super) fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path).map_err(|e| {
        if e.kind() == io::ErrorKind::AlreadyExists {
            return Error::new(Kind::Exists, format!("{} exists already", path.display()))
                .hint("choose another name, nothing was changed");
        }
        Error::io("make", path, e)
    })
}

fn filled(mut file: File, data: &[u8]) -> io::Result<()> {
    file.write_all(data)?;
    file.sync_all()
}

/// Makes the name of a new file last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_a_new_one_is_never_shared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "old").unwrap();
        assert_eq!(write(&path, b"new").unwrap_err().kind(), Kind::Exists);
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
