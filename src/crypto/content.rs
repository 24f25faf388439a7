//! What is inside a container: one literal packet that is named after its place, padded or compressed.
//!
//! In a version 1 container the literal sits in a compressed packet. Padding is deflate's own: stored blocks with the
//! data, then empty stored blocks (RFC 1951, 3.2.4), then a few bytes of empty blocks that make the length exact. In a
//! version 2 container a padding packet follows the literal (RFC 9580, 5.14).

use std::io::{self, Write};
use std::ops::Range;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};

use super::container::Container;
use super::envelope::{self, HEADER, header, tag};
use super::memory::Locked;
use super::padding::Padding;
use crate::error::{Error, Kind, Result};

/// Raw deflate, which `OpenPGP` calls ZIP.
const ZIP: u8 = 1;
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
/// The longest literal header: packet header, format, name, date.
const LITERAL_HEADER_MAX: usize = HEADER + 2 + 255 + 4;

/// A content to be sealed: its exact length is known before it is written.
pub(super) struct Content<'a> {
    head: Vec<u8>,
    data: &'a [u8],
    form: Form,
}

enum Form {
    /// Stored blocks with this many bytes of filling (2 or more).
    Stored {
        blocks: usize,
        filling: usize,
    },
    Compressed(Locked),
    /// The literal as it is, and a padding packet with a body of this length.
    Plain {
        padding: usize,
    },
}

impl<'a> Content<'a> {
    /// Prepares this data for a place.
    ///
    /// # Errors
    ///
    /// The place has more than 255 bytes; the data have more than about 3.7 GiB.
    pub(super) fn new(container: Container, place: &str, data: &'a [u8], padding: Padding) -> Result<Self> {
        let name = u8::try_from(place.len())
            .map_err(|_| Error::new(Kind::NameTooLong, "the place of a message has more than 255 bytes"))?;
        let too_large = || Error::new(Kind::TooLarge, "the value is larger than an OpenPGP packet can be");
        let mut head = Vec::with_capacity(LITERAL_HEADER_MAX);
        let body = data.len().checked_add(6 + place.len()).ok_or_else(too_large)?;
        head.extend(header(tag::LITERAL, body).ok_or_else(too_large)?);
        head.extend([b'b', name]);
        head.extend(place.bytes());
        head.extend([0; 4]);
        let len = head.len() + data.len();
        let form = match (padding, container) {
            (Padding::Compressed, _) => Form::Compressed(compress(&head, data)?),
            (_, Container::V1) => {
                let blocks = len.div_ceil(STORED_MAX);
                let bare = HEADER + 1 + len + blocks * EMPTY.len();
                let target = padding.target(bare + 2).ok_or_else(too_large)?;
                Form::Stored { blocks, filling: target - bare }
            }
            (_, Container::V2) => {
                let bare = len + HEADER;
                Form::Plain { padding: padding.target(bare).ok_or_else(too_large)? - bare }
            }
        };
        let content = Self { head, data, form };
        u32::try_from(content.len()).map_err(|_| too_large())?;
        Ok(content)
    }

    /// How many bytes [`Content::write`] writes.
    pub(super) fn len(&self) -> usize {
        let literal = self.head.len() + self.data.len();
        match &self.form {
            Form::Stored { blocks, filling } => HEADER + 1 + literal + blocks * EMPTY.len() + filling,
            Form::Compressed(bytes) => HEADER + 1 + bytes.len(),
            Form::Plain { padding } => literal + HEADER + padding,
        }
    }

    /// Writes it.
    pub(super) fn write(&self, out: &mut impl Write) -> sequoia_openpgp::Result<()> {
        let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
        if !matches!(self.form, Form::Plain { .. }) {
            out.write_all(&header(tag::COMPRESSED, self.len() - HEADER).ok_or_else(too_long)?)?;
            out.write_all(&[ZIP])?;
        }
        match &self.form {
            Form::Stored { filling, .. } => {
                let (first, rest) = self.data.split_at(self.data.len().min(STORED_MAX - self.head.len()));
                write_stored(out, &[&self.head, first])?;
                for piece in rest.chunks(STORED_MAX) {
                    write_stored(out, &[piece])?;
                }
                write_filling(out, *filling)?;
            }
            Form::Compressed(bytes) => out.write_all(bytes)?,
            Form::Plain { padding } => {
                out.write_all(&self.head)?;
                out.write_all(self.data)?;
                out.write_all(&header(tag::PADDING, *padding).ok_or_else(too_long)?)?;
                let mut noise = vec![0; *padding];
                sequoia_openpgp::crypto::random(&mut noise)?;
                out.write_all(&noise)?;
            }
        }
        Ok(())
    }
}

