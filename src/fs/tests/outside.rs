use std::time::Instant;

use super::*;
use crate::node::{Attributes, ItemId, Name, Session};

/// Another process writes.
fn put_outside(keynode: &Keynode, name: &str, content: &[u8]) {
    let name = Name::new(name.as_bytes()).unwrap();
    let mut transaction = keynode.begin().unwrap();
    let present = transaction.namespace().child(ItemId::ROOT, name.as_bytes()).map(|item| item.id);
    let id = present.unwrap_or_else(ItemId::random);
    let value = keynode.seal(id, content).unwrap();
    let now = crate::time::Timestamp::now();
    if present.is_some() {
        transaction.write(value, Session::random(), now).unwrap();
    } else {
        let attributes = Attributes::new(0o600);
        transaction.create_secret(ItemId::ROOT, &name, attributes, value, Session::random()).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn a_change_from_outside_is_a_new_inode_and_the_old_one_stays_as_it_was() {
    let tree = Tree::new();
    let notices = tree.fs.notices();
    tree.put("a", b"one");
    let old = ino(&tree.fs, "a").unwrap();
    let handle = tree.fs.open(old, OpenMode::default(), ME).unwrap();
    put_outside(&tree.on_disk(), "a", b"two");
    while notices.try_recv().is_ok() {}
    tree.fs.refresh().unwrap();
    let entry = Notice::Entry { parent: Ino::ROOT, name: Name::new(b"a").unwrap() };
    assert!(notices.try_iter().any(|notice| notice == entry));
    let new = ino(&tree.fs, "a").unwrap();
    assert_ne!(old, new);
    assert_eq!(&*tree.fs.read(old, 0, 9).unwrap(), b"one");
    assert_eq!(&*tree.fs.read(new, 0, 9).unwrap(), b"two");
    tree.fs.release(handle).unwrap();
    let other = Tree { fs: tree.remounted(), keynode: tree.keynode.clone(), _directory: tempfile::tempdir().unwrap() };
    assert_eq!(other.get("a"), b"two");
}

#[test]
fn a_dirty_handle_commits_on_top_of_what_came_from_outside() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (ino_here, handle) = tree.open("a", true);
    tree.fs.write(ino_here, 0, b"mine").unwrap();
    put_outside(&tree.on_disk(), "a", b"theirs");
    tree.close(ino_here, handle);
    assert_eq!(tree.versions("a"), [&b"one"[..], b"theirs", b"mine"]);
    assert_eq!(tree.get("a"), b"mine");
}

#[test]
fn a_new_file_whose_name_was_taken_from_outside_is_a_version_of_that_secret() {
    let tree = Tree::new();
    let (ino_here, handle) = tree.create("a");
    tree.fs.write(ino_here, 0, b"mine").unwrap();
    put_outside(&tree.on_disk(), "a", b"theirs");
    tree.close(ino_here, handle);
    assert_eq!(tree.versions("a"), [&b"theirs"[..], b"mine"]);
    assert_eq!(tree.get("a"), b"mine");
}

#[test]
fn what_was_removed_outside_is_gone_here_but_for_who_has_it_open() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (ino_here, handle) = tree.open("a", false);
    tree.fs.write(ino_here, 0, b"two").unwrap();
    let other = tree.on_disk();
    let mut transaction = other.begin().unwrap();
    transaction.unlink(ItemId::ROOT, &Name::new(b"a").unwrap()).unwrap();
    transaction.commit().unwrap();
    tree.fs.refresh().unwrap();
    assert_eq!(kind(ino(&tree.fs, "a")), Kind::NotFound);
    assert_eq!(&*tree.fs.read(ino_here, 0, 9).unwrap(), b"two");
    tree.close(ino_here, handle);
    assert!(tree.list("").is_empty());
}

#[test]
fn a_local_rename_is_safe_against_a_change_meanwhile() {
    let tree = Tree::new();
    tree.put("a", b"one");
    tree.put("b", b"new");
    put_outside(&tree.on_disk(), "a", b"theirs");
    tree.rename("b", "a").unwrap();
    assert_eq!(tree.versions("a"), [&b"one"[..], b"theirs", b"new"]);
    put_outside(&tree.on_disk(), "c", b"theirs");
    tree.put("d", b"d1");
    tree.rename("d", "c").unwrap();
    assert_eq!(tree.versions("c"), [&b"theirs"[..], b"d1"]);
}

