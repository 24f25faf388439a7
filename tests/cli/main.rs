//! The real command, run as people and scripts run it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod damage;
mod history;
mod in_and_out;
mod making;
mod mounting;
mod output;
mod shares;
mod support;
mod terminal;
mod unlocking;
mod values;
