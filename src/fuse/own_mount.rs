//! The mount's own process on its own mount: what it does there, inotify tells.
//!
//! The mount is open for the moment only, since an open one cannot be unmounted.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use fuser::Request;
use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, fstatfs, openat, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::fs::{Act, Event};
use crate::node::ItemPath;

/// Tells requests of the mount's own process from those of others.
#[derive(Default)]
pub(super) struct Own {
    /// The thread that makes them; 0 before there is one.
    thread: AtomicU32,
    /// It has asked how much space there is.
    asked: AtomicBool,
}

impl Own {
    /// Whether a request comes from that thread. Callers that cannot be seen from here have the number 0.
    pub(super) fn asks(&self, request: &Request) -> bool {
        request.pid() != 0 && request.pid() == self.thread.load(Ordering::Relaxed)
    }

    /// Notes that it asked something that no kernel answers by itself.
    pub(super) fn note(&self, request: &Request) {
        if self.asks(request) {
            self.asked.store(true, Ordering::Relaxed);
        }
    }
}

/// What the kernel is being told, and what the process does on its own mount, exclude each other: a notice about a name waits
/// in the kernel for whoever has the directory locked, and keeps a device open meanwhile.
pub(super) type Alone = Mutex<()>;

/// The mount, as the thread sees it that is to use it.
pub(super) struct OwnMount {
    point: PathBuf,
    own: Arc<Own>,
}

impl OwnMount {
    /// For this thread, alone.
    pub(super) fn new(point: PathBuf, own: Arc<Own>) -> Self {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        own.thread.store(thread, Ordering::Relaxed);
        Self { point, own }
    }

    /// Does what an event asks for, alone from when it may have a directory of the mount locked. Before, it may wait for
    /// whatever lies on the way to the mount.
    ///
    /// # Errors
    /// Permissions forbid it to this user, or something else is mounted there.
    pub(super) fn perform(&self, event: &Event, alone: &Alone) -> io::Result<()> {
        let root = self.root()?;
        let _alone = alone.lock();
        let directory = below(&root, &event.directory)?;
        let name = OsStr::from_bytes(event.name.as_bytes());
        match &event.act {
            Act::Appear { hidden } => {
                let hidden = OsStr::from_bytes(hidden.as_bytes());
                renameat_with(&directory, hidden, &directory, name, RenameFlags::empty())?;
            }
            Act::Move { from, exchange } => {
                let Some((last, parents)) = from.components().split_last() else { return Ok(()) };
                let parent = below(&root, &parents.iter().cloned().collect())?;
                let flags = if *exchange { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
                renameat_with(&parent, OsStr::from_bytes(last.as_bytes()), &directory, name, flags)?;
            }
            Act::Remove { directory: true } => unlinkat(&directory, name, AtFlags::REMOVEDIR)?,
            Act::Remove { directory: false } => unlinkat(&directory, name, AtFlags::empty())?,
        }
        Ok(())
    }

    /// Its top directory. What else may be mounted there now is left alone: we would have heard of being asked.
    fn root(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = openat(CWD, &self.point, flags, Mode::empty())?;
        self.own.asked.store(false, Ordering::Relaxed);
        fstatfs(&root)?;
        if self.own.asked.load(Ordering::Relaxed) { Ok(root) } else { Err(Errno::XDEV.into()) }
    }
}

fn below(root: &OwnedFd, path: &ItemPath) -> io::Result<OwnedFd> {
    let bytes = path.to_bytes();
    let path = if bytes.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(&bytes) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(root, path, flags, Mode::empty(), within)?)
}
