//! The store: opaque bytes under their BLAKE3 id, in append-only zones.
//!
//! Many threads may read while one writes; writers take turns. What [`Store::flush`] has returned `Ok`
//! for survives a power cut; nothing else is promised, and nothing half-written is ever returned.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seawall_base::{Disk, DiskFile, MAX_OBJECT, ObjectId, OpenMode};

use crate::error::{Damage, DamageKind, StoreError};
use crate::format::{Kind, LONG_HEADER, SHORT_HEADER};
use crate::index::{Entry, Index};
use crate::recover::recover;
use crate::scan::{Acknowledged, body_fault, damage_of, judge, walk};
use crate::writer::Writer;

/// Open files kept for reading; more are closed and opened again.
const OPEN_FILES: usize = 64;

/// How a store is opened.
#[derive(Clone, Copy)]
pub struct Options {
    /// Size in bytes at which a zone is closed and the next begun: at most 2 GiB, 256 MiB unless set. A
    /// zone holds at least one object, however large.
    pub zone_bytes: u64,
    /// Secret of this store, kept with its configuration and the same at every opening (another one
    /// does no harm to zones that exist). Without it, whoever chooses objects' bytes could write a body
    /// that imitates records and have it read as such where the real header is damaged.
    pub salt: [u8; 32],
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("zone_bytes", &self.zone_bytes).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { zone_bytes: 256 << 20, salt: [0; 32] }
    }
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Zones in use.
    pub zones: u64,
    /// Objects that can be read.
    pub objects: u64,
    /// Bytes of tail that no commit covered and that were cut.
    pub cut_bytes: u64,
    /// Pieces of the last flush that did not reach the disk before a crash. No sync had succeeded for
    /// them; an object named here has to be put again.
    pub torn: Vec<Damage>,
    /// Corruption of acknowledged bytes. Bodies are not read when opening: see [`Store::verify`].
    pub damage: Vec<Damage>,
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Zones read.
    pub zones: u64,
    /// Object records read, damaged ones and superseded copies included.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
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

/// An open store. One process at a time may have it open for writing; the caller sees to that.
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: String,
    index: RwLock<Index>,
    files: Mutex<HashMap<u64, Arc<dyn DiskFile>>>,
    // Taken before `index` wherever both are held.
    writer: Mutex<Writer>,
}

/// The path of a zone's file in the zones directory.
pub(crate) fn zone_path(dir: &str, zone: u64) -> String {
    format!("{dir}/{zone:016x}.zone")
}

const UNPOISONED: &str = "no code that holds a lock of the store panics";

