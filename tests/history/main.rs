//! The history of a mount against a reference: after any calls, `.versions` has what the semantics promise, and still
//! after a new mount.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod call;
mod reference;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError};

use call::{Bed, Call, any_call};
use reference::{Histories, History, Reference};
use support::search::Search;
use support::{Bench, Mount, can_mount, eventually};

/// The most calls in one sequence.
const LONGEST: usize = 40;
/// For so long a new secret counts as its maker's temporary file, if it is moved over another one: ten seconds, less
/// some for a busy machine. What takes longer tells nothing.
const NEW: Duration = Duration::from_secs(8);
/// What some sequences find, from before the mount.
const OLD: [(&str, &str); 2] = [("a", "old a"), ("b", "old b")];
/// Directories with that which are made at once, since it takes a new mount.
const PREPARED: usize = 100;

/// Where sequences are tried, each in a directory of its own.
struct Ground {
    bench: Bench,
    mount: Option<Mount>,
    made: usize,
    prepared: Vec<String>,
    tried: Vec<(String, Vec<Call>, Histories)>,
}

impl Ground {
    fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    fn remount(&mut self) {
        let mount = self.mount.take().unwrap();
        self.bench.pkfs(&["umount", "m"]);
        assert_eq!(mount.wait(), Some(0));
        self.mount = Some(self.bench.mount(&[]));
    }

    fn new_directory(&mut self) -> String {
        self.made += 1;
        let name = self.made.to_string();
        fs::create_dir(self.mount().path(&name)).unwrap();
        name
    }

    /// A directory, perhaps with what was there before the mount.
    fn directory(&mut self, old: bool) -> String {
        if !old {
            return self.new_directory();
        }
        if self.prepared.is_empty() {
            for _ in 0..PREPARED {
                let name = self.new_directory();
                for (path, content) in OLD {
                    self.mount().write(&format!("{name}/{path}"), content);
                }
                self.prepared.push(name);
            }
            self.remount();
        }
        self.prepared.pop().unwrap()
    }

    fn compare(&mut self, old: bool, calls: &[Call]) -> Result<(), TestCaseError> {
        let name = self.directory(old);
        let began = Instant::now();
        let root = self.mount().path(&name);
        let past = self.mount().path(&format!(".versions/{name}"));
        let mut reference = if old { Reference::with(&OLD) } else { Reference::default() };
        let mut bed = Bed { root: &root, open: [const { None }; call::SLOTS] };
        let ends = (0..call::SLOTS).map(Call::Close);
        for (at, call) in calls.iter().cloned().chain(ends).enumerate() {
            let possible = reference.make(&call);
            if !possible && call.needs_slot() {
                continue;
            }
            let made = bed.make(&call);
            if made.is_ok() != possible {
                return Err(TestCaseError::fail(format!("call {at}, {call:?}: {made:?}, expected {possible}")));
            }
            for path in reference.awaited() {
                let (expected, _) = &reference.histories()[&path];
                eventually("the version of a release", || history(&past.join(&path)) == *expected);
            }
        }
        let (found, expected) = (histories(&past), reference.histories());
        if began.elapsed() > NEW {
            return Err(TestCaseError::reject("the machine is too busy"));
        }
        self.tried.push((name, calls.to_vec(), expected.clone()));
        match difference(&found, &expected) {
            Some(difference) => Err(TestCaseError::fail(difference)),
            None => Ok(()),
        }
    }
}

#[test]
fn versions_are_those_that_the_semantics_promise() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = Some(bench.mount(&[]));
    let ground = RefCell::new(Ground { bench, mount, made: 0, prepared: Vec::new(), tried: Vec::new() });
    for mut runner in Search::new() {
        let sequences = (any::<bool>(), vec(any_call(), 1..LONGEST));
        match runner.run(&sequences, |(old, calls)| ground.borrow_mut().compare(old, &calls)) {
            Ok(()) => {}
            Err(TestError::Fail(reason, (old, calls))) => panic!("{reason}\nold: {old}\n{}", listed(&calls)),
            Err(error) => panic!("{error}"),
        }
    }
    let mut ground = ground.into_inner();
    eprintln!("{} sequences", ground.tried.len());
    ground.remount();
    for (name, calls, expected) in &ground.tried {
        if let Some(difference) = difference(&histories(&ground.mount().path(&format!(".versions/{name}"))), expected) {
            panic!("after a new mount, {difference}\n{}", listed(calls));
        }
    }
}

fn listed(calls: &[Call]) -> String {
    let lines: Vec<String> = calls.iter().enumerate().map(|(at, call)| format!("{at:4} {call:?}")).collect();
    lines.join("\n")
}

/// The first path whose histories are others.
fn difference(found: &Histories, expected: &Histories) -> Option<String> {
    let path = found.keys().chain(expected.keys()).find(|path| found.get(*path) != expected.get(*path))?;
    Some(format!("{path}\n found:    {:?}\n expected: {:?}", found.get(path), expected.get(path)))
}

/// All histories below a directory of `.versions`.
fn histories(directory: &Path) -> Histories {
    let mut all = Histories::new();
    let mut pending = vec![String::new()];
    while let Some(at) = pending.pop() {
        let Ok(entries) = fs::read_dir(directory.join(&at)) else { continue };
        for entry in entries.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_dir()) {
            let path = format!("{at}{}", entry.file_name().to_str().unwrap());
            pending.push(format!("{path}/"));
            let history = history(&entry.path());
            match path.split_once('~') {
                _ if history.is_empty() => {}
                Some((base, _)) => all.entry(base.into()).or_default().1.push(history),
                None => all.entry(path).or_default().0 = history,
            }
        }
    }
    for (_, others) in all.values_mut() {
        others.sort();
    }
    all
}

/// The versions in a directory of `.versions`; none where it is no secret's.
fn history(directory: &Path) -> History {
    let version = |n: usize| fs::read_to_string(directory.join(n.to_string())).ok();
    (1..).map_while(version).collect()
}
