//! `pkfs put`: stores a value.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::{edit, prompt, quantity};
use crate::error::{Error, Result};
use crate::node::{ItemPath, Locked};

/// Store a value: from a pipe, a file or a hidden prompt
///
/// Piped bytes and files are stored exactly as they are, newline included. On a terminal the value is asked for
/// twice, and no newline is added. What is there already becomes the version before.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs put app.pk db/password\n  openssl rand -hex 32 | pkfs put app.pk api/token")]
pub(in super::super) struct Put {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// The secret; directories on the way are made
    #[arg(value_name = "PATH", value_parser = item_path())]
    path: ItemPath,
    /// Where the value is: a file, or - for standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The secret's mode, in octal [default: as before, or 0600]
    #[arg(long, value_name = "MODE", value_parser = quantity::mode)]
    mode: Option<u32>,
}

impl Put {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        edit::split(&self.path)?;
        let ask = self.file.is_none() && io::stdin().is_terminal();
        // A prompt comes after unlocking, which may ask as well; a pipe is read before, so that a locked keynode does
        // not wait for it.
        let read = if ask { None } else { Some(self.read()?) };
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let value = match read {
            Some(value) => value,
            None => prompt::hidden_twice(&format!("Value of {}", self.path))?,
        };
        let mut transaction = keynode.begin()?;
        edit::store(&keynode, &mut transaction, &self.path, &value, self.mode)?;
        transaction.commit()?;
        Ok(DONE)
    }

    fn read(&self) -> Result<Locked> {
        match self.file.as_deref().filter(|f| *f != Path::new("-")) {
            Some(path) => {
                let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
                edit::value(file).map_err(|e| e.at(path.display()))
            }
            None => edit::value(io::stdin().lock()).map_err(|e| e.at("standard input")),
        }
    }
}
