//! `pkfs completions`: scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;

use super::super::exit::DONE;
use super::super::output;
use crate::error::Result;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs completions bash > /etc/bash_completion.d/pkfs")]
pub(in super::super) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(in super::super) fn run(self, mut command: Command) -> Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "pkfs", &mut script);
        output::bytes(&script)?;
        Ok(DONE)
    }
}
