//! From the kernel's requests to the file system: whose they are, which thread does them, what the kernel may do.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    Errno, FileHandle, Generation, INodeNo, InitFlags, KernelConfig, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    Request,
};

use super::answer::{answer, handle, ttl};
use super::convert::{attributes, caller, file_type};
use super::own_mount::Own;
use super::workers::Workers;
use crate::error::Result;
use crate::fs::{self, Caller, FileKind, FileSystem, HandleId, Ino};

/// The largest write request. Requests pass through memory that is not locked: small ones leave little there.
const LARGEST_WRITE: u32 = 128 << 10;

/// Answers requests from a file system.
pub(super) struct Adapter {
    pub(super) fs: Arc<FileSystem>,
    workers: Workers,
    pub(super) own: Arc<Own>,
    /// Answer opens with ENOSYS: the kernel then never asks again.
    pub(super) no_open: bool,
}

impl Adapter {
    pub(super) fn new(fs: Arc<FileSystem>, own: Arc<Own>) -> io::Result<Self> {
        let no_open = !fs.is_writable();
        Ok(Self { fs, workers: Workers::start()?, own, no_open })
    }

    /// As [`Self::handle`], for what may wait for the file: the answer comes from another thread.
    pub(super) fn change<T>(
        &self,
        request: &Request,
        (operation, ino, name): (&'static str, INodeNo, Option<&OsStr>),
        work: impl FnOnce(&FileSystem, &[u8], Caller) -> Result<T> + Send + 'static,
        answer: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        let (fs, who, name) = (self.fs.clone(), caller(request), name.map(OsStr::to_owned));
        self.workers.run(move || {
            let name = name.as_deref();
            let bytes = name.map(OsStr::as_bytes).unwrap_or_default();
            answer(handle(&fs, who, operation, ino, name, |fs| work(fs, bytes, who)));
        });
    }

    /// Does what a request asks and logs it.
    pub(super) fn handle<T>(
        &self,
        request: &Request,
        operation: &str,
        ino: INodeNo,
        name: Option<&OsStr>,
        work: impl FnOnce(&FileSystem) -> Result<T>,
    ) -> Result<T, Errno> {
        handle(&self.fs, caller(request), operation, ino, name, work)
    }

    /// unlink(2) or rmdir(2) by the mount's own process.
    pub(super) fn own_remove(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let work = |fs: &FileSystem| fs.own_remove(Ino(parent.0), name.as_bytes());
        answer(reply, self.handle(request, "own remove", parent, Some(name), work));
    }

    fn list(&self, request: &Request, ino: INodeNo, fh: FileHandle, offset: u64) -> Result<Arc<[fs::DirEntry]>, Errno> {
        self.handle(request, "readdir", ino, None, |fs| fs.readdir(HandleId(fh.0), offset == 0))
    }

    /// Agrees with the kernel on what it may do.
    pub(super) fn negotiate(&mut self, config: &mut KernelConfig) -> io::Result<()> {
        // A truncation that is never asked for could not be refused.
        let opening = if self.no_open { InitFlags::FUSE_NO_OPEN_SUPPORT } else { InitFlags::FUSE_ATOMIC_O_TRUNC };
        let wanted = opening
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS;
        if config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT).is_err() {
            self.no_open = false;
        }
        // All of these make it faster, but O_TRUNC: without it every truncation would be a session of its own.
        if let Err(missing) = config.add_capabilities(wanted) {
            if missing.contains(InitFlags::FUSE_ATOMIC_O_TRUNC) {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
            let _ = config.add_capabilities(wanted & !missing);
        }
        let _ = config.set_max_write(LARGEST_WRITE);
        Ok(())
    }

    /// Names alone.
    pub(super) fn list_names(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match self.list(request, ino, fh, offset) {
            Ok(entries) => entries,
            Err(errno) => return reply.error(errno),
        };
        let dots = [(".", ino), ("..", ino)].map(|(name, ino)| (ino, FileKind::Directory, OsStr::new(name)));
        let rest =
            entries.iter().map(|entry| (INodeNo(entry.ino.0), entry.kind, OsStr::from_bytes(entry.name.as_bytes())));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((ino, kind, name), next) in dots.into_iter().chain(rest).zip(1..).skip(skip) {
            if reply.add(ino, next, file_type(kind), name) {
                break;
            }
        }
        reply.ok();
    }

    /// Names, and what a look-up of each would tell.
    pub(super) fn list_entries(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let entries = match self.list(request, ino, fh, offset) {
            Ok(entries) => entries,
            Err(errno) => return reply.error(errno),
        };
        if offset < 2 {
            let own = match self.handle(request, "getattr", ino, None, |fs| fs.getattr(Ino(ino.0))) {
                Ok(own) => attributes(&own.stat),
                Err(errno) => return reply.error(errno),
            };
            for (next, name) in [(1, "."), (2, "..")] {
                // The kernel takes no reference for these two.
                if next > offset && reply.add(ino, next, name, &Duration::ZERO, &own, Generation(0)) {
                    return reply.ok();
                }
            }
        }
        let skip = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        for (entry, next) in entries.iter().zip(3..).skip(skip) {
            let looked_up =
                self.handle(request, "lookup", ino, None, |fs| Ok(fs.lookup_listed(Ino(ino.0), entry))).ok().flatten();
            let Some(found) = looked_up else { continue };
            let name = OsStr::from_bytes(entry.name.as_bytes());
            let child = INodeNo(found.stat.ino.0);
            if reply.add(child, next, name, &ttl(found.keep), &attributes(&found.stat), Generation(0)) {
                self.fs.forget(found.stat.ino, 1);
                break;
            }
        }
        reply.ok();
    }
}
