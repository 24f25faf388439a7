//! What inotify tells on the mount, held against what it tells of the same done to a plain directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pkfs::fuse::MountOptions;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::outside::{Change, Outside, fill};
use crate::recorder::Recorder;
use crate::support::{Served, alone, can_mount, eventually};

const WATCHED: [&str; 8] = ["", "a", "b", "d", "d/x", "d/y", "e", "e/f"];

fn tree(change: &mut Change<'_>) {
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

/// Holds what is heard of a change from outside against what is heard of the same on a plain directory, where `prepare`
/// has made the files that appear by rename.
fn alike(read_only: bool, change: impl FnOnce(&mut Change<'_>), prepare: impl FnOnce(&Path), same: impl FnOnce(&Path)) {
    let options = MountOptions { read_only, ..MountOptions::default() };
    let mount = Served::with(options, |keynode| fill(keynode, tree));
    let outside = Outside::of(&mount);
    let mut recorder = Recorder::new(&mount.path(""), &WATCHED);
    outside.change(change);
    // Two changes at once would be told of together.
    eventually("the change", || outside.is_known_to(&mount));
    outside.put("last", "");
    let heard = recorder.until("last");

    let plain = tempfile::tempdir().unwrap();
    let root = plain.path();
    plain_tree(root);
    prepare(root);
    let mut recorder = Recorder::new(root, &WATCHED);
    same(root);
    fs::create_dir(root.join("last")).unwrap();
    let mut expected = recorder.until("last");
    // The sentinel itself comes to the mount by rename.
    expected.push(":MOVED_FROM HIDDEN".to_owned());
    assert_eq!(heard, expected);
}

fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).unwrap();
}

fn replaced(read_only: bool) {
    alike(
        read_only,
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

fn made(read_only: bool) {
    alike(
        read_only,
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

fn removed(read_only: bool) {
    alike(
        read_only,
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

fn moved(read_only: bool) {
    alike(
        read_only,
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

fn of_another_type(read_only: bool) {
    alike(
        read_only,
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
    for read_only in [false, true] {
        replaced(read_only);
        made(read_only);
        removed(read_only);
        moved(read_only);
        of_another_type(read_only);
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
    let heard = || lines.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(heard(), "one");
    for value in ["two", "three"] {
        outside.put("log", &format!("{value}\n"));
        assert_eq!(heard(), value);
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}
