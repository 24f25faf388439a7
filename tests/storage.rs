//! Where the keynode's file lies: on a full disk, on read-only media, without write permission.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::mount::{MountFlags, UnmountFlags};
use support::{Bench, can_mount};

/// One test at a time: a process that another one starts has open for a moment what is open here, and its close is a flush.
static ALONE: Mutex<()> = Mutex::new(());

/// Something mounted by the test, unmounted on drop.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can mount file systems");
    }
    root
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// A value that does not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_full_disk_loses_nothing() {
    if !can_mount() || !is_root() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::new();
    fs::create_dir(bench.path("disk")).unwrap();
    rustix::mount::mount("none", bench.path("disk"), "tmpfs", MountFlags::empty(), Some(c"size=1536k")).unwrap();
    let disk = Place(bench.path("disk"));
    bench.pkfs(&["init", "--key-out", "other-key", "disk/app.pk"]);
    let mut mount = bench.command(&["mount", "disk/app.pk", "m"]);
    assert!(mount.env("PKFS_KEY", "other-key").status().unwrap().success());
    let _mounted = Place(bench.path("m"));
    fs::write(bench.path("m/a"), "one").unwrap();
    fs::write(disk.0.join("filling"), noise(1 << 20)).unwrap();
    let before = fs::read(disk.0.join("app.pk")).unwrap();

    let value = noise(700 << 10);
    let mut file = File::options().read(true).write(true).truncate(true).open(bench.path("m/a")).unwrap();
    file.write_all(&value).unwrap();
    for _ in 0..2 {
        assert_eq!(errno(file.sync_all()), libc::ENOSPC);
        assert_eq!(fs::read(disk.0.join("app.pk")).unwrap(), before, "half a transaction is in the file");
    }
    let get = || {
        let output = bench.command(&["get", "disk/app.pk", "a"]).env("PKFS_KEY", "other-key").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(get(), b"one");
    file.rewind().unwrap();
    let mut kept = Vec::new();
    file.read_to_end(&mut kept).unwrap();
    assert!(kept == value, "what was written is not there any more");

    fs::remove_file(disk.0.join("filling")).unwrap();
    file.sync_all().unwrap();
    assert!(get() == value);
    drop(file);
    bench.pkfs(&["umount", "m"]);
    let fsck = bench.command(&["fsck", "disk/app.pk"]).env("PKFS_KEY", "other-key").output().unwrap();
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stdout));
}

/// Mounts, looks, and tries to write; what the command said.
fn is_read_only(bench: &Bench, mut command: Command, point: &Path) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let _mounted = Place(point.to_owned());
    assert_eq!(fs::read_to_string(point.join("a")).unwrap(), "one");
    assert_eq!(errno(fs::write(point.join("a"), "x")), libc::EROFS);
    assert_eq!(errno(fs::write(point.join("b"), "x")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(point.join("d"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(point.join("a"))), libc::EROFS);
    assert_eq!(errno(fs::set_permissions(point.join("a"), fs::Permissions::from_mode(0o644))), libc::EROFS);
    bench.pkfs(&["umount", point.to_str().unwrap()]);
    said
}

#[test]
fn what_cannot_be_written_is_mounted_read_only_and_says_so() {
    if !can_mount() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::new();
    bench.put("a", "one");
    let said = is_read_only(&bench, bench.command(&["mount", "--read-only", "app.pk", "m"]), &bench.path("m"));
    assert_eq!(said, "", "what was asked for need not be told");
    let said = is_read_only(&bench, bench.command(&["mount", "-o", "ro", "app.pk", "m"]), &bench.path("m"));
    assert_eq!(said, "");
    if !is_root() {
        return;
    }
    for name in ["media", "other"] {
        fs::create_dir(bench.path(name)).unwrap();
    }
    fs::copy(bench.path("app.pk"), bench.path("other/app.pk")).unwrap();
    rustix::mount::mount_bind(bench.path("other"), bench.path("media")).unwrap();
    let media = Place(bench.path("media"));
    rustix::mount::mount_remount(&media.0, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let said = is_read_only(&bench, bench.command(&["mount", "media/app.pk", "m"]), &bench.path("m"));
    assert!(said.contains("read-only") && said.contains("media/app.pk"), "{said}");
}
