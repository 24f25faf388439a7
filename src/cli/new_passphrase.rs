//! Setting a passphrase: where the new one comes from, and whether it is any good.

use std::path::PathBuf;

use clap::Args;

use super::descriptor::Descriptor;
use super::prompt;
use crate::error::{Error, Kind, Result};
use crate::node::{self, Locked};

/// Where a new passphrase comes from.
#[derive(Debug, Args)]
pub(super) struct NewPassphraseArgs {
    /// Read the new passphrase from this file; its last newline does not count
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
    pub(super) new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from this open descriptor
    #[arg(long, value_name = "N", value_parser = Descriptor::parse)]
    pub(super) new_passphrase_fd: Option<Descriptor>,
    /// Take a weak passphrase too
    #[arg(long)]
    pub(super) force: bool,
}

impl NewPassphraseArgs {
    /// Gets the new passphrase from a file, a descriptor or the terminal.
    ///
    /// # Errors
    ///
    /// It cannot be read, is asked for without a terminal, or is weak.
    pub(super) fn get(&self) -> Result<Locked> {
        let passphrase = match (&self.new_passphrase_file, &self.new_passphrase_fd) {
            (Some(path), _) => prompt::passphrase_file(path)?,
            (None, Some(descriptor)) => {
                let file = descriptor.file();
                prompt::passphrase(
                    file.map_err(|e| Error::new(Kind::Failed, "cannot read the descriptor").because(e))?,
                )?
            }
            (None, None) => ask().map_err(|e| if e.kind() == Kind::Unlock { no_terminal() } else { e })?,
        };
        check(&passphrase, self.force)?;
        Ok(passphrase)
    }
}

fn no_terminal() -> Error {
    Error::new(Kind::Failed, "there is no terminal to ask for the new passphrase")
        .hint("give it with --new-passphrase-file FILE")
}

/// The passphrase in the file that `PKFS_PASSPHRASE_FILE` names, if it is set.
///
/// # Errors
///
/// The file cannot be read.
pub(super) fn from_environment() -> Result<Option<Locked>> {
    let file = std::env::var_os("PKFS_PASSPHRASE_FILE").filter(|v| !v.is_empty());
    file.map(|f| prompt::passphrase_file(&PathBuf::from(f))).transpose()
}

/// Asks for it on the terminal, twice.
///
/// # Errors
///
/// There is no terminal; the answers are empty or differ.
pub(super) fn ask() -> Result<Locked> {
    if !prompt::possible() {
        return Err(Error::new(Kind::Unlock, "no passphrase, and no terminal to ask for one")
            .hint("give it with --passphrase-file FILE"));
    }
    let passphrase = prompt::hidden_twice("New passphrase")?;
    if passphrase.is_empty() {
        return Err(Error::new(Kind::Failed, "the passphrase is empty, nothing was changed"));
    }
    Ok(passphrase)
}

/// Refuses a weak passphrase unless `force`.
///
/// # Errors
///
/// It is weak: says why.
pub(super) fn check(passphrase: &Locked, force: bool) -> Result<()> {
    // A passphrase of arbitrary bytes was not thought out by a person.
    let Some(why) = std::str::from_utf8(passphrase).ok().and_then(node::weakness) else { return Ok(()) };
    if force {
        log::warn!("weak passphrase: {why}");
        return Ok(());
    }
    Err(Error::new(Kind::Failed, format!("weak passphrase: {why}")).hint("choose a longer one, or --force"))
}
