//! The model: what a keynode is.
