//! The same file, read by pkfs and by the script.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use pkfs::node::{
    Attributes, ItemId, ItemPath, Keynode, Name, NodeKey, OpenOptions, SealedKeynode, Session, Transaction,
};
use pkfs::time::Timestamp;

use super::bench::{ALL_TOOLS, Bench, Tools};

const ODD: [&str; 7] = ["a b", " edge ", "new\nline", "quote\"back\\slash", "ümläut €", "-dash", "tab\tand\u{1}"];

/// A keynode with a past, and the paths of its secrets, deleted ones too.
fn eventful(bench: &Bench) -> Vec<String> {
    for version in ["one", "two", "three"] {
        bench.put("db/password", version.as_bytes());
    }
    bench.put("db/deep/er/key", b"\0\xff\n\n");
    bench.put("empty", b"");
    let noise: Vec<u8> = (0..75_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    bench.put("noise", &noise);
    bench.put("noise", &noise[..1000]);
    for name in ODD {
        bench.put(&format!("odd {name}/{name}"), name.as_bytes());
    }
    bench.k(&["ln", "a.pk", "db/password", "link"]);
    bench.k(&["mv", "a.pk", "db", "store"]);
    bench.put("store/password", b"four, after the move");
    bench.k(&["mv", "a.pk", "store/deep", "shallow"]);
    bench.put("again", b"first life");
    bench.k(&["rm", "--yes", "a.pk", "again"]);
    bench.put("again", b"second life");
    bench.put("gone/away", b"deleted");
    bench.k(&["rm", "--yes", "-r", "a.pk", "gone"]);
    bench.put("target", b"will be replaced");
    bench.put("mover", b"replaces");
    bench.k(&["mv", "--yes", "a.pk", "mover", "target"]);
    let mut paths = vec!["gone/away".to_owned(), "link".to_owned()];
    paths.extend(["store/password", "shallow/er/key", "empty", "noise", "again", "target"].map(str::to_owned));
    paths.extend(ODD.map(|name| format!("odd {name}/{name}")));
    paths
}

/// Names, logs, values and all their versions are the same.
fn assert_alike(bench: &Bench, paths: &[String], tools: Tools) {
    let script =
        |arguments: &[&str]| bench.script(tools, &[&arguments[..1], &["--key", "a.key"], &arguments[1..]].concat());
    let exported = bench.exported();
    let listed: BTreeSet<String> = script(&["ls", "a.pk"]).text().lines().map(str::to_owned).collect();
    assert_eq!(listed, exported.keys().cloned().collect(), "{tools:?}");

    let expected: serde_json::Value = serde_json::from_slice(&bench.k(&["log", "a.pk", "--json"])).unwrap();
    let mut transactions = String::new();
    for entry in expected.as_array().unwrap() {
        writeln!(transactions, "{}\t{}", entry["commit"].as_str().unwrap(), entry["date"].as_str().unwrap()).unwrap();
        for change in entry["changes"].as_array().unwrap() {
            writeln!(transactions, "\t{}", change.as_str().unwrap()).unwrap();
        }
    }
    assert_eq!(script(&["log", "a.pk"]).text(), transactions, "{tools:?}");

    for path in paths {
        let versions = String::from_utf8(bench.k(&["log", "a.pk", "--", path])).unwrap();
        assert_eq!(script(&["log", "a.pk", "--", path]).text(), versions, "{path}");
        for number in 1..=versions.lines().count() {
            let number = number.to_string();
            let value = bench.k(&["get", "a.pk", "-r", &number, "--", path]);
            assert!(script(&["get", "a.pk", "--", path, &number]).ok() == value, "{path} {number}");
        }
        if path != "gone/away" {
            let value = bench.k(&["get", "a.pk", "--", path]);
            assert!(script(&["get", "a.pk", "--", path]).ok() == value, "{path}");
        }
    }
    assert!(script(&["verify", "a.pk"]).text().ends_with("all verified\n"));
}

#[test]
fn a_history_reads_the_same_before_and_after_compaction() {
    let bench = Bench::new();
    let paths = eventful(&bench);
    assert_alike(&bench, &paths, Tools::System);
    bench.k(&["compact", "a.pk"]);
    assert_alike(&bench, &paths, Tools::System);
    bench.put("store/password", b"five, after compaction");
    assert_alike(&bench, &paths[2..4], Tools::System);
}

#[test]
fn every_shell_awk_and_tar_reads_the_same() {
    let bench = Bench::new();
    let paths = eventful(&bench);
    for tools in &ALL_TOOLS[1..] {
        assert_alike(&bench, &paths[..2], *tools);
    }
}

#[test]
fn two_hundred_secrets_are_listed_and_verified() {
    let bench = Bench::new();
    for n in 0..200 {
        let directory = bench.path("in").join(format!("d{}", n % 7));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(n.to_string()), n.to_string()).unwrap();
        // Long enough, and enough of them, that the checkpoint's directory and items go on in a second message.
        for other in 0..3 {
            let name = format!("link {n} {other} {}", "x".repeat(230));
            std::os::unix::fs::symlink("somewhere", directory.join(name)).unwrap();
        }
    }
    bench.k(&["import", "a.pk", "in"]);
    bench.k(&["compact", "a.pk"]);
    for moved in 0..5 {
        bench.k(&["mv", "a.pk", &format!("d{moved}"), &format!("moved{moved}")]);
    }
    assert_alike(&bench, &["moved3/3".to_owned(), "d6/6".to_owned()], Tools::System);
    bench.k(&["compact", "a.pk"]);
    bench.extracted();
    for part in ["directory.pgp.2", "items.pgp.2", "heads.2"] {
        bench.git(&["--git-dir=repository", "rev-parse", "--verify", &format!("checkpoint:{part}")]);
    }
    assert_alike(&bench, &["moved3/3".to_owned(), "d6/6".to_owned()], Tools::System);
    let some = bench.s(&["ls", "a.pk", "moved3"]).text();
    assert_eq!(some.lines().count(), bench.exported().keys().filter(|p| p.starts_with("moved3/")).count() - 1);
}

