//! The index of a pack, version 2 (`gitformat-pack(5)`): names in order, checksums, offsets.
//!
//! Only the fan-out table is kept in memory; a look-up reads what it needs.

use std::fs::File;

use sha1collisiondetection::Sha1CD;

use super::Oid;
use super::object::finish;
use super::window::read_range;
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
const FANOUT: u64 = 8 + 256 * 4;
/// So many names are read at once; more are halved first.
const RUN: u64 = 256;
/// The most objects that an index may list: it bounds what a check or a compaction keeps in memory.
const MAX_COUNT: u64 = 1 << 24;

/// One object as an index lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) oid: Oid,
    /// Of the entry's bytes in the pack.
    pub(super) crc: u32,
    /// From the start of the pack.
    pub(super) offset: u64,
}

/// An index in the file.
#[derive(Debug)]
pub(super) struct Index {
    at: u64,
    size: u64,
    fanout: Vec<u32>,
}

impl Index {
    /// Opens the index in these bytes of the file and checks its measures.
    pub(super) fn open(file: &File, at: u64, size: u64) -> Result<Self> {
        let wrong = || Error::damaged("is no index of a pack as git writes it");
        if size < FANOUT + 40 {
            return Err(wrong());
        }
        let head = read_range(file, at, 8 + 256 * 4)?;
        let fanout: Vec<u32> =
            head.iter().skip(8).copied().collect::<Vec<_>>().chunks_exact(4).filter_map(be32).collect();
        let index = Self { at, size, fanout };
        let count = index.count();
        let large = size.checked_sub(FANOUT + 40 + count * 28).ok_or_else(wrong)?;
        if !head.starts_with(&MAGIC)
            || !index.fanout.is_sorted()
            || large % 8 != 0
            || large / 8 > count
            || count > MAX_COUNT
        {
            return Err(wrong());
        }
        Ok(index)
    }

    /// How many objects it lists.
    pub(super) fn count(&self) -> u64 {
        self.fanout.last().copied().map_or(0, u64::from)
    }

    /// Where it starts in the file.
    pub(super) const fn start(&self) -> u64 {
        self.at
    }

    /// Where it ends in the file.
    pub(super) const fn end(&self) -> u64 {
        self.at + self.size
    }

    const fn names(&self) -> u64 {
        self.at + FANOUT
    }

    fn crcs(&self) -> u64 {
        self.names() + self.count() * 20
    }

    fn offsets(&self) -> u64 {
        self.crcs() + self.count() * 4
    }

    fn large_offsets(&self) -> u64 {
        self.offsets() + self.count() * 4
    }

    /// Where in the pack this object starts.
    pub(super) fn find(&self, file: &File, oid: &Oid) -> Result<Option<u64>> {
        let first = usize::from(oid.as_bytes().first().copied().unwrap_or_default());
        let bound = |n: usize| self.fanout.get(n).copied().map_or(0, u64::from);
        let (mut low, mut high) = (first.checked_sub(1).map_or(0, bound), bound(first));
        while high - low > RUN {
            let middle = low + (high - low) / 2;
            let name = read_range(file, self.names() + middle * 20, 20)?;
            if *name <= oid.as_bytes()[..] {
                low = middle;
            } else {
                high = middle;
            }
        }
        let run = usize::try_from((high - low) * 20).unwrap_or_default();
        let names = read_range(file, self.names() + low * 20, run)?;
        match names.chunks_exact(20).position(|name| name == oid.as_bytes()) {
            Some(n) => self.offset(file, low + n as u64).map(Some),
            None => Ok(None),
        }
    }

    /// The offset of the n-th object.
    fn offset(&self, file: &File, n: u64) -> Result<u64> {
        let word = read_range(file, self.offsets() + n * 4, 4)?;
        let word = be32(&word).unwrap_or_default();
        if word >> 31 == 0 {
            return Ok(u64::from(word));
        }
        let at = self.large_offsets() + u64::from(word & 0x7fff_ffff) * 8;
        if at + 8 > self.at + self.size - 40 {
            return Err(Error::damaged("an index points outside itself"));
        }
        let bytes = read_range(file, at, 8)?;
        Ok(bytes.first_chunk().copied().map_or(0, u64::from_be_bytes))
    }

    /// All that it lists, in the order of names.
    pub(super) fn entries(&self, file: &File) -> Result<Vec<IndexEntry>> {
        let count = usize::try_from(self.count()).map_err(|e| Error::damaged("an index is too large").because(e))?;
        let names = read_range(file, self.names(), count * 20)?;
        let crcs = read_range(file, self.crcs(), count * 4)?;
        let words = read_range(file, self.offsets(), count * 4)?;
        let mut entries = Vec::with_capacity(count);
        for (n, ((name, crc), word)) in
            names.chunks_exact(20).zip(crcs.chunks_exact(4)).zip(words.chunks_exact(4)).enumerate()
        {
            let (Some(name), Some(crc), Some(word)) = (name.first_chunk(), be32(crc), be32(word)) else { continue };
            let offset = if word >> 31 == 0 { u64::from(word) } else { self.offset(file, n as u64)? };
            entries.push(IndexEntry { oid: Oid::from_bytes(*name), crc, offset });
        }
        Ok(entries)
    }

