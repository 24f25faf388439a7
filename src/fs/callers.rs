//! Who a caller is, beyond the user and group that the kernel tells with each request.
//!
//! The rest is read in `/proc`, through a directory that was opened while the caller waited for its answer: once a process
//! has ended, nothing can be read through that any more, whoever has its number since; the same holds of files in it. So a
//! decision is always about one live process, and nothing that was read is kept for the next request: it is read anew,
//! through what is still open.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use glob::{MatchOptions, Pattern};
use lru::LruCache;
use nix::unistd::{Group, User};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, openat, readlinkat};
use rustix::io::pread;

use super::digests::{Digests, Identity, identity};
use super::programs::Programs;
use super::types::Caller;
use crate::error::{Error, Kind, Result};
use crate::node::{Condition, Sha256};

/// So many processes are kept in mind, each at the cost of a descriptor or, if rules ask for more, three at most.
const KEPT: usize = 128;
/// What is read of a file in `/proc` at once, in bytes; it is almost always all.
const PIECE: usize = 4096;
/// The longest file in `/proc` that is read, in bytes.
const LONGEST: u64 = 1 << 20;

const WHOLE_COMPONENTS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

impl Caller {
    /// A process as it would ask now.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub(super) fn of_process(pid: u32) -> Result<Self> {
        let missing = || Error::not_found(format!("there is no process {pid}"));
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| missing())?;
        // The last of the four is the file system's.
        let id = |word| {
            let line = text.lines().find_map(|line| line.strip_prefix(word))?;
            line.split_ascii_whitespace().nth(3)?.parse().ok()
        };
        match (id("Uid:"), id("Gid:")) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid, pid }),
            _ => Err(missing()),
        }
    }
}

/// All of it must hold of a caller.
#[derive(Debug)]
pub(super) struct Who(Vec<Test>);

#[derive(Debug)]
enum Test {
    Uid(u32),
    Gid(u32),
    Cgroup(Pattern),
    Unit(String),
    Container(String),
    Exe(PathBuf),
    Sha256(Sha256),
}

/// Makes conditions ready to be asked, with the users and groups of this machine.
///
/// # Errors
/// [`Kind::Invalid`]: there is no such user or group here.
pub(super) fn compile(conditions: &[Condition]) -> Result<Who> {
    let missing = |what: &str, name: &str| Error::new(Kind::Invalid, format!("there is no {what} {name} here"));
    let test = |condition: &Condition| {
        Ok(match condition {
            Condition::Uid(uid) => Test::Uid(*uid),
            Condition::Gid(gid) => Test::Gid(*gid),
            Condition::User(name) => match User::from_name(name) {
                Ok(Some(user)) => Test::Uid(user.uid.as_raw()),
                _ => return Err(missing("user", name)),
            },
            Condition::Group(name) => match Group::from_name(name) {
                Ok(Some(group)) => Test::Gid(group.gid.as_raw()),
                _ => return Err(missing("group", name)),
            },
            Condition::Cgroup(pattern) => {
                Test::Cgroup(Pattern::new(pattern).map_err(|e| Error::new(Kind::Invalid, "not a pattern").because(e))?)
            }
            Condition::Unit(name) => Test::Unit(name.clone()),
            Condition::Container(id) => Test::Container(id.clone()),
            Condition::Exe(path) => Test::Exe(Path::new(std::ffi::OsStr::from_bytes(path)).to_owned()),
            Condition::Sha256(digest) => Test::Sha256(*digest),
        })
    };
    // Cheap questions first.
    let mut tests: Vec<Test> = conditions.iter().map(test).collect::<Result<_>>()?;
    tests.sort_by_key(Test::cost);
    Ok(Who(tests))
}

impl Test {
    /// A rank among the others.
    fn cost(&self) -> u8 {
        match self {
            Self::Uid(_) => 0,
            Self::Exe(_) => 1,
            Self::Cgroup(_) | Self::Unit(_) | Self::Container(_) => 2,
            Self::Gid(_) => 3,
            Self::Sha256(_) => 4,
        }
    }
}

impl Who {
    /// As that of a test: of the dearest of them.
    pub(super) fn cost(&self) -> u8 {
        self.0.iter().map(Test::cost).max().unwrap_or_default()
    }
}

/// Processes that have asked before.
#[derive(Debug)]
pub(super) struct Callers {
    known: Mutex<LruCache<u32, Arc<Known>>>,
    digests: Arc<Digests>,
    programs: Arc<Programs>,
    /// `/proc` counts as the kernel does when it tells us who asks: not so with that of another pid namespace.
    is_ours: bool,
}

/// A process in `/proc`, and what of it was opened since.
#[derive(Debug)]
struct Known {
    directory: OwnedFd,
    status: OnceLock<OwnedFd>,
    cgroup: OnceLock<OwnedFd>,
}

