//! What the whole process does so that its memory does not leak.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps, and lets no process of the same user attach or read this one's memory (root still can).
/// Called once, before any secret is read. What the kernel does not allow is logged.
pub fn harden_process() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("other processes of this user may read pkfs's memory: {error}");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        log::warn!("a crash of pkfs may leave a core dump: {error}");
    }
}