    /// Its two trailers: the pack's checksum, and its own.
    pub(super) fn trailers(&self, file: &File) -> Result<(Oid, Oid)> {
        let bytes = read_range(file, self.at + self.size - 40, 40)?;
        match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(pack), Some(own)) => Ok((Oid::from_bytes(*pack), Oid::from_bytes(*own))),
            _ => Err(Error::damaged("an index ends too early")),
        }
    }

    /// What its entries and tables disagree on, if anything: order, fan-out.
    pub(super) fn disorder(&self, entries: &[IndexEntry]) -> Option<&'static str> {
        if !entries.is_sorted_by(|a, b| a.oid < b.oid) {
            return Some("its names are out of order");
        }
        let mut counts = [0_u32; 256];
        for entry in entries {
            if let Some(count) = counts.get_mut(usize::from(entry.oid.as_bytes()[0])) {
                *count += 1;
            }
        }
        let sums = counts.iter().scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        });
        (!sums.eq(self.fanout.iter().copied())).then_some("its fan-out table is wrong")
    }
}

/// The bytes of an index of these objects, in whatever order they come, of a pack with this checksum.
pub(super) fn encode(mut entries: Vec<IndexEntry>, pack: Oid) -> Vec<u8> {
    entries.sort_unstable_by_key(|e| e.oid);
    let mut out = Vec::with_capacity(8 + 1024 + 40 + entries.len() * 28);
    out.extend(MAGIC);
    let mut sum = 0;
    for byte in 0..=u8::MAX {
        sum += entries.iter().skip(sum).take_while(|e| e.oid.as_bytes()[0] == byte).count();
        out.extend(u32::try_from(sum).unwrap_or(u32::MAX).to_be_bytes());
    }
    out.extend(entries.iter().flat_map(|e| *e.oid.as_bytes()));
    out.extend(entries.iter().flat_map(|e| e.crc.to_be_bytes()));
    let mut large: Vec<u64> = Vec::new();
    for entry in &entries {
        let word = match u32::try_from(entry.offset) {
            Ok(small) if small >> 31 == 0 => small,
            _ => {
                large.push(entry.offset);
                0x8000_0000 | u32::try_from(large.len() - 1).unwrap_or_default()
            }
        };
        out.extend(word.to_be_bytes());
    }
    out.extend(large.iter().flat_map(|offset| offset.to_be_bytes()));
    out.extend(pack.as_bytes());
    let mut hash = Sha1CD::default();
    hash.update(&out);
    out.extend(finish(hash).as_bytes());
    out
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    fn on_disk(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn finds_what_was_written_near_and_far() {
        let entries: Vec<_> = (0..5000_u64)
            .map(|n| {
                // Few first bytes, so that runs are long.
                let mut name = [u8::try_from(n % 3).unwrap() * 127; 20];
                name[1..9].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
                let name = Oid::from_bytes(name);
                let offset = if n % 3 == 0 { (1 << 40) + n } else { n };
                IndexEntry { oid: name, crc: 7, offset }
            })
            .collect();
        let bytes = encode(entries.clone(), Oid::from_bytes([1; 20]));
        let file = on_disk(&bytes);
        let index = Index::open(&file, 0, bytes.len() as u64).unwrap();
        assert_eq!(index.count(), 5000);
        for entry in &entries {
            assert_eq!(index.find(&file, &entry.oid).unwrap(), Some(entry.offset));
        }
        assert_eq!(index.find(&file, &Oid::from_bytes([9; 20])).unwrap(), None);
        let read = index.entries(&file).unwrap();
        assert_eq!(index.disorder(&read), None);
        assert_eq!(encode(read, Oid::from_bytes([1; 20])), bytes);
    }

    #[test]
    fn wrong_measures_are_refused() {
        let bytes =
            encode(vec![IndexEntry { oid: Oid::from_bytes([3; 20]), crc: 0, offset: 12 }], Oid::from_bytes([1; 20]));
        let opens = |bytes: &[u8]| Index::open(&on_disk(bytes), 0, bytes.len() as u64).is_ok();
        assert!(opens(&bytes));
        assert!(!opens(&bytes[..bytes.len() - 1]));
        let mut more = bytes.clone();
        more[8 + 1020] = 0xff;
        assert!(!opens(&more), "a count beyond the file");
    }
}
