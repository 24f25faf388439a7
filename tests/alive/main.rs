//! Changes from outside on a live mount.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod events;
mod listings;
mod outside;
mod recorder;
mod together;
