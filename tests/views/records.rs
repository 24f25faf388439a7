//! What a mount writes down, and the alarms it raises.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use crate::callers::{DENIED, WEB, output};
use crate::place::{Place, can};
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
