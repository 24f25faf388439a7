//! The text of a checkpoint's directory: its lines, in parts that are sealed and opened each by itself.

use super::change::Change;
use super::name::Name;
use super::namespace::Namespace;
use super::quote::quote;
use crate::crypto::Locked;

/// A part ends with the line that brings it to this many bytes.
const PART: usize = 512 << 10;

/// All the lines.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Text {
    parts: Vec<Part>,
    len: u32,
}

#[derive(PartialEq, Eq)]
struct Part {
    /// How many bytes the parts before it have.
    start: u32,
    text: Locked,
}

impl Text {
    /// The lines that make this tree. The name of what the line before says stands there without its directory and whose
    /// it is, in a line `called`.
    pub fn of(namespace: &Namespace) -> Self {
        let (mut parts, mut text) = (Vec::new(), Locked::default());
        let mut defined = None;
        namespace.lines(&mut |change| {
            match &change {
                Change::Name { path, id } if defined == Some(*id) => {
                    if let Some((_, name)) = path.split() {
                        called(name, &mut text);
                    }
                }
                _ => change.write(&mut text),
            }
            defined = change.defines();
            if text.len() >= PART {
                parts.push(std::mem::take(&mut text));
            }
        });
        if parts.is_empty() || !text.is_empty() {
            parts.push(text);
        }
        Self::from_parts(parts).unwrap_or_default()
    }

    /// Takes the parts in their order; `None` beyond 4 GiB.
    pub fn from_parts(parts: Vec<Locked>) -> Option<Self> {
        let mut len = 0_u32;
        let mut all = Vec::with_capacity(parts.len());
        for text in parts {
            let start = len;
            len = len.checked_add(u32::try_from(text.len()).ok()?)?;
            all.push(Part { start, text });
        }
        Some(Self { parts: all, len })
    }

    /// Bytes of all lines.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The text of each part.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.parts.iter().map(|part| part.text.as_slice())
    }

    /// All lines, each with where it starts, without their newlines.
    pub fn lines(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.parts.iter().flat_map(|part| lines(&part.text).map(|(at, line)| (part.start + at, line)))
    }

    /// The line that starts here.
    pub fn line(&self, at: u32) -> Option<&[u8]> {
        let part = self.parts.get(self.parts.partition_point(|part| part.start <= at).checked_sub(1)?)?;
        line(&part.text, at - part.start)
    }
}

/// Lines with where they start, without their newlines; what follows 4 GiB is not there.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let line = line(text, at).filter(|_| (at as usize) < text.len())?;
        let from = at;
        at = u32::try_from(at as usize + line.len() + 1).unwrap_or(u32::MAX);
        Some((from, line))
    })
}

/// The line that starts here.
pub(super) fn line(text: &[u8], at: u32) -> Option<&[u8]> {
    let rest = text.get(at as usize..)?;
    Some(&rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())])
}

fn called(name: &Name, out: &mut Locked) {
    let mut line = b"called\t".to_vec();
    quote(name.as_bytes(), &mut line);
    line.push(b'\n');
    out.extend_from_slice(&line);
}
