//! `pkfs compact`: rewrites the file without what nobody needs any more.

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::exit::DONE;
use super::super::quantity::human;
use crate::error::Result;

/// Rewrite the file without what is outdated; no version is lost
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs compact app.pk")]
pub(in super::super) struct Compact {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
}

impl Compact {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let done = keynode.compact()?;
        context.note(format_args!("{} before, {} after", human(done.before), human(done.after)));
        Ok(DONE)
    }
}
