//! Zlib streams. What they need is large beside most objects, so each thread makes it once.
//!
//! Nothing secret stays in it: objects are ciphertext, or readable by anybody who has the file.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::{Error, Result};

thread_local! {
    static INFLATE: Cell<Option<Decompress>> = const { Cell::new(None) };
    /// By level.
    static DEFLATE: [Cell<Option<Compress>>; 10] = const { [const { Cell::new(None) }; 10] };
}

/// Inflates a stream piece by piece: `next` gives the following compressed bytes, none at their end.
/// Stops at the stream's end; more than `limit` bytes are an error. Returns the bytes and how much was consumed.
/// Room is made for `expected` bytes at first, which the caller bounds by what the file can hold.
pub(super) fn inflate(limit: u64, expected: u64, next: impl FnMut(u64) -> Result<Vec<u8>>) -> Result<(Vec<u8>, u64)> {
    let mut stream = INFLATE.take().unwrap_or_else(|| Decompress::new(true));
    let inflated = inflate_by(&mut stream, limit, expected, next);
    stream.reset(true);
    INFLATE.set(Some(stream));
    inflated
}

fn inflate_by(
    stream: &mut Decompress,
    limit: u64,
    expected: u64,
    mut next: impl FnMut(u64) -> Result<Vec<u8>>,
) -> Result<(Vec<u8>, u64)> {
    let wrong = |what: &str| Error::damaged(format!("its compressed data {what}"));
    // One more, so that the end is seen without growing.
    let mut out: Vec<u8> = Vec::with_capacity(usize::try_from(expected + 1).unwrap_or_default());
    loop {
        let input = next(stream.total_in())?;
        let last = input.is_empty();
        let mut used = 0;
        loop {
            let before = (stream.total_in(), out.len());
            if out.len() == out.capacity() {
                out.reserve(out.len().clamp(1024, 1 << 20));
            }
            let rest = input.get(used..).unwrap_or_default();
            let status = stream
                .decompress_vec(rest, &mut out, FlushDecompress::None)
                .map_err(|e| wrong("is damaged").because(e))?;
            used += usize::try_from(stream.total_in() - before.0).unwrap_or(usize::MAX);
            if u64::try_from(out.len()).unwrap_or(u64::MAX) > limit {
                return Err(wrong("is larger than it says"));
            }
            if status == Status::StreamEnd {
                return Ok((out, stream.total_in()));
            }
            let moved = (stream.total_in(), out.len()) != before;
            if used >= input.len() && out.len() < out.capacity() || !moved && out.len() < out.capacity() {
                break;
            }
        }
        if last {
            return Err(wrong("ends too early"));
        }
        if used < input.len() {
            return Err(wrong("is damaged"));
        }
    }
}

/// Appends a stream that holds these parts, one after the other.
///
/// # Errors
/// The library failed.
pub(super) fn deflate(level: Compression, parts: &[&[u8]], mut out: Vec<u8>) -> Result<Vec<u8>> {
    let place = level.level() as usize;
    let idle = |stream| DEFLATE.with(|all| all.get(place).and_then(|cell| cell.replace(stream)));
    let mut stream = idle(None).unwrap_or_else(|| Compress::new(level, true));
    out.reserve(parts.iter().map(|part| part.len()).sum::<usize>() + 64);
    for part in parts {
        deflate_by(&mut stream, part, FlushCompress::None, &mut out)?;
    }
    deflate_by(&mut stream, &[], FlushCompress::Finish, &mut out)?;
    stream.reset();
    idle(Some(stream));
    Ok(out)
}

fn deflate_by(stream: &mut Compress, mut rest: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> Result<()> {
    loop {
        if out.len() == out.capacity() {
            out.reserve(1024);
        }
        let before = stream.total_in();
        let status = stream
            .compress_vec(rest, out, flush)
            .map_err(|e| Error::damaged("cannot compress an object").because(e))?;
        let used = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(used..).unwrap_or_default();
        let done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => rest.is_empty(),
        };
        if done {
            return Ok(());
        }
    }
}
