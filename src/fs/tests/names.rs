use super::*;

#[test]
fn a_temporary_file_renamed_over_a_secret_is_its_next_version() {
    let tree = Tree::new();
    tree.put("a", b"one");
    tree.put("a.tmp", b"two");
    let (old, handle) = tree.open("a", false);
    let new = ino(&tree.fs, "a.tmp").unwrap();
    tree.rename("a.tmp", "a").unwrap();
    assert_eq!(tree.versions("a"), [b"one", b"two"]);
    assert_eq!(tree.list(""), ["a"]);
    assert_eq!(ino(&tree.fs, "a").unwrap(), new, "the kernel knows the name by the source's inode");
    assert_eq!(tree.list(".versions"), ["a"], "what was only ever a temporary file leaves no history");
    assert_eq!(&*tree.fs.read(old, 0, 9).unwrap(), b"one", "who has the old file open keeps it");
    tree.fs.write(old, 0, b"lost").unwrap();
    tree.close(old, handle);
    assert_eq!(tree.get("a"), b"two");
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"two");
}

#[test]
fn a_file_that_is_still_open_goes_on_as_the_target() {
    let tree = Tree::new();
    tree.put("a", b"one");
    let (ino, handle) = tree.create("a.tmp");
    tree.fs.write(ino, 0, b"two").unwrap();
    tree.rename("a.tmp", "a").unwrap();
    assert_eq!(get(&tree.remounted(), "a").unwrap(), b"two", "durable when rename returns");
    tree.fs.write(ino, 3, b" and more").unwrap();
    tree.close(ino, handle);
    assert_eq!(tree.versions("a"), [&b"one"[..], b"two and more"]);
}

#[test]
fn a_source_with_a_history_keeps_it_under_its_old_name() {
    let tree = Tree::new();
    tree.put("a", b"a1");
    tree.put("b", b"b1");
    tree.put("b", b"b2");
    tree.rename("b", "a").unwrap();
    assert_eq!(tree.versions("a"), [b"a1", b"b2"]);
    assert_eq!(tree.versions("b"), [b"b1", b"b2"]);
}

#[test]
fn a_source_that_is_older_than_the_mount_keeps_its_one_version() {
    let tree = Tree::new();
    tree.put("a", b"a1");
    tree.put("b", b"b1");
    let later = tree.remounted();
    later.rename(Ino::ROOT, b"b", Ino::ROOT, b"a", RenameMode::Replace).unwrap();
    assert_eq!(versions(&later, "a"), [b"a1", b"b1"]);
    assert_eq!(versions(&later, "b"), [b"b1"]);
}

#[test]
fn a_source_that_had_its_own_name_for_a_while_keeps_its_one_version() {
    let tree = Tree::new();
    tree.put("a", b"a1");
    tree.put("b", b"b1");
    let (written, handle) = tree.create("open");
    tree.fs.write(written, 0, b"o1").unwrap();
    tree.fs.fsync(written).unwrap();
    tree.fs.tick(std::time::Instant::now() + super::super::memory::WAIT).unwrap();
    tree.rename("b", "a").unwrap();
    tree.rename("open", "a").unwrap();
    tree.close(written, handle);
    assert_eq!(tree.versions("a"), [b"a1", b"b1", b"o1"]);
    assert_eq!(tree.list(".versions"), ["a", "b"], "a session that still writes its file may yet rename it");
}

#[test]
fn a_source_that_goes_on_with_an_older_history_keeps_it() {
    let tree = Tree::new();
    tree.put("a", b"a1");
    tree.put("b", b"b1");
    tree.unlink("b").unwrap();
    let again = tree.remounted();
    let tree = Tree { fs: again, ..tree };
    tree.put("b", b"b2");
    tree.rename("b", "a").unwrap();
    assert_eq!(tree.versions("b"), [b"b1", b"b2"]);
}

#[test]
fn with_hard_links_names_move() {
    let tree = Tree::new();
    tree.put("a", b"a1");
    let a = ino(&tree.fs, "a").unwrap();
    tree.fs.link(a, Ino::ROOT, b"a2").unwrap();
    tree.put("b", b"b1");
    tree.rename("b", "a").unwrap();
    assert_eq!((tree.get("a"), tree.get("a2")), (b"b1".to_vec(), b"a1".to_vec()));
    assert_eq!(tree.versions("a"), [b"b1"]);
    assert_eq!(stat(&tree.fs, "a2").links, 1);
    tree.fs.link(ino(&tree.fs, "a").unwrap(), Ino::ROOT, b"same").unwrap();
    tree.rename("same", "a").unwrap();
    assert_eq!(tree.list(""), ["a", "a2", "same"], "both names of one file: rename(2) does nothing");
}

