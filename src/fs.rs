//! The mounted tree without FUSE: inodes, handles, history, caches.
