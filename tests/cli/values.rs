//! `put`, `get`, `ls`, `rm`, `mv`, `cp`, `ln`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Bench;

#[test]
fn bytes_come_back_as_they_were() {
    let bench = Bench::new();
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for value in [b"".as_slice(), b"\n", b"no newline", &all] {
        bench.k_with(&["put", "a.pk", "x"], value).ok();
        assert_eq!(bench.k(&["get", "a.pk", "x"]).bytes, value);
    }
    fs::write(bench.path("file"), &all).unwrap();
    bench.k(&["put", "a.pk", "deep/er/y", "file"]).ok();
    bench.k(&["get", "a.pk", "deep/er/y", "-o", "out"]).ok();
    assert_eq!(fs::read(bench.path("out")).unwrap(), all);
    assert_eq!(fs::metadata(bench.path("out")).unwrap().permissions().mode() & 0o777, 0o600);
    bench.k_with(&["put", "a.pk", "z", "-"], "dash").ok();
    assert_eq!(bench.k(&["cat", "a.pk", "z"]).ok(), "dash");
}

#[test]
fn a_value_over_the_limit_is_refused() {
    let bench = Bench::new();
    fs::File::create(bench.path("huge")).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(bench.k(&["put", "a.pk", "x", "huge"]).fails(1).contains("larger than 67108864 bytes"));
    assert_eq!(bench.k(&["ls", "a.pk"]).ok(), "");
}

#[test]
fn modes_are_0600_unless_asked_for() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "x"], "1").ok();
    bench.k_with(&["put", "a.pk", "y", "--mode", "0640"], "1").ok();
    bench.k_with(&["put", "a.pk", "y"], "2").ok();
    let modes: Vec<String> =
        bench.k(&["ls", "a.pk", "-l"]).ok().lines().map(|l| l.split('\t').nth(1).unwrap().to_owned()).collect();
    assert_eq!(modes, ["0600", "0640"]);
    bench.k_with(&["put", "a.pk", "x", "--mode", "9"], "1").fails(2);
}

#[test]
fn missing_things_have_status_5_and_a_suggestion() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "db/password"], "x").ok();
    let told = bench.k(&["get", "a.pk", "db/pasword"]).fails(5);
    assert_eq!(told, "pkfs: a.pk: db/pasword: no such secret (did you mean db/password?)\n");
    let told = bench.k(&["get", "a.pk", "db/password", "-r", "7"]).fails(5);
    assert_eq!(told, "pkfs: a.pk: db/password: no version 7 (there is 1 only)\n");
    assert!(bench.k(&["get", "a.pk", "db"]).fails(1).contains("a directory"));
    for arguments in [["rm", "a.pk", "none"], ["ls", "a.pk", "none"], ["log", "a.pk", "none"], ["diff", "a.pk", "none"]]
    {
        bench.k(&arguments).fails(5);
    }
    bench.k(&["mv", "a.pk", "none", "x"]).fails(5);
    bench.k(&["get", "a.pk", "a/../b"]).fails(2);
    bench.k_with(&["put", "a.pk", "db/password/x"], "x").fails(1);
    bench.k_with(&["put", "a.pk", "db"], "x").fails(1);
    bench.k_with(&["put", "a.pk", "/"], "x").fails(1);
}

#[test]
fn names_move_copy_and_link() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "d/x"], "1").ok();
    bench.k(&["mv", "a.pk", "d/x", "e/y"]).ok();
    bench.k(&["cp", "a.pk", "e/y", "d"]).ok();
    bench.k(&["ln", "a.pk", "e/y", "f"]).ok();
    assert_eq!(bench.k(&["ls", "a.pk", "-R"]).ok(), "d\nd/y\ne\ne/y\nf\n");
    bench.k_with(&["put", "a.pk", "f"], "2").ok();
    assert_eq!(bench.k(&["get", "a.pk", "e/y"]).ok(), "2");
    assert_eq!(bench.k(&["get", "a.pk", "d/y"]).ok(), "1");
    assert_eq!(bench.k(&["log", "a.pk", "e/y"]).ok().lines().count(), 2);
    assert_eq!(bench.k(&["log", "a.pk", "d/y"]).ok().lines().count(), 1);

    bench.k(&["cp", "a.pk", "e", "g"]).fails(1);
    bench.k(&["cp", "a.pk", "e", "e/in", "-r"]).fails(1);
    bench.k(&["mv", "a.pk", "e", "e/in"]).fails(1);
    bench.k(&["ln", "a.pk", "e", "g"]).fails(1);
    bench.k(&["cp", "a.pk", "/", "g", "-r"]).fails(1);
    bench.k(&["cp", "a.pk", "e", "g", "-r"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "g/y"]).ok(), "2");
}

#[test]
fn copies_of_hard_links_are_hard_links() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "d/x"], "1").ok();
    bench.k(&["ln", "a.pk", "d/x", "d/y"]).ok();
    bench.k(&["cp", "a.pk", "d", "e", "-r"]).ok();
    bench.k_with(&["put", "a.pk", "e/x"], "2").ok();
    assert_eq!(bench.k(&["get", "a.pk", "e/y"]).ok(), "2");
    assert_eq!(bench.k(&["get", "a.pk", "d/y"]).ok(), "1");
}

#[test]
fn removing_a_tree_needs_a_yes() {
    let bench = Bench::new();
    for name in ["d/x", "d/e/y", "z"] {
        bench.k_with(&["put", "a.pk", name], "1").ok();
    }
    bench.k(&["rm", "a.pk", "d"]).fails(1);
    assert_eq!(bench.k(&["rm", "a.pk", "d", "-r", "-N"]).ok(), "remove\td\nremove\td/e\nremove\td/e/y\nremove\td/x\n");
    assert!(bench.k(&["rm", "a.pk", "d", "-r"]).fails(1).contains("--yes"));
    assert_eq!(bench.k(&["ls", "a.pk"]).ok(), "d\nz\n");
    bench.k(&["rm", "a.pk", "d", "z", "-r", "--yes"]).ok();
    assert_eq!(bench.k(&["ls", "a.pk"]).ok(), "");
}

#[test]
fn odd_names_are_shown_quoted_and_can_be_used() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "two words\u{1b}[31m/ä"], "1").ok();
    assert_eq!(bench.k(&["ls", "a.pk", "-R"]).ok(), "\"two words\\033[31m\"\n\"two words\\033[31m/\\303\\244\"\n");
    assert_eq!(bench.k(&["get", "a.pk", "two words\u{1b}[31m/ä"]).ok(), "1");
}
