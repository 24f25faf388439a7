//! The file: tar members, git objects and refs; append, compact.
