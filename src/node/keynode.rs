//! A keynode, unlocked: reading it, and keeping up with its file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{info, warn};
use parking_lot::{Mutex, RwLock};

use super::built::genesis;
use super::change::SecretLine;
use super::checkpoint::LARGEST;
use super::id::{CommitRef, ItemId};
use super::log::{LogEntry, Reader};
use super::memory::Memory;
use super::objects::{object, value};
use super::recovery::signed_by;
use super::share::Shares;
use super::snapshot::{SHARES, SHARES_FILE, Snapshot};
use super::version::{self, Version};
use crate::archive::{self, Archive, INBOX_PREFIX, ObjectKind, Oid, Tail};
use crate::crypto::{
    Fingerprint, Locked, NodeKey, Padding, Profile, SessionKey, Sha256, open, seal, sha256, slot::seal_for_passphrase,
};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// The most bytes that a value may have with its holes, whatever limit its writer had.
pub const LARGEST_VALUE: usize = 3 << 30;

/// How many states of the past are kept for who asks for them again.
const PAST: usize = 2;

/// How to open a keynode.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub struct OpenOptions {
    /// Never write to it.
    pub read_only: bool,
    /// Take a file that is older than what was seen before.
    pub allow_rollback: bool,
    /// Take such a file to look at it: it cannot be written, and what was seen before stays remembered.
    pub only_look: bool,
    /// Read all names and what they stand for at once, for what is to last: later, they are read from the file as it was.
    pub whole: bool,
    /// The node that it must be.
    pub node: Option<Fingerprint>,
}

/// How to make one.
#[derive(Debug)]
pub struct InitOptions {
    /// Which kinds of keys and messages.
    pub profile: Profile,
    /// The passphrase of its first slot; `None`: no slot, the key is kept elsewhere.
    pub passphrase: Option<Locked>,
}

/// Why nothing can be written.
#[derive(Debug)]
pub(super) struct ReadOnly {
    pub kind: Kind,
    pub why: String,
}

impl From<String> for ReadOnly {
    fn from(why: String) -> Self {
        Self { kind: Kind::ReadOnly, why }
    }
}

/// An unlocked keynode, to be shared between threads.
#[derive(Debug)]
pub struct Keynode {
    pub(super) path: PathBuf,
    pub(super) key: NodeKey,
    pub(super) memory: Memory,
    pub(super) read_only: Option<ReadOnly>,
    state: RwLock<Arc<Snapshot>>,
    /// Held by the one transaction of this process, before the file's lock.
    pub(super) writing: Mutex<()>,
    /// Held while a new state is made: by a transaction, after the file's lock.
    pub(super) publishing: Mutex<()>,
    /// States of the past that were asked for last, until the present one changes.
    past: Mutex<Vec<Arc<Snapshot>>>,
    /// The shares that were read last, by what they were read from.
    shares: Mutex<Option<(Sha256, Arc<Shares>)>>,
}

/// A value sealed for a secret, ready to be written.
#[derive(Debug)]
pub struct SealedValue {
    pub(super) id: ItemId,
    pub(super) size: u64,
    pub(super) message: Vec<u8>,
    pub(super) key: SessionKey,
}

impl SealedValue {
    /// The secret that it is for.
    pub fn id(&self) -> ItemId {
        self.id
    }

