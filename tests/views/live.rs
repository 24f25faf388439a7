//! Rules that change while a mount stands act at the next open.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::chown;

use nix::unistd::{Group, User};

use crate::callers::{self, DENIED, TEAM, TWO, WEB, output};
use crate::oracle::content;
use crate::place::{Place, can, open_bench};
use crate::support::{Mount, eventually};

fn reads(mount: &Mount, uid: u32, path: &str) -> bool {
    let read = output(uid, &["cat", mount.path(path).to_str().unwrap()]);
    assert!(read.iter().all(|text| *text == content(path)), "{path}: {read:?}");
    read.is_some()
}

fn knows(mount: &Mount, uid: u32, path: &str) -> bool {
    output(uid, &["stat", mount.path(path).to_str().unwrap()]).is_some()
}

#[test]
fn rules_and_shares_change_on_a_mount_that_stands() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let share = |arguments: &[&str]| drop(place.bench.pkfs(&[&["share"], arguments].concat()));
    let (denied, web) = (DENIED.to_string(), WEB.to_string());
    assert!(reads(&mount, WEB, "web/sub/deep") && !reads(&mount, DENIED, "web/sub/deep"));

    share(&["allow", "app.pk", "web", "--uid", &denied]);
    eventually("allowing", || reads(&mount, DENIED, "web/sub/deep") && reads(&mount, DENIED, "db/web"));
    share(&["deny", "app.pk", "web", "--uid", &denied]);
    eventually("denying", || !reads(&mount, DENIED, "web/sub/deep") && !knows(&mount, DENIED, "web/sub"));
    assert!(reads(&mount, WEB, "web/sub/deep"), "others keep theirs");

    share(&["allow", "app.pk", "web", "--uid", &denied, "--until", "2999-01-31"]);
    eventually("allowing for a time", || reads(&mount, DENIED, "web/one"));
    share(&["allow", "app.pk", "web", "--uid", &denied, "--until", "2020-01-31"]);
    eventually("the end of a time", || !reads(&mount, DENIED, "web/one"));

    share(&["add", "app.pk", "two", "private/sub"]);
    eventually("adding", || reads(&mount, TWO, "private/sub/y"));
    assert!(!knows(&mount, TWO, "private/one") && !knows(&mount, WEB, "private"));
    share(&["remove", "app.pk", "two", "private/sub"]);
    eventually("removing", || !knows(&mount, TWO, "private/sub/y") && !knows(&mount, TWO, "private"));

    // What was one for all below becomes different: the kernel must not go on with what it has.
    share(&["add", "app.pk", "web", "web/one"]);
    assert!(knows(&mount, WEB, "web/one") && knows(&mount, WEB, "web/sub/deep"));
    share(&["remove", "app.pk", "web", "web"]);
    eventually("narrowing", || !knows(&mount, WEB, "web/sub/deep") && !knows(&mount, WEB, "web/sub"));
    assert!(reads(&mount, WEB, "web/one"));

    share(&["allow", "app.pk", "web", "--uid", &web, "--write"]);
    let one = mount.path("web/one");
    let mode = || output(WEB, &["stat", "-c", "%a", one.to_str().unwrap()]).unwrap();
    eventually("the mode of what may be written", || mode() == "666\n");
    share(&["allow", "app.pk", "web", "--uid", &web]);
    eventually("the mode of what may not", || mode() == "644\n");
    assert_eq!(output(WEB, &["sh", "-c", "echo x > \"$0\"", one.to_str().unwrap()]), None);
}

#[test]
fn without_rules_the_trees_of_shares_belong_to_the_owner_of_the_top() {
    if !can() {
        return;
    }
    let bench = open_bench();
    bench.put("web", "one");
    bench.pkfs(&["share", "create", "app.pk", "web", "web"]);
    let mount = bench.mount(&["-o", "allow_other"]);
    let lists = |uid| output(uid, &["ls", mount.path(".views").to_str().unwrap()]).is_some();
    assert!(!lists(WEB) && !lists(TWO));
    for (owner, other) in [(WEB, TWO), (TWO, WEB), (0, TWO)] {
        chown(mount.path(""), Some(owner), None).unwrap();
        // What the kernel remembers is taken back by a thread of its own.
        eventually("another owner", || lists(owner) && !lists(other));
    }
}

