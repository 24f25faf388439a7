//! The namespace as it stood at some point of the log: a signed commit without parents.
//!
//! Its tree holds `directory.pgp`, `directory.pgp.2` … (parts of the text of the whole tree) and `heads` (plain, a line
//! `<id> <version> <commit> sha256:<digest>` for each secret). Its trailer `Log:` names the log's commit that it reflects.

use std::fmt::Write as _;

use super::commit::{Commit, Draft, content_digest};
use super::directory::Text;
use super::id::{CommitRef, ItemId};
use super::namespace::{Head, Namespace};
use super::objects::{new_tree, object, unproven_commit};
use super::parallel;
use crate::archive::{Archive, NewObject, ObjectKind, TreeEntry, parse_tree};
use crate::crypto::{Epoch, Locked, NodeKey, Padding, open, seal, sha256};
use crate::error::{Error, Result};

/// The reference of the newest checkpoint.
pub(super) const REFERENCE: &str = "refs/heads/checkpoint";
/// The most plaintext that a change or a part of a directory may have, in bytes.
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
    let (parts, epoch) = directory(namespace, key)?;
    let mut heads: Vec<(ItemId, Head)> =
        namespace.items().filter_map(|item| Some((item.id, item.secret()?.head()?))).collect();
    heads.sort_unstable_by_key(|(id, _)| *id);
    let mut lines = String::with_capacity(heads.len() * 160);
    for (id, head) in heads {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{id} {} {}", head.number, head.commit);
    }
    let mut files: Vec<_> = (1..).map(file_name).zip(parts).collect();
    files.push((HEADS_FILE.to_owned(), lines.into_bytes()));
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
    let (epoch, mut files) = files(archive, key, commit, |epoch, number, data| match number {
        0 => Ok(File::Heads(data)),
        _ => open(key, &data, &place(number), Some(epoch.session_key()), LARGEST).map(|part| File::Part(part.data)),
    })?;
    let Some(File::Heads(heads)) = files.pop() else {
        return Err(Error::damaged("the checkpoint has no heads"));
    };
    let parts = files.into_iter().filter_map(|file| match file {
        File::Part(text) => Some(text),
        File::Heads(_) => None,
    });
    let text = Text::from_parts(parts.collect()).ok_or_else(|| Error::damaged("the checkpoint is too large"))?;
    Ok(Checkpoint { reference, namespace: Namespace::load(text, heads)?, epoch })
}

/// What one of its files holds.
enum File {
    Part(Locked),
    Heads(Vec<u8>),
}

/// The key of the changes that follow a checkpoint, without opening its directory.
pub(super) fn epoch(archive: &Archive, key: &NodeKey, commit: &Commit) -> Result<Epoch> {
    files(archive, key, commit, |_, _, data| Ok(data)).map(|(epoch, _)| epoch)
}

/// Seals the directory's parts, all for one epoch.
fn directory(namespace: &Namespace, key: &NodeKey) -> Result<(Vec<Vec<u8>>, Epoch)> {
    let text = Text::of(namespace);
    let mut texts = text.parts();
    let first = seal(key, &place(1), texts.next().unwrap_or_default(), Padding::Value)?;
    let epoch = Epoch::of(&first.message, &first.session_key)?;
    let others =
        parallel::map((2..).zip(texts).collect(), 2, |(number, text)| epoch.seal(&place(number), text, Padding::Value));
    let parts = std::iter::once(Ok(first.message)).chain(others).collect::<Result<_>>()?;
    Ok((parts, epoch))
}

/// What the n-th part of the directory is bound to, from 1.
fn place(number: usize) -> String {
    if number == 1 { DIRECTORY.to_owned() } else { format!("{DIRECTORY}.{number}") }
}

/// The file that holds it.
fn file_name(number: usize) -> String {
    if number == 1 { DIRECTORY_FILE.to_owned() } else { format!("{DIRECTORY_FILE}.{number}") }
}

/// Reads a checkpoint's files, the directory's parts and then the heads, and hands each to `take`, with its number (0 for
/// the heads). All processors share the work; nothing is handed on before all digests are what was signed.
fn files<T: Send>(
    archive: &Archive,
    key: &NodeKey,
    commit: &Commit,
    take: impl Fn(&Epoch, usize, Vec<u8>) -> Result<T> + Sync,
) -> Result<(Epoch, Vec<T>)> {
    let wrong = || Error::damaged(format!("tree {} is not that of a checkpoint", commit.tree));
    let entries = parse_tree(&object(archive, &commit.tree, ObjectKind::Tree)?)?;
    let entry = |name: &str| entries.iter().find(|entry| entry.name == name.as_bytes() && !entry.directory);
    let read = |entry: &TreeEntry| object(archive, &entry.oid, ObjectKind::Blob);
    let mut wanted: Vec<_> = (1..).map_while(|number| Some((number, entry(&file_name(number))?, None))).collect();
    wanted.push((0, entry(HEADS_FILE).ok_or_else(wrong)?, None));
    if wanted.len() < 2 || wanted.len() != entries.len() {
        return Err(wrong());
    }
    let first = read(wanted[0].1)?;
    let epoch = Epoch::unlock(key, &first);
    wanted[0].2 = Some(first);
    let read = parallel::map(wanted, 2, |(number, entry, data)| {
        let data = data.map_or_else(|| read(entry), Ok)?;
        let digest = sha256(&data);
        let taken = epoch.as_ref().ok().map(|epoch| take(epoch, number, data));
        let name = if number == 0 { HEADS_FILE.to_owned() } else { file_name(number) };
        Ok(((name, digest), taken))
    });
    let read = read.into_iter().collect::<Result<Vec<_>>>()?;
    let (mut digests, taken): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    digests.sort_unstable();
    if content_digest(&digests) != commit.content {
        return Err(Error::damaged("the checkpoint's files are not those that were signed"));
    }
    let epoch = epoch?;
    Ok((epoch, taken.into_iter().flatten().collect::<Result<_>>()?))
}
