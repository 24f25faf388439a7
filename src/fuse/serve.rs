//! A mount from its beginning to its end.

use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuser::Session;
use log::{info, warn};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::Access;
use rustix::time::Timespec;

use super::MountOptions;
use super::adapter::Adapter;
use super::own_mount::{Alone, Own};
use super::signals::{Signal, Signals};
use super::unmount::{detach, device, is_mounted};
use super::{tell, watch};
use crate::error::{Error, Kind, Result};
use crate::fs::{Audit, FileSystem};
use crate::node::Keynode;

/// How long a signal waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Attributes and scratch files wait no longer than this, and what is due is looked for as often.
const BEAT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What lives as long as a mount can be used.
pub trait Usable {
    /// Takes a signal that ends the mount otherwise.
    fn takes(&self, _signal: Signal) -> bool {
        false
    }
}

impl Usable for () {}

/// Mounts a keynode and answers requests until it is unmounted, or SIGINT, SIGTERM or SIGHUP arrives. `ready` is called
/// once the directory can be used; what it returns is dropped once it cannot be any more. What waits in memory is on disk at return.
///
/// # Errors
/// The mount point cannot be mounted on; at the end, what could not be committed.
pub fn serve<U: Usable>(
    keynode: Arc<Keynode>,
    mount_point: &Path,
    options: MountOptions,
    ready: impl FnOnce() -> U + Send,
) -> Result<()> {
    let mount_point = mount_point.canonicalize().map_err(|error| Error::io("mount on", mount_point, error))?;
    if is_mounted(&mount_point) {
        return Err(Error::new(Kind::Exists, format!("a keynode is mounted on {} already", mount_point.display()))
            .hint(format!("pkfs umount {}", mount_point.display())));
    }
    let file = keynode.path().to_owned();
    let hidden = |file: &Path| file.canonicalize().is_ok_and(|file| file.starts_with(&mount_point));
    if hidden(&file) {
        return Err(Error::new(Kind::Invalid, format!("{} would hide its own keynode", mount_point.display()))
            .hint("mount it on another directory"));
    }
    // When it is begun anew, the mount would wait for itself.
    if options.audit.as_ref().is_some_and(|audit| hidden(audit) || audit.parent().is_some_and(hidden)) {
        return Err(Error::new(Kind::Invalid, format!("{} would hide its own audit", mount_point.display()))
            .hint("have it written to another directory"));
    }
    let signals = Signals::block()?;
    let mut options = options;
    options.read_only |= keynode.read_only().is_some();
    if options.fs_name.is_empty() {
        options.fs_name = keynode.path().to_string_lossy().into_owned();
    }
    let audit = match &options.audit {
        Some(path) => Some(Arc::new(Audit::open(path, options.audit_required)?)),
        None => None,
    };
    let mut fs = tree(keynode, &mut options)?;
    if let Some(audit) = &audit {
        fs = fs.with_audit(audit.clone());
    }
    let fs = Arc::new(fs);
    let own = Arc::new(Own::default());
    let adapter = Adapter::new(fs.clone(), own.clone(), &options)
        .map_err(|error| Error::new(Kind::Failed, "cannot start the mount's threads").because(error))?;
    let session = Session::new(adapter, &mount_point, &options.for_session())
        .map_err(|error| cannot_mount(&mount_point, error))?;
    let cannot = |error: io::Error| Error::new(Kind::Failed, "cannot start").because(error);
    let channel = session.as_fd().try_clone_to_owned().map_err(cannot)?;
    let (receiver, tree, alone) = (fs.notices(), Arc::downgrade(&fs), Arc::new(Alone::default()));
    let ((ready_to_tell, can_tell), alone_too) = (mpsc::channel(), alone.clone());
    spawn("notices", move || tell::notices(&receiver, &tree, &channel, &alone_too, ready_to_tell))?;
    ready_to(&can_tell).map_err(cannot)?;
    let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| cannot(error.into()))?);
    let device = device(&mount_point);
    let mut mounted = Mounted { fs, mount_point, device, signals, ended, audit };
    let (fs, point, (ready_to_act, can_act)) = (mounted.fs.clone(), mounted.mount_point.clone(), mpsc::channel());
    spawn("events", move || tell::events(&fs, point, own, &alone, ready_to_act))?;
    // Before anybody can have a file of the mount open: a thread that leaves a process's files closes them for itself.
    ready_to(&can_act).map_err(cannot)?;
    let (result, outcome) = mpsc::channel();
    let session = start(session).map_err(|error| cannot_mount(&mounted.mount_point, error))?;
    let wake = mounted.ended.clone();
    spawn("session", move || {
        // Whoever waits may have given up.
        let _ = result.send(session.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        end(&wake);
    })
    .inspect_err(|_| mounted.unmount())?;
    let (fs, trouble, ended) = (mounted.fs.clone(), mounted.trouble(), mounted.ended.clone());
    spawn("outside", move || watch::follow(&fs, &file, trouble, &*ended)).inspect_err(|_| mounted.unmount())?;
    let usable = ready();
    info!("{}: mounted", mounted.mount_point.display());
    mounted.attend(&usable);
    drop(usable);
    let settled = mounted.fs.settle_all().map_err(|error| error.at(mounted.mount_point.display()));
    mounted.audit.iter().for_each(|audit| audit.settle());
    match outcome.try_recv() {
        // A request was on its way when it was unmounted.
        Ok(Err(error)) if error.raw_os_error() == Some(libc::ECONNABORTED) => settled,
        Ok(Err(error)) => settled.and(Err(Error::io("serve", &mounted.mount_point, error))),
        Ok(Ok(())) | Err(_) => settled,
    }
}

