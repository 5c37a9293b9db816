//! The one writer: appends records to the active zone and makes them durable.
//!
//! A failed *write* changes nothing that counts: the records stay in the buffer, the file is cut back
//! to where the buffer starts, and the next attempt writes the same bytes to the same place. A failed
//! *sync* is final: the kernel may have dropped the dirty pages and marked them clean, so that a second
//! sync would succeed without anything having reached the disk. The writer then refuses to go on until
//! the store is opened again, which rewrites what it cannot prove to be durable.

use std::io;
use std::sync::Arc;

use seawall_base::{Disk, DiskFile, ObjectId, OpenMode};

use crate::error::StoreError;
use crate::format::{
    Kind, Mark, Record, SHORT_HEADER, Tag, ZONE_HEADER, ZoneHeader, chain_after, tag_of,
};
use crate::index::Entry;
use crate::scan::Tip;
use crate::store::zone_path;

/// Buffered bytes above which records are written out (without a sync).
const SPILL: usize = 4 << 20;

/// The zone that is appended to.
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) tag: Tag,
    /// Behind the last record, buffered ones included.
    pub(crate) tip: Tip,
    /// Behind the last record that is acknowledged.
    pub(crate) durable: Tip,
    /// Ends with a closing commit: takes no more records.
    pub(crate) closed: bool,
    /// Its header is damaged: closed before the next record.
    pub(crate) retire: bool,
    /// Records not written yet; they end at the tip.
    buffer: Vec<u8>,
}

impl Active {
    pub(crate) const fn new(number: u64, file: Arc<dyn DiskFile>, tag: Tag, tip: Tip) -> Self {
        let buffer = Vec::new();
        Self { number, file, tag, tip, durable: tip, closed: false, retire: false, buffer }
    }

    const fn buffer_start(&self) -> u64 {
        self.tip.offset - self.buffer.len() as u64
    }

    /// Adds a record to the buffer.
    fn push(&mut self, kind: Kind, id: [u8; 32], body: &[u8]) -> Record {
        let (len, count) = (body.len() as u32, self.tip.count);
        let record = Record { kind, len, count, offset: self.tip.offset, id };
        let header = record.encode(self.tag);
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(body);
        let padding = (record.end() - record.body_end()) as usize;
        self.buffer.extend_from_slice(&[0; 8][..padding]);
        let chain = chain_after(&self.tip.chain, &header);
        self.tip = Tip { offset: record.end(), chain, count: count.wrapping_add(1) };
        record
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

    /// Up to where the file holds acknowledged records.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.durable.offset.min(self.buffer_start())
    }
}

/// The state behind the store's writer lock.
pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: String,
    pub(crate) zone_bytes: u64,
    pub(crate) salt: [u8; 32],
    /// `None` before the first record of a store, and where the last zone cannot be appended to.
    pub(crate) active: Option<Active>,
    pub(crate) next_zone: u64,
    /// The zones in use, ascending.
    pub(crate) zones: Vec<u64>,
    pub(crate) poisoned: Option<String>,
}

impl Writer {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.poisoned.clone().map_or(Ok(()), |cause| Err(StoreError::Poisoned { cause }))
    }

    /// Whether the active zone has to be closed before a record with a body of `len` bytes.
    pub(crate) fn must_roll(&self, header: u64, len: usize) -> bool {
        self.active.as_ref().is_some_and(|a| {
            // A record needs room for its commit, the settling and the closing one as well.
            let end = a.tip.offset + header + (len as u64).next_multiple_of(8) + 3 * SHORT_HEADER;
            !a.closed && (a.retire || end > self.zone_bytes && a.tip.offset > ZONE_HEADER)
        })
    }

    /// Appends an object. On an error the object is not stored and earlier ones stay pending.
    pub(crate) fn append(
        &mut self,
        id: ObjectId,
        ix: Option<[u8; 32]>,
        body: &[u8],
    ) -> Result<Entry, StoreError> {
        self.check()?;
        if self.active.as_ref().is_none_or(|a| a.closed) {
            self.create_zone()?;
        }
        if self.active.as_ref().is_some_and(|a| a.buffer.len() >= SPILL) {
            self.write_out()?;
        }
        let active = self.active.as_mut().expect("a zone was just created where there was none");
        let record = active.push(Kind::Object { ix }, id.0, body);
        Ok(Entry::of(active.number, &record))
    }

    /// Makes everything appended so far durable. `close` also ends the zone.
    pub(crate) fn commit(&mut self, close: bool) -> Result<(), StoreError> {
        self.check()?;
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        if active.closed || (!close && active.tip == active.durable) {
            return Ok(());
        }
        let before = active.tip;
        let mark = if close { Mark::Close } else { Mark::Flush };
        active.push(Kind::Commit(mark), before.chain, &[]);
        let path = zone_path(&self.dir, active.number);
        if let Err(e) = self.write_out() {
            let active = self.active.as_mut().expect("it was there before writing");
            let keep = active.buffer.len() - (active.tip.offset - before.offset) as usize;
            active.buffer.truncate(keep);
            active.tip = before;
            return Err(e);
        }
        let active = self.active.as_mut().expect("it was there before writing");
        if let Err(e) = active.file.sync() {
            return Err(self.poison(&format!("syncing {path}"), e));
        }
        active.durable = active.tip;
        active.closed = close;
        if !close {
            active.settle();
        }
        Ok(())
    }

    /// Writes the buffer; on failure the buffer stays and the file is cut back to where it starts.
    fn write_out(&mut self) -> Result<(), StoreError> {
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        let start = active.buffer_start();
        let Err(error) = active.file.write_at(start, &active.buffer) else {
            active.buffer.clear();
            return Ok(());
        };
        let path = zone_path(&self.dir, active.number);
        // A half-written commit must not be found behind records of a later attempt, so the cut is
        // made durable before anything else is written there.
        if let Err(e) = cut_back(&*active.file, start) {
            return Err(self.poison(&format!("cutting {path} back after a failed write"), e));
        }
        Err(StoreError::io(format!("writing {path}"), error))
    }

    /// Creates the next zone: header and name are durable before it takes a record.
    fn create_zone(&mut self) -> Result<(), StoreError> {
        let number = self.next_zone;
        let path = zone_path(&self.dir, number);
        let header = ZoneHeader { zone: number, tag: tag_of(&self.salt, number) };
        let create = || -> io::Result<Box<dyn DiskFile>> {
            let file = self.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_at(0, &header.encode())?;
            Ok(file)
        };
        let file = create().map_err(|e| StoreError::io(format!("creating {path}"), e))?;
        if let Err(e) = file.sync().and_then(|()| self.disk.sync_dir(&self.dir)) {
            return Err(self.poison(&format!("syncing the new {path}"), e));
        }
        let tip = Tip { offset: ZONE_HEADER, chain: header.chain(), count: 0 };
        self.active = Some(Active::new(number, Arc::from(file), header.tag, tip));
        self.zones.push(number);
        self.next_zone += 1;
        Ok(())
    }

    fn poison(&mut self, doing: &str, source: io::Error) -> StoreError {
        self.poisoned = Some(format!("{doing}: {source}"));
        StoreError::io(doing, source)
    }
}

fn cut_back(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    if file.len()? > len {
        file.set_len(len)?;
    }
    file.sync()
}
