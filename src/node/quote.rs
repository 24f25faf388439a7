//! Paths on one line, escaped as git quotes them (`core.quotePath`): in double quotes with C escapes where a byte is a
//! control character, a quote, a backslash or above 127, as they are otherwise.

/// Appends the quoted form of `path`.
pub fn quote(path: &[u8], out: &mut Vec<u8>) {
    if is_plain(path) {
        out.extend_from_slice(path);
        return;
    }
    out.push(b'"');
    for &b in path {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0b => out.extend_from_slice(b"\\v"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b if plain(b) => out.push(b),
            b => out.extend_from_slice(&[b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]),
        }
    }
    out.push(b'"');
}

/// The quoted form as text.
pub fn quoted(path: &[u8]) -> String {
    let mut out = Vec::with_capacity(path.len() + 2);
    quote(path, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Undoes [`quote`]; `None` where the text is not in the one form that `quote` writes.
pub fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        return is_plain(text).then(|| text.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            ((0x20..0x7f).contains(&b) && b != b'"').then(|| out.push(b))?;
            continue;
        }
        out.push(match bytes.next()? {
            c @ (b'"' | b'\\') => c,
            b'a' => 0x07,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'r' => b'\r',
            high @ b'0'..=b'3' => {
                let (middle, low) = (bytes.next()?, bytes.next()?);
                ((b'0'..=b'7').contains(&middle) && (b'0'..=b'7').contains(&low))
                    .then(|| (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))?
            }
            _ => return None,
        });
    }
    Some(out)
}

/// Whether a path is written as it is.
pub fn is_plain(path: &[u8]) -> bool {
    !path.is_empty() && path.iter().all(|&b| plain(b))
}

const fn plain(b: u8) -> bool {
    b >= 0x20 && b < 0x7f && b != b'"' && b != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_and_stays_on_one_line() {
        let all: Vec<u8> = (0..=255).collect();
        let mut q = Vec::new();
        quote(&all, &mut q);
        assert!(!q.contains(&b'\n') && !q.contains(&b'\t') && q.is_ascii());
        assert_eq!(unquote(&q), Some(all));
    }

    #[test]
    fn git_writes_the_same() {
        assert_eq!(quoted("a b".as_bytes()), "a b");
        assert_eq!(quoted("ä\"\n".as_bytes()), "\"\\303\\244\\\"\\n\"");
    }

    #[test]
    fn what_quote_does_not_write_is_refused() {
        for bad in [&b""[..], b"\"", b"\"a", b"a\"b", b"\"\\", b"\"\\4\"", b"\"\\09a\"", b"a\tb", b"\"\\q\"", b"\xff"] {
            assert_eq!(unquote(bad), None, "{bad:?}");
        }
    }
}
