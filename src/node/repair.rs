//! Making a sound keynode of what a damaged file still holds.
//!
//! The key stays, so that peers, slots and pins go on. Where the log is whole it is kept; else a new one begins with all
//! that could be read. A secret whose branch has holes gets a new branch of the versions that are left; one whose name is
//! lost turns up in `lost+found`. The log then says `repaired <commit>`, which the memory of what was seen accepts.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::attributes::Attributes;
use super::change::{Change, SecretLine};
use super::checkpoint;
use super::commit::{Commit, Draft};
use super::id::{CommitRef, ItemId};
use super::keynode::LARGEST_VALUE;
use super::log::{CHANGE, Lines, REFERENCE, Reader};
use super::memory::Memory;
use super::name::{ItemPath, Name};
use super::namespace::{Head, Namespace};
use super::objects::{Digests, Files, VALUE, new_tree, value};
use super::remains::{Found, State};
use super::snapshot::Carried;
use super::version;
use crate::archive::{self, Archive, Batch, NewObject, ObjectKind, Oid, Salvage, WriteLock};
use crate::crypto::{Locked, NodeKey, Opened, Padding, open, seal};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// Where secrets go whose names are lost.
const LOST: &[u8] = b"lost+found";

/// What a repair saved and what it could not.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Secrets in the new file.
    pub secrets: usize,
    /// Their versions' commits.
    pub commits: usize,
    /// One line for each loss or change.
    pub notes: Vec<String>,
}

/// Writes a new keynode with everything of the damaged one that verifies.
///
/// # Errors
/// [`Kind::Exists`]: there is something at `to`. [`Kind::Damaged`]: nothing that this key signed is left.
pub fn repair(path: &Path, key: &NodeKey, to: &Path) -> Result<RepairReport> {
    repair_in(path, key, to, &Memory::of_user())
}

pub(super) fn repair_in(path: &Path, key: &NodeKey, to: &Path, memory: &Memory) -> Result<RepairReport> {
    if to.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Exists, format!("{}: exists already", to.display())));
    }
    let salvage = Salvage::search(path)?;
    let found = Found::of(&salvage, key);
    let newest = found.newest().ok_or_else(|| {
        Error::damaged("nothing of a log that this key signed is left").hint("is it the key of this keynode?")
    })?;
    let mut objects = Vec::with_capacity(salvage.len());
    for kind in [ObjectKind::Blob, ObjectKind::Tree, ObjectKind::Commit] {
        objects.extend(salvage.objects(kind));
    }
    let slots = salvage.slots();
    let refs = vec![(REFERENCE.to_owned(), newest.oid)];
    let archive = archive::create(to, Batch { slots: slots.clone(), objects, refs })?;
    let done = Repair { archive, key, found, report: RepairReport::default() }.write(to, newest, &slots, memory);
    if done.is_err() {
        // What is there is no keynode that could be opened.
        let _ = std::fs::remove_file(to);
    }
    done
}

struct Repair<'a> {
    archive: Archive,
    key: &'a NodeKey,
    found: Found,
    report: RepairReport,
}

