//! `pkfs fsck`: checks every layer of a keynode.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::context::{Context, KeynodeArg};
use super::super::exit::{DAMAGED, DONE};
use super::super::keynode::Target;
use super::super::output::{self, Colour, ListArgs, Row};
use super::super::quantity::counted;
use crate::error::{Kind, Result};
use crate::node::{self, Finding, NodeKey, SealedKeynode, Severity};

/// Check every layer, and say exactly what is wrong where
///
/// Archive, git objects, references, the log, digests, signatures, and that each message opens and is in its place.
/// The exit status is 4 if something is wrong. Without a key, what needs none is checked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs fsck app.pk\n  pkfs fsck app.pk --repair saved.pk")]
pub(in super::super) struct Fsck {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// Save what is good into this new keynode; the damaged one stays as it is
    #[arg(long, value_name = "NEW")]
    repair: Option<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
}

impl Fsck {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        if let Some(new) = &self.repair {
            return self.save(context, &target, new);
        }
        let key = Self::key(context, &target)?;
        let report = node::fsck(&target.file, key.as_ref())?;
        let row = |f: &Finding| Line { severity: name(f.severity), place: f.place.clone(), what: f.what.clone() };
        let rows: Vec<Line> = report.findings.iter().map(row).collect();
        output::list(&rows, self.list)?;
        context.note(format_args!(
            "checked {}, {} with {}, {}: {}",
            counted(report.transactions, "transaction"),
            counted(report.secrets, "secret"),
            counted(report.commits, "commit"),
            counted(report.messages, "message"),
            if report.is_clean() { "all is well" } else { "something is wrong" }
        ));
        Ok(if report.is_clean() { DONE } else { DAMAGED })
    }

    /// Each loss is a line; the exit status is 0, since what could be saved is.
    fn save(&self, context: &Context, target: &Target, new: &Path) -> Result<u8> {
        let sealed = SealedKeynode::open(&target.file).or_else(|_| SealedKeynode::open_damaged(&target.file))?;
        let key = context.unlock.unlock(&sealed, &target.configured)?;
        let report = node::repair(&target.file, &key, new)?;
        let place = new.display().to_string();
        let row = |what: &String| Line { severity: "note", place: place.clone(), what: what.clone() };
        output::list(&report.notes.iter().map(row).collect::<Vec<_>>(), self.list)?;
        let (secrets, commits) = (counted(report.secrets, "secret"), counted(report.commits, "commit"));
        context.note(format_args!("{place}: {secrets} with {commits} saved"));
        Ok(DONE)
    }

    /// None: what needs no key can be checked all the same.
    fn key(context: &Context, target: &Target) -> Result<Option<NodeKey>> {
        let sealed = match SealedKeynode::open(&target.file) {
            Ok(sealed) => sealed,
            Err(e) if e.kind() == Kind::Damaged => {
                context.note("so damaged that it cannot be unlocked: checked without a key");
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        match context.unlock.unlock(&sealed, &target.configured) {
            Ok(key) => Ok(Some(key)),
            Err(e) if e.kind() == Kind::Unlock && !context.unlock.is_given() => {
                context.note("not unlocked: messages are not opened");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

const fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

#[derive(Debug, Serialize)]
struct Line {
    severity: &'static str,
    place: String,
    what: String,
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &["severity", "place", "what"];

    fn cells(&self) -> Vec<String> {
        let severity =
            if self.severity == "error" { output::paint(Colour::Red, "error") } else { self.severity.into() };
        vec![severity, output::name(self.place.as_bytes()), self.what.clone()]
    }
}
