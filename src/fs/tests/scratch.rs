use std::time::{Duration, Instant};

use super::*;

#[test]
fn sed_in_place_is_one_new_version() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let before = tree.log();
    tree.put("sedA1b2C3", b"two");
    assert_eq!(tree.log(), before, "a waiting file commits nothing");
    assert_eq!(tree.get("sedA1b2C3"), b"two");
    tree.rename("sedA1b2C3", "a").unwrap();
    assert_eq!(tree.versions("a"), [b"one", b"two"]);
    assert_eq!(list(&tree.remounted(), ".versions"), ["a"]);
}

/// As mkstemp(3) and a later open do it: Emacs, among others.
#[test]
fn a_temporary_file_that_was_made_empty_leaves_nothing_behind() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (ino, handle) = tree.create("tmpXmkbz6");
    tree.close(ino, handle);
    tree.put("tmpXmkbz6", b"two");
    tree.rename("tmpXmkbz6", "a").unwrap();
    assert_eq!(tree.versions("a"), [b"one", b"two"]);
    assert_eq!(list(&tree.remounted(), ".versions"), ["a"]);
    // What was written twice is no temporary file.
    tree.put("b", b"x");
    tree.put("b", b"y");
    tree.rename("b", "a").unwrap();
    assert_eq!(list(&tree.remounted(), ".versions"), ["a", "b"]);
}

#[test]
fn vim_saves_with_a_backup_and_the_history_goes_on() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (probe, handle) = tree.create("4913");
    tree.close(probe, handle);
    tree.unlink("4913").unwrap();
    tree.rename("a", "a~").unwrap();
    assert_eq!(get(&tree.remounted(), "a~").unwrap(), b"one", "what was lasting stays so");
    let (ino, handle) = tree.create("a");
    tree.fs.write(ino, 0, b"two").unwrap();
    tree.fs.fsync(ino).unwrap();
    tree.close(ino, handle);
    assert_eq!(tree.get("a~"), b"one", "the backup is there until it is removed");
    tree.unlink("a~").unwrap();
    assert_eq!(tree.versions("a"), [b"one", b"two"]);
    let again = tree.remounted();
    assert_eq!(list(&again, ""), ["a"]);
    assert_eq!(list(&again, ".versions"), ["a"]);
    assert_eq!(versions(&again, "a"), [b"one", b"two"]);
}

#[test]
fn swap_files_are_never_written_down() {
    let tree = Tree::new();
    let before = tree.log();
    let (ino, handle) = tree.create(".a.swp");
    tree.fs.write(ino, 0, b"secret").unwrap();
    tree.fs.fsync(ino).unwrap();
    tree.close(ino, handle);
    tree.fs.symlink(Ino::ROOT, b".#a", b"me@here.1", ME).unwrap();
    assert_eq!(tree.list(""), [".#a", ".a.swp"]);
    assert_eq!(tree.get(".a.swp"), b"secret");
    tree.fs.settle_all().unwrap();
    assert_eq!(tree.log(), before);
    tree.unlink(".a.swp").unwrap();
    tree.unlink(".#a").unwrap();
    assert!(tree.list("").is_empty());
}

#[test]
fn a_waiting_file_that_stays_becomes_a_secret() {
    let tree = Tree::new();
    tree.put("kept~", b"x");
    let now = Instant::now();
    tree.fs.tick(now).unwrap();
    assert!(list(&tree.remounted(), "").is_empty());
    tree.fs.tick(now + Duration::from_secs(11)).unwrap();
    assert_eq!(get(&tree.remounted(), "kept~").unwrap(), b"x");
    tree.put("other~", b"y");
    tree.fs.settle_all().unwrap();
    assert_eq!(get(&tree.remounted(), "other~").unwrap(), b"y");
}

#[test]
fn an_open_file_waits_longer() {
    let tree = Tree::new();
    let (ino, handle) = tree.create("open~");
    tree.fs.write(ino, 0, b"x").unwrap();
    tree.fs.tick(Instant::now() + Duration::from_secs(60)).unwrap();
    assert!(list(&tree.remounted(), "").is_empty());
    tree.close(ino, handle);
    tree.fs.tick(Instant::now() + Duration::from_secs(60)).unwrap();
    assert_eq!(get(&tree.remounted(), "open~").unwrap(), b"x");
}

#[test]
fn fsync_makes_a_waiting_file_lasting() {
    let tree = Tree::new();
    let (ino, handle) = tree.create("a~");
    tree.fs.write(ino, 0, b"x").unwrap();
    tree.fs.fsync(ino).unwrap();
    assert_eq!(get(&tree.remounted(), "a~").unwrap(), b"x");
    tree.close(ino, handle);
}

#[test]
fn a_waiting_file_renamed_to_a_new_name_is_a_secret_at_once() {
    let tree = Tree::new();
    tree.put("sedA1b2C3", b"x");
    tree.rename("sedA1b2C3", "a").unwrap();
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"x");
    tree.put("b~", b"y");
    tree.rename("b~", "c~").unwrap();
    assert_eq!(tree.list(""), ["a", "c~"]);
    assert_eq!(list(&tree.remounted(), ""), ["a"]);
}
