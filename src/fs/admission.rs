//! Who may see what, on a mount with rules.
//!
//! The kernel's cache of names is shared by all callers, so that a name is never denied while the kernel holds it: that
//! would take it away from everybody, with working directories and mounts below. Instead a directory whose visibility or
//! content differs between callers is a *gate*: its attributes are never kept, the kernel asks for them with the
//! credentials of whoever walks through, and the answer goes to that caller alone. Opening is always decided.

use std::cell::Cell;
use std::sync::Arc;

use log::{info, warn};
use parking_lot::Mutex;

use super::FileSystem;
use super::alert::Alerts;
use super::asker::{Asker, Given};
use super::audit::{ALLOWED, Audit, REFUSED, Record};
use super::sight::{Judged, Seen};
use super::state::{Directory, State};
use super::types::{Caller, Entry, HandleId, Ino, Notice, RenameMode};
use super::views::{Set, Views};
use crate::error::{Error, Kind, Result};
use crate::node::{ItemPath, Name, Namespace, Sha256, ShareName, Shares};
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
    /// To make a file of the request's name in this directory, and to open it.
    Create,
}

impl Want {
    /// Whether a file is opened.
    const fn opens(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::Create)
    }

    /// Whether it is about the request's name rather than about the inode.
    const fn is_of_name(self) -> bool {
        matches!(self, Self::Change | Self::Create)
    }
}

/// Rules in force; the state has what they are.
pub(super) struct Rules {
    /// What they were made of; `None`: given at mount, once and for all.
    made_of: Mutex<Option<Sha256>>,
    /// The user who mounted.
    mounter: u32,
}

impl Rules {
    /// Whether a caller is whoever mounted.
    pub(super) const fn is_mounter(&self, caller: Caller) -> bool {
        caller.uid == self.mounter
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
        self.state.get_mut().views = Some(views);
        self.rules = Some(Rules { made_of: Mutex::new(made_of), mounter: rustix::process::geteuid().as_raw() });
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
        *made_of = snapshot.shares_digest();
        self.state.lock().show_by(Arc::new(views), &self.notices);
    }

    /// Decides a request of a caller about an inode, or a name in it, and records it where that is wanted.
    ///
    /// # Errors
    /// `NotFound`: it is not there for this caller. `ReadOnly`: it is, but not to be changed. `Failed`: it may be opened,
    /// but that could not be recorded.
    pub fn admit(&self, caller: Caller, ino: Ino, name: Option<&[u8]>, want: Want) -> Result<()> {
        let mounter = self.rules.as_ref().is_some_and(|rules| rules.is_mounter(caller));
        let unwatched = self.audit.is_none() && self.alerts.is_none();
        if want == Want::Nothing || !self.asks_of_opens() || mounter && unwatched {
            return Ok(());
        }
        self.decide(caller, ino, name, want).map(drop)
    }

