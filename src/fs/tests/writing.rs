use super::*;

#[test]
fn what_is_written_and_closed_is_on_disk() {
    let tree = Tree::new();
    tree.mkdir("db");
    tree.put("db/password", b"hunter2");
    assert_eq!(tree.get("db/password"), b"hunter2");
    let again = tree.remounted();
    assert_eq!(get(&again, "db/password").unwrap(), b"hunter2");
    let stat = stat(&again, "db/password");
    assert_eq!((stat.mode, stat.size, stat.links), (0o600, 7, 1));
}

#[test]
fn all_commits_of_a_session_are_one_version() {
    let tree = Tree::new();
    let (ino, handle) = tree.create("a");
    for step in ["one", "two", "three"] {
        tree.fs.write(ino, 0, step.as_bytes()).unwrap();
        tree.fs.fsync(ino).unwrap();
        assert_eq!(get(&tree.remounted(), "a").unwrap(), step.as_bytes());
    }
    tree.close(ino, handle);
    assert_eq!(tree.versions("a"), [b"three"]);
    tree.put("a", b"4");
    assert_eq!(tree.versions("a"), [&b"three"[..], b"4"]);
}

#[test]
fn who_opens_after_a_close_is_another_session_even_before_the_release() {
    let tree = Tree::new();
    let (ino, first) = tree.create("a");
    tree.fs.write(ino, 0, b"one").unwrap();
    tree.fs.flush(ino).unwrap();
    tree.fs.write(ino, 0, b"ONE").unwrap();
    tree.fs.flush(ino).unwrap();
    let (_, second) = tree.open("a", true);
    tree.fs.write(ino, 0, b"two").unwrap();
    tree.fs.release(first).unwrap();
    tree.close(ino, second);
    assert_eq!(tree.versions("a"), [b"ONE", b"two"]);
}

#[test]
fn who_truncates_after_a_close_is_another_session_even_before_the_release() {
    let tree = Tree::new();
    let (ino, handle) = tree.create("a");
    tree.fs.write(ino, 0, b"one").unwrap();
    tree.fs.flush(ino).unwrap();
    tree.fs.setattr(ino, &SetAttributes { size: Some(2), ..SetAttributes::default() }).unwrap();
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"on", "on disk when the call returns");
    tree.fs.release(handle).unwrap();
    assert_eq!(tree.versions("a"), [&b"one"[..], b"on"]);
}

#[test]
fn what_is_truncated_while_the_last_release_comes_is_not_lost() {
    // It has to decrypt what there was, which takes time.
    let tree = Tree::with(Options { cache_bytes: 0, ..Options::default() });
    tree.put("a", &[b'x'; 400]);
    for size in (200..400).rev() {
        let (ino, handle) = tree.open("a", false);
        tree.fs.flush(ino).unwrap();
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                // Earlier and later, from one round to the next.
                (0..size % 50 * 200).for_each(|_| std::hint::spin_loop());
                tree.fs.release(handle).unwrap();
            });
            both.wait();
            tree.fs.setattr(ino, &SetAttributes { size: Some(size), ..SetAttributes::default() }).unwrap();
        });
        assert_eq!(tree.get("a").len() as u64, size);
    }
    assert_eq!(tree.versions("a").len(), 201);
}

#[test]
fn what_was_closed_before_a_rename_is_a_version_of_its_own() {
    let tree = Tree::new();
    tree.put("b", b"old");
    let (ino, first) = tree.create("a");
    tree.fs.write(ino, 0, b"one").unwrap();
    tree.fs.flush(ino).unwrap();
    let (_, second) = tree.open("a", false);
    tree.fs.release(first).unwrap();
    tree.rename("a", "b").unwrap();
    assert_eq!(tree.versions("b"), [&b"old"[..], b"one"]);
    tree.put("b", b"two");
    tree.close(ino, second);
    assert_eq!(tree.versions("b"), [&b"old"[..], b"one", b"two"]);
}

