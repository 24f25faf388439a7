//! Names and paths inside a keynode: bytes, as Unix has them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::quote::quoted;
use crate::error::{Error, Kind, Result};

/// One path component: 1 to 255 bytes without `/` and NUL, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// [`Kind::NameTooLong`], or [`Kind::Invalid`] for what can never be a name.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > Self::LONGEST {
            let text = format!("{}…: a name has at most {} bytes", quoted(&bytes[..16]), Self::LONGEST);
            return Err(Error::new(Kind::NameTooLong, text));
        }
        if !Self::is_possible(bytes) {
            return Err(Error::new(Kind::Invalid, format!("{}: not a possible name", quoted(bytes))));
        }
        Ok(Self(bytes.into()))
    }

    /// Whether these bytes can be a name.
    pub fn is_possible(bytes: &[u8]) -> bool {
        let special = bytes.is_empty() || bytes == b"." || bytes == b"..";
        !special && bytes.len() <= Self::LONGEST && memchr::memchr2(0, b'/', bytes).is_none()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether in the top directory a mount keeps it for itself.
    pub fn is_reserved(&self) -> bool {
        matches!(self.as_bytes(), b".versions" | b".views")
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path from the keynode's top directory; the empty one is that directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ItemPath(Vec<Name>);

impl ItemPath {
    /// The longest path in bytes that a keynode's lines may hold.
    pub const LONGEST: usize = 1 << 16;

    /// The top directory.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Reads a path; leading, trailing and doubled slashes and `.` do not count.
    ///
    /// # Errors
    /// [`Kind::Invalid`] or [`Kind::NameTooLong`]: `..`, NUL bytes, long names, more than [`Self::LONGEST`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > Self::LONGEST {
            return Err(Error::new(Kind::NameTooLong, "the path is too long"));
        }
        let parts = bytes.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".");
        parts.map(Name::new).collect::<Result<_>>().map(Self)
    }

    /// The components from the top down.
    pub fn components(&self) -> &[Name] {
        &self.0
    }

    /// Whether this is the top directory.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it lies where a mount shows something else.
    pub fn is_reserved(&self) -> bool {
        self.0.first().is_some_and(Name::is_reserved)
    }

    /// Goes one level down.
    pub fn push(&mut self, name: Name) {
        self.0.push(name);
    }

    /// The path one level down.
    #[must_use]
    pub fn join(&self, name: Name) -> Self {
        let mut path = self.clone();
        path.push(name);
        path
    }

    /// Bytes that it has with a slash before each name.
    pub(super) fn length(&self) -> usize {
        self.0.iter().map(|name| name.as_bytes().len() + 1).sum()
    }

    /// The path one level up and the last name; `None` for the top directory.
    pub fn split(&self) -> Option<(Self, &Name)> {
        let (name, parent) = self.0.split_last()?;
        Some((Self(parent.to_vec()), name))
    }

    /// The path one level up.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| parent)
    }

    /// The last name.
    pub fn name(&self) -> Option<&Name> {
        self.0.last()
    }

    /// The bytes, without a slash in front.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.join(&b'/')
    }
}

impl FromIterator<Name> for ItemPath {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl fmt::Display for ItemPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str("/") } else { f.write_str(&quoted(&self.to_bytes())) }
    }
}

impl fmt::Debug for ItemPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_climbing_is_refused() {
        let path = ItemPath::parse(b"/db//./password/").unwrap();
        assert_eq!(path.to_bytes(), b"db/password");
        assert!(ItemPath::parse(b"/").unwrap().is_root());
        for bad in [&b"a/../b"[..], b"a\0b", &[b'x'; 256]] {
            assert!(ItemPath::parse(bad).is_err());
        }
        assert!(ItemPath::parse(&[b'x'; 255]).is_ok());
    }
}
