//! Real mounts by the real program.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::process::Command;

use rustix::process::Signal;
use support::{Bench, Mount, can_mount, eventually};

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn a_tree_is_written_read_and_found_again() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    fs::create_dir_all(mount.path("db/prod")).unwrap();
    mount.write("db/prod/password", "one");
    mount.write("db/prod/password", "two");
    fs::hard_link(mount.path("db/prod/password"), mount.path("link")).unwrap();
    std::os::unix::fs::symlink("db/prod", mount.path("prod")).unwrap();
    assert_eq!(mount.read("prod/password"), "two");
    assert_eq!(fs::metadata(mount.path("link")).unwrap().nlink(), 2);
    assert_eq!(mount.list(""), ["db", "link", "prod"]);
    assert_eq!(mount.list(".versions/db/prod/password"), ["1", "2", "log"]);
    assert_eq!(mount.read(".versions/db/prod/password/1"), "one");
    assert_eq!(mount.read(".versions/db/prod/password/log").lines().count(), 2);
    assert_eq!(bench.get("db/prod/password"), "two");
    bench.pkfs(&["umount", "m"]);
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(bench.mount(&[]).read("link"), "two");
}

#[test]
fn programs_save_in_their_ways() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "one\n");
    let sed = Command::new("sed").args(["-i", "s/one/two/"]).arg(mount.path("a")).status().unwrap();
    assert!(sed.success());
    let shell = Command::new("sh").args(["-c", "echo three > a; echo four >> a"]).current_dir(mount.path("")).status();
    assert!(shell.unwrap().success());
    for n in 5..7 {
        mount.write(".tmp", &format!("{n}\n"));
        fs::rename(mount.path(".tmp"), mount.path("a")).unwrap();
    }
    let versions: Vec<String> = (1..=6).map(|n| mount.read(&format!(".versions/a/{n}"))).collect();
    assert_eq!(versions, ["one\n", "two\n", "three\n", "three\nfour\n", "5\n", "6\n"]);
    assert_eq!(mount.list(".versions"), ["a"]);
}

#[test]
fn mapped_pages_and_locks_work() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "0123456789");
    let script = "import mmap,fcntl,sys\n\
        f=open(sys.argv[1],'r+b'); m=mmap.mmap(f.fileno(),0); m[2:5]=b'ABC'; m.flush(); m.close()\n\
        g=open(sys.argv[1]); fcntl.flock(f,fcntl.LOCK_EX)\n\
        try: fcntl.flock(g,fcntl.LOCK_EX|fcntl.LOCK_NB); sys.exit('locked twice')\n\
        except BlockingIOError: pass\n";
    assert!(Command::new("python3").args(["-c", script]).arg(mount.path("a")).status().unwrap().success());
    assert_eq!(mount.read("a"), "01ABC56789");
    eventually("the commit", || bench.get("a") == "01ABC56789");
}

#[test]
fn errors_are_the_ones_that_programs_expect() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&["--max-size", "1M"]);
    mount.write("a", "x");
    let file = OpenOptions::new().write(true).open(mount.path("a")).unwrap();
    assert_eq!(errno(file.write_at(b"x", 1 << 20)), libc::EFBIG);
    assert_eq!(errno(fs::create_dir(mount.path(".views"))), libc::EEXIST);
    assert_eq!(errno(fs::create_dir(mount.path(".views/new"))), libc::EROFS);
    assert_eq!(errno(fs::rename(mount.path("a"), mount.path(".versions/b"))), libc::EROFS);
    assert_eq!(errno(fs::write(mount.path(".versions/a/1"), "y")), libc::EROFS);
    assert_eq!(errno(fs::write(mount.path(&"n".repeat(256)), "y")), libc::ENAMETOOLONG);
    assert_eq!(errno(fs::read(mount.path("none"))), libc::ENOENT);
    fs::create_dir(mount.path("d")).unwrap();
    mount.write("d/a", "x");
    assert_eq!(errno(fs::remove_dir(mount.path("d"))), libc::ENOTEMPTY);
    assert_eq!(errno(File::create_new(mount.path("a"))), libc::EEXIST);
    let unnamed = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(mount.path("d"));
    assert_eq!(errno(unnamed), libc::EOPNOTSUPP);
}

#[test]
fn a_read_only_mount_shows_outside_changes() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    let mount = bench.mount(&["--read-only"]);
    let mut open = File::open(mount.path("a")).unwrap();
    assert_eq!(mount.read("a"), "one");
    bench.put("a", "two");
    eventually("the change", || mount.read("a") == "two");
    let mut content = String::new();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "one", "an open file keeps its version");
    assert_eq!(errno(fs::write(mount.path("a"), "x")), libc::EROFS);
}

#[test]
fn a_page_that_was_changed_on_a_read_only_mount_is_forgotten() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    let mount = bench.mount(&["--read-only"]);
    let script = "import mmap,sys\n\
        f=open(sys.argv[1],'r+b'); m=mmap.mmap(f.fileno(),0); m[0:3]=b'bad'\n\
        try: m.flush(); sys.exit('written')\n\
        except OSError: pass\n";
    assert!(Command::new("python3").args(["-c", script]).arg(mount.path("a")).status().unwrap().success());
    eventually("the old content", || mount.read("a") == "one");
}

