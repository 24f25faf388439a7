//! Which file a rule's program is at the moment, without waiting for whoever can have a say in that.
//!
//! On the way there may be a file system that a user serves, and be it by a link that somebody has put there: it could keep
//! the mount waiting, and this very mount would wait for itself. So only what the kernel knows by itself is looked up by
//! whoever decides; the rest is asked by a thread of its own, which nobody waits for longer than a moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::digests::{Identity, identity};
use crate::apart::with_thread;

/// How long a file system that must be asked may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long others wait until it is their turn to ask.
const TURN: Duration = Duration::from_millis(50);

/// Finds programs by their paths.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// A thread asks a file system: one at a time, so that few wait long for whoever does not answer.
    asking: Mutex<bool>,
    asked: Condvar,
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
        {
            let mut asking = self.asking.lock();
            self.asked.wait_while_for(&mut asking, |asking| *asking, TURN);
            if std::mem::replace(&mut *asking, true) {
                return None;
            }
        }
        let (found, wait) = sync_channel(1);
        let (programs, path) = (self.clone(), path.to_owned());
        let started = thread::Builder::new().name("pkfs-find".to_owned()).spawn(move || {
            // Whoever waited may have given up.
            let _ = found.send(find_apart(&path));
            programs.end();
        });
        if started.is_err() {
            self.end();
            return None;
        }
        wait.recv_timeout(PATIENCE).ok()?
    }

    fn end(&self) {
        *self.asking.lock() = false;
        self.asked.notify_one();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_to_wait_for_another_one_is_answered_all_the_same() {
        let programs = Arc::new(Programs::default());
        let (shell, none) = (Path::new("/bin/sh"), Path::new("/bin/no such program"));
        let known = programs.find(shell);
        assert!(known.is_some() && known == identity(CWD, shell, AtFlags::empty()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        assert_eq!((programs.ask(shell), programs.ask(none)), (known, None));
                    }
                });
            }
        });
    }

    #[test]
    fn while_somebody_does_not_answer_nobody_waits_for_long() {
        let programs = Arc::new(Programs::default());
        *programs.asking.lock() = true;
        assert_eq!(programs.ask(Path::new("/bin/sh")), None);
        assert!(programs.find(Path::new("/bin/sh")).is_some(), "what the kernel knows is had without asking");
        programs.end();
        assert!(programs.ask(Path::new("/bin/sh")).is_some());
    }
}
