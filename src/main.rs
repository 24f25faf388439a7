//! The `pkfs` command.

mod openssl;

use std::process::ExitCode;

/// Whatever is freed is wiped before: copies of secrets that libraries make on the heap do not stay.
#[global_allocator]
static ALLOCATOR: pkfs::crypto::memory::WipingAllocator = pkfs::crypto::memory::WipingAllocator;

fn main() -> ExitCode {
    pkfs::crypto::process::harden_process();
    // SAFETY: no thread has been started yet.
    #[allow(unsafe_code)]
    unsafe {
        pkfs::crypto::process::fit_libraries();
    }
    pkfs::cli::run(std::env::args_os())
}
