//! The command line: one file a subcommand, and no logic of keynodes.
//!
//! ```text
//! pkfs COMMAND KEYNODE [PATH…] [OPTIONS]
//! pkfs NOUN VERB KEYNODE [NAME] […]
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `command` | the subcommands, one file each |
//! | `keynode`, `mountinfo` | what the KEYNODE operand means |
//! | `unlock`, `prompt`, `descriptor`, `new_passphrase` | where passphrases and keys come from |
//! | `context` | general options, opening |
//! | `mount_helper`, `notify` | what mount(8) and systemd say and hear |
//! | `manual` | manual pages |
//! | `edit`, `history`, `plan` | steps that several commands share |
//! | `scan`, `export_tree`, `export_tar`, `new_file`, `mounted` | the host's side |
//! | [`output`], [`exit`], `progress`, `verbosity`, `syslog`, `quantity` | what people and programs get to see |

// Documentation of options and commands is their help text, where backticks would be in the way.
#![allow(clippy::doc_markdown)]

mod command;
mod concepts;
mod context;
mod descriptor;
mod edit;
pub mod exit;
mod export_tar;
mod export_tree;
mod history;
mod keynode;
mod manual;
mod mount_helper;
mod mounted;
mod mountinfo;
mod new_file;
mod new_passphrase;
mod notify;
pub mod output;
mod plan;
mod progress;
mod prompt;
mod quantity;
mod rules_file;
mod scan;
mod syslog;
mod unlock;
mod verbosity;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use command::{Command, GROUPS};
use context::{Context, GeneralArgs};
use mount_helper::Helper;
use unlock::UnlockArgs;

/// Secrets as files: an encrypted, versioned keynode, mounted as a plain directory
#[derive(Debug, Parser)]
#[command(name = "pkfs", version, disable_help_subcommand = true, subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    unlock: UnlockArgs,
    #[command(flatten)]
    general: GeneralArgs,
    #[command(subcommand)]
    command: Command,
}

/// Runs the command line, as `pkfs` or as one of the helpers of mount(8), and tells what went wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    exit::install_panic_hook();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    ExitCode::from(match Helper::called(arguments.first()) {
        Some(helper) => helper.run(&arguments, execute),
        None => execute(arguments),
    })
}

/// Parses, does, tells what went wrong; the exit status.
fn execute(arguments: Vec<OsString>) -> u8 {
    // The help of all commands is made only where it, or what is wrong, is to be told.
    let cli = Cli::try_parse_from(&arguments);
    let cli = match cli.or_else(|_| Cli::from_arg_matches(&parser().try_get_matches_from(arguments)?)) {
        Ok(cli) => cli,
        Err(e) => {
            // Nobody is left to be told when the output is closed.
            let _ = e.print();
            return u8::try_from(e.exit_code()).unwrap_or(exit::USAGE);
        }
    };
    let verbose = cli.general.verbose > 0;
    verbosity::start(cli.general.quiet, cli.general.verbose);
    let operand = cli.command.operand().map(|o| o.to_string_lossy().into_owned());
    let context = Context { general: cli.general, unlock: cli.unlock };
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cli.command.run(&context, parser)));
    match done {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            let named = operand.filter(|o| !error.message().contains(o.as_str()));
            let error = if let Some(operand) = named { error.at(operand) } else { error };
            exit::tell(&error, verbose)
        }
        // Told by the hook.
        Err(_) => 1,
    }
}

/// The parser, with the commands in groups.
fn parser() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.extend([title, ":\n"]);
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let line = format!("  {name:12} {}\n", about.map(ToString::to_string).unwrap_or_default());
            text.push_str(&line);
        }
        text.push('\n');
    }
    let template =
        "{about-with-newline}\nUsage: pkfs COMMAND KEYNODE [PATH]… [OPTIONS]\n\n{before-help}{options}\n\n{after-help}";
    command
        .before_help(text.trim_end().to_owned())
        .help_template(template)
        .after_help("Example:\n  pkfs init app.pk\n  pkfs put app.pk db/password\n  pkfs mount app.pk /run/secrets\n\n`pkfs help COMMAND` tells more.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound() {
        parser().debug_assert();
    }

    #[test]
    fn every_command_is_in_a_group_and_has_an_example() {
        fn examples(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.starts_with("Example:\n  pkfs "), "{}: {text}", command.get_name());
            command.get_subcommands().for_each(examples);
        }
        let mut parser = parser();
        parser.build();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut all: Vec<&str> = parser.get_subcommands().map(clap::Command::get_name).collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all);
        examples(&parser);
        let groups = parser.get_before_help().map(ToString::to_string).unwrap_or_default();
        assert!(groups.lines().all(|line| line.chars().count() <= 80), "{groups}");
    }
}
