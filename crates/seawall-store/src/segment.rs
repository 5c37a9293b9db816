//! A sorted, immutable part of the index on disk (`docs/formats/store-index.md`).
//!
//! Keys are uniform, so a table is cut into buckets by the first bits of the key, about 48 records each.
//! The directory, kept in memory, has for each bucket where it starts, a checksum and a small filter:
//! a lookup is at most one read of about two kilobytes, and only one miss in twelve costs even that.
//!
//! Rejected: a general database (decision 6), and entries of key prefixes checked against the zones: every
//! hit would be a random read from the disk the objects are on.

use std::io;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{DiskFile, ObjectId, OpenMode};

use crate::format::{ALIGN, LONG_HEADER, SHORT_HEADER};
use crate::index::Entry;
use crate::site::Site;

mod build;

pub(crate) use build::build;

const MAGIC: [u8; 8] = *b"\x89SWIX\r\n\x1a";
const VERSION: u32 = 1;
/// Length of a record of the table by id, in bytes.
const ID_ROW: usize = 44;
/// Length of a record of the table by index key, in bytes.
const IX_ROW: usize = 36;
/// Length of a bucket's entry in the directory, in bytes.
const BUCKET: usize = 40;
/// Records a bucket has, on average.
const PER_BUCKET: u64 = 48;
const FOOTER: usize = 8 + 4 + 16 + 8 + 2 * 16 + 8 + 32 + 32;
/// Set in a row's length where the record's header has an index key.
const LONG: u32 = 1 << 31;
/// Bytes read at a time when a table is read through.
const STRIDE: usize = 256 << 10;
/// Most buckets a table may have: those of four billion records.
const MAX_BUCKETS: u64 = 1 << 27;
/// Most zones a segment may name.
const MAX_ZONES: u64 = 1 << 24;

/// An index key or id, shortened to what the tables are searched by.
pub(crate) type Short = [u8; 16];

pub(crate) fn short(key: &[u8; 32]) -> Short {
    let mut out = [0; 16];
    out.copy_from_slice(&key[..16]);
    out
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdRow {
    pub(crate) id: ObjectId,
    pub(crate) entry: Entry,
}

/// Which object has an index key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IxRow {
    pub(crate) ix: Short,
    pub(crate) id: Short,
    /// The zone that holds the record with both.
    pub(crate) zone: u64,
}

fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("index segment: {what}"))
}

/// One table of a segment.
#[derive(Debug)]
struct Table {
    /// Where its records start in the file.
    start: u64,
    count: u32,
    row: usize,
    directory: Vec<u8>,
}

impl Table {
    fn buckets(&self) -> usize {
        self.directory.len() / BUCKET
    }

    fn entry(&self, bucket: usize) -> &[u8] {
        &self.directory[bucket * BUCKET..(bucket + 1) * BUCKET]
    }

    /// The ranks of the first record of a bucket, and of the one behind its last.
    fn ranks(&self, bucket: usize) -> (u32, u32) {
        let start = |bucket: usize| {
            let entry = self.entry(bucket);
            u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]])
        };
        let end = if bucket + 1 < self.buckets() { start(bucket + 1) } else { self.count };
        (start(bucket), end)
    }

    /// The bucket that holds `key`, if one may.
    fn bucket_of(&self, key: &Short) -> Option<usize> {
        let bucket = bucket_of(key, self.buckets());
        let filter = &self.entry(bucket)[8..];
        let set = |byte: u8| filter[usize::from(byte / 8)] & (1 << (byte % 8)) != 0;
        key[8..11].iter().all(|byte| set(*byte)).then_some(bucket)
    }

    fn check(&self, bucket: usize, rows: &[u8]) -> io::Result<()> {
        if checksum(rows).to_le_bytes() == self.entry(bucket)[4..8] {
            Ok(())
        } else {
            Err(corrupt("a checksum does not match"))
        }
    }

    /// The rows of a bucket.
    fn rows(&self, file: &dyn DiskFile, bucket: usize) -> io::Result<Vec<u8>> {
        let (first, end) = self.ranks(bucket);
        let mut rows = vec![0; end.saturating_sub(first) as usize * self.row];
        file.read_exact_at(self.start + u64::from(first) * self.row as u64, &mut rows)?;
        self.check(bucket, &rows)?;
        Ok(rows)
    }

    /// The rows of some buckets from `bucket` on, and the bucket behind them.
    fn stride(&self, file: &dyn DiskFile, bucket: usize) -> io::Result<(Vec<u8>, usize)> {
        let (first, _) = self.ranks(bucket);
        let mut next = bucket;
        let mut end = first;
        while next < self.buckets() && (end - first) as usize * self.row < STRIDE {
            (_, end) = self.ranks(next);
            next += 1;
        }
        let mut rows = vec![0; (end - first) as usize * self.row];
        file.read_exact_at(self.start + u64::from(first) * self.row as u64, &mut rows)?;
        for b in bucket..next {
            let (from, to) = self.ranks(b);
            let at = |rank: u32| (rank - first) as usize * self.row;
            self.check(b, &rows[at(from)..at(to)])?;
        }
        Ok((rows, next))
    }

    /// Ranks ascend and end at the count, so that no arithmetic on them can fail.
    fn is_sound(&self) -> bool {
        let starts = (0..self.buckets()).map(|b| self.ranks(b).0);
        self.ranks(0).0 == 0 && starts.chain([self.count]).is_sorted()
    }
}

