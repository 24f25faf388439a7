//! The results as Markdown.

use std::fmt::Write;

use crate::machine;
use crate::peer::Peer;
use crate::rounds::{Effort, Rates};
use crate::work::Work;

/// What was measured where.
pub fn heading(effort: Effort, notes: &[String]) -> String {
    let mut text = String::from("# What pkfs takes, beside others\n\nMeasured by `scripts/bench`");
    let _ = writeln!(text, " on {}.", machine::description());
    let Effort { rounds, time, secrets } = effort;
    let _ = writeln!(
        text,
        "Medians over {rounds} rounds of {} ms, in each of which all take their turn; {secrets} secrets of 64 bytes.\n",
        time.as_millis()
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
    let digits = format!("{:.0}", value);
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
