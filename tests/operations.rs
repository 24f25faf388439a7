//! What reads and writes through a mount cost in public-key operations.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use pkfs::node::{Attributes, ItemId, Keynode, Name, Session, counts};
use support::{Served, alone, can_mount};

const SECRETS: usize = 10_000;
const WRITES: u64 = 1_000;
/// Transactions after which a keynode with so many items gets a new checkpoint.
const CHECKPOINT_AFTER: u64 = 1_000;

fn value(n: usize) -> String {
    format!("the value of secret {n}")
}

fn import(keynode: &Keynode) {
    let mut transaction = keynode.begin().unwrap();
    for n in 0..SECRETS {
        let name = Name::new(format!("s{n}").as_bytes()).unwrap();
        let sealed = keynode.seal(ItemId::random(), value(n).as_bytes()).unwrap();
        let attributes = Attributes::new(0o600);
        transaction.create_secret(ItemId::ROOT, &name, attributes, sealed, Session::random()).unwrap();
    }
    transaction.commit().unwrap();
    keynode.compact().unwrap();
}

#[test]
fn reads_need_no_public_key_operation_and_writes_three() {
    if can_mount() {
        alone("costs");
    }
}

/// The counts are the process's.
#[test]
#[ignore = "run by reads_need_no_public_key_operation_and_writes_three"]
fn costs() {
    let mount = Served::new(import);
    let since = || mount.keynode.snapshot().transactions_since_checkpoint() as u64;
    let mut seen = HashSet::new();

    let before = counts();
    for n in 0..SECRETS {
        let content = fs::read_to_string(mount.path(&format!("s{n}"))).unwrap();
        assert_eq!(content, value(n));
        seen.insert(content);
    }
    let cost = counts() - before;
    assert_eq!(seen.len(), SECRETS);
    assert_eq!((cost.sealed, cost.opened, cost.signed, cost.verified), (0, 0, 0, 0), "for first reads");

    let (file, began) = (fs::metadata(mount.file()).unwrap().ino(), since());
    let before = counts();
    for n in 0..WRITES {
        fs::write(mount.path(&format!("s{}", n % 700)), format!("written {n}")).unwrap();
    }
    let cost = counts() - before;
    assert_eq!(fs::metadata(mount.file()).unwrap().ino(), file, "a compaction would make a checkpoint too");
    let checkpoints = (began + WRITES) / CHECKPOINT_AFTER;
    assert_eq!(since(), (began + WRITES) % CHECKPOINT_AFTER);
    assert_eq!(checkpoints, 1, "it was due once");
    assert_eq!(cost.sealed, WRITES + checkpoints);
    assert_eq!(cost.signed, 2 * WRITES + checkpoints);
    assert_eq!((cost.opened, cost.verified), (0, 0), "for writes");
}
