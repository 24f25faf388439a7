//! Noticing that others change the keynode's file.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::serve::{BEAT, Trouble};
use crate::fs::FileSystem;

/// An inotify watch on the file's directory, which sees appends and replacements at once on this machine. Where there is
/// none, or on others' file systems, the look once a second finds them.
struct Watch {
    descriptor: OwnedFd,
    directory: PathBuf,
}

impl Watch {
    /// Watches a file; `None` where the kernel allows no watch.
    fn new(file: &Path) -> Option<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        Some(Self { descriptor, directory: file.parent()?.to_owned() })
    }

    /// Forgets what has happened until now, and watches what the directory is now.
    fn arm(&self) {
        let replaced = WatchFlags::MOVED_TO | WatchFlags::CREATE;
        let changed = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        // A directory that is gone for the moment is watched at the next look.
        let _ = inotify::add_watch(&self.descriptor, &self.directory, replaced | changed);
        let mut events = [MaybeUninit::<u8>::uninit(); 4096];
        while rustix::io::read(&self.descriptor, &mut events).is_ok_and(|(read, _)| !read.is_empty()) {}
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Keeps a tree up with its keynode's file until `ended` can be read. Each look at the file comes after the watch was armed:
/// what changes from then on wakes it again.
pub(super) fn follow(fs: &FileSystem, file: &Path, mut trouble: Trouble, ended: impl AsFd) {
    let watch = Watch::new(file);
    loop {
        if let Some(watch) = &watch {
            watch.arm();
        }
        trouble.say(fs.refresh());
        let mut waits = vec![PollFd::new(&ended, PollFlags::IN)];
        waits.extend(watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
        // An interrupted wait is a short one.
        let _ = poll(&mut waits, Some(&BEAT));
        if waits.first().is_some_and(|wait| !wait.revents().is_empty()) {
            return;
        }
    }
}
