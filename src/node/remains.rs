//! What a damaged file still holds: signed commits, and the best tree of names that they give.

use std::collections::{HashMap, HashSet};

use super::attributes::Attributes;
use super::change::Change;
use super::checkpoint::{self, Reading};
use super::commit::Commit;
use super::directory::Thing;
use super::id::{CommitRef, ItemId};
use super::log::Reader;
use super::name::ItemPath;
use super::namespace::{Content, Namespace, SecretState};
use super::objects::{Digests, Files};
use crate::archive::{Archive, ObjectKind, Oid, Salvage};
use crate::crypto::{NodeKey, sha256};
use crate::error::Error;
use crate::time::Timestamp;

/// A signed commit and what names it.
type Named = (Commit, CommitRef);

/// A signed checkpoint, what names it, and the commit of the log that it reflects.
type FoundCheckpoint = (Commit, CommitRef, CommitRef);

/// A tree, and those of its items of which nothing is known but their names.
type Partial = (Namespace, HashSet<ItemId>);

/// Signed commits that are left, by what they are.
#[derive(Default)]
pub(super) struct Found {
    pub control: HashMap<Oid, Named>,
    checkpoints: Vec<FoundCheckpoint>,
    pub secrets: HashMap<ItemId, Vec<Named>>,
}

/// The best tree that could be read.
pub(super) struct State {
    pub namespace: Namespace,
    date: i64,
    /// The log's head, where the log is whole up to it and this is the state there.
    pub whole: Option<CommitRef>,
    /// Secrets that a whole log names, those that it forgot included.
    pub logged: HashSet<ItemId>,
    /// Items of which only the names are left, or no more than attributes of a symlink.
    bare: HashSet<ItemId>,
    /// Whether no transaction follows it.
    newest: bool,
    /// Transactions of the log that are in it.
    read: HashSet<Oid>,
}

impl State {
    /// A tree whose log does not lead up to it any more.
    fn holed((namespace, bare): Partial, date: i64) -> Self {
        let (logged, read) = (HashSet::new(), HashSet::new());
        Self { namespace, date, whole: None, logged, bare, newest: false, read }
    }

    /// Drops symlinks of which only the names are left, and tells of all of which it is so.
    pub fn settle_bare(&mut self, notes: &mut Vec<String>) {
        let mut others = 0;
        for id in std::mem::take(&mut self.bare) {
            let Some(item) = self.namespace.item(id) else { continue };
            if leads_nowhere(&item.content) {
                let path = self.namespace.path_of(id).unwrap_or_else(ItemPath::root);
                notes.push(format!("{path}: a symlink whose target is lost"));
                self.namespace.drop_item(id);
            } else {
                others += 1;
            }
        }
        if others > 0 {
            let items = if others == 1 { "item" } else { "items" };
            notes.push(format!(
                "mode, owner and time of {others} {items} are lost, which are 0600, 0:0 and the present now"
            ));
        }
    }
}

impl Found {
    /// What this key signed of what is left.
    pub fn of(salvage: &Salvage, key: &NodeKey) -> Self {
        let mut found = Self::default();
        for object in salvage.objects(ObjectKind::Commit) {
            let Ok(commit) = Commit::parse(&object.data) else { continue };
            if commit.verify(key.certificate()).is_err() {
                continue;
            }
            let reference = CommitRef { oid: object.oid, digest: sha256(&object.data) };
            let id = commit.subject.strip_prefix("secret ").and_then(|id| ItemId::from_hex(id.as_bytes()));
            match (commit.log, id) {
                (Some(log), _) => found.checkpoints.push((commit, reference, log)),
                (None, Some(id)) => found.secrets.entry(id).or_default().push((commit, reference)),
                (None, None) => {
                    found.control.insert(object.oid, (commit, reference));
                }
            }
        }
        found.checkpoints.sort_unstable_by_key(|(commit, ..)| std::cmp::Reverse(commit.date));
        found
    }

    /// The newest commit of a log.
    pub fn newest(&self) -> Option<CommitRef> {
        self.tips().first().map(|tip| tip.1)
    }

    /// Commits of the log that no other follows, newest first.
    fn tips(&self) -> Vec<&Named> {
        let followed: HashSet<Oid> = self.control.values().flat_map(|(c, _)| c.parents.iter().map(|p| p.oid)).collect();
        let mut tips: Vec<_> =
            self.control.values().filter(|(_, reference)| !followed.contains(&reference.oid)).collect();
        tips.sort_unstable_by_key(|(commit, reference)| (std::cmp::Reverse(commit.date), reference.oid));
        tips
    }

