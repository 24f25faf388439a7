//! The calls that are tried, and how often.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;
use rustix::fs::OFlags;

/// The names that calls are about: few, so that they meet, the first ones more often.
pub const PATHS: [&str; 13] =
    ["a", "b", "d", "d/a", "c", "d/b", "d/e", "d/e/a", "e", "e/a", "b~", "d/4913", "sedAAAAAA"];
/// Where links lead, never further up than the directory above.
const TARGETS: [&str; 7] = ["a", "d", "e", "../a", "../d", "d/a", "none"];
/// How many files a sequence can have open at once.
pub const SLOTS: usize = 3;
const MODES: [u32; 6] = [0o644, 0o600, 0o755, 0o4755, 0o2775, 0o1777];
/// The furthest that a sequence writes, in bytes: some pages.
const FAR: u64 = 20_000;

/// Bytes, shown as `count*byte`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// One call; a `usize` is a slot for an open file.
#[derive(Debug, Clone)]
pub enum Call {
    Open(usize, &'static str, OFlags, u32),
    Close(usize),
    Write(usize, Bytes),
    WriteAt(usize, u64, Bytes),
    Read(usize, usize),
    ReadAt(usize, u64, usize),
    SetLength(usize, u64),
    Allocate(usize, u64, u64),
    Sync(usize),
    Fstat(usize),
    Fchmod(usize, u32),
    /// Whether an open file is what a path leads to.
    Is(usize, &'static str),
    /// Opens, writes, closes, as a shell does.
    Save(&'static str, Bytes),
    Append(&'static str, Bytes),
    /// Reads all.
    Load(&'static str),
    Truncate(&'static str, u64),
    Rename(&'static str, &'static str, Rename),
    Link(&'static str, &'static str),
    Unlink(&'static str),
    Mkdir(&'static str, u32),
    Rmdir(&'static str),
    Symlink(&'static str, &'static str),
    Readlink(&'static str),
    Mkfifo(&'static str),
    Chmod(&'static str, u32),
    /// To a second long ago, so that later changes are seen.
    SetTimes(&'static str, i64),
    Stat(&'static str),
    List(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub enum Rename {
    Replace,
    NoReplace,
    Exchange,
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|a, b| a == b).filter_map(|run| Some(format!("{}*{}", run.len(), run.first()?)));
        write!(f, "[{}]", runs.collect::<Vec<_>>().join(" "))
    }
}

pub fn any_call() -> impl Strategy<Value = Call> {
    let path = || prop_oneof![3 => select(&PATHS[..4]), 2 => select(&PATHS[..])];
    let slot = || 0..SLOTS;
    let mode = || select(&MODES[..]);
    let bytes =
        || (prop_oneof![8 => 0_usize..40, 1 => 4_000_usize..9_000], any::<u8>()).prop_map(|(n, b)| Bytes(vec![b; n]));
    let at = || prop_oneof![4 => 0_u64..50, 1 => 0..FAR];
    let rename = prop_oneof![6 => Just(Rename::Replace), 1 => Just(Rename::NoReplace), 1 => Just(Rename::Exchange)];
    let first = prop_oneof![
        6 => (slot(), path(), flags(), mode()).prop_map(|(s, p, f, m)| Call::Open(s, p, f, m)),
        3 => slot().prop_map(Call::Close),
        4 => (slot(), bytes()).prop_map(|(s, b)| Call::Write(s, b)),
        2 => (slot(), at(), bytes()).prop_map(|(s, o, b)| Call::WriteAt(s, o, b)),
        2 => (slot(), 0_usize..100).prop_map(|(s, n)| Call::Read(s, n)),
        2 => (slot(), at(), 0_usize..9_000).prop_map(|(s, o, n)| Call::ReadAt(s, o, n)),
        2 => (slot(), at()).prop_map(|(s, n)| Call::SetLength(s, n)),
        1 => (slot(), at(), 0..FAR).prop_map(|(s, o, n)| Call::Allocate(s, o, n)),
        1 => slot().prop_map(Call::Sync),
        2 => slot().prop_map(Call::Fstat),
        1 => (slot(), mode()).prop_map(|(s, m)| Call::Fchmod(s, m)),
        2 => (slot(), path()).prop_map(|(s, p)| Call::Is(s, p)),
    ];
    let second = prop_oneof![
        6 => (path(), bytes()).prop_map(|(p, b)| Call::Save(p, b)),
        2 => (path(), bytes()).prop_map(|(p, b)| Call::Append(p, b)),
        4 => path().prop_map(Call::Load),
        1 => (path(), at()).prop_map(|(p, n)| Call::Truncate(p, n)),
        8 => (path(), path(), rename).prop_map(|(p, q, r)| Call::Rename(p, q, r)),
        4 => (path(), path()).prop_map(|(p, q)| Call::Link(p, q)),
        4 => path().prop_map(Call::Unlink),
        4 => (path(), mode()).prop_map(|(p, m)| Call::Mkdir(p, m)),
        2 => path().prop_map(Call::Rmdir),
        2 => (select(&TARGETS[..]), path()).prop_map(|(t, p)| Call::Symlink(t, p)),
        1 => path().prop_map(Call::Readlink),
        1 => path().prop_map(Call::Mkfifo),
        1 => (path(), mode()).prop_map(|(p, m)| Call::Chmod(p, m)),
        2 => (path(), 1_i64..1_000).prop_map(|(p, t)| Call::SetTimes(p, t)),
        1 => path().prop_map(Call::Stat),
        2 => path().prop_map(Call::List),
    ];
    prop_oneof![2 => first, 3 => second]
}

fn flags() -> impl Strategy<Value = OFlags> {
    let access = select(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR][..]);
    let flag = |weight, flag| prop::bool::weighted(weight).prop_map(move |on| if on { flag } else { OFlags::empty() });
    (
        access,
        flag(0.6, OFlags::CREATE),
        flag(0.2, OFlags::EXCL),
        flag(0.2, OFlags::TRUNC),
        flag(0.2, OFlags::APPEND),
        flag(0.1, OFlags::NOFOLLOW),
        flag(0.05, OFlags::DIRECTORY),
    )
        .prop_map(|(access, create, exclusive, truncate, append, nofollow, directory)| {
            access | create | exclusive | truncate | append | nofollow | directory
        })
}
