//! What is inside a container: one literal packet that is named after its place, padded.
//!
//! In a version 1 container the literal sits in a compressed packet. Padding is deflate's own: stored blocks with the
//! data, then empty stored blocks (RFC 1951, 3.2.4), then a few bytes of empty blocks that make the length exact. In a
//! version 2 container a padding packet follows the literal (RFC 9580, 5.14).
//!
//! A large file that is mostly holes is really compressed, in either container.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use sequoia_openpgp::Packet;
use sequoia_openpgp::packet::{Literal, Padding as PaddingPacket, Tag};
use sequoia_openpgp::serialize::Marshal;
use sequoia_openpgp::serialize::stream::Message;
use sequoia_openpgp::types::{CompressionAlgorithm, DataFormat};

use super::memory::{Locked, holes};
use super::padding::Padding;
use super::seal::Container;
use crate::error::{Error, Kind, Result};

const STORED_MAX: usize = 65_535;
/// An empty stored block that is not the last.
const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// Ends of a deflate stream that hold nothing, one of each length from 2 to 6: empty blocks with fixed codes of ten bits
/// each, or a stored one.
const ENDS: [&[u8]; 5] = [
    &[0x03, 0x00],
    &[0x02, 0x0c, 0x00],
    &[0x02, 0x08, 0x30, 0x00],
    &[0x01, 0x00, 0x00, 0xff, 0xff],
    &[0x02, 0x04, 0x00, 0x00, 0xff, 0xff],
];
/// The length of a header as [`header`] makes it.
const HEADER: usize = 6;
/// Packets have at most 4 GiB, padding and framing included.
const DATA_MAX: usize = 3 << 30;
/// Up to this size nothing is ever compressed: the length would tell of what it holds.
const NEVER_COMPRESSED: usize = 64 << 20;

/// Whether this can be sealed at all.
///
/// # Errors
///
/// The place has more than 255 bytes; the data have more than 3 GiB.
pub(super) fn check(place: &str, data: &[u8]) -> Result<()> {
    if place.len() > 255 {
        return Err(Error::new(Kind::NameTooLong, "the place of a message has more than 255 bytes"));
    }
    if data.len() > DATA_MAX {
        return Err(Error::new(Kind::TooLarge, "the value is larger than an OpenPGP packet can be"));
    }
    Ok(())
}

/// Writes the packets that go into a container, and finishes the message.
pub(super) fn write(
    mut message: Message<'_>,
    container: Container,
    place: &str,
    data: &[u8],
    padding: Padding,
) -> sequoia_openpgp::Result<()> {
    if data.len() > NEVER_COMPRESSED && holes::data(data) < data.len() / 2 {
        write_deflated(&mut message, container, place, data, padding)?;
        return message.finalize();
    }
    let literal = literal(place, data)?;
    match container {
        Container::V1 => write_stored(&mut message, &literal, padding)?,
        Container::V2 => {
            message.write_all(&literal)?;
            write_padding(&mut message, literal.len(), padding)?;
        }
    }
    message.finalize()
}

/// Writes the padding packet that follows this many bytes.
fn write_padding(out: &mut Message<'_>, before: usize, padding: Padding) -> sequoia_openpgp::Result<()> {
    let bare = before + HEADER;
    let amount = target(padding, bare)? - bare;
    out.write_all(&header(Tag::Padding, amount)?)?;
    PaddingPacket::new(amount)?.serialize(out)
}

fn literal(place: &str, data: &[u8]) -> sequoia_openpgp::Result<Locked> {
    let mut literal = Literal::new(DataFormat::Binary);
    literal.set_filename(place)?;
    literal.set_body(data.to_vec());
    let mut packet = Locked::with_capacity(data.len() + place.len() + 12);
    Packet::from(literal).serialize(&mut packet)?;
    Ok(packet)
}

/// The header of a packet, with a five-octet length: any total can be had (RFC 9580, 4.2.1.3).
fn header(tag: Tag, body: usize) -> sequoia_openpgp::Result<[u8; HEADER]> {
    let [a, b, c, d] = u32::try_from(body)?.to_be_bytes();
    Ok([0xc0 | u8::from(tag), 0xff, a, b, c, d])
}

