//! rename(2): how editors and deployment tools save.
//!
//! Over a secret, where both sides have one name each, the content becomes the target's next version, so that its
//! history goes on; everything else moves names, as POSIX says.

use std::sync::Arc;

use super::FileSystem;
use super::buffer::{Buffer, Occasion};
use super::commit::{Begun, Writer};
use super::inode::Node;
use super::memory::Class;
use super::state::State;
use super::types::{Ino, RenameMode};
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, Content, ItemId, Locked, Name, SealedValue, SecretState, Session, Snapshot};
use crate::time::Timestamp;

/// The two ends of a rename.
#[derive(Clone)]
struct Move {
    from: ItemId,
    name: Name,
    to: ItemId,
    new_name: Name,
    mode: RenameMode,
}

/// What a rename does, decided from the state.
enum Action {
    /// Both names lead to the same file already.
    Nothing,
    /// A file in memory goes on in memory under the new name.
    Memory { source: ItemId, replaced: Option<ItemId> },
    /// The content becomes the next version of a secret, or a new secret under the new name.
    Content(Box<Transfer>),
    /// Names change in the namespace; this item, if any, loses its last one.
    Names { replaced: Option<ItemId> },
    /// The files must become secrets first.
    Settle(Vec<Ino>),
}

/// A content on its way to another id.
struct Transfer {
    source: ItemId,
    /// Whether the source is in the namespace, or in memory alone.
    lasting: bool,
    /// Whether all of its history is that it was just made, and written once: it goes with the name.
    temporary: bool,
    attributes: Attributes,
    /// The id that gets the content: the replaced secret's, or a former one of the new name, or the source's own.
    id: ItemId,
    /// Whether that secret exists and is written to, or is created.
    overwrites: bool,
    /// Something else that has the new name and goes.
    replaced: Option<ItemId>,
    buffer: Option<Arc<Buffer>>,
    snapshot: Arc<Snapshot>,
}

impl FileSystem {
    /// rename(2) and `renameat2(2)` with its flags.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `Invalid`, `NotPermitted` for a reserved name,
    /// `ReadOnly`, and what a transaction brings.
    pub fn rename(&self, from: Ino, name: &[u8], to: Ino, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let (name, new_name) = (Name::new(name)?, Name::new(new_name)?);
        loop {
            let (action, order) = {
                let (_, _writer) = self.changeable(from, &name)?;
                let state = self.state.lock();
                let request = request(&state, from, &name, to, &new_name, mode)?;
                let action = state.decide(&request)?;
                let order = action.buffer();
                (action, order)
            };
            // Waits for a commit of this buffer that may be under way, and keeps others from starting.
            let _order = order.as_ref().map(|buffer| buffer.commit_order());
            let sealed = match &action {
                Action::Nothing => return Ok(()),
                Action::Settle(files) => {
                    for ino in files {
                        self.commit(*ino, Occasion::Sync)?;
                    }
                    continue;
                }
                Action::Content(transfer) => Some(self.seal_transfer(transfer)?),
                Action::Memory { .. } | Action::Names { .. } => None,
            };
            let (_, writer) = self.changeable(from, &name)?;
            let transaction = match &action {
                Action::Memory { .. } => None,
                _ => Some(self.begin(&writer)?),
            };
            let request = {
                let state = self.state.lock();
                let request = request(&state, from, &name, to, &new_name, mode)?;
                if !state.decide(&request)?.is_like(&action) {
                    continue;
                }
                request
            };
            return match (action, sealed, transaction) {
                (Action::Memory { source, replaced }, ..) => {
                    self.state.lock().move_in_memory(source, replaced, &request);
                    Ok(())
                }
                (Action::Content(transfer), Some(sealed), Some(transaction)) => {
                    self.transfer(&writer, transaction, &request, &transfer, sealed)
                }
                (Action::Names { replaced }, _, Some(transaction)) => {
                    self.move_names(&writer, transaction, &request, replaced)
                }
                _ => Err(Error::new(Kind::Failed, "a rename lost its way")),
            };
        }
    }

    fn seal_transfer(&self, transfer: &Transfer) -> Result<Sealed> {
        let (content, session, modified) = match &transfer.buffer {
            Some(buffer) if buffer.content().is_some() => {
                let content = buffer.content().unwrap_or_default();
                (
                    content,
                    buffer.session().unwrap_or_else(Session::random),
                    buffer.modified().unwrap_or(transfer.attributes.mtime),
                )
            }
            _ => (self.head(&transfer.snapshot, transfer.source)?, Session::random(), transfer.attributes.mtime),
        };
        let value = self.keynode.seal(transfer.id, &content)?;
        Ok(Sealed { value, content, session, modified })
    }

