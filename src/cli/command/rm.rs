//! `pkfs rm`: removes names.

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::output::ListArgs;
use super::super::plan::{self, Step};
use super::super::{edit, prompt};
use crate::error::{Error, Kind, Result};
use crate::node::{ItemPath, Namespace, Transaction};

/// Remove secrets, links and directories
///
/// The history stays: `pkfs restore` brings a secret back. With -r it asks before more is removed than what is named, and
/// needs --yes where there is no terminal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs rm app.pk db/password\n  pkfs rm app.pk old -r --yes")]
pub(in super::super) struct Rm {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// What to remove
    #[arg(value_name = "PATH", value_parser = item_path(), required = true)]
    paths: Vec<ItemPath>,
    /// Directories too, with all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only say what would be removed
    #[arg(short = 'N', long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
}

impl Rm {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, if self.dry_run { Access::Read } else { Access::Write })?;
        let snapshot = keynode.snapshot();
        let mut steps = Vec::new();
        for path in &self.paths {
            let found = self.below(snapshot.namespace(), path)?;
            steps.extend(found.iter().map(|(path, _)| Step::new("remove", path)));
        }
        if self.dry_run {
            return plan::show(&steps, self.list).map(|()| DONE);
        }
        if self.recursive && steps.len() > self.paths.len() {
            prompt::confirm(&format!("Remove {} names?", steps.len()), self.yes)?;
        }
        let mut transaction = keynode.begin()?;
        for path in &self.paths {
            self.remove(&mut transaction, path)?;
        }
        transaction.commit()?;
        Ok(DONE)
    }

    /// A path and all below it, parents first, with whether each is a directory.
    fn below(&self, namespace: &Namespace, path: &ItemPath) -> Result<Vec<(ItemPath, bool)>> {
        edit::split(path)?;
        let item = namespace.resolve(path)?;
        if item.is_directory() && !self.recursive {
            return Err(
                Error::new(Kind::IsDirectory, format!("{path}: a directory")).hint("-r removes it with all in it")
            );
        }
        if !item.is_directory() {
            return Ok(vec![(path.clone(), false)]);
        }
        Ok(namespace.walk(item.id)?.map(|(path, item)| (path, item.is_directory())).collect())
    }

    fn remove(&self, transaction: &mut Transaction<'_>, path: &ItemPath) -> Result<()> {
        let found = self.below(transaction.namespace(), path)?;
        for (path, directory) in found.iter().rev() {
            let (parent, name) = edit::split(path)?;
            let parent = transaction.namespace().resolve(&parent)?.id;
            if *directory {
                transaction.remove_directory(parent, name)?;
            } else {
                transaction.unlink(parent, name)?;
            }
        }
        Ok(())
    }
}
