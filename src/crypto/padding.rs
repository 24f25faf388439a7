//! How long a message is made, so that its length tells little of what it holds.

/// Which rule of length a message follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// A secret's value, and whatever is not a change: at least 256 bytes, then Padmé.
    Value,
    /// A change of the namespace: a multiple of 512 bytes, then Padmé.
    Change,
}

impl Padding {
    /// The length to which `len` bytes are padded; none beyond what this machine can count.
    pub(super) fn target(self, len: usize) -> Option<usize> {
        match self {
            Self::Value => padme(len.max(256)),
            Self::Change => padme(len.checked_next_multiple_of(512)?.max(512)),
        }
    }
}

/// Padmé: rounds up by at most 12 % so that O(log log n) bits of the length show
/// (Nikitin and others, "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).
fn padme(len: usize) -> Option<usize> {
    let Some(exponent) = len.checked_ilog2() else { return Some(len) };
    let kept = exponent.checked_ilog2().map_or(0, |e| e + 1);
    let mask = (1_usize << exponent.saturating_sub(kept)) - 1;
    Some(len.checked_add(mask)? & !mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_matches_the_paper() {
        for (len, padded) in
            [(0, 0), (1, 1), (9, 10), (100, 104), (256, 256), (257, 272), (1000, 1024), (1_000_001, 1_015_808)]
        {
            assert_eq!(padme(len), Some(padded), "{len}");
        }
        assert_eq!(padme(usize::MAX), None);
    }

    #[test]
    fn padding_costs_at_most_an_eighth_and_never_shortens() {
        for len in (0..70_000).chain((20..40).map(|e| (1 << e) + 1)) {
            let value = Padding::Value.target(len).unwrap_or(0);
            assert!(value >= len.max(256) && value <= (len + len / 8).max(256), "{len}: {value}");
            let change = Padding::Change.target(len).unwrap_or(0);
            assert!(change >= len && change.is_multiple_of(512) && change <= len + len / 8 + 512, "{len}: {change}");
        }
    }
}
