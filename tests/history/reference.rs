//! What the history must be, from the sentences of the semantics, in plain memory.

use std::collections::BTreeMap;

use crate::call::{Call, Opening, SLOTS};

/// The contents of a secret's versions.
pub type History = Vec<String>;

/// For each path: the history that it shows, and in their order as texts, those of earlier secrets of that name.
pub type Histories = BTreeMap<String, (History, Vec<History>)>;

/// A secret: its versions, each with the session that it comes from.
#[derive(Default)]
struct Secret {
    versions: Vec<(usize, String)>,
    /// It was there before the mount.
    old: bool,
}

/// An inode.
struct File {
    /// What it commits to; `None`: it has no name.
    secret: Option<usize>,
    /// It has been committed, so the name is in the keynode.
    lasting: bool,
    writers: usize,
    buffer: Option<Buffer>,
}

/// What is being written. Who has a file open at the same time shares a session, until somebody opens it when all is
/// saved and somebody has closed it.
struct Buffer {
    session: usize,
    /// Whether the session has changed anything: if not, the content is of one that is over.
    changed: bool,
    content: Option<String>,
    unsaved: Unsaved,
    closed: bool,
}

/// What of a buffer is not committed.
#[derive(Clone, Copy, PartialEq)]
enum Unsaved {
    Nothing,
    /// What `O_CREAT` and `O_TRUNC` do.
    Opening,
    Writing,
}

impl Buffer {
    fn new(session: usize) -> Self {
        Self { session, changed: false, content: None, unsaved: Unsaved::Nothing, closed: false }
    }

    /// Where whoever wrote last has closed the file, what comes is another session.
    fn another(&mut self, session: usize) -> bool {
        let another = std::mem::take(&mut self.closed);
        if another {
            (self.session, self.changed) = (session, false);
        }
        another
    }
}

/// When something is committed.
#[derive(Clone, Copy, PartialEq)]
enum Occasion {
    Flush,
    Release,
    Sync,
}

#[derive(Clone, Copy)]
enum Entry {
    Directory,
    File(usize),
}

#[derive(Default)]
pub struct Reference {
    tree: BTreeMap<String, Entry>,
    files: Vec<File>,
    secrets: Vec<Secret>,
    /// The last names of secrets that have none.
    former: Vec<(String, usize)>,
    slots: [Option<usize>; SLOTS],
    sessions: usize,
    /// Files that the last call left to release, which the kernel does not wait for.
    released: Vec<usize>,
}

impl Reference {
    /// With secrets that have been there before the mount.
    pub fn with(contents: &[(&str, &str)]) -> Self {
        let mut reference = Self::default();
        for (path, content) in contents {
            reference.save(path, content);
            reference.secrets.iter_mut().for_each(|secret| secret.old = true);
        }
        reference
    }

    /// Makes the call if it can succeed.
    pub fn make(&mut self, call: &Call) -> bool {
        self.released.clear();
        match call {
            Call::Save(path, text, _) => self.can_create(path) && self.save(path, text),
            Call::Append(path, text) => {
                let Some(file) = self.open(path, Opening { create: true, truncate: false }) else { return false };
                let end = self.content(file).len();
                self.write(file, end, text);
                self.close(file);
                true
            }
            Call::Empty(path) => {
                let Some(file) = self.open(path, Opening { create: true, truncate: true }) else { return false };
                self.close(file);
                true
            }
            Call::Truncate(path, size) => self.file(path).is_some_and(|file| self.truncate(file, *size)),
            Call::Open(slot, path, opening) => {
                // The file that was in the slot is closed after the other one is opened.
                let Some(file) = self.open(path, *opening) else { return false };
                if let Some(old) = self.slots[*slot].replace(file) {
                    self.close(old);
                }
                true
            }
            Call::WriteAt(slot, at, text) => self.slots[*slot].is_some_and(|file| self.write(file, *at, text)),
            Call::SetLength(slot, size) => self.slots[*slot].is_some_and(|file| self.truncate(file, *size)),
            Call::Sync(slot) => self.slots[*slot].is_some_and(|file| self.commit(file, Occasion::Sync)),
            Call::Close(slot) => self.slots[*slot].take().is_some_and(|file| self.close(file)),
            Call::Rename(from, to) => self.rename(from, to),
            Call::Exchange(from, to) => self.exchange(from, to),
            Call::Link(from, to) => self.link(from, to),
            Call::Unlink(path) => self.unlink(path),
            Call::Mkdir(path) => {
                !self.tree.contains_key(*path) && self.tree.insert((*path).into(), Entry::Directory).is_none()
            }
            Call::Rmdir(path) => {
                self.tree.contains_key(*path) && self.is_empty(path) && self.tree.remove(*path).is_some()
            }
            Call::RenameDirectory(from, to) => self.rename_directory(from, to),
        }
    }

