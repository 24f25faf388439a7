//! Unlocking: where the passphrase or the key comes from, in order.
//!
//! 1. `--passphrase-file`, `--passphrase-fd`, `--key`: what is given here is used, and nothing else.
//! 2. `PKFS_PASSPHRASE_FILE` and `PKFS_KEY`, which name files.
//! 3. what the configuration says of `@name`.
//! 4. systemd's `$CREDENTIALS_DIRECTORY/pkfs.passphrase` and `pkfs.key`.
//! 5. the kernel's keyring, after `pkfs unlock`.
//! 6. a slot whose key gpg-agent holds.
//! 7. a prompt on the terminal.

use std::path::{Path, PathBuf};

use clap::Args;

use super::descriptor::Descriptor;
use super::keynode::Configured;
use super::prompt;
use crate::error::{Error, Kind, Result};
use crate::node::{Locked, NodeKey, SealedKeynode, UserKey};

/// How often the terminal is asked for a passphrase.
const ATTEMPTS: u32 = 3;

/// The unlocking options.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Unlocking")]
pub(super) struct UnlockArgs {
    /// Read the passphrase from this file; its last newline does not count
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "passphrase_fd")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this open descriptor
    #[arg(long, value_name = "N", global = true, value_parser = Descriptor::parse)]
    pub(super) passphrase_fd: Option<Descriptor>,
    /// Unlock with this OpenPGP secret key: the node's own, or one that a slot is encrypted to
    ///
    /// A passphrase given beside it is the key's.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) key: Option<PathBuf>,
    /// Refuse any other node than the one with this fingerprint
    #[arg(long, value_name = "FPR", global = true)]
    pub(super) node: Option<String>,
    /// Accept a keynode that is older than what was seen before, as a restored backup is
    #[arg(long, global = true)]
    pub(super) allow_rollback: bool,
}

impl UnlockArgs {
    /// The passphrase given on the command line, if one is.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn given_passphrase(&self) -> Result<Option<Locked>> {
        if let Some(path) = &self.passphrase_file {
            return prompt::passphrase_file(path).map(Some);
        }
        let Some(descriptor) = &self.passphrase_fd else { return Ok(None) };
        let file = descriptor.file().map_err(|e| Error::new(Kind::Failed, "cannot read the descriptor").because(e))?;
        prompt::passphrase(file).map(Some)
    }

    /// Whether the command line says how to unlock.
    pub(super) const fn is_given(&self) -> bool {
        self.passphrase_file.is_some() || self.passphrase_fd.is_some() || self.key.is_some()
    }

    /// Gets the node's key from the first source that has it.
    ///
    /// # Errors
    ///
    /// [`Kind::Unlock`]: what the command line gives does not open the keynode, or nothing else does.
    pub(super) fn unlock(&self, sealed: &SealedKeynode, configured: &Configured) -> Result<NodeKey> {
        if self.is_given() {
            return self.with_given(sealed).map_err(locked);
        }
        for source in SOURCES {
            match source(sealed, configured) {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(e) if e.kind() == Kind::Damaged => return Err(e),
                Err(e) => log::warn!("{}: trying what else there is", e.message()),
            }
        }
        ask(sealed)
    }

    fn with_given(&self, sealed: &SealedKeynode) -> Result<NodeKey> {
        let passphrase = self.given_passphrase()?;
        match (&self.key, passphrase) {
            (Some(path), passphrase) => with_key_file(sealed, path, passphrase, true),
            (None, Some(passphrase)) => sealed.unlock_with_passphrase(&passphrase),
            (None, None) => Err(Error::new(Kind::Unlock, "nothing to unlock with was given")),
        }
    }
}

type Source = fn(&SealedKeynode, &Configured) -> Result<Option<NodeKey>>;

const SOURCES: [Source; 5] = [
    |sealed, _| with_files(sealed, variable("PKFS_PASSPHRASE_FILE"), variable("PKFS_KEY")),
    |sealed, configured| with_files(sealed, configured.passphrase_file.clone(), configured.key.clone()),
    |sealed, _| {
        let Some(directory) = variable("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let file = |name| Some(directory.join(name)).filter(|p| p.exists());
        with_files(sealed, file("pkfs.passphrase"), file("pkfs.key"))
    },
    |sealed, _| sealed.unlock_with_keyring(),
    |sealed, _| sealed.unlock_with_gpg(),
];

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

fn with_files(
    sealed: &SealedKeynode,
    passphrase_file: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<NodeKey>> {
    let passphrase = passphrase_file.map(|p| prompt::passphrase_file(&p)).transpose()?;
    match (key, passphrase) {
        (Some(path), Some(passphrase)) => with_key_file(sealed, &path, Some(passphrase.clone()), false)
            .or_else(|wrong| {
                // It is the key's, or the keynode's own.
                let opened = sealed.unlock_with_passphrase(&passphrase);
                opened.map_err(|e| if e.kind() == Kind::Damaged { e } else { wrong })
            })
            .map(Some),
        (Some(path), None) => with_key_file(sealed, &path, None, false).map(Some),
        (None, Some(passphrase)) => sealed.unlock_with_passphrase(&passphrase).map(Some),
        (None, None) => Ok(None),
    }
}

fn with_key_file(sealed: &SealedKeynode, path: &Path, passphrase: Option<Locked>, ask: bool) -> Result<NodeKey> {
    sealed.unlock_with_key(&user_key(path, passphrase, ask)?).map_err(|e| e.at(path.display()))
}

/// The secret key in a file, with the passphrase that protects it taken off.
fn user_key(path: &Path, passphrase: Option<Locked>, ask: bool) -> Result<UserKey> {
    let at = |e: Error| e.at(path.display());
    let mut key = UserKey::parse(&prompt::key_file(path)?).map_err(at)?;
    if key.is_protected() {
        let passphrase = match passphrase {
            Some(passphrase) => passphrase,
            None if ask => prompt::hidden(&format!("Passphrase of {}: ", path.display()))?,
            None => {
                return Err(Error::new(Kind::Unlock, format!("{} needs a passphrase", path.display()))
                    .hint("give it with --passphrase-file FILE"));
            }
        };
        key.unprotect(&passphrase).map_err(at)?;
    }
    Ok(key)
}

fn ask(sealed: &SealedKeynode) -> Result<NodeKey> {
    let ways = "--passphrase-file FILE, --key FILE or `pkfs unlock` give what is needed";
    if !sealed.has_passphrase() {
        return Err(Error::new(Kind::Unlock, "nothing opens this keynode, and no passphrase does").hint(ways));
    }
    if !prompt::possible() {
        return Err(Error::new(Kind::Unlock, "locked, and there is no terminal to ask for the passphrase").hint(ways));
    }
    let mut attempt = 1;
    loop {
        let passphrase = prompt::hidden("Passphrase: ")?;
        match sealed.unlock_with_passphrase(&passphrase) {
            Err(e) if e.kind() == Kind::Unlock && attempt < ATTEMPTS => log::error!("{}", e.message()),
            done => return done,
        }
        attempt += 1;
    }
}

/// Whatever went wrong with a source that was asked for, the keynode could not be unlocked.
fn locked(error: Error) -> Error {
    if matches!(error.kind(), Kind::Unlock | Kind::Damaged) {
        return error;
    }
    let same = Error::new(Kind::Unlock, error.message());
    let same = if let Some(hint) = error.next_step() { same.hint(hint) } else { same };
    same.because(error)
}
