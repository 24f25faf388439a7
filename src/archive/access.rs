//! Whether a keynode can be written to at all.

use std::fs::OpenOptions;
use std::path::Path;

use super::file::open_file;
use super::ofd;

/// Why a file cannot be written to by this process; `None` where it can.
pub fn unwritable(path: &Path) -> Option<String> {
    match open_file(path, OpenOptions::new().read(true).write(true)) {
        // Dropping the file gives the lock back.
        Ok(file) => ofd::try_lock(&file).err().map(|_| "its file system has no locks".to_owned()),
        Err(error) => Some(error.message().to_owned()),
    }
}
