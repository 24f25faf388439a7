//! `pkfs ls`: lists names.

use std::fs::Metadata;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::history::RevisionArgs;
use super::super::keynode::Target;
use super::super::mounted;
use super::super::output::{self, Colour, ListArgs, Row};
use super::super::quantity;
use crate::error::Result;
use crate::node::{Content, Item, ItemId, ItemPath, Name, Namespace, SecretState};
use crate::time::Timestamp;

/// List what is in a directory
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs ls app.pk\n  pkfs ls app.pk db -lR")]
pub(in super::super) struct Ls {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// A directory or a secret [default: the root]
    #[arg(value_name = "PATH", value_parser = item_path())]
    path: Option<ItemPath>,
    /// With type and mode, owner, size, date and version
    #[arg(short, long)]
    long: bool,
    /// All below, with paths
    #[arg(short = 'R', long)]
    recursive: bool,
    /// As it stood at this date
    #[arg(long, value_name = "DATE", value_parser = quantity::date)]
    at: Option<Timestamp>,
    #[command(flatten)]
    list: ListArgs,
}

impl Ls {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        let path = self.path.clone().unwrap_or_default();
        let revision = RevisionArgs { revision: None, at: self.at };
        let entries = match &target.mount {
            Some(mount) if !context.unlock.is_given() => mounted::list(mount, &path, &revision, self.recursive)?
                .iter()
                .map(|(path, metadata, host)| Entry::mounted(path, metadata, host))
                .collect(),
            _ => {
                let keynode = context.open_target(&target, Access::Read)?;
                let snapshot = revision.snapshot(&keynode)?;
                self.entries(snapshot.namespace(), &path)?
            }
        };
        if self.long || self.list.json {
            output::list(&entries, self.list)?;
        } else {
            let terminal = io::stdout().is_terminal();
            output::print(|out| {
                entries.iter().try_for_each(|e| writeln!(out, "{}", e.short(self.recursive, terminal)))
            })?;
        }
        Ok(DONE)
    }

    fn entries(&self, namespace: &Namespace, path: &ItemPath) -> Result<Vec<Entry>> {
        let top = namespace.resolve(path)?;
        let Some(children) = top.children() else { return Ok(vec![Entry::new(path, top)]) };
        if self.recursive {
            return Ok(namespace.walk(top.id)?.skip(1).map(|(path, item)| Entry::new(&path, item)).collect());
        }
        namespace.read_all()?;
        let of =
            |(name, id): (&Name, &ItemId)| namespace.item(*id).map(|item| Entry::new(&path.join(name.clone()), item));
        Ok(children.iter().filter_map(of).collect())
    }
}

#[derive(Debug, Serialize)]
struct Entry {
    path: String,
    #[serde(skip)]
    name: String,
    r#type: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Entry {
    fn new(path: &ItemPath, item: &Item) -> Self {
        let kind = match &item.content {
            Content::Directory(_) => "directory",
            Content::Secret(_) => "secret",
            Content::Symlink(_) => "symlink",
            Content::Fifo => "fifo",
            Content::Socket => "socket",
        };
        let target = if let Content::Symlink(target) = &item.content { Some(output::name(target)) } else { None };
        Self {
            path: output::name(&path.to_bytes()),
            name: output::name(path.name().map_or(b"/", |n| n.as_bytes())),
            r#type: kind,
            mode: format!("{:04o}", item.attributes.mode),
            uid: item.attributes.uid,
            gid: item.attributes.gid,
            size: item.secret().map(SecretState::size),
            modified: item.attributes.mtime.to_rfc3339(),
            links: Some(item.links()),
            version: item.secret().and_then(SecretState::head).map(|h| h.number),
            id: Some(item.id.to_string()),
            target,
        }
    }

    fn mounted(path: &ItemPath, metadata: &Metadata, host: &Path) -> Self {
        let file_type = metadata.file_type();
        let kind = if file_type.is_dir() {
            "directory"
        } else if file_type.is_symlink() {
            "symlink"
        } else if file_type.is_fifo() {
            "fifo"
        } else if file_type.is_socket() {
            "socket"
        } else {
            "secret"
        };
        let modified = Timestamp {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        };
        Self {
            path: output::name(&path.to_bytes()),
            name: output::name(path.name().map_or(b"/", |n| n.as_bytes())),
            r#type: kind,
            mode: format!("{:04o}", metadata.mode() & 0o7777),
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: (kind == "secret").then_some(metadata.len()),
            modified: modified.to_rfc3339(),
            links: None,
            version: None,
            id: None,
            target: std::fs::read_link(host).ok().map(|t| output::name(t.as_os_str().as_bytes())),
        }
    }

    fn short(&self, path: bool, terminal: bool) -> String {
        let name = if path { &self.path } else { &self.name };
        match self.r#type {
            "directory" if terminal => output::paint(Colour::Blue, &format!("{name}/")),
            "symlink" if terminal => output::paint(Colour::Cyan, name),
            _ => name.clone(),
        }
    }
}

impl Row for Entry {
    const HEADINGS: &'static [&'static str] =
        &["type", "mode", ">uid", ">gid", ">size", ">version", "modified", "path"];

    fn cells(&self) -> Vec<String> {
        let shown = |n: Option<String>| n.unwrap_or_else(|| "-".to_owned());
        let path = match &self.target {
            Some(target) => format!("{} -> {target}", self.path),
            None => self.path.clone(),
        };
        vec![
            self.r#type.to_owned(),
            self.mode.clone(),
            self.uid.to_string(),
            self.gid.to_string(),
            shown(self.size.map(|n| n.to_string())),
            shown(self.version.map(|n| n.to_string())),
            self.modified.clone(),
            path,
        ]
    }
}
