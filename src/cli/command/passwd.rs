//! `pkfs passwd`: changes the passphrase.

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::exit::DONE;
use super::super::new_passphrase::NewPassphraseArgs;
use crate::error::Result;

/// Change the passphrase
///
/// The unlocking options give what unlocks now. Copies of the keynode from before still open with the former
/// passphrase.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs passwd app.pk\n  pkfs passwd app.pk --passphrase-file old --new-passphrase-file new"
)]
pub(in super::super) struct Passwd {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

impl Passwd {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        keynode.change_passphrase(&self.new.get()?)?;
        context.note("passphrase changed");
        Ok(DONE)
    }
}
