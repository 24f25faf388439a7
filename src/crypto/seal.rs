//! Writing a message: session key packets, then an encrypted container with one literal.
//!
//! The library does the work; what of the plaintext passes through its buffers is wiped by the program's allocator.

use sequoia_openpgp::KeyHandle;
use sequoia_openpgp::serialize::stream::{Encryptor, Message, Recipient};
use sequoia_openpgp::types::{AEADAlgorithm, Features, SymmetricAlgorithm};

use super::certificate::PublicKey;
use super::content;
use super::counters::SEALED;
use super::message::SessionKey;
use super::padding::Padding;
use crate::error::{Error, Kind, Result};

/// Which encrypted container: SEIPD version 1 (CFB with a digest) or 2 (AEAD), RFC 9580, 5.13. Always AES-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    V1,
    V2,
}

/// How a message is to be sealed.
pub(super) struct Sealing<'a> {
    pub(super) container: Container,
    pub(super) session_key: &'a SessionKey,
    /// Session key packets that exist already, with which the message begins.
    pub(super) key_packets: &'a [u8],
    /// To whom the session key is encrypted besides.
    pub(super) recipients: &'a [PublicKey],
}

impl Sealing<'_> {
    /// The message with these data.
    ///
    /// # Errors
    ///
    /// The place has more than 255 bytes; the data have more than 3 GiB; the library failed.
    pub(super) fn seal(&self, place: &str, data: &[u8], padding: Padding) -> Result<Vec<u8>> {
        content::check(place, data)?;
        self.write(|message| content::write(message, self.container, place, data, padding))
            .map_err(|e| Error::new(Kind::Failed, "cannot encrypt").because(e))
    }

    /// The message whose container has the packets that `content` writes.
    pub(super) fn write(
        &self,
        content: impl FnOnce(Message<'_>) -> sequoia_openpgp::Result<()>,
    ) -> sequoia_openpgp::Result<Vec<u8>> {
        let mut out = self.key_packets.to_vec();
        let recipients = self.recipients.iter().map(|key| {
            SEALED.count();
            match self.container {
                Container::V1 => Recipient::new(Features::empty().set_seipdv1(), KeyHandle::from(key.keyid()), key),
                Container::V2 => Recipient::new(Features::empty().set_seipdv2(), key.key_handle(), key),
            }
        });
        let message = Message::new(&mut out);
        let aes = SymmetricAlgorithm::AES256;
        let encryptor =
            Encryptor::with_session_key(message, aes, self.session_key.to_library())?.add_recipients(recipients);
        let encryptor = match self.container {
            Container::V1 => encryptor,
            Container::V2 => encryptor.aead_algo(AEADAlgorithm::OCB),
        };
        content(encryptor.build()?)?;
        Ok(out)
    }
}
