//! What a process without any share could do to others by looking, and what others could lose or give away.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::callers::{DENIED, TWO, WEB, command, output, python};
use crate::oracle::content;
use crate::place::{Place, can};
use crate::support::eventually;

/// Looks at a path in ways that make the kernel look its names up anew where it can be made to.
fn probe(path: &Path) {
    let path = path.to_str().unwrap();
    for word in ["stat -L", "ls", "cat", "mkdir", "ln -s x", "rmdir", "rm -r", "touch"] {
        let words: Vec<&str> = word.split(' ').chain([path]).collect();
        assert_eq!(output(DENIED, &words), None, "{word} {path}");
    }
}

/// A sandbox in which something else is mounted over a directory.
pub struct Mask {
    sandbox: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Mask {
    pub fn over(directory: &Path) -> Self {
        const SCRIPT: &str = "mount --make-rprivate / && mount -t tmpfs none \"$0\" && touch \"$0/mask\" && echo ready && \
            { read go; ls \"$0\"; }";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT]).arg(directory);
        let mut sandbox = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(sandbox.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        Self { sandbox, lines }
    }

    /// What is there now.
    pub fn listed(mut self) -> Vec<String> {
        drop(self.sandbox.stdin.take());
        let listed = self.lines.map(Result::unwrap).collect();
        self.sandbox.wait().unwrap();
        listed
    }
}

#[test]
fn what_hides_a_directory_in_a_sandbox_stays_there() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let mask = Mask::over(&mount.path("web/sub"));
    for path in ["web/sub", "web", "web/sub/deep", "private/sub", "private"] {
        probe(&mount.path(path));
    }
    assert_eq!(mask.listed(), ["mask"]);
}

#[test]
fn working_directories_and_open_files_survive_others() {
    const SCRIPT: &str = "import os, sys
os.chdir(sys.argv[1]); f = open('deep'); print('ready', flush=True)
for line in sys.stdin:
    f.seek(0); print(os.getcwd(), f.read(), os.stat('deep').st_size, *os.listdir(), flush=True)
";
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let web = place.means.callers().into_iter().next().unwrap();
    let directory = mount.path("web/sub");
    let mut inside = web.python(&[Path::new("-c"), Path::new(SCRIPT), &directory]);
    let mut inside = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(inside.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    for path in ["web", "web/sub", "web/sub/deep"] {
        probe(&mount.path(path));
        std::io::Write::write_all(inside.stdin.as_mut().unwrap(), b"\n").unwrap();
        let wanted = format!("{} {} 14 deep", directory.display(), content("web/sub/deep"));
        assert_eq!(lines.next().unwrap().unwrap(), wanted, "after {path}");
    }
    drop(inside.stdin.take());
    assert!(inside.wait().unwrap().success());
}

#[test]
fn what_is_moved_or_linked_is_seen_by_its_new_names() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let stat = |uid, path: &str| output(uid, &["stat", "-c", "%s", mount.path(path).to_str().unwrap()]);
    assert!(stat(WEB, "web/sub/deep").is_some());
    fs::rename(mount.path("web/sub"), mount.path("moved")).unwrap();
    // The kernel hears of it a moment after.
    eventually("the kernel asking anew", || stat(WEB, "moved/deep").is_none() && stat(WEB, "moved").is_none());
    fs::rename(mount.path("moved"), mount.path("web/sub")).unwrap();
    assert!(stat(WEB, "web/sub/deep").is_some());
    // A second name where others look, which none of their shares has.
    fs::hard_link(mount.path("web/one"), mount.path("common/linked")).unwrap();
    assert!(stat(WEB, "web/one").is_some() && stat(WEB, "common/linked").is_some());
    assert_eq!(stat(TWO, "common/linked"), None);
}

#[test]
fn a_link_gives_nobody_more_than_he_had() {
    if !can() {
        return;
    }
    let place = Place::new();
    for (share, path, uid, more) in [
        ("writers", "common", DENIED, &["--write"][..]),
        ("readers", "common", WEB, &[]),
        ("own", "web", WEB, &["--write"]),
    ] {
        if share != "readers" {
            place.bench.pkfs(&["share", "create", "app.pk", share, path]);
        }
        let share = if share == "readers" { "writers" } else { share };
        let uid = uid.to_string();
        place.bench.pkfs(&[&["share", "allow", "app.pk", share, "--uid", &uid], more].concat());
    }
    let mount = place.mount();
    let path = |path: &str| mount.path(path).to_str().unwrap().to_owned();
    // Linux's own guard against links (protected_hardlinks) is satisfied: the mode lets all write who get there.
    assert!(output(WEB, &["cat", &path("common/one")]).is_some());
    assert_eq!(fs::metadata(mount.path("common/one")).unwrap().permissions().mode() & 0o222, 0o222);
    assert_eq!(output(WEB, &["ln", &path("common/one"), &path("web/stolen")]), None);
    assert!(output(WEB, &["ln", &path("web/one"), &path("web/second")]).is_some());
    assert!(output(DENIED, &["ln", &path("common/one"), &path("common/second")]).is_some());
    assert_eq!(mount.read("common/one"), content("common/one"));
}

