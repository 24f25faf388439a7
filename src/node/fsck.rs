//! Checking every layer of a keynode: tar, git objects, references, digests, signatures, and that each message opens with
//! the node's key and is in its place.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use super::change::Change;
use super::checkpoint::{self, Reading};
use super::commit::Commit;
use super::directory::Written;
use super::id::{CommitRef, ItemId};
use super::keynode::{LARGEST_VALUE, lacks, older};
use super::log::{REFERENCE, Reader};
use super::memory::Memory;
use super::namespace::{Head, Namespace};
use super::objects::{Digests, Files, commit, object, unproven_commit, value};
use super::parallel;
use super::recovery::signed_by;
use super::share::Shares;
use super::slot::slots;
use super::snapshot::{SHARES, SHARES_FILE, Snapshot};
use super::version;
use crate::archive::{Archive, ObjectKind, Tail};
use crate::crypto::{Certificate, NodeKey, open};
use crate::error::{Error, Result};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Something that no longer matters is wrong.
    Warning,
    /// Something is damaged or forged.
    Error,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where: a member of the archive, a reference, a secret.
    pub place: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What was checked and found.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the layers.
    pub findings: Vec<Finding>,
    /// Transactions of the log whose signatures were checked.
    pub transactions: usize,
    /// Secrets whose branches were checked.
    pub secrets: usize,
    /// Commits of secrets whose signatures were checked.
    pub commits: usize,
    /// Messages that were opened with the node's key; none without it.
    pub messages: usize,
}

impl Report {
    /// Whether anything is damaged.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }

    fn add(&mut self, severity: Severity, place: impl fmt::Display, what: impl fmt::Display) {
        self.findings.push(Finding { severity, place: place.to_string(), what: what.to_string() });
    }

    fn error(&mut self, place: impl fmt::Display, what: &Error) {
        self.add(Severity::Error, place, what);
    }
}

/// Checks a keynode; without its key, what can be checked without.
///
/// # Errors
/// The file cannot be read at all, or is not a keynode.
pub fn fsck(path: &Path, key: Option<&NodeKey>) -> Result<Report> {
    fsck_in(path, key, &Memory::of_user())
}

pub(super) fn fsck_in(path: &Path, key: Option<&NodeKey>, memory: &Memory) -> Result<Report> {
    let archive = Archive::open(path)?;
    let mut report = Report::default();
    for problem in archive.problems() {
        report.add(Severity::Error, path.display(), problem);
    }
    if let Tail::Unfinished { from, to } = archive.tail() {
        if let Some(key) = key {
            match archive.judge_tail(&signed_by(key.certificate()), None) {
                Ok(()) => {
                    let what =
                        format!("bytes {from} to {to} are an unfinished transaction; the next write cuts it off");
                    report.add(Severity::Note, path.display(), what);
                }
                Err(error) => report.error(path.display(), &error),
            }
        } else {
            let what =
                format!("bytes {from} to {to} do not verify: a torn transaction, or damage; the key tells which");
            report.add(Severity::Error, path.display(), what);
        }
    }
    if let Err(error) = slots(&archive) {
        report.error("unlock", &error);
    }
    match key {
        Some(key) => check_with_key(&archive, key, memory, &mut report),
        None => check_without_key(&archive, &mut report),
    }
    Ok(report)
}

/// The log by the certificate that the file itself carries: consistent, though perhaps somebody else's.
fn check_without_key(archive: &Archive, report: &mut Report) {
    let certificate = || -> Result<Certificate> {
        let oid = archive.reference(REFERENCE).ok_or_else(|| Error::damaged("the keynode has no log"))?;
        let (commit, _) = unproven_commit(archive, &oid)?;
        Certificate::parse(&Files::read(archive, &commit, &Digests::default())?.blob(archive, "cert.asc")?)
    };
    match certificate() {
        Ok(certificate) => {
            let heads = check_log(archive, &certificate, report);
            check_branches(archive, &certificate, None, heads.into_iter().collect(), Vec::new(), report);
            report.add(Severity::Note, "messages", "not opened: that takes the keynode's key");
        }
        Err(error) => report.error(REFERENCE, &error),
    }
}

/// Nothing is wrong with an old copy, but commands refuse it.
fn check_age(reader: &mut Reader<'_>, rebuilt: &Snapshot, seen: Option<CommitRef>, report: &mut Report) {
    let Some(seen) = seen else { return };
    match lacks(reader, rebuilt.log, &seen) {
        Ok(true) => report.add(Severity::Note, REFERENCE, older(&seen.oid)),
        Ok(false) => {}
        Err(error) => report.error(REFERENCE, &error),
    }
}

