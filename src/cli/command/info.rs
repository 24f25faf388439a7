//! `pkfs info`: what a keynode is, and how it is doing.

use clap::Args;
use serde::Serialize;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::exit::DONE;
use super::super::output::{self, ListArgs};
use super::super::quantity::{counted, human};
use super::slot::Line;
use crate::error::Result;
use crate::node;

/// Show fingerprint, profile, counts, sizes and slots
///
/// Of a copy that is older than what was seen before, too: it is not writable, and that is why.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs info app.pk --json")]
pub(in super::super) struct Info {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
struct Document {
    file: String,
    node: String,
    profile: String,
    format: u32,
    secrets: usize,
    deleted: usize,
    directories: usize,
    file_size: u64,
    base_size: u64,
    tail_size: u64,
    last_change: String,
    last_commit: String,
    since_checkpoint: usize,
    slots: Vec<Line>,
    inbox: usize,
    read_only: Option<String>,
    not_compactable: Option<String>,
}

impl Info {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Inspect)?;
        let node::Info {
            node,
            profile,
            format,
            secrets,
            deleted,
            directories,
            file_size,
            base_size,
            tail_size,
            last_change,
            last_commit,
            since_checkpoint,
            slots,
            inbox,
            read_only,
            not_compactable,
        } = keynode.info()?;
        let document = Document {
            file: keynode.path().display().to_string(),
            node: node.to_string(),
            profile: profile.to_string(),
            format,
            secrets,
            deleted,
            directories,
            file_size,
            base_size,
            tail_size,
            last_change: last_change.to_rfc3339(),
            last_commit,
            since_checkpoint,
            slots: slots.into_iter().map(Line::from).collect(),
            inbox,
            read_only,
            not_compactable,
        };
        let printed = if self.list.json { output::document(&document) } else { document.print() };
        printed.map(|()| DONE)
    }
}

impl Document {
    fn print(&self) -> Result<()> {
        let slots: Vec<&str> = self.slots.iter().map(Line::name).collect();
        let lines = [
            ("file", output::name(self.file.as_bytes())),
            ("node", self.node.clone()),
            ("profile", format!("{}, format {}", self.profile, self.format)),
            ("secrets", format!("{}, and {} deleted with their history", self.secrets, self.deleted)),
            ("directories", self.directories.to_string()),
            (
                "size",
                format!(
                    "{}: {} compacted, {} appended",
                    human(self.file_size),
                    human(self.base_size),
                    human(self.tail_size)
                ),
            ),
            ("last change", format!("{}, commit {}", self.last_change, self.last_commit)),
            ("log", format!("{} since the checkpoint", counted(self.since_checkpoint, "transaction"))),
            ("slots", if slots.is_empty() { "none, the key is kept elsewhere".to_owned() } else { slots.join(" ") }),
            ("inbox", self.inbox.to_string()),
            ("writable", self.read_only.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"))),
            ("compactable", self.not_compactable.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"))),
        ];
        output::print(|out| lines.iter().try_for_each(|(name, value)| writeln!(out, "{name:12} {value}")))
    }
}
