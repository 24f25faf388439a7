//! What it takes to ask another thread something, which is what a request to a file system in user space costs before
//! anything is done for it.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::thread;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;
use crate::rounds::{Effort, median};

/// Questions between two looks at the clock.
const STRIDE: u32 = 64;

/// Seconds from a question to its answer.
pub struct Trip {
    /// As the kernel likes to place the two.
    pub free: f64,
    /// Both on one processor.
    pub together: f64,
}

/// Medians over the rounds.
pub fn measure(effort: Effort) -> Outcome<Trip> {
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).ok_or("no processor")?);
    Ok(Trip { free: over_rounds(&all, effort)?, together: over_rounds(&one, effort)? })
}

fn over_rounds(processors: &CpuSet, effort: Effort) -> Outcome<f64> {
    let times: Vec<f64> = (0..effort.rounds).map(|_| ask(processors, effort)).collect::<Outcome<_>>()?;
    Ok(median(&times).ok_or("no rounds")?)
}

/// Sends a byte there and back for as long as a round lasts; both ends run on these processors.
fn ask(processors: &CpuSet, effort: Effort) -> Outcome<f64> {
    let ((question, mut ask), (mut told, answer)) = (pipe()?, pipe()?);
    thread::scope(|scope| {
        // What changes where this thread runs ends with it.
        let answering = scope.spawn(|| answer_all(processors, question, answer));
        let asking = scope.spawn(move || -> std::io::Result<f64> {
            sched_setaffinity(None, processors)?;
            let (started, mut done) = (Instant::now(), 0_u32);
            while started.elapsed() < effort.time {
                for _ in 0..STRIDE {
                    ask.write_all(&[0])?;
                    told.read_exact(&mut [0])?;
                }
                done += STRIDE;
            }
            Ok(started.elapsed().as_secs_f64() / f64::from(done))
        });
        let time = asking.join().map_err(|_| "a thread panicked")??;
        answering.join().map_err(|_| "a thread panicked")??;
        Ok(time)
    })
}

fn answer_all(processors: &CpuSet, mut question: PipeReader, mut answer: PipeWriter) -> std::io::Result<()> {
    sched_setaffinity(None, processors)?;
    let mut byte = [0];
    while question.read(&mut byte)? > 0 {
        answer.write_all(&byte)?;
    }
    Ok(())
}
