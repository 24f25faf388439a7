//! The encrypted container: SEIPD version 1 (CFB with a digest) or 2 (AEAD), RFC 9580, 5.13. Always AES-256.
//!
//! What is opened has been verified whole before any of it is handed on.

use std::io::{self, Read, Write};

use sequoia_openpgp::crypto::{self, aead, symmetric};
use sequoia_openpgp::parse::buffered_reader::{BufferedReader, Memory};
use sequoia_openpgp::types::{AEADAlgorithm, HashAlgorithm, SymmetricAlgorithm};

use super::content::Content;
use super::digest::digest;
use super::envelope::{HEADER, header, tag};
use super::memory::{Locked, same};
use crate::error::{Error, Kind, Result};

/// Which container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    V1,
    V2,
}

const AES: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
/// A block of random bytes and its last two once more.
const PREFIX: usize = 18;
/// The header of the modification detection code, and the code: SHA-1 of all before.
const MDC_HEADER: [u8; 2] = [0xd3, 0x14];
const MDC: usize = 2 + 20;

/// Version, cipher, AEAD algorithm, chunk size, salt.
const V2_HEADER: usize = 4 + 32;
/// As an exponent above 64 bytes: chunks of 16 KiB.
const CHUNK_EXPONENT: u8 = 8;
const AEAD_TAG: usize = 16;
/// Through how large a piece of unlocked, wiped library memory plaintext passes at a time.
const PIECE: usize = 64 * 1024;

/// Why a container did not open.
pub(super) enum Failure {
    /// Not with this key (or damaged in its first bytes).
    WrongKey,
    /// Damaged or tampered with.
    Damaged,
}

impl Container {
    /// Which one this body of a container packet is.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        match body.first() {
            Some(1) => Some(Self::V1),
            Some(2) => Some(Self::V2),
            _ => None,
        }
    }

    /// Appends the container packet with this content to a message.
    ///
    /// # Errors
    ///
    /// Too large for one packet (4 GiB); the library failed.
    pub(super) fn seal(self, key: &crypto::SessionKey, content: &Content<'_>, message: &mut Vec<u8>) -> Result<()> {
        let inner = content.len();
        let len = match self {
            Self::V1 => 1 + PREFIX + inner + MDC,
            Self::V2 => V2_HEADER + inner + (inner.div_ceil(chunk(CHUNK_EXPONENT)) + 1) * AEAD_TAG,
        };
        let header = header(tag::SEIPD, len)
            .ok_or_else(|| Error::new(Kind::TooLarge, "the value is larger than an OpenPGP packet can be"))?;
        message.reserve_exact(HEADER + len);
        message.extend(header);
        match self {
            Self::V1 => seal_v1(key, content, message),
            Self::V2 => seal_v2(key, content, message),
        }
        .map_err(|e| Error::new(Kind::Failed, "cannot encrypt").because(e))
    }

    /// Decrypts the body of a container packet and verifies it whole. The plaintext is what the range says of the memory.
    pub(super) fn open(
        self,
        key: &crypto::SessionKey,
        body: &[u8],
    ) -> std::result::Result<(Locked, std::ops::Range<usize>), Failure> {
        match self {
            Self::V1 => open_v1(key, body),
            Self::V2 => open_v2(key, body),
        }
    }
}

fn chunk(exponent: u8) -> usize {
    64 << exponent
}

