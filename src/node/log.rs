//! The control branch: reading it, and bringing a state up to date with it.
//!
//! The log is the truth. Its head is believed by the node's signature, everything below by `Parent` digests. Opening
//! takes the checkpoint and replays what came since; it never depends on the number of versions.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use log::warn;

use super::attributes::Attributes;
use super::change::Change;
use super::checkpoint::{self, LARGEST, Reading};
use super::commit::Commit;
use super::id::{CommitRef, ItemId};
use super::namespace::{Head, Namespace};
use super::objects::{CHANGE_FILE, Digests, Files, commit, unproven_commit};
use super::parallel;
use super::snapshot::{Carried, Since, Snapshot};
use crate::archive::{Archive, Oid};
use crate::crypto::{Epoch, NodeKey, open};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// The reference of the log's head.
pub(super) const REFERENCE: &str = "refs/heads/keynode";
/// What a change is bound to.
pub(super) const CHANGE: &str = "change";

/// One transaction of the log, as its readers see it.
#[derive(Debug)]
pub struct LogEntry {
    /// The control commit.
    pub commit: CommitRef,
    /// When.
    pub date: Timestamp,
    /// What it did, in order.
    pub changes: Vec<Change>,
    /// Heads that it set.
    pub heads: Vec<(ItemId, Head)>,
}

/// What is read of a transaction before its message is opened.
struct Sealed {
    files: Files,
    message: Vec<u8>,
    heads: HashMap<ItemId, Head>,
}

impl Sealed {
    fn read(archive: &Archive, commit: &Commit, known: &Digests) -> Result<Self> {
        let mut files = Files::read(archive, commit, known)?;
        let message = files.take_blob(archive, CHANGE_FILE)?;
        Ok(Self { files, message, heads: commit.heads()?.into_iter().collect() })
    }

    /// Opens the message with an epoch that covers it.
    fn opened(self, key: &NodeKey, epoch: Arc<Epoch>) -> Result<Done> {
        let opened = open(key, &self.message, CHANGE, Some(epoch.session_key()), LARGEST)?;
        Ok(Done { files: self.files, lines: Lines::parse(&opened.data)?, epoch, heads: self.heads })
    }
}

/// A commit and what names it.
type Named = (Commit, CommitRef);

/// From a commit whose state is known to a later one.
struct Way {
    /// What comes after it, newest first.
    pending: Vec<Named>,
    /// The commit itself, where it has been read; surely where nothing comes after it.
    base: Option<Named>,
}

/// So many transactions are read together, at most.
const AT_ONCE: usize = 1024;

/// What a transaction did, read and still to be applied.
struct Done {
    files: Files,
    lines: Lines,
    epoch: Arc<Epoch>,
    heads: HashMap<ItemId, Head>,
}

impl Done {
    fn apply(&self, namespace: &mut Namespace, reference: &CommitRef) -> Result<()> {
        for change in &self.lines.lines {
            if !namespace.renew(change, &self.heads) {
                let applied = namespace.apply(change, Some(self.lines.date));
                applied.map_err(|e| at(reference, Error::damaged(e.message())))?;
            }
        }
        for (id, head) in &self.heads {
            namespace.set_head(*id, *head).map_err(|e| at(reference, e))?;
        }
        Ok(())
    }
}

fn at(reference: &CommitRef, error: Error) -> Error {
    error.at(format!("transaction {}", reference.oid))
}

/// Reads the log of one archive with one key.
pub(super) struct Reader<'a> {
    pub archive: &'a Archive,
    pub key: &'a NodeKey,
    epochs: Vec<Arc<Epoch>>,
    digests: Digests,
}

impl<'a> Reader<'a> {
    pub fn new(archive: &'a Archive, key: &'a NodeKey) -> Self {
        Self { archive, key, epochs: Vec::new(), digests: Digests::default() }
    }

    /// The log's head, its signature checked.
    pub fn head(&self) -> Result<(Commit, CommitRef)> {
        let oid = self.archive.reference(REFERENCE).ok_or_else(|| Error::damaged("the keynode has no log"))?;
        let (head, reference) = unproven_commit(self.archive, &oid)?;
        head.verify(self.key.certificate()).map_err(|e| e.at("the log's head"))?;
        if head.log.is_some() {
            return Err(Error::damaged("the log's head is a checkpoint"));
        }
        Ok((head, reference))
    }

