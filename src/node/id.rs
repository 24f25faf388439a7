//! Random identifiers: of items (secrets, directories, links …) and of write sessions.

use std::fmt;
use std::str::FromStr;

use crate::archive::Oid;
use crate::crypto::Sha256;
use crate::error::{Error, Kind, Result};
use crate::hex;

/// Sixteen random bytes from the kernel.
fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // The pool is ready long before anybody mounts a keynode; an interrupted call is only repeated.
        if let Ok(n) = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            filled += n;
        }
    }
    bytes
}

/// What an item is, whatever its names: the id stays when it is renamed, and names its branch in git.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId([u8; 16]);

impl ItemId {
    /// The keynode's top directory.
    pub const ROOT: Self = Self([0; 16]);

    /// A new identifier, never seen before.
    pub fn random() -> Self {
        Self(random())
    }

    /// The sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The git reference of a secret with this id.
    pub fn reference(&self) -> String {
        format!("refs/heads/secrets/{self}")
    }

    /// Reads 32 lower-case digits.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        hex::read(text).map(Self)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ItemId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_hex(text.as_bytes()).ok_or_else(|| Error::new(Kind::Invalid, format!("{text:?} is not an id")))
    }
}

/// One open-write-release session: all its commits make one version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session([u8; 16]);

impl Session {
    /// A new session.
    pub fn random() -> Self {
        Self(random())
    }

    /// Reads 32 lower-case digits.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        hex::read(text).map(Self)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A commit as the log names it: found by git's id, believed by the SHA-256 of its raw object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CommitRef {
    /// Where to find it.
    pub oid: Oid,
    /// What it must hash to (`git cat-file commit C | sha256sum`).
    pub digest: Sha256,
}

impl fmt::Display for CommitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sha256:{}", self.oid, self.digest)
    }
}

impl CommitRef {
    /// Reads `<commit> sha256:<digest>`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    pub(super) fn from_bytes(text: &[u8]) -> Option<Self> {
        let (oid, digest) = text.split_at_checked(40)?;
        let digest = digest.strip_prefix(b" sha256:")?;
        Some(Self { oid: Oid::from_bytes(hex::read(oid)?), digest: Sha256::from_bytes(hex::read(digest)?) })
    }
}
