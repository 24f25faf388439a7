//! The same work on many things, on all processors.

use std::num::NonZero;
use std::thread;

/// Maps items in order; few of them on this thread alone.
pub(super) fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    if items.len() < 32 || threads == 1 {
        return items.into_iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    let mut items = items.into_iter();
    thread::scope(|scope| {
        let running: Vec<_> = std::iter::from_fn(|| {
            let share: Vec<T> = items.by_ref().take(share).collect();
            let work = &work;
            (!share.is_empty()).then(|| scope.spawn(move || share.into_iter().map(work).collect::<Vec<R>>()))
        })
        .collect();
        let finished = running.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        finished.flatten().collect()
    })
}
