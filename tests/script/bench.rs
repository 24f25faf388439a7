//! A place of its own for each test: a keynode, pkfs, the script, and shells and tools to run it with.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pkfs::node::quoted;
use tempfile::TempDir;

pub const PASSPHRASE: &str = "correct horse battery staple 7!";

/// What the script is run with.
#[derive(Debug, Clone, Copy)]
pub enum Tools {
    /// dash and what the system has.
    System,
    /// dash with GNU awk.
    Gawk,
    /// dash with libarchive's tar.
    Bsdtar,
    /// Everything but git and gpg from busybox, its shell too.
    Busybox,
}

pub const ALL_TOOLS: [Tools; 4] = [Tools::System, Tools::Gawk, Tools::Bsdtar, Tools::Busybox];

pub struct Bench {
    directory: TempDir,
}

pub struct Done {
    pub status: i32,
    pub bytes: Vec<u8>,
    pub err: String,
}

impl Done {
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        assert_eq!(self.status, 0, "{}{}", String::from_utf8_lossy(&self.bytes), self.err);
        self.bytes
    }

    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.ok()).unwrap()
    }

    /// Standard error, one line, after nothing was found on standard output and this exit status.
    #[track_caller]
    pub fn fails(self, status: i32) -> String {
        assert_eq!((self.status, self.bytes.len()), (status, 0), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        self.err
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status.code().unwrap_or(-1), bytes: output.stdout, err }
    }
}

impl Bench {
    /// With the keynode `a.pk`, which the passphrase in `pw` and the key `a.key` unlock.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bench = Self { directory };
        for name in ["state", "run", "tmp", "gnupg"] {
            fs::create_dir(bench.path(name)).unwrap();
            fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(bench.path("pw"), format!("{PASSPHRASE}\n")).unwrap();
        fs::set_permissions(bench.path("pw"), fs::Permissions::from_mode(0o600)).unwrap();
        bench.pkfs(&["init", "a.pk", "--key-out", "a.key", "--passphrase-file", "pw"]).ok();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command without a terminal, in the bench's directory and with its state.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--wait").arg(program).current_dir(self.directory.path()).stdin(Stdio::null());
        for name in ["PKFS_KEY", "PKFS_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", self.path("state")).env("GNUPGHOME", self.path("gnupg"));
        command.env("XDG_RUNTIME_DIR", self.path("run")).env("TMPDIR", self.path("tmp"));
        command
    }

    pub fn pkfs(&self, arguments: &[&str]) -> Done {
        self.command(env!("CARGO_BIN_EXE_pkfs")).args(arguments).output().unwrap().into()
    }

    /// pkfs with the key of `a.pk`.
    #[track_caller]
    pub fn k(&self, arguments: &[&str]) -> Vec<u8> {
        self.pkfs(&[&arguments[..1], &["--key", "a.key"], &arguments[1..]].concat()).ok()
    }

