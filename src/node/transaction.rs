//! Changing a keynode: edits of a working tree, then one signed commit of the log, on disk before it is acknowledged.

use std::collections::HashMap;
use std::sync::Arc;

use log::warn;
use parking_lot::MutexGuard;

use super::attributes::Attributes;
use super::built::Built;
use super::change::{Change, SecretLine, ShareChange};
use super::id::{ItemId, Session};
use super::keynode::{Keynode, ReadOnly, SealedValue};
use super::name::{ItemPath, Name};
use super::namespace::{Item, Namespace};
use super::share::{ShareName, Shares};
use super::snapshot::{SHARES, Snapshot};
use crate::archive::{Archive, Batch, WriteLock};
use crate::crypto::{Padding, seal};
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// The exclusive right to write, and what is to be written.
///
/// Each edit is checked against the working tree as the system call would be; nothing is visible or on disk before
/// [`Transaction::commit`]. Dropped without it, nothing has happened.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) keynode: &'a Keynode,
    pub(super) lock: WriteLock,
    pub(super) base: Arc<Snapshot>,
    pub(super) slots: Vec<(String, Vec<u8>)>,
    pub(super) removed_slots: Vec<String>,
    pub(super) namespace: Namespace,
    pub(super) date: Timestamp,
    pub(super) changes: Vec<Change>,
    pub(super) values: HashMap<ItemId, Pending>,
    /// Other shares, sealed.
    pub(super) shares: Option<Vec<u8>>,
    _publishing: MutexGuard<'a, ()>,
    _writing: MutexGuard<'a, ()>,
}

/// A new value and the session that wrote it.
#[derive(Debug)]
pub(super) struct Pending {
    pub message: Vec<u8>,
    pub session: Session,
}

impl Keynode {
    /// Takes the write lock and sees the newest state; a torn transaction at the end of the file is cut off and kept aside.
    ///
    /// # Errors
    /// The keynode is read-only, damaged, or was replaced by an older copy.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        if let Some(ReadOnly { kind, why }) = &self.read_only {
            let error = Error::new(*kind, format!("{}: nothing can be written: {why}", self.path.display()));
            let damaged = *kind == Kind::Damaged;
            return Err(if damaged {
                error.hint("`pkfs fsck KEYNODE --repair NEW` saves what is left")
            } else {
                error
            });
        }
        let writing = self.writing.lock();
        let present = self.snapshot();
        let mut lock = WriteLock::acquire_from(&present.archive)?;
        let publishing = self.publishing.lock();
        // What was taken in while this waited is not to be read again.
        let present = self.snapshot();
        // First, so that nothing is cut off that was seen whole.
        let present = self.adopt(&present, lock.archive())?;
        self.recover(&mut lock)?;
        let base = self.adopt(&present, lock.archive())?;
        Ok(Transaction {
            keynode: self,
            lock,
            namespace: base.namespace.clone(),
            base,
            slots: Vec::new(),
            removed_slots: Vec::new(),
            date: Timestamp::now(),
            changes: Vec::new(),
            values: HashMap::new(),
            shares: None,
            _publishing: publishing,
            _writing: writing,
        })
    }
}

