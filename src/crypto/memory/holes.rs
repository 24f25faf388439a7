//! Long runs of zeros, which take no memory where nobody writes to them.

use zeroize::Zeroize;

/// In which pieces bytes are looked at.
pub(super) const PIECE: usize = 64 << 10;

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// How many bytes are in pieces that are not zero throughout.
pub(in crate::crypto) fn data(bytes: &[u8]) -> usize {
    bytes.chunks(PIECE).filter(|piece| !is_zero(piece)).map(<[u8]>::len).sum()
}

/// Copies into zeros, and leaves alone what stays zero. Both have the same length.
pub(super) fn copy(from: &[u8], to: &mut [u8]) {
    for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
        if !is_zero(from) {
            to.copy_from_slice(from);
        }
    }
}

/// Wipes bytes, and leaves alone what is zero.
pub(super) fn wipe(bytes: &mut [u8]) {
    for piece in bytes.chunks_mut(PIECE) {
        if !is_zero(piece) {
            piece.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_found_copied_and_wiped() {
        let len = 3 * PIECE + 100;
        for at in [0, 63, 64, PIECE - 1, PIECE, 2 * PIECE + 7, 3 * PIECE, len - 1] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes) && data(&bytes) == 0);
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            assert_eq!(data(&bytes), if at < 3 * PIECE { PIECE } else { 100 }, "{at}");
            let mut copied = vec![0; len];
            copy(&bytes, &mut copied);
            assert!(copied == bytes, "{at}");
            wipe(&mut bytes);
            assert!(is_zero(&bytes), "{at}");
        }
    }
}
