//! A file descriptor that the caller handed over by its number (`--passphrase-fd 3`).
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::{FdFlags, fcntl_setfd};

/// An inherited descriptor, taken at the first look at the arguments, before anything else is opened.
#[derive(Debug, Clone)]
pub(super) struct Descriptor(Arc<OwnedFd>);

impl Descriptor {
    /// Takes a copy of the descriptor of this number; the number itself is closed for programs that pkfs starts.
    ///
    /// # Errors
    ///
    /// Not a number, or nothing is open under it: a sentence for the user.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number: i32 = text.parse().ok().filter(|&n| n >= 0).ok_or("a descriptor is a number: 3")?;
        // SAFETY: the number is not -1, and the borrow ends in this function, which owns nothing that could close it;
        // where nothing is open under it, both calls only answer EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let owned = borrowed.try_clone_to_owned().map_err(|_| format!("descriptor {number} is not open"))?;
        if number > 2 {
            fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|_| format!("descriptor {number} is not open"))?;
        }
        Ok(Self(Arc::new(owned)))
    }

    /// The descriptor as a file to read from.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(super) fn file(&self) -> std::io::Result<File> {
        self.0.try_clone().map(File::from)
    }
}