    /// Bytes of plaintext.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Keynode {
    /// Makes a new keynode and its file.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub fn init(path: &Path, options: &InitOptions) -> Result<Self> {
        Self::init_with_key(path, NodeKey::generate(options.profile)?, options.passphrase.as_ref())
    }

    /// Makes a new keynode whose key was made before, so that the key is safe in its place before anything needs it.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub fn init_with_key(path: &Path, key: NodeKey, passphrase: Option<&Locked>) -> Result<Self> {
        Self::init_in(path, key, passphrase, Memory::of_user())
    }

    pub(super) fn init_in(path: &Path, key: NodeKey, passphrase: Option<&Locked>, memory: Memory) -> Result<Self> {
        let mut slots = Vec::new();
        if let Some(passphrase) = passphrase {
            slots.push((super::slot::PASSPHRASE.to_owned(), seal_for_passphrase(&key, passphrase)?));
        }
        let archive = archive::create(path, genesis(&key, slots)?)?;
        let path = canonical(path)?;
        // Read back as anybody would, so that nothing is handed out that cannot be opened.
        let snapshot = Reader::new(&archive, &key).load(true)?;
        memory.pin(&path, &key.fingerprint());
        memory.remember(&key.fingerprint(), &snapshot.log);
        let state = RwLock::new(Arc::new(snapshot));
        Ok(Self {
            path,
            key,
            memory,
            read_only: None,
            state,
            writing: Mutex::new(()),
            publishing: Mutex::new(()),
            past: Mutex::default(),
            shares: Mutex::default(),
        })
    }

    pub(super) fn open(archive: &Archive, key: NodeKey, options: &OpenOptions) -> Result<Self> {
        Self::open_in(archive, key, options, Memory::of_user())
    }

    pub(super) fn open_in(archive: &Archive, key: NodeKey, options: &OpenOptions, memory: Memory) -> Result<Self> {
        let path = canonical(archive.path())?;
        let node = key.fingerprint();
        if let Some(wanted) = options.node.clone().or_else(|| memory.node_at(&path))
            && wanted != node
        {
            return Err(Error::new(
                Kind::Diverged,
                format!("another keynode than before: {node} in place of {wanted}"),
            )
            .hint(format!("if that is meant, say --node {node}")));
        }
        // In this order: what is remembered is on disk, and others may have written since the file was opened.
        let remembered = memory.last_commit(&node);
        let archive = &archive.refresh()?.unwrap_or_else(|| archive.clone());
        let mut reader = Reader::new(archive, &key);
        let snapshot = reader.load(options.whole)?;
        let lacks = match remembered {
            Some(seen) if !options.allow_rollback && lacks(&mut reader, snapshot.log, &seen)? => Some(seen.oid),
            _ => None,
        };
        if let Some(seen) = &lacks
            && !(options.only_look && matches!(archive.tail(), Tail::Clean))
        {
            let hint = "use the newest copy; if going back is meant (a restored backup), say --allow-rollback";
            return Err(behind(archive, older(seen), hint));
        }
        if lacks.is_none() && remembered != Some(snapshot.log) {
            archive.sync()?;
            memory.advance(&node, remembered.as_ref(), &snapshot.log);
        } else if lacks.is_none() && archive.references(INBOX_PREFIX).is_empty() {
            // A commit that is remembered is on disk, and with it all before it; only an inbox could follow. (Not so of a
            // copy that was made just now: that is all on disk with what is appended.)
            archive.set_synced();
        }
        if memory.node_at(&path).as_ref() != Some(&node) {
            memory.pin(&path, &node);
        }
        let known = remembered.as_ref().map(|commit| &commit.oid);
        let damage = archive.judge_tail(&signed_by(key.certificate()), known).err();
        if let Some(damage) = &damage {
            warn!("{damage}; what follows cannot be read");
        }
        let read_only = match damage {
            Some(damage) => Some(ReadOnly { kind: Kind::Damaged, why: damage.to_string() }),
            None if lacks.is_some() => lacks.map(|seen| ReadOnly { kind: Kind::Diverged, why: older(&seen) }),
            None if options.read_only => Some("it was opened read-only".to_owned().into()),
            None => archive::unwritable(&path).map(Into::into),
        };
        Ok(Self {
            path,
            key,
            memory,
            read_only,
            state: RwLock::new(Arc::new(snapshot)),
            writing: Mutex::new(()),
            publishing: Mutex::new(()),
            past: Mutex::default(),
            shares: Mutex::default(),
        })
    }

    /// The node's key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The file, symlinks resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why nothing can be written; `None` where it can.
    pub fn read_only(&self) -> Option<&str> {
        self.read_only.as_ref().map(|read_only| read_only.why.as_str())
    }

    /// The state last seen.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state.read().clone()
    }

    pub(super) fn publish(&self, snapshot: Arc<Snapshot>) {
        *self.state.write() = snapshot;
        // They hold the file as it was: one that was rewritten, without a slot perhaps, is not kept for them.
        self.past.lock().clear();
    }

    /// Looks at the file again; true where a new state stands, which [`Self::remember_since`] is to remember. It waits
    /// neither for the disk nor for another process, as a transaction of this one may.
    ///
    /// # Errors
    /// The file is gone, damaged, another node's or older than before; the present state stays.
    pub fn refresh(&self) -> Result<bool> {
        let _publishing = self.publishing.lock();
        let present = self.snapshot();
        let Some(archive) = present.archive.refresh()? else { return Ok(false) };
        let new = self.verified(&present, &archive)?;
        let changed = new.log != present.log;
        self.publish(new);
        Ok(changed)
    }

    /// Remembers how far the log goes, once that is on disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remember_since(&self, before: &Snapshot) -> Result<()> {
        let present = self.snapshot();
        if present.log != before.log {
            present.archive.sync()?;
            self.memory.advance(&self.key.fingerprint(), Some(&before.log), &present.log);
        }
        Ok(())
    }

    /// Takes over what an archive holds, if it goes on from the present state.
    pub(super) fn adopt(&self, present: &Arc<Snapshot>, archive: &Archive) -> Result<Arc<Snapshot>> {
        let new = self.verified(present, archive)?;
        self.publish(new.clone());
        self.remember_since(present)?;
        Ok(new)
    }

    fn verified(&self, present: &Arc<Snapshot>, archive: &Archive) -> Result<Arc<Snapshot>> {
        if present.archive.is_same(archive) {
            return Ok(present.clone());
        }
        let Some(new) = Reader::new(archive, &self.key).advance(present)? else {
            let hint = "put the newest copy back; what was verified before can still be read";
            return Err(behind(archive, "the file was replaced by an older or a diverged copy".to_owned(), hint));
        };
        Ok(Arc::new(new))
    }

    /// Decrypts and verifies the present value of a secret: no public-key operation, no lock held.
    ///
    /// # Errors
    /// [`Kind::Damaged`] says which check failed; [`Kind::NotFound`] for what is no secret.
    pub fn read_head(&self, snapshot: &Snapshot, id: ItemId) -> Result<Locked> {
        let (line, commit) = secret(snapshot, id)?;
        self.read_commit(snapshot, id, &commit, Some(&line.key))
    }

    /// Decrypts an earlier version.
    ///
    /// # Errors
    /// As [`Self::read_head`].
    pub fn read_version(&self, snapshot: &Snapshot, id: ItemId, version: &Version) -> Result<Locked> {
        let (line, commit) = secret(snapshot, id)?;
        let known = (commit == version.commit).then_some(&line.key);
        self.read_commit(snapshot, id, &version.commit, known)
    }

    fn read_commit(
        &self,
        snapshot: &Snapshot,
        id: ItemId,
        commit: &CommitRef,
        known: Option<&SessionKey>,
    ) -> Result<Locked> {
        let commit = super::objects::commit(&snapshot.archive, commit)?;
        let message = value(&snapshot.archive, &commit)?;
        Ok(open(&self.key, &message, &id.to_string(), known, LARGEST_VALUE)?.data)
    }

    /// The shares of a state; those read last are kept.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: they cannot be read, or a newer pkfs wrote them.
    pub fn shares(&self, snapshot: &Snapshot) -> Result<Arc<Shares>> {
        let digest = snapshot.shares_digest();
        let known = self.shares.lock().clone();
        if let Some((_, shares)) = known.filter(|(of, _)| Some(*of) == digest) {
            return Ok(shares);
        }
        let shares = Arc::new(self.read_shares(snapshot)?);
        *self.shares.lock() = digest.map(|digest| (digest, shares.clone()));
        Ok(shares)
    }

    fn read_shares(&self, snapshot: &Snapshot) -> Result<Shares> {
        let entry = snapshot.carried.entries.iter().find(|entry| entry.name == SHARES_FILE.as_bytes());
        let Some(entry) = entry else { return Ok(Shares::default()) };
        let message = object(&snapshot.archive, &entry.oid, ObjectKind::Blob)?;
        if snapshot.shares_digest() != Some(sha256(&message)) {
            return Err(Error::damaged("the shares are not those that were signed"));
        }
        let opened = open(&self.key, &message, SHARES, None, LARGEST).map_err(|e| e.at(SHARES_FILE))?;
        Shares::parse(&opened.data).map_err(|e| e.at(SHARES_FILE))
    }

    /// All versions of a secret, oldest first.
    ///
    /// # Errors
    /// [`Kind::Damaged`], or [`Kind::NotFound`] for what is no secret.
    pub fn versions(&self, snapshot: &Snapshot, id: ItemId) -> Result<Vec<Version>> {
        let state = snapshot.namespace.lookup(id)?.and_then(|item| item.secret());
        match state.and_then(super::namespace::SecretState::head) {
            Some(head) => version::versions(&snapshot.archive, &head),
            None => Err(Error::not_found(format!("{id}: no such secret"))),
        }
    }

    /// The key that signed the newest commit of a secret.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Damaged`].
    pub fn head_writer(&self, snapshot: &Snapshot, id: ItemId) -> Result<Fingerprint> {
        let state = snapshot.namespace.lookup(id)?.and_then(|item| item.secret());
        match state.and_then(super::namespace::SecretState::head) {
            Some(head) => version::writer(&snapshot.archive, &head),
            None => Err(Error::not_found(format!("{id}: no such secret"))),
        }
    }

    /// Seals a value for a secret; nothing is written yet and no lock is held.
    ///
    /// # Errors
    /// Those of the cryptographic library.
    pub fn seal(&self, id: ItemId, data: &[u8]) -> Result<SealedValue> {
        let sealed = seal(&self.key, &id.to_string(), data, Padding::Value)?;
        let size = data.len() as u64;
        Ok(SealedValue { id, size, message: sealed.message, key: sealed.session_key })
    }

    /// The state after the last transaction not later than `when`.
    ///
    /// # Errors
    /// [`Kind::NotFound`]: the keynode is younger.
    pub fn snapshot_at(&self, when: Timestamp) -> Result<Arc<Snapshot>> {
        let present = self.snapshot();
        let mut reader = Reader::new(&present.archive, &self.key);
        match reader.find_date(present.log, when)? {
            Some((_, reference)) if reference == present.log => Ok(present),
            Some((commit, reference)) => {
                if let Some(known) = self.past.lock().iter().find(|known| known.log == reference) {
                    return Ok(known.clone());
                }
                let rebuilt = Arc::new(reader.rebuild(commit, reference)?);
                let mut past = self.past.lock();
                if self.snapshot().log == present.log {
                    past.insert(0, rebuilt.clone());
                    past.truncate(PAST);
                }
                Ok(rebuilt)
            }
            None => Err(Error::not_found("the keynode is younger than that")),
        }
    }

    /// Visits the log from a state back, newest first.
    ///
    /// # Errors
    /// [`Kind::Damaged`], and what `visit` says.
    pub fn log(&self, snapshot: &Snapshot, visit: &mut dyn FnMut(LogEntry) -> Result<ControlFlow<()>>) -> Result<()> {
        Reader::new(&snapshot.archive, &self.key).entries(snapshot.log, visit)
    }

    /// Rewrites the file without what nobody needs any more; no version goes.
    ///
    /// # Errors
    /// It cannot be written, or no file can be put in its place.
    pub fn compact(&self) -> Result<super::compaction::Compaction> {
        let mut transaction = self.begin()?;
        let compaction = transaction.compact_now()?;
        info!("{}: compacted from {} to {} bytes", self.path.display(), compaction.before, compaction.after);
        Ok(compaction)
    }
}

