//! What the whole process does so that its memory does not leak.

use std::env;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use sequoia_openpgp::parse::buffered_reader::Generic;

use crate::program::survive_file_limits;

/// Forbids core dumps, lets no process of the same user attach or read this one's memory (root still can), and has a file
/// that may grow no further be an error. Called once, before any secret is read. What the kernel does not allow is logged.
pub fn harden_process() {
    survive_file_limits();
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("other processes of this user may read pkfs's memory: {error}");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        log::warn!("a crash of pkfs may leave a core dump: {error}");
    }
}

/// How many bytes the `OpenPGP` library reads ahead, in each of the layers of a message.
const STEP: &str = "4096";

/// Lets the `OpenPGP` library take its buffers in pages: most messages are smaller than one, and a buffer of its usual size,
/// which has to be cleared before and after, takes longer than what it is for.
///
/// # Safety
///
/// The process has one thread, as when it starts: the library takes the size from its environment.
#[allow(unsafe_code)]
pub unsafe fn read_in_small_steps() {
    const VARIABLE: &str = "SEQUOIA_BUFFERED_READER_BUFFER";
    // SAFETY: nobody else reads or changes the environment, the caller promises.
    unsafe { env::set_var(VARIABLE, STEP) };
    // The first reader asks, for all that follow.
    drop(Generic::<_, ()>::new(io::empty(), None));
    // SAFETY: as before. Programs that this one runs do not find it.
    unsafe { env::remove_var(VARIABLE) };
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
