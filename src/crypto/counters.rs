//! Process-wide counts of the costly operations, so that tests and `-v` can tell how many there were.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many public-key operations this process has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Session keys encrypted to a key.
    pub sealed: u64,
    /// Session keys decrypted with a key.
    pub opened: u64,
    /// Signatures made.
    pub signed: u64,
    /// Signatures checked, with either result.
    pub verified: u64,
}

/// What was done between two counts.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            sealed: self.sealed.saturating_sub(before.sealed),
            opened: self.opened.saturating_sub(before.opened),
            signed: self.signed.saturating_sub(before.signed),
            verified: self.verified.saturating_sub(before.verified),
        }
    }
}

pub(super) static SEALED: Counter = Counter(AtomicU64::new(0));
pub(super) static OPENED: Counter = Counter(AtomicU64::new(0));
pub(super) static SIGNED: Counter = Counter(AtomicU64::new(0));
pub(super) static VERIFIED: Counter = Counter(AtomicU64::new(0));

pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts since the process began.
pub fn counts() -> Counts {
    Counts { sealed: SEALED.get(), opened: OPENED.get(), signed: SIGNED.get(), verified: VERIFIED.get() }
}
