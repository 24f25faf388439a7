//! Which shares cover what, compiled for quick answers.
//!
//! A set of shares is a word of bits. Of a directory two sets matter: the shares that cover it *whole*, and those that
//! show it at all, because they cover something below it. Where both are the same, everything below looks alike to all
//! who get that far, and the kernel may keep its attributes; elsewhere a directory is a gate.

use std::collections::HashMap;
use std::sync::Arc;

use log::warn;

use super::callers::{Who, compile};
use crate::error::{Error, Kind, Result};
use crate::node::{MOST_SHARES, Name, ShareName, Shares};
use crate::time::Timestamp;

/// A set of shares, one bit each.
pub(super) type Set = u128;

const _: () = assert!(MOST_SHARES == Set::BITS as usize);

/// The shares of a keynode as a mount sees them.
#[derive(Debug, Default)]
pub(super) struct Views {
    names: Vec<ShareName>,
    alerts: Vec<Option<Arc<str>>>,
    tree: Branch,
    rules: Vec<Rule>,
}

/// A rule, ready to be asked.
#[derive(Debug)]
struct Rule {
    share: Set,
    who: Who,
    until: Option<Timestamp>,
    write: bool,
    /// How people write it.
    text: String,
}

impl Rule {
    /// Whether its time has not ended.
    fn stands(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now <= until)
    }
}

/// A path component below which some share has something.
#[derive(Debug, Default)]
struct Branch {
    /// Shares that have exactly this path.
    here: Set,
    /// Shares that have this path or one below it.
    below: Set,
    children: HashMap<Name, Branch>,
}

/// What shares have to do with one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// They cover it, and all that is below it.
    pub(super) whole: Set,
    /// They cover it or something below it.
    pub(super) some: Set,
}

impl Sight {
    /// The shares that show a directory (`directory`) or anything else.
    pub(super) const fn shown(self, directory: bool) -> Set {
        if directory { self.some } else { self.whole }
    }

    /// Whether all who may pass see the same below.
    pub(super) const fn is_uniform(self) -> bool {
        self.whole == self.some
    }
}

/// What a caller was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) read: Set,
    pub(super) write: Set,
}

impl Grant {
    /// Whether any of these shares may be read, or written.
    pub(super) const fn has(self, shares: Set, write: bool) -> bool {
        (if write { self.write } else { self.read }) & shares != 0
    }

    /// Whether a directory (`directory`) or anything else may be seen.
    pub(super) const fn shows(self, sight: Sight, directory: bool) -> bool {
        self.has(sight.shown(directory), false)
    }
}

impl Views {
    /// Compiles the shares and rules.
    ///
    /// # Errors
    /// [`Kind::Invalid`]: more shares than a mount can tell apart.
    pub(super) fn new(shares: &Shares) -> Result<Self> {
        let mut views = Self::without_rules(shares)?;
        for (number, (name, share)) in shares.0.iter().enumerate() {
            for rule in &share.rules {
                let text = format!("{name}: {rule}");
                match compile(&rule.conditions) {
                    Ok(who) => {
                        let share = 1 << number;
                        views.rules.push(Rule { share, who, until: rule.until, write: rule.write, text });
                    }
                    // Fail closed: nobody gets anything by it.
                    Err(error) => warn!("the rule {text} lets nobody in: {error}"),
                }
            }
        }
        // Cheap questions first.
        views.rules.sort_by_key(|rule| rule.who.cost());
        Ok(views)
    }

