//! `pkfs umount`.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::asked::asked;
use crate::error::{Error, Kind, Result};

/// The ioctl on a mount's root that commits everything that waits in memory, and tells the number of the process that
/// serves it and that of the one that asks, as the first sees it: `_IOR('p', 1, __u32[2])`.
pub(super) const SETTLE: u32 = 0x8008_7001;

/// How long a process that has nothing left to serve may take to end.
const ENDING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The type of our mounts in the kernel's list.
const FILE_SYSTEM: &[u8] = b"fuse.pkfs";

/// How many holders of a busy mount are named.
const NAMED: usize = 5;

/// How to unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounting {
    /// Save, and fail if it is in use.
    Whole,
    /// Save, and take it out of the tree even if it is in use.
    Lazy,
    /// Ask the mount nothing, and break off what it is being asked.
    Forced,
}

/// Unmounts a keynode; what waits in the mount's memory is on disk before. Where nobody uses it any more, its process has
/// ended at return, so that what the keynode lies on can be taken away.
///
/// # Errors
/// `NotFound` if no keynode is mounted there; for a busy mount, who holds it; what could not be committed.
pub fn unmount(mount_point: &Path, how: Unmounting) -> Result<()> {
    let path = listed(mount_point, how != Unmounting::Forced)?;
    let mounts = fs::read("/proc/self/mountinfo")
        .map_err(|error| Error::io("read", Path::new("/proc/self/mountinfo"), error))?;
    match topmost(&mounts, &path).map(|mount| mount.kind) {
        Some(FILE_SYSTEM) => {}
        Some(_) => {
            return Err(Error::new(Kind::Invalid, format!("{} is a mount, but not of a keynode", path.display()))
                .hint("umount(8) unmounts it"));
        }
        None => return Err(Error::not_found(format!("nothing is mounted on {}", path.display()))),
    }
    let (flags, arguments): (_, &[&str]) = match how {
        Unmounting::Whole => (UnmountFlags::empty(), &["-u"]),
        Unmounting::Lazy => (UnmountFlags::DETACH, &["-u", "-z"]),
        // What is in use goes out of sight as well: nobody waits for those who use it.
        Unmounting::Forced => (UnmountFlags::FORCE | UnmountFlags::DETACH, &["-u", "-z"]),
    };
    let server = if how == Unmounting::Forced {
        None
    } else {
        // Whatever it says: it answers, or nobody is there any more to do so.
        let _ = answer(&path)?;
        settle(&path)?
    };
    unmount_with(&path, flags, arguments)?;
    if let (Unmounting::Whole, Some(server)) = (how, server) {
        let _ = poll(&mut [PollFd::new(&server, PollFlags::IN)], Some(&ENDING));
    }
    Ok(())
}

/// Takes away the mount that a dead pkfs left behind: nothing answers there any more. Does nothing anywhere else.
///
/// # Errors
/// It cannot be unmounted; a mount that lives does not answer.
pub fn clear_dead(mount_point: &Path) -> Result<()> {
    let path = listed(mount_point, true)?;
    if !is_mounted(&path) || !matches!(answer(&path)?, Err(Errno::NOTCONN)) {
        return Ok(());
    }
    log::warn!("{}: the mount of a pkfs that has ended without unmounting is replaced", path.display());
    // Nobody can use what is open below it, so that busy does not count.
    detach(&path)
}

/// What a keynode's mount says when it is asked for anything.
fn answer(path: &Path) -> Result<rustix::io::Result<()>> {
    asked(path).ok_or_else(|| {
        Error::new(Kind::Failed, format!("the mount on {} does not answer", path.display()))
            .hint("try again, or take it away by `pkfs umount --force`, which saves nothing")
    })
}

/// Takes a mount out of the tree, even if files are open: those live until the process ends.
pub(super) fn detach(path: &Path) -> Result<()> {
    unmount_with(path, UnmountFlags::DETACH, &["-u", "-z"])
}

/// By the system call, or with these arguments by fusermount for everybody but root.
fn unmount_with(path: &Path, flags: UnmountFlags, arguments: &[&str]) -> Result<()> {
    match rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(busy(path)),
        Err(Errno::PERM) => by_fusermount(path, arguments),
        Err(error) => Err(Error::io("unmount", path, error.into())),
    }
}

/// Whether a keynode is mounted on this path, as the kernel lists it.
pub(super) fn is_mounted(path: &Path) -> bool {
    device(path).is_some()
}

/// The device of the keynode's mount on this path, as the kernel lists it: no other mount has it while that one lives.
pub(super) fn device(path: &Path) -> Option<Vec<u8>> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    topmost(&mounts, path).filter(|mount| mount.kind == FILE_SYSTEM).map(|mount| mount.device.to_vec())
}

