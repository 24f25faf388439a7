//! Lower-case hexadecimal, as git and `sha256sum` print it.

use std::fmt;

/// Writes bytes as lower-case digits.
///
/// # Errors
/// Those of the writer.
pub fn write(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
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
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

const fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}
