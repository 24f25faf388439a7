//! Which shape of `OpenPGP` a keynode is written in.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// A keynode's profile; all of its own messages and signatures have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Version 4 keys (Ed25519, Curve25519), SEIPD version 1: `GnuPG` 2.2 reads it.
    #[default]
    Gnupg,
    /// RFC 9580: version 6 keys, SEIPD version 2, Argon2 unlock slots.
    Rfc9580,
    /// As `Rfc9580`, with ML-KEM-768+X25519 and ML-DSA-65+Ed25519.
    #[cfg(feature = "pqc")]
    Pqc,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gnupg => "gnupg",
            Self::Rfc9580 => "rfc9580",
            #[cfg(feature = "pqc")]
            Self::Pqc => "pqc",
        })
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "gnupg" => Ok(Self::Gnupg),
            "rfc9580" => Ok(Self::Rfc9580),
            #[cfg(feature = "pqc")]
            "pqc" => Ok(Self::Pqc),
            #[cfg(not(feature = "pqc"))]
            "pqc" => Err(Error::new(Kind::Invalid, "this pkfs was built without the post-quantum profile")
                .hint("build it with `cargo build --features pqc`")),
            _ => Err(Error::new(Kind::Invalid, "no such profile").hint("known are gnupg and rfc9580")),
        }
    }
}
