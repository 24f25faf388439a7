//! What every command has at hand: the general options, and the way to an unlocked keynode.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args};
use indicatif::ProgressBar;
use std::os::unix::ffi::OsStrExt;

use super::keynode::Target;
use super::progress;
use super::unlock::UnlockArgs;
use crate::error::{Error, Kind, Result};
use crate::node::{Fingerprint, ItemPath, Keynode, OpenOptions, SealedKeynode};

/// The general options.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "General options")]
pub(super) struct GeneralArgs {
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more; repeat for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// What every command has at hand.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) general: GeneralArgs,
    pub(super) unlock: UnlockArgs,
}

/// What a command will do with the keynode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Look only.
    Read,
    /// Look at it even if it is older than what was seen before, and say so.
    Inspect,
    /// Change it.
    Write,
}

impl Context {
    /// Opens and unlocks the keynode that the operand names.
    ///
    /// # Errors
    ///
    /// The operand leads nowhere, the file is no keynode, or it cannot be unlocked.
    pub(super) fn open(&self, operand: &OsStr, access: Access) -> Result<ManuallyDrop<Keynode>> {
        self.open_target(&Target::resolve(operand)?, access)
    }

    /// As [`Self::open`], of what the operand has been resolved to.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(super) fn open_target(&self, target: &Target, access: Access) -> Result<ManuallyDrop<Keynode>> {
        // The command ends with the process, which gives its memory back faster than taking a tree of names apart would.
        self.unlocked(target, access, false).map(ManuallyDrop::new)
    }

    /// As [`Self::open_target`], for a process that goes on with it.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(super) fn open_to_serve(&self, target: &Target, access: Access) -> Result<Arc<Keynode>> {
        self.unlocked(target, access, true).map(Arc::new)
    }

    fn unlocked(&self, target: &Target, access: Access, whole: bool) -> Result<Keynode> {
        let node = self.unlock.node.as_ref().or(target.configured.node.as_ref());
        let options = OpenOptions {
            read_only: access == Access::Read,
            only_look: access == Access::Inspect,
            allow_rollback: self.unlock.allow_rollback,
            whole,
            node: node.map(|n| fingerprint(n)).transpose()?,
        };
        let sealed = SealedKeynode::open(&target.file)?;
        let key = self.unlock.unlock(&sealed, &target.configured)?;
        sealed.into_keynode(key, &options)
    }

    /// Tells something on standard error, unless `-q`.
    pub(super) fn note(&self, text: impl fmt::Display) {
        if !self.general.quiet {
            eprintln!("pkfs: {text}");
        }
    }

    /// A progress bar.
    pub(super) fn bar(&self, what: &'static str, total: usize) -> ProgressBar {
        progress::bar(self.general.quiet, what, total)
    }
}

fn fingerprint(text: &str) -> Result<Fingerprint> {
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("{text:?} is not a fingerprint")).hint("`pkfs info` shows the node's")
    })
}

/// The KEYNODE operand.
#[derive(Debug, Clone, Args)]
pub(super) struct KeynodeArg {
    /// A keynode's file, a directory where one is mounted, or @name from the configuration
    #[arg(value_name = "KEYNODE")]
    pub(super) keynode: OsString,
}

/// Parses a PATH operand.
pub(super) fn item_path() -> impl TypedValueParser<Value = ItemPath> {
    OsStringValueParser::new().try_map(|text: OsString| ItemPath::parse(text.as_bytes()))
}
