//! Digests of programs, by what tells whether a file has changed.
//!
//! A program may lie on a file system that its own user serves, and that keeps whoever reads it waiting: so a program is
//! read by a thread of its own, which nobody waits for longer than a while, and there are few of those.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, sync_channel};
use std::thread;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, openat, statx};

use crate::apart::with_thread;
use crate::node::{Sha256, sha256};

/// The largest program whose digest is computed, in bytes.
const LARGEST: u64 = 1 << 30;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many are read at once.
const READING: usize = 2;

/// A file, as it was: device, inode, size, when it changed.
pub(super) type Identity = ((u32, u32), u64, u64, (i64, u32));

/// The digests of programs that were asked for.
#[derive(Debug)]
pub(super) struct Digests {
    known: Mutex<LruCache<Identity, Sha256>>,
    reading: AtomicUsize,
}

impl Digests {
    pub(super) fn new(kept: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { known: Mutex::new(LruCache::new(kept)), reading: AtomicUsize::new(0) })
    }

    /// The digest of a program by its name in a directory; `None`: it cannot be had, or not now.
    pub(super) fn of(
        self: &Arc<Self>,
        program: Identity,
        directory: impl AsFd + Send + 'static,
        name: &'static str,
    ) -> Option<Sha256> {
        if let Some(digest) = self.known.lock().get(&program) {
            return Some(*digest);
        }
        if self.reading.fetch_add(1, Ordering::Relaxed) >= READING {
            self.reading.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (done, wait) = sync_channel(1);
        let digests = self.clone();
        let started = thread::Builder::new().name("pkfs-digest".to_owned()).spawn(move || {
            let read = read_apart(directory.as_fd(), name);
            digests.reading.fetch_sub(1, Ordering::Relaxed);
            if let Some((identity, digest)) = read {
                digests.known.lock().put(identity, digest);
                // Whoever waited may have given up.
                let _ = done.send(digest);
            }
        });
        if started.is_err() {
            self.reading.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        wait.recv_timeout(PATIENCE).ok()
    }
}

/// Reads it in a thread that keeps nothing but the directory open, whoever serves the program.
#[allow(unsafe_code)]
fn read_apart(directory: BorrowedFd<'_>, name: &str) -> Option<(Identity, Sha256)> {
    let open = || openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
    let ask = |ask: Sender<()>, told: Receiver<_>| {
        ask.send(()).ok()?;
        told.recv().ok()
    };
    // SAFETY: of what others have opened the thread uses the directory, which it keeps.
    unsafe { with_thread("pkfs-program", Some(directory), || |()| open().and_then(read), ask) }.ok()??
}

fn read(program: OwnedFd) -> Option<(Identity, Sha256)> {
    let identity = identity(&program, "", AtFlags::EMPTY_PATH)?;
    let mut bytes = Vec::new();
    File::from(program).take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= LARGEST).then(|| (identity, sha256(&bytes)))
}

/// What tells a file from others, as far as the kernel knows it: its own file system is asked nothing, if it is one in user
/// space; those on the way there may be.
pub(super) fn identity(directory: impl AsFd, path: impl rustix::path::Arg, flags: AtFlags) -> Option<Identity> {
    let flags = flags | AtFlags::STATX_DONT_SYNC;
    let Statx { stx_dev_major, stx_dev_minor, stx_ino, stx_size, stx_ctime, .. } =
        statx(directory, path, flags, StatxFlags::BASIC_STATS).ok()?;
    Some(((stx_dev_major, stx_dev_minor), stx_ino, stx_size, (stx_ctime.tv_sec, stx_ctime.tv_nsec)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn who_keeps_readers_waiting_keeps_few_of_them_and_not_for_long() {
        let digests = Digests::new(NonZeroUsize::MIN);
        let directory = tempfile::tempdir().unwrap();
        // Until somebody opens it for writing, to open it takes for ever.
        let slow = directory.path().join("exe");
        mknodat(CWD, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let opened = |path: &str| File::open(path).unwrap();
        let program = identity(CWD, "/bin/sh", AtFlags::empty()).unwrap();
        thread::scope(|scope| {
            for _ in 0..READING {
                let place = opened(directory.path().to_str().unwrap());
                scope.spawn(|| assert_eq!(digests.of(program, place, "exe"), None, "until patience ends"));
            }
        });
        assert_eq!(digests.of(program, opened("/bin"), "sh"), None, "nobody else is read meanwhile");
        // Whoever served it ends.
        while digests.reading.load(Ordering::Relaxed) > 0 {
            let _ = rustix::fs::open(&slow, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
        }
        let expected = sha256(&std::fs::read("/bin/sh").unwrap());
        while digests.of(program, opened("/bin"), "sh") != Some(expected) {
            thread::yield_now();
        }
    }
}
