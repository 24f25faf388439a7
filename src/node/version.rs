//! The history of a secret: its branch, cut into versions.

use super::commit::Commit;
use super::id::{CommitRef, Session};
use super::namespace::Head;
use super::objects::commit;
use crate::archive::Archive;
use crate::crypto::Fingerprint;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A run of consecutive commits of one session, with the content of its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From 1; it never changes its meaning.
    pub number: u32,
    /// The last commit of the run.
    pub commit: CommitRef,
    /// When that was made.
    pub date: Timestamp,
    /// The key that signed it.
    pub writer: Fingerprint,
    /// The session that wrote it.
    pub session: Option<Session>,
    /// How many commits it is made of.
    pub commits: u32,
}

/// Walks a branch from its head, each commit checked by the digest in its child; visits newest first.
pub(super) fn walk(
    archive: &Archive,
    newest: CommitRef,
    visit: &mut dyn FnMut(CommitRef, &Commit) -> bool,
) -> Result<()> {
    let mut next = Some(newest);
    while let Some(reference) = next {
        let commit = commit(archive, &reference)?;
        next = commit.parents.first().copied();
        if !visit(reference, &commit) {
            break;
        }
    }
    Ok(())
}

/// The key that signed the newest commit.
pub(super) fn writer(archive: &Archive, head: &Head) -> Result<Fingerprint> {
    commit(archive, &head.commit).map(|commit| commit.writer)
}

/// All versions, oldest first: as many as the head says.
pub(super) fn versions(archive: &Archive, head: &Head) -> Result<Vec<Version>> {
    let versions = versions_below(archive, head.commit)?;
    let count = u32::try_from(versions.len()).unwrap_or(u32::MAX);
    if count != head.number {
        return Err(Error::damaged(format!("{count} versions are there, the log counts {}", head.number)));
    }
    Ok(versions)
}

/// All versions up to a commit, oldest first.
pub(super) fn versions_below(archive: &Archive, newest: CommitRef) -> Result<Vec<Version>> {
    let mut versions: Vec<Version> = Vec::new();
    walk(archive, newest, &mut |reference, commit| {
        match versions.last_mut() {
            Some(newer) if newer.session.is_some() && newer.session == commit.session => newer.commits += 1,
            _ => versions.push(Version {
                number: 0,
                commit: reference,
                date: Timestamp::from_seconds(commit.date),
                writer: commit.writer.clone(),
                session: commit.session,
                commits: 1,
            }),
        }
        true
    })?;
    versions.reverse();
    for (version, number) in versions.iter_mut().zip(1..) {
        version.number = number;
    }
    Ok(versions)
}
