//! Points in time as files have them: seconds and nanoseconds since the epoch, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since the epoch, negative before it.
    pub seconds: i64,
    /// Nanoseconds after that second, below 10^9.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// The present.
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(d) => Self { seconds: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), nanoseconds: d.subsec_nanos() },
            Err(before) => {
                let d = before.duration();
                let whole = i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
                match d.subsec_nanos() {
                    0 => Self { seconds: -whole, nanoseconds: 0 },
                    n => Self { seconds: -whole - 1, nanoseconds: 1_000_000_000 - n },
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> Self {
        let nanos = Duration::from_nanos(u64::from(t.nanoseconds));
        let whole = Duration::from_secs(t.seconds.unsigned_abs());
        let base = if t.seconds >= 0 { UNIX_EPOCH.checked_add(whole) } else { UNIX_EPOCH.checked_sub(whole) };
        base.and_then(|b| b.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
    }
}

/// `seconds` or `seconds.nnnnnnnnn`, as `stat -c %.9Y` prints it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanoseconds == 0 {
            write!(f, "{}", self.seconds)
        } else {
            write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
        }
    }
}

/// The text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadTimestamp;

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
        let seconds = whole.parse().map_err(|_| BadTimestamp)?;
        let nanoseconds = match fraction {
            None => 0,
            Some(f) if f.len() == 9 && f.bytes().all(|b| b.is_ascii_digit()) => f.parse().map_err(|_| BadTimestamp)?,
            Some(_) => return Err(BadTimestamp),
        };
        Ok(Self { seconds, nanoseconds })
    }
}
