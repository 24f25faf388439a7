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

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    /// It cannot be undone, so it is tried in a process of its own.
    #[test]
    fn a_hardened_process_does_not_dump() {
        crate::crypto::tests::alone("process::tests::in_a_process_of_its_own", &[]);
    }

    #[test]
    #[ignore = "run by a_hardened_process_does_not_dump"]
    fn in_a_process_of_its_own() {
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
        harden_process();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
