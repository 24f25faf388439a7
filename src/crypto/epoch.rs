//! Many messages under one session key: the changes after a checkpoint.

use super::container::Container;
use super::content::Content;
use super::envelope::Envelope;
use super::message::SessionKey;
use super::node_key::NodeKey;
use super::padding::Padding;
use crate::error::{Error, Result};

/// A session key and the packets that carry it. What is sealed with it costs no public-key operation, and is a whole
/// message that the node's key opens.
#[derive(Debug, Clone)]
pub struct Epoch {
    key_packets: Vec<u8>,
    session_key: SessionKey,
    container: Container,
}

impl Epoch {
    /// Takes over the session key packets of a message whose session key is `key`.
    ///
    /// # Errors
    ///
    /// Damaged: not a message.
    pub fn of(message: &[u8], key: &SessionKey) -> Result<Self> {
        let envelope = Envelope::for_keys(message)?;
        let container = Container::of(envelope.container)
            .ok_or_else(|| Error::damaged("the message is of a kind that pkfs does not know"))?;
        Ok(Self { key_packets: envelope.key_packets.to_vec(), session_key: key.clone(), container })
    }

    /// Begins a new epoch of this node.
    ///
    /// # Errors
    ///
    /// The library failed.
    pub fn new(node: &NodeKey) -> Result<Self> {
        let session_key = SessionKey::random()?;
        let key_packets = node.seal_session_key(&session_key.to_library())?;
        Ok(Self { key_packets, session_key, container: node.container() })
    }

    /// Seals data under the epoch's session key, bound to a place.
    ///
    /// # Errors
    ///
    /// As [`super::message::seal`].
    pub fn seal(&self, place: &str, data: &[u8], padding: Padding) -> Result<Vec<u8>> {
        let content = Content::new(self.container, place, data, padding)?;
        let mut message = self.key_packets.clone();
        self.container.seal(&self.session_key.to_library(), &content, &mut message)?;
        Ok(message)
    }

    /// The session key.
    pub const fn session_key(&self) -> &SessionKey {
        &self.session_key
    }

    /// The packets with which every message of the epoch begins.
    pub fn pkesk(&self) -> &[u8] {
        &self.key_packets
    }

    /// Whether this message was sealed under the epoch, that is, begins with exactly its session key packets.
    pub fn covers(&self, message: &[u8]) -> bool {
        Envelope::for_keys(message).is_ok_and(|e| e.key_packets == self.key_packets)
    }
}