impl AsFd for Known {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Known {
    fn open(&self, name: &str) -> Option<OwnedFd> {
        openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// What a file holds now, by a descriptor that stays open.
    fn read<T>(&self, name: &str, kept: &OnceLock<OwnedFd>, parse: impl FnOnce(&str) -> T) -> Option<T> {
        let file = if let Some(file) = kept.get() {
            file
        } else {
            let opened = self.open(name)?;
            kept.get_or_init(|| opened)
        };
        let mut piece = [0; PIECE];
        let length = pread(file, &mut piece, 0).ok()?;
        if length < PIECE {
            return std::str::from_utf8(piece.get(..length)?).ok().map(parse);
        }
        let mut text = String::new();
        File::from(self.open(name)?).take(LONGEST).read_to_string(&mut text).ok()?;
        Some(parse(&text))
    }
}

impl Default for Callers {
    fn default() -> Self {
        let kept = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        let is_ours = readlinkat(CWD, "/proc/self", Vec::new())
            .is_ok_and(|own| own.to_bytes() == std::process::id().to_string().as_bytes());
        Self { known: Mutex::new(LruCache::new(kept)), digests: Digests::new(kept), programs: Arc::default(), is_ours }
    }
}

impl Callers {
    /// The caller of a request that is waiting for its answer.
    pub(super) fn process(&self, caller: Caller) -> Process<'_> {
        Process {
            callers: self,
            caller,
            known: OnceCell::new(),
            groups: OnceCell::new(),
            cgroups: OnceCell::new(),
            exe: OnceCell::new(),
        }
    }

    fn kept(&self, pid: u32) -> Option<Arc<Known>> {
        self.known.lock().get(&pid).cloned()
    }

    /// A live process in `/proc`, kept in mind from now on.
    fn open(&self, pid: u32) -> Option<Arc<Known>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(format!("/proc/{pid}"), flags, Mode::empty()).ok()?;
        let new = Arc::new(Known { directory, status: OnceLock::new(), cgroup: OnceLock::new() });
        self.known.lock().put(pid, new.clone());
        Some(new)
    }
}

/// One caller; what is known of it is read when it is first asked for. What cannot be read holds for no condition.
pub(super) struct Process<'a> {
    callers: &'a Callers,
    caller: Caller,
    known: OnceCell<Arc<Known>>,
    groups: OnceCell<Vec<u32>>,
    cgroups: OnceCell<Vec<String>>,
    exe: OnceCell<Option<Identity>>,
}

impl Process<'_> {
    /// Who asked.
    pub(super) const fn caller(&self) -> Caller {
        self.caller
    }

    /// Whether all conditions hold.
    pub(super) fn is(&self, who: &Who) -> bool {
        who.0.iter().all(|test| match test {
            Test::Uid(uid) => self.caller.uid == *uid,
            Test::Gid(gid) => self.caller.gid == *gid || self.groups().contains(gid),
            Test::Cgroup(pattern) => self.cgroups().iter().any(|path| pattern.matches_with(path, WHOLE_COMPONENTS)),
            Test::Unit(unit) => self.cgroups().iter().any(|path| is_in_unit(path, unit)),
            Test::Container(id) => self.cgroups().iter().any(|path| is_in_container(path, id)),
            // By the file and not by its name: a container can have another program under the same one.
            Test::Exe(path) => {
                let there = self.callers.programs.find(path);
                there.is_some() && there == self.exe()
            }
            Test::Sha256(digest) => self.digest() == Some(*digest),
        })
    }

    /// The path of its program as it sees it, for people.
    pub(super) fn program(&self) -> Option<Vec<u8>> {
        self.ask(|known| readlinkat(&known.directory, "exe", Vec::new()).ok()).map(std::ffi::CString::into_bytes)
    }

    /// The paths of its cgroups: that of version 2, and those of named hierarchies of version 1.
    pub(super) fn cgroups(&self) -> &[String] {
        self.cgroups.get_or_init(|| {
            let line = |line: &str| {
                let mut fields = line.splitn(3, ':');
                let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
                (controllers.is_empty() || controllers.starts_with("name=")).then(|| path.to_owned())
            };
            let parse = |text: &str| text.lines().filter_map(line).collect();
            self.ask(|known| known.read("cgroup", &known.cgroup, parse)).unwrap_or_default()
        })
    }

    fn groups(&self) -> &[u32] {
        self.groups.get_or_init(|| {
            let parse = |text: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
                line.split_ascii_whitespace().filter_map(|group| group.parse().ok()).collect()
            };
            self.ask(|known| known.read("status", &known.status, parse)).unwrap_or_default()
        })
    }

    fn exe(&self) -> Option<Identity> {
        *self.exe.get_or_init(|| self.ask(|known| identity(&known.directory, "exe", AtFlags::empty())))
    }

    fn digest(&self) -> Option<Sha256> {
        let program = self.exe()?;
        let known = self.known.get()?.clone();
        self.callers.digests.of(program, known, "exe")
    }

    /// Asks something of the process. Of one that has ended nothing is answered: then another has its number.
    fn ask<T>(&self, question: impl Fn(&Known) -> Option<T>) -> Option<T> {
        if let Some(known) = self.known.get() {
            return question(known);
        }
        let pid = self.caller.pid;
        if pid == 0 || !self.callers.is_ours {
            return None;
        }
        if let Some(known) = self.callers.kept(pid)
            && let Some(answer) = question(&known)
        {
            let _ = self.known.set(known);
            return Some(answer);
        }
        let new = self.callers.open(pid)?;
        question(self.known.get_or_init(|| new))
    }
}