#[test]
fn a_late_release_does_not_settle_the_truncation_of_the_next_open() {
    let tree = Tree::new();
    let (ino, first) = tree.create("a");
    tree.fs.write(ino, 0, b"one").unwrap();
    tree.fs.flush(ino).unwrap();
    let (_, second) = tree.open("a", true);
    tree.fs.release(first).unwrap();
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"one");
    tree.fs.release(second).unwrap();
    assert_eq!(tree.versions("a"), [&b"one"[..], b""], "the last one does");
}

#[test]
fn a_late_release_does_not_save_half_of_what_the_next_one_writes() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (ino, handle) = tree.open("a", true);
    tree.fs.write(ino, 0, b"tw").unwrap();
    // As of a release that found no other writer when it came.
    tree.fs.commit(ino, buffer::Occasion::Release).unwrap();
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"one");
    tree.fs.write(ino, 2, b"o").unwrap();
    tree.close(ino, handle);
    assert_eq!(versions(&tree.remounted(), "a"), [b"one", b"two"]);
}

#[test]
fn nothing_changed_means_no_commit() {
    let tree = Tree::new();
    tree.put("a", b"x");
    let before = tree.log();
    let (ino, handle) = tree.open("a", false);
    tree.fs.flush(ino).unwrap();
    tree.fs.fsync(ino).unwrap();
    tree.fs.release(handle).unwrap();
    assert_eq!(tree.log(), before);
}

#[test]
fn the_shell_closes_its_copy_before_the_command_writes() {
    let tree = Tree::new();
    tree.put("a", b"old");
    let before = tree.log();
    let (ino, handle) = tree.open("a", true);
    assert_eq!(stat(&tree.fs, "a").size, 0);
    tree.fs.flush(ino).unwrap();
    assert_eq!(tree.log(), before, "O_TRUNC alone commits nothing yet");
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"old");
    tree.fs.write(ino, 0, b"new").unwrap();
    tree.close(ino, handle);
    assert_eq!(tree.versions("a"), [b"old", b"new"]);
}

#[test]
fn a_truncation_that_is_meant_is_settled_by_the_last_close() {
    let tree = Tree::new();
    tree.put("a", b"old");
    let (ino, handle) = tree.open("a", true);
    tree.close(ino, handle);
    assert_eq!(tree.versions("a"), [&b"old"[..], b""]);
    let (ino, handle) = tree.create("empty");
    tree.close(ino, handle);
    assert_eq!(get(&tree.remounted(), "empty").unwrap(), b"");
}

#[test]
fn truncate_by_path_is_a_session_of_its_own() {
    let tree = Tree::new();
    tree.put("a", b"123456");
    let ino = ino(&tree.fs, "a").unwrap();
    tree.fs.setattr(ino, &SetAttributes { size: Some(3), ..SetAttributes::default() }).unwrap();
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"123");
    assert_eq!(tree.versions("a").len(), 2);
}

#[test]
fn gaps_are_zeros_and_appends_keep_what_is_there() {
    let tree = Tree::new();
    tree.put("a", b"abc");
    let (ino, handle) = tree.open("a", false);
    tree.fs.write(ino, 5, b"f").unwrap();
    tree.close(ino, handle);
    assert_eq!(tree.get("a"), b"abc\0\0f");
}

#[test]
fn readers_see_writes_at_once() {
    let tree = Tree::new();
    tree.put("a", b"old");
    let reader = ino(&tree.fs, "a").unwrap();
    let (writer, handle) = tree.open("a", false);
    tree.fs.write(writer, 0, b"new").unwrap();
    assert_eq!(&*tree.fs.read(reader, 0, 10).unwrap(), b"new");
    tree.close(writer, handle);
    assert_eq!(&*tree.fs.read(reader, 0, 10).unwrap(), b"new");
}

