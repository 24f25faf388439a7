//! Before the first append: a torn transaction at the end of the file is told from damage.

use std::io::Write as _;

use log::warn;

use super::commit::Commit;
use super::keynode::Keynode;
use crate::archive::{Object, ObjectKind, Recovery, WriteLock};
use crate::crypto::Certificate;
use crate::error::{Error, Result};

/// Whether an object is a commit that this certificate signed.
pub(super) fn signed_by(certificate: &Certificate) -> impl Fn(&Object) -> bool {
    move |object| {
        object.kind == ObjectKind::Commit
            && Commit::parse(&object.data).is_ok_and(|commit| commit.verify(certificate).is_ok())
    }
}

impl Keynode {
    /// Cuts off a torn transaction and keeps its bytes in the state directory.
    pub(super) fn recover(&self, lock: &mut WriteLock) -> Result<()> {
        let accept = signed_by(self.key.certificate());
        let node = self.key.fingerprint();
        let remembered = self.memory.last_commit(&node).map(|commit| commit.oid);
        let mut kept = None;
        let mut keep = |bytes: &[u8]| -> Result<()> {
            if kept.is_none() {
                kept = Some(self.memory.cut_file(&node)?);
            }
            let Some((path, file)) = &mut kept else { return Ok(()) };
            file.write_all(bytes).map_err(|e| Error::io("write", path, e))
        };
        match lock.recover(&accept, remembered.as_ref(), &mut keep)? {
            Recovery::Clean => {}
            Recovery::Cut { from, to } => {
                let place = kept.map_or_else(String::new, |(path, _)| format!(", kept in {}", path.display()));
                warn!(
                    "{}: an unfinished transaction of {} bytes was cut off{place}; nothing acknowledged is lost",
                    self.path.display(),
                    to - from
                );
            }
        }
        Ok(())
    }
}
