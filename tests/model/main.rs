//! A mount against a plain directory: the same calls, the same answers and errnos, the same tree afterwards, and still
//! after a new mount.
#![allow(clippy::unwrap_used, clippy::panic)]

mod call;
#[path = "../support/mod.rs"]
mod support;
mod tree;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::test_runner::{TestCaseError, TestError};

use call::{Call, any_call};
use support::search::Search;
use support::{Bench, can_mount};
use tree::{Dump, Tree};

/// The most calls in one sequence.
const LONGEST: usize = 60;

#[test]
fn a_mount_answers_as_a_plain_directory_does() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let plain = plain_directory();
    let mount = bench.mount(&["-o", "suid"]);
    let tried = RefCell::new(Vec::new());
    for mut runner in Search::new() {
        let outcome = runner.run(&vec(any_call(), 1..LONGEST), |calls| {
            tried.borrow_mut().push(calls.clone());
            compare(&mount.path(""), plain.path(), tried.borrow().len(), &calls)
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, calls)) => {
                panic!("{reason}\n{}", listed(&calls));
            }
            Err(error) => panic!("{error}"),
        }
    }
    eprintln!("{} sequences", tried.borrow().len());
    bench.pkfs(&["umount", "m"]);
    assert_eq!(mount.wait(), Some(0));
    let again = bench.mount(&[]);
    for (case, calls) in (1..).zip(tried.into_inner()) {
        let [ours, theirs] = [&again.path(""), plain.path()].map(|root| Tree::new(&directory(root, case)).dump());
        if let Some(difference) = difference(&ours, &theirs) {
            panic!("after a new mount{difference}\n{}", listed(&calls));
        }
    }
}

fn listed(calls: &[Call]) -> String {
    let lines: Vec<String> = calls.iter().enumerate().map(|(at, call)| format!("{at:4} {call:?}")).collect();
    lines.join("\n")
}

/// The first path that two trees show differently.
fn difference(ours: &Dump, theirs: &Dump) -> Option<String> {
    let path = ours.keys().chain(theirs.keys()).find(|path| ours.get(*path) != theirs.get(*path))?;
    Some(format!(", {path}\n mount: {:?}\n plain: {:?}", ours.get(path), theirs.get(path)))
}

/// In memory where there is such a file system, so that no time is lost.
fn plain_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn compare(mount: &Path, plain: &Path, case: usize, calls: &[Call]) -> Result<(), TestCaseError> {
    let mut trees = [mount, plain].map(|root| {
        let root = directory(root, case);
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        Tree::new(&root)
    });
    for (at, call) in calls.iter().enumerate() {
        let [ours, theirs] = trees.each_mut().map(|tree| tree.answer(call));
        if ours != theirs {
            return Err(TestCaseError::fail(format!("call {at}, {call:?}\n mount: {ours:?}\n plain: {theirs:?}")));
        }
        let [ours, theirs] = trees.each_ref().map(Tree::look);
        if let Some((ours, theirs)) = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs) {
            return Err(TestCaseError::fail(format!(
                "after call {at}, {call:?}\n mount: {ours:?}\n plain: {theirs:?}"
            )));
        }
    }
    for tree in &mut trees {
        tree.close_all();
    }
    let [ours, theirs] = trees.each_ref().map(Tree::dump);
    match difference(&ours, &theirs) {
        None => Ok(()),
        Some(difference) => Err(TestCaseError::fail(format!("at the end{difference}"))),
    }
}

/// Where a sequence is at work: one level down, so that a link upwards leads to nothing of others.
fn directory(root: &Path, case: usize) -> PathBuf {
    root.join(case.to_string()).join("r")
}