#[test]
fn beyond_the_limit_is_efbig_and_changes_nothing() {
    let tree = Tree::with(Options { max_size: 8, ..Options::default() });
    let (ino, handle) = tree.create("a");
    tree.fs.write(ino, 0, b"12345678").unwrap();
    assert_eq!(kind(tree.fs.write(ino, 8, b"9")), Kind::TooLarge);
    assert_eq!(kind(tree.fs.write(ino, u64::MAX, b"9")), Kind::TooLarge);
    let huge = SetAttributes { size: Some(9), ..SetAttributes::default() };
    assert_eq!(kind(tree.fs.setattr(ino, &huge)), Kind::TooLarge);
    tree.close(ino, handle);
    assert_eq!(tree.get("a"), b"12345678");
}

#[test]
fn what_is_larger_than_the_limit_can_be_changed_within_it_and_shortened() {
    let tree = Tree::new();
    tree.put("a", b"more than eight");
    let options = Options { max_size: 8, ..Options::default() };
    let tree = Tree { fs: FileSystem::new(tree.keynode.clone(), options), ..tree };
    let (ino, handle) = tree.open("a", false);
    tree.fs.write(ino, 0, b"less").unwrap();
    assert_eq!(kind(tree.fs.write(ino, 8, b"9")), Kind::TooLarge);
    let size = |size| SetAttributes { size: Some(size), ..SetAttributes::default() };
    assert_eq!(kind(tree.fs.setattr(ino, &size(20))), Kind::TooLarge);
    tree.fs.setattr(ino, &size(7)).unwrap();
    tree.close(ino, handle);
    assert_eq!(tree.get("a"), b"less th");
}

#[test]
fn holes_beyond_the_limit_are_no_data() {
    const LIMIT: u64 = 64 << 20;
    let tree = Tree::with(Options { max_size: LIMIT, ..Options::default() });
    let (ino, handle) = tree.create("a");
    let far = (2 << 30) + 1;
    tree.fs.write(ino, far, b"data").unwrap();
    assert_eq!(tree.fs.getattr(ino).unwrap().stat.size, far + 4);
    // As much data as anywhere, overwritten as often as one likes, but no more.
    let piece = vec![b'x'; 1 << 20];
    for n in (0..62).chain(0..4) {
        tree.fs.write(ino, n << 24, &piece).unwrap();
    }
    tree.fs.write(ino, 1 << 30, &piece).unwrap();
    assert_eq!(kind(tree.fs.write(ino, (1 << 30) + (1 << 22), &piece)), Kind::TooLarge);
    assert_eq!(kind(tree.fs.write(ino, 3 << 30, b"9")), Kind::TooLarge);
    tree.close(ino, handle);

    let read = |offset, size| tree.fs.read(ino, offset, size).unwrap();
    assert_eq!(&*read(far - 1, 100), b"\0data");
    assert!(read((1 << 30) + (1 << 22), 4096).iter().all(|byte| *byte == 0));
    assert_eq!(&*read(61 << 24, 10), b"xxxxxxxxxx");
    let size = SetAttributes { size: Some(100), ..SetAttributes::default() };
    tree.fs.setattr(ino, &size).unwrap();
    assert_eq!(tree.get("a"), &piece[..100]);
}

#[test]
fn orphans_live_in_memory_and_commit_nothing() {
    let tree = Tree::new();
    tree.put("a", b"old");
    let (ino, handle) = tree.open("a", false);
    tree.unlink("a").unwrap();
    let before = tree.log();
    assert_eq!(&*tree.fs.read(ino, 0, 10).unwrap(), b"old");
    tree.fs.write(ino, 0, b"new").unwrap();
    tree.fs.fsync(ino).unwrap();
    assert_eq!(&*tree.fs.read(ino, 0, 10).unwrap(), b"new");
    assert_eq!(tree.fs.getattr(ino).unwrap().stat.links, 0);
    tree.close(ino, handle);
    assert_eq!(tree.log(), before);
    assert_eq!(tree.versions("a"), [b"old"], "deleted secrets stay in the history");
}