#[test]
fn a_share_that_is_deleted_leaves_an_empty_tree() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let tree = File::open(mount.path(".views/team")).unwrap();
    let root = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&tree));
    let mut open = File::open(format!("{root}/team")).unwrap();
    place.bench.pkfs(&["share", "delete", "app.pk", "team"]);
    eventually("emptying", || std::fs::read_dir(&root).unwrap().count() == 0);
    assert!(File::open(format!("{root}/team")).is_err());
    assert!(std::fs::read_dir(mount.path(".views")).unwrap().all(|entry| entry.unwrap().file_name() != "team"));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, content("team"), "what is open stays open");
    let team = TEAM.to_string();
    let words = ["setpriv", "--reuid=61003", "--regid", &team, "--clear-groups", "cat"];
    let denied = std::process::Command::new(words[0]).args(&words[1..]).arg(mount.path("team")).output().unwrap();
    assert!(!denied.status.success());
}

/// Each kind of rule that names a user, a group or a program lets in who is meant, and nobody else.
#[test]
fn rules_by_name_and_by_digest_let_in_who_is_meant() {
    if !can() {
        return;
    }
    let place = Place::new();
    let tool = place.bench.path("a-cat");
    std::fs::copy("/bin/cat", &tool).unwrap();
    let tool = tool.to_str().unwrap();
    let digest = String::from_utf8(std::process::Command::new("sha256sum").arg(tool).output().unwrap().stdout).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    let other: String = digest.chars().rev().collect();
    let (user, group) = (User::from_name("nobody").unwrap().unwrap(), Group::from_name("games").unwrap().unwrap());
    for rule in [
        &["both", "--user", "nobody"][..],
        &["box", "--group", "games"],
        &["slice", "--exe", tool, "--sha256", digest],
        &["named", "--exe", tool, "--sha256", &other],
    ] {
        place.bench.pkfs(&[&["share", "allow", "app.pk"], rule].concat());
    }
    let mount = place.mount();
    let reads = |by: &[std::ffi::OsString], program: &str, path: &str| {
        let mut command = std::process::Command::new(&by[0]);
        let output = command.args(&by[1..]).arg(program).arg(mount.path(path)).current_dir("/").output().unwrap();
        output.stdout == content(path).as_bytes()
    };
    let denied = callers::user(DENIED, "");
    let named = callers::user(user.uid.as_raw(), "");
    let member = callers::user(DENIED, &group.gid.as_raw().to_string());
    for (by, program, given) in [
        (&denied, "cat", &[][..]),
        (&named, "cat", &["both"]),
        (&member, "cat", &["box/x"]),
        (&denied, tool, &["slice/y"]),
        (&named, tool, &["both", "slice/y"]),
    ] {
        for path in ["both", "box/x", "slice/y", "named"] {
            assert_eq!(reads(by, program, path), given.contains(&path), "{by:?} {program} {path}");
        }
    }
    // The same name, another program.
    std::fs::copy("/bin/head", tool).unwrap();
    assert!(!reads(&denied, tool, "slice/y"));
}

#[test]
fn a_rule_ends_by_itself_when_its_time_has_come() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let end = std::process::Command::new("date").args(["-u", "-d", "+10 seconds", "+%FT%TZ"]).output().unwrap();
    let end = String::from_utf8(end.stdout).unwrap();
    let denied = DENIED.to_string();
    place.bench.pkfs(&["share", "allow", "app.pk", "web", "--uid", &denied, "--until", end.trim()]);
    eventually("the rule", || reads(&mount, DENIED, "web/one"));
    eventually("its end", || !reads(&mount, DENIED, "web/one") && !knows(&mount, DENIED, "web"));
    assert!(reads(&mount, WEB, "web/one"));
}
