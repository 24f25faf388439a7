//! What people and programs get to see.

use std::process::Stdio;

use crate::support::{Bench, PASSPHRASE};

#[test]
fn every_command_has_help_with_an_example() {
    let bench = Bench::empty();
    let help = bench.run(&["--help"]).ok();
    let mut count = 0;
    let named = |l: &&str| l.starts_with("  ") && l.as_bytes()[2].is_ascii_lowercase() && !l.starts_with("  pkfs");
    for line in help.lines().filter(named) {
        let command = line.split_whitespace().next().unwrap();
        let text = bench.run(&[command, "--help"]).ok();
        assert!(text.contains("Example:\n  pkfs "), "{command}");
        assert!(text.contains("Usage: pkfs"), "{command}");
        count += 1;
    }
    assert!(count >= 24, "{count}\n{help}");
    for verb in ["add", "list", "remove"] {
        assert!(bench.run(&["slot", verb, "--help"]).ok().contains("Example:"));
    }
    assert!(bench.run(&["help", "unlocking"]).ok().contains("CREDENTIALS_DIRECTORY"));
    assert!(bench.run(&["help", "put"]).ok().contains("Example:"));
    bench.run(&["help", "nonsense"]).fails(1);
}

#[test]
fn wrong_usage_has_status_2() {
    let bench = Bench::empty();
    bench.run(&[]).fails(2);
    bench.run(&["nonsense"]).fails(2);
    bench.run(&["get", "a.pk"]).fails(2);
    bench.run(&["get", "a.pk", "x", "--nonsense"]).fails(2);
    bench.run(&["ls", "a.pk", "-q", "-v"]).fails(2);
}

#[test]
fn options_may_stand_anywhere_after_the_command() {
    let bench = Bench::new();
    bench.feed(&["put", "--key", "a.key", "a.pk", "x"], "1").ok();
    assert_eq!(bench.run(&["get", "a.pk", "--key", "a.key", "x"]).ok(), "1");
    assert_eq!(bench.run(&["get", "a.pk", "x", "-q", "--key", "a.key"]).ok(), "1");
}

#[test]
fn lists_are_json_when_asked_for() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "d/x"], "12345").ok();
    let ls: serde_json::Value = serde_json::from_str(&bench.k(&["ls", "a.pk", "-R", "--json"]).ok()).unwrap();
    assert_eq!((ls[0]["path"].as_str(), ls[0]["type"].as_str()), (Some("d"), Some("directory")));
    assert_eq!(
        (ls[1]["size"].as_u64(), ls[1]["version"].as_u64(), ls[1]["mode"].as_str()),
        (Some(5), Some(1), Some("0600"))
    );
    assert_eq!(ls[1]["id"].as_str().unwrap().len(), 32);
    let log: serde_json::Value = serde_json::from_str(&bench.k(&["log", "a.pk", "d/x", "--json"]).ok()).unwrap();
    assert_eq!(log[0]["version"], 1);
    let fsck: serde_json::Value = serde_json::from_str(&bench.k(&["fsck", "a.pk", "--json"]).ok()).unwrap();
    assert!(fsck.as_array().unwrap().is_empty());
}

#[test]
fn a_reader_who_leaves_early_is_no_failure() {
    let bench = Bench::new();
    let value = vec![b'x'; 4 << 20];
    bench.k_with(&["put", "a.pk", "x"], &value).ok();
    let mut command = bench.command(&["get", "a.pk", "x", "--key", "a.key"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = bench.command(&["get", "a.pk", "x", "--key", "a.key"]).stdout(full).output().unwrap().status;
    assert_eq!(status.code(), Some(1));
}

#[test]
fn no_secret_is_told() {
    let bench = Bench::empty();
    let value = "very secret value 4711";
    let mut heard = String::new();
    let mut hear = |done: crate::support::Done| {
        heard.push_str(&done.err);
        done
    };
    hear(bench.run(&["init", "a.pk", "--passphrase-file", "pw", "-vvv"])).ok();
    let unlock = ["--passphrase-file", "pw", "-vvv"];
    let with = |arguments: &[&'static str]| arguments.iter().chain(&unlock).copied().collect::<Vec<_>>();
    hear(bench.feed(&with(&["put", "a.pk", "db/zebra"]), value)).ok();
    hear(bench.run(&with(&["get", "a.pk", "db/zebra"]))).ok();
    hear(bench.run(&with(&["get", "a.pk", "db/zebr"]))).fails(5);
    hear(bench.run(&with(&["fsck", "a.pk"]))).ok();
    assert!(!heard.contains(value) && !heard.contains(PASSPHRASE), "{heard}");
    let log = bench.run(&with(&["log", "a.pk", "--json"])).ok();
    assert!(!log.contains(value));
    let file = String::from_utf8_lossy(&std::fs::read(bench.path("a.pk")).unwrap()).into_owned();
    assert!(!file.contains("zebra") && !file.contains(value));
}

#[test]
fn errors_tell_their_cause_only_when_asked() {
    let bench = Bench::new();
    bench.write("text", &"hello\n".repeat(1000));
    let short = bench.run(&["ls", "none.pk", "--key", "a.key"]).fails(5);
    assert!(!short.contains("os error") && short.lines().count() <= 2, "{short}");
    let long = bench.run(&["ls", "none.pk", "--key", "a.key", "-v"]).fails(5);
    assert!(long.contains("because: ") && long.contains("os error 2"), "{long}");
}

#[test]
fn completions_are_scripts() {
    let bench = Bench::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(bench.run(&["completions", shell]).ok().contains("pkfs"));
    }
    bench.write("c.bash", &bench.run(&["completions", "bash"]).ok());
    let done = std::process::Command::new("bash").arg("-n").arg(bench.path("c.bash")).status().unwrap();
    assert!(done.success());
}
