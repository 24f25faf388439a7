//! Rewriting the file as a base alone.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Gid, StatxAttributes, StatxFlags, Uid, XattrFlags};

use super::batch::{END, member, slot_name, too_large};
use super::create::head;
use super::file::Archive;
use super::index;
use super::lock::{Health, WriteLock};
use super::member::{BLOCK, BLOCK_LEN, Name, is_ref, padded};
use super::object::hash_object;
use super::packer::{Source, write_failed, write_pack};
use super::scan::scan;
use super::sibling::{Sibling, directory};
use super::{KEYNODE_REF, MAX_OBJECT, NewObject, Oid, ofd, packed_refs};
use crate::error::{Error, Kind, Result};

/// The largest list of extended attributes, as the kernel has it, in bytes.
const XATTR_MAX: usize = 64 << 10;

impl WriteLock {
    /// Whether [`WriteLock::compact`] may be tried.
    ///
    /// # Errors
    /// `NotPermitted` with the reason why it cannot.
    pub fn can_compact(&self) -> Result<()> {
        let no = |why: &str| {
            Err(Error::new(Kind::NotPermitted, format!("{} cannot be compacted: {why}", self.path.display())))
        };
        let meta = self.file.metadata().map_err(|e| Error::io("read", &self.path, e))?;
        if meta.nlink() > 1 {
            return no("it has several hard links");
        }
        let me = rustix::process::geteuid();
        if !me.is_root() && meta.uid() != me.as_raw() {
            return no("it belongs to another user");
        }
        let groups = rustix::process::getgroups().unwrap_or_default();
        let mine = |gid: u32| rustix::process::getegid().as_raw() == gid || groups.iter().any(|g| g.as_raw() == gid);
        if !me.is_root() && !mine(meta.gid()) {
            return no("it belongs to a group that you are not in");
        }
        if rustix::fs::accessat(CWD, directory(&self.path), Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .is_err()
        {
            return no("its directory cannot be written to");
        }
        let stat = rustix::fs::statx(CWD, &self.path, AtFlags::empty(), StatxFlags::BASIC_STATS);
        if stat.is_ok_and(|s| s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
            return no("it is a mount of its own; mount its directory instead");
        }
        Ok(())
    }

    /// Rewrites the file: these slots and refs, and one pack with all that the refs lead to, taken from the file and
    /// from `extra`. Everything else is gone. The file is replaced whole and durably, or not at all.
    ///
    /// # Errors
    /// `NotPermitted` as for [`WriteLock::can_compact`]; `Damaged` where an object is missing or wrong, or
    /// [`WriteLock::recover`] must come first; those of writing.
    pub fn compact<'a>(
        &mut self,
        refs: &[(String, Oid)],
        slots: &[(String, Vec<u8>)],
        extra: impl IntoIterator<Item = &'a NewObject>,
    ) -> Result<Archive> {
        self.ready()?;
        self.can_compact()?;
        let extra: HashMap<_, _> = extra.into_iter().map(|o| (o.oid, o)).collect();
        check(refs, &extra)?;
        let mut new = Sibling::create(&self.path)?;
        self.write_base(new.file(), refs, slots, extra).map_err(|e| e.at(self.path.display()))?;
        readable(&self.path, new.file())?;
        reproduce(&self.path, &self.file, new.file())?;
        if !ofd::try_lock(new.file()).map_err(|e| Error::io("lock", &self.path, e))? {
            return Err(Error::new(
                Kind::Failed,
                format!("{} cannot be compacted: somebody locked the new file", self.path.display()),
            ));
        }
        new.replace(&self.path)?;
        self.health = Health::Gone;
        let file = new.settle(&self.path)?;
        let archive = Archive::open(self.archive.path())?;
        // Whoever waits for the old file finds that the path leads elsewhere.
        ofd::unlock(&self.file).map_err(|e| Error::io("unlock", &self.path, e))?;
        self.file = file;
        archive.set_synced();
        self.archive = archive.clone();
        self.health = Health::Sound;
        Ok(archive)
    }

