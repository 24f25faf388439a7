//! Where the passphrase or key comes from; `slot`, `passwd`.

use std::fs;

use crate::support::{Bench, PASSPHRASE};

fn with_passphrase() -> Bench {
    let bench = Bench::empty();
    bench.run(&["init", "a.pk", "--passphrase-file", "pw", "--key-out", "a.key"]).ok();
    bench
}

#[test]
fn without_anything_and_without_a_terminal_status_is_3() {
    let bench = with_passphrase();
    let told = bench.run(&["ls", "a.pk"]).fails(3);
    assert!(told.contains("no terminal") && told.contains("--passphrase-file"), "{told}");
    bench.run(&["init", "b.pk"]).fails(3);
    assert!(!bench.path("b.pk").exists());
}

#[test]
fn a_given_source_that_fails_ends_with_status_3() {
    let bench = with_passphrase();
    bench.write("wrong", "not the passphrase\n");
    bench.write("nothing", "");
    let wrong = bench.run(&["ls", "a.pk", "--passphrase-file", "wrong"]).fails(3);
    assert!(!wrong.contains("not the passphrase") && wrong.lines().count() <= 2, "{wrong}");
    for arguments in
        [["--passphrase-file", "none"], ["--passphrase-file", "nothing"], ["--key", "pw"], ["--key", "none"]]
    {
        // Another source that would do is not tried.
        let mut command = bench.command(&["ls", "a.pk", arguments[0], arguments[1]]);
        let done: crate::support::Done = command.env("PKFS_KEY", "a.key").output().unwrap().into();
        done.fails(3);
    }
    fs::File::create(bench.path("endless")).unwrap().set_len(65 << 10).unwrap();
    bench.run(&["ls", "a.pk", "--passphrase-file", "endless"]).fails(3);
    bench.run(&["ls", "a.pk", "--passphrase-fd", "99"]).fails(2);
    bench.run(&["ls", "a.pk", "--passphrase-fd", "-1"]).fails(2);
    bench.run(&["ls", "a.pk", "--passphrase-fd", "0", "--passphrase-file", "pw"]).fails(2);
}

#[test]
fn every_source_unlocks() {
    let bench = with_passphrase();
    bench.feed(&["ls", "a.pk", "--passphrase-fd", "0"], PASSPHRASE).ok();
    bench.run(&["ls", "a.pk", "--key", "a.key"]).ok();
    for (name, value) in [("PKFS_PASSPHRASE_FILE", "pw"), ("PKFS_KEY", "a.key")] {
        let done: crate::support::Done = bench.command(&["ls", "a.pk"]).env(name, value).output().unwrap().into();
        done.ok();
    }
    fs::create_dir(bench.path("credentials")).unwrap();
    for (from, to) in [("pw", "pkfs.passphrase"), ("a.key", "pkfs.key")] {
        fs::copy(bench.path(from), bench.path("credentials").join(to)).unwrap();
        let mut command = bench.command(&["ls", "a.pk"]);
        let done: crate::support::Done =
            command.env("CREDENTIALS_DIRECTORY", bench.path("credentials")).output().unwrap().into();
        done.ok();
        fs::remove_file(bench.path("credentials").join(to)).unwrap();
    }
    // What is not given on the command line is tried in turn.
    let mut command = bench.command(&["ls", "a.pk"]);
    let both = command.env("PKFS_PASSPHRASE_FILE", "pw").env("PKFS_KEY", "none").output().unwrap();
    crate::support::Done::from(both).ok();
    let mut command = bench.command(&["ls", "a.pk"]);
    command.env("PKFS_PASSPHRASE_FILE", "none").env("CREDENTIALS_DIRECTORY", bench.path("credentials"));
    fs::copy(bench.path("a.key"), bench.path("credentials/pkfs.key")).unwrap();
    let done: crate::support::Done = command.output().unwrap().into();
    assert!(done.err.contains("warning"), "{}", done.err);
    done.ok();
}

#[test]
fn the_configuration_gives_names() {
    let bench = with_passphrase();
    fs::create_dir_all(bench.path("config/pkfs")).unwrap();
    let text =
        format!("[keynode.default]\nfile = {:?}\npassphrase-file = {:?}\n", bench.path("a.pk"), bench.path("pw"));
    bench.write("config/pkfs/config.toml", &text);
    bench.feed(&["put", "@", "x"], "1").ok();
    assert_eq!(bench.run(&["get", "@default", "x"]).ok(), "1");
    let told = bench.run(&["get", "@other", "x"]).fails(5);
    assert!(told.contains("there are @default"), "{told}");
    bench.write("config/pkfs/config.toml", "[keynode.a]\nnonsense = 1\n");
    assert!(bench.run(&["get", "@a", "x"]).fails(1).contains("line 2"));
}

#[test]
fn another_node_is_refused() {
    let bench = with_passphrase();
    let other = "0".repeat(40);
    bench.run(&["ls", "a.pk", "--key", "a.key", "--node", &other]).fails(7);
    bench.run(&["ls", "a.pk", "--key", "a.key", "--node", "x"]).fails(1);
    let info: serde_json::Value =
        serde_json::from_str(&bench.run(&["info", "a.pk", "--json", "--key", "a.key"]).ok()).unwrap();
    bench.run(&["ls", "a.pk", "--key", "a.key", "--node", info["node"].as_str().unwrap()]).ok();
}

