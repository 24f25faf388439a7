//! The figures of reading as a picture: a bar for each file system, on a logarithmic scale.

use std::fmt::Write;

use crate::peer::Peer;
use crate::report::number;
use crate::rounds::Rates;
use crate::work::Work;

const GROUPS: [Work; 3] = [Work::Read, Work::FirstRead, Work::List];

const WIDTH: f64 = 760.0;
/// Where the bars begin, and how far they may go.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 660.0;
const BAR: f64 = 16.0;
/// Between two groups, with a title in it.
const GAP: f64 = 38.0;

/// What the scale begins and ends with, operations a second.
const LEAST: f64 = 100.0;
const MOST: f64 = 1_000_000.0;

/// The picture as SVG.
pub fn reads(peers: &[Peer], rates: &Rates) -> String {
    let mut body = String::new();
    let mut y = 6.0;
    for work in GROUPS {
        y += GAP;
        let _ =
            writeln!(body, r#"<text x="{LEFT}" y="{}" font-weight="bold">{}, a second</text>"#, y - 8.0, work.title());
        for (n, peer) in peers.iter().enumerate() {
            let Some(rate) = rates.median(work, n) else { continue };
            let share = (rate.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
            let (width, base) = ((RIGHT - LEFT) * share, y + BAR - 5.0);
            let colour = if peer.name.starts_with("pkfs") { "#1f6feb" } else { "#9aa4af" };
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{base}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y}" width="{width:.1}" height="{}" fill="{colour}"/><text x="{:.1}" y="{base}">{}</text>"#,
                LEFT - 6.0,
                peer.name,
                BAR - 3.0,
                LEFT + width + 5.0,
                number(rate)
            );
            y += BAR;
        }
    }
    let height = y + 10.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12" fill="#24292f">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{}" y="16" text-anchor="end">logarithmic scale</text>
{body}</svg>
"##,
        WIDTH - 8.0
    )
}
