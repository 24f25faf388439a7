//! `import` and `export`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use crate::support::Bench;

fn tree(bench: &Bench) {
    let top = bench.path("src");
    fs::create_dir_all(top.join("d/e")).unwrap();
    fs::write(top.join("d/x"), "one").unwrap();
    fs::write(top.join("d/e/y\u{e4} z"), [0, 255, 10]).unwrap();
    fs::set_permissions(top.join("d/x"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(top.join("d/x"), top.join("link")).unwrap();
    symlink("/etc/passwd", top.join("sym")).unwrap();
    Command::new("mkfifo").arg(top.join("fifo")).status().unwrap();
    Command::new("touch").args(["-h", "-d", "2001-02-03 04:05:06.789"]).arg(top.join("sym")).status().unwrap();
    Command::new("touch").args(["-d", "2001-02-03 04:05:06.789"]).arg(top.join("d/x")).status().unwrap();
    Command::new("touch").args(["-d", "2002-02-03"]).arg(top.join("d/e")).arg(top.join("d")).status().unwrap();
}

/// Name, type, mode, size, links and time of all below, as `find` sees them.
fn seen(bench: &Bench, directory: &str) -> String {
    let format = "%P %y %m %s %n %T@ %l\\n";
    let output =
        Command::new("find").arg(bench.path(directory)).args(["-mindepth", "1", "-printf", format]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Sizes of directories are their file system's business.
    let mut lines: Vec<String> = text
        .lines()
        .map(|l| {
            let mut fields: Vec<&str> = l.split(' ').collect();
            let kind = fields.iter().position(|f| *f == "d");
            if let Some(at) = kind {
                fields[at + 2] = "-";
            }
            fields.join(" ")
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_tree_goes_in_and_comes_out_the_same() {
    let bench = Bench::new();
    tree(&bench);
    bench.k(&["import", "a.pk", "src"]).ok();
    bench.k(&["export", "a.pk", "out"]).ok();
    assert_eq!(seen(&bench, "out"), seen(&bench, "src"));
    assert_eq!(fs::read(bench.path("out/d/e/y\u{e4} z")).unwrap(), [0, 255, 10]);
    assert_eq!(fs::metadata(bench.path("out")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(bench.k(&["log", "a.pk"]).ok().lines().count(), 2);
}

#[test]
fn tar_takes_it_out_too() {
    let bench = Bench::new();
    tree(&bench);
    bench.k(&["import", "a.pk", "src"]).ok();
    bench.k(&["export", "a.pk", "out.tar"]).ok();
    assert_eq!(fs::metadata(bench.path("out.tar")).unwrap().mode() & 0o777, 0o600);
    fs::create_dir(bench.path("tar")).unwrap();
    let done = Command::new("tar").args(["-xpf", "out.tar", "-C", "tar"]).current_dir(bench.top()).status().unwrap();
    assert!(done.success());
    // tar keeps whole seconds.
    let whole = |text: String| {
        let cut = |w: &str| {
            w.split_once('.').map_or(w.to_owned(), |(a, b)| if b.len() > 8 { a.to_owned() } else { w.to_owned() })
        };
        text.split(' ').map(cut).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(whole(seen(&bench, "tar")), whole(seen(&bench, "src")));
    assert_eq!(bench.k(&["export", "a.pk", "-", "d/x"]).bytes.len() % 512, 0);
}

#[test]
fn an_unchanged_tree_makes_no_version() {
    let bench = Bench::new();
    tree(&bench);
    bench.k(&["import", "a.pk", "src", "p"]).ok();
    let before = fs::read(bench.path("a.pk")).unwrap();
    assert!(bench.k(&["import", "a.pk", "src", "p"]).err.contains("2 the same already"));
    assert_eq!(fs::read(bench.path("a.pk")).unwrap(), before);
    fs::write(bench.path("src/d/x"), "two").unwrap();
    bench.k(&["import", "a.pk", "src", "p"]).ok();
    assert_eq!(bench.k(&["get", "a.pk", "p/link"]).ok(), "two");
    assert_eq!(bench.k(&["log", "a.pk", "p/d/x"]).ok().lines().count(), 2);
}

#[test]
fn a_dry_run_changes_nothing() {
    let bench = Bench::new();
    tree(&bench);
    let before = fs::read(bench.path("a.pk")).unwrap();
    assert_eq!(bench.k(&["import", "a.pk", "src", "-N"]).ok().lines().count(), 7);
    assert_eq!(fs::read(bench.path("a.pk")).unwrap(), before);
    bench.k(&["import", "a.pk", "src"]).ok();
    assert_eq!(bench.k(&["export", "a.pk", "out", "-N", "d/e"]).ok().lines().count(), 3);
    assert!(!bench.path("out").exists());
}

#[test]
fn what_stands_in_the_way_stops_all_of_it() {
    let bench = Bench::new();
    tree(&bench);
    bench.k_with(&["put", "a.pk", "d"], "a secret where a directory is wanted").ok();
    bench.k(&["import", "a.pk", "src"]).fails(1);
    assert_eq!(bench.k(&["ls", "a.pk"]).ok(), "d\n");
    fs::File::create(bench.path("src/huge")).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(bench.k(&["import", "a.pk", "src", "p"]).fails(1).contains("huge"));
    bench.k(&["import", "a.pk", "none"]).fails(5);
}

#[test]
fn secrets_do_not_go_to_a_place_that_others_can_read() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "x"], "1").ok();
    fs::create_dir(bench.path("open")).unwrap();
    fs::set_permissions(bench.path("open"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(bench.k(&["export", "a.pk", "open"]).fails(6).contains("--force"));
    assert_eq!(fs::read_dir(bench.path("open")).unwrap().count(), 0);
    bench.k(&["export", "a.pk", "open", "--force"]).ok();
    assert_eq!(fs::read_to_string(bench.path("open/x")).unwrap(), "1");
    bench.k(&["export", "a.pk", "open", "--force"]).fails(1);
    let file = fs::File::create(bench.path("public")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = bench.command(&["export", "a.pk", "-", "--key", "a.key"]);
    assert_eq!(command.stdout(file).status().unwrap().code(), Some(6));
    assert_eq!(fs::metadata(bench.path("public")).unwrap().len(), 0);
}

#[test]
fn links_in_a_keynode_lead_nothing_out_of_the_tree() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("src")).unwrap();
    fs::create_dir(bench.path("victim")).unwrap();
    symlink("../victim", bench.path("src/d")).unwrap();
    bench.k(&["import", "a.pk", "src"]).ok();
    bench.k(&["export", "a.pk", "out"]).ok();
    assert_eq!(fs::read_link(bench.path("out/d")).unwrap(), std::path::Path::new("../victim"));
    symlink("victim", bench.path("to")).unwrap();
    bench.k(&["export", "a.pk", "to", "--force"]).fails(1);
    assert_eq!(fs::read_dir(bench.path("victim")).unwrap().count(), 0);
    // A setuid bit is not given away.
    bench.k_with(&["put", "a.pk", "s", "--mode", "4755"], "1").ok();
    bench.k(&["export", "a.pk", "out2", "s"]).ok();
    assert_eq!(fs::metadata(bench.path("out2/s")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_export_can_be_of_the_past_and_of_a_part() {
    let bench = Bench::new();
    for name in ["d/x", "d/y", "e/z"] {
        bench.k_with(&["put", "a.pk", name], name).ok();
    }
    bench.k(&["export", "a.pk", "out", "d/x", "e"]).ok();
    let names: Vec<String> = seen(&bench, "out").lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["d", "d/x", "e", "e/z"]);
    bench.k(&["export", "a.pk", "past", "--at", "2001"]).fails(5);
    bench.k(&["export", "a.pk", "past", "--at", "9998"]).ok();
    bench.k(&["export", "a.pk", "o2", "none"]).fails(5);
    assert!(!bench.path("o2").exists());
}

#[test]
fn an_export_that_fails_leaves_nothing() {
    let bench = Bench::new();
    bench.k_with(&["put", "a.pk", "d/a"], "small").ok();
    bench.k_with(&["put", "a.pk", "d/b"], vec![7; 3 << 20]).ok();
    std::fs::create_dir(bench.path("empty")).unwrap();
    std::fs::set_permissions(bench.path("empty"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for to in ["new", "empty"] {
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            "ulimit -f 2000; exec \"$0\" export a.pk \"$1\" --key a.key",
            env!("CARGO_BIN_EXE_pkfs"),
            to,
        ]);
        bench.surround(&mut command);
        crate::support::Done::from(command.output().unwrap()).fails(1);
    }
    assert!(!bench.path("new").exists());
    assert_eq!(std::fs::read_dir(bench.path("empty")).unwrap().count(), 0);
}