    /// The state at the log's head, from the checkpoint where it serves, else from the log's beginning. `whole`: all that
    /// the checkpoint says is read at once, so that nothing depends on this file any more.
    pub fn load(&mut self, whole: bool) -> Result<Snapshot> {
        let (head, reference) = self.head()?;
        match checkpoint::find(self.archive, self.key) {
            Ok((found, own, log)) => {
                let way = self.walk_to(head, reference, &log)?.ok_or_else(|| {
                    Error::new(Kind::Diverged, "the checkpoint reflects a commit that the log does not contain")
                        .hint("this file was put together from different states; use another copy, or fsck --repair")
                })?;
                let reading = if whole { Reading::Whole } else { Reading::Lazy(self.tree_at(log)) };
                match checkpoint::read(self.archive, self.key, (&found, own), reading) {
                    Ok(checkpoint) => {
                        let epoch = Arc::new(checkpoint.epoch);
                        let mut snapshot = self.replay(checkpoint.namespace, way, epoch)?;
                        snapshot.checkpoint = Some(checkpoint.reference);
                        return Ok(snapshot);
                    }
                    Err(error) => warn!("checkpoint: {error}; reading the whole log instead"),
                }
            }
            Err(error) => warn!("{error}; reading the whole log instead"),
        }
        let (head, reference) = self.head()?;
        self.rebuild(head, reference)
    }

    /// What makes the tree of a commit of the log, from the log's beginning.
    fn tree_at(&self, reference: CommitRef) -> Box<dyn Fn() -> Result<Namespace> + Send + Sync> {
        let (archive, key) = (self.archive.clone(), self.key.clone());
        Box::new(move || {
            let head = commit(&archive, &reference)?;
            Ok(Reader::new(&archive, &key).rebuild(head, reference)?.namespace)
        })
    }

    /// The state at a commit of the log, from the log's beginning.
    pub fn rebuild(&mut self, head: Commit, reference: CommitRef) -> Result<Snapshot> {
        let mut pending = Vec::new();
        self.descend(head, reference, &mut |commit, reference| {
            pending.push((commit, reference));
            true
        })?;
        let Some(first) = pending.pop() else { return Err(Error::damaged("the log is empty")) };
        let mut namespace = Namespace::new(Attributes::new(0o755));
        let epoch = self.step(&mut namespace, &first.0, &first.1)?;
        self.replay(namespace, Way { pending, base: Some(first) }, epoch)
    }

    /// The state at the present head, from an earlier state; `None` where the log does not contain that state.
    pub fn advance(&mut self, old: &Snapshot) -> Result<Option<Snapshot>> {
        let (head, reference) = self.head()?;
        let Some(way) = self.walk_to(head, reference, &old.log)? else { return Ok(None) };
        let newer = self.archive.reference(checkpoint::REFERENCE) != old.checkpoint.map(|commit| commit.oid);
        let found = newer.then(|| checkpoint::find(self.archive, self.key).ok()).flatten();
        // How many of the new transactions the newer checkpoint leaves out.
        let beyond = found.as_ref().and_then(|(.., log)| {
            let position = way.pending.iter().position(|(_, reference)| reference == log);
            position.or_else(|| (*log == old.log).then_some(way.pending.len()))
        });
        let mut new = self.replay(old.namespace.clone(), way, old.epoch.clone())?;
        new.checkpoint = old.checkpoint;
        if let (Some((commit, reference, _)), Some(beyond)) = (found, beyond) {
            new.checkpoint = Some(reference);
            if beyond == 0 {
                new.epoch = Arc::new(checkpoint::epoch(self.archive, self.key, &commit)?);
            }
            new.since = Since { transactions: beyond, lines: new.since.lines.min(4 * beyond) };
        } else {
            new.since.transactions += old.since.transactions;
            new.since.lines += old.since.lines;
        }
        Ok(Some(new))
    }

