//! A mount by somebody who is not root.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

use support::{alone_with_open_fuse, can_mount, eventually};
use tempfile::TempDir;

/// `nobody` and `nogroup`, and somebody else.
const USER: u32 = 65_534;
const OTHER: u32 = 65_533;

/// A directory of the user's, with a keynode and a mount point.
struct Home {
    directory: TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        chown(home.path(""), Some(USER), Some(USER)).unwrap();
        fs::set_permissions(home.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        // Everybody can execute it there, wherever it was built.
        fs::copy(env!("CARGO_BIN_EXE_pkfs"), home.path("pkfs")).unwrap();
        home.sh("mkdir m && ./pkfs init --key-out key app.pk && printf one | ./pkfs put app.pk a");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Has the user run it.
    fn try_sh(&self, script: &str) -> Output {
        self.shell(USER, script).output().unwrap()
    }

    fn sh(&self, script: &str) -> Output {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn shell(&self, uid: u32, script: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "sh", "-c", script]);
        command.current_dir(self.path("")).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.path("")).env("PKFS_KEY", "key");
        command
    }

    /// The process that serves the mount.
    fn server(&self) -> PathBuf {
        let executable = self.path("pkfs");
        let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        processes.find(|process| fs::read_link(process.join("exe")).is_ok_and(|exe| exe == executable)).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path("m"), rustix::mount::UnmountFlags::DETACH);
    }
}

fn can_be_others() -> bool {
    let root = rustix::process::geteuid().is_root();
    let can = root && can_mount() && Command::new("fusermount3").arg("-V").output().is_ok();
    if !can {
        eprintln!("skipped: this needs root, and fusermount3");
    }
    can
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_is_the_users_own() {
    if can_be_others() {
        alone_with_open_fuse("mount_of_a_user");
    }
}

#[test]
#[ignore = "run by it_is_the_users_own"]
fn mount_of_a_user() {
    let home = Home::new();
    home.sh("./pkfs mount app.pk m && [ \"$(cat m/a)\" = one ] && printf two > m/a && mkdir m/d && mv m/a m/d/a");
    assert_eq!(text(&home.sh("./pkfs get app.pk d/a").stdout), "two");
    let refused = home.shell(OTHER, "cat m/d/a || ls m").output().unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert_eq!(text(&refused.stderr).matches("Permission denied").count(), 2, "{}", text(&refused.stderr));

    // What belongs to root there cannot be read by other processes of the user: it is not dumpable.
    let server = home.server();
    assert_eq!(fs::metadata(server.join("mem")).unwrap().uid(), 0);
    assert!(!home.try_sh(&format!("head -c 1 {}/environ", server.display())).status.success());
    let limits = fs::read_to_string(server.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);

    home.sh("./pkfs umount m");
    eventually("the end of the process", || !server.exists());
    assert!(text(&home.try_sh("./pkfs mount -o allow_other app.pk m").stderr).contains("allow_other"));
}

/// Watches a share's tree while its secret is changed; what comes there.
const WATCH: &str = r#"
import ctypes, os, subprocess
libc, moved_to = ctypes.CDLL(None), 0x80
watch = libc.inotify_init1(0)
assert libc.inotify_add_watch(watch, b"m/.views/web", moved_to) > 0
subprocess.run("printf two | ./pkfs put app.pk a", shell=True, check=True)
print(os.read(watch, 4096)[16:].rstrip(b"\0").decode())
"#;

#[test]
fn who_watches_a_share_of_a_users_mount_hears_of_changes() {
    if can_be_others() {
        alone_with_open_fuse("watching_a_share");
    }
}

#[test]
#[ignore = "run by who_watches_a_share_of_a_users_mount_hears_of_changes"]
fn watching_a_share() {
    let home = Home::new();
    fs::write(home.path("watch.py"), WATCH).unwrap();
    home.sh("./pkfs share create app.pk web a && ./pkfs mount app.pk m");
    assert_eq!(text(&home.sh("timeout 20 python3 watch.py").stdout), "a\n");
    assert_eq!(text(&home.sh("cat m/.views/web/a").stdout), "two");
    // A command with a view sees no other mount, which the user cannot take away in a namespace of its own.
    home.sh("printf x | ./pkfs put app.pk b");
    let seen =
        home.sh("./pkfs run app.pk --view web -- sh -c 'ls -A m; cat m/b m/.views/web/a; ls $PKFS_DIR'; cat m/b");
    assert_eq!(text(&seen.stdout), "a\nx");
    for change in ["touch m/.views/web/b", "rm -f m/.views/web/a", "mv m/.views/web/a m/.views/web/b"] {
        assert!(!home.try_sh(change).status.success(), "{change}");
    }
    home.sh("./pkfs umount m");
}

#[test]
fn little_lockable_memory_is_told_once_and_works() {
    if can_be_others() {
        alone_with_open_fuse("little_lockable_memory");
    }
}

#[test]
#[ignore = "run by little_lockable_memory_is_told_once_and_works"]
fn little_lockable_memory() {
    let home = Home::new();
    let said = home
        .sh("ulimit -l 64 && ./pkfs mount app.pk m && head -c 300000 /dev/zero > m/big && cat m/a m/big > /dev/null");
    let said = text(&said.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("locked memory") && said.contains("ulimit -l"), "{said}");
    assert_eq!(home.sh("./pkfs umount m && ./pkfs get app.pk big").stdout, vec![0; 300_000]);
}

#[test]
fn a_keynode_without_write_permission_is_mounted_read_only() {
    if can_be_others() {
        alone_with_open_fuse("without_write_permission");
    }
}

#[test]
#[ignore = "run by a_keynode_without_write_permission_is_mounted_read_only"]
fn without_write_permission() {
    let home = Home::new();
    fs::set_permissions(home.path("app.pk"), fs::Permissions::from_mode(0o400)).unwrap();
    let said = text(&home.sh("./pkfs mount app.pk m").stderr);
    assert!(said.contains("read-only") && said.contains("app.pk"), "{said}");
    assert_eq!(text(&home.sh("cat m/a").stdout), "one");
    for change in ["echo x > m/a", "echo x > m/b", "mkdir m/d", "rm m/a", "chmod 644 m/a"] {
        let refused = home.try_sh(&format!("LC_ALL=C; {change}"));
        assert!(!refused.status.success(), "{change}");
        assert!(text(&refused.stderr).contains("Read-only file system"), "{change}: {}", text(&refused.stderr));
    }
    home.sh("./pkfs umount m");
}
