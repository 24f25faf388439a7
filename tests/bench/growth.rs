//! How mounting and its memory grow with the number of secrets and versions.

use std::path::Path;
use std::time::Instant;

use pkfs::node::{Attributes, ItemId, Keynode, Name, NodeKey, Profile, SealedValue, Session};
use pkfs::time::Timestamp;

use crate::Outcome;
use crate::peer::{memory_of, shell, unmount};
use crate::plan::Growth;
use crate::rounds::median;
use crate::tree::{PER_DIRECTORY, directory_name, secret_name, value};
use crate::work::list_all;

/// Secrets that are sealed before they are written in one transaction.
const AT_ONCE: usize = 10_000;

/// What mounting a keynode takes.
pub struct Mounting {
    pub file_bytes: u64,
    /// From the start of the program until the directory can be used.
    pub seconds: f64,
    /// Resident KiB of the process then.
    pub mounted: f64,
    /// The same once everything in it was listed.
    pub listed: f64,
}

/// Makes a keynode and its key's file.
pub fn make(file: &Path, key_file: &Path, secrets: usize, versions: usize) -> Outcome {
    let key = NodeKey::generate(Profile::Gnupg)?;
    std::fs::write(key_file, &*key.to_secret()?)?;
    let keynode = Keynode::init_with_key(file, key, None)?;
    let mut ids = Vec::with_capacity(secrets);
    for first in (0..secrets).step_by(AT_ONCE) {
        let new: Vec<(usize, ItemId)> = (first..secrets.min(first + AT_ONCE)).map(|n| (n, ItemId::random())).collect();
        let sealed = seal(&keynode, &new, 0)?;
        let mut transaction = keynode.begin()?;
        let mut directory = ItemId::ROOT;
        for ((n, _), sealed) in new.iter().zip(sealed) {
            if n % PER_DIRECTORY == 0 {
                let name = Name::new(directory_name(n / PER_DIRECTORY).as_bytes())?;
                directory = transaction.create_directory(ItemId::ROOT, &name, Attributes::new(0o700))?;
            }
            let name = Name::new(secret_name(*n).as_bytes())?;
            transaction.create_secret(directory, &name, Attributes::new(0o600), sealed, Session::random())?;
        }
        transaction.commit()?;
        ids.extend(new);
    }
    for version in 1..versions {
        for some in ids.chunks(AT_ONCE) {
            let sealed = seal(&keynode, some, version)?;
            let mut transaction = keynode.begin()?;
            for sealed in sealed {
                transaction.write(sealed, Session::random(), Timestamp::now())?;
            }
            transaction.commit()?;
        }
    }
    Ok(())
}

/// Seals a version of each, by two threads.
fn seal(keynode: &Keynode, secrets: &[(usize, ItemId)], version: usize) -> Outcome<Vec<SealedValue>> {
    let all = |secrets: &[(usize, ItemId)]| -> pkfs::error::Result<Vec<SealedValue>> {
        secrets.iter().map(|(n, id)| keynode.seal(*id, &value(n * 1000 + version))).collect()
    };
    let (one, two) = secrets.split_at(secrets.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| all(two));
        let mut sealed = all(one)?;
        sealed.extend(other.join().map_err(|_| "a thread panicked")??);
        Ok(sealed)
    })
}

/// Mounts and unmounts each in turn.
pub fn measure(growth: &[Growth], rounds: usize) -> Outcome<Vec<Mounting>> {
    let mut taken: Vec<[Vec<f64>; 3]> = growth.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        for (keynode, [seconds, mounted, listed]) in growth.iter().zip(&mut taken) {
            let started = Instant::now();
            shell(&format!("exec {}", keynode.mount))?;
            seconds.push(started.elapsed().as_secs_f64());
            mounted.push(memory_of(&keynode.mount_point)?);
            list_all(&keynode.mount_point)?;
            listed.push(memory_of(&keynode.mount_point)?);
            unmount(&keynode.mount_point)?;
        }
    }
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    growth
        .iter()
        .zip(taken)
        .map(|(keynode, [seconds, mounted, listed])| {
            Ok(Mounting {
                file_bytes: std::fs::metadata(&keynode.file)?.len(),
                seconds: middle(&seconds),
                mounted: middle(&mounted),
                listed: middle(&listed),
            })
        })
        .collect()
}
