//! Who sees what on real mounts with shares: as root, with callers of all kinds, against an oracle that knows only paths
//! and who was given what.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod attacks;
mod caches;
mod callers;
mod containers;
mod descriptors;
mod elsewhere;
mod history;
mod live;
mod matrix;
mod oracle;
mod place;
mod podman;
mod records;
mod recycled;
mod writing;