#[test]
fn a_name_created_again_goes_on_with_its_history() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let ino = ino(&tree.fs, "a").unwrap();
    tree.unlink("a").unwrap();
    tree.fs.forget(ino, 100);
    tree.put("a", b"two");
    assert_eq!(tree.versions("a"), [b"one", b"two"]);
}

#[test]
fn attributes_ride_with_the_next_transaction_or_fsync() {
    let tree = Tree::new();
    tree.put("a", b"x");
    let ino = ino(&tree.fs, "a").unwrap();
    let before = tree.log();
    let set = SetAttributes { mode: Some(0o640), uid: Some(7), ..SetAttributes::default() };
    tree.fs.setattr(ino, &set).unwrap();
    assert_eq!((tree.log(), stat(&tree.fs, "a").mode), (before, 0o640));
    tree.mkdir("d");
    let on_disk = stat(&tree.remounted(), "a");
    assert_eq!((on_disk.mode, on_disk.uid), (0o640, 7));
    tree.fs.setattr(ino, &SetAttributes { mode: Some(0o600), ..SetAttributes::default() }).unwrap();
    tree.fs.tick(std::time::Instant::now()).unwrap();
    assert_eq!(stat(&tree.remounted(), "a").mode, 0o600);
}

#[test]
fn times_that_are_set_while_writing_are_kept() {
    let tree = Tree::new();
    let (ino, handle) = tree.create("a");
    tree.fs.write(ino, 0, b"x").unwrap();
    let then = crate::time::Timestamp { seconds: 1_000_000, nanoseconds: 42 };
    tree.fs.setattr(ino, &SetAttributes { mtime: Some(then), ..SetAttributes::default() }).unwrap();
    tree.close(ino, handle);
    assert_eq!(stat(&tree.fs, "a").mtime, then);
    assert_eq!(stat(&tree.remounted(), "a").mtime, then);
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    let tree = Tree::new();
    tree.put("a", b"x");
    let fs = FileSystem::new(tree.on_disk(), Options { read_only: true, ..Options::default() });
    let a = ino(&fs, "a").unwrap();
    let write = OpenMode { write: true, ..OpenMode::default() };
    assert_eq!(kind(fs.open(a, write, ME)), Kind::ReadOnly);
    assert_eq!(kind(fs.create(Ino::ROOT, b"b", 0o600, ME, write)), Kind::ReadOnly);
    assert_eq!(kind(fs.mkdir(Ino::ROOT, b"d", 0o700, ME)), Kind::ReadOnly);
    assert_eq!(kind(fs.unlink(Ino::ROOT, b"a")), Kind::ReadOnly);
    assert_eq!(kind(fs.setattr(a, &SetAttributes { mode: Some(0), ..SetAttributes::default() })), Kind::ReadOnly);
    assert_eq!(get(&fs, "a").unwrap(), b"x");
    fs.settle_all().unwrap();
}

#[test]
fn many_threads_read_and_write_at_once() {
    let tree = Tree::new();
    for n in 0..8 {
        tree.put(&format!("f{n}"), b"start");
    }
    std::thread::scope(|scope| {
        for n in 0..8 {
            let tree = &tree;
            scope.spawn(move || {
                for round in 0..5 {
                    tree.put(&format!("f{n}"), format!("{n} {round}").as_bytes());
                    let seen = tree.get(&format!("f{}", (n + 1) % 8));
                    assert!(seen == b"start" || seen.first() == Some(&(b'0' + (n + 1) % 8)) || seen.is_empty());
                }
            });
        }
    });
    let again = tree.remounted();
    for n in 0..8 {
        assert_eq!(get(&again, &format!("f{n}")).unwrap(), format!("{n} 4").as_bytes());
        assert_eq!(versions(&again, &format!("f{n}")).len(), 6);
    }
}
