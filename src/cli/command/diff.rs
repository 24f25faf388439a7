//! `pkfs diff`: compares two versions of a secret.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::{DONE, REPORT};
use super::super::history;
use super::super::output::{self, Colour, ListArgs};
use crate::error::{Error, Result};
use crate::node::{ItemPath, Version};

/// Lines around a change that are shown too.
const CONTEXT: usize = 3;

/// Compare two versions of a secret
///
/// The exit status is 8 if they differ.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs diff app.pk etc/config\n  pkfs diff app.pk etc/config 2 5\n  pkfs diff app.pk etc/config --json"
)]
pub(in super::super) struct Diff {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// The secret
    #[arg(value_name = "PATH", value_parser = item_path())]
    path: ItemPath,
    /// The older version [default: the last but one]
    #[arg(value_name = "N")]
    old: Option<u32>,
    /// The newer version [default: the last]
    #[arg(value_name = "M")]
    new: Option<u32>,
    #[command(flatten)]
    list: ListArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    path: String,
    old: u32,
    new: u32,
    old_size: usize,
    new_size: usize,
    equal: bool,
    hunks: Option<Vec<Hunk>>,
}

/// Lines that differ, with those around them; each has its sign in front.
#[derive(Debug, Serialize)]
struct Hunk {
    header: String,
    lines: Vec<String>,
}

impl Diff {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Read)?;
        let snapshot = keynode.snapshot();
        let id = history::secret_of(snapshot.namespace(), &self.path)?;
        let versions = keynode.versions(&snapshot, id).map_err(|e| history::at(e, &self.path))?;
        let (old, new) = self.pair(&versions)?;
        let read = |version| keynode.read_version(&snapshot, id, version).map_err(|e| history::at(e, &self.path));
        let (before, after) = (read(old)?, read(new)?);
        let equal = before.as_slice() == after.as_slice();
        let path = output::name(&self.path.to_bytes());
        let hunks = hunks(&before, &after);
        if self.list.json {
            let (old_size, new_size) = (before.len(), after.len());
            output::document(&Document { path, old: old.number, new: new.number, old_size, new_size, equal, hunks })?;
        } else if !equal {
            let names = (format!("{path} {}", old.number), format!("{path} {}", new.number));
            output::print(|out| match hunks {
                Some(hunks) => show(out, &hunks, &names),
                None => writeln!(
                    out,
                    "{} and {} differ: {} and {} bytes, not text",
                    names.0,
                    names.1,
                    before.len(),
                    after.len()
                ),
            })?;
        }
        Ok(if equal { DONE } else { REPORT })
    }

    fn pair<'a>(&self, versions: &'a [Version]) -> Result<(&'a Version, &'a Version)> {
        let none =
            || Error::not_found(format!("{}: has one version only", self.path)).hint("there is nothing to compare");
        let new = match self.new {
            Some(number) => history::numbered(versions, number, &self.path)?,
            None => versions.last().ok_or_else(none)?,
        };
        let old = match self.old {
            Some(number) => history::numbered(versions, number, &self.path)?,
            None => versions.iter().rev().nth(1).ok_or_else(none)?,
        };
        Ok((old, new))
    }
}

/// None if a side is not text.
fn hunks(before: &[u8], after: &[u8]) -> Option<Vec<Hunk>> {
    if [before, after].iter().any(|side| std::str::from_utf8(side).is_err() || side.contains(&0)) {
        return None;
    }
    let diff = TextDiff::from_lines(before, after);
    let mut unified = diff.unified_diff();
    let hunks = unified.context_radius(CONTEXT).iter_hunks().map(|hunk| {
        let lines = hunk.iter_changes().map(|change| {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            format!("{sign}{}", String::from_utf8_lossy(change.value()))
        });
        Hunk { header: hunk.header().to_string(), lines: lines.collect() }
    });
    Some(hunks.collect())
}

fn show(out: &mut dyn Write, hunks: &[Hunk], names: &(String, String)) -> io::Result<()> {
    writeln!(out, "--- {}\n+++ {}", names.0, names.1)?;
    for hunk in hunks {
        writeln!(out, "{}", output::paint(Colour::Cyan, &hunk.header))?;
        for line in &hunk.lines {
            let text = line.trim_end_matches('\n');
            let text = match line.chars().next() {
                Some('-') => output::paint(Colour::Red, text),
                Some('+') => output::paint(Colour::Green, text),
                _ => text.to_owned(),
            };
            writeln!(out, "{text}")?;
            if !line.ends_with('\n') {
                writeln!(out, "\\ No newline at end of file")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_is_compared_by_lines() {
        let mut out = Vec::new();
        show(&mut out, &hunks(b"one\ntwo\n", b"one\n2").unwrap(), &("a 1".to_owned(), "a 2".to_owned())).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "--- a 1\n+++ a 2\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\\ No newline at end of file\n");
    }

    #[test]
    fn what_is_no_text_is_not_shown() {
        assert!(hunks(b"\xff\0", b"x").is_none());
        assert_eq!(hunks(b"x", b"x").unwrap().len(), 0);
    }
}
