//! Telling the kernel, and those who watch, of what changed outside. Both wait for requests, so no request waits for them;
//! and neither has the device of a request open while it waits: see [`crate::apart`].
#![allow(unsafe_code)]

use std::io;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Weak};

use log::{debug, warn};
use parking_lot::Mutex;

use super::notify::Kernel;
use super::own_mount::{Own, OwnMount};
use crate::apart::with_thread;
use crate::fs::{Event, FileSystem, Notice};

/// So many notices are handed on before any of them is known to be taken.
const AT_ONCE: usize = 256;

/// What only one of the two does at a time: a notice about a name waits in the kernel for the mount's own request in the same
/// directory, and would keep its device open meanwhile.
pub(super) type Turn = Arc<Mutex<()>>;

/// Passes on to the kernel what it must hear, until the tree is gone. `ready`: whether it can, and from when on.
pub(super) fn notices(
    receiver: &Receiver<Notice>,
    fs: &Weak<FileSystem>,
    session: &OwnedFd,
    turn: &Turn,
    ready: &Sender<io::Result<()>>,
) {
    let begin = || {
        // SAFETY: until it ends, this thread uses the device alone that it opens here.
        let (kernel, result) = match unsafe { Kernel::apart(session.as_fd()) } {
            Ok(kernel) => (Some(kernel), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Whoever waits for it is there until then.
        let _ = ready.send(result);
        move |notice: Notice| {
            let _turn = turn.lock();
            if let Some(kernel) = &kernel {
                kernel.tell(&notice);
            }
            notice
        }
    };
    let hand_on = |ask: Sender<Notice>, told: Receiver<Notice>| {
        while let Ok(first) = receiver.recv() {
            let more = receiver.try_iter().take(AT_ONCE);
            let asked = iter::once(first).chain(more).map_while(|notice| ask.send(notice).ok()).count();
            for notice in told.iter().take(asked) {
                let Some(fs) = fs.upgrade() else { return };
                if let Notice::Entry { parent, name } = notice {
                    fs.expired(parent, name);
                }
            }
        }
    };
    // SAFETY: of what others have opened the thread uses the session's device, and that for as long as it may.
    if let Err(error) = unsafe { with_thread("pkfs-notify", Some(session.as_fd()), begin, hand_on) } {
        let _ = ready.send(Err(error));
    }
}

/// Has inotify tell what it must, until there will be nothing more.
pub(super) fn events(fs: &FileSystem, point: PathBuf, own: Arc<Own>, turn: &Turn) {
    let begin = move || {
        let mount = OwnMount::new(point, own);
        move |event: Event| {
            let _turn = turn.lock();
            (mount.perform(&event), event)
        }
    };
    let hand_on = |ask: Sender<Event>, told: Receiver<(io::Result<()>, Event)>| {
        while let Some(event) = fs.next_event() {
            let done = ask.send(event).ok().and_then(|()| told.recv().ok());
            if let Some((Err(error), event)) = done {
                debug!("those who watch {} in {} hear nothing: {error}", event.name, event.directory);
            }
            fs.event_done();
        }
    };
    // SAFETY: the thread opens the mount itself, and is given no other descriptor.
    if let Err(error) = unsafe { with_thread("pkfs-own", None, begin, hand_on) } {
        warn!("those who watch the mount hear nothing: {error}");
    }
}
