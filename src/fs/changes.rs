//! Changes that others make to the keynode, and what the kernel must hear of them.
//!
//! Nothing outside ever changes the content of an inode: a secret that was changed from outside gets a new one under its
//! name, and whoever has the old one open goes on with what it was.

use std::sync::{Arc, OnceLock, mpsc};

use super::FileSystem;
use super::commit::Writer;
use super::inode::{Detached, Node};
use super::state::{State, kind_of, living};
use super::types::{Ino, Notice};
use crate::error::Result;
use crate::node::{Attributes, Content, ItemId, Name, Snapshot};
use crate::time::Timestamp;

/// Where notices go: to whoever tells the kernel, in a thread of its own, since telling waits for requests.
#[derive(Default)]
pub(super) struct Notices(OnceLock<mpsc::Sender<Notice>>);

impl Notices {
    pub(super) fn send(&self, notice: Notice) {
        // Without a kernel there is nobody to tell.
        if let Some(sender) = self.0.get() {
            let _ = sender.send(notice);
        }
    }
}

impl FileSystem {
    /// What the kernel must be told from now on; it can be asked for once.
    pub fn notices(&self) -> mpsc::Receiver<Notice> {
        let (sender, receiver) = mpsc::channel();
        let _ = self.notices.0.set(sender);
        receiver
    }

    /// Looks at the file again and adopts what others have changed.
    ///
    /// # Errors
    /// Whatever reading and verifying it brings; what was known before stays in force then.
    pub fn refresh(&self) -> Result<()> {
        // A transaction that is under way sees by itself what others have changed, and may wait long for its turn.
        let Some(writer) = self.writer.try_lock() else { return Ok(()) };
        self.keynode.refresh()?;
        self.adopt(&writer, self.keynode.snapshot());
        Ok(())
    }

    /// Makes a snapshot that others brought about the present one.
    pub(super) fn adopt(&self, _writer: &Writer<'_>, snapshot: Arc<Snapshot>) {
        let mut state = self.state.lock();
        if state.snapshot.commit() != snapshot.commit() {
            let before = std::mem::replace(&mut state.snapshot, snapshot);
            state.compare(&before, &self.notices);
        }
    }
}

impl State {
    /// Compares all inodes in the table with an earlier snapshot.
    fn compare(&mut self, before: &Arc<Snapshot>, notices: &Notices) {
        let known: Vec<(Ino, ItemId)> = self
            .inodes
            .iter()
            .filter_map(|(ino, inode)| match inode.node {
                Node::Item(id) if self.memory.get(id).is_none() => Some((ino, id)),
                _ => None,
            })
            .chain([(Ino::ROOT, ItemId::ROOT)])
            .collect();
        for (ino, id) in known {
            self.compare_item(ino, id, before, notices);
        }
    }

    fn compare_item(&mut self, ino: Ino, id: ItemId, before: &Arc<Snapshot>, notices: &Notices) {
        let old = living(before.namespace(), id);
        let new = living(self.snapshot.namespace(), id);
        let head = |item: Option<&crate::node::Item>| match item.map(|item| &item.content) {
            Some(Content::Secret(secret)) => secret.head().map(|head| head.commit),
            _ => None,
        };
        let names = |item: Option<&crate::node::Item>| -> Vec<(ItemId, Name)> {
            item.map(|item| item.names().map(|(parent, name)| (parent, name.clone())).collect()).unwrap_or_default()
        };
        let (old_head, new_head) = (head(old), head(new));
        let (old_names, new_names) = (names(old), names(new));
        let replaced = old_head != new_head && old_head.is_some();
        let removed = old.is_some() && new.is_none();
        let attributes = old.map(|item| item.attributes) != new.map(|item| item.attributes);
        for (parent, name) in old_names {
            if replaced || !new_names.contains(&(parent, name.clone())) {
                notices.send(Notice::Entry { parent: self.inodes.number_of(parent), name });
            }
        }
        if replaced || removed {
            self.detach(ino, id, before, (!removed).then_some(id));
        } else if attributes {
            notices.send(Notice::Attributes(ino));
        }
        match new_head {
            Some(head) if replaced => self.inodes.changed_outside(id, head),
            _ if removed => self.inodes.gone(id),
            _ => {}
        }
    }

    /// An inode keeps what it shows while its item goes on without it, or is gone.
    pub(super) fn detach(&mut self, ino: Ino, id: ItemId, before: &Arc<Snapshot>, commits_to: Option<ItemId>) {
        let item = before.namespace().item(id);
        let (snapshot, attributes, kind) = match (self.memory.get(id), item) {
            (Some(waiting), _) => (None, waiting.attributes, waiting.kind()),
            (None, Some(item)) => {
                (Some(before.clone()), self.memory.effective(id, item.attributes), kind_of(&item.content))
            }
            (None, None) => return,
        };
        // Losing its name is a change of an inode, being replaced from outside is not.
        let ctime = if commits_to.is_none() { Timestamp::now() } else { attributes.ctime };
        let attributes = Attributes { ctime, ..attributes };
        self.inodes.rebind(ino, Node::Detached(Arc::new(Detached { snapshot, id, attributes, kind, commits_to })));
        self.let_go(ino);
    }

    /// As [`Self::detach`] for an item that lost its last name, if it has an inode.
    pub(super) fn orphan(&mut self, id: ItemId, before: &Arc<Snapshot>) {
        if let Some((ino, _)) = self.inodes.find(id) {
            self.detach(ino, id, before, None);
        }
        self.memory.remove(id);
        self.inodes.gone(id);
    }

    /// Tells that the names of an item lead to another inode now.
    pub(super) fn announce_names(&self, id: ItemId, notices: &Notices) {
        let Ok(item) = self.item(id) else { return };
        for (parent, name) in item.names() {
            notices.send(Notice::Entry { parent: self.inodes.number_of(parent), name: name.clone() });
        }
    }
}
