//! `share`: paths and rules in the keynode.

use crate::support::Bench;

#[test]
fn shares_and_rules_come_back_as_they_were_given() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "web/tls"], "key").ok();
    bench.k(&["share", "create", "a.pk", "web", "web/tls", "/db"]).ok();
    let done = bench.k(&["share", "add", "a.pk", "web", "web/tlss"]);
    assert!(done.err.contains("did you mean web/tls?"), "{}", done.err);
    bench.k(&["share", "remove", "a.pk", "web", "web/tlss"]).ok();
    assert_eq!(bench.k(&["share", "show", "a.pk", "web"]).ok(), "db\nweb/tls\n");
    let first = bench.k(&["share", "allow", "a.pk", "web", "--user", "www-data"]);
    assert!(first.err.contains("until it is mounted anew"), "{}", first.err);
    let narrow =
        ["share", "allow", "a.pk", "web", "--uid", "7", "--exe", "/bin/a b", "--until", "2027-01-31", "--write"];
    let second = bench.k(&narrow);
    assert_eq!(second.err, "pkfs: there is no /bin/a b on this machine\n");
    second.ok();
    let rules = "web\tuser=www-data\tread\t\nweb\tuid=7 exe=/bin/a b\twrite\t2027-01-31T23:59:59.999999999Z\n";
    assert_eq!(bench.k(&["share", "rules", "a.pk"]).ok(), rules);
    bench.k(&["share", "allow", "a.pk", "web", "--user", "www-data", "--write"]).ok();
    assert!(bench.k(&["share", "rules", "a.pk", "web"]).ok().contains("user=www-data\twrite"));
    bench.k(&["share", "deny", "a.pk", "web", "--exe", "/bin/a b", "--uid", "7"]).ok();
    assert_eq!(bench.k(&["share", "list", "a.pk"]).ok(), "web\t2\t1\t\n");
    assert!(bench.k(&["log", "a.pk"]).ok().contains("share web: deny"));
    bench.k_with(&["put", "a.pk", "other"], "x").ok();
    bench.k(&["compact", "a.pk"]).ok();
    assert_eq!(bench.k(&["share", "list", "a.pk"]).ok(), "web\t2\t1\t\n");
    bench.k(&["fsck", "a.pk"]).ok();
    bench.k(&["share", "delete", "a.pk", "web"]).ok();
    assert_eq!(bench.k(&["share", "list", "a.pk"]).ok(), "");
}

#[test]
fn there_are_no_more_shares_than_a_mount_can_tell_apart() {
    let bench = Bench::new();
    bench.k(&["share", "create", "a.pk", "web", "web"]).ok();
    bench.k(&["share", "allow", "a.pk", "web", "--uid", "7"]).ok();
    for n in 1..128 {
        bench.k(&["share", "create", "a.pk", &format!("s{n}"), "web"]).ok();
    }
    assert!(bench.k(&["share", "create", "a.pk", "last", "web"]).fails(1).contains("128 shares"));
    bench.k(&["share", "deny", "a.pk", "web", "--uid", "7"]).ok();
    bench.k(&["share", "create", "a.pk", "last", "web"]).ok();
}

#[test]
fn a_rule_that_gives_nothing_here_is_made_and_said_to_be_so() {
    let bench = Bench::new();
    bench.k(&["share", "create", "a.pk", "web", "a"]).ok();
    let rules = ["--user=no-such-user", "--group=no-such-group", "--until=2020-01-31"];
    let said = bench.k(&[&["share", "allow", "a.pk", "web"], &rules[..]].concat()).err;
    for what in
        ["no user is called no-such-user", "no group is called no-such-group", "2020-01-31T23:59:59", "has passed"]
    {
        assert!(said.contains(what), "{said}");
    }
    assert!(bench.k(&["share", "rules", "a.pk"]).ok().contains("user=no-such-user"));
    let said = bench.k(&["share", "allow", "a.pk", "web", "--unit", "nginx"]).err;
    assert!(said.contains("nginx.service"), "{said}");
    bench.k(&["share", "allow", "a.pk", "web", "--user", "root"]).ok();
    assert_eq!(bench.k(&["share", "allow", "a.pk", "web", "--group", "root"]).err, "");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    bench.k(&["share", "create", "a.pk", "web", "a"]).ok();
    for (arguments, status) in [
        (&["share", "create", "a.pk", "web", "b"][..], 1),
        (&["share", "create", "a.pk", ".web", "b"], 2),
        (&["share", "create", "a.pk", "past", ".versions/a"], 1),
        (&["share", "add", "a.pk", "web", ".views"], 1),
        (&["share", "add", "a.pk", "web", "--alert", ""], 2),
        (&["share", "show", "a.pk", "wib"], 5),
        (&["share", "add", "a.pk", "web"], 2),
        (&["share", "remove", "a.pk", "web", "b"], 5),
        (&["share", "allow", "a.pk", "web"], 1),
        (&["share", "allow", "a.pk", "web", "--uid", "me"], 1),
        (&["share", "allow", "a.pk", "web", "--uid", "4294967295"], 1),
        (&["share", "allow", "a.pk", "web", "--sha256", "00"], 2),
        (&["share", "allow", "a.pk", "web", "--exe", "nginx"], 1),
        (&["share", "allow", "a.pk", "web", "--uid", "1", "--until", "soon"], 2),
        (&["share", "deny", "a.pk", "web"], 1),
        (&["share", "deny", "a.pk", "web", "--uid", "1"], 5),
    ] {
        bench.k(arguments).fails(status);
    }
    assert_eq!(bench.k(&["share", "list", "a.pk"]).ok(), "web\t1\t0\t\n");
}

#[test]
fn the_first_rule_and_the_last_one_say_what_that_means() {
    let bench = Bench::new();
    bench.k(&["share", "create", "a.pk", "web", "a"]).ok();
    let said = |arguments: &[&str]| bench.k(&[&["share"], arguments].concat()).err;
    assert!(said(&["allow", "a.pk", "web", "--uid", "7"]).contains("the first rule"));
    assert_eq!(said(&["allow", "a.pk", "web", "--uid", "8"]), "");
    assert_eq!(said(&["deny", "a.pk", "web", "--uid", "8"]), "");
    assert!(said(&["deny", "a.pk", "web", "--all"]).contains("the last rule"));
}
