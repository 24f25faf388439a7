//! Messages: a keynode's blobs, sealed to the node's key and bound to their place.

use std::fmt;

use sequoia_openpgp::crypto;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::parse::Parse;

use super::container::{Container, Failure};
use super::content::{self, Content};
use super::envelope::Envelope;
use super::memory::Locked;
use super::node_key::NodeKey;
use super::padding::Padding;
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

    pub(super) fn random() -> Result<Self> {
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
/// The data exceed what a packet can hold (4 GiB with padding); the place has more than 255 bytes; the library failed.
pub fn seal(node: &NodeKey, place: &str, data: &[u8], padding: Padding) -> Result<Sealed> {
    let session_key = SessionKey::random()?;
    let key = session_key.to_library();
    let container = node.container();
    let content = Content::new(container, place, data, padding)?;
    let mut message = node.seal_session_key(&key)?;
    container.seal(&key, &content, &mut message)?;
    Ok(Sealed { message, session_key })
}

/// Opens a message, with its session key if that is known, which costs no public-key operation, else by the node's key.
///
/// Nothing is returned before the whole message is verified. It takes no more memory than the data's limit, an eighth
/// of it for padding, and about 1 MiB.
///
/// # Errors
///
/// Damaged: tampered with, another shape, bound to another place, or not for this node or session key.
/// Too large: more than `limit` bytes.
pub fn open(node: &NodeKey, message: &[u8], place: &str, known: Option<&SessionKey>, limit: usize) -> Result<Opened> {
    let envelope = Envelope::for_keys(message)?;
    if Container::of(envelope.container) != Some(node.container()) {
        return Err(Error::damaged("the message is not of the keynode's profile"));
    }
    let (key, session_key) = if let Some(known) = known {
        (known.to_library(), known.clone())
    } else {
        let key = session_key_for(node, &envelope)?;
        let session_key =
            SessionKey::from_slice(&key).ok_or_else(|| Error::damaged("the message is not encrypted with AES-256"))?;
        (key, session_key)
    };
    let data = open_with(&key, &envelope, place, limit).map_err(|e| match e {
        Unopened::Failure(_) => {
            Error::damaged("the message does not verify: damaged, or changed by somebody without its key")
        }
        Unopened::Error(error) => error,
    })?;
    Ok(Opened { data, session_key })
}

/// Why a message did not open.
pub(super) enum Unopened {
    Failure(Failure),
    Error(Error),
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Opens what an envelope holds with its session key.
pub(super) fn open_with(
    key: &crypto::SessionKey,
    envelope: &Envelope<'_>,
    place: &str,
    limit: usize,
) -> std::result::Result<Locked, Unopened> {
    let body = envelope.container;
    let container =
        Container::of(body).ok_or_else(|| Error::damaged("the message is of a kind that pkfs does not know"))?;
    if body.len() > content::longest(limit) {
        return Err(
            Error::new(Kind::TooLarge, format!("the message holds more than the {limit} bytes allowed here")).into()
        );
    }
    let (plain, range) = container.open(key, body).map_err(Unopened::Failure)?;
    Ok(content::unpack(container, plain, &range, place, limit)?)
}

/// Decrypts the session key with the node's key. Only the first packet that names the key is tried.
fn session_key_for(node: &NodeKey, envelope: &Envelope<'_>) -> Result<crypto::SessionKey> {
    let mut packets = envelope.keys().filter_map(|p| PKESK::from_bytes(p.body).ok());
    let packet = packets
        .find(|p| node.is_recipient(p))
        .ok_or_else(|| Error::damaged("the message is not encrypted to this keynode's key"))?;
    node.open_session_key(&packet)
        .ok_or_else(|| Error::damaged("the message's session key does not decrypt: damaged, or made for another key"))
}