impl Transaction<'_> {
    /// The tree as edited so far.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// When this transaction is.
    pub fn date(&self) -> Timestamp {
        self.date
    }

    /// Whether nothing was edited.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn create_directory(&mut self, parent: ItemId, name: &Name, attributes: Attributes) -> Result<ItemId> {
        let id = ItemId::random();
        self.create_directory_as(id, parent, name, attributes)?;
        Ok(id)
    }

    /// Makes a directory with an id that was chosen before.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn create_directory_as(
        &mut self,
        id: ItemId,
        parent: ItemId,
        name: &Name,
        attributes: Attributes,
    ) -> Result<()> {
        let path = self.path(parent, name)?;
        self.apply(vec![Change::Directory { path, id, attributes }])
    }

    /// Makes a secret. An id that the keynode knows as a deleted secret's goes on with its history.
    ///
    /// # Errors
    /// As open(2) with `O_CREAT | O_EXCL`.
    pub fn create_secret(
        &mut self,
        parent: ItemId,
        name: &Name,
        attributes: Attributes,
        value: SealedValue,
        session: Session,
    ) -> Result<()> {
        let path = self.path(parent, name)?;
        let id = value.id;
        let secret = self.line(&value)?;
        self.apply(vec![Change::Secret { id, attributes, secret }, Change::Name { path, id }])?;
        self.pend(value, session);
        Ok(())
    }

    /// Gives a secret a new value.
    ///
    /// # Errors
    /// [`Kind::NotFound`]: there is no such secret.
    pub fn write(&mut self, value: SealedValue, session: Session, mtime: Timestamp) -> Result<()> {
        let attributes = self.secret_attributes(value.id)?;
        self.write_as(value, session, Attributes { mtime, ctime: self.date, ..attributes })
    }

    /// Gives a secret a new value and these attributes.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn write_as(&mut self, value: SealedValue, session: Session, attributes: Attributes) -> Result<()> {
        let id = value.id;
        self.secret_attributes(id)?;
        let secret = self.line(&value)?;
        self.apply(vec![Change::Secret { id, attributes, secret }])?;
        self.pend(value, session);
        Ok(())
    }

    /// Makes a symlink.
    ///
    /// # Errors
    /// As symlink(2).
    pub fn create_symlink(
        &mut self,
        id: ItemId,
        parent: ItemId,
        name: &Name,
        target: &[u8],
        attributes: Attributes,
    ) -> Result<()> {
        if target.is_empty() || target.len() > 4095 || target.contains(&0) {
            return Err(Error::new(Kind::Invalid, "a symlink's target has 1 to 4095 bytes, none of them NUL"));
        }
        let path = self.path(parent, name)?;
        self.apply(vec![Change::Symlink { id, attributes, target: target.into() }, Change::Name { path, id }])
    }

    /// Makes a named pipe.
    ///
    /// # Errors
    /// As mkfifo(3).
    pub fn create_fifo(&mut self, id: ItemId, parent: ItemId, name: &Name, attributes: Attributes) -> Result<()> {
        let path = self.path(parent, name)?;
        self.apply(vec![Change::Fifo { id, attributes }, Change::Name { path, id }])
    }

    /// Makes a socket's name.
    ///
    /// # Errors
    /// As mknod(2).
    pub fn create_socket(&mut self, id: ItemId, parent: ItemId, name: &Name, attributes: Attributes) -> Result<()> {
        let path = self.path(parent, name)?;
        self.apply(vec![Change::Socket { id, attributes }, Change::Name { path, id }])
    }

    /// Gives an item one more name.
    ///
    /// # Errors
    /// As link(2); a directory has one name only.
    pub fn link(&mut self, id: ItemId, parent: ItemId, name: &Name) -> Result<()> {
        match self.namespace.lookup(id)? {
            Some(item) if item.is_directory() => {
                Err(Error::new(Kind::NotPermitted, format!("{name}: a directory has one name only")))
            }
            Some(_) => {
                let path = self.path(parent, name)?;
                self.apply(vec![Change::Name { path, id }])
            }
            None => Err(Error::not_found(format!("there is no item {id}"))),
        }
    }

    /// Takes a name away from anything but a directory. A secret without names keeps its history.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn unlink(&mut self, parent: ItemId, name: &Name) -> Result<()> {
        let path = self.path(parent, name)?;
        match self.namespace.child(parent, name.as_bytes()) {
            Some(item) if item.is_directory() => Err(Error::new(Kind::IsDirectory, format!("{path}: a directory"))),
            _ => self.apply(vec![Change::Remove { path }]),
        }
    }

    /// Takes the only name of a secret away and drops its history with it: for what was never meant to last.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn forget(&mut self, parent: ItemId, name: &Name) -> Result<()> {
        let path = self.path(parent, name)?;
        self.apply(vec![Change::Forget { path }])
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As rmdir(2).
    pub fn remove_directory(&mut self, parent: ItemId, name: &Name) -> Result<()> {
        let path = self.path(parent, name)?;
        match self.namespace.child(parent, name.as_bytes()) {
            Some(item) if !item.is_directory() => {
                Err(Error::new(Kind::NotDirectory, format!("{path}: not a directory")))
            }
            _ => self.apply(vec![Change::Remove { path }]),
        }
    }

    /// Moves a name; what the new name led to is replaced.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&mut self, parent: ItemId, name: &Name, to_parent: ItemId, to_name: &Name) -> Result<()> {
        let (from, to) = (self.path(parent, name)?, self.path(to_parent, to_name)?);
        let same = |item: &Item| self.namespace.child(to_parent, to_name.as_bytes()).is_some_and(|to| to.id == item.id);
        if self.namespace.child(parent, name.as_bytes()).is_some_and(same) {
            return Ok(());
        }
        self.fits(&from, &to)?;
        self.apply(vec![Change::Move { from, to }])
    }

    /// Exchanges two names.
    ///
    /// # Errors
    /// As renameat2(2) with `RENAME_EXCHANGE`.
    pub fn exchange(&mut self, parent: ItemId, name: &Name, to_parent: ItemId, to_name: &Name) -> Result<()> {
        let (one, other) = (self.path(parent, name)?, self.path(to_parent, to_name)?);
        self.fits(&one, &other)?;
        self.fits(&other, &one)?;
        self.apply(vec![Change::Exchange { one, other }])
    }

    /// Sets mode, owner and times.
    ///
    /// # Errors
    /// There is no such item.
    pub fn set_attributes(&mut self, id: ItemId, attributes: Attributes) -> Result<()> {
        let change = if id == ItemId::ROOT {
            Change::Directory { path: ItemPath::root(), id, attributes }
        } else {
            Change::Attributes { id, attributes }
        };
        self.apply(vec![change])
    }

    /// Puts other shares in place of the present ones; the log tells what was done to which.
    ///
    /// # Errors
    /// Those of the cryptographic library.
    pub fn set_shares(&mut self, shares: &Shares, what: ShareChange, name: &ShareName) -> Result<()> {
        self.shares = Some(seal(&self.keynode.key, SHARES, &shares.write(), Padding::Change)?.message);
        self.note(Change::Share { what, name: name.clone() });
        Ok(())
    }

    /// The shares before this transaction.
    ///
    /// # Errors
    /// As for [`Keynode::shares`].
    pub fn shares(&self) -> Result<Shares> {
        self.keynode.shares(&self.base).map(|shares| (*shares).clone())
    }

    /// A line for the log that changes nothing in the tree.
    pub(super) fn note(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The slots as this transaction leaves them.
    pub(super) fn slots(&self) -> Vec<String> {
        let kept = self.base.archive.slots().into_iter().filter(|name| !self.removed_slots.contains(name));
        let mut names: Vec<String> = kept.chain(self.slots.iter().map(|(name, _)| name.clone())).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn put_slot(&mut self, name: String, sealed: Vec<u8>) {
        self.slots.push((name, sealed));
    }

    pub(super) fn remove_slot(&mut self, name: &str) {
        self.removed_slots.push(name.to_owned());
    }

    /// Signs, appends and syncs; then this is the keynode's state.
    ///
    /// # Errors
    /// The file cannot be written: then nothing has changed. [`Kind::NoSpace`] may succeed later.
    pub fn commit(mut self) -> Result<Arc<Snapshot>> {
        if self.is_empty() {
            return Ok(self.base);
        }
        let built = self.build()?;
        let bytes: u64 = built.objects.iter().map(|object| object.data.len() as u64).sum();
        if outgrown(&self.base.archive, bytes) && self.lock.can_compact().is_ok() {
            match self.rewrite(&built) {
                Ok(snapshot) => return Ok(snapshot),
                // It can be written all the same.
                Err(error) => warn!("{}: not compacted: {error}", self.keynode.path.display()),
            }
        }
        let Built { objects, references, mut snapshot } = built;
        let slots = std::mem::take(&mut self.slots);
        snapshot.archive = self.lock.append(Batch { slots, objects, refs: references })?;
        let mut snapshot = self.acknowledge(snapshot);
        if outgrown(&snapshot.archive, 0) && self.lock.can_compact().is_ok() {
            match self.compact(&snapshot) {
                Ok(compacted) => snapshot = compacted,
                // The transaction is on disk; a file that is larger than need be is no reason to fail it.
                Err(error) => warn!("{}: not compacted: {error}", self.keynode.path.display()),
            }
        }
        Ok(snapshot)
    }

    /// As [`Self::commit`], in a rewritten file that holds nothing of what this transaction removed.
    pub(super) fn commit_and_compact(mut self) -> Result<()> {
        self.lock.can_compact()?;
        let built = self.build()?;
        self.rewrite(&built).map(drop)
    }

    /// Makes a state on disk the present one.
    pub(super) fn acknowledge(&mut self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        self.keynode.publish(snapshot.clone());
        self.keynode.memory.remember(&self.keynode.key.fingerprint(), &snapshot.log);
        self.base = snapshot.clone();
        snapshot
    }

    fn path(&self, parent: ItemId, name: &Name) -> Result<ItemPath> {
        let directory = match self.namespace.item(parent) {
            Some(item) if item.is_directory() => self.namespace.path_of(parent),
            Some(_) => return Err(Error::new(Kind::NotDirectory, format!("{name}: its parent is not a directory"))),
            None => None,
        };
        let path = directory.ok_or_else(|| Error::not_found(format!("{name}: its directory is gone")))?;
        let path = path.join(name.clone());
        if path.is_reserved() {
            return Err(Error::new(
                Kind::NotPermitted,
                format!("{name}: the name is reserved for what a mount shows there"),
            ));
        }
        if path.length() > ItemPath::LONGEST {
            return Err(Error::new(Kind::NameTooLong, format!("{name}: the path is too long")));
        }
        Ok(path)
    }

    /// Whether all that is below one path may stand below another: what a checkpoint holds has a length that can be read.
    fn fits(&self, from: &ItemPath, to: &ItemPath) -> Result<()> {
        if to.length() > from.length()
            && let Ok(item) = self.namespace.resolve(from)
            && to.length() + self.namespace.longest_below(item.id) > ItemPath::LONGEST
        {
            return Err(Error::new(Kind::NameTooLong, "the paths below it would be too long"));
        }
        Ok(())
    }

    /// Applies lines to the tree, all or none.
    fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        let mut namespace = self.namespace.clone();
        for change in &changes {
            namespace.apply(change, Some(self.date))?;
        }
        self.namespace = namespace;
        self.changes.extend(changes);
        Ok(())
    }

    /// The line of a secret with a new value: who may write it stays.
    fn line(&self, value: &SealedValue) -> Result<SecretLine> {
        let present = self.namespace.lookup(value.id)?.and_then(|item| item.secret()).map(|secret| &secret.line);
        Ok(SecretLine {
            size: value.size,
            origin: present.and_then(|line| line.origin.clone()),
            writers: present.map_or_else(|| Vec::new().into(), |line| line.writers.clone()),
            key: value.key.clone(),
        })
    }

    fn secret_attributes(&self, id: ItemId) -> Result<Attributes> {
        let item = self.namespace.lookup(id)?.filter(|item| item.secret().is_some());
        item.map(|item| item.attributes).ok_or_else(|| Error::not_found(format!("{id}: no such secret")))
    }

    fn pend(&mut self, value: SealedValue, session: Session) {
        self.values.insert(value.id, Pending { message: value.message, session });
    }
}

/// Whether the tail has grown so much that rewriting the file pays: beyond the base and 4 MiB.
fn outgrown(archive: &Archive, more: u64) -> bool {
    let sizes = archive.sizes();
    sizes.tail_bytes + more > sizes.base_bytes.max(4 << 20)
}
