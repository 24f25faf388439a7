//! A FUSE file system that does nothing: what any file system in user space can reach at most on this machine.
//!
//! It shows the tree of [`crate::tree`], lets the kernel keep everything for ever, has it stop asking about open,
//! opendir and flush, answers reads from one buffer, and forgets what is written.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};

use crate::Outcome;
use crate::tree::{LARGE, LARGE_NAME, PER_DIRECTORY, SMALL, directory_name, secret_name};

const FOR_EVER: Duration = Duration::from_secs(100_000);

const LARGE_INO: u64 = 2;
/// The first directory's number; the others follow.
const DIRECTORIES: u64 = 1 << 20;
/// The first secret's number; the others follow.
const SECRETS: u64 = 1 << 32;

/// The one word that [`start`] waits for.
const READY: &[u8] = b"ready\n";

/// Mounts it by another process, which ends with the mount; returns when it can be used.
pub fn start(mount_point: &Path, secrets: usize) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("idle-server").arg(mount_point).arg(secrets.to_string());
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut said = vec![0; READY.len()];
    match server.stdout.take() {
        Some(mut output) => io::Read::read_exact(&mut output, &mut said)?,
        None => return Err("no pipe from the file system that does nothing".into()),
    }
    Ok(server)
}

/// Serves it until it is unmounted.
pub fn serve(mount_point: &Path, secrets: usize) -> Outcome {
    let mut config = Config::default();
    config.mount_options =
        vec![MountOption::FSName("idle".into()), MountOption::DefaultPermissions, MountOption::RW, MountOption::NoSuid];
    config.acl = SessionACL::Owner;
    config.n_threads = Some(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8));
    config.clone_fd = true;
    let idle = Idle { secrets: secrets as u64, content: vec![7; LARGE] };
    let session = Session::new(idle, mount_point, &config)?;
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    Ok(session.run()?)
}

struct Idle {
    secrets: u64,
    content: Vec<u8>,
}

impl Idle {
    fn attributes(ino: INodeNo) -> FileAttr {
        let (kind, perm, size) = match ino.0 {
            LARGE_INO => (FileType::RegularFile, 0o600, LARGE as u64),
            SECRETS.. => (FileType::RegularFile, 0o600, SMALL as u64),
            _ => (FileType::Directory, 0o755, 0),
        };
        FileAttr {
            ino,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn directories(&self) -> u64 {
        self.secrets.div_ceil(PER_DIRECTORY as u64)
    }

    /// The number behind a name.
    fn child(&self, parent: INodeNo, name: &str) -> Option<INodeNo> {
        let number = |text: &str| text.parse::<u64>().ok();
        let ino = match parent.0 {
            1 if name == LARGE_NAME => LARGE_INO,
            1 => DIRECTORIES + number(name.strip_prefix('d')?).filter(|n| *n < self.directories())?,
            DIRECTORIES..SECRETS => {
                let first = (parent.0 - DIRECTORIES) * PER_DIRECTORY as u64;
                let n = number(name.strip_prefix('s')?).filter(|n| *n < PER_DIRECTORY as u64)?;
                Some(SECRETS + first + n).filter(|ino| *ino < SECRETS + self.secrets)?
            }
            _ => return None,
        };
        Some(INodeNo(ino))
    }

    /// Number and name of what a directory holds at this place, after `.` and `..`.
    fn entry(&self, parent: INodeNo, place: u64) -> Option<(INodeNo, String)> {
        let name = match place {
            0 => ".".to_owned(),
            1 => "..".to_owned(),
            n if parent == INodeNo::ROOT && n - 2 == self.directories() => LARGE_NAME.to_owned(),
            n if parent == INodeNo::ROOT => directory_name(usize::try_from(n - 2).ok()?),
            n if n - 2 < PER_DIRECTORY as u64 => secret_name(usize::try_from(n - 2).ok()?),
            _ => return None,
        };
        if place < 2 { Some((parent, name)) } else { Some((self.child(parent, &name)?, name)) }
    }
}

impl Filesystem for Idle {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        config.add_capabilities(wanted).map_err(|missing| io::Error::other(format!("the kernel lacks {missing:?}")))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str().and_then(|name| self.child(parent, name)) {
            Some(ino) => reply.entry(&FOR_EVER, &Self::attributes(ino), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &Self::attributes(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&FOR_EVER, &Self::attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = Self::attributes(ino).size.min(offset.saturating_add(size.into()));
        let (start, end) = (usize::try_from(offset).unwrap_or(LARGE), usize::try_from(end).unwrap_or(LARGE));
        reply.data(self.content.get(start..end).unwrap_or_default());
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for place in offset.. {
            let Some((child, name)) = self.entry(ino, place) else { break };
            if reply.add(child, place + 1, Self::attributes(child).kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        for place in offset.. {
            let Some((child, name)) = self.entry(ino, place) else { break };
            if reply.add(child, place + 1, name, &FOR_EVER, &Self::attributes(child), Generation(0)) {
                break;
            }
        }
        reply.ok();
    }
}
