//! Tests of the layer as a whole, with git and several tars as judges.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod crash;
mod files;
mod hostile;

use std::path::Path;
use std::process::Command;

use super::*;

pub(super) const SECRET: &str = "refs/heads/secrets/0123456789abcdef0123456789abcdef";

/// Bytes that do not compress, the same each time.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

pub(super) fn commit(tree: Oid, parents: &[Oid], message: &str) -> NewObject {
    let parents: Vec<_> = parents.iter().map(|p| format!("parent {p}\n")).collect();
    let parents = parents.concat();
    let who = "pkfs <pkfs@localhost> 1700000000 +0000";
    let text = format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\n{message}\n");
    NewObject::new(ObjectKind::Commit, text.into_bytes())
}

/// A transaction that gives one secret another version and logs that.
pub(super) fn transaction(before: Option<&Archive>, n: u64, size: usize) -> Batch {
    let parent = |name: &str| before.and_then(|a| a.reference(name)).into_iter().collect::<Vec<_>>();
    let value = NewObject::new(ObjectKind::Blob, noise(n, size));
    let directory = NewObject::new(
        ObjectKind::Tree,
        tree(&[TreeEntry { name: b"value.pgp".into(), oid: value.oid, directory: false }]),
    );
    let version = commit(directory.oid, &parent(SECRET), &format!("secret {n}"));
    let change = NewObject::new(ObjectKind::Blob, noise(n + 1_000_000, 400));
    let log = NewObject::new(
        ObjectKind::Tree,
        tree(&[TreeEntry { name: b"change.pgp".into(), oid: change.oid, directory: false }]),
    );
    let closing = commit(log.oid, &parent(KEYNODE_REF), &format!("change {n}"));
    let refs = vec![(SECRET.into(), version.oid), (KEYNODE_REF.into(), closing.oid)];
    Batch { slots: vec![], objects: vec![value, directory, version, change, log, closing], refs }
}

pub(super) struct Place(tempfile::TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("app.pk")
    }

    /// A keynode with this many transactions.
    pub(super) fn keynode(&self, transactions: u64) -> Archive {
        let mut first = transaction(None, 0, 300);
        first.slots.push(("passphrase".into(), noise(77, 700)));
        let mut archive = create(&self.path(), first).unwrap();
        for n in 1..transactions {
            archive = append(&self.path(), n);
        }
        archive
    }
}

pub(super) fn append(path: &Path, n: u64) -> Archive {
    let mut lock = WriteLock::acquire(path).unwrap();
    let batch = transaction(Some(lock.archive()), n, 300);
    lock.append(batch).unwrap()
}

pub(super) fn run(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {text}");
    text
}

pub(super) fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(repository).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    git
}

/// Extracts the file as its README says and lets git judge it. Returns the repository.
pub(super) fn judge(path: &Path) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    run(Command::new("git")
        .args(["init", "-q", "--bare", "--initial-branch=keynode"])
        .arg(out.path())
        .env("GIT_DEFAULT_HASH", "sha1"));
    let members = ["objects", "refs", "packed-refs", "unlock"];
    let said = run(Command::new("tar").arg("-xf").arg(path).arg("-C").arg(out.path()).args(members));
    assert_eq!(said, "", "tar is content");
    let said = run(git(out.path()).args(["fsck", "--strict", "--full", "--no-dangling", "--no-progress"]));
    assert_eq!(said, "", "git is content");
    out
}
