//! The mount as the system knows it: mount(8), umount(8), fstab(5), systemd.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::{Bench, can_mount, eventually};

/// Runs a script by root in a mount namespace of its own, where pkfs is installed and nothing else is in /sbin.
fn with_helpers(bench: &Bench, script: &str) -> Output {
    const BEFORE: &str = "mount -t tmpfs none /sbin\n\
        trap 'umount -il m 2>/dev/null || true' EXIT\n\
        says() { want=$1; shift; got=0; \"$@\" 2>said || got=$?; cat said >&2; test $got = $want; }\n\
        \"$0\" install --prefix \"$PWD/usr\" >installed\n";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euxc", &[BEFORE, script].concat(), env!("CARGO_BIN_EXE_pkfs")]);
    bench.surround(&mut command);
    command.env_remove("PKFS_KEY").output().unwrap()
}

fn holds(bench: &Bench, script: &str) {
    let output = with_helpers(bench, script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn mount_and_umount_know_a_keynode() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    holds(
        &bench,
        r#"mount -t fuse.pkfs app.pk m -o key="$PWD/key",cache=1M
        test "$(cat m/a)" = one
        grep -q " $PWD/m rw,nosuid,nodev,noexec.* fuse.pkfs $PWD/app.pk " /proc/self/mountinfo
        printf two >m/a
        umount m
        ! grep -q " $PWD/m " /proc/self/mountinfo
        test "$("$0" get app.pk a --key key)" = two"#,
    );
}

#[test]
fn a_line_in_fstab_is_enough() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    holds(
        &bench,
        r#"echo "$PWD/app.pk $PWD/m fuse.pkfs key=$PWD/key,ro,nofail,users,x-systemd.automount 0 0" >fstab
        mount -a -T fstab
        test "$(cat m/a)" = one
        ! touch m/b
        says 1 mount -T fstab -o remount,rw "$PWD/m"
        umount app.pk
        mount -f -a -T fstab
        ! test -e m/a"#,
    );
}

#[test]
fn what_cannot_be_mounted_or_unmounted_is_told() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    holds(
        &bench,
        r#"says 1 mount -t fuse.pkfs app.pk m -o nonsense
        grep -q 'unknown mount option nonsense' said
        says 32 mount -t fuse.pkfs app.pk m -o key=/none
        grep -q 'cannot read' said
        mount -s -t fuse.pkfs app.pk m -o key="$PWD/key",nonsense
        exec 3<m/a
        says 32 umount m
        grep -q "held by .*--lazy" said
        umount -l m
        ! test -e m/a
        test "$(cat <&3)" = one"#,
    );
}

