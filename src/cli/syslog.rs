//! The system's log, for a process that has no terminal any more.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use log::Level;

/// What the lines are found by.
const NAME: &CStr = c"pkfs";

/// Opens the log, as that of a daemon.
pub(super) fn open() {
    // SAFETY: the name lives for ever, as openlog(3) needs; the call has no other preconditions.
    unsafe { libc::openlog(NAME.as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) };
}

/// Writes one line. Where no log is running, it is lost.
pub(super) fn write(level: Level, line: &str) {
    let priority = match level {
        Level::Error => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    };
    // Control characters, zero bytes among them, were taken out.
    let Ok(line) = CString::new(line) else { return };
    // SAFETY: both strings end with a zero byte and outlive the call, and the format takes exactly the one argument.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}
