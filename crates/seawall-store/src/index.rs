//! Where each object is: a cache, rebuilt from the zones whenever it is missing or cannot be believed.
//!
//! Every copy of an object counts, and a good one makes the object good: two writers may store the same
//! object, and a good copy is written beside a damaged one. Pending entries (put, not flushed) are kept
//! apart: only a flush that succeeded moves them to where readers look. Entries of zones that are gone
//! are passed over, so a zone is removed from the index by forgetting its number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use seawall_base::ObjectId;

use crate::condemned::Condemned;
use crate::error::{Damage, DamageKind};
use crate::format::{Ended, Kind, Record};

/// Where one object's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) zone: u64,
    /// Where the record starts.
    pub(crate) offset: u64,
    /// Length of the body in bytes.
    pub(crate) len: u32,
    /// Length of the record's header in bytes.
    pub(crate) header: u8,
}

impl Entry {
    pub(crate) const fn of(zone: u64, record: &Record) -> Self {
        let (offset, header) = (record.offset, record.header_len() as u8);
        Self { zone, offset, len: record.len, header }
    }

    pub(crate) const fn body_offset(&self) -> u64 {
        self.offset + self.header as u64
    }

    /// Bytes the record takes in its zone.
    pub(crate) const fn size(&self) -> u64 {
        (self.header as u64 + self.len as u64).next_multiple_of(8)
    }
}

/// What the index knows about a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZoneState {
    /// Up to where its records are in the index.
    pub(crate) end: u64,
    /// It ends in a closing commit and nothing is wrong with it: it need not be looked at again.
    pub(crate) closed: bool,
    /// Records may still be appended to it, here or by another process.
    pub(crate) live: bool,
    /// What its header says of other zones.
    pub(crate) ended: Ended,
}

/// Hashes keys that are uniform already: one multiplication by a salted value, so that whoever
/// grinds ids cannot aim them all at one bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Salted(u64);

impl Salted {
    fn of(salt: &[u8; 32]) -> Self {
        let mut word = [0; 8];
        word.copy_from_slice(&blake3::keyed_hash(salt, b"seawall store index").as_bytes()[..8]);
        Self(u64::from_le_bytes(word))
    }
}

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

/// Entries in memory.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    newest: Map<ObjectId, Entry>,
    /// Further copies, oldest first.
    older: Map<ObjectId, Vec<Entry>>,
    by_ix: Map<[u8; 32], ObjectId>,
}

impl Tail {
    fn new(salted: Salted) -> Self {
        Self {
            newest: Map::with_hasher(salted),
            older: Map::with_hasher(salted),
            by_ix: Map::with_hasher(salted),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.newest.len()
    }

    fn insert(&mut self, id: ObjectId, ix: Option<[u8; 32]>, entry: Entry) {
        if let Some(before) = self.newest.insert(id, entry).filter(|before| *before != entry) {
            self.older.entry(id).or_default().push(before);
        }
        if let Some(ix) = ix {
            self.by_ix.insert(ix, id);
        }
    }

    fn copies(&self, id: &ObjectId) -> impl Iterator<Item = &Entry> {
        let older = self.older.get(id).into_iter().flatten().rev();
        self.newest.get(id).into_iter().chain(older)
    }

    /// All entries in order of id.
    fn sorted(&self) -> Vec<(ObjectId, Entry)> {
        let older = self.older.iter().flat_map(|(id, entries)| entries.iter().map(|e| (*id, *e)));
        let mut all: Vec<_> = self.newest.iter().map(|(id, e)| (*id, *e)).chain(older).collect();
        all.sort_unstable();
        all
    }
}

/// The objects of a store.
#[derive(Debug)]
pub(crate) struct Index {
    /// The zones in use.
    pub(crate) zones: BTreeMap<u64, ZoneState>,
    tail: Tail,
    pending: Map<ObjectId, Entry>,
    pending_ix: Map<[u8; 32], ObjectId>,
    /// Index keys told of objects that are here without them. The zones do not hold these.
    aliases: Map<[u8; 32], ObjectId>,
    /// Zone and offset of records whose bodies do not match their ids.
    damaged: HashSet<(u64, u64)>,
    pub(crate) condemned: Arc<Condemned>,
}

impl Index {
    pub(crate) fn new(salt: &[u8; 32], condemned: Arc<Condemned>) -> Self {
        let salted = Salted::of(salt);
        Self {
            zones: BTreeMap::new(),
            tail: Tail::new(salted),
            pending: Map::with_hasher(salted),
            pending_ix: Map::with_hasher(salted),
            aliases: Map::with_hasher(salted),
            damaged: HashSet::new(),
            condemned,
        }
    }

