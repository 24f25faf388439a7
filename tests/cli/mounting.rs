//! `mount` and `umount`, and a mounted directory as KEYNODE. Where FUSE is not available these tests say so and pass.

use std::fs;
use std::path::Path;

use crate::support::Bench;

/// Unmounts at the end, also of a test that failed.
struct Mounted<'a>(&'a Bench);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("fusermount3").arg("-uzq").arg(self.0.path("m")).status();
    }
}

fn possible() -> bool {
    let possible = Path::new("/dev/fuse").exists();
    if !possible {
        eprintln!("no /dev/fuse: skipped");
    }
    possible
}

/// In the background, with a limit of time: the command must return when the mount is ready.
fn mount(bench: &Bench, more: &[&str]) -> crate::support::Done {
    fs::create_dir_all(bench.path("m")).unwrap();
    let mut command = std::process::Command::new("timeout");
    command.arg("20").arg(env!("CARGO_BIN_EXE_pkfs")).args(["mount", "a.pk", "m", "--key", "a.key"]).args(more);
    bench.surround(&mut command);
    command.output().unwrap().into()
}

#[test]
fn a_mount_answers_without_a_passphrase() {
    if !possible() {
        return;
    }
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "db/password"], "one").ok();
    let _mounted = Mounted(&bench);
    mount(&bench, &[]).ok();
    assert_eq!(bench.read("m/db/password"), "one");
    bench.write("m/db/password", "two");
    assert_eq!(bench.run(&["get", "m", "db/password"]).ok(), "two");
    assert_eq!(bench.run(&["get", "m/db", "db/password"]).ok(), "two");
    assert_eq!(bench.run(&["get", "m", "db/password", "-r", "1"]).ok(), "one");
    assert_eq!(bench.run(&["get", "m", "db/password", "--at", "9998"]).ok(), "two");
    assert_eq!(bench.run(&["ls", "m", "-R"]).ok(), "db\ndb/password\n");
    bench.run(&["get", "m", "db/none"]).fails(5);
    bench.run(&["get", "m", "db/password", "-r", "9"]).fails(5);
    bench.run(&["get", "m", "db"]).fails(1);
    // What a mount does not answer, its file does.
    bench.run(&["log", "m", "db/password"]).fails(3);
    assert_eq!(bench.k(&["log", "m", "db/password"]).ok().lines().count(), 2);
    // And what the file gets shows in the mount.
    bench.k_with(&["put", "a.pk", "new"], "3").ok();
    bench.run(&["umount", "m"]).ok();
    bench.run(&["umount", "m"]).fails(5);
    assert_eq!(bench.k(&["get", "a.pk", "db/password"]).ok(), "two");
    assert!(bench.run(&["get", "m", "db/password"]).fails(1).contains("no keynode is mounted"));
}

#[test]
fn a_mount_that_cannot_be_made_says_why() {
    if !possible() {
        return;
    }
    let bench = Bench::new();
    bench.k(&["mount", "a.pk", "none"]).fails(5);
    bench.k(&["mount", "a.pk", "pw"]).fails(1);
    let _mounted = Mounted(&bench);
    bench.k(&["mount", "a.pk", "m", "-o", "nonsense"]).fails(2);
    fs::create_dir(bench.path("m")).unwrap();
    bench.k(&["mount", "a.pk", "m", "-o", "ro,cache=x"]).fails(2);
    bench.run(&["mount", "a.pk", "m", "--key", "pw"]).fails(3);
    bench.run(&["mount", "a.pk", "m"]).fails(3);
    // Other commands find the file by the mount's source.
    bench.k(&["mount", "a.pk", "m", "-o", "fsname=b.pk"]).fails(2);
    assert!(bench.k(&["mount", "a.pk", "."]).fails(1).contains("would hide its own keynode"));
    let audited = bench.k(&["mount", "a.pk", "m", "--audit", "m/audit"]);
    assert!(audited.fails(1).contains("would hide its own audit"));
    assert!(!bench.path("m/audit").exists());
}

/// Runs a script with the program as `$PKFS`, and its own mounts.
fn script(bench: &Bench, script: &str) -> crate::support::Done {
    let mut command = std::process::Command::new("timeout");
    command.args(["60", "unshare", "--mount", "sh", "-ec", script]).env("PKFS", env!("CARGO_BIN_EXE_pkfs"));
    bench.surround(&mut command);
    command.output().unwrap().into()
}

#[test]
fn after_unmounting_nothing_of_the_keynode_is_in_use() {
    if !possible() || !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let stick = "mkdir m stick; mount -t tmpfs none stick; cp a.pk stick; \
        $PKFS mount stick/a.pk m --key a.key; echo value >m/x; $PKFS umount m; umount stick";
    script(&bench, stick).ok();
}