/// What no command does, but a mount: exchanges, sessions of several commits, special files, forgotten secrets.
#[test]
fn what_a_mount_writes_reads_the_same() {
    let bench = Bench::new();
    bench.put("x/one", b"1");
    bench.put("y/two", b"2");
    // In a process of its own, whose environment names the state directory.
    let mut itself = Command::new(std::env::current_exe().unwrap());
    itself.args(["--exact", "alike::writes_as_a_mount_does", "--ignored"]).current_dir(bench.path("."));
    assert!(itself.env("XDG_STATE_HOME", bench.path("state")).status().unwrap().success());
    let paths = ["y/one", "x/two", "x/session"].map(str::to_owned);
    assert_eq!(bench.s(&["get", "a.pk", "x/session", "2"]).ok(), b"0 and more, 1 and more, 2 and more, 3 and more, ");
    assert_eq!(bench.s(&["log", "a.pk", "x/session"]).text().lines().count(), 3);
    assert_alike(&bench, &paths, Tools::System);
    assert_alike(&bench, &paths, Tools::Busybox);
    let listed = bench.s(&["ls", "a.pk"]).text();
    assert_eq!(listed, "x/\nx/inner/\nx/pipe\nx/session\nx/symlink\nx/two\ny/\ny/one\n");
}

