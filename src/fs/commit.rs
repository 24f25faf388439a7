//! Bringing what was written into the keynode.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::buffer::{Buffer, Occasion, Unsaved};
use super::inode::{Detached, Node};
use super::memory::{Class, MemoryItem};
use super::state::{State, living};
use super::types::{FileKind, Ino, Notice, SetAttributes};
use super::{FileSystem, Notices};
use crate::error::{Error, Kind, Result};
use crate::node::{
    Attributes, Content, Head, Item, ItemId, Locked, Name, SealedValue, SecretState, Snapshot, Transaction,
};

/// The right to change the namespace: held from before a transaction begins until its result is adopted.
pub(super) type Writer<'a> = MutexGuard<'a, ()>;

/// The right to show another snapshot.
pub(super) type Showing<'a> = MutexGuard<'a, ()>;

/// A transaction that has begun: until its result is shown, nothing else is.
pub(super) struct Begun<'a> {
    transaction: Transaction<'a>,
    showing: Showing<'a>,
}

/// What a commit is about to save.
struct Plan {
    /// The secret that the content is sealed for.
    id: ItemId,
    unsaved: Unsaved,
    /// What becomes a waiting file with this commit.
    aside: Option<Aside>,
}

/// A secret that was moved aside to a scratch name and whose history goes on under its old one.
struct Aside {
    id: ItemId,
    name: Name,
    /// Where its content comes from.
    head: Option<Head>,
    content: Arc<Locked>,
}

impl FileSystem {
    /// Commits what is unsaved in an inode, if the occasion asks for it.
    pub(super) fn commit(&self, ino: Ino, occasion: Occasion) -> Result<()> {
        let Some(buffer) = self.state.lock().inodes.get(ino)?.buffer.clone() else { return Ok(()) };
        let _order = buffer.commit_order();
        // Where names or heads have changed between sealing and the transaction, it begins anew.
        loop {
            let Some(plan) = self.plan(ino, &buffer, occasion)? else { return Ok(()) };
            let sealed = self.keynode.seal(plan.id, &plan.unsaved.content)?;
            let writer = self.writer.lock();
            if self.commit_sealed(&writer, ino, &buffer, &plan, sealed)? {
                return Ok(());
            }
        }
    }

    /// Decides what is to be committed, and under which id.
    fn plan(&self, ino: Ino, buffer: &Buffer, occasion: Occasion) -> Result<Option<Plan>> {
        let (id, aside, snapshot, unsaved) = {
            let state = self.state.lock();
            // Another writer has opened it meanwhile: what is there may be half of what that writes, for its own close to settle.
            if occasion == Occasion::Release && state.inodes.get(ino)?.writers > 0 {
                return Ok(None);
            }
            let Some(id) = state.commits_to(ino)? else { return Ok(None) };
            if let Some(item) = state.memory.get(id) {
                let due = match item.class {
                    Class::Lasting => true,
                    Class::Waiting => occasion == Occasion::Sync,
                    Class::Volatile => false,
                };
                if !due {
                    return Ok(None);
                }
            }
            let aside = state.aside(id);
            let id = aside.as_ref().map_or(id, |(aside, _)| *aside);
            let Some(unsaved) = buffer.unsaved(occasion) else { return Ok(None) };
            (id, aside, state.snapshot.clone(), unsaved)
        };
        let aside = match aside {
            Some((id, name)) => {
                let head = living(snapshot.namespace(), id).and_then(Item::secret).and_then(SecretState::head);
                Some(Aside { id, name, head, content: self.head(&snapshot, id)? })
            }
            None => None,
        };
        Ok(Some(Plan { id, unsaved, aside }))
    }

