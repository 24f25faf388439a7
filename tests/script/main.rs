//! `scripts/keynode` and pkfs, held against each other on the same files; and the stock tools against those files.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod alike;
mod bench;
mod stock;
mod tampered;
mod unlocking;
