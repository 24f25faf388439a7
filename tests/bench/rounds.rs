//! Rounds: each work is done on each file system in turn, there and back again, so that noise, and what the one before has
//! left in the processor's caches, hits all alike.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Outcome;
use crate::peer::Peer;
use crate::work::{Files, Start, Work};

/// What is warm needs no preparation, and is done so many times as often, a part as long each.
const MORE: usize = 5;
const SHORTER: u32 = 3;

/// After so many rounds of what is warm all are mounted anew, so that what is particular to one mount, such as where the
/// kernel keeps its names and pages, decides for none.
pub const STANDS: usize = 3;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub time: Duration,
    pub secrets: usize,
}

impl Effort {
    /// For what was read before.
    pub fn warm(self) -> Self {
        Self { rounds: MORE * self.rounds, time: self.time / SHORTER, ..self }
    }
}

/// All that was measured: rates by work and file system, in the order of the rounds.
#[derive(Default)]
pub struct Rates(BTreeMap<(Work, usize), Vec<f64>>);

impl Rates {
    /// The median rate.
    pub fn median(&self, work: Work, peer: usize) -> Option<f64> {
        median(self.0.get(&(work, peer))?)
    }

    /// The median over the rounds of what one makes of the other in the same round.
    pub fn ratio(&self, (work, peer): (Work, usize), other: (Work, usize)) -> Option<f64> {
        let (one, other) = (self.0.get(&(work, peer))?, self.0.get(&other)?);
        median(&one.iter().zip(other).map(|(one, other)| one / other).collect::<Vec<_>>())
    }
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (below, above) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*below, *above))
}

/// Does all the work on all file systems.
pub fn measure(peers: &mut [Peer], effort: Effort) -> Outcome<Rates> {
    let mut rates = Rates::default();
    let files: Vec<Files> = peers.iter().map(|peer| Files::new(&peer.root, effort.secrets)).collect::<Outcome<_>>()?;
    let mut warm = vec![false; peers.len()];
    for work in Work::ALL {
        eprintln!("{} …", work.title());
        let reads_warm = work.start() == Start::Warm && !work.writes();
        let Effort { rounds, time, .. } = if reads_warm { effort.warm() } else { effort };
        for round in 0..rounds {
            if reads_warm && round > 0 && round % STANDS == 0 {
                for (peer, warm) in peers.iter_mut().zip(&mut warm).filter(|(peer, _)| peer.can_remount()) {
                    peer.unmount()?;
                    *warm = false;
                }
            }
            if work.start() == Start::Warm {
                for ((peer, files), warm) in peers.iter_mut().zip(&files).zip(&mut warm).filter(|(_, warm)| !**warm) {
                    peer.mount(effort.secrets)
                        .and_then(|()| peer.as_user(|| files.warm()))
                        .map_err(|e| format!("{}: {e}", peer.name))?;
                    *warm = true;
                }
            }
            let mut turns: Vec<_> = peers.iter_mut().zip(&files).enumerate().collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for (n, (peer, files)) in turns {
                if work.writes() && !peer.writable || work.start() == Start::Fresh && !peer.can_remount() {
                    continue;
                }
                if work.start() == Start::Fresh {
                    peer.unmount()?;
                    peer.mount(effort.secrets)?;
                    warm[n] = false;
                }
                let rate = peer
                    .as_user(|| files.measure(work, time))
                    .map_err(|error| format!("{} on {}: {error}", work.title(), peer.name))?;
                rates.0.entry((work, n)).or_default().push(rate);
            }
        }
    }
    Ok(rates)
}
