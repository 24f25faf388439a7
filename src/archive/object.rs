//! Git objects, their names, and how a loose one is written.
//!
//! Formats: git's `gitformat-loose(5)` and `git-hash-object(1)`.

use flate2::Compression;
use sha1collisiondetection::{Output, Sha1CD};

use super::zlib::{deflate, inflate};
use super::{MAX_OBJECT, Oid};
use crate::error::{Error, Result};

/// What an object is. Tags are not part of a keynode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A directory.
    Tree,
    /// A file.
    Blob,
}

impl ObjectKind {
    /// The word that git uses.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }

    /// The number in a pack entry's header (`gitformat-pack(5)`).
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Tree => 2,
            Self::Blob => 3,
        }
    }
}

/// An object as read: its kind and its bytes without git's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// An object to be written, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewObject {
    /// Its name, which must be the hash of the rest.
    pub oid: Oid,
    /// What it is.
    pub kind: ObjectKind,
    /// Its bytes, without git's header.
    pub data: Vec<u8>,
}

impl NewObject {
    /// An object with the name that its bytes have.
    pub fn new(kind: ObjectKind, data: Vec<u8>) -> Self {
        Self { oid: hash_object(kind, &data), kind, data }
    }
}

/// The name that git gives an object. Bytes made for a SHA-1 collision get another name than git would give them, so
/// that they can never be taken for what they imitate.
pub fn hash_object(kind: ObjectKind, data: &[u8]) -> Oid {
    let mut hash = Sha1CD::default();
    hash.update(format!("{} {}\0", kind.word(), data.len()));
    hash.update(data);
    finish(hash)
}

/// The digest, made different where a collision attack is seen.
pub(super) fn finish(mut hash: Sha1CD) -> Oid {
    let mut out = Output::default();
    if hash.finalize_into_dirty_cd(&mut out).is_err() {
        for byte in &mut out {
            *byte ^= 0xff;
        }
    }
    Oid::from_bytes(out.into())
}

/// What a loose object's file of this size may inflate to. Ciphertext does not compress and trees and commits hardly
/// do, so that a few bytes which claim to be many are a bomb.
pub(super) fn loose_limit(size: u64) -> u64 {
    (64 << 10) + MAX_OBJECT.min(size.saturating_mul(64))
}

/// A loose object that is smaller, in bytes, would seldom take fewer of the archive's blocks if it were compressed, and what
/// that needs is large beside it.
const SMALL: usize = 1024;

/// The bytes of a loose object's file.
pub(super) fn encode_loose(kind: ObjectKind, data: &[u8]) -> Result<Vec<u8>> {
    let level = if data.len() < SMALL { Compression::none() } else { compression(kind) };
    let encoded = encode_with(kind, data, level)?;
    let readable = data.len() as u64 + 32 <= loose_limit(encoded.len() as u64);
    if readable { Ok(encoded) } else { encode_with(kind, data, Compression::none()) }
}

/// Blobs are messages, which do not shrink: trying takes a quarter of the time of a large write. The heads of a checkpoint
/// would, but whoever opens the keynode would have to inflate them.
pub(super) fn compression(kind: ObjectKind) -> Compression {
    if kind == ObjectKind::Blob { Compression::none() } else { Compression::fast() }
}

fn encode_with(kind: ObjectKind, data: &[u8], level: Compression) -> Result<Vec<u8>> {
    let header = format!("{} {}\0", kind.word(), data.len());
    deflate(level, &[header.as_bytes(), data], Vec::new())
}

/// Reads what [`encode_loose`] writes: a file of this size, given as pieces as for [`inflate`].
pub(super) fn decode_loose(size: u64, next: impl FnMut(u64) -> Result<Vec<u8>>) -> Result<Object> {
    let (mut bytes, used) = inflate(loose_limit(size), size, next)?;
    if used != size {
        return Err(Error::damaged("something follows its compressed data"));
    }
    let wrong = || Error::damaged("its git header is not one that pkfs knows");
    let end = bytes.iter().take(32).position(|b| *b == 0).ok_or_else(wrong)?;
    let header = bytes.get(..end).and_then(|h| std::str::from_utf8(h).ok()).ok_or_else(wrong)?;
    let (word, size) = header.split_once(' ').ok_or_else(wrong)?;
    let kind = [ObjectKind::Commit, ObjectKind::Tree, ObjectKind::Blob]
        .into_iter()
        .find(|k| k.word() == word)
        .ok_or_else(wrong)?;
    if size != (bytes.len() - end - 1).to_string() {
        return Err(Error::damaged("it is not as long as its git header says"));
    }
    bytes.drain(..=end);
    Ok(Object { kind, data: bytes })
}

/// What a commit leads to: its tree, and its parents in order.
pub(super) fn commit_links(data: &[u8]) -> Result<(Oid, Vec<Oid>)> {
    let mut lines = data.split(|b| *b == b'\n');
    let tree = lines
        .next()
        .and_then(|l| l.strip_prefix(b"tree "))
        .and_then(Oid::from_hex)
        .ok_or_else(|| Error::damaged("a commit names no tree"))?;
    let parents = lines
        .map_while(|l| l.strip_prefix(b"parent "))
        .map(|hex| Oid::from_hex(hex).ok_or_else(|| Error::damaged("a commit's parent has no proper name")))
        .collect::<Result<_>>()?;
    Ok((tree, parents))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pieces(bytes: &[u8], step: usize) -> impl FnMut(u64) -> Result<Vec<u8>> {
        move |at| Ok(bytes.iter().skip(usize::try_from(at).unwrap()).take(step).copied().collect())
    }

    #[test]
    fn known_names() {
        // As `git hash-object` and `git mktree` print them.
        assert_eq!(hash_object(ObjectKind::Blob, b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(hash_object(ObjectKind::Tree, b"").to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        assert_eq!(hash_object(ObjectKind::Blob, b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn loose_round_trip_in_pieces() {
        for size in [0, 1, 500, 100_000] {
            let data: Vec<u8> = (0..size).map(|i: usize| u8::try_from(i * i % 251).unwrap()).collect();
            let file = encode_loose(ObjectKind::Blob, &data).unwrap();
            for step in [1, 7, 1 << 20] {
                let object = decode_loose(file.len() as u64, pieces(&file, step)).unwrap();
                assert_eq!((object.kind, &object.data), (ObjectKind::Blob, &data));
            }
            for cut in 0..file.len().min(600) {
                assert!(decode_loose(cut as u64, pieces(&file[..cut], 64)).is_err());
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let zeros = vec![0; 10 << 20];
        let bomb = encode_with(ObjectKind::Blob, &zeros, Compression::best()).unwrap();
        let refused = decode_loose(bomb.len() as u64, pieces(&bomb, 4096)).unwrap_err();
        assert!(refused.message().contains("larger"));
        // What is written can be read all the same.
        let file = encode_loose(ObjectKind::Blob, &zeros).unwrap();
        let object = decode_loose(file.len() as u64, |at| Ok(file[usize::try_from(at).unwrap()..].to_vec())).unwrap();
        assert_eq!(object.data, zeros);
    }
}