#[test]
fn a_time_without_a_unit_is_refused() {
    let bench = Bench::new();
    let told = bench.k(&["unlock", "a.pk", "--for", "15"]).fails(2);
    assert!(told.contains("a number with s, m, h or d"), "{told}");
}

#[test]
fn an_older_copy_is_refused_until_it_is_meant() {
    let bench = with_passphrase();
    bench.feed(&["put", "a.pk", "x", "--key", "a.key"], "1").ok();
    fs::copy(bench.path("a.pk"), bench.path("old")).unwrap();
    bench.feed(&["put", "a.pk", "x", "--key", "a.key"], "2").ok();
    fs::copy(bench.path("old"), bench.path("a.pk")).unwrap();
    let told = bench.run(&["get", "a.pk", "x", "--key", "a.key"]).fails(7);
    assert!(told.contains("--allow-rollback"), "{told}");
    let older = "older than what was seen before";
    assert!(bench.run(&["fsck", "a.pk", "--key", "a.key"]).ok().contains(older));
    assert!(bench.run(&["info", "a.pk", "--key", "a.key"]).ok().contains(&format!("no: {older}")));
    bench.run(&["get", "a.pk", "x", "--key", "a.key"]).fails(7);
    assert_eq!(bench.run(&["get", "a.pk", "x", "--key", "a.key", "--allow-rollback"]).ok(), "1");
}

#[test]
fn the_passphrase_can_be_changed() {
    let bench = with_passphrase();
    bench.write("new", "another horse battery staple 8?\n");
    bench.write("weak", "12345678\n");
    bench.run(&["passwd", "a.pk", "--passphrase-file", "pw", "--new-passphrase-file", "weak"]).fails(1);
    bench.run(&["passwd", "a.pk", "--passphrase-file", "pw"]).fails(1);
    bench.run(&["ls", "a.pk", "--passphrase-file", "pw"]).ok();
    bench.run(&["passwd", "a.pk", "--passphrase-file", "pw", "--new-passphrase-file", "new"]).ok();
    bench.run(&["ls", "a.pk", "--passphrase-file", "pw"]).fails(3);
    bench.run(&["ls", "a.pk", "--passphrase-file", "new"]).ok();
}

#[test]
fn slots_come_and_go() {
    let bench = Bench::new();
    bench.k(&["slot", "add", "a.pk", "--passphrase", "--new-passphrase-file", "pw"]).ok();
    bench.run(&["ls", "a.pk", "--passphrase-file", "pw"]).ok();
    bench.k(&["slot", "add", "a.pk", "--passphrase", "--new-passphrase-file", "pw"]).fails(1);
    bench.k(&["slot", "add", "a.pk"]).fails(2);
    bench.k(&["slot", "remove", "a.pk", "none"]).fails(5);
    assert!(bench.k(&["slot", "remove", "a.pk", "passphrase"]).fails(1).contains("--key-out"));
    // With a second name, the file cannot be rewritten: the key that was written out first goes again.
    std::fs::hard_link(bench.path("a.pk"), bench.path("second.pk")).unwrap();
    bench.k(&["slot", "remove", "a.pk", "passphrase", "--key-out", "b.key"]).fails(6);
    assert!(!bench.path("b.key").exists());
    std::fs::remove_file(bench.path("second.pk")).unwrap();
    bench.k(&["slot", "remove", "a.pk", "passphrase", "--key-out", "b.key"]).ok();
    assert_eq!(bench.run(&["slot", "list", "a.pk", "--json"]).ok(), "[]\n");
    bench.run(&["ls", "a.pk", "--key", "b.key"]).ok();
    bench.run(&["ls", "a.pk", "--passphrase-file", "pw"]).fails(3);
}

#[test]
fn a_person_s_key_opens_its_slot() {
    let bench = Bench::new();
    let gpg = |arguments: &[&str]| {
        let output = std::process::Command::new("gpg")
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "key passphrase"])
            .args(arguments)
            .env("GNUPGHOME", bench.path("home/.gnupg"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    std::process::Command::new("chmod").arg("700").arg(bench.path("home/.gnupg")).status().unwrap();
    gpg(&["--quick-gen-key", "alice@example.org", "default", "default", "never"]);
    fs::write(bench.path("alice.asc"), gpg(&["--armor", "--export", "alice@example.org"])).unwrap();
    fs::write(bench.path("alice.key"), gpg(&["--armor", "--export-secret-keys", "alice@example.org"])).unwrap();
    std::process::Command::new("gpgconf")
        .args(["--kill", "all"])
        .env("GNUPGHOME", bench.path("home/.gnupg"))
        .status()
        .unwrap();

    bench.k(&["slot", "add", "a.pk", "--cert", "alice.asc"]).ok();
    bench.write("keypw", "key passphrase\n");
    bench.run(&["ls", "a.pk", "--key", "alice.key", "--passphrase-file", "keypw"]).ok();
    bench.run(&["ls", "a.pk", "--key", "alice.key"]).fails(3);
    bench.run(&["ls", "a.pk", "--key", "alice.key", "--passphrase-file", "pw"]).fails(3);
    // A secret key is no certificate to add by mistake, nor is any file.
    bench.k(&["slot", "add", "a.pk", "--cert", "pw"]).fails(1);
    bench.k(&["slot", "add", "a.pk", "--gpg", "nobody@example.org"]).fails(5);
    std::process::Command::new("gpgconf")
        .args(["--kill", "all"])
        .env("GNUPGHOME", bench.path("home/.gnupg"))
        .status()
        .unwrap();
}
