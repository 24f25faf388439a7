//! `pkfs unlock` and `pkfs lock`: the node's key in the kernel's keyring, for a while.

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::exit::DONE;
use super::super::keynode::Target;
use super::super::quantity;
use crate::error::Result;
use crate::node::SealedKeynode;

/// Keep the key in the kernel's keyring, so that nothing is asked
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs unlock app.pk --for 8h")]
pub(in super::super) struct Unlock {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// How long: a number with s, m, h or d
    #[arg(long = "for", value_name = "TIME", default_value = "15m", value_parser = quantity::duration)]
    seconds: u32,
}

impl Unlock {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Read)?;
        keynode.remember_in_keyring(self.seconds)?;
        Ok(DONE)
    }
}

/// Take the node's key out of the kernel's keyring
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs lock app.pk")]
pub(in super::super) struct Lock {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
}

impl Lock {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        if !SealedKeynode::open(&target.file)?.forget_in_keyring()? {
            context.note("was not unlocked");
        }
        Ok(DONE)
    }
}