#[test]
fn a_keynode_that_vanished_is_an_io_error_and_what_was_written_waits_for_it() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (file, aside) = (tree.keynode.path().to_owned(), tree.keynode.path().with_extension("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let (written, handle) = tree.open("a", true);
    tree.fs.write(written, 0, b"two").unwrap();
    assert_eq!(kind(tree.fs.fsync(written)), Kind::Failed);
    assert_eq!(kind(tree.fs.mkdir(Ino::ROOT, b"d", 0o700, ME)), Kind::Failed);
    std::fs::rename(&aside, &file).unwrap();
    tree.close(written, handle);
    assert_eq!(versions(&tree.remounted(), "a"), [b"one", b"two"]);
}

#[test]
fn nobody_is_sent_back_twice_by_one_open() {
    let tree = Tree::new();
    let (fs, other, _told) = (&tree.fs, Caller { pid: 2, ..ME }, tree.fs.notices());
    tree.put("a", b"one");
    let first = ino(fs, "a").unwrap();
    put_outside(&tree.on_disk(), "a", b"two");
    fs.refresh().unwrap();
    let second = ino(fs, "a").unwrap();
    assert!(fs.is_outdated(first, ME) && fs.is_outdated(first, other));
    // They look the name up anew, and before the one opens what it finds, that is outdated too.
    assert!(!fs.is_outdated(second, other));
    put_outside(&tree.on_disk(), "a", b"three");
    fs.refresh().unwrap();
    assert!(!fs.is_outdated(second, ME));
    // With their next opens all begins anew.
    assert!(fs.is_outdated(second, ME) && fs.is_outdated(second, other));
    assert!(!fs.is_outdated(ino(fs, "a").unwrap(), ME) && fs.is_outdated(first, ME));
}

#[test]
fn watchers_are_shown_the_old_inode_giving_way_to_the_new_one() {
    let tree = Tree::new();
    let (fs, a, notices) = (&tree.fs, Name::new(b"a").unwrap(), tree.fs.notices());
    tree.put("a", b"one");
    let old = ino(fs, "a").unwrap();
    put_outside(&tree.on_disk(), "a", b"two");
    fs.refresh().unwrap();
    // Until the kernel has heard of it, whoever opens it by name is sent back once.
    assert!(fs.is_outdated(old, ME) && !fs.is_outdated(old, ME));
    for notice in notices.try_iter() {
        if let Notice::Entry { parent, name } = notice {
            fs.expired(parent, name);
        }
    }
    // So is whoever found the name before and asks only now; not much later.
    assert!(fs.is_outdated(old, Caller { pid: 2, ..ME }) && !fs.is_outdated(old, Caller { pid: 2, ..ME }));
    for _ in 0..2 {
        fs.tick(Instant::now()).unwrap();
    }
    assert!(!fs.is_outdated(old, Caller { pid: 3, ..ME }));
    let new = ino(fs, "a").unwrap();
    let event = fs.next_event().unwrap();
    let hidden = match &event.act {
        Act::Appear { hidden } => Some(hidden),
        _ => None,
    }
    .unwrap();
    assert_eq!((event.directory.is_root(), &event.name), (true, &a));
    assert_eq!(kind(fs.lookup(Ino::ROOT, hidden.as_bytes())), Kind::NotFound);
    assert_eq!(fs.own_lookup(Ino::ROOT, hidden.as_bytes()).unwrap().stat.ino, new);
    let seen = fs.own_lookup(Ino::ROOT, b"a").unwrap().stat;
    assert_eq!((seen.ino, seen.links), (old, 1));
    assert_eq!(ino(fs, "a").unwrap(), new, "others see the new one");
    assert_eq!(kind(fs.own_remove(Ino::ROOT, b"a")), Kind::NotPermitted);
    fs.own_rename(Ino::ROOT, hidden.as_bytes(), Ino::ROOT, b"a").unwrap();
    fs.event_done();
    assert_eq!(fs.getattr(old).unwrap().stat.links, 0);
    assert_eq!(fs.own_lookup(Ino::ROOT, b"a").unwrap().stat.ino, new);
    fs.end_events();
    assert!(fs.next_event().is_none());
}

#[test]
fn a_name_that_changed_here_meanwhile_is_not_told_of() {
    let tree = Tree::new();
    let _notices = tree.fs.notices();
    tree.put("a", b"one");
    let other = tree.on_disk();
    let mut transaction = other.begin().unwrap();
    transaction.unlink(ItemId::ROOT, &Name::new(b"a").unwrap()).unwrap();
    transaction.commit().unwrap();
    tree.fs.refresh().unwrap();
    tree.put("a", b"two");
    put_outside(&tree.on_disk(), "last", b"");
    tree.fs.refresh().unwrap();
    assert_eq!(tree.fs.next_event().unwrap().name, Name::new(b"last").unwrap());
}

#[test]
fn a_name_that_leads_elsewhere_by_the_time_of_an_event_is_told_of_later() {
    let tree = Tree::new();
    let (fs, _notices) = (&tree.fs, tree.fs.notices());
    tree.put("a", b"one");
    let outside = |value: &[u8]| {
        put_outside(&tree.on_disk(), "a", value);
        fs.refresh().unwrap();
    };
    let rename = |event: &Event| {
        let Act::Appear { hidden } = &event.act else { return Ok(()) };
        fs.own_rename(Ino::ROOT, hidden.as_bytes(), Ino::ROOT, b"a")
    };
    let first = ino(fs, "a").unwrap();
    outside(b"two");
    ino(fs, "a").unwrap();
    let late = fs.next_event().unwrap();
    outside(b"three");
    // The kernel has heard of the third one, and is not to take the second one for it.
    assert_eq!(kind(rename(&late)), Kind::NotPermitted);
    assert_eq!(fs.own_lookup(Ino::ROOT, b"a").unwrap().stat.ino, first, "those who watch have heard of none");
    fs.event_done();
    let event = fs.next_event().unwrap();
    ino(fs, "a").unwrap();
    rename(&event).unwrap();
    fs.event_done();
    assert_eq!(fs.own_lookup(Ino::ROOT, b"a").unwrap().stat.ino, ino(fs, "a").unwrap());
}