/// Notices rot, and is cheap enough for every lookup; the directory it stands in has a real digest.
fn checksum(rows: &[u8]) -> u32 {
    let mut state = rows.len() as u64;
    for chunk in rows.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 32;
    }
    state as u32
}

fn bucket_of(key: &Short, buckets: usize) -> usize {
    let mut high = [0; 8];
    high.copy_from_slice(&key[..8]);
    ((u128::from(u64::from_be_bytes(high)) * buckets as u128) >> 64) as usize
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    file: HeldFile,
    zones: Vec<u64>,
    ids: Table,
    ixs: Table,
}

struct HeldFile(Box<dyn DiskFile>);

impl std::fmt::Debug for HeldFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeldFile")
    }
}

/// The path of a segment's file.
pub(crate) fn segment_path(site: &Site, number: u64) -> String {
    site.path(&format!("index/{number:016x}.segment"))
}

struct Footer {
    number: u64,
    ids: (u64, u64),
    ixs: (u64, u64),
    zones: u64,
    digest: [u8; 32],
}

impl Footer {
    fn encode(&self, site: &Site) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&MAGIC).u32(VERSION).raw(&site.mark()).u64(self.number);
        for (count, buckets) in [self.ids, self.ixs] {
            w.u64(count).u64(buckets);
        }
        w.u64(self.zones).raw(&self.digest);
        let check = *blake3::keyed_hash(&site.salt, w.as_slice()).as_bytes();
        w.raw(&check);
        w.into_vec()
    }

    fn decode(bytes: &[u8], site: &Site) -> io::Result<Self> {
        let parse = || -> Result<(Self, bool), WireError> {
            let mut r = Reader::new(bytes);
            let covered = r.clone().take(FOOTER - 32)?;
            let known = r.array::<8>()? == MAGIC && r.u32()? == VERSION;
            let known = known && r.array::<16>()? == site.mark();
            let number = r.u64()?;
            let (ids, ixs) = ((r.u64()?, r.u64()?), (r.u64()?, r.u64()?));
            let (zones, digest) = (r.u64()?, r.array()?);
            let check = r.array::<32>()?;
            r.finish()?;
            let whole = *blake3::keyed_hash(&site.salt, covered).as_bytes() == check;
            Ok((Self { number, ids, ixs, zones, digest }, known && whole))
        };
        match parse() {
            Ok((footer, true)) => Ok(footer),
            Ok((_, false)) => Err(corrupt("damaged, of another version or of another store")),
            Err(e) => Err(corrupt(&e.to_string())),
        }
    }
}

impl Segment {
    /// Opens a segment: reads its directory and checks it. `InvalidData` if it cannot be believed.
    pub(crate) fn open(site: &Site, number: u64) -> io::Result<Self> {
        let file = site.disk.open(&segment_path(site, number), OpenMode::Read)?;
        let len = file.len()?;
        let footer_at = len.checked_sub(FOOTER as u64).ok_or_else(|| corrupt("too short"))?;
        let mut bytes = vec![0; FOOTER];
        file.read_exact_at(footer_at, &mut bytes)?;
        let footer = Footer::decode(&bytes, site)?;
        let mut at = 0;
        let mut table = |(count, buckets): (u64, u64), row: usize| -> io::Result<Table> {
            let sane = count < u64::from(u32::MAX) && (1..=MAX_BUCKETS).contains(&buckets);
            let directory_at = at + if sane { count * row as u64 } else { 0 };
            let end = directory_at + if sane { buckets * BUCKET as u64 } else { 0 };
            if !sane || end > footer_at {
                return Err(corrupt("its lengths do not fit"));
            }
            let mut directory = vec![0; buckets as usize * BUCKET];
            file.read_exact_at(directory_at, &mut directory)?;
            let table = Table { start: at, count: count as u32, row, directory };
            at = end;
            Ok(table)
        };
        let (ids, ixs) = (table(footer.ids, ID_ROW)?, table(footer.ixs, IX_ROW)?);
        if footer.zones > MAX_ZONES || at + footer.zones * 8 != footer_at || footer.number != number
        {
            return Err(corrupt("its lengths do not fit"));
        }
        let mut zones = vec![0; footer.zones as usize * 8];
        file.read_exact_at(at, &mut zones)?;
        if digest(site, &ids.directory, &ixs.directory, &zones) != footer.digest {
            return Err(corrupt("the checksum of its directory does not match"));
        }
        if !ids.is_sound() || !ixs.is_sound() {
            return Err(corrupt("its directory is not in order"));
        }
        let zones = zones.chunks_exact(8).map(word).collect();
        Ok(Self { number, file: HeldFile(file), zones, ids, ixs })
    }

