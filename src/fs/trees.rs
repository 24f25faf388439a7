//! `.views`: each share as a tree of its own beside the whole, with inodes of its own.
//!
//! All trees of a mount answer for their own numbers: a number's upper bits say which tree it belongs to, 0 being the
//! whole. A tree is made when its name is first looked up, and stays.

use std::sync::Arc;

use parking_lot::RwLock;

use super::inode::Node;
use super::state::{State, directory_stat};
use super::types::{DirEntry, Entry, FileKind, Ino};
use super::{FileSystem, Options};
use crate::error::{Error, Result};
use crate::node::{Name, ShareName};

/// The most trees of one mount.
const MOST: usize = Ino::TREES;

/// The trees of a mount beside the whole.
#[derive(Default)]
pub(super) struct Trees(RwLock<Vec<(ShareName, Arc<FileSystem>)>>);

impl Trees {
    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<FileSystem>> {
        self.0.read().iter().map(|(_, tree)| tree.clone()).collect()
    }

    fn get(&self, ino: Ino) -> Option<Arc<FileSystem>> {
        let index = ino.tree().checked_sub(1)?;
        self.0.read().get(index).map(|(_, tree)| tree.clone())
    }
}

impl FileSystem {
    /// The tree of `.views` that a number belongs to; `None`: the whole answers for it.
    pub fn tree(&self, ino: Ino) -> Option<Arc<Self>> {
        if ino.tree() == 0 { None } else { self.trees.get(ino) }
    }

    /// The name of a share in `.views`.
    pub(super) fn view(&self, name: &Name) -> Result<Entry> {
        let nothing = || Error::not_found("no such share");
        let share: ShareName =
            std::str::from_utf8(name.as_bytes()).ok().and_then(|n| n.parse().ok()).ok_or_else(nothing)?;
        if !self.keynode.shares(&self.keynode.snapshot())?.0.contains_key(&share) {
            return Err(nothing());
        }
        // Its root needs no counting: it stays as long as the tree.
        let tree = self.tree_of(share)?;
        let state = tree.state.lock();
        Ok(Entry { stat: state.stat(state.inodes.root())?, keep: true, gate: false })
    }

    fn tree_of(&self, share: ShareName) -> Result<Arc<Self>> {
        let mut trees = self.trees.0.write();
        if let Some((_, tree)) = trees.iter().find(|(name, _)| *name == share) {
            return Ok(tree.clone());
        }
        if trees.len() >= MOST {
            return Err(Error::new(crate::error::Kind::Failed, "this mount has had too many shares in .views"));
        }
        // Whoever was handed a tree may read it, whatever its uid there.
        let options = Options { read_only: true, open_modes: true, ..self.options };
        let tree = Arc::new(Self::new_tree(self, options, share.clone(), trees.len() + 1));
        trees.push((share, tree.clone()));
        Ok(tree)
    }

    /// The names of `.views`.
    pub(super) fn list_views(&self) -> Result<Vec<DirEntry>> {
        let shares = self.keynode.shares(&self.keynode.snapshot())?;
        let entry = |name: &ShareName| {
            // The kernel looks it up before anybody sees the number.
            Some(DirEntry {
                ino: Ino(u64::MAX),
                kind: FileKind::Directory,
                name: Name::new(name.as_str().as_bytes()).ok()?,
            })
        };
        Ok(shares.0.keys().filter_map(entry).collect())
    }

    /// `.views` itself, if `may` says so. A share's own tree has none: whoever was handed it sees nothing of the others.
    pub(super) fn views_entry(&self, may: &dyn Fn(&State, Ino) -> bool) -> Result<Entry> {
        if self.scope.is_some() {
            return Err(Error::not_found("no such file or directory"));
        }
        let mut state = self.state.lock();
        let ino = state.reach(&Node::Views, may)?;
        let stat = directory_stat(&state, ino)?;
        // Without rules the mode alone decides, which the kernel asks.
        Ok(Entry { stat, keep: true, gate: state.views.is_some() })
    }
}