fn check_with_key(archive: &Archive, key: &NodeKey, memory: &Memory, report: &mut Report) {
    let certificate = key.certificate();
    let heads = check_log(archive, certificate, report);
    let mut reader = Reader::new(archive, key);
    let rebuilt = reader.head().and_then(|(head, reference)| reader.rebuild(head, reference));
    let rebuilt = match rebuilt {
        Ok(snapshot) => snapshot,
        Err(error) => {
            report.error(REFERENCE, &error);
            return check_branches(archive, certificate, Some(key), heads.into_iter().collect(), Vec::new(), report);
        }
    };
    check_age(&mut reader, &rebuilt, memory.last_commit(&key.fingerprint()), report);
    check_messages_of_log(&mut reader, &rebuilt, report);
    check_checkpoint(&mut reader, &rebuilt, report);
    let namespace = &rebuilt.namespace;
    let mut logged: Vec<(ItemId, Head)> = Vec::new();
    let items = match namespace.items() {
        Ok(items) => items,
        Err(error) => return report.error(REFERENCE, &error),
    };
    for item in items {
        match item.secret().map(|secret| secret.head) {
            Some(Some(head)) => logged.push((item.id, head)),
            Some(None) => report.add(Severity::Error, place(namespace, item.id), "the log names no head for it"),
            None => {}
        }
    }
    check_session_keys(archive, key, namespace, &logged, report);
    // Secrets that the log knew once; their references go with the next compaction.
    let forgotten = heads.into_keys().filter(|id| namespace.item(*id).is_none()).collect();
    check_branches(archive, certificate, Some(key), logged, forgotten, report);
}

/// Every signature and digest of the log; returns the heads that it names last.
fn check_log(archive: &Archive, certificate: &Certificate, report: &mut Report) -> HashMap<ItemId, Head> {
    let mut heads = HashMap::new();
    let Some(oid) = archive.reference(REFERENCE) else {
        report.add(Severity::Error, REFERENCE, "there is no log");
        return heads;
    };
    let mut chain = Vec::new();
    let mut next = match unproven_commit(archive, &oid) {
        Ok((_, reference)) => Some(reference),
        Err(error) => {
            report.error(REFERENCE, &error);
            None
        }
    };
    while let Some(reference) = next {
        match commit(archive, &reference) {
            Ok(commit) => {
                next = commit.parents.first().copied();
                chain.push((reference, commit));
            }
            Err(error) => {
                report.error(format!("log, {}", reference.oid), &error);
                break;
            }
        }
    }
    report.transactions += chain.len();
    let checked = parallel::map(chain, parallel::SMALL, |(reference, commit)| {
        let sound =
            commit.verify(certificate).and_then(|()| Files::read(archive, &commit, &Digests::default()).map(drop));
        (reference, sound.and_then(|()| commit.heads()))
    });
    for (reference, set) in checked.into_iter().rev() {
        match set {
            Ok(set) => heads.extend(set),
            Err(error) => report.error(format!("log, {}", reference.oid), &error),
        }
    }
    heads
}

