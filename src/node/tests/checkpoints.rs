//! Checkpoints that are read part by part, and those that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use super::super::directory::ITEMS;
use super::*;
use crate::archive::{Archive, ObjectKind, parse_tree};

/// Names are long, so that the directory has several parts, as the items have.
const LONG: usize = 200;
const LINKS: usize = 4 * ITEMS + 100;

fn link(n: usize) -> String {
    format!("d{}/{n:0LONG$}", n % 7)
}

/// A compacted keynode with many symlinks in directories, and two secrets.
fn large(place: &Place) -> Keynode {
    let node = place.init();
    let mut transaction = node.begin().unwrap();
    let directories: Vec<ItemId> = (0..7)
        .map(|n| transaction.create_directory(ItemId::ROOT, &name(&format!("d{n}")), Attributes::new(0o755)).unwrap())
        .collect();
    for n in 0..LINKS {
        let at = path(&link(n)).name().unwrap().clone();
        let target = n.to_string().into_bytes();
        let directory = directories[n % 7];
        transaction.create_symlink(ItemId::random(), directory, &at, &target, Attributes::new(0o777)).unwrap();
    }
    transaction.commit().unwrap();
    put(&node, "d0/secret", b"x");
    put(&node, "d1/secret", b"y");
    node.compact().unwrap();
    node
}

fn target(node: &Keynode, n: usize) -> Option<Vec<u8>> {
    let snapshot = node.snapshot();
    match &snapshot.namespace().resolve(&path(&link(n))).ok()?.content {
        Content::Symlink(target) => Some(target.to_vec()),
        _ => None,
    }
}

/// The files of the checkpoint.
fn files(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let archive = Archive::open(&place.file()).unwrap();
    let head = archive.reference(checkpoint::REFERENCE).unwrap();
    let (commit, _) = objects::unproven_commit(&archive, &head).unwrap();
    let tree = objects::object(&archive, &commit.tree, ObjectKind::Tree).unwrap();
    let read = |entry: crate::archive::TreeEntry| {
        let data = objects::object(&archive, &entry.oid, ObjectKind::Blob).unwrap();
        (String::from_utf8(entry.name).unwrap(), data)
    };
    parse_tree(&tree).unwrap().into_iter().map(read).collect()
}

/// Flips a bit in the middle of what is stored in the file as it is.
fn damage(place: &Place, data: &[u8]) {
    let mut file = std::fs::read(place.file()).unwrap();
    let middle = &data[data.len() / 2..][..32];
    let at = memchr::memmem::find(&file, middle).unwrap();
    file[at] ^= 1;
    std::fs::write(place.file(), file).unwrap();
}

fn damage_all_items(place: &Place) {
    for (name, data) in files(place) {
        if name.starts_with("items") {
            damage(place, &data);
        }
    }
}

#[test]
fn a_large_tree_is_in_many_parts_that_say_the_same() {
    let place = Place::new();
    let node = large(&place);
    let names: BTreeSet<String> = files(&place).into_keys().collect();
    let more = |name: &str, count: usize| -> Vec<String> { (2..=count).map(|n| format!("{name}.{n}")).collect() };
    let one = ["digests", "directory.pgp", "heads", "items.pgp"].map(str::to_owned).into_iter();
    let expected = one.chain(more("directory.pgp", 3)).chain(more("items.pgp", 5)).chain(more("heads", 5)).collect();
    assert_eq!(names, expected);
    put(&node, "d1/secret", b"z");
    let again = place.reopen(&node).unwrap();
    assert!(again.snapshot().checkpoint.is_some());
    for n in 0..LINKS {
        assert_eq!(target(&again, n), Some(n.to_string().into_bytes()));
    }
    assert_eq!((get(&again, "d0/secret"), get(&again, "d1/secret")), (b"x".to_vec(), b"z".to_vec()));
}