fn target(padding: Padding, bare: usize) -> io::Result<usize> {
    padding.target(bare).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

/// Writes a compressed packet in which this one is stored as it is, padded.
fn write_stored(out: &mut impl Write, packet: &[u8], padding: Padding) -> sequoia_openpgp::Result<()> {
    let bare = HEADER + 1 + packet.len() + packet.len().div_ceil(STORED_MAX) * EMPTY.len();
    let total = target(padding, bare + 2)?;
    let mut head = header(Tag::CompressedData, total - HEADER)?.to_vec();
    head.push(CompressionAlgorithm::Zip.into());
    for block in packet.chunks(STORED_MAX) {
        let len = u16::try_from(block.len())?;
        head.push(0);
        head.extend(len.to_le_bytes());
        head.extend((!len).to_le_bytes());
        out.write_all(&head)?;
        out.write_all(block)?;
        head.clear();
    }
    Ok(write_filling(out, total - bare)?)
}

/// Writes a compressed packet with a literal that is mostly zeros, padded.
fn write_deflated(
    out: &mut Message<'_>,
    container: Container,
    place: &str,
    data: &[u8],
    padding: Padding,
) -> sequoia_openpgp::Result<()> {
    let mut head = header(Tag::Literal, 1 + 1 + place.len() + 4 + data.len())?.to_vec();
    head.extend([b'b', u8::try_from(place.len())?]);
    head.extend(place.as_bytes());
    head.extend([0; 4]);
    let mut deflate = DeflateEncoder::new(Locked::default(), Compression::default());
    deflate.write_all(&head)?;
    for piece in data.chunks(STORED_MAX) {
        deflate.write_all(piece)?;
    }
    // To a byte's end, but not to the stream's: that is the filling's.
    deflate.flush()?;
    let packed = std::mem::take(deflate.get_mut());

    let bare = HEADER + 1 + packed.len();
    let filling = match container {
        Container::V1 => target(padding, bare + 2)? - bare,
        Container::V2 => 2,
    };
    out.write_all(&header(Tag::CompressedData, bare + filling - HEADER)?)?;
    out.write_all(&[CompressionAlgorithm::Zip.into()])?;
    out.write_all(&packed)?;
    write_filling(out, filling)?;
    match container {
        Container::V1 => Ok(()),
        Container::V2 => write_padding(out, bare + filling, padding),
    }
}

/// Writes exactly `len` bytes (2 or more) that end the stream and hold nothing.
fn write_filling(out: &mut impl Write, len: usize) -> io::Result<()> {
    let (empty, end) = ((len - 2) / EMPTY.len(), (len - 2) % EMPTY.len());
    let mut filling = EMPTY.repeat(empty);
    filling.extend(ENDS.get(end).copied().unwrap_or_default());
    out.write_all(&filling)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse};

    use super::*;

    fn written(container: Container, place: &str, data: &[u8], padding: Padding) -> Vec<u8> {
        let mut out = Vec::new();
        write(Message::new(&mut out), container, place, data, padding).expect("memory");
        out
    }

    #[test]
    fn lengths_are_exactly_the_padded_ones() {
        for len in (0..1200).chain(8200..9200) {
            let data = vec![b'x'; len];
            for container in [Container::V1, Container::V2] {
                let value = written(container, "0123456789abcdef", &data, Padding::Value).len();
                assert_eq!(Padding::Value.target(value), Some(value), "{len}");
                assert!(value <= Padding::Value.target(len + 60).unwrap_or(0), "{len}");
                let change = written(container, "change", &data, Padding::Change).len();
                assert_eq!((change % 512, Padding::Change.target(change)), (0, Some(change)), "{len}");
            }
        }
    }

    #[test]
    fn every_end_is_valid_deflate_and_holds_nothing() {
        for (i, end) in ENDS.iter().enumerate() {
            assert_eq!(end.len(), i + 2);
            for (len, filling) in [(i + 2, *end), (5 * 1700 + i + 2, &[])] {
                let mut out = Vec::new();
                write_filling(&mut out, len).expect("memory");
                assert!(out.len() == len && out.ends_with(filling));
                let mut inflater = flate2::bufread::DeflateDecoder::new(&out[..]);
                assert_eq!(inflater.read(&mut [0]).ok(), Some(0));
                assert!(inflater.into_inner().is_empty(), "all of it is the stream");
            }
        }
    }

    #[test]
    fn what_was_written_is_a_named_literal() {
        for len in [0, 1, 64, 65_500, 65_535, 65_536, 200_000] {
            let data: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
            for container in [Container::V1, Container::V2] {
                for padding in [Padding::Value, Padding::Change] {
                    let bytes = written(container, "here", &data, padding);
                    let mut rest = PacketParser::from_bytes(&bytes).expect("packets");
                    let mut found = 0;
                    while let PacketParserResult::Some(mut parser) = rest {
                        if let Packet::Literal(literal) = &parser.packet {
                            assert_eq!((literal.filename(), literal.date()), (Some(&b"here"[..]), None));
                            let mut body = Vec::new();
                            parser.read_to_end(&mut body).expect("a body");
                            assert!(body == data, "{len} {padding:?}");
                            found += 1;
                        }
                        rest = parser.recurse().expect("packets").1;
                    }
                    assert_eq!(found, 1);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        assert!(check(&"x".repeat(255), &[]).is_ok());
        assert_eq!(check(&"x".repeat(256), &[]).expect_err("too long").kind(), Kind::NameTooLong);
    }
}
