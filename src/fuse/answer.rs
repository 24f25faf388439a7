//! How requests are answered, and how long the kernel may remember.

use std::time::Duration;

use fuser::{Errno, FopenFlags, Generation, ReplyAttr, ReplyEmpty, ReplyEntry};

use super::convert::attributes;
use crate::fs::Entry;

/// Until the kernel is told otherwise.
const LONG: Duration = Duration::from_secs(100_000);

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
