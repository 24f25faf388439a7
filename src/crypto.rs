//! `OpenPGP`: messages, signatures, unlock slots, locked memory.
