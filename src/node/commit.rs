//! Commits of a keynode: git's commit objects of one strict form, signed, with trailers under the signature.
//!
//! Integrity rests on SHA-256, not on git's SHA-1: `Content` covers the files of the tree, each `Parent` the raw object
//! of a parent.

use std::fmt::Write as _;

use super::id::{CommitRef, ItemId, Session};
use super::namespace::Head;
use crate::archive::{NewObject, ObjectKind, Oid};
use crate::crypto::{Certificate, Fingerprint, NodeKey, Sha256, sha256};
use crate::error::{Error, Result};

/// What a commit is to say.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub tree: Oid,
    pub parents: &'a [CommitRef],
    /// Seconds since the epoch.
    pub date: i64,
    /// The message's first line; visible to everybody.
    pub subject: String,
    pub session: Option<Session>,
    pub content: Sha256,
    /// The log's commit that a checkpoint reflects.
    pub log: Option<CommitRef>,
    /// Heads that this commit sets, in the order of their ids.
    pub heads: &'a [(ItemId, Head)],
}

impl Draft<'_> {
    /// Signs it and makes the object.
    pub fn sign(&self, key: &NodeKey) -> Result<(NewObject, CommitRef)> {
        let mut head = format!("tree {}\n", self.tree);
        // Writing to a string does not fail.
        for parent in self.parents {
            let _ = writeln!(head, "parent {}", parent.oid);
        }
        let who = key.fingerprint();
        let _ = writeln!(head, "author {who} <> {} +0000\ncommitter {who} <> {} +0000", self.date, self.date);
        let mut body = format!("\n{}\n\n", self.subject);
        if let Some(session) = self.session {
            let _ = writeln!(body, "Session: {session}");
        }
        let _ = writeln!(body, "Content: sha256:{}", self.content);
        for parent in self.parents {
            let _ = writeln!(body, "Parent: sha256:{}", parent.digest);
        }
        if let Some(log) = &self.log {
            let _ = writeln!(body, "Log: {log}");
        }
        for (id, head) in self.heads {
            let _ = writeln!(body, "Head: {id} {} {}", head.number, head.commit);
        }
        let signature = key.sign(format!("{head}{body}").as_bytes())?;
        head.push_str("gpgsig");
        for line in signature.trim_end_matches('\n').split('\n') {
            let _ = writeln!(head, " {line}");
        }
        head.push_str(&body);
        let object = NewObject::new(ObjectKind::Commit, head.into_bytes());
        let reference = CommitRef { oid: object.oid, digest: sha256(&object.data) };
        Ok((object, reference))
    }
}

/// A commit as read; nothing of it is believed before its digest or its signature is checked.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub tree: Oid,
    /// The message's first line.
    pub subject: String,
    /// Parents with their digests.
    pub parents: Vec<CommitRef>,
    pub writer: Fingerprint,
    /// Seconds since the epoch.
    pub date: i64,
    pub session: Option<Session>,
    pub content: Sha256,
    pub log: Option<CommitRef>,
    /// `Head` trailers, a line each, as they stand.
    head_lines: String,
    signature: Vec<u8>,
    signed: Vec<u8>,
}

impl Commit {
    /// Reads a raw commit object.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`] where it is not of the one form that pkfs writes.
    pub fn parse(raw: &[u8]) -> Result<Self> {
        Self::read(raw).ok_or_else(|| Error::damaged("a commit is not of the form that a keynode has"))
    }

    fn read(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(2).position(|pair| pair == b"\n\n")?;
        let (header, body) = (&raw[..=end], &raw[end + 1..]);
        let mut lines = header.split_inclusive(|&b| b == b'\n').peekable();
        let mut signed = Vec::with_capacity(raw.len());
        let mut next = |prefix: &[u8], lines: &mut std::iter::Peekable<_>| -> Option<&[u8]> {
            let line: &[u8] = lines.next_if(|line: &&[u8]| line.starts_with(prefix))?;
            signed.extend_from_slice(line);
            Some(&line[prefix.len()..line.len() - 1])
        };
        let tree = text(next(b"tree ", &mut lines)?)?.parse().ok()?;
        let mut oids = Vec::new();
        while let Some(parent) = next(b"parent ", &mut lines) {
            oids.push(text(parent)?.parse().ok()?);
        }
        let (writer, _) = person(next(b"author ", &mut lines)?)?;
        let (_, date) = person(next(b"committer ", &mut lines)?)?;
        let mut signature = Vec::new();
        signature.extend_from_slice(lines.next()?.strip_prefix(b"gpgsig ")?);
        for line in lines {
            signature.extend_from_slice(line.strip_prefix(b" ")?);
        }
        signed.extend_from_slice(body);
        // The message's last paragraph.
        let (message, paragraph) = text(body)?.strip_suffix('\n')?.rsplit_once("\n\n")?;
        let subject = message.trim_start_matches('\n').lines().next()?.to_owned();
        let (mut session, mut content, mut log) = (None, None, None);
        let (mut digests, mut head_lines) = (Vec::new(), String::new());
        for line in paragraph.split('\n') {
            let (key, value) = line.split_once(": ")?;
            match key {
                "Session" if session.is_none() => session = Some(Session::from_hex(value.as_bytes())?),
                "Content" if content.is_none() => content = Some(value.strip_prefix("sha256:")?.parse().ok()?),
                "Parent" => digests.push(value.strip_prefix("sha256:")?.parse().ok()?),
                "Log" if log.is_none() => log = Some(CommitRef::parse(value)?),
                "Head" => {
                    head_lines.push_str(value);
                    head_lines.push('\n');
                }
                _ => return None,
            }
        }
        if digests.len() != oids.len() {
            return None;
        }
        let parents = oids.into_iter().zip(digests).map(|(oid, digest)| CommitRef { oid, digest }).collect();
        Some(Self {
            tree,
            subject,
            parents,
            writer,
            date,
            session,
            content: content?,
            log,
            head_lines,
            signature,
            signed,
        })
    }

    /// The heads that this commit sets.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`] where a trailer is not understood.
    pub fn heads(&self) -> Result<Vec<(ItemId, Head)>> {
        self.head_lines.lines().map(|line| Head::parse(line.as_bytes())).collect()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`] where it is not by this certificate over this commit.
    pub fn verify(&self, certificate: &Certificate) -> Result<()> {
        if self.writer != certificate.fingerprint() {
            return Err(Error::damaged(format!(
                "the commit names {} as its writer, who is somebody else",
                self.writer
            )));
        }
        certificate.verify(&self.signed, &self.signature)
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// `FINGERPRINT <> SECONDS +0000`.
fn person(field: &[u8]) -> Option<(Fingerprint, i64)> {
    let (name, rest) = text(field)?.split_once(" <> ")?;
    let date = rest.strip_suffix(" +0000")?;
    Some((name.parse().ok()?, date.parse().ok()?))
}

/// The `Content` digest: over `<sha256>  <path>` lines in the order of the paths, as `sha256sum` prints them.
pub(super) fn content_digest(files: &[(String, Sha256)]) -> Sha256 {
    debug_assert!(files.is_sorted_by(|a, b| a.0 < b.0));
    let mut lines = String::with_capacity(files.len() * 80);
    for (path, digest) in files {
        let _ = writeln!(lines, "{digest}  {path}");
    }
    sha256(lines.as_bytes())
}
