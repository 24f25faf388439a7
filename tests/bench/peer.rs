//! The file systems that are compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, setfsuid};

use crate::Outcome;
use crate::idle;

/// The command by which a plan has the file system that does nothing mounted.
const IDLE: &str = "idle";

/// The command of what is mounted once, by whoever wrote the plan.
const STAYS: &str = "-";

/// A file system and how it is mounted.
pub struct Peer {
    pub name: String,
    mount_point: PathBuf,
    /// Where the tree begins in it.
    pub root: PathBuf,
    pub writable: bool,
    /// Who works on it, if not whoever measures.
    pub user: Option<u32>,
    mount: String,
    mounted: bool,
    /// Serves the mount, where that is a program of ours.
    server: Option<Child>,
}

impl Peer {
    pub fn new(name: &str, writable: bool, directory: &str, mount: &str) -> Self {
        Self {
            name: name.to_owned(),
            mount_point: directory.into(),
            root: directory.into(),
            writable,
            user: None,
            mount: mount.to_owned(),
            mounted: mount == STAYS,
            server: None,
        }
    }

    /// Its tree begins at this path in it.
    pub fn below(&mut self, path: &str) {
        self.root = self.mount_point.join(path);
    }

    /// Does something as whoever works on it.
    pub fn as_user<T>(&self, work: impl FnOnce() -> T) -> T {
        // Of this thread, and of those that it starts meanwhile.
        let before = self.user.map(|user| setfsuid(Uid::from_raw(user)));
        let done = work();
        if let Some(before) = before {
            setfsuid(before);
        }
        done
    }

    /// Whether it forgets what it has in memory when it is mounted anew.
    pub fn can_remount(&self) -> bool {
        self.mount != STAYS
    }

    pub fn mount(&mut self, secrets: usize) -> Outcome {
        if !self.mounted {
            match self.mount.as_str() {
                IDLE => self.server = Some(idle::start(&self.mount_point, secrets)?),
                command => shell(command)?,
            }
            self.mounted = true;
        }
        Ok(())
    }

    pub fn unmount(&mut self) -> Outcome {
        if self.mounted && self.can_remount() {
            unmount(&self.mount_point)?;
            self.mounted = false;
            if let Some(mut server) = self.server.take() {
                server.wait()?;
            }
        }
        Ok(())
    }
}

/// Runs a command to its end; what it says is shown only if it fails.
pub fn shell(command: &str) -> Outcome {
    let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command}: {}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// Unmounts; whoever reads may need a moment to be gone.
pub fn unmount(directory: &Path) -> Outcome {
    let command = if rustix::process::geteuid().is_root() { "umount" } else { "fusermount3 -u" };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match shell(&format!("{command} '{}'", directory.display())) {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(50)),
            Ok(()) => return Ok(()),
        }
    }
}

/// Resident memory in KiB of the process that serves a mount of pkfs.
pub fn memory_of(mount_point: &Path) -> Outcome<f64> {
    for process in fs::read_dir("/proc")?.flatten() {
        let Ok(arguments) = fs::read(process.path().join("cmdline")) else { continue };
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let is_mount = arguments.first().is_some_and(|program| program.ends_with(b"pkfs"));
        if is_mount && arguments.contains(&mount_point.as_os_str().as_encoded_bytes()) {
            let status = fs::read_to_string(process.path().join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.split_whitespace().next());
            return Ok(kib.ok_or("a process without memory")?.parse()?);
        }
    }
    Err(format!("no process serves {}", mount_point.display()).into())
}
