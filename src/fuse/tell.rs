//! Telling the kernel, and those who watch, of what changed outside. Both wait for requests, so no request waits for them;
//! and neither has the device of a request open while it waits: see [`crate::apart`].
#![allow(unsafe_code)]

use std::io;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Weak};

use log::debug;

use super::notify::Kernel;
use super::own_mount::{Alone, Own, OwnMount};
use crate::apart::with_thread;
use crate::fs::{Event, FileSystem, Notice};

/// So many notices are handed on before any of them is known to be taken.
const AT_ONCE: usize = 256;

/// Passes on to the kernel what it must hear, until the tree is gone. `ready`: whether it can, and from when on.
pub(super) fn notices(
    receiver: &Receiver<Notice>,
    fs: &Weak<FileSystem>,
    session: &OwnedFd,
    alone: &Alone,
    ready: Sender<io::Result<()>>,
) {
    let cannot = ready.clone();
    let begin = move || {
        // SAFETY: until it ends, this thread uses the device alone that it opens here.
        let (kernel, result) = match unsafe { Kernel::apart(session.as_fd()) } {
            Ok(kernel) => (Some(kernel), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Whoever waits for it is there until then.
        let _ = ready.send(result);
        move |notice: Notice| {
            let _alone = alone.lock();
            if let Some(kernel) = &kernel {
                kernel.tell(&notice);
            }
            notice
        }
    };
    let hand_on = |ask: Sender<Notice>, told: Receiver<Notice>| {
        while let Ok(first) = receiver.recv() {
            let more = receiver.try_iter().take(AT_ONCE - 1);
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
        let _ = cannot.send(Err(error));
    }
}

/// Has inotify tell what it must, until there will be nothing more. `ready`: whether somebody does.
pub(super) fn events(fs: &FileSystem, point: PathBuf, own: Arc<Own>, alone: &Alone, ready: Sender<io::Result<()>>) {
    let cannot = ready.clone();
    let begin = move || {
        let mount = OwnMount::new(point, own);
        // Whoever waits for it is there until then.
        let _ = ready.send(Ok(()));
        move |event: Event| (mount.perform(&event, alone), event)
    };
    let hand_on = |ask: Sender<Event>, told: Receiver<(io::Result<()>, Event)>| {
        while let Some(event) = fs.next_event() {
            let done = ask.send(event).ok().and_then(|()| told.recv().ok());
            if let Some((Err(error), event)) = done {
                debug!("those who watch {} in {} do not hear of this: {error}", event.name, event.directory);
            }
            fs.event_done();
        }
    };
    // SAFETY: the thread opens the mount itself, and is given no other descriptor.
    if let Err(error) = unsafe { with_thread("pkfs-own", None, begin, hand_on) } {
        let _ = cannot.send(Err(error));
    }
}
