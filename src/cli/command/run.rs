//! `pkfs run`: a command that sees a keynode where nobody else does.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use clap::Args;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};

use super::super::context::{Access, Context, KeynodeArg};
use super::super::keynode::Target;
use super::super::mountinfo;
use crate::error::{Error, Kind, Result};
use crate::fuse::{self, MountOptions, Signal, Usable, own_namespace};
use crate::node::ShareName;
use crate::program::with_signals;

/// The exit status where there is no such command, as of a shell.
const NO_SUCH_COMMAND: u8 = 127;

/// Run a command that alone sees the keynode, or one share of it
///
/// The command and what it starts have a mount namespace of their own: the directory is there for them and for nobody
/// else, and goes with the command. PKFS_DIR names it. Needs no root where users may make user namespaces. SIGINT, SIGTERM
/// and SIGHUP are passed on to the command. With --view, other mounts of the keynode that stand are not there for it; files
/// that its user may read, such as a key, are, and so is what was unlocked in the kernel's keyring. The exit status is the
/// command's; 128 and the signal's number if one ended it; 127 if there is no such command.
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
        if self.view.is_some() {
            fuse::cover(&mountinfo::of(&target.file)?)?;
        }
        let made = if self.at.is_none() { Some(Made(fresh()?)) } else { None };
        let directory = self.at.clone().or_else(|| made.as_ref().map(|made| made.0.clone())).unwrap_or_default();
        let read_only = self.read_only || self.view.is_some();
        let access = if read_only { Access::Read } else { Access::Write };
        let keynode = context.open_to_serve(&target, access)?;
        let options = MountOptions { read_only, view: self.view.clone(), alone: true, ..MountOptions::default() };
        let (mut outcome, running) = (None, Running::default());
        fuse::serve(keynode, &directory, options, || {
            outcome = Some(self.start(directory.clone(), &running));
            running.clone()
        })?;
        drop(made);
        match outcome {
            Some(Ok(waiting)) => waiting.join().map_err(|_| Error::new(Kind::Failed, "the command was lost"))?,
            Some(Err(error)) if error.kind() == Kind::NotFound => {
                log::error!("{}", error.message());
                Ok(NO_SUCH_COMMAND)
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::new(Kind::Failed, "the mount ended before the command began")),
        }
    }

    /// Starts the command; a thread waits for it, and unmounts then.
    fn start(&self, directory: PathBuf, running: &Running) -> Result<thread::JoinHandle<Result<u8>>> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Error::new(Kind::Invalid, "no command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).env("PKFS_DIR", &directory);
        command.env_remove("PKFS_KEY").env_remove("PKFS_PASSPHRASE_FILE");
        let child = with_signals(&mut command).spawn().map_err(|e| {
            fuse::leave(&directory);
            let kind = if e.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
            Error::new(kind, format!("cannot run {}: {e}", Path::new(program).display()))
        })?;
        let running = running.clone();
        *running.0.lock() = Some(Pid::from_child(&child));
        Ok(thread::spawn(move || wait(child, &running, &directory)))
    }
}

/// The command, while it runs.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<Option<Pid>>>);

impl Usable for Running {
    /// The command has them, and the mount ends with the command. What a terminal sends, it sends to both.
    fn takes(&self, signal: Signal) -> bool {
        let running = self.0.lock();
        if let (Some(pid), false, Some(signal)) =
            (*running, signal.by_terminal, rustix::process::Signal::from_named_raw(signal.number))
            && let Err(error) = kill_process(pid, signal)
        {
            log::warn!("the command cannot be told of a signal: {error}");
        }
        running.is_some()
    }
}

fn wait(mut child: Child, running: &Running, directory: &Path) -> Result<u8> {
    // As long as nobody has asked how it ended, its number is nobody else's.
    let ending = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(Errno::INTR) = waitid(WaitId::Pid(Pid::from_child(&child)), ending) {}
    running.0.lock().take();
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
