//! What a transaction brings into the file: commits of secrets and of the log, a checkpoint where it is due.

use std::collections::HashMap;
use std::sync::Arc;

use super::attributes::Attributes;
use super::change::Change;
use super::checkpoint;
use super::commit::Draft;
use super::id::{CommitRef, ItemId};
use super::log::{CHANGE, Lines, REFERENCE};
use super::name::ItemPath;
use super::namespace::{Head, Namespace};
use super::objects::{VALUE, commit, new_tree};
use super::parallel;
use super::snapshot::{Carried, Since, Snapshot};
use super::transaction::{Pending, Transaction};
use crate::archive::{Batch, NewObject};
use crate::crypto::{Locked, NodeKey, Padding, seal};
use crate::error::Result;
use crate::time::Timestamp;

/// With more heads than this in one commit, an empty one follows it.
const MANY_HEADS: usize = 64;

/// Everything that a commit of the log brings, ready for the file.
pub(super) struct Built {
    pub objects: Vec<NewObject>,
    /// References that change, the log's last.
    pub references: Vec<(String, crate::archive::Oid)>,
    /// The state after it; its archive is still the one before.
    pub snapshot: Snapshot,
}

impl Transaction<'_> {
    /// Makes all objects of this transaction, a new checkpoint where it is due.
    pub(super) fn build(&mut self) -> Result<Built> {
        self.namespace.whole()?;
        let date = self.date.seconds;
        let key = &self.keynode.key;
        let mut objects = Vec::new();
        let mut values = std::mem::take(&mut self.values);
        for id in values.keys().copied().collect::<Vec<_>>() {
            if self.namespace.lookup(id)?.is_none() {
                values.remove(&id);
            }
        }
        let heads = self.sign_values(values, &mut objects)?;
        let mut references = Vec::with_capacity(heads.len() + 2);
        for (id, head) in &heads {
            self.namespace.set_head(*id, *head)?;
            references.push((id.reference(), head.commit.oid));
        }
        let carried = match self.shares.take() {
            Some(message) => Arc::new(self.base.carried.with_shares(message, &mut objects)),
            None => self.base.carried.clone(),
        };
        let mut log = self.control(self.base.log, &carried, &self.changes, &heads, &mut objects)?;
        let mut transactions = 1;
        if heads.len() > MANY_HEADS {
            // Whoever opens the keynode reads the log's head, which should not be a list of thousands.
            log = self.control(log, &carried, &[], &[], &mut objects)?;
            transactions += 1;
        }
        let mut snapshot = Snapshot {
            archive: self.base.archive.clone(),
            namespace: self.namespace.clone(),
            log,
            date,
            carried,
            epoch: self.base.epoch.clone(),
            checkpoint: self.base.checkpoint,
            since: Since {
                transactions: self.base.since.transactions + transactions,
                lines: self.base.since.lines + self.changes.len(),
            },
        };
        let stale = snapshot.checkpoint.is_none() || snapshot.namespace.needs_checkpoint();
        if stale || snapshot.since.is_due(snapshot.namespace.len()) {
            references.push(snapshot.renew_checkpoint(key, &mut objects)?);
        }
        references.push((REFERENCE.to_owned(), log.oid));
        Ok(Built { objects, references, snapshot })
    }

    /// Makes the next commit of the log.
    fn control(
        &self,
        parent: CommitRef,
        carried: &Carried,
        changes: &[Change],
        heads: &[(ItemId, Head)],
        objects: &mut Vec<NewObject>,
    ) -> Result<CommitRef> {
        let mut text = Locked::default();
        Lines::write(self.date, changes, &mut text);
        // A line that nobody understands would shut the keynode for ever.
        Lines::parse(&text)?;
        let message = self.base.epoch.seal(CHANGE, &text, Padding::Change)?;
        let (tree, content) = carried.with_change(message, objects);
        let draft = Draft {
            tree,
            parents: &[parent],
            date: self.date.seconds,
            subject: "transaction".to_owned(),
            session: None,
            content,
            log: None,
            heads,
        };
        let (object, log) = draft.sign(&self.keynode.key)?;
        objects.push(object);
        Ok(log)
    }

    /// Makes the commits of all new values, on all processors where there are many.
    fn sign_values(
        &self,
        values: HashMap<ItemId, Pending>,
        objects: &mut Vec<NewObject>,
    ) -> Result<Vec<(ItemId, Head)>> {
        let mut heads = Vec::with_capacity(values.len());
        for signed in
            parallel::map(values.into_iter().collect(), parallel::SMALL, |(id, value)| self.sign_value(id, value))
        {
            let (made, id, head) = signed?;
            objects.extend(made);
            heads.push((id, head));
        }
        heads.sort_unstable_by_key(|(id, _)| *id);
        Ok(heads)
    }

    /// The commit of one new value on top of the secret's head.
    fn sign_value(&self, id: ItemId, value: Pending) -> Result<(Vec<NewObject>, ItemId, Head)> {
        let Pending { message, session } = value;
        let before = self.base.namespace.lookup(id)?.and_then(|item| item.secret()?.head);
        let number = match before {
            None => 1,
            Some(head) if commit(&self.base.archive, &head.commit)?.session == Some(session) => head.number,
            Some(head) => head.number.saturating_add(1),
        };
        let parents: Vec<CommitRef> = before.iter().map(|head| head.commit).collect();
        let mut objects = Vec::with_capacity(3);
        let (tree, content) = new_tree(vec![(VALUE, message)], &mut objects);
        let draft = Draft {
            tree,
            parents: &parents,
            date: self.date.seconds,
            subject: format!("secret {id}"),
            session: Some(session),
            content,
            log: None,
            heads: &[],
        };
        let (object, commit) = draft.sign(&self.keynode.key)?;
        objects.push(object);
        Ok((objects, id, Head { number, commit }))
    }
}

