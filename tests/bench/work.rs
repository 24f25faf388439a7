//! The work that is measured, done in this process by system calls alone.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fsync, lgetxattr, open, openat, statat};
use rustix::io::{Errno, pwrite, read, write};

use crate::Outcome;
use crate::tree::{LARGE, LARGE_NAME, Random, SMALL, c_path, secret};

/// What cat(1) and cp(1) read and write at once.
const PIECE: usize = 128 << 10;

/// Operations between two looks at the clock.
const STRIDE: usize = 8;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Read,
    ReadByTwo,
    FirstRead,
    FirstReadByTwo,
    Stat,
    List,
    FirstList,
    Large,
    FirstLarge,
    LargeWrite,
    Write,
    WriteByTwo,
}

/// Whether something was read before, and what is in the caches then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// All of it was done once.
    Warm,
    /// It was mounted just now.
    Fresh,
}

impl Work {
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::ReadByTwo,
        Self::Stat,
        Self::List,
        Self::Large,
        Self::FirstRead,
        Self::FirstReadByTwo,
        Self::FirstList,
        Self::FirstLarge,
        Self::Write,
        Self::WriteByTwo,
        Self::LargeWrite,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Read => "open, read, close of random secrets, warm",
            Self::ReadByTwo => "open, read, close, warm, by two threads",
            Self::FirstRead => "first open, read, close of each secret",
            Self::FirstReadByTwo => "first open, read, close by two threads, half each",
            Self::Stat => "stat of random secrets, warm",
            Self::List => "ls -lR, warm, entries",
            Self::FirstList => "first ls -lR, entries",
            Self::Large => "64 MiB, warm, MiB",
            Self::FirstLarge => "first read of 64 MiB, MiB",
            Self::LargeWrite => "write of 64 MiB with fsync, MiB",
            Self::Write => "open, write of 64 bytes, fsync, close",
            Self::WriteByTwo => "write, fsync, close by two threads",
        }
    }

    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteByTwo | Self::LargeWrite)
    }

    pub const fn start(self) -> Start {
        match self {
            Self::FirstRead | Self::FirstReadByTwo | Self::FirstList | Self::FirstLarge => Start::Fresh,
            _ => Start::Warm,
        }
    }
}

/// The files of one file system.
pub struct Files {
    root: CString,
    secrets: Vec<CString>,
    large: CString,
}

impl Files {
    pub fn new(root: &Path, secrets: usize) -> Outcome<Self> {
        let secrets = Random::new(7).order(secrets).into_iter().map(|n| c_path(&secret(root, n)));
        Ok(Self {
            root: c_path(root)?,
            secrets: secrets.collect::<Outcome<_>>()?,
            large: c_path(&root.join(LARGE_NAME))?,
        })
    }

    /// Does the work once, or for as long as `time`; operations (entries, MiB) a second.
    pub fn measure(&self, work: Work, time: Duration) -> Outcome<f64> {
        let half = self.secrets.len() / 2;
        let (first, second) = self.secrets.split_at(half);
        let read = |path: &CString| read_small(path);
        let rate = match work {
            Work::Read => endless(&self.secrets, time, read)?,
            Work::ReadByTwo => by_two(|| endless(first, time, read), || endless(second, time, read))?,
            Work::FirstRead => once(&self.secrets, time, read)?,
            Work::FirstReadByTwo => by_two(|| once(first, time, read), || once(second, time, read))?,
            Work::Stat => endless(&self.secrets, time, |path| statat(CWD, path, AtFlags::empty()).map(drop))?,
            Work::List => whole(time, || list(&self.root))?,
            Work::FirstList => whole(Duration::ZERO, || list(&self.root))?,
            Work::Large => whole(time, || read_large(&self.large))?,
            Work::FirstLarge => whole(Duration::ZERO, || read_large(&self.large))?,
            Work::LargeWrite => whole(Duration::ZERO, || write_large(&self.large))?,
            Work::Write => {
                let mut random = seed();
                endless(&self.secrets, time, |path| write_small(path, &mut random))?
            }
            Work::WriteByTwo => {
                let (mut one, mut two) = (seed(), seed());
                by_two(
                    || endless(first, time, |path| write_small(path, &mut one)),
                    || endless(second, time, |path| write_small(path, &mut two)),
                )?
            }
        };
        Ok(rate)
    }

    /// Does what a warm start supposes.
    pub fn warm(&self) -> Outcome {
        self.secrets.iter().try_for_each(|path| read_small(path))?;
        list(&self.root)?;
        read_large(&self.large)?;
        Ok(())
    }
}

