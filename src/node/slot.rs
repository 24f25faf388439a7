//! Unlock slots: the ways to the node's key that the file itself carries.

use std::path::Path;

use super::change::Change;
use super::keynode::{Keynode, OpenOptions};
use super::log::REFERENCE;
use super::objects::unproven_commit;
use crate::archive::{Archive, Salvage};
use crate::crypto::slot::{open_with_key, open_with_passphrase, recipients, seal_for_certificate, seal_for_passphrase};
use crate::crypto::{Certificate, Fingerprint, Locked, NodeKey, UserKey, gpg};
use crate::error::{Error, Kind, Result};

/// The name of the passphrase slot.
pub(super) const PASSPHRASE: &str = "passphrase";

const REPAIR: &str = "`pkfs fsck KEYNODE --repair NEW` saves what is left";

/// A slot as it can be seen without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// `passphrase`, or the fingerprint of a certificate.
    pub name: String,
    /// The key ids that it is encrypted to.
    pub recipients: Vec<String>,
}

/// A keynode's file, opened but locked.
#[derive(Debug)]
pub struct SealedKeynode {
    /// `None`: too damaged to be opened.
    archive: Option<Archive>,
    slots: Vec<(String, Vec<u8>)>,
}

impl SealedKeynode {
    /// Opens a file; nothing is decrypted.
    ///
    /// # Errors
    /// It cannot be read, or is not a keynode.
    pub fn open(path: &Path) -> Result<Self> {
        let archive = Archive::open(path)?;
        let mut slots = Vec::new();
        for name in archive.slots() {
            slots.extend(archive.slot(&name)?.map(|slot| (name, slot)));
        }
        Ok(Self { archive: Some(archive), slots })
    }

    /// What can be unlocked of a file that cannot be opened any more, so that it can be repaired.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub fn open_damaged(path: &Path) -> Result<Self> {
        Ok(Self { archive: None, slots: Salvage::search(path)?.slots() })
    }

    /// The ways to unlock it.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub fn slots(&self) -> Result<Vec<Slot>> {
        read_slots(self.slots.clone())
    }

    /// Whether a passphrase can unlock it.
    pub fn has_passphrase(&self) -> bool {
        self.slot(PASSPHRASE).is_some()
    }

    fn slot(&self, wanted: &str) -> Option<&[u8]> {
        self.slots.iter().find(|(name, _)| name == wanted).map(|(_, slot)| slot.as_slice())
    }

    /// The slots that keys open.
    fn key_slots(&self) -> impl Iterator<Item = &[u8]> {
        self.slots.iter().filter(|(name, _)| name != PASSPHRASE).map(|(_, slot)| slot.as_slice())
    }

    fn archive(&self) -> Result<&Archive> {
        self.archive.as_ref().ok_or_else(|| Error::damaged("the keynode is too damaged to be opened").hint(REPAIR))
    }

    /// The fingerprint that the file claims for its node: good for finding a key, to be believed only after unlocking.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub fn claimed_fingerprint(&self) -> Result<Fingerprint> {
        let archive = self.archive()?;
        let oid = archive.reference(REFERENCE).ok_or_else(|| Error::damaged("the keynode has no log"))?;
        Ok(unproven_commit(archive, &oid)?.0.writer)
    }

    /// Unlocks it with a passphrase.
    ///
    /// # Errors
    /// [`Kind::Unlock`] for a wrong one.
    pub fn unlock_with_passphrase(&self, passphrase: &[u8]) -> Result<NodeKey> {
        match self.slot(PASSPHRASE) {
            Some(slot) => open_with_passphrase(slot, passphrase),
            None => Err(Error::new(Kind::Unlock, "no passphrase unlocks this keynode")
                .hint("give its key with --key FILE; `pkfs slot list` shows the other ways")),
        }
    }

    /// Unlocks it with the node's own key, or one that a slot is encrypted to.
    ///
    /// # Errors
    /// [`Kind::Unlock`] where it is neither.
    pub fn unlock_with_key(&self, key: &UserKey) -> Result<NodeKey> {
        match self.claimed_fingerprint() {
            Ok(claimed) if claimed == key.fingerprint() => return key.as_node_key(),
            // Too damaged to tell whose it is; what it signed will show.
            Err(_) => {
                if let Ok(node) = key.as_node_key() {
                    return Ok(node);
                }
            }
            Ok(_) => {}
        }
        if let Some(node) = self.key_slots().find_map(|slot| open_with_key(slot, key).ok()) {
            return Ok(node);
        }
        Err(Error::new(Kind::Unlock, format!("the key {} does not unlock this keynode", key.fingerprint()))
            .hint("`pkfs slot list` shows which keys do"))
    }

    /// Unlocks it with a key that gpg-agent holds; `None` where it holds none that a slot is encrypted to.
    ///
    /// # Errors
    /// gpg could not decrypt.
    pub fn unlock_with_gpg(&self) -> Result<Option<NodeKey>> {
        for slot in self.key_slots() {
            if gpg::has_secret_for(&recipients(slot)?) {
                return gpg::open_with_gpg(slot).map(Some);
            }
        }
        Ok(None)
    }

    /// Unlocks it with the key that `pkfs unlock` left in the kernel's keyring; `None` where there is none.
    ///
    /// # Errors
    /// What is there is not a key.
    pub fn unlock_with_keyring(&self) -> Result<Option<NodeKey>> {
        super::keyring::find(&self.claimed_fingerprint()?)
    }

    /// Takes the node's key out of the kernel's keyring; says whether there was one.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn forget_in_keyring(&self) -> Result<bool> {
        super::keyring::remove(&self.claimed_fingerprint()?)
    }

    /// Reads the log with the unlocked key.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: it does not verify; [`Kind::Diverged`]: another node, or older than before.
    pub fn into_keynode(self, key: NodeKey, options: &OpenOptions) -> Result<Keynode> {
        Keynode::open(self.archive()?, key, options)
    }
}

