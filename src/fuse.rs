//! The FUSE adapter: unpacks a request, calls [`crate::fs`], replies.
//!
//! | module | holds |
//! |---|---|
//! | `requests`, `adapter`, `answer` | the kernel's requests, what does them, how they are answered |
//! | `convert` | its words and ours |
//! | `options` | `-o` |
//! | `serve` | a mount from its beginning to its end |
//! | `workers` | threads for requests that may have to wait |
//! | `signals`, `watch` | what wakes a mount besides requests |
//! | `tell`, `expire`, `own_mount` | telling the kernel, and inotify, of changes from outside |
//! | `unmount` | `pkfs umount` |
//! | [`daemon`] | a mount in the background |

mod adapter;
mod answer;
mod convert;
pub mod daemon;
mod expire;
mod options;
mod own_mount;
mod requests;
mod serve;
mod signals;
mod tell;
mod unmount;
mod watch;
mod workers;

pub use options::MountOptions;
pub use serve::serve;
pub use unmount::{clear_dead, unmount};