impl Repair<'_> {
    fn write(
        mut self,
        to: &Path,
        newest: CommitRef,
        slots: &[(String, Vec<u8>)],
        memory: &Memory,
    ) -> Result<RepairReport> {
        let mut state = self.found.best_state(&self.archive, self.key, &mut self.report.notes);
        state.settle_bare(&mut self.report.notes);
        let mut objects = Vec::new();
        let intact = self.settle_secrets(&mut state, &mut objects)?;
        let mut lost = vec![newest.oid];
        if let Some(seen) = memory.last_commit(&self.key.fingerprint()).filter(|seen| *seen != newest) {
            lost.push(seen.oid);
            if !self.found.control.contains_key(&seen.oid) {
                let what =
                    format!("transaction {}, which was seen before, is not in this file, nor what followed", seen.oid);
                self.report.notes.push(what);
            }
        }
        let (namespace, log) = self.write_log(state, intact, &lost, slots, &mut objects)?;
        let date = Timestamp::now().seconds;
        let (checkpoint, _) = checkpoint::write(&namespace, log, date, self.key, &mut objects)?;
        let heads = namespace.items()?.filter_map(|item| Some((item.id.reference(), item.secret()?.head?.commit.oid)));
        let mut references: Vec<(String, Oid)> = heads.collect();
        self.report.secrets = namespace.secrets();
        references.push((checkpoint::REFERENCE.to_owned(), checkpoint.oid));
        references.push((REFERENCE.to_owned(), log.oid));
        references.sort_unstable();
        let mut lock = WriteLock::acquire(to)?;
        let archive = lock.compact(&references, slots, &objects)?;
        // Nothing is called repaired that does not open.
        Reader::new(&archive, self.key).load(true)?;
        if slots.is_empty() {
            self.report
                .notes
                .push("no unlock slot: keep the key in a file, or add one with `pkfs slot add`".to_owned());
        }
        Ok(self.report)
    }

    /// Gives every secret the newest head that verifies; says whether all were as the tree says.
    fn settle_secrets(&mut self, state: &mut State, objects: &mut Vec<NewObject>) -> Result<bool> {
        let State { namespace, logged, .. } = state;
        let mut intact = true;
        let mut found = std::mem::take(&mut self.found.secrets);
        let known: Vec<(ItemId, Option<Head>)> =
            namespace.items()?.filter_map(|item| Some((item.id, item.secret()?.head))).collect();
        for (id, head) in known {
            let commits = found.remove(&id).unwrap_or_default();
            self.report.commits += commits.len();
            let place = namespace.path_of(id).map_or_else(|| format!("secret {id}"), |path| path.to_string());
            if let Some(head) = head
                && self.is_whole(id, &head, &commits)
            {
                continue;
            }
            intact = false;
            if head.is_none()
                && let Some((head, opened)) = self.whole_branch(id, &commits)
            {
                set_secret(namespace, id, head, &opened)?;
            } else if let Some((head, opened)) = self.rebuild_branch(id, commits, objects)? {
                self.report.notes.push(format!("{place}: rebuilt from the {} versions that are left", head.number));
                set_secret(namespace, id, head, &opened)?;
            } else {
                self.report.notes.push(format!("{place}: lost, no version of it can be read"));
                namespace.drop_item(id);
            }
        }
        for (id, commits) in found {
            if logged.contains(&id) {
                continue;
            }
            self.report.commits += commits.len();
            let branch = match self.whole_branch(id, &commits) {
                Some(branch) => Some(branch),
                None => self.rebuild_branch(id, commits, objects)?,
            };
            if let Some((head, opened)) = branch {
                intact = false;
                set_secret(namespace, id, head, &opened)?;
                let path = lost_place(namespace, id)?;
                self.report.notes.push(format!("{path}: a secret whose name is lost"));
                namespace.apply(&Change::Name { path, id }, Some(Timestamp::now()))?;
            }
        }
        Ok(intact)
    }

    /// Whether a branch is all there, its head is the newest commit, and every value opens.
    fn is_whole(&self, id: ItemId, head: &Head, commits: &[(Commit, CommitRef)]) -> bool {
        let opens = |(commit, _): &(Commit, CommitRef)| self.open(id, commit).is_some();
        version::versions(&self.archive, head).is_ok()
            && commits.iter().all(opens)
            && commits.iter().any(|(_, reference)| *reference == head.commit)
            && !commits.iter().any(|(c, _)| c.parents.first() == Some(&head.commit))
    }

    /// The head of a branch that no log names, where all of it is left, and its value.
    fn whole_branch(&self, id: ItemId, commits: &[(Commit, CommitRef)]) -> Option<(Head, Opened)> {
        let followed: HashSet<CommitRef> = commits.iter().flat_map(|(commit, _)| commit.parents.clone()).collect();
        let mut tips = commits.iter().filter(|(_, reference)| !followed.contains(reference));
        let (Some((commit, newest)), None) = (tips.next(), tips.next()) else { return None };
        let versions = version::versions_below(&self.archive, *newest).ok()?;
        let head = Head { number: u32::try_from(versions.len()).ok()?, commit: *newest };
        self.is_whole(id, &head, commits).then_some(())?;
        Some((head, self.open(id, commit)?))
    }

    fn open(&self, id: ItemId, commit: &Commit) -> Option<Opened> {
        let message = value(&self.archive, commit).ok()?;
        open(self.key, &message, &id.to_string(), None, LARGEST_VALUE).ok()
    }

    /// A new branch of all versions that open, oldest first.
    fn rebuild_branch(
        &self,
        id: ItemId,
        mut commits: Vec<(Commit, CommitRef)>,
        objects: &mut Vec<NewObject>,
    ) -> Result<Option<(Head, Opened)>> {
        let by_oid: HashMap<Oid, Option<Oid>> =
            commits.iter().map(|(c, r)| (r.oid, c.parents.first().map(|p| p.oid))).collect();
        let depth = |oid: Oid| {
            let mut at = Some(oid);
            std::iter::from_fn(|| at.and_then(|oid| by_oid.get(&oid)).map(|parent| at = *parent)).count()
        };
        commits.sort_by_cached_key(|(commit, reference)| (commit.date, depth(reference.oid)));
        let mut newest = None;
        let mut session = None;
        for (commit, _) in commits {
            let Some(opened) = self.open(id, &commit) else { continue };
            let message = value(&self.archive, &commit)?;
            let before: Option<Head> = newest.map(|(head, _)| head);
            let same = session.is_some() && session == commit.session;
            let number = before.map_or(1, |head| head.number + u32::from(!same));
            let parents: Vec<CommitRef> = before.iter().map(|head| head.commit).collect();
            let (tree, content) = new_tree(vec![(VALUE, message)], objects);
            let draft = Draft {
                tree,
                parents: &parents,
                date: commit.date,
                subject: format!("secret {id}"),
                session: commit.session,
                content,
                log: None,
                heads: &[],
            };
            let (object, reference) = draft.sign(self.key)?;
            objects.push(object);
            session = commit.session;
            newest = Some((Head { number, commit: reference }, opened));
        }
        Ok(newest)
    }

    /// The certificate, shares and grants as the newest commit has them that is still whole.
    fn carried(&self, objects: &mut Vec<NewObject>) -> Result<Carried> {
        let mut control: Vec<&(Commit, CommitRef)> = self.found.control.values().collect();
        control.sort_unstable_by_key(|(commit, reference)| (std::cmp::Reverse(commit.date), reference.oid));
        for (commit, _) in control {
            if let Ok(files) = Files::read(&self.archive, commit, &Digests::default()) {
                return Ok(Carried::from(files));
            }
        }
        Carried::new(self.key, objects)
    }

    /// The commit that ends the old log, or begins a new one.
    fn write_log(
        &self,
        state: State,
        intact: bool,
        lost: &[Oid],
        slots: &[(String, Vec<u8>)],
        objects: &mut Vec<NewObject>,
    ) -> Result<(Namespace, CommitRef)> {
        let now = Timestamp::now();
        let mut changes: Vec<Change> = lost.iter().map(|&commit| Change::Repaired { commit }).collect();
        changes.extend(slots.iter().map(|(name, _)| Change::Slot { added: true, name: name.clone() }));
        let parent = state.whole.filter(|_| intact);
        let mut namespace = state.namespace;
        let mut heads: Vec<(ItemId, Head)> = Vec::new();
        if parent.is_none() {
            let mut directories = Vec::new();
            namespace.lines(&mut |line| {
                if let Change::Directory { id, attributes, .. } = &line
                    && *id != ItemId::ROOT
                {
                    directories.push(Change::Attributes { id: *id, attributes: *attributes });
                }
                changes.push(line);
            });
            // Making their names touched them.
            changes.extend(directories);
            heads.extend(namespace.items()?.filter_map(|item| Some((item.id, item.secret()?.head?))));
            heads.sort_unstable_by_key(|(id, _)| *id);
            namespace = Namespace::new(Attributes::new(0o755));
            for change in &changes {
                namespace.apply(change, Some(now))?;
            }
            for (id, head) in &heads {
                namespace.set_head(*id, *head)?;
            }
        }
        let mut text = Locked::default();
        Lines::write(now, &changes, &mut text);
        let message = seal(self.key, CHANGE, &text, Padding::Change)?.message;
        let (tree, content) = self.carried(objects)?.with_change(message, objects);
        let parents: Vec<CommitRef> = parent.into_iter().collect();
        let draft = Draft {
            tree,
            parents: &parents,
            date: now.seconds,
            subject: "repaired".to_owned(),
            session: None,
            content,
            log: None,
            heads: &heads,
        };
        let (object, log) = draft.sign(self.key)?;
        objects.push(object);
        Ok((namespace, log))
    }
}