    #[track_caller]
    pub fn put(&self, path: &str, value: &[u8]) {
        let mut command = self.command(env!("CARGO_BIN_EXE_pkfs"));
        command.args(["put", "a.pk", path, "--key", "a.key"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(value).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// The script without a word on unlocking.
    pub fn script(&self, tools: Tools, arguments: &[&str]) -> Done {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/keynode");
        let shell = if matches!(tools, Tools::Busybox) { "busybox" } else { "dash" };
        let mut command = self.command(shell);
        if matches!(tools, Tools::Busybox) {
            command.arg("sh");
        }
        let mut path = self.tools(tools).into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        command.arg(script).args(arguments).env("PATH", path);
        let done = command.output().unwrap().into();
        for name in ["run", "tmp"] {
            let left: Vec<_> = fs::read_dir(self.path(name)).unwrap().collect();
            assert!(left.is_empty(), "{arguments:?} left {left:?}");
        }
        done
    }

    /// The script with the passphrase, on the system's tools.
    pub fn s(&self, arguments: &[&str]) -> Done {
        self.script(Tools::System, &[arguments, &["--passphrase-file", "pw"]].concat())
    }

    /// A directory with links to the tools that come before the system's.
    fn tools(&self, tools: Tools) -> PathBuf {
        let directory = self.path(&format!("tools-{tools:?}"));
        if fs::create_dir(&directory).is_err() {
            return directory;
        }
        let found = |name: &str| {
            let path = std::env::var_os("PATH").unwrap();
            std::env::split_paths(&path)
                .map(|d| d.join(name))
                .find(|f| f.exists())
                .unwrap_or_else(|| panic!("no {name}"))
        };
        match tools {
            Tools::System => {}
            Tools::Gawk => symlink(found("gawk"), directory.join("awk")).unwrap(),
            Tools::Bsdtar => symlink(found("bsdtar"), directory.join("tar")).unwrap(),
            Tools::Busybox => {
                let list = Command::new("busybox").arg("--list").output().unwrap().stdout;
                for applet in String::from_utf8(list).unwrap().lines() {
                    symlink(found("busybox"), directory.join(applet)).unwrap();
                }
            }
        }
        directory
    }

    /// Everything that pkfs exports, by the name that the script lists it under: values, and nothing for the rest.
    pub fn exported(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let _ = fs::remove_dir_all(self.path("out"));
        self.k(&["export", "a.pk", "out"]);
        let (mut found, mut pending) = (BTreeMap::new(), vec![Vec::new()]);
        while let Some(below) = pending.pop() {
            for entry in fs::read_dir(self.path("out").join(OsStr::from_bytes(&below))).unwrap() {
                let entry = entry.unwrap();
                let mut path = below.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(entry.file_name().as_bytes());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    found.insert(quoted(&[&path[..], b"/"].concat()), None);
                    pending.push(path);
                } else {
                    found.insert(quoted(&path), kind.is_file().then(|| fs::read(entry.path()).unwrap()));
                }
            }
        }
        found
    }

    /// Extracts `a.pk` as its README says, and returns the repository.
    pub fn extracted(&self) -> PathBuf {
        let repository = self.path("repository");
        let _ = fs::remove_dir_all(&repository);
        self.git(&["init", "-q", "--bare", "repository"]);
        self.tool("tar", &["-xf", "a.pk", "-C", "repository", "objects", "refs", "packed-refs", "unlock"]);
        repository
    }

    #[track_caller]
    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        Done::from(self.command(program).args(arguments).output().unwrap()).text()
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let configuration =
            ["GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x"];
        let more = ["GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x", "GIT_DEFAULT_HASH=sha1", "git"];
        self.tool("env", &[&configuration[..], &more, arguments].concat()).trim_end().to_owned()
    }

    /// Writes `to`: the same file with a bit flipped in the middle of a blob, which the extracted repository has.
    pub fn damaged(&self, from: &str, to: &str, revision: &str) {
        let mut git = self.command("git");
        let blob = git.args(["--git-dir=repository", "cat-file", "blob", revision]).output().unwrap().stdout;
        let mut keynode = fs::read(self.path(from)).unwrap();
        let at = memchr::memmem::find(&keynode, &blob[blob.len() / 2..]).unwrap();
        keynode[at] ^= 1;
        fs::write(self.path(to), keynode).unwrap();
    }

    /// Writes `name`: the members of `a.pk` as `edit` makes them, and one more at the end.
    pub fn rebuilt(&self, name: &str, edit: impl Fn(&str, &mut Vec<u8>), more: Option<(&str, &[u8])>) {
        let mut archive = tar::Archive::new(fs::File::open(self.path("a.pk")).unwrap());
        let mut builder = tar::Builder::new(fs::File::create(self.path(name)).unwrap());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut header = entry.header().clone();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            edit(&path, &mut data);
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data.as_slice()).unwrap();
        }
        if let Some((path, data)) = more {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(data.len() as u64);
            builder.append_data(&mut header, path, data).unwrap();
        }
        builder.finish().unwrap();
    }
}
