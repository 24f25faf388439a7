//! A share in a container: a read-only bind mount of `.views/web`, and nothing else of the mount.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::callers::DENIED;
use crate::place::{Place, can};
use crate::support::eventually;

/// Answers each line of its input, a command, with one line.
pub const INSIDE: &str = "cd /run/secrets; while read -r line; do echo $(eval \"$line\" 2>&1); done";

pub struct Container {
    process: Child,
    input: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Container {
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { input: process.stdin.take(), process, lines }
    }

    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        self.lines.next().expect("the container ended").unwrap()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Has it end by itself: nothing will be asked any more.
    pub fn end(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a program that these tests use is there; `scripts/setup test` brings it.
pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no {program}");
    }
    found
}

/// A root directory with busybox alone.
pub fn root(place: &Place) -> PathBuf {
    let root = place.bench.path("root");
    for directory in ["bin", "proc", "dev", "tmp", "run/secrets"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "ls", "find", "touch", "sort", "mkdir", "id", "mount", "umount"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    root
}

pub fn sees_its_share_alone(place: &Place, container: &mut Container, uid: u32) {
    assert_eq!(container.ask("id -u"), uid.to_string());
    assert_eq!(container.ask("cat web/one"), "v:web/one");
    assert_eq!(container.ask("cat db/web"), "v:db/web");
    assert_eq!(container.ask("find . -type f | sort"), "./db/web ./web/one ./web/sub/deep");
    for hidden in
        ["db/other", "private/one", "../private/one", "../../m/private/one", ".views/two/common/two", "../two"]
    {
        let said = container.ask(&format!("cat {hidden}"));
        assert!(said.contains("No such file"), "{hidden}: {said}");
    }
    assert_eq!(container.ask("cd ..; ls; cd secrets"), "secrets");
    for change in ["echo x > web/one", "touch web/new", "mkdir new", "echo x > db/other"] {
        let said = container.ask(change);
        assert!(
            said.contains("Read-only") || said.contains("denied") || said.contains("nonexistent"),
            "{change}: {said}"
        );
    }
    // Rotated outside, it is new inside without a restart.
    place.bench.put("web/one", "rotated");
    let (mut now, deadline) = (String::new(), std::time::Instant::now() + std::time::Duration::from_secs(30));
    while now != "rotated" {
        assert!(std::time::Instant::now() < deadline, "{now}");
        now = container.ask("cat web/one");
    }
    place.bench.put("web/one", "v:web/one");
    eventually("the old value again", || fs::read(place.bench.path("m/web/one")).unwrap() == b"v:web/one");
}

fn bwrap(place: &Place, root: &Path, source: &Path) -> Command {
    let mut command = Command::new("bwrap");
    command.arg("--bind").arg(root).arg("/").args(["--proc", "/proc", "--dev", "/dev", "--ro-bind"]);
    command.arg(source).args(["/run/secrets", "--unshare-pid", "--die-with-parent"]);
    command.current_dir(place.bench.path(""));
    command
}

#[test]
fn bubblewrap_shows_a_share() {
    if !can() || !have("bwrap") {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let (root, source) = (root(&place), mount.path(".views/web"));
    let mut as_root = Container::start(bwrap(&place, &root, &source).args(["sh", "-c", INSIDE]));
    sees_its_share_alone(&place, &mut as_root, 0);
    // Whoever was handed it may read it, whatever its number.
    let uid = DENIED.to_string();
    let mut command = bwrap(&place, &root, &source);
    command.args(["--unshare-user", "--uid", &uid, "--gid", &uid, "sh", "-c", INSIDE]);
    let mut as_user = Container::start(&mut command);
    sees_its_share_alone(&place, &mut as_user, DENIED);
}

/// crun wants cgroups of version 2 alone, and finds them so wherever it runs.
const UNIFIED: &str = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec crun \"$0\" \"$@\"";

#[test]
fn crun_shows_a_share() {
    if !can() || !have("crun") {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let bundle = place.bench.path("");
    root(&place);
    for uid in [0, DENIED] {
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|name| serde_json::json!({ "type": name }));
        let config = serde_json::json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": uid, "gid": uid }, "cwd": "/", "args": ["/bin/sh", "-c", INSIDE], "env": ["PATH=/bin"],
                "capabilities": { "bounding": [], "effective": [], "permitted": [] },
            },
            "root": { "path": "root" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/run/secrets", "type": "bind", "source": mount.path(".views/web"),
                  "options": ["rbind", "ro", "nosuid", "nodev", "noexec"] },
            ],
            "linux": { "namespaces": namespaces },
        });
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let state = bundle.join("crun");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", UNIFIED]).arg("--root").arg(&state).args([
            "--cgroup-manager=disabled",
            "run",
            "--bundle",
        ]);
        // crun gives the user whatever it is that the command writes to, and be it /dev/null.
        command.stderr(fs::File::create(bundle.join("said")).unwrap());
        let mut container =
            Container::start(command.arg(&bundle).arg(format!("pkfs-views-{}-{uid}", std::process::id())));
        sees_its_share_alone(&place, &mut container, uid);
    }
}
