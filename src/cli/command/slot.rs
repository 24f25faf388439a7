//! `pkfs slot`: who can unlock the keynode.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::exit::DONE;
use super::super::keynode::Target;
use super::super::new_file;
use super::super::new_passphrase::NewPassphraseArgs;
use super::super::output::{self, ListArgs, Row};
use crate::error::{Error, Kind, Result};
use crate::node::{Certificate, SealedKeynode, Slot as NodeSlot, gpg};

/// A file with a certificate has at most this many bytes.
const LONGEST_CERTIFICATE: u64 = 1 << 20;

/// Add, list and remove what unlocks the keynode
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs slot add app.pk --cert alice.asc\n  pkfs slot list app.pk")]
pub(in super::super) struct Slot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Let a passphrase or somebody's OpenPGP key unlock the keynode
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs slot add app.pk --passphrase\n  pkfs slot add app.pk --gpg alice@example.org")]
struct Add {
    #[command(flatten)]
    keynode: KeynodeArg,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Way {
    /// A passphrase, asked for twice unless it is given
    #[arg(long)]
    passphrase: bool,
    /// The OpenPGP certificate in this file
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// A certificate that gpg knows; gpg-agent or a smart card then unlocks
    #[arg(long, value_name = "ID")]
    gpg: Option<String>,
}

/// List what unlocks the keynode
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs slot list app.pk")]
struct List {
    #[command(flatten)]
    keynode: KeynodeArg,
    #[command(flatten)]
    list: ListArgs,
}

/// Remove a way to unlock the keynode; whoever had it may have kept the key
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs slot remove app.pk passphrase")]
struct Remove {
    #[command(flatten)]
    keynode: KeynodeArg,
    /// passphrase, or a fingerprint, as `slot list` shows it
    #[arg(value_name = "NAME")]
    name: String,
    /// Write the node's key to this new file before: needed for the last slot
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
}

impl Slot {
    /// The operand, for messages.
    pub(in super::super) fn keynode(&self) -> &KeynodeArg {
        match &self.verb {
            Verb::Add(verb) => &verb.keynode,
            Verb::List(verb) => &verb.keynode,
            Verb::Remove(verb) => &verb.keynode,
        }
    }

    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        match self.verb {
            Verb::Add(verb) => verb.run(context),
            Verb::List(verb) => verb.run(),
            Verb::Remove(verb) => verb.run(context),
        }
    }
}

impl Add {
    fn run(self, context: &Context) -> Result<u8> {
        let certificate = match (&self.way.cert, &self.way.gpg) {
            (Some(path), _) => Some(certificate(path)?),
            (None, Some(id)) => Some(gpg::export_certificate(id)?),
            (None, None) => None,
        };
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        if let Some(certificate) = certificate {
            keynode.add_slot_certificate(&certificate)?;
            let who = certificate.user_id().map(|id| format!(", {}", output::name(id.as_bytes()))).unwrap_or_default();
            context.note(format_args!("slot {}{who} added", certificate.fingerprint()));
        } else {
            keynode.add_slot_passphrase(&self.new.get()?)?;
        }
        Ok(DONE)
    }
}

fn certificate(path: &PathBuf) -> Result<Certificate> {
    let size = fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
    if size > LONGEST_CERTIFICATE {
        return Err(Error::new(Kind::TooLarge, format!("{}: too large for a certificate", path.display())));
    }
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    Certificate::parse(&bytes).map_err(|e| e.at(path.display()))
}

impl List {
    fn run(self) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        let rows: Vec<Line> = SealedKeynode::open(&target.file)?.slots()?.into_iter().map(Line::from).collect();
        output::list(&rows, self.list)?;
        Ok(DONE)
    }
}

impl Remove {
    fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let slots = keynode.slots()?;
        if !slots.iter().any(|slot| slot.name == self.name) {
            return Err(Error::not_found(format!("no slot {}", self.name)).hint("`pkfs slot list` shows them"));
        }
        match &self.key_out {
            Some(path) => new_file::write(path, &keynode.key().to_secret()?)?,
            None if slots.len() == 1 => {
                return Err(Error::new(
                    Kind::Failed,
                    "this is the last slot: nothing could unlock the keynode any more",
                )
                .hint("--key-out FILE writes the node's key to a file before"));
            }
            None => {}
        }
        let removed = keynode.remove_slot(&self.name);
        if let (Err(_), Some(path)) = (&removed, &self.key_out) {
            // The slot still opens it.
            let _ = fs::remove_file(path);
        }
        removed.map(|()| DONE)
    }
}

#[derive(Debug, Serialize)]
pub(in super::super) struct Line {
    name: String,
    recipients: Vec<String>,
}

impl Line {
    pub(in super::super) fn name(&self) -> &str {
        &self.name
    }
}

impl From<NodeSlot> for Line {
    fn from(slot: NodeSlot) -> Self {
        Self { name: slot.name, recipients: slot.recipients }
    }
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &["name", "recipients"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.recipients.join(" ")]
    }
}
