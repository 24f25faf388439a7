//! The words of this layer's interface: numbers, attributes, entries.

use std::ops::Deref;
use std::sync::Arc;

use crate::node::{ItemPath, Locked, Name};
use crate::time::Timestamp;

/// An inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The mount's root directory.
    pub const ROOT: Self = Self(1);
    /// How many trees there can be beside the whole.
    pub(super) const TREES: usize = 0xffe;
    /// Below these bits a number tells what it stands for in its tree.
    const TREE: u32 = 52;

    /// A number in a tree.
    pub(super) const fn within(tree: usize, number: u64) -> Self {
        Self((tree as u64) << Self::TREE | number & ((1 << Self::TREE) - 1))
    }

    /// The tree that a number belongs to.
    pub(super) const fn tree(self) -> usize {
        (self.0 >> Self::TREE) as usize
    }
}

/// An open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandleId(pub u64);

impl HandleId {
    /// What the kernel sends where it never asked to open, files or directories: on mounts whose opens are answered with
    /// ENOSYS.
    pub const NONE: Self = Self(0);
}

/// Who asks: the file system ids of the calling thread, and its thread id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// fsuid
    pub uid: u32,
    /// fsgid
    pub gid: u32,
    /// Thread id in the mounter's pid namespace; 0: not visible from there.
    pub pid: u32,
}

/// A file's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A secret, or a file of the history.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// What stat(2) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Inode number.
    pub ino: Ino,
    /// Type.
    pub kind: FileKind,
    /// Permission bits, 07777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; of a directory: its own, `.`, and the `..` of each directory in it. Directories of the history say 1.
    pub links: u32,
    /// Bytes.
    pub size: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
}

/// A name that was looked up or made.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it leads to.
    pub stat: Stat,
    /// Whether the kernel may remember the name, and unless it is a gate the attributes, until it is told otherwise.
    pub keep: bool,
    /// Not all who ask may see it or what is next to it: each has to ask for its attributes.
    pub gate: bool,
}

/// One line of a directory listing.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// Inode number.
    pub ino: Ino,
    /// Type.
    pub kind: FileKind,
    /// Name; `.` and `..` are not part of a listing.
    pub name: Name,
}

/// A directory's entries, each with the position at which reading goes on behind it, in that order.
pub type Listing = Arc<[(u64, DirEntry)]>;

/// What setattr asks for; `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttributes {
    /// Permission bits, 07777.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// New size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last modification.
    pub mtime: Option<Timestamp>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// For writing (perhaps for reading as well).
    pub write: bool,
    /// `O_TRUNC`
    pub truncate: bool,
    /// `O_EXCL`, counts for create alone.
    pub exclusive: bool,
}

/// How a rename treats the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RenameMode {
    /// Replaces it.
    #[default]
    Replace,
    /// Fails if it exists.
    NoReplace,
    /// Swaps the two.
    Exchange,
}

/// Bytes of a file, still in locked memory.
#[derive(Debug, Clone)]
pub struct Slice {
    content: Arc<Locked>,
    start: usize,
    end: usize,
}

impl Slice {
    /// At most `size` bytes from `offset` on; past the end: none.
    pub(super) fn new(content: Arc<Locked>, offset: u64, size: u32) -> Self {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(size as usize).min(content.len());
        Self { content, start, end }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.content.get(self.start..self.end).unwrap_or_default()
    }
}

/// What the kernel must be told, outside of any request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The name leads elsewhere now, or nowhere, or will in a moment.
    Entry {
        /// The directory.
        parent: Ino,
        /// The name in it.
        name: Name,
    },
    /// The attributes of an inode changed.
    Attributes(Ino),
    /// What the kernel remembers of an inode's content, or of a directory's listing, may be wrong.
    Content(Ino),
}

/// Something that those who watch the mount must hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The directory.
    pub directory: ItemPath,
    /// The name in it.
    pub name: Name,
    /// What the mount's own process does to it.
    pub act: Act,
}

/// What makes the kernel tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// rename(2) from a name in the same directory, which nobody else sees.
    Appear {
        /// That name.
        hidden: Name,
    },
    /// rename(2) from elsewhere.
    Move {
        /// From where.
        from: ItemPath,
        /// `RENAME_EXCHANGE`
        exchange: bool,
    },
    /// unlink(2), or rmdir(2).
    Remove {
        /// Of a directory.
        directory: bool,
    },
}
