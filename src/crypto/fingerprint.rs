//! Names of keys.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// The fingerprint of a certificate: 20 bytes (version 4) or 32 (version 6), written in upper-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Box<[u8]>);

impl Fingerprint {
    pub(super) fn of(fingerprint: &sequoia_openpgp::Fingerprint) -> Self {
        Self(fingerprint.as_bytes().into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a fingerprint: 40 or 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFingerprint;

/// Hex digits of either case, with spaces allowed between them as people copy them from gpg.
impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).take(65).collect();
        let digits = digits.to_ascii_lowercase();
        let mut bytes = vec![0; digits.len() / 2];
        hex::read_into(digits.as_bytes(), &mut bytes).ok_or(BadFingerprint)?;
        if matches!(bytes.len(), 20 | 32) { Ok(Self(bytes.into())) } else { Err(BadFingerprint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_case_do_not_matter() {
        let text = "D4AB192964F76A7F8F8A9B357BD18320DEADFA11";
        let spaced: Fingerprint = " d4ab 1929 64f7 6a7f 8f8a  9b35 7bd1 8320 dead fa11\n".parse().expect("valid");
        assert_eq!(spaced.to_string(), text);
        assert_eq!(text.parse(), Ok(spaced));
    }

    #[test]
    fn other_lengths_are_refused() {
        for text in ["", "DEADFA11", &"AB".repeat(21), &"AB".repeat(33), &"é".repeat(20)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(BadFingerprint), "{text}");
        }
    }
}
