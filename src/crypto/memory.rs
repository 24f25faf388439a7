//! Memory for plaintext and keys: locked against swapping, kept out of core dumps and forked children, wiped when it is
//! given up.

mod allocator;
mod block;
pub(super) mod holes;

pub use allocator::WipingAllocator;
use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

use block::Block;

/// The most bytes that are not in long runs of zeros, of what is read.
const DATA_MAX: usize = 1 << 30;

/// Bytes in locked memory, growable like a `Vec<u8>`.
///
/// They are wiped on drop, on shrinking and when they move on growing. A value of 32 bytes costs 32 bytes of memory
/// (and this handle); beyond 16 KiB it has pages of its own, which are given back on drop. An empty one allocates
/// nothing. Beyond 80 MiB, long runs of zeros to which nobody writes take no memory. As with `Vec`, the process ends when
/// the machine has no memory left.
///
/// A forked child does not have this memory: whoever daemonizes does so before unlocking.
#[derive(Default)]
pub struct Locked {
    /// The bytes behind `len` are always zero.
    block: Option<Block>,
    len: usize,
}

impl Locked {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Self { block: (len > 0).then(|| Block::allocate(len)), len }
    }

    /// No bytes yet, and room for `capacity`.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { block: (capacity > 0).then(|| Block::allocate(capacity)), len: 0 }
    }

    /// A copy of these bytes.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut new = Self::zeroed(bytes.len());
        holes::copy(bytes, &mut new);
        new
    }

    /// The number of bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.block {
            Some(block) => block.bytes().get(..self.len).unwrap_or_default(),
            None => &[],
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.block {
            Some(block) => block.bytes_mut().get_mut(..self.len).unwrap_or_default(),
            None => &mut [],
        }
    }

    fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, Block::capacity)
    }

    /// Makes it exactly `len` bytes long: new ones are zero, lost ones are wiped. Growing repeatedly costs linear time.
    pub fn resize(&mut self, len: usize) {
        if len < self.len {
            return self.truncate(len);
        }
        if len > self.capacity() {
            self.relocate(len.max(self.capacity().saturating_mul(2)));
        }
        self.len = len;
    }

    /// As [`Locked::resize`], for sizes that the machine may not have; `false`: nothing is changed.
    #[must_use]
    pub fn try_resize(&mut self, len: usize) -> bool {
        if len <= block::HOLES {
            self.resize(len);
            return true;
        }
        let moves = len > self.capacity() && !self.block.as_mut().is_some_and(|block| block.grow_in_place(len));
        if moves {
            let Some(block) = Block::try_large(len) else { return false };
            self.move_to(block);
        }
        self.resize(len);
        true
    }

    /// How many bytes are not part of long runs of zeros. It looks at all of them.
    pub fn data(&self) -> usize {
        holes::data(self)
    }

    /// Makes zeros of the bytes in this range, as far as it is within.
    pub fn clear(&mut self, range: std::ops::Range<usize>) {
        let end = range.end.min(self.len);
        if let Some(bytes) = self.get_mut(range.start.min(end)..end) {
            holes::wipe(bytes);
        }
    }

    /// Wipes and drops all bytes from `len` on. The memory stays reserved; see [`Locked::shrink_to_fit`].
    pub fn truncate(&mut self, len: usize) {
        if let Some(lost) = self.as_mut_slice().get_mut(len..) {
            holes::wipe(lost);
            self.len = len;
        }
    }

    /// Gives back memory that is reserved and not needed.
    pub fn shrink_to_fit(&mut self) {
        if self.len == 0 {
            self.block = None;
        } else if Block::capacity_for(self.len) < self.capacity() {
            self.relocate(self.len);
        }
    }

    /// Appends these bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.resize(start.saturating_add(bytes.len()));
        if let Some(room) = self.as_mut_slice().get_mut(start..) {
            room.copy_from_slice(bytes);
        }
    }

    /// Reads to the end. Room is made for `expected` bytes at first. Long runs of zeros beyond the first 80 MiB take no
    /// memory.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::FileTooLarge`] beyond `limit` bytes, or 1 GiB that is not zero; [`io::ErrorKind::OutOfMemory`];
    /// those of the reader.
    pub(super) fn read(mut reader: impl io::Read, expected: usize, limit: usize) -> io::Result<Self> {
        let most = limit.saturating_add(1);
        // One more than there is, so that the end is seen without growing.
        let mut out = Self::zeroed(expected.saturating_add(1).min(most).min(block::HOLES));
        let (mut len, mut data) = (0, 0);
        let mut piece = Self::default();
        loop {
            let beyond = len >= block::HOLES;
            if beyond && piece.is_empty() {
                (piece, data) = (Self::zeroed(holes::PIECE), len);
            }
            let room = if beyond { &mut piece[..] } else { out.get_mut(len..).unwrap_or_default() };
            let n = match reader.read(room) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let end = len + n;
            if end > limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if end >= out.len() && !out.try_resize(end.saturating_mul(2).min(most)) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            if beyond && !holes::is_zero(&piece[..n]) {
                data += n;
                if data > DATA_MAX {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                out[len..end].copy_from_slice(&piece[..n]);
            }
            len = end;
        }
        out.truncate(len);
        // Moving it costs more than an eighth of it is worth, which is what padding brings.
        if len < out.capacity() / 8 * 7 && len <= block::HOLES {
            out.shrink_to_fit();
        }
        Ok(out)
    }

    fn relocate(&mut self, capacity: usize) {
        if let Some(block) = &mut self.block
            && block.grow_in_place(capacity)
        {
            return;
        }
        self.move_to(Block::allocate(capacity));
    }

    fn move_to(&mut self, mut block: Block) {
        let old = self.as_slice();
        if let Some(room) = block.bytes_mut().get_mut(..old.len()) {
            holes::copy(old, room);
        }
        self.block = Some(block);
    }
}

