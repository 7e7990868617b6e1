//! What a repository holds at this moment. Owns the rule of what counts as present; asks no remote
//! itself.

use std::collections::BTreeSet;

use crate::limits::MAX_OBJECT_LEN;
use crate::{ContentHash, ObjectEntry, ObjectKey, ObjectKind};

/// Keys that a collector or a cancelled writer is about to delete. They count as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condemned {
    keys: BTreeSet<ObjectKey>,
}

impl Condemned {
    /// Whether `key` is condemned.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.keys.contains(key)
    }

    /// True where nothing is condemned.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are condemned.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The first of `keys` that is condemned.
    pub fn first_of<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> Option<&'a ObjectKey> {
        if self.keys.is_empty() {
            return None;
        }
        keys.into_iter().find(|key| self.contains(key))
    }

    fn generation_after(&self, kind: ObjectKind, hash: ContentHash) -> u32 {
        let first = ObjectKey::new(kind, hash);
        self.keys
            .range(first..=first.with_generation(u32::MAX))
            .next_back()
            .map_or(0, |key| key.generation().saturating_add(1))
    }
}

impl FromIterator<ObjectKey> for Condemned {
    fn from_iter<I: IntoIterator<Item = ObjectKey>>(keys: I) -> Self {
        Condemned {
            keys: keys.into_iter().collect(),
        }
    }
}

/// One listed object, 40 bytes: a repository of a million objects takes 40 MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    hash: ContentHash,
    generation: u32,
    /// 0 for a length that no object can have, which counts as absent.
    len: u32,
}

/// The data objects of a repository, as listed, and the condemned among them. An object counts as
/// present where it was listed, has exactly the length that its user expects, and is not
/// condemned.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    whole: Vec<Held>,
    packs: Vec<Held>,
    condemned: Condemned,
}

impl Presence {
    /// Presence from a listing.
    pub fn new(listed: impl IntoIterator<Item = ObjectEntry>, condemned: Condemned) -> Self {
        let mut presence = Presence {
            condemned,
            ..Presence::default()
        };
        for entry in listed {
            presence.push(entry);
        }
        presence.seal();
        presence
    }

    pub(crate) fn push(&mut self, entry: ObjectEntry) {
        let held = Held {
            hash: *entry.key.hash(),
            generation: entry.key.generation(),
            len: u32::try_from(entry.len)
                .ok()
                .filter(|len| u64::from(*len) <= MAX_OBJECT_LEN)
                .unwrap_or(0),
        };
        match entry.key.kind() {
            ObjectKind::Whole => self.whole.push(held),
            ObjectKind::Pack => self.packs.push(held),
        }
    }

    /// Sorts what was pushed; a listing comes nearly sorted.
    pub(crate) fn seal(&mut self) {
        self.whole.sort_unstable();
        self.packs.sort_unstable();
    }

    /// How many objects were listed, condemned ones included.
    pub fn len(&self) -> usize {
        self.whole.len() + self.packs.len()
    }

    /// True where nothing was listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is condemned.
    pub fn condemned(&self) -> &Condemned {
        &self.condemned
    }

    /// A present object of this content and length, the oldest generation first.
    pub fn find(&self, kind: ObjectKind, hash: &ContentHash, len: u64) -> Option<ObjectKey> {
        self.generations(kind, hash)
            .filter(|held| held.len > 0 && u64::from(held.len) == len)
            .map(|held| ObjectKey::new(kind, *hash).with_generation(held.generation))
            .find(|key| !self.condemned.contains(key))
    }

    /// Whether just this object is present with this length.
    pub fn contains(&self, entry: &ObjectEntry) -> bool {
        let key = &entry.key;
        !self.condemned.contains(key)
            && self.generations(key.kind(), key.hash()).any(|held| {
                held.generation == key.generation()
                    && held.len > 0
                    && u64::from(held.len) == entry.len
            })
    }

    /// The key under which content that is not present is to be written: the first generation
    /// above all condemned ones.
    pub fn vacant(&self, kind: ObjectKind, hash: &ContentHash) -> ObjectKey {
        let generation = self.condemned.generation_after(kind, *hash);
        ObjectKey::new(kind, *hash).with_generation(generation)
    }

    fn generations(&self, kind: ObjectKind, hash: &ContentHash) -> impl Iterator<Item = &Held> {
        let held = match kind {
            ObjectKind::Whole => &self.whole,
            ObjectKind::Pack => &self.packs,
        };
        let start = held.partition_point(|held| held.hash < *hash);
        let hash = *hash;
        held[start..]
            .iter()
            .take_while(move |held| held.hash == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condemned_and_wrongly_sized_objects_count_as_absent() {
        let hash = ContentHash::of(b"content");
        let key = ObjectKey::new(ObjectKind::Whole, hash);
        let listed = [ObjectEntry { key, len: 7 }];
        let presence = Presence::new(listed, Condemned::default());
        assert_eq!(presence.find(ObjectKind::Whole, &hash, 7), Some(key));
        assert_eq!(presence.find(ObjectKind::Whole, &hash, 8), None);
        assert_eq!(presence.find(ObjectKind::Pack, &hash, 7), None);
        assert_eq!(presence.vacant(ObjectKind::Whole, &hash), key);

        let presence = Presence::new(listed, Condemned::from_iter([key]));
        assert_eq!(presence.find(ObjectKind::Whole, &hash, 7), None);
        assert!(!presence.contains(&listed[0]));
        assert_eq!(
            presence.vacant(ObjectKind::Whole, &hash),
            key.with_generation(1)
        );
    }

    #[test]
    fn a_later_generation_serves_where_the_first_is_condemned() {
        let hash = ContentHash::of(b"content");
        let key = ObjectKey::new(ObjectKind::Whole, hash);
        let entries = [key.with_generation(10), key, key.with_generation(2)]
            .map(|key| ObjectEntry { key, len: 7 });
        let condemned = Condemned::from_iter([key]);
        let presence = Presence::new(entries, condemned);
        assert_eq!(
            presence.find(ObjectKind::Whole, &hash, 7),
            Some(key.with_generation(2))
        );
    }

    #[test]
    fn absurd_lengths_are_never_present() {
        let hash = ContentHash::of(b"content");
        let key = ObjectKey::new(ObjectKind::Whole, hash);
        for len in [0, u64::MAX, 1 << 32, MAX_OBJECT_LEN + 1] {
            let presence = Presence::new([ObjectEntry { key, len }], Condemned::default());
            assert!(
                presence.find(ObjectKind::Whole, &hash, len).is_none(),
                "{len}"
            );
        }
    }
}
