//! `pkfs share`: named subsets of the keynode, and which processes get them.

mod rules;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::exit::DONE;
use super::super::output::{self, ListArgs, Row};
use crate::error::{Error, Kind, Result};
use crate::node::{ItemPath, MOST_SHARES, Namespace, Share as NodeShare, ShareChange, ShareName, Shares};

/// Name parts of the keynode, and let processes see them
///
/// A share is paths, each with all that is or comes below it. On a mount by root, or with -o allow_other, each process
/// sees the union of the shares that it is allowed, read-only, and nothing else; DIR/.views/NAME shows one share alone,
/// to be bind-mounted into a container.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pkfs share create app.pk web web/tls db/web-password\n  pkfs share allow app.pk web --user www-data"
)]
pub(in super::super) struct Share {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Show(Show),
    Add(Add),
    Remove(Remove),
    Delete(Delete),
    Allow(rules::Allow),
    Deny(rules::Deny),
    Rules(rules::Rules),
}

/// A keynode and a share in it.
#[derive(Debug, Args)]
struct ShareArgs {
    #[command(flatten)]
    keynode: KeynodeArg,
    /// The share's name
    #[arg(value_name = "NAME")]
    name: ShareName,
}

/// Make a share of these paths
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share create app.pk web web/tls db/web-password")]
struct Create {
    #[command(flatten)]
    share: ShareArgs,
    /// What belongs to it, with all that is or comes below; / is everything
    #[arg(value_name = "PATH", value_parser = item_path())]
    paths: Vec<ItemPath>,
    /// Have `pkfs mount --alerts` run this when a secret of the share is opened or refused (see `pkfs help shares`)
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    alert: Option<String>,
}

/// List the shares
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share list app.pk")]
struct List {
    #[command(flatten)]
    keynode: KeynodeArg,
    #[command(flatten)]
    list: ListArgs,
}

/// Show a share's paths
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share show app.pk web")]
struct Show {
    #[command(flatten)]
    share: ShareArgs,
    #[command(flatten)]
    list: ListArgs,
}

/// Add paths to a share
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share add app.pk web web/session-key")]
struct Add {
    #[command(flatten)]
    share: ShareArgs,
    /// What else belongs to it
    #[arg(value_name = "PATH", value_parser = item_path(), required_unless_present = "alert")]
    paths: Vec<ItemPath>,
    /// Have `pkfs mount --alerts` run this when a secret of the share is opened or refused (see `pkfs help shares`)
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    alert: Option<String>,
}

/// Take paths out of a share
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share remove app.pk web web/session-key")]
struct Remove {
    #[command(flatten)]
    share: ShareArgs,
    /// The paths, as `share show` has them
    #[arg(value_name = "PATH", value_parser = item_path(), required_unless_present = "alert")]
    paths: Vec<ItemPath>,
    /// Take its alert away
    #[arg(long)]
    alert: bool,
}

/// Delete a share and its rules; what it covered stays
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs share delete app.pk web")]
struct Delete {
    #[command(flatten)]
    share: ShareArgs,
}

impl Share {
    /// The operand, for messages.
    pub(in super::super) fn keynode(&self) -> &KeynodeArg {
        match &self.verb {
            Verb::Create(verb) => &verb.share.keynode,
            Verb::List(verb) => &verb.keynode,
            Verb::Show(verb) => &verb.share.keynode,
            Verb::Add(verb) => &verb.share.keynode,
            Verb::Remove(verb) => &verb.share.keynode,
            Verb::Delete(verb) => &verb.share.keynode,
            Verb::Allow(verb) => &verb.share.keynode,
            Verb::Deny(verb) => &verb.share.keynode,
            Verb::Rules(verb) => &verb.keynode,
        }
    }

    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        match self.verb {
            Verb::Create(verb) => verb.run(context),
            Verb::List(verb) => verb.run(context),
            Verb::Show(verb) => verb.run(context),
            Verb::Add(verb) => verb.run(context),
            Verb::Remove(verb) => verb.run(context),
            Verb::Delete(verb) => verb.run(context),
            Verb::Allow(verb) => verb.run(context),
            Verb::Deny(verb) => verb.run(context),
            Verb::Rules(verb) => verb.run(context),
        }
    }
}

