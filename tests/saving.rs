//! How people and programs save: each way makes one version, and leaves nothing behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Bench, Mount, can_mount};

/// One way to bring `$V` and a newline into the file `a`: a shell script, run in the directory of the file.
struct Way {
    script: String,
    /// What else it leaves there because it was told to, such as a backup.
    leaves: &'static [&'static str],
}

/// What the ways save, one after the other; the first one is there before.
const VALUES: [&str; 3] = ["one", "two", "three"];

impl Way {
    fn new(script: impl Into<String>) -> Self {
        Self { script: script.into(), leaves: &[] }
    }

    fn leaving(self, leaves: &'static [&'static str]) -> Self {
        Self { leaves, ..self }
    }
}

/// Runs a script in a directory, with a home that is not on the mount.
fn run(bench: &Bench, directory: &Path, script: &str, value: &str) {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .env("V", value)
        .env("HOME", bench.path(""))
        .env("TERM", "xterm")
        .env("OUTSIDE", bench.path("outside"))
        .env("TERMINAL", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/terminal.py"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&said));
}

/// The contents of all versions in the mount's history, which has nothing but them and the log.
fn versions(mount: &Mount, path: &str) -> Vec<Vec<u8>> {
    let mut names = mount.list(&format!(".versions/{path}"));
    assert_eq!(names.pop().as_deref(), Some("log"), "{path}");
    names.sort_by_key(|name| name.parse::<u32>().unwrap());
    names.iter().map(|name| fs::read(mount.path(&format!(".versions/{path}/{name}"))).unwrap()).collect()
}

/// How many versions the log of the keynode has.
fn logged(bench: &Bench, path: &str) -> usize {
    String::from_utf8(bench.pkfs(&["log", "app.pk", path])).unwrap().lines().count()
}

/// All paths that the keynode has.
fn paths(bench: &Bench) -> Vec<String> {
    String::from_utf8(bench.pkfs(&["ls", "-R", "app.pk"])).unwrap().lines().map(str::to_owned).collect()
}

/// Saves in each way, into secrets that have been there before the mount and into secrets that were made just now.
fn check(ways: &[Way]) {
    if !can_mount() {
        return;
    }
    for fresh in [false, true] {
        let bench = Bench::new();
        fs::create_dir(bench.path("outside")).unwrap();
        let mut mount = bench.mount(&[]);
        for at in 0..ways.len() {
            fs::create_dir(mount.path(&format!("way{at}"))).unwrap();
            mount.write(&format!("way{at}/a"), "one\n");
        }
        if !fresh {
            bench.pkfs(&["umount", "m"]);
            assert_eq!(mount.wait(), Some(0));
            mount = bench.mount(&[]);
        }
        for (at, way) in ways.iter().enumerate() {
            for value in &VALUES[1..] {
                run(&bench, &mount.path(&format!("way{at}")), &way.script, value);
            }
        }
        let expected = VALUES.map(|value| format!("{value}\n").into_bytes());
        for (at, way) in ways.iter().enumerate() {
            let path = format!("way{at}/a");
            assert_eq!(fs::read(mount.path(&path)).unwrap(), expected[2], "{}", way.script);
            assert_eq!(versions(&mount, &path), expected, "{}", way.script);
            assert_eq!(logged(&bench, &path), VALUES.len(), "{}", way.script);
            for left in way.leaves {
                assert_eq!(fs::read(mount.path(&format!("way{at}/{left}"))).unwrap(), expected[1], "{}", way.script);
            }
        }
        bench.pkfs(&["umount", "m"]);
        assert_eq!(mount.wait(), Some(0));
        mount = bench.mount(&[]);
        for (at, way) in ways.iter().enumerate() {
            let names: Vec<_> = ["a"].iter().chain(way.leaves).copied().collect();
            assert_eq!(mount.list(&format!("way{at}")), names, "{}", way.script);
            // Nothing else was ever a secret.
            assert_eq!(mount.list(&format!(".versions/way{at}")), names, "{}", way.script);
            assert_eq!(versions(&mount, &format!("way{at}/a")), expected, "{}", way.script);
        }
        let present: usize = ways.iter().map(|way| 2 + way.leaves.len()).sum();
        assert_eq!(paths(&bench).len(), present);
    }
}

#[test]
fn a_shell_redirects_into_a_secret() {
    check(&[
        Way::new("echo $V > a"),
        Way::new("{ printf %.1s $V; printf %s ${V#?}; cat /dev/null; echo; } > a"),
        Way::new("(printf %s $V; sh -c echo) > a"),
        Way::new("exec 3> a; printf %s $V >&3; echo >&3; exec 3>&-"),
        Way::new("echo $V | tee a"),
        Way::new("echo $V | dd of=a status=none"),
        Way::new("echo $V | dd of=a bs=1 conv=fsync status=none"),
        Way::new("set -C; echo $V >| a"),
    ]);
}

#[test]
fn files_are_copied_and_moved_over_a_secret() {
    check(&[
        Way::new("echo $V > $OUTSIDE/f; cp $OUTSIDE/f a"),
        Way::new("echo $V > $OUTSIDE/f; cp -p $OUTSIDE/f a"),
        Way::new("echo $V > $OUTSIDE/f; cp --remove-destination $OUTSIDE/f a"),
        Way::new("echo $V > $OUTSIDE/f; cp -f $OUTSIDE/f a"),
        Way::new("echo $V > $OUTSIDE/f; install -m 600 $OUTSIDE/f a"),
        Way::new("echo $V > $OUTSIDE/f; mv $OUTSIDE/f a"),
        Way::new("echo $V > new; mv new a"),
        Way::new("mkdir d; echo $V > d/new; mv d/new a; rmdir d"),
        Way::new("echo $V > $OUTSIDE/f; cp $OUTSIDE/f new; sync new; mv -f new a"),
        Way::new("rm a; echo $V > a"),
        Way::new("echo $V > $OUTSIDE/a; rsync --ignore-times $OUTSIDE/a a"),
        Way::new("echo $V > $OUTSIDE/a; rsync -a --ignore-times $OUTSIDE/a ."),
        Way::new("echo $V > $OUTSIDE/a; rsync -a --fsync --ignore-times $OUTSIDE/a ."),
        Way::new("echo $V > $OUTSIDE/a; rsync --inplace --ignore-times $OUTSIDE/a a"),
        Way::new("echo $V > $OUTSIDE/a; rsync --delay-updates --ignore-times $OUTSIDE/a a"),
        Way::new("echo $V > $OUTSIDE/a; tar -C $OUTSIDE -c a | tar -x"),
    ]);
}

#[test]
fn tools_and_languages_rewrite_a_secret() {
    const PYTHON_REPLACE: &str = r#"
import os, tempfile
with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as f:
    f.write(os.environ["V"] + "\n")
    f.flush()
    os.fsync(f.fileno())
os.replace(f.name, "a")
directory = os.open(".", os.O_RDONLY)
os.fsync(directory)
"#;
    const PYTHON_REPLACE_OPEN: &str = r#"
import os
with open("a.tmp", "w") as f:
    f.write(os.environ["V"] + "\n")
    f.flush()
    os.replace("a.tmp", "a")
"#;
    const PYTHON_SYNCS: &str = r#"
import os
with open("a", "w") as f:
    for c in os.environ["V"] + "\n":
        f.write(c)
        f.flush()
        os.fsync(f.fileno())
"#;
    const PYTHON_MAPS: &str = r#"
import mmap, os
new = (os.environ["V"] + "\n").encode()
with open("a", "r+b") as f:
    f.truncate(len(new))
    with mmap.mmap(f.fileno(), 0) as m:
        m[:] = new
        m.flush()
"#;
    let python = |script: &str| Way::new(format!("python3 -c '{script}'"));
    check(&[
        Way::new("sed -i \"s/.*/$V/\" a"),
        Way::new("perl -pi -e 's/.*/$ENV{V}/' a"),
        Way::new("gawk -i inplace '{ print ENVIRON[\"V\"] }' a"),
        Way::new("echo $V > $OUTSIDE/f; sort -o a $OUTSIDE/f"),
        Way::new("echo $V | diff -u a - > $OUTSIDE/diff || patch -s a $OUTSIDE/diff"),
        python(PYTHON_REPLACE),
        python(PYTHON_REPLACE_OPEN),
        python(PYTHON_SYNCS),
        python(PYTHON_MAPS),
        python(r#"import os, pathlib; pathlib.Path("a").write_text(os.environ["V"] + "\n")"#),
    ]);
}

#[test]
fn editors_save_a_secret() {
    // Where tests have their files, editors make no backups unless told to.
    let mut ways = Vec::new();
    for copy in ["yes", "no", "auto"] {
        for (options, leaves) in [
            ("", &[][..]),
            ("backup writebackup", &["a~"]),
            ("nobackup writebackup", &[]),
            ("nobackup nowritebackup", &[]),
        ] {
            let vim = format!(
                "vim -u NONE -N -i NONE --cmd 'set directory=. updatecount=1 backupskip=' -es \
                 -c 'set backupcopy={copy} {options}' -c \"%s/.*/$V/\" -c wq a"
            );
            ways.push(Way::new(vim).leaving(leaves));
        }
    }
    let emacs = |settings: &str| {
        Way::new(format!(
            "emacs -Q --batch --eval '(setq backup-enable-predicate (lambda (name) t) {settings})' --eval '(find-file \"a\")' --eval '(erase-buffer)' \
             --eval '(insert (getenv \"V\") \"\\n\")' --eval '(do-auto-save)' --eval '(save-buffer)'"
        ))
    };
    let on_terminal = |program: &str, dialogue: &str, arguments: &str| {
        Way::new(format!("python3 $TERMINAL {program} '{dialogue}' {arguments}"))
    };
    ways.extend([
        // On a terminal, as people use them.
        on_terminal("vim", r#"[["1L,", ":%s/.*/'$V'/\r:wq\r"]]"#, "-u NONE -N -i NONE a"),
        on_terminal(
            "nano",
            r#"[["Exit", "\u000b'$V'\u0018"], ["Save", "y"], ["Name to Write", "\r"]]"#,
            "--ignorercfiles a",
        ),
        on_terminal("nano", r#"[["Exit", "\u000b'$V'\u0013\u0018"]]"#, "--ignorercfiles --locking --backup a")
            .leaving(&["a~"]),
        emacs("make-backup-files nil"),
        emacs("make-backup-files t").leaving(&["a~"]),
        emacs("make-backup-files t backup-by-copying t").leaving(&["a~"]),
        emacs("make-backup-files nil file-precious-flag t"),
        Way::new("printf '%s\\n' ,d i \"$V\" . w q | ed -s a"),
    ]);
    check(&ways);
}

/// Commands that write secrets of their own making, how many versions they make of each file of the directory, and how
/// the result is told to be right.
type Maker = (&'static str, &'static [(&'static str, usize)], &'static str);
const MAKERS: [Maker; 8] = [
    ("ssh-keygen -q -t ed25519 -N '' -f key", &[("key", 1), ("key.pub", 1)], "ssh-keygen -y -f key"),
    (
        "ssh-keygen -q -t ed25519 -N 12345 -f key; ssh-keygen -q -p -P 12345 -N 67890 -f key",
        &[("key", 2), ("key.pub", 1)],
        "ssh-keygen -y -P 67890 -f key; ! ssh-keygen -y -P 12345 -f key",
    ),
    (
        "ssh-keygen -q -t rsa -b 2048 -N '' -m PEM -f key; chmod 400 key",
        &[("key", 1), ("key.pub", 1)],
        "ssh-keygen -y -f key",
    ),
    ("openssl genpkey -algorithm ed25519 -out key", &[("key", 1)], "openssl pkey -in key -check -noout"),
    ("openssl genrsa -out key 2048", &[("key", 1)], "openssl rsa -in key -check -noout"),
    (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key -out crt -days 2 &&
        openssl pkcs12 -export -inkey key -in crt -passout pass:x -out both",
        &[("both", 1), ("crt", 1), ("key", 1)],
        "openssl verify -CAfile crt crt; openssl pkcs12 -in both -passin pass:x -nodes -noout",
    ),
    (
        "openssl rand -hex -out password 16; openssl rand -hex -out password 16",
        &[("password", 2)],
        "[ $(wc -c < password) = 33 ]",
    ),
    (
        "git config -f conf user.token one; git config -f conf user.token two; git config -f conf --add user.token three",
        &[("conf", 3)],
        "[ \"$(git config -f conf --get-all user.token | paste -sd,)\" = two,three ]",
    ),
];

#[test]
fn programs_write_keys_of_their_own() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    fs::set_permissions(bench.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mount = bench.mount(&[]);
    for (at, (script, files, judge)) in MAKERS.iter().enumerate() {
        let directory = format!("made{at}");
        fs::create_dir(mount.path(&directory)).unwrap();
        run(&bench, &mount.path(&directory), script, "");
        run(&bench, &mount.path(&directory), judge, "");
        assert_eq!(mount.list(&directory), files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{script}");
        for (name, count) in *files {
            let path = format!("{directory}/{name}");
            assert_eq!((versions(&mount, &path).len(), logged(&bench, &path)), (*count, *count), "{script}: {name}");
        }
    }
    bench.pkfs(&["umount", "m"]);
    assert_eq!(mount.wait(), Some(0));
    let mount = bench.mount(&[]);
    for (at, (script, files, judge)) in MAKERS.iter().enumerate() {
        run(&bench, &mount.path(&format!("made{at}")), judge, "");
        let known = mount.list(&format!(".versions/made{at}"));
        assert_eq!(known, files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{script}");
    }
}

/// What is saved by a link's name, and what the other name shows then: the same, or what it showed before.
const LINKED: [(&str, &str, bool); 6] = [
    ("ln -s a other", "sed -i --follow-symlinks s/one/two/ other", true),
    ("ln -s a other", "cp /dev/stdin other", true),
    ("ln -s a other", "vim -u NONE -N -i NONE -es -c 'set backupcopy=auto' -c %s/one/two/ -c wq other", true),
    ("ln a other", "vim -u NONE -N -i NONE -es -c 'set backupcopy=auto' -c %s/one/two/ -c wq other", true),
    ("ln a other", "cat > other", true),
    ("ln a other", "sed -i s/one/two/ other", false),
];

#[test]
fn links_stay_where_programs_care_for_them() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount(&[]);
    for (at, (link, save, stays)) in LINKED.iter().enumerate() {
        let directory = format!("linked{at}");
        fs::create_dir(mount.path(&directory)).unwrap();
        mount.write(&format!("{directory}/a"), "one\n");
        run(&bench, &mount.path(&directory), &format!("{link}; echo two | {save}"), "");
        assert_eq!(mount.read(&format!("{directory}/other")), "two\n", "{save}");
        let expected: &[&[u8]] = if *stays { &[b"one\n", b"two\n"] } else { &[b"one\n"] };
        assert_eq!(versions(&mount, &format!("{directory}/a")), expected, "{save}");
    }
    bench.pkfs(&["umount", "m"]);
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(paths(&bench).len(), 3 * LINKED.len());
}
