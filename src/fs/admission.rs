//! Who may see what, on a mount with rules.
//!
//! The kernel's cache of names is shared by all callers, so that a name is never denied while the kernel holds it: that
//! would take it away from everybody, with working directories and mounts below. Instead a directory whose visibility or
//! content differs between callers is a *gate*: its attributes are never kept, the kernel asks for them with the
//! credentials of whoever walks through, and the answer goes to that caller alone. Opening is always decided.

use std::cell::RefCell;
use std::sync::Arc;

use log::{info, warn};
use parking_lot::{Mutex, RwLock};

use super::FileSystem;
use super::alert::Alerts;
use super::audit::{Audit, Record};
use super::callers::{Callers, Process};
use super::sight::Seen;
use super::state::{Directory, State};
use super::types::{Caller, Entry, HandleId, Ino, Notice, RenameMode};
use super::views::{Grant, Set, Views};
use crate::error::{Error, Kind, Result};
use crate::node::{ItemPath, Name, Sha256, ShareName, Shares};
use crate::time::Timestamp;

/// What a request wants of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// What was decided before, or tells nothing: forgetting, reading from what is open, closing.
    Nothing,
    /// Attributes. Whoever has a file open may ask, and whoever was handed it.
    See,
    /// To open it, or to read a link.
    Read,
    /// To change its content or attributes.
    Write,
    /// To change what the request's name in this directory leads to.
    Change,
}

/// Rules in force.
pub(super) struct Rules {
    views: RwLock<Arc<Views>>,
    /// What they were made of; `None`: given at mount, once and for all.
    made_of: Mutex<Option<Sha256>>,
    callers: Callers,
    /// The user who mounted.
    mounter: u32,
}

impl Rules {
    pub(super) fn views(&self) -> Arc<Views> {
        self.views.read().clone()
    }

    /// Whether a caller is whoever mounted.
    pub(super) const fn is_mounter(&self, caller: Caller) -> bool {
        caller.uid == self.mounter
    }

    pub(super) fn process(&self, caller: Caller) -> Process<'_> {
        self.callers.process(caller)
    }

    fn grant(&self, caller: Caller) -> Grant {
        if self.is_mounter(caller) {
            return Grant::ALL;
        }
        let process = self.process(caller);
        self.views().grant(Timestamp::now(), |who| process.is(who), |_| ())
    }
}

impl FileSystem {
    /// Puts rules in force: those of the keynode, which are followed as they change, or these.
    ///
    /// # Errors
    /// `Damaged`: the keynode's cannot be read. `Invalid`: too many shares.
    pub fn with_rules(mut self, given: Option<&Shares>) -> Result<Self> {
        let snapshot = self.keynode.snapshot();
        let made_of = given.is_none().then(|| snapshot.shares_digest()).flatten();
        let views = Arc::new(match given {
            Some(shares) => Views::new(shares)?,
            None => Views::new(&*self.keynode.shares(&snapshot)?)?,
        });
        self.state.get_mut().views = Some(views.clone());
        self.rules = Some(Rules {
            views: RwLock::new(views),
            made_of: Mutex::new(made_of),
            callers: Callers::default(),
            mounter: rustix::process::geteuid().as_raw(),
        });
        Ok(self)
    }

    /// Whether each open must be decided.
    pub fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Follows a change of the keynode's shares. What cannot be read lets nobody in.
    pub(super) fn renew_rules(&self) {
        let Some(rules) = &self.rules else { return };
        let snapshot = self.keynode.snapshot();
        let mut made_of = rules.made_of.lock();
        if made_of.is_none() || *made_of == snapshot.shares_digest() {
            return;
        }
        let views = self.keynode.shares(&snapshot).and_then(|shares| Views::new(&shares)).unwrap_or_else(|error| {
            warn!("{error}; only who mounted sees anything until that is mended");
            Views::default()
        });
        info!("the rules have changed");
        let views = Arc::new(views);
        *made_of = snapshot.shares_digest();
        *rules.views.write() = views.clone();
        self.state.lock().show_by(views, &self.notices);
    }

