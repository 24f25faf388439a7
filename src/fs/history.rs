//! `.versions`: the past as a read-only tree.
//!
//! Below it stands each path that a secret has or had, as a directory with the files `1 2 3 … log`, and each directory
//! that exists or existed. Where a path was both, the numbers and `log` are the secret's, and a child of that name is
//! reached as `NAME~<first 8 digits of its id>`; so are secrets whose name another one has now. `@<date>` is the whole
//! tree at that time.
//!
//! A place never changes what it shows: a secret's newest version and its log are other inodes once they have grown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::FileSystem;
use super::state::{kind_of, living};
use super::types::{DirEntry, FileKind, Ino, Stat};
use super::xattr::Held;
use crate::error::{Error, Result};
use crate::node::{Attributes, CommitRef, Content, Item, ItemId, ItemPath, Locked, Name, Namespace, Snapshot, Version};
use crate::time::Timestamp;

/// A file or directory of the history.
pub(super) struct Place {
    key: String,
    /// The path that it is about; of `.versions` itself and of a date the top.
    path: ItemPath,
    what: What,
    attributes: Attributes,
    size: u64,
}

enum What {
    /// The present and deleted names below a path, and the versions of a secret that has or had it.
    Path { path: ItemPath, secret: Option<ItemId> },
    /// A version of a secret.
    Version { id: ItemId, version: Version, snapshot: Arc<Snapshot> },
    /// A secret's log.
    Log(Arc<Locked>),
    /// A name in a listing, not looked at any closer.
    Listed(FileKind),
    /// An item of an earlier snapshot, whole: what this tree shows of it depends on the present.
    Then { snapshot: Arc<Snapshot>, id: ItemId },
}

impl Place {
    /// `.versions` itself.
    pub(super) fn root(snapshot: &Snapshot) -> Self {
        let what = What::Path { path: ItemPath::default(), secret: None };
        Self {
            key: String::new(),
            path: ItemPath::root(),
            what,
            attributes: directory_attributes(snapshot.namespace().root()),
            size: 0,
        }
    }

    /// A name in a listing: enough for the kernel, which looks it up again before anybody sees its attributes.
    pub(super) fn listed(&self, name: &Name, kind: FileKind) -> Self {
        let key = listed_key(&self.key, name);
        let (path, attributes) = (self.path.join(name.clone()), Attributes { mode: 0, ..self.attributes });
        Self { key, path, what: What::Listed(kind), attributes, size: 0 }
    }

    /// What makes it different from all others.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// stat(2)
    pub(super) fn stat(&self, ino: Ino) -> Stat {
        let Attributes { mode, uid, gid, mtime, atime, ctime } = self.attributes;
        Stat { ino, kind: self.kind(), mode, uid, gid, links: 1, size: self.size, atime, mtime, ctime }
    }

    /// The path that it is about; the top for what is about the whole.
    pub(super) const fn path(&self) -> &ItemPath {
        &self.path
    }

    /// Whether it is about the whole, and only leads on.
    pub(super) fn is_root(&self) -> bool {
        self.path.is_root()
    }

    /// Whether it is `.versions` itself.
    pub(super) fn is_top(&self) -> bool {
        self.key.is_empty()
    }

    /// Whether it leads to other paths: whoever may see one of those must get there.
    pub(super) fn leads_on(&self) -> bool {
        match &self.what {
            What::Path { secret, .. } => secret.is_none(),
            What::Then { .. } => self.kind() == FileKind::Directory,
            What::Version { .. } | What::Log(_) | What::Listed(_) => false,
        }
    }

    /// The path that a name in it is about, in the present namespace.
    pub(super) fn path_of_child(&self, namespace: &Namespace, name: &Name) -> Option<ItemPath> {
        let itself = || self.path.join(name.clone());
        match &self.what {
            What::Path { secret: Some(_), .. } => Some(self.path.clone()),
            What::Path { .. } => {
                let text = name.as_bytes();
                // `NAME~<digits>` is an earlier secret of that name, unless something is or was called just so.
                let earlier = text.len().checked_sub(9).filter(|at| text.get(*at) == Some(&b'~'));
                let base = earlier.and_then(|at| Name::new(text.get(..at)?).ok());
                let base = base.filter(|_| path_place(namespace, itself(), None).is_none());
                Some(base.map_or_else(itself, |base| self.path.join(base)))
            }
            What::Then { .. } => Some(itself()),
            What::Version { .. } | What::Log(_) | What::Listed(_) => None,
        }
    }

