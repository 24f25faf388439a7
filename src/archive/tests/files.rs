//! Whole files, as other tools see them.

use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::error::Kind;

#[test]
fn a_new_keynode_is_a_repository() {
    let place = Place::new();
    let archive = place.keynode(1);
    assert_eq!(archive.slots(), ["passphrase"]);
    assert_eq!(archive.slot("passphrase").unwrap(), Some(noise(77, 700)));
    assert_eq!(*archive.tail(), Tail::Clean);
    assert_eq!(archive.problems(), []);
    assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);

    let repository = judge(&place.path());
    assert!(!run(git(repository.path()).args(["show", &format!("{SECRET}:value.pgp")])).is_empty());
    assert_eq!(run(git(repository.path()).args(["log", "--format=%s", KEYNODE_REF])), "change 0\n");
    // A plain extraction, with the file's own HEAD and config, is a bare repository too.
    let plain = tempfile::tempdir().unwrap();
    run(Command::new("tar").arg("-xf").arg(place.path()).arg("-C").arg(plain.path()));
    assert_eq!(run(git(plain.path()).args(["log", "--format=%s"])), "change 0\n");

    assert_eq!(create(&place.path(), transaction(None, 1, 1)).unwrap_err().kind(), Kind::Exists);
    assert_eq!(std::fs::read_dir(place.path().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn every_tar_reads_every_state() {
    let place = Place::new();
    place.keynode(5);
    for _ in 0..2 {
        let list = run(Command::new("tar").arg("-tf").arg(place.path()));
        assert_eq!(run(Command::new("bsdtar").arg("-tf").arg(place.path())), list);
        let python = "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name + '/' * m.isdir())";
        assert_eq!(run(Command::new("python3").args(["-c", python]).arg(place.path())), list);
        let out = tempfile::tempdir().unwrap();
        // Debian 12's knows no filters yet.
        let python = "import sys,tarfile\nkw={'filter':'data'} if hasattr(tarfile,'data_filter') else {}\n\
                      tarfile.open(sys.argv[1]).extractall(sys.argv[2], **kw)";
        run(Command::new("python3").args(["-c", python]).arg(place.path()).arg(out.path()));
        assert_eq!(run(git(out.path()).args(["log", "--format=%s", "-1"])), "change 4\n", "the later ref wins");
        compact(&place.path());
    }
}

pub(super) fn compact(path: &Path) -> Archive {
    let mut lock = WriteLock::acquire(path).unwrap();
    let archive = lock.archive().clone();
    let slots: Vec<_> = archive.slots().into_iter().map(|s| (s.clone(), archive.slot(&s).unwrap().unwrap())).collect();
    lock.compact(&archive.references(""), &slots, []).unwrap()
}

#[test]
fn compaction_keeps_all_and_git_reads_its_pack() {
    let place = Place::new();
    let before = place.keynode(4);
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let inode = std::fs::metadata(place.path()).unwrap().ino();
    let after = compact(&place.path());
    assert_ne!(after.file_id().inode, inode);
    assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(after.references(""), before.references(""));
    assert_eq!(after.slot("passphrase").unwrap(), before.slot("passphrase").unwrap());
    let sizes = after.sizes();
    assert_eq!((sizes.loose_objects, sizes.packed_objects, sizes.tail_bytes), (0, before.sizes().loose_objects, 0));
    assert_eq!(after.problems(), []);
    for (oid, _) in &before.view().loose {
        assert_eq!(after.object(oid).unwrap(), before.object(oid).unwrap());
    }

    let repository = judge(&place.path());
    let packs = repository.path().join("objects/pack");
    let index = std::fs::read_dir(&packs).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "idx");
    run(git(repository.path()).args(["verify-pack", "-v"]).arg(index.as_ref().unwrap()));
    // Git's own index of this pack is the same to the byte.
    let ours = std::fs::read(index.as_ref().unwrap()).unwrap();
    let copy = repository.path().join("again.idx");
    run(git(repository.path()).args(["index-pack", "-o"]).arg(&copy).arg(index.unwrap().with_extension("pack")));
    assert_eq!(std::fs::read(copy).unwrap(), ours);
    // And so are its packed refs.
    let ours = std::fs::read(repository.path().join("packed-refs")).unwrap();
    run(git(repository.path()).args(["pack-refs", "--all"]));
    assert_eq!(std::fs::read(repository.path().join("packed-refs")).unwrap(), ours);

    // What follows goes on top, and a second compaction copies what is packed.
    append(&place.path(), 9);
    judge(&place.path());
    let again = compact(&place.path());
    assert_eq!(again.problems(), []);
    assert_eq!(again.sizes().packed_objects, sizes.packed_objects + 6);
    let repository = judge(&place.path());
    assert_eq!(run(git(repository.path()).args(["log", "--format=%s", SECRET])).lines().count(), 5);
    assert!(before.refresh().unwrap().unwrap().contains(&again.reference(SECRET).unwrap()).unwrap());
}

#[test]
fn compaction_drops_what_no_ref_leads_to_and_takes_extra_objects() {
    let place = Place::new();
    let archive = place.keynode(3);
    let root = NewObject::new(ObjectKind::Tree, vec![]);
    let fresh = commit(root.oid, &[], "a new root");
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let refs = [(KEYNODE_REF.to_owned(), fresh.oid)];
    let after = lock.compact(&refs, &[], &[fresh, root]).unwrap();
    assert_eq!(after.sizes().packed_objects, 2);
    assert_eq!(after.references(""), refs);
    assert!(after.slots().is_empty());
    assert!(!after.contains(&archive.reference(SECRET).unwrap()).unwrap());
    // The lock has moved along: the new file can be written to at once.
    let next = lock.append(transaction(Some(&after), 5, 100)).unwrap();
    assert_eq!(next.sizes().loose_objects, 6);
    drop(lock);
    judge(&place.path());
}

#[test]
fn compaction_refuses_a_file_with_two_names_and_missing_objects() {
    let place = Place::new();
    place.keynode(1);
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let lost = [(KEYNODE_REF.to_owned(), Oid::from_bytes([5; 20]))];
    assert_eq!(lock.compact(&lost, &[], []).unwrap_err().kind(), Kind::Damaged);
    std::fs::hard_link(place.path(), place.path().with_extension("other")).unwrap();
    let refs = lock.archive().references("");
    assert!(lock.compact(&refs, &[], []).unwrap_err().message().contains("hard links"));
    std::fs::remove_file(place.path().with_extension("other")).unwrap();
    assert_eq!(std::fs::read_dir(place.path().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn extended_attributes_are_kept() {
    let place = Place::new();
    place.keynode(1);
    if rustix::fs::setxattr(place.path(), "user.note", b"mine", rustix::fs::XattrFlags::empty()).is_err() {
        return; // This file system has none.
    }
    compact(&place.path());
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(place.path(), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"mine");
}

#[test]
fn refresh_sees_appends_rewrites_and_nothing() {
    let place = Place::new();
    let old = place.keynode(2);
    assert!(old.refresh().unwrap().is_none());
    append(&place.path(), 2);
    let new = old.refresh().unwrap().unwrap();
    assert_ne!(new.reference(KEYNODE_REF), old.reference(KEYNODE_REF));
    assert!(new.refresh().unwrap().is_none());
    // Touched only: the same content.
    std::fs::File::options().write(true).open(place.path()).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let touched = new.refresh().unwrap().unwrap();
    assert_eq!(touched.references(""), new.references(""));
    // Rewritten in place with something else.
    let other = Place::new();
    other.keynode(7);
    std::fs::write(place.path(), std::fs::read(other.path()).unwrap()).unwrap();
    assert_eq!(touched.refresh().unwrap().unwrap().references("").len(), 2);
    assert_eq!(touched.refresh().unwrap().unwrap().len(), Archive::open(&other.path()).unwrap().len());
    // And with an earlier state of itself.
    let later = Archive::open(&place.path()).unwrap();
    std::fs::File::options().write(true).open(place.path()).unwrap().set_len(old.len()).unwrap();
    assert_eq!(later.refresh().unwrap().unwrap().len(), old.len());
}

#[test]
fn a_lock_follows_a_replaced_file_and_excludes_others() {
    let place = Place::new();
    place.keynode(1);
    let mut first = WriteLock::acquire(&place.path()).unwrap();
    let path = place.path();
    let other = std::thread::spawn(move || append(&path, 8));
    let refs = first.archive().references("");
    first.compact(&refs, &[], []).unwrap();
    first.append(transaction(Some(first.archive()), 7, 100)).unwrap();
    drop(first);
    let last = other.join().unwrap();
    assert_eq!(last.sizes().loose_objects, 12);
    assert_eq!(last.problems(), []);
}

#[test]
fn batches_that_are_no_transactions_are_refused() {
    let place = Place::new();
    let archive = place.keynode(1);
    let before = std::fs::read(place.path()).unwrap();
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let good = transaction(Some(&archive), 1, 100);
    let mut unclosed = good.clone();
    unclosed.refs.pop();
    let mut foreign = good.clone();
    foreign.refs.insert(0, ("refs/tags/x".into(), Oid::from_bytes([1; 20])));
    let mut elsewhere = good.clone();
    elsewhere.objects.pop();
    let mut misnamed = good.clone();
    misnamed.slots.push(("../x".into(), vec![1]));
    for bad in [Batch::default(), unclosed, foreign, elsewhere, misnamed] {
        assert_eq!(lock.append(bad).unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(lock.append(transaction(None, 0, 300)).unwrap_err().kind(), Kind::Exists);
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    lock.append(good).unwrap();
}

#[test]
fn later_slots_and_refs_win_and_present_objects_are_not_repeated() {
    let place = Place::new();
    let archive = place.keynode(1);
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let mut batch = transaction(Some(&archive), 1, 300);
    batch.slots.push(("passphrase".into(), vec![9; 10]));
    let first = transaction(None, 0, 300);
    batch.objects.insert(0, first.objects[0].clone());
    let after = lock.append(batch).unwrap();
    assert_eq!(after.slot("passphrase").unwrap(), Some(vec![9; 10]));
    assert_eq!(after.sizes().loose_objects, 12);
    assert_eq!(after.problems(), []);
    assert_eq!(Archive::open(&place.path()).unwrap().slot("passphrase").unwrap(), Some(vec![9; 10]));
    judge(&place.path());
}

#[test]
fn problems_name_member_and_offset() {
    let place = Place::new();
    let archive = place.keynode(3);
    let (oid, extent) = archive.view().loose.iter().min_by_key(|(_, e)| e.at).map(|(o, e)| (*o, *e)).unwrap();
    let file = std::fs::File::options().write(true).open(place.path()).unwrap();
    file.write_all_at(&[0xff; 8], extent.at + extent.size / 2).unwrap();
    let archive = Archive::open(&place.path()).unwrap();
    let problems = archive.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].member, member::Name::Loose(oid).to_string());
    assert_eq!(problems[0].offset, extent.at - 512);
    assert_eq!(archive.object(&oid).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn packs_that_git_made_are_read() {
    let place = Place::new();
    place.keynode(3);
    compact(&place.path());
    let repository = judge(&place.path());
    run(git(repository.path()).args(["-c", "pack.window=0", "repack", "-adfq"]));
    let rebuilt = place.path().with_extension("git");
    let mut bytes = vec![];
    create::head(&mut bytes).unwrap();
    let packs = std::fs::read_dir(repository.path().join("objects/pack")).unwrap().map(|e| e.unwrap().path());
    let pack = packs.into_iter().find(|p| p.extension().unwrap() == "pack").unwrap();
    for path in [pack.clone(), pack.with_extension("idx")] {
        let name = format!("objects/pack/{}", path.file_name().unwrap().to_str().unwrap());
        batch::member(&mut bytes, &member::Name::parse(&name).unwrap(), &std::fs::read(path).unwrap()).unwrap();
    }
    let refs = std::fs::read(repository.path().join("packed-refs")).unwrap();
    batch::member(&mut bytes, &member::Name::PackedRefs, &refs).unwrap();
    std::fs::write(&rebuilt, [&bytes[..], &batch::END].concat()).unwrap();
    let archive = Archive::open(&rebuilt).unwrap();
    assert_eq!(archive.problems(), []);
    assert_eq!(archive.references(""), Archive::open(&place.path()).unwrap().references(""));
}

#[test]
fn a_symlink_is_followed_and_stays() {
    let place = Place::new();
    place.keynode(1);
    let link = place.path().with_extension("link");
    std::os::unix::fs::symlink("app.pk", &link).unwrap();
    let through = Archive::open(&link).unwrap();
    append(&link, 1);
    let after = compact(&link);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(after.references(""), Archive::open(&place.path()).unwrap().references(""));
    assert_eq!(through.refresh().unwrap().unwrap().references(""), after.references(""));
}

#[test]
fn readers_never_notice_writers() {
    let place = Place::new();
    let mut archive = place.keynode(1);
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (mut view, done) = (archive.clone(), std::sync::Arc::clone(&done));
            std::thread::spawn(move || {
                let mut states = std::collections::BTreeSet::new();
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    view = view.refresh().unwrap().unwrap_or(view);
                    for (_, oid) in view.references("") {
                        assert!(view.object(&oid).unwrap().is_some());
                    }
                    states.insert(view.reference(KEYNODE_REF));
                }
                states.len()
            })
        })
        .collect();
    for n in 1..=60 {
        let mut lock = WriteLock::acquire_from(&archive).unwrap();
        archive = lock.append(transaction(Some(lock.archive()), n, 2000)).unwrap();
        drop(lock);
        if n % 20 == 0 {
            archive = compact(&place.path());
        }
    }
    done.store(true, std::sync::atomic::Ordering::Release);
    for reader in readers {
        assert!(reader.join().unwrap() > 1);
    }
    assert_eq!(archive.problems(), []);
}

#[test]
fn compaction_refuses_what_could_not_be_read_again() {
    let place = Place::new();
    place.keynode(2);
    let before = std::fs::read(place.path()).unwrap();
    let mut lock = WriteLock::acquire(&place.path()).unwrap();
    let value = NewObject::new(ObjectKind::Blob, vec![0; MAX_OBJECT as usize + 1]);
    let refs = lock.archive().references("refs/");
    assert_eq!(lock.compact(&refs, &[], [&value]).unwrap_err().kind(), Kind::TooLarge);
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}
