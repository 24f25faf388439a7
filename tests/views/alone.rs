//! One share as a tree of its own: `.views`, `--view`, `pkfs run --view`; and `pkfs why`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::callers::{DENIED, WEB, output, user};
use crate::place::{Place, can, open_bench};

/// All paths below a directory.
fn walk(directory: &Path, top: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        all.push(path.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
        if path.is_dir() {
            all.extend(walk(&path, top));
        }
    }
    all.sort();
    all
}

const WEB_TREE: [&str; 7] = ["db", "db/web", "web", "web/link", "web/one", "web/sub", "web/sub/deep"];

fn shows_web_alone(top: &Path) {
    assert_eq!(walk(top, top), WEB_TREE);
    assert_eq!(fs::read_to_string(top.join("db/web")).unwrap(), "v:db/web");
    for hidden in [".views", ".views/two", ".views/two/common/two", "db/other", "private", ".versions/private"] {
        assert!(top.join(hidden).symlink_metadata().is_err(), "{hidden} in {}", top.display());
    }
    assert!(fs::write(top.join("web/one"), "x").is_err());
    assert!(fs::create_dir(top.join("new")).is_err());
    // Yesterday, too.
    let versions = walk(&top.join(".versions"), &top.join(".versions"));
    assert!(versions.iter().all(|path| path.starts_with("web") || path == "db" || path.starts_with("db/web")));
}

#[test]
fn a_view_shows_its_share_and_no_other_view() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    assert!(fs::read_dir(mount.path(".views")).unwrap().count() >= 11);
    shows_web_alone(&mount.path(".views/web"));
    for hidden in ["db/other", "private", ".views"] {
        assert!(mount.path(".views/two").join(hidden).symlink_metadata().is_err());
    }
    assert_eq!(output(WEB, &["ls", mount.path(".views/web").to_str().unwrap()]), None);
    place.bench.pkfs(&["umount", "m"]);
    drop(mount);
    let mount = place.bench.mount(&["--view", "web"]);
    shows_web_alone(&mount.path(""));
}

#[test]
fn a_command_is_run_with_a_view_that_nobody_else_has() {
    if !can() {
        return;
    }
    let place = Place::new();
    let script = "find \"$PKFS_DIR\" -mindepth 1 -printf '%P\\n' | sort; cat \"$PKFS_DIR/web/one\"; exit 7";
    let output = place.bench.try_pkfs(&["run", "app.pk", "--view", "web", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), WEB_TREE.join("\n") + "\nv:web/one");
    let missing = place.bench.try_pkfs(&["run", "app.pk", "--view", "wib", "--", "true"]);
    assert!(!missing.status.success());
}

#[test]
fn a_command_with_a_view_sees_no_other_mount_of_the_keynode() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let bound = place.bench.path("bound");
    fs::create_dir(&bound).unwrap();
    rustix::mount::mount_bind(mount.path(".views/two"), &bound).unwrap();
    let script = format!(
        "cat {0}/private/one {0}/.views/two/common/two {1}/common/two {0}/web/one; ls -A {0} {1}; cat $PKFS_DIR/web/one",
        mount.path("").display(),
        bound.display()
    );
    let output = place.bench.try_pkfs(&["run", "app.pk", "--view", "web", "--", "sh", "-c", &script]);
    rustix::mount::unmount(&bound, rustix::mount::UnmountFlags::DETACH).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("{}:\n\n{}:\nv:web/one", bound.display(), mount.path("").display());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{said}");
    assert_eq!(fs::read_to_string(mount.path("private/one")).unwrap(), "v:private/one", "outside it stands");
}

#[test]
fn users_run_commands_with_a_view_without_root() {
    if !can() {
        return;
    }
    let bench = open_bench();
    let home = bench.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(WEB), Some(WEB)).unwrap();
    let program = bench.path("pkfs");
    fs::copy(env!("CARGO_BIN_EXE_pkfs"), &program).unwrap();
    // As is usual, everybody may open /dev/fuse.
    let fuse = "mount -t tmpfs none /mnt && mknod /mnt/fuse c 10 229 && chmod 666 /mnt/fuse && \
        mount --bind /mnt/fuse /dev/fuse && exec \"$@\"";
    let script = "\"$0\" init --key-out key a.pk && printf one | \"$0\" put a.pk web/one && \
        printf two | \"$0\" put a.pk other/two && \"$0\" share create a.pk web web && \
        \"$0\" run a.pk --view web -- sh -c 'cat \"$PKFS_DIR/web/one\"; ls -A \"$PKFS_DIR\"; cat \"$PKFS_DIR/other/two\"'";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", fuse, "sh"]).args(user(WEB, "")).args(["sh", "-c", script]).arg(&program);
    command.current_dir(&home).env("PKFS_KEY", "key").env("HOME", &home).env_remove("XDG_RUNTIME_DIR");
    let output = command.env("XDG_STATE_HOME", home.join("state")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "oneweb\n", "{said}");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn a_decision_is_explained_to_who_mounted_alone() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    // It ends with this test.
    let mut asleep = crate::callers::command(WEB, &["cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = asleep.id().to_string();
    let why = |path: &str| {
        let output = place.bench.try_pkfs(&["why", mount.path(path).to_str().unwrap(), "--pid", &pid]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    // Until it is who it will be.
    crate::support::eventually("the process", || why("web/one").0 == Some(0));
    let (_, text) = why("web/one");
    assert!(text.starts_with("allowed to read\n") && text.contains(&format!("web: uid={WEB}")), "{text}");
    let (status, text) = why("private/one");
    assert!(status == Some(6) && text.starts_with("refused"), "{text}");
    // Which rules there are for it, and why they do not hold.
    let (_, text) = why("late");
    assert!(text.contains(&format!("late: uid={WEB} until=2020-01-31T23:59:59.999999999Z (has ended)")), "{text}");
    let (_, text) = why("common/two");
    assert!(text.contains(&format!("two: uid={} (another caller)", crate::callers::TWO)), "{text}");
    assert!(why("common").1.starts_with("allowed to walk through"));
    assert_eq!(why("common/none").0, Some(5));
    assert_eq!(why(".versions/web/one/1").0, Some(0));
    assert_eq!(why(".versions/private/one/log").0, Some(6));
    assert!(why(".views/web").1.contains("below .views"));
    let (program, web) = (place.program(), mount.path("web"));
    let asked = ["env", "HOME=/nonexistent", program.to_str().unwrap(), "why", web.to_str().unwrap()];
    assert_eq!(output(DENIED, &[&asked[..], &["--pid", &pid]].concat()), None);
    assert_eq!(output(WEB, &[&asked[..], &["--pid", &pid]].concat()), None);
    asleep.kill().unwrap();
    asleep.wait().unwrap();
}
