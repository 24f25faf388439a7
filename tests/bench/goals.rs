//! What was aimed at, and what came out.

use std::fmt::Write;

use crate::peer::Peer;
use crate::plan::{Kind, Tool};
use crate::rounds::Rates;
use crate::tree::PER_DIRECTORY;
use crate::trips::Trip;
use crate::work::Work;

/// Which way of mounting pkfs, which work, beside what, and the ratio that is wanted; `None`: to be stated.
type Goal = (&'static str, Work, &'static str, Option<f64>);

const READ_ONLY: &str = "pkfs ro";
const READ_WRITE: &str = "pkfs rw";
/// Read-write with rules, for a user who is given all of it; without them it is [`READ_WRITE`].
const RULES: &str = "pkfs rules";
/// The same keynode by `--view`, and below `.views`.
const VIEW: &str = "pkfs view";
const VIEWS: &str = "pkfs .views";

const GOALS: [Goal; 28] = [
    (READ_ONLY, Work::Read, "idle", Some(0.95)),
    (READ_ONLY, Work::Read, "gocryptfs", Some(20.0)),
    (READ_ONLY, Work::Read, "ext4", None),
    (READ_WRITE, Work::Read, "gocryptfs", Some(3.0)),
    (READ_ONLY, Work::FirstRead, "gocryptfs", Some(1.0)),
    (READ_WRITE, Work::FirstRead, "gocryptfs", Some(1.0)),
    (READ_ONLY, Work::Stat, "idle", Some(0.95)),
    (READ_WRITE, Work::Stat, "idle", Some(0.95)),
    (READ_ONLY, Work::Stat, "ext4", None),
    (READ_ONLY, Work::List, "idle", Some(0.95)),
    (READ_WRITE, Work::List, "idle", Some(0.95)),
    (READ_ONLY, Work::List, "ext4", None),
    (READ_ONLY, Work::Large, "idle", Some(0.95)),
    (READ_WRITE, Work::Large, "idle", Some(0.95)),
    (READ_ONLY, Work::FirstLarge, "idle", None),
    (READ_ONLY, Work::FirstLarge, "gocryptfs", None),
    (READ_WRITE, Work::LargeWrite, "idle", None),
    (READ_WRITE, Work::LargeWrite, "gocryptfs", None),
    (READ_WRITE, Work::Write, "gocryptfs", None),
    (READ_WRITE, Work::Write, "ext4", None),
    (READ_WRITE, Work::Write, "tmpfs", None),
    (RULES, Work::Read, READ_WRITE, Some(0.6)),
    (RULES, Work::Read, READ_ONLY, None),
    (RULES, Work::Read, "gocryptfs", Some(4.0)),
    (VIEW, Work::Read, READ_ONLY, None),
    (VIEW, Work::FirstRead, READ_ONLY, None),
    (VIEWS, Work::Read, READ_ONLY, None),
    (VIEWS, Work::FirstRead, READ_ONLY, None),
];

/// Seconds that a decision may take.
const DECISION: f64 = 5e-6;

/// A work by two threads, and the same by one.
const SCALING: [(Work, Work); 3] =
    [(Work::ReadByTwo, Work::Read), (Work::FirstReadByTwo, Work::FirstRead), (Work::WriteByTwo, Work::Write)];

/// The ratios, each the median of those of the rounds.
pub fn ratios(peers: &[Peer], rates: &Rates) -> String {
    let mut text = String::from("\n## Ratios\n\n| work | of | to | ratio | goal |\n|---|---|---|---:|---:|\n");
    let number_of = |name: &str| peers.iter().position(|peer| peer.name == name);
    for (ours, work, theirs, goal) in GOALS {
        let (Some(one), Some(other)) = (number_of(ours), number_of(theirs)) else { continue };
        if let Some(ratio) = rates.ratio((work, one), (work, other)) {
            let _ = writeln!(text, "| {} | {ours} | {theirs} | {ratio:.2} | {} |", work.title(), verdict(ratio, goal));
        }
    }
    text.push_str("\nTwo threads to one:\n\n| work |");
    for peer in peers {
        let _ = write!(text, " {} |", peer.name);
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(peers.len()));
    for (two, one) in SCALING {
        let _ = write!(text, "| {} |", one.title());
        for peer in 0..peers.len() {
            let ratio = rates.ratio((two, peer), (one, peer)).map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
            let _ = write!(text, " {ratio} |");
        }
        text.push('\n');
    }
    text
}

/// What deciding takes, for a caller that was met before.
pub fn deciding(decisions: &[(&str, f64)]) -> String {
    let mut text = String::from(
        "\n## Deciding\n\nOn a mount with rules each open is decided. For a caller that was met before that takes, without a mount:\n\n\
         | rule | µs | goal |\n|---|---:|---:|\n",
    );
    for (rule, seconds) in decisions {
        let verdict = if *seconds < DECISION { "reached" } else { "missed" };
        let _ = writeln!(text, "| {rule} | {:.2} | less than {:.0} {verdict} |", seconds * 1e6, DECISION * 1e6);
    }
    text
}

/// Where the kernel asks pkfs, what that takes beside the read-only mount, of which it asks nothing.
pub fn asking(peers: &[Peer], rates: &Rates, trip: &Trip) -> String {
    let mut text = String::from("\n## Asking\n\n");
    let _ = writeln!(
        text,
        "What is warm takes as long as the kernel asks. A byte through a pipe to another thread and back takes {:.1} µs here, \
         {:.1} with both on one processor: the rest is waking another processor.\n\n\
         | work | on | questions | µs more than {READ_ONLY} | each |\n|---|---|---|---:|---:|",
        trip.free * 1e6,
        trip.together * 1e6
    );
    let time = |name: &str, work| {
        let peer = peers.iter().position(|peer| peer.name == name)?;
        Some(1e6 / rates.median(work, peer)?)
    };
    // A directory and what is in it.
    let listed = (PER_DIRECTORY + 1) as f64;
    for (name, work, times, questions, asked) in [
        (READ_WRITE, Work::Read, 1.0, 1.0, "open"),
        (RULES, Work::Read, 1.0, 2.0, "attributes of the directory, open"),
        (READ_WRITE, Work::List, listed, 1.0, "opendir, once a directory"),
    ] {
        if let (Some(ours), Some(unasked)) = (time(name, work), time(READ_ONLY, work)) {
            let more = (ours - unasked) * times;
            let _ = writeln!(text, "| {} | {name} | {asked} | {more:.1} | {:.1} |", work.title(), more / questions);
        }
    }
    text
}

/// What a write through the mount is beside the programs that write.
pub fn writes(peers: &[Peer], rates: &Rates, tools: &[Tool], seconds: &[f64]) -> String {
    let mut text = String::from("\n| a write through the mount | to | ratio | goal |\n|---|---|---:|---:|\n");
    let ours = peers.iter().position(|peer| peer.name == READ_WRITE);
    let Some(rate) = ours.and_then(|ours| rates.median(Work::Write, ours)) else { return text };
    for (tool, seconds) in tools.iter().zip(seconds).filter(|(tool, _)| tool.kind == Kind::Put) {
        let goal = (tool.name == "pass insert").then_some(10.0);
        let ratio = rate * seconds;
        let _ = writeln!(text, "| {READ_WRITE} | {} | {ratio:.1} | {} |", tool.name, verdict(ratio, goal));
    }
    text
}

fn verdict(ratio: f64, goal: Option<f64>) -> String {
    match goal {
        Some(goal) if ratio >= goal => format!("{goal} reached"),
        Some(goal) => format!("{goal} missed"),
        None => "-".to_owned(),
    }
}
