//! What the whole process does so that its memory does not leak.

use std::backtrace::Backtrace;
use std::env;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use sequoia_openpgp::parse::buffered_reader::Generic;

use super::digest::sha256;
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

/// A directory of modules that can have none.
const NO_MODULES: &str = "/dev/null";

/// Fits libraries that ask the environment to what they do here.
///
/// The `OpenPGP` library takes its buffers in pages: most messages are smaller than one, and a buffer of its usual size,
/// which has to be cleared before and after, takes longer than what it is for.
///
/// OpenSSL, which begins here, loads none of its modules. They have algorithms of the past, take half a millisecond of each
/// command, and are looked for where the environment says. A key that needs one is told so:
/// [`UserKey::unprotect`](super::UserKey::unprotect).
///
/// Errors of the `OpenPGP` library, many of which are expected and seen by nobody, carry no backtraces: with `RUST_BACKTRACE` set, as it is in
/// many containers, to record them would take longer than to decrypt a secret. Those of panics stay, and
/// `RUST_LIB_BACKTRACE` has the last word.
///
/// # Safety
///
/// The process has one thread, as when it starts.
#[allow(unsafe_code)]
pub unsafe fn fit_libraries() {
    const BACKTRACES: &str = "RUST_LIB_BACKTRACE";
    // The first reader asks, for all that follow.
    // SAFETY: the caller's promise is handed on.
    unsafe { with_variable("SEQUOIA_BUFFERED_READER_BUFFER", STEP, || drop(Generic::<_, ()>::new(io::empty(), None))) };
    // SAFETY: as before.
    unsafe {
        with_variable("OPENSSL_MODULES", NO_MODULES, || {
            sha256(b"");
        });
    }
    if env::var_os(BACKTRACES).is_none() {
        // SAFETY: as before.
        unsafe { with_variable(BACKTRACES, "0", || drop(Backtrace::capture())) };
    }
}

/// Has a variable set while somebody looks who remembers it. Programs that this one runs find what was there before.
///
/// # Safety
///
/// The process has one thread.
#[allow(unsafe_code)]
unsafe fn with_variable(name: &str, value: &str, look: impl FnOnce()) {
    let before = env::var_os(name);
    // SAFETY: nobody else reads or changes the environment, the caller promises.
    unsafe { env::set_var(name, value) };
    look();
    match before {
        // SAFETY: as before.
        Some(before) => unsafe { env::set_var(name, before) },
        // SAFETY: as before.
        None => unsafe { env::remove_var(name) },
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
