//! `pkfs restore`: brings a former value back.

use std::sync::Arc;

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::history::{self, RevisionArgs};
use super::super::output::ListArgs;
use super::super::plan::{self, Step};
use super::super::{edit, prompt};
use crate::error::{Error, Result};
use crate::node::{Content, ItemPath, Keynode, Locked, Snapshot};
use crate::time::Timestamp;

/// Bring a former value back, as a new version
///
/// Without -r and --at: a deleted secret as it was last, or the version before the present one. With --at a directory
/// too, with all that was in it then; what is there now and was not then stays.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs restore app.pk db/password -r 2\n  pkfs restore app.pk db --at 2026-11-24 --yes"
)]
pub(in super::super) struct Restore {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// The secret, or with --at a directory
    #[arg(value_name = "PATH", value_parser = item_path())]
    path: ItemPath,
    #[command(flatten)]
    revision: RevisionArgs,
    /// Do not ask before a newer value is replaced
    #[arg(long)]
    yes: bool,
    /// Only say what would be done
    #[arg(short = 'N', long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// A value to bring back.
struct Former {
    path: ItemPath,
    value: Locked,
    mode: Option<u32>,
    /// Whether another value is there now.
    replaces: bool,
}

impl Restore {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, if self.dry_run { Access::Read } else { Access::Write })?;
        let snapshot = keynode.snapshot();
        let found = match self.revision.at {
            Some(when) => self.then(&keynode, &snapshot, when)?,
            None => self.version(&keynode, &snapshot)?.into_iter().collect(),
        };
        if self.dry_run {
            let step = |f: &Former| Step::new(if f.replaces { "replace" } else { "bring back" }, &f.path);
            return plan::show(&found.iter().map(step).collect::<Vec<_>>(), self.list).map(|()| DONE);
        }
        let replaced: Vec<_> = found.iter().filter(|f| f.replaces).collect();
        match replaced.as_slice() {
            [] => {}
            [one] => prompt::confirm(&format!("Replace the present value of {}?", one.path), self.yes)?,
            many => prompt::confirm(&format!("Replace the present values of {} secrets?", many.len()), self.yes)?,
        }
        if found.is_empty() {
            context.note(format_args!("{}: is as it was, nothing to do", self.path));
            return Ok(DONE);
        }
        let mut transaction = keynode.begin()?;
        for former in &found {
            edit::store(&keynode, &mut transaction, &former.path, &former.value, former.mode)?;
        }
        transaction.commit()?;
        Ok(DONE)
    }

    /// The one value that `-r` means, or the last before the present; none if it is the present one.
    fn version(&self, keynode: &Keynode, snapshot: &Snapshot) -> Result<Option<Former>> {
        let id = history::secret_of(snapshot.namespace(), &self.path)?;
        let versions = keynode.versions(snapshot, id).map_err(|e| history::at(e, &self.path))?;
        let present = edit::lookup(snapshot.namespace(), &self.path)?;
        let present = present.map(|item| edit::secret(item, &self.path)).transpose()?.is_some();
        let version = match self.revision.revision {
            Some(number) => history::numbered(&versions, number, &self.path)?,
            None => versions.iter().rev().nth(usize::from(present)).ok_or_else(|| {
                Error::not_found(format!("{}: has one version only", self.path)).hint("there is nothing to restore")
            })?,
        };
        if present && versions.last().is_some_and(|last| last.number == version.number) {
            return Ok(None);
        }
        let value = keynode.read_version(snapshot, id, version).map_err(|e| history::at(e, &self.path))?;
        let mode = snapshot.namespace().item(id).map(|item| item.attributes.mode);
        Ok(Some(Former { path: self.path.clone(), value, mode, replaces: present }))
    }

    /// All that is under the path in the snapshot of then and is not the same now.
    fn then(&self, keynode: &Keynode, now: &Snapshot, when: Timestamp) -> Result<Vec<Former>> {
        let then: Arc<Snapshot> = keynode.snapshot_at(when)?;
        let top = then.namespace().resolve(&self.path)?;
        let below = match &top.content {
            Content::Directory(_) => then.namespace().walk(top.id)?.collect(),
            _ => vec![(self.path.clone(), edit::secret(top, &self.path)?)],
        };
        let mut found = Vec::new();
        for (path, item) in below {
            let Some(former) = item.secret() else { continue };
            let present = edit::lookup(now.namespace(), &path)?;
            let same = |s: &crate::node::SecretState| s.head().map(|h| h.commit) == former.head().map(|h| h.commit);
            if present.and_then(|p| p.secret()).is_some_and(same) {
                continue;
            }
            let value = keynode.read_head(&then, item.id).map_err(|e| history::at(e, &path))?;
            found.push(Former { path, value, mode: Some(item.attributes.mode), replaces: present.is_some() });
        }
        Ok(found)
    }
}
