//! `OpenPGP`: messages, signatures, unlock slots, locked memory.
//!
//! Knows keys and messages, no files. Nothing of the library beneath shows in a signature here.
//!
//! | module | holds |
//! |---|---|
//! | [`node_key`], [`certificate`], [`user_key`] | the node's own key, somebody's public certificate, somebody's secret key |
//! | [`message`], [`epoch`] | what a keynode's blobs are: sealed and opened one by one, or many under one session key |
//! | [`slot`], [`gpg`] | the node's key, sealed for a passphrase or a certificate; by way of gpg-agent |
//! | [`memory`], [`process`] | locked memory, a process that does not leak |
//! | [`profile`], [`fingerprint`], [`digest`], [`strength`], [`counters`] | small things |
//!
//! Beneath a message lie `seal` and `unseal` (the library's encryption and decryption, held to one shape) and `content`
//! (the padded literal inside). All cryptography is the library's.

pub mod certificate;
mod content;
pub mod counters;
pub mod digest;
pub mod epoch;
pub mod fingerprint;
pub mod gpg;
pub mod memory;
pub mod message;
pub mod node_key;
mod padding;
mod policy;
pub mod process;
pub mod profile;
mod seal;
pub mod slot;
pub mod strength;
mod unseal;
pub mod user_key;

pub use certificate::Certificate;
pub use counters::{Counts, counts};
pub use digest::{Sha256, sha256};
pub use epoch::Epoch;
pub use fingerprint::Fingerprint;
pub use memory::Locked;
pub use message::{Opened, Sealed, SessionKey, open, seal};
pub use node_key::NodeKey;
pub use padding::Padding;
pub use profile::Profile;
pub use user_key::UserKey;

#[cfg(test)]
mod tests;
