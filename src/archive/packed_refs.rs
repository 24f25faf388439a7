//! `packed-refs`: git's own list of refs (`git-pack-refs(1)`), sorted by name.

use super::Oid;
use super::member::is_ref;
use crate::error::{Error, Result};

const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

/// The largest list that is read: over 700,000 refs.
pub(super) const MAX_SIZE: u64 = 64 << 20;

/// The refs of the base, sorted by name.
#[derive(Debug, Default)]
pub(super) struct PackedRefs(Vec<(Box<str>, Oid)>);

impl PackedRefs {
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::damaged(format!("packed-refs {what}"));
        let text = std::str::from_utf8(text).map_err(|_| wrong("is no text"))?;
        let lines = text.strip_prefix(HEADER).ok_or_else(|| wrong("does not start as git writes it"))?;
        let mut refs: Vec<(Box<str>, Oid)> = Vec::with_capacity(lines.len() / 80);
        for line in lines.split_terminator('\n') {
            let (oid, name) = line.split_once(' ').ok_or_else(|| wrong("has a line that names no ref"))?;
            let oid = oid.parse().map_err(|e| wrong("has a line that names no object").because(e))?;
            if !is_ref(name) {
                return Err(wrong(&format!("has an unknown ref {}", name.escape_default())));
            }
            if refs.last().is_some_and(|(last, _)| **last >= *name) {
                return Err(wrong("is not sorted"));
            }
            refs.push((name.into(), oid));
        }
        Ok(Self(refs))
    }

    pub(super) fn get(&self, name: &str) -> Option<Oid> {
        let at = self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.0.get(at).map(|(_, oid)| *oid)
    }

    /// Those whose names start so, in order.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Oid)> + 'a {
        let from = self.0.partition_point(|(n, _)| **n < *prefix);
        let rest = self.0.get(from..).unwrap_or_default();
        rest.iter().map(|(n, oid)| (&**n, *oid)).take_while(move |(n, _)| n.starts_with(prefix))
    }
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
        let packed = PackedRefs::parse(encode(&refs).as_bytes()).unwrap();
        assert_eq!(packed.get("refs/heads/keynode"), Some(id(2)));
        assert_eq!(packed.get("refs/heads/k"), None);
        assert_eq!(packed.with_prefix("refs/heads/secrets/").collect::<Vec<_>>(), [(&*secret, id(1))]);
        assert_eq!(packed.with_prefix("refs/").count(), 3);
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
            assert!(PackedRefs::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