    /// Paths of which something was left to release: what is expected of them comes soon.
    pub fn awaited(&self) -> Vec<String> {
        let named = self.tree.iter().filter(|(_, entry)| match entry {
            Entry::File(file) => self.released.contains(file),
            Entry::Directory => false,
        });
        named.map(|(path, _)| path.clone()).collect()
    }

    pub fn histories(&self) -> Histories {
        let mut histories: BTreeMap<String, Vec<History>> = BTreeMap::new();
        let history = |secret: usize| -> History {
            self.secrets[secret].versions.iter().map(|(_, content)| content.clone()).collect()
        };
        for (path, entry) in &self.tree {
            if let Entry::File(file) = entry
                && let File { secret: Some(secret), lasting: true, .. } = self.files[*file]
            {
                histories.entry(path.clone()).or_default().push(history(secret));
            }
        }
        for (path, secret) in self.former.iter().rev() {
            histories.entry(path.clone()).or_default().push(history(*secret));
        }
        let split = |(path, mut all): (String, Vec<History>)| {
            let shown = all.remove(0);
            all.sort();
            (path, (shown, all))
        };
        histories.into_iter().map(split).collect()
    }

    fn save(&mut self, path: &str, text: &str) -> bool {
        let Some(file) = self.open(path, Opening { create: true, truncate: true }) else { return false };
        self.write(file, 0, text);
        self.close(file)
    }

