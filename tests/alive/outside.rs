//! Another process that changes the keynode, as this one has it in a second copy.

use pkfs::node::{
    Attributes, ItemId, ItemPath, Keynode, Name, NodeKey, OpenOptions, SealedKeynode, Session, Share, ShareChange,
    Transaction,
};
use pkfs::time::Timestamp;

use crate::support::Served;

pub struct Outside {
    keynode: Keynode,
}

/// One transaction.
pub struct Change<'a> {
    keynode: &'a Keynode,
    transaction: Transaction<'a>,
}

impl Outside {
    pub fn of(mount: &Served) -> Self {
        Self { keynode: again(&mount.keynode) }
    }

    pub fn change(&self, edit: impl FnOnce(&mut Change<'_>)) {
        fill(&self.keynode, edit);
    }

    /// Whether a mount has taken the last change in.
    pub fn is_known_to(&self, mount: &Served) -> bool {
        mount.keynode.snapshot().commit() == self.keynode.snapshot().commit()
    }

    pub fn put(&self, path: &str, value: &str) {
        self.change(|change| change.put(path, value));
    }
}

/// Changes a keynode in one transaction.
pub fn fill(keynode: &Keynode, edit: impl FnOnce(&mut Change<'_>)) {
    let mut change = Change { keynode, transaction: keynode.begin().unwrap() };
    edit(&mut change);
    change.transaction.commit().unwrap();
}

fn again(keynode: &Keynode) -> Keynode {
    let key = NodeKey::from_secret(&keynode.key().to_secret().unwrap()).unwrap();
    SealedKeynode::open(keynode.path()).unwrap().into_keynode(key, &OpenOptions::default()).unwrap()
}

fn split(path: &str) -> (&str, Name) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    (parent, Name::new(name.as_bytes()).unwrap())
}

impl Change<'_> {
    fn directory(&self, path: &str) -> ItemId {
        let names = path.split('/').filter(|name| !name.is_empty()).map(|name| Name::new(name.as_bytes()).unwrap());
        self.transaction.namespace().resolve(&names.collect::<ItemPath>()).unwrap().id
    }

    pub fn put(&mut self, path: &str, value: &str) {
        let (parent, name) = split(path);
        let parent = self.directory(parent);
        let present = self.transaction.namespace().child(parent, name.as_bytes()).map(|item| item.id);
        let sealed = self.keynode.seal(present.unwrap_or_else(ItemId::random), value.as_bytes()).unwrap();
        if present.is_some() {
            self.transaction.write(sealed, Session::random(), Timestamp::now()).unwrap();
        } else {
            let attributes = Attributes::new(0o600);
            self.transaction.create_secret(parent, &name, attributes, sealed, Session::random()).unwrap();
        }
    }

    /// Makes a share of these paths.
    pub fn share(&mut self, name: &str, paths: &[&str]) {
        let paths = paths.iter().map(|path| ItemPath::parse(path.as_bytes()).unwrap()).collect();
        self.set_share(name, ShareChange::Create, Some(Share { paths, ..Share::default() }));
    }

    pub fn delete_share(&mut self, name: &str) {
        self.set_share(name, ShareChange::Delete, None);
    }

    fn set_share(&mut self, name: &str, change: ShareChange, share: Option<Share>) {
        let (mut shares, name) = (self.transaction.shares().unwrap(), name.parse().unwrap());
        shares.0.remove(&name);
        shares.0.extend(share.map(|share| (name.clone(), share)));
        self.transaction.set_shares(&shares, change, &name).unwrap();
    }

    pub fn mkdir(&mut self, path: &str) {
        let (parent, name) = split(path);
        let parent = self.directory(parent);
        self.transaction.create_directory(parent, &name, Attributes::new(0o755)).unwrap();
    }

    pub fn unlink(&mut self, path: &str) {
        let (parent, name) = split(path);
        self.transaction.unlink(self.directory(parent), &name).unwrap();
    }

    pub fn rmdir(&mut self, path: &str) {
        let (parent, name) = split(path);
        self.transaction.remove_directory(self.directory(parent), &name).unwrap();
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let ((from, name), (to, new_name)) = (split(from), split(to));
        self.transaction.rename(self.directory(from), &name, self.directory(to), &new_name).unwrap();
    }

    pub fn exchange(&mut self, one: &str, other: &str) {
        let ((from, name), (to, new_name)) = (split(one), split(other));
        self.transaction.exchange(self.directory(from), &name, self.directory(to), &new_name).unwrap();
    }
}
