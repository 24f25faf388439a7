//! `pkfs mv`: renames and moves.

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::edit;
use super::super::exit::DONE;
use crate::error::{Error, Kind, Result};
use crate::node::ItemPath;

/// Rename or move; the history goes along
///
/// Into TO if that is a directory. A secret that was at TO before keeps its history under that name.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs mv app.pk db/pasword db/password")]
pub(in super::super) struct Mv {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// What to move
    #[arg(value_name = "FROM", value_parser = item_path())]
    from: ItemPath,
    /// Its new path, or the directory to move it into
    #[arg(value_name = "TO", value_parser = item_path())]
    to: ItemPath,
    /// Replace what is at TO
    #[arg(long)]
    yes: bool,
}

impl Mv {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let mut transaction = keynode.begin()?;
        let (from, name) = edit::split(&self.from)?;
        transaction.namespace().resolve(&self.from)?;
        let from = transaction.namespace().resolve(&from)?.id;
        let to = edit::into(transaction.namespace(), &self.to, name)?;
        let (parent, to_name) = edit::split(&to)?;
        let parent = edit::directory(&mut transaction, &parent)?;
        if !self.yes && transaction.namespace().child(parent, to_name.as_bytes()).is_some() {
            return Err(Error::new(Kind::Exists, format!("{to}: exists already"))
                .hint("--yes replaces it; its history stays in `.versions` of a mount, under its name and id"));
        }
        transaction.rename(from, name, parent, to_name)?;
        transaction.commit()?;
        Ok(DONE)
    }
}
