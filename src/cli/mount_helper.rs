//! `mount.fuse.pkfs` and `umount.fuse.pkfs`: pkfs as mount(8) and umount(8) call it, for fstab and systemd's mount units.
//!
//! Either is put into the words of `pkfs mount` and `pkfs umount`: there is one way to do it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::exit;
use crate::error::{Error, Result};
use crate::fuse::MountOptions;

/// What mount(8) and umount(8) look for in /sbin.
pub(super) const MOUNT: &str = "mount.fuse.pkfs";
pub(super) const UMOUNT: &str = "umount.fuse.pkfs";

/// Exit statuses of mount(8): wrong usage; not mounted, or not unmounted.
const USAGE: u8 = 1;
const FAILED: u8 = 32;

/// Mount a keynode for mount(8) and fstab(5)
///
/// Called by `mount -t fuse.pkfs KEYNODE DIR -o OPTS`; it returns when the directory is ready, and the mount goes on in the
/// background. OPTS are those of `pkfs mount -o`, and what unlocks the keynode, which never holds a secret itself:
/// passphrase_file=FILE, key=FILE, node=FINGERPRINT, allow_rollback. Without them it is unlocked as by any other command, see
/// `pkfs help unlocking`. The other arguments of `pkfs mount` are view=SHARE, rules=FILE, audit=FILE, audit_required and
/// alerts. A comma ends an option, so none can be in the name of a file.
///
/// The exit status is that of mount(8): 0 done, 1 wrong usage, 32 not mounted.
#[derive(Debug, Parser)]
#[command(name = MOUNT, version)]
#[command(
    after_help = "Example:\n  mount -t fuse.pkfs app.pk /run/secrets -o key=/etc/app.key,allow_other\n\nIn /etc/fstab:\n  /srv/app.pk /run/secrets fuse.pkfs key=/etc/app.key,allow_other,nofail 0 0"
)]
pub(super) struct MountHelper {
    /// A keynode's file, or @name from the configuration
    #[arg(value_name = "KEYNODE")]
    keynode: OsString,
    /// Where to mount it
    #[arg(value_name = "DIR")]
    directory: OsString,
    /// Mount options
    #[arg(short, value_name = "OPTS")]
    options: Vec<String>,
    /// Leave out options that are not known
    #[arg(short)]
    sloppy: bool,
    /// Do nothing
    #[arg(short)]
    fake: bool,
    #[command(flatten)]
    common: Common,
}

/// Unmount a keynode for umount(8)
///
/// Called by `umount DIR`, so that what waits in the mount's memory is on disk when umount returns, and whoever holds a busy
/// mount is named. The exit status is that of umount(8): 0 done, 1 wrong usage, 32 not unmounted.
#[derive(Debug, Parser)]
#[command(name = UMOUNT, version, after_help = "Example:\n  umount /run/secrets")]
pub(super) struct UmountHelper {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    directory: OsString,
    /// Do not wait for a mount that answers no more
    #[arg(short)]
    force: bool,
    /// Take a busy mount out of sight now
    #[arg(short)]
    lazy: bool,
    /// Changes nothing: what is busy stays as it is
    #[arg(short)]
    read_only: bool,
    #[command(flatten)]
    common: Common,
}

/// What mount(8) and umount(8) say to both.
#[derive(Debug, Args)]
struct Common {
    /// Do it in this mount namespace
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<PathBuf>,
    /// Changes nothing: there is no /etc/mtab to be written
    #[arg(short)]
    no_mtab: bool,
    /// Changes nothing: there is little to be said
    #[arg(short)]
    verbose: bool,
    /// Changes nothing: there is one type
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<OsString>,
}

/// The names that the program has besides its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Mount,
    Umount,
}

impl Helper {
    /// The one that the program was called as.
    pub(super) fn called(program: Option<&OsString>) -> Option<Self> {
        let name = program.map(Path::new).and_then(Path::file_name)?;
        match name.to_str()? {
            MOUNT => Some(Self::Mount),
            UMOUNT => Some(Self::Umount),
            _ => None,
        }
    }

    /// Does it by way of `pkfs`, the command line; the exit status is one of mount(8)'s.
    pub(super) fn run(self, arguments: &[OsString], pkfs: impl FnOnce(Vec<OsString>) -> u8) -> u8 {
        let parsed = match self {
            Self::Mount => MountHelper::try_parse_from(arguments).map(|h| (h.words(), h.fake, h.common)),
            Self::Umount => UmountHelper::try_parse_from(arguments).map(|h| (h.words(), false, h.common)),
        };
        let (words, fake, common) = match parsed {
            Ok(parsed) => parsed,
            Err(e) => {
                // Nobody is left to be told when the output is closed.
                let _ = e.print();
                return if e.exit_code() == 0 { 0 } else { USAGE };
            }
        };
        if fake {
            return 0;
        }
        if let Some(Err(e)) = common.namespace.as_deref().map(enter) {
            exit::tell(&e, false);
            return FAILED;
        }
        match pkfs(words) {
            exit::DONE => 0,
            exit::USAGE => USAGE,
            _ => FAILED,
        }
    }
}

