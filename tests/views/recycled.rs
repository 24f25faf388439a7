//! A process number that is used again: nobody inherits what was decided for another program.

use std::fs;
use std::process::Command;

use crate::callers::{DENIED, python};
use crate::oracle::content;
use crate::place::{Place, can};

/// In a pid namespace with the mount: makes the number of the next process the same again and again, runs the allowed
/// program and a denied one in turns under it while others ask too, and counts what each could read.
const SCRIPT: &str = r#"
import os, subprocess, sys
tool, other, path, uid, turns = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
subprocess.run([sys.argv[6], "mount", "app.pk", "m"], check=True)
load = "while :; do /bin/true; cat \"$0\"; done >/dev/null 2>&1"
subprocess.Popen(["setpriv", f"--reuid={uid}", "--clear-groups", other, "-c", load, path])
number, counts, same, turn = 0, {}, 0, 0
# Processes of the load take the number now and then: such a turn does not count as one under the same number.
while same < turns and turn < 20 * turns:
    program = tool if turn % 2 == 0 else other
    turn += 1
    if number:
        open("/proc/sys/kernel/ns_last_pid", "w").write(str(number - 1))
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([]); os.setgid(uid); os.setuid(uid)
        os.dup2(into, 1)
        os.execv(program, [program, "-c", 'read -r line < "$0"; echo "$line"', path])
    os.close(into)
    text = os.read(out, 100).decode().strip()
    os.close(out)
    os.waitpid(child, 0)
    same += child == number
    number = number or child
    counts[(program, text)] = counts.get((program, text), 0) + 1
for (program, text), count in sorted(counts.items()):
    print("tool" if program == tool else "other", text or "-", count)
print("same", same, "of", turn)
"#;

#[test]
fn a_recycled_number_inherits_nothing() {
    const TURNS: usize = 2000;
    if !can() {
        return;
    }
    let place = Place::new();
    // A shell by another name instead of Python, since it starts so often.
    fs::remove_file(&place.means.tool).unwrap();
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &place.means.tool).unwrap();
    let path = place.bench.path("m/tools/a");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(python()).args(["-c", SCRIPT]);
    command.arg(&place.means.tool).arg("/bin/sh").arg(&path).args([DENIED.to_string(), TURNS.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_pkfs")).current_dir(place.bench.path("")).env("PKFS_KEY", "key");
    let state = place.bench.path("state");
    let output = command.env("HOME", place.bench.path("")).env("XDG_STATE_HOME", state).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let content = content("tools/a");
    assert_eq!(lines.len(), 3, "{text}{said}");
    let (other, tool, same) = (&lines[0], &lines[1], &lines[2]);
    assert_eq!((&other[..2], &tool[..2]), (&["other", "-"][..], &["tool", &*content][..]), "{text}{said}");
    let number = |word: &str| word.parse::<usize>().unwrap();
    assert_eq!(number(other[2]) + number(tool[2]), number(same[3]), "{text}");
    assert_eq!(number(same[1]), TURNS, "the number was too seldom the same: {text}");
}
