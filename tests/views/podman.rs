//! Containers of Podman's: one that is handed a share, and one that has the whole mount and a rule for its id.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use crate::callers::{DENIED, user};
use crate::containers::{Container, INSIDE, have, root, sees_its_share_alone};
use crate::place::{Place, can};
use crate::support::eventually;

/// What Podman keeps is in the place alone, and crun finds cgroups of one version: it refuses both at once.
const SURROUND: &str = "mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && if mountpoint -q \
    /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi && exec \"$0\" \"$@\"";

const IMAGE: &str = "localhost/pkfs-views:latest";

/// The limits are such that root may set without `CAP_SYS_RESOURCE` too.
const RUN: [&str; 5] =
    ["--rm", "--interactive", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];

/// Podman with an image that has busybox alone. Its processes end with the command that started them, and what they mounted
/// with them.
struct Podman<'a> {
    place: &'a Place,
}

impl<'a> Podman<'a> {
    /// None where it cannot run containers, which is said.
    fn new(place: &'a Place) -> Option<Self> {
        let podman = Self { place };
        let (root, tar) = (root(place), place.bench.path("image.tar"));
        // For what is run of the system's programs.
        for (name, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            symlink(target, root.join(name)).unwrap();
        }
        fs::create_dir(root.join("usr")).unwrap();
        assert!(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap().success());
        let import = podman.command("import").arg(&tar).arg(IMAGE).output().unwrap();
        let works = |output: &Output| output.status.success();
        let tried = if works(&import) { podman.run(&[], &["id"]).output().unwrap() } else { import };
        if !works(&tried) {
            // Not by the macro: the harness would keep it to itself.
            let said = String::from_utf8_lossy(&tried.stderr);
            let _ = writeln!(std::io::stderr(), "skipped: podman runs no container here: {}", said.trim());
            return None;
        }
        Some(podman)
    }

    /// The words before those of a command of its own.
    fn words(&self) -> Vec<OsString> {
        let bench = &self.place.bench;
        let mut words: Vec<OsString> =
            ["podman", "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]
                .map(OsString::from)
                .into();
        for (option, directory) in [("--root", "podman"), ("--runroot", "podman-run")] {
            words.extend([option.into(), bench.path(directory).into()]);
        }
        words
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SURROUND]);
        command.args(self.words()).arg(word);
        command
    }

    /// The words before those of a command that shares the surroundings of a container's.
    fn beside(&self, container: &Container) -> Vec<OsString> {
        let outer = container.id();
        let inner = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        let target = format!("--target={}", inner.trim());
        let enter = ["nsenter", &target, "--mount", "--pid"].map(OsString::from);
        enter.into_iter().chain(self.words()).collect()
    }

    /// A container that ends with its command.
    fn run(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = self.command("run");
        command.args(RUN).args(options).arg(IMAGE).args(program);
        command
    }
}

#[test]
fn podman_shows_a_share() {
    if !can() || !have("podman") {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let Some(podman) = Podman::new(&place) else { return };
    let source = mount.path(".views/web");
    let share = format!("--mount=type=bind,source={},target=/run/secrets,ro=true", source.display());
    for uid in [0, DENIED] {
        let user = format!("--user={uid}:{uid}");
        let mut container = Container::start(&mut podman.run(&[&share, &user], &["sh", "-c", INSIDE]));
        sees_its_share_alone(&place, &mut container, uid);
        container.end();
    }
}

/// The id by which the cgroups of whoever asks are called.
fn id_of(container: &mut Container) -> String {
    let said = container.ask("cat /proc/self/cgroup");
    let mut ids = said.split(['/', '-', '.', ' ']).filter(|word| word.len() == 64);
    ids.next_back().expect("an id").to_owned()
}

#[test]
fn a_rule_for_a_container_holds_for_its_processes_alone() {
    if !can() || !have("podman") {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let Some(podman) = Podman::new(&place) else { return };
    // All of the mount, at its own path, and Python.
    let home = place.bench.path("");
    let directory = format!("--volume={0}:{0}:ro", home.display());
    let options = ["--volume=/usr:/usr:ro", &directory, "--cgroupns=host"];
    let named = |name| [&options[..], &[name]].concat();
    let mut given = Container::start(&mut podman.run(&named("--name=given"), &["sh", "-c", INSIDE]));
    let id = id_of(&mut given);
    let beside = podman.beside(&given);
    let mut second = Command::new(&beside[0]);
    second.args(&beside[1..]).arg("run").args(RUN).args(named("--name=other")).args([IMAGE, "sh", "-c", INSIDE]);
    let mut other = Container::start(&mut second);
    assert_ne!(id_of(&mut other), id);
    let mut wrong = Vec::new();
    let mut look = |container: &str, name: &str, shares| {
        let caller = place.means.callers().into_iter().find(|caller| caller.name == name).unwrap();
        let exec = ["exec", "--interactive", container].map(OsString::from);
        let caller = caller.within(&[&beside[..], &exec].concat(), shares);
        let found = Place::wrong(&caller, false, place.start(&caller, &["see", "cached", "change"]));
        wrong.extend(found.into_iter().map(|what| format!("in {container}: {what}")));
    };
    look("given", "denied", &[]);
    place.bench.pkfs(&["share", "allow", "app.pk", "box", "--container", &id]);
    let exec = ["exec", "given"].map(OsString::from);
    let words = [&beside[..], &exec, &user(DENIED, "")].concat();
    eventually("the rule", || {
        let cat = Command::new(&words[0]).args(&words[1..]).arg("cat").arg(mount.path("box/x")).output().unwrap();
        cat.stdout == b"v:box/x"
    });
    look("given", "denied", &["box"]);
    look("given", "web", &["web", "one", "box"]);
    look("given", "tool", &["tools", "box"]);
    look("other", "denied", &[]);
    look("other", "web", &["web", "one"]);
    other.end();
    given.end();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
