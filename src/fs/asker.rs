//! Somebody who asks, and what the shares of one moment give him.

use std::cell::OnceCell;
use std::sync::Arc;

use super::callers::Process;
use super::views::{Grant, Set, Sight, Views};
use crate::time::Timestamp;

/// What somebody is given, and the shares that it is about.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) views: Arc<Views>,
    pub(super) grant: Grant,
}

/// A caller before the shares of one moment. Rules are asked as far as an answer needs them, and each once.
pub(super) struct Asker<'a> {
    pub(super) process: Process<'a>,
    views: Option<Arc<Views>>,
    /// Everything is given, and no rules are asked.
    owns: bool,
    now: Timestamp,
    held: OnceCell<(Grant, Vec<String>)>,
}

impl<'a> Asker<'a> {
    /// `owns`: everything is given.
    pub(super) fn new(process: Process<'a>, views: Option<Arc<Views>>, owns: bool) -> Self {
        Self { process, views, owns, now: Timestamp::now(), held: OnceCell::new() }
    }

    fn asked(&self) -> Option<&Arc<Views>> {
        self.views.as_ref().filter(|_| !self.owns)
    }

    /// Whether a directory (`directory`) or anything else may be seen.
    pub(super) fn sees(&self, sight: Sight, directory: bool) -> bool {
        self.has(sight.shown(directory), false)
    }

    /// Whether it may be changed.
    pub(super) fn writes(&self, sight: Sight) -> bool {
        self.has(sight.whole, true)
    }

    fn has(&self, shares: Set, write: bool) -> bool {
        let Some(views) = self.asked() else { return self.owns };
        match self.held.get() {
            Some((grant, _)) => grant.has(shares, write),
            None => views.give(self.now, |who| self.process.is(who), shares, write),
        }
    }

    /// All that is given; `None`: everything.
    pub(super) fn given(&self) -> Option<Given> {
        let views = self.asked()?.clone();
        Some(Given { grant: self.held(&views).0, views })
    }

    /// The rules that hold, as people write them; `None`: none are asked.
    pub(super) fn rules(&self) -> Option<&[String]> {
        self.asked().map(|views| self.held(views).1.as_slice())
    }

    /// The rules of these shares that do not hold, and why, as people write them.
    pub(super) fn refusals(&self, shares: Set) -> Vec<String> {
        self.asked().map(|views| views.refusals(self.now, |who| self.process.is(who), shares)).unwrap_or_default()
    }

    fn held(&self, views: &Views) -> &(Grant, Vec<String>) {
        self.held.get_or_init(|| {
            let mut rules = Vec::new();
            let grant = views.grant(self.now, |who| self.process.is(who), |rule| rules.push(rule.to_owned()));
            (grant, rules)
        })
    }
}
