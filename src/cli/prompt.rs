//! Asking on the terminal, and reading secrets from files and descriptors.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroize;

use crate::error::{Error, Kind, Result};
use crate::node::Locked;

/// A passphrase has at most this many bytes.
const LONGEST_PASSPHRASE: usize = 64 << 10;
/// A file with a secret key has at most this many bytes.
const LONGEST_KEY: usize = 1 << 20;

/// A terminal that shows nothing that is typed, until this is dropped. The echo must be off before a question stands
/// there: a quick answer, pasted or typed by a program, would be shown otherwise.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn new() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        tcsetattr(&terminal, OptionalActions::Drain, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // The terminal has gone: nothing is left to be set.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Asks for something hidden on the terminal.
///
/// # Errors
///
/// There is no terminal ([`Kind::Unlock`]), or the answer was broken off.
pub(super) fn hidden(question: &str) -> Result<Locked> {
    let answer = Silent::new().and_then(|_silent| rpassword::prompt_password(question));
    let mut answer = answer.map_err(|e| {
        if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof) {
            return Error::new(Kind::Failed, "broken off, nothing was changed").because(e);
        }
        Error::new(Kind::Unlock, "there is no terminal to ask on").because(e)
    })?;
    let locked = Locked::from_slice(answer.as_bytes());
    answer.zeroize();
    Ok(locked)
}

/// Asks for something hidden twice.
///
/// # Errors
///
/// As [`hidden`]; the answers differ.
pub(super) fn hidden_twice(question: &str) -> Result<Locked> {
    let first = hidden(&format!("{question}: "))?;
    let second = hidden(&format!("{question} (again): "))?;
    if first.as_slice() == second.as_slice() {
        return Ok(first);
    }
    Err(Error::new(Kind::Failed, "the two answers differ, nothing was changed").hint("try again"))
}

/// Asks whether to go on: true without asking if `yes`.
///
/// # Errors
///
/// There is no terminal to ask on, or the answer is no.
pub(super) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let no_terminal = |e: io::Error| {
        Error::new(Kind::Failed, format!("{question} There is no terminal to ask on")).hint("--yes says yes").because(e)
    };
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    let mut answer = String::new();
    (&terminal).write_all(format!("{question} [y/N] ").as_bytes()).map_err(no_terminal)?;
    BufReader::new(terminal.take(64)).read_line(&mut answer).map_err(no_terminal)?;
    if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, "not confirmed, nothing was changed"))
}

/// Whether there is a terminal to ask on.
pub(super) fn possible() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/tty").is_ok()
}

/// The passphrase in a file, without its last newline.
///
/// # Errors
///
/// The file cannot be read, is empty or too large.
pub(super) fn passphrase_file(path: &Path) -> Result<Locked> {
    let file = File::open(path).map_err(|e| Error::io("read the passphrase file", path, e))?;
    warn_if_open(&file, path);
    passphrase(file).map_err(|e| e.at(path.display()))
}

/// The passphrase that a reader gives, without its last newline.
///
/// # Errors
///
/// It cannot be read, is empty or too large.
pub(super) fn passphrase(reader: impl Read) -> Result<Locked> {
    let mut text = bounded(reader, LONGEST_PASSPHRASE, "passphrase")?;
    if text.last() == Some(&b'\n') {
        text.truncate(text.len() - 1);
    }
    if text.is_empty() {
        return Err(Error::new(Kind::Unlock, "the passphrase is empty"));
    }
    Ok(text)
}

/// The bytes of a file with a secret key.
///
/// # Errors
///
/// The file cannot be read or is too large.
pub(super) fn key_file(path: &Path) -> Result<Locked> {
    let file = File::open(path).map_err(|e| Error::io("read the key file", path, e))?;
    warn_if_open(&file, path);
    bounded(file, LONGEST_KEY, "key").map_err(|e| e.at(path.display()))
}

/// All that a reader gives, straight into locked memory.
///
/// # Errors
///
/// It cannot be read, or there is more than `limit` bytes of this `what` ([`Kind::TooLarge`]).
pub(super) fn bounded(mut reader: impl Read, limit: usize, what: &str) -> Result<Locked> {
    let mut data = Locked::default();
    let mut filled = 0;
    loop {
        if filled == data.len() {
            data.resize((filled * 2).clamp(4096, limit + 1));
        }
        match reader.read(data.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::system(format_args!("read the {what}"), e)),
        }
        if filled > limit {
            return Err(Error::new(Kind::TooLarge, format!("the {what} is larger than {limit} bytes")));
        }
    }
    data.truncate(filled);
    Ok(data)
}

fn warn_if_open(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o004 != 0) {
        log::warn!("everybody can read {}: chmod 600 it", path.display());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_last_newline_does_not_count() {
        assert_eq!(passphrase(&b"one\ntwo\n\n"[..]).unwrap().as_slice(), b"one\ntwo\n");
        assert_eq!(passphrase(&b"\n"[..]).unwrap_err().kind(), Kind::Unlock);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let directory = File::open(std::env::temp_dir()).unwrap();
        let error = bounded(directory, 10_000, "value").unwrap_err();
        assert_eq!(error.message(), "cannot read the value: is a directory");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        assert_eq!(bounded(io::repeat(b'x').take(10_000), 10_000, "value").unwrap().len(), 10_000);
        assert_eq!(bounded(io::repeat(b'x'), 10_000, "value").unwrap_err().kind(), Kind::TooLarge);
        assert!(bounded(io::empty(), 10_000, "value").unwrap().is_empty());
    }
}
