use super::*;

fn attribute(tree: &Tree, path: &str, name: &str) -> Option<String> {
    tree.fs.extended_attribute(ino(&tree.fs, path).unwrap(), name.as_bytes()).unwrap()
}

fn names(tree: &Tree, path: &str) -> usize {
    let names = tree.fs.extended_attributes(ino(&tree.fs, path).unwrap()).unwrap();
    names.split_inclusive(|byte| *byte == 0).count()
}

#[test]
fn a_secret_says_which_version_of_which_secret_it_is() {
    let tree = Tree::new();
    tree.put("a", b"one");
    tree.put("a", b"two");
    let id = tree.keynode.snapshot().namespace().child(crate::node::ItemId::ROOT, b"a").unwrap().id.to_string();
    let writer = tree.keynode.key().fingerprint().to_string();
    for (path, version) in [("a", "2"), (".versions/a/2", "2"), (".versions/a/1", "1"), (".versions/@9998/a", "2")] {
        assert_eq!(attribute(&tree, path, "user.pkfs.version").as_deref(), Some(version), "{path}");
        assert_eq!(attribute(&tree, path, "user.pkfs.id").as_deref(), Some(&*id), "{path}");
        assert_eq!(attribute(&tree, path, "user.pkfs.writer").as_deref(), Some(&*writer), "{path}");
        assert_eq!(names(&tree, path), 3);
    }
}

#[test]
fn all_else_has_none() {
    let tree = Tree::new();
    tree.put("a", b"one");
    tree.mkdir("d");
    tree.create("new~");
    for path in ["", "d", "new~", ".versions", ".versions/a", ".versions/a/log"] {
        assert_eq!((names(&tree, path), attribute(&tree, path, "user.pkfs.id")), (0, None), "{path}");
    }
    assert_eq!(attribute(&tree, "a", "user.other"), None);
    assert_eq!(attribute(&tree, "a", "security.capability"), None);
    let (a, handle) = tree.open("a", false);
    tree.fs.write(a, 0, b"two").unwrap();
    assert_eq!(attribute(&tree, "a", "user.pkfs.version").as_deref(), Some("1"), "not committed yet");
    tree.fs.flush(a).unwrap();
    tree.fs.release(handle).unwrap();
    assert_eq!(attribute(&tree, "a", "user.pkfs.version").as_deref(), Some("2"));
    tree.unlink("a").unwrap();
    assert_eq!(tree.fs.extended_attribute(a, b"user.pkfs.version").unwrap().as_deref(), Some("2"), "without a name");
}
