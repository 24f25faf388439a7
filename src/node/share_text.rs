//! `shares.pgp`: the lines that say which shares there are.
//!
//! Fields are separated by tabs; paths, values and commands are quoted as paths are in the namespace.
//!
//! | line | fields |
//! |---|---|
//! | `share` | name |
//! | `path` | share, path (`/` is the top) |
//! | `rule` | share, conditions `word=value`, then perhaps `until=<time>` and `write` |
//! | `alert` | share, command |
//!
//! A share's own line comes before the others. A line of another kind is refused: whoever does not understand a rule must
//! not decide by the rest.

use super::name::ItemPath;
use super::quote::{quote, quoted, unquote};
use super::share::{Condition, Rule, Share, ShareName, Shares};
use crate::crypto::Locked;
use crate::error::{Error, Kind, Result};

impl Shares {
    /// Reads the lines.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: a line is not understood.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let mut shares = Self::default();
        for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            shares.line(line).ok_or_else(|| {
                let word = line.split(|&b| b == b'\t').next().unwrap_or_default();
                Error::new(
                    Kind::Damaged,
                    format!("a line {} of the shares is not understood", quoted(&word[..word.len().min(20)])),
                )
                .hint("a newer pkfs may have written it")
            })?;
        }
        Ok(shares)
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let mut fields = line.split(|&b| b == b'\t');
        let word = fields.next()?;
        let name: ShareName = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        if word == b"share" {
            return (fields.next().is_none() && self.0.insert(name, Share::default()).is_none()).then_some(());
        }
        let share = self.0.get_mut(&name)?;
        match word {
            b"path" => {
                let path = match fields.next()? {
                    b"/" => ItemPath::root(),
                    field => ItemPath::parse(&unquote(field)?).ok()?,
                };
                share.paths.insert(path).then_some(())?;
            }
            b"alert" => share.alert = Some(String::from_utf8(unquote(fields.next()?)?).ok()?),
            b"rule" => share.rules.push(rule(fields.by_ref())?),
            _ => return None,
        }
        fields.next().is_none().then_some(())
    }

    /// Writes the lines.
    pub(super) fn write(&self) -> Locked {
        let mut text = Vec::new();
        for (name, share) in &self.0 {
            text.extend_from_slice(format!("share\t{name}\n").as_bytes());
            for path in &share.paths {
                text.extend_from_slice(format!("path\t{name}\t").as_bytes());
                if path.is_root() {
                    text.push(b'/');
                } else {
                    quote(&path.to_bytes(), &mut text);
                }
                text.push(b'\n');
            }
            for rule in &share.rules {
                text.extend_from_slice(format!("rule\t{name}").as_bytes());
                for condition in &rule.conditions {
                    text.extend_from_slice(format!("\t{}=", condition.word()).as_bytes());
                    quote(&condition.value(), &mut text);
                }
                if let Some(until) = rule.until {
                    text.extend_from_slice(format!("\tuntil={until}").as_bytes());
                }
                if rule.write {
                    text.extend_from_slice(b"\twrite");
                }
                text.push(b'\n');
            }
            if let Some(alert) = &share.alert {
                text.extend_from_slice(format!("alert\t{name}\t").as_bytes());
                quote(alert.as_bytes(), &mut text);
                text.push(b'\n');
            }
        }
        Locked::from_slice(&text)
    }
}

fn rule<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Rule> {
    let (mut conditions, mut until, mut write) = (Vec::new(), None, false);
    for field in fields {
        if field == b"write" {
            write = true;
            continue;
        }
        let at = field.iter().position(|&b| b == b'=')?;
        let (word, value) = (std::str::from_utf8(&field[..at]).ok()?, &field[at + 1..]);
        if word == "until" {
            until = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
        } else {
            conditions.push(Condition::new(word, &unquote(value)?).ok()?);
        }
    }
    Rule::new(conditions, until, write).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut shares = Shares::default();
        let mut share = Share::default();
        for path in [&b"db/password"[..], b"web", b"", b"odd\tname\xff"] {
            share.paths.insert(ItemPath::parse(path).unwrap());
        }
        let condition = |word, value: &[u8]| Condition::new(word, value).unwrap();
        let digest = "ab".repeat(32);
        for (conditions, until, write) in [
            (vec![condition("uid", b"33")], None, false),
            (vec![condition("user", "wörld".as_bytes()), condition("gid", b"4")], None, true),
            (
                vec![condition("sha256", digest.as_bytes()), condition("exe", b"/usr/s bin/\xffx")],
                Some("1800000000.500000000".parse().unwrap()),
                false,
            ),
            (vec![condition("cgroup", b"/system.slice/*.service"), condition("unit", b"web@1.service")], None, false),
            (vec![condition("container", b"0123456789ab")], None, false),
        ] {
            share.rules.push(Rule::new(conditions, until, write).unwrap());
        }
        share.alert = Some("logger -t pkfs \"opened\"\n".to_owned());
        shares.0.insert("web".parse().unwrap(), share);
        shares.0.insert("empty-1".parse().unwrap(), Share::default());
        assert_eq!(Shares::parse(&shares.write()).unwrap(), shares);
        assert_eq!(Shares::parse(b"").unwrap(), Shares::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_whole() {
        for bad in [
            &b"share"[..],
            b"share\t.hidden",
            b"share\ta\nshare\ta",
            b"path\ta\tx",
            b"share\ta\npath\ta\t../x",
            b"share\ta\nrule\ta",
            b"share\ta\nrule\ta\tuid=x",
            b"share\ta\nrule\ta\tuid=1\tuid=2",
            b"share\ta\nrule\ta\tunless=1",
            b"share\ta\nrule\ta\tsha256=00",
            b"share\ta\nrule\ta\twrite",
            b"share\ta\nrule\ta\tuid=1\tuntil=soon",
            b"share\ta\nwhatever\ta",
        ] {
            assert_eq!(Shares::parse(bad).unwrap_err().kind(), Kind::Damaged, "{}", quoted(bad));
        }
    }
}
