//! What inotify tells on the mount, held against what it tells of the same done to a plain directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pkfs::fuse::MountOptions;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use tempfile::TempDir;

use crate::outside::{Change, Outside, fill};
use crate::recorder::Recorder;
use crate::support::{Served, alone, can_mount, eventually};

const WATCHED: [&str; 8] = ["", "a", "b", "d", "d/x", "d/y", "e", "e/f"];

/// Where it is watched.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Writable,
    ReadOnly,
    /// On a bind mount of a share in `.views`, as a container has it.
    Share,
}

/// What the share covers, whether it is there yet or not.
const SHARED: [&str; 7] = ["a", "b", "c", "d", "e", "g", "last"];

fn tree(change: &mut Change<'_>) {
    change.share("web", &SHARED);
    change.put("other", "one");
    change.mkdir("d");
    change.mkdir("e");
    change.mkdir("e/f");
    for path in ["a", "b", "d/x", "d/y", "e/f/z"] {
        change.put(path, "one");
    }
}

fn plain_tree(root: &Path) {
    fs::create_dir_all(root.join("d")).unwrap();
    fs::create_dir_all(root.join("e/f")).unwrap();
    for path in ["a", "b", "d/x", "d/y", "e/f/z"] {
        fs::write(root.join(path), "one").unwrap();
    }
}

/// A bind mount, unmounted on drop.
struct Bound(TempDir);

