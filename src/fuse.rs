//! The FUSE adapter: unpacks a request, calls [`crate::fs`], replies.
//!
//! | module | holds |
//! |---|---|
//! | `adapter` | the kernel's requests |
//! | `guard` | doing them: guarded and logged |
//! | `convert` | its words and ours |
//! | `options` | `-o` |
//! | `serve` | a mount from its beginning to its end |
//! | `workers` | threads for requests that may have to wait |
//! | `signals`, `watch` | what wakes a mount besides requests |
//! | `xattr` | answers about extended attributes |
//! | `unmount` | `pkfs umount` |
//! | [`daemon`] | a mount in the background |

mod adapter;
mod convert;
pub mod daemon;
mod guard;
mod options;
mod serve;
mod signals;
mod unmount;
mod watch;
mod workers;
mod xattr;

pub use guard::REQUESTS;
pub use options::MountOptions;
pub use serve::serve;
pub use unmount::{Unmounting, clear_dead, unmount};
