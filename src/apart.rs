//! Threads with descriptors of their own.
//!
//! A thread that waits for a file system in user space cannot be killed, not even with its process, until it has its
//! answer. As long as it shares the process's descriptors, they stay open too. If one of them is the mount's own device,
//! all who use the mount wait with it, and if the answer was to come from the mount itself, they do so for ever.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::warn;

/// Starts a thread apart, which of all descriptors has `kept` alone. It does what `begin` brings for each thing that `body`
/// asks, and tells the outcome, in order. Both have ended at return.
///
/// Where the kernel cannot do it (before Linux 5.9) or a filter forbids it, the thread shares the process's descriptors, and
/// the log says so.
///
/// # Errors
/// The thread cannot be started.
///
/// # Safety
/// See [`leave_descriptors`]: the promise is one of `begin` and of what it brings, which neither logs nor prints. What is
/// asked and told holds no descriptor: it may be dropped on the other side.
pub(crate) unsafe fn with_thread<A: Send, R: Send, W: FnMut(A) -> R, T>(
    name: &str,
    kept: Option<BorrowedFd<'_>>,
    begin: impl FnOnce() -> W + Send,
    body: impl FnOnce(Sender<A>, Receiver<R>) -> T,
) -> io::Result<T> {
    let ((ask, asked), (tell, told)) = (channel(), channel());
    thread::scope(|scope| {
        let apart = move || {
            // SAFETY: what follows in this thread is what the caller has promised for, and uses of memory.
            if let Err(error) = unsafe { leave_descriptors(kept) } {
                warn!("{name} shares the process's files, and may keep a killed mount from ending: {error}");
            }
            let mut work = begin();
            // Whoever asked may have given up.
            let _ = asked.into_iter().try_for_each(|one| tell.send(work(one)));
        };
        thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, apart)?;
        Ok(body(ask, told))
    })
}

/// Gives the calling thread descriptors of its own, and of those that it has now none but `kept`. The others are closed for
/// this thread, which flushes their files as close(2) does.
///
/// # Errors
/// The kernel cannot do it or a filter forbids it; then nothing has changed.
///
/// # Safety
/// From now on the thread neither uses nor drops a descriptor that it has not opened itself, but `kept`, which it does not
/// drop: to this thread the number means nothing, or another file.
pub(crate) unsafe fn leave_descriptors(kept: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(kept) = kept.and_then(|kept| libc::c_uint::try_from(kept.as_raw_fd()).ok()) else {
        return close_range(0, libc::c_uint::MAX);
    };
    close_range(kept + 1, libc::c_uint::MAX)?;
    if kept > 0 { close_range(0, kept - 1) } else { Ok(()) }
}

/// Closes them in this thread alone, which from then on has a table of its own.
fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes numbers alone. What other threads have open stays so, and the caller of `leave_descriptors` has
    // promised that this one uses none of it.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_UNSHARE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::path::Path;

    use super::*;

    /// What a thread has open but for the directory that it lists this with, as the kernel sees it.
    fn open() -> Vec<String> {
        let list = std::fs::read_dir("/proc/thread-self/fd").unwrap();
        let names = list.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| Path::new("/proc/thread-self/fd").join(name).read_link().is_ok_and(|to| !to.ends_with("fd")))
            .collect()
    }

    #[test]
    fn a_thread_keeps_one_descriptor_or_none_and_others_keep_theirs() {
        let [mut kept, mut beside] = [(); 2].map(|()| File::open("/proc/self/stat").unwrap());
        let number = kept.as_raw_fd().to_string();
        for keep in [Some(kept.as_fd()), None] {
            let ask = |ask: Sender<()>, told: Receiver<Vec<String>>| {
                ask.send(()).unwrap();
                told.recv().unwrap()
            };
            // SAFETY: the thread uses what it opens itself.
            let there = unsafe { with_thread("apart", keep, || |()| open(), ask) }.unwrap();
            assert_eq!(there, keep.map(|_| number.clone()).into_iter().collect::<Vec<_>>());
        }
        for file in [&mut kept, &mut beside] {
            assert!(file.read(&mut [0; 8]).unwrap() > 0, "it is open in this thread");
        }
    }
}
