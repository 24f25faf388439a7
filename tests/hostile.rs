//! Files that are damaged, forged, or no keynodes at all.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Output};

use pkfs::error::{Error, Kind};
use pkfs::node::{Attributes, InitOptions, ItemId, Keynode, Name, NodeKey, OpenOptions, Profile, SealedKeynode};
use pkfs::node::{Session, fsck};
use support::{Bench, alone, can_mount};

/// What nobody may see who did not ask for it.
const MARK: &str = "PLAINTEXT";

/// A tar header's size.
const BLOCK: usize = 512;

/// Where a member of an archive is.
struct Member {
    name: String,
    header: usize,
    content: usize,
    end: usize,
}

fn members(archive: &[u8]) -> Vec<Member> {
    let (mut found, mut at) = (Vec::new(), 0);
    while archive.get(at).is_some_and(|first| *first != 0) {
        let text = |from: usize, to: usize| {
            String::from_utf8(archive[at + from..at + to].split(|b| *b == 0).next().unwrap().to_vec()).unwrap()
        };
        let size = usize::from_str_radix(text(124, 136).trim(), 8).unwrap();
        let content = at + BLOCK;
        found.push(Member { name: text(0, 100), header: at, content, end: content + size });
        at = content + size.next_multiple_of(BLOCK);
    }
    found
}

/// What was ever written under a name; the last is the present value.
type Values = BTreeMap<String, Vec<Vec<u8>>>;

fn put(keynode: &Keynode, values: &mut Values, name: &str, value: &str) {
    let value = format!("{MARK} {value}").into_bytes();
    let node = keynode.snapshot();
    let present = node.namespace().child(ItemId::ROOT, name.as_bytes()).map(|item| item.id);
    let attributes = Attributes::new(0o600);
    let sealed = keynode.seal(present.unwrap_or_else(ItemId::random), &value).unwrap();
    let mut transaction = keynode.begin().unwrap();
    if present.is_some() {
        transaction.write(sealed, Session::random(), attributes.mtime).unwrap();
    } else {
        let name = Name::new(name.as_bytes()).unwrap();
        transaction.create_secret(ItemId::ROOT, &name, attributes, sealed, Session::random()).unwrap();
    }
    transaction.commit().unwrap();
    values.entry(name.to_owned()).or_default().push(value);
}

/// A base with two secrets, and a tail that changes one and adds one.
fn keynode(path: &Path) -> (Keynode, Values) {
    let options = InitOptions { profile: Profile::Gnupg, passphrase: None };
    let (keynode, mut values) = (Keynode::init(path, &options).unwrap(), Values::new());
    put(&keynode, &mut values, "a", "one");
    put(&keynode, &mut values, "b", "other");
    keynode.compact().unwrap();
    put(&keynode, &mut values, "a", "two");
    put(&keynode, &mut values, "c", "third");
    (keynode, values)
}

/// Opens a file and reads all that is in it.
fn read(path: &Path, key: &[u8], allow_rollback: bool) -> Result<BTreeMap<String, Result<Vec<u8>, Error>>, Error> {
    let options = OpenOptions { read_only: true, allow_rollback, ..OpenOptions::default() };
    let keynode = SealedKeynode::open(path)?.into_keynode(NodeKey::from_secret(key)?, &options)?;
    let snapshot = keynode.snapshot();
    let root = snapshot.namespace().root();
    let pkfs::node::Content::Directory(children) = &root.content else { return Ok(BTreeMap::new()) };
    Ok(children
        .iter()
        .map(|(name, id)| (name.to_string(), keynode.read_head(&snapshot, *id).map(|value| value.to_vec())))
        .collect())
}

/// Neither a panic, nor a value that was not written there, nor silence about what is gone.
fn survives(what: &str, path: &Path, key: &[u8], values: &Values) -> &'static str {
    let run = |allow| catch_unwind(AssertUnwindSafe(|| read(path, key, allow)));
    let checked = catch_unwind(|| fsck(path, NodeKey::from_secret(key).ok().as_ref()));
    let checked = checked.unwrap_or_else(|_| Err(Error::new(Kind::Exists, format!("{what}: fsck panicked"))));
    let clean = match &checked {
        Ok(report) => report.is_clean(),
        Err(error) => {
            assert!(is_documented(error.kind()), "{what}: fsck: {error}");
            false
        }
    };
    let mut seen = "whole";
    for allow_rollback in [false, true] {
        let found = run(allow_rollback);
        assert!(found.is_ok(), "{what}: a panic");
        match found.unwrap() {
            Ok(found) => {
                for (name, value) in &found {
                    let written = values.get(name);
                    assert!(written.is_some(), "{what}: {name} was never made");
                    match value {
                        Ok(value) if allow_rollback => assert!(written.unwrap().contains(value), "{what}: {name}"),
                        Ok(value) => assert_eq!(Some(value), written.unwrap().last(), "{what}: {name}"),
                        Err(error) => {
                            assert_eq!(error.kind(), Kind::Damaged, "{what}: {name}: {error}");
                            assert!(!clean, "{what}: fsck says nothing of {name}: {error}");
                            seen = "a value refused";
                        }
                    }
                }
                assert!(allow_rollback || found.len() == values.len(), "{what}: secrets are silently gone");
            }
            Err(error) => {
                assert!(is_documented(error.kind()), "{what}: {error}");
                assert!(!error.to_string().contains(MARK), "{what}: {error}");
                assert!(!clean || error.kind() == Kind::Diverged || !allow_rollback, "{what}: fsck: nothing; {error}");
                seen = "the file refused";
            }
        }
    }
    seen
}

