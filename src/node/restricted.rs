//! A state as a share shows it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::id::ItemId;
use super::name::Name;
use super::namespace::Namespace;
use super::share::Share;
use super::snapshot::Snapshot;

impl Snapshot {
    /// The same state with only what a share covers, and the directories that lead there.
    ///
    /// What is not covered has no name in any directory; whoever has its id finds it still.
    #[must_use]
    pub fn restricted(&self, share: &Share) -> Self {
        Self { namespace: self.namespace.restricted(share), ..self.clone() }
    }
}

impl Namespace {
    /// Costs as much as the share has paths, however much they cover.
    fn restricted(&self, share: &Share) -> Self {
        let mut whole = HashSet::new();
        let mut kept: BTreeMap<ItemId, BTreeSet<Name>> = BTreeMap::new();
        kept.insert(ItemId::ROOT, BTreeSet::new());
        // A path comes before those below it.
        for path in &share.paths {
            let mut at = ItemId::ROOT;
            for name in path.components() {
                if whole.contains(&at) {
                    break;
                }
                kept.entry(at).or_default().insert(name.clone());
                match self.child(at, name.as_bytes()) {
                    Some(child) => at = child.id,
                    None => break,
                }
            }
            if self.path_of(at).as_ref() == Some(path) {
                whole.insert(at);
            }
        }
        let mut restricted = self.clone();
        for (directory, names) in kept {
            if !whole.contains(&directory) {
                restricted.keep_names(directory, &names);
            }
        }
        restricted.keep_former(|path| share.covers(path));
        restricted
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::keynode;
    use super::super::{Attributes, ItemPath, Keynode, Session, Transaction};
    use super::*;

    fn path(text: &str) -> ItemPath {
        ItemPath::parse(text.as_bytes()).unwrap()
    }

    fn put(keynode: &Keynode, transaction: &mut Transaction<'_>, at: &str) {
        let mut directory = ItemId::ROOT;
        let at = path(at);
        let (name, above) = at.components().split_last().unwrap();
        for part in above {
            let found = transaction.namespace().child(directory, part.as_bytes()).map(|item| item.id);
            directory =
                found.unwrap_or_else(|| transaction.create_directory(directory, part, Attributes::new(0o700)).unwrap());
        }
        let value = keynode.seal(ItemId::random(), b"x").unwrap();
        transaction.create_secret(directory, name, Attributes::new(0o600), value, Session::random()).unwrap();
    }

    #[test]
    fn a_share_shows_what_it_covers_and_what_leads_there() {
        let directory = tempfile::tempdir().unwrap();
        let keynode = keynode(directory.path());
        let mut transaction = keynode.begin().unwrap();
        for at in ["web/tls", "web/deep/er", "db/web/password", "db/other", "db/web2", "top", "gone/one", "gone/two"] {
            put(&keynode, &mut transaction, at);
        }
        let gone = transaction.namespace().resolve(&path("gone")).unwrap().id;
        for name in [b"one", b"two"] {
            transaction.unlink(gone, &Name::new(name).unwrap()).unwrap();
        }
        let snapshot = transaction.commit().unwrap();
        for (paths, expected) in [
            (
                &["web", "db/web", "web/deep", "not/yet", "gone/one"][..],
                "db db/web db/web/password gone web web/deep web/deep/er web/tls",
            ),
            (&["top"], "top"),
            (&[], ""),
            (&["/"], "db db/other db/web db/web/password db/web2 gone top web web/deep web/deep/er web/tls"),
        ] {
            let share = Share { paths: paths.iter().map(|text| path(text)).collect(), ..Share::default() };
            let shown = snapshot.restricted(&share);
            let mut names: Vec<String> =
                shown.namespace().walk(ItemId::ROOT).unwrap().skip(1).map(|(path, _)| path.to_string()).collect();
            names.sort();
            assert_eq!(names.join(" "), expected, "{paths:?}");
            let former: Vec<&[u8]> = shown.namespace().former_names().map(|(path, _)| path).collect();
            let all = paths == ["/"];
            let expected: &[&[u8]] = if all {
                &[b"gone/one", b"gone/two"]
            } else if paths.len() > 1 {
                &[b"gone/one"]
            } else {
                &[]
            };
            assert_eq!(former, expected);
            assert_eq!(
                shown.namespace().root().subdirectories() as usize,
                names.iter().filter(|n| ["db", "gone", "web"].contains(&n.as_str())).count()
            );
        }
    }
}
