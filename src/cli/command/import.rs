//! `pkfs import`: takes over a directory of the host.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use indicatif::ProgressBar;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::edit::{self, Place};
use super::super::exit::DONE;
use super::super::output::ListArgs;
use super::super::plan::{self, Step};
use super::super::quantity::counted;
use super::super::scan::{self, Found, Kind as FoundKind, Scan};
use crate::error::{Error, Kind, Result};
use crate::node::{
    Attributes, Content, Item, ItemId, ItemPath, Keynode, Namespace, SealedValue, SecretState, Session, Snapshot,
    Transaction,
};

/// Take over what is in a directory, in one transaction
///
/// Modes, owners, times, symbolic links, hard links and FIFOs are kept. What is there already becomes the version
/// before, unless the value is the same.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs import app.pk ./secrets\n  pkfs import app.pk /etc/app/keys app/keys")]
pub(in super::super) struct Import {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// The directory whose content is taken over
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where it goes [default: the root]
    #[arg(value_name = "PREFIX", value_parser = item_path())]
    prefix: Option<ItemPath>,
    /// Only say what would be done
    #[arg(short = 'N', long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
}

impl Import {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, if self.dry_run { Access::Read } else { Access::Write })?;
        let prefix = self.prefix.clone().unwrap_or_default();
        let scan = scan::directory(&self.directory, &prefix)?;
        for (path, why) in &scan.skipped {
            context.note(format_args!("{}: skipped, {why}", path.display()));
        }
        let snapshot = keynode.snapshot();
        if self.dry_run {
            return plan::show(&steps(&scan, snapshot.namespace())?, self.list).map(|()| DONE);
        }
        let bar = context.bar("sealing", scan.files().count());
        let values = seal_all(&keynode, &snapshot, &scan, &bar)?;
        bar.finish_and_clear();
        let mut writer = Writer { keynode: &keynode, transaction: keynode.begin()?, placed: HashMap::new(), same: 0 };
        writer.write(&scan, values)?;
        let same = writer.same;
        writer.transaction.commit()?;
        let count = scan.files().count();
        context.note(match same {
            0 => format!("{} imported", counted(count, "secret")),
            same => format!("{} imported, {same} the same already", counted(count - same, "secret")),
        });
        Ok(DONE)
    }
}

fn steps(scan: &Scan, namespace: &Namespace) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for found in &scan.found {
        let present = edit::lookup(namespace, &found.path)?;
        match (&found.kind, present) {
            (FoundKind::Directory, Some(item)) if item.is_directory() => {}
            (FoundKind::File { .. }, Some(item)) => {
                edit::secret(item, &found.path)?;
                steps.push(Step::new("replace", &found.path));
            }
            (_, Some(_)) => return Err(exists(&found.path)),
            (_, None) => steps.push(Step::new("add", &found.path)),
        }
    }
    Ok(steps)
}

/// A file's value, sealed for the id that its place had when it was looked at.
enum Value {
    Sealed(SealedValue),
    /// The secret there has this value already.
    Same(ItemId),
}

/// Seals all files on all processors, in the order of the scan.
fn seal_all(keynode: &Keynode, snapshot: &Snapshot, scan: &Scan, bar: &ProgressBar) -> Result<Vec<Value>> {
    let files: Vec<&Found> = scan.files().collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Value>)>> = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        let mut mine = Vec::new();
        while let Some((index, found)) = take(&files, &next) {
            let value = seal(keynode, snapshot, found);
            bar.inc(1);
            let failed = value.is_err();
            mine.push((index, value));
            if failed {
                next.store(files.len(), Ordering::Relaxed);
            }
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(files.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, value)| value).collect()
}

fn take<'a>(files: &[&'a Found], next: &AtomicUsize) -> Option<(usize, &'a Found)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    files.get(index).map(|found| (index, *found))
}

fn seal(keynode: &Keynode, snapshot: &Snapshot, found: &Found) -> Result<Value> {
    let data = found.read()?;
    let place = Place::of(snapshot.namespace(), &found.path)?;
    if let Place::Taken(id) = place
        && edit::lookup(snapshot.namespace(), &found.path)?.and_then(Item::secret).map(SecretState::size)
            == Some(data.len() as u64)
        && keynode.read_head(snapshot, id)?.as_slice() == data.as_slice()
    {
        return Ok(Value::Same(id));
    }
    keynode.seal(place.id(), &data).map(Value::Sealed)
}

