//! A new keynode.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::batch::{Batch, END, member};
use super::file::Archive;
use super::member::Name;
use super::sibling::Sibling;
use super::{packed_refs, template};
use crate::error::{Error, Result};

/// Makes a keynode of mode 0600 that holds one transaction. It appears whole and durable, or not at all.
///
/// # Errors
/// `Exists` where the path is taken; `Invalid` for a batch that is no transaction; those of writing.
pub fn create(path: &Path, batch: Batch) -> Result<Archive> {
    let mut bytes = Vec::new();
    head(&mut bytes)?;
    member(&mut bytes, &Name::PackedRefs, packed_refs::encode(&[]).as_bytes())?;
    bytes.extend(batch.encode(|_| Ok(false))?);
    bytes.extend(END);
    let new = Sibling::create(path)?;
    new.file().write_all_at(&bytes, 0).map_err(|e| Error::io("write", path, e))?;
    new.place_new(path)?;
    let archive = Archive::open(path)?;
    archive.set_synced();
    Ok(archive)
}

/// The members that every keynode starts with.
pub(super) fn head(out: &mut Vec<u8>) -> Result<()> {
    member(out, &Name::Readme, template::README.as_bytes())?;
    member(out, &Name::Head, template::HEAD.as_bytes())?;
    member(out, &Name::Config, template::CONFIG.as_bytes())?;
    for directory in template::DIRECTORIES {
        member(out, &Name::Directory(directory.into()), b"")?;
    }
    Ok(())
}