impl MountHelper {
    /// In the words of `pkfs mount`.
    fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["pkfs", "mount"].map(OsString::from).into();
        let mut rest = Vec::new();
        for option in self.options.iter().flat_map(|list| list.split(',')) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("passphrase_file", file) => words.extend([argument("--passphrase-file", file)]),
                ("key", file) => words.extend([argument("--key", file)]),
                ("node", fingerprint) => words.extend([argument("--node", fingerprint)]),
                ("view", share) => words.extend([argument("--view", share)]),
                ("rules", file) => words.extend([argument("--rules", file)]),
                ("audit", file) => words.extend([argument("--audit", file)]),
                ("audit_required", "") => words.push("--audit-required".into()),
                ("alerts", "") => words.push("--alerts".into()),
                ("allow_rollback", "") => words.push("--allow-rollback".into()),
                _ if self.sloppy && MountOptions::parse(&[option.to_owned()]).is_err() => {}
                _ => rest.push(option),
            }
        }
        words.extend(["-o".into(), rest.join(",").into()]);
        words.extend(["--".into(), self.keynode.clone(), self.directory.clone()]);
        words
    }
}

impl UmountHelper {
    /// In the words of `pkfs umount`.
    fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["pkfs", "umount"].map(OsString::from).into();
        words.extend(self.lazy.then(|| "--lazy".into()));
        words.extend((self.force && !self.lazy).then(|| "--force".into()));
        words.extend(["--".into(), self.directory.clone()]);
        words
    }
}

fn argument(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut argument = OsString::from(name);
    argument.push("=");
    argument.push(value);
    argument
}

/// From here on this process sees the mounts of another namespace.
fn enter(namespace: &Path) -> Result<()> {
    let failed = |e| Error::io("enter the namespace", namespace, e);
    let file = File::open(namespace).map_err(failed)?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Mount))
        .map_err(|e| failed(e.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The helper's exit status, and the words that `pkfs` got.
    fn called(line: &str, answer: u8) -> (u8, Option<String>) {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let mut got = None;
        let status = Helper::called(arguments.first()).unwrap().run(&arguments, |words| {
            got = Some(words.join(OsStr::new(" ")).into_string().unwrap());
            answer
        });
        (status, got)
    }

    #[test]
    fn the_parsers_are_sound() {
        MountHelper::command().debug_assert();
        UmountHelper::command().debug_assert();
    }

    #[test]
    fn mount_is_put_into_our_words() {
        let (status, words) =
            called("/sbin/mount.fuse.pkfs a.pk /m -n -v -o ro,key=/k,noauto,node=AB,allow_rollback", 0);
        let expected = "pkfs mount --key=/k --node=AB --allow-rollback -o ro,noauto -- a.pk /m";
        assert_eq!((status, words.as_deref()), (0, Some(expected)));
        let (_, words) = called("mount.fuse.pkfs @a /m -s -t fuse.pkfs -o rw,nonsense,passphrase_file=/p", 0);
        assert_eq!(words.as_deref(), Some("pkfs mount --passphrase-file=/p -o rw -- @a /m"));
        let (_, words) = called("mount.fuse.pkfs a.pk /m -o view=web,audit=/a,audit_required,alerts,ro", 0);
        let expected = "pkfs mount --view=web --audit=/a --audit-required --alerts -o ro -- a.pk /m";
        assert_eq!(words.as_deref(), Some(expected));
        assert_eq!(called("mount.fuse.pkfs a.pk /m -f", 0), (0, None));
    }

    #[test]
    fn umount_is_put_into_our_words() {
        assert_eq!(called("umount.fuse.pkfs /m", 0).1.as_deref(), Some("pkfs umount -- /m"));
        assert_eq!(called("umount.fuse.pkfs /m -n -f -l -r -v", 0).1.as_deref(), Some("pkfs umount --lazy -- /m"));
        assert_eq!(called("umount.fuse.pkfs /m -f", 0).1.as_deref(), Some("pkfs umount --force -- /m"));
    }

    #[test]
    fn statuses_are_those_of_mount() {
        assert_eq!(called("mount.fuse.pkfs a.pk /m", 2).0, USAGE);
        assert_eq!(called("mount.fuse.pkfs a.pk /m", 3).0, FAILED);
        assert_eq!(called("mount.fuse.pkfs a.pk /m -N /nowhere/at/all", 0), (FAILED, None));
        assert_eq!(called("mount.fuse.pkfs a.pk", 0), (USAGE, None));
        assert_eq!(Helper::called(Some(&"/usr/bin/pkfs".into())), None);
    }
}
