//! What a mount takes of the machine's memory.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{Bench, Mount, can_mount};

const SECRETS: u64 = 4_000;

/// Bytes that a secret may leave in memory when it has been read: itself, and that it is known.
const EACH: u64 = 4 << 10;

/// Bytes of the process that are in memory.
fn resident(mount: &Mount) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn what_was_read_takes_little_memory() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.path("tree")).unwrap();
    for n in 0..SECRETS {
        fs::write(bench.path(&format!("tree/s{n}")), format!("the value of secret {n}")).unwrap();
    }
    bench.pkfs(&["import", "app.pk", "tree"]);
    let mount = bench.mount(&[]);
    assert_eq!(mount.list("").len() as u64, SECRETS);
    let before = resident(&mount);
    for n in 0..SECRETS {
        assert_eq!(mount.read(&format!("s{n}")), format!("the value of secret {n}"));
    }
    let grown = resident(&mount).saturating_sub(before);
    assert!(grown < SECRETS * EACH, "{} bytes for each secret", grown / SECRETS);
}
