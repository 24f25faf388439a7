//! What the kernel keeps, or does by itself, gives nobody more than his share, and takes nothing from others.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use crate::attacks::Mask;
use crate::callers::{DENIED, TWO, WEB, command, output, python};
use crate::place::{Place, can};
use crate::support::{Mount, eventually};

fn text(mount: &Mount, path: &str) -> String {
    mount.path(path).to_str().unwrap().to_owned()
}

fn python_as(uid: u32, script: &str, arguments: &[&str]) -> std::process::Command {
    let interpreter = python();
    command(uid, &[&[interpreter.to_str().unwrap(), "-c", script], arguments].concat())
}

#[test]
fn who_is_refused_leaves_the_tree_of_a_date_where_it_is() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let date = ".versions/@2999";
    let mask = Mask::over(&mount.path(&format!("{date}/web/sub")));
    for path in [date.to_owned(), format!("{date}/web"), format!("{date}/web/sub"), ".versions/@2998".to_owned()] {
        for word in ["stat", "ls", "cat", "mkdir"] {
            assert_eq!(output(DENIED, &[word, &text(&mount, &path)]), None, "{word} {path}");
        }
    }
    assert_eq!(output(DENIED, &["stat", &text(&mount, ".versions/@2997")]), None, "what nobody has looked at");
    assert_eq!(mask.listed(), ["mask"]);
}

/// The way to a program leads through the mount itself.
#[test]
fn a_rule_for_a_program_keeps_nobody_waiting() {
    if !can() {
        return;
    }
    let place = Place::new();
    let home = place.bench.path("home");
    fs::create_dir_all(home.join("bin")).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy("/bin/cat", home.join("bin/tool")).unwrap();
    let tool = home.join("bin/tool");
    place.bench.pkfs(&["share", "allow", "app.pk", "tools", "--exe", tool.to_str().unwrap()]);
    let away = home.join("bin.away");
    fs::rename(home.join("bin"), &away).unwrap();
    symlink(place.bench.path("m/tools/bin"), home.join("bin")).unwrap();
    // What it leads to is not in the kernel's cache yet, so that who looks waits for whoever answers.
    let mount = place.mount();
    let cat = |uid, program: &str, path: &str| output(uid, &["timeout", "20", program, &text(&mount, path)]);
    for _ in 0..3 {
        for word in ["stat", "ls"] {
            assert_eq!(output(DENIED, &["timeout", "20", word, &text(&mount, "tools")]), None);
        }
        assert_eq!(cat(WEB, "cat", "web/one").as_deref(), Some("v:web/one"));
    }
    assert_eq!(cat(DENIED, away.join("tool").to_str().unwrap(), "tools/a"), None, "it is elsewhere");
    fs::remove_file(home.join("bin")).unwrap();
    fs::rename(&away, home.join("bin")).unwrap();
    assert_eq!(cat(DENIED, tool.to_str().unwrap(), "tools/a").as_deref(), Some("v:tools/a"));
}