/// The line and the head's commit of a secret.
fn secret(snapshot: &Snapshot, id: ItemId) -> Result<(&SecretLine, CommitRef)> {
    let state = snapshot.namespace.lookup(id)?.and_then(|item| item.secret());
    match state.and_then(|secret| Some((&secret.line, secret.head?.commit))) {
        Some(found) => Ok(found),
        None => Err(Error::not_found(format!("{id}: no such secret"))),
    }
}

/// Whether a log neither contains what was seen nor was rebuilt from it.
pub(super) fn lacks(reader: &mut Reader<'_>, log: CommitRef, seen: &CommitRef) -> Result<bool> {
    Ok(*seen != log && !reader.contains(log, seen)? && !reader.is_repaired_from(log, &seen.oid)?)
}

/// What to say of it.
pub(super) fn older(seen: &Oid) -> String {
    format!("older than what was seen before, or a diverged copy: it lacks transaction {seen}")
}

/// The file lacks a transaction that was seen: it is an older one, or its end is damaged.
fn behind(archive: &Archive, what: String, hint: &'static str) -> Error {
    match archive.tail() {
        Tail::Clean => Error::new(Kind::Diverged, what).hint(hint),
        Tail::Unfinished { from, .. } => {
            Error::damaged(format!("a transaction that was whole before cannot be read any more at offset {from}"))
                .hint("pkfs fsck --repair saves what is left; put a sound copy back if there is one")
        }
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|e| Error::io("find", path, e))
}
