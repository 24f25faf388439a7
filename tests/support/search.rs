//! How a model test looks for a sequence of calls that goes wrong: the same sequences each time, so that a failure tells of
//! what was changed. `PKFS_MODEL_SEED` names others, `PKFS_MODEL_SECONDS` says for how long instead of a few.

use std::env;
use std::str::FromStr;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngSeed, TestRunner};

const SECONDS: u64 = 15;
/// Sequences between two looks at the clock.
const CASES: u32 = 10;
/// How long a failing one is made shorter, in milliseconds.
const SHRINKING: u32 = 40_000;

/// Runs until the time is over.
pub struct Search {
    end: Instant,
    seed: u64,
}

impl Search {
    pub fn new() -> Self {
        let seconds = variable("PKFS_MODEL_SECONDS").unwrap_or(SECONDS);
        let seed = variable::<u64>("PKFS_MODEL_SEED").unwrap_or_default();
        // Far apart, so that two seeds have no run in common.
        Self { end: Instant::now() + Duration::from_secs(seconds), seed: seed << 32 }
    }
}

impl Iterator for Search {
    type Item = TestRunner;

    fn next(&mut self) -> Option<TestRunner> {
        self.seed += 1;
        let config = Config {
            cases: CASES,
            max_shrink_time: SHRINKING,
            max_shrink_iters: 100_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(self.seed),
            ..Config::default()
        };
        (Instant::now() < self.end).then(|| TestRunner::new(config))
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}
