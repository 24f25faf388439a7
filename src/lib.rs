//! pkfs: secrets as files.
//!
//! A *keynode* is one file: a tar archive of a bare git repository whose blobs are `OpenPGP` messages.
//! This crate reads and writes keynodes and mounts them.
//!
//! # The layers
//!
//! Each knows only the ones below it; data goes down for writing and comes up for reading, once.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the subcommands: arguments, prompts, output |
//! | [`fuse`] | the kernel's requests, unpacked and answered |
//! | [`fs`] | inodes, handles, the history tree, caches |
//! | [`node`] | the model: keynode, namespace, log, checkpoint, transaction, version |
//! | [`crypto`] | `OpenPGP` messages, signatures, unlock slots, locked memory |
//! | [`archive`] | the file: tar members, git objects and refs, append, compact |
//!
//! [`error`] and [`time`] serve all of them; `program` is about those that this one starts, `apart` about threads that may
//! wait for ever.

mod apart;
pub mod archive;
pub mod cli;
pub mod crypto;
pub mod error;
pub mod fs;
pub mod fuse;
pub mod hex;
pub mod node;
mod program;
pub mod time;