/// Shares are in the log, and a repair begins a new one that says how deleted secrets were called.
#[test]
fn shares_and_a_repaired_log_read_the_same() {
    let bench = Bench::new();
    for path in ["web/key", "gone", "kept"] {
        bench.put(path, path.as_bytes());
    }
    bench.k(&["rm", "--yes", "a.pk", "gone"]);
    bench.k(&["share", "create", "a.pk", "web", "web"]);
    bench.k(&["share", "allow", "a.pk", "web", "--user", "0"]);
    let paths = ["web/key", "kept"].map(str::to_owned);
    assert_alike(&bench, &paths, Tools::System);
    assert_alike(&bench, &paths, Tools::Busybox);
    bench.k(&["compact", "a.pk"]);
    bench.extracted();
    let first = bench.git(&["--git-dir=repository", "rev-list", "--max-parents=0", "keynode"]);
    bench.damaged("a.pk", "a.pk", &format!("{first}:change.pgp"));
    bench.k(&["fsck", "a.pk", "--repair", "b.pk"]);
    fs::rename(bench.path("b.pk"), bench.path("a.pk")).unwrap();
    let log = bench.s(&["log", "a.pk"]).text();
    assert!(log.contains("\trepaired from ") && log.contains("\tformer name gone of "), "{log}");
    assert_alike(&bench, &paths[..1], Tools::System);
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn transact(keynode: &Keynode, edit: impl FnOnce(&mut Transaction<'_>)) {
    let mut transaction = keynode.begin().unwrap();
    edit(&mut transaction);
    transaction.commit().unwrap();
}

#[test]
#[ignore = "run by what_a_mount_writes_reads_the_same, in a place of its own"]
fn writes_as_a_mount_does() {
    let key = NodeKey::from_secret(&fs::read("a.key").unwrap()).unwrap();
    let sealed = SealedKeynode::open("a.pk".as_ref()).unwrap();
    let keynode = sealed.into_keynode(key, &OpenOptions::default()).unwrap();
    let id =
        |path: &str| keynode.snapshot().namespace().resolve(&ItemPath::parse(path.as_bytes()).unwrap()).unwrap().id;
    let (x, y) = (id("x"), id("y"));
    transact(&keynode, |t| t.exchange(x, &name("one"), y, &name("two")).unwrap());
    transact(&keynode, |t| t.rename(x, &name("one"), x, &name("three")).unwrap());
    transact(&keynode, |t| t.exchange(x, &name("three"), y, &name("two")).unwrap());
    transact(&keynode, |t| t.exchange(ItemId::ROOT, &name("x"), ItemId::ROOT, &name("y")).unwrap());
    transact(&keynode, |t| t.rename(x, &name("three"), x, &name("one")).unwrap());

    let secret = ItemId::random();
    let attributes = Attributes::new(0o600);
    transact(&keynode, |t| {
        let value = keynode.seal(secret, b"first").unwrap();
        t.create_secret(y, &name("session"), attributes, value, Session::random()).unwrap();
    });
    let (session, mut text) = (Session::random(), String::new());
    for n in 0..4 {
        write!(text, "{n} and more, ").unwrap();
        let value = keynode.seal(secret, text.as_bytes()).unwrap();
        transact(&keynode, |t| t.write(value, session, Timestamp::now()).unwrap());
    }
    let value = keynode.seal(secret, b"third").unwrap();
    transact(&keynode, |t| t.write(value, Session::random(), Timestamp::now()).unwrap());

    transact(&keynode, |t| {
        t.create_directory(y, &name("inner"), Attributes::new(0o700)).unwrap();
        t.create_fifo(ItemId::random(), y, &name("pipe"), attributes).unwrap();
        t.create_symlink(ItemId::random(), y, &name("symlink"), "ü\n".as_bytes(), attributes).unwrap();
        let mode = Attributes { mode: 0o4755, ..attributes };
        t.set_attributes(secret, mode).unwrap();
    });
    let passing = ItemId::random();
    transact(&keynode, |t| {
        let value = keynode.seal(passing, b"never meant to last").unwrap();
        t.create_secret(y, &name("passing"), attributes, value, Session::random()).unwrap();
    });
    transact(&keynode, |t| t.forget(y, &name("passing")).unwrap());
}
