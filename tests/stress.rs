//! stress-ng's stressors of file systems, and many writers and readers, at the same time on one mount; all of it is
//! there after a new mount. `PKFS_STRESS_SECONDS` says for how long, instead of a few.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Bench, Mount, can_mount};

/// How long it lasts, unless it is told otherwise.
const SECONDS: u64 = 5;
/// How much longer stress-ng may take to clear away what it has made.
const CLEARING: u64 = 300;

/// All that stay within their directory and need no more than a keynode has: no devices, no programs, no large files.
const STRESSORS: [&str; 22] = [
    "chdir",
    "chmod",
    "chown",
    "dentry",
    "dir",
    "fallocate",
    "fcntl",
    "flock",
    "fpunch",
    "hdd",
    "iomix",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "open",
    "rename",
    "seek",
    "symlink",
    "sync-file",
    "touch",
    "utime",
];
const SIZES: [&str; 14] = [
    "--hdd-bytes",
    "1m",
    "--iomix-bytes",
    "1m",
    "--sync-file-bytes",
    "1m",
    "--seek-size",
    "1m",
    "--fallocate-bytes",
    "1m",
    "--dentries",
    "64",
    "--dir-dirs",
    "64",
];

const WRITERS: usize = 8;
const READERS: usize = 8;
const FILES: usize = 3;

fn seconds() -> u64 {
    std::env::var("PKFS_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS)
}

fn content(writer: usize, count: usize) -> String {
    format!("writer {writer}, {count:06}\n").repeat(1 + count % 50)
}

/// Whether this can be seen of what a writer writes: lines of its own, the last one cut where it is half written.
fn is_of(writer: usize, content: &str) -> bool {
    content.split_inclusive('\n').all(|line| {
        let expected = format!("writer {writer}, ");
        line.starts_with(&expected) || expected.starts_with(line)
    })
}

/// Writes until it is told to end, in place, by a new file and by appending; what is in its files then.
fn write(mount: &Mount, writer: usize, ended: &AtomicBool) -> Vec<String> {
    let mut last = vec![String::new(); FILES];
    for count in 0.. {
        if ended.load(Ordering::Relaxed) && count >= FILES {
            return last;
        }
        let file = count % FILES;
        let path = mount.path(&format!("w{writer}/{file}"));
        let new = content(writer, count);
        match count % 4 {
            0 => fs::write(&path, &new).unwrap(),
            1 | 2 => {
                let temporary = mount.path(&format!("w{writer}/new"));
                let mut written = File::create(&temporary).unwrap();
                written.write_all(new.as_bytes()).unwrap();
                if count % 4 == 1 {
                    written.sync_all().unwrap();
                }
                drop(written);
                fs::rename(&temporary, &path).unwrap();
            }
            _ => {
                let mut open = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
                open.write_all(new.as_bytes()).unwrap();
                last[file].push_str(&new);
                continue;
            }
        }
        last[file] = new;
    }
    last
}

fn read(mount: &Mount, ended: &AtomicBool) {
    for count in (0..).take_while(|_| !ended.load(Ordering::Relaxed)) {
        let (writer, file) = (count % WRITERS, count / WRITERS % FILES);
        match fs::read_to_string(mount.path(&format!("w{writer}/{file}"))) {
            Ok(content) => assert!(is_of(writer, &content), "w{writer}/{file}: {content}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        for name in mount.list(&format!("w{writer}")) {
            assert!(name == "new" || name.parse::<usize>().is_ok_and(|file| file < FILES), "{name}");
        }
    }
}

/// Moves a directory to and fro.
fn rename(mount: &Mount, ended: &AtomicBool) {
    let [here, there] = ["moved/here", "moved/there"].map(|path| mount.path(path));
    while !ended.load(Ordering::Relaxed) {
        fs::rename(&here, &there).unwrap();
        fs::write(there.join("inside"), "there").unwrap();
        fs::rename(&there, &here).unwrap();
        fs::write(here.join("inside"), "here").unwrap();
    }
}

fn stress(mount: &Mount) {
    let mut command = Command::new("timeout");
    command.arg((seconds() + CLEARING).to_string()).args(["stress-ng", "--verify", "--temp-path"]);
    command.arg(mount.path("stress")).args(["--timeout", &format!("{}s", seconds())]).args(SIZES);
    for stressor in STRESSORS {
        command.args([&format!("--{stressor}"), "1"]);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&said));
}

#[test]
fn all_is_well_after_much_at_once() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    for directory in (0..WRITERS).map(|writer| format!("w{writer}")).chain(["stress".into(), "moved/here".into()]) {
        fs::create_dir_all(mount.path(&directory)).unwrap();
    }
    let ended = &AtomicBool::new(false);
    let until = Instant::now() + Duration::from_secs(seconds());
    let written: Vec<Vec<String>> = std::thread::scope(|scope| {
        let mount = &mount;
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(mount, writer, ended))).collect();
        for _ in 0..READERS {
            scope.spawn(move || read(mount, ended));
        }
        scope.spawn(move || rename(mount, ended));
        let stress = scope.spawn(move || stress(mount));
        // Whoever fails ends it for all.
        let failed = || writers.iter().any(std::thread::ScopedJoinHandle::is_finished);
        while Instant::now() < until && !failed() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
        ended.store(true, Ordering::Relaxed);
        let written = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        stress.join().unwrap();
        written
    });
    let check = |mount: &Mount| {
        for (writer, files) in written.iter().enumerate() {
            for (file, content) in files.iter().enumerate() {
                assert_eq!(mount.read(&format!("w{writer}/{file}")), *content);
            }
        }
        assert_eq!(mount.read("moved/here/inside"), "here");
        assert_eq!(mount.list("stress"), [""; 0], "stress-ng clears its files away");
    };
    check(&mount);
    bench.pkfs(&["umount", "m"]);
    assert_eq!(mount.wait(), Some(0));
    check(&bench.mount(&[]));
    bench.pkfs(&["fsck", "app.pk"]);
}
