//! `pkfs diff`: compares two versions of a secret.

use std::io::{self, Write};

use clap::Args;
use similar::{ChangeTag, TextDiff};

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::{DONE, REPORT};
use super::super::history;
use super::super::output::{self, Colour};
use crate::error::{Error, Result};
use crate::node::{ItemPath, Version};

/// Lines around a change that are shown too.
const CONTEXT: usize = 3;

/// Compare two versions of a secret
///
/// The exit status is 8 if they differ.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs diff app.pk etc/config\n  pkfs diff app.pk etc/config 2 5")]
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
        if before.as_slice() == after.as_slice() {
            return Ok(DONE);
        }
        let path = output::name(&self.path.to_bytes());
        let names = (format!("{path} {}", old.number), format!("{path} {}", new.number));
        output::print(|out| show(out, &before, &after, &names))?;
        Ok(REPORT)
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

fn show(out: &mut dyn Write, before: &[u8], after: &[u8], names: &(String, String)) -> io::Result<()> {
    if [before, after].iter().any(|side| std::str::from_utf8(side).is_err() || side.contains(&0)) {
        return writeln!(
            out,
            "{} and {} differ: {} and {} bytes, not text",
            names.0,
            names.1,
            before.len(),
            after.len()
        );
    }
    let diff = TextDiff::from_lines(before, after);
    writeln!(out, "--- {}\n+++ {}", names.0, names.1)?;
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        writeln!(out, "{}", output::paint(Colour::Cyan, &hunk.header().to_string()))?;
        for change in hunk.iter_changes() {
            let line = String::from_utf8_lossy(change.value());
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ('-', Some(Colour::Red)),
                ChangeTag::Insert => ('+', Some(Colour::Green)),
                ChangeTag::Equal => (' ', None),
            };
            let text = format!("{sign}{}", line.trim_end_matches('\n'));
            writeln!(out, "{}", colour.map_or_else(|| text.clone(), |c| output::paint(c, &text)))?;
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

    fn shown(before: &[u8], after: &[u8]) -> String {
        let mut out = Vec::new();
        show(&mut out, before, after, &("a 1".to_owned(), "a 2".to_owned())).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_compared_by_lines() {
        let text = shown(b"one\ntwo\n", b"one\n2");
        assert_eq!(text, "--- a 1\n+++ a 2\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\\ No newline at end of file\n");
    }

    #[test]
    fn what_is_no_text_is_not_shown() {
        assert_eq!(shown(b"\xff\0", b"x"), "a 1 and a 2 differ: 2 and 1 bytes, not text\n");
    }
}
