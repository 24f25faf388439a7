//! SHA-256 and how it is written.

use std::fmt;
use std::str::FromStr;

use sequoia_openpgp::types::HashAlgorithm;

use crate::hex;

/// A SHA-256 digest, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// The SHA-256 digest of these bytes.
#[allow(
    clippy::missing_panics_doc,
    reason = "no build of the backend lacks SHA-256, and a made-up digest would be worse"
)]
pub fn sha256(data: &[u8]) -> Sha256 {
    let mut out = [0; 32];
    let digested = HashAlgorithm::SHA256.context().and_then(|context| {
        let mut context = context.for_digest();
        context.update(data);
        context.digest(&mut out)
    });
    digested.expect("the backend has SHA-256");
    Sha256(out)
}

impl Sha256 {
    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a digest: 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadDigest;

impl FromStr for Sha256 {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        hex::read(text.as_bytes()).map(Self).ok_or(BadDigest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_standard_example() {
        assert_eq!(sha256(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(sha256(b"abc")));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in
            ["", "ba78", &ABC.to_uppercase(), &format!("{ABC}00"), &ABC.replace('b', "g"), &ABC.replace("ba", "é")]
        {
            assert_eq!(text.parse::<Sha256>(), Err(BadDigest), "{text}");
        }
    }
}
