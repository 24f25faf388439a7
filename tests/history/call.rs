//! The calls that make history.

use std::fs::{self, File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use rustix::fs::{CWD, RenameFlags, renameat_with};

const FILES: [&str; 6] = ["a", "b", "d/a", "c", "d/b", "e/a"];
const DIRECTORIES: [&str; 2] = ["d", "e"];
/// How many files a sequence can have open at once.
pub const SLOTS: usize = 3;

/// One call; a `usize` in front is a slot for an open file.
#[derive(Debug, Clone)]
pub enum Call {
    /// Opens, empties, writes in two parts, perhaps with fsync after each, closes.
    Save(&'static str, String, bool),
    Append(&'static str, String),
    /// Opens, empties, closes.
    Empty(&'static str),
    Truncate(&'static str, usize),
    Open(usize, &'static str, Opening),
    WriteAt(usize, usize, String),
    SetLength(usize, usize),
    Sync(usize),
    Close(usize),
    Rename(&'static str, &'static str),
    Exchange(&'static str, &'static str),
    Link(&'static str, &'static str),
    Unlink(&'static str),
    Mkdir(&'static str),
    Rmdir(&'static str),
    RenameDirectory(&'static str, &'static str),
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    pub create: bool,
    pub truncate: bool,
}

impl Call {
    /// Whether it is about a file that must be open.
    pub fn needs_slot(&self) -> bool {
        matches!(self, Self::WriteAt(..) | Self::SetLength(..) | Self::Sync(_) | Self::Close(_))
    }
}

pub fn any_call() -> impl Strategy<Value = Call> {
    let path = || prop_oneof![3 => select(&FILES[..3]), 1 => select(&FILES[..])];
    let directory = || select(&DIRECTORIES[..]);
    let slot = || 0..SLOTS;
    let text = || "[a-z]{1,12}";
    let opening =
        (any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(create, truncate)| Opening { create, truncate });
    let by_path = prop_oneof![
        6 => (path(), text(), any::<bool>()).prop_map(|(p, t, s)| Call::Save(p, t, s)),
        2 => (path(), text()).prop_map(|(p, t)| Call::Append(p, t)),
        1 => path().prop_map(Call::Empty),
        2 => (path(), 0_usize..15).prop_map(|(p, n)| Call::Truncate(p, n)),
        8 => (path(), path()).prop_map(|(p, q)| Call::Rename(p, q)),
        1 => (path(), path()).prop_map(|(p, q)| Call::Exchange(p, q)),
        2 => (path(), path()).prop_map(|(p, q)| Call::Link(p, q)),
        4 => path().prop_map(Call::Unlink),
    ];
    let in_slots = prop_oneof![
        4 => (slot(), path(), opening).prop_map(|(s, p, o)| Call::Open(s, p, o)),
        4 => (slot(), 0_usize..15, text()).prop_map(|(s, at, t)| Call::WriteAt(s, at, t)),
        1 => (slot(), 0_usize..15).prop_map(|(s, n)| Call::SetLength(s, n)),
        2 => slot().prop_map(Call::Sync),
        4 => slot().prop_map(Call::Close),
    ];
    let directories = prop_oneof![
        2 => directory().prop_map(Call::Mkdir),
        1 => directory().prop_map(Call::Rmdir),
        2 => (directory(), directory()).prop_map(|(p, q)| Call::RenameDirectory(p, q)),
    ];
    prop_oneof![6 => by_path, 4 => in_slots, 1 => directories]
}

/// A directory, and the files that are open in it.
pub struct Bed<'a> {
    pub root: &'a Path,
    pub open: [Option<File>; SLOTS],
}

impl Bed<'_> {
    /// Makes the call.
    pub fn make(&mut self, call: &Call) -> Result<()> {
        let at = |path: &str| self.root.join(path);
        match call {
            Call::Save(path, text, syncs) => {
                let mut file = File::create(at(path))?;
                let (first, second) = text.split_at(text.len() / 2);
                for part in [first, second] {
                    file.write_all(part.as_bytes())?;
                    if *syncs {
                        file.sync_all()?;
                    }
                }
                Ok(())
            }
            Call::Append(path, text) => {
                OpenOptions::new().append(true).create(true).open(at(path))?.write_all(text.as_bytes())
            }
            Call::Empty(path) => File::create(at(path)).map(drop),
            Call::Truncate(path, size) => truncate(&at(path), *size),
            Call::Open(slot, path, Opening { create, truncate }) => {
                let file = OpenOptions::new().write(true).create(*create).truncate(*truncate).open(at(path))?;
                self.open[*slot] = Some(file);
                Ok(())
            }
            Call::WriteAt(slot, offset, text) => self.slot(*slot).write_all_at(text.as_bytes(), *offset as u64),
            Call::SetLength(slot, size) => self.slot(*slot).set_len(*size as u64),
            Call::Sync(slot) => self.slot(*slot).sync_all(),
            Call::Close(slot) => {
                self.open[*slot] = None;
                Ok(())
            }
            Call::Rename(from, to) | Call::RenameDirectory(from, to) => fs::rename(at(from), at(to)),
            Call::Exchange(from, to) => Ok(renameat_with(CWD, at(from), CWD, at(to), RenameFlags::EXCHANGE)?),
            Call::Link(from, to) => fs::hard_link(at(from), at(to)),
            Call::Unlink(path) => fs::remove_file(at(path)),
            Call::Mkdir(path) => fs::create_dir(at(path)),
            Call::Rmdir(path) => fs::remove_dir(at(path)),
        }
    }

    fn slot(&self, slot: usize) -> &File {
        self.open[slot].as_ref().expect("the reference makes no call on a slot that is free")
    }
}

/// truncate(2) by path: the standard library has it for open files alone.
fn truncate(path: &Path, size: usize) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let size = libc::off_t::try_from(size).expect("a small size");
    // SAFETY: the path ends with a zero and outlives the call.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::truncate(path.as_ptr(), size) } != 0;
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