impl Store {
    /// Opens the store in the directory `dir` of `disk`, creating it where there is none.
    ///
    /// Reads record headers, not bodies, except for those of a last flush that may not have finished.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        options: Options,
    ) -> Result<(Self, OpenReport), StoreError> {
        let options = Options { zone_bytes: options.zone_bytes.min(2 << 30), ..options };
        let dir = if dir.is_empty() { "zones".to_owned() } else { format!("{dir}/zones") };
        let (index, writer, report) = recover(disk.clone(), dir.clone(), &options)?;
        let (index, writer) = (RwLock::new(index), Mutex::new(writer));
        Ok((Self { disk, dir, index, files: Mutex::new(HashMap::new()), writer }, report))
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect(UNPOISONED)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect(UNPOISONED)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect(UNPOISONED)
    }

    /// Takes an object in; true if it was not there. Pending until [`Store::flush`] succeeds. (Closing a
    /// full zone flushes what came before.)
    ///
    /// `ix` is the private index key, kept with the record and never synced. An object that is here
    /// already is not stored again; a new `ix` for it is remembered until the store is closed. An object
    /// known to be damaged counts as absent, so that putting it mends it.
    pub fn put(&self, id: ObjectId, ix: Option<[u8; 32]>, body: &[u8]) -> Result<bool, StoreError> {
        if body.len() > MAX_OBJECT {
            return Err(StoreError::TooLarge { len: body.len() });
        }
        let found = ObjectId::of(body);
        if found != id {
            return Err(StoreError::WrongId { claimed: id, found });
        }
        let mut writer = self.writer();
        writer.check()?;
        if self.index().held(&id) {
            if let Some(ix) = ix.filter(|ix| self.index().known(ix) != Some(id)) {
                self.index_mut().alias(id, ix);
            }
            return Ok(false);
        }
        let header = if ix.is_some() { LONG_HEADER } else { SHORT_HEADER };
        if writer.must_roll(header, body.len()) {
            self.commit(&mut writer, true)?;
        }
        let entry = writer.append(id, ix, body)?;
        self.index_mut().pend(id, ix, entry);
        Ok(true)
    }

    /// Makes everything put so far durable and visible: one commit record and one sync for all of it.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.commit(&mut self.writer(), false)
    }

    fn commit(&self, writer: &mut Writer, close: bool) -> Result<(), StoreError> {
        writer.commit(close)?;
        self.index_mut().publish();
        Ok(())
    }

    /// The object's bytes, checked against its id. `None` if it is not here (or not flushed).
    pub fn get(&self, id: ObjectId) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(entry) = self.index().entry(&id) else { return Ok(None) };
        let body = match self.read_body(&entry) {
            Ok(body) => Some(body).filter(|b| ObjectId::of(b) == id),
            // The zone is shorter than its records say, or gone: that object cannot be read any more.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) =>
            {
                None
            }
            Err(e) => {
                let path = zone_path(&self.dir, entry.zone);
                return Err(StoreError::io(format!("reading {path} at {}", entry.offset), e));
            }
        };
        if body.is_none() {
            let Entry { zone, offset, .. } = entry;
            self.index_mut().mark_damaged(&id, zone, offset);
            return Err(StoreError::Damaged { id, zone, offset });
        }
        Ok(body)
    }

    fn read_body(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let file = self.file(entry.zone)?;
        let mut body = vec![0; entry.len as usize];
        file.read_exact_at(entry.body_offset(), &mut body)?;
        Ok(body)
    }

    fn file(&self, zone: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().expect(UNPOISONED);
        if let Some(file) = files.get(&zone) {
            return Ok(file.clone());
        }
        let file: Arc<dyn DiskFile> =
            Arc::from(self.disk.open(&zone_path(&self.dir, zone), OpenMode::Read)?);
        if files.len() >= OPEN_FILES {
            files.clear();
        }
        files.insert(zone, file.clone());
        Ok(file)
    }

    /// Whether the object is durable here and not known to be damaged.
    pub fn contains(&self, id: ObjectId) -> bool {
        self.index().good(&id).is_some()
    }

    /// The length in bytes of an object that [`Store::contains`].
    pub fn size_of(&self, id: ObjectId) -> Option<u32> {
        self.index().good(&id).map(|e| e.len)
    }

    /// The durable object with this private index key.
    pub fn find(&self, ix: &[u8; 32]) -> Option<ObjectId> {
        self.index().find(ix)
    }

    /// As [`Store::find`], objects put but not flushed included: for deduplication within a run that
    /// ends with a flush.
    pub fn known(&self, ix: &[u8; 32]) -> Option<ObjectId> {
        self.index().known(ix)
    }

    /// Every object that [`Store::contains`], in order of id.
    pub fn ids(&self) -> Vec<ObjectId> {
        let mut ids: Vec<ObjectId> = self.index().iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// How much is held.
    pub fn stats(&self) -> Stats {
        let zones = self.writer().zones.len() as u64;
        self.index().iter().fold(Stats { zones, ..Stats::default() }, |mut s, (_, entry)| {
            s.objects += 1;
            s.bytes += u64::from(entry.len);
            s
        })
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

    /// Reads every acknowledged byte of every zone and hashes every body. Needs no keys, runs beside
    /// readers and the writer, and marks objects found damaged so that they can be put again.
    ///
    /// `progress` is told how many bytes of zone files have been read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, StoreError> {
        let (zones, active) = {
            let writer = self.writer();
            let active = writer.active.as_ref().filter(|a| !a.closed);
            (writer.zones.clone(), active.map(|a| (a.number, a.acknowledged())))
        };
        let mut report = VerifyReport { zones: zones.len() as u64, ..VerifyReport::default() };
        let mut read = 0;
        for zone in zones {
            let limit = active.filter(|(number, _)| *number == zone).map(|(_, end)| end);
            self.verify_zone(zone, limit, &mut report, &mut |n| progress(read + n))
                .map_err(|e| StoreError::io(format!("verifying {}", zone_path(&self.dir, zone)), e))
                .map(|len| read += len)?;
        }
        report.damage = self.index_mut().blame(std::mem::take(&mut report.damage));
        Ok(report)
    }

    /// Verifies one zone, the first `limit` bytes where it is the active one; returns the bytes read.
    fn verify_zone(
        &self,
        zone: u64,
        limit: Option<u64>,
        report: &mut VerifyReport,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<u64> {
        let file = match self.disk.open(&zone_path(&self.dir, zone), OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let kind = DamageKind::Unclosed;
                report.damage.push(Damage { zone, offset: 0, len: 0, id: None, kind });
                return Ok(0);
            }
            Err(e) => return Err(e),
        };
        let present = file.len()?;
        let len = limit.map_or(present, |l| l.min(present));
        let found = walk(&*file, len)?;
        let all = if limit.is_some() { Acknowledged::All } else { Acknowledged::Closed };
        let view = judge(&found, zone, all);
        report.damage.extend(view.damage);
        if limit.is_some_and(|l| l > present) {
            let kind = DamageKind::Unclosed;
            report.damage.push(Damage { zone, offset: present, len: 0, id: None, kind });
        }
        for record in &view.records {
            if let Some(kind) = body_fault(&*file, record) {
                report.damage.push(damage_of(zone, record, kind));
            }
            if matches!(record.kind, Kind::Object { .. }) {
                report.records += 1;
                report.bytes += u64::from(record.len);
            }
            progress(record.end());
        }
        Ok(len)
    }
}