    /// Decides a request of a caller about an inode, or a name in it, and records it where that is wanted.
    ///
    /// # Errors
    /// `NotFound`: it is not there for this caller. `ReadOnly`: it is, but not to be changed. `Failed`: it could not be
    /// recorded.
    pub fn admit(&self, caller: Caller, ino: Ino, name: Option<&[u8]>, want: Want) -> Result<()> {
        if want == Want::Nothing || (self.rules.is_none() && self.audit.is_none()) {
            return Ok(());
        }
        let (decided, seen) = self.decide(caller, ino, name, want)?;
        let opens = matches!(want, Want::Read | Want::Write);
        if opens || decided.is_err() {
            self.witness(caller, ino, name, want, decided.is_ok(), &seen)?;
        }
        decided
    }

    fn decide(&self, caller: Caller, ino: Ino, name: Option<&[u8]>, want: Want) -> Result<(Result<()>, Seen)> {
        let grant = self.rules.as_ref().map_or(Grant::ALL, |rules| rules.grant(caller));
        let state = self.state.lock();
        if grant.is_all() && self.audit.is_none() && self.alerts.is_none() {
            return Ok((Ok(()), Seen::default()));
        }
        let seen = state.seen(ino);
        let shown = seen.is_root || grant.shows(seen.sight, seen.directory) || want == Want::See && seen.open;
        if !shown {
            return Ok((Err(hidden()), seen));
        }
        let sight = match (want, name) {
            (Want::Write, _) => seen.sight,
            (Want::Change, Some(name)) => state.sight_below(ino, &Name::new(name)?),
            _ => return Ok((Ok(()), seen)),
        };
        let refused = || Error::new(Kind::ReadOnly, "no rule lets this caller write here");
        Ok((if grant.writes(sight) { Ok(()) } else { Err(refused()) }, seen))
    }

    /// Records a decision, and trips the wires of the shares that it is about.
    fn witness(
        &self,
        caller: Caller,
        ino: Ino,
        name: Option<&[u8]>,
        want: Want,
        allowed: bool,
        seen: &Seen,
    ) -> Result<()> {
        let views = self.rules.as_ref().map(Rules::views);
        // Who is refused gets no further than the directory above a secret.
        let wired = self.alerts.is_some()
            && (!allowed || !seen.directory)
            && views.as_ref().is_some_and(|views| views.alerts(seen.sight.whole).next().is_some());
        if self.audit.is_none() && !wired {
            return Ok(());
        }
        let unruled = Callers::default();
        let process = self.rules.as_ref().map_or(&unruled, |rules| &rules.callers).process(caller);
        let mut rule = Vec::new();
        match (&self.rules, &views) {
            (Some(rules), Some(_)) if rules.is_mounter(caller) => rule.push("mounted it".to_owned()),
            (Some(_), Some(views)) => {
                views.grant(Timestamp::now(), |who| process.is(who), |text| rule.push(text.to_owned()));
            }
            _ => rule.extend(self.scope.as_ref().map(|scope| format!("view {}", scope.name()))),
        }
        let record = Record {
            time: Timestamp::now().to_rfc3339(),
            pid: caller.pid,
            uid: caller.uid,
            gid: caller.gid,
            exe: process.program().map(|path| String::from_utf8_lossy(&path).into_owned()),
            cgroup: process.cgroups().to_vec(),
            rule,
            path: self.describe(ino, name),
            want: match want {
                Want::Nothing | Want::See => "see",
                Want::Read => "read",
                Want::Write => "write",
                Want::Change => "change",
            },
            verdict: if allowed { "allowed" } else { "refused" },
        };
        if let (Some(alerts), Some(views), true) = (&self.alerts, &views, wired) {
            for (share, command) in views.alerts(seen.sight.whole) {
                alerts.ring(share.as_str(), command, &record);
            }
        }
        self.audit.as_ref().map_or(Ok(()), |audit| audit.record(&record))
    }

