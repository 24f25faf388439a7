//! Telling a torn end from a damaged file, and cutting it off.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::file::Archive;
use super::lock::{Health, WriteLock};
use super::member::{BLOCK, Found, Member, Name, parse_header};
use super::object::{commit_links, hash_object};
use super::scan::{Tail, ref_target};
use super::view::read_loose;
use super::window::{Window, read_range, unreadable};
use super::{KEYNODE_REF, Object, ObjectKind, Oid};
use crate::error::{Error, Kind, Result};

/// What [`WriteLock::recover`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// There was nothing to do.
    Clean,
    /// A transaction that was never acknowledged was cut off.
    Cut {
        /// Where it started, in bytes from the start of the file.
        from: u64,
        /// Where the file ended.
        to: u64,
    },
}

impl WriteLock {
    /// Makes the end of the file fit to be written after.
    ///
    /// What does not verify is cut off if it can be no more than one transaction that was never acknowledged: at most
    /// one closing ref in it leads to a commit that `accept`s (its signature is the caller's to check), that commit
    /// follows the one before, and `remembered`, which is known to have been acknowledged, is not in it. `keep` is
    /// given the bytes beforehand.
    ///
    /// # Errors
    /// `Damaged` where more than that would be lost; those of `keep` and of writing.
    pub fn recover(
        &mut self,
        accept: &dyn Fn(&Object) -> bool,
        remembered: Option<&Oid>,
        keep: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Recovery> {
        self.still_there()?;
        let end = self.archive.len();
        let (from, to) = match *self.archive.tail() {
            Tail::Unfinished { from, to } => (from, to),
            Tail::Clean if self.health == Health::Torn => {
                let there = self.file.metadata().map_err(|e| Error::io("read", &self.path, e))?.len();
                (end, there.max(end))
            }
            Tail::Clean => return Ok(Recovery::Clean),
        };
        self.archive.judge(from, to, accept, remembered)?;
        let mut at = from;
        while at < to {
            let chunk = read_range(&self.file, at, usize::try_from((to - at).min(1 << 20)).unwrap_or_default())
                .map_err(|e| e.at(self.path.display()))?;
            keep(&chunk)?;
            at += chunk.len() as u64;
        }
        self.cut(from).map_err(|e| Error::io("repair", &self.path, e))?;
        self.archive = self.archive.after_append()?;
        self.archive.set_synced();
        Ok(Recovery::Cut { from, to })
    }
}

impl Archive {
    /// Whether what follows the last acknowledged transaction is at most one that was torn. `accept` and `remembered` are those of
    /// [`WriteLock::recover`].
    ///
    /// # Errors
    /// `Damaged` where more than that is lost.
    pub fn judge_tail(&self, accept: &dyn Fn(&Object) -> bool, remembered: Option<&Oid>) -> Result<()> {
        match *self.tail() {
            Tail::Clean => Ok(()),
            Tail::Unfinished { from, to } => self.judge(from, to, accept, remembered),
        }
    }

    /// Fails unless what stands in these bytes is one transaction at most.
    fn judge(&self, from: u64, to: u64, accept: &dyn Fn(&Object) -> bool, remembered: Option<&Oid>) -> Result<()> {
        let damaged = |what: &str| {
            Error::damaged(format!("{} is damaged at offset {from}: {what}", self.path().display()))
                .hint("pkfs fsck --repair")
        };
        let found = self.search(from, to).map_err(|e| e.at(self.path().display()))?;
        if remembered.is_some_and(|oid| found.names.contains(oid)) {
            return Err(damaged("a transaction that is known to be whole does not verify any more"));
        }
        let mut closings = 0;
        for (name, oid) in &found.closings {
            let commit = match found.commits.get(oid) {
                Some(member) => read_loose(self.file(), member.into()).ok(),
                None => self.object(oid).ok().flatten(),
            };
            let Some(commit) = commit.filter(|c| accept(c)) else { continue };
            closings += 1;
            let before = self.reference(KEYNODE_REF);
            let parents = commit_links(&commit.data).map(|(_, parents)| parents).unwrap_or_default();
            if name == KEYNODE_REF && before.is_some_and(|b| !parents.contains(&b)) {
                return Err(damaged("transactions before the last are missing"));
            }
        }
        if closings > 1 {
            return Err(damaged("whole transactions follow"));
        }
        Ok(())
    }

    /// Looks at every block for members that can be made out.
    fn search(&self, from: u64, to: u64) -> Result<Doubtful> {
        let mut found = Doubtful::default();
        let mut window = Window::new(self.file(), to);
        let mut at = from;
        // Members that are whole do not overlap, so that no honest file makes this more than what there is to read.
        let mut budget = 4 * (to - from);
        while let Some(block) = window.block(at).map_err(unreadable)? {
            let header = parse_header(block, at);
            at += BLOCK;
            let Found::Member(member) = header else { continue };
            if member.size > to || member.next() > to {
                continue;
            }
            match &member.name {
                Name::Loose(oid) => {
                    found.names.insert(*oid);
                    budget = budget.checked_sub(member.size).ok_or_else(|| {
                        Error::damaged("its end is made so that it cannot be told from a whole one")
                            .hint("pkfs fsck --repair")
                    })?;
                    let object = match read_loose(self.file(), (&member).into()) {
                        Err(error) if error.kind() == Kind::Failed => return Err(error),
                        other => other.ok().filter(|o| hash_object(o.kind, &o.data) == *oid),
                    };
                    let Some(object) = object else { continue };
                    at = member.next();
                    if object.kind == ObjectKind::Commit {
                        found.commits.insert(*oid, member);
                    }
                }
                Name::Ref(name) if member.name.closes() => {
                    if let Some(oid) = ref_target(&mut window, &member)? {
                        found.names.insert(oid);
                        found.closings.insert((name.clone(), oid));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// What can be made out in bytes that do not verify.
#[derive(Default)]
struct Doubtful {
    /// Commits that are whole.
    commits: HashMap<Oid, Member>,
    /// All objects that are named, whole or not.
    names: HashSet<Oid>,
    closings: BTreeSet<(String, Oid)>,
}
