//! SIGINT, SIGTERM and SIGHUP as a descriptor to wait on.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, ptr};

use crate::error::{Error, Kind, Result};
use crate::program::ENDING;

/// A signal that has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// The kernel sent it, as for Ctrl-C: to all processes that run in the foreground of a terminal.
    pub by_terminal: bool,
}

/// While this lives, the signals that end a mount do not end the process; they make the descriptor readable.
///
/// Threads inherit the blocked signals from the one that starts them, so it must exist before they do.
pub(super) struct Signals {
    descriptor: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// Blocks the signals for this thread and those that it will start.
    pub(super) fn block() -> Result<Self> {
        let failed = |error: io::Error| Error::new(Kind::Failed, "cannot wait for signals").because(error);
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set that it is given, sigaddset changes an initialised one with valid
        // signal numbers, and pthread_sigmask reads it and initialises `before` when it returns 0.
        let before = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in ENDING {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) {
                0 => before.assume_init(),
                error => return Err(failed(io::Error::from_raw_os_error(error))),
            }
        };
        // SAFETY: the set was initialised above; -1 asks for a new descriptor, which is ours alone if it is not negative.
        let descriptor = unsafe {
            match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => return Err(failed(io::Error::last_os_error())),
                descriptor => OwnedFd::from_raw_fd(descriptor),
            }
        };
        Ok(Self { descriptor, before })
    }

    /// Takes one signal that has arrived.
    pub(super) fn take(&self) -> Option<Signal> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        rustix::io::read(&self.descriptor, &mut info).ok().filter(|read| *read > 0)?;
        // The structure begins with ssi_signo, ssi_errno and ssi_code, of four bytes each.
        let field = |n: usize| info.get(4 * n..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        Some(Signal { number: field(0)?, by_terminal: field(2)? == libc::SI_KERNEL })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: `before` was initialised by pthread_sigmask; a null pointer says that the old set is not wanted.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}
