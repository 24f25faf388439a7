//! Published judges of file systems on a real mount: pjdfstest and fsx. scripts/test installs them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use support::{Bench, can_mount};

/// What pjdfstest is told; the users are two that every Debian has.
const PJDFSTEST: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// Tests that may fail, by the end of their names, and why.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("::block", "there are no device nodes in a keynode: EPERM"),
    ("::char", "there are no device nodes in a keynode: EPERM"),
];

/// Fewer passes than these, as root, mean that something was not tried.
const PASSES: usize = 290;

/// What fsx does and how often: commits, which take the longest, are rare.
const FSX: &str = "
flen = 200000
[weights]
close_open = 0.2
copy_file_range = 3
fdatasync = 0.1
fsync = 0.1
invalidate = 1
mapread = 10
mapwrite = 2
posix_fadvise = 1
posix_fallocate = 2
punch_hole = 2
read = 10
sendfile = 3
truncate = 5
write = 10
";
/// For each of several seeds.
const OPERATIONS: &str = "25000";

fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| panic!("{name}: {error}; scripts/test installs it"))
}

#[test]
fn pjdfstest_finds_no_fault_but_missing_device_nodes() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let root = rustix::process::geteuid().is_root();
    let mount = bench.mount(if root { &["-o", "allow_other"] } else { &[] });
    // Other users must get there.
    for path in [bench.path(""), mount.path("")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(mount.path("t")).unwrap();
    fs::write(bench.path("pjdfstest.toml"), PJDFSTEST).unwrap();
    let mut command = Command::new("pjdfstest");
    let output = run(command.arg("-c").arg(bench.path("pjdfstest.toml")).arg("-p").arg(mount.path("t")));
    let said = String::from_utf8_lossy(&output.stdout);
    let results = |result: &str| -> Vec<&str> {
        said.lines()
            .filter_map(|line| line.strip_suffix(result))
            .map(str::trim)
            .filter(|name| name.contains("::"))
            .collect()
    };
    let (failed, passed) = (results(" FAILED"), results(" ok"));
    let faults: Vec<_> = failed.iter().filter(|name| !EXCEPTIONS.iter().any(|(end, _)| name.ends_with(end))).collect();
    assert!(faults.is_empty(), "{faults:?}\n{said}");
    let summary = said.lines().find(|line| line.starts_with("Summary")).expect("a summary");
    eprintln!("{summary}");
    assert!(!passed.is_empty() && (!root || passed.len() >= PASSES), "{summary}");
}

#[test]
fn fsx_reads_what_it_has_written() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    fs::write(bench.path("fsx.toml"), FSX).unwrap();
    std::thread::scope(|scope| {
        for seed in ["1", "2", "3", "4"] {
            let mut command = Command::new("fsx");
            command.args(["-q", "-N", OPERATIONS, "-S", seed, "-f"]).arg(bench.path("fsx.toml"));
            command.arg("-P").arg(bench.path("")).arg(mount.path(seed));
            scope.spawn(move || {
                let Output { status, stdout, stderr } = run(&mut command);
                let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
                assert!(status.success() && said.contains("A-OK"), "seed {seed}: {said}");
            });
        }
    });
}