    /// The transaction of a commit. `false`: it must be planned again.
    fn commit_sealed(
        &self,
        writer: &Writer<'_>,
        ino: Ino,
        buffer: &Buffer,
        plan: &Plan,
        sealed: SealedValue,
    ) -> Result<bool> {
        let transaction = self.begin(writer)?;
        let item = {
            let mut state = self.state.lock();
            let Some(id) = state.commits_to(ino)? else { return Ok(true) };
            let aside = state.aside(id);
            let head = |id| state.secret(id).ok().and_then(SecretState::head);
            let present = aside.as_ref().map(|(id, name)| (*id, name, head(*id)));
            let planned = plan.aside.as_ref().map(|aside| (aside.id, &aside.name, aside.head));
            if present != planned || (present.is_none() && id != plan.id) {
                return Ok(false);
            }
            let item = state.memory.get(id).cloned();
            if let Some(item) = &item
                && state.taken_outside(ino, id, item)?
            {
                return Ok(false);
            }
            item.map(|item| (id, item))
        };
        let session = plan.unsaved.session;
        let (item_id, item) = item.unzip();
        self.finish(
            writer,
            transaction,
            |transaction| {
                // It may have been set since the content was sealed.
                let modified = buffer.modified().or(plan.unsaved.modified);
                let dated = |old: Attributes| Attributes {
                    mtime: modified.unwrap_or(old.mtime),
                    ctime: plan.unsaved.modified.map_or(old.ctime, |written| written.max(old.ctime)),
                    ..old
                };
                let Some(item) = &item else {
                    let present = transaction.namespace().item(plan.id).map(|item| item.attributes);
                    let present = present.ok_or_else(|| Error::not_found("the file is gone"))?;
                    return transaction.write_as(sealed, session, dated(present));
                };
                // The name has been there since the file was created: a commit, which comes whenever it comes, changes
                // no times.
                let directory = transaction.namespace().item(item.parent).map(|item| item.attributes);
                let directory = directory.map(|shown| self.state.lock().memory.effective(item.parent, shown));
                let attributes = dated(item.attributes);
                if let Some(aside) = &plan.aside {
                    transaction.unlink(item.parent, &aside.name)?;
                }
                transaction.create_secret(item.parent, &item.name, attributes, sealed, session)?;
                transaction.set_attributes(plan.id, attributes)?;
                directory.map_or(Ok(()), |attributes| transaction.set_attributes(item.parent, attributes))
            },
            |state, (), before| {
                buffer.saved(&plan.unsaved);
                if let Some(latest) = item_id.and_then(|id| state.memory.remove(id))
                    && let Some(item) = item.as_ref().filter(|item| item.attributes != latest.attributes)
                {
                    let change = difference(item.attributes, latest.attributes);
                    state.memory.change(plan.id, change, latest.attributes.ctime);
                }
                state.note_written(plan.id, before);
                if let (Some(aside), Some(item)) = (&plan.aside, &item) {
                    state.set_aside(aside, item.parent, before);
                }
                state.lead_to(ino, plan.id, before, &self.notices);
                if let Some(item) = &item {
                    self.notices.send(Notice::Attributes(state.inodes.number_of(item.parent)));
                }
                self.notices.send(Notice::Attributes(ino));
            },
        )?;
        self.remember(plan.id, &plan.unsaved.content);
        Ok(true)
    }

    /// Keeps a content that was just committed for those who read it next.
    pub(super) fn remember(&self, id: ItemId, content: &Arc<Locked>) {
        let head = self.state.lock().secret(id).ok().and_then(SecretState::head);
        if let Some(head) = head {
            self.contents.insert(head.commit.digest, content.clone());
        }
    }

    /// Begins a transaction; what others have changed until now is adopted.
    pub(super) fn begin(&self, _writer: &Writer<'_>) -> Result<Begun<'_>> {
        let transaction = self.keynode.begin().map_err(|error| self.not_a_name(error))?;
        let showing = self.showing.lock();
        self.adopt(&showing, self.present());
        Ok(Begun { transaction, showing })
    }

    /// What is missing, or is no keynode, is not what the caller named, but the keynode's file.
    fn not_a_name(&self, error: Error) -> Error {
        let what = match error.kind() {
            Kind::NotFound => "is gone",
            Kind::Invalid | Kind::IsDirectory | Kind::NotDirectory => "is something else now",
            _ => return error,
        };
        Error::new(Kind::Failed, format!("{} {what}", self.keynode.path().display()))
            .hint("put it back, and what was written is saved; what was verified before can still be read")
            .because(error)
    }

    /// Edits, adds the attributes that are on their way, commits, and adopts the result in one step.
    pub(super) fn finish<T>(
        &self,
        _writer: &Writer<'_>,
        begun: Begun<'_>,
        edit: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
        adopt: impl FnOnce(&mut State, T, &Arc<Snapshot>),
    ) -> Result<()> {
        let Begun { mut transaction, showing } = begun;
        let changes = self.state.lock().memory.changes().clone();
        for (id, change) in &changes {
            if let Some(item) = living(transaction.namespace(), *id) {
                let attributes = change.applied(item.attributes);
                transaction.set_attributes(*id, attributes)?;
            }
        }
        let result = edit(&mut transaction)?;
        let snapshot: Arc<Snapshot> = transaction.commit()?;
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.snapshot, snapshot);
        adopt(&mut state, result, &before);
        // Not before: what loses its name keeps its attributes.
        state.memory.changes_saved(&changes);
        drop(state);
        // Whoever waits with a change from outside comes next, however many commits there are.
        MutexGuard::unlock_fair(showing);
        Ok(())
    }

    /// A transaction that needs no look at the state between its beginning and its edits.
    pub(super) fn transact<T>(
        &self,
        writer: &Writer<'_>,
        edit: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
        adopt: impl FnOnce(&mut State, T, &Arc<Snapshot>),
    ) -> Result<()> {
        let transaction = self.begin(writer)?;
        self.finish(writer, transaction, edit, adopt)
    }

