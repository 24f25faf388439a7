//! Reading a message: exactly the shape that pkfs writes, verified whole before any of it is handed on.
//!
//! The library does the work; what of the plaintext passes through its buffers is wiped by the program's allocator.

use sequoia_openpgp::crypto;
use sequoia_openpgp::packet::{PKESK, Packet, SEIP, SKESK, Tag};
use sequoia_openpgp::parse::buffered_reader::BufferedReader;
use sequoia_openpgp::parse::{Dearmor, PacketParser, PacketParserBuilder, PacketParserResult, Parse};
use sequoia_openpgp::types::{CompressionAlgorithm, SymmetricAlgorithm};

use super::memory::Locked;
use super::seal::Container;
use crate::error::{Error, Kind, Result};

/// What the library believes to be there after a container's header: 18 octets to try a key on, and the digest.
const LEAST: usize = 18 + 22;

/// Tries a session key: whether the beginning of the message decrypts with it.
pub(super) type Attempt<'a> = dyn FnMut(&crypto::SessionKey) -> bool + 'a;

/// What is expected of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) place: &'a str,
    /// The most bytes it may hold.
    pub(super) limit: usize,
    /// Which container it must have.
    pub(super) container: Option<Container>,
}

impl Expected<'_> {
    /// Opens a message. `unlock` finds the session key in the packets that carry it, and tries it.
    ///
    /// # Errors
    ///
    /// Those of `unlock`. Damaged: tampered with, another shape, or bound to another place. Too large: beyond the limit.
    pub(super) fn open(
        self,
        message: &[u8],
        mut unlock: impl FnMut(&[PKESK], &[SKESK], &mut Attempt<'_>) -> Result<()>,
    ) -> Result<Locked> {
        let (mut public, mut passphrases) = (Vec::new(), Vec::new());
        let (mut stage, mut here, mut data) = (Stage::Keys, false, Locked::default());
        let mut rest = parse(message)?;
        while let PacketParserResult::Some(mut parser) = rest {
            stage = self.next(stage, &parser)?;
            match &parser.packet {
                Packet::SEIP(_) => {
                    if public.is_empty() && passphrases.is_empty() {
                        return Err(Error::damaged("the OpenPGP message is encrypted to nobody"));
                    }
                    // The library takes a shorter one for granted, and panics.
                    parser.data_hard(LEAST).map_err(|e| unverified().because(e))?;
                    let aes = SymmetricAlgorithm::AES256;
                    unlock(&public, &passphrases, &mut |key| parser.decrypt(aes, key).is_ok())?;
                }
                Packet::Literal(literal) => {
                    here = literal.filename().unwrap_or_default() == self.place.as_bytes();
                    data = self.read(&mut parser, message.len())?;
                }
                _ => {}
            }
            let (packet, following) = parser.recurse().map_err(|e| unverified().because(e))?;
            match packet {
                Packet::PKESK(packet) => public.push(packet),
                Packet::SKESK(packet) => passphrases.push(packet),
                _ => {}
            }
            rest = following;
        }
        // The library has read to the end, and so checked what AEAD has; a digest was a packet of its own.
        match (stage, rest) {
            (Stage::Literal(Container::V2) | Stage::End, PacketParserResult::EOF(end)) => {
                end.is_message().map_err(|e| wrong_shape().because(e))?;
            }
            _ => return Err(unverified()),
        }
        if !here {
            return Err(Error::damaged("the message belongs to another place")
                .hint("somebody may have put another secret's message here"));
        }
        Ok(data)
    }

    fn read(self, parser: &mut PacketParser<'_>, expected: usize) -> Result<Locked> {
        Locked::read(parser, expected, self.limit).map_err(|e| match e.kind() {
            std::io::ErrorKind::FileTooLarge => {
                Error::new(Kind::TooLarge, format!("the message holds more than the {} bytes allowed here", self.limit))
            }
            _ => unverified().because(e),
        })
    }

    /// What this packet is, in the shape that pkfs writes.
    #[allow(deprecated, reason = "the library deprecates the digest packet for whoever would write one")]
    fn next(self, stage: Stage, parser: &PacketParser<'_>) -> Result<Stage> {
        let stage = match (stage, parser.recursion_depth(), parser.packet.tag(), &parser.packet) {
            (Stage::Keys, 0, Tag::PKESK | Tag::SKESK, _) => Stage::Keys,
            (Stage::Keys, 0, _, Packet::SEIP(packet)) => {
                let container = container_of(packet).ok_or_else(wrong_shape)?;
                if self.container.is_some_and(|c| c != container) {
                    return Err(Error::damaged("the message is not of the keynode's profile"));
                }
                Stage::Container(container)
            }
            (Stage::Container(container), 1, _, Packet::CompressedData(packet))
                if packet.algo() == CompressionAlgorithm::Zip =>
            {
                Stage::Compressed(container)
            }
            (Stage::Compressed(container), 2, _, Packet::Literal(_)) => Stage::Literal(container),
            (Stage::Container(Container::V2), 1, _, Packet::Literal(_)) => Stage::Literal(Container::V2),
            (Stage::Literal(Container::V1), 1, _, Packet::MDC(digest)) if digest.valid() => Stage::End,
            // One that is very long the library passes over as unknown, tag and all.
            (Stage::Literal(Container::V2), 1, Tag::Padding, _) => Stage::End,
            (Stage::Keys, ..) => return Err(Error::damaged("not an encrypted OpenPGP message")),
            (Stage::Literal(Container::V1), 1, Tag::MDC, _) => return Err(unverified()),
            _ => return Err(wrong_shape()),
        };
        Ok(stage)
    }
}

/// What was last seen of a message.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Keys,
    Container(Container),
    Compressed(Container),
    Literal(Container),
    End,
}

/// The packets with which a message begins, and which container follows them.
///
/// # Errors
///
/// Damaged: not an encrypted message, or encrypted to nobody.
pub(super) fn key_packets(message: &[u8]) -> Result<(Vec<Packet>, Container)> {
    let mut packets = Vec::new();
    let mut rest = parse(message)?;
    while let PacketParserResult::Some(parser) = rest {
        match (parser.packet.tag(), &parser.packet) {
            (Tag::PKESK | Tag::SKESK, _) => {}
            (_, Packet::SEIP(container)) if !packets.is_empty() => {
                return container_of(container).map(|c| (packets, c)).ok_or_else(wrong_shape);
            }
            _ => break,
        }
        let (packet, following) = parser.next().map_err(broken)?;
        packets.push(packet);
        rest = following;
    }
    Err(Error::damaged("not an encrypted OpenPGP message"))
}

/// Begins to read packets, which may not be in armor.
fn parse(message: &[u8]) -> Result<PacketParserResult<'_>> {
    PacketParserBuilder::from_bytes(message).and_then(|p| p.dearmor(Dearmor::Disabled).build()).map_err(broken)
}

fn container_of(packet: &SEIP) -> Option<Container> {
    match packet {
        SEIP::V1(_) => Some(Container::V1),
        SEIP::V2(packet) if packet.symmetric_algo() == SymmetricAlgorithm::AES256 => Some(Container::V2),
        _ => None,
    }
}

fn broken(error: sequoia_openpgp::anyhow::Error) -> Error {
    Error::damaged("not a whole OpenPGP message").because(error)
}

/// What is damaged, or was changed by somebody without its key.
pub(super) fn unverified() -> Error {
    Error::damaged("the message does not verify: damaged, or changed by somebody without its key")
}

fn wrong_shape() -> Error {
    Error::damaged("the message does not have the shape that pkfs writes")
}