    /// Adds a record found on disk.
    pub(crate) fn found(&mut self, zone: u64, record: &Record) {
        if let Kind::Object { ix } = record.kind {
            self.tail.insert(record.object_id(), ix, Entry::of(zone, record));
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
        self.aliases.insert(ix, id);
    }

    /// Makes pending objects visible: their zone is durable up to `end`.
    pub(crate) fn publish(&mut self, zone: u64, state: ZoneState) {
        self.zones.insert(zone, state);
        for (id, entry) in self.pending.drain() {
            self.tail.insert(id, None, entry);
        }
        self.tail.by_ix.extend(self.pending_ix.drain());
    }

    /// Takes over what only memory holds when the zones have been looked at again.
    pub(crate) fn inherit(&mut self, before: Self) {
        self.pending = before.pending;
        self.pending_ix = before.pending_ix;
        self.aliases = before.aliases;
        self.damaged = before.damaged;
    }

    /// The visible copies of an object, newest first.
    pub(crate) fn copies(&self, id: &ObjectId) -> impl Iterator<Item = Entry> {
        self.tail.copies(id).filter(|e| self.zones.contains_key(&e.zone)).copied()
    }

    pub(crate) fn is_damaged(&self, entry: &Entry) -> bool {
        !self.damaged.is_empty() && self.damaged.contains(&(entry.zone, entry.offset))
    }

    /// Whether a copy may be relied on: not known to be damaged, not about to be removed.
    fn counts(&self, entry: &Entry) -> bool {
        !self.is_damaged(entry) && !self.condemned.contains(entry)
    }

    /// A visible copy that may be relied on.
    pub(crate) fn good(&self, id: &ObjectId) -> Option<Entry> {
        self.copies(id).find(|e| self.counts(e))
    }

    /// The length of an object that is visible and good, or pending.
    pub(crate) fn held(&self, id: &ObjectId) -> Option<u32> {
        self.good(id).or_else(|| self.pending.get(id).copied()).map(|e| e.len)
    }

    /// The visible, good object with this index key.
    pub(crate) fn find(&self, ix: &[u8; 32]) -> Option<(ObjectId, u32)> {
        let id = self.tail.by_ix.get(ix).or_else(|| self.aliases.get(ix))?;
        self.good(id).map(|e| (*id, e.len))
    }

    /// As [`Index::find`], pending objects included.
    pub(crate) fn known(&self, ix: &[u8; 32]) -> Option<(ObjectId, u32)> {
        let pending = self.pending_ix.get(ix).or_else(|| self.aliases.get(ix));
        let pending = pending.and_then(|id| Some((*id, self.held(id)?)));
        pending.or_else(|| self.find(ix))
    }

    /// How many object records it knows.
    pub(crate) fn records(&self) -> u64 {
        self.tail.len() as u64
    }

    /// Marks a record as damaged.
    pub(crate) fn mark_damaged(&mut self, zone: u64, offset: u64) {
        self.damaged.insert((zone, offset));
    }

    /// Marks every record that `damage` makes unreadable, and names those in unreadable stretches: where
    /// a header is lost, only the index still knows whose it was.
    pub(crate) fn blame(&mut self, damage: Vec<Damage>) -> Vec<Damage> {
        let mut places: Vec<(u64, u64, ObjectId)> = Vec::new();
        if !damage.is_empty() {
            self.walk().visit(&mut |id, copies| {
                let hit = |e: &&Entry| {
                    damage.iter().any(|d| {
                        d.zone == e.zone && d.offset <= e.offset && e.offset < d.offset + d.len
                    })
                };
                places.extend(copies.iter().filter(hit).map(|e| (e.zone, e.offset, id)));
            });
        }
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
                self.damaged.insert((*zone, *offset));
                let start = if i == 0 { piece.offset } else { *offset };
                let end = lost.get(i + 1).map_or(piece.offset + piece.len, |next| next.1);
                let (len, id) = (end - start, Some(*id));
                named.push(Damage { zone: *zone, offset: start, len, id, kind: piece.kind });
            }
        }
        named
    }

    /// All entries as they are now, to be gone through without holding a lock.
    pub(crate) fn walk(&self) -> IndexWalk {
        let zones = &self.zones;
        let mut tail = self.tail.sorted();
        tail.retain(|(_, e)| zones.contains_key(&e.zone));
        IndexWalk { tail, damaged: self.damaged.clone(), condemned: self.condemned.clone() }
    }
}

/// What [`Index::walk`] goes through.
pub(crate) struct IndexWalk {
    tail: Vec<(ObjectId, Entry)>,
    damaged: HashSet<(u64, u64)>,
    pub(crate) condemned: Arc<Condemned>,
}

impl IndexWalk {
    /// Gives every visible object with its copies, in order of id.
    pub(crate) fn visit(&self, give: &mut dyn FnMut(ObjectId, &[Entry])) {
        for group in self.tail.chunk_by(|a, b| a.0 == b.0) {
            let copies: Vec<Entry> = group.iter().map(|(_, e)| *e).collect();
            give(group[0].0, &copies);
        }
    }

    pub(crate) fn is_damaged(&self, entry: &Entry) -> bool {
        self.damaged.contains(&(entry.zone, entry.offset))
    }

    /// As the index has it.
    pub(crate) fn counts(&self, entry: &Entry) -> bool {
        !self.is_damaged(entry) && !self.condemned.contains(entry)
    }
}
