//! Which secret, and which of its versions, a path with `-r` or `--at` means.

use std::sync::Arc;

use clap::Args;

use super::edit;
use super::quantity;
use crate::error::{Error, Result};
use crate::node::{ItemId, ItemPath, Keynode, Locked, Namespace, Snapshot, Version};
use crate::time::Timestamp;

/// Which version is meant.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct RevisionArgs {
    /// The version of this number
    #[arg(short, long, value_name = "N", conflicts_with = "at")]
    pub(super) revision: Option<u32>,
    /// As it stood at this date: RFC 3339 or the beginning of it, which means the end of that span, in UTC
    #[arg(long, value_name = "DATE", value_parser = quantity::date)]
    pub(super) at: Option<Timestamp>,
}

impl RevisionArgs {
    /// The snapshot that `--at` means, or the present one.
    ///
    /// # Errors
    ///
    /// There was nothing yet at that date.
    pub(super) fn snapshot(&self, keynode: &Keynode) -> Result<Arc<Snapshot>> {
        self.at.map_or_else(|| Ok(keynode.snapshot()), |when| keynode.snapshot_at(when))
    }

    /// Reads the value that the path and these options mean.
    ///
    /// # Errors
    ///
    /// There is no such secret or version; it cannot be decrypted or verified.
    pub(super) fn read(&self, keynode: &Keynode, path: &ItemPath) -> Result<Locked> {
        let snapshot = self.snapshot(keynode)?;
        let Some(number) = self.revision else {
            let item = edit::secret(snapshot.namespace().resolve(path)?, path)?;
            return keynode.read_head(&snapshot, item.id).map_err(|e| at(e, path));
        };
        let id = secret_of(snapshot.namespace(), path)?;
        let versions = keynode.versions(&snapshot, id).map_err(|e| at(e, path))?;
        keynode.read_version(&snapshot, id, numbered(&versions, number, path)?).map_err(|e| at(e, path))
    }
}

/// The secret under a path, or the last that was there.
///
/// # Errors
///
/// There is none and was none.
pub(super) fn secret_of(namespace: &Namespace, path: &ItemPath) -> Result<ItemId> {
    match edit::lookup(namespace, path) {
        Ok(Some(item)) if !item.is_directory() => edit::secret(item, path).map(|item| item.id),
        // What had this name before it was a directory's can still be had.
        _ => match namespace.former(path).last() {
            Some(id) => Ok(*id),
            None => edit::secret(namespace.resolve(path)?, path).map(|item| item.id),
        },
    }
}

/// The version of this number.
///
/// # Errors
///
/// There is none.
pub(super) fn numbered<'a>(versions: &'a [Version], number: u32, path: &ItemPath) -> Result<&'a Version> {
    versions.iter().find(|v| v.number == number).ok_or_else(|| {
        let hint = match (versions.first(), versions.last()) {
            (Some(first), Some(last)) if first.number != last.number => {
                format!("there are {} to {}", first.number, last.number)
            }
            (Some(only), _) => format!("there is {} only", only.number),
            _ => "there is none".to_owned(),
        };
        Error::not_found(format!("{path}: no version {number}")).hint(hint)
    })
}

/// Names the path in an error that does not yet.
pub(super) fn at(error: Error, path: &ItemPath) -> Error {
    if error.message().contains(&path.to_string()) { error } else { error.at(path) }
}