fn write_stored(out: &mut impl Write, pieces: &[&[u8]]) -> io::Result<()> {
    let len: usize = pieces.iter().map(|p| p.len()).sum();
    let len = u16::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
    out.write_all(&[0, a, b, c, d])?;
    pieces.iter().try_for_each(|p| out.write_all(p))
}

/// Writes exactly `len` bytes (2 or more) that end the stream and hold nothing.
fn write_filling(out: &mut impl Write, len: usize) -> io::Result<()> {
    let end = (len.saturating_sub(2)) % EMPTY.len();
    let mut empty = (len - 2) / EMPTY.len();
    let many = EMPTY.repeat(empty.min(800));
    while empty > 0 {
        let now = empty.min(800);
        out.write_all(many.get(..now * EMPTY.len()).unwrap_or_default())?;
        empty -= now;
    }
    out.write_all(ENDS.get(end).copied().unwrap_or_default())
}

fn compress(head: &[u8], data: &[u8]) -> Result<Locked> {
    let failed = |e: io::Error| Error::new(Kind::Failed, "cannot compress").because(e);
    let mut out = DeflateEncoder::new(Locked::default(), Compression::fast());
    out.write_all(head).map_err(failed)?;
    out.write_all(data).map_err(failed)?;
    out.finish().map_err(failed)
}

/// The longest content in which `limit` bytes of data can be, padded as heavily as any is.
pub(super) fn longest(limit: usize) -> usize {
    limit.saturating_add(limit / 8).saturating_add(STORED_MAX)
}

/// Takes the data out of a content, which is what the range says of the memory.
///
/// # Errors
///
/// Damaged: another shape, or it belongs to another place. Too large: more than `limit` bytes.
pub(super) fn unpack(
    container: Container,
    mut plain: Locked,
    range: &Range<usize>,
    place: &str,
    limit: usize,
) -> Result<Locked> {
    let (first, body, rest) = packet(&plain, range).ok_or_else(wrong_shape)?;
    let padding = packet(&plain, &rest).filter(|(tag, _, rest)| *tag == tag::PADDING && rest.is_empty());
    if !rest.is_empty() && (padding.is_none() || container == Container::V1) {
        return Err(wrong_shape());
    }
    let literal = match (first, container) {
        (tag::COMPRESSED, _) => {
            let (algorithm, deflated) =
                plain.get(body.clone()).and_then(<[u8]>::split_first).ok_or_else(wrong_shape)?;
            if *algorithm != ZIP {
                return Err(wrong_shape());
            }
            if stored(deflated) {
                gather(&mut plain, body.start + 1);
            } else {
                plain = inflate(deflated, limit.saturating_add(LITERAL_HEADER_MAX))?;
            }
            let (tag, body, rest) = packet(&plain, &(0..plain.len())).ok_or_else(wrong_shape)?;
            if tag != tag::LITERAL || !rest.is_empty() {
                return Err(wrong_shape());
            }
            body
        }
        (tag::LITERAL, Container::V2) => body,
        _ => return Err(wrong_shape()),
    };
    let data = data(&plain, &literal, place)?;
    if data.len() > limit {
        return Err(exceeds(limit));
    }
    let len = data.len();
    plain.copy_within(data, 0);
    plain.truncate(len);
    plain.shrink_to_fit();
    Ok(plain)
}

/// The packet at the beginning of this range: its tag, where its body is and where what follows it.
fn packet(plain: &[u8], range: &Range<usize>) -> Option<(u8, Range<usize>, Range<usize>)> {
    let (packet, rest) = envelope::next(plain.get(range.clone())?)?;
    let end = range.end - rest.len();
    Some((packet.tag, end - packet.body.len()..end, end..range.end))
}

