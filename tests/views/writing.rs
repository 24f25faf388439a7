//! Who may write a share writes there alone.

use std::fs;

use crate::callers::{TWO, WEB, output};
use crate::oracle::content;
use crate::place::{Place, can};

#[test]
fn a_writer_changes_its_share_and_nothing_else() {
    if !can() {
        return;
    }
    let place = Place::new();
    let (web, two) = (WEB.to_string(), TWO.to_string());
    place.bench.pkfs(&["share", "allow", "app.pk", "web", "--uid", &web, "--write"]);
    place.bench.pkfs(&["share", "allow", "app.pk", "web", "--uid", &two]);
    let mount = place.mount();
    let root = mount.path("");
    let run = |uid, script: &str| output(uid, &["sh", "-ec", &format!("cd \"$0\"; {script}"), root.to_str().unwrap()]);
    for script in [
        "echo new > web/new; mkdir web/dir; mv web/new web/dir/new; ln -s new web/dir/link; cat web/dir/link",
        "echo more >> web/dir/new; chmod 600 web/dir/new; truncate -s 3 web/dir/new; ln web/dir/new web/dir/other",
        "echo saved > web/.save; mv web/.save web/one; rm web/dir/link web/dir/other; mkfifo web/fifo; rm web/fifo",
        "echo changed > db/web",
    ] {
        assert!(run(WEB, script).is_some(), "{script}");
        assert!(run(TWO, script).is_none(), "{script}");
    }
    for script in [
        "echo x > new",
        "mkdir new",
        "echo x > db/new",
        "echo x > common/new",
        "echo x > common/one",
        "echo x > common/two",
        "mv web/one moved",
        "mv web/one common/moved",
        "mv web/one common/two",
        "mv web/dir moved",
        "mv db/web db/moved",
        "mv db/web web/moved && mv web/moved db/moved",
        "mv common/one web/moved",
        "ln common/one web/linked",
        "ln web/one common/linked",
        "rm common/one",
        "rm -r common",
        "rmdir db",
        "mv web moved",
        "mkdir .versions/new",
        "echo x > .versions/web/new",
        "truncate -s 0 common/one",
        "touch common/one",
        "chmod 777 common/one",
        "chmod 777 db/web",
        "python3 -c \"import ctypes,sys; sys.exit(ctypes.CDLL(None).renameat2(-100,b'web/one',-100,b'common/one',2) and 1)\"",
    ] {
        assert_eq!(run(WEB, script), None, "{script}");
    }
    for path in ["common/one", "common/two", "db/other", "private/one"] {
        assert_eq!(mount.read(path), content(path));
    }
    assert_eq!(mount.read("web/one"), "saved\n");
    assert_eq!(mount.read("web/dir/new"), "new");
    assert_eq!(fs::metadata(mount.path("web/dir/new")).unwrap().len(), 3);
    assert_eq!(
        mount.list(""),
        ["both", "box", "common", "db", "late", "named", "private", "slice", "team", "tools", "web"]
    );
    place.bench.pkfs(&["fsck", "app.pk"]);
}
