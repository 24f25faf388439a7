//! A mount whose terminal is gone.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use support::{Bench, can_mount};

/// The shell's commands in mounts of their own, where `/dev/log` is the test's socket: without a keynode's file, a mount
/// cannot save what is written to it.
const SCRIPT: &str = "set -e
mount -t tmpfs none dev
for name in fuse null urandom; do touch dev/$name; mount --bind /dev/$name dev/$name; done
touch dev/log; mount --bind socket dev/log; mount --rbind dev /dev
$PKFS mount app.pk m
rm app.pk
! dd if=/dev/urandom of=m/unsaved bs=1 count=1 conv=fsync 2>/dev/null
umount m
";

#[test]
fn what_goes_wrong_in_the_background_is_in_the_systems_log() {
    if !can_mount() || !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    std::fs::create_dir(bench.path("dev")).unwrap();
    let socket = UnixDatagram::bind(bench.path("socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let pkfs = bench.command(&[]);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", SCRIPT]).current_dir(bench.path("")).env("PKFS", pkfs.get_program());
    shell.envs(pkfs.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let receive = || {
        let mut line = [0; 1024];
        let received = socket.recv(&mut line).unwrap();
        String::from_utf8_lossy(&line[..received]).into_owned()
    };
    // Facility 3 (daemon), severity 3 (error). Before it may come a warning that the keynode is gone.
    let line = std::iter::repeat_with(receive).find(|line| line.starts_with("<27>")).unwrap();
    assert!(line.contains("pkfs[") && line.contains("unsaved") && line.contains("app.pk"), "{line}");
}