    /// Commits the attribute changes that are on their way.
    pub(super) fn save_attributes(&self) -> Result<()> {
        let writer = self.writer.lock();
        if self.state.lock().memory.changes().is_empty() {
            return Ok(());
        }
        self.transact(&writer, |_| Ok(()), |_, (), _| ())
    }
}

/// What was changed in attributes while they were being saved.
fn difference(saved: Attributes, latest: Attributes) -> SetAttributes {
    SetAttributes {
        mode: (latest.mode != saved.mode).then_some(latest.mode),
        uid: (latest.uid != saved.uid).then_some(latest.uid),
        gid: (latest.gid != saved.gid).then_some(latest.gid),
        size: None,
        atime: (latest.atime != saved.atime).then_some(latest.atime),
        mtime: (latest.mtime != saved.mtime).then_some(latest.mtime),
    }
}

impl State {
    /// The secret that commits of this inode go to; `None` for what has no name any more.
    pub(super) fn commits_to(&self, ino: Ino) -> Result<Option<ItemId>> {
        Ok(match &self.inodes.get(ino)?.node {
            Node::Item(id) => Some(*id),
            Node::Detached(detached) => detached.commits_to.filter(|id| self.secret(*id).is_ok()),
            Node::Place(_) | Node::Views => None,
        })
    }

    /// Notes that a secret was made, if it does not go on with the history of an earlier one, or was only now written to.
    pub(super) fn note_written(&mut self, id: ItemId, before: &Snapshot) {
        let Some(item) = before.namespace().item(id) else { return self.memory.made(id) };
        let empty = |secret: &SecretState| secret.size() == 0 && secret.head().is_some_and(|head| head.number == 1);
        let more = || self.secret(id).ok().and_then(SecretState::head).is_some_and(|head| head.number == 2);
        if item.secret().is_some_and(empty) && more() {
            self.memory.filled(id);
        }
    }

    /// For a new file: the secret, moved aside to a scratch name, whose history it goes on with.
    fn aside(&self, id: ItemId) -> Option<(ItemId, Name)> {
        let item = self.memory.get(id)?;
        let aside = item.continues?;
        Some((aside, self.moved_aside(aside, item.parent)?))
    }

    /// Whether the name of a file in memory was taken from outside. It then goes on as an unnamed writer of the secret
    /// that has the name now, so that both stay versions.
    fn taken_outside(&mut self, ino: Ino, id: ItemId, item: &MemoryItem) -> Result<bool> {
        let Some(other) = self.snapshot.namespace().child(item.parent, item.name.as_bytes()) else { return Ok(false) };
        if !matches!(other.content, Content::Secret(_)) {
            let name = item.name.clone();
            return Err(Error::new(Kind::Exists, "something else has this name now").at(name));
        }
        let detached = Detached {
            snapshot: None,
            id,
            attributes: item.attributes,
            kind: FileKind::Regular,
            commits_to: Some(other.id),
        };
        self.memory.remove(id);
        self.inodes.rebind(ino, Node::Detached(Arc::new(detached)));
        Ok(true)
    }

    /// The inode stands for this item from now on. Whatever stood for it before keeps what it showed.
    fn lead_to(&mut self, ino: Ino, id: ItemId, before: &Arc<Snapshot>, notices: &Notices) {
        let present = self.inodes.find(id).map(|(present, _)| present);
        if present == Some(ino) {
            return;
        }
        if let Some(other) = present {
            // Whoever writes to that one commits on top of this, as after a change from outside.
            self.detach(other, id, before, Some(id));
        }
        self.inodes.rebind(ino, Node::Item(id));
        if let Some(other) = present {
            self.replaced(id, other, notices);
        }
    }

    /// A secret that an editor moved aside becomes a waiting file: its history goes on elsewhere.
    fn set_aside(&mut self, aside: &Aside, parent: ItemId, before: &Snapshot) {
        let ino = self.inodes.ensure(&Node::Item(aside.id));
        let id = ItemId::random();
        self.inodes.rebind(ino, Node::Item(id));
        let closed = self.inodes.get(ino).is_ok_and(|inode| inode.opens == 0).then(Instant::now);
        let class = Class::of(&aside.name);
        let attributes = before.namespace().item(aside.id).map(|item| self.memory.effective(aside.id, item.attributes));
        let attributes = attributes.unwrap_or_else(|| Attributes::new(0o600));
        let item =
            MemoryItem { parent, name: aside.name.clone(), attributes, target: None, class, closed, continues: None };
        self.memory.insert(id, item);
        if let Ok(inode) = self.inodes.get_mut(ino) {
            match &inode.buffer {
                Some(buffer) if buffer.content().is_some() => buffer.unsave(),
                _ => inode.buffer = Some(Arc::new(Buffer::holding(aside.content.clone()))),
            }
        }
    }
}
