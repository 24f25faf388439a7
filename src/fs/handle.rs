//! Open files and directories.

use std::collections::HashMap;

use super::asker::Given;
use super::types::{HandleId, Ino, Listing};
use crate::error::{Error, Kind, Result};

/// An open file or directory.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) ino: Ino,
    /// Whether it may write.
    pub(super) writes: bool,
    /// A directory's listing as it was when reading it began, so that positions keep their meaning.
    pub(super) listing: Option<Listing>,
    /// What whoever opened a directory may see in it; `None`: everything.
    pub(super) given: Option<Given>,
}

/// All open handles. Numbers are never used twice, and 0 is never one.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<HandleId, Handle>,
    last: u64,
}

impl Handles {
    /// A new handle on this inode.
    pub(super) fn open(&mut self, ino: Ino, writes: bool) -> HandleId {
        self.last += 1;
        let id = HandleId(self.last);
        self.open.insert(id, Handle { ino, writes, listing: None, given: None });
        id
    }

    /// An open handle.
    ///
    /// # Errors
    /// `Invalid` for a number that the kernel made up.
    pub(super) fn get(&mut self, id: HandleId) -> Result<&mut Handle> {
        self.open.get_mut(&id).ok_or_else(|| Error::new(Kind::Invalid, "no such handle"))
    }

    /// Takes the handle out.
    pub(super) fn close(&mut self, id: HandleId) -> Option<Handle> {
        self.open.remove(&id)
    }
}
