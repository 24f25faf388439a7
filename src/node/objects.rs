//! Commits and files read from the archive, each checked against what vouches for it before it is used.

use std::borrow::Cow;
use std::collections::HashMap;

use super::commit::{Commit, content_digest};
use super::id::CommitRef;
use crate::archive::{Archive, NewObject, ObjectKind, Oid, TreeEntry, parse_tree, tree};
use crate::crypto::{Sha256, sha256};
use crate::error::{Error, Result};

/// The file of a control commit that says what changed.
pub(super) const CHANGE_FILE: &str = "change.pgp";
/// The one file of a secret's commit.
pub(super) const VALUE: &str = "value.pgp";

/// An object of the kind wanted. Its SHA-1 is not computed: every commit is believed by its SHA-256 or its signature, every
/// tree and blob by the `Content` of its commit.
pub(super) fn object(archive: &Archive, oid: &Oid, kind: ObjectKind) -> Result<Vec<u8>> {
    match archive.vouched_object(oid)? {
        Some(object) if object.kind == kind => Ok(object.data),
        Some(_) => Err(Error::damaged(format!("object {oid} is of the wrong kind"))),
        None => Err(Error::damaged(format!("object {oid} is missing"))),
    }
}

/// A commit that something trusted names.
///
/// # Errors
/// [`crate::error::Kind::Damaged`]: missing, not what the digest says, or malformed.
pub(super) fn commit(archive: &Archive, reference: &CommitRef) -> Result<Commit> {
    let raw = object(archive, &reference.oid, ObjectKind::Commit)?;
    if sha256(&raw) != reference.digest {
        return Err(Error::damaged(format!("commit {} is not the one that the log names", reference.oid)));
    }
    Commit::parse(&raw)
}

/// A commit that only a reference names: its digest is computed, its signature still to be checked.
pub(super) fn unproven_commit(archive: &Archive, oid: &Oid) -> Result<(Commit, CommitRef)> {
    let raw = object(archive, oid, ObjectKind::Commit)?;
    let reference = CommitRef { oid: *oid, digest: sha256(&raw) };
    Ok((Commit::parse(&raw)?, reference))
}

/// The message of a secret's commit, whose tree holds nothing else.
pub(super) fn value(archive: &Archive, commit: &Commit) -> Result<Vec<u8>> {
    let entries = parse_tree(&object(archive, &commit.tree, ObjectKind::Tree)?)?;
    match entries.as_slice() {
        [entry] if entry.name == VALUE.as_bytes() && !entry.directory => {
            let message = object(archive, &entry.oid, ObjectKind::Blob)?;
            if content_digest(&[(VALUE.to_owned(), sha256(&message))]) == commit.content {
                Ok(message)
            } else {
                Err(Error::damaged(format!("the value in tree {} is not the one that was signed", commit.tree)))
            }
        }
        _ => Err(Error::damaged(format!("tree {} is not that of a secret", commit.tree))),
    }
}

/// SHA-256 digests of blobs that many trees share, so that each is read once.
#[derive(Default)]
pub(super) struct Digests(HashMap<Oid, Sha256>);

impl Digests {
    /// Remembers those of the files that later trees may have too: a change is of one transaction.
    pub fn remember(&mut self, files: &Files) {
        let lasting = files.listed.iter().filter(|(path, ..)| path != CHANGE_FILE);
        self.0.extend(lasting.map(|(_, oid, digest)| (*oid, *digest)));
    }
}

/// All files of a commit's tree, directories one level deep, checked against its `Content`.
pub(super) struct Files {
    /// The tree itself.
    pub entries: Vec<TreeEntry>,
    /// Path, object and digest of each file in the order of the paths.
    pub listed: Vec<(String, Oid, Sha256)>,
    /// Blobs that were read for their digests.
    read: Vec<(Oid, Vec<u8>)>,
}

impl Files {
    /// Reads and checks a tree; blobs whose digests are known are not read.
    pub fn read(archive: &Archive, commit: &Commit, known: &Digests) -> Result<Self> {
        let entries = parse_tree(&object(archive, &commit.tree, ObjectKind::Tree)?)?;
        let mut files = Vec::new();
        for entry in &entries {
            let name = ascii(&entry.name)?;
            if entry.directory {
                for below in parse_tree(&object(archive, &entry.oid, ObjectKind::Tree)?)? {
                    if below.directory {
                        return Err(Error::damaged(format!("tree {} is deeper than a keynode has them", entry.oid)));
                    }
                    files.push((format!("{name}/{}", ascii(&below.name)?), below.oid));
                }
            } else {
                files.push((name, entry.oid));
            }
        }
        files.sort_unstable();
        let (mut digested, mut read) = (Vec::with_capacity(files.len()), Vec::new());
        for (path, oid) in files {
            let digest = if let Some(digest) = known.0.get(&oid) {
                *digest
            } else {
                let blob = object(archive, &oid, ObjectKind::Blob)?;
                let digest = sha256(&blob);
                read.push((oid, blob));
                digest
            };
            digested.push((path, oid, digest));
        }
        let lines: Vec<(String, Sha256)> = digested.iter().map(|(path, _, digest)| (path.clone(), *digest)).collect();
        if content_digest(&lines) != commit.content {
            return Err(Error::damaged(format!("tree {} is not the one that was signed", commit.tree)));
        }
        Ok(Self { entries, listed: digested, read })
    }

    /// The blob of a file, which is not needed here any more.
    pub fn take_blob(&mut self, archive: &Archive, path: &str) -> Result<Vec<u8>> {
        let oid = self.oid(path)?;
        match self.read.iter().position(|(read, _)| *read == oid) {
            Some(at) => Ok(self.read.swap_remove(at).1),
            None => object(archive, &oid, ObjectKind::Blob),
        }
    }

    /// The blob of a file.
    pub fn blob(&self, archive: &Archive, path: &str) -> Result<Cow<'_, [u8]>> {
        let oid = self.oid(path)?;
        match self.read.iter().find(|(read, _)| *read == oid) {
            Some((_, blob)) => Ok(blob.into()),
            None => object(archive, &oid, ObjectKind::Blob).map(Cow::from),
        }
    }

    fn oid(&self, path: &str) -> Result<Oid> {
        let found = self.listed.iter().find(|(name, ..)| name == path);
        found.map(|(_, oid, _)| *oid).ok_or_else(|| Error::damaged(format!("a commit has no {path}")))
    }
}

/// Objects of a new tree: blobs, the tree itself, and what its `Content` trailer must say.
pub(super) fn new_tree(files: Vec<(impl Into<String>, Vec<u8>)>, objects: &mut Vec<NewObject>) -> (Oid, Sha256) {
    let mut entries = Vec::with_capacity(files.len());
    let mut digests = Vec::with_capacity(files.len());
    for (name, data) in files {
        let name: String = name.into();
        digests.push((name.clone(), sha256(&data)));
        let blob = NewObject::new(ObjectKind::Blob, data);
        entries.push(TreeEntry { name: name.into(), oid: blob.oid, directory: false });
        objects.push(blob);
    }
    digests.sort_unstable();
    let object = NewObject::new(ObjectKind::Tree, tree(&entries));
    let oid = object.oid;
    objects.push(object);
    (oid, content_digest(&digests))
}

fn ascii(name: &[u8]) -> Result<String> {
    match std::str::from_utf8(name) {
        Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(Error::damaged("a tree has a name that no keynode has")),
    }
}