    /// The log down from a tip, newest first, as far as it is there.
    fn chain(&self, tip: CommitRef) -> Vec<&Named> {
        let mut chain = Vec::new();
        let mut next = Some(tip);
        while let Some(entry) = next.and_then(|r| self.control.get(&r.oid).filter(|(_, there)| *there == r)) {
            chain.push(entry);
            next = entry.0.parents.first().copied();
        }
        chain
    }

    /// The newest tree that a checkpoint and the log after it still give; tells what is missing in it.
    pub fn best_state(&self, archive: &Archive, key: &NodeKey, notes: &mut Vec<String>) -> State {
        let mut best: Option<State> = None;
        let mut reader = Reader::new(archive, key);
        for tip in self.tips() {
            let chain = self.chain(tip.1);
            let to_root = chain.last().is_some_and(|(commit, _)| commit.parents.is_empty());
            let base = self.checkpoint_in(&chain, |found| read_whole(archive, key, found));
            let empty = || (chain.len(), nothing(), 0);
            let mut walked = base.or_else(|| to_root.then(empty)).map(|from| walk(&mut reader, &chain, from));
            // Names without what they stand for are more than an older tree.
            if walked.as_ref().is_none_or(|(left, ..)| *left > 0)
                && let Some(mut from) = self.checkpoint_in(&chain, |found| read_rest(archive, key, found))
                && walked.as_ref().is_none_or(|(left, ..)| from.0 < *left)
            {
                self.fill(&mut reader, &mut from.1);
                walked = Some(walk(&mut reader, &chain, from));
            }
            let Some((left, (namespace, bare), date)) = walked else { continue };
            let whole = (left == 0 && to_root && bare.is_empty() && can_read(archive, &chain)).then_some(tip.1);
            if best.as_ref().is_none_or(|best| date > best.date || whole.is_some() && best.whole.is_none()) {
                let logged = if whole.is_some() {
                    chain.iter().flat_map(|(c, _)| c.heads().unwrap_or_default()).map(|(id, _)| id).collect()
                } else {
                    HashSet::new()
                };
                let read = chain[left..].iter().map(|(_, reference)| reference.oid).collect();
                best = Some(State { namespace, date, whole, logged, bare, newest: left == 0, read });
            }
        }
        // Checkpoints whose place in the log is lost.
        for found in &self.checkpoints {
            let date = found.0.date;
            if best.as_ref().is_none_or(|best| date > best.date)
                && let Some(mut tree) = read_whole(archive, key, found).or_else(|| read_rest(archive, key, found))
            {
                self.fill(&mut reader, &mut tree);
                best = Some(State::holed(tree, date));
            }
        }
        let mut state = best.unwrap_or_else(|| {
            notes.push("no tree of names is left, but for what single transactions say".to_owned());
            State::holed(nothing(), 0)
        });
        if state.whole.is_none() {
            let when = Timestamp::from_seconds(state.date).to_rfc3339();
            let later = self.read_on(&mut reader, &mut state);
            notes.push(if state.newest {
                format!("the log has holes before {when}, of which the state then is independent; a new log begins")
            } else {
                format!("the log has holes after {when}: of {later} later transactions, what still fits was taken over; a new log begins")
            });
        }
        state
    }

    /// The newest checkpoint of a chain that can be read: at which place, and when that was.
    fn checkpoint_in(
        &self,
        chain: &[&Named],
        read: impl Fn(&FoundCheckpoint) -> Option<Partial>,
    ) -> Option<(usize, Partial, i64)> {
        chain.iter().enumerate().find_map(|(position, (commit, reference))| {
            let found = self.checkpoints.iter().find(|(.., log)| log == reference)?;
            Some((position, read(found)?, commit.date))
        })
    }

