//! Reading a file at offsets: never past its end as it was, never with a lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::member::{BLOCK, BLOCK_LEN, Block};
use crate::error::{Error, Kind, Result};

/// How much is read at once: little at first and after a leap, then ever more.
const FIRST: u64 = 16 << 10;
const CHUNK: u64 = 256 << 10;

/// Reads exactly this range. The caller bounds `len`. A file that ends within it is damaged.
pub(super) fn read_range(file: &File, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(Error::damaged("the file ends too early").because(e)),
        Err(e) => Err(unreadable(e)),
    }
}

/// A failed read.
pub(super) fn unreadable(e: io::Error) -> Error {
    Error::new(Kind::Failed, "cannot be read").because(e)
}

/// A view through which a scan moves forward, in reads that grow.
pub(super) struct Window<'a> {
    file: &'a File,
    /// The end of the file when the scan began.
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) const fn new(file: &'a File, end: u64) -> Self {
        Self { file, end, start: 0, bytes: Vec::new() }
    }

    /// The end of what may be read.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// A whole block, or nothing where the file ends before its end.
    pub(super) fn block(&mut self, at: u64) -> io::Result<Option<&Block>> {
        if self.end < at || self.end - at < BLOCK {
            return Ok(None);
        }
        let inside = at >= self.start && self.start + self.bytes.len() as u64 >= at + BLOCK;
        if !inside {
            let before = self.bytes.len() as u64;
            let leap = at < self.start || at - self.start > 2 * before;
            let len = if leap { FIRST } else { (2 * before).clamp(FIRST, CHUNK) }.min(self.end - at);
            self.bytes.resize(usize::try_from(len).unwrap_or(BLOCK_LEN), 0);
            if let Err(error) = self.file.read_exact_at(&mut self.bytes, at) {
                self.bytes.clear();
                // Somebody shortened the file meanwhile: it ends here.
                return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
            }
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).and_then(<[u8]>::first_chunk))
    }
}

/// Whether nothing but zeros follows. Holes are skipped.
pub(super) fn zero_from(file: &File, at: u64, end: u64) -> io::Result<bool> {
    let mut at = at;
    let mut chunk = Vec::new();
    while at < end {
        match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) if data >= end => return Ok(true),
            Ok(data) => at = at.max(data),
            Err(rustix::io::Errno::NXIO) => return Ok(true),
            // A file system that knows no holes.
            Err(_) => {}
        }
        chunk.resize(usize::try_from(CHUNK.min(end - at)).unwrap_or(BLOCK_LEN), 0);
        match file.read_exact_at(&mut chunk, at) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            other => other?,
        }
        if chunk.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += chunk.len() as u64;
    }
    Ok(true)
}
