//! What it takes to decide whether a caller may open a secret, without a mount, by the kind of rule.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::{Gid, getgroups, setgroups};
use pkfs::fs::{Caller, FileSystem, Ino, Options, Want};
use pkfs::node::{Condition, ItemPath, Keynode, Rule, Share, Shares, sha256};

use crate::Outcome;
use crate::parts::unlock;
use crate::rounds::{Effort, median};
use crate::tree::{Random, directory_name, secret_name};

/// Who asks: a user, and a supplementary group.
const USER: u32 = 61_001;

/// Directories whose secrets are asked for.
const DIRECTORIES: usize = 10;

/// Seconds of a decision for each kind of rule.
pub fn measure(file: &Path, key: &Path, effort: Effort) -> Outcome<Vec<(&'static str, f64)>> {
    let keynode = Arc::new(unlock(file, key)?);
    let program = std::env::current_exe()?.canonicalize()?;
    let digest = sha256(&std::fs::read(&program)?).to_string();
    let user = USER.to_string();
    let uid = ("uid", user.as_bytes());
    let (exe, cgroup) = (("exe", program.as_os_str().as_bytes()), ("cgroup", &b"/**"[..]));
    let kinds = [
        ("uid", vec![uid]),
        ("gid, of a supplementary group", vec![("gid", user.as_bytes())]),
        ("exe", vec![exe]),
        ("sha256", vec![("sha256", digest.as_bytes())]),
        ("cgroup", vec![cgroup]),
        ("uid, exe and cgroup", vec![uid, exe, cgroup]),
    ];
    let groups = getgroups()?;
    setgroups(&[Gid::from_raw(USER)])?;
    let measured = kinds.into_iter().map(|(name, conditions)| {
        let conditions = conditions.into_iter().map(|(word, value)| Condition::new(word, value));
        Ok((name, decide(&keynode, conditions.collect::<Result<_, _>>()?, effort)?))
    });
    let measured = measured.collect();
    setgroups(&groups)?;
    measured
}

/// The median over the rounds of one decision's time.
fn decide(keynode: &Arc<Keynode>, conditions: Vec<Condition>, effort: Effort) -> Outcome<f64> {
    let rule = Rule { conditions, until: None, write: false };
    let share = Share { paths: [ItemPath::root()].into(), rules: vec![rule], ..Share::default() };
    let mut shares = Shares::default();
    shares.0.insert("all".parse()?, share);
    let fs = FileSystem::new(keynode.clone(), Options { read_only: true, ..Options::default() })
        .with_rules(Some(&shares))?;
    let mut secrets = Vec::new();
    for directory in 0..DIRECTORIES {
        let directory = fs.lookup(Ino::ROOT, directory_name(directory).as_bytes())?.stat.ino;
        for secret in 0..crate::tree::PER_DIRECTORY {
            secrets.push(fs.lookup(directory, secret_name(secret).as_bytes())?.stat.ino);
        }
    }
    let order = Random::new(5).order(secrets.len());
    let caller =
        Caller { uid: USER, gid: USER + 1, pid: rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs() };
    let mut times = Vec::new();
    // The first round makes the caller known.
    for _ in 0..=effort.rounds {
        let (started, mut done) = (Instant::now(), 0_u32);
        while started.elapsed() < effort.time {
            for n in &order {
                fs.admit(caller, secrets[*n], None, Want::Read)?;
                done += 1;
            }
        }
        times.push(started.elapsed().as_secs_f64() / f64::from(done));
    }
    Ok(median(times.get(1..).unwrap_or_default()).ok_or("no rounds")?)
}
