//! The kernel's requests, unpacked and answered: nothing is decided here but how long the kernel may remember.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{answer, answer_attributes, answer_entry, ttl};
use super::convert::{attributes, caller, file_type, made_by_mknod, open_mode, rename_mode, time};
use super::unmount::SETTLE;
use super::why::{self, WHY};
use super::xattr;
use crate::error::{Error, Kind};
use crate::fs::{Caller, FileKind, FileSystem, HandleId, Ino, SetAttributes, Want};

use super::adapter::Adapter;

/// What fallocate(2) can be asked for: space beyond the end, and a hole.
const KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;
const HOLE: i32 = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE;

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.negotiate(config)
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.look_up(request, parent, name, reply);
    }

    fn forget(&self, request: &Request, ino: INodeNo, count: u64) {
        let _ = self.handle(request, ("forget", Want::Nothing, ino, None), |fs| {
            fs.forget(Ino(ino.0), count);
            Ok(())
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        answer_attributes(reply, self.handle(request, ("getattr", Want::See, ino, None), |fs| fs.getattr(Ino(ino.0))));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mode = mode.map(|mode| mode & 0o7777);
        let set = SetAttributes { mode, uid, gid, size, atime: atime.map(time), mtime: mtime.map(time) };
        let work = move |fs: &FileSystem| fs.setattr(Ino(ino.0), &set);
        // By a descriptor: what that may do was decided when it was opened.
        let want = if fh.is_some() { Want::Nothing } else { Want::Write };
        if size.is_none() {
            return answer_attributes(reply, self.handle(request, ("setattr", want, ino, None), work));
        }
        if fh.is_none() && self.tree(ino).is_outdated(Ino(ino.0), caller(request)) {
            return reply.error(Errno::ESTALE);
        }
        let answer = |done| answer_attributes(reply, done);
        self.change(request, ("setattr", want, ino, None), move |fs, _, _| work(fs), answer);
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.handle(request, ("readlink", Want::Read, ino, None), |fs| fs.readlink(Ino(ino.0))) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = made_by_mknod(mode) else { return reply.error(Errno::EPERM) };
        let work = move |fs: &FileSystem, name: &[u8], who| fs.mknod(Ino(parent.0), name, kind, mode, who);
        self.change(request, ("mknod", Want::Change, parent, Some(name)), work, |made| answer_entry(reply, made));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let work = move |fs: &FileSystem, name: &[u8], who| fs.mkdir(Ino(parent.0), name, mode, who);
        self.change(request, ("mkdir", Want::Change, parent, Some(name)), work, |made| answer_entry(reply, made));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if self.own.asks(request) {
            return self.own_remove(request, parent, name, reply);
        }
        let work = move |fs: &FileSystem, name: &[u8], _| fs.unlink(Ino(parent.0), name);
        self.change(request, ("unlink", Want::Change, parent, Some(name)), work, |done| answer(reply, done));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if self.own.asks(request) {
            return self.own_remove(request, parent, name, reply);
        }
        let work = move |fs: &FileSystem, name: &[u8], _| fs.rmdir(Ino(parent.0), name);
        self.change(request, ("rmdir", Want::Change, parent, Some(name)), work, |done| answer(reply, done));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes().to_vec();
        let work = move |fs: &FileSystem, name: &[u8], who| fs.symlink(Ino(parent.0), name, &target, who);
        self.change(request, ("symlink", Want::Change, parent, Some(name)), work, |made| answer_entry(reply, made));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(mode) = rename_mode(flags) else { return reply.error(Errno::EINVAL) };
        let new_name = new_name.as_bytes().to_vec();
        if self.own.asks(request) {
            let done = self.handle(request, ("own rename", Want::Nothing, parent, Some(name)), |fs| {
                fs.own_rename(Ino(parent.0), name.as_bytes(), Ino(new_parent.0), &new_name)
            });
            return answer(reply, done);
        }
        let work = move |fs: &FileSystem, name: &[u8], who| {
            fs.rename_for(who, (Ino(parent.0), name), (Ino(new_parent.0), &new_name), mode)
        };
        self.change(request, ("rename", Want::Change, parent, Some(name)), work, |done| answer(reply, done));
    }

    fn link(&self, request: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let work = move |fs: &FileSystem, name: &[u8], who| fs.link_for(who, Ino(ino.0), Ino(new_parent.0), name);
        self.change(request, ("link", Want::Change, new_parent, Some(new_name)), work, |made| {
            answer_entry(reply, made);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.no_open {
            return reply.error(Errno::ENOSYS);
        }
        if self.tree(ino).is_outdated(Ino(ino.0), caller(request)) {
            return reply.error(Errno::ESTALE);
        }
        let mode = open_mode(flags.0);
        let want = if mode.write { Want::Write } else { Want::Read };
        match self.handle(request, ("open", want, ino, None), |fs| fs.open(Ino(ino.0), mode, caller(request))) {
            Ok(handle) => reply.opened(FileHandle(handle.0), self.open_flags(mode.write)),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.handle(request, ("read", Want::Nothing, ino, None), |fs| fs.read(Ino(ino.0), offset, size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.handle(request, ("write", Want::Nothing, ino, None), |fs| fs.write(Ino(ino.0), offset, data)) {
            // A request is never larger than LARGEST_WRITE.
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, request: &Request, ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        if self.no_open {
            return reply.error(Errno::ENOSYS);
        }
        let work = move |fs: &FileSystem, _: &[u8], _| fs.flush(Ino(ino.0));
        self.change(request, ("flush", Want::Nothing, ino, None), work, |done| answer(reply, done));
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let work = move |fs: &FileSystem| fs.release(HandleId(fh.0));
        if !open_mode(flags.0).write {
            return answer(reply, self.handle(request, ("release", Want::Nothing, ino, None), work));
        }
        self.change(
            request,
            ("release", Want::Nothing, ino, None),
            move |fs, _, _| work(fs),
            |done| answer(reply, done),
        );
    }

    fn fsync(&self, request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let work = move |fs: &FileSystem, _: &[u8], _| fs.fsync(Ino(ino.0));
        self.change(request, ("fsync", Want::Nothing, ino, None), work, |done| answer(reply, done));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.no_open {
            return reply.error(Errno::ENOSYS);
        }
        let who = caller(request);
        match self.handle(request, ("opendir", Want::Nothing, ino, None), |fs| fs.opendir_for(who, Ino(ino.0))) {
            Ok(handle) => {
                let kept = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
                let keeps = self.tree(ino).keeps_listing(Ino(ino.0));
                reply.opened(FileHandle(handle.0), if keeps { kept } else { FopenFlags::empty() });
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = match self.list(request, ino, fh, offset) {
            Ok(listed) => listed,
            Err(errno) => return reply.error(errno),
        };
        let dots = [(1, "."), (2, "..")].into_iter().filter(|(position, _)| *position > offset);
        let dots = dots.map(|(position, name)| (position, ino, FileKind::Directory, OsStr::new(name)));
        let rest = listed.after(offset).iter().map(|(position, entry)| {
            (*position, INodeNo(entry.ino.0), entry.kind, OsStr::from_bytes(entry.name.as_bytes()))
        });
        for (position, child, kind, name) in dots.chain(rest) {
            if reply.add(child, position, file_type(kind), name) {
                break;
            }
        }
        reply.ok();
        self.tree(ino).has_listed(Ino(ino.0), &listed);
    }

    fn readdirplus(&self, request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listed = match self.list(request, ino, fh, offset) {
            Ok(listed) => listed,
            Err(errno) => return reply.error(errno),
        };
        if offset < 2 {
            let own = match self.handle(request, ("getattr", Want::See, ino, None), |fs| fs.getattr(Ino(ino.0))) {
                Ok(own) => attributes(&own.stat),
                Err(errno) => return reply.error(errno),
            };
            for (position, name) in [(1, "."), (2, "..")] {
                // The kernel takes no reference for these two.
                if position > offset && reply.add(ino, position, name, &Duration::ZERO, &own, Generation(0)) {
                    return reply.ok();
                }
            }
        }
        for (position, entry) in listed.after(offset) {
            let name = OsStr::from_bytes(entry.name.as_bytes());
            let looked_up = self.handle(request, ("lookup", Want::Nothing, ino, Some(name)), |fs| {
                Ok(fs.lookup_listed(Ino(ino.0), entry))
            });
            let Some(found) = looked_up.ok().flatten() else { continue };
            let child = INodeNo(found.stat.ino.0);
            let (ttl, attributes) = (ttl(found.keep && !found.gate), attributes(&found.stat));
            if reply.add(child, *position, name, &ttl, &attributes, Generation(0)) {
                self.tree(child).forget(found.stat.ino, 1);
                break;
            }
        }
        reply.ok();
        self.tree(ino).has_listed(Ino(ino.0), &listed);
    }

    fn releasedir(&self, request: &Request, ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        let done = self.handle(request, ("releasedir", Want::Nothing, ino, None), |fs| {
            fs.releasedir(HandleId(fh.0));
            Ok(())
        });
        answer(reply, done);
    }

    fn fsyncdir(&self, request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let work = |fs: &FileSystem, _: &[u8], _| fs.fsync_attributes();
        self.change(request, ("fsyncdir", Want::Nothing, ino, None), work, |done| answer(reply, done));
    }

    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.own.note(request);
        match self.handle(request, ("statfs", Want::See, ino, None), |fs| fs.statfs(caller(request))) {
            Ok(space) => {
                let unit = u32::try_from(space.fragment).unwrap_or(4096);
                let (blocks, free, available) = (space.blocks, space.free, space.available);
                reply.statfs(blocks, free, available, space.files, u64::from(u32::MAX), unit, 255, unit);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let open = open_mode(flags);
        let made = self.handle(request, ("create", Want::Create, parent, Some(name)), |fs| {
            fs.create(Ino(parent.0), name.as_bytes(), mode, caller(request), open)
        });
        match made {
            Ok((entry, handle)) => {
                let flags = self.open_flags(true);
                let ttl = ttl(entry.keep && !entry.gate);
                reply.created(&ttl, &attributes(&entry.stat), Generation(0), FileHandle(handle.0), flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let done = match (mode, offset.checked_add(length)) {
            (0, Some(end)) => {
                self.handle(request, ("fallocate", Want::Nothing, ino, None), |fs| fs.allocate(Ino(ino.0), end))
            }
            // The space cannot be kept, and need not be.
            (KEEP_SIZE, Some(_)) => {
                self.handle(request, ("fallocate", Want::Nothing, ino, None), |fs| fs.allocate(Ino(ino.0), 0))
            }
            (HOLE, Some(_)) => {
                self.handle(request, ("fallocate", Want::Nothing, ino, None), |fs| fs.clear(Ino(ino.0), offset, length))
            }
            (_, None) => Err(Errno::EFBIG),
            _ => Err(Errno::EOPNOTSUPP),
        };
        answer(reply, done);
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        if command == WHY {
            let asked =
                self.handle(request, ("why", Want::Nothing, ino, None), |fs| why::answer(fs, caller(request), data));
            return match asked {
                Ok(text) => reply.ioctl(0, &text),
                Err(errno) => reply.error(errno),
            };
        }
        if command != SETTLE {
            return reply.error(Errno::ENOTTY);
        }
        let work = |fs: &FileSystem, _: &[u8], who: Caller| {
            // It saves what others still work on, and keeps those who watch waiting for a moment.
            if who.uid != 0 && who.uid != rustix::process::geteuid().as_raw() {
                return Err(Error::new(Kind::NotPermitted, "only who mounted, and root, may unmount"));
            }
            fs.settle_all()?;
            fs.rest();
            Ok(())
        };
        let numbers = [std::process::id(), request.pid()].map(u32::to_ne_bytes);
        self.change(request, ("settle", Want::Nothing, ino, None), work, move |done| match done {
            Ok(()) => reply.ioctl(0, numbers.as_flattened()),
            Err(errno) => reply.error(errno),
        });
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.xattr {
            return reply.error(Errno::ENOSYS);
        }
        let value = self.handle(request, ("getxattr", Want::Read, ino, None), |fs| {
            fs.extended_attribute(Ino(ino.0), name.as_bytes())
        });
        xattr::answer(reply, size, value.map(|value| value.map(String::into_bytes)));
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.xattr {
            return reply.error(Errno::ENOSYS);
        }
        let names = self.handle(request, ("listxattr", Want::Read, ino, None), |fs| fs.extended_attributes(Ino(ino.0)));
        xattr::answer(reply, size, names.map(Some));
    }

    // What follows is left to the kernel: it stops asking after the first ENOSYS.

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn bmap(&self, _: &Request, _: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }
}
