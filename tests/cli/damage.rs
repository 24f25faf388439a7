//! Damaged files: every command says so, and repair saves what is left.

use std::fs;

use crate::support::Bench;

/// Where in a tar file the header of the n-th member of this name stands.
fn header(bench: &Bench, name: &str, nth: usize) -> usize {
    let bytes = fs::read(bench.path("a.pk")).unwrap();
    let named = |block: &[u8]| block.starts_with(name.as_bytes()) && block[name.len()] == 0;
    bytes.chunks(512).enumerate().filter(|(_, block)| named(block)).nth(nth).map(|(n, _)| n * 512).unwrap()
}

fn flip(bench: &Bench, at: usize) {
    let mut bytes = fs::read(bench.path("a.pk")).unwrap();
    bytes[at] ^= 4;
    fs::write(bench.path("a.pk"), bytes).unwrap();
}

fn six(bench: &Bench) {
    for n in 1..=6 {
        bench.k_with(&["put", "a.pk", &format!("d/s{n}")], format!("value {n}")).ok();
    }
}

#[test]
fn damage_amid_transactions_is_no_torn_end() {
    let bench = Bench::new();
    six(&bench);
    flip(&bench, header(&bench, "refs/heads/keynode", 3) + 20);
    let checked = bench.k(&["fsck", "a.pk"]);
    assert!(checked.status == 4 && checked.out.contains("damaged"), "{}{}", checked.out, checked.err);
    // This user has seen the whole; another one has not, and must be told all the same.
    bench.k(&["ls", "a.pk", "-R"]).fails(4);
    fs::remove_dir_all(bench.path("state")).unwrap();
    let listed = bench.k(&["ls", "a.pk", "-R"]);
    assert!(listed.status == 0 && listed.err.contains("damaged"), "{}", listed.err);
    assert!(bench.k_with(&["put", "a.pk", "x"], "y").fails(4).contains("--repair"));
    bench.k(&["fsck", "a.pk", "--repair", "b.pk"]).ok();
    let names = bench.run(&["ls", "b.pk", "-R", "--key", "a.key"]).ok();
    for n in 1..=6 {
        assert!(names.contains(&format!("d/s{n}\n")), "{names}");
        let got = bench.run(&["get", "b.pk", &format!("d/s{n}"), "--key", "a.key"]).ok();
        assert_eq!(got, format!("value {n}"));
    }
}

#[test]
fn a_torn_end_is_a_note() {
    let bench = Bench::new();
    six(&bench);
    let bytes = fs::read(bench.path("a.pk")).unwrap();
    bench.k_with(&["put", "a.pk", "d/s7"], "value 7").ok();
    let whole = fs::read(bench.path("a.pk")).unwrap();
    fs::remove_dir_all(bench.path("state")).unwrap();
    fs::write(bench.path("a.pk"), &whole[..bytes.len() + 1024]).unwrap();
    assert!(bench.k(&["fsck", "a.pk"]).ok().contains("unfinished"));
    bench.k_with(&["put", "a.pk", "d/s8"], "value 8").ok();
    assert!(!bench.k(&["fsck", "a.pk"]).ok().contains("unfinished"));
}

#[test]
fn a_base_that_cannot_be_opened_is_repaired() {
    for member in ["refs/", "objects/", "README.txt", "packed-refs"] {
        let bench = Bench::new();
        six(&bench);
        bench.k(&["compact", "a.pk"]).ok();
        flip(&bench, header(&bench, member, 0) + 2);
        assert_ne!(bench.k(&["get", "a.pk", "d/s1"]).status, 0);
        bench.k(&["fsck", "a.pk", "--repair", "b.pk"]).ok();
        assert_eq!(bench.run(&["get", "b.pk", "d/s6", "--key", "a.key"]).ok(), "value 6", "{member}");
    }
}

#[test]
fn a_repaired_keynode_has_nothing_to_report() {
    let bench = Bench::empty();
    bench.write("pw", crate::support::PASSPHRASE);
    bench.run(&["init", "a.pk", "--passphrase-file", "pw"]).ok();
    bench.feed(&["put", "a.pk", "s", "--passphrase-file", "pw"], "v").ok();
    flip(&bench, header(&bench, "refs/heads/keynode", 0) + 20);
    fs::remove_dir_all(bench.path("state")).unwrap();
    bench.run(&["fsck", "a.pk", "--repair", "b.pk", "--passphrase-file", "pw"]).ok();
    assert_eq!(bench.run(&["fsck", "b.pk", "--passphrase-file", "pw"]).ok(), "");
    assert_eq!(bench.run(&["get", "b.pk", "s", "--passphrase-file", "pw"]).ok(), "v");
}

#[test]
fn what_a_mount_shows_there_cannot_be_a_secrets_name() {
    let bench = Bench::new();
    for name in [".versions", ".views", ".versions/x"] {
        bench.k_with(&["put", "a.pk", name], "v").fails(6);
    }
    bench.k_with(&["put", "a.pk", "d/.versions"], "v").ok();
}

#[test]
fn moving_over_a_secret_takes_a_yes() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "a"], "1").ok();
    bench.k_with(&["put", "a.pk", "b"], "2").ok();
    assert!(bench.k(&["mv", "a.pk", "a", "b"]).fails(1).contains("exists"));
    bench.k(&["mv", "a.pk", "a", "b", "--yes"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "b"]).ok(), "1");
    assert_eq!(bench.k(&["fsck", "a.pk"]).ok(), "");
}
