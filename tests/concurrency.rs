//! Many at once on one mount.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pkfs::node::{Attributes, ItemId, Keynode, Name, NodeKey, OpenOptions, SealedKeynode, Session};
use support::{End, Served, alone, can_mount, eventually};

const WRITERS: usize = 4;
const READERS: usize = 8;
const FILES: usize = 3;

/// How long they work.
const LONG: Duration = Duration::from_secs(4);

/// How long nobody may have to wait for what needs no waiting.
const PATIENCE: Duration = Duration::from_secs(10);

fn fill(keynode: &Keynode, names: impl Iterator<Item = String>) {
    let mut transaction = keynode.begin().unwrap();
    for directory in ["d0", "d1"] {
        let name = Name::new(directory.as_bytes()).unwrap();
        transaction.create_directory(ItemId::ROOT, &name, Attributes::new(0o755)).unwrap();
    }
    for name in names {
        let sealed = keynode.seal(ItemId::random(), format!("{name} 0").as_bytes()).unwrap();
        let name = Name::new(name.as_bytes()).unwrap();
        let attributes = Attributes::new(0o600);
        transaction.create_secret(ItemId::ROOT, &name, attributes, sealed, Session::random()).unwrap();
    }
    transaction.commit().unwrap();
}

/// The keynode as another process has it.
fn again(keynode: &Keynode) -> Keynode {
    let key = NodeKey::from_secret(&keynode.key().to_secret().unwrap()).unwrap();
    SealedKeynode::open(keynode.path()).unwrap().into_keynode(key, &OpenOptions::default()).unwrap()
}

fn names() -> impl Iterator<Item = String> {
    (0..WRITERS).flat_map(|writer| (0..FILES).map(move |file| format!("w{writer}f{file}")))
}

#[test]
fn everything_agrees_with_what_was_written() {
    if can_mount() {
        alone("readers_writers_and_renames");
    }
}

#[test]
#[ignore = "run by everything_agrees_with_what_was_written"]
fn readers_writers_and_renames() {
    let mount = Served::new(|keynode| fill(keynode, names()));
    fs::write(mount.path("d0/inside"), "inside").unwrap();
    let (mount, ended) = (&mount, &AtomicBool::new(false));
    let until = Instant::now() + LONG;
    let written: Vec<u64> = std::thread::scope(|scope| {
        let end = End(ended);
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(mount, writer, until))).collect();
        let readers: Vec<_> = (0..READERS).map(|n| scope.spawn(move || read(mount, n, ended))).collect();
        let renamer = scope.spawn(move || rename(mount, until));
        let written = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        assert!(renamer.join().unwrap() > 10);
        drop(end);
        for reader in readers {
            assert!(reader.join().unwrap() > 100, "a reader hardly came to read");
        }
        written
    });
    let other = again(&mount.keynode);
    for name in names() {
        let writer: usize = name[1..2].parse().unwrap();
        let expected: Vec<String> = (0..=written[writer])
            .filter(|n| *n == 0 || file_of(writer, *n) == name)
            .map(|n| format!("{name} {n}"))
            .collect();
        let found: Vec<String> = (1..=expected.len())
            .map(|n| fs::read_to_string(mount.path(&format!(".versions/{name}/{n}"))).unwrap())
            .collect();
        assert_eq!(found, expected);
        let next = mount.path(&format!(".versions/{name}/{}", expected.len() + 1));
        assert!(!next.exists(), "{name} has more versions than were written");
        let snapshot = other.snapshot();
        let id = snapshot.namespace().child(ItemId::ROOT, name.as_bytes()).unwrap().id;
        assert_eq!(&other.read_head(&snapshot, id).unwrap()[..], expected.last().unwrap().as_bytes());
    }
    let mut history: Vec<String> =
        fs::read_dir(mount.path(".versions")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    history.retain(|name| !name.starts_with('w') && !name.starts_with('d'));
    assert_eq!(history, [""; 0], "temporary files left a history");
}

fn file_of(writer: usize, n: u64) -> String {
    format!("w{writer}f{}", n % FILES as u64)
}

