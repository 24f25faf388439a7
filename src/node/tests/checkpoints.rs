//! Checkpoints that are read part by part, and those that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use super::super::directory::{ITEMS, Text, Written};
use super::*;
use crate::archive::{Archive, ObjectKind, WriteLock, parse_tree};
use crate::crypto::Locked;

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

/// Flips a bit in the first transaction of the log, which all others need.
fn damage_first_transaction(place: &Place, node: &Keynode) {
    damage_transaction(place, node, 0);
}

/// Flips a bit in a transaction of the log, counted from the first.
fn damage_transaction(place: &Place, node: &Keynode, number: usize) {
    let archive = Archive::open(&place.file()).unwrap();
    let mut chain = vec![objects::commit(&archive, &node.snapshot().log).unwrap()];
    while let Some(parent) = chain.last().and_then(|commit| commit.parents.first()) {
        chain.push(objects::commit(&archive, parent).unwrap());
    }
    chain.reverse();
    let read = objects::Files::read(&archive, &chain[number], &objects::Digests::default()).unwrap();
    damage(place, &read.blob(&archive, objects::CHANGE_FILE).unwrap());
}

/// Puts a checkpoint into the file that the node signed, though it says something else than what it should.
fn forge(place: &Place, node: &Keynode, change: impl FnOnce(&mut Written)) {
    let snapshot = node.snapshot();
    let mut written = Written::of(snapshot.namespace()).unwrap();
    change(&mut written);
    let mut objects = Vec::new();
    let (own, _) = checkpoint::write_text(written, snapshot.log, snapshot.date, node.key(), &mut objects).unwrap();
    let archive = Archive::open(&place.file()).unwrap();
    let mut references = archive.references("refs/heads/");
    references.retain(|(name, _)| name != checkpoint::REFERENCE);
    references.push((checkpoint::REFERENCE.to_owned(), own.oid));
    references.sort_unstable();
    WriteLock::acquire(&place.file()).unwrap().compact(&references, &[], &objects).unwrap();
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = memchr::memmem::find(text, from.as_bytes()).unwrap();
    [&text[..at], to.as_bytes(), &text[at + from.len()..]].concat()
}

fn forge_items(place: &Place, node: &Keynode, from: &str, to: &str) {
    forge(place, node, |written| {
        let at = written.items.iter().position(|part| memchr::memmem::find(part, from.as_bytes()).is_some()).unwrap();
        written.items[at] = Locked::from_slice(&replaced(&written.items[at], from, to));
    });
}

