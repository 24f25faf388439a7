//! What can still be read of a damaged file: every object whose content is what its name says, wherever it lies.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::Path;

use super::file::open_file;
use super::index::Index;
use super::member::{BLOCK, Found, Name, parse_header};
use super::pack::{self, Entries};
use super::view::{Extent, read_loose, read_slot};
use super::window::{Window, unreadable};
use super::{NewObject, Object, ObjectKind, Oid, hash_object};
use crate::error::{Error, Result};

/// The intact objects of a file, found by looking at every block; references are not believed.
#[derive(Debug)]
pub struct Salvage {
    file: File,
    objects: HashMap<Oid, (ObjectKind, Place)>,
    slots: HashMap<String, Extent>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Loose(Extent),
    Packed(Entries, u64),
}

impl Salvage {
    /// Searches a file.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub fn search(path: &Path) -> Result<Self> {
        let file = open_file(path, OpenOptions::new().read(true))?;
        let end = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        let mut found = Self { file, objects: HashMap::new(), slots: HashMap::new() };
        found.blocks(end).map_err(|e| e.at(path.display()))?;
        Ok(found)
    }

    fn blocks(&mut self, end: u64) -> Result<()> {
        let (mut packs, mut indexes) = (Vec::new(), Vec::new());
        let file = self.file.try_clone().map_err(unreadable)?;
        let mut window = Window::new(&file, end);
        let mut at = 0;
        while let Some(block) = window.block(at).map_err(unreadable)? {
            // A pack is found even where the header of its member is lost.
            if block.starts_with(b"PACK\0\0\0\x02") {
                packs.push(at);
            }
            let header = parse_header(block, at);
            at += BLOCK;
            let Found::Member(member) = header else { continue };
            if member.size > end || member.next() > end {
                continue;
            }
            match &member.name {
                Name::Loose(oid) => {
                    if let Some(kind) = self.sound(oid, Place::Loose((&member).into())) {
                        self.objects.insert(*oid, (kind, Place::Loose((&member).into())));
                        at = member.next();
                    }
                }
                Name::Slot(name) => {
                    self.slots.insert(name.clone(), (&member).into());
                }
                Name::Pack(_) => packs.push(member.data()),
                Name::Index(_) => indexes.push(Extent::from(&member)),
                _ => {}
            }
        }
        packs.sort_unstable();
        packs.dedup();
        for at in packs {
            if end - at < pack::HEADER + pack::TRAILER {
                continue;
            }
            let entries = Entries { name: Oid::from_bytes([0; 20]), at, size: end - at };
            self.in_order(entries);
            for index in &indexes {
                self.by_index(entries, *index);
            }
        }
        Ok(())
    }

    /// Entries one after the other, up to the first that is damaged.
    fn in_order(&mut self, entries: Entries) {
        let mut offset = pack::HEADER;
        while let Ok((object, next)) = entries.read(&self.file, offset) {
            let oid = hash_object(object.kind, &object.data);
            self.objects.entry(oid).or_insert((object.kind, Place::Packed(entries, offset)));
            offset = next;
        }
    }

    /// Entries where an index says that they are.
    fn by_index(&mut self, entries: Entries, index: Extent) {
        let listed = Index::open(&self.file, index.at, index.size).and_then(|index| index.entries(&self.file));
        for entry in listed.unwrap_or_default() {
            if !self.objects.contains_key(&entry.oid) {
                let place = Place::Packed(entries, entry.offset);
                if let Some(kind) = self.sound(&entry.oid, place) {
                    self.objects.insert(entry.oid, (kind, place));
                }
            }
        }
    }

    /// The kind of what lies there, if it is what its name says.
    fn sound(&self, oid: &Oid, place: Place) -> Option<ObjectKind> {
        let object = self.read(place)?;
        (hash_object(object.kind, &object.data) == *oid).then_some(object.kind)
    }

    fn read(&self, place: Place) -> Option<Object> {
        match place {
            Place::Loose(extent) => read_loose(&self.file, extent).ok(),
            Place::Packed(entries, offset) => entries.read(&self.file, offset).ok().map(|(object, _)| object),
        }
    }

    /// How many objects are intact.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All intact objects of a kind, in no order.
    pub fn objects(&self, kind: ObjectKind) -> impl Iterator<Item = NewObject> {
        let wanted = self.objects.iter().filter(move |(_, (found, _))| *found == kind);
        wanted.filter_map(|(oid, (kind, place))| {
            Some(NewObject { oid: *oid, kind: *kind, data: self.read(*place)?.data })
        })
    }

    /// The unlock slots, the last of each name.
    pub fn slots(&self) -> Vec<(String, Vec<u8>)> {
        let read =
            self.slots.iter().filter_map(|(name, extent)| Some((name.clone(), read_slot(&self.file, *extent).ok()?)));
        let mut slots: Vec<_> = read.collect();
        slots.sort_unstable();
        slots
    }
}