/// Where the data of the literal packet with this body are.
fn data(plain: &[u8], body: &Range<usize>, place: &str) -> Result<Range<usize>> {
    let Some([b'b', name, rest @ ..]) = plain.get(body.clone()) else { return Err(wrong_shape()) };
    let (name, rest) = rest.split_at_checked(usize::from(*name)).ok_or_else(wrong_shape)?;
    let data = rest.get(4..).ok_or_else(wrong_shape)?;
    if name != place.as_bytes() {
        return Err(Error::damaged("the message belongs to another place")
            .hint("somebody may have put another secret's message here"));
    }
    Ok(body.end - data.len()..body.end)
}

/// The first stored block of a deflate stream, if it is one and not the last; and what follows it.
fn stored_block(deflated: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0, a, b, c, d, rest @ ..] = deflated else { return None };
    let len = u16::from_le_bytes([*a, *b]);
    if u16::from_le_bytes([*c, *d]) != !len {
        return None;
    }
    rest.split_at_checked(usize::from(len))
}

/// Whether this is a stream of stored blocks as [`Content::write`] writes it.
fn stored(mut deflated: &[u8]) -> bool {
    while let Some((_, rest)) = stored_block(deflated) {
        deflated = rest;
    }
    ENDS.contains(&deflated)
}

/// Moves what the stored blocks from here on hold to the beginning of the memory, where it is then alone.
fn gather(plain: &mut Locked, mut at: usize) {
    let mut len = 0;
    while let Some(block) = plain.get(at..).and_then(|d| stored_block(d)).map(|(block, _)| block.len()) {
        let start = at + EMPTY.len();
        plain.copy_within(start..start + block, len);
        len += block;
        at = start + block;
    }
    plain.truncate(len);
}

/// Inflates, into `limit` bytes at most.
fn inflate(deflated: &[u8], limit: usize) -> Result<Locked> {
    let mut out = Locked::default();
    let mut state = Decompress::new(false);
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    loop {
        let (read, written) = (count(state.total_in()), count(state.total_out()));
        if written == out.len() {
            if written >= limit {
                return Err(exceeds(limit.saturating_sub(LITERAL_HEADER_MAX)));
            }
            out.resize(written.saturating_mul(2).clamp(STORED_MAX, limit.max(STORED_MAX)));
        }
        let (input, room) = (deflated.get(read..).unwrap_or_default(), out.get_mut(written..).unwrap_or_default());
        let status = state.decompress(input, room, FlushDecompress::None).map_err(|e| wrong_shape().because(e))?;
        if status == Status::StreamEnd {
            if count(state.total_in()) != deflated.len() {
                return Err(wrong_shape());
            }
            out.truncate(count(state.total_out()));
            return Ok(out);
        }
        if (count(state.total_in()), count(state.total_out())) == (read, written) {
            return Err(wrong_shape());
        }
    }
}

fn wrong_shape() -> Error {
    Error::damaged("the message does not have the shape that pkfs writes")
}