fn check_messages_of_log(reader: &mut Reader<'_>, snapshot: &Snapshot, report: &mut Report) {
    let mut messages = 0;
    // What the log last said of each slot.
    let mut logged: HashMap<String, bool> = HashMap::new();
    let result = reader.entries(snapshot.log, &mut |entry| {
        messages += 1;
        for change in entry.changes.into_iter().rev() {
            if let Change::Slot { added, name } = change {
                logged.entry(name).or_insert(added);
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    report.messages += messages;
    match result {
        Ok(()) => {
            for name in reader.archive.slots() {
                if logged.get(&name) != Some(&true) {
                    let what = "the log does not know this slot: it was removed, or put there by somebody else";
                    report.add(Severity::Warning, format!("unlock/{name}.pgp"), what);
                }
            }
        }
        Err(error) => report.error("log", &error),
    }
    let shares = || -> Result<()> {
        let files = Files::read(reader.archive, &commit(reader.archive, &snapshot.log)?, &Digests::default())?;
        for (path, oid, _) in &files.listed {
            let place = match path.as_str() {
                SHARES_FILE => SHARES,
                path if path.starts_with("grants/") => "grant",
                _ => continue,
            };
            let message = object(reader.archive, oid, ObjectKind::Blob)?;
            let opened = open(reader.key, &message, place, None, checkpoint::LARGEST).map_err(|e| e.at(path))?;
            if place == SHARES {
                Shares::parse(&opened.data).map_err(|e| e.at(path))?;
            }
        }
        Ok(())
    };
    if let Err(error) = shares() {
        report.error("log", &error);
    }
}

/// The checkpoint must say what the log says.
fn check_checkpoint(reader: &mut Reader<'_>, rebuilt: &Snapshot, report: &mut Report) {
    let loaded = checkpoint::find(reader.archive, reader.key).and_then(|(commit, own, _)| {
        checkpoint::read(reader.archive, reader.key, (&commit, own), Reading::Whole)?;
        reader.load(true)
    });
    match loaded {
        Ok(loaded) => match (Written::of(&loaded.namespace), Written::of(&rebuilt.namespace)) {
            (Ok(loaded), Ok(rebuilt)) if loaded == rebuilt => {}
            (Err(error), _) | (_, Err(error)) => report.error(checkpoint::REFERENCE, &error),
            _ => report.add(Severity::Error, checkpoint::REFERENCE, "it does not say what the log says"),
        },
        Err(error) => report.error(checkpoint::REFERENCE, &error),
    }
}

/// The keys in the namespace must open the heads.
fn check_session_keys(
    archive: &Archive,
    key: &NodeKey,
    namespace: &Namespace,
    heads: &[(ItemId, Head)],
    report: &mut Report,
) {
    let results = parallel::map(heads.to_vec(), parallel::SMALL, |(id, head)| {
        let known = &namespace.item(id)?.secret()?.line;
        let opened = commit(archive, &head.commit)
            .and_then(|commit| value(archive, &commit))
            .and_then(|message| open(key, &message, &id.to_string(), Some(&known.key), LARGEST_VALUE));
        match opened {
            Ok(opened) if opened.data.len() as u64 == known.size => None,
            Ok(_) => Some((id, Error::damaged("its size is not the one that the log names"))),
            Err(error) => Some((id, error)),
        }
    });
    for (id, error) in results.into_iter().flatten() {
        report.error(place(namespace, id), &error);
    }
}

/// Every commit of every secret: digest, signature, content, and with the key the message by its PKESK.
fn check_branches(
    archive: &Archive,
    certificate: &Certificate,
    key: Option<&NodeKey>,
    heads: Vec<(ItemId, Head)>,
    forgotten: Vec<ItemId>,
    report: &mut Report,
) {
    report.secrets += heads.len();
    let known: HashSet<String> = heads.iter().map(|(id, _)| *id).chain(forgotten).map(|id| id.reference()).collect();
    for (name, oid) in archive.references("refs/heads/secrets/") {
        if !known.contains(&name) {
            report.add(Severity::Warning, &name, format!("{oid} is not a secret that the log knows; it is ignored"));
        }
    }
    let results = parallel::map(heads, parallel::SMALL, |(id, head)| {
        let mut findings = Vec::new();
        if archive.reference(&id.reference()) != Some(head.commit.oid) {
            findings.push((Severity::Warning, id.reference(), "it disagrees with the log, which counts".to_owned()));
        }
        let mut commits = Vec::new();
        let walked = version::walk(archive, head.commit, &mut |reference, commit| {
            commits.push(reference);
            if let Err(error) = check_commit(archive, certificate, key, id, commit) {
                findings.push((Severity::Error, format!("secret {id}, {}", reference.oid), error.to_string()));
            }
            true
        });
        let numbered = walked.and_then(|()| version::versions(archive, &head).map(drop));
        if let Err(error) = numbered {
            findings.push((Severity::Error, format!("secret {id}"), error.to_string()));
        }
        (findings, commits.len())
    });
    for (findings, commits) in results {
        report.commits += commits;
        report.messages += if key.is_some() { commits } else { 0 };
        for (severity, place, what) in findings {
            report.add(severity, place, what);
        }
    }
}

fn check_commit(
    archive: &Archive,
    certificate: &Certificate,
    key: Option<&NodeKey>,
    id: ItemId,
    commit: &Commit,
) -> Result<()> {
    commit.verify(certificate)?;
    let message = value(archive, commit)?;
    match key {
        Some(key) => open(key, &message, &id.to_string(), None, LARGEST_VALUE).map(drop),
        None => Ok(()),
    }
}

fn place(namespace: &Namespace, id: ItemId) -> String {
    namespace.path_of(id).filter(|path| !path.is_root()).map_or_else(|| format!("secret {id}"), |path| path.to_string())
}
