//! `pkfs get`: reads a value.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::history::RevisionArgs;
use super::super::keynode::Target;
use super::super::{mounted, new_file, output};
use crate::error::Result;
use crate::node::ItemPath;

/// Write a value to standard output or a file, as it is
#[derive(Debug, Args)]
#[command(
    visible_alias = "cat",
    after_help = "Example:\n  pkfs get app.pk db/password\n  pkfs get app.pk db/password -r 2 -o old-password"
)]
pub(in super::super) struct Get {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// The secret
    #[arg(value_name = "PATH", value_parser = item_path())]
    path: ItemPath,
    #[command(flatten)]
    revision: RevisionArgs,
    /// Write to this file (mode 0600), which is replaced as a whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Get {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        let value = match &target.mount {
            Some(mount) if !context.unlock.is_given() => mounted::read(mount, &self.path, &self.revision)?,
            _ => self.revision.read(&*context.open_target(&target, Access::Read)?, &self.path)?,
        };
        match self.output.as_deref().filter(|f| *f != Path::new("-")) {
            Some(path) => new_file::replace(path, &value)?,
            None => output::bytes(&value)?,
        }
        Ok(DONE)
    }
}
