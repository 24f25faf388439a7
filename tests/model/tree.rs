//! A directory that calls are made in, and what they answer.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, chmodat, fallocate,
    fchmod, fstat, fsync, ftruncate, linkat, mkdirat, mknodat, openat, readlinkat, renameat_with, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::{Errno, Result, pread, pwrite, read, write};

use crate::call::{Bytes, Call, PATHS, Rename, SLOTS};

/// Times up to here were set by a call; later ones are the clock's.
const LONG_AGO: i64 = 1_000_000;

/// What a call answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Number(usize),
    Bytes(Bytes),
    Names(Vec<String>),
    Status(Status),
}

/// What stat(2) says, as far as file systems must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    kind: FileType,
    mode: u32,
    /// Not of directories.
    links: Option<u64>,
    /// Of files and links.
    size: Option<i64>,
    /// If it was set by a call. The kernel has a pipe's data pass by the file system.
    modified: Option<i64>,
}

/// All paths of a tree, with status and content.
pub type Dump = BTreeMap<String, (Status, Option<Answer>)>;

/// A tree and the files open in it.
pub struct Tree {
    root: PathBuf,
    directory: OwnedFd,
    open: [Option<OwnedFd>; SLOTS],
}

impl Tree {
    pub fn new(root: &Path) -> Self {
        let directory = File::open(root).unwrap().into();
        Self { root: root.to_owned(), directory, open: [const { None }; SLOTS] }
    }

    pub fn close_all(&mut self) {
        self.open = [const { None }; SLOTS];
    }

    /// What all paths lead to.
    pub fn look(&self) -> Vec<(&'static str, Result<Status>)> {
        PATHS.map(|path| (path, self.status(path, AtFlags::SYMLINK_NOFOLLOW))).to_vec()
    }

    /// All names, with status and content.
    pub fn dump(&self) -> Dump {
        let mut found = BTreeMap::new();
        let mut pending = vec![String::new()];
        while let Some(at) = pending.pop() {
            let Answer::Names(names) = self.list(if at.is_empty() { "." } else { &at }).unwrap() else { continue };
            for name in names {
                let path = format!("{at}{name}");
                let status = self.status(&path, AtFlags::SYMLINK_NOFOLLOW).unwrap();
                let content = match status.kind {
                    FileType::RegularFile => Some(self.load(&path).unwrap()),
                    FileType::Symlink => Some(self.readlink(&path).unwrap()),
                    FileType::Directory => {
                        pending.push(format!("{path}/"));
                        None
                    }
                    _ => None,
                };
                found.insert(path, (status, content));
            }
        }
        found
    }

