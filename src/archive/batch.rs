//! What one transaction appends, and the bytes that it becomes.

use std::collections::HashSet;

use super::member::{BLOCK_LEN, Name, is_ref};
use super::object::{encode_loose, hash_object};
use super::{MAX_OBJECT, MAX_SLOT, NewObject, ObjectKind, Oid};
use crate::error::{Error, Kind, Result};

/// What one transaction appends, in the order in which it stands in the file.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Unlock slots: `passphrase` or a fingerprint, and the message.
    pub slots: Vec<(String, Vec<u8>)>,
    /// Objects; those that are in the file already are left out.
    pub objects: Vec<NewObject>,
    /// Refs by their full names. The last one closes the transaction: `refs/heads/keynode` or
    /// `refs/heads/inbox/<commit>`, and the commit that it names is among the objects.
    pub refs: Vec<(String, Oid)>,
}

/// The two zero blocks that end an archive.
pub(super) const END: [u8; 2 * BLOCK_LEN] = [0; 2 * BLOCK_LEN];

impl Batch {
    /// The bytes of its members, without the end of the archive. `present` tells what need not be written.
    pub(super) fn encode(self, present: impl Fn(&Oid) -> Result<bool>) -> Result<Vec<u8>> {
        let closing = self.check()?;
        if present(&closing)? {
            return Err(Error::new(Kind::Exists, format!("the transaction {closing} is in the keynode already")));
        }
        let mut out = Vec::new();
        for (name, content) in &self.slots {
            member(&mut out, &slot_name(name, content)?, content)?;
        }
        let mut written = HashSet::new();
        for object in self.objects {
            if written.insert(object.oid) && !present(&object.oid)? {
                member(&mut out, &Name::Loose(object.oid), &encode_loose(object.kind, &object.data)?)?;
            }
        }
        for (name, oid) in &self.refs {
            member(&mut out, &Name::Ref(name.clone()), format!("{oid}\n").as_bytes())?;
        }
        Ok(out)
    }

    /// The commit that closes it, if the batch is a proper transaction.
    fn check(&self) -> Result<Oid> {
        let invalid = |what: String| Error::new(Kind::Invalid, what);
        if let Some((name, _)) = self.refs.iter().find(|(name, _)| !is_ref(name)) {
            return Err(invalid(format!("{name} is no ref of a keynode")));
        }
        if let Some(object) = self.objects.iter().find(|o| o.data.len() as u64 > MAX_OBJECT) {
            return Err(too_large(&object.oid));
        }
        let closing = self.refs.last().filter(|(name, _)| Name::Ref(name.clone()).closes());
        let (name, commit) = closing.ok_or_else(|| invalid("the last ref does not close the transaction".into()))?;
        if let Some(wrong) = self.objects.iter().find(|o| hash_object(o.kind, &o.data) != o.oid) {
            return Err(invalid(format!("the content of object {} does not match its name", wrong.oid)));
        }
        if self.refs.iter().rev().skip(1).any(|(name, _)| Name::Ref(name.clone()).closes()) {
            return Err(invalid("a ref within the transaction closes it".into()));
        }
        if name.strip_prefix(super::INBOX_PREFIX).is_some_and(|c| c != commit.to_string()) {
            return Err(invalid(format!("{name} does not name its own commit")));
        }
        if !self.objects.iter().any(|o| o.oid == *commit && o.kind == ObjectKind::Commit) {
            return Err(invalid("the commit that closes the transaction is not part of it".into()));
        }
        Ok(*commit)
    }
}

pub(super) fn too_large(oid: &Oid) -> Error {
    Error::new(Kind::TooLarge, format!("object {oid} is larger than {} MiB", MAX_OBJECT >> 20))
}

/// The member that a slot becomes, if its name and size are right.
pub(super) fn slot_name(name: &str, content: &[u8]) -> Result<Name> {
    if content.len() as u64 > MAX_SLOT {
        return Err(Error::new(
            Kind::TooLarge,
            format!("the unlock slot {name} is larger than {} MiB", MAX_SLOT >> 20),
        ));
    }
    Name::parse(&format!("unlock/{name}.pgp"))
        .ok_or_else(|| Error::new(Kind::Invalid, format!("{name} is neither `passphrase` nor a fingerprint")))
}

/// Adds a member: header, content, and zeros up to a whole block.
pub(super) fn member(out: &mut Vec<u8>, name: &Name, content: &[u8]) -> Result<()> {
    out.extend(name.header(content.len() as u64)?);
    out.extend(content);
    out.resize(out.len().next_multiple_of(BLOCK_LEN), 0);
    Ok(())
}