    fn decide(&self, caller: Caller, ino: Ino, name: Option<&[u8]>, want: Want) -> Result<Asker<'_>> {
        let below = if want.is_of_name() { name.map(Name::new).transpose()? } else { None };
        let (asker, seen, changed) = {
            let state = self.state.lock();
            let seen = state.seen(ino);
            let below = below.as_ref().map(|name| state.sight_below(state.views.as_deref(), ino, name));
            let changed = if want == Want::Write { Some(seen.sight) } else { below };
            (self.asker(caller, &state), seen, changed)
        };
        if want.opens() && self.audit.is_some() {
            // All of them are recorded, and asked once.
            asker.rules();
        }
        let shown = seen.is_root || want == Want::See && seen.open || asker.sees(seen.sight, seen.directory);
        let decided = match changed {
            _ if !shown => Err(hidden()),
            Some(sight) if !asker.writes(sight) => {
                Err(Error::new(Kind::ReadOnly, "no rule lets this caller write here"))
            }
            _ => Ok(()),
        };
        if want.opens() || decided.is_err() {
            let wired = self.wires().map(|wires| {
                let state = self.state.lock();
                let seen = state.seen_by(Some(&wires), ino);
                let seen = match &below {
                    Some(name) if shown => {
                        Seen { sight: state.sight_below(Some(&wires), ino, name), directory: false, ..seen }
                    }
                    _ => seen,
                };
                drop(state);
                (wires, seen)
            });
            self.witness(&asker, (ino, name), want, decided.is_ok(), wired.as_ref())?;
        }
        decided.map(|()| asker)
    }

    /// A caller before the shares of this moment; whoever mounted is given everything.
    fn asker(&self, caller: Caller, state: &State) -> Asker<'_> {
        let owns = self.rules.as_ref().is_none_or(|rules| rules.is_mounter(caller));
        Asker::new(self.callers.process(caller), state.views.clone(), owns)
    }

    /// The shares that may carry alerts, if those are run.
    fn wires(&self) -> Option<Arc<Views>> {
        self.alerts.as_ref().map(|alerts| alerts.wires(&self.keynode))
    }

    /// Records a decision, and trips the wires of the shares that it is about.
    fn witness(
        &self,
        asker: &Asker<'_>,
        (ino, name): (Ino, Option<&[u8]>),
        want: Want,
        allowed: bool,
        wired: Option<&(Arc<Views>, Seen)>,
    ) -> Result<()> {
        let rung = wired.into_iter().flat_map(|(wires, seen)| {
            wires.alerts(match (allowed, seen.directory) {
                (true, true) => 0,
                (true, false) => seen.sight.whole,
                // Who is refused gets no further than a directory that leads there.
                (false, _) => seen.sight.some,
            })
        });
        let mut rung = rung.peekable();
        if self.audit.is_none() && rung.peek().is_none() {
            return Ok(());
        }
        let (process, caller) = (&asker.process, asker.process.caller());
        let rule = match (asker.rules(), &self.scope) {
            (Some(rules), _) => rules.to_vec(),
            (None, Some(scope)) => vec![format!("view {}", scope.name())],
            (None, None) if self.rules.is_some() => vec!["mounted it".to_owned()],
            (None, None) => Vec::new(),
        };
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
                Want::Create => "create",
            },
            verdict: if allowed { ALLOWED } else { REFUSED },
            times: None,
        };
        if let Some(alerts) = &self.alerts {
            for (share, command) in rung {
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
        if path.components().first().is_some_and(|name| name.as_bytes() == b".views") {
            return Ok(
                "no rule is asked below .views: who was given a tree of it reads all of that, and only who mounted \
                       gets there otherwise"
                    .to_owned(),
            );
        }
        let caller = Caller::of_process(pid)?;
        let snapshot = self.state.lock().snapshot.clone();
        let path = of_the_past(snapshot.namespace(), path);
        let directory = snapshot.namespace().resolve(&path)?.is_directory();
        if rules.is_mounter(caller) {
            return Ok(format!("allowed to read and write: uid {} mounted it", caller.uid));
        }
        let views = self.state.lock().views.clone().unwrap_or_default();
        let asker = Asker::new(self.callers.process(caller), Some(views.clone()), false);
        let held = asker.rules().unwrap_or_default();
        let sight = views.sight(path.components());
        let list = |shares: Set| {
            let names: Vec<&str> = views.names_of(shares).map(ShareName::as_str).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let verdict = if path.is_root() {
            "allowed to look: the top directory is there for everybody"
        } else if asker.writes(sight) {
            "allowed to read and write"
        } else if asker.sees(sight, false) {
            "allowed to read"
        } else if directory && asker.sees(sight, true) {
            "allowed to walk through: something below is shared"
        } else {
            "refused"
        };
        let held = if held.is_empty() { "none".to_owned() } else { held.join("; ") };
        let about = if directory { sight.some } else { sight.whole };
        let all = list(about);
        let mut text = format!("{verdict}\nrules that hold for process {pid}: {held}\nshares that cover it: {all}");
        let others = asker.refusals(about);
        if !others.is_empty() {
            text.push_str("\ntheir rules that do not: ");
            text.push_str(&others.join("; "));
        }
        Ok(text)
    }

    /// Records decisions there from now on.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Runs the commands that shares carry: these, or those of the keynode, which are followed as they change.
    ///
    /// # Errors
    /// No thread can be started. `Invalid`: too many shares.
    pub fn with_alerts(mut self, given: Option<&Shares>) -> Result<Self> {
        self.alerts = Some(Arc::new(Alerts::start(given.map(Views::without_rules).transpose()?)?));
        Ok(self)
    }

    /// Whether each open must be asked for.
    pub fn asks_of_opens(&self) -> bool {
        self.rules.is_some() || self.audit.is_some() || self.alerts.is_some()
    }

    /// As [`Self::lookup`], for a caller: what it may not see is not there, unless the kernel holds it, which then asks
    /// for its attributes.
    ///
    /// # Errors
    /// As for [`Self::lookup`].
    pub fn lookup_for(&self, caller: Caller, parent: Ino, name: &[u8]) -> Result<Entry> {
        if self.rules.as_ref().is_none_or(|rules| rules.is_mounter(caller)) {
            return self.lookup(parent, name);
        }
        // Once more if other shares have come meanwhile.
        loop {
            let asker = self.asker(caller, &self.state.lock());
            let Some(Given { views, grant }) = asker.given() else { return self.lookup(parent, name) };
            // The whole tree of a date is not made for somebody who may see nothing of it.
            if grant.read == 0 && self.is_date(parent, name) {
                return self.state.lock().held_date(name);
            }
            let (refused, outdated, wires) = (Cell::new(None), Cell::new(false), self.wires());
            let may = |state: &State, ino: Ino| {
                if !state.views.as_ref().is_some_and(|present| Arc::ptr_eq(present, &views)) {
                    outdated.set(true);
                    return false;
                }
                let seen = state.seen(ino);
                let held = state.inodes.get(ino).is_ok_and(|inode| inode.lookups > 0);
                let shown = seen.is_root || held || grant.shows(seen.sight, seen.directory);
                if !shown {
                    refused.set(Some(wires.as_ref().map(|wires| state.seen_by(Some(wires), ino))));
                }
                shown
            };
            let found = self.lookup_if(parent, name, &may);
            if outdated.get() {
                continue;
            }
            if let Some(seen) = refused.take() {
                let wired = wires.zip(seen);
                self.witness(&asker, (parent, Some(name)), Want::See, false, wired.as_ref())?;
            }
            return found;
        }
    }

    /// Whether this is the name of the whole tree at a date, which takes a while to make.
    pub fn is_date(&self, parent: Ino, name: &[u8]) -> bool {
        name.starts_with(b"@")
            && matches!(self.state.lock().directory(parent), Ok(Directory::Place(place)) if place.is_root())
    }

    /// As [`Self::rename`], for a caller. What was moved may have become a gate, and all that is below it.
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
        let spots = [(to, Name::new(new_name)?), (from, Name::new(name)?)];
        let judged = if self.rules.is_some() { self.state.lock().judged_below(&spots) } else { Judged::default() };
        self.rename(from, name, to, new_name, mode)?;
        if self.rules.is_some() {
            let mut state = self.state.lock();
            for spot in spots {
                if let Some(ino) = state.number_at(&spot) {
                    self.notices.send(Notice::Attributes(ino));
                }
            }
            state.judge_anew(judged, &self.notices);
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

    /// Lets an open directory list what its reader may see, if other shares have come since it was decided; whether so.
    pub(super) fn give_anew(&self, caller: Caller, handle: HandleId) -> Result<bool> {
        let mut state = self.state.lock();
        let present = state.views.clone();
        let open = state.handles.get(handle)?;
        let outdated = match (&open.given, &present) {
            (Some(given), Some(present)) => !Arc::ptr_eq(&given.views, present),
            _ => false,
        };
        if outdated {
            let ino = open.ino;
            drop(state);
            let given = self.decide(caller, ino, None, Want::See)?.given();
            self.state.lock().handles.get(handle)?.given = given;
        }
        Ok(outdated)
    }

    /// Whether the kernel may remember the listing of a directory until it is told otherwise: it is the same for all.
    pub fn keeps_listing(&self, ino: Ino) -> bool {
        self.rules.is_none() && matches!(self.state.lock().directory(ino), Ok(Directory::Item(_)))
    }

    /// Opens a directory for a caller, if that may read it: it lists what that caller may see.
    ///
    /// # Errors
    /// As for [`Self::opendir`] and [`Self::admit`].
    pub fn opendir_for(&self, caller: Caller, ino: Ino) -> Result<HandleId> {
        if !self.asks_of_opens() {
            return self.opendir(ino);
        }
        let given = self.decide(caller, ino, None, Want::Read)?.given();
        let handle = self.opendir(ino)?;
        self.state.lock().handles.get(handle)?.given = given;
        Ok(handle)
    }
}

/// What a path below `.versions` is about; other paths as they are.
fn of_the_past(namespace: &Namespace, path: ItemPath) -> ItemPath {
    let below = match path.components() {
        [first, date, rest @ ..] if first.as_bytes() == b".versions" && date.as_bytes().starts_with(b"@") => rest,
        [first, rest @ ..] if first.as_bytes() == b".versions" => rest,
        _ => return path,
    };
    let whole: ItemPath = below.iter().cloned().collect();
    // The last name may be that of a version, or `log`.
    match whole.parent() {
        Some(secret) if namespace.resolve(&whole).is_err() => secret,
        _ => whole,
    }
}

pub(super) fn hidden() -> Error {
    Error::not_found("not in any share of this caller")
}
