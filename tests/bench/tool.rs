//! Programs that read or write one secret, run to their end.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::plan::Tool;
use crate::rounds::median;

/// The median time of each in seconds; they take turns.
pub fn measure(tools: &[Tool], rounds: usize) -> Outcome<Vec<f64>> {
    let mut times = vec![Vec::new(); tools.len()];
    // The first round fills caches and starts agents.
    for round in 0..=rounds {
        for (tool, times) in tools.iter().zip(&mut times) {
            let time = run(tool, round).map_err(|error| format!("{}: {error}", tool.name))?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.iter().map(|times| median(times).unwrap_or(f64::NAN)).collect())
}

fn run(tool: &Tool, round: usize) -> Outcome<f64> {
    let (program, arguments) = tool.words.split_first().ok_or("no command")?;
    let started = Instant::now();
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A value that was not there before; who only reads does not take it.
        let _ = input.write_all(format!("value {round} of {}\n", std::process::id()).as_bytes());
    }
    let output = child.wait_with_output()?;
    let time = started.elapsed().as_secs_f64();
    if output.status.success() { Ok(time) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}
