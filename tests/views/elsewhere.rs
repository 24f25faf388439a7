//! A mount in a pid namespace beside that of the callers: of them it sees user and group alone.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::place::{Place, can};

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
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_pkfs"), "mount"]);
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
