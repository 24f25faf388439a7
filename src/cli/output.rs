//! Lists and values on standard output: columns on a terminal, tab-separated without headings otherwise, or JSON.
//!
//! # The JSON
//!
//! `--json` prints one document. These shapes are stable: fields may be added, none is renamed, removed or given
//! another meaning. Dates are RFC 3339 in UTC. Names and paths are text; one that is not UTF-8 or holds control
//! characters stands as git quotes it, in double quotes.
//!
//! | command | document |
//! |---|---|
//! | `ls` | array of `{path, type, mode, uid, gid, size, modified, links, version, id, target}`; `type` is `secret`, `directory`, `symlink`, `fifo` or `socket`; `mode` is octal text; `size` and `version` for secrets only; `target` for symlinks only; `version`, `id` and `links` are absent when a mount answers |
//! | `log KEYNODE` | array, newest first, of `{commit, date, changes}`; `changes` is an array of lines |
//! | `log KEYNODE PATH` | array, oldest first, of `{version, date, writer, commit, commits, id}`; `commits` counts the commits of the version's session |
//! | `info` | object, see [`Info`](crate::node::Info) for the meaning of each field |
//! | `slot list` | array of `{name, recipients, bytes}` |
//! | `share list` | array of `{name, paths, rules, alert}`; `rules` counts them |
//! | `share show` | array of `{path}` |
//! | `share rules` | array of `{share, conditions, write, until}`; a condition is text `word=value` |
//! | `diff` | object `{path, old, new, old_size, new_size, equal, hunks}`; `old` and `new` are version numbers; `hunks` is an array of `{header, lines}`, each line with its sign in front and its newline, if it has one, at the end; null where a side is not text |
//! | `fsck` | array of `{severity, place, what}`; `severity` is `note`, `warning` or `error` |
//! | `import -N`, `export -N`, `restore -N`, `rm -N`, `install` | array of `{action, path}` |

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::Args;
use serde::Serialize;

use super::exit::OutputClosed;
use crate::error::{Error, Kind, Result};

/// How a list is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A line of a list.
pub(super) trait Row: Serialize {
    /// What stands above the columns on a terminal; `>` in front: to the right.
    const HEADINGS: &'static [&'static str];
    /// The cells in the order of the headings; without tabs and newlines.
    fn cells(&self) -> Vec<String>;
}

/// Prints a list.
///
/// # Errors
///
/// Standard output cannot be written to.
pub(super) fn list<R: Row>(rows: &[R], args: ListArgs) -> Result<()> {
    let terminal = io::stdout().is_terminal();
    print(|out| {
        if args.json {
            json(out, rows)
        } else if terminal {
            columns(out, rows)
        } else {
            rows.iter().try_for_each(|row| writeln!(out, "{}", row.cells().join("\t")))
        }
    })
}

/// Prints one value as JSON.
///
/// # Errors
///
/// Standard output cannot be written to.
pub(super) fn document<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    print(|out| json(out, value))
}

/// Writes bytes to standard output as they are.
///
/// # Errors
///
/// Standard output cannot be written to.
pub(super) fn bytes(data: &[u8]) -> Result<()> {
    // Past the buffer of `stdout()`, which would keep a copy.
    let mut out = io::stdout().lock();
    let written =
        out.flush().and_then(|()| out.as_fd().try_clone_to_owned()).and_then(|fd| File::from(fd).write_all(data));
    written.map_err(failed)
}

/// Runs what writes to standard output, buffered.
///
/// # Errors
///
/// Standard output cannot be written to.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    write(&mut out).and_then(|()| out.flush()).map_err(failed)
}

/// The error for standard output; a reader who has gone is none.
pub(super) fn failed(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::new(Kind::Failed, "standard output was closed").because(OutputClosed);
    }
    Error::system("write to standard output", error)
}

/// A name or path for people and lists: as it is where it is plain UTF-8, as git quotes it otherwise.
pub(super) fn name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.starts_with('"') && !text.chars().any(hidden) => text.to_owned(),
        _ => quoted(bytes),
    }
}

/// Control characters, and those that turn the direction of text around.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Git's C style, without its exception for plain text.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &b in bytes {
        match b {
            b'"' | b'\\' => out.extend(['\\', char::from(b)]),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            0x20..0x7f => out.push(char::from(b)),
            _ => out.extend(["\\".to_owned(), format!("{b:03o}")]),
        }
    }
    out.push('"');
    out
}

/// Colours of a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Red,
    Green,
    Blue,
    Cyan,
}

/// The text in this colour where standard output is a terminal that wants colours.
pub(super) fn paint(colour: Colour, text: &str) -> String {
    if !wants_colour() {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Blue => 34,
        Colour::Cyan => 36,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A terminal, no `NO_COLOR`, not `TERM=dumb`.
fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    io::stdout().is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

fn json<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

fn columns<R: Row>(out: &mut dyn Write, rows: &[R]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let heading = R::HEADINGS.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = vec![0; R::HEADINGS.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in &lines {
        let mut text = String::new();
        for ((cell, &width), heading) in line.iter().zip(&widths).zip(R::HEADINGS) {
            let right = heading.starts_with('>');
            let cell = if right { format!("{cell:>width$}  ") } else { format!("{cell:width$}  ") };
            text.push_str(&cell);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, u32);

    impl Row for Pair {
        const HEADINGS: &'static [&'static str] = &["name", ">n"];
        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string()]
        }
    }

    #[test]
    fn columns_are_aligned() {
        let mut out = Vec::new();
        columns(&mut out, &[Pair("long name", 1), Pair("x", 100)]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name         n\nlong name    1\nx          100\n");
    }

    #[test]
    fn odd_names_cannot_steer_a_terminal() {
        assert_eq!(name("plain ä".as_bytes()), "plain ä");
        assert_eq!(name(b"a\x1b[2J"), "\"a\\033[2J\"");
        assert_eq!(name(b"a\tb\n\xff\"\\"), "\"a\\tb\\n\\377\\\"\\\\\"");
        assert_eq!(name("a\u{202e}b".as_bytes()), "\"a\\342\\200\\256b\"");
        assert_eq!(name(b"\"x\""), "\"\\\"x\\\"\"");
    }
}
