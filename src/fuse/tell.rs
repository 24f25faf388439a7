//! Telling the kernel, and those who watch, of what changed outside. Both wait for requests, so no request waits for them.

use std::path::PathBuf;
use std::sync::{Arc, Weak, mpsc};

use fuser::{INodeNo, Notifier};
use log::debug;

use super::expire::Kernel;
use super::own_mount::{Own, OwnMount};
use crate::fs::{FileSystem, Notice};

/// Passes on to the kernel what it must hear, until the tree is gone.
pub(super) fn notices(receiver: &mpsc::Receiver<Notice>, fs: &Weak<FileSystem>, kernel: &Kernel, notifier: &Notifier) {
    for notice in receiver {
        // A kernel that does not know the name or the inode any more has nothing to be told.
        match notice {
            Notice::Entry { parent, name } => {
                let _ = kernel.expire(parent, name.as_bytes());
                let Some(fs) = fs.upgrade() else { return };
                fs.expired(parent, name);
            }
            Notice::Attributes(ino) => {
                let _ = notifier.inval_inode(INodeNo(ino.0), -1, 0);
            }
            Notice::Content(ino) => {
                let _ = notifier.inval_inode(INodeNo(ino.0), 0, 0);
            }
        }
    }
}

/// Has inotify tell what it must, until there will be nothing more.
pub(super) fn events(fs: &FileSystem, point: PathBuf, own: Arc<Own>) {
    let mount = OwnMount::new(point, own);
    while let Some(event) = fs.next_event() {
        if let Err(error) = mount.perform(&event) {
            debug!("those who watch {} in {} hear nothing: {error}", event.name, event.directory);
        }
        fs.event_done();
    }
}
