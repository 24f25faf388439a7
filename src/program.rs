//! Programs that this one starts.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// The signals that end a mount. It waits for them by a descriptor, and so has them blocked.
pub(crate) const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Lets a program have the signals as it would from a shell: none blocked, and a file that grows too large ends it.
pub(crate) fn with_signals(command: &mut Command) -> &mut Command {
    // SAFETY: between fork(2) and execve(2) only functions are called that are safe in a signal handler.
    unsafe { command.pre_exec(usual_signals) }
}

fn usual_signals() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that it is given, sigaddset changes an initialised one with valid signal
    // numbers, and pthread_sigmask reads it. signal(2) sets what the kernel does about one.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in ENDING {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        match libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Has a write beyond the largest file that this process may make fail, instead of ending the process with all that it holds.
pub(crate) fn survive_file_limits() {
    // SAFETY: an ignored signal runs no code.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
