//! Where each object is: a cache in memory, rebuilt from the zones whenever the store is opened.
//!
//! Pending entries (put, not flushed) are kept apart: only a flush that succeeded moves them to where
//! readers look.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use seawall_base::ObjectId;

use crate::error::{Damage, DamageKind};
use crate::format::{Kind, Record};

/// Where one object's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) zone: u64,
    /// Where the record starts.
    pub(crate) offset: u64,
    /// Length of the body in bytes.
    pub(crate) len: u32,
    /// Length of the record's header in bytes.
    pub(crate) header: u8,
    /// The body was found not to match its id.
    pub(crate) damaged: bool,
}

impl Entry {
    pub(crate) const fn of(zone: u64, record: &Record) -> Self {
        Self {
            zone,
            offset: record.offset,
            len: record.len,
            header: record.header_len() as u8,
            damaged: false,
        }
    }

    pub(crate) const fn body_offset(&self) -> u64 {
        self.offset + self.header as u64
    }
}

/// Hashes keys that are uniform already: one multiplication by a salted value, so that whoever
/// grinds ids cannot aim them all at one bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Salted(u64);

impl BuildHasher for Salted {
    type Hasher = SaltedHasher;

    fn build_hasher(&self) -> SaltedHasher {
        SaltedHasher { salt: self.0, state: 0 }
    }
}

/// The hasher of [`Salted`].
#[derive(Debug)]
pub(crate) struct SaltedHasher {
    salt: u64,
    state: u64,
}

impl Hasher for SaltedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.state = self.state.rotate_left(23) ^ u64::from_le_bytes(word);
        }
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state ^ self.salt) * 0x9e37_79b9_7f4a_7c15;
        (product >> 64) as u64 ^ product as u64
    }
}

type Map<K, V> = HashMap<K, V, Salted>;

/// The objects of a store.
#[derive(Debug)]
pub(crate) struct Index {
    objects: Map<ObjectId, Entry>,
    by_ix: Map<[u8; 32], ObjectId>,
    pending: Map<ObjectId, Entry>,
    pending_ix: Map<[u8; 32], ObjectId>,
}

impl Index {
    pub(crate) fn new(salt: &[u8; 32]) -> Self {
        let mut word = [0; 8];
        word.copy_from_slice(&blake3::keyed_hash(salt, b"seawall store index").as_bytes()[..8]);
        let salted = Salted(u64::from_le_bytes(word));
        Self {
            objects: Map::with_hasher(salted),
            by_ix: Map::with_hasher(salted),
            pending: Map::with_hasher(salted),
            pending_ix: Map::with_hasher(salted),
        }
    }

    /// Adds a record found on disk. A later one wins: a good copy is written behind a damaged one.
    pub(crate) fn found(&mut self, zone: u64, record: &Record) {
        if let Kind::Object { ix } = record.kind {
            let id = record.object_id();
            self.objects.insert(id, Entry::of(zone, record));
            if let Some(ix) = ix {
                self.by_ix.insert(ix, id);
            }
        }
    }

    /// Adds an object that no flush covers yet.
    pub(crate) fn pend(&mut self, id: ObjectId, ix: Option<[u8; 32]>, entry: Entry) {
        self.pending.insert(id, entry);
        if let Some(ix) = ix {
            self.pending_ix.insert(ix, id);
        }
    }

    /// Remembers an index key for an object that is here without it. The zones do not: until the
    /// store is opened again, asking by this key finds the object.
    pub(crate) fn alias(&mut self, id: ObjectId, ix: [u8; 32]) {
        if self.pending.contains_key(&id) {
            self.pending_ix.insert(ix, id);
        } else {
            self.by_ix.insert(ix, id);
        }
    }

    /// Makes pending objects visible.
    pub(crate) fn publish(&mut self) {
        self.objects.extend(self.pending.drain());
        self.by_ix.extend(self.pending_ix.drain());
    }

    /// The entry of a visible object, damaged or not.
    pub(crate) fn entry(&self, id: &ObjectId) -> Option<Entry> {
        self.objects.get(id).copied()
    }

    /// The entry of a visible object not known to be damaged.
    pub(crate) fn good(&self, id: &ObjectId) -> Option<Entry> {
        self.entry(id).filter(|e| !e.damaged)
    }

    /// Whether an object is visible and good, or pending.
    pub(crate) fn held(&self, id: &ObjectId) -> bool {
        self.good(id).is_some() || self.pending.contains_key(id)
    }

    /// The visible, good object with this index key.
    pub(crate) fn find(&self, ix: &[u8; 32]) -> Option<ObjectId> {
        self.by_ix.get(ix).copied().filter(|id| self.good(id).is_some())
    }

    /// As [`Index::find`], pending objects included.
    pub(crate) fn known(&self, ix: &[u8; 32]) -> Option<ObjectId> {
        self.pending_ix.get(ix).or_else(|| self.by_ix.get(ix)).copied().filter(|id| self.held(id))
    }

    /// Marks an object as damaged if its entry is still the one that was read.
    pub(crate) fn mark_damaged(&mut self, id: &ObjectId, zone: u64, offset: u64) {
        if let Some(entry) = self.objects.get_mut(id)
            && entry.zone == zone
            && entry.offset == offset
        {
            entry.damaged = true;
        }
    }

    /// Marks every object that `damage` makes unreadable, and names those in unreadable stretches: where
    /// a header is lost, only the index still knows whose it was.
    pub(crate) fn blame(&mut self, damage: Vec<Damage>) -> Vec<Damage> {
        let mut places: Vec<(u64, u64, ObjectId)> = if damage.is_empty() {
            Vec::new()
        } else {
            self.objects.iter().map(|(id, e)| (e.zone, e.offset, *id)).collect()
        };
        places.sort_unstable();
        let mut named = Vec::new();
        for piece in damage {
            let start = places.partition_point(|p| (p.0, p.1) < (piece.zone, piece.offset));
            let hit =
                |p: &&(u64, u64, ObjectId)| p.0 == piece.zone && p.1 < piece.offset + piece.len;
            let fatal = matches!(piece.kind, DamageKind::Unreadable | DamageKind::Body);
            let lost: Vec<_> = places[start..].iter().take_while(hit).filter(|_| fatal).collect();
            if lost.is_empty() {
                named.push(piece);
                continue;
            }
            for (i, (zone, offset, id)) in lost.iter().enumerate() {
                self.mark_damaged(id, *zone, *offset);
                let start = if i == 0 { piece.offset } else { *offset };
                let end = lost.get(i + 1).map_or(piece.offset + piece.len, |next| next.1);
                let (len, id) = (end - start, Some(*id));
                named.push(Damage { zone: *zone, offset: start, len, id, kind: piece.kind });
            }
        }
        named
    }

    /// The good, visible objects, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        self.objects.iter().filter(|(_, e)| !e.damaged)
    }
}
