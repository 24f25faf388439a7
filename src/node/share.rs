//! Shares: named subsets of a keynode, and the rules that give them to processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use glob::Pattern;

use super::name::ItemPath;
use super::quote::quoted;
use crate::crypto::Sha256;
use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// What a share is called: 1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName(String);

impl ShareName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShareName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if plain && text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        let what = quoted(text.as_bytes().get(..70).unwrap_or(text.as_bytes()));
        Err(Error::new(Kind::Invalid, format!("{what} cannot be the name of a share"))
            .hint("1 to 64 letters, digits, dots, underlines and hyphens, the first a letter or a digit"))
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that must hold of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its file system user.
    Uid(u32),
    /// Its file system group, or one of its supplementary groups.
    Gid(u32),
    /// The user of this name, on the machine of the mount.
    User(String),
    /// The group of this name, likewise.
    Group(String),
    /// Its cgroup's path matches this pattern: `*` within a component, `**` across them.
    Cgroup(String),
    /// It belongs to this systemd unit.
    Unit(String),
    /// It belongs to the container with this id, or one that begins so (12 digits at least).
    Container(String),
    /// The program that it runs: an absolute path on the machine of the mount.
    Exe(Vec<u8>),
    /// The digest of that program.
    Sha256(Sha256),
}

/// Gives a share to processes for which all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// One at least, sorted, each kind at most once.
    pub conditions: Vec<Condition>,
    /// The last moment at which it holds.
    pub until: Option<Timestamp>,
    /// Whether they may write too.
    pub write: bool,
}

impl Condition {
    /// The word before its value, as a rule is written.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Uid(_) => "uid",
            Self::Gid(_) => "gid",
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Cgroup(_) => "cgroup",
            Self::Unit(_) => "unit",
            Self::Container(_) => "container",
            Self::Exe(_) => "exe",
            Self::Sha256(_) => "sha256",
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`Kind::Invalid`]: an unknown word, or not a value for it.
    pub fn new(word: &str, value: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::new(Kind::Invalid, format!("{word} {}: {what}", quoted(value)));
        let text = || {
            let text = std::str::from_utf8(value).ok().filter(|text| !text.chars().any(char::is_control));
            text.filter(|text| !text.is_empty() && text.len() <= 4096).ok_or_else(|| wrong("not a text"))
        };
        let number = || match text()?.parse() {
            Ok(u32::MAX) => Err(wrong("nobody's number")),
            parsed => parsed.map_err(|_| wrong("not a number")),
        };
        Ok(match word {
            "uid" => Self::Uid(number()?),
            "gid" => Self::Gid(number()?),
            "user" => Self::User(text()?.to_owned()),
            "group" => Self::Group(text()?.to_owned()),
            "cgroup" if value.starts_with(b"/") || value.starts_with(b"*") => {
                Pattern::new(text()?).map_err(|e| wrong(e.msg))?;
                Self::Cgroup(text()?.to_owned())
            }
            "cgroup" => return Err(wrong("a cgroup's path begins with a slash, or with **")),
            "unit" if !value.contains(&b'/') => Self::Unit(text()?.to_owned()),
            "unit" => return Err(wrong("not the name of a unit")),
            "container" => {
                let text = text()?.to_ascii_lowercase();
                if !(12..=64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(wrong("12 to 64 hexadecimal digits of a container's id are wanted"));
                }
                Self::Container(text)
            }
            "exe" if value.starts_with(b"/") && value.len() <= 4096 && !value.contains(&0) => Self::Exe(value.to_vec()),
            "exe" => return Err(wrong("an absolute path is wanted")),
            "sha256" => Self::Sha256(text()?.parse().map_err(|_| wrong("64 hexadecimal digits are wanted"))?),
            _ => return Err(wrong("unknown")),
        })
    }

    /// The value, as a rule is written.
    pub fn value(&self) -> Vec<u8> {
        match self {
            Self::Uid(id) | Self::Gid(id) => id.to_string().into_bytes(),
            Self::User(text) | Self::Group(text) | Self::Cgroup(text) | Self::Unit(text) | Self::Container(text) => {
                text.clone().into_bytes()
            }
            Self::Exe(path) => path.clone(),
            Self::Sha256(digest) => digest.to_string().into_bytes(),
        }
    }
}

/// As on the command line: `uid=33`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.word(), quoted(&self.value()))
    }
}

impl Rule {
    /// A rule with these conditions, in any order.
    ///
    /// # Errors
    /// [`Kind::Invalid`]: none, two of a kind, or a digest without a program.
    pub fn new(mut conditions: Vec<Condition>, until: Option<Timestamp>, write: bool) -> Result<Self> {
        conditions.sort_unstable();
        if conditions.is_empty() {
            return Err(Error::new(Kind::Invalid, "a rule without a condition would let everybody in")
                .hint("--uid, --gid, --user, --group, --cgroup, --unit, --container or --exe"));
        }
        if let Some(pair) = conditions.windows(2).find(|pair| pair[0].word() == pair[1].word()) {
            return Err(Error::new(Kind::Invalid, format!("two of {} in one rule", pair[0].word()))
                .hint("all conditions of a rule must hold; make two rules"));
        }
        let has = |word| conditions.iter().any(|condition: &Condition| condition.word() == word);
        if has("sha256") && !has("exe") {
            return Err(Error::new(Kind::Invalid, "a digest needs the program that it is of").hint("--exe PATH"));
        }
        Ok(Self { conditions, until, write })
    }
}

/// Conditions with blanks between them, `write` and `until=DATE` behind.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, condition) in self.conditions.iter().enumerate() {
            write!(f, "{}{condition}", if n == 0 { "" } else { " " })?;
        }
        if self.write {
            f.write_str(" write")?;
        }
        self.until.map_or(Ok(()), |until| write!(f, " until={}", until.to_rfc3339()))
    }
}

/// A named subset of a keynode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Each covers what has this path and all that is below it, whether it is there yet or not.
    pub paths: BTreeSet<ItemPath>,
    /// To which processes it belongs: to those for which any of them holds.
    pub rules: Vec<Rule>,
    /// Run by the mount when a secret of the share is opened, or refused.
    pub alert: Option<String>,
}

/// The most shares that a mount with rules tells apart.
pub const MOST_SHARES: usize = 128;

/// The shares of a keynode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares(pub BTreeMap<ShareName, Share>);

impl Share {
    /// Whether what has this path belongs to the share.
    pub fn covers(&self, path: &ItemPath) -> bool {
        let components = path.components();
        self.paths.iter().any(|covered| components.starts_with(covered.components()))
    }
}

impl Shares {
    /// The share of this name.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn get(&self, name: &ShareName) -> Result<&Share> {
        self.0.get(name).ok_or_else(|| missing(name))
    }

    /// The share of this name, to be changed.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn get_mut(&mut self, name: &ShareName) -> Result<&mut Share> {
        self.0.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Whether any share carries an alert.
    pub fn has_alerts(&self) -> bool {
        self.0.values().any(|share| share.alert.is_some())
    }

    /// Whether any process is given anything.
    pub fn has_rules(&self) -> bool {
        self.0.values().any(|share| !share.rules.is_empty())
    }
}

fn missing(name: &ShareName) -> Error {
    Error::not_found(format!("{name}: no such share")).hint("`pkfs share list` shows them")
}
