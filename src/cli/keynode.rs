//! The KEYNODE operand: a file, a directory where one is mounted, or `@name` from the configuration.
//!
//! The configuration is `$XDG_CONFIG_HOME/pkfs/config.toml` (`~/.config` if that is not set):
//!
//! ```toml
//! [keynode.default]                  # what `@` alone means
//! file = "~/secrets/app.pk"          # relative to the home directory, unless absolute
//! passphrase-file = "/run/keys/app"  # or key = "…": where to look for what unlocks it
//! node = "0123…"                     # the node's fingerprint, if it shall be no other
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::mountinfo::{self, Mount};
use crate::error::{Error, Kind, Result};

/// What the operand led to.
#[derive(Debug)]
pub(super) struct Target {
    /// The keynode's file.
    pub(super) file: PathBuf,
    /// Where it is mounted, if the operand named a directory.
    pub(super) mount: Option<Mount>,
    /// What the configuration says of it.
    pub(super) configured: Configured,
}

/// A keynode in the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Configured {
    file: PathBuf,
    /// A file with a secret key.
    pub(super) key: Option<PathBuf>,
    /// A file with a passphrase.
    pub(super) passphrase_file: Option<PathBuf>,
    /// The node's fingerprint.
    pub(super) node: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    keynode: BTreeMap<String, Configured>,
}

impl Target {
    /// Finds what the operand means.
    ///
    /// # Errors
    ///
    /// A name that the configuration does not have, a configuration that cannot be read, a directory where no keynode
    /// is mounted.
    pub(super) fn resolve(operand: &OsStr) -> Result<Self> {
        if let Some(name) = operand.as_bytes().strip_prefix(b"@") {
            let name = if name.is_empty() { "default".into() } else { String::from_utf8_lossy(name) };
            let configured = configured(&name)?;
            return Ok(Self { file: configured.file.clone(), mount: None, configured });
        }
        let file = PathBuf::from(operand);
        if !mountinfo::is_directory(&file) {
            return Ok(Self { file, mount: None, configured: Configured::default() });
        }
        let Some(mount) = mountinfo::at(&file)? else {
            return Err(Error::new(Kind::IsDirectory, "a directory, and no keynode is mounted there")
                .hint("name the keynode's file"));
        };
        Ok(Self { file: mount.source.clone(), mount: Some(mount), configured: Configured::default() })
    }
}

fn configured(name: &str) -> Result<Configured> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute());
    let directory = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|d| d.is_absolute());
    let directory = directory.or_else(|| home.as_ref().map(|h| h.join(".config")));
    let file = directory.map(|d| d.join("pkfs/config.toml")).ok_or_else(|| {
        Error::not_found("no configuration: neither XDG_CONFIG_HOME nor HOME is set").hint("name the keynode's file")
    })?;
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io("read", &file, e)),
    };
    lookup(&text, &file, name, home.as_deref().unwrap_or(Path::new("/")))
}

fn lookup(text: &str, file: &Path, name: &str, home: &Path) -> Result<Configured> {
    let configuration: Configuration = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| text.bytes().take(span.start).filter(|&b| b == b'\n').count() + 1);
        Error::new(Kind::Invalid, format!("{}: line {line}: {}", file.display(), e.message())).because(e)
    })?;
    let mut found = configuration.keynode.get(name).cloned().ok_or_else(|| {
        let known: Vec<_> = configuration.keynode.keys().map(|k| format!("@{k}")).collect();
        let hint = if known.is_empty() {
            format!("add it: [keynode.{name}] with file = \"…\"")
        } else {
            format!("there are {}", known.join(", "))
        };
        Error::not_found(format!("no keynode @{name} in {}", file.display())).hint(hint)
    })?;
    found.file = at_home(&found.file, home);
    found.key = found.key.map(|p| at_home(&p, home));
    found.passphrase_file = found.passphrase_file.map(|p| at_home(&p, home));
    Ok(found)
}

/// `~/x` and `x` are in the home directory.
fn at_home(path: &Path, home: &Path) -> PathBuf {
    home.join(path.strip_prefix("~").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "[keynode.default]\nfile = '~/a.pk'\n[keynode.b]\nfile = '/b.pk'\npassphrase-file = 'pw'\n";

    #[test]
    fn names_lead_to_files() {
        let get = |name| lookup(TEXT, Path::new("c"), name, Path::new("/h"));
        assert_eq!(get("default").unwrap().file, Path::new("/h/a.pk"));
        let b = get("b").unwrap();
        assert_eq!((b.file.as_path(), b.passphrase_file), (Path::new("/b.pk"), Some(PathBuf::from("/h/pw"))));
        let missing = get("c").unwrap_err();
        assert_eq!((missing.kind(), missing.next_step()), (Kind::NotFound, Some("there are @b, @default")));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let error = lookup("\n[keynode.a]\nfiel = 'x'\n", Path::new("c.toml"), "a", Path::new("/")).unwrap_err();
        assert!(error.message().starts_with("c.toml: line 3: "), "{}", error.message());
    }
}
