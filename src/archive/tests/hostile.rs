//! Files that are no keynodes, or were.

use proptest::prelude::*;

use super::files::compact;
use super::*;
use crate::error::Kind;

fn refused(path: &Path) -> (Kind, String) {
    let error = Archive::open(path).unwrap_err();
    assert!(error.message().starts_with(&path.display().to_string()), "{error}");
    (error.kind(), error.message().to_owned())
}

#[test]
fn what_is_no_keynode_is_told_apart() {
    let place = Place::new();
    let directory = place.path().parent().unwrap().to_owned();
    assert_eq!(refused(&directory).0, Kind::IsDirectory);
    assert_eq!(Archive::open(&directory.join("none")).unwrap_err().kind(), Kind::NotFound);
    let file = place.path();
    std::fs::write(&file, "").unwrap();
    assert!(refused(&file).1.contains("empty"));
    for text in ["x".to_owned(), "some text\n".repeat(1000), "\0".repeat(5000)] {
        std::fs::write(&file, text).unwrap();
        assert!(refused(&file).1.ends_with("is not a keynode"));
    }
    for format in ["ustar", "gnu", "pax"] {
        run(Command::new("tar").args(["--format", format, "-cf"]).arg(&file).arg("-C").arg("/etc").arg("hostname"));
        assert!(refused(&file).1.contains("some other tar archive"), "{format}");
    }
    let fifo = directory.join("fifo");
    run(Command::new("mkfifo").arg(&fifo));
    assert!(refused(&fifo).1.contains("FIFO"));
    assert!(refused(Path::new("/dev/null")).1.contains("device"));
}

#[test]
fn unknown_members_and_versions_are_named() {
    let place = Place::new();
    place.keynode(1);
    let whole = std::fs::read(place.path()).unwrap();
    let hook = place.path().parent().unwrap().join("hooks");
    std::fs::write(&hook, "x").unwrap();
    run(Command::new("tar")
        .args(["--format=ustar", "-rf"])
        .arg(place.path())
        .arg("-C")
        .arg(hook.parent().unwrap())
        .arg("hooks"));
    let (kind, message) = refused(&place.path());
    assert_eq!(kind, Kind::Damaged);
    assert!(message.contains("hooks at offset"), "{message}");

    let at = whole.windows(11).position(|w| w == b"version = 1").unwrap();
    let mut newer = whole;
    // The first match is git's own repositoryformatversion only if that were 1.
    newer[at + 10] = b'2';
    std::fs::write(place.path(), newer).unwrap();
    let (kind, message) = refused(&place.path());
    assert_eq!(kind, Kind::Failed);
    assert!(message.contains("format version 2"), "{message}");
}

/// Opens it, reads everything that it says it has, and checks it; none of that may panic.
fn exercise(path: &Path) {
    let Ok(archive) = Archive::open(path) else { return };
    for (_, oid) in archive.references("") {
        let _ = archive.object(&oid);
    }
    for (oid, _) in archive.view().loose.iter().take(50) {
        let _ = archive.object(oid);
    }
    for pack in archive.view().packs.iter() {
        for entry in pack.index.entries(archive.file()).unwrap_or_default() {
            let _ = archive.object(&entry.oid);
        }
    }
    for slot in archive.slots() {
        let _ = archive.slot(&slot);
    }
    let _ = archive.problems();
    let _ = archive.refresh();
    if let Ok(mut lock) = WriteLock::acquire(path) {
        let _ = lock.recover(&|_| true, None, &mut |_| Ok(()));
        let _ = lock.compact(&archive.references(""), &[], []);
    }
}

/// A file with a base and a tail.
fn sample() -> Vec<u8> {
    let place = Place::new();
    place.keynode(2);
    compact(&place.path());
    append(&place.path(), 5);
    append(&place.path(), 6);
    std::fs::read(place.path()).unwrap()
}

#[test]
fn truncated_at_any_block_it_is_an_earlier_state_or_damaged() {
    let bytes = sample();
    let place = Place::new();
    for cut in (1..bytes.len()).step_by(256) {
        std::fs::write(place.path(), &bytes[..cut]).unwrap();
        match Archive::open(&place.path()) {
            Ok(archive) => assert!(archive.len() <= cut as u64),
            Err(error) => assert!(matches!(error.kind(), Kind::Damaged | Kind::Invalid), "{error}"),
        }
        exercise(&place.path());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_never_panic(bits in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        static SAMPLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let whole = SAMPLE.get_or_init(sample);
        let mut bytes = whole.clone();
        for bit in &bits {
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let place = Place::new();
        std::fs::write(place.path(), &bytes).unwrap();
        exercise(&place.path());
    }
}

#[test]
fn salvage_takes_an_empty_pack_at_the_end() {
    let place = Place::new();
    let header = super::super::member::Name::Pack(Oid::from_bytes([1; 20])).header(0).unwrap();
    std::fs::write(place.path(), header).unwrap();
    assert!(Salvage::search(&place.path()).unwrap().is_empty());
}