impl Deref for Locked {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl AsRef<[u8]> for Locked {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Clone for Locked {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

/// In constant time for equal lengths.
impl PartialEq for Locked {
    fn eq(&self, other: &Self) -> bool {
        same(self, other)
    }
}

impl Eq for Locked {}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locked({} bytes)", self.len)
    }
}

/// Appends.
impl io::Write for Locked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compares in constant time for equal lengths.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    sequoia_openpgp::crypto::mem::secure_cmp(a, b) == Ordering::Equal
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect()
    }

    #[test]
    fn growing_keeps_the_content_and_adds_zeros() {
        for (from, to) in
            [(0, 1), (1, 32), (32, 33), (100, 16_384), (16_000, 16_385), (20_000, 3_000_000), (31, 1 << 20)]
        {
            let mut bytes = Locked::from_slice(&pattern(from));
            bytes.resize(to);
            assert_eq!(bytes.len(), to);
            assert_eq!(&bytes[..from], pattern(from));
            assert!(bytes[from..].iter().all(|b| *b == 0), "{from} to {to}");
        }
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        for len in [20, 500, 100_000] {
            let mut bytes = Locked::from_slice(&vec![0xaa; len]);
            bytes.truncate(7);
            bytes.resize(len);
            assert_eq!(&bytes[..7], [0xaa; 7]);
            assert!(bytes[7..].iter().all(|b| *b == 0));
        }
    }

    #[test]
    fn appending_is_writing() {
        let mut bytes = Locked::default();
        for chunk in pattern(100_000).chunks(777) {
            bytes.write_all(chunk).expect("memory");
        }
        assert_eq!(bytes.as_slice(), pattern(100_000));
    }

    #[test]
    fn shrinking_gives_memory_back() {
        let mut bytes = Locked::from_slice(&pattern(200_000));
        bytes.truncate(40);
        bytes.shrink_to_fit();
        assert_eq!((bytes.capacity(), bytes.as_slice()), (64, &pattern(40)[..]));
        bytes.truncate(0);
        bytes.shrink_to_fit();
        assert_eq!(bytes.capacity(), 0);
    }

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", Locked::from_slice(b"secret")), "Locked(6 bytes)");
    }

    #[test]
    fn equality() {
        assert_eq!(Locked::from_slice(b"ab"), Locked::from_slice(b"ab"));
        assert_ne!(Locked::from_slice(b"ab"), Locked::from_slice(b"ac"));
        assert_ne!(Locked::from_slice(b"ab"), Locked::from_slice(b"abc"));
        assert_eq!(Locked::default(), Locked::zeroed(0));
    }
}
