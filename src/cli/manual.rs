//! Manual pages, made of what `--help` and `pkfs help` say.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::concepts;
use super::mount_helper::{MountHelper, UmountHelper};

/// What the pages are of.
const SOURCE: &str = concat!("pkfs ", env!("CARGO_PKG_VERSION"));

/// A page: the name of its file, and its text.
pub(super) type Page = (String, Vec<u8>);

/// The pages of the command, of all its subcommands, of the helpers of mount(8), and of the ideas behind them.
///
/// # Errors
///
/// None where memory can be written to.
pub(super) fn pages(mut command: Command) -> io::Result<Vec<Page>> {
    // The general options become every subcommand's, and the names are those of the pages.
    command.build();
    let mut pages = Vec::new();
    of_command(&command, &mut pages)?;
    for helper in [MountHelper::command(), UmountHelper::command()] {
        pages.push(page(helper, "8")?);
    }
    for (name, explained) in concepts::ALL {
        pages.push(of_concept(name, explained)?);
    }
    Ok(pages)
}

fn of_concept(name: &str, explained: &str) -> io::Result<Page> {
    let mut text = Vec::new();
    writeln!(text, ".TH pkfs\\-{name} 7 \"\" \"{SOURCE}\" pkfs\n.SH NAME\npkfs\\-{name} \\- pkfs explained: {name}")?;
    verbatim("DESCRIPTION", explained, &mut text)?;
    Ok((format!("pkfs-{name}.7"), text))
}

fn of_command(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command.clone(), "1")?);
    command.get_subcommands().try_for_each(|verb| of_command(verb, pages))
}

fn page(command: Command, section: &str) -> io::Result<Page> {
    let name = format!("{}.{section}", command.get_display_name().unwrap_or(command.get_name()));
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let verbs = command.has_subcommands();
    let man = Man::new(command).section(section).source(SOURCE).manual("pkfs");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if verbs {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = after {
        verbatim("EXAMPLE", &after, &mut text)?;
    }
    let explained = concepts::ALL.map(|(name, _)| format!("pkfs\\-{name}(7)"));
    writeln!(text, ".SH SEE ALSO\n{}", explained.join(", "))?;
    Ok((name, text))
}

/// A section whose lines stay as they are.
fn verbatim(title: &str, lines: &str, text: &mut Vec<u8>) -> io::Result<()> {
    writeln!(text, ".SH {title}\n.nf")?;
    for line in lines.lines() {
        // A dot or a quote at the beginning would be a request to roff.
        writeln!(text, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))?;
    }
    writeln!(text, ".fi")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_page_and_examples_stay_as_they_are() {
        let pages = pages(super::super::parser()).unwrap();
        let page = |name: &str| {
            let (_, text) = pages.iter().find(|(page, _)| page == name).unwrap();
            String::from_utf8(text.clone()).unwrap()
        };
        assert!(page("pkfs-slot-add.1").contains("\n\\&  pkfs slot add app.pk \\-\\-passphrase\n"));
        assert!(page("pkfs.1").contains(".SH SUBCOMMANDS"));
        assert!(page("pkfs-share-allow.1").contains("pkfs\\-shares(7)"));
        assert!(page("pkfs-shares.7").contains("(LD_PRELOAD)"));
        assert!(page("mount.fuse.pkfs.8").contains("passphrase_file=FILE"));
    }
}
