//! What this user has seen before: which node a path led to, and how far its log went.
//!
//! Kept under `$XDG_STATE_HOME/pkfs` if that is set, else `/var/lib/pkfs` for root and `~/.local/state/pkfs` for others;
//! `paths/<sha256 of the path>` and `nodes/<fingerprint>`, in which a line is added for each commit and the last whole one
//! counts. State that cannot be written is a warning, never a failure.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;

use super::id::CommitRef;
use crate::crypto::{Fingerprint, sha256};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// How long an entry may get before it begins anew, in bytes.
const LONGEST: u64 = 16 << 10;
/// What is read of an entry at most, in bytes.
const MOST: u64 = 64 << 10;

/// How many entries this process has written.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// The state directory, if there can be one.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    directory: Option<PathBuf>,
}

impl Memory {
    /// Of the user that runs this process.
    pub fn of_user() -> Self {
        let directory = match std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
            Some(dir) => Some(PathBuf::from(dir).join("pkfs")),
            None if rustix::process::geteuid().is_root() => Some(PathBuf::from("/var/lib/pkfs")),
            None => std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state/pkfs")),
        };
        Self { directory: directory.filter(|dir| dir.is_absolute()) }
    }

    /// In a directory that is given.
    #[cfg(test)]
    pub fn at(directory: &Path) -> Self {
        Self { directory: Some(directory.to_owned()) }
    }

    /// The node that this path led to.
    pub fn node_at(&self, path: &Path) -> Option<Fingerprint> {
        let text = self.read(&path_entry(path))?;
        let node = text.lines().next().and_then(|line| line.parse().ok());
        if node.is_none() {
            warn!("which keynode {} was cannot be made out any more; it counts as new", path.display());
        }
        node
    }

    /// Pins a path to a node.
    pub fn pin(&self, path: &Path, node: &Fingerprint) {
        let text = [node.to_string().as_bytes(), b"\n", path.as_os_str().as_bytes(), b"\n"].concat();
        self.write(&path_entry(path), &text);
    }

    /// The last commit of this node's log that was known to be on disk.
    pub fn last_commit(&self, node: &Fingerprint) -> Option<CommitRef> {
        self.read(&node_entry(node))?.lines().rev().find_map(CommitRef::parse)
    }

    /// Remembers how far a node's log went.
    pub fn remember(&self, node: &Fingerprint, commit: &CommitRef) {
        let (entry, line) = (node_entry(node), format!("{commit}\n"));
        if !self.add(&entry, &line) {
            self.write(&entry, line.as_bytes());
        }
    }

    /// The same for a reader, whom writers may have overtaken: what it did not know of stays.
    pub fn advance(&self, node: &Fingerprint, known: Option<&CommitRef>, commit: &CommitRef) {
        let present = self.last_commit(node);
        if present.is_none() || present.as_ref() == known {
            self.remember(node, commit);
        }
    }

    /// A file for the bytes of a torn transaction, which are cut off and kept.
    ///
    /// # Errors
    /// Where it cannot be made: then nothing is cut.
    pub fn cut_file(&self, node: &Fingerprint) -> Result<(PathBuf, fs::File)> {
        let Some(directory) = &self.directory else {
            return Err(Error::not_found("there is no place for the state of pkfs").hint("set XDG_STATE_HOME"));
        };
        let path = directory.join(format!("cut/{node}-{}", Timestamp::now()));
        let file = make_parent(&path).and_then(|()| new_file(&path));
        file.map(|file| (path.clone(), file)).map_err(|e| Error::io("make", &path, e))
    }

    fn read(&self, entry: &str) -> Option<String> {
        let path = self.directory.as_ref()?.join(entry);
        let mut bytes = Vec::new();
        match fs::File::open(&path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)) {
            Ok(length) if (length as u64) < MOST => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(_) => {
                warn!("{} has become too long and counts for nothing", path.display());
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!("{}", Error::io("read", &path, error));
                None
            }
        }
    }

    /// Adds a line to an entry; whether that was done. It is on disk when the system likes, for an older one is only
    /// weaker: that costs a tenth of replacing the file, which the file system begins to write to the disk at once.
    fn add(&self, entry: &str, line: &str) -> bool {
        let Some(directory) = &self.directory else { return false };
        let Ok(mut file) =
            fs::OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(directory.join(entry))
        else {
            return false;
        };
        // What stands there may be the beginning of a line that somebody did not get to write.
        let fits = file.metadata().is_ok_and(|metadata| metadata.len() < LONGEST);
        fits && file.write_all(format!("\n{line}").as_bytes()).is_ok()
    }

    /// Replaces an entry, and has it on disk.
    fn write(&self, entry: &str, text: &[u8]) {
        let Some(directory) = &self.directory else {
            warn!("what was seen of this keynode cannot be remembered: neither XDG_STATE_HOME nor HOME is set");
            return;
        };
        let path = directory.join(entry);
        // Threads of one process may write at once.
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{number}", std::process::id()));
        let written = make_parent(&path).and_then(|()| {
            let _ = fs::remove_file(&temporary);
            let mut file = new_file(&temporary)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = written {
            warn!("what was seen of this keynode cannot be remembered: {}", Error::io("write", &path, error));
        }
    }
}

fn path_entry(path: &Path) -> String {
    format!("paths/{}", sha256(path.as_os_str().as_bytes()))
}

fn node_entry(node: &Fingerprint) -> String {
    format!("nodes/{node}")
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| fs::DirBuilder::new().recursive(true).mode(0o700).create(parent))
}

fn new_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