/// Asks the mount to commit what waits, and which process serves it. A mount whose process is gone has nothing to commit.
fn settle(path: &Path) -> Result<Option<OwnedFd>> {
    // Those who may not look may not unmount either: the kernel says so.
    let Ok(root) = File::open(path) else { return Ok(None) };
    match ioctl(&root) {
        Ok([pid, asker]) => Ok(server(pid, asker)),
        // Who may not ask for it may not unmount either.
        Err(Errno::NOTCONN | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(error) => Err(Error::io("save what was written to", path, error.into())
            .hint("the mount's log says what is wrong; it stays mounted")),
    }
}

#[allow(unsafe_code)]
fn ioctl(root: &File) -> rustix::io::Result<[u32; 2]> {
    // SAFETY: the command has no argument and a result of this size, as its number says; another file system than ours
    // refuses it.
    unsafe { rustix::ioctl::ioctl(root, rustix::ioctl::Getter::<{ SETTLE as rustix::ioctl::Opcode }, [u32; 2]>::new()) }
}

/// A process that can be waited for: another than this one, which it sees under its own number, so that its number is not
/// that of another pid namespace.
fn server(pid: u32, asker: u32) -> Option<OwnedFd> {
    let own = std::process::id();
    let number = Pid::from_raw(i32::try_from(pid).ok()?).filter(|_| pid != own && asker == own)?;
    pidfd_open(number, PidfdFlags::empty()).ok()
}

fn by_fusermount(path: &Path, how: &[&str]) -> Result<()> {
    let output = Command::new("fusermount3").args(how).arg("--").arg(path).output().map_err(|error| {
        Error::new(Kind::Failed, "fusermount3 is needed to unmount").hint("install fuse3").because(error)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("busy") {
        return Err(busy(path));
    }
    Err(Error::new(Kind::NotPermitted, format!("{} cannot be unmounted: {}", path.display(), said.trim())))
}

/// The path as the kernel lists it. A mount is not asked; where there is none, symlinks are followed if that is `wanted`.
fn listed(path: &Path, wanted: bool) -> Result<PathBuf> {
    let unasked = unasked(path)?;
    if !wanted || is_mounted(&unasked) {
        return Ok(unasked);
    }
    Ok(path.canonicalize().unwrap_or(unasked))
}

/// The path with symlinks resolved, but for the last part, which may be a mount that does not answer.
fn unasked(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(|error| Error::io("find", path, error))?;
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Ok(absolute),
    }
}

/// A line of the kernel's list.
struct Listed<'a> {
    device: &'a [u8],
    /// The file system's type.
    kind: &'a [u8],
}

/// The topmost mount on a path (proc(5), mountinfo).
fn topmost<'a>(mountinfo: &'a [u8], path: &Path) -> Option<Listed<'a>> {
    let mut found = None;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let (Some(device), Some(point)) = (fields.nth(2), fields.nth(1)) else { continue };
        if unescape(point) == path.as_os_str().as_bytes() {
            found = fields.skip_while(|field| *field != b"-").nth(1).map(|kind| Listed { device, kind });
        }
    }
    found
}

/// Blanks and the like are written as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(code) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            plain.push(code);
            rest = after.get(3..).unwrap_or_default();
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    plain
}

fn busy(path: &Path) -> Error {
    let mut holders = holders(path);
    // This process has had the mount open itself, to have it saved.
    holders.retain(|(pid, _)| *pid != std::process::id());
    let error = Error::new(Kind::Failed, format!("{} is in use", path.display()));
    if holders.is_empty() {
        return error.hint("a process of another user holds it, and root sees which; --lazy takes it out of sight now");
    }
    let named: Vec<String> = holders.iter().take(NAMED).map(|(pid, name)| format!("{name} (pid {pid})")).collect();
    let more = if holders.len() > NAMED { format!(" and {} more", holders.len() - NAMED) } else { String::new() };
    error.hint(format!("held by {}{more}; --lazy takes it out of sight now", named.join(", ")))
}

/// Processes whose working directory, root or an open file is below the path.
fn holders(path: &Path) -> Vec<(u32, String)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut holders = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let process = process.path();
        if holds(&process, path) {
            let name = fs::read(process.join("comm")).unwrap_or_default();
            holders.push((pid, String::from_utf8_lossy(&name).trim().to_owned()));
        }
    }
    holders
}

fn holds(process: &Path, path: &Path) -> bool {
    let below = |link: io::Result<PathBuf>| link.is_ok_and(|target| target.starts_with(path));
    let own = ["cwd", "root"].iter().any(|name| below(fs::read_link(process.join(name))));
    own || fs::read_dir(process.join("fd"))
        .is_ok_and(|files| files.flatten().any(|file| below(fs::read_link(file.path()))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    const MOUNTS: &[u8] = b"21 1 0:19 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
        40 21 0:50 / /run/my\\040secrets rw,nosuid shared:2 - fuse.pkfs /srv/app.pk rw,user_id=0\n\
        41 21 0:51 / /mnt rw - fuse.sshfs host: rw\n\
        42 41 0:52 / /mnt rw - fuse.pkfs /srv/b.pk rw\n";

    #[test]
    fn the_topmost_mount_on_a_path_counts() {
        let on = |path| topmost(MOUNTS, Path::new(path)).map(|mount| (mount.device, mount.kind));
        assert_eq!(on("/run/my secrets"), Some((&b"0:50"[..], &b"fuse.pkfs"[..])));
        assert_eq!(on("/mnt"), Some((&b"0:52"[..], &b"fuse.pkfs"[..])));
        assert_eq!(on("/"), Some((&b"0:19"[..], &b"ext4"[..])));
        assert_eq!(on("/run"), None);
    }

    #[test]
    fn whoever_works_below_a_path_holds_it() {
        let own = std::process::id();
        let here = std::env::current_dir().unwrap_or_default();
        assert!(holders(&here).iter().any(|(pid, _)| *pid == own));
        assert!(holders(Path::new("/nowhere/at/all")).is_empty());
    }

    #[test]
    fn escapes_are_read_as_the_kernel_writes_them() {
        let plain = std::ffi::OsString::from_vec(unescape(b"a\\040b\\134c\\zz"));
        assert_eq!(plain, "a b\\c\\zz");
    }
}
