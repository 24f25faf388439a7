//! `pkfs install`: what the system must find to know pkfs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use rustix::fs::Mode;

use super::super::context::Context;
use super::super::exit::DONE;
use super::super::output::ListArgs;
use super::super::plan::{self, Step};
use super::super::{manual, mount_helper};
use crate::error::{Error, Kind, Result};
use crate::node::ItemId;

/// Units of systemd: for all users, and for one.
const UNITS: [(&str, &str); 2] = [
    ("system/pkfs@.service", include_str!("../../../examples/systemd/pkfs@.service")),
    ("user/pkfs@.service", include_str!("../../../examples/systemd/user/pkfs@.service")),
];

/// How the units call the program, before it is known where it will be.
const PROGRAM: &str = "/usr/bin/pkfs";

/// Install the program for the whole system, or remove it again
///
/// That is: the program itself, what `mount -t fuse.pkfs` and umount(8) need, manual pages, completions for shells and units
/// of systemd. What is there is replaced.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs install --dry-run\n  pkfs install\n\nFor a package:\n  pkfs install --prefix /usr --sbindir /usr/sbin --destdir build/root"
)]
pub(in super::super) struct Install {
    /// Below which directory
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// Where mount(8) looks for its helpers
    #[arg(long, value_name = "DIR", default_value = "/sbin")]
    sbindir: PathBuf,
    /// Put all of it below this directory, to be copied from there
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
    /// Remove what was installed
    #[arg(long)]
    remove: bool,
    /// Only say what would be done
    #[arg(short = 'N', long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// A file of the installed system.
struct Item {
    path: PathBuf,
    what: What,
}

enum What {
    /// This program.
    Program,
    /// A symbolic link to this path.
    Link(PathBuf),
    Text(Vec<u8>),
}

impl Install {
    pub(in super::super) fn run(self, context: &Context, parser: &Command) -> Result<u8> {
        for directory in [&self.prefix, &self.sbindir] {
            if !directory.is_absolute() {
                return Err(Error::new(Kind::Usage, format!("{} is not an absolute path", directory.display()))
                    .hint("--destdir may be relative"));
            }
        }
        let items = self.items(parser)?;
        let mut steps = Vec::new();
        // What is installed is for everybody, whatever files are usually made for.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for item in &items {
            let place = self.place(&item.path);
            if self.remove {
                if item.is_at(&place) {
                    steps.push(Step::on_host("remove", &place));
                    self.unless_dry(|| fs::remove_file(&place).map_err(|e| Error::io("remove", &place, e)))?;
                }
            } else {
                steps.push(Step::on_host("install", &place));
                self.unless_dry(|| item.install(&place).map_err(|e| Error::io("install", &place, e)))?;
            }
        }
        plan::show(&steps, self.list)?;
        if self.destdir.is_none() && !self.dry_run && Path::new("/run/systemd/system").exists() {
            context.note("systemctl daemon-reload makes the units known");
        }
        Ok(DONE)
    }

    fn unless_dry(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.dry_run { Ok(()) } else { work() }
    }

    /// Where a path of the installed system is now.
    fn place(&self, path: &Path) -> PathBuf {
        match &self.destdir {
            Some(destdir) => destdir.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    fn items(&self, parser: &Command) -> Result<Vec<Item>> {
        let program = self.prefix.join("bin/pkfs");
        let mut items = vec![Item { path: program.clone(), what: What::Program }];
        for helper in [mount_helper::MOUNT, mount_helper::UMOUNT] {
            items.push(Item { path: self.sbindir.join(helper), what: What::Link(program.clone()) });
        }
        let text = |path: String, text| Item { path: self.prefix.join(path), what: What::Text(text) };
        let pages = manual::pages(parser.clone())
            .map_err(|e| Error::new(Kind::Failed, "cannot make the manual pages").because(e))?;
        for (name, page) in pages {
            let section = name.rsplit('.').next().unwrap_or_default();
            items.push(text(format!("share/man/man{section}/{name}"), page));
        }
        for (shell, path) in [
            (Shell::Bash, "share/bash-completion/completions/pkfs"),
            (Shell::Fish, "share/fish/vendor_completions.d/pkfs.fish"),
            (Shell::Zsh, "share/zsh/site-functions/_pkfs"),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut parser.clone(), "pkfs", &mut script);
            items.push(text(path.to_owned(), script));
        }
        for (name, unit) in UNITS {
            let unit = unit.replace(PROGRAM, &program.to_string_lossy());
            items.push(text(format!("lib/systemd/{name}"), unit.into()));
        }
        Ok(items)
    }
}

impl Item {
    /// Puts it there at once: nobody sees half of it, and a program that is running goes on.
    fn install(&self, place: &Path) -> io::Result<()> {
        if matches!(self.what, What::Program) && is_running(place) {
            return Ok(());
        }
        let parent = place.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let beside = parent.join(format!(".pkfs-{:.8}", ItemId::random().to_string()));
        let made = match &self.what {
            What::Link(target) => symlink(target, &beside),
            What::Text(text) => new_file(&beside, 0o644).and_then(|mut file| file.write_all(text)),
            What::Program => new_file(&beside, 0o755)
                .and_then(|mut file| io::copy(&mut File::open("/proc/self/exe")?, &mut file).map(drop)),
        };
        made.and_then(|()| fs::rename(&beside, place)).inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
    }

    /// Whether it is there to be removed. A link that leads elsewhere is somebody else's.
    fn is_at(&self, place: &Path) -> bool {
        match &self.what {
            What::Link(target) => fs::read_link(place).is_ok_and(|link| link == *target),
            _ => place.is_file(),
        }
    }
}

/// Whether this is the program that is running.
fn is_running(place: &Path) -> bool {
    place.canonicalize().is_ok_and(|place| fs::read_link("/proc/self/exe").is_ok_and(|own| own == place))
}

fn new_file(path: &Path, mode: u32) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(mode).open(path)
}