/// Whether a cgroup belongs to a unit of the system's manager: only slices lead there, since whatever else a user's own
/// manager, or a container's, names so is not it.
fn is_in_unit(path: &str, unit: &str) -> bool {
    let mut components = path.split('/').skip(1);
    components.find(|component| *component == unit || component.strip_suffix(".slice").is_none()) == Some(unit)
}

/// Whether a cgroup belongs to the container whose id begins so: a component is the id, as it is or with the runtime's
/// name before it (`docker-<id>.scope`).
fn is_in_container(path: &str, id: &str) -> bool {
    path.split('/').any(|component| {
        let component = component.strip_suffix(".scope").unwrap_or(component);
        let last = component.rsplit('-').next().unwrap_or(component);
        last.len() == 64 && last.bytes().all(|b| b.is_ascii_hexdigit()) && last.starts_with(id)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use super::*;

    fn who(word: &str, value: &[u8]) -> Who {
        compile(&[Condition::new(word, value).unwrap()]).unwrap()
    }

    #[test]
    fn units_are_those_of_the_system_alone() {
        let unit = "web.service";
        assert!(is_in_unit("/system.slice/web.service", unit));
        assert!(is_in_unit("/a.slice/a-b.slice/web.service/sub", unit));
        for other in [
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "/docker/web.service",
            "/system.slice/other.service/web.service",
            "/system.slice/web.service2",
            "/",
            "",
        ] {
            assert!(!is_in_unit(other, unit), "{other}");
        }
    }

    #[test]
    fn containers_are_known_by_their_whole_id() {
        let id = "0123456789ab".repeat(6)[..64].to_owned();
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
        ] {
            assert!(is_in_container(&path, "0123456789ab"), "{path}");
            assert!(!is_in_container(&path, "1123456789ab"), "{path}");
        }
        assert!(!is_in_container("/docker/0123456789ab", "0123456789ab"), "not a whole id");
    }

    #[test]
    fn this_process_is_itself_and_a_child_is_another() {
        let callers = Callers::default();
        let mut child = Command::new("/bin/sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let me = Caller { uid: 4711, gid: 0, pid: std::process::id() };
        let it = Caller { uid: 4711, gid: 0, pid: child.id() };
        let (mine, sleeps) = (std::env::current_exe().unwrap(), who("exe", b"/bin/sleep"));
        // Until the child has become the other program.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !callers.process(it).is(&sleeps) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert!(!callers.process(me).is(&sleeps));
        assert!(callers.process(me).is(&who("exe", mine.as_os_str().as_bytes())));
        let digest = crate::node::sha256(&std::fs::read("/bin/sleep").unwrap()).to_string();
        assert!(callers.process(it).is(&who("sha256", digest.as_bytes())));
        assert!(!callers.process(me).is(&who("sha256", digest.as_bytes())));
        assert!(callers.process(me).is(&who("uid", b"4711")) && !callers.process(me).is(&who("uid", b"0")));
        assert!(callers.process(it).is(&who("cgroup", b"/**")));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!callers.process(it).is(&sleeps), "it has ended");
        assert!(callers.process(it).is(&who("uid", b"4711")), "the kernel told its user");
    }

    #[test]
    fn groups_are_those_of_the_moment() {
        const SCRIPT: &str = "import os, sys\nfor line in sys.stdin: os.setgroups([int(line)]); print(flush=True)";
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return;
        }
        let mut child = Command::new("python3");
        let mut child = child.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut done, callers) = (BufReader::new(output).lines(), Callers::default());
        let it = Caller { uid: 0, gid: 0, pid: child.id() };
        for group in ["62001", "62002", "62001"] {
            writeln!(input, "{group}").unwrap();
            done.next().unwrap().unwrap();
            for other in ["62001", "62002"] {
                assert_eq!(callers.process(it).is(&who("gid", other.as_bytes())), other == group);
            }
        }
        drop(input);
        child.wait().unwrap();
    }

    #[test]
    fn a_caller_that_cannot_be_seen_is_its_user_alone() {
        let callers = Callers::default();
        let nobody = Caller { uid: 7, gid: 8, pid: 0 };
        assert!(callers.process(nobody).is(&who("uid", b"7")) && callers.process(nobody).is(&who("gid", b"8")));
        for other in [who("cgroup", b"/**"), who("exe", b"/bin/sh"), who("unit", b"a.service"), who("gid", b"0")] {
            assert!(!callers.process(nobody).is(&other), "{other:?}");
        }
    }

    #[test]
    fn unknown_users_are_refused() {
        let condition = |word| Condition::new(word, b"no such name").unwrap();
        assert!(compile(&[condition("user")]).is_err() && compile(&[condition("group")]).is_err());
        assert!(compile(&[Condition::new("user", b"root").unwrap()]).is_ok());
    }
}
