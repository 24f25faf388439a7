//! A place of its own for each test: a directory with a keynode, its key, and no terminal.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub const PASSPHRASE: &str = "correct horse battery staple 7!";

pub struct Bench {
    directory: TempDir,
}

/// What a command left behind.
pub struct Done {
    pub status: i32,
    pub out: String,
    pub bytes: Vec<u8>,
    pub err: String,
}

impl Done {
    /// Standard output, after the exit status has been found to be 0.
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// Standard error, after the exit status has been found to be this one.
    pub fn fails(self, status: i32) -> String {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        self.err
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            bytes: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Bench {
    /// An empty directory with the file `pw`.
    pub fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("home/.gnupg")).unwrap();
        let bench = Self { directory };
        bench.write("pw", &format!("{PASSPHRASE}\n"));
        bench
    }

    /// With the keynode `a.pk` and its key `a.key`, which [`Self::k`] unlocks with.
    pub fn new() -> Self {
        let bench = Self::empty();
        bench.run(&["init", "a.pk", "--key-out", "a.key"]).ok();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn top(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command in a session without a terminal.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(env!("CARGO_BIN_EXE_pkfs")).args(arguments);
        self.surround(&mut command);
        command
    }

    pub fn surround(&self, command: &mut Command) {
        command.current_dir(self.top()).stdin(Stdio::null());
        for name in ["PKFS_KEY", "PKFS_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY", "RUST_LOG", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.path("home")).env("GNUPGHOME", self.path("home/.gnupg"));
        command.env("XDG_STATE_HOME", self.path("state")).env("XDG_CONFIG_HOME", self.path("config"));
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command on `a.pk` with its key.
    pub fn k(&self, arguments: &[&str]) -> Done {
        self.run(&with_key(arguments))
    }

    /// The same with standard input.
    pub fn k_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Done {
        self.feed(&with_key(arguments), input)
    }

    pub fn feed(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input).and_then(|()| stdin.flush()));
        let output = child.wait_with_output().unwrap();
        // A command that reads only a part of its input is none of this helper's business.
        let _ = writer.join().unwrap();
        output.into()
    }

    /// Runs it on a terminal of its own: for each pair, waits for the first text and types the second.
    pub fn on_terminal(&self, arguments: &[&str], dialogue: &[(&str, &str)]) -> Done {
        let mut command = Command::new("python3");
        command.arg("-c").arg(TERMINAL).arg(env!("CARGO_BIN_EXE_pkfs")).arg(serde_json::to_string(dialogue).unwrap());
        command.args(arguments);
        self.surround(&mut command);
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        command.output().unwrap().into()
    }
}

fn with_key<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().copied().chain(["--key", "a.key"]).collect()
}

const TERMINAL: &str = include_str!("../support/terminal.py");