/// The kernel opens FIFOs and connects to sockets without a word.
#[test]
fn pipes_and_sockets_are_written_by_their_owners_alone() {
    const WAITS: &str = "import os, socket, sys
os.umask(0); os.chdir(sys.argv[1]); os.mkfifo('pipe', 0o666)
plug = socket.socket(socket.AF_UNIX); plug.bind('plug'); os.chmod('plug', 0o666); plug.listen()
pipe = os.open('pipe', os.O_RDWR | os.O_NONBLOCK)
print('ready', flush=True); sys.stdin.read()
try: print(os.read(pipe, 99))
except BlockingIOError: print('nothing')";
    const TRIES: &str = "import errno, os, socket, sys
os.chdir(sys.argv[1])
def plug(): socket.socket(socket.AF_UNIX).connect('plug')
def pipe(): os.write(os.open('pipe', os.O_WRONLY | os.O_NONBLOCK), b'forged')
def tries():
    for ask in plug, pipe:
        try: ask(); print('done', end=' ')
        except OSError as error: print(errno.errorcode[error.errno], end=' ')
    print(flush=True)
tries()
for line in sys.stdin: tries()";
    if !can() {
        return;
    }
    let place = Place::new();
    place.bench.pkfs(&["share", "allow", "app.pk", "web", "--uid", &TWO.to_string(), "--write"]);
    let mount = place.mount();
    let web = text(&mount, "web");
    let mut owner = python_as(TWO, WAITS, &[&web]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let mut reader = python_as(WEB, TRIES, &[&web]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut tried = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(tried.next().unwrap().unwrap(), "EACCES EACCES ");
    let mut ask = reader.stdin.take().unwrap();
    place.bench.pkfs(&["share", "deny", "app.pk", "web", "--uid", &WEB.to_string()]);
    eventually("denying", || {
        ask.write_all(b"\n").unwrap();
        tried.next().unwrap().unwrap() == "ENOENT ENOENT "
    });
    drop(ask);
    reader.wait().unwrap();
    drop(owner.stdin.take());
    assert_eq!(said.next().unwrap().unwrap(), "nothing");
    owner.wait().unwrap();
}

/// A directory that all saw alike comes to where one path in it is somebody else's share.
#[test]
fn what_is_below_a_moved_directory_is_asked_for_anew() {
    if !can() {
        return;
    }
    for outside in [false, true] {
        let place = Place::new();
        place.bench.pkfs(&["share", "add", "app.pk", "two", "web/new/shown"]);
        let mount = place.mount();
        let make = |path: &str| fs::create_dir_all(mount.path(path)).unwrap();
        make("private/old/deep");
        place.bench.pkfs(&["share", "add", "app.pk", "web", "private/old"]);
        mount.write("private/old/deep/hidden", "x");
        mount.write("private/old/shown", "y");
        fs::set_permissions(mount.path("private/old/deep"), fs::Permissions::from_mode(0o755)).unwrap();
        eventually("web's", || output(WEB, &["cat", &text(&mount, "private/old/deep/hidden")]).is_some());
        if outside {
            place.bench.pkfs(&["mv", "app.pk", "private/old", "web/new"]);
        } else {
            fs::rename(mount.path("private/old"), mount.path("web/new")).unwrap();
        }
        eventually("the move", || output(WEB, &["cat", &text(&mount, "web/new/deep/hidden")]).is_some());
        eventually("two's", || output(TWO, &["cat", &text(&mount, "web/new/shown")]).as_deref() == Some("y"));
        for path in ["web/new/deep", "web/new/deep/hidden"] {
            eventually(path, || output(TWO, &["stat", &text(&mount, path)]).is_none());
            assert_eq!(output(TWO, &["ls", &text(&mount, path)]), None);
        }
        assert!(output(WEB, &["stat", &text(&mount, "web/new/deep/hidden")]).is_some());
    }
}

#[test]
fn a_directory_that_was_open_before_lists_what_its_reader_has_now() {
    const READ: &str = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDONLY)
for line in sys.stdin:
    names, found = ctypes.create_string_buffer(65536), b''
    libc.lseek(fd, 2, 0)
    while (length := libc.syscall(217, fd, names, 65536)) > 0: found += names.raw[:length]
    print(*[name for name in sys.argv[2:] if name.encode() in found], flush=True)";
    if !can() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let mut reader = python_as(WEB, READ, &[&text(&mount, "web"), "sub", "another"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut ask, mut told) = (reader.stdin.take().unwrap(), BufReader::new(reader.stdout.take().unwrap()).lines());
    let mut list = || {
        ask.write_all(b"\n").unwrap();
        told.next().unwrap().unwrap()
    };
    assert_eq!(list(), "sub");
    place.bench.pkfs(&["share", "deny", "app.pk", "web", "--uid", &WEB.to_string()]);
    eventually("denying", || output(WEB, &["ls", &text(&mount, "web")]).is_none());
    mount.write("web/another", "x");
    assert_eq!(list(), "");
    drop(ask);
    reader.wait().unwrap();
}

#[test]
fn a_name_like_that_of_an_earlier_secret_is_a_name_like_others() {
    if !can() {
        return;
    }
    let place = Place::new();
    place.bench.put("db/web~20261124", "hidden");
    place.bench.put("web/one~20261124", "shown");
    let mount = place.mount();
    for directory in ["db", "web"] {
        fs::set_permissions(mount.path(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
    place.bench.pkfs(&["umount", "m"]);
    drop(mount);
    let mount = place.mount();
    let listed = |uid, path: &str| output(uid, &["ls", &text(&mount, path)]).unwrap();
    for past in [".versions/db", ".versions/@2999/db", "db"] {
        assert_eq!(listed(WEB, past), "web\n", "{past}");
    }
    for past in [".versions/web", ".versions/@2999/web"] {
        assert!(listed(WEB, past).contains("one~20261124\n"), "{past}");
    }
}
