//! `pkfs run`: a command that sees a keynode where nobody else does.

use std::ffi::OsString;
use std::fs;
use std::mem::ManuallyDrop;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::keynode::Target;
use crate::error::{Error, Kind, Result};
use crate::fuse::{self, MountOptions, own_namespace};
use crate::node::ShareName;

/// Run a command that alone sees the keynode, or one share of it
///
/// The command and what it starts have a mount namespace of their own: the directory is there for them and for nobody
/// else, and goes with the command. PKFS_DIR names it. Needs no root where users may make user namespaces. The exit status
/// is the command's; 128 and the signal's number if one ended it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs run app.pk --view web --at /run/secrets -- ./server\n  pkfs run app.pk -- sh -c 'psql -f \"$PKFS_DIR/query\"'"
)]
pub(in super::super) struct Run {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// Show this share alone, read-only
    #[arg(long, value_name = "SHARE")]
    view: Option<ShareName>,
    /// Allow no change
    #[arg(long)]
    read_only: bool,
    /// Where the command finds it, a directory that exists [default: a new one]
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// A directory that goes with the command.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        // What is mounted there is gone by now, or goes with the namespace.
        let _ = fs::remove_dir(&self.0);
    }
}

impl Run {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let target = Target::resolve(&self.keynode.keynode)?;
        // Before anything is unlocked, and while there is one thread.
        own_namespace()?;
        let (made, directory) = if let Some(directory) = &self.at {
            (None, directory.clone())
        } else {
            let directory = fresh()?;
            (Some(Made(directory.clone())), directory)
        };
        let read_only = self.read_only || self.view.is_some();
        let access = if read_only { Access::Read } else { Access::Write };
        let keynode = Arc::new(ManuallyDrop::into_inner(context.open_target(&target, access)?));
        let options = MountOptions { read_only, view: self.view.clone(), alone: true, ..MountOptions::default() };
        let mut outcome = None;
        fuse::serve(keynode, &directory, options, || outcome = Some(self.start(directory.clone())))?;
        drop(made);
        let waiting = outcome.ok_or_else(|| Error::new(Kind::Failed, "the mount ended before the command began"))??;
        waiting.join().map_err(|_| Error::new(Kind::Failed, "the command was lost"))?
    }

    /// Starts the command; a thread waits for it, and unmounts then.
    fn start(&self, directory: PathBuf) -> Result<thread::JoinHandle<Result<u8>>> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Error::new(Kind::Invalid, "no command"));
        };
        let started = Command::new(program)
            .args(arguments)
            .env("PKFS_DIR", &directory)
            .env_remove("PKFS_KEY")
            .env_remove("PKFS_PASSPHRASE_FILE")
            .spawn();
        let child = started.map_err(|e| {
            fuse::leave(&directory);
            Error::new(Kind::Failed, format!("cannot run {}", Path::new(program).display())).because(e)
        })?;
        Ok(thread::spawn(move || wait(child, &directory)))
    }
}

fn wait(mut child: Child, directory: &Path) -> Result<u8> {
    let ended = child.wait();
    fuse::leave(directory);
    let ended = ended.map_err(|e| Error::new(Kind::Failed, "cannot wait for the command").because(e))?;
    let status = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(status).unwrap_or(1))
}

/// A new directory for this user alone.
fn fresh() -> Result<PathBuf> {
    let above = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|above| above.is_dir());
    let above = above.unwrap_or_else(std::env::temp_dir);
    let directory = above.join(format!("pkfs-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|e| Error::io("make", &directory, e))?;
    Ok(directory)
}
