//! Several secrets of one transaction appear together, nobody's bytes are lost, and a burst shows up at once.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pkfs::fuse::MountOptions;

use crate::outside::{Outside, fill};
use crate::support::{End, Served, alone, can_mount, eventually};

const SECRETS: usize = 12;
const TRANSACTIONS: u64 = 40;

fn name(n: usize) -> String {
    format!("d{}/s{n}", n % 3)
}

fn served(read_only: bool) -> Served {
    let options = MountOptions { read_only, ..MountOptions::default() };
    Served::with(options, |keynode| {
        fill(keynode, |change| {
            for directory in ["d0", "d1", "d2"] {
                change.mkdir(directory);
            }
            for n in 0..SECRETS {
                change.put(&name(n), "0");
            }
        });
    })
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Whoever has seen one secret of a transaction sees the others, too.
fn appear_together(read_only: bool) {
    let mount = &served(read_only);
    let ended = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(ended);
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                scope.spawn(move || {
                    let (mut last, mut numbers, mut at) = (0, HashSet::new(), reader);
                    while !ended.load(Ordering::Relaxed) {
                        at += 7;
                        let seen = number(&mount.path(&name(at % SECRETS)));
                        assert!(seen >= last, "{seen} after {last}");
                        last = seen;
                        numbers.insert(seen);
                    }
                    numbers.len()
                })
            })
            .collect();
        let outside = Outside::of(mount);
        for transaction in 1..=TRANSACTIONS {
            outside.change(|change| {
                for n in 0..SECRETS {
                    change.put(&name(n), &transaction.to_string());
                }
            });
            eventually("the change", || number(&mount.path(&name(0))) == transaction);
        }
        drop(end);
        for reader in readers {
            assert!(reader.join().unwrap() > 10, "a reader hardly saw a change");
        }
    });
}

#[test]
#[ignore = "run by secrets_of_one_transaction_appear_together"]
fn no_mixture_is_seen() {
    appear_together(false);
    appear_together(true);
}

#[test]
fn secrets_of_one_transaction_appear_together() {
    if can_mount() {
        alone("together::no_mixture_is_seen");
    }
}

/// Changes come quickly one after the other, while the mount is written to and read.
fn burst(read_only: bool) {
    let mount = &served(read_only);
    let ended = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(ended);
        if !read_only {
            scope.spawn(move || {
                let mut n = 0_u64;
                while !ended.load(Ordering::Relaxed) {
                    n += 1;
                    let (temporary, target) = (mount.path("d1/.tmp"), mount.path("d1/local"));
                    fs::write(&temporary, n.to_string()).unwrap();
                    fs::rename(&temporary, &target).unwrap();
                    assert_eq!(number(&target), n, "its own write");
                    fs::create_dir(mount.path("d0/made")).unwrap();
                    fs::remove_dir(mount.path("d0/made")).unwrap();
                }
            });
        }
        for reader in 0..2 {
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    number(&mount.path(&name(reader)));
                    assert!(fs::read_dir(mount.path("d1")).unwrap().count() >= SECRETS / 3);
                }
            });
        }
        let outside = Outside::of(mount);
        for n in 1..=100_u64 {
            let at = usize::try_from(n).unwrap() % SECRETS;
            outside.put(&name(at), &n.to_string());
            if n % 10 == 0 {
                outside.put(&format!("d2/new{n}"), "new");
                eventually("the new secret", || mount.path(&format!("d2/new{n}")).exists());
            }
            if n % 3 == 0 {
                eventually("the change", || number(&mount.path(&name(at))) == n);
            }
        }
        drop(end);
    });
}

#[test]
#[ignore = "run by a_burst_under_load_shows_up"]
fn every_change_of_a_burst_shows_up() {
    burst(false);
    burst(true);
}

#[test]
fn a_burst_under_load_shows_up() {
    if can_mount() {
        alone("together::every_change_of_a_burst_shows_up");
    }
}

/// Several times: what the kernel remembers and what it is being told race with each close.
#[test]
#[ignore = "run by both_writers_are_versions"]
fn the_later_close_wins() {
    (0..20).for_each(|_| the_later_of_three_wins());
}

