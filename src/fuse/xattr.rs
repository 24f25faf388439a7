//! How questions for extended attributes are answered.

use fuser::{Errno, ReplyXattr};

/// A value, or how long it is if there is room for nothing; `None`: there is no such attribute.
pub(super) fn answer(reply: ReplyXattr, room: u32, value: Result<Option<Vec<u8>>, Errno>) {
    match value {
        Ok(Some(value)) if room == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(Some(value)) if value.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(Some(value)) => reply.data(&value),
        Ok(None) => reply.error(Errno::ENODATA),
        Err(errno) => reply.error(errno),
    }
}
