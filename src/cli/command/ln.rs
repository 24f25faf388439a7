//! `pkfs ln`: gives a secret another name.

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::edit;
use super::super::exit::DONE;
use crate::error::{Error, Kind, Result};
use crate::node::ItemPath;

/// Give a secret another name
///
/// A hard link: both names have one value and one history.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs ln app.pk db/password web/db-password")]
pub(in super::super) struct Ln {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// The secret
    #[arg(value_name = "FROM", value_parser = item_path())]
    from: ItemPath,
    /// Its further name, or the directory to give it one in
    #[arg(value_name = "TO", value_parser = item_path())]
    to: ItemPath,
}

impl Ln {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let mut transaction = keynode.begin()?;
        let (_, name) = edit::split(&self.from)?;
        let item = transaction.namespace().resolve(&self.from)?;
        if item.is_directory() {
            return Err(Error::new(Kind::IsDirectory, format!("{}: a directory has one name only", self.from)));
        }
        let id = item.id;
        let to = edit::into(transaction.namespace(), &self.to, name)?;
        let (parent, to_name) = edit::split(&to)?;
        let parent = edit::directory(&mut transaction, &parent)?;
        transaction.link(id, parent, to_name)?;
        transaction.commit()?;
        Ok(DONE)
    }
}
