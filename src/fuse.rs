//! The FUSE adapter: unpacks a request, calls [`crate::fs`], replies.
