//! The items of a namespace: those of a checkpoint, as it has them, and what was changed since.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

use super::attributes::Attributes;
use super::base::Base;
use super::id::ItemId;
use super::namespace::{Item, SecretState};
use crate::error::Result;

/// Items by id. A clone costs nothing and shares what is not changed since.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    base: Arc<Base>,
    /// What differs from the base; `None`: it is gone.
    changed: GenericHashMap<ItemId, Option<Arc<Item>>, BuildHasherDefault<IdHasher>, DefaultSharedPtr>,
    count: usize,
}

/// Ids are random already: their first bytes are as good a hash as any.
#[derive(Debug, Default, Clone, Copy)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

impl Items {
    /// What a checkpoint holds.
    pub fn new(base: Base) -> Self {
        let count = base.len();
        Self { base: Arc::new(base), count, ..Self::default() }
    }

    pub fn get(&self, id: ItemId) -> Option<&Item> {
        match self.changed.get(&id) {
            Some(item) => item.as_deref(),
            None => self.base.get(id).map(|item| &**item),
        }
    }

    /// Whether there is such an item, readable or not.
    pub fn contains(&self, id: ItemId) -> bool {
        match self.changed.get(&id) {
            Some(item) => item.is_some(),
            None => self.base.contains(id),
        }
    }

    /// The item, to be changed in this copy alone.
    pub fn get_mut(&mut self, id: ItemId) -> Option<&mut Item> {
        if !self.changed.contains_key(&id) {
            let item = self.base.get(id)?.clone();
            self.changed.insert(id, Some(item));
        }
        self.changed.get_mut(&id)?.as_mut().map(Arc::make_mut)
    }

    /// What this name leads to in that directory.
    pub fn child(&self, directory: ItemId, name: &[u8]) -> Option<ItemId> {
        match self.changed.get(&directory) {
            Some(item) => item.as_ref()?.children()?.get(name).copied(),
            None => self.base.child(directory, name),
        }
    }

    pub fn is_directory(&self, id: ItemId) -> bool {
        match self.changed.get(&id) {
            Some(item) => item.as_ref().is_some_and(|item| item.is_directory()),
            None => self.base.is_directory(id),
        }
    }

    /// Gives a secret another state without reading the one before; `false`: nothing was done.
    pub fn renew(&mut self, id: ItemId, attributes: Attributes, state: SecretState) -> bool {
        if self.changed.contains_key(&id) {
            return false;
        }
        let item = self.base.renewed(id, attributes, state);
        item.map(|item| self.changed.insert(id, Some(Arc::new(item)))).is_some()
    }

    pub fn insert(&mut self, item: Item) {
        self.count += usize::from(!self.contains(item.id));
        self.changed.insert(item.id, Some(Arc::new(item)));
    }

    pub fn remove(&mut self, id: ItemId) {
        if self.contains(id) {
            self.count -= 1;
            self.changed.insert(id, None);
        }
    }

    /// As much as can be read, and what else has a name, apart from any checkpoint; see [`Base::salvage`].
    pub fn salvaged(&self) -> Result<(Self, Vec<ItemId>)> {
        let (sound, bare) = self.base.salvage()?;
        let ids = bare.iter().map(|item| item.id).filter(|id| !self.changed.contains_key(id)).collect();
        let mut items = Self::default();
        let unchanged = sound.into_iter().chain(bare.into_iter().map(Arc::new));
        let unchanged = unchanged.filter(|item| !self.changed.contains_key(&item.id));
        for item in unchanged.chain(self.changed.values().flatten().cloned()) {
            items.count += 1;
            items.changed.insert(item.id, Some(item));
        }
        Ok((items, ids))
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Reads all that has not been read.
    pub fn read_all(&self) -> Result<()> {
        self.base.read_all()
    }

    /// The checkpoint that they come from.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        let kept = self.base.iter().filter(|item| !self.changed.contains_key(&item.id));
        kept.map(|item| &**item).chain(self.changed.values().filter_map(|item| item.as_deref()))
    }
}
