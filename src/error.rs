//! The crate's one error type.
//!
//! An error says what happened, to which path, and what to do next. Its [`Kind`] decides the exit status of a command
//! ([`Kind::exit_status`]) and, in the mount, the errno and the level at which it is logged.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

/// What sort of failure this is, for those who must act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a kind of its own.
    Failed,
    /// An option or argument of the command line that can never be right.
    Usage,
    /// No passphrase, key or slot opened the keynode.
    Unlock,
    /// A check of integrity failed: damaged or tampered with.
    Damaged,
    /// No such secret, version, directory or slot.
    NotFound,
    /// The name exists already.
    Exists,
    /// A directory where a secret was wanted.
    IsDirectory,
    /// Something else where a directory was wanted.
    NotDirectory,
    /// A directory that is not empty.
    NotEmpty,
    /// Not permitted by file permissions, capability or view.
    NotPermitted,
    /// The keynode cannot be written to.
    ReadOnly,
    /// Something that can never be right (a bad name, a move into itself).
    Invalid,
    /// A name is longer than 255 bytes.
    NameTooLong,
    /// A value exceeds its limit.
    TooLarge,
    /// The file system that holds the keynode is full.
    NoSpace,
    /// Older than what was seen before, another node, or diverged: a decision is needed.
    Diverged,
    /// There is something to report (`diff`, `status`); not a failure.
    Report,
}

impl Kind {
    /// The exit status of a command that ends with this kind of error.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Unlock => 3,
            Self::Damaged => 4,
            Self::NotFound => 5,
            Self::NotPermitted | Self::ReadOnly => 6,
            Self::Diverged => 7,
            Self::Report => 8,
            _ => 1,
        }
    }
}

/// An error: a kind, a plain sentence, perhaps a hint, perhaps the error below it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind with a plain message (no trailing full stop, no secret in it).
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// A damaged or forged piece of a keynode.
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, message)
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A failed system call: what was attempted on which host path.
    pub fn io(what: &str, path: &Path, source: io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Kind::NoSpace,
            Some(libc::EACCES | libc::EPERM) => Kind::NotPermitted,
            Some(libc::EROFS) => Kind::ReadOnly,
            Some(libc::ENOENT) => Kind::NotFound,
            Some(libc::EFBIG) => Kind::TooLarge,
            _ => Kind::Failed,
        };
        Self::new(kind, format!("cannot {what} {}: {}", path.display(), plain(&source))).because(source)
    }

    /// A failed system call on what has no path: what was attempted.
    pub fn system(what: impl fmt::Display, source: io::Error) -> Self {
        Self::new(Kind::Failed, format!("cannot {what}: {}", plain(&source))).because(source)
    }

    /// Adds what to do next, shown on a line of its own or in parentheses.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error below this one, shown with `-v` only.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts the thing that it happened to in front of the message: `db/password: …`.
    #[must_use]
    pub fn at(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What sort of failure this is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The plain message, without hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, if anything is known.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The text of an I/O error without the library's `(os error 2)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}