fn forge_directory(place: &Place, node: &Keynode, from: &str, to: &str) {
    forge(place, node, |written| {
        let text: Vec<u8> = written.directory.parts().flatten().copied().collect();
        written.directory = Text::from_parts(vec![Locked::from_slice(&replaced(&text, from, to))]).unwrap();
    });
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
    damage_first_transaction(&place, &node);
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

/// A keynode with a symlink, a pipe and a secret at the top, and a directory.
fn small(place: &Place) -> Keynode {
    let node = place.init();
    put(&node, "d/secret", b"in d");
    put(&node, "secret", b"value");
    let mut transaction = node.begin().unwrap();
    let attributes = Attributes::new(0o777);
    transaction.create_symlink(ItemId::random(), ItemId::ROOT, &name("link"), b"there", attributes).unwrap();
    transaction.create_fifo(ItemId::random(), ItemId::ROOT, &name("pipe"), attributes).unwrap();
    transaction.commit().unwrap();
    node.compact().unwrap();
    node
}

fn names(node: &Keynode) -> Vec<String> {
    let snapshot = node.snapshot();
    let walk = snapshot.namespace().walk(ItemId::ROOT).unwrap();
    walk.map(|(path, _)| path.to_string()).collect()
}

const SMALL: [&str; 6] = ["/", "d", "d/secret", "link", "pipe", "secret"];

#[test]
fn a_line_of_a_checkpoint_that_cannot_be_read_is_made_up_for_or_told() {
    let place = Place::new();
    let node = small(&place);
    let secret = id_of(&node, "secret");
    let link = id_of(&node, "link");
    let forgeries: [&dyn Fn(); 5] = [
        &|| forge_items(&place, &node, &format!("symlink\t{link}\t777"), &format!("symlink\t{link}\t999")),
        &|| forge_items(&place, &node, &format!("symlink\t{link}\t"), &format!("symlink\t{link}0\t")),
        &|| forge_items(&place, &node, &format!("secret\t{secret}\t600"), &format!("secret\t{secret}\t-")),
        &|| {
            forge(&place, &node, |written| {
                let text = replaced(&written.heads[0], &format!("{secret} 1 "), &format!("{secret} one "));
                written.heads[0] = text;
            });
        },
        &|| {
            forge(&place, &node, |written| {
                let text = replaced(&written.heads[0], &format!("{secret} "), &format!("{secret}0 "));
                written.heads[0] = text;
            });
        },
    ];
    for (n, forgery) in forgeries.into_iter().enumerate() {
        forgery();
        let again = place.reopen(&node).unwrap();
        assert_eq!(names(&again), SMALL, "forgery {n}");
        assert_eq!(get(&again, "secret"), b"value", "forgery {n}");
        again.compact().unwrap();
        let mended = place.reopen(&node).unwrap();
        assert!(!mended.snapshot().namespace().needs_checkpoint());
        assert_eq!((names(&mended).len(), get(&mended, "secret")), (SMALL.len(), b"value".to_vec()), "forgery {n}");
    }
    for (n, forgery) in forgeries.into_iter().enumerate() {
        let place = &place;
        let sound = std::fs::read(place.file()).unwrap();
        forgery();
        damage_first_transaction(place, &node);
        let again = place.reopen(&node).unwrap();
        assert_eq!(again.snapshot().namespace().walk(ItemId::ROOT).unwrap_err().kind(), Kind::Damaged, "forgery {n}");
        assert_eq!(again.compact().unwrap_err().kind(), Kind::Damaged, "forgery {n}");
        std::fs::write(place.file(), sound).unwrap();
    }
}

#[test]
fn a_directory_that_names_the_impossible_is_not_believed() {
    let place = Place::new();
    let node = small(&place);
    let long = "x".repeat(256);
    for to in ["..", ".", "\"\\000\"", "d", &long, "li\"nk", "l\\nk", "pi\u{1}pe", "lïnk"] {
        forge_directory(&place, &node, "called\tlink\t", &format!("called\t{to}\t"));
        assert_eq!(names(&place.reopen(&node).unwrap()), SMALL, "{to:?}");
    }
}

#[test]
fn a_damaged_checkpoint_is_mended_once() {
    let place = Place::new();
    let node = large(&place);
    damage_all_items(&place);
    let again = place.reopen(&node).unwrap();
    assert_eq!(target(&again, 3), Some(b"3".to_vec()));
    put(&again, "d0/secret", b"new");
    let mended = again.snapshot().checkpoint;
    put(&again, "d0/secret", b"newer");
    assert_eq!(again.snapshot().checkpoint, mended);
}

#[test]
fn what_cannot_be_read_is_damaged_and_not_missing() {
    let place = Place::new();
    let node = small(&place);
    let (secret, link) = (id_of(&node, "secret"), id_of(&node, "link"));
    damage_all_items(&place);
    damage_first_transaction(&place, &node);
    let again = place.reopen(&node).unwrap();
    let kind = |error: crate::error::Error| error.kind();
    let mut transaction = again.begin().unwrap();
    let root = ItemId::ROOT;
    let value = || again.seal(secret, b"other").unwrap();
    let attributes = Attributes::new(0o600);
    let results = [
        transaction.unlink(root, &name("secret")),
        transaction.forget(root, &name("link")),
        transaction.rename(root, &name("secret"), root, &name("other")),
        transaction.rename(root, &name("d"), root, &name("link")),
        transaction.exchange(root, &name("secret"), root, &name("d")),
        transaction.link(link, root, &name("other")),
        transaction.write(value(), Session::random(), Timestamp::now()),
        transaction.create_secret(root, &name("other"), attributes, value(), Session::random()),
        transaction.create_symlink(link, root, &name("other"), b"x", attributes),
        transaction.set_attributes(link, attributes),
    ];
    for (n, result) in results.into_iter().enumerate() {
        let expected = if n == 3 { Kind::NotDirectory } else { Kind::Damaged };
        assert_eq!(result.map_err(kind), Err(expected), "call {n}");
    }
    drop(transaction);
    let snapshot = again.snapshot();
    assert_eq!(again.read_head(&snapshot, secret).map_err(kind).unwrap_err(), Kind::Damaged);
    assert_eq!(again.versions(&snapshot, secret).map_err(kind).unwrap_err(), Kind::Damaged);
    assert_eq!(again.head_writer(&snapshot, secret).map_err(kind).unwrap_err(), Kind::Damaged);
}

/// All names but those of directories, with attributes and what symlinks lead to.
fn described(node: &Keynode) -> Vec<String> {
    let snapshot = node.snapshot();
    let line = |(path, item): (ItemPath, &Item)| {
        let Attributes { mode, uid, gid, mtime, .. } = item.attributes;
        let what = match &item.content {
            Content::Directory(_) => return None,
            Content::Symlink(target) => format!("to {}", String::from_utf8_lossy(target)),
            Content::Secret(secret) => format!("{} bytes, {:?}", secret.size(), secret.head()),
            _ => "special".to_owned(),
        };
        Some(format!("{path} {mode:o} {uid}:{gid} {mtime} {what}"))
    };
    snapshot.namespace().walk(ItemId::ROOT).unwrap().filter_map(line).collect()
}

#[test]
fn repair_loses_nothing_that_either_the_checkpoint_or_the_log_says() {
    let place = Place::new();
    let node = small(&place);
    put(&node, "later", b"after the checkpoint");
    let expected = described(&node);
    damage_all_items(&place);
    damage_first_transaction(&place, &node);
    let (new, report) = repaired(&place, &node).unwrap();
    assert_eq!(described(&new), expected, "{:?}", report.notes);
    assert!(!report.notes.iter().any(|note| note.contains("lost")), "{:?}", report.notes);
}

#[test]
fn repair_keeps_names_of_what_is_lost() {
    let place = Place::new();
    let node = small(&place);
    put(&node, "secret", b"again");
    let head = node.snapshot().namespace().resolve(&path("secret")).unwrap().secret().unwrap().head();
    damage_all_items(&place);
    // That which made the symlink and the pipe.
    damage_transaction(&place, &node, 3);
    let (new, report) = repaired(&place, &node).unwrap();
    let left: Vec<&str> = SMALL.into_iter().filter(|name| *name != "link").collect();
    assert_eq!(names(&new), left);
    assert_eq!((get(&new, "secret"), get(&new, "d/secret")), (b"again".to_vec(), b"in d".to_vec()));
    assert_eq!(new.snapshot().namespace().resolve(&path("secret")).unwrap().secret().unwrap().head(), head);
    let told = |text: &str| report.notes.iter().any(|note| note.contains(text));
    assert!(
        told("link: a symlink whose target is lost") && told("mode, owner and time of 1 item are lost"),
        "{:?}",
        report.notes
    );
    assert!(!told("lost+found") && !told("rebuilt"), "{:?}", report.notes);
}

#[test]
fn a_former_name_is_one_for_each_secret() {
    let place = Place::new();
    let node = place.init();
    put(&node, "secret", b"x");
    let id = id_of(&node, "secret");
    let mut transaction = node.begin().unwrap();
    transaction.unlink(ItemId::ROOT, &name("secret")).unwrap();
    transaction.commit().unwrap();
    node.compact().unwrap();
    let line = format!("former\tsecret\t{id}");
    forge_directory(&place, &node, &line, &format!("former\tother\t{id}\n{line}"));
    let again = place.reopen(&node).unwrap();
    assert_eq!(again.snapshot().namespace().former(&path("other")), &[]);
    assert_eq!(again.snapshot().namespace().former(&path("secret")), &[id]);
}
