//! What a mount writes down, and the alarms it raises.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use crate::callers::{DENIED, WEB, output, python};
use crate::place::{Place, can, open_bench};
use crate::support::eventually;

/// Lines of an audit about a path.
fn lines(audit: &Path, path: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(audit).unwrap_or_default();
    let all = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("whole lines of JSON"));
    all.filter(|line| line["path"] == path).collect()
}

#[test]
fn each_open_and_each_refusal_is_a_line() {
    if !can() {
        return;
    }
    let place = Place::new();
    let (audit, moved) = (place.bench.path("audit"), place.bench.path("audit.1"));
    let mounted = place.bench.mount(&["--audit", audit.to_str().unwrap()]);
    let cat = |uid, path: &str| output(uid, &["cat", mounted.path(path).to_str().unwrap()]);
    assert!(cat(WEB, "web/one").is_some());
    assert!(cat(DENIED, "web/one").is_none());
    eventually("two lines", || !lines(&audit, "web/one").is_empty() && !lines(&audit, "web").is_empty());
    let allowed = &lines(&audit, "web/one")[0];
    assert_eq!(
        (&allowed["uid"], &allowed["verdict"], &allowed["want"]),
        (&WEB.into(), &"allowed".into(), &"read".into())
    );
    // All rules that hold for the caller.
    assert_eq!(allowed["rule"], serde_json::json!([format!("one: uid={WEB}"), format!("web: uid={WEB}")]));
    assert_eq!(Path::new(allowed["exe"].as_str().unwrap()), Path::new("/bin/cat").canonicalize().unwrap());
    assert!(allowed["pid"].as_u64().unwrap() > 0 && allowed["time"].as_str().unwrap().ends_with('Z'));
    let refused = &lines(&audit, "web")[0];
    assert_eq!((&refused["uid"], &refused["verdict"]), (&DENIED.into(), &"refused".into()));
    fs::write(mounted.path("private/made"), "x").unwrap();
    eventually("what is made", || !lines(&audit, "private/made").is_empty());
    assert_eq!(lines(&audit, "private/made")[0]["want"], "create");
    fs::read(mounted.path("db/other")).unwrap();
    fs::read(mounted.path(".views/team/team")).unwrap();
    eventually("who mounted, too", || lines(&audit, "db/other").len() + lines(&audit, "team").len() == 2);
    // Begun anew, once somebody has moved it away.
    fs::rename(&audit, &moved).unwrap();
    mounted.signal(Signal::HUP);
    eventually("a new file", || audit.exists());
    assert!(cat(WEB, "db/web").is_some());
    eventually("a line there", || !lines(&audit, "db/web").is_empty());
    assert!(lines(&moved, "db/web").is_empty() && !lines(&moved, "web/one").is_empty());
}

/// A file system of a few pages, gone at the end.
struct Small(PathBuf);

impl Small {
    fn new(point: PathBuf) -> Self {
        fs::create_dir(&point).unwrap();
        mount("none", &point, "tmpfs", MountFlags::empty(), Some(c"size=16k")).unwrap();
        Self(point)
    }

