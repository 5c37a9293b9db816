//! Reading every acknowledged byte of every zone and hashing every body, on all cores.
//!
//! Each worker reads a zone front to back in one pass, in pieces that stay in the processor's cache until
//! they are hashed. A zone in which something cannot be read is done again with care, body by body.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use seawall_base::{DiskFile, ObjectId, OpenMode};

use crate::error::{Damage, DamageKind, StoreError};
use crate::format::{Kind, Record};
use crate::scan::{Acknowledged, Walk, body_fault, damage_of, judge, scrub, walk};
use crate::store::Store;

/// Progress is told after so many bytes.
const STEP: u64 = 4 << 20;
/// Parts in a whole share.
const WHOLE: u64 = 1_000_000;

/// Which objects are read. Headers always are, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subset {
    /// All.
    #[default]
    All,
    /// Part `part` (from 1) of `of`: all parts together are everything, wherever objects have moved in
    /// between.
    Part {
        /// Which.
        part: u32,
        /// Of how many.
        of: u32,
    },
    /// A random share, in millionths; another seed draws another one.
    Share {
        /// How much.
        millionths: u32,
        /// Chooses.
        seed: u64,
    },
}

impl Subset {
    fn holds(self, id: &ObjectId) -> bool {
        let mut word = [0; 8];
        word.copy_from_slice(&id.0[16..24]);
        let word = u64::from_le_bytes(word);
        match self {
            Self::All => true,
            Self::Part { part, of } => word % u64::from(of.max(1)) + 1 == u64::from(part),
            Self::Share { millionths, seed } => {
                let mixed = (word ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed ^ (mixed >> 29)) % WHOLE < u64::from(millionths)
            }
        }
    }
}

/// How to scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scrub {
    /// Threads that read and hash; 0 counts as 1.
    pub workers: usize,
    /// What they read.
    pub subset: Subset,
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
    /// Object records that were not read because they are not in the subset.
    pub skipped: u64,
    /// Damaged records that are condemned: nobody needs them.
    pub condemned: u64,
    /// Everything else that is not as it was written.
    pub damage: Vec<Damage>,
}

/// What one worker tells.
enum Told {
    Read(u64),
    Zone(Result<VerifyReport, StoreError>),
}

