//! All callers, all ways, all paths, in all states of the kernel's caches.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

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
