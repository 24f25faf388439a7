//! A record of who opened what, and of who was refused: JSON lines in a file.
//!
//! Each line has `time` (RFC 3339), `pid`, `uid`, `gid`, `exe`, `cgroup`, `rule` (those that held), `path`, `want` (`see`,
//! `read`, `write`, `change`, `create`) and `verdict` (`allowed`, `refused`). Who is refused the same again within a second
//! has one more line for that, with how many `times` it was. Lines that could not be written are counted, and the count is a
//! line of its own once writing works again: `time` and `lost`.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};
use parking_lot::Mutex;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// So many lines wait at most for a slow disk.
const WAITING: usize = 4096;

/// So many refusals are told apart at a time; further ones are lost.
const REFUSALS: usize = 4096;
/// How long the same refusal is not said again.
const BEAT: Duration = Duration::from_secs(1);
/// How long the end waits for a slow disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a verdict is.
pub(super) const ALLOWED: &str = "allowed";
pub(super) const REFUSED: &str = "refused";

/// One decision.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Record {
    pub(super) time: String,
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) exe: Option<String>,
    pub(super) cgroup: Vec<String>,
    pub(super) rule: Vec<String>,
    pub(super) path: String,
    pub(super) want: &'static str,
    pub(super) verdict: &'static str,
    /// How often it was the same, if this says so for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<u64>,
}

/// What makes two refusals the same: user, program, path and what was wanted.
type Sameness = (u32, Option<String>, String, &'static str);

/// A refusal that was recorded.
struct Refusal {
    since: Instant,
    /// The last one of those that were not, and how many they were.
    again: Option<Record>,
}

#[derive(Serialize)]
struct Lost {
    time: String,
    lost: u64,
}

/// The file.
struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Lines that it lacks.
    lost: Arc<AtomicU64>,
}

/// Where decisions are recorded.
pub struct Audit {
    way: Way,
    refusals: Mutex<HashMap<Sameness, Refusal>>,
    lost: Arc<AtomicU64>,
}

enum Way {
    /// What is opened waits until it is written down, and is refused if it cannot be.
    Required(Mutex<Log>),
    /// Written by a thread; what it cannot keep up with is counted.
    Beside(SyncSender<Message>),
}

enum Message {
    Line(Vec<u8>),
    Reopen,
    /// All before it was dealt with.
    Settle(Sender<()>),
}

impl Audit {
    /// Opens the file, to append. `required`: nothing is opened that is not recorded.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, required: bool) -> Result<Self> {
        let lost = Arc::new(AtomicU64::new(0));
        let mut log = Log { path: path.to_owned(), file: None, lost: lost.clone() };
        log.reopen().map_err(|e| Error::io("write the audit to", path, e))?;
        let way = if required {
            Way::Required(Mutex::new(log))
        } else {
            let (sender, receiver) = sync_channel(WAITING);
            thread::Builder::new()
                .name("pkfs-audit".to_owned())
                .spawn(move || log.follow(&receiver))
                .map_err(|e| Error::new(Kind::Failed, "cannot start a thread").because(e))?;
            Way::Beside(sender)
        };
        Ok(Self { way, refusals: Mutex::default(), lost })
    }

    /// Begins the file anew, which somebody has moved away.
    pub fn reopen(&self) {
        match &self.way {
            Way::Required(log) => {
                let mut log = log.lock();
                if let Err(error) = log.reopen() {
                    warn!("{}: {error}; nothing is opened until that is mended", log.path.display());
                }
            }
            Way::Beside(sender) => {
                // The thread lives as long as this.
                let _ = sender.send(Message::Reopen);
            }
        }
    }

    /// Records a decision.
    ///
    /// # Errors
    /// Where it is required: it could not be written. A refusal is counted as lost then: it tells nothing.
    pub(super) fn record(&self, record: &Record) -> Result<()> {
        if record.verdict != REFUSED {
            return self.write(record);
        }
        if self.is_news(record) {
            self.write_or_lose(record);
        }
        Ok(())
    }

    /// Records how often those were refused again that were so before. To be called about once a second.
    pub fn tick(&self) {
        let now = Instant::now();
        self.sum_up(|refusal| now.duration_since(refusal.since) >= BEAT);
    }

    /// Waits until all is written, unless the disk is too slow.
    pub fn settle(&self) {
        self.sum_up(|_| true);
        if let Way::Beside(sender) = &self.way {
            let (done, settled) = channel();
            if sender.try_send(Message::Settle(done)).is_ok() {
                let _ = settled.recv_timeout(PATIENCE);
            }
        }
    }

    fn sum_up(&self, is_past: impl Fn(&Refusal) -> bool) {
        let past: Vec<_> = self.refusals.lock().extract_if(|_, refusal| is_past(refusal)).collect();
        past.into_iter().filter_map(|(_, refusal)| refusal.again).for_each(|again| self.write_or_lose(&again));
    }

    /// Whether a refusal is to be recorded by itself.
    fn is_news(&self, record: &Record) -> bool {
        let key = (record.uid, record.exe.clone(), record.path.clone(), record.want);
        let mut refusals = self.refusals.lock();
        if let Some(refusal) = refusals.get_mut(&key) {
            let times = refusal.again.as_ref().and_then(|again| again.times).unwrap_or_default() + 1;
            refusal.again = Some(Record { times: Some(times), ..record.clone() });
            return false;
        }
        if refusals.len() >= REFUSALS {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        refusals.insert(key, Refusal { since: Instant::now(), again: None });
        true
    }

    fn write_or_lose(&self, record: &Record) {
        if self.write(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| Error::new(Kind::Failed, "no record").because(e))?;
        line.push(b'\n');
        match &self.way {
            Way::Required(log) => {
                let mut log = log.lock();
                let path = log.path.clone();
                log.write(&line).map_err(|e| {
                    Error::new(Kind::Failed, format!("not opened, since {} cannot be written", path.display()))
                        .because(e)
                })
            }
            Way::Beside(sender) => {
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sender.try_send(Message::Line(line))
                {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        }
    }
}

impl Log {
    fn follow(mut self, messages: &Receiver<Message>) {
        let mut troubled = false;
        for message in messages {
            let done = match message {
                Message::Line(line) => self.write(&line).inspect_err(|_| {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }),
                Message::Reopen => self.reopen(),
                Message::Settle(done) => {
                    let _ = done.send(());
                    continue;
                }
            };
            match &done {
                Ok(()) if troubled => info!("{}: the audit is written again", self.path.display()),
                Err(error) if !troubled => {
                    warn!("{}: {error}; opens are not recorded until that is mended", self.path.display());
                }
                _ => {}
            }
            troubled = done.is_err();
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.file = Some(OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?);
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let counted = if lost == 0 { Ok(()) } else { append(file, &lost_line(lost)) };
        counted.inspect_err(|_| {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        })?;
        append(file, line)
    }
}

fn lost_line(lost: u64) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Lost { time: Timestamp::now().to_rfc3339(), lost }).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Appends a line whole; of a line that did not fit nothing stays.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(line).inspect_err(|_| {
        // A pipe or a terminal has no length to go back to.
        let _ = file.set_len(before);
    })
}
