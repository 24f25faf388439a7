//! statfs(2): the space is that of the file system which holds the keynode.

use rustix::fs::statvfs;
use rustix::io::Errno;

use super::FileSystem;
use super::types::Caller;
use crate::error::{Error, Result};

/// The numbers of statvfs(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes per fragment, the unit of the three below.
    pub fragment: u64,
    /// Size of the file system.
    pub blocks: u64,
    /// Free for root.
    pub free: u64,
    /// Free for everybody.
    pub available: u64,
    /// Items in the keynode; 0 for who may not see them all.
    pub files: u64,
}

impl FileSystem {
    /// statfs(2)
    ///
    /// # Errors
    /// Whatever the file system that holds the keynode reports.
    pub fn statfs(&self, caller: Caller) -> Result<Space> {
        let path = self.keynode.path();
        let host = statvfs(path).map_err(|error| {
            // It would mean that the process of this mount is gone.
            let error = if error == Errno::NOTCONN { Errno::IO } else { error };
            Error::io("look at the file system of", path, error.into())
        })?;
        let all = self.rules.as_ref().is_none_or(|rules| rules.is_mounter(caller));
        let files = if all { self.state.lock().snapshot.namespace().len() as u64 } else { 0 };
        Ok(Space {
            fragment: host.f_frsize,
            blocks: host.f_blocks,
            free: host.f_bfree,
            available: host.f_bavail,
            files,
        })
    }
}
