//! Tripwires: commands that shares carry, run when a secret of theirs is opened or refused.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use log::warn;

use super::audit::Record;
use crate::error::{Error, Kind, Result};
use crate::program::with_signals;

/// So many run at once; what comes meanwhile is left out, and said.
const RUNNING: usize = 8;
const WAITING: usize = 64;
/// How long ended commands wait to be noticed.
const BEAT: Duration = Duration::from_secs(1);

/// One command to run.
struct Ring {
    share: String,
    command: Arc<str>,
    record: Record,
}

/// Runs the commands, by a thread of its own.
pub(super) struct Alerts(SyncSender<Ring>);

impl Alerts {
    pub(super) fn start() -> Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        thread::Builder::new()
            .name("pkfs-alerts".to_owned())
            .spawn(move || run(&receiver))
            .map_err(|e| Error::new(Kind::Failed, "cannot start a thread").because(e))?;
        Ok(Self(sender))
    }

    /// Has a command run, without waiting for it.
    pub(super) fn ring(&self, share: &str, command: &Arc<str>, record: &Record) {
        let ring = Ring { share: share.to_owned(), command: command.clone(), record: record.clone() };
        if self.0.try_send(ring).is_err() {
            warn!("share {share}: too many alerts at once; one was left out");
        }
    }
}

fn run(rings: &Receiver<Ring>) {
    let mut running: Vec<Child> = Vec::new();
    loop {
        let ring = rings.recv_timeout(BEAT);
        running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        match ring {
            Ok(ring) if running.len() >= RUNNING => {
                warn!("share {}: too many alerts at once; one was left out", ring.share);
            }
            Ok(ring) => match start(&ring) {
                Ok(child) => running.push(child),
                Err(error) => warn!("share {}: its alert cannot be run: {error}", ring.share),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn start(ring: &Ring) -> std::io::Result<Child> {
    let Ring { share, command, record } = ring;
    with_signals(&mut Command::new("/bin/sh"))
        .args(["-c", command])
        .current_dir("/")
        .env_remove("PKFS_KEY")
        .env_remove("PKFS_PASSPHRASE_FILE")
        .env("PKFS_SHARE", share)
        .env("PKFS_PATH", &record.path)
        .env("PKFS_VERDICT", record.verdict)
        .env("PKFS_WANT", record.want)
        .env("PKFS_PID", record.pid.to_string())
        .env("PKFS_UID", record.uid.to_string())
        .env("PKFS_GID", record.gid.to_string())
        .env("PKFS_EXE", record.exe.as_deref().unwrap_or_default())
        .stdin(Stdio::null())
        .spawn()
}
