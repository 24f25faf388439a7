//! Lower-case hexadecimal, as git and `sha256sum` print it.

use std::fmt;

/// Writes bytes as lower-case digits.
///
/// # Errors
/// Those of the writer.
pub fn write(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|&b| {
        f.write_char(char::from(DIGITS[usize::from(b >> 4)]))?;
        f.write_char(char::from(DIGITS[usize::from(b & 15)]))
    })
}

/// Writes bytes as lower-case digits into exactly twice as many.
pub fn write_into(bytes: &[u8], out: &mut [u8]) {
    for (pair, &byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads exactly `N` bytes from `2 * N` lower-case digits.
pub fn read<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    read_into(text, &mut out)?;
    Some(out)
}

/// Fills `out` from twice as many lower-case digits; what stood there is lost even where this fails.
pub fn read_into(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != 2 * out.len() {
        return None;
    }
    // A digit that is none has a high bit, which stays in the sum.
    let mut wrong = 0;
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        wrong |= high | low;
        *byte = high << 4 | low & 15;
    }
    (wrong < 16).then_some(())
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of each digit; 255 for what is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut n = 0;
    while n < 16 {
        values[DIGITS[n as usize] as usize] = n;
        n += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_back_and_nothing_else_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        assert!(write(&mut text, &all).is_ok());
        let mut out = vec![0; 256];
        assert!(read_into(text.as_bytes(), &mut out).is_some() && out == all);
        let mut again = vec![0; 512];
        write_into(&all, &mut again);
        assert_eq!(again, text.as_bytes());
        for bad in [&b"0"[..], b"0g", b"A0", b"0 ", b"\xff0", b"000"] {
            assert_eq!(read::<1>(bad), None, "{bad:?}");
        }
    }
}