    /// Says for people whether a process may see a path, and why. Only whoever mounted may ask.
    ///
    /// # Errors
    /// `NotPermitted`: asked by somebody else. `NotFound`: there is no such process or path.
    pub fn explain(&self, asker: Caller, pid: u32, path: &[u8]) -> Result<String> {
        let Some(rules) = &self.rules else {
            return Ok("no rules are in force on this mount: file permissions decide".to_owned());
        };
        if !rules.is_mounter(asker) {
            return Err(Error::new(Kind::NotPermitted, "only who mounted may ask"));
        }
        let path = ItemPath::parse(path)?;
        let caller = Caller::of_process(pid)?;
        let directory = self.state.lock().snapshot.namespace().resolve(&path)?.is_directory();
        if rules.is_mounter(caller) {
            return Ok(format!("allowed to read and write: uid {} mounted it", caller.uid));
        }
        let (views, process) = (rules.views(), rules.process(caller));
        let mut held = Vec::new();
        let grant = views.grant(Timestamp::now(), |who| process.is(who), |rule| held.push(rule.to_owned()));
        let sight = views.sight(path.components());
        let list = |shares: Set| {
            let names: Vec<&str> = views.names_of(shares).map(ShareName::as_str).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let verdict = if path.is_root() {
            "allowed to look: the top directory is there for everybody"
        } else if grant.writes(sight) {
            "allowed to read and write"
        } else if grant.read & sight.whole != 0 {
            "allowed to read"
        } else if directory && grant.shows(sight, true) {
            "allowed to walk through: something below is shared"
        } else {
            "refused"
        };
        let held = if held.is_empty() { "none".to_owned() } else { held.join("; ") };
        let all = list(if directory { sight.some } else { sight.whole });
        Ok(format!("{verdict}\nrules that hold for process {pid}: {held}\nshares that cover it: {all}"))
    }

    /// Records decisions there from now on.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Runs the commands that shares carry.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn with_alerts(mut self) -> Result<Self> {
        self.alerts = Some(Alerts::start()?);
        Ok(self)
    }

    /// Whether each open must be asked for.
    pub fn asks_of_opens(&self) -> bool {
        self.rules.is_some() || self.audit.is_some()
    }

    /// As [`Self::lookup`], for a caller: what it may not see is not there, unless the kernel holds it, which then asks
    /// for its attributes.
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn lookup_for(&self, caller: Caller, parent: Ino, name: &[u8]) -> Result<Entry> {
        let Some(rules) = &self.rules else { return self.lookup(parent, name) };
        let grant = rules.grant(caller);
        if grant.is_all() {
            return self.lookup(parent, name);
        }
        let refused = RefCell::new(None);
        let may = |state: &State, ino: Ino| {
            let seen = state.seen(ino);
            let held = state.inodes.get(ino).is_ok_and(|inode| inode.lookups > 0);
            let shown = seen.is_root || held || grant.shows(seen.sight, seen.directory);
            if !shown {
                refused.replace(Some(seen));
            }
            shown
        };
        let found = self.lookup_if(parent, name, &may);
        if let Some(seen) = refused.take() {
            self.witness(caller, parent, Some(name), Want::See, false, &seen)?;
        }
        found
    }

    /// As [`Self::rename`], for a caller. What was moved may have become a gate.
    ///
    /// # Errors
    /// As for [`Self::rename`] and [`Self::admit`].
    pub fn rename_for(
        &self,
        caller: Caller,
        (from, name): (Ino, &[u8]),
        (to, new_name): (Ino, &[u8]),
        mode: RenameMode,
    ) -> Result<()> {
        self.admit(caller, to, Some(new_name), Want::Change)?;
        self.rename(from, name, to, new_name, mode)?;
        if self.rules.is_some() {
            let state = self.state.lock();
            for spot in [(to, Name::new(new_name)?), (from, Name::new(name)?)] {
                if let Some(ino) = state.number_at(&spot) {
                    self.notices.send(Notice::Attributes(ino));
                }
            }
        }
        Ok(())
    }

    /// As [`Self::link`], for a caller. A second name can give others what the first one did not: so this is a change of
    /// what it leads to.
    ///
    /// # Errors
    /// As for [`Self::link`] and [`Self::admit`].
    pub fn link_for(&self, caller: Caller, ino: Ino, parent: Ino, name: &[u8]) -> Result<Entry> {
        self.admit(caller, ino, None, Want::Write)?;
        self.link(ino, parent, name)
    }

    /// Whether the kernel may remember the listing of a directory until it is told otherwise: it is the same for all.
    pub fn keeps_listing(&self, ino: Ino) -> bool {
        self.rules.is_none() && matches!(self.state.lock().directory(ino), Ok(Directory::Item(_)))
    }

    /// Opens a directory for a caller: it lists what that caller may see.
    ///
    /// # Errors
    /// As for [`Self::opendir`].
    pub fn opendir_for(&self, caller: Caller, ino: Ino) -> Result<HandleId> {
        let handle = self.opendir(ino)?;
        if let Some(rules) = &self.rules {
            self.state.lock().handles.get(handle)?.grant = rules.grant(caller);
        }
        Ok(handle)
    }
}

pub(super) fn hidden() -> Error {
    Error::not_found("not in any share of this caller")
}
