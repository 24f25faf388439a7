//! `pkfs cp`: copies values.

use std::collections::HashMap;

use clap::Args;

use super::super::context::{Access, Context, KeynodeArg, item_path};
use super::super::edit;
use super::super::exit::DONE;
use super::super::history;
use crate::error::{Error, Kind, Result};
use crate::node::{Attributes, Content, Item, ItemId, ItemPath, Keynode, Snapshot, Transaction};

/// Copy secrets; the copies' history begins now
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pkfs cp app.pk db/password test/db-password\n  pkfs cp app.pk db test/db -r")]
pub(in super::super) struct Cp {
    #[command(flatten)]
    pub(in super::super) keynode: KeynodeArg,
    /// What to copy
    #[arg(value_name = "FROM", value_parser = item_path())]
    from: ItemPath,
    /// The copy, or the directory to copy into
    #[arg(value_name = "TO", value_parser = item_path())]
    to: ItemPath,
    /// Directories too, with all that is in them
    #[arg(short, long)]
    recursive: bool,
}

impl Cp {
    pub(in super::super) fn run(self, context: &Context) -> Result<u8> {
        let keynode = context.open(&self.keynode.keynode, Access::Write)?;
        let mut transaction = keynode.begin()?;
        let snapshot = keynode.snapshot();
        let (_, name) = edit::split(&self.from)?;
        let top = snapshot.namespace().resolve(&self.from)?;
        if top.is_directory() && !self.recursive {
            return Err(Error::new(Kind::IsDirectory, format!("{}: a directory", self.from)).hint("-r copies it"));
        }
        let to = edit::into(snapshot.namespace(), &self.to, name)?;
        let mut copies = Copies { keynode: &keynode, snapshot: &snapshot, made: HashMap::new() };
        if !top.is_directory() {
            copies.copy(&mut transaction, top, &to)?;
        } else if to.components().starts_with(self.from.components()) {
            return Err(Error::new(Kind::Invalid, format!("{}: cannot be copied into itself", self.from)));
        } else {
            for (path, item) in snapshot.namespace().walk(top.id)? {
                let below = path.components().iter().skip(self.from.components().len());
                let path = to.components().iter().chain(below).cloned().collect();
                copies.copy(&mut transaction, item, &path)?;
            }
        }
        transaction.commit()?;
        Ok(DONE)
    }
}

struct Copies<'a> {
    keynode: &'a Keynode,
    snapshot: &'a Snapshot,
    /// Where the copy of each secret with several names is, so that the copies are hard links too.
    made: HashMap<ItemId, ItemPath>,
}

impl Copies<'_> {
    fn copy(&mut self, transaction: &mut Transaction<'_>, item: &Item, to: &ItemPath) -> Result<()> {
        let (parent, name) = edit::split(to)?;
        let standing = edit::lookup(transaction.namespace(), to)?.map(Item::is_directory);
        if !matches!(item.content, Content::Secret(_)) && standing.is_some() {
            return if standing == Some(true) && item.is_directory() {
                Ok(())
            } else {
                Err(Error::new(Kind::Exists, format!("{to}: exists already")))
            };
        }
        let attributes = Attributes { mode: item.attributes.mode, ..Attributes::new(0) };
        let parent = edit::directory(transaction, &parent)?;
        match &item.content {
            Content::Secret(_) => self.copy_secret(transaction, item, to),
            Content::Directory(_) => transaction.create_directory(parent, name, attributes).map(drop),
            Content::Symlink(target) => transaction.create_symlink(ItemId::random(), parent, name, target, attributes),
            Content::Fifo => transaction.create_fifo(ItemId::random(), parent, name, attributes),
            Content::Socket => transaction.create_socket(ItemId::random(), parent, name, attributes),
        }
    }

    fn copy_secret(&mut self, transaction: &mut Transaction<'_>, item: &Item, to: &ItemPath) -> Result<()> {
        if let Some(first) = self.made.get(&item.id)
            && edit::lookup(transaction.namespace(), to)?.is_none()
        {
            let (parent, name) = edit::split(to)?;
            let parent = transaction.namespace().resolve(&parent)?.id;
            let id = transaction.namespace().resolve(first)?.id;
            return transaction.link(id, parent, name);
        }
        let value = self.keynode.read_head(self.snapshot, item.id).map_err(|e| history::at(e, to))?;
        edit::store(self.keynode, transaction, to, &value, Some(item.attributes.mode))?;
        if item.links() > 1 {
            self.made.insert(item.id, to.clone());
        }
        Ok(())
    }
}
