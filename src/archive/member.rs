//! Members of the archive: the names that may be there, and their headers.
//!
//! Headers are POSIX ustar (`tar(5)`), as the `tar` crate writes them.

use std::fmt;

use tar::{EntryType, Header};

use super::{INBOX_PREFIX, KEYNODE_REF, Oid};
use crate::error::{Error, Kind, Result};

/// The unit of a tar archive, in bytes.
pub(super) const BLOCK: u64 = 512;
/// The same, as the length of a block in memory.
pub(super) const BLOCK_LEN: usize = 512;

/// A block as it stands in the file.
pub(super) type Block = [u8; BLOCK_LEN];

/// What a member is, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Readme,
    Head,
    Config,
    /// A directory, named without the slash at its end.
    Directory(String),
    /// An unlock slot: `passphrase`, or a fingerprint.
    Slot(String),
    Loose(Oid),
    Pack(Oid),
    Index(Oid),
    PackedRefs,
    /// The full name of a ref.
    Ref(String),
}

/// A member as found in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: Name,
    /// Where its header starts, in bytes from the start of the file.
    pub(super) at: u64,
    /// The length of its content in bytes.
    pub(super) size: u64,
}

impl Member {
    /// Where its content starts.
    pub(super) const fn data(&self) -> u64 {
        self.at + BLOCK
    }

    /// Where the next member starts.
    pub(super) const fn next(&self) -> u64 {
        self.data() + padded(self.size)
    }
}

/// A length rounded up to whole blocks.
pub(super) const fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK) * BLOCK
}

impl Name {
    /// The name that this text is, if it is one that a keynode may hold.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "README.txt" => return Some(Self::Readme),
            "HEAD" => return Some(Self::Head),
            "config" => return Some(Self::Config),
            "packed-refs" => return Some(Self::PackedRefs),
            _ => {}
        }
        if let Some(directory) = text.strip_suffix('/') {
            return super::template::DIRECTORIES.contains(&directory).then(|| Self::Directory(directory.to_owned()));
        }
        if let Some(slot) = text.strip_prefix("unlock/") {
            let slot = slot.strip_suffix(".pgp")?;
            return is_slot(slot).then(|| Self::Slot(slot.to_owned()));
        }
        if let Some(pack) = text.strip_prefix("objects/pack/pack-") {
            return if let Some(hex) = pack.strip_suffix(".pack") {
                Some(Self::Pack(hex.parse().ok()?))
            } else {
                Some(Self::Index(pack.strip_suffix(".idx")?.parse().ok()?))
            };
        }
        if let Some(loose) = text.strip_prefix("objects/") {
            let (first, rest) = loose.split_once('/')?;
            return (first.len() == 2).then(|| format!("{first}{rest}").parse().ok().map(Self::Loose))?;
        }
        is_ref(text).then(|| Self::Ref(text.to_owned()))
    }

    const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// Whether a member of this name ends a transaction.
    pub(super) fn closes(&self) -> bool {
        matches!(self, Self::Ref(name) if name == KEYNODE_REF || name.starts_with(INBOX_PREFIX))
    }

    /// The header of a member of this name with content of this many bytes.
    pub(super) fn header(&self, size: u64) -> Result<Block> {
        let mut header = Header::new_ustar();
        header
            .set_path(self.to_string())
            .map_err(|e| Error::new(Kind::Invalid, format!("{self} cannot be the name of a member")).because(e))?;
        header.set_entry_type(if self.is_directory() { EntryType::Directory } else { EntryType::Regular });
        header.set_mode(if self.is_directory() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        Ok(*header.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readme => f.write_str("README.txt"),
            Self::Head => f.write_str("HEAD"),
            Self::Config => f.write_str("config"),
            Self::PackedRefs => f.write_str("packed-refs"),
            Self::Directory(name) => write!(f, "{name}/"),
            Self::Slot(name) => write!(f, "unlock/{name}.pgp"),
            Self::Pack(hash) => write!(f, "objects/pack/pack-{hash}.pack"),
            Self::Index(hash) => write!(f, "objects/pack/pack-{hash}.idx"),
            Self::Ref(name) => f.write_str(name),
            Self::Loose(oid) => {
                let hex = oid.to_string();
                let (first, rest) = hex.split_at(2);
                write!(f, "objects/{first}/{rest}")
            }
        }
    }
}

/// `passphrase`, or a fingerprint of 40 (v4) or 64 (v6) upper-case hex digits.
fn is_slot(name: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    name == "passphrase" || (name.len() == 40 || name.len() == 64) && name.bytes().all(hex)
}

