//! What is open stays usable, by whoever has it and whatever becomes of its process; what is not has to be opened, as who
//! and what one is then.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::callers::{Caller, DENIED, WEB, python};
use crate::oracle::content;
use crate::place::{Place, can};

fn caller(place: &Place, name: &str) -> Caller {
    place.means.callers().into_iter().find(|caller| caller.name == name).unwrap()
}

/// A script where all callers can read it.
fn script(place: &Place, text: &str) -> PathBuf {
    let path = place.bench.path("script.py");
    fs::write(&path, text).unwrap();
    path
}

fn said(command: &mut Command) -> String {
    let output = command.current_dir("/").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn threads_children_and_other_programs_read_what_was_opened() {
    const SCRIPT: &str = "import os, subprocess, sys, threading
path = sys.argv[1]
descriptor = os.open(path, os.O_RDONLY)
read = lambda: os.pread(descriptor, 100, 0).decode()
found = [subprocess.run(['cat'], stdin=descriptor, stdout=subprocess.PIPE).stdout.decode()]
for what in (read, lambda: open(path).read(), lambda: open(f'/proc/self/fd/{descriptor}').read()):
    thread = threading.Thread(target=lambda: found.append(what()))
    thread.start(); thread.join()
out, into = os.pipe()
if os.fork() == 0:
    os.write(into, (read() + ' ' + open(path).read()).encode()); os._exit(0)
os.wait()
print(*found, os.read(out, 200).decode())
";
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let script = script(&place, SCRIPT);
    let found = said(&mut caller(&place, "web").python(&[&script, &mount.path("web/one")]));
    assert_eq!(found.trim_end(), vec![content("web/one"); 6].join(" "));
}

#[test]
fn a_descriptor_that_was_passed_is_read_and_leads_no_further() {
    const GIVE: &str = "import os, socket, sys
here = socket.socket(fileno=0)
socket.send_fds(here, [b'x'], [os.open(sys.argv[1], os.O_RDONLY)])
here.recv(1)
";
    const TAKE: &str = "import mmap, os, socket, sys
here = socket.socket(fileno=0)
_, (taken,), _, _ = socket.recv_fds(here, 1, 1)
def tried(path):
    try: return open(path).read()
    except OSError as error: return error.strerror
with mmap.mmap(taken, 0, prot=mmap.PROT_READ) as memory: mapped = memory[:].decode()
print(os.pread(taken, 100, 0).decode(), mapped, os.fstat(taken).st_size)
print(tried(sys.argv[1])); print(tried(f'/proc/self/fd/{taken}'))
here.send(b'x')
";
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let (here, there) = UnixStream::pair().unwrap();
    let path = mount.path("web/one");
    let start = |name: &str, script: &str, end: UnixStream| {
        let mut command = caller(&place, name).python(&[Path::new("-c"), Path::new(script), &path]);
        command.current_dir("/").stdin(OwnedFd::from(end)).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut giver, taker) = (start("web", GIVE, here), start("denied", TAKE, there));
    let taken = taker.wait_with_output().unwrap();
    assert!(giver.wait().unwrap().success() && taken.status.success());
    let (value, nothing) = (content("web/one"), "No such file or directory");
    let wanted = format!("{value} {value} {}\n{nothing}\n{nothing}\n", value.len());
    assert_eq!(String::from_utf8(taken.stdout).unwrap(), wanted);
}

#[test]
fn a_program_that_becomes_another_keeps_what_it_opened_alone() {
    const SCRIPT: &str = "import os, sys
path, tool, other, turn, descriptor = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
def tried():
    try: return open(path).read()
    except OSError as error: return error.strerror
if turn == 0:
    descriptor = os.open(path, os.O_RDONLY); os.set_inheritable(descriptor, True)
print(os.pread(descriptor, 100, 0).decode(), tried(), sep=': ', flush=True)
if turn < 4:
    program = (tool, other)[(turn + 1) % 2]
    os.execv(program, [program, sys.argv[0], path, tool, other, str(turn + 1), str(descriptor)])
";
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let (script, python) = (script(&place, SCRIPT), python());
    let words = [&script, &mount.path("tools/a"), &place.means.tool, &python, Path::new("0"), Path::new("-1")];
    let found = said(&mut caller(&place, "tool").python(&words));
    let value = content("tools/a");
    let (may, may_not) = (format!("{value}: {value}\n"), format!("{value}: No such file or directory\n"));
    assert_eq!(found, [&*may, &may_not, &may, &may_not, &may].concat());
}

/// Each thread has credentials of its own, as far as the kernel is concerned.
#[test]
fn a_thread_is_who_it_has_become() {
    const SCRIPT: &str = "import ctypes, os, platform, sys, threading
setresuid = {'x86_64': 117, 'aarch64': 147}[platform.machine()]
libc, found = ctypes.CDLL(None, use_errno=True), []
def tried(path):
    try: found.append(open(path).read())
    except OSError as error: found.append(error.strerror)
def become(uid):
    if uid: libc.syscall(setresuid, uid, uid, uid)
    for path in sys.argv[3:]: tried(path)
for uid in (int(sys.argv[1]), int(sys.argv[2]), 0):
    thread = threading.Thread(target=become, args=(uid,))
    thread.start(); thread.join()
print(*found, sep='\\n')
";
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let (script, uids) = (script(&place, SCRIPT), [WEB, DENIED].map(|uid| uid.to_string()));
    let mut command = Command::new(python());
    let paths = [mount.path("web/one"), mount.path("private/one")];
    let found = said(command.arg(script).args(&uids).args(paths));
    let (one, two, nothing) = (content("web/one"), content("private/one"), "No such file or directory");
    assert_eq!(found.lines().collect::<Vec<_>>(), [&*one, nothing, nothing, nothing, &one, &two]);
}