#[test]
fn rename_takes_its_flags() {
    let tree = Tree::new();
    tree.put("a", b"A");
    tree.put("b", b"B");
    assert_eq!(kind(tree.rename_as("a", "b", RenameMode::NoReplace)), Kind::Exists);
    tree.rename_as("a", "b", RenameMode::Exchange).unwrap();
    assert_eq!((tree.get("a"), tree.get("b")), (b"B".to_vec(), b"A".to_vec()));
    assert_eq!(kind(tree.rename_as("a", "c", RenameMode::Exchange)), Kind::NotFound);
    tree.rename_as("a", "c", RenameMode::NoReplace).unwrap();
    assert_eq!(get(&tree.remounted(), "c").unwrap(), b"B");
}

#[test]
fn directories_move_with_what_waits_in_them() {
    let tree = Tree::new();
    tree.mkdir("d");
    tree.mkdir("e");
    let (ino, handle) = tree.create("d/new");
    tree.fs.write(ino, 0, b"x").unwrap();
    assert_eq!(kind(tree.fs.rmdir(Ino::ROOT, b"d")), Kind::NotEmpty);
    assert_eq!(kind(tree.rename("e", "d")), Kind::NotEmpty);
    tree.rename("d", "e").unwrap();
    tree.close(ino, handle);
    assert_eq!(get(&tree.remounted(), "e/new").unwrap(), b"x");
    tree.unlink("e/new").unwrap();
    tree.fs.rmdir(Ino::ROOT, b"e").unwrap();
    assert!(tree.list("").is_empty());
}

#[test]
fn kinds_do_not_replace_each_other() {
    let tree = Tree::new();
    tree.mkdir("d");
    tree.put("a", b"x");
    assert_eq!(kind(tree.rename("a", "d")), Kind::IsDirectory);
    assert_eq!(kind(tree.rename("d", "a")), Kind::NotDirectory);
    assert_eq!(kind(tree.unlink("d")), Kind::IsDirectory);
    assert_eq!(kind(tree.fs.rmdir(Ino::ROOT, b"a")), Kind::NotDirectory);
    assert_eq!(kind(tree.fs.mkdir(Ino::ROOT, b"a", 0o700, ME)), Kind::Exists);
    assert_eq!(kind(tree.fs.lookup(Ino::ROOT, b"none")), Kind::NotFound);
    assert_eq!(kind(tree.fs.lookup(Ino::ROOT, &[b'x'; 256])), Kind::NameTooLong);
    let exclusive = OpenMode { write: true, exclusive: true, truncate: false };
    assert_eq!(kind(tree.fs.create(Ino::ROOT, b"a", 0o600, ME, exclusive)), Kind::Exists);
}

#[test]
fn links_pipes_and_sockets_are_kept() {
    let tree = Tree::new();
    tree.fs.symlink(Ino::ROOT, b"link", b"a/b", ME).unwrap();
    tree.fs.mknod(Ino::ROOT, b"pipe", FileKind::Fifo, 0o622, ME).unwrap();
    tree.fs.mknod(Ino::ROOT, b"socket", FileKind::Socket, 0o600, ME).unwrap();
    tree.fs.mknod(Ino::ROOT, b"file", FileKind::Regular, 0o644, ME).unwrap();
    let again = tree.remounted();
    assert_eq!(&*again.readlink(ino(&again, "link").unwrap()).unwrap(), b"a/b");
    assert_eq!(stat(&again, "link").size, 3);
    assert_eq!((stat(&again, "pipe").kind, stat(&again, "pipe").mode), (FileKind::Fifo, 0o622));
    assert_eq!(stat(&again, "socket").kind, FileKind::Socket);
    assert_eq!(stat(&again, "file").kind, FileKind::Regular);
    assert_eq!(kind(again.readlink(ino(&again, "file").unwrap())), Kind::Invalid);
}

#[test]
fn a_set_group_id_directory_gives_its_group() {
    let tree = Tree::new();
    let d = tree.mkdir("d");
    let set = SetAttributes { mode: Some(0o2755), gid: Some(77), ..SetAttributes::default() };
    tree.fs.setattr(d, &set).unwrap();
    tree.put("d/a", b"x");
    let sub = tree.mkdir("d/sub");
    assert_eq!(stat(&tree.fs, "d/a").gid, 77);
    let sub = tree.fs.getattr(sub).unwrap().stat;
    assert_eq!((sub.gid, sub.mode), (77, 0o2755));
}

#[test]
fn the_mounts_own_names_are_reserved() {
    let tree = Tree::new();
    tree.put("a", b"x");
    for name in [".versions", ".views"] {
        assert_eq!(kind(tree.fs.mkdir(Ino::ROOT, name.as_bytes(), 0o700, ME)), Kind::NotPermitted);
        assert_eq!(kind(tree.rename("a", name)), Kind::NotPermitted);
    }
    let views = tree.fs.lookup(Ino::ROOT, b".views").unwrap().stat.ino;
    assert_eq!(kind(tree.fs.lookup(views, b"none")), Kind::NotFound);
    assert_eq!(tree.list(""), ["a"]);
    tree.mkdir("d");
    tree.mkdir("d/.versions");
    assert_eq!(tree.list("d"), [".versions"]);
}
