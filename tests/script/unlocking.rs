//! The ways to unlock, and what the script answers where there is none.

use std::process::Command;

use super::bench::{Bench, Tools};

#[test]
fn passphrases_keys_and_slots_unlock() {
    let bench = Bench::new();
    bench.put("one", b"1");
    for unlock in [&["--passphrase-file", "pw"][..], &["--passphrase-file=pw"], &["--key", "a.key"]] {
        assert_eq!(bench.script(Tools::System, &[unlock, &["get", "a.pk", "one"]].concat()).ok(), b"1");
    }
    let generate =
        ["--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "alice", "default", "default", "never"];
    bench.tool("gpg", &generate);
    bench.tool("gpg", &["--armor", "--output", "alice.asc", "--export", "alice"]);
    bench.tool("gpg", &["--armor", "--output", "alice.key", "--export-secret-keys", "alice"]);
    bench.k(&["slot", "add", "a.pk", "--cert", "alice.asc"]);
    let keys = bench.tool("gpg", &["--with-colons", "--list-keys", "alice"]);
    let fingerprint = keys.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
    for unlock in [&["--slot", fingerprint][..], &[], &["--key", "alice.key"]] {
        assert_eq!(bench.script(Tools::System, &[unlock, &["get", "a.pk", "one"]].concat()).ok(), b"1", "{unlock:?}");
    }
    let verified = bench.script(Tools::Busybox, &["verify", "a.pk", "--key", "alice.key"]).text();
    let node = verified.split(' ').nth(2).unwrap().trim_end_matches(',');
    assert_eq!(bench.s(&["get", "a.pk", "one", "--node", node]).ok(), b"1");
    bench.s(&["get", "a.pk", "one", "--node", fingerprint]).fails(7);
    bench.tool("gpgconf", &["--kill", "all"]);
}

#[test]
fn what_does_not_unlock_has_status_3() {
    let bench = Bench::new();
    bench.put("one", b"1");
    std::fs::write(bench.path("wrong"), "wrong\n").unwrap();
    bench.pkfs(&["init", "b.pk", "--key-out", "b.key"]).ok();
    for unlock in [
        &["--passphrase-file", "wrong"][..],
        &["--passphrase-file", "none"],
        &["--key", "none"],
        &["--key", "pw"],
        &["--slot", "ABCDEF"],
    ] {
        bench.script(Tools::System, &[&["get", "a.pk", "one"], unlock].concat()).fails(3);
    }
    // Another node's key unlocks nothing here, but only its signature can tell.
    bench.script(Tools::System, &["get", "a.pk", "one", "--key", "b.key"]).fails(4);
    bench.script(Tools::System, &["ls", "b.pk", "--passphrase-file", "pw"]).fails(3);
    assert_eq!(bench.script(Tools::System, &["ls", "b.pk", "--key", "b.key"]).ok(), b"");
    bench.script(Tools::System, &["verify", "b.pk", "--key", "b.key"]).ok();
}

#[test]
fn other_errors_have_the_statuses_of_pkfs() {
    let bench = Bench::new();
    bench.put("d/one", b"1");
    bench.k(&["rm", "--yes", "a.pk", "d/one"]);
    bench.put("d/two", b"2");
    for missing in [&["get", "a.pk", "x"][..], &["get", "a.pk", "d/one"], &["get", "a.pk", "d/one", "2"]] {
        bench.s(missing).fails(5);
    }
    bench.s(&["ls", "a.pk", "d/x"]).fails(5);
    bench.s(&["log", "a.pk", "x"]).fails(5);
    bench.s(&["get", "a.pk", "d"]).fails(1);
    bench.s(&["ls", "none.pk"]).fails(1);
    for misuse in [&[][..], &["ls"], &["get", "a.pk"], &["frob", "a.pk"], &["ls", "a.pk", "--frob"]] {
        bench.s(misuse).fails(2);
    }
    bench.s(&["get", "a.pk", "d/two", "x"]).fails(2);
    bench.s(&["get", "a.pk", "d/../d/two"]).fails(2);
    assert_eq!(bench.s(&["get", "a.pk", "//d/./two/"]).ok(), b"2");
    assert_eq!(bench.s(&["get", "a.pk", "d/one", "1"]).ok(), b"1");
    assert!(bench.s(&["--help"]).text().contains("Examples:"));
}

#[test]
fn a_missing_tool_is_named() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/keynode");
    let done = Command::new("/bin/dash").args([script, "ls", "a.pk"]).env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "keynode: tar is missing here: install it\n");
    assert_eq!(done.status.code(), Some(1));
}
