//! `pkfs share allow`, `deny` and `rules`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use nix::unistd::{Group, User};
use serde::Serialize;

use super::super::super::context::{Access, Context, KeynodeArg};
use super::super::super::exit::DONE;
use super::super::super::output::{self, ListArgs, Row};
use super::ShareArgs;
use crate::error::{Error, Kind, Result};
use crate::node::{Condition, Rule, ShareChange, ShareName};
use crate::time::Timestamp;

/// Let processes see a share
///
/// All conditions of one rule must hold; several rules add up.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs share allow app.pk web --user www-data\n  pkfs share allow app.pk web --unit nginx.service --exe /usr/sbin/nginx --until 2027-01-31"
)]
pub(super) struct Allow {
    #[command(flatten)]
    pub(super) share: ShareArgs,
    #[command(flatten)]
    who: WhoArgs,
    /// Until the end of this day or moment: 2027-01-31, 2027-01-31T12:00Z
    #[arg(long, value_name = "DATE", value_parser = date)]
    until: Option<Timestamp>,
    /// They may write too
    #[arg(long)]
    write: bool,
}

/// Take rules back: those with exactly these conditions, or all of a share
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share deny app.pk web --user www-data\n  pkfs share deny app.pk web --all")]
pub(super) struct Deny {
    #[command(flatten)]
    pub(super) share: ShareArgs,
    #[command(flatten)]
    who: WhoArgs,
    /// All rules of the share
    #[arg(long, conflicts_with_all = ["uid", "gid", "user", "group", "cgroup", "unit", "container", "exe", "sha256"])]
    all: bool,
}

/// List the rules
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share rules app.pk")]
pub(super) struct Rules {
    #[command(flatten)]
    pub(super) keynode: KeynodeArg,
    /// Of this share alone
    #[arg(value_name = "NAME")]
    name: Option<ShareName>,
    #[command(flatten)]
    list: ListArgs,
}

/// Which processes.
#[derive(Debug, Args)]
struct WhoArgs {
    /// The user of this number
    #[arg(long, value_name = "UID")]
    uid: Option<OsString>,
    /// The group of this number, supplementary groups included
    #[arg(long, value_name = "GID")]
    gid: Option<OsString>,
    /// The user of this name
    #[arg(long, value_name = "NAME")]
    user: Option<OsString>,
    /// The group of this name
    #[arg(long, value_name = "NAME")]
    group: Option<OsString>,
    /// A cgroup's path: * within a component, ** across them
    #[arg(long, value_name = "GLOB")]
    cgroup: Option<OsString>,
    /// A systemd unit
    #[arg(long, value_name = "UNIT")]
    unit: Option<OsString>,
    /// A container's id, or its first 12 digits or more
    #[arg(long, value_name = "ID")]
    container: Option<OsString>,
    /// The program: the weakest, see `pkfs help shares`
    #[arg(long, value_name = "PATH")]
    exe: Option<OsString>,
    /// The program's SHA-256 digest
    #[arg(long, value_name = "DIGEST", requires = "exe")]
    sha256: Option<OsString>,
}

impl WhoArgs {
    fn conditions(&self) -> Result<Vec<Condition>> {
        let given = [
            ("uid", &self.uid),
            ("gid", &self.gid),
            ("user", &self.user),
            ("group", &self.group),
            ("cgroup", &self.cgroup),
            ("unit", &self.unit),
            ("container", &self.container),
            ("exe", &self.exe),
            ("sha256", &self.sha256),
        ];
        let given = given.into_iter().filter_map(|(word, value)| Some((word, value.as_ref()?)));
        given.map(|(word, value)| Condition::new(word, value.as_bytes())).collect()
    }
}

fn date(text: &str) -> std::result::Result<Timestamp, String> {
    Timestamp::parse_span_end(text).map_err(|_| "a date is wanted, such as 2027-01-31".to_owned())
}

impl Allow {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let rule = Rule::new(self.who.conditions()?, self.until, self.write)?;
        let without_effect = without_effect(&rule);
        let done = self.share.change(context, ShareChange::Allow, &[], |shares, name| {
            let share = shares.get_mut(name)?;
            // Allowing again sets date and writing anew.
            share.rules.retain(|other| other.conditions != rule.conditions);
            share.rules.push(rule);
            Ok(())
        })?;
        for why in without_effect {
            context.note(why);
        }
        Ok(done)
    }
}

/// Why a rule lets nobody in, here and now. It may be meant for another machine.
fn without_effect(rule: &Rule) -> Vec<String> {
    let passed = rule.until.filter(|until| *until <= Timestamp::now());
    let passed = passed.map(|until| format!("the rule gives nothing: {} has passed", until.to_rfc3339()));
    let unknown = rule.conditions.iter().filter_map(|condition| match condition {
        Condition::User(name) if matches!(User::from_name(name), Ok(None)) => {
            Some(format!("no user is called {name} on this machine"))
        }
        Condition::Group(name) if matches!(Group::from_name(name), Ok(None)) => {
            Some(format!("no group is called {name} on this machine"))
        }
        Condition::Unit(name) if !name.contains('.') => {
            Some(format!("no unit is called {name}: its type belongs to its name, as in {name}.service"))
        }
        Condition::Exe(path) if !Path::new(OsStr::from_bytes(path)).exists() => {
            Some(format!("there is no {} on this machine", Path::new(OsStr::from_bytes(path)).display()))
        }
        _ => None,
    });
    passed.into_iter().chain(unknown).collect()
}

impl Deny {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let mut conditions = self.who.conditions()?;
        if conditions.is_empty() && !self.all {
            return Err(Error::new(Kind::Invalid, "which rule?").hint("--user, --uid … as it was allowed, or --all"));
        }
        conditions.sort_unstable();
        self.share.change(context, ShareChange::Deny, &[], |shares, name| {
            let share = shares.get_mut(name)?;
            let before = share.rules.len();
            share.rules.retain(|rule| !self.all && rule.conditions != conditions);
            if share.rules.len() == before && !self.all {
                return Err(Error::not_found(format!("{name}: no rule with exactly these conditions"))
                    .hint(format!("`pkfs share rules KEYNODE {name}` lists them")));
            }
            Ok(())
        })
    }
}

impl Rules {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Read)?;
        let shares = keynode.shares(&keynode.snapshot())?;
        if let Some(name) = &self.name {
            shares.get(name)?;
        }
        let wanted = shares.0.iter().filter(|(name, _)| self.name.as_ref().is_none_or(|wanted| wanted == *name));
        let rows: Vec<Line> =
            wanted.flat_map(|(name, share)| share.rules.iter().map(|rule| Line::new(name, rule))).collect();
        output::list(&rows, self.list)?;
        Ok(DONE)
    }
}

#[derive(Debug, Serialize)]
struct Line {
    share: String,
    conditions: Vec<String>,
    write: bool,
    until: Option<String>,
}

impl Line {
    fn new(name: &ShareName, rule: &Rule) -> Self {
        Self {
            share: name.to_string(),
            conditions: rule.conditions.iter().map(ToString::to_string).collect(),
            write: rule.write,
            until: rule.until.map(Timestamp::to_rfc3339),
        }
    }
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &["share", "conditions", "access", "until"];

    fn cells(&self) -> Vec<String> {
        let access = if self.write { "write" } else { "read" };
        vec![self.share.clone(), self.conditions.join(" "), access.to_owned(), self.until.clone().unwrap_or_default()]
    }
}