#[test]
fn an_outside_change_is_an_atomic_replace() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "one");
    let mut open = File::open(mount.path("a")).unwrap();
    let before = open.metadata().unwrap().ino();
    bench.put("a", "two");
    eventually("the change", || mount.read("a") == "two");
    assert_ne!(fs::metadata(mount.path("a")).unwrap().ino(), before);
    open.seek(SeekFrom::Start(0)).unwrap();
    let mut content = String::new();
    open.read_to_string(&mut content).unwrap();
    assert_eq!(content, "one");
    mount.write("a", "three");
    assert_eq!(mount.list(".versions/a"), ["1", "2", "3", "log"]);
}

/// Names with their numbers, as a listing tells them.
fn listed(mount: &Mount, name: &str) -> Vec<(String, u64)> {
    let entries = fs::read_dir(mount.path(name)).unwrap().map(|entry| entry.unwrap());
    let mut listed: Vec<_> = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.ino())).collect();
    listed.sort();
    listed
}

#[test]
fn listings_that_the_kernel_remembers_follow_all_changes() {
    if !can_mount() {
        return;
    }
    for options in [&[][..], &["--read-only"]] {
        let bench = Bench::new();
        bench.put("d/a", "one");
        bench.put("d/b", "one");
        let mount = bench.mount(options);
        let names = |mount: &Mount| mount.list("d");
        for _ in 0..3 {
            assert_eq!(names(&mount), ["a", "b"]);
        }
        bench.put("d/c", "new");
        eventually("a new name", || names(&mount) == ["a", "b", "c"]);
        bench.pkfs(&["rm", "app.pk", "d/b"]);
        eventually("a removed name", || names(&mount) == ["a", "c"]);
        bench.pkfs(&["mv", "app.pk", "d/c", "e"]);
        eventually("a moved name", || names(&mount) == ["a"] && mount.list("") == ["d", "e"]);
        let before = listed(&mount, "d");
        bench.put("d/a", "two");
        eventually("another file", || listed(&mount, "d") != before);
        let number = fs::metadata(mount.path("d/a")).unwrap().ino();
        assert_eq!(listed(&mount, "d"), [("a".to_owned(), number)]);
        if options.is_empty() {
            mount.write("d/f", "x");
            assert_eq!(names(&mount), ["a", "f"]);
            fs::rename(mount.path("d/f"), mount.path("d/g")).unwrap();
            fs::remove_file(mount.path("d/a")).unwrap();
            assert_eq!(names(&mount), ["g"]);
        }
    }
}

#[test]
fn attributes_are_on_disk_after_fsync_of_a_directory() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "x");
    fs::set_permissions(mount.path("a"), fs::Permissions::from_mode(0o640)).unwrap();
    File::open(mount.path("")).unwrap().sync_all().unwrap();
    mount.signal(Signal::KILL);
    drop(mount);
    let mode = fs::metadata(bench.mount(&[]).path("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn a_signal_ends_it_cleanly_with_files_open() {
    if !can_mount() {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let bench = Bench::new();
        let mount = bench.mount(&[]);
        let mut open = File::create(mount.path("a")).unwrap();
        open.write_all(b"unfinished").unwrap();
        mount.write("scratch~", "x");
        mount.signal(signal);
        assert_eq!(mount.wait(), Some(0));
        assert_eq!((bench.get("a"), bench.get("scratch~")), ("unfinished".into(), "x".into()));
    }
}

#[test]
fn a_busy_mount_says_who_holds_it() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "x");
    let open = File::open(mount.path("a")).unwrap();
    let output = bench.try_pkfs(&["umount", "m"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&format!("pid {}", std::process::id())), "{said}");
    drop(open);
    // A program that another test starts holds what this process had open until it has begun.
    eventually("the end", || bench.try_pkfs(&["umount", "m"]).status.success());
    assert_eq!(mount.wait(), Some(0));
    assert!(!bench.try_pkfs(&["umount", "m"]).status.success());
}

#[test]
fn the_end_of_one_mount_leaves_the_next_one_alone() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    for _ in 0..20 {
        bench.pkfs(&["mount", "app.pk", "m"]);
        assert_eq!(fs::read_to_string(bench.path("m/a")).unwrap(), "one");
        bench.pkfs(&["umount", "m"]);
    }
}

#[test]
fn in_the_background_it_is_ready_when_the_command_returns() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.pkfs(&["mount", "app.pk", "m"]);
    fs::write(bench.path("m/a"), "one").unwrap();
    bench.put("a", "two");
    eventually("the change", || fs::read_to_string(bench.path("m/a")).unwrap() == "two");
    assert!(!bench.try_pkfs(&["mount", "app.pk", "m"]).status.success(), "twice on one directory");
    bench.pkfs(&["umount", "m"]);
    let missing = bench.try_pkfs(&["mount", "none.pk", "m"]);
    assert_eq!(missing.status.code(), Some(5), "{}", String::from_utf8_lossy(&missing.stderr));
}
