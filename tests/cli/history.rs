//! `log`, `diff`, `restore`, and reading the past.

use crate::support::Bench;

fn versions() -> Bench {
    let bench = Bench::new();
    for value in ["one\n", "one\ntwo\n", "two\n"] {
        bench.k_with(&["put", "a.pk", "x"], value).ok();
    }
    bench
}

#[test]
fn every_version_can_be_read() {
    let bench = versions();
    let log = bench.k(&["log", "a.pk", "x"]).ok();
    let numbers: Vec<&str> = log.lines().map(|l| l.split('\t').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    assert_eq!(bench.k(&["get", "a.pk", "x", "-r", "2"]).ok(), "one\ntwo\n");
    assert_eq!(bench.k(&["get", "a.pk", "x"]).ok(), "two\n");
    assert_eq!(bench.k(&["log", "a.pk", "x", "-n", "1"]).ok().lines().count(), 1);
    bench.k(&["get", "a.pk", "x", "-r", "1", "--at", "2026"]).fails(2);
}

#[test]
fn the_log_tells_what_was_done_but_no_value() {
    let bench = versions();
    bench.k(&["mv", "a.pk", "x", "y"]).ok();
    let log = bench.k(&["log", "a.pk"]).ok();
    assert_eq!(log.lines().count(), 5);
    assert!(log.lines().next().unwrap().contains('y') && !log.contains("two"), "{log}");
    let json: serde_json::Value = serde_json::from_str(&bench.k(&["log", "a.pk", "--json", "-n", "2"]).ok()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert!(json[0]["date"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn differences_have_status_8() {
    let bench = versions();
    let done = bench.k(&["diff", "a.pk", "x"]);
    assert_eq!((done.status, done.out.as_str()), (8, "--- x 2\n+++ x 3\n@@ -1,2 +1 @@\n-one\n two\n"));
    assert_eq!(bench.k(&["diff", "a.pk", "x", "1", "2"]).status, 8);
    assert_eq!(bench.k(&["diff", "a.pk", "x", "3"]).ok(), "");
    bench.k(&["diff", "a.pk", "x", "1", "9"]).fails(5);
    bench.k_with(&["put", "a.pk", "b"], [0, 1]).ok();
    assert!(bench.k(&["diff", "a.pk", "b"]).fails(5).contains("one version only"));
    bench.k_with(&["put", "a.pk", "b"], [0, 2]).ok();
    let done = bench.k(&["diff", "a.pk", "b"]);
    assert_eq!((done.status, done.out.as_str()), (8, "b 1 and b 2 differ: 2 and 2 bytes, not text\n"));
}

#[test]
fn differences_can_be_json() {
    let bench = versions();
    let json = |arguments: &[&str], status| {
        let done = bench.k(&[&["diff", "a.pk", "--json"], arguments].concat());
        assert_eq!(done.status, status, "{}", done.err);
        serde_json::from_str::<serde_json::Value>(&done.out).unwrap()
    };
    let differs = json(&["x"], 8);
    assert_eq!(
        (differs["path"].as_str(), differs["old"].as_u64(), differs["new"].as_u64()),
        (Some("x"), Some(2), Some(3))
    );
    assert_eq!((differs["equal"].as_bool(), differs["new_size"].as_u64()), (Some(false), Some(4)));
    assert_eq!(differs["hunks"][0]["lines"], serde_json::json!(["-one\n", " two\n"]));
    let same = json(&["x", "3", "3"], 0);
    assert_eq!((same["equal"].as_bool(), same["hunks"].as_array().map(Vec::len)), (Some(true), Some(0)));
    bench.k_with(&["put", "a.pk", "b"], [0, 1]).ok();
    bench.k_with(&["put", "a.pk", "b"], [0, 2]).ok();
    assert!(json(&["b"], 8)["hunks"].is_null());
}

#[test]
fn a_former_value_comes_back_as_a_new_version() {
    let bench = versions();
    assert!(bench.k(&["restore", "a.pk", "x", "-r", "1"]).fails(1).contains("--yes"));
    assert_eq!(bench.k(&["restore", "a.pk", "x", "-r", "1", "-N"]).ok(), "replace\tx\n");
    bench.k(&["restore", "a.pk", "x", "-r", "1", "--yes"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "x"]).ok(), "one\n");
    bench.k(&["restore", "a.pk", "x", "--yes"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "x"]).ok(), "two\n");
    assert_eq!(bench.k(&["log", "a.pk", "x"]).ok().lines().count(), 5);
    // The present version is there already.
    bench.k(&["restore", "a.pk", "x", "-r", "5"]).ok();
    assert_eq!(bench.k(&["log", "a.pk", "x"]).ok().lines().count(), 5);
}

#[test]
fn a_removed_secret_comes_back_and_its_history_goes_on() {
    let bench = versions();
    bench.k(&["rm", "a.pk", "x"]).ok();
    bench.k(&["get", "a.pk", "x"]).fails(5);
    assert_eq!(bench.k(&["get", "a.pk", "x", "-r", "1"]).ok(), "one\n");
    assert_eq!(bench.k(&["log", "a.pk", "x"]).ok().lines().count(), 3);
    bench.k(&["restore", "a.pk", "x"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "x"]).ok(), "two\n");
    bench.k(&["rm", "a.pk", "x"]).ok();
    bench.k_with(&["put", "a.pk", "x"], "new").ok();
    assert_eq!(bench.k(&["log", "a.pk", "x"]).ok().lines().count(), 5);
}

#[test]
fn what_a_directory_has_taken_the_name_of_can_still_be_had() {
    let bench = versions();
    bench.k(&["rm", "a.pk", "x"]).ok();
    bench.k_with(&["put", "a.pk", "x/y"], "below").ok();
    bench.k(&["get", "a.pk", "x"]).fails(1);
    assert_eq!(bench.k(&["log", "a.pk", "x"]).ok().lines().count(), 3);
    assert_eq!(bench.k(&["get", "a.pk", "x", "-r", "1"]).ok(), "one\n");
    bench.k(&["restore", "a.pk", "x", "-r", "1", "--yes"]).fails(1);
    assert_eq!(bench.k(&["get", "a.pk", "x/y"]).ok(), "below");
    bench.k(&["mv", "a.pk", "x", "z"]).ok();
    bench.k(&["restore", "a.pk", "x", "-r", "1"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "x"]).ok(), "one\n");
}

#[test]
fn dates_show_the_past() {
    let bench = versions();
    assert_eq!(bench.k(&["get", "a.pk", "x", "--at", "9998"]).ok(), "two\n");
    bench.k(&["get", "a.pk", "x", "--at", "2001-01"]).fails(5);
    bench.k(&["get", "a.pk", "x", "--at", "tomorrow"]).fails(2);
    assert_eq!(bench.k(&["ls", "a.pk", "--at", "9998"]).ok(), "x\n");
    assert_eq!(bench.k(&["restore", "a.pk", "/", "--at", "9998"]).ok(), "");
    bench.k(&["rm", "a.pk", "x"]).ok();
    // Dates of transactions are whole seconds: what was there in the second of version 3 is told by the log.
    let log: serde_json::Value = serde_json::from_str(&bench.k(&["log", "a.pk", "--json"]).ok()).unwrap();
    let removed = log[0]["date"].as_str().unwrap();
    bench.k(&["get", "a.pk", "x", "--at", removed]).fails(5);
}