impl Bound {
    fn new(source: &Path) -> Self {
        let bound = Self(tempfile::tempdir().unwrap());
        mount_bind(source, bound.0.path()).unwrap();
        bound
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

/// Holds what is heard of a change from outside against what is heard of the same on a plain directory, where `prepare`
/// has made the files that appear by rename.
fn alike(place: Place, change: impl FnOnce(&mut Change<'_>), prepare: impl FnOnce(&Path), same: impl FnOnce(&Path)) {
    let options = MountOptions { read_only: place == Place::ReadOnly, ..MountOptions::default() };
    let plain = tempfile::tempdir().unwrap();
    plain_tree(plain.path());
    prepare(plain.path());
    let mut recorder = Recorder::new(plain.path(), &WATCHED);
    same(plain.path());
    fs::create_dir(plain.path().join("last")).unwrap();
    let mut expected = recorder.until("last");

    let mount = Served::with(options, |keynode| fill(keynode, tree));
    let bound = (place == Place::Share).then(|| Bound::new(&mount.path(".views/web")));
    let outside = Outside::of(&mount);
    let root = bound.as_ref().map_or_else(|| mount.path(""), |bound| bound.0.path().to_owned());
    let mut recorder = Recorder::new(&root, &WATCHED);
    outside.change(change);
    // What changes meanwhile would be told of together with this.
    let mut heard = recorder.next(expected.len());
    if place == Place::Share {
        // Nobody hears of what the share does not cover.
        outside.put("other", "two");
        eventually("the change", || outside.is_known_to(&mount));
    }
    outside.put("last", "");
    heard.extend(recorder.until("last"));
    // The sentinel itself comes to the mount by rename.
    expected.push(":MOVED_FROM HIDDEN".to_owned());
    assert_eq!(heard, expected);
}

fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).unwrap();
}

fn replaced(place: Place) {
    alike(
        place,
        |change| {
            change.put("a", "two");
            change.put("d/x", "two");
        },
        |root| {
            fs::write(root.join(".new-a"), "two").unwrap();
            fs::write(root.join("d/.new-x"), "two").unwrap();
        },
        |root| {
            rename(root, ".new-a", "a");
            rename(root, "d/.new-x", "d/x");
        },
    );
}

fn made(place: Place) {
    alike(
        place,
        |change| {
            change.put("c", "one");
            change.put("d/w", "one");
            change.mkdir("g");
            change.put("g/h", "one");
        },
        |root| {
            fs::write(root.join(".new-c"), "one").unwrap();
            fs::write(root.join("d/.new-w"), "one").unwrap();
            fs::create_dir(root.join(".new-g")).unwrap();
        },
        |root| {
            rename(root, ".new-c", "c");
            rename(root, ".new-g", "g");
            rename(root, "d/.new-w", "d/w");
        },
    );
}

fn removed(place: Place) {
    alike(
        place,
        |change| {
            change.unlink("b");
            change.unlink("d/x");
            change.unlink("e/f/z");
            change.rmdir("e/f");
            change.rmdir("e");
        },
        |_| {},
        |root| {
            for path in ["e/f/z", "d/x"] {
                fs::remove_file(root.join(path)).unwrap();
            }
            fs::remove_dir(root.join("e/f")).unwrap();
            fs::remove_file(root.join("b")).unwrap();
            fs::remove_dir(root.join("e")).unwrap();
        },
    );
}

fn moved(place: Place) {
    alike(
        place,
        |change| {
            change.rename("a", "d/a");
            change.rename("e", "d/e");
            change.exchange("b", "d/y");
        },
        |_| {},
        |root| {
            rename(root, "a", "d/a");
            rename(root, "e", "d/e");
            let (one, other) = (root.join("d/y"), root.join("b"));
            renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
        },
    );
}

fn of_another_type(place: Place) {
    alike(
        place,
        |change| {
            change.unlink("a");
            change.mkdir("a");
            change.unlink("e/f/z");
            change.rmdir("e/f");
            change.put("e/f", "a file");
        },
        |root| {
            fs::create_dir(root.join(".new-a")).unwrap();
            fs::write(root.join("e/.new-f"), "a file").unwrap();
        },
        |root| {
            fs::remove_file(root.join("e/f/z")).unwrap();
            fs::remove_file(root.join("a")).unwrap();
            rename(root, ".new-a", "a");
            fs::remove_dir(root.join("e/f")).unwrap();
            rename(root, "e/.new-f", "e/f");
        },
    );
}

#[test]
#[ignore = "run by watchers_hear_what_rename_would_tell"]
fn events_are_those_of_a_plain_directory() {
    for place in [Place::Writable, Place::ReadOnly] {
        all_kinds(place);
    }
}

fn all_kinds(place: Place) {
    replaced(place);
    made(place);
    removed(place);
    moved(place);
    of_another_type(place);
}

#[test]
#[ignore = "run by watchers_of_a_share_hear_the_same"]
fn events_of_a_share_are_those_of_a_plain_directory() {
    all_kinds(Place::Share);
    left_and_come_back();
}

/// What leaves the share is removed from it, and what comes into it appears there.
fn left_and_come_back() {
    let mount = Served::new(|keynode| fill(keynode, tree));
    let bound = Bound::new(&mount.path(".views/web"));
    let outside = Outside::of(&mount);
    let mut recorder = Recorder::new(bound.0.path(), &["", "d"]);
    outside.change(|change| change.rename("a", "elsewhere"));
    assert_eq!(recorder.next(1), [":DELETE a"]);
    outside.change(|change| change.rename("elsewhere", "d/a"));
    assert_eq!(recorder.next(2), ["d:MOVED_FROM HIDDEN", "d:MOVED_TO a"]);
    outside.put("last", "");
    assert_eq!(recorder.until("last"), [":MOVED_FROM HIDDEN"]);
    assert_eq!(fs::read(bound.0.path().join("d/a")).unwrap(), b"one");
    // A share that is deleted is empty, and whoever watches hears of that.
    outside.change(|change| change.delete_share("web"));
    let expected = [":DELETE b", "d:DELETE_SELF", "d:IGNORED", ":DELETE|ISDIR d", ":DELETE|ISDIR e"];
    assert_eq!(recorder.until("last"), expected);
}

#[test]
fn watchers_of_a_share_hear_the_same() {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: not root");
    }
    if root && can_mount() {
        alone("events::events_of_a_share_are_those_of_a_plain_directory");
    }
}

#[test]
fn watchers_hear_what_rename_would_tell() {
    if can_mount() {
        alone("events::events_are_those_of_a_plain_directory");
    }
}

#[test]
fn tail_follows_by_name() {
    if can_mount() {
        alone("events::tail");
    }
}

#[test]
#[ignore = "run by tail_follows_by_name"]
fn tail() {
    let mount = Served::new(|keynode| fill(keynode, |change| change.put("log", "one\n")));
    let outside = Outside::of(&mount);
    let mut tail = Command::new("tail")
        .args(["-n", "+1", "-F", "-s", "0.1"])
        .arg(mount.path("log"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (said, lines) = mpsc::channel();
    let output = BufReader::new(tail.stdout.take().unwrap());
    std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| said.send(line).unwrap()));
    let heard = || lines.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(heard(), "one");
    for value in ["two", "three"] {
        outside.put("log", &format!("{value}\n"));
        assert_eq!(heard(), value);
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}
