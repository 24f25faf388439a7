//! Whether a file system answers.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

/// How long it may take to answer.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What statfs(2) says of a path, which asks a file system even where the kernel remembers attributes; `None` where nothing
/// is said in time. A process of its own asks: nobody gets a process back that waits for an answer which never comes. Where
/// there can be none, this one waits.
pub(super) fn asked(path: &Path) -> Option<rustix::io::Result<()>> {
    by_another(path).unwrap_or_else(|_| Some(rustix::fs::statfs(path).map(drop)))
}

/// # Errors
/// The process cannot be made, or waited for.
fn by_another(path: &Path) -> io::Result<Option<rustix::io::Result<()>>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: what the child does is system calls alone, none of which needs a lock, until it ends.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        // SAFETY: this is that child.
        0 => unsafe { ask(&name) },
        pid => Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?,
    };
    let process = pidfd_open(child, PidfdFlags::empty())?;
    if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE))? == 0 {
        // It ends now or with the mount, and is the init process's to bury.
        let _ = kill_process(child, Signal::KILL);
        return Ok(None);
    }
    let status = waitpid(Some(child), WaitOptions::empty())?.and_then(|(_, status)| status.exit_status());
    Ok(match status {
        None => None,
        Some(0) => Some(Ok(())),
        Some(error) => Some(Err(Errno::from_raw_os_error(error))),
    })
}

/// Asks, and ends the process with the error's number.
///
/// # Safety
/// The process is a child that has just been forked: nothing of its parent's is used any more.
unsafe fn ask(name: &CString) -> ! {
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptors are the child's own; should it stay, nobody waits for the end of what they lead to. The name
    // ends with a zero, and the answer has the room that it needs. Neither is used after the end.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) != 0 {
            // Before Linux 5.9.
            for output in 0..=2 {
                libc::close(output);
            }
        }
        let failed = libc::statfs(name.as_ptr(), answer.as_mut_ptr()) != 0;
        libc::_exit(if failed { *libc::__errno_location() } else { 0 })
    }
}
