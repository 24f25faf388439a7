//! A mount from its beginning to its end.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuser::{INodeNo, Notifier, Session};
use log::{info, warn};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::Access;
use rustix::time::Timespec;

use super::MountOptions;
use super::adapter::Adapter;
use super::signals::Signals;
use super::unmount::{detach, is_mounted};
use super::watch::Watch;
use crate::error::{Error, Kind, Result};
use crate::fs::{FileSystem, Notice};
use crate::node::Keynode;

/// How long a signal waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at the file where nothing tells of changes; attributes and scratch files wait no longer either.
const BEAT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Mounts a keynode and answers requests until it is unmounted, or SIGINT, SIGTERM or SIGHUP arrives. `ready` is called
/// once the directory can be used; what it returns is dropped once it cannot be any more. What waits in memory is on disk at return.
///
/// # Errors
/// The mount point cannot be mounted on; at the end, what could not be committed.
pub fn serve<R>(
    keynode: Arc<Keynode>,
    mount_point: &Path,
    options: MountOptions,
    ready: impl FnOnce() -> R + Send,
) -> Result<()> {
    let mount_point = mount_point.canonicalize().map_err(|error| Error::io("mount on", mount_point, error))?;
    if is_mounted(&mount_point) {
        return Err(Error::new(Kind::Exists, format!("a keynode is mounted on {} already", mount_point.display()))
            .hint(format!("pkfs umount {}", mount_point.display())));
    }
    let signals = Signals::block()?;
    let watch = Watch::new(keynode.path());
    let mut options = options;
    options.read_only |= keynode.read_only().is_some();
    if options.fs_name.is_empty() {
        options.fs_name = keynode.path().to_string_lossy().into_owned();
    }
    let fs = Arc::new(FileSystem::new(keynode, options.for_fs()));
    let adapter = Adapter::new(fs.clone(), &options)
        .map_err(|error| Error::new(Kind::Failed, "cannot start the mount's threads").because(error))?;
    let session = Session::new(adapter, &mount_point, &options.for_session())
        .map_err(|error| cannot_mount(&mount_point, error))?;
    let mut mounted = Mounted { fs, mount_point, signals, watch, troubled: false };
    spawn("notices", notices(mounted.fs.notices(), session.notifier()))?;
    let ended = Arc::new(
        eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| Error::new(Kind::Failed, "cannot start").because(error))?,
    );
    let (result, outcome) = mpsc::channel();
    let wake = ended.clone();
    let session = start(session).map_err(|error| cannot_mount(&mounted.mount_point, error))?;
    spawn("session", move || {
        // Whoever waits may have given up.
        let _ = result.send(session.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
    })?;
    let usable = ready();
    info!("{}: mounted", mounted.mount_point.display());
    mounted.attend(&ended);
    drop(usable);
    let settled = mounted.fs.settle_all().map_err(|error| error.at(mounted.mount_point.display()));
    match outcome.try_recv() {
        Ok(Err(error)) => settled.and(Err(Error::io("serve", &mounted.mount_point, error))),
        Ok(Ok(())) | Err(_) => settled,
    }
}

/// What lives as long as the mount.
struct Mounted {
    fs: Arc<FileSystem>,
    mount_point: std::path::PathBuf,
    signals: Signals,
    watch: Option<Watch>,
    /// Whether the last look at the file or the last commit in the background failed: said once.
    troubled: bool,
}

impl Mounted {
    /// Does what is due without requests, until the session has ended or a signal has ended it.
    fn attend(&mut self, ended: &impl std::os::fd::AsFd) {
        let mut deadline: Option<Instant> = None;
        loop {
            let mut waits = vec![PollFd::new(ended, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            waits.extend(self.watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
            // An interrupted wait is a short one.
            let _ = poll(&mut waits, Some(&BEAT));
            if waits.first().is_some_and(|wait| !wait.revents().is_empty()) {
                return;
            }
            drop(waits);
            if self.signals.take() && deadline.is_none() {
                info!("{}: unmounting", self.mount_point.display());
                self.unmount();
                deadline = Some(Instant::now() + PATIENCE);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                warn!("{}: files are still open; what was written to them is saved", self.mount_point.display());
                return;
            }
            if let Some(watch) = &self.watch {
                watch.drain();
            }
            self.housekeeping();
        }
    }

    fn housekeeping(&mut self) {
        match self.fs.refresh().and_then(|()| self.fs.tick(Instant::now())) {
            Ok(()) => self.troubled = false,
            Err(error) if !self.troubled => {
                self.troubled = true;
                let hint = error.next_step().map_or_else(String::new, |hint| format!(" ({hint})"));
                warn!("{}: {error}{hint}", self.mount_point.display());
            }
            Err(_) => {}
        }
    }

    fn unmount(&self) {
        if let Err(error) = detach(&self.mount_point) {
            warn!("{error}");
        }
    }
}

/// Answers requests from now on, without fuser's own unmounting at the end: after somebody else has unmounted it, that of
/// version 0.18 unmounts whatever was mounted in its place since.
fn start(session: Session<Adapter>) -> io::Result<JoinHandle<io::Result<()>>> {
    let mut background = session.spawn()?;
    let running = mem::replace(&mut background.guard, thread::spawn(|| Ok(())));
    mem::forget(background);
    Ok(running)
}

/// Passes on to the kernel what it must hear. It may wait for a request, so no request ever waits for it.
fn notices(receiver: mpsc::Receiver<Notice>, notifier: Notifier) -> impl FnOnce() + Send + 'static {
    move || {
        for notice in receiver {
            // A kernel that does not know the inode any more has nothing to be told.
            let _ = match notice {
                Notice::Entry { parent, name } => {
                    notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name.as_bytes()))
                }
                Notice::Attributes(ino) => notifier.inval_inode(INodeNo(ino.0), -1, 0),
            };
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .name(format!("pkfs-{name}"))
        .spawn(work)
        .map(drop)
        .map_err(|error| Error::new(Kind::Failed, "cannot start a thread").because(error))
}

/// Whether this process may not open the device; on most machines everybody may.
fn device_is_closed() -> bool {
    rustix::fs::access("/dev/fuse", Access::READ_OK | Access::WRITE_OK).is_err()
}

fn cannot_mount(mount_point: &Path, error: io::Error) -> Error {
    if error.to_string().contains("user_allow_other") {
        return Error::new(Kind::NotPermitted, "allow_other is not permitted to users")
            .hint("root can allow it: user_allow_other in /etc/fuse.conf")
            .because(error);
    }
    let failed = match error.kind() {
        io::ErrorKind::NotFound if !Path::new("/dev/fuse").exists() => {
            Error::new(Kind::Failed, "this machine has no /dev/fuse")
                .hint("modprobe fuse; in a container: --device /dev/fuse")
        }
        io::ErrorKind::PermissionDenied if device_is_closed() => {
            Error::new(Kind::NotPermitted, "this user may not open /dev/fuse")
                .hint("root can allow it: chmod 666 /dev/fuse, which is usual")
        }
        _ => Error::new(Kind::Failed, format!("cannot mount on {}", mount_point.display()))
            .hint("users other than root need fusermount3 (package fuse3); -v says more"),
    };
    failed.because(error)
}
