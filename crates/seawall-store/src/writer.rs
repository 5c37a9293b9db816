//! The writer of this process: appends records to its own zone and makes them durable. Its zone's file is
//! locked; other processes write other zones.
//!
//! A failed *write* changes nothing that counts: the records stay in the buffer, the file is cut back
//! to where the buffer starts, and the next attempt writes the same bytes to the same place. A failed
//! *sync* is final: the kernel may have dropped the dirty pages and marked them clean, so that a second
//! sync would succeed without anything having reached the disk. The writer then refuses to go on until
//! the store is opened again, which rewrites what it cannot prove to be durable.

use std::io;
use std::sync::Arc;

use seawall_base::{DiskFile, LockMode, ObjectId, OpenMode};

use crate::error::StoreError;
use crate::format::{
    Ended, Kind, Mark, Record, SHORT_HEADER, Tag, ZONE_HEADER, ZoneHeader, chain_after, tag_of,
};
use crate::index::{Entry, Index, ZoneState};
use crate::recover::TakenOver;
use crate::scan::Tip;
use crate::site::{Site, ZONES_LOCK};
use crate::store::Access;

/// Buffered bytes above which records are written out (without a sync).
const SPILL: usize = 4 << 20;
/// Bodies from this length on are written out at once, from where they are: copying them into the buffer
/// first costs as much as hashing them.
const AT_ONCE: usize = 64 << 10;
/// Bytes written after which the disk is asked to begin making them durable, so that the sync at the end
/// of a flush has little left to wait for.
const EARLY: u64 = 32 << 20;

/// The zone that is appended to.
pub(crate) struct Active {
    pub(crate) number: u64,
    /// Locked.
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) tag: Tag,
    ended: Ended,
    /// Behind the last record, buffered ones included.
    pub(crate) tip: Tip,
    /// Behind the last record that is acknowledged.
    pub(crate) durable: Tip,
    /// Its header is damaged: closed before the next record.
    pub(crate) retire: bool,
    /// Records not written yet; they end at the tip.
    buffer: Vec<u8>,
    /// Up to where the disk has been asked to begin.
    begun: u64,
}

impl Active {
    pub(crate) fn new(file: Arc<dyn DiskFile>, header: ZoneHeader, tip: Tip) -> Self {
        let ZoneHeader { zone: number, tag, ended } = header;
        let durable = tip;
        let (retire, buffer, begun) = (false, Vec::new(), tip.offset);
        Self { number, file, tag, ended, tip, durable, retire, buffer, begun }
    }

    const fn buffer_start(&self) -> u64 {
        self.tip.offset - self.buffer.len() as u64
    }

    /// Adds a record to the buffer.
    fn push(&mut self, kind: Kind, id: [u8; 32], body: &[u8]) -> Record {
        let (record, tip) = self.push_header(kind, id, body);
        self.buffer.extend_from_slice(body);
        self.buffer.extend_from_slice(padding(&record));
        self.tip = tip;
        record
    }

    /// Adds a record's header to the buffer; returns the tip behind the record.
    fn push_header(&mut self, kind: Kind, id: [u8; 32], body: &[u8]) -> (Record, Tip) {
        let (len, count) = (body.len() as u32, self.tip.count);
        let record = Record { kind, len, count, offset: self.tip.offset, id };
        let header = record.encode(self.tag);
        self.buffer.extend_from_slice(&header);
        let chain = chain_after(&self.tip.chain, &header);
        (record, Tip { offset: record.end(), chain, count: count.wrapping_add(1) })
    }

    /// Writes the buffer and behind it a record whose body is not copied. On an error the buffer is as it
    /// was, and the file has to be cut back to where it starts.
    fn write_at_once(&mut self, kind: Kind, id: [u8; 32], body: &[u8]) -> io::Result<Record> {
        let (start, buffered) = (self.buffer_start(), self.buffer.len());
        let (record, tip) = self.push_header(kind, id, body);
        let written = self.file.write_parts_at(start, &[&self.buffer, body, padding(&record)]);
        self.buffer.truncate(if written.is_ok() { 0 } else { buffered });
        written?;
        self.tip = tip;
        Ok(record)
    }

    /// After the sync of a commit, writes a second, empty commit without a sync. Any record behind a
    /// commit proves that its sync succeeded, so the next opening need not read the flush again.
    ///
    /// It is a hint: if writing it fails it stays buffered and goes out with the next record. It is not
    /// forgotten, because the failed write may have left it on the disk all the same.
    pub(crate) fn settle(&mut self) {
        let before = self.tip;
        self.push(Kind::Commit(Mark::Settle), before.chain, &[]);
        if self.file.write_at(before.offset, &self.buffer).is_ok() {
            self.buffer.clear();
        }
        self.durable = self.tip;
    }

