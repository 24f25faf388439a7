//! A mount namespace of one's own, where nobody else sees what is mounted.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::UnshareFlags;

use crate::error::{Error, Kind, Result};

/// Goes into a new mount namespace; users other than root also into a user namespace, in which they are who they are. To be
/// called while the process has one thread, and before it holds any secret.
///
/// # Errors
/// This machine does not allow users to make namespaces.
pub fn own_namespace() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let failed = |what: &str, error: std::io::Error| {
        Error::new(Kind::NotPermitted, format!("cannot make {what}"))
            .hint("root can allow it (sysctl kernel.unprivileged_userns_clone=1), or mount instead: pkfs mount")
            .because(error)
    };
    if uid.is_root() && unshare(UnshareFlags::NEWNS).is_ok() {
        return seclude().map_err(|e| failed("a mount namespace", e));
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(|e| failed("a user namespace", e))?;
    // A process that others may not look into may not write these about itself either.
    let dumpable = |behavior| set_dumpable_behavior(behavior).map_err(std::io::Error::from);
    let map = || -> std::io::Result<()> {
        dumpable(DumpableBehavior::Dumpable)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1", uid = uid.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1", gid = gid.as_raw()))?;
        dumpable(DumpableBehavior::NotDumpable)
    };
    map().map_err(|e| failed("a user namespace", e))?;
    seclude().map_err(|e| failed("a mount namespace", e))
}

#[allow(unsafe_code)]
fn unshare(flags: UnshareFlags) -> std::io::Result<()> {
    // SAFETY: the descriptors of this process stay its own, and it has one thread, so that nobody else relies on what is
    // left behind.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(std::io::Error::from)
}

/// What is mounted from now on is seen here alone; what others mount and unmount is seen here still.
fn seclude() -> std::io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

/// Has what is mounted at these places not be there, in a namespace of one's own.
///
/// # Errors
/// One of them stays.
pub fn cover(places: &[PathBuf]) -> Result<()> {
    let empty = |place: &PathBuf| -> std::io::Result<()> {
        // What was there when a user made the namespace cannot be taken away in it, but something can be put upon it.
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .or_else(|_| mount("none", place, "tmpfs", flags, Some(c"size=4k,mode=555")))
            // Who cannot get there now cannot do so later.
            .or_else(|error| if matches!(error, Errno::ACCESS | Errno::NOENT) { Ok(()) } else { Err(error) })?;
        Ok(())
    };
    // The last one first: it may lie in another, or upon one.
    let mut places = places.iter().rev();
    places.try_for_each(|place| {
        empty(place).map_err(|e| {
            let text = format!("cannot keep the keynode that is mounted at {} from the command", place.display());
            Error::new(Kind::Failed, text).hint("unmount it before").because(e)
        })
    })
}

/// Takes away what is mounted in a namespace of one's own, whoever still uses it.
pub fn leave(directory: &Path) {
    // It goes with the namespace at the latest.
    let _ = unmount(directory, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
}
