//! A mount in the background: the child prompts, unlocks and mounts, the parent waits until it is ready.
//!
//! Locked memory is not inherited by a forked process, so the fork comes first. The child keeps the terminal until it is
//! ready, for the passphrase.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use log::error;
use parking_lot::Mutex;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, setsid, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{Error, Kind, Result};

/// The longest report that a parent reads, in bytes.
const LONGEST_REPORT: u64 = 64 << 10;

/// What each kind is called between parent and child: its position.
const KINDS: [Kind; 17] = [
    Kind::Failed,
    Kind::Usage,
    Kind::Unlock,
    Kind::Damaged,
    Kind::NotFound,
    Kind::Exists,
    Kind::IsDirectory,
    Kind::NotDirectory,
    Kind::NotEmpty,
    Kind::NotPermitted,
    Kind::ReadOnly,
    Kind::Invalid,
    Kind::NameTooLong,
    Kind::TooLarge,
    Kind::NoSpace,
    Kind::Diverged,
    Kind::Report,
];

/// The child's word to the parent that all is well.
#[derive(Debug)]
pub struct Ready(Arc<Line>);

/// The child's end of the pipe, until it has said its one word: the parent reads to the end.
#[derive(Debug)]
struct Line(Mutex<Option<File>>);

impl Line {
    /// A zero byte, then nothing or an error. False: the one word was said already.
    fn say(&self, error: &[u8]) -> bool {
        let Some(mut pipe) = self.0.lock().take() else { return false };
        // A parent that is gone needs no word.
        let _ = pipe.write_all(&[&[0], error].concat());
        true
    }
}

impl Ready {
    /// Lets the parent go. From here on the process has no terminal, and its output goes nowhere.
    pub fn ready(self) {
        // Where any of this fails, the mount serves all the same.
        let _ = setsid();
        if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
            let _ = dup2_stdin(&null);
            let _ = dup2_stdout(&null);
            let _ = dup2_stderr(&null);
        }
        let _ = std::env::set_current_dir("/");
        self.0.say(&[]);
    }
}

/// Runs `run` in a child process; returns in the parent alone, once the child has called [`Ready::ready`] or failed.
///
/// It must be called while this process has a single thread.
///
/// # Errors
/// What `run` reports before it is ready; `Failed` if the process cannot be made or dies without a word.
pub fn background(run: impl FnOnce(Ready) -> Result<()>) -> Result<()> {
    let cannot = |error: rustix::io::Errno| Error::new(Kind::Failed, "cannot start a process").because(error);
    if threads() > 1 {
        return Err(Error::new(Kind::Failed, "a process with several threads cannot go to the background")
            .hint("use --foreground"));
    }
    let (from_child, to_parent) = pipe_with(PipeFlags::CLOEXEC).map_err(cannot)?;
    // SAFETY: this process has a single thread (checked above), so that no lock, the allocator's included, can be held by
    // a thread that does not exist in the child; the child may do anything then.
    match unsafe { libc::fork() } {
        -1 => Err(Error::new(Kind::Failed, "cannot start a process").because(std::io::Error::last_os_error())),
        0 => {
            drop(from_child);
            std::process::exit(child(run, to_parent))
        }
        pid => {
            drop(to_parent);
            parent(from_child, pid)
        }
    }
}

fn child(run: impl FnOnce(Ready) -> Result<()>, to_parent: OwnedFd) -> i32 {
    let line = Arc::new(Line(Mutex::new(Some(to_parent.into()))));
    match run(Ready(line.clone())) {
        Ok(()) => 0,
        Err(error) => {
            if !line.say(&encode(&error)) {
                error!("{error}");
            }
            i32::from(error.kind().exit_status())
        }
    }
}

fn parent(from_child: OwnedFd, pid: libc::pid_t) -> Result<()> {
    let mut said = Vec::new();
    let read = File::from(from_child).take(LONGEST_REPORT).read_to_end(&mut said);
    if read.is_ok()
        && let Some((0, report)) = said.split_first()
    {
        return if report.is_empty() { Ok(()) } else { Err(decode(report)) };
    }
    let status = Pid::from_raw(pid).and_then(|pid| waitpid(Some(pid), WaitOptions::empty()).ok().flatten());
    let how = match status.and_then(|(_, status)| status.terminating_signal()) {
        Some(signal) => format!("the mount's process was ended by signal {signal}"),
        None => "the mount's process ended without a word".to_owned(),
    };
    Err(Error::new(Kind::Failed, how).hint("--foreground shows what it does"))
}

/// Kind, message and hint, with zero bytes between.
fn encode(error: &Error) -> Vec<u8> {
    let kind = KINDS.iter().position(|kind| *kind == error.kind()).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
    let mut text = vec![kind];
    text.extend_from_slice(error.message().replace('\0', " ").as_bytes());
    if let Some(hint) = error.next_step() {
        text.push(0);
        text.extend_from_slice(hint.as_bytes());
    }
    text
}

fn decode(report: &[u8]) -> Error {
    let (kind, text) = report.split_first().map_or((0, report), |(kind, text)| (usize::from(*kind), text));
    let kind = KINDS.get(kind).copied().unwrap_or(Kind::Failed);
    let mut parts = text.splitn(2, |byte| *byte == 0).map(String::from_utf8_lossy);
    let error = Error::new(kind, parts.next().unwrap_or_default());
    match parts.next() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Threads of this process; 1 where /proc is not there to tell.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_to_the_parent() {
        for kind in KINDS {
            let error = decode(&encode(&Error::new(kind, "it broke").hint("mend it")));
            assert_eq!((error.kind(), error.message(), error.next_step()), (kind, "it broke", Some("mend it")));
        }
        assert_eq!(decode(&encode(&Error::not_found("x"))).next_step(), None);
    }

    #[test]
    fn it_does_not_fork_a_process_with_threads() {
        // The test harness has some.
        let error = background(|ready| {
            ready.ready();
            Ok(())
        });
        assert!(error.is_err_and(|error| error.message().contains("threads")));
    }
}
