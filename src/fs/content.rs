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

/// A content that is being decrypted.
#[derive(Default)]
struct Coming {
    done: Mutex<Option<Result<Arc<Locked>, (Kind, String)>>>,
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
    result: Option<Result<Arc<Locked>, (Kind, String)>>,
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
