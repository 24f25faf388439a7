//! `.versions` shows nobody what the present tree hides from him, and to whoever was handed a share's tree what that covers.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::callers::{DENIED, output};
use crate::oracle::{Kind, TREE, content, hidden, parent, sees};
use crate::place::{Place, can};
use crate::support::eventually;

#[test]
fn the_past_is_shared_as_the_present_is() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let mut paths = vec![".versions".to_owned(), ".versions/@2999".to_owned()];
    for (path, kind) in TREE.iter().filter(|(path, _)| !path.is_empty()) {
        paths.extend([format!(".versions/{path}"), format!(".versions/@2999/{path}")]);
        if *kind == Kind::File {
            paths.extend([format!(".versions/{path}/1"), format!(".versions/{path}/log")]);
        }
    }
    let mut wrong = Vec::new();
    for round in 0..2 {
        for caller in place.means.callers().into_iter().take(3) {
            let child = place.start_with(&caller, &["see", "cached", "change"], &paths);
            let mut lists = 0;
            for (way, path, result) in Place::results(child) {
                let given = caller.given(false);
                let shares = if way == "see:access" { given.really } else { given.shares };
                let inner = path.strip_prefix(".versions").unwrap().trim_start_matches('/');
                let inner = inner.strip_prefix("@2999").unwrap_or(inner).trim_start_matches('/');
                let present = inner.strip_suffix("/1").or_else(|| inner.strip_suffix("/log")).unwrap_or(inner);
                let (kind_of_way, word) = way.split_once(':').unwrap();
                if inner.is_empty() && word == "list" {
                    // A link has no history, but is there in a tree of the past.
                    let names = TREE.iter().filter(|(name, _)| !name.is_empty() && parent(name).is_empty());
                    let names = names.filter(|(name, _)| sees(shares, name)).map(|(name, _)| *name);
                    // The tree of a date is not made for who has no share.
                    let nothing = shares.is_empty() && path.ends_with("@2999");
                    let listed = format!("={}", names.collect::<Vec<_>>().join(","));
                    let wanted = if nothing { "ENOENT".to_owned() } else { listed };
                    if result != wanted {
                        wrong.push(format!("{}: {path:?}: {result}, wanted {wanted}", caller.name));
                    }
                    lists += 1;
                } else if kind_of_way == "change" && result.starts_with(['=', 'o']) {
                    wrong.push(format!("{}: {way} {path:?}: {result}", caller.name));
                } else if !sees(shares, present) {
                    let guessed = present == inner && sees(shares, parent(present));
                    if result != "EACCES"
                        && hidden(guessed, false, Kind::Directory, (kind_of_way, word), &result).is_err()
                    {
                        wrong.push(format!("round {round}: {}: {way} {path:?}: {result}", caller.name));
                    }
                }
            }
            assert_eq!(lists, 2, "{}", caller.name);
        }
        // Warm, for the second round.
        for (path, kind) in TREE {
            if *kind == Kind::File {
                assert_eq!(mount.read(&format!(".versions/{path}/1")), content(path));
                assert_eq!(mount.read(&format!(".versions/@2999/{path}")), content(path));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn whoever_was_handed_a_share_reads_its_past() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    fs::write(mount.path("web/one"), "new").unwrap();
    fs::remove_file(mount.path("web/sub/deep")).unwrap();
    let bound = place.bench.path("bound");
    fs::create_dir(&bound).unwrap();
    mount_bind(mount.path(".views/web"), &bound).unwrap();
    let reads = |path: &str| output(DENIED, &["cat", bound.join(path).to_str().unwrap()]);
    let past = |path: &str| reads(&format!(".versions/{path}"));
    let found = [past("web/one/1"), past("web/one/2"), past("@2999/web/one"), past("web/sub/deep/1")];
    let log = past("db/web/log").map(|log| log.lines().count());
    let hidden = [past("db/other/1"), past("private/one/1"), past("@2999/db/other"), past("@2999/private/one")];
    let listed = output(DENIED, &["ls", bound.join(".versions").to_str().unwrap()]);
    unmount(&bound, UnmountFlags::DETACH).unwrap();
    assert_eq!(found, ["v:web/one", "new", "new", "v:web/sub/deep"].map(|text| Some(text.to_owned())));
    assert_eq!((log, listed.as_deref()), (Some(1), Some("db\nweb\n")));
    assert_eq!(hidden, [const { None }; 4]);
}

#[test]
fn links_are_counted_as_far_as_the_share_goes() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let (one, again, elsewhere) = (mount.path("web/one"), mount.path("web/again"), mount.path("private/again"));
    let shown = mount.path(".views/web/web/one");
    let links = || fs::metadata(&shown).unwrap().nlink();
    fs::hard_link(&one, &elsewhere).unwrap();
    assert_eq!((fs::metadata(&one).unwrap().nlink(), links()), (2, 1));
    fs::rename(&elsewhere, &again).unwrap();
    eventually("a second name in the share", || links() == 2);
    fs::rename(&again, &elsewhere).unwrap();
    eventually("a name that left the share", || links() == 1);
    let open = fs::File::open(&shown).unwrap();
    fs::remove_file(&one).unwrap();
    eventually("the last name in the share", || open.metadata().unwrap().nlink() == 0);
}
