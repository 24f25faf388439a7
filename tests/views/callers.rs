//! Processes of all kinds that ask, and what each was given.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::oracle::Given;

/// The one who may see `web` and `one`; who may see `two`; who was given nothing. None of them needs an account.
pub const WEB: u32 = 61001;
pub const TWO: u32 = 61002;
pub const DENIED: u32 = 61003;
/// Who is in it may see `team`.
pub const TEAM: u32 = 62001;

/// A kind of process.
pub struct Caller {
    pub name: &'static str,
    /// What starts it: a program and arguments, before the interpreter of the probe.
    by: Vec<OsString>,
    interpreter: PathBuf,
    shares: &'static [&'static str],
    really: &'static [&'static str],
}

impl Caller {
    /// `open`: while others have files open.
    pub fn given(&self, open: bool) -> Given<'_> {
        Given { shares: self.shares, really: self.really, open }
    }

    /// The same started from elsewhere, where it is given this.
    pub fn within(mut self, before: &[OsString], shares: &'static [&'static str]) -> Self {
        self.by = [before, &self.by].concat();
        Self { shares, really: shares, ..self }
    }

    /// Root, with all its rights, where it was given nothing.
    pub fn root() -> Self {
        Self { name: "root", by: Vec::new(), interpreter: python(), shares: &[], really: &[] }
    }

    /// A Python program with these arguments, as this caller.
    pub fn python(&self, arguments: &[&Path]) -> Command {
        let mut command = match self.by.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.interpreter);
                command
            }
            None => Command::new(&self.interpreter),
        };
        command.args(arguments);
        command
    }
}

/// The system's Python, which all users may run.
pub fn python() -> PathBuf {
    Path::new("/usr/bin/python3").canonicalize().unwrap()
}

/// As a user of this number.
pub fn user(uid: u32, groups: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["setpriv".into(), format!("--reuid={uid}").into()];
    words.push(format!("--regid={uid}").into());
    words.push(if groups.is_empty() { "--clear-groups".into() } else { format!("--groups={groups}").into() });
    words
}

/// A command as a user of this number, in the file system's top directory.
pub fn command(uid: u32, arguments: &[&str]) -> Command {
    let words = user(uid, "");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(arguments).current_dir("/");
    command
}

/// What it writes, if it succeeds.
pub fn output(uid: u32, arguments: &[&str]) -> Option<String> {
    let output = command(uid, arguments).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// A cgroup of its own for a caller, as far as this machine has the hierarchy.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Of version 2, or of the named hierarchy of version 1.
    pub fn new(named: bool, name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let point = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let right =
                if named { fields[2] == "cgroup" && fields[3].contains("name=") } else { fields[2] == "cgroup2" };
            right.then(|| PathBuf::from(fields[1]))
        });
        let Some(point) = point else {
            eprintln!("left out: this machine has no such cgroup hierarchy");
            return None;
        };
        let path = point.join(name);
        fs::create_dir(&path).unwrap();
        Some(Self(path))
    }

    /// Before what is to be in it.
    fn enter(&self) -> Vec<OsString> {
        let script = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.0.display());
        ["sh", "-c", &script, "sh"].map(OsString::from).to_vec()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever was in it has ended, and may have to be noticed as such.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

/// What the rules name beside numbers.
pub struct Means {
    /// A second name and file for Python, and one that is run as [`WEB`] whoever starts it.
    pub tool: PathBuf,
    setuid: PathBuf,
    /// Runs what follows it in a container.
    contained: PathBuf,
    slice: Option<Cgroup>,
    named: Option<Cgroup>,
    pub id: String,
}

impl Means {
    pub fn new(directory: &Path) -> Self {
        let (tool, setuid) = (directory.join("tool"), directory.join("setuid"));
        for copy in [&tool, &setuid] {
            fs::copy(python(), copy).unwrap();
        }
        std::os::unix::fs::chown(&setuid, Some(WEB), None).unwrap();
        fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
        let contained = directory.join("contained.py");
        fs::write(&contained, include_str!("contained.py")).unwrap();
        // As a container's would be: 64 digits.
        let id = format!("{:064x}", u64::from(std::process::id()) << 20 | u64::from(rand_of(directory)));
        let (slice, named) = (Cgroup::new(false, &id), Cgroup::new(true, &format!("named.{id}")));
        Self { tool, setuid, contained, slice, named, id }
    }

    /// All kinds of callers, without the one who mounted.
    pub fn callers(&self) -> Vec<Caller> {
        let mut all = Vec::new();
        let mut add = |name, by: Vec<OsString>, interpreter: &Path, shares, really| {
            all.push(Caller { name, by, interpreter: interpreter.to_owned(), shares, really });
        };
        let (python, team) = (python(), TEAM.to_string());
        let with = |before: &[&str], after: Vec<OsString>| before.iter().map(OsString::from).chain(after).collect();
        let then = |by: Vec<OsString>, after: &[&str]| by.into_iter().chain(after.iter().map(OsString::from)).collect();
        let web: &[&str] = &["web", "one"];
        add("web", user(WEB, ""), &python, web, web);
        add("two", user(TWO, ""), &python, &["two"], &["two"]);
        add("denied", user(DENIED, ""), &python, &[], &[]);
        add("in the team too", user(DENIED, &team), &python, &["team"], &["team"]);
        let mut in_team = user(WEB, "");
        in_team[2] = format!("--regid={team}").into();
        add("of the team", in_team, &python, &["web", "one", "team"], &["web", "one", "team"]);
        add("tool", user(DENIED, ""), &self.tool, &["tools"], &["tools"]);
        let both: &[&str] = &["web", "one", "tools", "both"];
        add("web's tool", user(WEB, ""), &self.tool, both, both);
        add("set-user-id", user(DENIED, ""), &self.setuid, web, &[]);
        add("root of its own", then(user(DENIED, ""), &["unshare", "-r"]), &python, &[], &[]);
        add("web as root of its own", then(user(WEB, ""), &["unshare", "-r"]), &python, web, web);
        let inner = with(&["unshare", "--pid", "--fork"], user(DENIED, ""));
        add("tool among its own pids", inner, &self.tool, &["tools"], &["tools"]);
        let sandbox = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"];
        let sandbox = [&sandbox[..], &["--unshare-pid", "--unshare-ipc", "--cap-add", "ALL"]].concat();
        if crate::containers::have("bwrap") {
            add("tool in a sandbox", with(&sandbox, user(DENIED, "")), &self.tool, &["tools"], &["tools"]);
            add("web in a sandbox", with(&sandbox, user(WEB, "")), &python, web, web);
        }
        if crate::containers::have("crun") {
            let contained =
                |uid: u32| vec![python.clone().into(), self.contained.clone().into_os_string(), uid.to_string().into()];
            add("tool in a container", contained(DENIED), &self.tool, &["tools"], &["tools"]);
            add("web in a container", contained(WEB), &python, web, web);
        }
        if let Some(slice) = &self.slice {
            let by = [slice.enter(), user(DENIED, "")].concat();
            add("in the slice", by, &python, &["slice", "box"], &["slice", "box"]);
        }
        if let Some(named) = &self.named {
            let by = [named.enter(), user(DENIED, "")].concat();
            add("in the named hierarchy", by, &python, &["named"], &["named"]);
        }
        all
    }
}

/// Something that differs between the directories of one process.
fn rand_of(directory: &Path) -> u16 {
    directory
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()))
}
