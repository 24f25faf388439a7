//! What a crash may leave of an append, and what follows.

use std::collections::BTreeSet;

use super::*;
use crate::error::{Error, Kind};

/// A file before and after an append.
fn append_bytes(place: &Place) -> (Vec<u8>, Vec<u8>, Archive, Archive) {
    let old = place.keynode(2);
    let before = std::fs::read(place.path()).unwrap();
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let new = lock.append(transaction(Some(&old), 2, 1500)).unwrap();
    (before, std::fs::read(place.path()).unwrap(), old, new)
}

fn recover(path: &Path, remembered: Option<&Oid>) -> crate::error::Result<(Recovery, Vec<u8>)> {
    let mut kept = vec![];
    let done =
        WriteLock::acquire(path)?.recover(&|object| object.kind == ObjectKind::Commit, remembered, &mut |bytes| {
            kept.extend(bytes);
            Ok(())
        })?;
    Ok((done, kept))
}

/// Opens the state, checks that it is one of the two, recovers, appends and checks again.
fn old_or_new(path: &Path, bytes: &[u8], old: &Archive, new: &Archive) -> bool {
    std::fs::write(path, bytes).unwrap();
    let archive = Archive::open(path).unwrap();
    let is_new = archive.reference(KEYNODE_REF) == new.reference(KEYNODE_REF);
    let expected = if is_new { new } else { old };
    assert_eq!(archive.references(""), expected.references(""));
    assert_eq!(archive.len(), expected.len());
    let (done, kept) = recover(path, None).unwrap();
    if let Recovery::Cut { from, to } = done {
        assert_eq!(kept, bytes[from as usize..to as usize]);
    }
    let mut lock = WriteLock::acquire(path).unwrap();
    let after = lock.append(transaction(Some(lock.archive()), 50, 200)).unwrap();
    assert_eq!(after.problems(), []);
    is_new
}

#[test]
fn every_cut_leaves_the_old_or_the_new_state() {
    let place = Place::new();
    let (before, after, old, new) = append_bytes(&place);
    let start = old.len() as usize;
    assert_eq!(before[..start], after[..start]);
    let mut seen = BTreeSet::new();
    for cut in (start..=after.len()).step_by(512) {
        // With the first block, and without it.
        seen.insert(old_or_new(&place.path(), &after[..cut], &old, &new));
        let mut bytes = after[..cut].to_vec();
        bytes.resize(cut.max(start + 512), 0);
        bytes[start..start + 512].fill(0);
        assert!(!old_or_new(&place.path(), &bytes, &old, &new));
    }
    assert_eq!(seen.len(), 2);
    judge(&place.path());
}

#[test]
fn any_subset_of_blocks_leaves_the_old_or_the_new_state() {
    let place = Place::new();
    let (_, after, old, new) = append_bytes(&place);
    let start = old.len() as usize;
    let blocks = (after.len() - start) / 512;
    let mut random = noise(4, 300 * blocks).into_iter();
    for round in 0..300 {
        let mut bytes = after.clone();
        let mut whole = true;
        for block in 0..blocks {
            // One block alone is missing first, then any number of them.
            let missing = if round < blocks { block == round } else { random.next().unwrap() < 64 };
            if missing {
                let at = start + block * 512;
                whole &= bytes[at..at + 512].iter().all(|b| *b == 0);
                bytes[at..at + 512].fill(0);
            }
        }
        assert_eq!(old_or_new(&place.path(), &bytes, &old, &new), whole, "round {round}");
        if round % 100 == 0 {
            judge(&place.path());
        }
    }
}

