//! Threads for requests that may wait for the keynode's file.
//!
//! Another process may hold the file's lock for long. Requests that change something wait for it here, so that the
//! threads which take requests from the kernel are always free for those who only read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;

type Work = Box<dyn FnOnce() + Send>;

/// As many as there are of these, changes are sealed at the same time.
const MOST: usize = 8;

/// Does work in its order of arrival. Each piece belongs to a process that waits for an answer, so there are never many.
pub(super) struct Workers(Sender<Work>);

impl Workers {
    /// As many threads as there are processors.
    pub(super) fn start() -> std::io::Result<Self> {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        Self::of("pkfs-change", processors.clamp(2, MOST))
    }

    /// Starts threads; they end with this.
    pub(super) fn of(name: &str, threads: usize) -> std::io::Result<Self> {
        let (sender, receiver) = channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let receiver = receiver.clone();
            thread::Builder::new().name(name.into()).spawn(move || work(&receiver))?;
        }
        Ok(Self(sender))
    }

    /// Lets the next free thread do it.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        // The receivers live as long as this.
        let _ = self.0.send(Box::new(work));
    }
}

fn work(receiver: &Mutex<Receiver<Work>>) {
    loop {
        let Ok(work) = receiver.lock().recv() else { return };
        // A defect in one request, which was answered by dropping its reply, must not cost a thread.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_no_thread() {
        let (workers, (done, wait)) = (Workers::start().unwrap(), channel());
        for n in 0..100 {
            let done = done.clone();
            workers.run(move || {
                done.send(n).unwrap();
                std::panic::resume_unwind(Box::new(()));
            });
        }
        let mut all: Vec<i32> = wait.iter().take(100).collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