    /// Continues behind a settling commit found when opening. It may be in the page cache only, so it
    /// goes out again with the next record.
    pub(crate) fn resume(&mut self, settle: &Record) {
        self.tip = Tip { offset: settle.offset, chain: settle.id, count: settle.count };
        self.push(settle.kind, settle.id, &[]);
        self.durable = self.tip;
    }
}

/// The state behind the store's writer lock.
pub(crate) struct Writer {
    pub(crate) site: Arc<Site>,
    /// `None` before the first record of a store, and where no zone can be appended to.
    pub(crate) active: Option<Active>,
    /// A zone file that never held a record, locked: the next zone to be created.
    pub(crate) blank: Option<(u64, Arc<dyn DiskFile>)>,
    /// The zone this writer closed last.
    previous: Option<u64>,
    pub(crate) poisoned: Option<String>,
    /// Entries of the index in memory above which they are written out.
    pub(crate) spill_at: usize,
}

/// A zone and how it stands after a commit.
pub(crate) type Committed = (u64, ZoneState);

impl Writer {
    pub(crate) fn new(site: Arc<Site>, taken: TakenOver) -> Self {
        let TakenOver { active, blank, previous } = taken;
        let spill_at = site.index_tail;
        Self { site, active, blank, previous, poisoned: None, spill_at }
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.site.access == Access::Read {
            return Err(StoreError::ReadOnly);
        }
        self.poisoned.clone().map_or(Ok(()), |cause| Err(StoreError::Poisoned { cause }))
    }

    /// Whether the active zone has to be closed before a record with a body of `len` bytes.
    pub(crate) fn must_roll(&self, header: u64, len: usize) -> bool {
        self.active.as_ref().is_some_and(|a| {
            // A record needs room for its commit, the settling and the closing one as well.
            let end = a.tip.offset + header + (len as u64).next_multiple_of(8) + 3 * SHORT_HEADER;
            a.retire || end > self.site.zone_bytes && a.tip.offset > ZONE_HEADER
        })
    }

    /// Appends an object. On an error the object is not stored and earlier ones stay pending.
    pub(crate) fn append(
        &mut self,
        id: ObjectId,
        ix: Option<[u8; 32]>,
        body: &[u8],
        index: &Index,
    ) -> Result<Entry, StoreError> {
        self.check()?;
        if self.active.is_none() {
            self.create_zone(index)?;
        }
        let active = self.active.as_mut().expect("a zone was just created where there was none");
        let kind = Kind::Object { ix };
        let record = if body.len() >= AT_ONCE {
            let start = active.buffer_start();
            match active.write_at_once(kind, id.0, body) {
                Ok(record) => record,
                Err(e) => return Err(self.not_written(start, e)),
            }
        } else {
            if active.buffer.len() >= SPILL {
                self.write_out()?;
            }
            let active = self.active.as_mut().expect("writing leaves it where it succeeds");
            active.push(kind, id.0, body)
        };
        let active = self.active.as_mut().expect("writing leaves it where it succeeds");
        let written = active.buffer_start();
        // A settling commit that was taken over stands in the buffer and yet before what was begun.
        if written.saturating_sub(active.begun) >= EARLY {
            active.begun = written;
            active.file.sync_early();
        }
        Ok(Entry::of(active.number, &record))
    }

    /// Makes everything appended so far durable. `close` also ends the zone.
    pub(crate) fn commit(&mut self, close: bool) -> Result<Option<Committed>, StoreError> {
        self.check()?;
        let Some(active) = self.active.as_mut() else { return Ok(None) };
        if !close && active.tip == active.durable {
            return Ok(None);
        }
        let before = active.tip;
        let mark = if close { Mark::Close } else { Mark::Flush };
        active.push(Kind::Commit(mark), before.chain, &[]);
        let path = self.site.zone_path(active.number);
        if let Err(e) = self.write_out() {
            // Poisoned, there is no active zone any more.
            if let Some(active) = self.active.as_mut() {
                let keep = active.buffer.len() - (active.tip.offset - before.offset) as usize;
                active.buffer.truncate(keep);
                active.tip = before;
            }
            return Err(e);
        }
        let active = self.active.as_mut().expect("writing leaves it where it succeeds");
        if let Err(e) = active.file.sync() {
            return Err(self.poison(&format!("syncing {path}"), e));
        }
        active.durable = active.tip;
        let (end, ended) = (active.tip.offset, active.ended);
        let done = (active.number, ZoneState { end, closed: close, live: !close, ended });
        if close {
            self.previous = Some(active.number);
            self.active = None;
        } else {
            active.settle();
        }
        Ok(Some(done))
    }

