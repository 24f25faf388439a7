//! How the command ends: one or two plain lines and an exit status.
//!
//! | exit status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; the message says what, where, and what to do next |
//! | 2 | wrong usage |
//! | 3 | could not unlock |
//! | 4 | verification failed: damaged or tampered with |
//! | 5 | no such secret, version, share or peer |
//! | 6 | not permitted by capability, view or file permission |
//! | 7 | diverged or rolled back: a decision is needed |
//! | 8 | `diff`: there is something to report |

use std::error::Error as StdError;
use std::fmt;
use std::io::Write;

use crate::error::{Error, Kind};

/// The exit status of a command that did what it was asked to.
pub(super) const DONE: u8 = 0;
/// The exit status of wrong usage.
pub(super) const USAGE: u8 = Kind::Usage.exit_status();
/// The exit status of `fsck` with findings.
pub(super) const DAMAGED: u8 = Kind::Damaged.exit_status();
/// The exit status of `diff` when there is a difference.
pub(super) const REPORT: u8 = Kind::Report.exit_status();

/// A line with its hint is broken in two beyond this many characters.
const LINE: usize = 100;

/// The reader of standard output went away: reason to stop, not to complain.
#[derive(Debug)]
pub(super) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl StdError for OutputClosed {}

/// Tells the error on standard error, with the chain below it if `chain`, and gives the exit status.
pub(super) fn tell(error: &Error, chain: bool) -> u8 {
    if error.source().is_some_and(<dyn StdError>::is::<OutputClosed>) {
        return DONE;
    }
    // Nobody is left to be told when standard error is closed too.
    let _ = std::io::stderr().lock().write_all(text(error, chain).as_bytes());
    error.kind().exit_status()
}

fn text(error: &Error, chain: bool) -> String {
    let mut text = format!("pkfs: {}", one_line(error.message()));
    if let Some(hint) = error.next_step() {
        let hint = one_line(hint);
        if text.chars().count() + hint.chars().count() < LINE {
            text = format!("{text} ({hint})");
        } else {
            text = format!("{text}\n      {hint}");
        }
    }
    text.push('\n');
    let mut below = error.source().filter(|_| chain);
    while let Some(cause) = below {
        text.extend(["      because: ", &one_line(&cause.to_string()), "\n"]);
        below = cause.source();
    }
    text
}

/// Without what would break the line or steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Makes a panic, which is a defect, one plain line on standard error. Where it happened, and its message, which could
/// hold what the program was working on, come with `RUST_BACKTRACE` only.
pub(super) fn install_panic_hook() {
    let standard = std::panic::take_hook();
    let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0");
    std::panic::set_hook(Box::new(move |info| {
        let line = "pkfs: internal error, please report it (RUST_BACKTRACE=1 tells where)\n";
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        if wanted {
            standard(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_hint_stands_in_parentheses() {
        let error = Error::not_found("app.pk: db/pasword: no such secret").hint("did you mean db/password?");
        assert_eq!(text(&error, false), "pkfs: app.pk: db/pasword: no such secret (did you mean db/password?)\n");
    }

    #[test]
    fn a_long_hint_has_its_own_line_and_causes_are_told_on_request() {
        let error = Error::not_found("x".repeat(90)).hint("do this").because(std::io::Error::other("deep\x1b[1m"));
        assert_eq!(text(&error, false).lines().count(), 2);
        assert_eq!(text(&error, true).lines().nth(2), Some("      because: deep [1m"));
    }

    #[test]
    fn a_closed_output_is_no_failure() {
        assert_eq!(tell(&Error::new(Kind::Failed, "x").because(OutputClosed), false), DONE);
    }
}
