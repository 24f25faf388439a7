//! Noticing that others change the keynode's file.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::time::Timespec;

use super::serve::Trouble;
use crate::fs::FileSystem;

/// Between two looks at the file where nothing tells of changes.
const BEAT: Duration = Duration::from_secs(1);

/// An inotify watch on the file's directory, which sees appends and replacements at once on this machine. Where there is
/// none, or on others' file systems, the look once a second finds them.
struct Watch {
    descriptor: OwnedFd,
    directory: PathBuf,
    name: Vec<u8>,
}

impl Watch {
    /// Watches a file; `None` where the kernel allows no watch.
    fn new(file: &Path) -> Option<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        Some(Self { descriptor, directory: file.parent()?.to_owned(), name: file.file_name()?.as_bytes().to_vec() })
    }

    /// Forgets what has happened until now, and watches what the directory is now.
    fn arm(&self) {
        let replaced = WatchFlags::MOVED_TO | WatchFlags::CREATE;
        let changed = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        // A directory that is gone for the moment is watched at the next look.
        let _ = inotify::add_watch(&self.descriptor, &self.directory, replaced | changed);
        self.concerns_file();
    }

    /// Takes what has happened: whether any of it may concern the file, and not its neighbours alone.
    fn concerns_file(&self) -> bool {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.descriptor, &mut buffer);
        let mut concerns = false;
        while let Ok(event) = events.next() {
            // What has no name is about the directory, or says that there was more than the kernel could keep.
            concerns |= event.file_name().is_none_or(|name| name.to_bytes() == self.name);
        }
        concerns
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
        if !wait(watch.as_ref(), &ended) {
            return;
        }
    }
}

/// Waits until something concerns the file, or for a beat; false: `ended` can be read.
fn wait(watch: Option<&Watch>, ended: &impl AsFd) -> bool {
    let begun = Instant::now();
    while let Some(rest) = BEAT.checked_sub(begun.elapsed()) {
        let seconds = i64::try_from(rest.as_secs()).unwrap_or(i64::MAX);
        let rest = Timespec { tv_sec: seconds, tv_nsec: rest.subsec_nanos().into() };
        let mut waits = vec![PollFd::new(ended, PollFlags::IN)];
        waits.extend(watch.map(|watch| PollFd::new(watch, PollFlags::IN)));
        // An interrupted wait is a short one.
        let _ = poll(&mut waits, Some(&rest));
        let ready = |wait: Option<&PollFd<'_>>| wait.is_some_and(|wait| !wait.revents().is_empty());
        if ready(waits.first()) {
            return false;
        }
        if ready(waits.get(1)) && watch.is_some_and(Watch::concerns_file) {
            break;
        }
    }
    true
}
