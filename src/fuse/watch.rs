//! Noticing that others change the keynode's file.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// An inotify watch on the file and its directory, which sees appends and replacements at once on this machine. Where
/// there is none, or on others' file systems, the look once a second finds them.
pub(super) struct Watch(OwnedFd);

impl Watch {
    /// Watches a file; `None` where the kernel allows no watch.
    pub(super) fn new(file: &Path) -> Option<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let replaced = WatchFlags::MOVED_TO | WatchFlags::CREATE;
        let changed = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&descriptor, file.parent()?, replaced | changed).ok()?;
        Some(Self(descriptor))
    }

    /// Forgets what has happened until now.
    pub(super) fn drain(&self) {
        let mut events = [MaybeUninit::<u8>::uninit(); 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|(read, _)| !read.is_empty()) {}
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
