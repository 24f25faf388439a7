//! Servers take their secrets from a mount, check who may read them, and get new ones when they are rotated.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::{Bench, Mount, can_mount, eventually, within};

/// How long a server may take for what it was told.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in the foreground; ended on drop.
struct Server {
    process: Child,
    log: PathBuf,
}

impl Server {
    fn start(bench: &Bench, command: &mut Command) -> Self {
        let log = bench.path("server.log");
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { process: command.spawn().unwrap(), log }
    }

    /// Waits until something holds while the server runs.
    fn until(&mut self, what: &str, holds: impl Fn() -> bool) {
        let log = self.log.clone();
        let process = std::cell::RefCell::new(&mut self.process);
        within(PATIENCE, what, || {
            let ended = process.borrow_mut().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} before {what}: {}", fs::read_to_string(&log).unwrap());
            holds()
        });
    }

    /// Waits for its end; whether it succeeded, and what it wrote.
    fn end(mut self) -> (bool, String) {
        let success = self.process.wait().unwrap().success();
        (success, fs::read_to_string(&self.log).unwrap())
    }

    fn reload(&self) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            // All of these servers take the first for "at once", unless they were started by a process that ignores it.
            for signal in [Signal::INT, Signal::TERM] {
                let _ = kill_process(Pid::from_child(&self.process), signal);
            }
            let _ = self.process.wait();
        }
    }
}

/// A mount that all users get to: servers drop their privileges. `None` where that cannot be.
fn public_mount() -> Option<(Bench, Mount)> {
    if !can_mount() || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: this needs root");
        return None;
    }
    let bench = Bench::new();
    fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();
    let mount = bench.mount(&["-o", "allow_other"]);
    Some((bench, mount))
}

/// A port that nobody listens on.
fn port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Whether it succeeds, and what it said.
fn tried(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A key and a certificate for 127.0.0.1, written by openssl.
fn certify(key: &Path, certificate: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]);
    run(command.arg(key).arg("-out").arg(certificate));
}

