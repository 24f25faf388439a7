//! What is wrong with a file, on this layer: headers, hashes, packs, refs.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;

use flate2::Crc;
use sha1collisiondetection::Sha1CD;

use super::file::Archive;
use super::judge::Judge;
use super::member::{Found, Member, Name, parse_header};
use super::object::finish;
use super::pack::{self, Pack};
use super::view::read_loose;
use super::window::{Window, read_range};
use super::{ObjectKind, Oid};
use crate::error::{Error, Result};

/// Something wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The member that it is in, as tar names it.
    pub member: String,
    /// Where that starts, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.member, self.offset, self.what)
    }
}

/// So many are told; a file with more is lost anyway.
const MAX_PROBLEMS: usize = 10_000;

/// So many objects of a pack are tried in vain: each may cost as much as the largest object.
const MAX_UNREADABLE: u32 = 100;

/// Reads everything.
pub(super) fn find(archive: &Archive) -> Vec<Problem> {
    let mut found = Problems::default();
    if let Err(error) = members(archive, &mut found) {
        found.push(problem("the archive", archive.len(), error.message()));
    }
    for pack in archive.view().packs.iter() {
        if let Err(error) = check_pack(archive.file(), pack, &mut found) {
            found.push(problem(Name::Pack(pack.entries.name), pack.entries.at, error.message()));
        }
    }
    references(archive, &mut found);
    found.0
}

/// What was found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn push(&mut self, problem: Problem) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(problem);
        }
    }
}

fn problem(member: impl fmt::Display, offset: u64, what: impl Into<String>) -> Problem {
    Problem { member: member.to_string(), offset, what: what.into() }
}

/// Walks the accepted members.
fn members(archive: &Archive, found: &mut Problems) -> Result<()> {
    let file = archive.file();
    let mut window = Window::new(file, archive.file_size());
    let mut once = HashSet::new();
    let mut judge = Judge::new()?;
    let mut at = 0;
    while at < archive.len() {
        let block = window.block(at).map_err(super::window::unreadable)?;
        let member = match block.map(|block| parse_header(block, at)) {
            Some(Found::Member(member)) if member.next() <= archive.file_size() => member,
            _ => return Err(Error::damaged(format!("there is no proper header at offset {at}"))),
        };
        at = member.next();
        check_padding(file, &member, found)?;
        match &member.name {
            Name::Ref(_) => continue,
            Name::Loose(oid) => match read_loose(file, (&member).into()) {
                Ok(object) => {
                    if let Some(objection) = judge.objection(oid, &object) {
                        found.push(problem(&member.name, member.at, objection));
                    }
                }
                Err(error) => found.push(problem(&member.name, member.at, error.message())),
            },
            // A slot whose passphrase was changed is there twice.
            Name::Slot(_) if member.at >= archive.view().base_end => continue,
            _ => {}
        }
        if !once.insert(member.name.to_string()) {
            found.push(problem(&member.name, member.at, "it is there twice"));
        }
    }
    Ok(())
}

/// What fills a member's last block must be zeros: nothing may hide there.
fn check_padding(file: &File, member: &Member, found: &mut Problems) -> Result<()> {
    let end = member.data() + member.size;
    let rest = read_range(file, end, usize::try_from(member.next() - end).unwrap_or_default())?;
    if rest.iter().any(|b| *b != 0) {
        found.push(problem(&member.name, member.at, "something stands in the padding after it"));
    }
    Ok(())
}

/// The SHA-1 of a range of the file, read in pieces.
fn digest(file: &File, mut at: u64, end: u64) -> Result<Oid> {
    let mut hash = Sha1CD::default();
    while at < end {
        let piece = read_range(file, at, usize::try_from((end - at).min(1 << 20)).unwrap_or_default())?;
        at += piece.len() as u64;
        hash.update(&piece);
    }
    Ok(finish(hash))
}

fn check_pack(file: &File, pack: &Pack, found: &mut Problems) -> Result<()> {
    let mut report = |what: String| found.push(problem(Name::Pack(pack.entries.name), pack.entries.at, what));
    let end = pack.entries.size - pack::TRAILER;
    let sum = digest(file, pack.entries.at, pack.entries.at + end)?;
    let trailer = read_range(file, pack.entries.at + end, 20)?;
    let (pack_sum, index_sum) = pack.index.trailers(file)?;
    if trailer != sum.as_bytes() {
        report("its checksum is wrong".into());
    }
    if trailer != pack_sum.as_bytes() {
        report("its index belongs to another pack".into());
    }
    if digest(file, pack.index.start(), pack.index.end() - 20)? != index_sum {
        report("the checksum of its index is wrong".into());
    }
    let mut entries = pack.index.entries(file)?;
    if let Some(what) = pack.index.disorder(&entries) {
        report(format!("its index is wrong: {what}"));
    }
    entries.sort_unstable_by_key(|e| e.offset);
    // Unknown after an entry that cannot be read.
    let mut expected = Some(pack::HEADER);
    let mut unreadable = 0;
    let mut judge = Judge::new()?;
    for entry in entries {
        if expected.is_some_and(|e| entry.offset != e) {
            report(format!("object {} at {} does not start where the one before ends", entry.oid, entry.offset));
            // Entries that overlap could make this take for ever.
            return Ok(());
        }
        match pack.entries.read(file, entry.offset) {
            Ok((object, next)) => {
                if let Some(objection) = judge.objection(&entry.oid, &object) {
                    report(format!("object {}: {objection}", entry.oid));
                }
                let mut crc = Crc::new();
                crc.update(&read_range(
                    file,
                    pack.entries.at + entry.offset,
                    usize::try_from(next - entry.offset).unwrap_or_default(),
                )?);
                if crc.sum() != entry.crc {
                    report(format!("object {}: its checksum in the index is wrong", entry.oid));
                }
                expected = Some(next);
            }
            Err(error) => {
                report(format!("object {}: {}", entry.oid, error.message()));
                expected = None;
                unreadable += 1;
                if unreadable == MAX_UNREADABLE {
                    report("too many of its objects cannot be read; the rest was not looked at".into());
                    return Ok(());
                }
            }
        }
    }
    if expected.is_some_and(|e| e != end) {
        report("something stands between its last object and its checksum".into());
    }
    Ok(())
}

/// Each ref must lead to a commit that is there.
fn references(archive: &Archive, found: &mut Problems) {
    if let Err(error) = archive.view().packed_refs.check() {
        found.push(problem("packed-refs".to_owned(), archive.view().base_last, error.message().to_owned()));
    }
    for (name, oid) in archive.references("refs/") {
        let what = match archive.object(&oid) {
            Ok(Some(object)) if object.kind == ObjectKind::Commit => continue,
            Ok(Some(_)) => format!("it points to {oid}, which is no commit"),
            Ok(None) => format!("it points to {oid}, which is not there"),
            // Reported with the object.
            Err(_) => continue,
        };
        let offset = archive.view().base_last;
        found.push(problem(name, offset, what));
    }
}