    /// Looks for what is not known of a tree's bare items, in all checkpoints and transactions that can be read.
    fn fill(&self, reader: &mut Reader<'_>, (tree, bare): &mut Partial) {
        if bare.is_empty() {
            return;
        }
        let mut told: Vec<(Timestamp, Vec<Change>)> = Vec::new();
        for (commit, _) in self.control.values() {
            if let Ok(lines) = reader.lines(commit) {
                told.push((lines.date, lines.lines));
            }
        }
        for found in &self.checkpoints {
            let Some((other, unknown)) = read_rest(reader.archive, reader.key, found) else { continue };
            let mut lines = Vec::new();
            other.lines(&mut |line| lines.push(line));
            lines.retain(|line| Thing::of(line).is_some_and(|(id, _)| !unknown.contains(&id)));
            // It says what was at the end of that second.
            told.push((Timestamp { seconds: found.0.date, nanoseconds: 999_999_999 }, lines));
        }
        told.sort_by_key(|(when, _)| *when);
        let mut known = HashSet::new();
        for line in told.iter().flat_map(|(_, lines)| lines) {
            let (id, attributes) = match line {
                Change::Secret { id, attributes, .. }
                | Change::Symlink { id, attributes, .. }
                | Change::Fifo { id, attributes }
                | Change::Socket { id, attributes }
                | Change::Attributes { id, attributes } => (*id, *attributes),
                _ => continue,
            };
            let Some(present) = tree.item(id).filter(|_| bare.contains(&id)).map(|item| &item.content) else {
                continue;
            };
            let content = match (line, present) {
                (Change::Secret { secret, .. }, Content::Secret(_)) => {
                    Content::Secret(SecretState { line: secret.clone(), head: None })
                }
                (Change::Symlink { target, .. }, Content::Symlink(_)) => Content::Symlink(target.clone()),
                (Change::Fifo { .. }, Content::Fifo)
                | (Change::Socket { .. }, Content::Socket)
                | (Change::Attributes { .. }, _) => present.clone(),
                _ => continue,
            };
            if !leads_nowhere(&content) {
                known.insert(id);
            }
            tree.fill(id, attributes, content);
        }
        bare.retain(|id| !known.contains(id));
    }

    /// Beyond a hole in the log: every line of the transactions after it that still fits the tree.
    fn read_on(&self, reader: &mut Reader<'_>, state: &mut State) -> usize {
        let mut later = Vec::new();
        for (commit, reference) in self.control.values() {
            if commit.date >= state.date
                && !state.read.contains(&reference.oid)
                && let Ok(lines) = reader.lines(commit)
            {
                later.push((lines, commit));
            }
        }
        later.sort_by_key(|(lines, _)| lines.date);
        for (lines, commit) in &later {
            for change in &lines.lines {
                let mut next = state.namespace.clone();
                if next.apply(change, Some(lines.date)).is_ok() {
                    state.namespace = next;
                }
            }
            for (id, head) in commit.heads().unwrap_or_default() {
                // A secret that only this transaction knows stays without a head, and is looked for by its branch.
                let _ = state.namespace.set_head(id, head);
            }
        }
        later.len()
    }
}

/// Applies the transactions above a place in a chain, as far as they can be read: where that ended, the tree and when.
fn walk(reader: &mut Reader<'_>, chain: &[&Named], from: (usize, Partial, i64)) -> (usize, Partial, i64) {
    let (mut left, (mut namespace, bare), mut date) = from;
    while let Some((commit, reference)) = left.checked_sub(1).map(|next| chain[next]) {
        let mut next = namespace.clone();
        if reader.step(&mut next, commit, reference).is_err() {
            break;
        }
        (namespace, date, left) = (next, commit.date, left - 1);
    }
    (left, (namespace, bare), date)
}

/// Whether all files of these commits are there.
fn can_read(archive: &Archive, chain: &[&Named]) -> bool {
    let mut digests = Digests::default();
    chain.iter().all(|(commit, _)| {
        let files = Files::read(archive, commit, &digests);
        files.map(|files| digests.remember(&files)).is_ok()
    })
}

/// The tree of a checkpoint all of which can be read.
fn read_whole(archive: &Archive, key: &NodeKey, (commit, own, _): &FoundCheckpoint) -> Option<Partial> {
    let read = checkpoint::read(archive, key, (commit, *own), Reading::Whole).ok()?;
    Some((read.namespace, HashSet::new()))
}

/// The tree of a checkpoint whose names can be read.
fn read_rest(archive: &Archive, key: &NodeKey, (commit, own, _): &FoundCheckpoint) -> Option<Partial> {
    let nothing = Reading::Lazy(Box::new(|| Err(Error::damaged("the checkpoint is damaged"))));
    let (tree, bare) = checkpoint::read(archive, key, (commit, *own), nothing).ok()?.namespace.salvaged().ok()?;
    Some((tree, bare.into_iter().collect()))
}

/// An empty tree.
fn nothing() -> Partial {
    (Namespace::new(Attributes::new(0o755)), HashSet::new())
}

/// Whether this is a symlink whose target is not known.
fn leads_nowhere(content: &Content) -> bool {
    matches!(content, Content::Symlink(target) if target.is_empty())
}
