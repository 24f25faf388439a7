//! Mount options, as mount(8) takes them.

use std::path::PathBuf;

use fuser::{Config, MountOption, SessionACL};

use crate::error::{Error, Kind, Result};
use crate::fs;
use crate::node::{ShareName, Shares};

/// How a keynode is mounted.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word of mount(8)")]
pub struct MountOptions {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Users other than the one who mounts may look; file permissions decide what they see.
    pub allow_other: bool,
    /// Set-user-id bits count.
    pub suid: bool,
    /// Device nodes count.
    pub dev: bool,
    /// Programs may be executed.
    pub exec: bool,
    /// Budget in bytes for decrypted contents.
    pub cache_bytes: usize,
    /// The largest secret in bytes.
    pub max_size: u64,
    /// Shown as the owner of everything.
    pub uid: Option<u32>,
    /// Shown as the group of everything.
    pub gid: Option<u32>,
    /// Permission bits to hide.
    pub umask: Option<u32>,
    /// The kernel keeps nothing of what files hold, but for files that are mapped.
    pub no_page_cache: bool,
    /// Secrets have extended attributes.
    pub xattr: bool,
    /// What /proc/mounts shows as the source; empty: the keynode's path.
    pub fs_name: String,
    /// Show this share alone, read-only.
    pub view: Option<ShareName>,
    /// Shares and rules in place of the keynode's.
    pub rules: Option<Shares>,
    /// Record opens in this file.
    pub audit: Option<PathBuf>,
    /// Refuse what cannot be recorded.
    pub audit_required: bool,
    /// Run the commands that the keynode's shares carry.
    pub alerts: bool,
    /// In a namespace of its own: others than who mounts cannot get there, and no rules are asked for.
    pub alone: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        let fs::Options { read_only, cache_bytes, max_size, uid, gid, umask, .. } = fs::Options::default();
        Self {
            read_only,
            allow_other: false,
            suid: false,
            dev: false,
            exec: false,
            cache_bytes,
            max_size,
            uid,
            gid,
            umask,
            no_page_cache: false,
            xattr: false,
            fs_name: String::new(),
            view: None,
            rules: None,
            audit: None,
            audit_required: false,
            alerts: false,
            alone: false,
        }
    }
}

impl MountOptions {
    /// Reads the arguments of `-o`, each a list with commas; a later word wins.
    ///
    /// # Errors
    /// `Usage` for an unknown word or a bad value.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for word in arguments.iter().flat_map(|argument| argument.split(',')).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
            options.set(word, key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, key: &str, value: Option<&str>) -> Result<()> {
        match (key, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("allow_other", None) => self.allow_other = true,
            ("suid", None) => self.suid = true,
            ("nosuid", None) => self.suid = false,
            ("dev", None) => self.dev = true,
            ("nodev", None) => self.dev = false,
            ("exec", None) => self.exec = true,
            ("noexec", None) => self.exec = false,
            ("no_page_cache", None) => self.no_page_cache = true,
            ("xattr", None) => self.xattr = true,
            ("remount", _) => {
                return Err(Error::new(Kind::Usage, "a mounted keynode cannot be remounted")
                    .hint("unmount it, and mount it again as it shall be"));
            }
            (key, _) if is_without_meaning(key) => {}
            ("cache", Some(value)) => {
                let bytes = size(value).and_then(|bytes| usize::try_from(bytes).ok());
                self.cache_bytes = bytes.ok_or_else(|| bad(word, "a size in bytes, such as 64M"))?;
            }
            ("max_size", Some(value)) => {
                self.max_size = size(value).ok_or_else(|| bad(word, "a size in bytes, such as 64M"))?;
            }
            ("uid", Some(value)) => self.uid = Some(value.parse().map_err(|_| bad(word, "a user's number"))?),
            ("gid", Some(value)) => self.gid = Some(value.parse().map_err(|_| bad(word, "a group's number"))?),
            ("umask", Some(value)) => {
                let umask = u32::from_str_radix(value, 8).ok().filter(|umask| *umask <= 0o777);
                self.umask = Some(umask.ok_or_else(|| bad(word, "an octal number up to 777"))?);
            }
            _ => {
                return Err(Error::new(Kind::Usage, format!("unknown mount option {word}")).hint(
                    "known are ro, rw, allow_other, suid, dev, exec, no_page_cache, xattr, cache=, max_size=, uid=, gid=, umask=",
                ));
            }
        }
        Ok(())
    }

    /// What the tree needs to know.
    pub(super) fn for_fs(&self) -> fs::Options {
        let Self { read_only, cache_bytes, max_size, uid, gid, umask, .. } = *self;
        fs::Options { read_only, cache_bytes, max_size, uid, gid, umask, open_modes: false }
    }

    /// What the session needs to know.
    pub(super) fn for_session(&self) -> Config {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(self.source()),
            MountOption::CUSTOM("subtype=pkfs".into()),
            MountOption::DefaultPermissions,
            // Of a read-only mount too: the mount's own process changes names, for inotify. Others get EROFS from us.
            MountOption::RW,
            if self.suid { MountOption::Suid } else { MountOption::NoSuid },
            if self.dev { MountOption::Dev } else { MountOption::NoDev },
            if self.exec { MountOption::Exec } else { MountOption::NoExec },
        ];
        config.acl = if self.allow_other { SessionACL::All } else { SessionACL::Owner };
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        config.n_threads = Some(processors.clamp(2, 8));
        config.clone_fd = true;
        config
    }

    /// The source; fusermount, which mounts for everybody but root, reads commas as separators.
    fn source(&self) -> String {
        if rustix::process::geteuid().is_root() {
            self.fs_name.clone()
        } else {
            self.fs_name.replace('\\', "\\\\").replace(',', "\\,")
        }
    }
}

/// A number of bytes, perhaps with K, M or G.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'k', 'M', 'm', 'G', 'g']);
    let shift = match text.get(digits.len()..)? {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn bad(word: &str, wanted: &str) -> Error {
    Error::new(Kind::Usage, format!("mount option {word}: {wanted} is wanted"))
}

/// Words that mount(8), fstab and systemd pass on, and that say nothing here: access times are never updated by reading,
/// and what was closed is on disk.
fn is_without_meaning(word: &str) -> bool {
    const WORDS: &str = "defaults default_permissions auto noauto nofail _netdev comment silent loud \
        user nouser users owner group \
        atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime \
        sync async dirsync";
    WORDS.split_whitespace().any(|known| known == word) || word.starts_with("x-") || word.starts_with("X-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<MountOptions> {
        MountOptions::parse(&arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn later_words_win_and_sizes_have_units() {
        let options = parse(&["ro,allow_other,cache=1M", "rw,umask=077,uid=5"]).unwrap();
        assert!(!options.read_only && options.allow_other && !options.exec);
        assert_eq!((options.cache_bytes, options.umask, options.uid), (1 << 20, Some(0o77), Some(5)));
        assert_eq!(parse(&[""]).unwrap().max_size, 64 << 20);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for word in ["nonsense", "cache", "cache=x", "cache=-1", "cache=1KK", "umask=999", "umask=1777", "uid=", "ro=1"]
        {
            assert_eq!(parse(&[word]).unwrap_err().kind(), Kind::Usage, "{word}");
        }
        assert!(parse(&["remount,ro"]).unwrap_err().message().contains("remounted"));
    }

    #[test]
    fn what_fstab_says_to_others_is_passed_over() {
        parse(&["rw,nofail,users,user=me,relatime,_netdev,x-systemd.requires=a.service,comment=mine"]).unwrap();
    }
}