    fn transfer(
        &self,
        writer: &Writer<'_>,
        transaction: Begun<'_>,
        request: &Move,
        transfer: &Transfer,
        sealed: Sealed,
    ) -> Result<()> {
        let Sealed { value, content, session, modified } = sealed;
        let attributes = Attributes { mtime: modified, ..transfer.attributes };
        let unsaved = transfer.buffer.as_ref().and_then(|buffer| buffer.unsaved(Occasion::Sync));
        self.finish(
            writer,
            transaction,
            |transaction| {
                if transfer.temporary {
                    transaction.forget(request.from, &request.name)?;
                } else if transfer.lasting {
                    transaction.unlink(request.from, &request.name)?;
                }
                if transfer.overwrites {
                    let date = transaction.date();
                    transaction.write_as(value, session, Attributes { ctime: date, ..attributes })?;
                    // Its name is another's from now on.
                    let directory = transaction.namespace().item(request.to).map(|item| item.attributes);
                    return directory.map_or(Ok(()), |old| {
                        transaction.set_attributes(request.to, Attributes { mtime: date, ctime: date, ..old })
                    });
                }
                if transaction.namespace().child(request.to, request.new_name.as_bytes()).is_some() {
                    transaction.unlink(request.to, &request.new_name)?;
                }
                transaction.create_secret(request.to, &request.new_name, attributes, value, session)
            },
            |state, (), before| {
                if transfer.overwrites {
                    state.orphan_inode(transfer.id, before);
                }
                if let Some(replaced) = transfer.replaced {
                    state.orphan_if_nameless(replaced, before);
                }
                let inode = state.inodes.find(transfer.source).map(|(ino, _)| ino);
                if let Some(item) = state.memory.remove(transfer.source) {
                    state.memory.name_went(request.from, item.class);
                }
                state.note_written(transfer.id, before);
                if let Some(ino) = inode {
                    state.inodes.rebind(ino, Node::Item(transfer.id));
                }
                if let (Some(buffer), Some(unsaved)) = (&transfer.buffer, &unsaved)
                    && Arc::ptr_eq(&unsaved.content, &content)
                {
                    buffer.saved(unsaved);
                }
                if let Some(ino) = inode {
                    state.let_go(ino);
                }
            },
        )?;
        self.remember(transfer.id, &content);
        Ok(())
    }

    fn move_names(
        &self,
        writer: &Writer<'_>,
        transaction: Begun<'_>,
        request: &Move,
        replaced: Option<ItemId>,
    ) -> Result<()> {
        let Move { from, name, to, new_name, mode } = request;
        self.finish(
            writer,
            transaction,
            |transaction| match mode {
                RenameMode::Exchange => transaction.exchange(*from, name, *to, new_name),
                RenameMode::Replace | RenameMode::NoReplace => transaction.rename(*from, name, *to, new_name),
            },
            |state, (), before| {
                if let Some(replaced) = replaced {
                    state.orphan_if_nameless(replaced, before);
                }
                let moved = state.child(*to, new_name).filter(|id| state.secret(*id).is_ok());
                if let (Some(id), true) = (moved, Class::of(new_name) != Class::Lasting) {
                    state.memory.moved_aside(*from, name.clone(), id);
                }
            },
        )
    }
}

/// A sealed content and what goes with it.
struct Sealed {
    value: SealedValue,
    content: Arc<Locked>,
    session: Session,
    modified: Timestamp,
}

fn request(state: &State, from: Ino, name: &Name, to: Ino, new_name: &Name, mode: RenameMode) -> Result<Move> {
    let (from, to) = (state.changeable(from, name)?, state.changeable(to, new_name)?);
    Ok(Move { from, name: name.clone(), to, new_name: new_name.clone(), mode })
}