#[test]
fn a_remembered_transaction_is_never_cut() {
    let place = Place::new();
    let (_, mut after, old, new) = append_bytes(&place);
    let last = new.reference(KEYNODE_REF).unwrap();
    let whole = after.clone();
    // In its first object, and in its very commit.
    for at in [old.len() + 600, new.view().loose.get(&last).unwrap().at + 9] {
        after.clone_from(&whole);
        after[at as usize] ^= 1;
        std::fs::write(place.path(), &after).unwrap();
        assert_eq!(recover(&place.path(), Some(&last)).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(std::fs::read(place.path()).unwrap(), after, "nothing was touched");
    }
    let earlier = old.reference(KEYNODE_REF).unwrap();
    assert!(matches!(recover(&place.path(), Some(&earlier)).unwrap().0, Recovery::Cut { .. }));
}

#[test]
fn a_flipped_bit_never_costs_what_comes_after_it() {
    let place = Place::new();
    let old = place.keynode(2);
    let new = {
        append(&place.path(), 2);
        append(&place.path(), 3)
    };
    let whole = std::fs::read(place.path()).unwrap();
    // Each header of the last but one transaction, its closing ref's among them.
    let middle = new.view().loose.values().map(|e| e.at - 512).filter(|at| *at >= old.len()).collect::<BTreeSet<_>>();
    let closing = whole[old.len() as usize..]
        .chunks(512)
        .position(|b| b.starts_with(KEYNODE_REF.as_bytes()))
        .map(|n| old.len() + n as u64 * 512)
        .unwrap();
    let mut judged = 0;
    for at in middle.into_iter().filter(|at| *at < closing).chain([closing, closing + 512]) {
        let mut bytes = whole.clone();
        bytes[at as usize + 3] ^= 0x80;
        std::fs::write(place.path(), &bytes).unwrap();
        judged += 1;
        assert_eq!(recover(&place.path(), None).unwrap_err().kind(), Kind::Damaged, "at {at}");
        assert_eq!(std::fs::read(place.path()).unwrap(), bytes, "nothing was touched");
    }
    assert_eq!(judged, 8, "six objects, the closing ref and its content");
}

#[test]
fn an_unfinished_end_must_be_recovered_first() {
    let place = Place::new();
    let (_, mut after, old, _) = append_bytes(&place);
    let start = old.len() as usize;
    after[start..start + 512].fill(0);
    std::fs::write(place.path(), &after).unwrap();
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    assert_eq!(*lock.archive().tail(), Tail::Unfinished { from: old.len(), to: after.len() as u64 });
    assert_eq!(lock.append(transaction(Some(&old), 9, 10)).unwrap_err().kind(), Kind::Damaged);
    let refused = lock.recover(&|_| true, None, &mut |_| Err(Error::new(Kind::NoSpace, "full")));
    assert_eq!(refused.unwrap_err().kind(), Kind::NoSpace);
    assert_eq!(std::fs::read(place.path()).unwrap(), after, "nothing is cut that was not kept");
    assert!(matches!(lock.recover(&|_| true, None, &mut |_| Ok(())).unwrap(), Recovery::Cut { .. }));
    assert_eq!(lock.recover(&|_| true, None, &mut |_| Ok(())).unwrap(), Recovery::Clean);
    lock.append(transaction(Some(&old), 9, 10)).unwrap();
    judge(&place.path());
}

#[test]
fn a_reader_sees_the_first_block_arrive_within_one_tick() {
    let place = Place::new();
    let (_, after, old, new) = append_bytes(&place);
    let start = old.len() as usize;
    let mut torn = after.clone();
    torn[start..start + 512].fill(0);
    std::fs::write(place.path(), &torn).unwrap();
    let early = Archive::open(&place.path()).unwrap();
    let stamp = std::fs::metadata(place.path()).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(place.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &after[start..start + 512], old.len()).unwrap();
    file.set_modified(stamp).unwrap();
    assert_eq!(early.refresh().unwrap().unwrap().references(""), new.references(""));
}

#[test]
fn a_failed_write_that_cannot_be_undone_stops_all_others() {
    let place = Place::new();
    let old = place.keynode(2);
    let before = std::fs::read(place.path()).unwrap();
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    // It takes no byte and cannot be cut.
    let full = std::fs::File::options().read(true).write(true).open("/dev/full").unwrap();
    let good = std::mem::replace(&mut lock.file, full);
    assert_eq!(lock.append(transaction(Some(&old), 5, 10)).unwrap_err().kind(), Kind::NoSpace);
    lock.file = good;
    assert_eq!(lock.append(transaction(Some(&old), 5, 10)).unwrap_err().kind(), Kind::Damaged);
    lock.recover(&|_| true, None, &mut |_| Ok(())).unwrap();
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    lock.append(transaction(Some(&old), 5, 10)).unwrap();
    assert_eq!(Archive::open(&place.path()).unwrap().problems(), []);
}

#[test]
fn a_full_file_system_leaves_the_old_state() {
    let place = Place::new();
    let directory = place.path().parent().unwrap().to_owned();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&directory).output();
    if !mounted.is_ok_and(|out| out.status.success()) {
        return; // Needs the right to mount.
    }
    let old = place.keynode(1);
    let before = std::fs::read(place.path()).unwrap();
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let failed = lock.append(transaction(Some(&old), 5, 1 << 20));
    let after = std::fs::read(place.path()).unwrap();
    let next = lock.append(transaction(Some(&old), 6, 100));
    let compacted = lock.compact(&old.references(""), &[], &transaction(None, 7, 1 << 20).objects[..1]);
    drop((old, lock));
    run(Command::new("umount").arg("--lazy").arg(&directory));
    assert_eq!(failed.unwrap_err().kind(), Kind::NoSpace);
    assert_eq!(after, before);
    next.unwrap();
    compacted.unwrap();
}

#[test]
fn an_end_made_to_be_slow_is_refused_soon() {
    let place = Place::new();
    place.keynode(1);
    let mut bytes = std::fs::read(place.path()).unwrap();
    let headers = 4000;
    for n in 0..headers {
        let name = member::Name::Loose(hash_object(ObjectKind::Blob, &[n as u8]));
        bytes.extend(name.header((headers - 1 - n) * 512).unwrap());
    }
    std::fs::write(place.path(), bytes).unwrap();
    assert_eq!(recover(&place.path(), None).unwrap_err().kind(), Kind::Damaged);
}
