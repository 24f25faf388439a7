//! The kernel's words and ours.

use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, RenameFlags, Request, TimeOrNow};

use crate::fs::{Caller, FileKind, OpenMode, RenameMode, Stat};
use crate::time::Timestamp;

/// Bits of a mode that tell the type (`S_IFMT` of inode(7)).
const TYPE: u32 = libc::S_IFMT;

pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}

pub(super) fn attributes(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.ino.0),
        size: stat.size,
        blocks: stat.size.div_ceil(512),
        atime: stat.atime.into(),
        mtime: stat.mtime.into(),
        ctime: stat.ctime.into(),
        crtime: UNIX_EPOCH,
        kind: file_type(stat.kind),
        perm: u16::try_from(stat.mode & 0o7777).unwrap_or(0),
        nlink: stat.links,
        uid: stat.uid,
        gid: stat.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// The type that mknod(2) asks for; `None` for device nodes.
pub(super) fn made_by_mknod(mode: u32) -> Option<FileKind> {
    match mode & TYPE {
        0 | libc::S_IFREG => Some(FileKind::Regular),
        libc::S_IFIFO => Some(FileKind::Fifo),
        libc::S_IFSOCK => Some(FileKind::Socket),
        _ => None,
    }
}

pub(super) fn open_mode(flags: i32) -> OpenMode {
    let truncate = flags & libc::O_TRUNC != 0;
    OpenMode {
        // Linux truncates what is opened for reading, too, if it may be written.
        write: truncate || flags & libc::O_ACCMODE != libc::O_RDONLY,
        truncate,
        exclusive: flags & libc::O_EXCL != 0,
    }
}

/// `None` for flags that make no sense here.
pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    match flags.bits() {
        0 => Some(RenameMode::Replace),
        libc::RENAME_NOREPLACE => Some(RenameMode::NoReplace),
        libc::RENAME_EXCHANGE => Some(RenameMode::Exchange),
        _ => None,
    }
}

pub(super) fn time(time: TimeOrNow) -> Timestamp {
    match time {
        TimeOrNow::Now => Timestamp::now(),
        TimeOrNow::SpecificTime(time) => specific(time),
    }
}

/// fuser takes the nanoseconds of a time before the epoch away where they are to be added.
fn specific(time: SystemTime) -> Timestamp {
    match UNIX_EPOCH.duration_since(time) {
        Ok(before) if !before.is_zero() => Timestamp {
            seconds: i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds),
            nanoseconds: before.subsec_nanos(),
        },
        _ => time.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_the_epoch_come_out_as_the_kernel_sent_them() {
        // What fuser makes of -2 s and 800,000,000 ns, the kernel's form of 1.2 s before the epoch.
        let sent = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(specific(sent), Timestamp { seconds: -2, nanoseconds: 800_000_000 });
        assert_eq!(specific(UNIX_EPOCH + Duration::new(5, 7)), Timestamp { seconds: 5, nanoseconds: 7 });
    }

    #[test]
    fn devices_are_not_made() {
        assert_eq!(made_by_mknod(libc::S_IFCHR | 0o600), None);
        assert_eq!(made_by_mknod(libc::S_IFIFO | 0o600), Some(FileKind::Fifo));
    }
}