    pub fn answer(&mut self, call: &Call) -> Result<Answer> {
        let at = &self.directory;
        let done = match *call {
            Call::Open(slot, path, flags, mode) => {
                self.open[slot] = None;
                self.open[slot] = Some(self.open(path, flags, mode)?);
                Ok(())
            }
            Call::Close(slot) => self.open[slot].take().map(drop).ok_or(Errno::BADF),
            Call::Write(slot, Bytes(ref bytes)) => return Ok(Answer::Number(write(self.slot(slot)?, bytes)?)),
            Call::WriteAt(slot, offset, Bytes(ref bytes)) => {
                return Ok(Answer::Number(pwrite(self.slot(slot)?, bytes, offset)?));
            }
            Call::Read(slot, size) => {
                let mut bytes = vec![0; size];
                let read = read(self.slot(slot)?, &mut bytes[..])?;
                bytes.truncate(read);
                return Ok(Answer::Bytes(Bytes(bytes)));
            }
            Call::ReadAt(slot, offset, size) => {
                let mut bytes = vec![0; size];
                let read = pread(self.slot(slot)?, &mut bytes[..], offset)?;
                bytes.truncate(read);
                return Ok(Answer::Bytes(Bytes(bytes)));
            }
            Call::SetLength(slot, size) => ftruncate(self.slot(slot)?, size),
            Call::Allocate(slot, offset, size) => fallocate(self.slot(slot)?, FallocateFlags::empty(), offset, size),
            Call::Sync(slot) => fsync(self.slot(slot)?),
            Call::Fstat(slot) => return Ok(Answer::Status(status(&fstat(self.slot(slot)?)?))),
            Call::Fchmod(slot, mode) => fchmod(self.slot(slot)?, Mode::from_raw_mode(mode)),
            Call::Is(slot, path) => {
                let (open, named) = (fstat(self.slot(slot)?)?, statat(at, path, AtFlags::empty())?);
                return Ok(Answer::Number(usize::from(open.st_ino == named.st_ino)));
            }
            Call::Save(path, Bytes(ref bytes)) => self.save(path, OFlags::TRUNC, bytes),
            Call::Append(path, Bytes(ref bytes)) => self.save(path, OFlags::APPEND, bytes),
            Call::Load(path) => return self.load(path),
            // Whether truncation to the present size changes times is left open, and tmpfs does and does not.
            Call::Truncate(path, size) => match statat(at, path, AtFlags::empty()) {
                Ok(stat) if status(&stat).size == i64::try_from(size).ok() => Ok(()),
                _ => truncate(&self.root.join(path), size),
            },
            Call::Rename(from, to, how) => {
                let flags = match how {
                    Rename::Replace => RenameFlags::empty(),
                    Rename::NoReplace => RenameFlags::NOREPLACE,
                    Rename::Exchange => RenameFlags::EXCHANGE,
                };
                renameat_with(at, from, at, to, flags)
            }
            Call::Link(from, to) => linkat(at, from, at, to, AtFlags::empty()),
            Call::Unlink(path) => unlinkat(at, path, AtFlags::empty()),
            Call::Mkdir(path, mode) => mkdirat(at, path, Mode::from_raw_mode(mode)),
            Call::Rmdir(path) => unlinkat(at, path, AtFlags::REMOVEDIR),
            Call::Symlink(target, path) => symlinkat(target, at, path),
            Call::Readlink(path) => return self.readlink(path),
            Call::Mkfifo(path) => mknodat(at, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0),
            Call::Chmod(path, mode) => chmodat(at, path, Mode::from_raw_mode(mode), AtFlags::empty()),
            Call::SetTimes(path, seconds) => {
                let time = Timespec { tv_sec: seconds, tv_nsec: 5 };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(at, path, &times, AtFlags::empty())
            }
            Call::Stat(path) => return Ok(Answer::Status(self.status(path, AtFlags::empty())?)),
            Call::List(path) => return self.list(path),
        };
        done.map(|()| Answer::Done)
    }

    fn slot(&self, slot: usize) -> Result<&OwnedFd> {
        self.open[slot].as_ref().ok_or(Errno::BADF)
    }

    /// Never waits for the other end of a pipe.
    fn open(&self, path: &str, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        openat(&self.directory, path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::from_raw_mode(mode))
    }

    fn save(&self, path: &str, flags: OFlags, bytes: &[u8]) -> Result<()> {
        let file = self.open(path, flags | OFlags::WRONLY | OFlags::CREATE, 0o640)?;
        write(&file, bytes).map(drop)
    }

    fn load(&self, path: &str) -> Result<Answer> {
        let file = self.open(path, OFlags::RDONLY, 0)?;
        let (mut content, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match read(&file, &mut part)? {
                0 => return Ok(Answer::Bytes(Bytes(content))),
                n => content.extend_from_slice(&part[..n]),
            }
        }
    }

    fn readlink(&self, path: &str) -> Result<Answer> {
        Ok(Answer::Bytes(Bytes(readlinkat(&self.directory, path, Vec::new())?.into_bytes())))
    }

    fn list(&self, path: &str) -> Result<Answer> {
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(Answer::Names(names))
    }

    fn status(&self, path: &str, flags: AtFlags) -> Result<Status> {
        Ok(status(&statat(&self.directory, path, flags)?))
    }
}

fn status(stat: &Stat) -> Status {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let sized = matches!(kind, FileType::RegularFile | FileType::Symlink);
    let dated = kind != FileType::Fifo;
    Status {
        kind,
        mode: stat.st_mode & 0o7777,
        links: (kind != FileType::Directory).then_some(stat.st_nlink),
        size: sized.then_some(stat.st_size),
        modified: (dated && stat.st_mtime < LONG_AGO).then_some(stat.st_mtime),
    }
}

#[allow(unsafe_code)]
fn truncate(path: &Path, size: u64) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let size = libc::off_t::try_from(size).map_err(|_| Errno::INVAL)?;
    // SAFETY: the path ends with a zero and outlives the call.
    if unsafe { libc::truncate(path.as_ptr(), size) } == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
