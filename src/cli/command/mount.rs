//! `pkfs mount` and `pkfs umount`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg};
use super::super::exit::DONE;
use super::super::keynode::Target;
use super::super::{notify, quantity, rules_file, verbosity};
use crate::error::{Error, Kind, Result};
use crate::fuse::{self, MountOptions, Unmounting, Usable, daemon};
use crate::node::ShareName;

/// Mount a keynode as a directory
///
/// Returns when the directory is ready; --foreground stays until it is unmounted, and tells a service manager that waits for
/// it (NOTIFY_SOCKET). SIGINT and SIGTERM unmount cleanly. -v logs each request: operation, path, caller, result and time, and
/// nothing of what files hold; in the background that goes to the system's log.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs mount app.pk /run/secrets\n  pkfs mount app.pk m --read-only -o allow_other")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in super::super) struct Mount {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// Where to mount it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Allow no change
    #[arg(long)]
    read_only: bool,
    /// Show this share alone, read-only
    #[arg(long, value_name = "SHARE")]
    view: Option<ShareName>,
    /// Decide by the shares and rules in this file instead of the keynode's (see `pkfs help rules`)
    #[arg(long, value_name = "FILE", conflicts_with = "view")]
    rules: Option<PathBuf>,
    /// Append a line of JSON to this file for each open and each refusal; SIGHUP begins it anew
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Open nothing that cannot be recorded
    #[arg(long, requires = "audit")]
    audit_required: bool,
    /// Run the commands that the keynode's shares carry; those of --rules are run in any case
    #[arg(long)]
    alerts: bool,
    /// Stay until it is unmounted
    #[arg(long)]
    foreground: bool,
    /// Let the kernel keep nothing of what files hold, but for files that are mapped
    #[arg(long)]
    no_page_cache: bool,
    /// Mount options, as mount(8) takes them; `pkfs help mount` has them all
    #[arg(short, value_name = "OPTS")]
    options: Vec<String>,
    /// How much data a secret may have, holes aside [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = quantity::size)]
    max_size: Option<u64>,
}

impl Mount {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let options = self.mount_options()?;
        let target = Target::resolve(&self.keynode.keynode)?;
        if let Some(mount) = &target.mount {
            return Err(Error::new(Kind::Invalid, format!("mounted already at {}", mount.point.display()))
                .hint("name the keynode's file to mount it twice"));
        }
        fuse::clear_dead(&self.directory)?;
        if !self.directory.is_dir() {
            let what = self.directory.display();
            return Err(match self.directory.symlink_metadata() {
                Ok(_) => Error::new(Kind::NotDirectory, format!("{what} is not a directory")),
                Err(e) => Error::io("mount on", &self.directory, e).hint(format!("mkdir {what}")),
            });
        }
        if self.foreground {
            self.serve(context, &target, options, notify::ready)?;
        } else {
            daemon::background(|ready| {
                let detach = || {
                    verbosity::detach();
                    ready.ready();
                };
                self.serve(context, &target, options, detach)
            })?;
        }
        Ok(DONE)
    }

    fn mount_options(&self) -> Result<MountOptions> {
        let mut options = MountOptions::parse(&self.options)?;
        options.read_only |= self.read_only || self.view.is_some();
        options.no_page_cache |= self.no_page_cache;
        options.audit = self
            .audit
            .as_ref()
            .map(std::path::absolute)
            .transpose()
            .map_err(|e| Error::new(Kind::Failed, "the working directory is gone").because(e))?;
        options.audit_required = self.audit_required;
        options.alerts = self.alerts;
        options.view.clone_from(&self.view);
        options.rules = self.rules.as_deref().map(rules_file::read).transpose()?;
        if let Some(size) = self.max_size {
            options.max_size = size;
        }
        Ok(options)
    }

    /// Unlocks and serves: in the background, all of this happens in the process that stays.
    fn serve<U: Usable>(
        &self,
        context: &Context,
        target: &Target,
        mut options: MountOptions,
        ready: impl FnOnce() -> U + Send,
    ) -> Result<()> {
        let access = if options.read_only { Access::Read } else { Access::Write };
        let keynode = context.open_to_serve(target, access)?;
        if let Some(why) = keynode.read_only().filter(|_| !options.read_only) {
            context.note(format_args!("{}: mounted read-only: {why}", target.file.display()));
            options.read_only = true;
        }
        let silent = !options.alerts && options.rules.is_none();
        // Whether shares that cannot be read keep it from being mounted is not decided here.
        let carry = || keynode.shares(&keynode.snapshot()).is_ok_and(|shares| shares.has_alerts());
        if silent && carry() {
            context.note("shares carry alerts, which this mount does not run: it would with --alerts");
        }
        if options.fs_name.is_empty() {
            options.fs_name = source(keynode.path());
        }
        fuse::serve(keynode, &self.directory, options, ready)
    }
}

/// The mount's source: the keynode's absolute path, by which other commands find the file again.
fn source(file: &Path) -> String {
    file.canonicalize().unwrap_or_else(|_| file.to_owned()).to_string_lossy().into_owned()
}

/// Unmount
///
/// What waits in the mount's memory is on disk when it returns. A mount that is in use stays, and who holds it is named.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs umount /run/secrets\n  pkfs umount /run/secrets --lazy")]
pub(in super::super) struct Umount {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Take it out of sight now, even if it is in use; it ends, and is saved, with the last file that is open
    #[arg(long)]
    lazy: bool,
    /// Do not wait for a mount that answers no more
    #[arg(long, conflicts_with = "lazy")]
    force: bool,
}

impl Umount {
    pub(in super::super) fn run(self) -> Result<u8> {
        let how = match (self.lazy, self.force) {
            (true, _) => Unmounting::Lazy,
            (_, true) => Unmounting::Forced,
            _ => Unmounting::Whole,
        };
        fuse::unmount(&self.directory, how)?;
        Ok(DONE)
    }
}