impl State {
    fn decide(&self, request: &Move) -> Result<Action> {
        let source = self.existing(request.from, &request.name)?;
        let target = self.child(request.to, &request.new_name);
        match (request.mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::new(Kind::Exists, "the name exists already")),
            (RenameMode::Exchange, None) => return Err(Error::not_found("no such file or directory")),
            (_, Some(target)) if target == source => return Ok(Action::Nothing),
            _ => {}
        }
        let waiting = |id: Option<ItemId>| id.filter(|id| self.memory.get(*id).is_some());
        if request.mode == RenameMode::Exchange {
            let files: Vec<Ino> = [waiting(Some(source)), waiting(target)]
                .into_iter()
                .flatten()
                .map(|id| self.inodes.number_of(id))
                .collect();
            if let Some(volatile) = [Some(source), target].into_iter().flatten().find(|id| self.is_volatile(*id)) {
                let name = self.memory.get(volatile).map_or_else(String::new, |item| item.name.to_string());
                return Err(Error::new(Kind::Invalid, "a scratch file cannot be exchanged").at(name));
            }
            return Ok(if files.is_empty() { Action::Names { replaced: None } } else { Action::Settle(files) });
        }
        if let Some(item) = self.memory.get(source) {
            self.check_target_is_no_directory(target)?;
            let becomes = if item.target.is_some() { Class::Volatile } else { Class::of(&request.new_name) };
            if becomes != Class::Lasting && target.is_none_or(|target| self.memory.get(target).is_some()) {
                return Ok(Action::Memory { source, replaced: target });
            }
            if item.target.is_some() {
                return Err(Error::new(Kind::Invalid, "a scratch link can only be renamed to another scratch name"));
            }
            return Ok(self.transfer_of(source, item.attributes, false, target, request));
        }
        let item = self.item(source)?;
        if matches!(item.content, Content::Directory(_)) {
            if let Some(target) = target {
                if self.memory.get(target).is_some() {
                    return Err(Error::new(Kind::NotDirectory, "not a directory"));
                }
                if !self.is_empty(target) {
                    return Err(Error::new(Kind::NotEmpty, "the directory is not empty"));
                }
            }
            return Ok(Action::Names { replaced: target });
        }
        self.check_target_is_no_directory(target)?;
        match target {
            Some(target) if self.has_one_name(source) && self.has_one_name(target) => {
                let attributes = self.memory.effective(source, item.attributes);
                Ok(self.transfer_of(source, attributes, true, Some(target), request))
            }
            _ => Ok(Action::Names { replaced: target }),
        }
    }

    fn transfer_of(
        &self,
        source: ItemId,
        attributes: Attributes,
        lasting: bool,
        target: Option<ItemId>,
        request: &Move,
    ) -> Action {
        let overwritten = target.filter(|id| self.has_one_name(*id));
        let id = match (overwritten, target) {
            (Some(target), _) => target,
            (None, Some(_)) => source,
            (None, None) if lasting => source,
            (None, None) => self.former(request.to, &request.new_name).unwrap_or(source),
        };
        let buffer = self.inodes.find(source).and_then(|(_, inode)| inode.buffer.clone());
        let replaced = if overwritten.is_some() { None } else { target };
        Action::Content(Box::new(Transfer {
            source,
            lasting,
            temporary: lasting
                && self
                    .secret(source)
                    .ok()
                    .and_then(SecretState::head)
                    .is_some_and(|head| self.memory.is_new(source, head.number)),
            attributes,
            id,
            overwrites: overwritten.is_some(),
            replaced,
            buffer,
            snapshot: self.snapshot.clone(),
        }))
    }

    /// Whether this is a secret of the namespace with one name: what a content can go to as its next version.
    fn has_one_name(&self, id: ItemId) -> bool {
        self.memory.get(id).is_none() && self.secret(id).is_ok() && self.item(id).is_ok_and(|item| item.links() == 1)
    }

    fn check_target_is_no_directory(&self, target: Option<ItemId>) -> Result<()> {
        match target.and_then(|id| self.item(id).ok()).map(|item| &item.content) {
            Some(Content::Directory(_)) => Err(Error::new(Kind::IsDirectory, "a directory")),
            _ => Ok(()),
        }
    }

    fn is_volatile(&self, id: ItemId) -> bool {
        self.memory.get(id).is_some_and(|item| item.class == Class::Volatile)
    }

    fn move_in_memory(&mut self, source: ItemId, replaced: Option<ItemId>, request: &Move) {
        if let Some(replaced) = replaced {
            let before = self.snapshot.clone();
            self.orphan(replaced, &before);
        }
        if let Some(mut item) = self.memory.remove(source) {
            self.memory.name_went(request.from, item.class);
            item.parent = request.to;
            item.name = request.new_name.clone();
            item.class = Class::of(&request.new_name);
            item.continues = None;
            item.attributes.ctime = Timestamp::now();
            self.memory.insert(source, item);
            self.memory.name_came(request.to);
        }
    }

    /// The inode of a secret whose content was replaced: it keeps the old one, for those who have it open.
    fn orphan_inode(&mut self, id: ItemId, before: &Arc<Snapshot>) {
        if let Some((ino, _)) = self.inodes.find(id) {
            self.detach(ino, id, before, None);
        }
    }

    fn orphan_if_nameless(&mut self, id: ItemId, before: &Arc<Snapshot>) {
        if self.item(id).is_err() {
            self.orphan(id, before);
        }
    }
}

impl Action {
    fn buffer(&self) -> Option<Arc<Buffer>> {
        match self {
            Self::Content(transfer) => transfer.buffer.clone(),
            _ => None,
        }
    }

    /// Whether a decision made again leads to the same steps with the same content.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory { source: a, replaced: b }, Self::Memory { source: c, replaced: d }) => (a, b) == (c, d),
            (Self::Names { replaced: a }, Self::Names { replaced: b }) => a == b,
            (Self::Content(a), Self::Content(b)) => {
                let head = |t: &Transfer| match t.snapshot.namespace().item(t.source).map(|item| &item.content) {
                    Some(Content::Secret(secret)) => secret.head(),
                    _ => None,
                };
                let same_buffer = match (&a.buffer, &b.buffer) {
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    (None, None) => true,
                    _ => false,
                };
                (a.source, a.id, a.lasting, a.overwrites, a.replaced)
                    == (b.source, b.id, b.lasting, b.overwrites, b.replaced)
                    && head(a) == head(b)
                    && same_buffer
            }
            _ => false,
        }
    }
}
