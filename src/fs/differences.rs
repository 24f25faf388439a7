//! How two states of some directories differ, name by name.

use super::turn::head_of;
use crate::node::{Item, ItemId, Name, Namespace};

/// A name that leads elsewhere, or to another content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) directory: ItemId,
    pub(super) name: Name,
    /// What it led to.
    pub(super) old: Option<ItemId>,
    /// What it leads to.
    pub(super) new: Option<ItemId>,
}

/// All differences between the names in these directories that both states have.
pub(super) fn differences(before: &Namespace, after: &Namespace, directories: &[ItemId]) -> Vec<Difference> {
    let mut found = Vec::new();
    for directory in directories {
        let children = |namespace: &Namespace, name: &Name| namespace.child(*directory, name.as_bytes()).map(|i| i.id);
        let (old, new) = (before.item(*directory), after.item(*directory));
        for (name, id) in new.and_then(Item::children).into_iter().flatten() {
            let old = children(before, name);
            if old != Some(*id) || before.item(*id).and_then(head_of) != after.item(*id).and_then(head_of) {
                found.push(Difference { directory: *directory, name: name.clone(), old, new: Some(*id) });
            }
        }
        for (name, id) in old.and_then(Item::children).into_iter().flatten() {
            if children(after, name).is_none() {
                found.push(Difference { directory: *directory, name: name.clone(), old: Some(*id), new: None });
            }
        }
    }
    found
}
