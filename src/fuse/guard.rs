//! Doing what a request asks: guarded, logged, and with an errno for what went wrong.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use fuser::{Errno, INodeNo};
use log::{Level, debug, error, log, log_enabled};

use crate::error::Result;
use crate::fs::{self, Caller, FileSystem, Ino};

/// What the log knows requests by: each is a line of the operation, what it is done to, who asks, what came of it and how
/// long that took. Names are in it, and nothing of what files hold.
pub const REQUESTS: &str = "pkfs::requests";

/// Does what a request asks, logs it, and turns what went wrong into an errno. A panic answers EIO.
pub(super) fn handle<T>(
    fs: &FileSystem,
    who: Caller,
    operation: &str,
    ino: INodeNo,
    name: Option<&OsStr>,
    work: impl FnOnce(&FileSystem) -> Result<T>,
) -> Result<T, Errno> {
    guarded(|| fs.describe(Ino(ino.0), name.map(OsStr::as_bytes)), who, operation, || work(fs))
}

fn guarded<T>(
    what: impl Fn() -> String,
    Caller { pid, uid, .. }: Caller,
    operation: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T, Errno> {
    // What is gone afterwards has a name before.
    let logged = log_enabled!(target: REQUESTS, Level::Debug).then(|| (what(), Instant::now()));
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => {
            if let Some((what, started)) = logged {
                debug!(target: REQUESTS, "{operation} {what} pid {pid} uid {uid}: done in {:?}", started.elapsed());
            }
            Ok(value)
        }
        Ok(Err(error)) => {
            let level = fs::level(error.kind());
            if log_enabled!(target: REQUESTS, level) {
                let (what, time) = logged.map_or_else(
                    || (what(), String::new()),
                    |(what, started)| (what, format!(" in {:?}", started.elapsed())),
                );
                let hint = error.next_step().map_or_else(String::new, |hint| format!(" ({hint})"));
                log!(target: REQUESTS, level, "{operation} {what} pid {pid} uid {uid}: failed{time}: {error}{hint}");
            }
            Err(Errno::from_i32(fs::errno(error.kind())))
        }
        Err(_) => {
            error!(
                target: REQUESTS,
                "{operation} {} pid {pid} uid {uid}: a defect in pkfs; answered with an I/O error, please report it",
                what()
            );
            Err(Errno::EIO)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const WHO: Caller = Caller { uid: 0, gid: 0, pid: 1 };

    fn ask(work: impl FnOnce() -> Result<u8>) -> Result<u8, i32> {
        guarded(|| "a".to_owned(), WHO, "read", work).map_err(i32::from)
    }

    #[test]
    fn a_panic_is_an_io_error_and_the_next_request_is_done() {
        assert_eq!(ask(|| std::panic::resume_unwind(Box::new("a defect"))), Err(libc::EIO));
        assert_eq!(ask(|| Ok(1)), Ok(1));
        assert_eq!(ask(|| Err(Error::not_found("none"))), Err(libc::ENOENT));
    }
}