fn owned(path: &Path, user: &str, mode: u32) {
    let [uid, gid] = ["-u", "-g"].map(|id| {
        let output = run(Command::new("id").args([id, user]));
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    });
    chown(path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Another process replaces a secret; done when the mount shows it.
fn rotate(bench: &Bench, mount: &Mount, path: &str, value: &str) {
    bench.put(path, value);
    eventually("the rotated value", || mount.read(path) == value);
}

#[test]
fn postgresql_takes_its_key_and_its_passwords() {
    let Some((bench, mount)) = public_mount() else { return };
    fs::create_dir(mount.path("pg")).unwrap();
    let (key, certificate) = (mount.path("pg/server.key"), mount.path("pg/server.crt"));
    certify(&key, &certificate);
    owned(&key, "postgres", 0o644);
    owned(&certificate, "postgres", 0o644);
    mount.write("pg/password", "first\n");
    owned(&mount.path("pg/password"), "postgres", 0o400);
    let data = bench.path("data");
    fs::create_dir(&data).unwrap();
    owned(&data, "postgres", 0o700);

    let binaries = newest_binaries();
    let port = port().to_string();
    let as_postgres = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(binaries.join(program));
        command.current_dir("/");
        command
    };
    let mut initdb = as_postgres("initdb");
    initdb.args(["--no-sync", "--auth=scram-sha-256", "--username=postgres", "--pwfile"]);
    run(initdb.arg(mount.path("pg/password")).arg("-D").arg(&data));
    let server = || {
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(&data).args(["-p", &port, "-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "ssl=on", "-c", &format!("ssl_key_file={}", key.display())]);
        command.args(["-c", &format!("ssl_cert_file={}", certificate.display())]);
        Server::start(&bench, &mut command)
    };
    // Others could read the key.
    let (success, said) = server().end();
    assert!(!success && said.contains("has group or world access"), "{said}");
    owned(&key, "postgres", 0o600);
    let mut server = server();

    // A client that trusts this certificate alone and takes its password from the mount.
    let pass = |password: &str| format!("127.0.0.1:*:*:postgres:{password}\n");
    let client = |root: &Path, sql: &str| {
        let mut command = Command::new(binaries.join("psql"));
        command.env("PGPASSFILE", mount.path("pg/pass")).env("PGCONNECT_TIMEOUT", "10").arg("-XAtwc").arg(sql);
        let root = root.display();
        tried(command.arg(format!(
            "host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-full sslrootcert={root}"
        )))
    };
    mount.write("pg/pass", &pass("first"));
    owned(&mount.path("pg/pass"), "root", 0o644);
    let (first, second) = (bench.path("first.crt"), bench.path("second.crt"));
    fs::copy(&certificate, &first).unwrap();
    server.until("the refusal of a password that others can read", || {
        client(&first, "select 1").1.contains("has group or world access")
    });
    owned(&mount.path("pg/pass"), "root", 0o600);
    server.until("a connection", || client(&first, "select 1") == (true, "1\n".into()));

    // New passwords are asked for at each connection, new keys are taken when it is told to.
    assert!(client(&first, "alter role postgres password 'second'").0);
    assert!(!client(&first, "select 1").0);
    rotate(&bench, &mount, "pg/pass", &pass("second"));
    assert!(client(&first, "select 1").0, "the new password from another process");
    certify(&bench.path("second.key"), &second);
    rotate(&bench, &mount, "pg/server.key", &fs::read_to_string(bench.path("second.key")).unwrap());
    rotate(&bench, &mount, "pg/server.crt", &fs::read_to_string(&second).unwrap());
    assert!(client(&first, "select 1").0 && !client(&second, "select 1").0);
    server.reload();
    server.until("the new certificate", || client(&second, "select 1").0);
    assert!(!client(&first, "select 1").0);

    // The same through the mount.
    certify(&key, &certificate);
    let third = bench.path("third.crt");
    fs::copy(&certificate, &third).unwrap();
    server.reload();
    server.until("the third certificate", || client(&third, "select 1").0);
    drop(server);
    for (path, versions) in [("pg/server.key", 3), ("pg/server.crt", 3), ("pg/pass", 2)] {
        assert_eq!(mount.list(&format!(".versions/{path}")).len(), versions + 1, "{path}");
    }
}

/// Debian keeps them out of the path.
fn newest_binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("scripts/setup test installs PostgreSQL");
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions.map(|entry| entry.unwrap().path()).max_by_key(version).unwrap().join("bin")
}

const NGINX: &str = r#"
daemon off;
pid nginx.pid;
error_log stderr;
user www-data;
worker_processes 1;
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:PORT ssl;
        ssl_certificate m/web/crt;
        ssl_certificate_key m/web/key;
        location = /users {
            auth_basic "secrets";
            auth_basic_user_file m/web/users;
            alias ROOT/m/web/users;
        }
    }
}
"#;

