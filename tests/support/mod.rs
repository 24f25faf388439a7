//! A keynode in a directory of its own, mounted by the real program or in this process.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part of it")]

pub mod search;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pkfs::fuse::{self, MountOptions, Unmounting};
use pkfs::node::{InitOptions, Keynode, Profile};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use tempfile::TempDir;

/// A keynode `app.pk`, unlocked by its key, with the mount point `m`.
pub struct Bench {
    directory: TempDir,
}

/// A mount by a process in the foreground; unmounted and ended on drop.
pub struct Mount {
    process: Child,
    point: PathBuf,
    said: Arc<Mutex<Vec<String>>>,
}

/// A mount by threads of this process, over a new keynode `app.pk`; unmounted on drop. It remembers what it saw in the
/// user's state directory, so this is for processes of their own: see [`alone`].
pub struct Served {
    pub keynode: Arc<Keynode>,
    directory: TempDir,
    serving: Option<JoinHandle<pkfs::error::Result<()>>>,
}

/// Runs an ignored test of this binary in a process of its own, with a state directory that is not the user's.
pub fn alone(test: &str) {
    alone_by(Command::new(std::env::current_exe().unwrap()), test);
}

/// As [`alone`], as root and with mounts of its own, in which everybody may open `/dev/fuse`, as is usual.
pub fn alone_with_open_fuse(test: &str) {
    const SCRIPT: &str = "mount -t tmpfs none /mnt && mknod /mnt/fuse c 10 229 && chmod 666 /mnt/fuse && \
        mount --bind /mnt/fuse /dev/fuse && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT]).arg(std::env::current_exe().unwrap());
    alone_by(command, test);
}

fn alone_by(mut command: Command, test: &str) {
    let home = tempfile::tempdir().unwrap();
    let output = command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{test} was not run: {said}");
}

/// Whether this machine lets us mount.
pub fn can_mount() -> bool {
    let can = Path::new("/dev/fuse").exists();
    if !can {
        eprintln!("skipped: there is no /dev/fuse");
    }
    can
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.path("m")).unwrap();
        bench.pkfs(&["init", "--key-out", "key", "app.pk"]);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkfs"));
        command.args(arguments);
        self.surround(&mut command);
        command
    }

    /// Where a command runs, and what it knows.
    pub fn surround(&self, command: &mut Command) {
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        for name in ["PKFS_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.env("HOME", self.directory.path()).env("XDG_STATE_HOME", self.path("state")).env("PKFS_KEY", "key");
    }

    /// Runs it; what it wrote.
    pub fn try_pkfs(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it successfully; its output.
    pub fn pkfs(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.try_pkfs(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// `pkfs put` with this value.
    pub fn put(&self, path: &str, value: &str) {
        let mut child = self.command(&["put", "app.pk", path]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub fn get(&self, path: &str) -> String {
        String::from_utf8(self.pkfs(&["get", "app.pk", path])).unwrap()
    }

    /// A mount on `m`, ready.
    pub fn mount(&self, options: &[&str]) -> Mount {
        self.mount_with(options, &[])
    }

    /// The same with more variables.
    pub fn mount_with(&self, options: &[&str], variables: &[(&str, PathBuf)]) -> Mount {
        let mut arguments = vec!["mount", "--foreground", "app.pk", "m"];
        arguments.extend(options);
        let mut command = self.command(&arguments);
        let mut process = command
            .envs(variables.iter().cloned())
            .env("RUST_LOG", "pkfs=info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("mounted"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let saying = said.clone();
        // Nobody may be stopped by a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| saying.lock().unwrap().push(line)));
        assert!(ready, "the mount ended before it was ready");
        Mount { process, point: self.path("m"), said }
    }
}

impl Mount {
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// The lines that it has logged since it was ready.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Names in a directory, sorted.
    pub fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.process)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Whether the process ends by itself in time. One that does not is freed from its mount, so that it can be waited for.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let process = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        let patience = patience.try_into().unwrap();
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap() > 0;
        if !ended {
            let _ = rustix::mount::unmount(&self.point, rustix::mount::UnmountFlags::FORCE);
        }
        self.process.wait().unwrap();
        ended
    }

    /// Waits for the process to end; its exit status.
    pub fn wait(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        let _ = rustix::mount::unmount(&self.point, rustix::mount::UnmountFlags::DETACH);
    }
}

impl Served {
    /// Mounts a keynode that `fill` has filled.
    pub fn new(fill: impl FnOnce(&Keynode)) -> Self {
        Self::with(MountOptions::default(), fill)
    }

    /// The same with other options.
    pub fn with(mount_options: MountOptions, fill: impl FnOnce(&Keynode)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = InitOptions { profile: Profile::Gnupg, passphrase: None };
        let keynode = Arc::new(Keynode::init(&directory.path().join("app.pk"), &options).unwrap());
        fill(&keynode);
        let point = directory.path().join("m");
        fs::create_dir(&point).unwrap();
        let (ready, wait) = mpsc::channel();
        let served = keynode.clone();
        let serving =
            std::thread::spawn(move || fuse::serve(served, &point, mount_options, move || ready.send(()).unwrap()));
        wait.recv().expect("the mount ended before it was ready");
        Self { keynode, directory, serving: Some(serving) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("m").join(name)
    }

    /// The keynode's file.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("app.pk")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let unmounted = fuse::unmount(&self.directory.path().join("m"), Unmounting::Whole);
        if unmounted.is_err() {
            let _ = rustix::mount::unmount(self.path(""), rustix::mount::UnmountFlags::DETACH);
        }
        let served = self.serving.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            unmounted.unwrap();
            served.unwrap().unwrap().unwrap();
        }
    }
}

/// Says that all is at its end when it is dropped: where a test fails too, whose threads would go on for ever.
pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until something holds that no descriptor tells of. Of a busy machine with a slow disk it asks little.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(Duration::from_secs(30), what, holds);
}

/// As [`eventually`], for what may take longer.
pub fn within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen in {patience:?}");
        std::thread::yield_now();
    }
}
