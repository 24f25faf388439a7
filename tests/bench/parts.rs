//! A first read taken apart, without a mount: what the file takes, what `OpenPGP` takes. And what it takes of a write.

use std::path::Path;
use std::time::Instant;

use pkfs::archive::{Archive, Oid, parse_tree};
use pkfs::crypto::{NodeKey, Padding, Profile, seal};
use pkfs::node::{ItemId, Keynode, OpenOptions, SealedKeynode, Snapshot, UserKey};

use crate::Outcome;
use crate::tree::{LARGE, LARGE_NAME, Random};

/// Seconds of one read.
pub struct Parts {
    /// Commit, tree and blob found in the file and inflated.
    pub objects: f64,
    /// All of it, with the message opened and verified.
    pub whole: f64,
}

/// Seconds for the message of a large secret.
pub fn seal_large() -> Outcome<f64> {
    let node = NodeKey::generate(Profile::Gnupg)?;
    let content = vec![0; LARGE];
    let started = Instant::now();
    seal(&node, &ItemId::ROOT.to_string(), &content, Padding::Value)?;
    Ok(started.elapsed().as_secs_f64())
}

/// The parts of the first read of a small secret, on average, and of the large one.
pub fn measure(file: &Path, key: &Path) -> Outcome<(Parts, Parts)> {
    let keynode = unlock(file, key)?;
    let (snapshot, archive) = (keynode.snapshot(), Archive::open(file)?);
    let names = snapshot.namespace();
    let large = names.child(ItemId::ROOT, LARGE_NAME.as_bytes()).ok_or("no large file")?.id;
    let small: Vec<ItemId> = names.items()?.filter(|i| i.secret().is_some() && i.id != large).map(|i| i.id).collect();
    let order = Random::new(3).order(small.len());
    let small: Vec<ItemId> = order.into_iter().filter_map(|n| small.get(n).copied()).collect();
    let take = |ids: &[ItemId]| take_apart(&keynode, &snapshot, &archive, ids);
    // The first one pays for what is done once.
    take(small.get(..1).unwrap_or_default())?;
    Ok((take(&small)?, take(&[large])?))
}

/// A keynode by its key, to be read.
pub fn unlock(file: &Path, key: &Path) -> Outcome<Keynode> {
    let sealed = SealedKeynode::open(file)?;
    let key = sealed.unlock_with_key(&UserKey::parse(&std::fs::read(key)?)?)?;
    Ok(sealed.into_keynode(key, &OpenOptions { read_only: true, ..OpenOptions::default() })?)
}

fn take_apart(keynode: &Keynode, snapshot: &Snapshot, archive: &Archive, ids: &[ItemId]) -> Outcome<Parts> {
    let heads = ids.iter().filter_map(|id| snapshot.namespace().item(*id)?.secret()?.head());
    let commits: Vec<Oid> = heads.map(|head| head.commit.oid).collect();
    let started = Instant::now();
    for commit in &commits {
        read_objects(archive, commit)?;
    }
    let objects = started.elapsed().as_secs_f64() / commits.len() as f64;
    let started = Instant::now();
    for id in ids {
        keynode.read_head(snapshot, *id)?;
    }
    Ok(Parts { objects, whole: started.elapsed().as_secs_f64() / ids.len() as f64 })
}

fn read_objects(archive: &Archive, commit: &Oid) -> Outcome {
    let object =
        |oid: &Oid| -> Outcome<Vec<u8>> { Ok(archive.vouched_object(oid)?.ok_or("an object is missing")?.data) };
    let commit = object(commit)?;
    let line = commit.strip_prefix(b"tree ").and_then(|rest| rest.get(..40)).ok_or("not a commit")?;
    let tree: Oid = std::str::from_utf8(line)?.parse().map_err(|_| "a commit's tree is not understood")?;
    for entry in parse_tree(&object(&tree)?)? {
        object(&entry.oid)?;
    }
    Ok(())
}
