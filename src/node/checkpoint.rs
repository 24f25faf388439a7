//! The namespace as it stood at some point of the log: a signed commit without parents.
//!
//! Its tree holds `directory.pgp` (the lines of [`super::change`] for the whole tree) and `heads` (plain, a line
//! `<id> <version> <commit> sha256:<digest>` for each secret). Its trailer `Log:` names the log's commit that it reflects.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::commit::{Commit, Draft};
use super::id::{CommitRef, ItemId};
use super::namespace::{Head, Namespace};
use super::objects::{Files, new_tree, unproven_commit};
use crate::archive::{Archive, NewObject};
use crate::crypto::{Epoch, Locked, NodeKey, Padding, open, seal};
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
    let sealed = seal(key, DIRECTORY, &text, Padding::Compressed)?;
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
    let files = Files::read(archive, commit, &mut HashMap::new())?;
    let message = files.blob(archive, DIRECTORY_FILE)?;
    let opened = open(key, &message, DIRECTORY, None, LARGEST)?;
    let namespace = Namespace::load(&opened.data, &files.blob(archive, HEADS_FILE)?)?;
    Ok(Checkpoint { reference, namespace, epoch: Epoch::of(&message, &opened.session_key)? })
}

/// The key of the changes that follow a checkpoint, without reading its directory's lines.
pub(super) fn epoch(archive: &Archive, key: &NodeKey, commit: &Commit) -> Result<Epoch> {
    let files = Files::read(archive, commit, &mut HashMap::new())?;
    let message = files.blob(archive, DIRECTORY_FILE)?;
    let opened = open(key, &message, DIRECTORY, None, LARGEST)?;
    Epoch::of(&message, &opened.session_key)
}