fn the_later_of_three_wins() {
    let mount = Served::new(|keynode| fill(keynode, |change| change.put("a", "one")));
    let outside = Outside::of(&mount);
    let path = mount.path("a");
    let open = || OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    let read = || fs::read_to_string(&path).unwrap();

    let mut first = open();
    first.write_all(b"first").unwrap();
    outside.put("a", "theirs");
    eventually("the change", || read() == "theirs");
    // On the file that came from outside.
    let mut second = open();
    second.write_all(b"second").unwrap();
    outside.put("a", "theirs again");
    eventually("the change", || read() == "theirs again");
    let mut third = open();
    third.write_all(b"third").unwrap();
    drop(first);
    assert_eq!(read(), "first");
    assert_eq!(fs::metadata(&path).unwrap().len(), 5);
    drop(third);
    assert_eq!(read(), "third");
    drop(second);
    assert_eq!(read(), "second");
    let version = |n| fs::read_to_string(mount.path(&format!(".versions/a/{n}"))).unwrap();
    let versions: Vec<String> = (1..=6).map(version).collect();
    assert_eq!(versions, ["one", "theirs", "theirs again", "first", "third", "second"]);
}

#[test]
fn both_writers_are_versions() {
    if can_mount() {
        alone("together::the_later_close_wins");
    }
}

#[test]
#[ignore = "run by a_file_that_is_replaced_or_rewritten_is_noticed"]
fn replaced_and_rewritten() {
    for read_only in [false, true] {
        let mount = served(read_only);
        let (file, copy) = (mount.file(), mount.file().with_extension("copy"));
        let outside = Outside::of(&mount);
        // As a synchronising tool does: the newer file comes by rename.
        fs::copy(&file, &copy).unwrap();
        outside.put("d0/s0", "1");
        eventually("the change", || number(&mount.path("d0/s0")) == 1);
        fs::copy(&file, &copy).unwrap();
        fs::rename(&copy, &file).unwrap();
        outside.put("d0/s0", "2");
        eventually("the change after the rename", || number(&mount.path("d0/s0")) == 2);
        // The newer file is written over the older one.
        let aside = mount.file().with_extension("aside");
        fs::copy(&file, &aside).unwrap();
        outside.put("d1/s1", "3");
        let newer = fs::read(&file).unwrap();
        fs::write(&file, newer).unwrap();
        eventually("the change after rewriting", || number(&mount.path("d1/s1")) == 3);
    }
}

#[test]
fn a_file_that_is_replaced_or_rewritten_is_noticed() {
    if can_mount() {
        alone("together::replaced_and_rewritten");
    }
}

#[test]
#[ignore = "run by what_is_open_or_worked_in_stays"]
fn open_files_and_working_directories() {
    for read_only in [false, true] {
        let mount = served(read_only);
        let outside = Outside::of(&mount);
        let mut open = File::open(mount.path("d0/s0")).unwrap();
        let before = open.metadata().unwrap();
        std::env::set_current_dir(mount.path("d1")).unwrap();
        outside.change(|change| {
            change.put("d0/s0", "new");
            change.put("d1/s1", "new");
        });
        eventually("the change", || fs::read_to_string("s1").unwrap() == "new");
        assert_eq!(std::env::current_dir().unwrap(), mount.path("d1"));
        assert_ne!(fs::metadata(mount.path("d0/s0")).unwrap().ino(), before.ino());
        let mut content = String::new();
        open.read_to_string(&mut content).unwrap();
        assert_eq!(content, "0");
        let again = fs::read_to_string(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open))).unwrap();
        assert_eq!(again, "0");
        eventually("the old file's end", || open.metadata().unwrap().nlink() == 0);
        outside.change(|change| change.rename("d1", "moved"));
        eventually("the move", || std::env::current_dir().is_ok_and(|path| path == mount.path("moved")));
        assert_eq!(fs::read_to_string("s1").unwrap(), "new");
        std::env::set_current_dir("/").unwrap();
    }
}

#[test]
fn what_is_open_or_worked_in_stays() {
    if can_mount() {
        alone("together::open_files_and_working_directories");
    }
}

#[test]
#[ignore = "run by it_can_be_unmounted_at_any_time"]
fn unmounted_while_much_changes() {
    for _ in 0..10 {
        let mount = served(false);
        let outside = Outside::of(&mount);
        outside.change(|change| {
            for n in 0..40 {
                change.put(&format!("d0/new{n}"), "new");
            }
        });
        eventually("the change", || mount.path("d0/new0").exists());
        // `Served` unmounts when it is dropped, and wants that to succeed.
        drop(mount);
    }
}

#[test]
fn it_can_be_unmounted_at_any_time() {
    if can_mount() {
        alone("together::unmounted_while_much_changes");
    }
}
