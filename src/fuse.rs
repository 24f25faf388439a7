//! The FUSE adapter: unpacks a request, calls [`crate::fs`], replies.
//!
//! | module | holds |
//! |---|---|
//! | `kernel` | the kernel's requests, unpacked and answered |
//! | `adapter`, `answer` | whose they are and which thread does them; how they are answered |
//! | `guard` | doing them: guarded and logged |
//! | `convert` | its words and ours |
//! | `options` | `-o` |
//! | `serve` | a mount from its beginning to its end |
//! | `workers` | threads for requests that may have to wait |
//! | `signals`, `watch` | what wakes a mount besides requests |
//! | `tell`, `notify`, `own_mount` | telling the kernel, and inotify, of changes from outside |
//! | `xattr` | answers about extended attributes |
//! | `unmount`, `asked` | `pkfs umount`; whether a mount answers |
//! | [`daemon`] | a mount in the background |

mod adapter;
mod alone;
mod answer;
mod asked;
mod convert;
pub mod daemon;
mod guard;
mod kernel;
mod notify;
mod options;
mod own_mount;
mod serve;
mod signals;
mod tell;
mod unmount;
mod watch;
mod why;
mod workers;
mod xattr;

pub use alone::{cover, leave, own_namespace};
pub use guard::REQUESTS;
pub use options::MountOptions;
pub use serve::{Usable, serve};
pub use signals::Signal;
pub use unmount::{Unmounting, clear_dead, unmount};
pub use why::why;
