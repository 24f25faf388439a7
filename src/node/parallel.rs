//! The same work on many things, on all processors.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use parking_lot::Mutex;

/// To ask takes longer than small work.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// How many small things are worth a thread.
pub(super) const SMALL: usize = 32;

/// Maps items in order, each by the thread that is free; fewer than `worth` of them on this thread alone.
pub(super) fn map<T: Send, R: Send>(items: Vec<T>, worth: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = if items.len() < worth { 1 } else { PROCESSORS.min(items.len()) };
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let count = items.len();
    let waiting = Mutex::new(items.into_iter().enumerate());
    let run = || {
        let next = || waiting.lock().next();
        std::iter::from_fn(next).map(|(n, item)| (n, work(item))).collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut done = Vec::with_capacity(count);
        done.extend(run());
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}
