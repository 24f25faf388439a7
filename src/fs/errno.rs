//! The one mapping from the crate's errors to errno and to the level at which a failed request is logged.

use log::Level;

use crate::error::Kind;

/// The errno that answers a request which failed with an error of this kind.
pub const fn errno(kind: Kind) -> i32 {
    match kind {
        Kind::Failed | Kind::Damaged | Kind::Diverged | Kind::Report => libc::EIO,
        Kind::Unlock => libc::EACCES,
        Kind::NotFound => libc::ENOENT,
        Kind::Exists => libc::EEXIST,
        Kind::IsDirectory => libc::EISDIR,
        Kind::NotDirectory => libc::ENOTDIR,
        Kind::NotEmpty => libc::ENOTEMPTY,
        Kind::NotPermitted => libc::EPERM,
        Kind::ReadOnly => libc::EROFS,
        Kind::Invalid | Kind::Usage => libc::EINVAL,
        Kind::NameTooLong => libc::ENAMETOOLONG,
        Kind::TooLarge => libc::EFBIG,
        Kind::NoSpace => libc::ENOSPC,
    }
}

/// The level for the log: what programs provoke every day is for debugging, what an administrator must see is not.
pub const fn level(kind: Kind) -> Level {
    match kind {
        Kind::Failed | Kind::Damaged | Kind::Diverged | Kind::Report => Level::Error,
        Kind::Unlock | Kind::NoSpace | Kind::TooLarge => Level::Warn,
        _ => Level::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrity_is_eio_and_loud_but_a_missing_name_is_not() {
        assert_eq!((errno(Kind::Damaged), level(Kind::Damaged)), (libc::EIO, Level::Error));
        assert_eq!((errno(Kind::NotFound), level(Kind::NotFound)), (libc::ENOENT, Level::Debug));
        assert_eq!(errno(Kind::NoSpace), libc::ENOSPC);
        assert_eq!(errno(Kind::NotPermitted), libc::EPERM);
    }
}
