//! The namespace as it stood at some point of the log: a signed commit without parents.
//!
//! Its tree holds `directory.pgp` (the lines of [`super::change`] for the whole tree) and `heads` (plain, a line
//! `<id> <version> <commit> sha256:<digest>` for each secret). Its trailer `Log:` names the log's commit that it reflects.

use std::fmt::Write as _;
use std::thread;

use super::commit::{Commit, Draft, content_digest};
use super::id::{CommitRef, ItemId};
use super::namespace::{Head, Namespace};
use super::objects::{new_tree, object, unproven_commit};
use crate::archive::{Archive, NewObject, ObjectKind, TreeEntry, parse_tree};
use crate::crypto::{Epoch, Locked, NodeKey, Opened, Padding, Sha256, open, seal, sha256};
use crate::error::{Error, Result};

/// The reference of the newest checkpoint.
pub(super) const REFERENCE: &str = "refs/heads/checkpoint";
/// The most plaintext that a directory or a change may have, in bytes.
pub(super) const LARGEST: usize = 512 << 20;

const DIRECTORY: &str = "directory";
const DIRECTORY_FILE: &str = "directory.pgp";
const HEADS_FILE: &str = "heads";

/// A checkpoint as read.
pub(super) struct Checkpoint {
    pub reference: CommitRef,
    pub namespace: Namespace,
    pub epoch: Epoch,
}

/// Makes the objects of a checkpoint; its message's key is the next epoch's.
pub(super) fn write(
    namespace: &Namespace,
    log: CommitRef,
    date: i64,
    key: &NodeKey,
    objects: &mut Vec<NewObject>,
) -> Result<(CommitRef, Epoch)> {
    let mut text = Locked::default();
    namespace.write(&mut text);
    let sealed = seal(key, DIRECTORY, &text, Padding::Value)?;
    drop(text);
    let epoch = Epoch::of(&sealed.message, &sealed.session_key)?;
    let mut heads: Vec<(ItemId, Head)> =
        namespace.items().filter_map(|item| Some((item.id, item.secret()?.head()?))).collect();
    heads.sort_unstable_by_key(|(id, _)| *id);
    let mut lines = String::with_capacity(heads.len() * 160);
    for (id, head) in heads {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{id} {} {}", head.number, head.commit);
    }
    let files = vec![(DIRECTORY_FILE, sealed.message), (HEADS_FILE, lines.into_bytes())];
    let (tree, content) = new_tree(files, objects);
    let subject = "checkpoint".to_owned();
    let draft = Draft { tree, parents: &[], date, subject, session: None, content, log: Some(log), heads: &[] };
    let (object, reference) = draft.sign(key)?;
    objects.push(object);
    Ok((reference, epoch))
}

/// The commit that the reference leads to, signed by the node: which point of the log it reflects.
pub(super) fn find(archive: &Archive, key: &NodeKey) -> Result<(Commit, CommitRef, CommitRef)> {
    let oid = archive.reference(REFERENCE).ok_or_else(|| Error::damaged("there is no checkpoint"))?;
    let (commit, reference) = unproven_commit(archive, &oid)?;
    commit.verify(key.certificate()).map_err(|e| e.at("checkpoint"))?;
    match commit.log {
        Some(log) if commit.parents.is_empty() => Ok((commit, reference, log)),
        _ => Err(Error::damaged(format!("commit {oid} is signed but is no checkpoint"))),
    }
}

/// Reads what [`find`] found.
pub(super) fn read(archive: &Archive, key: &NodeKey, (commit, reference): (&Commit, CommitRef)) -> Result<Checkpoint> {
    let (epoch, opened, heads) = content(archive, key, commit)?;
    let namespace = Namespace::load(opened.data, heads)?;
    Ok(Checkpoint { reference, namespace, epoch })
}

/// The key of the changes that follow a checkpoint, without reading its directory's lines.
pub(super) fn epoch(archive: &Archive, key: &NodeKey, commit: &Commit) -> Result<Epoch> {
    content(archive, key, commit).map(|(epoch, ..)| epoch)
}

/// Both files of a checkpoint, the directory opened. Two threads share the work; nothing is used before both digests are
/// what was signed.
fn content(archive: &Archive, key: &NodeKey, commit: &Commit) -> Result<(Epoch, Opened, Vec<u8>)> {
    let entries = parse_tree(&object(archive, &commit.tree, ObjectKind::Tree)?)?;
    let [directory, heads] = entries.as_slice() else {
        return Err(Error::damaged(format!("tree {} is not that of a checkpoint", commit.tree)));
    };
    let read = |entry: &TreeEntry, name: &str| -> Result<(Vec<u8>, Sha256)> {
        if entry.name != name.as_bytes() {
            return Err(Error::damaged(format!("tree {} is not that of a checkpoint", commit.tree)));
        }
        let data = object(archive, &entry.oid, ObjectKind::Blob)?;
        let digest = sha256(&data);
        Ok((data, digest))
    };
    thread::scope(|scope| {
        let heads = scope.spawn(|| read(heads, HEADS_FILE));
        let (message, digest) = read(directory, DIRECTORY_FILE)?;
        let opened = open(key, &message, DIRECTORY, None, LARGEST);
        let (heads, heads_digest) = heads.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let files = [(DIRECTORY_FILE.to_owned(), digest), (HEADS_FILE.to_owned(), heads_digest)];
        if content_digest(&files) != commit.content {
            return Err(Error::damaged("the checkpoint's files are not those that were signed"));
        }
        let opened = opened?;
        Ok((Epoch::of(&message, &opened.session_key)?, opened, heads))
    })
}
