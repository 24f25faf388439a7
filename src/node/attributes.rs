//! What the directory keeps of an item beside its content.

use crate::time::Timestamp;

/// Mode, owner and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content changed.
    pub mtime: Timestamp,
    /// When it was last read, as far as anybody set it.
    pub atime: Timestamp,
    /// When content, names or attributes changed.
    pub ctime: Timestamp,
}

impl Attributes {
    /// For something new: owned by this process, dated now.
    pub fn new(mode: u32) -> Self {
        let now = Timestamp::now();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { mode: mode & 0o7777, uid, gid, mtime: now, atime: now, ctime: now }
    }
}
