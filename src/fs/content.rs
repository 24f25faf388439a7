//! Decrypted contents by commit: an LRU cache in locked memory under a byte budget.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Kind, Result};
use crate::node::{Locked, Sha256};

/// A commit's digest: what the log believes, and so the key of what was verified against it.
type Key = Sha256;

/// The contents of the commits used last.
///
/// Nobody holds a lock while a content is being decrypted; two who want the same one decrypt it once. What is evicted
/// is wiped when its last reader lets go. The newest content stays even when it alone exceeds the budget, so that a
/// large file is not decrypted again for each piece that is read of it.
pub(super) struct Contents {
    budget: usize,
    state: Mutex<State>,
}

struct State {
    cached: LruCache<Key, Arc<Locked>>,
    bytes: usize,
    coming: HashMap<Key, Arc<Coming>>,
}

/// A result that several wait for; an error as kind and message, since errors cannot be copied.
type Shared = Result<Arc<Locked>, (Kind, String)>;

/// A content that is being decrypted.
#[derive(Default)]
struct Coming {
    done: Mutex<Option<Shared>>,
    changed: Condvar,
}

impl Contents {
    /// A cache of at most `budget` bytes, one larger content aside.
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, state: Mutex::new(State { cached: LruCache::unbounded(), bytes: 0, coming: HashMap::new() }) }
    }

    /// The content of this commit, from the cache or from `decrypt`.
    pub(super) fn get(&self, key: Key, decrypt: impl FnOnce() -> Result<Locked>) -> Result<Arc<Locked>> {
        let coming = {
            let mut state = self.state.lock();
            if let Some(content) = state.cached.get(&key) {
                return Ok(content.clone());
            }
            match state.coming.entry(key) {
                Entry::Occupied(other) => {
                    let other = other.get().clone();
                    drop(state);
                    return other.wait();
                }
                Entry::Vacant(free) => free.insert(Arc::default()).clone(),
            }
        };
        let mut slot = Slot { contents: self, key, coming: &coming, result: None };
        let result = decrypt().map(Arc::new);
        slot.result = Some(match &result {
            Ok(content) => Ok(content.clone()),
            Err(error) => Err((error.kind(), error.message().to_owned())),
        });
        drop(slot);
        result
    }

    /// Puts a content at hand into the cache.
    pub(super) fn insert(&self, key: Key, content: Arc<Locked>) {
        self.state.lock().insert(key, content, self.budget);
    }

    /// Bytes held at present.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

impl State {
    fn insert(&mut self, key: Key, content: Arc<Locked>, budget: usize) {
        self.bytes += content.len();
        if let Some(before) = self.cached.put(key, content) {
            self.bytes -= before.len();
        }
        while self.bytes > budget && self.cached.len() > 1 {
            let Some((_, evicted)) = self.cached.pop_lru() else { break };
            self.bytes -= evicted.len();
        }
    }
}

impl Coming {
    fn wait(&self) -> Result<Arc<Locked>> {
        let mut done = self.done.lock();
        loop {
            match &*done {
                Some(Ok(content)) => return Ok(content.clone()),
                Some(Err((kind, message))) => return Err(Error::new(*kind, message.clone())),
                None => self.changed.wait(&mut done),
            }
        }
    }
}

/// Ends the wait of others however decryption ends, a panic included.
struct Slot<'a> {
    contents: &'a Contents,
    key: Key,
    coming: &'a Coming,
    result: Option<Shared>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err((Kind::Failed, "decryption was cut short".into())));
        {
            let mut state = self.contents.state.lock();
            state.coming.remove(&self.key);
            if let Ok(content) = &result {
                state.insert(self.key, content.clone(), self.contents.budget);
            }
        }
        *self.coming.done.lock() = Some(result);
        self.coming.changed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::crypto::digest::sha256;

    fn key(n: u8) -> Key {
        sha256(&[n])
    }

    fn content(len: usize) -> Locked {
        Locked::zeroed(len)
    }

    #[test]
    fn the_budget_holds_and_the_least_used_goes_first() {
        let contents = Contents::new(100);
        for n in 0..3 {
            contents.get(key(n), || Ok(content(40))).unwrap();
        }
        assert_eq!(contents.bytes(), 80);
        contents.get(key(2), || Err(Error::damaged("it is cached"))).unwrap();
        assert!(contents.get(key(0), || Err(Error::damaged("it was evicted"))).is_err());
    }

    #[test]
    fn a_content_beyond_the_budget_stays_until_the_next_one() {
        let contents = Contents::new(100);
        contents.get(key(1), || Ok(content(500))).unwrap();
        contents.get(key(1), || Err(Error::damaged("it is cached"))).unwrap();
        contents.get(key(2), || Ok(content(10))).unwrap();
        assert_eq!(contents.bytes(), 10);
    }

    #[test]
    fn a_failure_is_told_to_all_and_kept_by_none() {
        let contents = Contents::new(100);
        let error = contents.get(key(1), || Err(Error::damaged("bad"))).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        assert_eq!(contents.get(key(1), || Ok(content(3))).unwrap().len(), 3);
    }

    #[test]
    fn two_who_want_the_same_decrypt_it_once() {
        let (contents, calls, start) = (Contents::new(1000), AtomicUsize::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let got = contents.get(key(1), || {
                        calls.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        Ok(content(7))
                    });
                    assert_eq!(got.unwrap().len(), 7);
                });
            }
        });
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_while_decrypting_leaves_nobody_waiting() {
        let contents = Contents::new(1000);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = contents.get(key(1), || std::panic::resume_unwind(Box::new(())));
        }));
        assert!(panicked.is_err());
        assert_eq!(contents.get(key(1), || Ok(content(3))).unwrap().len(), 3);
    }
}
