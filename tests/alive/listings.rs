//! Where the kernel keeps listings without asking to open directories, it forgets what has changed.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use pkfs::fuse::MountOptions;
use pkfs::time::Timestamp;

use crate::outside::{Outside, fill};
use crate::support::{End, Served, alone, can_mount, eventually};

const ROUNDS: usize = 60;
const MANY: usize = 3000;

fn read_only(fill: impl FnOnce(&pkfs::node::Keynode)) -> Served {
    Served::with(MountOptions { read_only: true, ..MountOptions::default() }, fill)
}

fn list(mount: &Served, path: &str) -> BTreeSet<String> {
    // Of a share that was just deleted there is nothing to be listed.
    let Ok(entries) = fs::read_dir(mount.path(path)) else { return BTreeSet::new() };
    entries.filter_map(|entry| Some(entry.ok()?.file_name().into_string().unwrap())).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
#[ignore = "run by no_listing_is_outdated"]
fn listings_follow_every_change() {
    let mount = &read_only(|keynode| {
        fill(keynode, |change| {
            change.mkdir("d");
            change.put("d/a", "0");
            change.share("web", &["d"]);
        });
    });
    let outside = Outside::of(mount);
    let paths =
        ["", "d", ".versions", ".versions/d", ".versions/d/a", ".views", ".views/web/d", ".views/web/.versions/d"];
    let ended = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(ended);
        for _ in 0..3 {
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    for path in paths {
                        list(mount, path);
                    }
                }
            });
        }
        let (mut present, mut ever) = (set(&["a"]), set(&["a"]));
        for round in 1..=ROUNDS {
            let name = format!("new{round}");
            let gone = (round % 3 == 0).then(|| format!("new{}", round - 1));
            let shares = if round % 2 == 1 { set(&["other", "web"]) } else { set(&["web"]) };
            outside.change(|change| {
                change.put("d/a", &round.to_string());
                change.put(&format!("d/{name}"), "x");
                if let Some(gone) = &gone {
                    change.unlink(&format!("d/{gone}"));
                }
                if shares.len() == 2 { change.share("other", &["d/a"]) } else { change.delete_share("other") }
            });
            present.insert(name.clone());
            ever.insert(name);
            present.retain(|name| gone.as_ref() != Some(name));
            let versions: BTreeSet<String> = (1..=round + 1).map(|n| n.to_string()).chain(["log".to_owned()]).collect();
            let expected = [
                set(&["d"]),
                present.clone(),
                set(&["d"]),
                ever.clone(),
                versions,
                shares,
                present.clone(),
                ever.clone(),
            ];
            for (path, expected) in paths.iter().zip(&expected) {
                eventually(&format!("round {round}: {path:?} lists {expected:?}"), || list(mount, path) == *expected);
            }
        }
        drop(end);
    });
}

#[test]
#[ignore = "run by no_listing_is_outdated"]
fn the_past_of_a_share_is_what_it_covers_now() {
    let mount = &read_only(|keynode| {
        fill(keynode, |change| {
            change.put("a", "0");
            change.put("b", "0");
            change.share("web", &["a", "b"]);
        });
    });
    let outside = Outside::of(mount);
    let date = mount.keynode.snapshot().date();
    let then = format!(".views/web/.versions/@{}", date.to_rfc3339());
    eventually("another second", || Timestamp::now().seconds > date.seconds);
    assert_eq!(list(mount, &then), set(&["a", "b"]));
    outside.change(|change| change.share("web", &["a"]));
    eventually("the past without what is not shared any more", || list(mount, &then) == set(&["a"]));
    outside.change(|change| change.share("web", &["b"]));
    eventually("another past", || list(mount, &then) == set(&["b"]));
}

#[test]
#[ignore = "run by no_listing_is_outdated"]
fn whoever_is_in_the_middle_goes_on_there() {
    let names: Vec<String> = (0..MANY).map(|n| format!("a name of some length {n:05}")).collect();
    let mount = &read_only(|keynode| {
        fill(keynode, |change| {
            change.mkdir("d");
            for name in &names {
                change.put(&format!("d/{name}"), "x");
            }
        });
    });
    let outside = Outside::of(mount);
    for round in 0..5 {
        let mut reading = fs::read_dir(mount.path("d")).unwrap();
        let mut seen: Vec<String> = Vec::new();
        let next = |reading: &mut fs::ReadDir| reading.next().map(|e| e.unwrap().file_name().into_string().unwrap());
        seen.extend(next(&mut reading));
        for step in 0..3 {
            // At the very front, so that all others have other places then.
            let first = format!("0 {round} {step}");
            outside.put(&format!("d/{first}"), "x");
            eventually("the new name is listed", || list(mount, "d").contains(&first));
            seen.extend((0..MANY / 4).filter_map(|_| next(&mut reading)));
        }
        while let Some(name) = next(&mut reading) {
            seen.push(name);
        }
        seen.retain(|name| name.starts_with('a'));
        seen.sort_unstable();
        let missing: Vec<&String> = names.iter().filter(|name| seen.binary_search(name).is_err()).take(3).collect();
        let twice: Vec<&[String]> = seen.windows(2).filter(|pair| pair[0] == pair[1]).take(3).collect();
        assert!(missing.is_empty() && twice.is_empty(), "round {round}: missing {missing:?}…, twice {twice:?}…");
    }
}

#[test]
fn no_listing_is_outdated() {
    if can_mount() {
        alone("listings::listings_follow_every_change");
        alone("listings::the_past_of_a_share_is_what_it_covers_now");
        alone("listings::whoever_is_in_the_middle_goes_on_there");
    }
}
