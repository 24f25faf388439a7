//! Doing what a request asks, and answering it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fuser::{Errno, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry};
use log::{Level, debug, error, log, log_enabled};

use super::convert::attributes;
use crate::error::Result;
use crate::fs::{self, Caller, Entry, FileSystem, Ino};

/// Until the kernel is told otherwise.
const LONG: Duration = Duration::from_secs(100_000);

/// Does what a request asks, logs it, and turns what went wrong into an errno. A panic answers EIO.
pub(super) fn handle<T>(
    fs: &FileSystem,
    who: Caller,
    operation: &str,
    ino: INodeNo,
    name: Option<&OsStr>,
    work: impl FnOnce(&FileSystem) -> Result<T>,
) -> Result<T, Errno> {
    let started = log_enabled!(Level::Debug).then(Instant::now);
    let what = || fs.describe(Ino(ino.0), name.map(OsStr::as_bytes));
    match catch_unwind(AssertUnwindSafe(|| work(fs))) {
        Ok(Ok(value)) => {
            if let Some(started) = started {
                debug!("{operation} {} uid {} pid {}: done in {:?}", what(), who.uid, who.pid, started.elapsed());
            }
            Ok(value)
        }
        Ok(Err(error)) => {
            let errno = Errno::from_i32(fs::errno(error.kind()));
            let level = fs::level(error.kind());
            if log_enabled!(level) {
                let hint = error.next_step().map_or_else(String::new, |hint| format!(" ({hint})"));
                log!(level, "{operation} {} uid {} pid {}: {error}{hint}", what(), who.uid, who.pid);
            }
            Err(errno)
        }
        Err(_) => {
            error!("{operation} {}: a defect in pkfs; answered with an I/O error, please report it", what());
            Err(Errno::EIO)
        }
    }
}

pub(super) fn ttl(keep: bool) -> Duration {
    if keep { LONG } else { Duration::ZERO }
}

pub(super) fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn answer_entry(reply: ReplyEntry, result: Result<Entry, Errno>) {
    match result {
        Ok(entry) => {
            let (attr, name) = (ttl(entry.keep && !entry.gate), ttl(entry.keep));
            reply.entry_with_ttls(&attr, &name, &attributes(&entry.stat), Generation(0));
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn answer_attributes(reply: ReplyAttr, result: Result<Entry, Errno>) {
    match result {
        Ok(entry) => reply.attr(&ttl(entry.keep && !entry.gate), &attributes(&entry.stat)),
        Err(errno) => reply.error(errno),
    }
}

/// What is opened for reading need not be flushed; what the kernel has of an inode's content is always right.
pub(super) fn open_flags(writes: bool) -> FopenFlags {
    if writes { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH }
}
