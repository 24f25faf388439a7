//! What inotify tells, as lines of text.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::time::Timespec;

const PATIENCE: Duration = Duration::from_secs(30);

/// What is watched for, with its names.
const FLAGS: [(u32, &str); 10] = [
    (libc::IN_ATTRIB, "ATTRIB"),
    (libc::IN_MODIFY, "MODIFY"),
    (libc::IN_MOVED_FROM, "MOVED_FROM"),
    (libc::IN_MOVED_TO, "MOVED_TO"),
    (libc::IN_CREATE, "CREATE"),
    (libc::IN_DELETE, "DELETE"),
    (libc::IN_DELETE_SELF, "DELETE_SELF"),
    (libc::IN_MOVE_SELF, "MOVE_SELF"),
    (libc::IN_IGNORED, "IGNORED"),
    (libc::IN_ISDIR, "ISDIR"),
];

pub struct Recorder {
    inotify: File,
    names: Vec<(i32, String)>,
}

impl Recorder {
    /// Watches these paths below a directory.
    pub fn new(root: &Path, watched: &[&str]) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC).unwrap();
        let all = WatchFlags::ATTRIB
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let names = watched
            .iter()
            .map(|path| (inotify::add_watch(&inotify, root.join(path), all).unwrap(), (*path).to_owned()));
        let names = names.collect();
        Self { inotify: inotify.into(), names }
    }

    /// The next events, so many of them at least. Hidden names are told as `HIDDEN`.
    pub fn next(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        self.collect(&mut events, |events, _| events.len() >= count);
        events
    }

    /// All events until one of this name comes.
    pub fn until(&mut self, last: &str) -> Vec<String> {
        let mut events = Vec::new();
        self.collect(&mut events, |_, name| name == Some(last));
        events
    }

    /// Adds events until it is enough, which is asked before each event with its name, and after those that came together.
    fn collect(&mut self, events: &mut Vec<String>, enough: impl Fn(&[String], Option<&str>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(events, None) {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
            let arrived = poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&left)).unwrap();
            assert!(arrived > 0, "more was expected than {events:#?}");
            for (watched, flags, name) in self.read() {
                if enough(&[], Some(&name)) {
                    return;
                }
                let hidden = name.starts_with(".new-");
                let name = if hidden { "HIDDEN" } else { &name };
                events.push([&watched, ":", &flags, " ", name].concat().trim().to_owned());
            }
        }
    }

    fn read(&mut self) -> Vec<(String, String, String)> {
        let mut bytes = [0; 1 << 14];
        let length = self.inotify.read(&mut bytes).unwrap();
        let (mut rest, mut events) = (&bytes[..length], Vec::new());
        // struct inotify_event: wd, mask, cookie, len, name.
        while let Some((head, after)) = rest.split_at_checked(16) {
            let field = |n: usize| u32::from_ne_bytes(head[4 * n..4 * n + 4].try_into().unwrap());
            let (name, next) = after.split_at(field(3).try_into().unwrap());
            let watched = self.names.iter().find(|(wd, _)| *wd == field(0).cast_signed()).unwrap().1.clone();
            let flags: Vec<&str> = FLAGS.iter().filter(|(bit, _)| field(1) & bit != 0).map(|(_, name)| *name).collect();
            let name = String::from_utf8(name.split(|b| *b == 0).next().unwrap().to_vec()).unwrap();
            events.push((watched, flags.join("|"), name));
            rest = next;
        }
        events
    }
}
