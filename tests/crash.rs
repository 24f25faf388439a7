//! Killing a mount at random moments.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;
use support::{Bench, Mount, can_mount, within};

const ROUNDS: u32 = 100;

/// What a test asked of one path, session by session in their order.
#[derive(Default)]
struct Record {
    sessions: Vec<Asked>,
    /// Versions whose content was compared already.
    checked: usize,
}

/// One open-write-close session: what was to become durable, step by step.
#[derive(Default)]
struct Asked {
    number: u32,
    states: Vec<String>,
    /// How many of them were acknowledged.
    acknowledged: usize,
    /// Whether the session came to its end: then only its last state counts.
    ended: bool,
}

/// All that was ever written.
#[derive(Default)]
struct Ledger {
    paths: HashMap<&'static str, Record>,
    sessions: u32,
}

impl Ledger {
    fn begin(&mut self, path: &'static str) -> &mut Asked {
        self.sessions += 1;
        let number = self.sessions;
        let sessions = &mut self.paths.entry(path).or_default().sessions;
        sessions.push(Asked { number, ..Asked::default() });
        sessions.last_mut().unwrap()
    }

    /// One session after the other until the mount is gone.
    fn write_on(&mut self, mount: &Mount) {
        let mut way = 0;
        loop {
            way += 1;
            let done = match way % 4 {
                0 => self.by_rename(mount),
                1 => self.by_steps(mount, "a"),
                2 => self.by_close(mount, "a"),
                _ => self.by_close(mount, "d/b"),
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Several fsyncs, and a last write that close(2) alone makes durable.
    fn by_steps(&mut self, mount: &Mount, path: &'static str) -> io::Result<()> {
        let asked = self.begin(path);
        let mut file = replace(mount, path)?;
        for step in 0..3 {
            asked.ask(step);
            file.write_all_at(asked.states.last().unwrap().as_bytes(), 0)?;
            file.sync_all()?;
            asked.acknowledged += 1;
        }
        asked.ask(3);
        file.write_all_at(asked.states.last().unwrap().as_bytes(), 0)?;
        asked.close(&mut file)
    }

    fn by_close(&mut self, mount: &Mount, path: &'static str) -> io::Result<()> {
        let asked = self.begin(path);
        let mut file = replace(mount, path)?;
        asked.ask(0);
        file.write_all(asked.states.last().unwrap().as_bytes())?;
        asked.close(&mut file)
    }

    /// As editors save. The temporary file's session goes over to the target.
    fn by_rename(&mut self, mount: &Mount) -> io::Result<()> {
        let asked = self.begin("a");
        asked.ask(0);
        let content = asked.states.last().unwrap().clone();
        let mut file = replace(mount, "a.tmp")?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(mount.path("a.tmp"), mount.path("a"))?;
        (asked.acknowledged, asked.ended) = (1, true);
        Ok(())
    }

    /// Every version is the last durable state of a session, in their order; what was acknowledged is there.
    fn check(&mut self, mount: &Mount) {
        for (path, record) in &mut self.paths {
            record.check(mount, path);
        }
        // What a kill left of a temporary file is a version like any other: something that a session wrote.
        for content in versions(mount, "a.tmp", 0) {
            assert!(self.paths["a"].find(&content).is_some(), "a.tmp: nobody wrote {content:?}");
        }
    }
}

impl Record {
    fn find(&self, content: &str) -> Option<usize> {
        let number = content.split_once('.')?.0.parse::<u32>().ok()?;
        let at = self.sessions.iter().position(|asked| asked.number == number)?;
        self.sessions[at].states.iter().any(|state| state == content).then_some(at)
    }

    fn check(&mut self, mount: &Mount, path: &str) {
        let contents = versions(mount, path, self.checked.saturating_sub(1));
        let mut found: Vec<(usize, &String)> = Vec::new();
        for content in &contents {
            let at = self.find(content);
            assert!(at.is_some(), "{path}: nobody wrote {content:?}");
            let at = at.unwrap();
            assert!(found.last().is_none_or(|(last, _)| *last < at), "{path}: {content} is out of order");
            found.push((at, content));
        }
        let first = found.first().map_or(0, |(at, _)| *at);
        for (at, asked) in self.sessions.iter().enumerate().skip(first) {
            match found.iter().find(|(session, _)| *session == at) {
                Some((_, content)) => {
                    let state = asked.states.iter().position(|state| state == *content).unwrap();
                    assert!(state + 1 >= asked.acknowledged, "{path}: {content} was replaced and acknowledged");
                    assert!(!asked.ended || state + 1 == asked.states.len(), "{path}: {content} is not the last");
                }
                None => assert_eq!(asked.acknowledged, 0, "{path}: {:?} was acknowledged", asked.states),
            }
        }
        if let Some((_, newest)) = found.last() {
            assert_eq!(&mount.read(path), *newest);
        }
        // A session that was cut off does not go on: what is there is all that will ever be of it.
        self.checked = self.checked.saturating_sub(1) + contents.len();
    }
}

impl Asked {
    fn ask(&mut self, step: u32) {
        let filling = "x".repeat(usize::try_from(self.number * 7 % 300).unwrap());
        self.states.push(format!("{}.{step}.{filling}", self.number));
    }

    /// std ignores what close(2) says; fsync(2) of a file that the close of a copy has saved asks for it again.
    fn close(&mut self, file: &mut File) -> io::Result<()> {
        drop(file.try_clone()?);
        file.sync_all()?;
        self.acknowledged = self.states.len();
        self.ended = true;
        Ok(())
    }
}

fn replace(mount: &Mount, path: &str) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(mount.path(path))
}

/// The contents of all versions after the first `skip`; their numbers have no gap.
fn versions(mount: &Mount, path: &str, skip: usize) -> Vec<String> {
    let directory = format!(".versions/{path}");
    if !mount.path(&directory).exists() {
        return Vec::new();
    }
    let mut numbers: Vec<usize> = mount.list(&directory).iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "{path}");
    numbers.iter().skip(skip).map(|n| mount.read(&format!("{directory}/{n}"))).collect()
}

/// What fsync(2), close(2) and rename(2) acknowledged is there after the process was killed, and nothing that no session
/// wrote.
#[test]
fn a_kill_loses_nothing_and_invents_nothing() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.mount(&[]).path("d")).unwrap();
    let mut ledger = Ledger::default();
    let mut seed = 0x2545_f491_u32;
    for _ in 0..ROUNDS {
        let mount = bench.mount(&[]);
        ledger.check(&mount);
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let delay = Duration::from_micros(u64::from(seed >> 16) % 25_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                mount.signal(Signal::KILL);
            });
            ledger.write_on(&mount);
        });
    }
    let mount = bench.mount(&[]);
    for record in ledger.paths.values_mut() {
        record.checked = 0;
    }
    ledger.check(&mount);
    mount.write("last", "x");
    bench.pkfs(&["umount", "m"]);
    assert_eq!(mount.wait(), Some(0));
    assert!(ledger.paths["a"].checked > 50, "only {} versions were written", ledger.paths["a"].checked);
    bench.pkfs(&["fsck", "app.pk"]);
}

/// The mount's process uses its own mount to have watchers told of outside changes. Killed while it does, it must not wait
/// for an answer that only itself could give: nobody could kill it any more, and all who use the mount would wait with it.
#[test]
fn a_kill_amid_outside_changes_ends_the_process() {
    const SECRETS: u32 = 200;
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.path("tree")).unwrap();
    let import = |value: u32| {
        for n in 0..SECRETS {
            fs::write(bench.path(&format!("tree/s{n}")), value.to_string()).unwrap();
        }
        bench.pkfs(&["import", "app.pk", "tree"]);
    };
    import(0);
    for round in 1..=20 {
        let mut mount = bench.mount(if round % 2 == 0 { &[] } else { &["--read-only"] });
        let first = mount.read("s0");
        for n in 0..SECRETS {
            assert_eq!(mount.read(&format!("s{n}")), first);
        }
        import(round);
        within(Duration::from_secs(30), "the change", || mount.read("s0") == round.to_string());
        mount.signal(Signal::KILL);
        assert!(mount.ends_within(Duration::from_secs(30)), "it hangs in round {round}");
        assert_eq!(rustix::fs::statfs(mount.path("")).unwrap_err(), Errno::NOTCONN);
    }
}
