//! All callers, all ways, all paths, in all states of the kernel's caches.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::oracle::{Kind, hidden};
use crate::place::{Place, can};

/// What `ls -lR` and `cat` of all do.
fn look_at_all(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            look_at_all(&path);
        } else if kind.is_file() {
            fs::read(&path).unwrap();
        } else {
            fs::read_link(&path).unwrap();
        }
    }
}

fn assert_nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_sees_its_shares_and_nothing_else() {
    if !can() {
        return;
    }
    let place = Place::new();
    let _mount = place.mount();
    let callers = place.means.callers();
    let mut wrong = Vec::new();
    // Cold, then after whoever sees all has looked at all, then after all the others have.
    for round in 0..3 {
        if round == 1 {
            look_at_all(&place.bench.path("m"));
        }
        for caller in &callers {
            let child = place.start(caller, &["see", "cached", "change"]);
            wrong.extend(Place::wrong(caller, false, child).into_iter().map(|what| format!("round {round}: {what}")));
        }
    }
    for (path, content) in place.files() {
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "{path:?}");
    }
    assert_nothing(&wrong);
}

/// Whoever mounted hands out what is below `.views`; nobody else gets there by its name.
#[test]
fn views_are_whose_the_mount_is() {
    if !can() {
        return;
    }
    let place = Place::new();
    let mount = place.mount();
    let paths = [
        (".views", Kind::Directory),
        (".views/web", Kind::Directory),
        (".views/web/web", Kind::Directory),
        (".views/web/web/one", Kind::File),
        (".views/team/team", Kind::File),
        (".views/none", Kind::Nothing),
    ];
    let names: Vec<String> = paths.iter().map(|(path, _)| (*path).to_owned()).collect();
    let mut wrong = Vec::new();
    for round in 0..2 {
        for caller in place.means.callers() {
            for (way, path, result) in Place::results(place.start_with(&caller, &["see", "cached", "change"], &names)) {
                let (_, kind) = paths.iter().find(|(other, _)| *other == path).unwrap();
                let way = way.split_once(':').unwrap();
                if hidden(*kind != Kind::Nothing, false, *kind, way, &result).is_err() {
                    wrong.push(format!("round {round}: {}: {way:?} {path:?}: {result}", caller.name));
                }
            }
        }
        look_at_all(&mount.path(".views/web"));
        look_at_all(&mount.path(".views/team"));
    }
    assert_nothing(&wrong);
}

#[test]
fn all_at_once_get_the_same_answers() {
    if !can() {
        return;
    }
    let place = Place::new();
    let _mount = place.mount();
    let (until, callers) = (Instant::now() + Duration::from_secs(4), place.means.callers());
    let wrong: Vec<String> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < until {
                look_at_all(&place.bench.path("m"));
            }
        });
        let asked = callers.iter().map(|caller| {
            let place = &place;
            scope.spawn(move || {
                let mut wrong = Vec::new();
                while Instant::now() < until && wrong.is_empty() {
                    wrong.extend(Place::wrong(caller, true, place.start(caller, &["see", "change"])));
                }
                wrong
            })
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_nothing(&wrong);
}