    /// The way from a head down first parents to `until`; `None`: not met. `until` itself is not read: it may be large, and
    /// what names it vouches for it.
    fn walk_to(&self, head: Commit, reference: CommitRef, until: &CommitRef) -> Result<Option<Way>> {
        if reference == *until {
            return Ok(Some(Way { pending: Vec::new(), base: Some((head, reference)) }));
        }
        let mut pending = Vec::new();
        let mut met = false;
        self.descend(head, reference, &mut |commit, reference| {
            met = commit.parents.first() == Some(until);
            pending.push((commit, reference));
            !met
        })?;
        Ok(met.then_some(Way { pending, base: None }))
    }

    /// Visits commits down first parents until `visit` has enough.
    fn descend(
        &self,
        head: Commit,
        reference: CommitRef,
        visit: &mut dyn FnMut(Commit, CommitRef) -> bool,
    ) -> Result<()> {
        let (mut at, mut reference) = (head, reference);
        loop {
            let parent = at.parents.first().copied();
            if !visit(at, reference) {
                return Ok(());
            }
            let Some(parent) = parent else { return Ok(()) };
            at = commit(self.archive, &parent).map_err(|e| e.at("log"))?;
            reference = parent;
        }
    }

    /// Whether `wanted` is `head` or one of its ancestors, by any parent.
    pub fn contains(&self, head: CommitRef, wanted: &CommitRef) -> Result<bool> {
        let mut queue = VecDeque::from([head]);
        let mut seen = HashSet::new();
        while let Some(reference) = queue.pop_front() {
            if reference == *wanted {
                return Ok(true);
            }
            if seen.insert(reference.oid) {
                queue.extend(commit(self.archive, &reference)?.parents);
            }
        }
        Ok(false)
    }

    /// Applies the transactions of a way to the state at its beginning.
    fn replay(&mut self, mut namespace: Namespace, way: Way, mut epoch: Arc<Epoch>) -> Result<Snapshot> {
        let Way { pending, base } = way;
        self.epochs.push(epoch.clone());
        let mut since = Since::default();
        let mut last = base;
        let mut files = None;
        let mut apply = |done: Done, named: Named| -> Result<()> {
            since.transactions += 1;
            since.lines += done.lines.lines.len();
            done.apply(&mut namespace, &named.1)?;
            (files, epoch) = (Some(done.files), done.epoch);
            last = Some(named);
            Ok(())
        };
        let mut pending = pending.into_iter().rev();
        // From the first on, it is known what later ones have in common with it.
        let mut together = 1;
        loop {
            let some: Vec<Named> = pending.by_ref().take(together).collect();
            if some.is_empty() {
                break;
            }
            for (done, named) in self.read_together(some)? {
                apply(done, named)?;
            }
            together = AT_ONCE;
        }
        let last = last.ok_or_else(|| Error::damaged("the log is empty"))?;
        let files = match files {
            Some(files) => files,
            None => Files::read(self.archive, &last.0, &self.digests)?,
        };
        Ok(Snapshot {
            archive: self.archive.clone(),
            namespace,
            log: last.1,
            date: last.0.date,
            carried: Arc::new(Carried::from(files)),
            epoch,
            checkpoint: None,
            since,
        })
    }

