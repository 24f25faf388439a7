//! The results as Markdown.

use std::fmt::Write;

use crate::growth::Mounting;
use crate::machine;
use crate::parts::Parts;
use crate::peer::Peer;
use crate::plan::{Growth, Tool};
use crate::rounds::{Effort, Rates, STANDS};
use crate::tree::LARGE;
use crate::work::Work;

/// What was measured where.
pub fn heading(effort: Effort, notes: &[String]) -> String {
    let mut text = String::from("# What pkfs takes, beside others\n\nMeasured by `scripts/bench`");
    let _ = writeln!(text, " on {}.", machine::description());
    let (Effort { rounds, time, secrets }, warm) = (effort, effort.warm());
    let _ = writeln!(
        text,
        "Medians over {rounds} rounds of {} ms, of what is warm over {} of {} ms, in each of which all take their turn, there \
         and back again, all mounted anew {} times; {secrets} secrets of 64 bytes.\n",
        time.as_millis(),
        warm.rounds,
        warm.time.as_millis(),
        warm.rounds.div_ceil(STANDS) - 1
    );
    for note in notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// The rates of all file systems.
pub fn rates(peers: &[Peer], rates: &Rates) -> String {
    let mut text = String::from("\n## File systems\n\nOperations a second.\n\n| |");
    for peer in peers {
        let _ = write!(text, " {} |", peer.name);
    }
    let _ = write!(text, "\n|---|{}\n", "---:|".repeat(peers.len()));
    for work in Work::ALL {
        let _ = write!(text, "| {} |", work.title());
        for peer in 0..peers.len() {
            let cell = rates.median(work, peer).map_or_else(|| "-".to_owned(), number);
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

/// Three digits that count, thousands apart.
pub fn number(value: f64) -> String {
    if value < 100.0 {
        return if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") };
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Programs that read or write one secret.
pub fn tools(tools: &[Tool], seconds: &[f64]) -> String {
    let mut text = String::from("\n## One secret by a program\n\n| | ms |\n|---|---:|\n");
    for (tool, seconds) in tools.iter().zip(seconds) {
        let _ = writeln!(text, "| {} | {:.1} |", tool.name, seconds * 1e3);
    }
    text
}

/// A first read taken apart; what is left of the time through the mount is FUSE's. How close large secrets come to what
/// `OpenPGP` allows; `sealing`: the seconds it takes for the message of one.
pub fn parts(peers: &[Peer], rates: &Rates, (small, large): &(Parts, Parts), sealing: f64) -> String {
    let mut text = String::from(
        "\n## A first read taken apart\n\nThrough the read-only mount; git objects and OpenPGP were measured without it.\n\n\
         | | git objects | OpenPGP | FUSE and the rest | all |\n|---|---:|---:|---:|---:|\n",
    );
    let ours = peers.iter().position(|peer| peer.name == "pkfs ro");
    let through = |work| ours.and_then(|ours| rates.median(work, ours)).unwrap_or(f64::NAN);
    let mut row = |name: &str, parts: &Parts, all: f64, unit: f64, of: &str| {
        let [objects, openpgp, rest, all] =
            [parts.objects, parts.whole - parts.objects, all - parts.whole, all].map(|time| number(time * unit));
        let _ = writeln!(text, "| {name}, {of} | {objects} | {openpgp} | {rest} | {all} |");
    };
    row("64 bytes", small, 1.0 / through(Work::FirstRead), 1e6, "µs");
    let mebibytes = (LARGE >> 20) as f64;
    row("64 MiB", large, mebibytes / through(Work::FirstLarge), 1e3, "ms");
    text.push_str("\n64 MiB, MiB a second:\n\n| | OpenPGP alone | through the mount | ratio |\n|---|---:|---:|---:|\n");
    let written = peers.iter().position(|peer| peer.name == "pkfs rw");
    let written = written.and_then(|written| rates.median(Work::LargeWrite, written)).unwrap_or(f64::NAN);
    let opening = large.whole - large.objects;
    for (name, seconds, mount) in
        [("first read", opening, through(Work::FirstLarge)), ("write with fsync", sealing, written)]
    {
        let limit = mebibytes / seconds;
        let _ = writeln!(text, "| {name} | {} | {} | {:.2} |", number(limit), number(mount), mount / limit);
    }
    text
}

/// Mounting and memory.
pub fn growth(growth: &[Growth], taken: &[Mounting]) -> String {
    let mut text = String::from(
        "\n## Mounting\n\nFrom the start of the program until the directory can be used, and the resident memory of its process.\n\n\
         | secrets | versions of each | file, MiB | mount, ms | memory, MiB | once all is listed, MiB |\n|---:|---:|---:|---:|---:|---:|\n",
    );
    for (keynode, Mounting { file_bytes, seconds, mounted, listed }) in growth.iter().zip(taken) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.1} | {:.1} |",
            keynode.secrets,
            keynode.versions,
            file_bytes >> 20,
            seconds * 1e3,
            mounted / 1024.0,
            listed / 1024.0
        );
    }
    text
}