    /// Whether it lists more as time goes on.
    pub(super) fn grows(&self) -> bool {
        match &self.what {
            What::Path { .. } => true,
            What::Listed(kind) => *kind == FileKind::Directory,
            What::Then { .. } => self.is_root(),
            What::Version { .. } | What::Log(_) => false,
        }
    }

    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind() == FileKind::Directory
    }

    /// A symlink's target.
    pub(super) fn link(&self) -> Option<Arc<[u8]>> {
        match &self.item()?.content {
            Content::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// The secret that it shows.
    pub(super) fn held(&self) -> Option<Held> {
        match &self.what {
            What::Version { id, version, .. } => Some(Held::Version(*id, version.clone())),
            What::Then { snapshot, id } => Some(Held::Head(snapshot.clone(), *id)),
            What::Path { .. } | What::Log(_) | What::Listed(_) => None,
        }
    }

    fn kind(&self) -> FileKind {
        match &self.what {
            What::Path { .. } => FileKind::Directory,
            What::Version { .. } | What::Log(_) => FileKind::Regular,
            What::Listed(kind) => *kind,
            What::Then { .. } => self.item().map_or(FileKind::Regular, |item| kind_of(&item.content)),
        }
    }

    fn item(&self) -> Option<&Item> {
        match &self.what {
            What::Then { snapshot, id } => snapshot.namespace().item(*id),
            _ => None,
        }
    }

    fn then(date: &str, snapshot: Arc<Snapshot>, id: ItemId, path: ItemPath) -> Result<Self> {
        let item = snapshot.namespace().item(id).ok_or_else(nothing)?;
        let attributes = Attributes { mode: item.attributes.mode & !0o222, ..item.attributes };
        let size = match &item.content {
            Content::Secret(secret) => secret.size(),
            Content::Symlink(target) => target.len() as u64,
            _ => 0,
        };
        // A date is one place for as long as the kernel holds it, although what it shows grows until it has passed. Of several
        // names of a secret each is a place: they may be in different shares.
        let key = if path.is_root() { date_key(date) } else { format!("@/{}/{path}", snapshot.commit().oid) };
        Ok(Self { key, path, what: What::Then { snapshot, id }, attributes, size })
    }
}

impl FileSystem {
    /// A name in a directory of the history.
    pub(super) fn history_child(&self, directory: &Place, name: &Name) -> Result<Place> {
        match &directory.what {
            What::Path { path, secret } => self.child_of_path(path, *secret, name),
            What::Then { snapshot, id } => {
                let shown = self.shown_now(directory, snapshot, *id)?;
                let child = shown.namespace().child(*id, name.as_bytes()).ok_or_else(nothing)?.id;
                self.then("", snapshot.clone(), child, directory.path.join(name.clone()))
            }
            What::Version { .. } | What::Log(_) | What::Listed(_) => Err(not_a_directory()),
        }
    }

    /// An earlier snapshot as far as this tree shows it now, if it shows this directory of it: a share may have changed since
    /// somebody got there.
    fn shown_now(&self, directory: &Place, snapshot: &Arc<Snapshot>, id: ItemId) -> Result<Arc<Snapshot>> {
        let present = self.state.lock().snapshot.clone();
        let shown = self.shown(snapshot, &present);
        // What is not covered has no name; by its id it would still be found.
        if shown.namespace().resolve(&directory.path)?.id == id { Ok(shown) } else { Err(nothing()) }
    }

    fn child_of_path(&self, path: &ItemPath, secret: Option<ItemId>, name: &Name) -> Result<Place> {
        let text = std::str::from_utf8(name.as_bytes()).unwrap_or_default();
        if path.components().is_empty()
            && let Some(date) = text.strip_prefix('@')
        {
            let when = Timestamp::parse_span_end(date).map_err(|_| nothing())?;
            return self.then(date, self.keynode.snapshot_at(when)?, ItemId::ROOT, ItemPath::root());
        }
        let snapshot = self.state.lock().snapshot.clone();
        let namespace = snapshot.namespace();
        if let Some(id) = secret {
            still_has(namespace, path, id)?;
            if text == "log" {
                return self.log_place(&snapshot, id, path);
            }
            if let Some(number) = number(text)
                && let Some(version) = self.keynode.versions(&snapshot, id)?.into_iter().find(|v| v.number == number)
            {
                return self.version_place(&snapshot, id, version, path);
            }
        }
        let child = path.join(name.clone());
        if let Some(place) = path_place(namespace, child, None) {
            return Ok(place);
        }
        let (base, digits) = text.rsplit_once('~').filter(|(_, digits)| digits.len() == 8).ok_or_else(nothing)?;
        let child = path.join(Name::new(base.as_bytes())?);
        let id = secrets_of(namespace, &child)
            .into_iter()
            .find(|id| id.to_string().starts_with(digits))
            .ok_or_else(nothing)?;
        path_place(namespace, child, Some(id)).ok_or_else(nothing)
    }

    /// The names in a directory of the history. `@<date>` is never listed, since there is no end to them.
    pub(super) fn history_list(&self, directory: &Place) -> Result<Vec<DirEntry>> {
        let mut names: BTreeMap<Vec<u8>, FileKind> = BTreeMap::new();
        match &directory.what {
            What::Path { path, secret } => {
                let snapshot = self.state.lock().snapshot.clone();
                let namespace = snapshot.namespace();
                if let Some(id) = secret {
                    still_has(namespace, path, *id)?;
                    for version in self.keynode.versions(&snapshot, *id)? {
                        names.insert(version.number.to_string().into(), FileKind::Regular);
                    }
                    names.insert(b"log".to_vec(), FileKind::Regular);
                }
                for name in names_below(namespace, path) {
                    let child = path.join(name.clone());
                    let taken = names.contains_key(name.as_bytes());
                    let secrets = secrets_of(namespace, &child);
                    if !taken {
                        names.insert(name.as_bytes().to_vec(), FileKind::Directory);
                    }
                    for id in secrets.iter().skip(usize::from(!taken)) {
                        let digits = id.to_string();
                        let other = [name.as_bytes(), b"~", digits.get(..8).unwrap_or_default().as_bytes()].concat();
                        names.insert(other, FileKind::Directory);
                    }
                }
            }
            What::Then { snapshot, id } => {
                match self.shown_now(directory, snapshot, *id)?.namespace().item(*id).map(|item| &item.content) {
                    Some(Content::Directory(children)) => {
                        for (name, id) in children {
                            let item = snapshot.namespace().item(*id).ok_or_else(nothing)?;
                            names.insert(name.as_bytes().to_vec(), kind_of(&item.content));
                        }
                    }
                    _ => return Err(not_a_directory()),
                }
            }
            What::Version { .. } | What::Log(_) | What::Listed(_) => return Err(not_a_directory()),
        }
        let state = self.state.lock();
        let mut entries = Vec::with_capacity(names.len());
        for (name, kind) in names {
            if let Ok(name) = Name::new(&name) {
                let ino = state.inodes.number_of_place(&listed_key(&directory.key, &name));
                entries.push(DirEntry { ino, kind, name });
            }
        }
        Ok(entries)
    }

    /// The content of a file of the history.
    pub(super) fn history_content(&self, place: &Place) -> Result<Arc<Locked>> {
        match &place.what {
            What::Version { id, version, snapshot } => self.version_content(snapshot, *id, version),
            What::Log(text) => Ok(text.clone()),
            What::Then { snapshot, id } => self.head(snapshot, *id),
            What::Path { .. } => Err(Error::new(crate::error::Kind::IsDirectory, "a directory")),
            What::Listed(_) => Err(nothing()),
        }
    }

    fn version_content(&self, snapshot: &Snapshot, id: ItemId, version: &Version) -> Result<Arc<Locked>> {
        self.contents.get(version.commit.digest, || self.keynode.read_version(snapshot, id, version))
    }

    fn version_place(&self, snapshot: &Arc<Snapshot>, id: ItemId, version: Version, path: &ItemPath) -> Result<Place> {
        let size = self.version_size(snapshot, id, &version)?;
        let date = version.date;
        let attributes = Attributes { mtime: date, atime: date, ctime: date, ..self.version_attributes(snapshot, id) };
        let key = format!("{}/{}/{}", secret_key(path, id), version.number, version.commit.oid);
        let what = What::Version { id, version, snapshot: snapshot.clone() };
        Ok(Place { key, path: path.clone(), what, attributes, size })
    }

    /// A version is readable to those who may read the secret now, a change of that on its way included; of a deleted
    /// one, to the owner of the whole.
    fn version_attributes(&self, snapshot: &Snapshot, id: ItemId) -> Attributes {
        let Some(item) = living(snapshot.namespace(), id) else {
            return Attributes { mode: 0o400, ..snapshot.namespace().root().attributes };
        };
        let present = self.state.lock().memory.effective(id, item.attributes);
        Attributes { mode: present.mode & 0o444, ..present }
    }

    /// The tree as it stood once: nothing in it is open to more than it is now.
    fn then(&self, date: &str, snapshot: Arc<Snapshot>, id: ItemId, path: ItemPath) -> Result<Place> {
        let mut place = Place::then(date, snapshot, id, path)?;
        let state = self.state.lock();
        if let Some(item) = living(state.snapshot.namespace(), id) {
            place.attributes.mode &= state.memory.effective(id, item.attributes).mode;
        }
        Ok(place)
    }

    /// Bytes of a version: known for the head, else by decrypting it.
    fn version_size(&self, snapshot: &Snapshot, id: ItemId, version: &Version) -> Result<u64> {
        match head(snapshot, id) {
            Some((commit, size)) if commit == version.commit => Ok(size),
            _ => Ok(self.version_content(snapshot, id, version)?.len() as u64),
        }
    }

    fn log_place(&self, snapshot: &Arc<Snapshot>, id: ItemId, path: &ItemPath) -> Result<Place> {
        let versions = self.keynode.versions(snapshot, id)?;
        let mut text = String::new();
        for version in &versions {
            let Version { number, commit, date, writer, .. } = version;
            let size = self.version_size(snapshot, id, version)?;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{number}\t{}\t{writer}\t{size}\t{}", date.to_rfc3339(), commit.oid);
        }
        let (date, newest) = versions
            .last()
            .map_or_else(|| (snapshot.date(), String::new()), |version| (version.date, version.commit.oid.to_string()));
        let attributes = Attributes { mtime: date, atime: date, ctime: date, ..self.version_attributes(snapshot, id) };
        let size = text.len() as u64;
        let what = What::Log(Arc::new(Locked::from_slice(text.as_bytes())));
        Ok(Place { key: format!("{}/log/{newest}", secret_key(path, id)), path: path.clone(), what, attributes, size })
    }
}

/// The directory for a path that a secret or a directory has or had; `secret`: one of several that had it.
fn path_place(namespace: &Namespace, path: ItemPath, secret: Option<ItemId>) -> Option<Place> {
    let present = namespace.resolve(&path).ok();
    let secrets = secrets_of(namespace, &path);
    let secret = secret.or_else(|| secrets.first().copied());
    if secret.is_none()
        && !matches!(present.map(|item| &item.content), Some(Content::Directory(_)))
        && namespace.deleted_below(&path).is_empty()
    {
        return None;
    }
    let shown = secret.and_then(|id| living(namespace, id)).or(present);
    let attributes = match shown {
        Some(item) => directory_attributes(item),
        // Of what is deleted the owner is not known any more: it is for whoever owns the whole.
        None => Attributes { mode: 0o500, ..namespace.root().attributes },
    };
    let key = match secret {
        Some(id) => secret_key(&path, id),
        None => format!("/{path}"),
    };
    Some(Place { key, path: path.clone(), what: What::Path { path, secret }, attributes, size: 0 })
}

/// Whether a secret has or had this path, as far as a namespace shows it: its id alone would find more.
fn still_has(namespace: &Namespace, path: &ItemPath, id: ItemId) -> Result<()> {
    if secrets_of(namespace, path).contains(&id) { Ok(()) } else { Err(nothing()) }
}

/// The secrets that have or had a path: the present one, then earlier ones, newest first.
fn secrets_of(namespace: &Namespace, path: &ItemPath) -> Vec<ItemId> {
    let mut secrets = Vec::new();
    if let Ok(item) = namespace.resolve(path)
        && matches!(item.content, Content::Secret(_))
    {
        secrets.push(item.id);
    }
    secrets.extend(namespace.former(path).iter().rev().copied());
    secrets
}

/// Names below a path that a secret or a directory has or had.
fn names_below(namespace: &Namespace, path: &ItemPath) -> Vec<Name> {
    let mut names: Vec<Name> = namespace.deleted_below(path).into_iter().map(|(name, _)| name).collect();
    if let Ok(item) = namespace.resolve(path)
        && let Content::Directory(children) = &item.content
    {
        for (name, id) in children {
            match namespace.item(*id).map(|item| &item.content) {
                Some(Content::Secret(_) | Content::Directory(_)) => names.push(name.clone()),
                _ if !namespace.former(&path.join(name.clone())).is_empty() => names.push(name.clone()),
                _ => {}
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// The key of one of the secrets that have or had a path: no path has two slashes together.
fn secret_key(path: &ItemPath, id: ItemId) -> String {
    format!("/{path}//{id}")
}

/// The key of the whole tree at a date, as it was written.
pub(super) fn date_key(date: &str) -> String {
    format!("@{date}")
}

fn listed_key(directory: &str, name: &Name) -> String {
    format!("{directory}/{name}/")
}

fn head(snapshot: &Snapshot, id: ItemId) -> Option<(CommitRef, u64)> {
    match &snapshot.namespace().item(id)?.content {
        Content::Secret(secret) => Some((secret.head()?.commit, secret.size())),
        _ => None,
    }
}

/// Who may read may search.
fn directory_attributes(item: &Item) -> Attributes {
    let readable = item.attributes.mode & 0o444;
    Attributes { mode: readable | (readable >> 2), ..item.attributes }
}

/// A version's number as a listing shows it: no sign, no leading zero.
fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

fn nothing() -> Error {
    Error::not_found("no such version, secret or directory in the history")
}

fn not_a_directory() -> Error {
    Error::new(crate::error::Kind::NotDirectory, "not a directory")
}
