//! A host's own rules, given at mount in place of the keynode's.
//!
//! ```toml
//! [share.web]
//! paths = ["web/tls", "db/web-password"]
//! alert = "logger -t pkfs"
//!
//! [[share.web.allow]]
//! user = "www-data"
//! until = "2027-01-31"
//! write = false
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::node::{Condition, ItemPath, Rule, Share, ShareName, Shares};
use crate::time::Timestamp;

/// The largest file that is read, in bytes.
const LONGEST: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    share: BTreeMap<String, ShareTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareTable {
    paths: Vec<String>,
    alert: Option<String>,
    #[serde(default)]
    allow: Vec<AllowTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowTable {
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    cgroup: Option<String>,
    unit: Option<String>,
    container: Option<String>,
    exe: Option<String>,
    sha256: Option<String>,
    until: Option<String>,
    #[serde(default)]
    write: bool,
}

/// Reads shares and rules.
///
/// # Errors
///
/// The file cannot be read, or something in it is not understood: then no rule of it counts.
pub(super) fn read(path: &Path) -> Result<Shares> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    if text.len() as u64 > LONGEST {
        return Err(Error::new(Kind::TooLarge, format!("{}: too large for a file with rules", path.display())));
    }
    parse(&text).map_err(|error| error.at(path.display()))
}

fn parse(text: &str) -> Result<Shares> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().and_then(|span| Some(text.get(..span.start)?.matches('\n').count() + 1));
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        Error::new(Kind::Invalid, format!("{place}{}", error.message()))
            .hint("`pkfs help rules` shows what is wanted")
            .because(error)
    })?;
    let mut shares = Shares::default();
    for (name, table) in file.share {
        let name: ShareName = name.parse()?;
        let paths = table.paths.iter().map(|path| ItemPath::parse(path.as_bytes())).collect::<Result<_>>();
        let at = |error: Error| error.at(format!("share {name}"));
        let rule = |(n, rule): (usize, &AllowTable)| rule.rule().map_err(|e| at(e.at(format!("rule {}", n + 1))));
        let rules = table.allow.iter().enumerate().map(rule).collect::<Result<_>>()?;
        let share = Share { paths: paths.map_err(at)?, rules, alert: table.alert };
        shares.0.insert(name, share);
    }
    Ok(shares)
}

impl AllowTable {
    fn rule(&self) -> Result<Rule> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let given = [
            ("uid", number(self.uid)),
            ("gid", number(self.gid)),
            ("user", self.user.clone()),
            ("group", self.group.clone()),
            ("cgroup", self.cgroup.clone()),
            ("unit", self.unit.clone()),
            ("container", self.container.clone()),
            ("exe", self.exe.clone()),
            ("sha256", self.sha256.clone()),
        ];
        let given = given.into_iter().filter_map(|(word, value)| Some((word, value?)));
        let conditions = given.map(|(word, value)| Condition::new(word, value.as_bytes())).collect::<Result<_>>()?;
        let until = self.until.as_deref().map(Timestamp::parse_span_end).transpose();
        let until = until.map_err(|_| Error::new(Kind::Invalid, "until is no date such as 2027-01-31"))?;
        Rule::new(conditions, until, self.write)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place() {
        let of = |text: &str| parse(text).unwrap_err().to_string();
        let wrong = of("[share.web]\npaths = [\"a\"]\n[[share.web.allow]]\nusr = \"x\"\n");
        assert!(wrong.starts_with("line 4: ") && wrong.contains("usr"), "{wrong}");
        let wrong = of("[share.web]\npaths = []\n[[share.web.allow]]\nuid = 1\n[[share.web.allow]]\nexe = \"x\"\n");
        assert!(wrong.starts_with("share web: rule 2: exe"), "{wrong}");
    }

    #[test]
    fn the_example_is_understood() {
        let text = "[share.web]\npaths = [\"web/tls\"]\nalert = \"logger\"\n[[share.web.allow]]\nuser = \"www-data\"\n\
                    until = \"2027-01-31\"\n[[share.web.allow]]\nuid = 7\nexe = \"/bin/x\"\nwrite = true\n";
        let shares = parse(text).unwrap();
        let share = &shares.0[&"web".parse().unwrap()];
        assert_eq!(share.rules.len(), 2);
        assert!(share.rules[1].write && share.rules[0].until.is_some() && share.alert.is_some());
        assert!(share.covers(&ItemPath::parse(b"web/tls/key").unwrap()));
    }

    #[test]
    fn what_is_not_understood_is_refused_whole() {
        for bad in [
            "[share.web]\n",
            "[share.\".x\"]\npaths = []",
            "[share.web]\npaths = [\"../x\"]",
            "[share.web]\npaths = []\ndeny = 1",
            "[share.web]\npaths = []\n[[share.web.allow]]\n",
            "[share.web]\npaths = []\n[[share.web.allow]]\nuid = -1",
            "[share.web]\npaths = []\n[[share.web.allow]]\nuid = 1\nuntil = \"soon\"",
            "[share.web]\npaths = []\n[[share.web.allow]]\nuid = 1\nunless = 2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