    fn can_create(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| self.tree.contains_key(parent))
    }

    fn open(&mut self, path: &str, Opening { create, truncate }: Opening) -> Option<usize> {
        let file = match self.file(path) {
            Some(file) => file,
            None if create && self.can_create(path) => self.create(path),
            None => return None,
        };
        self.sessions += 1;
        let new = Buffer::new(self.sessions);
        let size = self.content(file).len();
        let inode = &mut self.files[file];
        inode.writers += 1;
        let buffer = inode.buffer.get_or_insert(new);
        buffer.another(self.sessions);
        if truncate && size > 0 {
            buffer.changed = true;
            buffer.content = Some(String::new());
            if buffer.unsaved == Unsaved::Nothing {
                buffer.unsaved = Unsaved::Opening;
            }
        }
        Some(file)
    }

    /// A new file goes on with the history of the secret that had the name last.
    fn create(&mut self, path: &str) -> usize {
        let former = self.former.iter().rev().find(|(name, _)| name == path).map(|(_, secret)| *secret);
        let secret = former.filter(|former| self.named(*former).is_none());
        let secret = secret.unwrap_or_else(|| self.new_secret());
        self.sessions += 1;
        let content = Some(String::new());
        let buffer = Some(Buffer { changed: true, content, unsaved: Unsaved::Opening, ..Buffer::new(self.sessions) });
        self.files.push(File { secret: Some(secret), lasting: false, writers: 0, buffer });
        let file = self.files.len() - 1;
        self.tree.insert(path.into(), Entry::File(file));
        file
    }

    fn new_secret(&mut self) -> usize {
        self.secrets.push(Secret::default());
        self.secrets.len() - 1
    }

    fn write(&mut self, file: usize, at: usize, text: &str) -> bool {
        let mut content = self.content(file).into_bytes();
        content.resize(content.len().max(at + text.len()), 0);
        content[at..at + text.len()].copy_from_slice(text.as_bytes());
        self.change(file, content)
    }

    fn resize(&mut self, file: usize, size: usize) -> bool {
        let mut content = self.content(file).into_bytes();
        content.resize(size, 0);
        self.change(file, content)
    }

    fn change(&mut self, file: usize, content: Vec<u8>) -> bool {
        self.sessions += 1;
        let buffer = self.files[file].buffer.get_or_insert(Buffer::new(self.sessions));
        buffer.content = Some(String::from_utf8(content).unwrap());
        (buffer.changed, buffer.unsaved, buffer.closed) = (true, Unsaved::Writing, false);
        true
    }

    /// A session of its own, unless somebody is writing.
    fn truncate(&mut self, file: usize, size: usize) -> bool {
        if self.content(file).len() == size {
            return true;
        }
        self.sessions += 1;
        let session = self.sessions;
        let mut own = self.files[file].writers == 0;
        if let Some(buffer) = &mut self.files[file].buffer {
            own |= buffer.another(session);
        }
        self.resize(file, size);
        if own {
            self.commit(file, Occasion::Release);
            self.let_go(file);
        }
        true
    }

    fn close(&mut self, file: usize) -> bool {
        self.commit(file, Occasion::Flush);
        if let Some(buffer) = &mut self.files[file].buffer {
            buffer.closed = buffer.unsaved == Unsaved::Nothing;
        }
        self.files[file].writers -= 1;
        if self.files[file].writers == 0 {
            if self.files[file].buffer.as_ref().is_some_and(|buffer| buffer.unsaved != Unsaved::Nothing) {
                self.released.push(file);
            }
            self.commit(file, Occasion::Release);
        }
        self.let_go(file);
        true
    }

    fn let_go(&mut self, file: usize) {
        let inode = &mut self.files[file];
        if inode.writers == 0 && inode.buffer.as_ref().is_some_and(|buffer| buffer.unsaved == Unsaved::Nothing) {
            inode.buffer = None;
        }
    }

    fn commit(&mut self, file: usize, occasion: Occasion) -> bool {
        let inode = &mut self.files[file];
        let (Some(secret), Some(buffer)) = (inode.secret, &mut inode.buffer) else { return true };
        if buffer.unsaved == Unsaved::Nothing || (occasion == Occasion::Flush && buffer.unsaved == Unsaved::Opening) {
            return true;
        }
        buffer.unsaved = Unsaved::Nothing;
        inode.lasting = true;
        let (session, content) = (buffer.session, buffer.content.clone().unwrap());
        self.add_version(secret, session, content);
        true
    }

    fn add_version(&mut self, secret: usize, session: usize, content: String) {
        self.former.retain(|(_, former)| *former != secret);
        let versions = &mut self.secrets[secret].versions;
        match versions.last_mut() {
            Some(last) if last.0 == session => last.1 = content,
            _ => versions.push((session, content)),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let (Some(source), true) = (self.file(from), self.can_create(to)) else { return false };
        let target = self.file(to);
        if target == Some(source) {
            return true;
        }
        let lasting = self.files[source].lasting;
        let single = |file: usize| self.files[file].lasting && self.links(file) == 1;
        match target {
            // Its content becomes the next version of the target.
            Some(target) if single(target) && (single(source) || !lasting) => {
                let secret = self.files[target].secret;
                self.lose(target, to);
                self.former.retain(|(_, former)| Some(*former) != secret);
                self.transfer(source, from, secret);
            }
            // Something new goes on with the history of the name.
            None if !lasting => {
                let former = self.former.iter().rev().find(|(name, _)| name == to).map(|(_, secret)| *secret);
                let former = former.filter(|former| self.named(*former).is_none());
                self.transfer(source, from, former.or(self.files[source].secret));
            }
            target => {
                if let Some(target) = target {
                    self.lose(target, to);
                }
                if !lasting {
                    self.commit(source, Occasion::Sync);
                }
                self.tree.remove(from);
            }
        }
        self.tree.insert(to.into(), Entry::File(source));
        true
    }

    /// A file loses the name `from` and goes on as the newest version of a secret.
    fn transfer(&mut self, file: usize, from: &str, to: Option<usize>) {
        self.sessions += 1;
        let own = self.files[file].secret.filter(|_| self.files[file].lasting);
        let content = self.content(file);
        let session = match &mut self.files[file].buffer {
            Some(buffer) if buffer.content.is_some() => {
                buffer.unsaved = Unsaved::Nothing;
                if buffer.changed { buffer.session } else { self.sessions }
            }
            _ => self.sessions,
        };
        self.lose(file, from);
        if let Some(own) = own
            && own != to.unwrap()
            && !self.secrets[own].old
            && self.was_written_once(own)
        {
            // It was written for this.
            self.former.retain(|(_, former)| *former != own);
        }
        (self.files[file].secret, self.files[file].lasting) = (to, true);
        self.add_version(to.unwrap(), session, content);
        self.let_go(file);
    }

    /// Perhaps after it was made to have the name, empty.
    fn was_written_once(&self, secret: usize) -> bool {
        match self.secrets[secret].versions.as_slice() {
            [_] => true,
            [(_, first), _] => first.is_empty(),
            _ => false,
        }
    }

    fn exchange(&mut self, from: &str, to: &str) -> bool {
        let (Some(one), Some(other)) = (self.file(from), self.file(to)) else { return false };
        // Of one file with itself the kernel asks nobody.
        if one == other {
            return true;
        }
        for file in [one, other] {
            if !self.files[file].lasting {
                self.commit(file, Occasion::Sync);
            }
        }
        self.tree.insert(from.into(), Entry::File(other));
        self.tree.insert(to.into(), Entry::File(one));
        true
    }

    fn link(&mut self, from: &str, to: &str) -> bool {
        let Some(file) = self.file(from) else { return false };
        if self.tree.contains_key(to) || !self.can_create(to) {
            return false;
        }
        if !self.files[file].lasting {
            self.commit(file, Occasion::Sync);
        }
        self.tree.insert(to.into(), Entry::File(file));
        true
    }

    fn unlink(&mut self, path: &str) -> bool {
        let Some(file) = self.file(path) else { return false };
        self.lose(file, path);
        true
    }

    /// A file loses a name. With its last one, nothing of it is saved any more.
    fn lose(&mut self, file: usize, path: &str) {
        self.tree.remove(path);
        if self.links(file) > 0 {
            return;
        }
        let secret = self.files[file].secret.take();
        if let (Some(secret), true) = (secret, self.files[file].lasting) {
            self.former.push((path.into(), secret));
        }
    }

    fn rename_directory(&mut self, from: &str, to: &str) -> bool {
        if !self.tree.contains_key(from) || (from != to && !self.is_empty(to)) {
            return false;
        }
        let names: Vec<String> = self.tree.keys().filter(|path| is_within(path, from)).cloned().collect();
        for name in names {
            let entry = self.tree.remove(&name).unwrap();
            self.tree.insert(format!("{to}{}", &name[from.len()..]), entry);
        }
        true
    }

    fn is_empty(&self, directory: &str) -> bool {
        !self.tree.keys().any(|path| path != directory && is_within(path, directory))
    }

    fn file(&self, path: &str) -> Option<usize> {
        match self.tree.get(path) {
            Some(Entry::File(file)) => Some(*file),
            _ => None,
        }
    }

    /// The file with a name that commits to a secret.
    fn named(&self, secret: usize) -> Option<usize> {
        self.tree.values().find_map(|entry| match entry {
            Entry::File(file) if self.files[*file].secret == Some(secret) => Some(*file),
            _ => None,
        })
    }

    fn links(&self, file: usize) -> usize {
        self.tree.values().filter(|entry| matches!(entry, Entry::File(other) if *other == file)).count()
    }

    /// What who reads the file gets. Of what has no name the last content is its own.
    fn content(&self, file: usize) -> String {
        let inode = &self.files[file];
        let written = inode.buffer.as_ref().and_then(|buffer| buffer.content.clone());
        let committed = inode.secret.and_then(|secret| self.secrets[secret].versions.last());
        written.or_else(|| committed.map(|(_, content)| content.clone())).unwrap_or_default()
    }
}

fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