/// Values that were not written before.
fn seed() -> Random {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Random::new(u64::from(now.subsec_nanos()) << 32 | now.as_secs())
}

/// Operations a second, path by path, over and over.
fn endless(
    paths: &[CString],
    time: Duration,
    mut operation: impl FnMut(&CString) -> Result<(), Errno>,
) -> Result<f64, Errno> {
    let started = Instant::now();
    let mut done = 0_u32;
    for (n, path) in paths.iter().cycle().enumerate() {
        if n % STRIDE == 0 && started.elapsed() >= time {
            break;
        }
        operation(path)?;
        done += 1;
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}

/// As [`endless`], but each path once at most; what takes longer is cut at ten times the time.
fn once(paths: &[CString], time: Duration, operation: impl Fn(&CString) -> Result<(), Errno>) -> Result<f64, Errno> {
    let started = Instant::now();
    let mut done = 0_u32;
    for (n, path) in paths.iter().enumerate() {
        if n % STRIDE == 0 && started.elapsed() >= time * 10 {
            break;
        }
        operation(path)?;
        done += 1;
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}

/// Units a second of something that is done as a whole, again and again until the time is over.
fn whole(time: Duration, mut operation: impl FnMut() -> Result<u32, Errno>) -> Result<f64, Errno> {
    let started = Instant::now();
    let mut done = operation()?;
    while started.elapsed() < time {
        done += operation()?;
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}

/// The rates of two threads together.
fn by_two(
    one: impl FnOnce() -> Result<f64, Errno> + Send,
    two: impl FnOnce() -> Result<f64, Errno> + Send,
) -> Result<f64, Errno> {
    thread::scope(|scope| {
        let other = scope.spawn(two);
        let rate = one()?;
        Ok(rate + other.join().unwrap_or(Err(Errno::IO))?)
    })
}

fn read_small(path: &CStr) -> Result<(), Errno> {
    let file = open(path, OFlags::RDONLY, Mode::empty())?;
    let mut buffer = [0; 4096];
    if read(&file, &mut buffer)? == SMALL { Ok(()) } else { Err(Errno::IO) }
}

fn read_large(path: &CStr) -> Result<u32, Errno> {
    let file = open(path, OFlags::RDONLY, Mode::empty())?;
    let mut buffer = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match read(&file, &mut buffer)? {
            0 if bytes == LARGE => return Ok(mebibytes()),
            0 => return Err(Errno::IO),
            n => bytes += n,
        }
    }
}

fn write_large(path: &CStr) -> Result<u32, Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::TRUNC, Mode::empty())?;
    let mut buffer = vec![0; PIECE];
    seed().fill(&mut buffer);
    let mut bytes = 0;
    while bytes < LARGE {
        bytes += write(&file, &buffer)?;
    }
    fsync(&file)?;
    Ok(mebibytes())
}

fn write_small(path: &CStr, random: &mut Random) -> Result<(), Errno> {
    let mut value = [0; SMALL];
    random.fill(&mut value);
    let file = open(path, OFlags::WRONLY | OFlags::TRUNC, Mode::empty())?;
    if pwrite(&file, &value, 0)? != SMALL {
        return Err(Errno::IO);
    }
    fsync(&file)
}

/// Lists a whole tree; entries.
pub fn list_all(root: &Path) -> Outcome<u32> {
    Ok(list(&c_path(root)?)?)
}

/// Does what `ls -lR` asks of the kernel; entries.
fn list(directory: &CStr) -> Result<u32, Errno> {
    list_in(open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?, directory)
}

fn list_in(descriptor: rustix::fd::OwnedFd, path: &CStr) -> Result<u32, Errno> {
    let mut directory = Dir::new(descriptor)?;
    let (mut entries, mut below) = (0, Vec::new());
    while let Some(entry) = directory.read() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        entries += 1;
        let stat = statat(directory.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // ls looks for an access control list, to show a plus sign.
        let full = [path.to_bytes(), b"/", name.to_bytes()].concat();
        let full = CString::new(full).map_err(|_| Errno::INVAL)?;
        let _ = lgetxattr(&full, c"system.posix_acl_access", &mut [0_u8; 64][..]);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let opened = openat(directory.fd()?, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            below.push((opened, full));
        }
    }
    for (descriptor, path) in below {
        entries += list_in(descriptor, &path)?;
    }
    Ok(entries)
}

fn mebibytes() -> u32 {
    u32::try_from(LARGE >> 20).unwrap_or(u32::MAX)
}
