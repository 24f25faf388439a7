//! Messages: a keynode's blobs, sealed to the node's key and bound to their place.
//!
//! Keys and data are kept in locked memory; the library's own short-lived copies are wiped by it or, buffers above all,
//! by the program's allocator.

use std::fmt;

use sequoia_openpgp::crypto;
use sequoia_openpgp::packet::PKESK;

use super::memory::Locked;
use super::node_key::NodeKey;
use super::padding::Padding;
use super::seal::Sealing;
use super::unseal::{Expected, unverified};
use crate::error::{Error, Kind, Result};

/// The length of a session key: AES-256.
const KEY: usize = 32;

/// The symmetric key of a message: 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Locked);

impl SessionKey {
    /// The key with these 32 bytes, none if there are more or fewer.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY).then(|| Self(Locked::from_slice(bytes)))
    }

    /// Its 32 bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// A new one.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn random() -> Result<Self> {
        let mut key = Locked::zeroed(KEY);
        crypto::random(&mut key[..])
            .map_err(|e| Error::new(Kind::Failed, "the system gives no random numbers").because(e))?;
        Ok(Self(key))
    }

    /// As the library wants it: a copy, which the library wipes.
    pub(super) fn to_library(&self) -> crypto::SessionKey {
        self.as_slice().into()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

/// A message and the session key that opens it.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The binary message.
    pub message: Vec<u8>,
    /// Its session key, made for it.
    pub session_key: SessionKey,
}

/// An opened message.
#[derive(Debug)]
pub struct Opened {
    /// What it holds.
    pub data: Locked,
    /// Its session key.
    pub session_key: SessionKey,
}

/// Seals data for the node under a new session key, bound to a place (a secret's id, `change`, `directory` …).
///
/// # Errors
///
/// The data exceed what a packet can hold (3 GiB); the place has more than 255 bytes; the library failed.
pub fn seal(node: &NodeKey, place: &str, data: &[u8], padding: Padding) -> Result<Sealed> {
    let session_key = SessionKey::random()?;
    let recipients = std::slice::from_ref(node.recipient());
    let sealing = Sealing { container: node.container(), session_key: &session_key, key_packets: &[], recipients };
    Ok(Sealed { message: sealing.seal(place, data, padding)?, session_key })
}

/// Opens a message, with its session key if that is known, which costs no public-key operation, else by the node's key.
///
/// Nothing is returned before the whole message is verified. It takes as much memory as there is data
/// (at most 1 GiB, long runs of zeros beyond 80 MiB aside), and about 1 MiB.
///
/// # Errors
///
/// Damaged: tampered with, another shape, bound to another place, or not for this node or session key.
/// Too large: more than `limit` bytes.
pub fn open(node: &NodeKey, message: &[u8], place: &str, known: Option<&SessionKey>, limit: usize) -> Result<Opened> {
    let mut session_key = known.cloned();
    let expected = Expected { place, limit, container: Some(node.container()) };
    let data = expected.open(message, |packets, passphrases, attempt| {
        if !passphrases.is_empty() {
            return Err(Error::damaged("a passphrase would open the OpenPGP message"));
        }
        let key = match known {
            Some(known) => known.to_library(),
            None => session_key_for(node, packets)?,
        };
        if known.is_none() {
            session_key = SessionKey::from_slice(&key);
        }
        if attempt(&key) { Ok(()) } else { Err(unverified()) }
    })?;
    let session_key = session_key.ok_or_else(|| Error::damaged("the message is not encrypted with AES-256"))?;
    Ok(Opened { data, session_key })
}

/// Decrypts the session key with the node's key. Only the first packet that names the key is tried.
pub(super) fn session_key_for(node: &NodeKey, packets: &[PKESK]) -> Result<crypto::SessionKey> {
    let packet = packets
        .iter()
        .find(|p| node.is_recipient(p))
        .ok_or_else(|| Error::damaged("the message is not encrypted to this keynode's key"))?;
    node.open_session_key(packet)
        .ok_or_else(|| Error::damaged("the message's session key does not decrypt: damaged, or made for another key"))
}
