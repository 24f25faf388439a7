//! Mounts from elsewhere: in a pid namespace beside that of the callers, of whom it sees user and group alone; and of another
//! user, for whom root is a caller like others.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::callers::{Caller, output, user};
use crate::oracle::content;
use crate::place::{Place, can};
use crate::support::alone_with_open_fuse;

/// Ends with its namespace, and the mount with it.
struct Namespace(Child);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_cannot_be_seen_is_its_user_and_group() {
    if !can() {
        return;
    }
    let place = Place::new();
    let home = place.bench.path("");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_pkfs"), "mount", "-oxattr"]);
    command.args(["--foreground", "app.pk", "m"]).current_dir(&home).env("PKFS_KEY", "key").env("HOME", &home);
    command.env("XDG_STATE_HOME", home.join("state")).env("RUST_LOG", "pkfs=info").stderr(Stdio::piped());
    let mut namespace = Namespace(command.spawn().unwrap());
    let mut lines = BufReader::new(namespace.0.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("mounted")));
    std::thread::spawn(move || lines.for_each(drop));
    let outer = namespace.0.id();
    let inner = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let enter = ["nsenter".to_owned(), format!("--mount=/proc/{}/ns/mnt", inner.trim())].map(OsString::from);
    let mut wrong = Vec::new();
    for (name, shares) in [
        ("web", &["web", "one"][..]),
        ("two", &["two"]),
        ("of the team", &["web", "one", "team"]),
        ("in the team too", &[]),
        ("tool", &[]),
        ("web's tool", &["web", "one"]),
        ("in the slice", &[]),
    ] {
        let found = place.means.callers().into_iter().find(|caller| caller.name == name);
        // This machine may have no such cgroups.
        let Some(caller) = found else { continue };
        let caller = caller.within(&enter, shares);
        let found = Place::wrong(&caller, false, place.start(&caller, &["see", "cached", "change"]));
        // There is no /proc/self among processes that cannot be seen.
        let by_proc = ["see:proc-root ", "see:o-path-open ", "see:o-path-list "];
        wrong.extend(found.into_iter().filter(|what| !by_proc.iter().any(|way| what.contains(way))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever has rights over all files has none to what a mount shows.
#[test]
fn root_is_a_caller_like_others_where_it_did_not_mount() {
    if can() {
        alone_with_open_fuse("elsewhere::mounted_by_somebody_else");
    }
}

#[test]
#[ignore = "run by root_is_a_caller_like_others_where_it_did_not_mount"]
fn mounted_by_somebody_else() {
    const MOUNTER: u32 = 61004;
    let place = Place::new();
    let home = place.bench.path("");
    assert!(Command::new("chown").args(["-R", &MOUNTER.to_string()]).arg(&home).status().unwrap().success());
    let mut words = user(MOUNTER, "");
    words.extend(["--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"].map(OsString::from));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(place.program()).args([
        "mount",
        "--foreground",
        "-o",
        "allow_other,xattr",
        "app.pk",
        "m",
    ]);
    command.current_dir(&home);
    command.env("PKFS_KEY", "key").env("HOME", &home).env("XDG_STATE_HOME", home.join("state"));
    let mut mounted = Namespace(command.env("RUST_LOG", "pkfs=info").stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(mounted.0.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("mounted")));
    std::thread::spawn(move || lines.for_each(drop));
    let others = place.means.callers().into_iter().filter(|caller| ["web", "denied"].contains(&caller.name));
    let callers: Vec<Caller> = others.chain([Caller::root()]).collect();
    let mut wrong = Vec::new();
    for round in 0..2 {
        for caller in &callers {
            let found = Place::wrong(caller, false, place.start(caller, &["see", "cached", "change"]));
            wrong.extend(found.into_iter().map(|what| format!("round {round}: {what}")));
        }
        // Whoever mounted sees all, and warms the caches.
        let path = |path: &str| home.join("m").join(path).to_str().unwrap().to_owned();
        assert_eq!(output(MOUNTER, &["cat", &path("web/one")]).unwrap(), content("web/one"));
        assert!(output(MOUNTER, &["ls", &path("")]).unwrap().contains("private\n"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Command::new(place.program()).args(["umount", "m"]).current_dir(&home).status().unwrap().success());
    assert!(mounted.0.wait().unwrap().success());
}
