//! What a command that changes many things would do (`-N`).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::output::{self, ListArgs, Row};
use crate::error::Result;
use crate::node::ItemPath;

/// One thing that would be done.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    action: &'static str,
    path: String,
}

impl Step {
    /// Something done to a path.
    pub(super) fn new(action: &'static str, path: &ItemPath) -> Self {
        Self { action, path: output::name(&path.to_bytes()) }
    }

    /// Something done to a path of the host.
    pub(super) fn on_host(action: &'static str, path: &Path) -> Self {
        Self { action, path: output::name(path.as_os_str().as_bytes()) }
    }
}

impl Row for Step {
    const HEADINGS: &'static [&'static str] = &["action", "path"];

    fn cells(&self) -> Vec<String> {
        vec![self.action.to_owned(), self.path.clone()]
    }
}

/// Prints what would be done.
///
/// # Errors
///
/// Standard output cannot be written to.
pub(super) fn show(steps: &[Step], list: ListArgs) -> Result<()> {
    output::list(steps, list)
}
