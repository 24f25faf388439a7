//! Compares pkfs with other file systems and password tools. `scripts/bench` prepares what this measures; nothing here
//! is part of pkfs, and nothing is asserted.
#![allow(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]

mod deciding;
mod goals;
mod growth;
mod idle;
mod machine;
mod parts;
mod peer;
mod plan;
mod plot;
mod report;
mod rounds;
mod tool;
mod tree;
mod trips;
mod work;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use plan::Plan;
use rounds::Effort;

/// What is taken apart here costs as much as in the program.
#[global_allocator]
static ALLOCATOR: pkfs::crypto::memory::WipingAllocator = pkfs::crypto::memory::WipingAllocator;

/// Done, or why not.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // As the program does: what is taken apart here is a part of what it does.
    // SAFETY: no thread has been started yet.
    #[allow(unsafe_code)]
    unsafe {
        pkfs::crypto::process::fit_libraries();
    }
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
        ["keynode", file, key, secrets, versions] => {
            growth::make(Path::new(file), Path::new(key), secrets.parse()?, versions.parse()?)
        }
        ["compare", plan, picture, secrets, rounds, milliseconds] => {
            let (rounds, time) = (rounds.parse()?, Duration::from_millis(milliseconds.parse()?));
            let effort = Effort { rounds, time, secrets: secrets.parse()? };
            compare(Plan::read(Path::new(plan))?, Path::new(picture), effort)
        }
        _ => Err("this is run by scripts/bench".into()),
    }
}

/// Measures everything; the results are printed as they come.
fn compare(mut plan: Plan, picture: &Path, effort: Effort) -> Outcome {
    print!("{}", report::heading(effort, &plan.notes));
    let rates = rounds::measure(&mut plan.peers, effort)?;
    print!("{}", report::rates(&plan.peers, &rates));
    print!("{}", goals::ratios(&plan.peers, &rates));
    std::fs::write(picture, plot::reads(&plan.peers, &rates))?;
    plan.peers.iter_mut().try_for_each(peer::Peer::unmount)?;
    print!("{}", goals::asking(&plan.peers, &rates, &trips::measure(effort)?));
    if let Some((file, key)) = &plan.keynode {
        print!("{}", report::parts(&plan.peers, &rates, &parts::measure(file, key)?, parts::seal_large()?));
        print!("{}", goals::deciding(&deciding::measure(file, key, effort)?));
    }
    eprintln!("single secrets …");
    let seconds = tool::measure(&plan.tools, effort.rounds * 3)?;
    print!("{}", report::tools(&plan.tools, &seconds));
    print!("{}", goals::writes(&plan.peers, &rates, &plan.tools, &seconds));
    eprintln!("mounting …");
    print!("{}", report::growth(&plan.growth, &growth::measure(&plan.growth, effort.rounds)?));
    Ok(())
}