/// Whether a keynode may hold a ref of this name.
pub(super) fn is_ref(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match name.strip_prefix("refs/heads/") {
        Some("keynode" | "checkpoint") => true,
        Some(rest) => match rest.split_once('/') {
            Some(("secrets", id)) => id.len() == 32 && hex(id),
            Some(("inbox", commit)) => commit.len() == 40 && hex(commit),
            _ => false,
        },
        None => false,
    }
}

/// What a block of the file is, where a header may stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Member(Member),
    /// A proper header with a name that no keynode holds.
    Unknown(String),
    Zero,
    /// No header.
    Broken,
}

/// Reads the block at this offset as a header.
pub(super) fn parse_header(block: &Block, at: u64) -> Found {
    if block.iter().all(|b| *b == 0) {
        return Found::Zero;
    }
    let field = |from: usize, len: usize| block.get(from..from + len).unwrap_or_default();
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    let expected = sum(block) - sum(field(148, 8)) + 8 * u32::from(b' ');
    if octal(field(148, 8)) != Some(expected.into()) || field(257, 8) != b"ustar\x0000" {
        return Found::Broken;
    }
    let path = String::from_utf8_lossy(field(0, 100).split(|b| *b == 0).next().unwrap_or_default());
    // All of them at once, which is faster than to stop at the first.
    let empty = |bytes: &[u8]| bytes.iter().fold(0, |all, b| all | b) == 0;
    let file = matches!(field(156, 1), b"0");
    let known = Name::parse(&path).filter(|name| {
        (if name.is_directory() { field(156, 1) == b"5" } else { file })
            && empty(field(157, 100))
            && empty(field(345, 155))
    });
    match (known, octal(field(124, 12)).or_else(|| large(field(124, 12)))) {
        (Some(name), Some(size)) if size == 0 || !name.is_directory() => Found::Member(Member { name, at, size }),
        (Some(_), _) => Found::Broken,
        // Quoted, for it goes to a terminal.
        (None, _) => Found::Unknown(path.escape_default().to_string()),
    }
}

/// Octal digits up to a NUL or space.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(field.len());
    let digits = std::str::from_utf8(field.get(..end)?).ok()?;
    if digits.is_empty() || digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 8).ok()
}

/// A size from 8 GiB on, as GNU tar and others write it: in base 256, its first bit set. None can be as large as to
/// make an offset overflow.
fn large(field: &[u8]) -> Option<u64> {
    let (head, number) = field.split_last_chunk()?;
    let size = u64::from_be_bytes(*number);
    (*head == [0x80, 0, 0, 0] && size >> 56 == 0).then_some(size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn names_and_headers_round_trip() {
        let fingerprint = HEX.to_uppercase();
        for text in [
            "README.txt",
            "HEAD",
            "config",
            "packed-refs",
            "unlock/",
            "unlock/passphrase.pgp",
            &format!("unlock/{fingerprint}.pgp"),
            &format!("objects/01/{}", &HEX[2..]),
            &format!("objects/pack/pack-{HEX}.pack"),
            &format!("objects/pack/pack-{HEX}.idx"),
            "refs/heads/keynode",
            "refs/heads/checkpoint",
            &format!("refs/heads/secrets/{}", &HEX[..32]),
            &format!("refs/heads/inbox/{HEX}"),
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!(name.to_string(), text);
            let size = if text.ends_with('/') { 0 } else { 700 };
            let header = name.header(size).unwrap();
            assert_eq!(parse_header(&header, 1024), Found::Member(Member { name, at: 1024, size }));
        }
    }

    #[test]
    fn sizes_beyond_what_octal_digits_hold() {
        let name = Name::Pack(HEX.parse().unwrap());
        for size in [(8 << 30) - 1, 8 << 30, 9 << 40] {
            let header = name.header(size).unwrap();
            assert_eq!(parse_header(&header, 0), Found::Member(Member { name: name.clone(), at: 0, size }));
        }
        for bytes in [[0xff; 12], [0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(octal(&bytes).or_else(|| large(&bytes)), None);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in
            ["", "/", "hooks/", "hooks/pre-push", "../HEAD", "refs/tags/x", "refs/heads/secrets/..", "unlock/x.pgp"]
        {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn any_flipped_bit_breaks_a_header() {
        let header = Name::PackedRefs.header(1234).unwrap();
        for bit in 0..BLOCK_LEN * 8 {
            let mut block = header;
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !matches!(parse_header(&block, 0), Found::Member(m) if m.size != 1234 || m.name != Name::PackedRefs)
            );
        }
    }
}
