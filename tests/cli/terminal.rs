//! Prompts, questions, columns and colours on a terminal.

use crate::support::{Bench, PASSPHRASE};

#[test]
fn a_passphrase_is_asked_for_twice_and_not_shown() {
    let bench = Bench::empty();
    let answer = format!("{PASSPHRASE}\n");
    let done =
        bench.on_terminal(&["init", "a.pk"], &[("New passphrase: ", &answer), ("New passphrase (again): ", &answer)]);
    assert!(!done.out.contains(PASSPHRASE), "{}", done.out);
    done.ok();
    let done = bench.on_terminal(&["ls", "a.pk"], &[("Passphrase: ", "wrong\n"), ("Passphrase: ", &answer)]);
    assert!(!done.out.contains(PASSPHRASE));
    done.ok();
    bench.run(&["ls", "a.pk", "--passphrase-file", "pw"]).ok();
}

#[test]
fn different_answers_change_nothing() {
    let bench = Bench::empty();
    let dialogue = [("New passphrase: ", "one thing and then some\n"), ("(again): ", "other thing\n")];
    let done = bench.on_terminal(&["init", "a.pk"], &dialogue);
    assert_eq!(done.status, 1, "{}", done.out);
    assert!(done.out.contains("differ") && !bench.path("a.pk").exists());
}

#[test]
fn three_wrong_passphrases_are_enough() {
    let bench = Bench::empty();
    bench.run(&["init", "a.pk", "--passphrase-file", "pw"]).ok();
    let wrong = ("Passphrase: ", "wrong\n");
    let done = bench.on_terminal(&["ls", "a.pk"], &[wrong, wrong, wrong, wrong]);
    assert_eq!((done.status, done.out.matches("Passphrase: ").count()), (3, 3), "{}", done.out);
}

#[test]
fn a_value_is_asked_for_twice_and_gets_no_newline() {
    let bench = Bench::new();
    let dialogue = [("Value of x: ", "se cret\n"), ("Value of x (again): ", "se cret\n")];
    let done = bench.on_terminal(&["put", "a.pk", "x", "--key", "a.key"], &dialogue);
    assert!(!done.out.contains("se cret"), "{}", done.out);
    done.ok();
    assert_eq!(bench.k(&["get", "a.pk", "x"]).ok(), "se cret");
}

#[test]
fn what_destroys_asks() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "d/x"], "1").ok();
    let rm = ["rm", "a.pk", "d", "-r", "--key", "a.key"];
    assert_eq!(bench.on_terminal(&rm, &[("[y/N] ", "\n")]).status, 1);
    assert_eq!(bench.on_terminal(&rm, &[("[y/N] ", "n\n")]).status, 1);
    assert_eq!(bench.k(&["ls", "a.pk"]).ok(), "d\n");
    bench.on_terminal(&rm, &[("[y/N] ", "y\n")]).ok();
    assert_eq!(bench.k(&["ls", "a.pk"]).ok(), "");
}

#[test]
fn lists_have_headings_and_colours() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "d/x"], "1").ok();
    let long = bench.on_terminal(&["ls", "a.pk", "-l", "--key", "a.key"], &[]).ok();
    assert!(long.lines().next().unwrap().starts_with("type       mode"), "{long}");
    assert!(bench.on_terminal(&["ls", "a.pk", "--key", "a.key"], &[]).ok().contains("\u{1b}[34md/\u{1b}[0m"));
}
