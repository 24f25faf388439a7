//! Having the kernel ask for names anew (`FUSE_NOTIFY_INVAL_ENTRY` with `FUSE_EXPIRE_ONLY`, linux/fuse.h).
//!
//! fuser sends that notification without the flag alone: it then drops the name, and with it working directories and mounts
//! below.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::fs::Ino;

const NOTIFY_INVAL_ENTRY: i32 = 3;
const EXPIRE_ONLY: u32 = 1;

/// Bytes of `struct fuse_out_header` and `struct fuse_notify_inval_entry_out`.
const HEADERS: usize = 16 + 16;

/// A descriptor of the connection to the kernel, beside the session's.
pub(super) struct Kernel(OwnedFd);

impl Kernel {
    pub(super) fn of(session: impl AsFd) -> io::Result<Self> {
        session.as_fd().try_clone_to_owned().map(Self)
    }

    /// Has the kernel ask anew for a name. It waits for requests that change names in the directory.
    ///
    /// # Errors
    /// The kernel does not know the name, and has nothing to forget.
    pub(super) fn expire(&self, parent: Ino, name: &[u8]) -> io::Result<()> {
        let message = message(parent, name)?;
        rustix::io::write(&self.0, &message)?;
        Ok(())
    }
}

fn message(parent: Ino, name: &[u8]) -> io::Result<Vec<u8>> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let total = HEADERS + name.len() + 1;
    let mut message = Vec::with_capacity(total);
    message.extend(length(total)?.to_ne_bytes());
    message.extend(NOTIFY_INVAL_ENTRY.to_ne_bytes());
    message.extend(0_u64.to_ne_bytes());
    message.extend(parent.0.to_ne_bytes());
    message.extend(length(name.len())?.to_ne_bytes());
    message.extend(EXPIRE_ONLY.to_ne_bytes());
    message.extend(name);
    message.push(0);
    Ok(message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_the_kernel_reads_it() {
        let message = message(Ino(7), b"ab").unwrap();
        assert_eq!(message.len(), 35);
        assert_eq!(message[..4], 35_u32.to_ne_bytes());
        assert_eq!(message[16..24], 7_u64.to_ne_bytes());
        assert_eq!(message[24..32], [2_u32.to_ne_bytes(), 1_u32.to_ne_bytes()].concat());
        assert_eq!(message[32..], *b"ab\0");
    }
}