impl ShareArgs {
    /// Changes the shares in one transaction; tells of those of the paths that lead nowhere.
    fn change(
        &self,
        context: &Context,
        what: ShareChange,
        paths: &[ItemPath],
        edit: impl FnOnce(&mut Shares, &ShareName) -> Result<()>,
    ) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let mut transaction = keynode.begin()?;
        let mut shares = transaction.shares()?;
        let ruled = shares.has_rules();
        edit(&mut shares, &self.name)?;
        if shares.has_rules() && shares.0.len() > MOST_SHARES {
            let text = format!("with rules, a mount tells {MOST_SHARES} shares apart, and no more");
            return Err(Error::new(Kind::TooLarge, text).hint("`pkfs share delete` makes room"));
        }
        note_missing(context, transaction.namespace(), paths)?;
        transaction.set_shares(&shares, what, &self.name)?;
        transaction.commit()?;
        match (ruled, shares.has_rules()) {
            (false, true) => {
                context.note("this is the first rule: a mount from before it goes on without, until it is mounted anew");
            }
            (true, false) => context.note(
                "that was the last rule: a mount from before shows others nothing, and one that is made anew goes by file \
                 permissions",
            ),
            _ => {}
        }
        Ok(DONE)
    }
}

/// Tells of paths that lead nowhere yet: perhaps a slip of the pen.
fn note_missing(context: &Context, namespace: &Namespace, paths: &[ItemPath]) -> Result<()> {
    for path in paths {
        if path.is_reserved() {
            return Err(Error::new(
                Kind::Invalid,
                format!("{path}: a mount shows that; nothing of the keynode is there"),
            )
            .hint("share the paths that it is about"));
        }
        match namespace.resolve(path) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::NotDirectory) => {
                let near = error.next_step().map_or_else(String::new, |hint| format!(" ({hint})"));
                context.note(format_args!("{path}: nothing is there yet; what comes will belong to the share{near}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Create {
    fn run(self, context: &Context) -> Result<u8> {
        self.share.change(context, ShareChange::Create, &self.paths, |shares, name| {
            if shares.0.contains_key(name) {
                return Err(Error::new(Kind::Exists, format!("{name}: there is such a share already"))
                    .hint("`pkfs share add` adds paths to it"));
            }
            let paths = self.paths.iter().cloned().collect();
            let share = NodeShare { paths, rules: Vec::new(), alert: self.alert.clone() };
            shares.0.insert(name.clone(), share);
            Ok(())
        })
    }
}

impl Add {
    fn run(self, context: &Context) -> Result<u8> {
        self.share.change(context, ShareChange::Add, &self.paths, |shares, name| {
            let share = shares.get_mut(name)?;
            share.paths.extend(self.paths.iter().cloned());
            if self.alert.is_some() {
                share.alert.clone_from(&self.alert);
            }
            Ok(())
        })
    }
}

impl Remove {
    fn run(self, context: &Context) -> Result<u8> {
        self.share.change(context, ShareChange::Remove, &[], |shares, name| {
            let share = shares.get_mut(name)?;
            for path in &self.paths {
                if !share.paths.remove(path) {
                    return Err(Error::not_found(format!("{path}: not a path of the share {name}"))
                        .hint(format!("`pkfs share show KEYNODE {name}` lists them")));
                }
            }
            if self.alert {
                share.alert = None;
            }
            Ok(())
        })
    }
}

impl Delete {
    fn run(self, context: &Context) -> Result<u8> {
        self.share.change(context, ShareChange::Delete, &[], |shares, name| {
            shares.get(name)?;
            shares.0.remove(name);
            Ok(())
        })
    }
}

impl List {
    fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Read)?;
        let shares = keynode.shares(&keynode.snapshot())?;
        let rows: Vec<Line> = shares.0.iter().map(|(name, share)| Line::new(name, share)).collect();
        output::list(&rows, self.list)?;
        Ok(DONE)
    }
}

impl Show {
    fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.share.keynode.keynode, Access::Read)?;
        let shares = keynode.shares(&keynode.snapshot())?;
        let share = shares.get(&self.share.name)?;
        let rows: Vec<PathLine> = share.paths.iter().map(|path| PathLine { path: shown(path) }).collect();
        output::list(&rows, self.list)?;
        Ok(DONE)
    }
}

/// A path for people and lists.
fn shown(path: &ItemPath) -> String {
    if path.is_root() { "/".to_owned() } else { output::name(&path.to_bytes()) }
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    paths: Vec<String>,
    rules: usize,
    alert: Option<String>,
}

impl Line {
    fn new(name: &ShareName, share: &NodeShare) -> Self {
        let paths = share.paths.iter().map(shown).collect();
        Self { name: name.to_string(), paths, rules: share.rules.len(), alert: share.alert.clone() }
    }
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &["name", ">paths", ">rules", "alert"];

    fn cells(&self) -> Vec<String> {
        let alert = self.alert.as_ref().map(|alert| output::name(alert.as_bytes())).unwrap_or_default();
        vec![self.name.clone(), self.paths.len().to_string(), self.rules.to_string(), alert]
    }
}

#[derive(Debug, Serialize)]
struct PathLine {
    path: String,
}

impl Row for PathLine {
    const HEADINGS: &'static [&'static str] = &["path"];

    fn cells(&self) -> Vec<String> {
        vec![self.path.clone()]
    }
}