pub(super) fn slots(archive: &Archive) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for name in archive.slots() {
        slots.extend(archive.slot(&name)?.map(|slot| (name, slot)));
    }
    read_slots(slots)
}

fn read_slots(slots: Vec<(String, Vec<u8>)>) -> Result<Vec<Slot>> {
    let read = |(name, bytes): (String, Vec<u8>)| {
        let recipients = recipients(&bytes).map_err(|e| e.at(format!("slot {name}")))?;
        Ok(Slot { name, recipients })
    };
    slots.into_iter().map(read).collect()
}

impl Keynode {
    /// The slots as they stand.
    ///
    /// # Errors
    /// [`Kind::Damaged`].
    pub fn slots(&self) -> Result<Vec<Slot>> {
        slots(&self.snapshot().archive)
    }

    /// Lets a person or machine unlock the keynode with its own key.
    ///
    /// # Errors
    /// The certificate cannot be encrypted to, or has a slot already.
    pub fn add_slot_certificate(&self, certificate: &Certificate) -> Result<()> {
        let name = certificate.fingerprint().to_string();
        let sealed = seal_for_certificate(&self.key, certificate)?;
        self.add_slot(name, sealed)
    }

    /// Lets a passphrase unlock the keynode.
    ///
    /// # Errors
    /// There is a passphrase already.
    pub fn add_slot_passphrase(&self, passphrase: &Locked) -> Result<()> {
        self.add_slot(PASSPHRASE.to_owned(), seal_for_passphrase(&self.key, passphrase)?)
    }

    fn add_slot(&self, name: String, sealed: Vec<u8>) -> Result<()> {
        let mut transaction = self.begin()?;
        if transaction.slots().contains(&name) {
            return Err(Error::new(Kind::Exists, format!("there is a slot {name} already"))
                .hint(if name == PASSPHRASE { "`pkfs passwd` changes it" } else { "nothing has to be done" }));
        }
        transaction.note(Change::Slot { added: true, name: name.clone() });
        transaction.put_slot(name, sealed);
        transaction.commit().map(drop)
    }

    /// Replaces the passphrase; the file is rewritten, so that the old slot is not in it any more.
    ///
    /// # Errors
    /// No passphrase unlocks this keynode, or it cannot be rewritten.
    pub fn change_passphrase(&self, new: &Locked) -> Result<()> {
        let sealed = seal_for_passphrase(&self.key, new)?;
        let mut transaction = self.begin()?;
        if !transaction.slots().iter().any(|name| name == PASSPHRASE) {
            return Err(Error::not_found("no passphrase unlocks this keynode")
                .hint("`pkfs slot add KEYNODE --passphrase` adds one"));
        }
        transaction.note(Change::Slot { added: false, name: PASSPHRASE.to_owned() });
        transaction.note(Change::Slot { added: true, name: PASSPHRASE.to_owned() });
        transaction.put_slot(PASSPHRASE.to_owned(), sealed);
        transaction.commit_and_compact()
    }

    /// Removes a slot; the file is rewritten. Whoever had it may have kept the node's key.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or the file cannot be rewritten: then nothing is removed.
    pub fn remove_slot(&self, name: &str) -> Result<()> {
        let mut transaction = self.begin()?;
        if !transaction.slots().iter().any(|slot| slot == name) {
            return Err(Error::not_found(format!("there is no slot {name}")).hint("`pkfs slot list` shows them"));
        }
        transaction.note(Change::Slot { added: false, name: name.to_owned() });
        transaction.remove_slot(name);
        transaction.commit_and_compact()
    }

    /// Leaves the node's key in the kernel's keyring for so many seconds.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn remember_in_keyring(&self, seconds: u32) -> Result<()> {
        super::keyring::add(&self.key, seconds)
    }
}
