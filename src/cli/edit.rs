//! Steps that several commands take in a transaction.

use std::io::Read;

use super::prompt;
use crate::error::{Error, Kind, Result};
use crate::node::{
    Attributes, Content, Item, ItemId, ItemPath, Keynode, Locked, Name, Namespace, Session, Transaction,
};
use crate::time::Timestamp;

/// A value has at most this many bytes; what is larger is better kept in a file of its own.
pub(super) const VALUE_LIMIT: usize = 64 << 20;
/// The mode of a secret that a command makes.
pub(super) const SECRET_MODE: u32 = 0o600;
/// The mode of a directory that a command makes on the way to a secret.
pub(super) const DIRECTORY_MODE: u32 = 0o700;

/// What stands under a path, or would come to stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A secret.
    Taken(ItemId),
    /// Nothing now, but a secret that has no name any more was here, and its history goes on.
    Former(ItemId),
    /// Nothing.
    Free,
}

impl Place {
    /// Looks at a path.
    ///
    /// # Errors
    ///
    /// Something else than a secret stands there, or on the way to it.
    pub(super) fn of(namespace: &Namespace, path: &ItemPath) -> Result<Self> {
        match lookup(namespace, path)? {
            Some(item) => secret(item, path).map(|_| Self::Taken(item.id)),
            None => Ok(namespace.former(path).last().map_or(Self::Free, |id| Self::Former(*id))),
        }
    }

    /// The id to seal a value for.
    pub(super) fn id(self) -> ItemId {
        match self {
            Self::Taken(id) | Self::Former(id) => id,
            Self::Free => ItemId::random(),
        }
    }
}

/// The item under a path, if there is one.
///
/// # Errors
///
/// Something on the way is no directory.
pub(super) fn lookup<'a>(namespace: &'a Namespace, path: &ItemPath) -> Result<Option<&'a Item>> {
    let mut id = ItemId::ROOT;
    for name in path.components() {
        if !namespace.is_directory(id) {
            return Err(Error::new(Kind::NotDirectory, "a part of the path is not a directory").at(path));
        }
        match namespace.child_id(id, name.as_bytes()) {
            Some(child) => id = child,
            None => return Ok(None),
        }
    }
    namespace.resolve(path).map(Some)
}

/// Sees to it that an item is a secret.
///
/// # Errors
///
/// It is something else.
pub(super) fn secret<'a>(item: &'a Item, path: &ItemPath) -> Result<&'a Item> {
    let kind = match &item.content {
        Content::Secret(_) => return Ok(item),
        Content::Directory(_) => return Err(Error::new(Kind::IsDirectory, "a directory, not a secret").at(path)),
        Content::Symlink(_) => "a symbolic link",
        Content::Fifo => "a FIFO",
        Content::Socket => "a socket",
    };
    Err(Error::new(Kind::Invalid, format!("{kind}, not a secret")).at(path))
}

/// The directory and the name that a path consists of.
///
/// # Errors
///
/// The path is the root.
pub(super) fn split(path: &ItemPath) -> Result<(ItemPath, &Name)> {
    path.split().ok_or_else(|| Error::new(Kind::Invalid, "the root directory has no name: name something in it"))
}

/// The directory of this path, made with its parents where it is missing.
///
/// # Errors
///
/// Something else stands in the way.
pub(super) fn directory(transaction: &mut Transaction<'_>, path: &ItemPath) -> Result<ItemId> {
    let mut id = ItemId::ROOT;
    let mut so_far = ItemPath::root();
    for name in path.components() {
        so_far.push(name.clone());
        id = match transaction.namespace().child_id(id, name.as_bytes()) {
            Some(below) if transaction.namespace().is_directory(below) => below,
            Some(_) => return Err(Error::new(Kind::NotDirectory, "not a directory").at(so_far)),
            None => transaction.create_directory(id, name, Attributes::new(DIRECTORY_MODE))?,
        };
    }
    Ok(id)
}

/// Makes a value the next version of what stands under a path, or a new secret with its parents there. A mode of
/// `None` is that of before, or [`SECRET_MODE`].
///
/// # Errors
///
/// Something else than a secret stands there; sealing fails.
pub(super) fn store(
    keynode: &Keynode,
    transaction: &mut Transaction<'_>,
    path: &ItemPath,
    value: &[u8],
    mode: Option<u32>,
) -> Result<()> {
    let place = Place::of(transaction.namespace(), path)?;
    let id = place.id();
    let sealed = keynode.seal(id, value)?;
    let session = Session::random();
    if place == Place::Taken(id) {
        transaction.write(sealed, session, Timestamp::now())?;
        let present = transaction.namespace().item(id).map(|item| item.attributes);
        return match (mode, present) {
            (Some(mode), Some(present)) if present.mode != mode => {
                transaction.set_attributes(id, Attributes { mode, ..present })
            }
            _ => Ok(()),
        };
    }
    let (parent, name) = split(path)?;
    let parent = directory(transaction, &parent)?;
    transaction.create_secret(parent, name, Attributes::new(mode.unwrap_or(SECRET_MODE)), sealed, session)
}

/// Reads a value under the limit.
///
/// # Errors
///
/// It cannot be read or is too large.
pub(super) fn value(reader: impl Read) -> Result<Locked> {
    prompt::bounded(reader, VALUE_LIMIT, "value")
}

/// `to`, or `name` in it if it is a directory, as mv(1) and cp(1) understand their last operand.
///
/// # Errors
///
/// Something on the way is no directory.
pub(super) fn into(namespace: &Namespace, to: &ItemPath, name: &Name) -> Result<ItemPath> {
    let directory = lookup(namespace, to)?.is_some_and(Item::is_directory);
    Ok(if directory { to.join(name.clone()) } else { to.clone() })
}