/// What is to be shown, and what is to be run. A command in the keynode is whoever's who can write it; one in a file of
/// rules is this host's own.
fn tree(keynode: Arc<Keynode>, options: &mut MountOptions) -> Result<FileSystem> {
    let fs = shown(keynode, options)?;
    if options.alerts || options.rules.is_some() { fs.with_alerts(options.rules.as_ref()) } else { Ok(fs) }
}

/// What is to be shown. Rules are in force where others than who mounts can look at all, and there are any.
fn shown(keynode: Arc<Keynode>, options: &mut MountOptions) -> Result<FileSystem> {
    if let Some(share) = options.view.clone() {
        options.read_only = true;
        return FileSystem::of_share(keynode, options.for_fs(), share);
    }
    let shared =
        !options.alone && (options.allow_other || options.rules.is_some() || rustix::process::geteuid().is_root());
    let ruled = shared && (options.rules.is_some() || keynode.shares(&keynode.snapshot())?.has_rules());
    let fs = FileSystem::new(keynode, options.for_fs());
    if !ruled {
        return Ok(fs);
    }
    options.allow_other = true;
    fs.with_rules(options.rules.as_ref())
}

/// What lives as long as the mount.
struct Mounted {
    fs: Arc<FileSystem>,
    mount_point: PathBuf,
    /// As the kernel lists it; none where it lists nothing to this process.
    device: Option<Vec<u8>>,
    signals: Signals,
    /// Readable once the session or this has ended.
    ended: Arc<OwnedFd>,
    /// Begins its file anew at SIGHUP.
    audit: Option<Arc<Audit>>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        end(&self.ended);
        self.fs.end_events();
    }
}

impl Mounted {
    /// Does what is due without requests, until the session has ended or a signal has ended it.
    fn attend(&mut self, usable: &impl Usable) {
        let mut deadline: Option<Instant> = None;
        let mut trouble = self.trouble();
        loop {
            let mut waits = [PollFd::new(&self.ended, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            // An interrupted wait is a short one.
            let _ = poll(&mut waits, Some(&BEAT));
            if waits.first().is_some_and(|wait| !wait.revents().is_empty()) {
                return;
            }
            let signal = self.signals.take();
            if let (Some(libc::SIGHUP), Some(audit)) = (signal.map(|signal| signal.number), &self.audit) {
                audit.reopen();
            } else if signal.is_some_and(|signal| !usable.takes(signal)) && deadline.is_none() {
                info!("{}: unmounting", self.mount_point.display());
                self.unmount();
                deadline = Some(Instant::now() + PATIENCE);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                warn!("{}: files are still open; what was written to them is saved", self.mount_point.display());
                return;
            }
            trouble.say(self.fs.tick(Instant::now()));
            self.audit.iter().for_each(|audit| audit.tick());
        }
    }

    fn trouble(&self) -> Trouble {
        Trouble { mount_point: self.mount_point.clone(), troubled: false }
    }

    /// Takes it out of sight, if it is still there: somebody may have done so who left it to those who use it, and mounted
    /// something else.
    fn unmount(&self) {
        if device(&self.mount_point) != self.device {
            return;
        }
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

/// Work in the background that may fail again and again, which is said once.
pub(super) struct Trouble {
    mount_point: PathBuf,
    troubled: bool,
}

impl Trouble {
    pub(super) fn say(&mut self, result: Result<()>) {
        match result {
            Ok(()) => self.troubled = false,
            Err(error) if !self.troubled => {
                self.troubled = true;
                let hint = error.next_step().map_or_else(String::new, |hint| format!(" ({hint})"));
                warn!("{}: {error}{hint}", self.mount_point.display());
            }
            Err(_) => {}
        }
    }
}

fn end(ended: &impl AsFd) {
    let _ = rustix::io::write(ended, &1_u64.to_ne_bytes());
}

/// Waits until a thread is ready; why it cannot be.
fn ready_to(told: &mpsc::Receiver<io::Result<()>>) -> io::Result<()> {
    told.recv().map_err(io::Error::other)?
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
        _ if !rustix::process::geteuid().is_root() && rustix::fs::access(mount_point, Access::WRITE_OK).is_err() => {
            Error::new(Kind::NotPermitted, format!("this user may not change {}", mount_point.display()))
                .hint("users mount on directories of their own")
        }
        _ => Error::new(Kind::Failed, format!("cannot mount on {}", mount_point.display()))
            .hint("users other than root need fusermount3 (package fuse3); -v says more"),
    };
    failed.because(error)
}
