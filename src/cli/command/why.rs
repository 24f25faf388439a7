//! `pkfs why`: how a mount decides.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::exit::DONE;
use super::super::{mountinfo, output};
use crate::error::{Error, Kind, Result};
use crate::fuse;

/// Say whether a process may see something, and by which rule
///
/// For whoever mounted. Exit status 6: it may not.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs why /run/secrets/db/password --pid 4711")]
pub(in super::super) struct Why {
    /// A file or directory on the mount
    #[arg(value_name = "DIR/PATH")]
    path: PathBuf,
    /// The process
    #[arg(long, value_name = "N")]
    pid: u32,
}

impl Why {
    pub(in super::super) fn run(self) -> Result<u8> {
        // The last name may be a symlink, about which is asked and not about its target.
        let absolute = std::path::absolute(&self.path).map_err(|e| Error::io("find", &self.path, e))?;
        let (above, name) = match (absolute.parent(), absolute.file_name()) {
            (Some(above), Some(name)) if !self.path.is_dir() => (above, Some(name)),
            _ => (absolute.as_path(), None),
        };
        let above = above.canonicalize().map_err(|e| Error::io("open", above, e))?;
        let Some(mount) = mountinfo::at(&above)? else {
            return Err(Error::new(Kind::Invalid, format!("{}: not on a mounted keynode", self.path.display())));
        };
        let inside = above.strip_prefix(&mount.point).unwrap_or(Path::new("")).join(name.unwrap_or_default());
        if !Path::new(&format!("/proc/{}", self.pid)).exists() {
            return Err(Error::not_found(format!("there is no process {}", self.pid)));
        }
        let text =
            fuse::why(&mount.point, self.pid, inside.as_os_str().as_bytes()).map_err(|e| e.at(self.path.display()))?;
        output::print(|out| writeln!(out, "{text}"))?;
        Ok(if text.starts_with("refused") { Kind::NotPermitted.exit_status() } else { DONE })
    }
}
