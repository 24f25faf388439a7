//! Tripwires: commands that shares carry, run when a secret of theirs is opened or refused.

use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use lru::LruCache;
use parking_lot::Mutex;

use super::audit::{REFUSED, Record};
use super::views::Views;
use crate::error::{Error, Kind, Result};
use crate::node::{Keynode, Sha256};
use crate::program::with_signals;

/// So many run at once; what comes meanwhile is left out, and said.
const RUNNING: usize = 8;
const WAITING: usize = 64;
/// How many of them, and of those that wait, may be about who was refused: so many refusals keep no other alert out.
const HALF: usize = 2;
/// How long ended commands wait to be noticed; and the same alert rings once in this time.
const BEAT: Duration = Duration::from_secs(1);
/// How many alerts are kept in mind for that.
const KEPT: usize = 1024;

/// One command to run.
struct Ring {
    share: String,
    command: Arc<str>,
    record: Record,
}

/// What makes two alerts the same: share, user, path and verdict.
type Sameness = (String, u32, String, &'static str);

/// Runs the commands, by a thread of its own.
pub(super) struct Alerts {
    wires: Wires,
    sender: SyncSender<Ring>,
    /// What rang, and when.
    rang: Mutex<LruCache<Sameness, Instant>>,
    left: Arc<Left>,
}

/// The shares that carry them.
enum Wires {
    Given(Arc<Views>),
    /// Those of the keynode, and what they were made of.
    Followed(Mutex<(Option<Sha256>, Arc<Views>)>),
}

/// What waits, and what was left out.
#[derive(Default)]
struct Left {
    refusals: AtomicUsize,
    out: AtomicUsize,
}

impl Alerts {
    /// `given`: these shares instead of the keynode's.
    pub(super) fn start(given: Option<Views>) -> Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let left = Arc::<Left>::default();
        let counted = left.clone();
        thread::Builder::new()
            .name("pkfs-alerts".to_owned())
            .spawn(move || run(&receiver, &counted))
            .map_err(|e| Error::new(Kind::Failed, "cannot start a thread").because(e))?;
        let kept = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        let wires = given.map_or_else(Wires::default, |given| Wires::Given(Arc::new(given)));
        Ok(Self { wires, sender, rang: Mutex::new(LruCache::new(kept)), left })
    }

    /// The shares of the moment, for what they carry.
    pub(super) fn wires(&self, keynode: &Keynode) -> Arc<Views> {
        let followed = match &self.wires {
            Wires::Given(views) => return views.clone(),
            Wires::Followed(followed) => followed,
        };
        let snapshot = keynode.snapshot();
        let present = snapshot.shares_digest();
        {
            let followed = followed.lock();
            if followed.0 == present {
                return followed.1.clone();
            }
        }
        let views = keynode.shares(&snapshot).and_then(|shares| Views::without_rules(&shares));
        let views = Arc::new(views.unwrap_or_else(|error| {
            warn!("{error}; no alert rings until that is mended");
            Views::default()
        }));
        *followed.lock() = (present, views.clone());
        views
    }

    /// Has a command run, without waiting for it.
    pub(super) fn ring(&self, share: &str, command: &Arc<str>, record: &Record) {
        let (key, now) = ((share.to_owned(), record.uid, record.path.clone(), record.verdict), Instant::now());
        {
            let mut rang = self.rang.lock();
            if rang.get(&key).is_some_and(|before| now.duration_since(*before) < BEAT) {
                return;
            }
            rang.put(key, now);
        }
        let ring = Ring { share: share.to_owned(), command: command.clone(), record: record.clone() };
        let refusal = ring.is_refusal();
        let waiting = self.left.refusals.fetch_add(usize::from(refusal), Ordering::Relaxed);
        if (refusal && waiting >= WAITING / HALF) || self.sender.try_send(ring).is_err() {
            self.left.refusals.fetch_sub(usize::from(refusal), Ordering::Relaxed);
            self.left.out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Default for Wires {
    fn default() -> Self {
        Self::Followed(Mutex::default())
    }
}

impl Ring {
    fn is_refusal(&self) -> bool {
        self.record.verdict == REFUSED
    }
}

fn run(rings: &Receiver<Ring>, left: &Left) {
    let mut running: Vec<Child> = Vec::new();
    let mut said = Instant::now();
    loop {
        let ring = rings.recv_timeout(BEAT);
        running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if said.elapsed() >= BEAT {
            said = Instant::now();
            match left.out.swap(0, Ordering::Relaxed) {
                0 => {}
                out => warn!("too many alerts at once; {out} were left out"),
            }
        }
        let refusal = ring.as_ref().is_ok_and(Ring::is_refusal);
        left.refusals.fetch_sub(usize::from(refusal), Ordering::Relaxed);
        match ring {
            Ok(_) if running.len() >= if refusal { RUNNING / HALF } else { RUNNING } => {
                left.out.fetch_add(1, Ordering::Relaxed);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::audit::ALLOWED;
    use super::*;

    fn record(uid: u32, path: &str, verdict: &'static str) -> Record {
        Record {
            time: String::new(),
            pid: 1,
            uid,
            gid: 0,
            exe: None,
            cgroup: Vec::new(),
            rule: Vec::new(),
            path: path.to_owned(),
            want: "read",
            verdict,
            times: None,
        }
    }

    #[test]
    fn many_refusals_keep_no_other_alert_out() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let command: Arc<str> = format!("echo $PKFS_VERDICT $PKFS_UID >>{}", log.display()).into();
        let alerts = Alerts::start(None).unwrap();
        for n in 0..10_000 {
            alerts.ring("trap", &command, &record(1, &n.to_string(), REFUSED));
            alerts.ring("trap", &command, &record(2, "the same", REFUSED));
        }
        alerts.ring("trap", &command, &record(3, "secret", ALLOWED));
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        while !said().contains("allowed 3") {
            thread::yield_now();
        }
        assert!(said().lines().count() < 1000, "{}", said());
    }
}
