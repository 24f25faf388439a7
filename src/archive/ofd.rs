//! Open-file-description locks (`fcntl_locking(2)`), which rustix does not have.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// The byte that is locked: far beyond any content, so that the lock disturbs no other use of the file.
const BYTE: libc::off_t = (1 << 62) - 1;

fn lock(file: &File, command: libc::c_int, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: `flock` is plain data, for which zeros are a proper value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::c_short::try_from(kind).map_err(|_| io::ErrorKind::InvalidInput)?;
    range.l_whence = libc::c_short::try_from(libc::SEEK_SET).map_err(|_| io::ErrorKind::InvalidInput)?;
    range.l_start = BYTE;
    range.l_len = 1;
    loop {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and `range` is a proper `flock`.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const range) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Takes the write lock if nobody has it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match lock(file, libc::F_OFD_SETLK, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes the write lock, waiting for whoever has it.
pub(super) fn wait_lock(file: &File) -> io::Result<()> {
    lock(file, libc::F_OFD_SETLKW, libc::F_WRLCK)
}

/// Gives the write lock back.
pub(super) fn unlock(file: &File) -> io::Result<()> {
    lock(file, libc::F_OFD_SETLK, libc::F_UNLCK)
}
