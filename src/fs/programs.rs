//! Which file a rule's program is at the moment, without waiting for whoever can have a say in that.
//!
//! On the way there may be a file system that a user serves, and be it by a link that somebody has put there: it could keep
//! the mount waiting, and this very mount would wait for itself. So only what the kernel knows by itself is looked up by
//! whoever decides; the rest is asked by a thread of its own, which nobody waits for longer than a moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::digests::{Identity, identity};
use crate::apart::with_thread;

/// How long a file system that must be asked may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// Finds programs by their paths.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// A thread asks a file system; what else would have to be asked meanwhile is not found.
    asking: AtomicBool,
}

impl Programs {
    /// What tells the file of this path from others; `None`: there is none, or it cannot be had now.
    pub(super) fn find(self: &Arc<Self>, path: &Path) -> Option<Identity> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED) {
            Ok(file) => identity(&file, "", AtFlags::EMPTY_PATH),
            // Something on the way must be asked, or the kernel (before Linux 5.12) cannot tell.
            Err(Errno::AGAIN | Errno::INVAL | Errno::NOSYS) => self.ask(path),
            Err(_) => None,
        }
    }

    fn ask(self: &Arc<Self>, path: &Path) -> Option<Identity> {
        if self.asking.swap(true, Ordering::Acquire) {
            return None;
        }
        let (found, wait) = sync_channel(1);
        let (programs, path) = (self.clone(), path.to_owned());
        let started = thread::Builder::new().name("pkfs-find".to_owned()).spawn(move || {
            // Whoever waited may have given up.
            let _ = found.send(find_apart(&path));
            programs.asking.store(false, Ordering::Release);
        });
        if started.is_err() {
            self.asking.store(false, Ordering::Release);
            return None;
        }
        wait.recv_timeout(PATIENCE).ok()?
    }
}

/// Asks in a thread that keeps nothing open.
#[allow(unsafe_code)]
fn find_apart(path: &Path) -> Option<Identity> {
    let ask = |ask: Sender<()>, told: Receiver<_>| {
        ask.send(()).ok()?;
        told.recv().ok()
    };
    // SAFETY: the thread uses no descriptor, and the path is memory.
    unsafe { with_thread("pkfs-found", None, || |()| identity(CWD, path, AtFlags::empty()), ask) }.ok()??
}