#[test]
fn only_the_part_that_is_asked_for_is_read() {
    let place = Place::new();
    let node = large(&place);
    damage_all_items(&place);
    let again = place.reopen(&node).unwrap();
    let snapshot = again.snapshot();
    let known = |n| {
        snapshot.namespace().child_id(snapshot.namespace().resolve(&path("d3")).unwrap().id, &link(n).as_bytes()[3..])
    };
    assert!(known(3).is_some());
    assert!(!snapshot.namespace().needs_checkpoint(), "names alone ask for no part");
    assert_eq!(target(&again, 3), Some(b"3".to_vec()));
    assert!(snapshot.namespace().needs_checkpoint(), "a part that cannot be read was asked for");
}

#[test]
fn what_a_checkpoint_cannot_say_comes_from_the_log_and_the_next_transaction_mends_it() {
    let place = Place::new();
    let node = large(&place);
    damage_all_items(&place);
    let again = place.reopen(&node).unwrap();
    for n in 0..LINKS {
        assert_eq!(target(&again, n), Some(n.to_string().into_bytes()));
    }
    assert_eq!(get(&again, "d0/secret"), b"x");
    put(&again, "d0/secret", b"new");
    let mended = place.reopen(&node).unwrap();
    assert_eq!((target(&mended, 5), get(&mended, "d0/secret")), (Some(b"5".to_vec()), b"new".to_vec()));
    assert!(!mended.snapshot().namespace().needs_checkpoint());
}

#[test]
fn compaction_mends_a_checkpoint() {
    let place = Place::new();
    let node = large(&place);
    damage_all_items(&place);
    place.reopen(&node).unwrap().compact().unwrap();
    let mended = place.reopen(&node).unwrap();
    for n in 0..LINKS {
        assert_eq!(target(&mended, n), Some(n.to_string().into_bytes()));
    }
    assert!(!mended.snapshot().namespace().needs_checkpoint());
}

#[test]
fn nothing_takes_the_place_of_what_cannot_be_read_at_all() {
    let place = Place::new();
    let node = large(&place);
    damage_all_items(&place);
    // The first transaction of the log, which all others need.
    let archive = Archive::open(&place.file()).unwrap();
    let mut first = objects::commit(&archive, &node.snapshot().log).unwrap();
    while let Some(parent) = first.parents.first() {
        first = objects::commit(&archive, parent).unwrap();
    }
    let read = objects::Files::read(&archive, &first, &mut std::collections::HashMap::new()).unwrap();
    damage(&place, &read.blob(&archive, log::CHANGE_FILE).unwrap());
    let again = place.reopen(&node).unwrap();
    let snapshot = again.snapshot();
    let error = snapshot.namespace().resolve(&path(&link(1))).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert_eq!(snapshot.namespace().walk(ItemId::ROOT).unwrap_err().kind(), Kind::Damaged);
    let mut transaction = again.begin().unwrap();
    let directory = transaction.namespace().child_id(ItemId::ROOT, b"d1").unwrap();
    let value = again.seal(ItemId::random(), b"mine").unwrap();
    let at = path(&link(1)).name().unwrap().clone();
    let made = transaction.create_secret(directory, &at, Attributes::new(0o600), value, Session::random());
    assert_eq!(made.unwrap_err().kind(), Kind::Exists);
    let value = again.seal(ItemId::random(), b"other").unwrap();
    transaction.create_secret(directory, &name("other"), Attributes::new(0o600), value, Session::random()).unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), Kind::Damaged);
    assert_eq!(again.compact().unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_process_that_stays_needs_the_file_no_more() {
    let place = Place::new();
    let node = large(&place);
    let key = NodeKey::from_secret(&node.key().to_secret().unwrap()).unwrap();
    let archive = Archive::open(&place.file()).unwrap();
    let options = OpenOptions { whole: true, ..OpenOptions::default() };
    let whole = Keynode::open_in(&archive, key, &options, memory::Memory::at(&place.state())).unwrap();
    damage_all_items(&place);
    assert_eq!(target(&whole, 9), Some(b"9".to_vec()));
    assert!(!whole.snapshot().namespace().needs_checkpoint());
}