#[test]
fn a_descriptor_gives_what_it_was_opened_for() {
    const BELOW: &str = "import os
for path in ('one', 'sub/y', '../web/one', '.'):
    try: os.open(path, os.O_RDONLY, dir_fd=0); print(path)
    except OSError as error: print(error.strerror)
";
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let denied = place.means.callers().into_iter().find(|caller| caller.name == "denied").unwrap();
    // Handed over, a file is read; that is Unix.
    let given = fs::File::open(mount.path("private/one")).unwrap();
    let cat = crate::callers::command(DENIED, &["cat"]).stdin(given).output().unwrap();
    assert_eq!(String::from_utf8(cat.stdout).unwrap(), content("private/one"));
    // A directory leads nowhere.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let directory = rustix::fs::open(mount.path("private"), flags, rustix::fs::Mode::empty()).unwrap();
    let looked = denied.python(&[Path::new("-c"), Path::new(BELOW)]).stdin(directory).output().unwrap();
    let said = String::from_utf8(looked.stdout).unwrap();
    assert_eq!(said, "No such file or directory\n".repeat(4), "{}", String::from_utf8_lossy(&looked.stderr));
    // Nor does another user's process.
    let mut inside = crate::callers::command(WEB, &["sh", "-c", "exec 3< \"$0\"; echo ready; exec cat"]);
    inside.arg(mount.path("web/one")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut inside = inside.spawn().unwrap();
    let mut lines = BufReader::new(inside.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let process = format!("/proc/{}", inside.id());
    let mut paths = vec![format!("{process}/fd/3"), format!("{process}/cwd/.")];
    paths.push(format!("{process}/root{}", mount.path("web/one").display()));
    for path in &paths {
        assert_eq!(output(DENIED, &["cat", path]), None, "{path}");
        assert_eq!(output(DENIED, &["ls", path]), None, "{path}");
    }
    inside.kill().unwrap();
    inside.wait().unwrap();
}

#[test]
fn nobody_else_settles_what_is_being_worked_on() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    // What `pkfs umount` asks of the mount's root before it unmounts.
    let ask = "import fcntl, os, sys\ntry: fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x80087001, bytearray(8))\nexcept OSError as e: print(e.errno)";
    let root = mount.path("");
    let asked = |uid| crate::callers::output(uid, &["/usr/bin/python3", "-c", ask, root.to_str().unwrap()]);
    for uid in [WEB, DENIED] {
        assert_eq!(asked(uid).unwrap().trim(), libc::EPERM.to_string());
    }
    assert_eq!(asked(0).unwrap(), "");
}

#[test]
fn a_descriptor_that_was_handed_on_truncates_as_it_writes() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let open = || fs::OpenOptions::new().write(true).open(mount.path("private/one")).unwrap();
    let script = "import os; os.pwrite(1, b'XY', 0); os.ftruncate(1, 2)";
    let done = crate::callers::command(DENIED, &["/usr/bin/python3", "-c", script]).stdout(open()).status().unwrap();
    assert!(done.success());
    eventually("what was written", || mount.read("private/one") == "XY");
    let path = mount.path("private/one");
    assert_eq!(output(DENIED, &["truncate", "-s", "1", path.to_str().unwrap()]), None);
    assert_eq!(mount.read("private/one"), "XY");
}

#[test]
fn how_many_secrets_there_are_is_told_to_who_sees_all() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let count = || rustix::fs::statvfs(mount.path("")).unwrap().f_files;
    let asked = |uid| output(uid, &["stat", "-f", "-c", "%c", mount.path("").to_str().unwrap()]).unwrap();
    let before = count();
    assert!(before > 20 && asked(DENIED) == "0\n" && asked(WEB) == "0\n");
    place.bench.put("private/new", "x");
    eventually("another one", || count() == before + 1);
}

/// Watches directories of the mount, and says all names that it hears before that of the last one.
const WATCH: &str = "import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
watch = libc.inotify_init1(0)
for path in sys.argv[2:]:
    assert libc.inotify_add_watch(watch, path.encode(), 0xfc6) > 0, path
print('ready', flush=True)
names = []
while sys.argv[1] not in names:
    events = os.read(watch, 65536)
    while events:
        length = struct.unpack_from('iIII', events)[3]
        names.append(events[16:16 + length].rstrip(b'\\0').decode())
        events = events[16 + length:]
print(*names, flush=True)
";

#[test]
fn who_watches_hears_of_changes_from_outside_what_all_may_know_who_can() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    // All who see `web` see all of it; of the others, each sees another part.
    let watched = ["", "db", "common", "web"].map(|path| mount.path(path).to_str().unwrap().to_owned());
    let interpreter = python();
    let mut words = vec![interpreter.to_str().unwrap(), "-c", WATCH, "last"];
    words.extend(watched.iter().map(String::as_str));
    let mut watcher = command(WEB, &words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    for change in [
        ["mv", "app.pk", "private/one", "db/unheard"],
        ["mv", "app.pk", "private", "unheard"],
        ["mv", "app.pk", "common/two", "unheard-too"],
        ["mv", "app.pk", "web/sub", "unseen"],
        ["mv", "app.pk", "web/one", "web/moved"],
        ["mv", "app.pk", "unseen", "web/again"],
        ["mv", "app.pk", "web/link", "web/last"],
    ] {
        place.bench.pkfs(&change);
    }
    let heard = lines.next().unwrap().unwrap();
    watcher.wait().unwrap();
    let names = heard.split(' ').filter(|name| !name.is_empty() && !name.starts_with(".new-"));
    assert_eq!(names.collect::<Vec<_>>(), ["one", "moved", "again", "link", "last"]);
    for path in ["web/again/deep", "unheard/sub/y"] {
        assert!(fs::read_to_string(mount.path(path)).unwrap().starts_with("v:"), "{path}");
    }
    assert_eq!(output(DENIED, &["ls", "-A", mount.path("").to_str().unwrap()]).unwrap(), "");
    let seen = output(WEB, &["ls", mount.path("web").to_str().unwrap()]).unwrap();
    assert_eq!(seen, "again\nlast\nmoved\n");
}