/// Sets a secret's head and what must be known to read it.
fn set_secret(namespace: &mut Namespace, id: ItemId, head: Head, opened: &Opened) -> Result<()> {
    let item = namespace.item(id);
    let before = item.and_then(|item| item.secret()).map(|secret| &secret.line);
    let secret = SecretLine {
        size: opened.data.len() as u64,
        origin: before.and_then(|line| line.origin.clone()),
        writers: before.map_or_else(|| Vec::new().into(), |line| line.writers.clone()),
        key: opened.session_key.clone(),
    };
    let attributes = item.map_or_else(|| Attributes::new(0o600), |item| item.attributes);
    namespace.apply(&Change::Secret { id, attributes, secret }, None)?;
    namespace.set_head(id, head)
}

/// A free name for a secret whose own is lost.
fn lost_place(namespace: &mut Namespace, id: ItemId) -> Result<ItemPath> {
    let directory: ItemPath = std::iter::once(Name::new(LOST)?).collect();
    if namespace.child(ItemId::ROOT, LOST).is_none() {
        let attributes = Attributes::new(0o700);
        let change = Change::Directory { path: directory.clone(), id: ItemId::random(), attributes };
        namespace.apply(&change, Some(attributes.ctime))?;
    }
    Ok(directory.join(Name::new(id.to_string().as_bytes())?))
}
