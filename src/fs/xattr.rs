//! Extended attributes: which version of which secret a file is.

use std::sync::Arc;

use super::FileSystem;
use super::inode::Node;
use super::types::Ino;
use crate::error::{Error, Result};
use crate::node::{ItemId, SecretState, Snapshot, Version};

/// The version's number, the secret's id, and the fingerprint of the key that signed it.
const VERSION: &str = "user.pkfs.version";
const ID: &str = "user.pkfs.id";
const WRITER: &str = "user.pkfs.writer";

/// What a file is, if it is a secret.
pub(super) enum Held {
    /// The head of a secret in a snapshot.
    Head(Arc<Snapshot>, ItemId),
    /// A version of a secret.
    Version(ItemId, Version),
}

impl FileSystem {
    /// The names of a file's extended attributes, each with a zero byte after it, as listxattr(2) gives them.
    ///
    /// # Errors
    /// `NotFound` for a number that stands for nothing.
    pub fn extended_attributes(&self, ino: Ino) -> Result<Vec<u8>> {
        let names: &[&str] = if self.held(ino)?.is_some() { &[VERSION, ID, WRITER] } else { &[] };
        Ok(names.iter().flat_map(|name| name.bytes().chain([0])).collect())
    }

    /// An extended attribute of a file; `None` if it has none of that name.
    ///
    /// # Errors
    /// `NotFound` for a number that stands for nothing; whatever reading a commit brings.
    pub fn extended_attribute(&self, ino: Ino, name: &[u8]) -> Result<Option<String>> {
        let Some(name) = [VERSION, ID, WRITER].into_iter().find(|known| known.as_bytes() == name) else {
            return Ok(None);
        };
        Ok(Some(match (self.held(ino)?, name) {
            (None, _) => return Ok(None),
            (Some(Held::Head(_, id) | Held::Version(id, _)), ID) => id.to_string(),
            (Some(Held::Head(snapshot, id)), VERSION) => number(&snapshot, id)?.to_string(),
            (Some(Held::Head(snapshot, id)), _) => self.keynode.head_writer(&snapshot, id)?.to_string(),
            (Some(Held::Version(_, version)), VERSION) => version.number.to_string(),
            (Some(Held::Version(_, version)), _) => version.writer.to_string(),
        }))
    }

    /// What is committed; of a file that is being written that is what it was before.
    fn held(&self, ino: Ino) -> Result<Option<Held>> {
        let state = self.state.lock();
        if ino == state.inodes.root() {
            return Ok(None);
        }
        let held = match &state.inodes.get(ino)?.node {
            Node::Item(id) => Some(Held::Head(state.snapshot.clone(), *id)),
            Node::Detached(detached) => detached.snapshot.clone().map(|snapshot| Held::Head(snapshot, detached.id)),
            Node::Place(place) => place.held(),
            Node::Views => None,
        };
        Ok(held.filter(|held| match held {
            Held::Head(snapshot, id) => number(snapshot, *id).is_ok(),
            Held::Version(..) => true,
        }))
    }
}

fn number(snapshot: &Snapshot, id: ItemId) -> Result<u32> {
    let secret = snapshot.namespace().item(id).and_then(|item| item.secret());
    let head = secret.and_then(SecretState::head);
    head.map(|head| head.number).ok_or_else(|| Error::not_found("not a secret"))
}
