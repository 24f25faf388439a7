//! What is logged: `-q`, `-v` and `RUST_LOG`, all to standard error.

use std::io::Write;

use log::{Level, LevelFilter};

/// Starts the log. `-q` leaves errors, `-v` adds notes, `-vv` what happens, `-vvv` everything; `RUST_LOG` decides
/// when neither is given.
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
        let text: String = record.args().to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(out, "pkfs: {level}{text}")
    });
    // A second start (in a test) changes nothing.
    let _ = log.try_init();
}
