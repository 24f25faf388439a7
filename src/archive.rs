//! The file: tar members, git objects and refs; append, compact.
//!
//! A keynode is an uncompressed tar archive of a bare git repository. This layer knows bytes and git objects and no
//! keys. Its grammar, which [`Archive::open`] holds a file to:
//!
//! ```text
//! file        = base tail end
//! base        = README.txt HEAD config directory* slot* (pack idx)* packed-refs
//! tail        = transaction*
//! transaction = slot* object* ref* closing-ref
//! end         = two zero blocks
//! ```
//!
//! A closing ref is `refs/heads/keynode` or `refs/heads/inbox/<commit>`; its commit is an object of the same transaction.
//!
//! | module | holds |
//! |---|---|
//! | `oid`, `object`, `tree` | git's object names, objects and trees |
//! | `zlib` | their compressed form |
//! | `member`, `template` | names and headers of tar members, the fixed texts |
//! | `pack`, `index`, `packed_refs` | reading the compacted base |
//! | `window`, `scan`, `view` | from a file to what is in it |
//! | `file`, `problems`, `judge` | [`Archive`], and what is wrong with one; git's own library as a second opinion |
//! | `batch`, `create` | what a transaction appends, a new file |
//! | `ofd`, `lock`, `append`, `recover` | the exclusive right to write and what it allows |
//! | `compact`, `packer`, `sibling` | rewriting the file with one pack |

mod access;
mod append;
mod batch;
mod compact;
mod create;
mod file;
mod index;
mod judge;
mod lock;
mod member;
mod object;
mod ofd;
mod oid;
mod pack;
mod packed_refs;
mod packer;
mod problems;
mod recover;
mod salvage;
mod scan;
mod sibling;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod view;
mod window;
mod zlib;

pub use access::unwritable;
pub use batch::Batch;
pub use create::create;
pub use file::{Archive, FileId, Sizes};
pub use lock::WriteLock;
pub use object::{NewObject, Object, ObjectKind, hash_object};
pub use oid::{BadOid, Oid};
pub use problems::Problem;
pub use recover::Recovery;
pub use salvage::Salvage;
pub use scan::Tail;
pub use tree::{TreeEntry, parse_tree, tree};

/// The ref whose commits are the log of the node; a member of this name closes a transaction.
pub const KEYNODE_REF: &str = "refs/heads/keynode";
/// Refs below this prefix hold what peers have pushed; a member of such a name closes a transaction.
pub const INBOX_PREFIX: &str = "refs/heads/inbox/";

/// The largest object that is read or written, in bytes.
pub const MAX_OBJECT: u64 = 256 << 20;
/// The largest unlock slot, in bytes.
pub const MAX_SLOT: u64 = 1 << 20;
