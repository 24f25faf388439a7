use std::collections::BTreeSet;

use super::*;
use crate::node::{Condition, ItemPath, Name, Rule, Share, ShareChange, Shares};

const WEB: Caller = Caller { uid: 61_001, gid: 61_001, pid: 0 };

fn share(path: &str, uid: Option<u32>) -> Share {
    let rule = |uid| Rule { conditions: vec![Condition::Uid(uid)], until: None, write: false };
    let paths = BTreeSet::from([ItemPath::parse(path.as_bytes()).unwrap()]);
    Share { paths, rules: uid.map(rule).into_iter().collect(), ..Share::default() }
}

fn set(keynode: &Keynode, shares: &[(&str, Share)]) {
    let all = Shares(shares.iter().map(|(name, share)| (name.parse().unwrap(), share.clone())).collect());
    let mut transaction = keynode.begin().unwrap();
    transaction.set_shares(&all, ShareChange::Create, &"web".parse().unwrap()).unwrap();
    transaction.commit().unwrap();
}

/// Two secrets, the first of them for [`WEB`].
fn with_rules() -> Tree {
    let tree = Tree::new();
    tree.put("web", b"one");
    tree.put("private", b"two");
    set(&tree.keynode, &[("web", share("web", Some(WEB.uid)))]);
    let fs = FileSystem::new(tree.keynode.clone(), Options::default()).with_rules(None).unwrap();
    Tree { fs, ..tree }
}

#[test]
fn a_date_shows_no_more_than_the_present_and_nothing_to_who_has_no_share() {
    let tree = with_rules();
    let versions = tree.fs.lookup(Ino::ROOT, b".versions").unwrap().stat.ino;
    let today = format!("@{}", crate::time::Timestamp::now().to_rfc3339());
    let nobody = Caller { uid: 61_002, ..WEB };
    assert!(tree.fs.is_date(versions, today.as_bytes()) && !tree.fs.is_date(Ino::ROOT, today.as_bytes()));
    let then = tree.fs.lookup_for(WEB, versions, today.as_bytes()).unwrap().stat.ino;
    assert!(tree.fs.lookup_for(WEB, then, b"web").is_ok());
    for (caller, parent, name) in [(WEB, then, &b"private"[..]), (nobody, versions, b"@2999"), (nobody, then, b"web")] {
        let found = tree.fs.lookup_for(caller, parent, name).map(|entry| entry.stat.ino);
        assert!(found.is_err() || name == b"web", "{found:?}");
        let seen = found.and_then(|ino| tree.fs.admit(caller, ino, None, Want::See));
        assert_eq!(kind(seen), Kind::NotFound);
    }
    // While the kernel holds its name that stays, for whoever may use it, and tells nobody else anything.
    assert_eq!(tree.fs.lookup_for(nobody, versions, today.as_bytes()).unwrap().stat.ino, then);
    assert_eq!(kind(tree.fs.admit(nobody, then, None, Want::See)), Kind::NotFound);
    assert!(tree.fs.admit(WEB, then, None, Want::See).is_ok());
    tree.fs.forget(then, 2);
    assert_eq!(kind(tree.fs.lookup_for(nobody, versions, today.as_bytes())), Kind::NotFound);
}

#[test]
fn who_sees_a_secret_by_another_name_takes_its_past_from_nobody() {
    let tree = Tree::new();
    tree.mkdir("a");
    tree.mkdir("b");
    tree.put("a/one", b"x");
    let (b, one) = (ino(&tree.fs, "b").unwrap(), ino(&tree.fs, "a/one").unwrap());
    tree.fs.link(one, b, b"two").unwrap();
    let other = Caller { uid: 61_002, ..WEB };
    set(&tree.keynode, &[("a", share("a", Some(WEB.uid))), ("b", share("b", Some(other.uid)))]);
    let fs = FileSystem::new(tree.keynode.clone(), Options::default()).with_rules(None).unwrap();
    let date = format!("@{}", tree.keynode.snapshot().date().to_rfc3339());
    for (mine, theirs) in [
        (".versions/a/one/1", ".versions/b/two/1"),
        (".versions/a/one/log", ".versions/b/two/log"),
        (&format!(".versions/{date}/a/one"), &format!(".versions/{date}/b/two")),
    ] {
        let (first, second) = (ino(&fs, mine).unwrap(), ino(&fs, theirs).unwrap());
        assert!(fs.admit(WEB, first, None, Want::Read).is_ok() && fs.admit(other, second, None, Want::Read).is_ok());
        assert_eq!(kind(fs.admit(WEB, second, None, Want::Read)), Kind::NotFound, "{theirs}");
        assert_eq!(kind(fs.admit(other, first, None, Want::Read)), Kind::NotFound, "{mine}");
    }
}

#[test]
fn an_open_directory_lists_what_was_given_when_it_was_opened() {
    let tree = with_rules();
    let handle = tree.fs.opendir_for(WEB, Ino::ROOT).unwrap();
    let names = |handle| -> Vec<String> {
        tree.fs.readdir(handle, true).unwrap().iter().map(|(_, entry)| entry.name.to_string()).collect()
    };
    assert_eq!(names(handle), ["web"]);
    // Another share has the first one's place from now on.
    set(&tree.on_disk(), &[("private", share("private", None)), ("web", share("web", Some(WEB.uid)))]);
    tree.fs.refresh().unwrap();
    assert_eq!(names(handle), ["web"]);
    assert_eq!(names(tree.fs.opendir_for(WEB, Ino::ROOT).unwrap()), ["web"]);
    let admit = |name| tree.fs.admit(WEB, ino(&tree.fs, name).unwrap(), None, Want::Read);
    assert!(admit("web").is_ok());
    assert_eq!(kind(admit("private")), Kind::NotFound);
}

#[test]
fn the_past_of_a_share_is_what_it_covers_now() {
    let tree = Tree::new();
    tree.put("a", b"x");
    tree.mkdir("b");
    tree.put("b/b", b"x");
    set(&tree.keynode, &[("web", share("a", None))]);
    let fs = FileSystem::of_share(tree.keynode.clone(), Options::default(), "web".parse().unwrap()).unwrap();
    let date = tree.keynode.snapshot().date();
    while crate::time::Timestamp::now().seconds <= date.seconds {
        std::thread::yield_now();
    }
    let path = format!(".versions/@{}", date.to_rfc3339());
    let names = |directory| {
        let listed = fs.list(ME, directory, HandleId::NONE, true).unwrap();
        listed.after(0).iter().map(|(_, entry)| entry.name.clone()).collect::<Vec<_>>()
    };
    let then = ino(&fs, &path).unwrap();
    assert_eq!(names(then), [Name::new(b"a").unwrap()]);
    set(&tree.keynode, &[("web", share("b", None))]);
    fs.refresh().unwrap();
    // By whoever is there already, too.
    assert_eq!(names(then), [Name::new(b"b").unwrap()]);
    assert_eq!(fs.lookup(then, b"a").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(ino(&fs, &path).unwrap(), then);
    let deep = [(format!("{path}/b"), "b"), (".versions/b/b".to_owned(), "1")];
    let deep = deep.map(|(directory, file)| (ino(&fs, &directory).unwrap(), file));
    for (directory, file) in deep {
        fs.lookup(directory, file.as_bytes()).unwrap();
    }
    set(&tree.keynode, &[("web", share("a", None))]);
    fs.refresh().unwrap();
    for (directory, file) in deep {
        assert_eq!(fs.lookup(directory, file.as_bytes()).unwrap_err().kind(), Kind::NotFound);
        assert!(fs.list(ME, directory, HandleId::NONE, true).is_err());
    }
}
