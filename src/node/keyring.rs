//! The node's key in the kernel's keyring of this user, for a time: no agent process.

use linux_keyutils::{Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};

use crate::crypto::{Fingerprint, Locked, NodeKey, UserKey};
use crate::error::{Error, Kind, Result};

/// The most bytes that the kernel takes for one key.
const LARGEST: usize = 32_767;

fn name(node: &Fingerprint) -> String {
    format!("pkfs:{node}")
}

fn keyring() -> Result<KeyRing> {
    KeyRing::from_special_id(KeyRingIdentifier::User, true).map_err(|e| failed("be used", e))
}

fn failed(what: &str, error: KeyError) -> Error {
    Error::new(Kind::Failed, format!("the kernel's keyring cannot {what}: {error:?}"))
        .hint("some containers have none; --passphrase-file and --key work everywhere")
}

/// Puts the key there for so many seconds.
pub(super) fn add(key: &NodeKey, seconds: u32) -> Result<()> {
    let secret = key.to_secret()?;
    let ring = keyring()?;
    // Whoever is this user may find and read it, in any session; nobody else may do anything.
    let permissions = KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(Permission::ALL).build();
    let added = ring.add_key(&name(&key.fingerprint()), &*secret).map_err(|e| failed("take the key", e))?;
    let set = added.set_perms(permissions).and_then(|()| added.set_timeout(seconds as usize));
    set.map_err(|e| {
        // A key that cannot be made to expire must not stay.
        let _ = added.invalidate();
        failed("take the key", e)
    })
}

/// The key, if it is there and has not expired.
pub(super) fn find(node: &Fingerprint) -> Result<Option<NodeKey>> {
    let Some(key) = search(node) else { return Ok(None) };
    let mut buffer = Locked::zeroed(LARGEST);
    let Ok(length) = key.read(&mut &mut *buffer) else { return Ok(None) };
    buffer.truncate(length);
    UserKey::parse(&buffer)?.as_node_key().map(Some)
}

/// Takes it out; says whether there was one.
pub(super) fn remove(node: &Fingerprint) -> Result<bool> {
    match search(node) {
        Some(key) => key.invalidate().map(|()| true).map_err(|e| failed("give the key up", e)),
        None => Ok(false),
    }
}

fn search(node: &Fingerprint) -> Option<Key> {
    keyring().ok()?.search(&name(node)).ok()
}
