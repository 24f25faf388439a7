//! `pkfs fsck`: checks every layer of a keynode.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::super::context::{Context, KeynodeArg};
use super::super::exit::{DAMAGED, DONE};
use super::super::keynode::Target;
use super::super::output::{self, Colour, ListArgs, Row};
use crate::error::{Error, Kind, Result};
use crate::node::{self, NodeKey, SealedKeynode, Severity};

/// Check every layer: archive, git objects, log, signatures, and that each message opens and is in its place
///
/// The exit status is 4 if something is wrong. Without a key, what needs none is checked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs fsck app.pk\n  pkfs fsck app.pk --repair saved.pk")]
pub(in super::super) struct Fsck {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// Save what is good into this new keynode
    #[arg(long, value_name = "NEW")]
    repair: Option<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
}

impl Fsck {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        let key = self.key(context, &target)?;
        let findings = if let Some(new) = &self.repair {
            let key = key.ok_or_else(|| Error::new(Kind::Unlock, "a repair needs the node's key"))?;
            let report = node::repair(&target.file, &key, new)?;
            context.note(format_args!("what is good is in {}", new.display()));
            report.findings
        } else {
            node::fsck(&target.file, key.as_ref())?
        };
        let bad = findings.iter().any(|f| f.severity != Severity::Note);
        let rows: Vec<Line> = findings.into_iter().map(|f| Line { severity: name(f.severity), what: f.what }).collect();
        output::list(&rows, self.list)?;
        Ok(if bad { DAMAGED } else { DONE })
    }

    /// None: what needs no key can be checked all the same.
    fn key(&self, context: &Context, target: &Target) -> Result<Option<NodeKey>> {
        let sealed = match SealedKeynode::open(&target.file) {
            Ok(sealed) => sealed,
            Err(e) if e.kind() == Kind::Damaged && self.repair.is_none() => {
                context.note("so damaged that it cannot be unlocked: checked without a key");
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        match context.unlock.unlock(&sealed, &target.configured) {
            Ok(key) => Ok(Some(key)),
            Err(e) if e.kind() == Kind::Unlock && !context.unlock.is_given() && self.repair.is_none() => {
                context.note("not unlocked: signatures, messages and the log are not checked");
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
    what: String,
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &["severity", "what"];

    fn cells(&self) -> Vec<String> {
        let severity =
            if self.severity == "error" { output::paint(Colour::Red, "error") } else { self.severity.into() };
        vec![severity, self.what.clone()]
    }
}