/// In place and by rename in turn; how many writes there were.
fn write(mount: &Served, writer: usize, until: Instant) -> u64 {
    let mut n = 0;
    while Instant::now() < until {
        n += 1;
        let (name, temporary) = (file_of(writer, n), mount.path(&format!("tmp{writer}")));
        let content = format!("{name} {n}");
        if n % 2 == 0 {
            fs::write(mount.path(&name), &content).unwrap();
        } else {
            fs::write(&temporary, &content).unwrap();
            fs::rename(&temporary, mount.path(&name)).unwrap();
        }
        assert_eq!(fs::read_to_string(mount.path(&name)).unwrap(), content, "its own write");
    }
    n
}

/// Numbers only grow; what is there belongs there.
fn read(mount: &Served, reader: usize, ended: &AtomicBool) -> u64 {
    let mut seen: HashMap<String, u64> = HashMap::new();
    let (mut reads, mut at) = (0, reader);
    while !ended.load(Ordering::Relaxed) {
        at += 5;
        let name = names().nth(at % (WRITERS * FILES)).unwrap();
        let content = fs::read_to_string(mount.path(&name)).unwrap();
        // Between open(2) with O_TRUNC and write(2), POSIX shows an empty file.
        if !content.is_empty() {
            let number: u64 = content.strip_prefix(&format!("{name} ")).unwrap().parse().unwrap();
            let last = seen.insert(name.clone(), number).unwrap_or(0);
            assert!(number >= last, "{name}: {number} after {last}");
        }
        match fs::read_to_string(mount.path(&format!("d{}/inside", at % 2))) {
            Ok(content) => assert_eq!(content, "inside"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        reads += 1;
    }
    reads
}

/// Moves a file to and fro between two directories; how often.
fn rename(mount: &Served, until: Instant) -> u64 {
    let (mut renames, ino) = (0, fs::metadata(mount.path("d0/inside")).unwrap().ino());
    while Instant::now() < until {
        let (from, to) = (format!("d{}/inside", renames % 2), format!("d{}/inside", (renames + 1) % 2));
        fs::rename(mount.path(&from), mount.path(&to)).unwrap();
        assert_eq!(fs::metadata(mount.path(&to)).unwrap().ino(), ino);
        renames += 1;
    }
    renames
}

#[test]
fn who_reads_does_not_wait_for_who_writes() {
    if can_mount() {
        alone("reads_while_the_file_is_locked");
    }
}

#[test]
#[ignore = "run by who_reads_does_not_wait_for_who_writes"]
fn reads_while_the_file_is_locked() {
    let names = || (0..40).map(|n| format!("s{n}"));
    let mount = Served::new(|keynode| fill(keynode, names()));
    let other = again(&mount.keynode);
    let lock = other.begin().unwrap();
    let mount = &mount;
    std::thread::scope(|scope| {
        // Many more than there are threads to serve them.
        for n in 0..16 {
            scope.spawn(move || fs::write(mount.path(&format!("s{n}")), format!("new {n}")).unwrap());
        }
        scope.spawn(|| fs::create_dir(mount.path("d0/sub")).unwrap());
        for n in 0..16 {
            eventually("the write", || {
                let (path, (done, wait)) = (mount.path(&format!("s{n}")), mpsc::channel());
                std::thread::spawn(move || done.send(fs::read_to_string(path).unwrap()));
                wait.recv_timeout(PATIENCE).unwrap() == format!("new {n}")
            });
        }
        let (done, wait) = mpsc::channel();
        let (root, created) = (mount.path(""), mount.path("created"));
        std::thread::spawn(move || {
            for n in 16..40 {
                assert_eq!(fs::read_to_string(root.join(format!("s{n}"))).unwrap(), format!("s{n} 0"));
            }
            let names = fs::read_dir(&root).unwrap().count();
            // A new file waits for the lock when it is closed, not before.
            let file = fs::File::create(created).unwrap();
            done.send((names, file)).unwrap();
        });
        let answered = wait.recv_timeout(PATIENCE);
        drop(lock);
        assert_eq!(answered.expect("readers waited for a writer").0, 42);
    });
    let other = again(&mount.keynode);
    let snapshot = other.snapshot();
    for n in 0..16 {
        let id = snapshot.namespace().child(ItemId::ROOT, format!("s{n}").as_bytes()).unwrap().id;
        assert_eq!(&other.read_head(&snapshot, id).unwrap()[..], format!("new {n}").as_bytes());
    }
}
