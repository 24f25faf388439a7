//! `pkfs init`: makes a keynode.

use std::path::PathBuf;

use clap::Args;

use super::super::context::Context;
use super::super::exit::DONE;
use super::super::new_file;
use super::super::new_passphrase;
use crate::error::{Error, Kind, Result};
use crate::node::{Keynode, Locked, NodeKey, Profile};

/// Make a new, empty keynode
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs init app.pk\n  pkfs init /media/a/app.pk --key-out /media/b/app.key")]
pub(in super::super) struct Init {
    /// The file to make
    #[arg(value_name = "KEYNODE")]
    keynode: PathBuf,
    /// How it is encrypted: gnupg (GnuPG 2.2 reads it) or rfc9580 (newer tools)
    #[arg(long, value_name = "P", default_value = "gnupg", value_parser = profile)]
    profile: Profile,
    /// Write the node's key to this new file, and make no slot unless a passphrase is given too
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
    /// Take a weak passphrase too
    #[arg(long)]
    force: bool,
}

fn profile(text: &str) -> Result<Profile, String> {
    text.parse().map_err(|e: Error| e.message().to_owned())
}

impl Init {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        if context.unlock.key.is_some() {
            return Err(Error::new(Kind::Invalid, "--key opens a keynode that exists")
                .hint("--key-out FILE writes the new node's key, `pkfs slot add` lets another key in"));
        }
        if self.keynode.symlink_metadata().is_ok() {
            return Err(Error::new(Kind::Exists, format!("{} exists already", self.keynode.display()))
                .hint("choose another name, nothing was changed"));
        }
        let passphrase = self.passphrase(context)?;
        let key = NodeKey::generate(self.profile)?;
        if let Some(path) = &self.key_out {
            new_file::write(path, &key.to_secret()?)?;
        }
        let fingerprint = key.fingerprint();
        let made = Keynode::init_with_key(&self.keynode, key, passphrase.as_ref());
        if let (Err(_), Some(path)) = (&made, &self.key_out) {
            // The key opens nothing.
            let _ = std::fs::remove_file(path);
        }
        made?;
        context.note(format_args!("{}: made, node {fingerprint}", self.keynode.display()));
        Ok(DONE)
    }

    /// None: no slot.
    fn passphrase(&self, context: &Context) -> Result<Option<Locked>> {
        let given = match context.unlock.given_passphrase()? {
            Some(given) => given,
            None if self.key_out.is_some() => return Ok(None),
            None => match new_passphrase::from_environment()? {
                Some(given) => given,
                None => new_passphrase::ask()?,
            },
        };
        new_passphrase::check(&given, self.force)?;
        Ok(Some(given))
    }
}