fn exceeds(limit: usize) -> Error {
    Error::new(Kind::TooLarge, format!("the message holds more than the {limit} bytes allowed here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(container: Container, place: &str, data: &[u8], padding: Padding) -> Locked {
        let content = Content::new(container, place, data, padding).expect("a content");
        let mut out = Locked::default();
        content.write(&mut out).expect("memory");
        assert_eq!(out.len(), content.len());
        out
    }

    fn unpacked(container: Container, plain: Locked, place: &str, limit: usize) -> Result<Locked> {
        let range = 0..plain.len();
        unpack(container, plain, &range, place, limit)
    }

    #[test]
    fn lengths_are_exactly_the_padded_ones() {
        for len in 0..1200 {
            let data = vec![b'x'; len];
            for container in [Container::V1, Container::V2] {
                let value = written(container, "0123456789abcdef", &data, Padding::Value).len();
                assert_eq!(Padding::Value.target(value), Some(value), "{len}");
                let change = written(container, "change", &data, Padding::Change).len();
                assert_eq!(change % 512, 0, "{len}");
            }
        }
    }

    #[test]
    fn every_end_is_valid_deflate_and_holds_nothing() {
        for (i, end) in ENDS.iter().enumerate() {
            assert_eq!(end.len(), i + 2);
            assert!(inflate(end, 1000).is_ok_and(|out| out.is_empty()), "{end:?}");
            let mut filling = Vec::new();
            write_filling(&mut filling, 5 * 1700 + i + 2).expect("memory");
            assert_eq!(filling.len(), 5 * 1700 + i + 2);
            assert!(inflate(&filling, 1000).is_ok_and(|out| out.is_empty()));
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for len in [0, 1, 64, 65_500, 65_535, 65_536, 200_000] {
            let data: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
            for container in [Container::V1, Container::V2] {
                for padding in [Padding::Value, Padding::Change, Padding::Compressed] {
                    let plain = written(container, "here", &data, padding);
                    let got = unpacked(container, plain, "here", data.len()).expect("it is sound");
                    assert_eq!(got.as_slice(), data, "{len} {padding:?}");
                }
            }
        }
    }

    #[test]
    fn the_two_readings_of_stored_blocks_agree() {
        let plain = written(Container::V1, "p", &vec![b'y'; 150_000], Padding::Value);
        let deflated = &plain[HEADER + 1..];
        assert!(stored(deflated));
        let mut gathered = plain.clone();
        gather(&mut gathered, HEADER + 1);
        assert_eq!(gathered, inflate(deflated, 1 << 20).expect("valid deflate"));
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        for padding in [Padding::Value, Padding::Compressed] {
            let plain = written(Container::V1, "p", &vec![0; 100_000], padding);
            let error = unpacked(Container::V1, plain.clone(), "p", 99_999).expect_err("one too many");
            assert_eq!(error.kind(), Kind::TooLarge);
            assert!(unpacked(Container::V1, plain, "p", 100_000).is_ok());
        }
    }

    #[test]
    fn another_place_is_refused() {
        let plain = written(Container::V1, "change", b"data", Padding::Change);
        for place in ["", "chang", "changes", "directory"] {
            assert_eq!(
                unpacked(Container::V1, plain.clone(), place, 100).expect_err("wrong place").kind(),
                Kind::Damaged
            );
        }
    }

    /// A packet of any tag.
    fn wrapped(tag: u8, body: &[u8]) -> Vec<u8> {
        [&header(tag, body.len()).expect("short")[..], body].concat()
    }

    fn zipped(body: &[u8]) -> Vec<u8> {
        wrapped(tag::COMPRESSED, &[&[ZIP], &compress(body, &[]).expect("memory")[..]].concat())
    }

    #[test]
    fn other_shapes_are_refused() {
        let literal = wrapped(tag::LITERAL, b"b\x01p\0\0\0\0data");
        let padding = wrapped(tag::PADDING, b"....");
        assert!(unpacked(Container::V1, Locked::from_slice(&zipped(&literal)), "p", 10).is_ok());
        let bad = [
            Vec::new(),
            literal.clone(),
            zipped(&[&literal[..], &literal].concat()),
            zipped(&zipped(&literal)),
            zipped(&[]),
            zipped(&wrapped(tag::LITERAL, b"b\x09p\0\0\0\0")),
            zipped(&wrapped(tag::LITERAL, b"b\x01p\0\0\0")),
            zipped(&wrapped(tag::LITERAL, b"t\x01p\0\0\0\0data")),
            [zipped(&literal), zipped(&literal)].concat(),
            [zipped(&literal), padding.clone()].concat(),
            wrapped(tag::COMPRESSED, &[&[0], &literal[..]].concat()),
            wrapped(tag::COMPRESSED, &[2, 0x78, 0x9c, 3, 0, 0, 0, 0, 1]),
            wrapped(tag::COMPRESSED, &[ZIP, 0, 5, 0, 0xfa, 0xff, 1]),
            wrapped(tag::COMPRESSED, &[&zipped(&literal)[HEADER..], b"x"].concat()),
        ];
        for plain in &bad {
            assert!(unpacked(Container::V1, Locked::from_slice(plain), "p", 10).is_err(), "{plain:?}");
        }
        for good in [literal.clone(), [&literal[..], &padding].concat(), [&zipped(&literal)[..], &padding].concat()] {
            assert!(unpacked(Container::V2, Locked::from_slice(&good), "p", 10).is_ok());
        }
        for bad in [[&padding[..], &literal].concat(), [&literal[..], &padding, &padding].concat(), padding] {
            assert!(unpacked(Container::V2, Locked::from_slice(&bad), "p", 10).is_err());
        }
    }
}