/// Not a missing name, and not a full disk.
fn is_documented(kind: Kind) -> bool {
    matches!(kind, Kind::Failed | Kind::Damaged | Kind::Unlock | Kind::Diverged | Kind::Invalid)
}

#[test]
fn damage_anywhere_is_told_and_never_believed() {
    alone("truncations_and_flipped_bits");
}

#[test]
#[ignore = "run by damage_anywhere_is_told_and_never_believed"]
fn truncations_and_flipped_bits() {
    let directory = tempfile::tempdir().unwrap();
    let (keynode, values) = keynode(&directory.path().join("app.pk"));
    let key = keynode.key().to_secret().unwrap();
    let good = fs::read(keynode.path()).unwrap();
    let path = directory.path().join("bad.pk");
    let members = members(&good);
    assert!(members.len() > 25, "{}", members.len());
    let mut seen = BTreeSet::new();
    let mut survives = |what: String, bytes: &[u8]| {
        // Whoever allows a rollback takes the older file for the newest from then on: look at the newest again.
        read(keynode.path(), &key, false).unwrap();
        fs::write(&path, bytes).unwrap();
        seen.insert(survives(&what, &path, &key, &values));
    };
    for Member { name, header, content, end } in &members {
        for at in [*header, header + 200, *content, (content + end) / 2, end.saturating_sub(1), *end] {
            survives(format!("cut at {at}, {name}"), &good[..at]);
        }
        // Name, mode, size, time, sum, type, and the content's ends and middle.
        let inside =
            [*content, (content + end) / 2, end.saturating_sub(1)].into_iter().filter(|at| at < end && at >= content);
        for at in [0, 100, 130, 140, 150, 156].map(|field| header + field).into_iter().chain(inside) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 7);
            survives(format!("a bit flipped at {at}, {name}"), &bad);
        }
    }
    assert_eq!(seen, BTreeSet::from(["a value refused", "the file refused", "whole"]));
}

/// Runs it, but not for long.
fn run(bench: &Bench, arguments: &[&str]) -> Output {
    let pkfs = bench.command(arguments);
    let mut command = Command::new("timeout");
    command.arg("10").arg(pkfs.get_program()).args(pkfs.get_args()).current_dir(bench.path(""));
    for (name, value) in pkfs.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

fn refuses(bench: &Bench, arguments: &[&str], file: &str, statuses: &[i32]) {
    let output = run(bench, arguments);
    let (said, out) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let status = output.status.code();
    assert!(status.is_some_and(|status| statuses.contains(&status)), "{arguments:?}: {status:?}: {said}{out}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{arguments:?}: {said}");
    assert!(!out.contains(MARK) && !said.contains(MARK), "{arguments:?}: {said}{out}");
    assert!(said.contains(file) || out.contains(file), "{arguments:?} names no file: {said}{out}");
}

fn sh(bench: &Bench, script: &str) {
    assert!(
        Command::new("sh").args(["-ec", script]).current_dir(bench.path("")).status().unwrap().success(),
        "{script}"
    );
}

#[test]
fn commands_refuse_what_is_no_keynode() {
    let bench = Bench::new();
    bench.put("a", &format!("{MARK} one"));
    bench.put("b", &format!("{MARK} other"));
    sh(
        &bench,
        ": > empty; tar -cf plain.tar key; cp app.pk extra.pk; tar -rf extra.pk key; mkdir dir; mkfifo fifo; \
         ln -s loop2 loop; ln -s loop loop2; head -c 700 app.pk > short.pk; \
         { head -c 4000 /dev/urandom; cat app.pk; } > garbage.pk; ln -s /dev/null null",
    );
    let mut mounts = vec![vec!["ls"], vec!["get"], vec!["info"], vec!["fsck"]];
    if can_mount() {
        mounts.push(vec!["mount", "--read-only"]);
    }
    let files =
        ["empty", "plain.tar", "extra.pk", "dir", "fifo", "loop", "short.pk", "garbage.pk", "null", "/dev/null"];
    for file in files {
        for command in &mounts {
            let mut arguments = command.clone();
            arguments.push(file);
            arguments.extend(match command[0] {
                "get" => Some("a"),
                "mount" => Some("m"),
                _ => None,
            });
            refuses(&bench, &arguments, file, &[1, 4]);
        }
    }
}

#[test]
fn commands_refuse_a_wrong_way_in() {
    let bench = Bench::new();
    bench.put("a", &format!("{MARK} one"));
    sh(&bench, "echo 'correct horse battery staple 7!' > pw; echo wrong > bad");
    bench.pkfs(&["slot", "add", "app.pk", "--passphrase", "--new-passphrase-file", "pw"]);
    for command in [&["get", "app.pk", "a"][..], &["ls", "app.pk"], &["mount", "--read-only", "app.pk", "m"]] {
        refuses(&bench, &[command, &["--passphrase-file", "bad"]].concat(), "app.pk", &[3]);
        refuses(&bench, &[command, &["--key", "app.pk"]].concat(), "app.pk", &[1, 3, 4]);
    }
}
