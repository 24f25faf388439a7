//! A keynode with the oracle's tree and shares, mounted, and the probe.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::callers::{Caller, Means, TEAM, TWO, WEB};
use crate::oracle::{Kind, LINK, SHARES, TREE, content, judge};
use crate::support::{Bench, Mount, can_mount};

pub struct Place {
    pub bench: Bench,
    pub means: Means,
}

/// Whether this machine lets these tests run: they need root.
pub fn can() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: not root");
    }
    root && can_mount()
}

/// An empty keynode in a directory that all users reach.
pub fn open_bench() -> Bench {
    let bench = Bench::new();
    fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(bench.path("probe.py"), include_str!("probe.py")).unwrap();
    bench
}

impl Place {
    pub fn new() -> Self {
        let bench = open_bench();
        let means = Means::new(&bench.path(""));
        {
            let mount = bench.mount(&[]);
            for (path, kind) in TREE.iter().filter(|(path, _)| !path.is_empty()) {
                match kind {
                    Kind::Directory => {
                        fs::create_dir(mount.path(path)).unwrap();
                        fs::set_permissions(mount.path(path), fs::Permissions::from_mode(0o700)).expect(path);
                    }
                    Kind::File => {
                        mount.write(path, &content(path));
                        fs::set_permissions(mount.path(path), fs::Permissions::from_mode(0o600)).unwrap();
                    }
                    Kind::Link => symlink(LINK.1, mount.path(path)).unwrap(),
                    Kind::Nothing => {}
                }
            }
            bench.pkfs(&["umount", "m"]);
            assert_eq!(mount.wait(), Some(0));
        }
        for (share, paths) in SHARES {
            let arguments = [&["share", "create", "app.pk", share], *paths].concat();
            bench.pkfs(&arguments);
        }
        let place = Self { bench, means };
        place.allow();
        place
    }

    fn allow(&self) {
        let (web, two, team) = (WEB.to_string(), TWO.to_string(), TEAM.to_string());
        let tool = self.means.tool.to_str().unwrap();
        let (slice, named) = (format!("/{}*", &self.means.id[..60]), format!("/named.{}", self.means.id));
        for rule in [
            &["web", "--uid", &web][..],
            &["one", "--uid", &web],
            &["two", "--uid", &two],
            &["team", "--gid", &team],
            &["tools", "--exe", tool],
            &["both", "--exe", tool, "--uid", &web],
            &["slice", "--cgroup", &slice],
            &["box", "--container", &self.means.id[..]],
            &["named", "--cgroup", &named],
            &["late", "--uid", &web, "--until", "2020-01-31"],
            &["late", "--user", "no-such-user-here"],
        ] {
            self.bench.pkfs(&[&["share", "allow", "app.pk"], rule].concat());
        }
    }

    /// `pkfs`, where all users may run it.
    pub fn program(&self) -> PathBuf {
        let copy = self.bench.path("pkfs");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_pkfs"), &copy).unwrap();
        }
        copy
    }

    pub fn mount(&self) -> Mount {
        self.bench.mount(&["-o", "xattr"])
    }

    /// Starts the probe as a caller, over all of the tree.
    pub fn start(&self, caller: &Caller, kinds: &[&str]) -> Child {
        let paths: Vec<String> = TREE.iter().map(|(path, _)| (*path).to_owned()).collect();
        self.start_with(caller, kinds, &paths)
    }

    /// The same over other paths.
    pub fn start_with(&self, caller: &Caller, kinds: &[&str], paths: &[String]) -> Child {
        let (script, root) = (self.bench.path("probe.py"), self.bench.path("m"));
        let mut command = caller.python(&[&script, &root]);
        command.args(kinds).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all((paths.join("\n") + "\n").as_bytes()).unwrap();
        child
    }

    /// What a probe found: the way, the path, the result.
    pub fn results(child: Child) -> Vec<(String, String, String)> {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the probe ended early");
        let text = String::from_utf8(output.stdout).unwrap();
        let fields = text.lines().map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap())
        });
        fields.collect()
    }

    /// What is wrong with what a caller found; `open`: while others had files open.
    pub fn wrong(caller: &Caller, open: bool, child: Child) -> Vec<String> {
        let mut wrong = Vec::new();
        for (way, path, result) in Self::results(child) {
            if let Err(wanted) = judge(&caller.given(open), &way, &path, &result) {
                wrong.push(format!("{}: {way} {path:?}: {result}, wanted {wanted}", caller.name));
            }
        }
        wrong
    }

    /// Every file, and what it must hold.
    pub fn files(&self) -> impl Iterator<Item = (PathBuf, String)> + '_ {
        let files = TREE.iter().filter(|(_, kind)| *kind == Kind::File);
        files.map(|(path, _)| (self.bench.path("m").join(path), content(path)))
    }
}
