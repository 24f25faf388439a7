//! `init`, `info`, `fsck`, `compact`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Bench;

#[test]
fn a_keynode_is_made_with_a_passphrase_or_with_its_key_elsewhere() {
    let bench = Bench::empty();
    assert_eq!(bench.run(&["init", "a.pk", "--passphrase-file", "pw"]).ok(), "");
    assert_eq!(bench.run(&["slot", "list", "a.pk"]).ok(), "passphrase\t\n");

    bench.run(&["init", "b.pk", "--key-out", "b.key"]).ok();
    assert_eq!(bench.run(&["slot", "list", "b.pk"]).ok(), "");
    assert!(bench.read("b.key").starts_with("-----BEGIN PGP PRIVATE KEY BLOCK-----"));
    assert_eq!(fs::metadata(bench.path("b.key")).unwrap().permissions().mode() & 0o777, 0o600);
    bench.run(&["ls", "b.pk", "--key", "b.key"]).ok();
    bench.run(&["ls", "a.pk", "--key", "b.key"]).fails(3);
}

#[test]
fn nothing_is_overwritten() {
    let bench = Bench::new();
    let before = fs::read(bench.path("a.pk")).unwrap();
    assert!(bench.run(&["init", "a.pk", "--passphrase-file", "pw"]).fails(1).contains("exists already"));
    assert_eq!(fs::read(bench.path("a.pk")).unwrap(), before);
    assert!(bench.run(&["init", "c.pk", "--key-out", "a.key"]).fails(1).contains("exists already"));
    assert!(!bench.path("c.pk").exists());
    // A key for a keynode that could not be made does not stay.
    bench.run(&["init", "missing/c.pk", "--key-out", "c.key"]).fails(5);
    assert!(!bench.path("c.key").exists());
}

#[test]
fn a_weak_passphrase_needs_force() {
    let bench = Bench::empty();
    bench.write("weak", "password1\n");
    let told = bench.run(&["init", "a.pk", "--passphrase-file", "weak"]).fails(1);
    assert!(told.contains("weak passphrase") && told.contains("--force") && !told.contains("password1"), "{told}");
    assert!(!bench.path("a.pk").exists());
    bench.run(&["init", "a.pk", "--passphrase-file", "weak", "--force"]).ok();
}

#[test]
fn the_profile_can_be_chosen() {
    let bench = Bench::empty();
    bench.run(&["init", "a.pk", "--profile", "rfc9580", "--passphrase-file", "pw"]).ok();
    assert!(bench.run(&["info", "a.pk", "--passphrase-file", "pw"]).ok().contains("rfc9580"));
    bench.run(&["init", "b.pk", "--profile", "x", "--passphrase-file", "pw"]).fails(2);
}

#[test]
fn info_tells_what_is_there() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "db/password"], "x").ok();
    let info: serde_json::Value = serde_json::from_str(&bench.k(&["info", "a.pk", "--json"]).ok()).unwrap();
    assert_eq!((&info["secrets"], &info["directories"], &info["format"]), (&1.into(), &1.into(), &1.into()));
    assert!(info["file_size"].as_u64().unwrap() <= fs::metadata(bench.path("a.pk")).unwrap().len());
    assert!(bench.k(&["info", "a.pk"]).ok().contains("secrets      1, "));
}

#[test]
fn fsck_finds_a_flipped_bit_and_does_without_a_key() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "x"], "value").ok();
    let told = bench.k(&["fsck", "a.pk"]);
    assert!(told.err.contains("all is well"), "{}", told.err);
    assert_eq!(told.ok(), "");
    let without = bench.run(&["fsck", "a.pk"]);
    assert!(without.err.contains("messages are not opened"), "{}", without.err);
    without.ok();

    let mut bytes = fs::read(bench.path("a.pk")).unwrap();
    let at = bytes.len() / 2;
    let at = at + bytes[at..].iter().position(|&b| b != 0).unwrap() + 1;
    bytes[at] ^= 0x10;
    fs::write(bench.path("b.pk"), &bytes).unwrap();
    let done = bench.run(&["fsck", "b.pk", "--key", "a.key"]);
    assert_eq!(done.status, 4, "{}{}", done.out, done.err);
}

#[test]
fn compaction_keeps_every_version() {
    let bench = Bench::new();
    for n in 1..=5 {
        bench.k_with(&["put", "a.pk", "x"], format!("value {n}")).ok();
    }
    bench.k(&["compact", "a.pk"]).ok();
    for n in 1..=5 {
        assert_eq!(bench.k(&["get", "a.pk", "x", "-r", &n.to_string()]).ok(), format!("value {n}"));
    }
}

#[test]
fn what_is_no_keynode_is_told_so() {
    let bench = Bench::new();
    bench.write("empty", "");
    bench.write("text", &"hello\n".repeat(1000));
    std::process::Command::new("tar").args(["-cf", "plain.tar", "pw"]).current_dir(bench.top()).status().unwrap();
    for (file, statuses) in
        [("empty", [1, 4]), ("text", [1, 4]), ("plain.tar", [1, 4]), (".", [1, 1]), ("none", [5, 5])]
    {
        for command in ["ls", "fsck", "info"] {
            let done = bench.run(&[command, file, "--key", "a.key"]);
            assert!(statuses.contains(&done.status), "{command} {file}: {} {}", done.status, done.err);
            assert!(done.err.lines().count() <= 2 && done.err.starts_with("pkfs: "), "{}", done.err);
            assert!(done.out.is_empty() || command == "fsck");
        }
    }
}

#[test]
fn a_repair_saves_what_is_good_into_a_new_file() {
    let bench = Bench::new();
    for name in ["x", "y"] {
        bench.k_with(&["put", "a.pk", name], format!("value of {name}")).ok();
    }
    let whole = fs::read(bench.path("a.pk")).unwrap();
    let damaged = &whole[..whole.len() - 9 * 512];
    fs::write(bench.path("b.pk"), damaged).unwrap();
    bench.run(&["fsck", "b.pk", "--repair", "c.pk"]).fails(3);
    bench.run(&["fsck", "b.pk", "--repair", "c.pk", "--key", "a.key"]).ok();
    bench.run(&["fsck", "c.pk", "--key", "a.key"]).ok();
    assert_eq!(bench.run(&["get", "c.pk", "x", "--key", "a.key", "--allow-rollback"]).ok(), "value of x");
    bench.run(&["fsck", "b.pk", "--repair", "c.pk", "--key", "a.key"]).fails(1);
    assert_eq!(fs::read(bench.path("b.pk")).unwrap(), damaged);
}