struct Writer<'a> {
    keynode: &'a Keynode,
    transaction: Transaction<'a>,
    /// Where each file with several names went.
    placed: HashMap<(u64, u64), ItemId>,
    same: usize,
}

impl Writer<'_> {
    fn write(&mut self, scan: &Scan, values: Vec<Value>) -> Result<()> {
        let mut values = values.into_iter();
        let mut directories = Vec::new();
        edit::directory(&mut self.transaction, &scan.prefix)?;
        for found in &scan.found {
            let (parent, name) = edit::split(&found.path)?;
            let present = edit::lookup(self.transaction.namespace(), &found.path)?;
            let present = present.map(|item| (item.id, item.content.clone()));
            let parent = edit::directory(&mut self.transaction, &parent)?;
            match (&found.kind, present) {
                // It is there.
                (FoundKind::Directory, Some((_, Content::Directory(_))))
                | (FoundKind::Fifo, Some((_, Content::Fifo))) => {}
                (FoundKind::Directory, None) => {
                    let id = self.transaction.create_directory(parent, name, found.attributes)?;
                    directories.push((id, found.attributes));
                }
                (FoundKind::File { inode, .. }, _) => {
                    let value = values.next().ok_or_else(|| Error::new(Kind::Failed, "a value is missing"))?;
                    let id = self.file(found, value)?;
                    self.placed.insert(*inode, id);
                }
                (FoundKind::Link { inode }, present) => {
                    let id = self.placed.get(inode).copied();
                    let id =
                        id.ok_or_else(|| Error::new(Kind::Failed, "a hard link's file is missing").at(&found.path))?;
                    match present {
                        Some((there, _)) if there == id => {}
                        Some((_, Content::Secret(_))) => {
                            self.transaction.unlink(parent, name)?;
                            self.transaction.link(id, parent, name)?;
                        }
                        Some(_) => return Err(exists(&found.path)),
                        None => self.transaction.link(id, parent, name)?,
                    }
                }
                (FoundKind::Symlink(target), Some((_, Content::Symlink(there)))) if *there == **target => {}
                (FoundKind::Symlink(target), None) => {
                    self.transaction.create_symlink(ItemId::random(), parent, name, target, found.attributes)?;
                }
                (FoundKind::Fifo, None) => {
                    self.transaction.create_fifo(ItemId::random(), parent, name, found.attributes)?;
                }
                (_, Some(_)) => return Err(exists(&found.path)),
            }
        }
        // Names that were made in a directory have changed its times since.
        for (id, attributes) in directories.into_iter().rev() {
            self.transaction.set_attributes(id, attributes)?;
        }
        Ok(())
    }

    fn file(&mut self, found: &Found, value: Value) -> Result<ItemId> {
        let place = Place::of(self.transaction.namespace(), &found.path)?;
        let fits = |id: ItemId| match place {
            Place::Taken(there) | Place::Former(there) => there == id,
            Place::Free => self.transaction.namespace().item(id).is_none(),
        };
        // Another process may have changed the place between sealing and locking.
        let value = match value {
            Value::Same(id) if place == Place::Taken(id) => {
                self.same += 1;
                return Ok(id);
            }
            Value::Sealed(value) if fits(value.id()) => value,
            _ => self.keynode.seal(place.id(), &found.read()?)?,
        };
        let id = value.id();
        if place == Place::Taken(id) {
            self.transaction.write(value, Session::random(), found.attributes.mtime)?;
            let present = self.transaction.namespace().item(id).map(|item| item.attributes);
            let ctime = present.map_or(found.attributes.ctime, |a| a.ctime);
            self.transaction.set_attributes(id, Attributes { ctime, ..found.attributes })?;
        } else {
            let (parent, name) = edit::split(&found.path)?;
            let parent = self.transaction.namespace().resolve(&parent)?.id;
            self.transaction.create_secret(parent, name, found.attributes, value, Session::random())?;
        }
        Ok(id)
    }
}

fn exists(path: &ItemPath) -> Error {
    Error::new(Kind::Exists, format!("{path}: something else is there already")).hint("nothing was changed")
}
