//! What a scan found: where each object, ref and slot stands. Cheap to clone and to extend.

use std::fs::File;
use std::sync::Arc;

use super::member::{Member, Name};
use super::object::{decode_loose, hash_object};
use super::pack::Pack;
use super::packed_refs::PackedRefs;
use super::window::read_range;
use super::{MAX_OBJECT, MAX_SLOT, Object, Oid};
use crate::error::{Error, Result};

/// A range of bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u64,
    pub(super) size: u64,
}

impl From<&Member> for Extent {
    fn from(member: &Member) -> Self {
        Self { at: member.data(), size: member.size }
    }
}

/// The content of an accepted state of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) packs: Arc<Vec<Pack>>,
    pub(super) packed_refs: Arc<PackedRefs>,
    pub(super) loose: imbl::HashMap<Oid, Extent>,
    pub(super) refs: imbl::OrdMap<String, Oid>,
    pub(super) slots: imbl::OrdMap<String, Extent>,
    /// Where `packed-refs`, the last member of the base, starts.
    pub(super) base_last: u64,
    /// Where the base ends.
    pub(super) base_end: u64,
    /// Where the header of the last accepted member starts.
    pub(super) last: u64,
    /// Where the accepted members end.
    pub(super) end: u64,
}

impl View {
    /// Takes in a member of the tail. `target` is what a ref's content says.
    pub(super) fn apply(&mut self, member: &Member, target: Option<Oid>) {
        match (&member.name, target) {
            (Name::Ref(name), Some(oid)) => {
                self.refs.insert(name.clone(), oid);
            }
            (Name::Slot(name), _) => {
                self.slots.insert(name.clone(), member.into());
            }
            (Name::Loose(oid), _) => {
                self.loose.insert(*oid, member.into());
            }
            _ => {}
        }
        self.last = member.at;
        self.end = member.next();
    }

    pub(super) fn reference(&self, name: &str) -> Option<Oid> {
        self.refs.get(name).copied().or_else(|| self.packed_refs.get(name))
    }

    pub(super) fn object(&self, file: &File, oid: &Oid) -> Result<Option<Object>> {
        match self.unchecked_object(file, oid)? {
            Some(object) if hash_object(object.kind, &object.data) != *oid => {
                Err(Error::damaged(format!("object {oid}: its content does not match its name")))
            }
            found => Ok(found),
        }
    }

    pub(super) fn unchecked_object(&self, file: &File, oid: &Oid) -> Result<Option<Object>> {
        let object = if let Some(extent) = self.loose.get(oid) {
            read_loose(file, *extent)
        } else {
            let Some((pack, offset)) = self.find_packed(file, oid)? else { return Ok(None) };
            pack.entries.read(file, offset).map(|(object, _)| object)
        };
        object.map(Some).map_err(|e| e.at(format_args!("object {oid}")))
    }

    pub(super) fn contains(&self, file: &File, oid: &Oid) -> Result<bool> {
        Ok(self.loose.contains_key(oid) || self.find_packed(file, oid)?.is_some())
    }

    /// The pack that lists this object, and where in it.
    pub(super) fn find_packed(&self, file: &File, oid: &Oid) -> Result<Option<(&Pack, u64)>> {
        for pack in self.packs.iter() {
            if let Some(offset) = pack.index.find(file, oid)? {
                return Ok(Some((pack, offset)));
            }
        }
        Ok(None)
    }
}

/// Reads a loose object without comparing it with its name.
pub(super) fn read_loose(file: &File, extent: Extent) -> Result<Object> {
    // Deflate adds at most five bytes for each 16 KiB.
    if extent.size > MAX_OBJECT + MAX_OBJECT / 1024 {
        return Err(Error::damaged("it is too large"));
    }
    // Most objects come whole with the first piece.
    let mut step = 4096;
    decode_loose(extent.size, |done| {
        let len = step.min(extent.size.saturating_sub(done));
        step = 64 << 10;
        read_range(file, extent.at + done, usize::try_from(len).unwrap_or_default())
    })
}

/// Reads a whole small member.
pub(super) fn read_slot(file: &File, extent: Extent) -> Result<Vec<u8>> {
    let len = usize::try_from(extent.size.min(MAX_SLOT)).unwrap_or_default();
    read_range(file, extent.at, len)
}
