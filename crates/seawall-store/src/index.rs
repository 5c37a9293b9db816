//! Where each object is: a cache, rebuilt from the zones whenever it is missing or cannot be believed.
//!
//! Every copy of an object counts, and a good one makes the object good: two writers may store the same
//! object, and a good copy is written beside a damaged one. Pending entries (put, not flushed) are kept
//! apart: only a flush that succeeded moves them to where readers look. Entries of zones that are gone
//! are passed over, so a zone is removed from the index by forgetting its number.
//!
//! Most entries are in segments on disk; the newest are in memory. Where a segment turns out to be
//! damaged, the index is *suspect*: it answers as if the object were not there, which makes a writer store
//! it again at worst, and the store rebuilds it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seawall_base::ObjectId;

use crate::condemned::Condemned;
use crate::error::{Damage, DamageKind};
use crate::format::{Ended, Kind, Record};
use crate::merge::{Merge, Source};
use crate::root::Root;
use crate::segment::{IdRow, IxRow, Segment, Short, short};

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

    fn clear(&mut self) {
        self.newest.clear();
        self.older.clear();
        self.by_ix.clear();
    }

    fn copies(&self, id: &ObjectId) -> impl Iterator<Item = &Entry> {
        let older = self.older.get(id).into_iter().flatten().rev();
        self.newest.get(id).into_iter().chain(older)
    }

    /// All entries in order of id.
    fn sorted(&self) -> Vec<IdRow> {
        let row = |id: &ObjectId, entry: &Entry| IdRow { id: *id, entry: *entry };
        let older = self.older.iter().flat_map(|(id, all)| all.iter().map(move |e| row(id, e)));
        let mut all: Vec<_> = self.newest.iter().map(|(id, e)| row(id, e)).chain(older).collect();
        all.sort_unstable();
        all
    }

    /// All index keys in order.
    fn sorted_ix(&self) -> Vec<IxRow> {
        let row = |(ix, id): (&[u8; 32], &ObjectId)| {
            let zone = self.newest.get(id)?.zone;
            Some(IxRow { ix: short(ix), id: short(&id.0), zone })
        };
        let mut all: Vec<_> = self.by_ix.iter().filter_map(row).collect();
        all.sort_unstable();
        all
    }
}

/// The objects of a store.
#[derive(Debug)]
pub(crate) struct Index {
    /// The zones in use.
    pub(crate) zones: BTreeMap<u64, ZoneState>,
    /// The root on disk that the segments are of.
    pub(crate) root: Root,
    /// Oldest first.
    pub(crate) segments: Vec<Arc<Segment>>,
    suspect: AtomicBool,
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
            root: Root::default(),
            segments: Vec::new(),
            suspect: AtomicBool::new(false),
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

