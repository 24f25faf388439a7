//! The `pkfs` command.

use std::process::ExitCode;

/// Whatever is freed is wiped before: copies of secrets that libraries make on the heap do not stay.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    pkfs::crypto::process::harden_process();
    pkfs::cli::run(std::env::args_os())
}
