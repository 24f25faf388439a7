//! Compares pkfs with other file systems and password tools. `scripts/bench` prepares what this measures; nothing here
//! is part of pkfs, and nothing is asserted.

mod idle;
mod machine;
mod peer;
mod plan;
mod report;
mod rounds;
mod tool;
mod tree;
mod work;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use plan::Plan;
use rounds::Effort;

/// Done, or why not.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Outcome {
    match arguments {
        ["fill", directory, secrets] => Ok(tree::fill(Path::new(directory), secrets.parse()?)?),
        ["idle-server", directory, secrets] => idle::serve(Path::new(directory), secrets.parse()?),
        ["compare", plan, secrets, rounds, milliseconds] => {
            let (rounds, time) = (rounds.parse()?, Duration::from_millis(milliseconds.parse()?));
            compare(Plan::read(Path::new(plan))?, Effort { rounds, time, secrets: secrets.parse()? })
        }
        _ => Err("this is run by scripts/bench".into()),
    }
}

fn compare(mut plan: Plan, effort: Effort) -> Outcome {
    print!("{}", report::heading(effort, &plan.notes));
    let rates = rounds::measure(&mut plan.peers, effort)?;
    print!("{}", report::rates(&plan.peers, &rates));
    Ok(())
}