#[test]
fn what_is_installed_can_be_removed() {
    let bench = Bench::new();
    let root = bench.path("root");
    let install = |more: &[&str]| {
        let arguments = [&["install", "--prefix", "/usr", "--destdir", "root"], more].concat();
        String::from_utf8(bench.pkfs(&arguments)).unwrap()
    };
    let planned = install(&["--dry-run"]);
    assert!(!root.exists());
    assert_eq!(install(&[]), planned);
    assert_eq!(install(&[]), planned, "again");
    let paths: Vec<&Path> = planned.lines().map(|line| Path::new(line.strip_prefix("install\t").unwrap())).collect();
    for path in &paths {
        assert!(bench.path("").join(path).symlink_metadata().is_ok(), "{}", path.display());
    }
    assert_eq!(fs::read_link(root.join("sbin/mount.fuse.pkfs")).unwrap(), Path::new("/usr/bin/pkfs"));
    assert!(fs::read_to_string(root.join("usr/share/man/man1/pkfs-mount.1")).unwrap().contains("foreground"));
    let version = Command::new(root.join("usr/bin/pkfs")).arg("--version").output().unwrap();
    assert!(version.status.success());
    fs::remove_file(root.join("sbin/umount.fuse.pkfs")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", root.join("sbin/umount.fuse.pkfs")).unwrap();
    assert_eq!(install(&["--remove"]).lines().count(), paths.len() - 1, "a link that leads elsewhere stays");
    assert_eq!(install(&["--remove"]), "");
    assert!(!root.join("usr/bin/pkfs").exists());
    assert_eq!(bench.try_pkfs(&["install", "--prefix", "usr"]).status.code(), Some(2));
}

#[test]
fn a_service_manager_hears_when_it_is_ready_and_when_it_ends() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    let socket = UnixDatagram::bind(bench.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut got = [0; 256];
        let length = socket.recv(&mut got).expect("a message in 20 s");
        String::from_utf8_lossy(got.get(..length).unwrap()).lines().next().unwrap_or_default().to_owned()
    };
    let mount = bench.mount_with(&[], &[("NOTIFY_SOCKET", bench.path("notify"))]);
    assert_eq!(heard(), "READY=1");
    assert_eq!(mount.read("a"), "one");
    mount.signal(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(mount.wait(), Some(0));
}

#[test]
fn requests_are_logged_without_what_files_hold() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    fs::write(bench.path("value"), "battery staple").unwrap();
    let mount = bench.mount(&["-v"]);
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(bench.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    let cp = run("cp", &["value", "m/a"]);
    let cat = run("cat", &["m/a"]);
    let rm = run("rm", &["m/a", "m/none"]);
    let uid = rustix::process::geteuid().as_raw();
    for (operation, pid, result) in [
        ("create a", cp, "done in "),
        ("write a", cp, "done in "),
        ("flush a", cp, "done in "),
        ("open a", cat, "done in "),
        ("unlink a", rm, "done in "),
        ("lookup none", rm, "failed in "),
    ] {
        let line = format!("Z {operation} pid {pid} uid {uid}: {result}");
        eventually(&line, || mount.said().iter().any(|said| said.contains(&line)));
    }
    let said = mount.said().join("\n");
    assert!(!said.contains("battery") && !said.contains("staple"), "{said}");
    drop(mount);
    let quiet = bench.mount(&[]);
    quiet.write("b", "x");
    fs::read(quiet.path("none")).unwrap_err();
    assert_eq!(quiet.said(), [""; 0]);
}

#[test]
fn what_is_unmounted_lazily_is_saved_with_its_last_file() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    let mut open = File::create(mount.path("a")).unwrap();
    bench.pkfs(&["umount", "--lazy", "m"]);
    assert!(!mount.path("a").exists());
    open.write_all(b"late").unwrap();
    drop(open);
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(bench.get("a"), "late");
}

#[test]
fn a_signal_ends_its_own_mount_alone() {
    if !rustix::process::geteuid().is_root() || !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "x");
    let open = File::open(mount.path("a")).unwrap();
    let run = |command: &[&str]| {
        assert!(Command::new(command[0]).args(&command[1..]).arg(bench.path("m")).status().unwrap().success());
    };
    run(&["umount", "-i", "-l"]);
    run(&["mount", "-t", "tmpfs", "none"]);
    mount.write("b", "another's");
    mount.signal(Signal::TERM);
    eventually("its end", || mount.said().iter().any(|line| line.contains("files are still open")));
    let said = mount.said().join("\n");
    assert!(!said.contains("cannot unmount"), "{said}");
    assert_eq!(mount.read("b"), "another's");
    drop(open);
}

#[test]
fn a_mount_that_answers_no_more_is_unmounted_by_force() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "x");
    mount.signal(Signal::STOP);
    // Neither waits for ever, nor changes anything.
    for command in [&["umount", "m"][..], &["umount", "--lazy", "m"], &["mount", "app.pk", "m"]] {
        let output = bench.try_pkfs(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("does not answer") && said.contains("pkfs umount --force"), "{said}");
    }
    bench.pkfs(&["umount", "--force", "m"]);
    assert!(!mount.path("a").exists());
    mount.signal(Signal::CONT);
    mount.wait();
    assert_eq!(bench.get("a"), "x");
}

