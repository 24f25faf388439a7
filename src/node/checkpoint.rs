//! The namespace as it stood at some point of the log: a signed commit without parents.
//!
//! Its tree holds `directory.pgp` (the names), `items.pgp` (what they stand for) and `heads` (plain, a line
//! `<id> <version> <commit> sha256:<digest>` for each secret), each going on in `.2`, `.3` …, and `digests`, the lines over
//! which its trailer `Content:` is made: so each of the others can be believed without reading all. Its trailer `Log:` names
//! the log's commit that it reflects.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::commit::{Commit, Draft};
use super::details::Source;
use super::directory::{Text, Written};
use super::id::CommitRef;
use super::namespace::Namespace;
use super::objects::{new_tree, object, unproven_commit};
use super::parallel;
use crate::archive::{Archive, NewObject, ObjectKind, TreeEntry, parse_tree};
use crate::crypto::{Epoch, Locked, NodeKey, Padding, Sha256, open, seal, sha256};
use crate::error::{Error, Result};

/// The reference of the newest checkpoint.
pub(super) const REFERENCE: &str = "refs/heads/checkpoint";
/// The most plaintext that a change or a part of a directory may have, in bytes.
pub(super) const LARGEST: usize = 512 << 20;

const DIRECTORY: &str = "directory";
const ITEMS: &str = "items";
const HEADS: &str = "heads";
const DIGESTS: &str = "digests";

/// A checkpoint as read.
pub(super) struct Checkpoint {
    pub reference: CommitRef,
    pub namespace: Namespace,
    pub epoch: Epoch,
}

/// A file to be written: what it is called, and what it holds.
type NamedData = (String, Vec<u8>);

/// How a checkpoint is read.
pub(super) enum Reading {
    /// All of it at once.
    Whole,
    /// The names at once, the rest as it is asked for. What cannot be read comes from the tree that this makes.
    Lazy(Box<dyn Fn() -> Result<Namespace> + Send + Sync>),
}

/// Makes the objects of a checkpoint; its message's key is the next epoch's.
pub(super) fn write(
    namespace: &Namespace,
    log: CommitRef,
    date: i64,
    key: &NodeKey,
    objects: &mut Vec<NewObject>,
) -> Result<(CommitRef, Epoch)> {
    write_text(Written::of(namespace)?, log, date, key, objects)
}

/// As [`write()`], of what the checkpoint is to say.
pub(super) fn write_text(
    written: Written,
    log: CommitRef,
    date: i64,
    key: &NodeKey,
    objects: &mut Vec<NewObject>,
) -> Result<(CommitRef, Epoch)> {
    let (mut files, epoch) = sealed(&written, key)?;
    files.extend((1..).map(|number| numbered(HEADS, number)).zip(written.heads));
    let mut digests: Vec<_> = files.iter().map(|(name, data)| (name, sha256(data))).collect();
    digests.sort_unstable();
    let mut lines = String::with_capacity(digests.len() * 80);
    for (name, digest) in digests {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{digest}  {name}");
    }
    let content = sha256(lines.as_bytes());
    files.push((DIGESTS.to_owned(), lines.into_bytes()));
    let (tree, _) = new_tree(files, objects);
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
pub(super) fn read(
    archive: &Archive,
    key: &NodeKey,
    (commit, reference): (&Commit, CommitRef),
    reading: Reading,
) -> Result<Checkpoint> {
    let files = Files::of(archive, commit)?;
    let first = files.read(&files.directory[0])?;
    let epoch = Epoch::unlock(key, &first)?;
    let mut first = Some(first);
    let wanted = files.directory.iter().enumerate().map(|(n, file)| (n, file, first.take())).collect();
    let texts = parallel::map(wanted, 2, |(n, file, data)| {
        let data = data.map_or_else(|| files.read(file), Ok)?;
        unsealed(key, &epoch, DIRECTORY, n + 1, &data)
    });
    let texts = texts.into_iter().collect::<Result<_>>()?;
    let text = Text::from_parts(texts).ok_or_else(|| Error::damaged("the checkpoint is too large"))?;
    let (whole, instead) = match reading {
        Reading::Whole => (true, None),
        Reading::Lazy(instead) => (false, Some(instead)),
    };
    let parts = files.items.len();
    let source = Parts { files, key: key.clone(), epoch: epoch.clone(), instead };
    Ok(Checkpoint { reference, namespace: Namespace::load(text, parts, Box::new(source), whole)?, epoch })
}

/// The key of the changes that follow a checkpoint.
pub(super) fn epoch(archive: &Archive, key: &NodeKey, commit: &Commit) -> Result<Epoch> {
    let files = Files::of(archive, commit)?;
    Epoch::unlock(key, &files.read(&files.directory[0])?)
}

/// Seals the parts of the directory and of the items, all for one epoch.
fn sealed(written: &Written, key: &NodeKey) -> Result<(Vec<NamedData>, Epoch)> {
    let directory = (1..).zip(written.directory.parts()).map(|(number, text)| (DIRECTORY, number, text));
    let items = (1..).zip(&written.items).map(|(number, text)| (ITEMS, number, text.as_slice()));
    let mut parts = directory.chain(items);
    let (what, number, text) = parts.next().unwrap_or((DIRECTORY, 1, &[]));
    let first = seal(key, &numbered(what, number), text, Padding::Value)?;
    let epoch = Epoch::of(&first.message, &first.session_key)?;
    let others = parallel::map(parts.collect(), 2, |(what, number, text)| {
        epoch.seal(&numbered(what, number), text, Padding::Value).map(|message| (file_name(what, number), message))
    });
    let first = (file_name(what, number), first.message);
    Ok((std::iter::once(Ok(first)).chain(others).collect::<Result<_>>()?, epoch))
}

fn unsealed(key: &NodeKey, epoch: &Epoch, what: &str, number: usize, message: &[u8]) -> Result<Locked> {
    let opened = open(key, message, &numbered(what, number), Some(epoch.session_key()), LARGEST);
    opened.map(|part| part.data).map_err(|e| e.at(file_name(what, number)))
}

/// What the n-th part is called, from 1; its message is bound to that.
fn numbered(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}.{number}") }
}

