//! The store: opaque bytes under their BLAKE3 id, in append-only zones.
//!
//! Many threads may read while one writes; writers take turns. Any number of processes may have one
//! store open: each writer has a zone of its own. What [`Store::flush`] has returned `Ok` for survives a
//! power cut; nothing else is promised, and nothing half-written is ever returned.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seawall_base::{Disk, DiskFile, LockMode, MAX_OBJECT, Object, ObjectId, OpenMode};

use crate::condemned::{self, Condemned, ReclaimState, Standing, writers_lock};
use crate::error::{Damage, StoreError};
use crate::format::{LONG_HEADER, SHORT_HEADER};
use crate::index::{Entry, Index, ZoneState};
use crate::recover::{Look, TakenOver};
use crate::root::Root;
use crate::segment::Segment;
use crate::site::{RECLAIM_LOCK, Site};
use crate::spill::{Spilled, discard, load, spill};
use crate::writer::Writer;

/// Entries in memory above which they are written to the index when the store is closed: fewer are read
/// from the zones in no time.
const WORTH_WRITING: usize = 4_096;
/// Open files kept for reading; more are closed and opened again.
const OPEN_FILES: usize = 64;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reading and writing.
    #[default]
    Write,
    /// Reading: no zone is changed, nothing is locked, nobody waits for this store to be closed.
    Read,
}

/// How a store is opened.
#[derive(Clone, Copy)]
pub struct Options {
    /// What for.
    pub access: Access,
    /// Size in bytes at which a zone is closed and the next begun: at most 2 GiB, 256 MiB unless set. A
    /// zone holds at least one object, however large.
    pub zone_bytes: u64,
    /// Secret of this store, kept with its configuration and the same at every opening (another one
    /// does no harm to zones that exist). Without it, whoever chooses objects' bytes could write a body
    /// that imitates records and have it read as such where the real header is damaged.
    pub salt: [u8; 32],
    /// Objects whose places are kept in memory before they are written to the index on disk: 131 072
    /// unless set, which takes about 20 MiB.
    pub index_tail: usize,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("access", &self.access)
            .field("zone_bytes", &self.zone_bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        let (zone_bytes, index_tail) = (256 << 20, 1 << 17);
        Self { access: Access::Write, zone_bytes, salt: [0; 32], index_tail }
    }
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Zones in use.
    pub zones: u64,
    /// Object records that can be read.
    pub objects: u64,
    /// Bytes of tail that no commit covered and that were cut.
    pub cut_bytes: u64,
    /// Pieces of the last flush that did not reach the disk before a crash. No sync had succeeded for
    /// them; an object named here has to be put again.
    pub torn: Vec<Damage>,
    /// Corruption of acknowledged bytes. Bodies are not read when opening: see [`Store::verify`].
    pub damage: Vec<Damage>,
    /// Files beside the zones that were damaged and are made anew; nothing is lost with them.
    pub renewed: Vec<String>,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects that can be read.
    pub objects: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Zones in use.
    pub zones: u64,
}

/// An open store.
pub struct Store {
    pub(crate) site: Arc<Site>,
    index: RwLock<Index>,
    files: Mutex<HashMap<u64, Arc<dyn DiskFile>>>,
    // Taken before `index` wherever both are held.
    writer: Mutex<Writer>,
    /// What this store knows of reclaiming. Taken after `writer`, before `index`.
    pub(crate) reclaim: Mutex<Presence>,
}

/// The generation of reclaiming that a store acts by.
pub(crate) struct Presence {
    pub(crate) state: ReclaimState,
    /// Held by a writer, so that whoever removes objects waits for it.
    pub(crate) lock: Option<Box<dyn DiskFile>>,
}

pub(crate) const UNPOISONED: &str = "no code that holds a lock of the store panics";

impl Presence {
    /// Reads the state on disk and, for a writer, becomes present under its generation.
    pub(crate) fn enter(
        site: &Site,
        report: &mut OpenReport,
    ) -> Result<(Self, Condemned), StoreError> {
        loop {
            let (state, condemned) = Self::standing(site, report)?;
            if site.access == Access::Read {
                return Ok((Self { state, lock: None }, condemned));
            }
            let name = writers_lock(state.generation);
            // In the way is only somebody who has just seen that the generation is over.
            let Some(lock) = site.lock(&name, LockMode::Shared, true)? else { continue };
            let (now, condemned) = Self::standing(site, report)?;
            if now.generation == state.generation {
                return Ok((Self { state: now, lock: Some(lock) }, condemned));
            }
        }
    }

