//! Reading a pack, version 2 without deltas (`gitformat-pack(5)`).

use std::fs::File;
use std::sync::Arc;

use super::index::Index;
use super::window::read_range;
use super::zlib::inflate;
use super::{MAX_OBJECT, Object, ObjectKind, Oid};
use crate::error::{Error, Kind, Result};

/// The trailer of a pack: its checksum.
pub(super) const TRAILER: u64 = 20;
/// What stands before the first entry.
pub(super) const HEADER: u64 = 12;

/// The first bytes of a pack of so many objects.
pub(super) fn header(count: u32) -> [u8; 12] {
    let [a, b, c, d] = count.to_be_bytes();
    [b'P', b'A', b'C', b'K', 0, 0, 0, 2, a, b, c, d]
}

/// The header of an entry: kind and inflated size.
pub(super) fn entry_header(kind: ObjectKind, size: u64) -> Vec<u8> {
    let low = |n: u64, mask: u8| u8::try_from(n & u64::from(mask)).unwrap_or_default();
    let mut rest = size >> 4;
    let mut out = vec![kind.number() << 4 | low(size, 15)];
    while rest > 0 {
        if let Some(last) = out.last_mut() {
            *last |= 0x80;
        }
        out.push(low(rest, 0x7f));
        rest >>= 7;
    }
    out
}

/// A pack in the file, with its index.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) entries: Entries,
    pub(super) index: Arc<Index>,
}

/// A pack's own member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    /// The name that the member carries.
    pub(super) name: Oid,
    pub(super) at: u64,
    pub(super) size: u64,
}

/// What the header of an entry says.
pub(super) struct EntryHeader {
    pub(super) kind: ObjectKind,
    /// The object's size, inflated.
    pub(super) size: u64,
    /// Where its compressed data starts, from the start of the pack.
    pub(super) data: u64,
}

impl Pack {
    /// Opens the pack in these bytes of the file, with the index that belongs to it.
    pub(super) fn open(file: &File, name: Oid, at: u64, size: u64, index: Index) -> Result<Self> {
        let wrong = |what: &str| Error::damaged(format!("objects/pack/pack-{name}.pack {what}"));
        if size < HEADER + TRAILER {
            return Err(wrong("is too short for a pack"));
        }
        let head = read_range(file, at, 12)?;
        let count = u32::try_from(index.count()).unwrap_or_default();
        if head != header(count) {
            return Err(wrong("is no pack of version 2 with as many objects as its index lists"));
        }
        Ok(Self { entries: Entries { name, at, size }, index: Arc::new(index) })
    }
}

impl Entries {
    /// Reads an entry's header and checks that it lies in the pack.
    pub(super) fn entry(&self, file: &File, offset: u64) -> Result<EntryHeader> {
        let wrong = |what: &str| Error::damaged(format!("pack-{}: the entry at {offset} {what}", self.name));
        let end = self.size - TRAILER;
        if offset < HEADER || offset >= end {
            return Err(wrong("lies outside the pack"));
        }
        let len = usize::try_from((end - offset).min(10)).unwrap_or_default();
        let bytes = read_range(file, self.at + offset, len)?;
        let first = bytes.first().copied().unwrap_or_default();
        let kind = match first >> 4 & 7 {
            1 => ObjectKind::Commit,
            2 => ObjectKind::Tree,
            3 => ObjectKind::Blob,
            6 | 7 => {
                return Err(Error::new(
                    Kind::Damaged,
                    format!(
                        "pack-{}: the entry at {offset} is a delta: git repacked this, and pkfs reads no deltas",
                        self.name
                    ),
                )
                .hint("repack with `git -c pack.window=0 repack -adf`, or take the keynode as pkfs wrote it"));
            }
            _ => return Err(wrong("is of a kind that a keynode does not hold")),
        };
        let mut size = u64::from(first & 15);
        let mut used = 1;
        let mut more = first & 0x80 != 0;
        let mut shift = 4;
        while more {
            let byte = bytes.get(used).copied().ok_or_else(|| wrong("has a header without end"))?;
            if shift > 32 {
                return Err(wrong("is too large"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            used += 1;
            more = byte & 0x80 != 0;
        }
        if size > MAX_OBJECT {
            return Err(wrong("is too large"));
        }
        Ok(EntryHeader { kind, size, data: offset + used as u64 })
    }

    /// Reads the object at this offset; also returns where its entry ends.
    pub(super) fn read(&self, file: &File, offset: u64) -> Result<(Object, u64)> {
        let header = self.entry(file, offset)?;
        let end = self.size - TRAILER;
        let mut step = header.size.saturating_add(64).clamp(512, 4096);
        let (data, used) = inflate(header.size, header.size.min(end.saturating_sub(header.data)), |done| {
            let from = header.data + done;
            let len = step.min(end.saturating_sub(from));
            step = 64 << 10;
            read_range(file, self.at + from, usize::try_from(len).unwrap_or_default())
        })?;
        if data.len() as u64 != header.size {
            return Err(Error::damaged("it is not as long as its header in the pack says"));
        }
        Ok((Object { kind: header.kind, data }, header.data + used))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::super::index::{IndexEntry, encode};
    use super::*;

    fn pack_of(entry: &[u8]) -> Result<(Pack, File)> {
        let mut file = tempfile::tempfile().unwrap();
        let index =
            encode(vec![IndexEntry { oid: Oid::from_bytes([3; 20]), crc: 0, offset: 12 }], Oid::from_bytes([1; 20]));
        let pack = [&header(1)[..], entry, &[0; 20]].concat();
        file.write_all(&[&index[..], &pack].concat()).unwrap();
        let index_size = index.len() as u64;
        let index = Index::open(&file, 0, index_size)?;
        Ok((Pack::open(&file, Oid::from_bytes([1; 20]), index_size, pack.len() as u64, index)?, file))
    }

    #[test]
    fn sizes_of_all_lengths() {
        for size in [0, 15, 16, 2047, 2048, 300_000, MAX_OBJECT] {
            let (pack, file) = pack_of(&entry_header(ObjectKind::Tree, size)).unwrap();
            let header = pack.entries.entry(&file, 12).unwrap();
            assert_eq!((header.kind, header.size), (ObjectKind::Tree, size));
        }
        let (pack, file) = pack_of(&entry_header(ObjectKind::Tree, MAX_OBJECT + 1)).unwrap();
        assert!(pack.entries.entry(&file, 12).is_err());
    }

    #[test]
    fn deltas_and_endless_headers_are_refused() {
        let (pack, file) = pack_of(&[0x60, 1, 2]).unwrap();
        assert!(pack.entries.entry(&file, 12).err().unwrap().message().contains("git repacked"));
        let (pack, file) = pack_of(&[0xbf; 9]).unwrap();
        assert!(pack.entries.entry(&file, 12).is_err());
        assert!(pack.entries.entry(&file, 0).is_err() && pack.entries.entry(&file, u64::MAX).is_err());
    }
}