impl Snapshot {
    /// Makes a checkpoint of this state; says which reference changes.
    pub(super) fn renew_checkpoint(
        &mut self,
        key: &NodeKey,
        objects: &mut Vec<NewObject>,
    ) -> Result<(String, crate::archive::Oid)> {
        let (reference, epoch) = checkpoint::write(&self.namespace, self.log, self.date, key, objects)?;
        self.checkpoint = Some(reference);
        self.epoch = Arc::new(epoch);
        self.namespace.renewed = true;
        self.since = Since::default();
        Ok((checkpoint::REFERENCE.to_owned(), reference.oid))
    }
}

/// The first transaction of a new keynode.
pub(super) fn genesis(key: &NodeKey, slots: Vec<(String, Vec<u8>)>) -> Result<Batch> {
    let now = Timestamp::now();
    let attributes = Attributes { mtime: now, atime: now, ctime: now, ..Attributes::new(0o755) };
    let mut changes = vec![Change::Directory { path: ItemPath::root(), id: ItemId::ROOT, attributes }];
    changes.extend(slots.iter().map(|(name, _)| Change::Slot { added: true, name: name.clone() }));
    let mut text = Locked::default();
    Lines::write(now, &changes, &mut text);
    let mut objects = Vec::new();
    let message = seal(key, CHANGE, &text, Padding::Change)?.message;
    let (tree, content) = Carried::new(key, &mut objects)?.with_change(message, &mut objects);
    let date = now.seconds;
    let draft = Draft {
        tree,
        parents: &[],
        date,
        subject: "keynode".to_owned(),
        session: None,
        content,
        log: None,
        heads: &[],
    };
    let (object, log) = draft.sign(key)?;
    objects.push(object);
    let namespace = Namespace::new(attributes);
    let (checkpoint, _) = checkpoint::write(&namespace, log, date, key, &mut objects)?;
    let refs = vec![(checkpoint::REFERENCE.to_owned(), checkpoint.oid), (REFERENCE.to_owned(), log.oid)];
    Ok(Batch { slots, objects, refs })
}