    fn standing(
        site: &Site,
        report: &mut OpenReport,
    ) -> Result<(ReclaimState, Condemned), StoreError> {
        let why = match condemned::read(site)? {
            Standing::Whole(state, condemned) => return Ok((state, condemned)),
            Standing::Damaged(why) => why,
        };
        report.renewed.push(why);
        if site.access == Access::Read {
            return Ok((ReclaimState::default(), Condemned::default()));
        }
        // Nobody removes anything while this lock is held, so that nothing is condemned is safe.
        let _lock = site.lock(RECLAIM_LOCK, LockMode::Exclusive, true)?;
        if let Standing::Whole(state, condemned) = condemned::read(site)? {
            return Ok((state, condemned));
        }
        let mut state = condemned::anew(site)?;
        let generation = state.generation;
        state.replace_list(site, &Condemned::default(), generation)?;
        Ok((state, Condemned::default()))
    }
}

impl Store {
    /// Opens the store in the directory `dir` of `disk`, creating it where there is none.
    ///
    /// Reads record headers, not bodies, except for those of a last flush that may not have finished.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        options: Options,
    ) -> Result<(Self, OpenReport), StoreError> {
        let site = Arc::new(Site::new(disk, dir, &options));
        let mut report = OpenReport::default();
        if site.access == Access::Write {
            let zones = site.zones_dir();
            let at_dir = |e| StoreError::io(format!("opening {zones}"), e);
            site.disk.create_dir_all(&zones).map_err(at_dir)?;
            // A crashed process may have left names that are seen but not durable.
            site.disk.sync_dir(&zones).map_err(at_dir)?;
        }
        let (presence, condemned) = Presence::enter(&site, &mut report)?;
        let adopt = site.access == Access::Write;
        let state = &presence.state;
        let (index, taken) = look(&site, state, condemned, None, adopt, &[], &mut report)?;
        report.objects = index.records();
        let writer = Writer::new(site.clone(), taken);
        let store = Self {
            site,
            index: RwLock::new(index),
            files: Mutex::new(HashMap::new()),
            writer: Mutex::new(writer),
            reclaim: Mutex::new(presence),
        };
        Ok((store, report))
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect(UNPOISONED)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect(UNPOISONED)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect(UNPOISONED)
    }

    pub(crate) fn presence(&self) -> MutexGuard<'_, Presence> {
        self.reclaim.lock().expect(UNPOISONED)
    }

    /// Looks at the directory again: zones that other processes wrote appear, zones that were removed
    /// vanish, condemned objects count as absent. Damage found on the way is for [`Store::verify`].
    ///
    /// A writer stays present as of when it was opened: whoever waits for it goes on waiting.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let writer = self.writer();
        let mut report = OpenReport::default();
        let (state, condemned) = Presence::standing(&self.site, &mut report)?;
        self.look_again(&writer, &state, condemned)?;
        self.presence().state = state;
        Ok(())
    }

    /// Rebuilds what the index holds of the zones; what only memory holds stays.
    pub(crate) fn look_again(
        &self,
        writer: &Writer,
        state: &ReclaimState,
        condemned: Condemned,
    ) -> Result<(), StoreError> {
        let active = writer.active.as_ref().map(|a| a.number);
        let own = active.and_then(|zone| Some((zone, *self.index().zones.get(&zone)?)));
        let mut report = OpenReport::default();
        let open = self.index().segments.clone();
        let (mut index, _) = look(&self.site, state, condemned, own, false, &open, &mut report)?;
        let mut current = self.index_mut();
        for (zone, known) in &current.zones {
            // A zone that vanished without having been swept is missed by whoever verifies.
            if !state.is_swept(*zone) {
                index.zones.entry(*zone).or_insert(*known);
            }
        }
        std::mem::swap(&mut *current, &mut index);
        current.inherit(index);
        let mut files = self.files.lock().expect(UNPOISONED);
        files.retain(|zone, _| current.zones.contains_key(zone));
        Ok(())
    }

    /// Takes an object in; true if it was not there. Pending until [`Store::flush`] succeeds. (Closing a
    /// full zone flushes what came before.)
    ///
    /// `ix` is the private index key, kept with the record and never synced. An object that is here
    /// already is not stored again; a new `ix` for it is remembered until the store is closed. An object
    /// known to be damaged, or condemned, counts as absent, so that putting it mends it.
    pub fn put(&self, id: ObjectId, ix: Option<[u8; 32]>, body: &[u8]) -> Result<bool, StoreError> {
        if body.len() > MAX_OBJECT {
            return Err(StoreError::TooLarge { len: body.len() });
        }
        let object = Object::new(body);
        if object.id() != id {
            return Err(StoreError::WrongId { claimed: id, found: object.id() });
        }
        self.put_object(&object, ix)
    }

    /// [`Store::put`] for bytes whose id is beyond doubt.
    pub fn put_object(&self, body: &Object<'_>, ix: Option<[u8; 32]>) -> Result<bool, StoreError> {
        if body.len() > MAX_OBJECT {
            return Err(StoreError::TooLarge { len: body.len() });
        }
        let id = body.id();
        let held = self.ask(|index| index.held(&id)).is_some();
        let mut writer = self.writer();
        writer.check()?;
        if held || self.index().held(&id).is_some() {
            if let Some(ix) = ix.filter(|ix| self.index().known(ix).map(|k| k.0) != Some(id)) {
                self.index_mut().alias(id, ix);
            }
            return Ok(false);
        }
        self.append(&mut writer, id, ix, body)?;
        Ok(true)
    }

    /// Appends an object whether or not it is here.
    pub(crate) fn append(
        &self,
        writer: &mut Writer,
        id: ObjectId,
        ix: Option<[u8; 32]>,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let header = if ix.is_some() { LONG_HEADER } else { SHORT_HEADER };
        if writer.must_roll(header, body.len()) {
            self.commit(writer, true)?;
        }
        let entry = writer.append(id, ix, body, &self.index())?;
        self.index_mut().pend(id, ix, entry);
        Ok(())
    }

    /// Makes everything put so far durable and visible: one commit record and one sync for all of it.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.commit(&mut self.writer(), false)
    }

    pub(crate) fn commit(&self, writer: &mut Writer, close: bool) -> Result<(), StoreError> {
        if let Some((zone, state)) = writer.commit(close)? {
            self.index_mut().publish(zone, state);
            if self.index().in_memory() >= writer.spill_at {
                self.write_index(writer)?;
            }
        }
        Ok(())
    }

    /// Writes the entries in memory to the index on disk. It is a cache: where that cannot be done now,
    /// they stay in memory.
    pub(crate) fn write_index(&self, writer: &mut Writer) -> Result<(), StoreError> {
        for _ in 0..2 {
            let spilled = spill(&self.site, &self.index(), &BTreeSet::new());
            match spilled {
                Ok(Spilled::Written(root, segments)) => {
                    self.index_mut().written_out(root, segments);
                    break;
                }
                Ok(Spilled::Stale) => {
                    let mut report = OpenReport::default();
                    let (state, condemned) = Presence::standing(&self.site, &mut report)?;
                    self.look_again(writer, &state, condemned)?;
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => self.rebuild(writer)?,
                // Another process is at it, or the disk is full, say: objects come first.
                Ok(Spilled::Busy) | Err(_) => break,
            }
        }
        writer.spill_at = self.index().in_memory() + self.site.index_tail;
        Ok(())
    }

    /// Builds the index anew from the zones.
    fn rebuild(&self, writer: &Writer) -> Result<(), StoreError> {
        discard(&self.site).map_err(|e| StoreError::io("discarding the index", e))?;
        let mut report = OpenReport::default();
        let (state, condemned) = Presence::standing(&self.site, &mut report)?;
        self.look_again(writer, &state, condemned)
    }

    /// Asks the index; if it turns out to be damaged, rebuilds it and asks again. Where not even that can
    /// be done the answer is that of an index that does not know: never that something is there.
    fn ask<T>(&self, question: impl Fn(&Index) -> T) -> T {
        let answer = question(&self.index());
        if self.index().is_suspect() && self.rebuild(&self.writer()).is_ok() {
            return question(&self.index());
        }
        answer
    }

    /// Rebuilds the index after going through it has failed.
    pub(crate) fn rebuilt(&self, why: &io::Error) -> StoreError {
        match self.rebuild(&self.writer()) {
            Ok(()) => StoreError::IndexRebuilt { why: why.to_string() },
            Err(e) => e,
        }
    }

    /// The object's bytes, checked against its id. `None` if it is not here (or not flushed).
    ///
    /// A condemned object is still read; one that another process has moved is looked for again.
    pub fn get(&self, id: ObjectId) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read(id)? {
            Found::Body(body) => Ok(Some(body)),
            Found::Nothing => Ok(None),
            Found::Damaged(entry) => {
                Err(StoreError::Damaged { id, zone: entry.zone, offset: entry.offset })
            }
            Found::Gone(zone) => {
                self.refresh()?;
                let swept = self.presence().state.is_swept(zone);
                match self.read(id)? {
                    Found::Body(body) => Ok(Some(body)),
                    Found::Nothing if swept => Ok(None),
                    Found::Nothing | Found::Gone(_) => {
                        Err(StoreError::Damaged { id, zone, offset: 0 })
                    }
                    Found::Damaged(Entry { zone, offset, .. }) => {
                        Err(StoreError::Damaged { id, zone, offset })
                    }
                }
            }
        }
    }

    /// Reads one whole copy of an object.
    fn read(&self, id: ObjectId) -> Result<Found, StoreError> {
        let mut copies = self.ask(|index| index.copies(&id));
        if copies.len() > 1 {
            let index = self.index();
            copies.sort_by_key(|e| index.is_damaged(e));
        }
        let mut found = Found::Nothing;
        for entry in copies {
            match self.read_body(&entry) {
                Ok(body) if ObjectId::of(&body) == id => return Ok(Found::Body(body)),
                Ok(_) => {}
                // The zone is shorter than its records say: that object cannot be read any more.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    found = Found::Gone(entry.zone);
                    continue;
                }
                Err(e) => {
                    let path = self.site.zone_path(entry.zone);
                    return Err(StoreError::io(format!("reading {path} at {}", entry.offset), e));
                }
            }
            self.index_mut().mark_damaged(entry.zone, entry.offset);
            if matches!(found, Found::Nothing) {
                found = Found::Damaged(entry);
            }
        }
        Ok(found)
    }

    pub(crate) fn read_body(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let file = self.file(entry.zone)?;
        let mut body = vec![0; entry.len as usize];
        file.read_exact_at(entry.body_offset(), &mut body)?;
        Ok(body)
    }

    pub(crate) fn file(&self, zone: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().expect(UNPOISONED);
        if let Some(file) = files.get(&zone) {
            return Ok(file.clone());
        }
        let file: Arc<dyn DiskFile> =
            Arc::from(self.site.disk.open(&self.site.zone_path(zone), OpenMode::Read)?);
        if files.len() >= OPEN_FILES {
            files.clear();
        }
        files.insert(zone, file.clone());
        Ok(file)
    }

    /// Whether the object is durable here, not known to be damaged and not condemned.
    pub fn contains(&self, id: ObjectId) -> bool {
        self.ask(|index| index.good(&id)).is_some()
    }

    /// The length in bytes of an object that [`Store::contains`].
    pub fn size_of(&self, id: ObjectId) -> Option<u32> {
        self.ask(|index| index.good(&id)).map(|e| e.len)
    }

    /// As [`Store::size_of`], of objects that are condemned too: they can be read until they are swept.
    pub fn readable_size(&self, id: ObjectId) -> Option<u32> {
        self.ask(|index| index.readable(&id)).map(|e| e.len)
    }

    /// The durable object with this private index key.
    pub fn find(&self, ix: &[u8; 32]) -> Option<ObjectId> {
        self.ask(|index| index.find(ix)).map(|(id, _)| id)
    }

    /// As [`Store::find`], objects put but not flushed included: for deduplication within a run that
    /// ends with a flush.
    pub fn known(&self, ix: &[u8; 32]) -> Option<ObjectId> {
        self.known_len(ix).map(|(id, _)| id)
    }

    /// As [`Store::known`], with the length of its body in bytes.
    pub fn known_len(&self, ix: &[u8; 32]) -> Option<(ObjectId, u32)> {
        self.ask(|index| index.known(ix))
    }

    /// Gives every object that [`Store::contains`] with the length of its body, in order of id. Takes
    /// little memory, however many there are.
    pub fn each(&self, give: &mut dyn FnMut(ObjectId, u32)) -> Result<(), StoreError> {
        let walk = self.index().walk();
        let walked = walk.visit(&mut |id, copies| {
            if let Some(entry) = copies.iter().find(|e| walk.counts(e)) {
                give(id, entry.len);
            }
        });
        walked.map_err(|e| self.rebuilt(&e))
    }

    /// Every object that [`Store::contains`], in order of id.
    pub fn ids(&self) -> Result<Vec<ObjectId>, StoreError> {
        let mut ids = Vec::new();
        self.each(&mut |id, _| ids.push(id))?;
        Ok(ids)
    }

    /// How much is held.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let zones = self.index().zones.len() as u64;
        let mut stats = Stats { zones, ..Stats::default() };
        self.each(&mut |_, len| {
            stats.objects += 1;
            stats.bytes += u64::from(len);
        })?;
        Ok(stats)
    }

    /// Stores a good copy of an object whose record is damaged or gone; true if that was so. Pending
    /// until [`Store::flush`]; from then on the good copy is the one that is read.
    pub fn replace_damaged(&self, id: ObjectId, body: &[u8]) -> Result<bool, StoreError> {
        match self.get(id) {
            Ok(Some(_)) => Ok(false),
            Ok(None) | Err(StoreError::Damaged { .. }) => self.put(id, None, body),
            Err(e) => Err(e),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let worth = WORTH_WRITING.min(self.site.index_tail);
        if self.site.access == Access::Write && self.index().in_memory() >= worth {
            let mut writer = self.writer();
            // The zones have everything; the next opening reads them instead.
            let _ = self.write_index(&mut writer);
        }
    }
}