    /// Object records it knows.
    pub(crate) const fn ids(&self) -> u64 {
        self.ids.count as u64
    }

    /// Index keys it knows.
    pub(crate) const fn ixs(&self) -> u64 {
        self.ixs.count as u64
    }

    /// The zones its records are in.
    pub(crate) fn zones(&self) -> &[u64] {
        &self.zones
    }

    fn zone(&self, field: &[u8]) -> io::Result<u64> {
        let zone = self.zones.get(half(field) as usize);
        zone.copied().ok_or_else(|| corrupt("a zone that it does not name"))
    }

    fn id_row(&self, row: &[u8]) -> io::Result<IdRow> {
        let mut id = [0; 32];
        id.copy_from_slice(&row[..32]);
        let len = half(&row[40..]);
        let header = if len & LONG == 0 { SHORT_HEADER } else { LONG_HEADER };
        let entry = Entry {
            zone: self.zone(&row[32..])?,
            offset: u64::from(half(&row[36..])) * ALIGN,
            len: len & !LONG,
            header: header as u8,
        };
        Ok(IdRow { id: ObjectId(id), entry })
    }

    fn ix_row(&self, row: &[u8]) -> io::Result<IxRow> {
        let (mut ix, mut id) = ([0; 16], [0; 16]);
        ix.copy_from_slice(&row[..16]);
        id.copy_from_slice(&row[16..32]);
        Ok(IxRow { ix, id, zone: self.zone(&row[32..])? })
    }

    /// Gives the rows whose ids begin with `id`.
    pub(crate) fn find(&self, id: &Short, give: &mut dyn FnMut(IdRow)) -> io::Result<()> {
        let Some(bucket) = self.ids.bucket_of(id) else { return Ok(()) };
        let rows = self.ids.rows(&*self.file.0, bucket)?;
        for row in rows.chunks_exact(ID_ROW).filter(|row| row[..16] == id[..]) {
            give(self.id_row(row)?);
        }
        Ok(())
    }

    /// Gives the rows with this index key.
    pub(crate) fn find_ix(&self, ix: &Short, give: &mut dyn FnMut(IxRow)) -> io::Result<()> {
        let Some(bucket) = self.ixs.bucket_of(ix) else { return Ok(()) };
        let rows = self.ixs.rows(&*self.file.0, bucket)?;
        for row in rows.chunks_exact(IX_ROW).filter(|row| row[..16] == ix[..]) {
            give(self.ix_row(row)?);
        }
        Ok(())
    }

    /// All rows by id, in order.
    pub(crate) fn id_rows(&self) -> impl Iterator<Item = io::Result<IdRow>> {
        Rows { segment: self, table: &self.ids, bucket: 0, read: Vec::new(), at: 0 }
            .map(|row| self.id_row(&row?))
    }

    /// All rows by index key, in order.
    pub(crate) fn ix_rows(&self) -> impl Iterator<Item = io::Result<IxRow>> {
        Rows { segment: self, table: &self.ixs, bucket: 0, read: Vec::new(), at: 0 }
            .map(|row| self.ix_row(&row?))
    }
}

/// The rows of one table, read in strides.
struct Rows<'s> {
    segment: &'s Segment,
    table: &'s Table,
    bucket: usize,
    read: Vec<u8>,
    at: usize,
}

impl Iterator for Rows<'_> {
    type Item = io::Result<[u8; ID_ROW]>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at == self.read.len() {
            if self.bucket == self.table.buckets() {
                return None;
            }
            match self.table.stride(&*self.segment.file.0, self.bucket) {
                Ok((rows, next)) => (self.read, self.bucket, self.at) = (rows, next, 0),
                Err(e) => {
                    self.bucket = self.table.buckets();
                    return Some(Err(e));
                }
            }
        }
        let mut row = [0; ID_ROW];
        let end = self.at + self.table.row;
        row[..self.table.row].copy_from_slice(&self.read[self.at..end]);
        self.at = end;
        Some(Ok(row))
    }
}

fn digest(site: &Site, ids: &[u8], ixs: &[u8], zones: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&site.salt);
    hasher.update(ids).update(ixs).update(zones);
    *hasher.finalize().as_bytes()
}

/// The little-endian `u32` that a slice begins with.
fn half(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The little-endian `u64` that eight bytes are.
fn word(bytes: &[u8]) -> u64 {
    u64::from(half(bytes)) | u64::from(half(&bytes[4..])) << 32
}
