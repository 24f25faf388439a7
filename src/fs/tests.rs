//! The tree against the sentences that it promises, without a kernel.
#![allow(clippy::unwrap_used)]

mod history;
mod names;
mod outside;
mod rules;
mod scratch;
mod writing;
mod xattr;

use std::sync::Arc;

use super::*;
use crate::error::Kind;
use crate::node::{Keynode, testing};

const ME: Caller = Caller { uid: 0, gid: 0, pid: 1 };

/// A tree over a keynode of its own, used as the kernel would.
struct Tree {
    fs: FileSystem,
    keynode: Arc<Keynode>,
    _directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keynode = Arc::new(testing::keynode(directory.path()));
        Self { fs: FileSystem::new(keynode.clone(), options), keynode, _directory: directory }
    }

    /// The keynode as another process sees it now.
    fn on_disk(&self) -> Arc<Keynode> {
        Arc::new(testing::again(&self.keynode))
    }

    /// The tree as a mount by another process shows it now.
    fn remounted(&self) -> FileSystem {
        FileSystem::new(self.on_disk(), Options::default())
    }

    fn mkdir(&self, path: &str) -> Ino {
        let (parent, name) = parent(&self.fs, path);
        self.fs.mkdir(parent, name.as_bytes(), 0o755, ME).unwrap().stat.ino
    }

    fn create(&self, path: &str) -> (Ino, HandleId) {
        let (parent, name) = parent(&self.fs, path);
        let mode = OpenMode { write: true, ..OpenMode::default() };
        let (entry, handle) = self.fs.create(parent, name.as_bytes(), 0o600, ME, mode).unwrap();
        (entry.stat.ino, handle)
    }

    /// Opens for writing.
    fn open(&self, path: &str, truncate: bool) -> (Ino, HandleId) {
        let ino = ino(&self.fs, path).unwrap();
        (ino, self.fs.open(ino, OpenMode { write: true, truncate, exclusive: false }, ME).unwrap())
    }

    /// As `cat > path` does.
    fn put(&self, path: &str, content: &[u8]) {
        let (ino, handle) = match ino(&self.fs, path) {
            Ok(_) => self.open(path, true),
            Err(_) => self.create(path),
        };
        self.fs.write(ino, 0, content).unwrap();
        self.close(ino, handle);
    }

    fn close(&self, ino: Ino, handle: HandleId) {
        self.fs.flush(ino).unwrap();
        self.fs.release(handle).unwrap();
    }

    fn get(&self, path: &str) -> Vec<u8> {
        get(&self.fs, path).unwrap()
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.rename_as(from, to, RenameMode::Replace)
    }

    fn rename_as(&self, from: &str, to: &str, mode: RenameMode) -> Result<()> {
        let ((from, name), (to, new_name)) = (parent(&self.fs, from), parent(&self.fs, to));
        self.fs.rename(from, name.as_bytes(), to, new_name.as_bytes(), mode)
    }

    fn unlink(&self, path: &str) -> Result<()> {
        let (parent, name) = parent(&self.fs, path);
        self.fs.unlink(parent, name.as_bytes())
    }

    fn list(&self, path: &str) -> Vec<String> {
        list(&self.fs, path)
    }

    /// The contents of all versions of a path, as `.versions` has them.
    fn versions(&self, path: &str) -> Vec<Vec<u8>> {
        versions(&self.fs, path)
    }

    fn log(&self) -> crate::node::CommitRef {
        self.keynode.snapshot().commit()
    }
}

fn parent<'a>(fs: &FileSystem, path: &'a str) -> (Ino, &'a str) {
    match path.rsplit_once('/') {
        Some((parent, name)) => (ino(fs, parent).unwrap(), name),
        None => (Ino::ROOT, path),
    }
}

fn ino(fs: &FileSystem, path: &str) -> Result<Ino> {
    let mut at = Ino::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = fs.lookup(at, name.as_bytes())?.stat.ino;
    }
    Ok(at)
}

fn stat(fs: &FileSystem, path: &str) -> Stat {
    fs.getattr(ino(fs, path).unwrap()).unwrap().stat
}

fn get(fs: &FileSystem, path: &str) -> Result<Vec<u8>> {
    let ino = ino(fs, path)?;
    let handle = fs.open(ino, OpenMode::default(), ME)?;
    let content = fs.read(ino, 0, 1 << 30)?.to_vec();
    fs.release(handle)?;
    Ok(content)
}

fn list(fs: &FileSystem, path: &str) -> Vec<String> {
    let handle = fs.opendir(ino(fs, path).unwrap()).unwrap();
    let mut names: Vec<String> =
        fs.readdir(handle, true).unwrap().iter().map(|(_, entry)| entry.name.to_string()).collect();
    names.sort_unstable();
    fs.releasedir(handle);
    names
}

fn versions(fs: &FileSystem, path: &str) -> Vec<Vec<u8>> {
    let directory = format!(".versions/{path}");
    if ino(fs, &directory).is_err() {
        return Vec::new();
    }
    let mut numbers: Vec<u32> = list(fs, &directory).iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.iter().map(|n| get(fs, &format!("{directory}/{n}")).unwrap()).collect()
}

fn kind<T>(result: Result<T>) -> Kind {
    result.map(drop).unwrap_err().kind()
}
