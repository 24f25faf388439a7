//! Appending a transaction.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::batch::{Batch, END};
use super::file::Archive;
use super::lock::{Health, WriteLock};
use super::member::BLOCK_LEN;
use super::scan::Tail;
use crate::error::{Error, Kind, Result};

impl WriteLock {
    /// Appends a transaction: durable when this returns, and seen by everybody at once. Where it fails, the file is
    /// as it was before.
    ///
    /// # Errors
    /// `Invalid` for a batch that is no transaction; `Damaged` where [`WriteLock::recover`] must come first;
    /// `NoSpace` and others of writing.
    pub fn append(&mut self, batch: Batch) -> Result<Archive> {
        self.ready()?;
        let at = self.archive.len();
        let slots = !batch.slots.is_empty();
        let mut bytes = batch.encode(|oid| self.archive.contains(oid))?;
        bytes.extend(END);
        self.archive.sync()?;
        if let Err(error) = self.write(&bytes, at, slots) {
            let error = Error::io("write to", &self.path, error);
            return Err(match self.cut(at) {
                Ok(()) => error,
                Err(_) => error.hint("free some space; the next command repairs the end of the file"),
            });
        }
        // Until it is known what stands there now, nothing may be written after the old end.
        self.health = Health::Torn;
        self.archive = self.archive.after_append()?;
        self.health = Health::Sound;
        self.archive.set_synced();
        Ok(self.archive.clone())
    }

    /// Whether the file ends so that something may follow.
    pub(super) fn ready(&self) -> Result<()> {
        self.still_there()?;
        if self.health == Health::Torn || *self.archive.tail() != Tail::Clean {
            return Err(Error::new(
                Kind::Damaged,
                format!("the end of {} must be repaired first", self.path.display()),
            )
            .hint("pkfs fsck --repair"));
        }
        Ok(())
    }

    /// Fails where the file that is locked is not the keynode any more.
    pub(super) fn still_there(&self) -> Result<()> {
        if self.health == Health::Gone {
            return Err(Error::new(
                Kind::Failed,
                format!("{} was replaced and must be opened again", self.path.display()),
            ));
        }
        Ok(())
    }

    /// Writes all but the first block, whose header makes the rest visible, then that one, then syncs. Objects and refs
    /// tell by themselves whether they are whole; a slot does not, so it is on disk before it can be seen.
    fn write(&self, bytes: &[u8], at: u64, slots: bool) -> io::Result<()> {
        let (first, rest) = bytes.split_at_checked(BLOCK_LEN).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.write_all_at(rest, at + first.len() as u64)?;
        if slots {
            self.file.sync_data()?;
        }
        self.file.write_all_at(first, at)?;
        self.file.sync_data()
    }

    /// Ends the archive at this offset, durably. What a failed sync left in memory goes with what is cut off.
    pub(super) fn cut(&mut self, at: u64) -> io::Result<()> {
        self.health = Health::Torn;
        self.file.set_len(at)?;
        self.file.write_all_at(&END, at)?;
        self.file.sync_data()?;
        self.health = Health::Sound;
        Ok(())
    }
}
