//! `pkfs help`: a command, or one of the ideas behind them.

use clap::{Args, Command};

use super::super::exit::DONE;
use super::super::{concepts, output};
use crate::error::{Error, Kind, Result};

/// Explain a command or a concept
///
/// Concepts: keynode, config, unlocking, slots, versions, dates, mount, shares, rules, output, status.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs help unlocking\n  pkfs help put")]
pub(in super::super) struct Help {
    /// A command or a concept
    #[arg(value_name = "CONCEPT")]
    topic: Option<String>,
}

impl Help {
    pub(in super::super) fn run(self, mut command: Command) -> Result<u8> {
        let text = match &self.topic {
            None => command.render_help().to_string(),
            Some(topic) => match concepts::ALL.iter().find(|(name, _)| name == topic) {
                Some((_, text)) => (*text).to_owned(),
                None => of_command(&mut command, topic)?,
            },
        };
        output::print(|out| out.write_all(text.as_bytes()))?;
        Ok(DONE)
    }
}

fn of_command(command: &mut Command, topic: &str) -> Result<String> {
    // So that the synopsis names the program and the general options are there.
    command.build();
    let found = command.find_subcommand_mut(topic).map(|c| c.render_long_help().to_string());
    found.ok_or_else(|| {
        let concepts: Vec<_> = concepts::ALL.iter().map(|(name, _)| *name).collect();
        Error::new(Kind::Invalid, format!("nothing is known of {topic:?}"))
            .hint(format!("there are all commands, and {}", concepts.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn all_concepts_are_named_and_fit_a_terminal() {
        let mut command = super::super::super::Cli::command();
        command.build();
        let about = command
            .find_subcommand("help")
            .and_then(Command::get_long_about)
            .map(ToString::to_string)
            .unwrap_or_default();
        for (name, text) in concepts::ALL {
            assert!(about.contains(name), "{name}");
            assert!(text.lines().all(|line| line.chars().count() <= 125), "{name}");
        }
    }
}
