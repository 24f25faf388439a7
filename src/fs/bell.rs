//! When the mount's own process has something to do on its mount: rung by each of its trees.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// Nothing is locked while its lock is held.
#[derive(Default)]
pub(super) struct Bell {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Default)]
struct Now {
    rung: bool,
    /// The mount's own process is at it.
    busy: bool,
    /// Until when it leaves the mount alone.
    rests: Option<Instant>,
    /// It never comes again.
    ended: bool,
}

impl Bell {
    /// Those who watch have something to hear.
    pub(super) fn ring(&self) {
        self.now.lock().rung = true;
        self.changed.notify_all();
    }

    /// Waits for a ring; `false`: there will be none. To be followed by [`Self::done`].
    pub(super) fn answer(&self) -> bool {
        let mut now = self.now.lock();
        while !now.ended {
            match now.rests.filter(|until| Instant::now() < *until) {
                Some(until) => drop(self.changed.wait_until(&mut now, until)),
                None if now.rung => {
                    (now.rung, now.busy) = (false, true);
                    return true;
                }
                None => self.changed.wait(&mut now),
            }
        }
        false
    }

    /// The mount is let go; `again`: there may be more to do.
    pub(super) fn done(&self, again: bool) {
        let mut now = self.now.lock();
        now.busy = false;
        now.rung |= again;
        self.changed.notify_all();
    }

    /// Nobody answers until then. Waits for whoever is at it, but not longer.
    pub(super) fn rest(&self, until: Instant) {
        let mut now = self.now.lock();
        now.rests = Some(until);
        while now.busy && !self.changed.wait_until(&mut now, until).timed_out() {}
    }

    /// Nobody answers any more.
    pub(super) fn end(&self) {
        self.now.lock().ended = true;
        self.changed.notify_all();
    }
}
