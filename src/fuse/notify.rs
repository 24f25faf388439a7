//! What the kernel is told (`FUSE_NOTIFY_INVAL_ENTRY` and `FUSE_NOTIFY_INVAL_INODE`, linux/fuse.h).
//!
//! fuser would send the first without `FUSE_EXPIRE_ONLY`, and so drop the name, and with it working directories and mounts
//! below; and it sends both by the session's own descriptor.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use crate::apart::leave_descriptors;
use crate::fs::{Ino, Notice};

const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;
const EXPIRE_ONLY: u32 = 1;
/// `FUSE_DEV_IOC_CLONE`: has a newly opened device be one more of a connection.
const CLONE: Opcode = opcode::read::<u32>(229, 0);

/// Bytes of `struct fuse_out_header`.
const HEADER: usize = 16;

/// A device of the connection that no request is read from.
///
/// Telling the kernel of a name waits for requests that have the directory locked. When the process is killed meanwhile,
/// those that were read end with the devices that they were read from, so that this one is closed, too. Those that nobody
/// has read, or that are made only then, keep it open.
pub(super) struct Kernel(File);

impl Kernel {
    /// For a thread apart, to which nothing but the session's device is open; afterwards nothing but this one is.
    ///
    /// # Errors
    /// The device cannot be opened, or not for this connection.
    ///
    /// # Safety
    /// See [`leave_descriptors`].
    #[allow(unsafe_code)]
    pub(super) unsafe fn apart(session: BorrowedFd<'_>) -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let number = u32::try_from(session.as_raw_fd()).map_err(io::Error::other)?;
        // SAFETY: the command reads a number of this size, as its own number says.
        unsafe { ioctl(&device, Setter::<CLONE, u32>::new(number)) }?;
        // SAFETY: the caller's promise is handed on. Where it fails, descriptors are shared as before.
        let _ = unsafe { leave_descriptors(Some(device.as_fd())) };
        Ok(Self(device))
    }

    /// Tells it. A kernel that does not know the name or the inode any more has nothing to be told.
    pub(super) fn tell(&self, notice: &Notice) {
        let message = match notice {
            Notice::Entry { parent, name } => expire(*parent, name.as_bytes()),
            Notice::Attributes(ino) => forget(*ino, -1),
            Notice::Content(ino) => forget(*ino, 0),
        };
        let _ = message.map(|message| rustix::io::write(&self.0, &message));
    }
}

/// To ask anew for a name.
fn expire(parent: Ino, name: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(name.len()).map_err(io::Error::other)?;
    let fields = [&parent.0.to_ne_bytes()[..], &length.to_ne_bytes(), &EXPIRE_ONLY.to_ne_bytes(), name, &[0]];
    message(INVAL_ENTRY, &fields)
}

/// To forget an inode's attributes, and with an offset of 0 all its pages.
fn forget(ino: Ino, offset: i64) -> io::Result<Vec<u8>> {
    message(INVAL_INODE, &[&ino.0.to_ne_bytes(), &offset.to_ne_bytes(), &0_i64.to_ne_bytes()])
}

fn message(code: i32, fields: &[&[u8]]) -> io::Result<Vec<u8>> {
    let total = HEADER + fields.iter().map(|field| field.len()).sum::<usize>();
    let length = u32::try_from(total).map_err(io::Error::other)?;
    let header = [&length.to_ne_bytes()[..], &code.to_ne_bytes(), &0_u64.to_ne_bytes()];
    Ok([&header[..], fields].concat().concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_kernel_reads_them() {
        let message = expire(Ino(7), b"ab").unwrap();
        assert_eq!(message.len(), 35);
        assert_eq!(message[..8], [35_u32.to_ne_bytes(), 3_u32.to_ne_bytes()].concat());
        assert_eq!(message[16..24], 7_u64.to_ne_bytes());
        assert_eq!(message[24..32], [2_u32.to_ne_bytes(), 1_u32.to_ne_bytes()].concat());
        assert_eq!(message[32..], *b"ab\0");
        let message = forget(Ino(7), -1).unwrap();
        assert_eq!(message[..8], [40_u32.to_ne_bytes(), 2_u32.to_ne_bytes()].concat());
        assert_eq!(message[16..], [7_i64.to_ne_bytes(), (-1_i64).to_ne_bytes(), 0_i64.to_ne_bytes()].concat());
    }
}
