//! Writing a pack with all that some refs lead to.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use flate2::Crc;
use sha1collisiondetection::Sha1CD;

use super::index::IndexEntry;
use super::object::{commit_links, compression, finish, hash_object};
use super::pack::{self, TRAILER};
use super::view::View;
use super::window::read_range;
use super::zlib::deflate;
use super::{NewObject, Object, ObjectKind, Oid, parse_tree};
use crate::error::{Error, Result};

/// Where objects come from: the file as it was, and what is new.
pub(super) struct Source<'a> {
    pub(super) file: &'a File,
    pub(super) view: &'a View,
    pub(super) extra: HashMap<Oid, &'a NewObject>,
}

impl Source<'_> {
    fn object(&self, oid: &Oid) -> Result<Object> {
        if let Some(new) = self.extra.get(oid) {
            return Ok(Object { kind: new.kind, data: new.data.clone() });
        }
        self.view.object(self.file, oid)?.ok_or_else(|| missing(oid))
    }

    /// The entry of an object that is in a pack and nowhere else, as it is; it is read and compared with its name, so
    /// that no damage is carried on.
    fn packed(&self, oid: &Oid) -> Result<Option<Vec<u8>>> {
        if self.extra.contains_key(oid) || self.view.loose.contains_key(oid) {
            return Ok(None);
        }
        let Some((pack, offset)) = self.view.find_packed(self.file, oid)? else { return Ok(None) };
        let (object, end) = pack.entries.read(self.file, offset).map_err(|e| e.at(format_args!("object {oid}")))?;
        if hash_object(object.kind, &object.data) != *oid {
            return Err(Error::damaged(format!("object {oid}: its content does not match its name")));
        }
        let len = usize::try_from(end - offset).unwrap_or_default();
        read_range(self.file, pack.entries.at + offset, len).map(Some)
    }

    /// All that these commits lead to, each commit with its tree and blobs together, newest first.
    pub(super) fn reachable(&self, commits: impl Iterator<Item = Oid>) -> Result<Vec<Oid>> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<(Oid, ObjectKind)> = commits.map(|oid| (oid, ObjectKind::Commit)).collect();
        open.reverse();
        while let Some((oid, kind)) = open.pop() {
            if !seen.insert(oid) {
                continue;
            }
            order.push(oid);
            if kind == ObjectKind::Blob {
                if !self.extra.contains_key(&oid) && !self.view.contains(self.file, &oid)? {
                    return Err(missing(&oid));
                }
                continue;
            }
            let object = self.object(&oid)?;
            if object.kind != kind {
                return Err(Error::damaged(format!("object {oid} is not a {}", kind.word())));
            }
            if kind == ObjectKind::Commit {
                let (tree, parents) = commit_links(&object.data)?;
                open.extend(parents.into_iter().rev().map(|parent| (parent, ObjectKind::Commit)));
                open.push((tree, ObjectKind::Tree));
            } else {
                let kind = |directory| if directory { ObjectKind::Tree } else { ObjectKind::Blob };
                open.extend(parse_tree(&object.data)?.into_iter().rev().map(|e| (e.oid, kind(e.directory))));
            }
        }
        Ok(order)
    }
}

fn missing(oid: &Oid) -> Error {
    Error::damaged(format!("object {oid} is missing")).hint("pkfs fsck")
}

/// A pack as written: its checksum, its size, and what its index must say.
pub(super) struct Written {
    pub(super) checksum: Oid,
    pub(super) size: u64,
    pub(super) entries: Vec<IndexEntry>,
}

/// Writes a pack of these objects at this offset of `out`. Compressed data is copied as it is where it is packed already.
pub(super) fn write_pack(out: &File, at: u64, source: &Source<'_>, objects: &[Oid]) -> Result<Written> {
    let count = u32::try_from(objects.len()).map_err(|e| {
        Error::new(crate::error::Kind::TooLarge, "there are more objects than a pack can hold").because(e)
    })?;
    let mut writer = Writer { out, at, offset: 0, buffer: Vec::new(), hash: Sha1CD::default() };
    writer.add(&pack::header(count))?;
    let mut entries = Vec::with_capacity(objects.len());
    for oid in objects {
        let bytes = match source.packed(oid)? {
            Some(bytes) => bytes,
            None => encode_entry(&source.object(oid)?)?,
        };
        let mut crc = Crc::new();
        crc.update(&bytes);
        entries.push(IndexEntry { oid: *oid, crc: crc.sum(), offset: writer.offset });
        writer.add(&bytes)?;
    }
    let (checksum, size) = writer.finish()?;
    Ok(Written { checksum, size, entries })
}

fn encode_entry(object: &Object) -> Result<Vec<u8>> {
    let header = pack::entry_header(object.kind, object.data.len() as u64);
    deflate(compression(object.kind), &[&object.data], header)
}

/// Writes in large pieces and sums up.
struct Writer<'a> {
    out: &'a File,
    at: u64,
    /// From the start of the pack.
    offset: u64,
    buffer: Vec<u8>,
    hash: Sha1CD,
}

impl Writer<'_> {
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.buffer.extend(bytes);
        self.offset += bytes.len() as u64;
        if self.buffer.len() >= 1 << 20 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let at = self.at + self.offset - self.buffer.len() as u64;
        self.out.write_all_at(&self.buffer, at).map_err(write_failed)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(Oid, u64)> {
        let checksum = finish(std::mem::take(&mut self.hash));
        self.buffer.extend(checksum.as_bytes());
        self.offset += TRAILER;
        self.flush()?;
        Ok((checksum, self.offset))
    }
}

/// A failed write to the new file; the caller adds its path.
pub(super) fn write_failed(e: io::Error) -> Error {
    Error::io("write", std::path::Path::new("the compacted file"), e)
}