impl Store {
    /// Reads every acknowledged byte of every zone and hashes every body. Needs no keys, runs beside
    /// readers and the writer, and marks objects found damaged so that they can be put again.
    ///
    /// `progress` is told how many bytes of zone files have been read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, StoreError> {
        self.scrub(&Scrub::default(), progress)
    }

    /// As [`Store::verify`], on several threads or for a subset of the objects.
    pub fn scrub(
        &self,
        how: &Scrub,
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, StoreError> {
        let zones: Vec<_> = self
            .index()
            .zones
            .iter()
            .map(|(zone, state)| (*zone, state.live.then_some(state.end)))
            .collect();
        let mut report = VerifyReport::default();
        let next = AtomicUsize::new(0);
        std::thread::scope(|threads| -> Result<(), StoreError> {
            let (tell, told) = channel();
            for _ in 0..how.workers.clamp(1, zones.len().max(1)) {
                let (tell, next, zones) = (tell.clone(), &next, &zones);
                threads.spawn(move || {
                    let mut buffer = Vec::new();
                    while let Some((zone, limit)) = zones.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let done = self.scrub_zone(*zone, *limit, how.subset, &mut buffer, &tell);
                        // Nobody listens any more once another zone has failed.
                        if tell.send(Told::Zone(done)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            let mut read = 0;
            for word in told {
                match word {
                    Told::Read(bytes) => {
                        read += bytes;
                        progress(read);
                    }
                    Told::Zone(found) => report.add(found?),
                }
            }
            Ok(())
        })?;
        report.damage.sort_by_key(|d| (d.zone, d.offset));
        let condemned = self.index().condemned.clone();
        let before = report.damage.len();
        report.damage.retain(|d| d.id.is_none() || !condemned.has(d.zone, d.offset));
        report.condemned = (before - report.damage.len()) as u64;
        let blamed = self.index_mut().blame(std::mem::take(&mut report.damage));
        report.damage = blamed.map_err(|e| self.rebuilt(&e))?;
        Ok(report)
    }

    /// Bytes of all zone files.
    pub fn zone_bytes(&self) -> Result<u64, StoreError> {
        let zones: Vec<u64> = self.index().zones.keys().copied().collect();
        let mut bytes = 0;
        for zone in zones {
            match self.file(zone).and_then(|file| file.len()) {
                Ok(len) => bytes += len,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    return Err(StoreError::io(
                        format!("opening {}", self.site.zone_path(zone)),
                        e,
                    ));
                }
            }
        }
        Ok(bytes)
    }

    /// Scrubs one zone, the first `limit` bytes where it is live.
    fn scrub_zone(
        &self,
        zone: u64,
        limit: Option<u64>,
        subset: Subset,
        buffer: &mut Vec<u8>,
        tell: &Sender<Told>,
    ) -> Result<VerifyReport, StoreError> {
        let path = self.site.zone_path(zone);
        let failed = |e| StoreError::io(format!("verifying {path}"), e);
        let mut report = VerifyReport { zones: 1, ..VerifyReport::default() };
        let file = match self.site.disk.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if !self.was_swept(zone)? {
                    let kind = DamageKind::Unclosed;
                    report.damage.push(Damage { zone, offset: 0, len: 0, id: None, kind });
                }
                return Ok(report);
            }
            Err(e) => return Err(failed(e)),
        };
        let present = file.len().map_err(failed)?;
        let len = limit.map_or(present, |l| l.min(present));
        let mut steps = Steps { told: 0, tell };
        let (found, faults) = read_zone(&*file, len, subset, buffer, &mut steps).map_err(failed)?;
        if subset == Subset::All {
            steps.up_to(len, 0);
        }
        let all = if limit.is_some() { Acknowledged::All } else { Acknowledged::Closed };
        let view = judge(&found, zone, all);
        report.damage.extend(view.damage);
        if limit.is_some_and(|l| l > present) {
            let kind = DamageKind::Unclosed;
            report.damage.push(Damage { zone, offset: present, len: 0, id: None, kind });
        }
        report.damage.extend(faults.iter().map(|(record, kind)| damage_of(zone, record, *kind)));
        for record in view.records.iter().filter(|r| matches!(r.kind, Kind::Object { .. })) {
            if subset.holds(&record.object_id()) {
                report.records += 1;
                report.bytes += u64::from(record.len);
            } else {
                report.skipped += 1;
            }
        }
        Ok(report)
    }
}

/// Tells of progress, now and then.
struct Steps<'t> {
    told: u64,
    tell: &'t Sender<Told>,
}

impl Steps<'_> {
    /// `done` bytes are read, if that is at least `step` more than was told.
    fn up_to(&mut self, done: u64, step: u64) {
        if done > self.told && done - self.told >= step {
            // Whoever stopped listening hears of the end another way.
            let _ = self.tell.send(Told::Read(done - self.told));
            self.told = done;
        }
    }
}

type Faults = Vec<(Record, DamageKind)>;

/// Reads a zone in one pass; where that fails, again, body by body.
fn read_zone(
    file: &dyn DiskFile,
    len: u64,
    subset: Subset,
    buffer: &mut Vec<u8>,
    steps: &mut Steps<'_>,
) -> io::Result<(Walk, Faults)> {
    let mut read = 0;
    let once = scrub(file, len, buffer, &mut |record| {
        let wanted = subset.holds(&record.object_id());
        if wanted {
            read = if subset == Subset::All { record.end() } else { read + u64::from(record.len) };
            steps.up_to(read, STEP);
        }
        wanted
    });
    if let Ok(done) = once {
        return Ok(done);
    }
    let found = walk(file, len)?;
    let mut faults = Vec::new();
    for item in &found.items {
        if let crate::scan::Item::Record(record) = item
            && subset.holds(&record.object_id())
            && let Some(kind) = body_fault(file, record)
        {
            faults.push((*record, kind));
        }
    }
    Ok((found, faults))
}

impl VerifyReport {
    fn add(&mut self, other: Self) {
        self.zones += other.zones;
        self.records += other.records;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.damage.extend(other.damage);
    }
}
