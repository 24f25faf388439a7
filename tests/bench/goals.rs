//! What was aimed at, and what came out.

use std::fmt::Write;

use crate::peer::Peer;
use crate::plan::{Kind, Tool};
use crate::rounds::Rates;
use crate::work::Work;

/// Which way of mounting pkfs, which work, beside what, and the ratio that is wanted; `None`: to be stated.
type Goal = (&'static str, Work, &'static str, Option<f64>);

const READ_ONLY: &str = "pkfs ro";
const READ_WRITE: &str = "pkfs rw";
/// Read-only with rules, for a user who is given all of it.
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
    (RULES, Work::Read, READ_ONLY, Some(0.6)),
    (RULES, Work::Read, READ_WRITE, None),
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

/// What deciding takes, for a caller that was met before, and what comes of it through the mount.
pub fn deciding(peers: &[Peer], rates: &Rates, decisions: &[(&str, f64)]) -> String {
    let mut text = String::from(
        "\n## Deciding\n\nOn a mount with rules each open is decided. For a caller that was met before that takes, without a mount:\n\n\
         | rule | µs | goal |\n|---|---:|---:|\n",
    );
    for (rule, seconds) in decisions {
        let verdict = if *seconds < DECISION { "reached" } else { "missed" };
        let _ = writeln!(text, "| {rule} | {:.2} | less than {:.0} {verdict} |", seconds * 1e6, DECISION * 1e6);
    }
    let time = |name: &str| {
        let peer = peers.iter().position(|peer| peer.name == name)?;
        Some(1e6 / rates.median(Work::Read, peer)?)
    };
    if let (Some(rules), Some(unasked), Some(asked)) = (time(RULES), time(READ_ONLY), time(READ_WRITE)) {
        let _ = writeln!(
            text,
            "\nA warm open, read and close with rules takes {:.1} µs more than on {READ_ONLY}, of which the kernel asks \
             nothing, and {:.1} µs more than on {READ_WRITE}, which is asked of each open.",
            rules - unasked,
            rules - asked
        );
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
