//! What happens without a request: attributes reach the disk, waiting files become secrets, failed commits are tried
//! again, listings are forgotten.

use std::time::Instant;

use super::FileSystem;
use super::buffer::Occasion;
use super::inode::Node;
use super::memory::{Class, WAIT};
use super::state::{State, living};
use super::types::Ino;
use crate::error::Result;

impl FileSystem {
    /// Does what is due at this time. To be called about once a second.
    ///
    /// # Errors
    /// The first failure; what failed stays in memory and is tried again at the next call.
    pub fn tick(&self, now: Instant) -> Result<()> {
        self.catch_up_late();
        for tree in self.trees.all() {
            tree.catch_up_late();
        }
        self.age(now);
        let due = self.due(|class, closed| {
            class == Class::Waiting && closed.is_some_and(|closed| now.saturating_duration_since(closed) >= WAIT)
        });
        self.settle(&due)
    }

    /// Allows for those who had found what changed just before it did, and came late.
    fn catch_up_late(&self) {
        self.state.lock().turn.tick();
        self.forget_late_listings();
    }

    /// Commits everything that is unsaved or waits, for the end of the mount.
    ///
    /// # Errors
    /// The first failure; everything is tried all the same.
    pub fn settle_all(&self) -> Result<()> {
        let due = self.due(|class, _| class != Class::Volatile);
        let dirty: Vec<Ino> = {
            let state = self.state.lock();
            let dirty = state.inodes.iter().filter(|(_, inode)| inode.buffer.as_ref().is_some_and(|b| !b.is_clean()));
            dirty.map(|(ino, _)| ino).collect()
        };
        let first = self.settle(&due);
        let second = self.settle(&dirty);
        first.and(second)
    }

    fn age(&self, now: Instant) {
        let mut state = self.state.lock();
        let State { memory, inodes, snapshot, .. } = &mut *state;
        let lives = |id| living(snapshot.namespace(), id).is_some();
        memory.age(now, |id| inodes.find(id).is_some_and(|(_, inode)| inode.writers > 0), lives);
    }

    /// Files in memory that are to become secrets, and closed files whose last commit failed.
    fn due(&self, wanted: impl Fn(Class, Option<Instant>) -> bool) -> Vec<Ino> {
        let state = self.state.lock();
        let files = state.inodes.iter().filter(|(_, inode)| match (&inode.node, &inode.buffer) {
            (Node::Item(id), Some(buffer)) => match state.memory.get(*id) {
                Some(item) if item.class == Class::Lasting => inode.writers == 0,
                Some(item) => wanted(item.class, item.closed),
                None => inode.writers == 0 && !buffer.is_clean(),
            },
            (Node::Detached(detached), Some(buffer)) => {
                detached.commits_to.is_some() && inode.writers == 0 && !buffer.is_clean()
            }
            _ => false,
        });
        files.map(|(ino, _)| ino).collect()
    }

    fn settle(&self, files: &[Ino]) -> Result<()> {
        let mut result = Ok(());
        for ino in files {
            let saved = match self.commit(*ino, Occasion::Sync) {
                // Its last reference went meanwhile.
                Err(error) if error.kind() == crate::error::Kind::NotFound => Ok(()),
                saved => saved,
            };
            self.state.lock().let_go(*ino);
            result = result.and(saved);
        }
        let attributes = if self.writable().is_ok() { self.save_attributes() } else { Ok(()) };
        result.and(attributes)
    }
}