#[test]
fn what_cannot_be_saved_stays_mounted() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    mount.write("a", "x");
    fs::set_permissions(mount.path("a"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(bench.path("app.pk"), bench.path("aside")).unwrap();
    for command in [&["umount", "m"][..], &["umount", "--lazy", "m"]] {
        let output = bench.try_pkfs(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("it stays mounted"), "{said}");
    }
    assert_eq!(mount.read("a"), "x");
    fs::rename(bench.path("aside"), bench.path("app.pk")).unwrap();
    bench.pkfs(&["umount", "m"]);
    mount.wait();
    let line = String::from_utf8(bench.pkfs(&["ls", "-l", "app.pk", "a"])).unwrap();
    assert!(line.contains("640"), "{line}");
}

/// Who starts it may have it inherit that children are not waited for.
#[test]
fn it_unmounts_where_children_are_ignored() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    let script =
        "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nos.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_pkfs"), "umount", "m"]);
    bench.surround(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    mount.wait();
}

/// Pages of a file that the kernel has in its cache.
fn cached_pages(path: &Path) -> usize {
    let output = Command::new("fincore").args(["--noheadings", "--output", "PAGES"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn the_kernel_keeps_nothing_where_it_shall_not() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let value = "v".repeat(300_000);
    bench.put("a", &value);
    for read_only in [&[][..], &["--read-only"]] {
        let mount = bench.mount(read_only);
        assert_eq!(mount.read("a"), value);
        assert!(cached_pages(&mount.path("a")) > 0);
        drop(mount);
        let mount = bench.mount(&[read_only, &["--no-page-cache"]].concat());
        assert_eq!(mount.read("a"), value);
        assert_eq!(cached_pages(&mount.path("a")), 0);
        if read_only.is_empty() {
            mount.write("b", &value);
            assert_eq!(cached_pages(&mount.path("b")), 0);
            assert_eq!(mount.read("b"), value);
        }
    }
}

#[test]
fn files_can_be_mapped_all_the_same() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "0123456789");
    let mount = bench.mount(&["-o", "no_page_cache"]);
    let script = "import mmap,sys\n\
        f=open(sys.argv[1],'r+b'); m=mmap.mmap(f.fileno(),0); m[2:5]=b'ABC'; m.flush(); m.close()\n\
        g=open(sys.argv[1],'rb'); assert mmap.mmap(g.fileno(),0,prot=mmap.PROT_READ)[:]==b'01ABC56789'\n";
    assert!(Command::new("python3").args(["-c", script]).arg(mount.path("a")).status().unwrap().success());
    assert_eq!(mount.read("a"), "01ABC56789");
    eventually("the commit", || bench.get("a") == "01ABC56789");
}

#[test]
fn extended_attributes_are_there_if_they_are_asked_for() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.put("a", "one");
    bench.put("a", "two");
    let getfattr = |arguments: &[&str]| {
        let mut command = Command::new("getfattr");
        let output = command.args(["--absolute-names"]).args(arguments).current_dir(bench.path("")).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let mount = bench.mount(&[]);
    for question in [&["-d", "m/a"][..], &["-n", "user.pkfs.version", "m/a"]] {
        let (out, err) = getfattr(question);
        assert!(out.is_empty() && err.contains("Operation not supported"), "{out}{err}");
    }
    drop(mount);
    let mount = bench.mount(&["-o", "xattr"]);
    let (all, _) = getfattr(&["-d", "m/a"]);
    assert!(all.contains("user.pkfs.version=\"2\"\n"), "{all}");
    assert!(all.contains("user.pkfs.id=\"") && all.contains("user.pkfs.writer=\""), "{all}");
    let version = ["--only-values", "-n", "user.pkfs.version"];
    assert_eq!(getfattr(&[&version[..], &["m/.versions/a/1"]].concat()).0, "1");
    assert!(getfattr(&["-n", "user.none", "m/a"]).1.contains("No such attribute"));
    assert_eq!(getfattr(&["-d", "m"]).0, "");
    mount.write("a", "three");
    assert_eq!(getfattr(&[&version[..], &["m/a"]].concat()).0, "3");
    let set = Command::new("setfattr").args(["-n", "user.pkfs.id", "-v", "x"]).arg(mount.path("a")).output().unwrap();
    assert!(String::from_utf8_lossy(&set.stderr).contains("Operation not supported"));
}
