//! `pkfs export`: writes secrets out as plain files or a tar archive.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::export_tar::TarSink;
use super::super::export_tree::TreeSink;
use super::super::output::ListArgs;
use super::super::plan::{self, Step};
use super::super::{history, quantity};
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, Content, Item, ItemId, ItemPath, Keynode, Namespace, Snapshot};
use crate::time::Timestamp;

/// Write secrets out, unencrypted: as files or a tar archive
///
/// The tree is made new and only its owner may look into it; a name that ends in .tar, or - for standard output, makes
/// an archive. Modes (without setuid, setgid and sticky bits in a tree), times, symbolic and hard links are kept.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs export app.pk ./plain\n  pkfs export app.pk - db | ssh host tar -x")]
pub(in super::super) struct Export {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// A new or empty directory, a new file that ends in .tar, or - for an archive on standard output
    #[arg(value_name = "DIR-or-TAR")]
    to: OsString,
    /// Only these [default: all]
    #[arg(value_name = "PATH", value_parser = item_path())]
    paths: Vec<ItemPath>,
    /// As it stood at this date
    #[arg(long, value_name = "DATE", value_parser = quantity::date)]
    at: Option<Timestamp>,
    /// To a place too that others may read
    #[arg(long)]
    force: bool,
    /// Only say what would be written
    #[arg(short = 'N', long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// Where an export goes. Directories come before what is in them.
pub(in super::super) trait Sink {
    /// Makes a directory.
    fn directory(&mut self, path: &ItemPath, attributes: &Attributes) -> Result<()>;
    /// Makes a file.
    fn file(&mut self, path: &ItemPath, attributes: &Attributes, value: &[u8]) -> Result<()>;
    /// Makes a further name of a file that was made before.
    fn link(&mut self, path: &ItemPath, attributes: &Attributes, first: &ItemPath) -> Result<()>;
    /// Makes a symbolic link.
    fn symlink(&mut self, path: &ItemPath, attributes: &Attributes, target: &[u8]) -> Result<()>;
    /// Makes a FIFO.
    fn fifo(&mut self, path: &ItemPath, attributes: &Attributes) -> Result<()>;
    /// Finishes: all is there, and on disk where it goes to a disk.
    fn finish(self: Box<Self>) -> Result<()>;
    /// Takes away what was made, after a failure.
    fn abandon(self: Box<Self>);
}

impl Export {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Read)?;
        let snapshot = match self.at {
            Some(when) => keynode.snapshot_at(when)?,
            None => keynode.snapshot(),
        };
        let chosen = self.chosen(snapshot.namespace())?;
        if self.dry_run {
            let steps: Vec<_> = chosen.iter().map(|(path, _)| Step::new("write", path)).collect();
            return plan::show(&steps, self.list).map(|()| DONE);
        }
        let mut sink = self.sink()?;
        let written = write(context, &keynode, &snapshot, &chosen, sink.as_mut());
        match written {
            Ok(count) => {
                sink.finish()?;
                context.note(format_args!("{} written", quantity::counted(count, "secret")));
                Ok(DONE)
            }
            Err(e) => {
                sink.abandon();
                Err(e)
            }
        }
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        if self.to == "-" {
            if io::stdout().is_terminal() {
                return Err(Error::new(Kind::Invalid, "an archive is nothing for a terminal").hint("redirect it"));
            }
            return Ok(Box::new(TarSink::stdout(self.force)?));
        }
        let path = Path::new(&self.to);
        if self.to.as_bytes().ends_with(b".tar") {
            return Ok(Box::new(TarSink::create(path, self.force)?));
        }
        Ok(Box::new(TreeSink::create(path, self.force)?))
    }

    /// What was asked for with the directories on the way to it, each directory first and nothing twice.
    fn chosen<'a>(&self, namespace: &'a Namespace) -> Result<Vec<(ItemPath, &'a Item)>> {
        let mut chosen = std::collections::BTreeMap::new();
        if self.paths.is_empty() {
            chosen.extend(namespace.walk(ItemId::ROOT)?);
        }
        for path in &self.paths {
            let item = namespace.resolve(path)?;
            let mut above = path.parent();
            while let Some(directory) = above {
                chosen.insert(directory.clone(), namespace.resolve(&directory)?);
                above = directory.parent();
            }
            if item.is_directory() {
                chosen.extend(namespace.walk(item.id)?);
            } else {
                chosen.insert(path.clone(), item);
            }
        }
        chosen.remove(&ItemPath::root());
        Ok(chosen.into_iter().collect())
    }
}

fn write(
    context: &Context,
    keynode: &Keynode,
    snapshot: &Snapshot,
    chosen: &[(ItemPath, &Item)],
    sink: &mut dyn Sink,
) -> Result<usize> {
    let bar = context.bar("writing", chosen.len());
    let mut first: HashMap<ItemId, &ItemPath> = HashMap::new();
    let mut count = 0;
    for (path, item) in chosen {
        let attributes = &item.attributes;
        match &item.content {
            Content::Directory(_) => sink.directory(path, attributes)?,
            Content::Symlink(target) => sink.symlink(path, attributes, target)?,
            Content::Fifo => sink.fifo(path, attributes)?,
            Content::Socket => context.note(format_args!("{path}: skipped, a socket")),
            Content::Secret(_) => {
                if let Some(first) = first.get(&item.id) {
                    sink.link(path, attributes, first)?;
                } else {
                    let value = keynode.read_head(snapshot, item.id).map_err(|e| history::at(e, path))?;
                    sink.file(path, attributes, &value)?;
                    first.insert(item.id, path);
                }
                count += 1;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(count)
}
