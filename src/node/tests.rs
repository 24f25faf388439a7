//! The model against itself and against stock tools.
#![allow(clippy::unwrap_used, clippy::panic, clippy::single_match_else)]

mod checkpoints;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::error::Kind;
use crate::time::Timestamp;

/// A keynode in a directory of its own, with a state directory that is not the user's.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("app.pk")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn init(&self) -> Keynode {
        let key = NodeKey::generate(Profile::Gnupg).unwrap();
        Keynode::init_in(&self.file(), key, None, memory::Memory::at(&self.state())).unwrap()
    }

    fn reopen(&self, node: &Keynode) -> crate::error::Result<Keynode> {
        let key = NodeKey::from_secret(&node.key().to_secret().unwrap()).unwrap();
        let archive = crate::archive::Archive::open(&self.file())?;
        Keynode::open_in(&archive, key, &OpenOptions::default(), memory::Memory::at(&self.state()))
    }
}

fn path(text: &str) -> ItemPath {
    ItemPath::parse(text.as_bytes()).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn put(node: &Keynode, at: &str, data: &[u8]) {
    put_in_session(node, at, data, Session::random());
}

fn put_in_session(node: &Keynode, at: &str, data: &[u8], session: Session) {
    let mut transaction = node.begin().unwrap();
    let (parent, last) = path(at).split().map(|(parent, last)| (parent, last.clone())).unwrap();
    let mut directory = ItemId::ROOT;
    for part in parent.components() {
        let known = transaction.namespace().child(directory, part.as_bytes()).map(|item| item.id);
        directory = match known {
            Some(id) => id,
            None => transaction.create_directory(directory, part, Attributes::new(0o755)).unwrap(),
        };
    }
    match transaction.namespace().child(directory, last.as_bytes()).map(|item| item.id) {
        Some(id) => transaction.write(node.seal(id, data).unwrap(), session, Timestamp::now()).unwrap(),
        None => {
            let former = transaction.namespace().former(&path(at)).last().copied();
            let value = node.seal(former.unwrap_or_else(ItemId::random), data).unwrap();
            transaction.create_secret(directory, &last, Attributes::new(0o600), value, session).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn get(node: &Keynode, at: &str) -> Vec<u8> {
    let snapshot = node.snapshot();
    let id = snapshot.namespace().resolve(&path(at)).unwrap().id;
    node.read_head(&snapshot, id).unwrap().to_vec()
}

fn history(node: &Keynode, id: ItemId) -> Vec<Vec<u8>> {
    let snapshot = node.snapshot();
    let versions = node.versions(&snapshot, id).unwrap();
    versions.iter().map(|v| node.read_version(&snapshot, id, v).unwrap().to_vec()).collect()
}

fn id_of(node: &Keynode, at: &str) -> ItemId {
    node.snapshot().namespace().resolve(&path(at)).unwrap().id
}

fn run(program: &str, args: &[&str], directory: &Path) -> String {
    let out = Command::new(program).args(args).current_dir(directory).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn what_is_put_is_there_after_reopening() {
    let place = Place::new();
    let node = place.init();
    put(&node, "db/password", b"one");
    put(&node, "db/password", b"two");
    put(&node, "api", b"");
    assert_eq!(get(&node, "db/password"), b"two");
    let again = place.reopen(&node).unwrap();
    assert_eq!(get(&again, "db/password"), b"two");
    assert_eq!(get(&again, "api"), b"");
    assert_eq!(history(&again, id_of(&again, "db/password")), [b"one", b"two"]);
    assert_eq!(again.snapshot().namespace().secrets(), 2);
    assert!(fsck(&place.file(), Some(again.key())).unwrap().findings.is_empty());
}

#[test]
fn commits_of_one_session_are_one_version_until_another_comes_between() {
    let place = Place::new();
    let node = place.init();
    let (one, other) = (Session::random(), Session::random());
    put_in_session(&node, "s", b"a", one);
    put_in_session(&node, "s", b"b", one);
    put_in_session(&node, "s", b"c", other);
    put_in_session(&node, "s", b"d", one);
    assert_eq!(history(&node, id_of(&node, "s")), [b"b", b"c", b"d"]);
}

#[test]
fn a_removed_secret_keeps_its_history_and_goes_on_with_it() {
    let place = Place::new();
    let node = place.init();
    put(&node, "s", b"old");
    let id = id_of(&node, "s");
    let mut transaction = node.begin().unwrap();
    transaction.unlink(ItemId::ROOT, &name("s")).unwrap();
    transaction.commit().unwrap();
    assert_eq!(node.snapshot().namespace().former(&path("s")), [id]);
    assert_eq!(node.snapshot().namespace().secrets(), 0);
    let again = place.reopen(&node).unwrap();
    put(&again, "s", b"new");
    assert_eq!(id_of(&again, "s"), id);
    assert_eq!(history(&again, id), [b"old", b"new"]);
    assert!(again.snapshot().namespace().former(&path("s")).is_empty());
}

#[test]
fn the_state_is_the_same_from_a_checkpoint_and_from_the_whole_log() {
    let place = Place::new();
    let node = place.init();
    for n in 0..150 {
        put(&node, &format!("d{}/s{}", n % 7, n % 40), format!("value {n}").as_bytes());
    }
    let mut transaction = node.begin().unwrap();
    transaction.rename(ItemId::ROOT, &name("d1"), ItemId::ROOT, &name("moved")).unwrap();
    let id = transaction.namespace().resolve(&path("d2/s2")).unwrap().id;
    transaction.link(id, ItemId::ROOT, &name("hard")).unwrap();
    transaction
        .create_symlink(ItemId::random(), ItemId::ROOT, &name("soft"), b"d2/s2", Attributes::new(0o777))
        .unwrap();
    transaction.create_fifo(ItemId::random(), ItemId::ROOT, &name("pipe"), Attributes::new(0o644)).unwrap();
    transaction.commit().unwrap();
    let again = place.reopen(&node).unwrap();
    let report = fsck(&place.file(), Some(again.key())).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(again.snapshot().namespace().item(id).unwrap().links(), 2);
    node.compact().unwrap();
    let report = fsck(&place.file(), Some(again.key())).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // The other process notices the new file and goes on.
    assert!(!again.refresh().unwrap());
    put(&again, "after", b"compaction");
    assert!(node.refresh().unwrap());
    assert_eq!(get(&node, "after"), b"compaction");
    assert_eq!(get(&node, "hard"), get(&node, "d2/s2"));
}

#[test]
fn two_processes_write_in_turn_and_nothing_is_lost() {
    let place = Place::new();
    let one = place.init();
    let other = place.reopen(&one).unwrap();
    for n in 0..100 {
        put(if n % 3 == 0 { &one } else { &other }, "s", format!("{n}").as_bytes());
    }
    one.refresh().unwrap();
    let expected: Vec<Vec<u8>> = (0..100).map(|n| format!("{n}").into_bytes()).collect();
    assert_eq!(history(&one, id_of(&one, "s")), expected);
}

#[test]
fn an_older_copy_and_another_node_are_refused() {
    let place = Place::new();
    let node = place.init();
    put(&node, "s", b"one");
    let old = std::fs::read(place.file()).unwrap();
    put(&node, "s", b"two");
    std::fs::write(place.file(), &old).unwrap();
    assert_eq!(place.reopen(&node).unwrap_err().kind(), Kind::Diverged);
    let archive = crate::archive::Archive::open(&place.file()).unwrap();
    for _ in 0..2 {
        let look = OpenOptions { only_look: true, ..OpenOptions::default() };
        let memory = memory::Memory::at(&place.state());
        let key = NodeKey::from_secret(&node.key().to_secret().unwrap()).unwrap();
        let report = fsck::fsck_in(&place.file(), Some(node.key()), &memory).unwrap();
        assert!(report.is_clean() && report.findings.iter().any(|f| f.what.starts_with("older than what was seen")));
        let looked = Keynode::open_in(&archive, key, &look, memory).unwrap();
        assert!(looked.read_only().unwrap().starts_with("older than what was seen"));
        assert_eq!(looked.begin().err().unwrap().kind(), Kind::Diverged);
    }
    assert_eq!(node.begin().err().unwrap().kind(), Kind::Diverged);
    std::fs::remove_file(place.file()).unwrap();
    let impostor = NodeKey::generate(Profile::Gnupg).unwrap();
    let elsewhere = Place::new();
    Keynode::init_in(&place.file(), impostor, None, memory::Memory::at(&elsewhere.state())).unwrap();
    let archive = crate::archive::Archive::open(&place.file()).unwrap();
    let key = NodeKey::generate(Profile::Gnupg).unwrap();
    let opened = Keynode::open_in(&archive, key, &OpenOptions::default(), memory::Memory::at(&place.state()));
    assert_eq!(opened.unwrap_err().kind(), Kind::Diverged);
}

#[test]
fn git_and_gpg_read_what_is_there() {
    let place = Place::new();
    let node = place.init();
    put(&node, "db/password", b"first\n");
    put(&node, "db/password", b"second\n");
    node.compact().unwrap();
    put(&node, "other", b"third\n");
    let dir = place.directory.path();
    run("mkdir", &["x"], dir);
    run("tar", &["-xf", "app.pk", "-C", "x"], dir);
    run("git", &["-C", "x", "fsck", "--strict", "--no-dangling"], dir);
    std::fs::write(dir.join("key"), &*node.key().to_secret().unwrap()).unwrap();
    let home = dir.join("g");
    run("mkdir", &["-m", "700", "g"], dir);
    let gpg = |script: &str| {
        let out = Command::new("sh").args(["-ec", script]).current_dir(dir).env("GNUPGHOME", &home).output().unwrap();
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    gpg("gpg --batch -q --import key");
    let reference = id_of(&node, "db/password").reference();
    let log = gpg(&format!(
        "for c in $(git -C x rev-list --reverse {reference}); do git -C x verify-commit $c; git -C x show $c:value.pgp | gpg --batch -q -d; done"
    ));
    assert_eq!(log, "first\nsecond\n");
    gpg("git -C x verify-commit keynode checkpoint");
    let directory = gpg("git -C x show checkpoint:directory.pgp | gpg --batch -q -d");
    assert!(
        directory.contains(&format!("\ncalled\tpassword\t{}\tsecret\n", id_of(&node, "db/password"))),
        "{directory}"
    );
    gpg("gpgconf --kill all");
}

/// A keynode with history, names in directories, and a compacted base under a tail.
fn rich(place: &Place) -> Keynode {
    let node = place.init();
    for n in 0..12 {
        put(&node, &format!("d{}/s{n}", n % 3), format!("first {n}").as_bytes());
    }
    node.compact().unwrap();
    for n in 0..12 {
        put(&node, &format!("d{}/s{n}", n % 3), format!("second {n}").as_bytes());
    }
    node
}

fn repaired(place: &Place, node: &Keynode) -> crate::error::Result<(Keynode, RepairReport)> {
    let new = place.directory.path().join("new.pk");
    let _ = std::fs::remove_file(&new);
    let memory = memory::Memory::at(&place.state());
    let report = repair::repair_in(&place.file(), node.key(), &new, &memory)?;
    let key = NodeKey::from_secret(&node.key().to_secret().unwrap()).unwrap();
    let archive = crate::archive::Archive::open(&new).unwrap();
    let keynode = Keynode::open_in(&archive, key, &OpenOptions::default(), memory).unwrap();
    let found = fsck(&new, Some(keynode.key())).unwrap();
    assert!(found.is_clean(), "{:?}", found.findings);
    Ok((keynode, report))
}

#[test]
fn repairing_a_sound_keynode_keeps_everything() {
    let place = Place::new();
    let node = rich(&place);
    let (new, report) = repaired(&place, &node).unwrap();
    assert_eq!(report.notes.len(), 1, "the missing slot is all that there is to say: {:?}", report.notes);
    for n in 0..12 {
        let at = format!("d{}/s{n}", n % 3);
        assert_eq!(history(&new, id_of(&new, &at)), history(&node, id_of(&node, &at)));
    }
    let mut entries = 0;
    new.log(&new.snapshot(), &mut |_| {
        entries += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    // The genesis, 24 values, three directories that came with them, and the repair.
    assert_eq!(entries, 1 + 24 + 1);
}

#[test]
fn one_flipped_bit_costs_one_object_at_most() {
    let place = Place::new();
    let node = rich(&place);
    let sound = std::fs::read(place.file()).unwrap();
    let mut seed = 1_u64;
    for _ in 0..40 {
        // A plain linear generator: the places only have to be spread.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(seed >> 33).unwrap() % sound.len();
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (seed & 7);
        std::fs::write(place.file(), &bytes).unwrap();
        let (new, _) = repaired(&place, &node).unwrap();
        let mut lost = 0;
        for n in 0..12 {
            let at = format!("d{}/s{n}", n % 3);
            let id = id_of(&node, &at);
            let snapshot = new.snapshot();
            let there = snapshot.namespace().item(id).map(|_| history(&new, id)).unwrap_or_default();
            let all = [format!("first {n}").into_bytes(), format!("second {n}").into_bytes()];
            assert!(there.iter().all(|v| all.contains(v)), "bit at {at}");
            lost += 2 - there.len();
        }
        assert!(lost <= 1, "{lost} versions lost by the bit at {at}");
    }
}

#[test]
fn what_remains_of_a_truncated_file_is_saved() {
    let place = Place::new();
    let node = rich(&place);
    let sound = std::fs::read(place.file()).unwrap();
    for part in 3..10 {
        std::fs::write(place.file(), &sound[..sound.len() * part / 10]).unwrap();
        let Ok((new, _)) = repaired(&place, &node) else { continue };
        assert!(new.snapshot().namespace().secrets() > 0, "{part} tenths");
    }
}

#[test]
fn what_others_write_while_a_passphrase_is_typed_is_no_rollback() {
    let place = Place::new();
    let node = place.init();
    let opened = crate::archive::Archive::open(&place.file()).unwrap();
    put(&node, "s", b"meanwhile");
    let key = NodeKey::from_secret(&node.key().to_secret().unwrap()).unwrap();
    let memory = memory::Memory::at(&place.state());
    let again = Keynode::open_in(&opened, key, &OpenOptions::default(), memory).unwrap();
    assert_eq!(get(&again, "s"), b"meanwhile");
}

#[test]
fn what_a_slow_reader_saw_does_not_replace_what_is_remembered() {
    let place = Place::new();
    let node = place.init();
    let (memory, fingerprint) = (memory::Memory::at(&place.state()), node.key().fingerprint());
    let first = node.snapshot().commit();
    put(&node, "s", b"one");
    let second = node.snapshot().commit();
    put(&node, "s", b"two");
    memory.advance(&fingerprint, Some(&first), &second);
    assert_eq!(memory.last_commit(&fingerprint), Some(node.snapshot().commit()));
}

#[test]
fn what_is_remembered_survives_a_torn_line_and_stays_small() {
    let place = Place::new();
    let node = place.init();
    let (memory, fingerprint) = (memory::Memory::at(&place.state()), node.key().fingerprint());
    let entry = place.state().join(format!("nodes/{fingerprint}"));
    put(&node, "s", b"one");
    let first = node.snapshot().commit();
    let torn = [std::fs::read(&entry).unwrap(), first.to_string().into_bytes()[..50].to_vec(), vec![0; 20]].concat();
    std::fs::write(&entry, torn).unwrap();
    assert_eq!(memory.last_commit(&fingerprint), Some(first));
    put(&node, "s", b"two");
    assert_eq!(memory.last_commit(&fingerprint), Some(node.snapshot().commit()));
    for _ in 0..1000 {
        memory.remember(&fingerprint, &first);
    }
    assert_eq!(memory.last_commit(&fingerprint), Some(first));
    assert!(std::fs::metadata(&entry).unwrap().len() < 17 << 10);
}

#[test]
fn a_transaction_that_was_seen_is_not_cut_off_as_torn() {
    let place = Place::new();
    let node = place.init();
    put(&node, "s", b"one");
    put(&node, "s", b"two");
    let oid = node.snapshot().commit().oid.to_string();
    let header = format!("objects/{}/{}", &oid[..2], &oid[2..]);
    let mut bytes = std::fs::read(place.file()).unwrap();
    let at = bytes.windows(header.len()).position(|w| w == header.as_bytes()).unwrap();
    bytes[at..].fill(0);
    std::fs::write(place.file(), &bytes).unwrap();
    assert_eq!(node.begin().err().unwrap().kind(), Kind::Damaged);
    assert_eq!(place.reopen(&node).unwrap_err().kind(), Kind::Damaged);
    assert!(std::fs::read(place.file()).unwrap() == bytes, "nothing is cut");
    let (new, _) = repaired(&place, &node).unwrap();
    assert_eq!(history(&new, id_of(&node, "s")), [b"one", b"two"]);
}

#[test]
fn a_push_with_holes_does_not_keep_the_node_from_writing() {
    let place = Place::new();
    let node = place.init();
    let push = format!("tree {:040}\nauthor x <> 0 +0000\ncommitter x <> 0 +0000\n\npush\n", 7);
    let push = crate::archive::NewObject::new(crate::archive::ObjectKind::Commit, push.into_bytes());
    let refs = vec![(format!("{}{}", crate::archive::INBOX_PREFIX, push.oid), push.oid)];
    let batch = crate::archive::Batch { slots: vec![], objects: vec![push], refs };
    crate::archive::WriteLock::acquire(&place.file()).unwrap().append(batch).unwrap();
    put(&node, "large", &vec![7; 6 << 20]);
    assert_eq!(get(&place.reopen(&node).unwrap(), "large").len(), 6 << 20);
}

#[test]
fn what_is_made_and_forgotten_in_one_transaction_leaves_nothing() {
    let place = Place::new();
    let node = place.init();
    let mut transaction = node.begin().unwrap();
    let value = node.seal(ItemId::random(), b"x").unwrap();
    let (at, session) = (name("s"), Session::random());
    transaction.create_secret(ItemId::ROOT, &at, Attributes::new(0o600), value, session).unwrap();
    transaction.forget(ItemId::ROOT, &at).unwrap();
    transaction.commit().unwrap();
    assert!(place.reopen(&node).unwrap().snapshot().namespace().is_empty());
    assert!(fsck(&place.file(), Some(node.key())).unwrap().findings.is_empty());
}

#[test]
fn what_could_not_be_read_again_is_not_logged() {
    let place = Place::new();
    let node = place.init();
    let mut transaction = node.begin().unwrap();
    let attributes = Attributes { mode: 0o100_644, ..Attributes::new(0) };
    transaction.create_fifo(ItemId::random(), ItemId::ROOT, &name("pipe"), attributes).unwrap();
    assert!(transaction.commit().is_err());
    place.reopen(&node).unwrap();
}

#[test]
fn repair_does_not_bring_back_what_was_forgotten() {
    let place = Place::new();
    let node = place.init();
    put(&node, "kept", b"one");
    put(&node, "scratch", b"two");
    let mut transaction = node.begin().unwrap();
    transaction.forget(ItemId::ROOT, &name("scratch")).unwrap();
    transaction.commit().unwrap();
    let (new, _) = repaired(&place, &node).unwrap();
    assert_eq!(new.snapshot().namespace().secrets(), 1);
}

#[test]
fn repair_says_that_an_older_copy_is_older() {
    let place = Place::new();
    let node = place.init();
    put(&node, "s", b"one");
    let old = std::fs::read(place.file()).unwrap();
    put(&node, "s", b"two");
    std::fs::write(place.file(), &old).unwrap();
    let seen = node.snapshot().commit().oid.to_string();
    let (_, report) = repaired(&place, &node).unwrap();
    assert!(report.notes.iter().any(|note| note.contains(&seen)), "{:?}", report.notes);
}

#[test]
fn a_move_does_not_make_paths_that_no_checkpoint_can_hold() {
    let place = Place::new();
    let node = place.init();
    let mut transaction = node.begin().unwrap();
    let deepest = ["a", "b"].map(|first| {
        let mut at = transaction.create_directory(ItemId::ROOT, &name(first), Attributes::new(0o755)).unwrap();
        for _ in 0..200 {
            at = transaction.create_directory(at, &name(&"x".repeat(250)), Attributes::new(0o755)).unwrap();
        }
        at
    });
    let moved = transaction.rename(ItemId::ROOT, &name("a"), deepest[1], &name("a"));
    assert_eq!(moved.unwrap_err().kind(), Kind::NameTooLong);
    transaction.commit().unwrap();
    node.compact().unwrap();
    assert!(place.reopen(&node).unwrap().snapshot().checkpoint.is_some());
}
