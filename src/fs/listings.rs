//! Listings of directories, with positions at which reading them goes on.
//!
//! A position is a function of the name, as in ext4: it keeps its meaning while other names come and go, whoever reads on
//! there, and in the kernel, which keeps one listing for all who read. It has 31 bits, so that programs of 32 bits can
//! have it.

use std::collections::HashSet;
use std::num::NonZero;

use lru::LruCache;

use super::FileSystem;
use super::inode::{Hash, Node};
use super::state::State;
use super::types::{Caller, DirEntry, HandleId, Ino, Listing, Notice};
use crate::error::Result;
use crate::node::CommitRef;

/// So many directories can be read at once before one of them is listed anew for its next part.
const KEPT: NonZero<usize> = NonZero::new(64).unwrap();

/// A listing, and the state that was shown when it was made.
pub struct Listed {
    listing: Listing,
    commit: CommitRef,
}

impl Listed {
    /// The entries behind a position, each with its own; 1 and 2 are those of `.` and `..`, which are not among them.
    pub fn after(&self, position: u64) -> &[(u64, DirEntry)] {
        &self.listing[self.listing.partition_point(|(at, _)| *at <= position)..]
    }
}

/// Listings of directories that the kernel reads without opening them: where nothing changes from inside.
pub(super) struct Listings {
    newest: LruCache<Ino, (CommitRef, Listing)>,
    /// Directories that list something else since the last tick, and those of the tick before.
    changed: HashSet<Ino>,
    before: HashSet<Ino>,
}

impl Default for Listings {
    fn default() -> Self {
        Self { newest: LruCache::new(KEPT), changed: HashSet::new(), before: HashSet::new() }
    }
}

impl Listings {
    /// Another state is shown, in which these directories list something else.
    pub(super) fn changed(&mut self, directories: &HashSet<Ino>) {
        self.newest.clear();
        self.changed.extend(directories);
    }
}

/// Gives each entry its position, in the order of which they are then.
pub(super) fn positioned(entries: impl IntoIterator<Item = DirEntry>) -> Listing {
    let at = |entry: DirEntry| (Hash::of(entry.name.as_bytes()) >> 34, entry);
    let mut listing: Vec<(u64, DirEntry)> = entries.into_iter().map(at).collect();
    listing.sort_unstable_by(|(a, one), (b, other)| (a, &one.name).cmp(&(b, &other.name)));
    let mut free = 3;
    for (position, _) in &mut listing {
        *position = free.max(*position);
        free = *position + 1;
    }
    listing.into()
}

impl FileSystem {
    /// The listing of a directory, open or not, for whoever reads it; `rewind`: as it is now.
    ///
    /// # Errors
    /// `Invalid` for a wrong handle; `NotDirectory`; for the history what reading it brings.
    pub fn list(&self, caller: Caller, ino: Ino, handle: HandleId, rewind: bool) -> Result<Listed> {
        let commit = self.state.lock().snapshot.commit();
        if handle != HandleId::NONE {
            let rewind = self.give_anew(caller, handle)? || rewind;
            return Ok(Listed { listing: self.readdir(handle, rewind)?, commit });
        }
        if let Some((of, listing)) = self.state.lock().listings.newest.get(&ino)
            && *of == commit
        {
            return Ok(Listed { listing: listing.clone(), commit });
        }
        let listing = positioned(self.listing_now(ino)?);
        self.state.lock().listings.newest.put(ino, (commit, listing.clone()));
        Ok(Listed { listing, commit })
    }

    /// The kernel has got a listing, which it may keep: has it forget that if it was outdated by then.
    pub fn has_listed(&self, ino: Ino, listed: &Listed) {
        if self.state.lock().snapshot.commit() != listed.commit {
            self.notices.send(Notice::Content(ino));
        }
    }

    /// Has the kernel forget once more what changed about a second ago: whoever had read a listing just before may have
    /// been late in handing it to the kernel.
    pub(super) fn forget_late_listings(&self) {
        let mut state = self.state.lock();
        let late = std::mem::take(&mut state.listings.changed);
        for directory in std::mem::replace(&mut state.listings.before, late) {
            self.notices.send(Notice::Content(directory));
        }
    }
}

impl State {
    /// Directories that are no items, whose listings others may have changed with any transaction.
    pub(super) fn shown_directories(&self) -> Vec<Ino> {
        let is_one = |node: &Node| match node {
            // Of the past, a share shows what it covers now.
            Node::Place(place) => place.grows() || self.is_partial() && place.is_directory(),
            Node::Views => true,
            Node::Item(_) | Node::Detached(_) => false,
        };
        self.inodes.iter().filter(|(_, inode)| inode.lookups > 0 && is_one(&inode.node)).map(|(ino, _)| ino).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::types::FileKind;
    use super::*;
    use crate::node::Name;

    fn listing(names: impl Iterator<Item = u32>) -> Listing {
        let entry = |n: u32| {
            let name = Name::new(n.to_string().as_bytes()).unwrap();
            DirEntry { ino: Ino(u64::from(n) + 2), kind: FileKind::Regular, name }
        };
        positioned(names.map(entry))
    }

    #[test]
    fn positions_stay_while_other_names_go() {
        let all = listing(0..20_000);
        let half = listing((0..20_000).filter(|n| n % 2 == 0));
        assert!(all.is_sorted_by(|(a, _), (b, _)| a < b) && half.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(all.iter().all(|(position, _)| (3..1 << 31).contains(position)));
        let place = |n: &DirEntry| all.iter().find(|(_, entry)| entry.name == n.name).unwrap().0;
        // Two of so many may want the same one.
        let moved = half.iter().step_by(100).filter(|(position, entry)| place(entry) != *position).count();
        assert!(moved <= 1, "{moved}");
    }
}
