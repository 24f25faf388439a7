//! Git trees: a directory's entries as raw bytes.

use super::Oid;
use crate::error::{Error, Result};

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its name: not empty, without `/` and NUL.
    pub name: Vec<u8>,
    /// The object that it leads to.
    pub oid: Oid,
    /// Whether that is a tree (mode 40000) or a file (mode 100644).
    pub directory: bool,
}

impl TreeEntry {
    /// Git compares directories as if their names ended in a slash.
    fn sort_key(&self) -> impl Iterator<Item = u8> + '_ {
        self.name.iter().copied().chain(self.directory.then_some(b'/'))
    }
}

/// The raw bytes of a tree with these entries, in whatever order they are given.
pub fn tree(entries: &[TreeEntry]) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|a, b| a.sort_key().cmp(b.sort_key()));
    let mut out = Vec::with_capacity(sorted.iter().map(|e| e.name.len() + 28).sum());
    for entry in sorted {
        out.extend(if entry.directory { &b"40000 "[..] } else { b"100644 " });
        out.extend(&entry.name);
        out.push(0);
        out.extend(entry.oid.as_bytes());
    }
    out
}

/// Reads a tree's raw bytes.
///
/// # Errors
/// Damaged: another mode than 40000 and 100644, a bad name, entries out of order or twice, bytes missing.
pub fn parse_tree(data: &[u8]) -> Result<Vec<TreeEntry>> {
    let wrong = |what: &str| Error::damaged(format!("a tree {what}"));
    let mut entries: Vec<TreeEntry> = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (directory, after) = if let Some(after) = rest.strip_prefix(b"100644 ") {
            (false, after)
        } else {
            (
                true,
                rest.strip_prefix(b"40000 ").ok_or_else(|| wrong("has an entry that is no plain file or directory"))?,
            )
        };
        let end = after.iter().position(|b| *b == 0).ok_or_else(|| wrong("ends too early"))?;
        let (name, after) = after.split_at(end);
        if name.is_empty() || name.contains(&b'/') {
            return Err(wrong("has an entry with a bad name"));
        }
        let (oid, after) = after.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(|| wrong("ends too early"))?;
        let entry = TreeEntry { name: name.to_vec(), oid: Oid::from_bytes(*oid), directory };
        if entries.last().is_some_and(|last| last.name == entry.name || last.sort_key().ge(entry.sort_key())) {
            return Err(wrong("has entries out of order"));
        }
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(name: &str, directory: bool) -> TreeEntry {
        TreeEntry { name: name.into(), oid: Oid::from_bytes([7; 20]), directory }
    }

    #[test]
    fn sorts_as_git_does_and_reads_back() {
        let raw = tree(&[entry("a", true), entry("a.b", false), entry("a0", false)]);
        let names: Vec<_> = parse_tree(&raw).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, [b"a.b".to_vec(), b"a".to_vec(), b"a0".to_vec()]);
    }

    #[test]
    fn refuses_what_git_fsck_refuses() {
        let one = tree(&[entry("x", false)]);
        let twice = [one.clone(), one.clone()].concat();
        let backwards = [tree(&[entry("y", false)]), one.clone()].concat();
        let executable = [b"100755 x\0".to_vec(), vec![7; 20]].concat();
        let slash = [b"100644 a/b\0".to_vec(), vec![7; 20]].concat();
        let unnamed = [b"100644 \0".to_vec(), vec![7; 20]].concat();
        for bad in [&twice, &backwards, &executable, &slash, &unnamed, &one[..20].to_vec()] {
            assert!(parse_tree(bad).is_err());
        }
    }
}
