use super::*;

#[test]
fn each_version_is_a_file_with_its_size_and_date() {
    let tree = Tree::new();
    tree.mkdir("db");
    tree.put("db/password", b"one");
    tree.put("db/password", b"three");
    assert_eq!(tree.list(".versions"), ["db"]);
    assert_eq!(tree.list(".versions/db"), ["password"]);
    assert_eq!(tree.list(".versions/db/password"), ["1", "2", "log"]);
    assert_eq!(tree.get(".versions/db/password/1"), b"one");
    let first = stat(&tree.fs, ".versions/db/password/1");
    assert_eq!((first.size, first.mode), (3, 0o400));
    let log = String::from_utf8(tree.get(".versions/db/password/log")).unwrap();
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[1][0], lines[1][3]), ("2", "5"));
    assert_eq!(lines[1][2], tree.keynode.key().fingerprint().to_string());
    assert_eq!(stat(&tree.fs, ".versions/db/password/log").size, log.len() as u64);
}

#[test]
fn the_root_hides_it_and_nothing_can_be_changed_there() {
    let tree = Tree::new();
    tree.put("a", b"x");
    assert_eq!(tree.list(""), ["a"]);
    let versions = ino(&tree.fs, ".versions").unwrap();
    let file = ino(&tree.fs, ".versions/a/1").unwrap();
    let write = OpenMode { write: true, ..OpenMode::default() };
    assert_eq!(kind(tree.fs.open(file, write, ME)), Kind::ReadOnly);
    assert_eq!(kind(tree.fs.mkdir(versions, b"d", 0o700, ME)), Kind::ReadOnly);
    assert_eq!(kind(tree.fs.unlink(versions, b"a")), Kind::ReadOnly);
    assert_eq!(kind(tree.rename("a", ".versions/b")), Kind::ReadOnly);
    assert_eq!(
        kind(tree.fs.setattr(file, &SetAttributes { mode: Some(0), ..SetAttributes::default() })),
        Kind::ReadOnly
    );
    for name in [".versions/none", ".versions/a/3", ".versions/a/01", ".versions/a/0", ".versions/@nonsense"] {
        assert_eq!(kind(ino(&tree.fs, name)), Kind::NotFound, "{name}");
    }
}

#[test]
fn deleted_secrets_are_listed_with_their_directories() {
    let tree = Tree::new();
    tree.mkdir("d");
    tree.put("d/a", b"x");
    tree.unlink("d/a").unwrap();
    tree.fs.rmdir(Ino::ROOT, b"d").unwrap();
    assert!(tree.list("").is_empty());
    assert_eq!(tree.list(".versions"), ["d"]);
    assert_eq!(tree.list(".versions/d"), ["a"]);
    assert_eq!(tree.get(".versions/d/a/1"), b"x");
    assert_eq!(stat(&tree.fs, ".versions/d/a/1").mode, 0o400);
}

#[test]
fn versions_win_over_children_of_the_same_name() {
    let tree = Tree::new();
    tree.put("x", b"file");
    tree.unlink("x").unwrap();
    tree.mkdir("x");
    tree.put("x/1", b"child");
    let names = tree.list(".versions/x");
    let id = names.iter().find(|name| name.starts_with("1~")).unwrap().clone();
    assert_eq!(names.len(), 3);
    assert_eq!(tree.get(".versions/x/1"), b"file");
    assert_eq!(tree.get(&format!(".versions/x/{id}/1")), b"child");
}

#[test]
fn an_earlier_secret_of_a_name_is_reached_by_its_id() {
    let tree = Tree::new();
    tree.put("a", b"first");
    tree.put("b", b"second");
    let a = ino(&tree.fs, "a").unwrap();
    tree.fs.link(a, Ino::ROOT, b"keep").unwrap();
    tree.rename("b", "a").unwrap();
    tree.unlink("a").unwrap();
    tree.put("b", b"third");
    tree.rename("keep", "a").unwrap();
    assert_eq!(tree.versions("a"), [b"first"]);
    let other = tree.list(".versions").into_iter().find(|name| name.starts_with("a~"));
    let other = other.unwrap();
    assert_eq!(tree.get(&format!(".versions/{other}/1")), b"second");
}

#[test]
fn a_date_shows_the_whole_tree_as_it_stood() {
    let tree = Tree::new();
    tree.mkdir("d");
    tree.put("d/a", b"old");
    tree.fs.symlink(Ino::ROOT, b"l", b"d/a", ME).unwrap();
    let then = tree.keynode.snapshot().date();
    while crate::time::Timestamp::now().seconds <= then.seconds {
        std::thread::yield_now();
    }
    tree.put("d/a", b"new");
    let at = format!(".versions/@{}", crate::time::Timestamp::from_seconds(then.seconds).to_rfc3339());
    assert_eq!(tree.list(&at), ["d", "l"]);
    assert_eq!(tree.get(&format!("{at}/d/a")), b"old");
    assert_eq!(&*tree.fs.readlink(ino(&tree.fs, &format!("{at}/l")).unwrap()).unwrap(), b"d/a");
    assert_eq!(tree.get(".versions/@9998/d/a"), b"new");
    assert_eq!(kind(ino(&tree.fs, ".versions/@1999")), Kind::NotFound);
    assert_eq!(stat(&tree.fs, &format!("{at}/d/a")).mode, 0o400);
}

#[test]
fn listing_takes_references_that_can_be_given_back() {
    let tree = Tree::new();
    tree.put("a", b"x");
    let directory = ino(&tree.fs, ".versions/a").unwrap();
    let handle = tree.fs.opendir(directory).unwrap();
    for (_, entry) in tree.fs.readdir(handle, true).unwrap().iter() {
        let found = tree.fs.lookup_listed(directory, entry).unwrap();
        assert_eq!((found.stat.ino, found.keep), (entry.ino, false));
        tree.fs.forget(found.stat.ino, 1);
        assert_eq!(kind(tree.fs.getattr(found.stat.ino)), Kind::NotFound);
    }
}