/// The file that holds it.
fn file_name(what: &str, number: usize) -> String {
    numbered(&format!("{what}.pgp"), number)
}

/// The files of a checkpoint, found but not read.
struct Files {
    archive: Archive,
    directory: Vec<File>,
    items: Vec<File>,
    heads: Vec<File>,
}

struct File {
    entry: TreeEntry,
    digest: Sha256,
}

impl Files {
    /// Finds them by their digests, which the commit vouches for.
    fn of(archive: &Archive, commit: &Commit) -> Result<Self> {
        let wrong = || Error::damaged(format!("tree {} is not that of a checkpoint", commit.tree));
        let entries = parse_tree(&object(archive, &commit.tree, ObjectKind::Tree)?)?;
        let entry = |name: &str| entries.iter().find(|entry| entry.name == name.as_bytes() && !entry.directory);
        let lines = object(archive, &entry(DIGESTS).ok_or_else(wrong)?.oid, ObjectKind::Blob)?;
        if sha256(&lines) != commit.content {
            return Err(Error::damaged("the checkpoint's files are not those that were signed"));
        }
        let lines = std::str::from_utf8(&lines).map_err(|_| wrong())?;
        let digests: HashMap<&str, Sha256> = lines
            .lines()
            .map(|line| line.split_once("  ").and_then(|(digest, name)| Some((name, digest.parse().ok()?))))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let parts = |what: &str| -> Vec<File> {
            let file = |number| {
                let name = numbered(what, number);
                Some(File { entry: entry(&name)?.clone(), digest: *digests.get(&*name)? })
            };
            (1..).map_while(file).collect()
        };
        let (directory, items) = (parts(&format!("{DIRECTORY}.pgp")), parts(&format!("{ITEMS}.pgp")));
        let heads = parts(HEADS);
        let files = directory.len() + items.len() + heads.len();
        if directory.is_empty() || items.len() != heads.len() || files != digests.len() || files + 1 != entries.len() {
            return Err(wrong());
        }
        Ok(Self { archive: archive.clone(), directory, items, heads })
    }

    fn read(&self, file: &File) -> Result<Vec<u8>> {
        let data = object(&self.archive, &file.entry.oid, ObjectKind::Blob)?;
        if sha256(&data) == file.digest {
            return Ok(data);
        }
        let name = String::from_utf8_lossy(&file.entry.name);
        Err(Error::damaged(format!("the checkpoint's {name} is not the one that was signed")))
    }
}

/// Reads parts of items and heads.
struct Parts {
    files: Files,
    key: NodeKey,
    epoch: Epoch,
    instead: Option<Box<dyn Fn() -> Result<Namespace> + Send + Sync>>,
}

impl Source for Parts {
    fn part(&self, number: usize) -> Result<(Locked, Vec<u8>)> {
        let missing = || Error::damaged("a part of the checkpoint is missing");
        let items = self.files.items.get(number).ok_or_else(missing)?;
        let heads = self.files.heads.get(number).ok_or_else(missing)?;
        let text = unsealed(&self.key, &self.epoch, ITEMS, number + 1, &self.files.read(items)?)?;
        Ok((text, self.files.read(heads)?))
    }

    fn instead(&self) -> Result<Namespace> {
        match &self.instead {
            Some(read) => read(),
            None => Err(Error::damaged("the checkpoint is damaged")),
        }
    }
}
