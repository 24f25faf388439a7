//! Keys that gpg-agent holds, smart cards included, by way of the `gpg` program.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::certificate::Certificate;
use super::memory::Locked;
use super::node_key::NodeKey;
use super::slot;
use crate::error::{Error, Kind, Result};

/// The most that is read of what gpg prints.
const MAX_OUTPUT: usize = 1 << 20;

/// Opens a slot with a key that gpg-agent holds. The agent asks for a passphrase or PIN by itself.
///
/// # Errors
///
/// Unlock: gpg is missing, has no secret key for the slot, or was not given the passphrase. Damaged: not a slot.
pub fn open_with_gpg(slot: &[u8]) -> Result<NodeKey> {
    // Else gpg would ask for the passphrase, of which pkfs says nothing.
    if slot::is_for_passphrase(slot)? {
        return Err(Error::new(Kind::Unlock, "the slot is for a passphrase, not for a key"));
    }
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--quiet", "--no-auto-key-retrieve", "--status-fd", "2", "--decrypt"]);
    if let (None, Some(terminal)) = (std::env::var_os("GPG_TTY"), terminal()) {
        gpg.env("GPG_TTY", terminal);
    }
    let output = run(gpg, slot)?;
    if output.ok && output.told("DECRYPTION_OKAY") {
        return slot::node_key(&output.stdout);
    }
    // gpg tells which key it used once that has worked.
    let error = if output.told("DECRYPTION_KEY") {
        Error::damaged("gpg finds the slot damaged")
    } else if has_secret_for(&slot::recipients(slot)?) {
        Error::new(Kind::Unlock, "gpg did not open the slot")
            .hint("the passphrase or PIN was wrong or not given, or gpg-agent could not ask for it")
    } else {
        Error::new(Kind::Unlock, "gpg has no secret key for this slot")
            .hint("if it is on a smart card, insert that and run `gpg --card-status`")
    };
    Err(error.because(output.stderr))
}

/// A certificate from gpg's keyring, by fingerprint, key id or address.
///
/// # Errors
///
/// Invalid: the id cannot be one, or fits several certificates. Not found: gpg knows none. Failed: gpg is missing.
pub fn export_certificate(id: &str) -> Result<Certificate> {
    if id.is_empty() || id.starts_with('-') || id.chars().any(char::is_control) {
        return Err(Error::new(Kind::Invalid, "not a key id, fingerprint or address"));
    }
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--quiet", "--export-options", "export-minimal", "--export", "--", id]);
    let output = run(gpg, &[])?;
    if output.stdout.is_empty() {
        return Err(Error::not_found(format!("gpg has no certificate for {id}"))
            .hint("`gpg --list-keys` shows those it has; a file with a certificate will do as well")
            .because(output.stderr));
    }
    Certificate::parse(&output.stdout).map_err(|e| e.at(id))
}

/// Whether gpg has a secret key for one of these recipients (key ids or fingerprints, as [`slot::recipients`] gives
/// them), so that nobody waits for gpg-agent in vain. False if gpg is missing.
pub fn has_secret_for(recipients: &[String]) -> bool {
    if recipients.is_empty() {
        return false;
    }
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--quiet", "--with-colons", "--with-subkey-fingerprint", "--list-secret-keys"]);
    let Ok(output) = run(gpg, &[]) else { return false };
    let listing = String::from_utf8_lossy(&output.stdout);
    let known: Vec<&str> = listing.lines().filter_map(listed).collect();
    recipients.iter().any(|r| known.contains(&r.as_str()))
}

/// The key id or fingerprint on this line of a listing (gpg's doc/DETAILS, "Format of the colon listings").
fn listed(line: &str) -> Option<&str> {
    let mut fields = line.split(':');
    match fields.next()? {
        // The 15th field is "#" where the secret part is missing.
        "sec" | "ssb" => fields.clone().nth(13).filter(|token| *token != "#").and_then(|_| fields.nth(3)),
        "fpr" => fields.nth(8),
        _ => None,
    }
}

/// What gpg printed.
struct Output {
    ok: bool,
    stdout: Locked,
    stderr: String,
}

impl Output {
    /// Whether gpg's status lines tell this.
    fn told(&self, keyword: &str) -> bool {
        self.stderr
            .lines()
            .any(|line| line.strip_prefix("[GNUPG:] ").is_some_and(|l| l.split(' ').next() == Some(keyword)))
    }
}

/// Runs gpg with this input.
fn run(mut gpg: Command, input: &[u8]) -> Result<Output> {
    let failed = |e: io::Error| Error::new(Kind::Failed, "cannot talk to gpg").because(e);
    gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = gpg.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::new(Kind::Unlock, "gpg is not installed")
            .hint("install the package gnupg, or use a passphrase or a key in a file"),
        _ => Error::new(Kind::Failed, "cannot run gpg").because(e),
    })?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        // gpg reads and writes at the same time. One that ends early closes its input, which is no failure of its own.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
        let messages = scope.spawn(move || stderr.map(read_bounded));
        let stdout = child.stdout.take().map(read_bounded);
        (stdout, messages.join().ok().flatten())
    });
    let stdout = stdout.unwrap_or_else(|| Ok(Locked::default()));
    let (Ok(stdout), Some(Ok(stderr))) = (stdout, stderr) else {
        stop(&mut child);
        return Err(Error::new(Kind::Failed, "gpg printed more than it should"));
    };
    let ok = child.wait().map_err(failed)?.success();
    Ok(Output { ok, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

fn stop(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads all, into locked memory, and fails beyond the limit.
fn read_bounded(pipe: impl Read) -> io::Result<Locked> {
    Locked::read(pipe, 16 << 10, MAX_OUTPUT)
}

/// The terminal that one of the standard streams is, which a pinentry in text mode needs to know.
fn terminal() -> Option<std::path::PathBuf> {
    let links = [0, 2, 1].into_iter().filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
    links.into_iter().find(|p| p.starts_with("/dev/pts/") || p.to_string_lossy().starts_with("/dev/tty"))
}