    fn write_base(
        &self,
        out: &File,
        refs: &[(String, Oid)],
        slots: &[(String, Vec<u8>)],
        extra: HashMap<Oid, &NewObject>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        head(&mut bytes)?;
        for (name, content) in slots {
            member(&mut bytes, &slot_name(name, content)?, content)?;
        }
        let source = Source { file: self.archive.file(), view: self.archive.view(), extra };
        let objects = source.reachable(refs.iter().map(|(_, oid)| *oid))?;
        // The pack's header has its size and name, which are known when it is written.
        let header_at = bytes.len() as u64;
        let pack = write_pack(out, header_at + BLOCK, &source, &objects)?;
        bytes.extend(Name::Pack(pack.checksum).header(pack.size)?);
        out.write_all_at(&bytes, 0).map_err(write_failed)?;

        let mut after = Vec::new();
        member(&mut after, &Name::Index(pack.checksum), &index::encode(pack.entries, pack.checksum))?;
        member(&mut after, &Name::PackedRefs, packed_refs::encode(refs).as_bytes())?;
        after.extend(END);
        // Zeros up to the next block come from the file's growth.
        out.write_all_at(&after, header_at + BLOCK_LEN as u64 + padded(pack.size)).map_err(write_failed)
    }
}

fn check(refs: &[(String, Oid)], extra: &HashMap<Oid, &NewObject>) -> Result<()> {
    if let Some((name, _)) = refs.iter().find(|(name, _)| !is_ref(name)) {
        return Err(Error::new(Kind::Invalid, format!("{name} is no ref of a keynode")));
    }
    if !refs.iter().any(|(name, _)| name == KEYNODE_REF) {
        return Err(Error::new(Kind::Invalid, "a keynode cannot be without its control branch"));
    }
    if let Some(o) = extra.values().find(|o| o.data.len() as u64 > MAX_OBJECT) {
        return Err(too_large(&o.oid));
    }
    match extra.values().find(|o| hash_object(o.kind, &o.data) != o.oid) {
        Some(o) => Err(Error::new(Kind::Invalid, format!("the content of object {} does not match its name", o.oid))),
        None => Ok(()),
    }
}

/// Nothing takes the file's place that cannot be opened: there are limits to what is read.
fn readable(path: &Path, new: &File) -> Result<()> {
    let end = new.metadata().map_err(|e| Error::io("read", path, e))?.len();
    scan(new, end).map(drop).map_err(|e| {
        Error::new(Kind::TooLarge, format!("{} cannot be compacted: no pack could hold it", path.display())).because(e)
    })
}

/// Gives the new file what the old one has: owner, extended attributes (ACLs are among them), mode.
fn reproduce(path: &Path, old: &File, new: &File) -> Result<()> {
    let cannot = |what: &str, e: rustix::io::Errno| {
        Error::new(
            Kind::NotPermitted,
            format!("{} cannot be compacted: its {what} cannot be given to a new file", path.display()),
        )
        .because(std::io::Error::from(e))
    };
    let meta = old.metadata().map_err(|e| Error::io("read", path, e))?;
    let made = new.metadata().map_err(|e| Error::io("read", path, e))?;
    if (meta.uid(), meta.gid()) != (made.uid(), made.gid()) {
        rustix::fs::fchown(new, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())))
            .map_err(|e| cannot("owner", e))?;
    }
    let wanted = attributes(old).map_err(|e| cannot("attributes", e))?;
    let present = attributes(new).map_err(|e| cannot("attributes", e))?;
    for (name, _) in present.iter().filter(|(name, _)| !wanted.iter().any(|(n, _)| n == name)) {
        // Inherited from the directory.
        rustix::fs::fremovexattr(new, name.as_slice()).map_err(|e| cannot("attributes", e))?;
    }
    for (name, value) in wanted.iter().filter(|attribute| !present.contains(attribute)) {
        rustix::fs::fsetxattr(new, name.as_slice(), value, XattrFlags::empty()).map_err(|e| cannot("attributes", e))?;
    }
    new.set_permissions(std::fs::Permissions::from_mode(meta.mode() & 0o7777)).map_err(|e| Error::io("change", path, e))
}

/// The extended attributes of a file; none where the file system has none.
fn attributes(file: impl AsFd) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; XATTR_MAX];
    let len = match rustix::fs::flistxattr(&file, &mut names[..]) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        other => other?,
    };
    names.truncate(len);
    let mut all = Vec::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; XATTR_MAX];
        let len = rustix::fs::fgetxattr(&file, name, &mut value[..])?;
        value.truncate(len);
        all.push((name.to_vec(), value));
    }
    Ok(all)
}