    /// Whether a segment was found to be damaged.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Entries in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.tail.len()
    }

    /// Gives the visible copies of an object, newest first, until `enough` says so.
    fn each_copy(&self, id: &ObjectId, enough: &mut dyn FnMut(Entry) -> bool) {
        let here = |e: &Entry| self.zones.contains_key(&e.zone);
        if self.tail.copies(id).filter(|e| here(e)).any(|e| enough(*e)) {
            return;
        }
        let key = short(&id.0);
        for segment in self.segments.iter().rev() {
            let mut done = false;
            let found = segment.find(&key, &mut |row| {
                done = done || row.id == *id && here(&row.entry) && enough(row.entry);
            });
            self.note(&found);
            if done {
                return;
            }
        }
    }

    fn note(&self, result: &io::Result<()>) {
        if result.is_err() {
            self.suspect.store(true, Ordering::Relaxed);
        }
    }

    /// The visible copies of an object, newest first.
    pub(crate) fn copies(&self, id: &ObjectId) -> Vec<Entry> {
        let mut copies = Vec::new();
        self.each_copy(id, &mut |entry| {
            copies.push(entry);
            false
        });
        copies
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
        let mut good = None;
        self.each_copy(id, &mut |entry| {
            good = Some(entry).filter(|e| self.counts(e));
            good.is_some()
        });
        good
    }

    /// A visible copy that is not known to be damaged, condemned or not.
    pub(crate) fn readable(&self, id: &ObjectId) -> Option<Entry> {
        let mut readable = None;
        self.each_copy(id, &mut |entry| {
            readable = Some(entry).filter(|e| !self.is_damaged(e));
            readable.is_some()
        });
        readable
    }

    /// The length of an object that is visible and good, or pending.
    pub(crate) fn held(&self, id: &ObjectId) -> Option<u32> {
        self.good(id).or_else(|| self.pending.get(id).copied()).map(|e| e.len)
    }

    /// The visible, good object with this index key.
    pub(crate) fn find(&self, ix: &[u8; 32]) -> Option<(ObjectId, u32)> {
        let near = self.tail.by_ix.get(ix).or_else(|| self.aliases.get(ix));
        let near = near.and_then(|id| Some((*id, self.good(id)?.len)));
        near.or_else(|| self.segments.iter().rev().find_map(|s| self.find_in(s, &short(ix))))
    }

    fn find_in(&self, segment: &Segment, ix: &Short) -> Option<(ObjectId, u32)> {
        let (mut keys, mut rows) = (Vec::new(), Vec::new());
        self.note(&segment.find_ix(ix, &mut |row| keys.push(row.id)));
        for key in keys {
            self.note(&segment.find(&key, &mut |row| rows.push(row)));
        }
        let here = |e: &Entry| self.zones.contains_key(&e.zone) && self.counts(e);
        let near = rows.iter().find(|row| here(&row.entry)).map(|row| (row.id, row.entry.len));
        // Another copy of the object may be elsewhere.
        near.or_else(|| rows.iter().find_map(|row| Some((row.id, self.good(&row.id)?.len))))
    }

    /// As [`Index::find`], pending objects included.
    pub(crate) fn known(&self, ix: &[u8; 32]) -> Option<(ObjectId, u32)> {
        let pending = self.pending_ix.get(ix).or_else(|| self.aliases.get(ix));
        let pending = pending.and_then(|id| Some((*id, self.held(id)?)));
        pending.or_else(|| self.find(ix))
    }

    /// How many object records it knows.
    pub(crate) fn records(&self) -> u64 {
        self.tail.len() as u64 + self.segments.iter().map(|s| s.ids()).sum::<u64>()
    }

    /// Marks a record as damaged.
    pub(crate) fn mark_damaged(&mut self, zone: u64, offset: u64) {
        self.damaged.insert((zone, offset));
    }

    /// Marks every record that `damage` makes unreadable, and names those in unreadable stretches: where
    /// a header is lost, only the index still knows whose it was.
    pub(crate) fn blame(&mut self, damage: Vec<Damage>) -> io::Result<Vec<Damage>> {
        let mut places: Vec<(u64, u64, ObjectId)> = Vec::new();
        if !damage.is_empty() {
            let walked = self.walk().visit(&mut |id, copies| {
                let hit = |e: &&Entry| {
                    damage.iter().any(|d| {
                        d.zone == e.zone && d.offset <= e.offset && e.offset < d.offset + d.len
                    })
                };
                places.extend(copies.iter().filter(hit).map(|e| (e.zone, e.offset, id)));
            });
            walked?;
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
        Ok(named)
    }

    /// All entries as they are now, to be gone through without holding a lock.
    pub(crate) fn walk(&self) -> IndexWalk {
        IndexWalk {
            segments: self.segments.clone(),
            tail: self.tail.sorted(),
            zones: self.zones.keys().copied().collect(),
            damaged: self.damaged.clone(),
            condemned: self.condemned.clone(),
        }
    }

    /// The rows of the segments from number `from` on and of the entries in memory, merged, without those
    /// of zones that are gone. `unseen` are zones that are there and have not been looked at yet.
    pub(crate) fn id_rows(
        &self,
        from: usize,
        unseen: &BTreeSet<u64>,
    ) -> impl Iterator<Item = io::Result<IdRow>> {
        let mut sources: Vec<Source<'_, IdRow>> = Vec::new();
        for segment in &self.segments[from..] {
            sources.push(Box::new(segment.id_rows()));
        }
        sources.push(Box::new(self.tail.sorted().into_iter().map(Ok)));
        let here = |zone: &u64| self.zones.contains_key(zone) || unseen.contains(zone);
        Merge::of(sources, move |row: &IdRow| here(&row.entry.zone))
    }

    /// As [`Index::id_rows`], by index key.
    pub(crate) fn ix_rows(
        &self,
        from: usize,
        unseen: &BTreeSet<u64>,
    ) -> impl Iterator<Item = io::Result<IxRow>> {
        let mut sources: Vec<Source<'_, IxRow>> = Vec::new();
        for segment in &self.segments[from..] {
            sources.push(Box::new(segment.ix_rows()));
        }
        sources.push(Box::new(self.tail.sorted_ix().into_iter().map(Ok)));
        let here = |zone: &u64| self.zones.contains_key(zone) || unseen.contains(zone);
        Merge::of(sources, move |row: &IxRow| here(&row.zone))
    }

    /// The entries in memory are in a segment now.
    pub(crate) fn written_out(&mut self, root: Root, segments: Vec<Arc<Segment>>) {
        self.root = root;
        self.segments = segments;
        self.tail.clear();
    }
}

/// What [`Index::walk`] goes through.
pub(crate) struct IndexWalk {
    segments: Vec<Arc<Segment>>,
    tail: Vec<IdRow>,
    zones: BTreeSet<u64>,
    damaged: HashSet<(u64, u64)>,
    pub(crate) condemned: Arc<Condemned>,
}

impl IndexWalk {
    /// Gives every visible object with its copies, in order of id.
    pub(crate) fn visit(&self, give: &mut dyn FnMut(ObjectId, &[Entry])) -> io::Result<()> {
        let mut sources: Vec<Source<'_, IdRow>> = Vec::new();
        for segment in &self.segments {
            sources.push(Box::new(segment.id_rows()));
        }
        sources.push(Box::new(self.tail.iter().map(|row| Ok(*row))));
        let mut copies: Vec<Entry> = Vec::new();
        let mut last = None;
        for row in Merge::of(sources, |row: &IdRow| self.zones.contains(&row.entry.zone)) {
            let IdRow { id, entry } = row?;
            if let Some(before) = last.filter(|before| *before != id) {
                give(before, &copies);
                copies.clear();
            }
            last = Some(id);
            copies.push(entry);
        }
        if let Some(id) = last {
            give(id, &copies);
        }
        Ok(())
    }

    pub(crate) fn is_damaged(&self, entry: &Entry) -> bool {
        self.damaged.contains(&(entry.zone, entry.offset))
    }

    /// As the index has it.
    pub(crate) fn counts(&self, entry: &Entry) -> bool {
        !self.is_damaged(entry) && !self.condemned.contains(entry)
    }
}
