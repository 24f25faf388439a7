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

    /// The last moment of the span of time that a date or the beginning of one names, in UTC unless it carries an
    /// offset: `2026`, `2026-11`, `2026-11-24` (the end of that day), `2026-11-24T15`, `2026-11-24T15:04`,
    /// `2026-11-24T15:04:05`, all with or without `Z` or `+01:00` from the hour on, and fractions of a second, which
    /// are taken as they are. A blank may stand for the `T`.
    ///
    /// # Errors
    ///
    /// [`BadTimestamp`] for anything else, and for dates before the year 0 or after 9999.
    pub fn parse_span_end(text: &str) -> Result<Self, BadTimestamp> {
        let start = |whole: &str, offset: &str| {
            format!("{whole}{offset}").parse::<jiff::Timestamp>().map(Self::from).map_err(|_| BadTimestamp)
        };
        if !text.is_ascii() || text.len() > 64 {
            return Err(BadTimestamp);
        }
        let (day, clock) = match text.split_once(['T', 't', ' ']) {
            Some((day, clock)) if day.len() == 10 => (day, Some(clock)),
            Some(_) => return Err(BadTimestamp),
            None => (text, None),
        };
        if !is_shape(day, &"0000-00-00"[..day.len().min(10)]) {
            return Err(BadTimestamp);
        }
        let Some(clock) = clock else {
            let (year, rest) = day.split_at_checked(4).ok_or(BadTimestamp)?;
            let year: u32 = year.parse().map_err(|_| BadTimestamp)?;
            let next = match rest.len() {
                0 => format!("{:04}-01-01", year + 1),
                3 => match rest[1..].parse::<u32>() {
                    Ok(12) => format!("{:04}-01-01", year + 1),
                    Ok(month @ 1..=11) => format!("{year:04}-{:02}-01", month + 1),
                    _ => return Err(BadTimestamp),
                },
                6 => return Ok(start(&format!("{day}T00:00:00"), "Z")?.after(86_400).before_it()),
                _ => return Err(BadTimestamp),
            };
            return Ok(start(&format!("{next}T00:00:00"), "Z")?.before_it());
        };
        let (clock, offset) = match clock.find(['Z', 'z', '+', '-']) {
            Some(at) => clock.split_at(at),
            None => (clock, "Z"),
        };
        let whole = |rest: &str| start(&format!("{day}T{clock}{rest}"), offset);
        match clock.len() {
            2 if is_shape(clock, "00") => Ok(whole(":00:00")?.after(3600).before_it()),
            5 if is_shape(clock, "00:00") => Ok(whole(":00")?.after(60).before_it()),
            8 if is_shape(clock, "00:00:00") => Ok(whole("")?.after(1).before_it()),
            9.. if is_shape(&clock[..9], "00:00:00.") => whole(""),
            _ => Err(BadTimestamp),
        }
    }

    /// RFC 3339 in UTC with as many digits of a fraction as there are: `2026-11-24T15:00:00Z`. Times outside the
    /// years -9999 to 9999 come out as `@` and seconds since the epoch.
    pub fn to_rfc3339(self) -> String {
        let nanoseconds = i32::try_from(self.nanoseconds).unwrap_or(0);
        jiff::Timestamp::new(self.seconds, nanoseconds).map_or_else(|_| format!("@{self}"), |t| t.to_string())
    }

    fn after(self, seconds: i64) -> Self {
        Self { seconds: self.seconds.saturating_add(seconds), ..self }
    }

    /// One nanosecond earlier.
    fn before_it(self) -> Self {
        match self.nanoseconds.checked_sub(1) {
            Some(nanoseconds) => Self { nanoseconds, ..self },
            None => Self { seconds: self.seconds.saturating_sub(1), nanoseconds: 999_999_999 },
        }
    }
}

/// Whether `text` has a digit where `shape` has `0`, and is the same elsewhere.
fn is_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(t, s)| if s == b'0' { t.is_ascii_digit() } else { t == s })
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        let nanoseconds = time.as_nanosecond();
        let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        Self { seconds, nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0) }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn end(text: &str) -> String {
        Timestamp::parse_span_end(text).unwrap().to_rfc3339()
    }

    #[test]
    fn a_date_names_the_end_of_its_span() {
        assert_eq!(end("2026"), "2026-12-31T23:59:59.999999999Z");
        assert_eq!(end("2026-12"), "2026-12-31T23:59:59.999999999Z");
        assert_eq!(end("2024-02"), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(end("2026-11-24"), "2026-11-24T23:59:59.999999999Z");
        assert_eq!(end("2026-11-24T15"), "2026-11-24T15:59:59.999999999Z");
        assert_eq!(end("2026-11-24 15:04"), "2026-11-24T15:04:59.999999999Z");
        assert_eq!(end("2026-11-24T15:04:05Z"), "2026-11-24T15:04:05.999999999Z");
        assert_eq!(end("2026-11-24T15:04:05+01:00"), "2026-11-24T14:04:05.999999999Z");
        assert_eq!(end("2026-11-24T15+01:00"), "2026-11-24T14:59:59.999999999Z");
        assert_eq!(end("2026-11-24T15:04:05.25Z"), "2026-11-24T15:04:05.25Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "x",
            "202",
            "2026-",
            "2026-13",
            "2026-00",
            "2026-02-30",
            "2026-11-24T",
            "2026-11-24T25",
            "2026-11T10",
            "2026-11-24T15:04:05.",
            "2026-11-24T15:04:05+",
            "20261124",
            "é026",
            "2026-11-24T15:0405",
            "now",
        ] {
            assert_eq!(Timestamp::parse_span_end(text), Err(BadTimestamp), "{text}");
        }
    }
}
