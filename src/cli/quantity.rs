//! Durations, sizes, modes and dates as people type them.

use crate::time::Timestamp;

/// Seconds from `90s`, `15m`, `8h` or `1d`; more than none. A number alone could mean any of them.
pub(super) fn duration(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        Some(b'd') => (&text[..text.len() - 1], 86_400),
        _ => ("", 1),
    };
    let seconds = digits(number).and_then(|n| u32::try_from(n).ok()).and_then(|n| n.checked_mul(unit));
    seconds.filter(|&s| s > 0).ok_or_else(|| "a duration is a number with s, m, h or d: 15m".to_owned())
}

/// Bytes from `4096`, `512K`, `64M`, `1G` (powers of 1024, `MiB` and the like too); more than none.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[end..] {
        "" | "B" => Some(1),
        "K" | "k" | "KiB" => Some(1 << 10),
        "M" | "MiB" => Some(1 << 20),
        "G" | "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.and_then(|unit: u64| digits(&text[..end])?.checked_mul(unit));
    bytes.filter(|&b| b > 0).ok_or_else(|| "a size is a number of bytes, or with K, M or G: 64M".to_owned())
}

/// A mode in octal, permission bits only.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|&m| digits && m <= 0o7777);
    mode.ok_or_else(|| "a mode is up to four octal digits: 0640".to_owned())
}

/// A date or the beginning of one: the end of the span that it names.
pub(super) fn date(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_span_end(text)
        .map_err(|_| "a date is RFC 3339 or the beginning of it: 2026-11-24, 2026-11-24T15:04:05Z".to_owned())
}

/// `1.5 MiB`, for people.
pub(super) fn human(bytes: u64) -> String {
    let mut unit = "bytes";
    let (mut whole, mut tenth) = (bytes, 0);
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 1024 {
            break;
        }
        (whole, tenth, unit) = (whole / 1024, whole % 1024 * 10 / 1024, next);
    }
    if unit == "bytes" { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
}

/// `1 secret`, `2 secrets`.
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(90));
        assert_eq!(duration("15m"), Ok(900));
        assert_eq!(duration("8h"), Ok(28_800));
        assert_eq!(duration("1d"), Ok(86_400));
        for bad in ["", "15", "m", "0", "0m", "-1m", "+1m", "1w", "1.5h", "99999999d", "1é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for bad in ["", "M", "0", "-1", "1T", "99999999999999G", "1 M"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(human(1023), "1023 bytes");
        assert_eq!(human(1536), "1.5 KiB");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "secret")), ["0 secrets", "1 secret", "2 secrets"]);
    }

    #[test]
    fn modes() {
        assert_eq!(mode("0640"), Ok(0o640));
        for bad in ["", "8", "+7", "17777", "rw"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }
}
