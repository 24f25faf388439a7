//! `pkfs log`: shows what was done, or the versions of a secret.

use std::ops::ControlFlow;

use clap::Args;
use serde::Serialize;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::history;
use super::super::output::{self, ListArgs, Row};
use crate::error::Result;
use crate::node::{Change, ItemPath, Keynode, LogEntry, Version};

/// Show all transactions, or the versions of a secret
///
/// Transactions newest first, versions oldest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs log app.pk\n  pkfs log app.pk db/password")]
pub(in super::super) struct Log {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// A secret, deleted ones too: show its versions
    #[arg(value_name = "PATH", value_parser = item_path())]
    path: Option<ItemPath>,
    /// The newest so many only
    #[arg(short = 'n', long, value_name = "COUNT")]
    number: Option<usize>,
    #[command(flatten)]
    list: ListArgs,
}

impl Log {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Read)?;
        match &self.path {
            Some(path) => output::list(&self.versions(&keynode, path)?, self.list)?,
            None => output::list(&self.transactions(&keynode)?, self.list)?,
        }
        Ok(DONE)
    }

    fn versions(&self, keynode: &Keynode, path: &ItemPath) -> Result<Vec<Line>> {
        let snapshot = keynode.snapshot();
        let id = history::secret_of(snapshot.namespace(), path)?;
        let versions = keynode.versions(&snapshot, id).map_err(|e| history::at(e, path))?;
        let skip = versions.len().saturating_sub(self.number.unwrap_or(usize::MAX));
        let row = |v: &Version| Line {
            version: v.number,
            date: v.date.to_rfc3339(),
            writer: v.writer.to_string(),
            commit: v.commit.oid.to_string(),
            commits: v.commits,
            id: id.to_string(),
        };
        Ok(versions.iter().skip(skip).map(row).collect())
    }

    fn transactions(&self, keynode: &Keynode) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let limit = self.number.unwrap_or(usize::MAX);
        let snapshot = keynode.snapshot();
        let shown = |change: &Change| match change {
            // The log speaks of ids; people think of names.
            Change::Secret { id, .. } | Change::Attributes { id, .. } => match snapshot.namespace().path_of(*id) {
                Some(path) => change.to_string().replace(&id.to_string(), &path.to_string()),
                None => change.to_string(),
            },
            _ => change.to_string(),
        };
        keynode.log(&snapshot, &mut |entry: LogEntry| {
            if entries.len() < limit {
                entries.push(Entry {
                    commit: entry.commit.oid.to_string(),
                    date: entry.date.to_rfc3339(),
                    changes: entry.changes.iter().map(ToString::to_string).collect(),
                    shown: entry.changes.iter().map(shown).collect(),
                });
            }
            Ok(if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(entries)
    }
}

#[derive(Debug, Serialize)]
struct Line {
    version: u32,
    date: String,
    writer: String,
    commit: String,
    commits: u32,
    id: String,
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &[">version", "date", "writer", "commit"];

    fn cells(&self) -> Vec<String> {
        vec![self.version.to_string(), self.date.clone(), self.writer.clone(), self.commit.clone()]
    }
}

#[derive(Debug, Serialize)]
struct Entry {
    commit: String,
    date: String,
    changes: Vec<String>,
    /// The same for people: paths in place of ids.
    #[serde(skip)]
    shown: Vec<String>,
}

impl Row for Entry {
    const HEADINGS: &'static [&'static str] = &["commit", "date", "changes"];

    fn cells(&self) -> Vec<String> {
        let shown: Vec<&str> = self.shown.iter().map(String::as_str).take(SHOWN).collect();
        let shown = shown.join("; ");
        let changes = match self.changes.len().saturating_sub(SHOWN) {
            0 => shown,
            more => format!("{shown}; and {more} more"),
        };
        vec![self.commit.clone(), self.date.clone(), changes]
    }
}

/// A line shows at most so many changes; `--json` shows all.
const SHOWN: usize = 4;
