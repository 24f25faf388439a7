//! The subcommands, one file each.

mod compact;
mod completions;
mod cp;
mod diff;
pub(super) mod export;
mod fsck;
mod get;
mod help;
mod import;
mod info;
mod init;
mod install;
mod ln;
mod log;
mod ls;
mod mount;
mod mv;
mod passwd;
mod put;
mod restore;
mod rm;
mod run;
mod share;
mod slot;
mod unlock;
mod why;

use std::ffi::OsStr;

use clap::{Command as Parser, Subcommand};

use super::context::Context;
use crate::error::Result;

/// What to do.
#[derive(Debug, Subcommand)]
// Only the options of the command that is given are made.
#[command(defer = true)]
pub(super) enum Command {
    Init(init::Init),
    Info(info::Info),
    Fsck(fsck::Fsck),
    Compact(compact::Compact),
    Put(put::Put),
    Get(get::Get),
    Ls(ls::Ls),
    Rm(rm::Rm),
    Mv(mv::Mv),
    Cp(cp::Cp),
    Ln(ln::Ln),
    Log(log::Log),
    Diff(diff::Diff),
    Restore(restore::Restore),
    Import(import::Import),
    Export(export::Export),
    Slot(slot::Slot),
    Passwd(passwd::Passwd),
    Unlock(unlock::Unlock),
    Lock(unlock::Lock),
    Share(share::Share),
    Mount(mount::Mount),
    Umount(mount::Umount),
    Run(run::Run),
    Why(why::Why),
    Completions(completions::Completions),
    Install(install::Install),
    Help(help::Help),
}

/// The commands in `pkfs --help`, in groups.
pub(super) const GROUPS: [(&str, &[&str]); 8] = [
    ("Make and keep", &["init", "info", "fsck", "compact"]),
    ("Values", &["put", "get", "ls", "rm", "mv", "cp", "ln"]),
    ("History", &["log", "diff", "restore"]),
    ("In and out", &["import", "export"]),
    ("Unlocking", &["slot", "passwd", "unlock", "lock"]),
    ("Shares", &["share", "why"]),
    ("Mount", &["mount", "umount", "run"]),
    ("Help and system", &["help", "completions", "install"]),
];

impl Command {
    /// The KEYNODE operand, for messages; none for those that do not have one.
    pub(super) fn operand(&self) -> Option<&OsStr> {
        let keynode = match self {
            Self::Init(_)
            | Self::Umount(_)
            | Self::Why(_)
            | Self::Completions(_)
            | Self::Install(_)
            | Self::Help(_) => return None,
            Self::Info(c) => &c.keynode,
            Self::Fsck(c) => &c.keynode,
            Self::Compact(c) => &c.keynode,
            Self::Put(c) => &c.keynode,
            Self::Get(c) => &c.keynode,
            Self::Ls(c) => &c.keynode,
            Self::Rm(c) => &c.keynode,
            Self::Mv(c) => &c.keynode,
            Self::Cp(c) => &c.keynode,
            Self::Ln(c) => &c.keynode,
            Self::Log(c) => &c.keynode,
            Self::Diff(c) => &c.keynode,
            Self::Restore(c) => &c.keynode,
            Self::Import(c) => &c.keynode,
            Self::Export(c) => &c.keynode,
            Self::Slot(c) => c.keynode(),
            Self::Share(c) => c.keynode(),
            Self::Passwd(c) => &c.keynode,
            Self::Unlock(c) => &c.keynode,
            Self::Lock(c) => &c.keynode,
            Self::Mount(c) => &c.keynode,
            Self::Run(c) => &c.keynode,
        };
        Some(&keynode.keynode)
    }

    /// Does it, and gives the exit status; `parser` is the whole command line's.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being done.
    pub(super) fn run(self, context: &Context, parser: impl FnOnce() -> Parser) -> Result<u8> {
        match self {
            Self::Init(c) => c.run(context),
            Self::Info(c) => c.run(context),
            Self::Fsck(c) => c.run(context),
            Self::Compact(c) => c.run(context),
            Self::Put(c) => c.run(context),
            Self::Get(c) => c.run(context),
            Self::Ls(c) => c.run(context),
            Self::Rm(c) => c.run(context),
            Self::Mv(c) => c.run(context),
            Self::Cp(c) => c.run(context),
            Self::Ln(c) => c.run(context),
            Self::Log(c) => c.run(context),
            Self::Diff(c) => c.run(context),
            Self::Restore(c) => c.run(context),
            Self::Import(c) => c.run(context),
            Self::Export(c) => c.run(context),
            Self::Slot(c) => c.run(context),
            Self::Share(c) => c.run(context),
            Self::Passwd(c) => c.run(context),
            Self::Unlock(c) => c.run(context),
            Self::Lock(c) => c.run(context),
            Self::Mount(c) => c.run(context),
            Self::Umount(c) => c.run(),
            Self::Why(c) => c.run(),
            Self::Run(c) => c.run(context),
            Self::Completions(c) => c.run(parser()),
            Self::Install(c) => c.run(context, &parser()),
            Self::Help(c) => c.run(parser()),
        }
    }
}
