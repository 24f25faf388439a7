//! How OpenSSL begins in this process.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// `OPENSSL_INIT_NO_LOAD_CONFIG` of `openssl/crypto.h`.
const NO_CONFIGURATION: u64 = 0x80;
/// `OPENSSL_INIT_NO_ATEXIT` of `openssl/crypto.h`.
const NO_CLEANING_AT_EXIT: u64 = 0x0008_0000;

unsafe extern "C" {
    fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
}

// It is this program's alone: a library that brings libssl, as one that looks up users may, keeps its own.
std::arch::global_asm!(".hidden OPENSSL_init_ssl");

/// What the `OpenPGP` library calls when the process starts, in place of libssl's function of this name, the only one of
/// libssl's that is wanted: so the linker leaves libssl out, which would take as long to load as a secret to decrypt, and
/// OpenSSL's settings, which nothing here uses, are not read, wherever `OPENSSL_CONF` says that they are. Nor are OpenSSL's tables taken apart when the
/// process ends, which gives them back faster; keys are freed, and wiped, by those that hold them.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "OpenSSL's name")]
extern "C" fn OPENSSL_init_ssl(options: u64, settings: *const c_void) -> c_int {
    // SAFETY: libssl's function hands its arguments on to this one just so, before it begins with TLS.
    unsafe { OPENSSL_init_crypto(options | NO_CONFIGURATION | NO_CLEANING_AT_EXIT, settings) }
}
