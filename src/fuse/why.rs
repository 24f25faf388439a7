//! `pkfs why`: asking a mount how it decides, by an ioctl on its root.
//!
//! The one argument goes both ways: a process id (four bytes, of this machine's order) and a path that ends with NUL; back
//! comes a text that ends with NUL.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs::{Caller, FileSystem};

/// Bytes of the argument.
const SIZE: usize = 8192;
/// The longest path in it, NUL included.
const LONGEST: usize = SIZE - 4;

/// `_IOWR('p', 2, [u8; SIZE])`.
#[allow(clippy::cast_possible_truncation, reason = "it is 8192")]
pub(super) const WHY: u32 = 3 << 30 | (SIZE as u32) << 16 | 0x7002;

/// Asks the mount at this point whether a process may see a path in it, and why.
///
/// # Errors
/// It is no mount of a keynode, or the question was refused there: `NotFound`, `NotPermitted`.
pub fn why(mount_point: &Path, pid: u32, path: &[u8]) -> Result<String> {
    let mut argument = [0; SIZE];
    argument[..4].copy_from_slice(&pid.to_ne_bytes());
    let Some(room) = argument[4..].get_mut(..path.len()).filter(|room| room.len() < LONGEST) else {
        return Err(Error::new(crate::error::Kind::NameTooLong, "the path is too long to ask about"));
    };
    room.copy_from_slice(path);
    let root = File::open(mount_point).map_err(|e| Error::io("open", mount_point, e))?;
    // SAFETY: the command says that SIZE bytes are read and written, and the argument has them; the descriptor is open.
    let done = unsafe { libc::ioctl(root.as_raw_fd(), libc::Ioctl::from(WHY), argument.as_mut_ptr()) };
    if done != 0 {
        let error = std::io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::ENOENT) => Error::not_found("no such process, or nothing of that name there"),
            Some(libc::EPERM) => Error::new(crate::error::Kind::NotPermitted, "only who mounted may ask"),
            Some(libc::ENOTTY) => {
                Error::new(crate::error::Kind::Invalid, "no keynode is mounted there, or by an older pkfs")
            }
            _ => Error::io("ask", mount_point, error),
        });
    }
    let text = argument.split(|&b| b == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Answers in the mount.
pub(super) fn answer(fs: &FileSystem, asker: Caller, data: &[u8]) -> Result<Vec<u8>> {
    let (pid, path) =
        data.split_first_chunk::<4>().ok_or_else(|| Error::new(crate::error::Kind::Invalid, "no question"))?;
    let path = path.split(|&b| b == 0).next().unwrap_or_default();
    let mut text = fs.explain(asker, u32::from_ne_bytes(*pid), path)?.into_bytes();
    text.truncate(SIZE - 1);
    text.resize(SIZE, 0);
    Ok(text)
}