/// What nginx answers to somebody who trusts one certificate and has one password.
const WEB_CLIENT: &str = r#"
import base64, ssl, sys, urllib.request, urllib.error
port, trusted, password = sys.argv[1:]
request = urllib.request.Request(f"https://127.0.0.1:{port}/users")
request.add_header("Authorization", "Basic " + base64.b64encode(f"me:{password}".encode()).decode())
try:
    context = ssl.create_default_context(cafile=trusted)
    print(urllib.request.urlopen(request, context=context, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except urllib.error.URLError as error:
    print("untrusted" if "CERTIFICATE_VERIFY_FAILED" in str(error) else error)
"#;

#[test]
fn nginx_takes_its_certificate_and_its_users() {
    let Some((bench, mount)) = public_mount() else { return };
    fs::create_dir(mount.path("web")).unwrap();
    let (key, certificate) = (mount.path("web/key"), mount.path("web/crt"));
    certify(&key, &certificate);
    mount.write("web/users", "me:{PLAIN}first\n");
    // Its workers are not root. They read this at each request, its master reads the key.
    owned(&mount.path("web/users"), "root", 0o600);
    let port = port().to_string();
    let root = bench.path("").display().to_string();
    fs::write(bench.path("nginx.conf"), NGINX.replace("PORT", &port).replace("ROOT", &root)).unwrap();
    let mut server = Server::start(
        &bench,
        Command::new("nginx").arg("-p").arg(bench.path("")).arg("-c").arg(bench.path("nginx.conf")),
    );
    let (first, second) = (bench.path("first.crt"), bench.path("second.crt"));
    fs::copy(&certificate, &first).unwrap();
    let answer = |trusted: &Path, password: &str| {
        let mut command = Command::new("python3");
        tried(command.args(["-c", WEB_CLIENT, &port]).arg(trusted).arg(password)).1.trim().to_owned()
    };
    // 403 or 500, as the version of nginx has it.
    server.until("the refusal of its workers", || ["403", "500"].contains(&answer(&first, "first").as_str()));
    owned(&mount.path("web/users"), "www-data", 0o400);
    server.until("an answer", || answer(&first, "first") == "200");
    assert_eq!(answer(&first, "second"), "401");

    rotate(&bench, &mount, "web/users", "me:{PLAIN}second\n");
    assert_eq!((answer(&first, "first"), answer(&first, "second")), ("401".into(), "200".into()));
    certify(&bench.path("second.key"), &second);
    rotate(&bench, &mount, "web/key", &fs::read_to_string(bench.path("second.key")).unwrap());
    rotate(&bench, &mount, "web/crt", &fs::read_to_string(&second).unwrap());
    server.reload();
    server.until("the new certificate", || answer(&second, "second") == "200");
    server.until("the end of the old workers", || answer(&first, "second") == "untrusted");

    certify(&key, &certificate);
    let third = bench.path("third.crt");
    fs::copy(&certificate, &third).unwrap();
    server.reload();
    server.until("the third certificate", || answer(&third, "second") == "200");
}

#[test]
fn sshd_takes_its_host_key() {
    let Some((bench, mount)) = public_mount() else { return };
    // Where it runs as a service, systemd makes this.
    fs::create_dir_all("/run/sshd").unwrap();
    fs::create_dir(mount.path("ssh")).unwrap();
    let key = mount.path("ssh/host_key");
    let generate = |path: &Path| {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path));
        let public = path.with_extension("pub");
        let read = fs::read_to_string(&public).unwrap();
        fs::remove_file(public).unwrap();
        read.trim().to_owned()
    };
    let first = generate(&key);
    let port = port().to_string();
    let server = || {
        let mut command = Command::new("/usr/sbin/sshd");
        command.args([
            "-D",
            "-e",
            "-f",
            "/dev/null",
            "-p",
            &port,
            "-o",
            "ListenAddress=127.0.0.1",
            "-o",
            "PidFile=none",
        ]);
        Server::start(&bench, command.arg("-h").arg(&key))
    };
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let (success, said) = server().end();
    assert!(!success && said.contains("are too open"), "{said}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let mut server = server();
    let shows = |public: &str| {
        let mut command = Command::new("ssh-keyscan");
        let (_, said) = tried(command.args(["-T", "10", "-t", "ed25519", "-p", &port, "127.0.0.1"]));
        said.lines().any(|line| line.ends_with(public))
    };
    server.until("the first key", || shows(&first));

    let second = generate(&bench.path("host_key"));
    rotate(&bench, &mount, "ssh/host_key", &fs::read_to_string(bench.path("host_key")).unwrap());
    server.reload();
    server.until("the second key", || shows(&second));

    fs::remove_file(&key).unwrap();
    let third = generate(&key);
    server.reload();
    server.until("the third key", || shows(&third));
    assert_eq!(mount.list(".versions/ssh/host_key"), ["1", "2", "3", "log"]);
}