#[test]
fn a_limit_of_file_sizes_does_not_end_a_mount() {
    if !possible() || !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "x"], "1").ok();
    let limited = "mkdir m; (ulimit -f 200; $PKFS mount a.pk m --key a.key); \
        ! head -c 300000 /dev/urandom >m/big; cat m/x; $PKFS umount m --force";
    assert_eq!(script(&bench, limited).ok(), "1");
}

#[test]
fn what_is_no_keynode_any_more_cannot_be_saved_to() {
    if !possible() || !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let replaced = "mkdir m; $PKFS mount a.pk m --key a.key; mv a.pk kept; mkdir a.pk; \
        dd if=/dev/zero of=m/new bs=1 count=1 conv=fsync 2>&1 | grep -o 'Input/output error' | sort -u; \
        rmdir a.pk; mv kept a.pk; cat m/new | wc -c; $PKFS umount m";
    assert_eq!(script(&bench, replaced).ok(), "Input/output error\n1\n");
}

#[test]
fn a_command_that_is_run_hears_signals() {
    if !possible() || !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "x"], "still there").ok();
    let run = |command: &str| {
        let steps = format!(
            "mkfifo begun; $PKFS run a.pk --key a.key -- sh -c '{command}' & cat begun; kill -TERM $!; wait $!"
        );
        let done = script(&bench, &steps);
        fs::remove_file(bench.path("begun")).unwrap();
        done
    };
    run("echo >begun; exec sleep 50").fails(128 + libc::SIGTERM);
    let trapped = run("trap \"cat \\$PKFS_DIR/x; exit 5\" TERM; echo >begun; while :; do sleep 0.1; done");
    assert!(trapped.out.ends_with("still there"), "{}", trapped.out);
    trapped.fails(5);
    bench.run(&["run", "a.pk", "--key", "a.key", "--", "nonesuch"]).fails(127);
}

#[test]
fn a_read_only_mount_allows_no_change() {
    if !possible() {
        return;
    }
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "x"], "1").ok();
    let _mounted = Mounted(&bench);
    mount(&bench, &["--read-only"]).ok();
    assert_eq!(bench.read("m/x"), "1");
    assert_eq!(fs::write(bench.path("m/x"), "2").unwrap_err().raw_os_error(), Some(libc::EROFS));
    bench.run(&["umount", "m"]).ok();
}

#[test]
fn a_mount_that_a_dead_process_left_is_replaced() {
    if !possible() {
        return;
    }
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "s"], "v").ok();
    let _mounted = Mounted(&bench);
    fs::create_dir_all(bench.path("m")).unwrap();
    let mut command = bench.command(&["mount", "a.pk", "m", "--key", "a.key", "--foreground"]);
    let mut first = command.spawn().unwrap();
    let begin = std::time::Instant::now();
    while fs::read(bench.path("m/s")).is_err() {
        assert!(begin.elapsed().as_secs() < 20, "no mount");
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(fs::read(bench.path("m/s")).is_err());
    mount(&bench, &[]).ok();
    assert_eq!(bench.read("m/s"), "v");
    bench.run(&["umount", "m"]).ok();
}

#[test]
fn history_is_never_more_open_than_the_present() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if !possible() {
        return;
    }
    let bench = Bench::new();
    let _mounted = Mounted(&bench);
    mount(&bench, &[]).ok();
    bench.write("m/s", "v");
    fs::set_permissions(bench.path("m/s"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(fs::metadata(bench.path("m/.versions/s/1")).unwrap().mode() & 0o777, 0o444);
    fs::set_permissions(bench.path("m/s"), fs::Permissions::from_mode(0o600)).unwrap();
    for old in ["m/.versions/s/1", "m/.versions/s/log", "m/.versions/@9998/s"] {
        assert_eq!(fs::metadata(bench.path(old)).unwrap().mode() & 0o777, 0o400, "{old}");
    }
    bench.run(&["umount", "m"]).ok();
}

#[test]
fn a_mount_says_of_alerts_that_it_does_not_run_them() {
    if !possible() {
        return;
    }
    let bench = Bench::new();
    bench.k(&["share", "create", "a.pk", "web", "a", "--alert", "true"]).ok();
    let _mounted = Mounted(&bench);
    for (options, told) in [(&[][..], true), (&["--alerts"], false)] {
        let done = mount(&bench, options);
        assert_eq!(done.err.contains("with --alerts"), told, "{}", done.err);
        done.ok();
        bench.k(&["umount", "m"]).ok();
    }
}
