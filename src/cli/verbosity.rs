//! What is logged: `-q`, `-v` and `RUST_LOG`. It goes to standard error; to the system's log once a mount is in the
//! background.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::syslog;
use crate::fuse::REQUESTS;

/// Whether nobody looks at standard error any more.
static DETACHED: AtomicBool = AtomicBool::new(false);

/// Writes to either place.
struct Logger(env_logger::Logger);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !DETACHED.load(Ordering::Relaxed) {
            self.0.log(record);
        } else if self.0.matches(record) {
            syslog::write(record.level(), &plain(record));
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// From here on the log goes to the system's.
pub(super) fn detach() {
    syslog::open();
    DETACHED.store(true, Ordering::Relaxed);
}

/// The text without what would break the line or steer a terminal.
fn plain(record: &Record<'_>) -> String {
    record.args().to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Starts the log. `-q` leaves errors, `-v` adds notes and a mount's requests, `-vv` what happens, `-vvv` everything;
/// `RUST_LOG` decides when neither is given.
pub(super) fn start(quiet: bool, verbose: u8) {
    let mut log = env_logger::Builder::new();
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        (_, 2) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    log.filter_level(LevelFilter::Error).filter_module("pkfs", level);
    if verbose > 0 {
        log.filter_module(REQUESTS, level.max(LevelFilter::Debug));
    }
    if !quiet && verbose == 0 {
        log.parse_default_env();
    }
    log.format(|out, record| {
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug => "debug: ",
            Level::Trace => "trace: ",
        };
        if record.target() == REQUESTS {
            let now = out.timestamp_millis();
            return writeln!(out, "pkfs: {level}{now} {}", plain(record));
        }
        writeln!(out, "pkfs: {level}{}", plain(record))
    });
    let logger = log.build();
    let most = logger.filter();
    // A second start (in a test) changes nothing.
    if log::set_boxed_logger(Box::new(Logger(logger))).is_ok() {
        log::set_max_level(most);
    }
}