    /// Compiles what the shares cover, for who asks of nothing else.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub(super) fn without_rules(shares: &Shares) -> Result<Self> {
        if shares.0.len() > MOST_SHARES {
            let text =
                format!("{} shares are more than the {MOST_SHARES} that one mount can tell apart", shares.0.len());
            return Err(Error::new(Kind::Invalid, text).hint("mount them one by one with --view"));
        }
        let mut views = Self::default();
        for (number, (name, share)) in shares.0.iter().enumerate() {
            let bit = 1 << number;
            views.names.push(name.clone());
            views.alerts.push(share.alert.as_deref().map(Arc::from));
            for path in &share.paths {
                let mut branch = &mut views.tree;
                branch.below |= bit;
                for component in path.components() {
                    branch = branch.children.entry(component.clone()).or_default();
                    branch.below |= bit;
                }
                branch.here |= bit;
            }
        }
        Ok(views)
    }

    /// What shares have to do with a path.
    pub(super) fn sight<'a>(&self, path: impl IntoIterator<Item = &'a Name>) -> Sight {
        let mut at = Some(&self.tree);
        let mut whole = self.tree.here;
        for component in path {
            at = at.and_then(|branch| branch.children.get(component));
            whole |= at.map_or(0, |branch| branch.here);
        }
        Sight { whole, some: whole | at.map_or(0, |branch| branch.below) }
    }

    /// What a caller is given at this moment, and by which rules.
    pub(super) fn grant(&self, now: Timestamp, holds: impl Fn(&Who) -> bool, mut by: impl FnMut(&str)) -> Grant {
        let mut grant = Grant { read: 0, write: 0 };
        for rule in &self.rules {
            if rule.stands(now) && holds(&rule.who) {
                grant.read |= rule.share;
                grant.write |= if rule.write { rule.share } else { 0 };
                by(&rule.text);
            }
        }
        grant
    }

    /// Whether a caller is given any of these shares at this moment. No more rules are asked than that takes.
    pub(super) fn give(&self, now: Timestamp, holds: impl Fn(&Who) -> bool, shares: Set, write: bool) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.share & shares != 0 && (rule.write || !write));
        rules.any(|rule| rule.stands(now) && holds(&rule.who))
    }

    /// Why the rules of these shares do not hold for a caller at this moment, those of them that do not.
    pub(super) fn refusals(&self, now: Timestamp, holds: impl Fn(&Who) -> bool, shares: Set) -> Vec<String> {
        let rules = self.rules.iter().filter(|rule| rule.share & shares != 0);
        let why = |rule: &Rule| match (rule.stands(now), holds(&rule.who)) {
            (true, true) => None,
            (true, false) => Some(format!("{} (another caller)", rule.text)),
            (false, true) => Some(format!("{} (has ended)", rule.text)),
            (false, false) => Some(format!("{} (another caller, and has ended)", rule.text)),
        };
        rules.filter_map(why).collect()
    }

    /// Shares that give somebody the right to write.
    pub(super) fn written(&self) -> Set {
        self.rules.iter().filter(|rule| rule.write).fold(0, |set, rule| set | rule.share)
    }

    /// What these shares are called.
    pub(super) fn names_of(&self, shares: Set) -> impl Iterator<Item = &ShareName> {
        self.names.iter().enumerate().filter(move |(number, _)| shares >> number & 1 == 1).map(|(_, name)| name)
    }

    /// What is to be run when something with these shares is opened or refused.
    pub(super) fn alerts(&self, shares: Set) -> impl Iterator<Item = (&ShareName, &Arc<str>)> {
        let set = self.names.iter().zip(&self.alerts).enumerate().filter(move |(number, _)| shares >> number & 1 == 1);
        set.filter_map(|(_, (name, alert))| Some((name, alert.as_ref()?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::node::{ItemPath, Share};

    fn views(shares: &[(&str, &[&str])]) -> Views {
        let mut all = Shares::default();
        for (name, paths) in shares {
            let paths = paths.iter().map(|path| ItemPath::parse(path.as_bytes()).unwrap()).collect();
            all.0.insert(name.parse().unwrap(), Share { paths, ..Share::default() });
        }
        Views::new(&all).unwrap()
    }

    fn sight(views: &Views, path: &str) -> (Set, Set) {
        let path = ItemPath::parse(path.as_bytes()).unwrap();
        let sight = views.sight(path.components());
        (sight.whole, sight.some)
    }

    #[test]
    fn covered_is_what_is_below_and_shown_is_what_leads_there() {
        let views = views(&[("a", &["web", "db/web"]), ("b", &["db"]), ("c", &["/"])]);
        assert_eq!(sight(&views, ""), (0b100, 0b111));
        assert_eq!(sight(&views, "web"), (0b101, 0b101));
        assert_eq!(sight(&views, "web/deep/er"), (0b101, 0b101));
        assert_eq!(sight(&views, "db"), (0b110, 0b111));
        assert_eq!(sight(&views, "db/web"), (0b111, 0b111));
        assert_eq!(sight(&views, "db/other"), (0b110, 0b110));
        assert_eq!(sight(&views, "webs"), (0b100, 0b100));
        let directory = views.sight(ItemPath::parse(b"db").unwrap().components());
        let a = Grant { read: 1, write: 0 };
        assert!(a.shows(directory, true) && !a.shows(directory, false) && !a.has(directory.whole, true));
    }

    #[test]
    fn more_shares_than_bits_are_refused() {
        let mut all = Shares::default();
        for number in 0..=MOST_SHARES {
            all.0.insert(format!("s{number}").parse().unwrap(), Share::default());
        }
        assert_eq!(Views::new(&all).unwrap_err().kind(), Kind::Invalid);
    }
}