/// Passes on what is written, and digests it.
struct Digesting<W> {
    context: crypto::hash::Context,
    inner: W,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(bytes)?;
        self.context.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn seal_v1(key: &crypto::SessionKey, content: &Content<'_>, message: &mut Vec<u8>) -> sequoia_openpgp::Result<()> {
    message.push(1);
    let mode = symmetric::BlockCipherMode::CFB;
    let inner = symmetric::Encryptor::new(AES, mode, symmetric::PaddingMode::None, key, None, message)?;
    let mut out = Digesting { context: HashAlgorithm::SHA1.context()?.for_digest(), inner };
    let mut prefix = [0; PREFIX];
    crypto::random(&mut prefix[..PREFIX - 2])?;
    prefix.copy_within(PREFIX - 4..PREFIX - 2, PREFIX - 2);
    out.write_all(&prefix)?;
    content.write(&mut out)?;
    out.write_all(&MDC_HEADER)?;
    let mut code = [0; MDC - 2];
    out.context.digest(&mut code)?;
    out.inner.write_all(&code)?;
    out.inner.finalize()?;
    Ok(())
}

fn open_v1(key: &crypto::SessionKey, body: &[u8]) -> std::result::Result<(Locked, std::ops::Range<usize>), Failure> {
    let sealed = body.get(1..).filter(|s| s.len() >= PREFIX + MDC).ok_or(Failure::Damaged)?;
    let source = Memory::with_cookie(sealed, sequoia_openpgp::parse::Cookie::default());
    let mode = symmetric::BlockCipherMode::CFB;
    let mut cipher = symmetric::Decryptor::new(AES, mode, symmetric::UnpaddingMode::None, key, None, source)
        .map_err(|_| Failure::WrongKey)?;
    let mut plain = Locked::zeroed(sealed.len());
    for piece in plain.chunks_mut(PIECE) {
        cipher.read_exact(piece).map_err(|_| Failure::Damaged)?;
    }
    let end = plain.len() - MDC;
    let (digested, code) = plain.split_at(end + MDC_HEADER.len());
    let expected: [u8; MDC - 2] = digest(HashAlgorithm::SHA1, &[digested]).ok_or(Failure::Damaged)?;
    if !same(&expected, code) || !digested.ends_with(&MDC_HEADER) {
        // Which of the two it was is told only after the whole was digested, and matters to passphrases alone.
        let repeated = plain.get(PREFIX - 4..PREFIX - 2) == plain.get(PREFIX - 2..PREFIX);
        return Err(if repeated { Failure::Damaged } else { Failure::WrongKey });
    }
    Ok((plain, PREFIX..end))
}

fn seal_v2(key: &crypto::SessionKey, content: &Content<'_>, message: &mut Vec<u8>) -> sequoia_openpgp::Result<()> {
    let mut salt = [0; 32];
    crypto::random(&mut salt)?;
    let mode = AEADAlgorithm::OCB;
    message.extend([2, AES.into(), mode.into(), CHUNK_EXPONENT]);
    message.extend(salt);
    let size = chunk(CHUNK_EXPONENT);
    let schedule = aead::SEIPv2Schedule::new(key, AES, mode, size, &salt)?;
    let mut out = aead::Encryptor::new(AES, mode, size, schedule, message)?;
    content.write(&mut out)?;
    out.finalize()?;
    Ok(())
}

fn open_v2(key: &crypto::SessionKey, body: &[u8]) -> std::result::Result<(Locked, std::ops::Range<usize>), Failure> {
    let (header, sealed) = body.split_at_checked(V2_HEADER).ok_or(Failure::Damaged)?;
    let [_, cipher, mode, exponent @ 0..=16, salt @ ..] = header else { return Err(Failure::Damaged) };
    let mode = AEADAlgorithm::from(*mode);
    if SymmetricAlgorithm::from(*cipher) != AES || mode.digest_size().ok() != Some(AEAD_TAG) {
        return Err(Failure::Damaged);
    }
    let size = chunk(*exponent);
    // Each chunk has a tag, and so has the whole.
    let tagged = sealed.len().checked_sub(AEAD_TAG).ok_or(Failure::Damaged)?;
    let len = tagged.checked_sub(tagged.div_ceil(size + AEAD_TAG) * AEAD_TAG).ok_or(Failure::Damaged)?;
    let schedule = aead::SEIPv2Schedule::new(key, AES, mode, size, salt).map_err(|_| Failure::WrongKey)?;
    let source = Memory::with_cookie(sealed, sequoia_openpgp::parse::Cookie::default());
    let mut opener =
        aead::Decryptor::new(AES, mode, size, schedule, source.into_boxed()).map_err(|_| Failure::Damaged)?;
    let mut plain = Locked::zeroed(len);
    for piece in plain.chunks_mut(PIECE) {
        opener.read_exact(piece).map_err(|_| Failure::Damaged)?;
    }
    // The last tag, over the length, is checked on reaching the end.
    match opener.read(&mut [0]) {
        Ok(0) => Ok((plain, 0..len)),
        _ => Err(Failure::Damaged),
    }
}