/// What reading an object came to.
enum Found {
    Body(Vec<u8>),
    Nothing,
    /// The newest copy, where none is whole.
    Damaged(Entry),
    /// The file of this zone is not there.
    Gone(u64),
}

/// Reads all zones but those that were swept, and those that the index on disk has. `open` are segments
/// that need not be opened again.
fn look(
    site: &Arc<Site>,
    state: &ReclaimState,
    condemned: Condemned,
    own: Option<(u64, ZoneState)>,
    adopt: bool,
    open: &[Arc<Segment>],
    report: &mut OpenReport,
) -> Result<(Index, TakenOver), StoreError> {
    let listing = |e| StoreError::io(format!("listing {}", site.zones_dir()), e);
    let mut zones = site.zones().map_err(listing)?;
    zones.retain(|zone| !state.is_swept(*zone));
    let condemned = Arc::new(condemned);
    let (root, segments, why) = match load(site, open) {
        Ok(loaded) => loaded,
        // It is a cache: what cannot be read is read from the zones.
        Err(e) => (Root::default(), Vec::new(), Some(format!("the index: {e}"))),
    };
    report.renewed.extend(why);
    let generation = root.generation;
    let mut index = Index::new(&site.salt, condemned.clone());
    (index.root, index.segments) = (root, segments);
    let before = report.clone();
    if let Some(taken) = Look::new(site, &mut index, report).at(&zones, own, adopt)? {
        return Ok((index, taken));
    }
    *report = before;
    report.renewed.push("the index is not of these zones".to_owned());
    let mut index = Index::new(&site.salt, condemned);
    index.root.generation = generation;
    let taken = Look::new(site, &mut index, report).at(&zones, own, adopt)?;
    taken.map(|taken| (index, taken)).ok_or_else(|| StoreError::IndexRebuilt {
        why: "it was damaged while it was being rebuilt".to_owned(),
    })
}
