//! `packed-refs`: git's own list of refs (`git-pack-refs(1)`), sorted by name.

use super::Oid;
use super::member::is_ref;
use crate::error::{Error, Result};

const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

/// The largest list that is read: over 700,000 refs.
pub(super) const MAX_SIZE: u64 = 64 << 20;

/// The refs of the base, sorted by name; looked up in the text itself, since opening asks for two of them.
#[derive(Debug, Default)]
pub(super) struct PackedRefs(Vec<u8>);

impl PackedRefs {
    /// Takes the text; [`Self::check`] looks at every line.
    pub(super) fn new(text: Vec<u8>) -> Result<Self> {
        if !text.starts_with(HEADER.as_bytes()) {
            return Err(wrong("does not start as git writes it"));
        }
        if text.last() != Some(&b'\n') {
            return Err(wrong("ends within a line"));
        }
        Ok(Self(text))
    }

    /// What is wrong with any of its lines.
    pub(super) fn check(&self) -> Result<()> {
        let mut last = "";
        for line in self.lines(HEADER.len()) {
            let (name, _) = parse(line).ok_or_else(|| wrong("has a line that names no ref and object"))?;
            if !is_ref(name) {
                return Err(wrong(&format!("has an unknown ref {}", name.escape_default())));
            }
            if last >= name {
                return Err(wrong("is not sorted"));
            }
            last = name;
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<Oid> {
        let line = self.lines(self.find(name)).next()?;
        parse(line).filter(|(found, _)| *found == name).map(|(_, oid)| oid)
    }

    /// Those whose names start so, in order.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Oid)> + 'a {
        self.lines(self.find(prefix)).map_while(parse).take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Where the first line starts whose name is not before this one.
    fn find(&self, name: &str) -> usize {
        let (mut low, mut high) = (HEADER.len().min(self.0.len()), self.0.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = memchr::memrchr(b'\n', &self.0[low..middle]).map_or(low, |at| low + at + 1);
            let end = memchr::memchr(b'\n', &self.0[middle..high]).map_or(high, |at| middle + at);
            let before = self.0.get(start + NAME..end).is_some_and(|found| found < name.as_bytes());
            if before { low = (end + 1).min(high) } else { high = start }
        }
        low
    }

    fn lines(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let rest = self.0.get(from..).unwrap_or_default();
        rest.split_inclusive(|&b| b == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }
}

/// Where the name starts in a line: after the object's and a space.
const NAME: usize = 41;

fn parse(line: &[u8]) -> Option<(&str, Oid)> {
    let (oid, name) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    Some((name, oid.parse().ok()?))
}

fn wrong(what: &str) -> Error {
    Error::damaged(format!("packed-refs {what}"))
}

/// The text of `packed-refs`; a name given twice keeps its last object.
pub(super) fn encode(refs: &[(String, Oid)]) -> String {
    let sorted: std::collections::BTreeMap<_, _> = refs.iter().map(|(n, o)| (n, o)).collect();
    let mut text = HEADER.to_owned();
    for (name, oid) in sorted {
        text.extend([&oid.to_string(), " ", name, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn round_trip_and_prefix() {
        let id = |n: u8| Oid::from_bytes([n; 20]);
        let secret = format!("refs/heads/secrets/{}", "a".repeat(32));
        let refs =
            [(secret.clone(), id(1)), ("refs/heads/keynode".into(), id(2)), ("refs/heads/checkpoint".into(), id(3))];
        let packed = PackedRefs::new(encode(&refs).into_bytes()).unwrap();
        packed.check().unwrap();
        assert_eq!(packed.get("refs/heads/keynode"), Some(id(2)));
        assert_eq!(packed.get("refs/heads/k"), None);
        assert_eq!(packed.with_prefix("refs/heads/secrets/").collect::<Vec<_>>(), [(&*secret, id(1))]);
        assert_eq!(packed.with_prefix("refs/").count(), 3);
    }

    #[test]
    fn each_of_many_is_found_and_nothing_else() {
        let id = |n: u8| Oid::from_bytes([n; 20]);
        for count in 0..9_u8 {
            let name = |n: u8| format!("refs/heads/secrets/{}", format!("{n:x}").repeat(32 - usize::from(n > 15)));
            let refs: Vec<_> = (0..count).map(|n| (name(n), id(n))).collect();
            let packed = PackedRefs::new(encode(&refs).into_bytes()).unwrap();
            for n in 0..count {
                assert_eq!(packed.get(&name(n)), Some(id(n)));
            }
            assert_eq!(packed.get(&name(9)), None);
            assert_eq!(packed.get("refs/heads/a"), None);
            assert_eq!(packed.with_prefix("refs/heads/secrets/").count(), usize::from(count));
        }
    }

    #[test]
    fn refuses_what_git_did_not_write() {
        let line = format!("{} refs/heads/keynode\n", "a".repeat(40));
        for bad in [
            String::new(),
            line.clone(),
            format!("{HEADER}{line}{line}"),
            format!("{HEADER}x\n"),
            format!("{HEADER}{}", line.replace("keynode", "other")),
        ] {
            assert!(PackedRefs::new(bad.clone().into_bytes()).and_then(|refs| refs.check()).is_err(), "{bad}");
        }
    }
}
