//! The outer shape of a message: packets that carry the session key, then one encrypted container, and nothing else.
//!
//! Only packets of a definite length are read (RFC 9580, 4.2), which is all that pkfs writes.

use crate::error::{Error, Result};

/// Packet types (RFC 9580, 5).
pub(super) mod tag {
    pub(in super::super) const PKESK: u8 = 1;
    pub(in super::super) const SKESK: u8 = 3;
    pub(in super::super) const COMPRESSED: u8 = 8;
    pub(in super::super) const LITERAL: u8 = 11;
    pub(in super::super) const SEIPD: u8 = 18;
    pub(in super::super) const PADDING: u8 = 21;
}

/// The length of a header as [`header`] writes it.
pub(super) const HEADER: usize = 6;

/// A packet header with a five-octet length, so that its own size tells nothing.
pub(super) fn header(tag: u8, len: usize) -> Option<[u8; HEADER]> {
    let [a, b, c, d] = u32::try_from(len).ok()?.to_be_bytes();
    Some([0xc0 | tag, 0xff, a, b, c, d])
}

/// One packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

/// The packet at the beginning and what follows it; none if there is no whole packet of definite length.
pub(super) fn next(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (tag, len, rest) = match first {
        // The newer format.
        0xc0.. => {
            let (&octet, rest) = rest.split_first()?;
            let (len, rest) = match octet {
                0..192 => (usize::from(octet), rest),
                192..224 => {
                    let (&low, rest) = rest.split_first()?;
                    (((usize::from(octet) - 192) << 8) + usize::from(low) + 192, rest)
                }
                255 => number(rest, 4)?,
                _ => return None,
            };
            (first & 0x3f, len, rest)
        }
        // The older one, which gpg writes for short packets; its fourth kind of length is indefinite.
        0x80.. => {
            let octets = [1, 2, 4].get(usize::from(first & 3))?;
            let (len, rest) = number(rest, *octets)?;
            (first >> 2 & 0xf, len, rest)
        }
        _ => return None,
    };
    let (body, rest) = rest.split_at_checked(len)?;
    Some((Packet { tag, body }, rest))
}

fn number(bytes: &[u8], octets: usize) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_at_checked(octets)?;
    Some((number.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest))
}

/// A message, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'a> {
    /// The packets that carry the session key, at least one.
    pub(super) key_packets: &'a [u8],
    /// The body of the encrypted container.
    pub(super) container: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes a message apart.
    ///
    /// # Errors
    ///
    /// Damaged: the packets are not those of a message.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self> {
        let mut rest = message;
        loop {
            let before = rest;
            let Some((packet, after)) = next(rest) else {
                return Err(Error::damaged("not a whole OpenPGP message"));
            };
            rest = after;
            match packet.tag {
                tag::PKESK | tag::SKESK => {}
                tag::SEIPD if !after.is_empty() => return Err(Error::damaged("something follows the OpenPGP message")),
                tag::SEIPD => {
                    let key_packets = message.get(..message.len() - before.len()).unwrap_or_default();
                    if key_packets.is_empty() {
                        return Err(Error::damaged("the OpenPGP message is encrypted to nobody"));
                    }
                    return Ok(Self { key_packets, container: packet.body });
                }
                _ => return Err(Error::damaged("not an encrypted OpenPGP message")),
            }
        }
    }

    /// Takes a message apart that only keys may open.
    ///
    /// # Errors
    ///
    /// Damaged: the packets are not those of a message, or a passphrase would open it.
    pub(super) fn for_keys(message: &'a [u8]) -> Result<Self> {
        let envelope = Self::parse(message)?;
        if envelope.keys().any(|p| p.tag != tag::PKESK) {
            return Err(Error::damaged("a passphrase would open the OpenPGP message"));
        }
        Ok(envelope)
    }

    /// The packets that carry the session key.
    pub(super) fn keys(&self) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let mut rest = self.key_packets;
        std::iter::from_fn(move || {
            let (packet, after) = next(rest)?;
            rest = after;
            Some(packet)
        })
    }
}

/// The session key packet with this body, and its header.
pub(super) fn key_packet(tag: u8, body: &[u8]) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(HEADER + body.len());
    match u8::try_from(body.len()) {
        Ok(len @ 0..192) => packet.extend([0xc0 | tag, len]),
        _ => packet.extend(header(tag, body.len())?),
    }
    packet.extend_from_slice(body);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_every_form() {
        let body = vec![7; 300];
        for header in
            [&[0xd2, 0xc0, 0x6c][..], &[0xd2, 0xff, 0, 0, 1, 0x2c], &[0xc9, 0xff, 0, 0, 1, 0x2c], &[0x85, 1, 0x2c]]
        {
            let bytes = [header, &body, b"rest"].concat();
            let (packet, rest) = next(&bytes).expect("a packet");
            assert_eq!((packet.body, rest), (&body[..], &b"rest"[..]));
        }
        assert_eq!(next(&[0x84, 2, 1, 2]).map(|(p, _)| p.tag), Some(1));
    }

    #[test]
    fn what_has_no_definite_length_is_refused() {
        for bytes in [
            &[][..],
            &[0xd2],
            &[0xd2, 5, 1],
            &[0xd2, 0xe1, 1, 1],
            &[0xd2, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xa3, 1],
            &[0x12, 0],
        ] {
            assert!(next(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn only_the_shape_of_a_message_is_taken() {
        let (key, sealed, literal) = (&[0xc1, 1, 3][..], &[0xd2, 2, 1, 9][..], &[0xcb, 1, 0][..]);
        assert!(
            Envelope::parse(&[key, key, sealed].concat()).is_ok_and(|e| e.keys().count() == 2 && e.container == [1, 9])
        );
        for parts in [
            &[sealed][..],
            &[key],
            &[key, sealed, literal],
            &[key, literal, sealed],
            &[key, sealed, sealed],
            &[literal],
        ] {
            assert!(Envelope::parse(&parts.concat()).is_err(), "{parts:?}");
        }
    }
}