    fn fill(&self) -> PathBuf {
        let (path, mut size) = (self.0.join("filler"), 16 << 10);
        while fs::write(&path, vec![0; size]).is_err() {
            size -= 1 << 10;
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn reads_go_on_without_a_disk_unless_records_are_required() {
    if !can() {
        return;
    }
    let place = Place::new();
    let small = Small::new(place.bench.path("small"));
    let audit = small.0.join("audit");
    for required in [false, true] {
        let mut options = vec!["--audit", audit.to_str().unwrap()];
        options.extend(required.then_some("--audit-required"));
        let mounted = place.bench.mount(&options);
        let reads = || output(WEB, &["cat", mounted.path("web/one").to_str().unwrap()]).is_some();
        let filler = small.fill();
        // The last page of the file takes some lines yet, of more than a hundred bytes each.
        let read = (0..45).filter(|_| reads()).count();
        assert!(if required { read < 45 } else { read == 45 }, "{read}");
        assert_eq!(reads(), !required);
        fs::remove_file(filler).unwrap();
        assert!(reads());
        let lost = || fs::read_to_string(&audit).unwrap().lines().any(|line| line.contains("\"lost\":"));
        if !required {
            eventually("the count of what was lost", || reads() && lost());
        }
        place.bench.pkfs(&["umount", "m"]);
        assert_eq!(mounted.wait(), Some(0));
        lines(&audit, "web/one");
        fs::remove_file(&audit).unwrap();
    }
}

/// Who is refused learns nothing of records, whether they can be written or not.
#[test]
fn a_refusal_is_the_same_without_a_disk() {
    if !can() {
        return;
    }
    let place = Place::new();
    let small = Small::new(place.bench.path("small"));
    let (audit, moved) = (small.0.join("audit"), small.0.join("audit.1"));
    let mounted = place.bench.mount(&["--audit", audit.to_str().unwrap(), "--audit-required"]);
    let kinds = |uid, name: &str| {
        let script = "import errno, os, sys\nfor ask in os.stat, open, os.listdir, os.mkdir, os.unlink:
    try: ask(sys.argv[1])
    except OSError as error: print(errno.errorcode[error.errno])";
        let path = mounted.path(name);
        output(uid, &[python().to_str().unwrap(), "-c", script, path.to_str().unwrap()]).unwrap()
    };
    let filler = small.fill();
    while output(WEB, &["cat", mounted.path("web/one").to_str().unwrap()]).is_some() {}
    for name in ["web/sub/deep", "private", "box", "db/other"] {
        assert_eq!(kinds(DENIED, name), kinds(DENIED, &format!("{name}-none")), "{name}");
        assert!(kinds(DENIED, name).starts_with("ENOENT\nENOENT\nENOENT\n"), "{name}");
    }
    fs::remove_file(filler).unwrap();
    assert!(output(WEB, &["cat", mounted.path("web/one").to_str().unwrap()]).is_some());
    let text = fs::read_to_string(&audit).unwrap();
    assert!(text.lines().any(|line| line.contains("\"lost\":")), "what was not recorded is counted");
    // Begun anew, once somebody has moved it away.
    fs::rename(&audit, &moved).unwrap();
    mounted.signal(Signal::HUP);
    eventually("a new file", || audit.exists());
    assert!(output(WEB, &["cat", mounted.path("db/web").to_str().unwrap()]).is_some());
    assert!(!lines(&audit, "db/web").is_empty() && lines(&moved, "db/web").is_empty());
}

/// How often.
const TIMES: u64 = 20_000;

#[test]
fn who_is_refused_again_and_again_fills_no_disk() {
    if !can() {
        return;
    }
    let place = Place::new();
    let audit = place.bench.path("audit");
    let mounted = place.bench.mount(&["--audit", audit.to_str().unwrap()]);
    let script = format!("import os, sys\nfor _ in range({TIMES}):\n    os.access(sys.argv[1], os.F_OK)");
    let path = mounted.path("private");
    fs::metadata(&path).unwrap();
    assert!(output(DENIED, &[python().to_str().unwrap(), "-c", &script, path.to_str().unwrap()]).is_some());
    assert!(output(WEB, &["cat", mounted.path("web/one").to_str().unwrap()]).is_some());
    place.bench.pkfs(&["umount", "m"]);
    let refused = lines(&audit, "private");
    let counted: u64 = refused.iter().map(|line| line["times"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, TIMES);
    assert!(refused.len() < 200, "{}", refused.len());
    assert_eq!(lines(&audit, "web/one").len(), 1, "what was opened is there by the end of the mount");
}

/// However a secret of the share is reached.
#[test]
fn an_alert_of_the_keynode_rings_wherever_the_secret_is_opened() {
    if !can() {
        return;
    }
    let bench = open_bench();
    let rung = bench.path("rung");
    for (path, value) in [("trap/one", "1"), ("web/two", "2")] {
        bench.put(path, value);
    }
    let command = format!("echo $PKFS_SHARE $PKFS_PATH $PKFS_VERDICT >> '{}'", rung.display());
    bench.pkfs(&["share", "create", "app.pk", "trap", "trap", "--alert", &command]);
    bench.pkfs(&["share", "create", "app.pk", "all", "trap", "web"]);
    let said = || fs::read_to_string(&rung).unwrap_or_default();
    let rings = |options: &[&str], path: &str, other: &str| {
        let mounted = bench.mount(options);
        fs::read(mounted.path(other)).unwrap();
        fs::read(mounted.path(path)).unwrap();
        let what = format!("{options:?} {path}");
        eventually(&what, || said() == "trap trap/one allowed\n");
        bench.pkfs(&["umount", "m"]);
        assert_eq!(mounted.wait(), Some(0));
        fs::remove_file(&rung).unwrap();
    };
    // Without rules, by the share's own tree and by that of another share, and by a mount of either.
    for (options, path, other) in [
        (&["--alerts"][..], "trap/one", "web/two"),
        (&["--alerts", "--read-only"], "trap/one", "web/two"),
        (&["--alerts"], ".views/trap/trap/one", "web/two"),
        (&["--alerts"], ".views/all/trap/one", ".views/all/web/two"),
        (&["--alerts", "--view", "trap"], "trap/one", "trap/one"),
        (&["--alerts", "--view", "all"], "trap/one", "web/two"),
    ] {
        rings(options, path, other);
    }
    bench.pkfs(&["share", "allow", "app.pk", "all", "--uid", "61001"]);
    rings(&["--alerts"], "trap/one", "web/two");
    rings(&["--alerts"], ".views/all/trap/one", "web/two");
    // One that comes, and one that goes, while it is mounted.
    let mounted = bench.mount(&["--alerts"]);
    bench.pkfs(&["share", "create", "app.pk", "late", "web", "--alert", &command]);
    eventually("the new one", || {
        fs::read(mounted.path("web/two")).unwrap();
        said().contains("late web/two allowed")
    });
    bench.pkfs(&["share", "delete", "app.pk", "trap"]);
    fs::read(mounted.path("trap/one")).unwrap();
    fs::read(mounted.path("web/two")).unwrap();
    assert!(!said().contains("trap "), "{}", said());
}

#[test]
fn an_alert_rings_for_what_is_opened_and_for_who_is_refused() {
    if !can() {
        return;
    }
    let place = Place::new();
    let (rules, rung) = (place.bench.path("rules"), place.bench.path("rung"));
    let command = format!("echo $PKFS_SHARE $PKFS_PATH $PKFS_UID $PKFS_VERDICT >> '{}'", rung.display());
    let text = format!(
        "[share.trap]\npaths = [\"web\", \"db/web\"]\nalert = {command:?}\n[[share.trap.allow]]\nuid = {WEB}\n"
    );
    fs::write(&rules, text).unwrap();
    let mounted = place.bench.mount(&["--rules", rules.to_str().unwrap()]);
    let cat = |uid, path: &str| output(uid, &["cat", mounted.path(path).to_str().unwrap()]).is_some();
    assert!(cat(WEB, "web/one") && !cat(DENIED, "web/one") && !cat(WEB, "common/one"));
    let rung = || fs::read_to_string(&rung).unwrap_or_default();
    let rang = |wanted: String| eventually(&wanted, || rung().lines().any(|line| line == wanted));
    rang(format!("trap web/one {WEB} allowed"));
    rang(format!("trap web {DENIED} refused"));
    // Who has nothing there is refused at the directory that leads to a secret, and gets no further.
    assert!(!cat(DENIED, "db/web") && !cat(DENIED, "common/one"));
    rang(format!("trap db {DENIED} refused"));
    // It is not seen in the top directory, and whoever lists that trips nothing.
    let before = rung().lines().count();
    assert_eq!(
        output(DENIED, &["ls", "-lR", mounted.path("").to_str().unwrap()]).map(|text| text.contains("web")),
        Some(false)
    );
    assert!(cat(WEB, "db/web"));
    eventually("the next one", || rung().lines().count() > before);
    assert_eq!(rung().lines().last(), Some(format!("trap db/web {WEB} allowed")).as_deref());
    assert!(!rung().contains("common"));
}
