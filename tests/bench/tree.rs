//! The tree that every file system under test holds: small secrets in directories of a hundred, and one large file.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Bytes of a small secret.
pub const SMALL: usize = 64;

/// Bytes of the large file: the most that pkfs takes.
pub const LARGE: usize = 64 << 20;

/// The large file's name in the top directory.
pub const LARGE_NAME: &str = "large";

/// Secrets in one directory.
pub const PER_DIRECTORY: usize = 100;

/// Small numbers that look random, the same in each run (xorshift64).
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// The numbers below `count` in a random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let other = usize::try_from(self.next() % (last as u64 + 1)).unwrap_or(0);
            order.swap(last, other);
        }
        order
    }
}

pub fn directory_name(n: usize) -> String {
    format!("d{n:04}")
}

pub fn secret_name(n: usize) -> String {
    format!("s{:02}", n % PER_DIRECTORY)
}

/// The path of a secret in a tree that begins at `root`.
pub fn secret(root: &Path, n: usize) -> PathBuf {
    root.join(directory_name(n / PER_DIRECTORY)).join(secret_name(n))
}

/// What a secret holds.
pub fn value(n: usize) -> [u8; SMALL] {
    let mut value = [0; SMALL];
    Random::new(n as u64 + 1).fill(&mut value);
    value
}

/// A path as system calls take it.
pub fn c_path(path: &Path) -> Outcome<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Makes the tree.
pub fn fill(root: &Path, secrets: usize) -> io::Result<()> {
    for n in 0..secrets {
        if n % PER_DIRECTORY == 0 {
            fs::create_dir(root.join(directory_name(n / PER_DIRECTORY)))?;
        }
        fs::write(secret(root, n), value(n))?;
    }
    let mut large = vec![0; LARGE];
    Random::new(0).fill(&mut large);
    fs::write(root.join(LARGE_NAME), large)
}
