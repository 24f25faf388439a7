//! Many messages under one session key: the changes after a checkpoint.

use sequoia_openpgp::Packet;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::serialize::Marshal;

use super::message::{SessionKey, session_key_for};
use super::node_key::NodeKey;
use super::padding::Padding;
use super::seal::{Container, Sealing};
use super::unseal::key_packets;
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
    /// Damaged: not a message as [`super::message::seal`] writes it.
    pub fn of(message: &[u8], key: &SessionKey) -> Result<Self> {
        let (packets, container) = key_packets(message)?;
        Self::from_packets(message, packets, container, key.clone())
    }

    /// The epoch that a message belongs to, whose session key the node's key opens. The message itself is not opened.
    ///
    /// # Errors
    ///
    /// Damaged: not a message as [`super::message::seal`] writes it, or not for this node.
    pub fn unlock(node: &NodeKey, message: &[u8]) -> Result<Self> {
        let (packets, container) = key_packets(message)?;
        let public: Vec<PKESK> = packets
            .iter()
            .filter_map(|packet| match packet {
                Packet::PKESK(packet) => Some(packet.clone()),
                _ => None,
            })
            .collect();
        let key = SessionKey::from_slice(&session_key_for(node, &public)?)
            .ok_or_else(|| Error::damaged("the message is not encrypted with AES-256"))?;
        Self::from_packets(message, packets, container, key)
    }

    fn from_packets(
        message: &[u8],
        packets: Vec<Packet>,
        container: Container,
        session_key: SessionKey,
    ) -> Result<Self> {
        let mut bytes = Vec::new();
        for packet in packets {
            match packet {
                Packet::PKESK(_) => packet.serialize(&mut bytes),
                _ => return Err(Error::damaged("a passphrase would open the OpenPGP message")),
            }
            .map_err(|e| Error::damaged("the message's session key packets are damaged").because(e))?;
        }
        if !message.starts_with(&bytes) {
            return Err(Error::damaged("the message's session key packets are not written as pkfs writes them"));
        }
        Ok(Self { key_packets: bytes, session_key, container })
    }

    /// Seals data under the epoch's session key, bound to a place.
    ///
    /// # Errors
    ///
    /// As [`super::message::seal`].
    pub fn seal(&self, place: &str, data: &[u8], padding: Padding) -> Result<Vec<u8>> {
        let (container, session_key, key_packets) = (self.container, &self.session_key, &self.key_packets[..]);
        Sealing { container, session_key, key_packets, recipients: &[] }.seal(place, data, padding)
    }

    /// The session key.
    pub const fn session_key(&self) -> &SessionKey {
        &self.session_key
    }

    /// The packets with which every message of the epoch begins.
    pub fn pkesk(&self) -> &[u8] {
        &self.key_packets
    }

    /// Whether this message was sealed under the epoch, that is, begins with its session key packets.
    pub fn covers(&self, message: &[u8]) -> bool {
        message.starts_with(&self.key_packets)
    }
}
