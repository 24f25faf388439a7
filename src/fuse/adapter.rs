//! From the kernel's requests to the file system: whose they are, which thread does them, what the kernel may do.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{Errno, FileHandle, FopenFlags, INodeNo, InitFlags, KernelConfig, ReplyEmpty, ReplyEntry, Request};

use super::answer::{answer, answer_entry, open_flags};
use super::convert::caller;
use super::guard::handle;
use super::options::MountOptions;
use super::own_mount::Own;
use super::workers::Workers;
use crate::error::Result;
use crate::fs::{Caller, FileSystem, HandleId, Ino, Listed, Want};

/// The largest write request. Requests pass through memory that is not locked: small ones leave little there.
const LARGEST_WRITE: u32 = 128 << 10;

/// Answers requests from a file system.
pub(super) struct Adapter {
    pub(super) fs: Arc<FileSystem>,
    workers: Workers,
    /// For trees of the past: they take long, and keep nothing else waiting.
    past: Workers,
    pub(super) own: Arc<Own>,
    /// Answer opens with ENOSYS, those of directories too: the kernel then never asks again.
    pub(super) no_open: bool,
    /// What files hold is not to stay in the kernel.
    direct: bool,
    pub(super) xattr: bool,
}

impl Adapter {
    pub(super) fn new(fs: Arc<FileSystem>, own: Arc<Own>, options: &MountOptions) -> io::Result<Self> {
        let direct = options.no_page_cache;
        // An answer of ENOSYS would hold for all callers and for ever, and only the answer to an open says that the kernel
        // shall keep nothing.
        let no_open = !fs.is_writable() && !fs.asks_of_opens() && !direct;
        Ok(Self {
            fs,
            workers: Workers::start()?,
            past: Workers::of("pkfs-past", 1)?,
            own,
            no_open,
            direct,
            xattr: options.xattr,
        })
    }

    pub(super) fn open_flags(&self, writes: bool) -> FopenFlags {
        let flags = open_flags(writes);
        if self.direct { flags & !FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_DIRECT_IO } else { flags }
    }

    /// As [`Self::handle`], for what may wait for the file: the answer comes from another thread.
    pub(super) fn change<T>(
        &self,
        request: &Request,
        what: (&'static str, Want, INodeNo, Option<&OsStr>),
        work: impl FnOnce(&FileSystem, &[u8], Caller) -> Result<T> + Send + 'static,
        answer: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        self.by(&self.workers, request, what, work, answer);
    }

    /// As [`Self::handle`], for a name that may be that of the whole tree at a date.
    pub(super) fn look_up(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let what = ("lookup", Want::Nothing, parent, Some(name));
        if name.as_bytes().starts_with(b"@") && self.tree(parent).is_date(Ino(parent.0), name.as_bytes()) {
            let work = move |fs: &FileSystem, name: &[u8], who| fs.lookup_for(who, Ino(parent.0), name);
            return self.by(&self.past, request, what, work, |found| answer_entry(reply, found));
        }
        let (own, who) = (self.own.asks(request), caller(request));
        let found = self.handle(request, what, |fs| {
            let (parent, name) = (Ino(parent.0), name.as_bytes());
            if own { fs.own_lookup(parent, name) } else { fs.lookup_for(who, parent, name) }
        });
        answer_entry(reply, found);
    }

    fn by<T>(
        &self,
        workers: &Workers,
        request: &Request,
        (operation, want, ino, name): (&'static str, Want, INodeNo, Option<&OsStr>),
        work: impl FnOnce(&FileSystem, &[u8], Caller) -> Result<T> + Send + 'static,
        answer: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        let (fs, who, name) = (self.tree(ino), caller(request), name.map(OsStr::to_owned));
        workers.run(move || {
            let name = name.as_deref();
            let bytes = name.map(OsStr::as_bytes).unwrap_or_default();
            let admitted = |fs: &FileSystem| {
                fs.admit(who, Ino(ino.0), name.map(OsStr::as_bytes), want)?;
                work(fs, bytes, who)
            };
            answer(handle(&fs, who, operation, ino, name, admitted));
        });
    }

    /// Does what a request asks and logs it.
    pub(super) fn handle<T>(
        &self,
        request: &Request,
        (operation, want, ino, name): (&str, Want, INodeNo, Option<&OsStr>),
        work: impl FnOnce(&FileSystem) -> Result<T>,
    ) -> Result<T, Errno> {
        let who = caller(request);
        handle(&self.tree(ino), who, operation, ino, name, |fs| {
            fs.admit(who, Ino(ino.0), name.map(OsStr::as_bytes), want)?;
            work(fs)
        })
    }

    /// Who answers for an inode.
    pub(super) fn tree(&self, ino: INodeNo) -> Arc<FileSystem> {
        self.fs.tree(Ino(ino.0)).unwrap_or_else(|| self.fs.clone())
    }

    pub(super) fn own_remove(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let work = |fs: &FileSystem| fs.own_remove(Ino(parent.0), name.as_bytes());
        answer(reply, self.handle(request, ("own remove", Want::Nothing, parent, Some(name)), work));
    }

    pub(super) fn list(&self, request: &Request, ino: INodeNo, fh: FileHandle, position: u64) -> Result<Listed, Errno> {
        let list = |fs: &FileSystem| fs.list(caller(request), Ino(ino.0), HandleId(fh.0), position == 0);
        self.handle(request, ("readdir", Want::Nothing, ino, None), list)
    }

    /// Agrees with the kernel on what it may do.
    ///
    /// # Errors
    /// The kernel lacks what cannot be done without.
    pub(super) fn negotiate(&mut self, config: &mut KernelConfig) -> io::Result<()> {
        // A truncation that is never asked for could not be refused.
        let no_open = InitFlags::FUSE_NO_OPEN_SUPPORT | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        let opening = if self.no_open { no_open } else { InitFlags::FUSE_ATOMIC_O_TRUNC };
        let wanted = opening
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_PARALLEL_DIROPS;
        // Without it, a file that is not cached cannot be mapped to be shared.
        let direct = if self.direct { InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP } else { InitFlags::empty() };
        // A cached target would be read without asking.
        let links =
            if self.fs.has_rules() || self.direct { InitFlags::empty() } else { InitFlags::FUSE_CACHE_SYMLINKS };
        let wanted = wanted | direct | links;
        if self.no_open && config.add_capabilities(no_open).is_err() {
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
}
