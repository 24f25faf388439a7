//! The `pkfs` command.

fn main() {}