    /// Writes the buffer; on failure the buffer stays and the file is cut back to where it starts.
    fn write_out(&mut self) -> Result<(), StoreError> {
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        let start = active.buffer_start();
        let Err(error) = active.file.write_at(start, &active.buffer) else {
            active.buffer.clear();
            return Ok(());
        };
        Err(self.not_written(start, error))
    }

    /// After a write at `start` has failed: cuts the active zone's file back to there.
    fn not_written(&mut self, start: u64, error: io::Error) -> StoreError {
        let active = self.active.as_ref().expect("only an active zone is written to");
        let path = self.site.zone_path(active.number);
        // A half-written commit must not be found behind records of a later attempt, so the cut is
        // made durable before anything else is written there.
        if let Err(e) = cut_back(&*active.file, start) {
            return self.poison(&format!("cutting {path} back after a failed write"), e);
        }
        StoreError::io(format!("writing {path}"), error)
    }

    /// Creates the next zone: header and name are durable before it takes a record.
    pub(crate) fn create_zone(&mut self, index: &Index) -> Result<(), StoreError> {
        let creating = self.site.lock(ZONES_LOCK, LockMode::Exclusive, true)?;
        let listing = |e| StoreError::io(format!("listing {}", self.site.zones_dir()), e);
        let there = self.site.zones().map_err(listing)?;
        let (number, file) = match self.blank.clone() {
            Some(blank) => blank,
            None => self.next_file(&there, index)?,
        };
        drop(creating);
        let open = |zone: &u64| index.zones.get(zone).is_none_or(|state| state.live);
        let ended = match self.previous {
            _ if !there.iter().any(|z| *z < number && open(z)) => Ended::AllBelow,
            Some(zone) => Ended::Zone(zone),
            None => Ended::Unknown,
        };
        let path = self.site.zone_path(number);
        let header = ZoneHeader { zone: number, tag: tag_of(&self.site.salt, number), ended };
        self.blank = Some((number, file.clone()));
        let write = || file.set_len(0).and_then(|()| file.write_at(0, &header.encode()));
        write().map_err(|e| StoreError::io(format!("creating {path}"), e))?;
        if let Err(e) = file.sync().and_then(|()| self.site.disk.sync_dir(&self.site.zones_dir())) {
            return Err(self.poison(&format!("syncing the new {path}"), e));
        }
        self.blank = None;
        let tip = Tip { offset: ZONE_HEADER, chain: header.chain(), count: 0 };
        self.active = Some(Active::new(file, header, tip));
        Ok(())
    }

    /// Creates and locks a zone file above all that are there. No number is ever used twice: whoever
    /// removes a zone sees to it that a higher one stays.
    fn next_file(
        &self,
        there: &[u64],
        index: &Index,
    ) -> Result<(u64, Arc<dyn DiskFile>), StoreError> {
        let known = index.zones.last_key_value().map(|(zone, _)| *zone);
        let number = there.last().copied().max(known).map_or(0, |zone| zone.saturating_add(1));
        let path = self.site.zone_path(number);
        let create = || -> io::Result<Box<dyn DiskFile>> {
            let file = self.site.disk.open(&path, OpenMode::Create)?;
            if !file.lock(LockMode::Exclusive, false)? {
                return Err(io::Error::other("another process has locked it"));
            }
            Ok(file)
        };
        let file = create().map_err(|e| StoreError::io(format!("creating {path}"), e))?;
        Ok((number, Arc::from(file)))
    }

    fn poison(&mut self, doing: &str, source: io::Error) -> StoreError {
        self.poisoned = Some(format!("{doing}: {source}"));
        // Whoever opens the store next takes the zone over and makes good what is not durable.
        self.active = None;
        self.blank = None;
        StoreError::io(doing, source)
    }
}

/// What stands between a record's body and the next record.
fn padding(record: &Record) -> &'static [u8] {
    &[0; 8][..(record.end() - record.body_end()) as usize]
}

fn cut_back(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    if file.len()? > len {
        file.set_len(len)?;
    }
    file.sync()
}