    /// What transactions did, in their order. Where an epoch begins its key is unlocked, the others are read on all
    /// processors.
    fn read_together(&mut self, mut some: Vec<Named>) -> Result<Vec<(Done, Named)>> {
        let mut all = Vec::with_capacity(some.len());
        let this = &*self;
        let mut sealed: VecDeque<Sealed> =
            parallel::map(some.iter().collect(), parallel::SMALL, |(commit, reference)| {
                Sealed::read(this.archive, commit, &this.digests).map_err(|e| at(reference, e))
            })
            .into_iter()
            .collect::<Result<_>>()?;
        while let Some(first) = sealed.front() {
            self.digests.remember(&first.files);
            let epoch = self.epoch_of(&first.message).map_err(|e| at(&some[0].1, e))?;
            let covered = sealed.iter().take_while(|sealed| epoch.covers(&sealed.message)).count();
            let run = sealed.drain(..covered).zip(some.drain(..covered)).collect();
            let opened = parallel::map(run, parallel::SMALL, |(sealed, named): (Sealed, Named)| {
                Ok((sealed.opened(self.key, epoch.clone()).map_err(|e| at(&named.1, e))?, named))
            });
            all.extend(opened.into_iter().collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    /// The epoch that covers a message, unlocked where it is not known yet.
    fn epoch_of(&mut self, message: &[u8]) -> Result<Arc<Epoch>> {
        // The newest are asked for most.
        if let Some(epoch) = self.epochs.iter().rev().find(|epoch| epoch.covers(message)) {
            return Ok(epoch.clone());
        }
        let epoch = Arc::new(Epoch::unlock(self.key, message)?);
        self.epochs.push(epoch.clone());
        Ok(epoch)
    }

    /// Applies one transaction; returns the epoch of its change.
    pub fn step(&mut self, namespace: &mut Namespace, commit: &Commit, reference: &CommitRef) -> Result<Arc<Epoch>> {
        let done = self.read(commit).map_err(|e| at(reference, e))?;
        done.apply(namespace, reference)?;
        Ok(done.epoch)
    }

    /// The lines of one transaction.
    pub fn lines(&mut self, commit: &Commit) -> Result<Lines> {
        self.read(commit).map(|done| done.lines)
    }

    /// What one transaction did.
    fn read(&mut self, commit: &Commit) -> Result<Done> {
        let sealed = Sealed::read(self.archive, commit, &self.digests)?;
        self.digests.remember(&sealed.files);
        let epoch = self.epoch_of(&sealed.message)?;
        sealed.opened(self.key, epoch)
    }

    /// Visits the log, newest first, until `visit` breaks off.
    pub fn entries(
        &mut self,
        head: CommitRef,
        visit: &mut dyn FnMut(LogEntry) -> Result<std::ops::ControlFlow<()>>,
    ) -> Result<()> {
        let mut next = Some(head);
        while let Some(reference) = next {
            let commit = commit(self.archive, &reference)?;
            next = commit.parents.first().copied();
            let changes = self.lines(&commit)?.lines;
            let date = Timestamp::from_seconds(commit.date);
            let entry = LogEntry { commit: reference, date, changes, heads: commit.heads()? };
            if visit(entry)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the log says that it was rebuilt from a file whose newest known commit was this one.
    pub fn is_repaired_from(&mut self, head: CommitRef, lost: &Oid) -> Result<bool> {
        let mut found = false;
        self.entries(head, &mut |entry| {
            found = entry.changes.iter().any(|change| matches!(change, Change::Repaired { commit } if commit == lost));
            Ok(if found { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// The newest commit not later than `when`.
    pub fn find_date(&self, head: CommitRef, when: Timestamp) -> Result<Option<(Commit, CommitRef)>> {
        let mut next = Some(head);
        while let Some(reference) = next {
            let commit = commit(self.archive, &reference)?;
            if Timestamp::from_seconds(commit.date) <= when {
                return Ok(Some((commit, reference)));
            }
            next = commit.parents.first().copied();
        }
        Ok(None)
    }
}

impl From<Files> for Carried {
    fn from(files: Files) -> Self {
        let entries = files.entries.into_iter().filter(|entry| entry.name != CHANGE_FILE.as_bytes()).collect();
        let kept = files.listed.into_iter().filter(|(path, ..)| path != CHANGE_FILE);
        Self { entries, digests: kept.map(|(path, _, digest)| (path, digest)).collect() }
    }
}

/// The text of a change: `date <time>`, then a line for each [`Change`].
pub(super) struct Lines {
    pub date: Timestamp,
    pub lines: Vec<Change>,
}

impl Lines {
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut lines = text.split(|&b| b == b'\n');
        let date = lines.next().and_then(|line| std::str::from_utf8(line.strip_prefix(b"date\t")?).ok()?.parse().ok());
        let date = date.ok_or_else(|| Error::damaged("a change has no date"))?;
        let lines = lines.filter(|line| !line.is_empty()).map(Change::parse).collect::<Result<_>>()?;
        Ok(Self { date, lines })
    }

    pub fn write(date: Timestamp, changes: &[Change], out: &mut crate::crypto::Locked) {
        out.extend_from_slice(format!("date\t{date}\n").as_bytes());
        for change in changes {
            change.write(out);
        }
    }
}
