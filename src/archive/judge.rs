//! git's own library as a second opinion on objects: it must hash and read them as we do.

use git2::{ObjectType, Odb, Repository};

use super::{Object, ObjectKind, Oid};
use crate::error::{Error, Kind, Result};

/// So many objects are held before they are forgotten.
const BATCH: usize = 1_000;

/// A repository in memory, made anew before it grows large.
pub(super) struct Judge {
    repository: Repository,
    held: usize,
}

impl Judge {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { repository: empty().map_err(failed)?, held: 0 })
    }

    /// What libgit2 has against an object that is said to have this name.
    pub(super) fn objection(&mut self, oid: &Oid, object: &Object) -> Option<String> {
        self.read(oid, object).err().map(|error| format!("git's library refuses it: {}", error.message()))
    }

    fn read(&mut self, oid: &Oid, object: &Object) -> std::result::Result<(), git2::Error> {
        if self.held == BATCH {
            (self.repository, self.held) = (empty()?, 0);
        }
        self.held += 1;
        let named = self.repository.odb()?.write(object_type(object.kind), &object.data)?;
        if named.as_bytes() != oid.as_bytes() {
            return Err(git2::Error::from_str("its content does not match its name"));
        }
        match object.kind {
            ObjectKind::Commit => self.repository.find_commit(named).map(drop),
            ObjectKind::Tree => self.repository.find_tree(named).map(drop),
            ObjectKind::Blob => Ok(()),
        }
    }
}

fn empty() -> std::result::Result<Repository, git2::Error> {
    let odb = Odb::new()?;
    odb.add_new_mempack_backend(1)?;
    Repository::from_odb(odb)
}

fn object_type(kind: ObjectKind) -> ObjectType {
    match kind {
        ObjectKind::Commit => ObjectType::Commit,
        ObjectKind::Tree => ObjectType::Tree,
        ObjectKind::Blob => ObjectType::Blob,
    }
}

fn failed(error: git2::Error) -> Error {
    Error::new(Kind::Failed, "git's library cannot be used").because(error)
}
