//! The units of systemd: judged by it, and run as it would run them, which needs no systemd.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::{Bench, can_mount};

/// Whoever it is that may see something by a rule.
const READER: u32 = 61001;

fn text_of(unit: &str) -> String {
    fs::read_to_string(Path::new("examples/systemd").join(unit)).unwrap()
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let bench = Bench::new();
    let units = bench.path("units");
    fs::create_dir(&units).unwrap();
    let mut names = Vec::new();
    for (unit, as_name) in [
        ("pkfs@.service", "pkfs@app.service"),
        ("user/pkfs@.service", "pkfs@me.service"),
        ("pkfs-web.service", "pkfs-web.service"),
        ("web.service", "web.service"),
        ("run-secrets.mount", "run-secrets.mount"),
    ] {
        // The program need not be installed.
        let path = units.join(as_name);
        fs::write(&path, text_of(unit).replace("/usr/bin/pkfs", env!("CARGO_BIN_EXE_pkfs"))).unwrap();
        names.push(path);
    }
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&names).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// `pkfs@app.service` in a directory instead of `/`: its commands, with its capabilities and its umask.
struct Unit<'a> {
    bench: &'a Bench,
    text: String,
    heard: UnixDatagram,
}

impl<'a> Unit<'a> {
    fn new(bench: &'a Bench) -> Self {
        let home = bench.path("");
        let text = text_of("pkfs@.service")
            .replace("%i", "app")
            .replace("/usr/bin/pkfs", env!("CARGO_BIN_EXE_pkfs"))
            .replace("/var/lib/pkfs/", home.to_str().unwrap())
            .replace("/run/pkfs", bench.path("run").to_str().unwrap());
        fs::create_dir(bench.path("credentials")).unwrap();
        fs::rename(bench.path("key"), bench.path("credentials/pkfs.key")).unwrap();
        let heard = UnixDatagram::bind(bench.path("notify")).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { bench, text, heard }
    }

    fn value(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.expect(name)
    }

    /// One of its commands, and whether it may fail.
    fn command(&self, name: &str) -> (Command, bool) {
        let line = self.value(name);
        let (line, may_fail) = line.strip_prefix('-').map_or((line, false), |line| (line, true));
        let capabilities = self.value("CapabilityBoundingSet").to_lowercase().replace("cap_", ",+").replace(' ', "");
        let script = format!("umask {} && exec {line}", self.value("UMask"));
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-all{capabilities}")).args(["--no-new-privs", "sh", "-c", &script]);
        self.bench.surround(&mut command);
        command.env_remove("PKFS_KEY").env("CREDENTIALS_DIRECTORY", self.bench.path("credentials"));
        command.env("NOTIFY_SOCKET", self.bench.path("notify"));
        (command, may_fail)
    }

    /// Starts it; returns when it is ready.
    fn start(&self) -> Running {
        let (mut before, may_fail) = self.command("ExecStartPre");
        assert!(before.status().unwrap().success() || may_fail);
        let running = Running(self.command("ExecStart").0.spawn().unwrap(), self.bench.path("run/app"));
        assert!(self.hear().starts_with("READY=1"));
        running
    }

    fn hear(&self) -> String {
        let mut got = [0; 256];
        let length = self.heard.recv(&mut got).expect("a message in 20 s");
        String::from_utf8_lossy(&got[..length]).into_owned()
    }

    /// Stops it as systemd does: by its command, and by a signal if that was not enough.
    fn stop(&self, mut running: Running) {
        let (mut stop, may_fail) = self.command("ExecStop");
        assert!(stop.status().unwrap().success() || may_fail);
        if running.0.try_wait().unwrap().is_none() {
            running.signal(Signal::TERM);
        }
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
    }

    fn secret(&self) -> PathBuf {
        self.bench.path("run/app/db/password")
    }
}

/// Its main process, and where that mounts.
struct Running(Child, PathBuf);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
            let _ = rustix::mount::unmount(&self.1, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// What a program of its own reads, as a user of its own.
fn read(program: &Path, secret: &Path) -> String {
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={READER}"), format!("--regid={READER}"), "--clear-groups".into()])
        .arg(program)
        .arg(secret);
    let output = command.current_dir("/").output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_unit_serves_whom_the_rules_name_and_comes_back_after_a_crash() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();
    let tool = bench.path("tool");
    fs::copy("/bin/cat", &tool).unwrap();
    bench.put("db/password", "battery staple");
    bench.pkfs(&["share", "create", "app.pk", "db", "db"]);
    bench.pkfs(&["share", "allow", "app.pk", "db", "--exe", tool.to_str().unwrap()]);
    let unit = Unit::new(&bench);
    let mut first = unit.start();
    assert_eq!(read(&tool, &unit.secret()), "battery staple");
    assert!(read(Path::new("/bin/cat"), &unit.secret()).contains("No such file"));
    first.signal(Signal::KILL);
    first.0.wait().unwrap();
    let second = unit.start();
    assert_eq!(read(&tool, &unit.secret()), "battery staple");
    let open = File::open(unit.secret()).unwrap();
    unit.stop(second);
    assert!(!unit.secret().exists());
    drop(open);
}
