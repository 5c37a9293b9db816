//! Writing a segment: two tables, each in one pass over sorted rows.
//!
//! What is in memory is the directory of one table and what was written of it last, so a segment of fifty
//! million objects is built in about forty megabytes.

use std::collections::HashMap;
use std::io;

use seawall_base::{DiskFile, OpenMode};

use super::{
    BUCKET, Footer, ID_ROW, IX_ROW, IdRow, IxRow, LONG, PER_BUCKET, Segment, bucket_of, checksum,
    corrupt, digest, segment_path,
};
use crate::format::{ALIGN, LONG_HEADER};
use crate::site::Site;

/// Bytes written at a time.
const CHUNK: usize = 1 << 20;

/// A file that is written front to back.
struct Out {
    file: Box<dyn DiskFile>,
    at: u64,
    buffer: Vec<u8>,
}

impl Out {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// One table as it grows.
struct Growing {
    buckets: usize,
    directory: Vec<u8>,
    /// Rows of the bucket that is being filled.
    rows: Vec<u8>,
    filter: [u8; 32],
    /// Rank of the first of them.
    start: u32,
    count: u32,
}

impl Growing {
    /// A table for about `rows` rows.
    fn new(rows: u64) -> Self {
        let buckets = (rows / PER_BUCKET).max(1) as usize;
        let directory = Vec::with_capacity(buckets * BUCKET);
        Self { buckets, directory, rows: Vec::new(), filter: [0; 32], start: 0, count: 0 }
    }

    fn push(&mut self, row: &[u8], out: &mut Out) -> io::Result<()> {
        let mut key = [0; 16];
        key.copy_from_slice(&row[..16]);
        let bucket = bucket_of(&key, self.buckets);
        while self.directory.len() / BUCKET < bucket {
            self.end_bucket();
        }
        for byte in &key[8..11] {
            self.filter[usize::from(byte / 8)] |= 1 << (byte % 8);
        }
        self.rows.extend_from_slice(row);
        self.count = self.count.checked_add(1).ok_or_else(|| corrupt("too many objects"))?;
        out.push(row)
    }

    fn end_bucket(&mut self) {
        self.directory.extend_from_slice(&self.start.to_le_bytes());
        self.directory.extend_from_slice(&checksum(&self.rows).to_le_bytes());
        self.directory.extend_from_slice(&self.filter);
        self.rows.clear();
        self.filter = [0; 32];
        self.start = self.count;
    }

    fn finish(mut self, out: &mut Out) -> io::Result<(u64, Vec<u8>)> {
        while self.directory.len() / BUCKET < self.buckets {
            self.end_bucket();
        }
        out.push(&self.directory)?;
        Ok((u64::from(self.count), self.directory))
    }
}

/// Writes a segment from rows in order and opens it. `most` bounds how many there are of each.
pub(crate) fn build(
    site: &Site,
    number: u64,
    most: (u64, u64),
    ids: impl Iterator<Item = io::Result<IdRow>>,
    ixs: impl Iterator<Item = io::Result<IxRow>>,
) -> io::Result<Segment> {
    site.disk.create_dir_all(&site.path("index"))?;
    let file = site.disk.open(&segment_path(site, number), OpenMode::Create)?;
    file.set_len(0)?;
    let mut out = Out { file, at: 0, buffer: Vec::new() };
    let mut zones = Zones::default();
    let mut table = Growing::new(most.0);
    for row in ids {
        table.push(&id_bytes(&row?, &mut zones)?, &mut out)?;
    }
    let (objects, by_id) = table.finish(&mut out)?;
    let mut table = Growing::new(most.1);
    for row in ixs {
        let IxRow { ix, id, zone } = row?;
        let zone = zones.number(zone);
        table.push(&[&ix[..], &id, &zone.to_le_bytes()].concat(), &mut out)?;
    }
    let (keys, by_key) = table.finish(&mut out)?;
    let zone_bytes: Vec<u8> = zones.order.iter().flat_map(|z| z.to_le_bytes()).collect();
    out.push(&zone_bytes)?;
    let footer = Footer {
        number,
        ids: (objects, (by_id.len() / BUCKET) as u64),
        ixs: (keys, (by_key.len() / BUCKET) as u64),
        zones: zones.order.len() as u64,
        digest: digest(site, &by_id, &by_key, &zone_bytes),
    };
    drop((by_id, by_key));
    out.push(&footer.encode(site))?;
    out.write()?;
    out.file.sync()?;
    site.disk.sync_dir(&site.path("index"))?;
    drop(out);
    Segment::open(site, number)
}

/// Zones by the order in which they first appear.
#[derive(Default)]
struct Zones {
    order: Vec<u64>,
    numbers: HashMap<u64, u32>,
}

impl Zones {
    fn number(&mut self, zone: u64) -> u32 {
        *self.numbers.entry(zone).or_insert_with(|| {
            self.order.push(zone);
            self.order.len() as u32 - 1
        })
    }
}

fn id_bytes(row: &IdRow, zones: &mut Zones) -> io::Result<[u8; ID_ROW]> {
    let unit = u32::try_from(row.entry.offset / ALIGN);
    let unit = unit.map_err(|_| corrupt("a zone is too long"))?;
    let long = if u64::from(row.entry.header) == LONG_HEADER { LONG } else { 0 };
    let mut bytes = [0; ID_ROW];
    bytes[..32].copy_from_slice(&row.id.0);
    bytes[32..36].copy_from_slice(&zones.number(row.entry.zone).to_le_bytes());
    bytes[36..40].copy_from_slice(&unit.to_le_bytes());
    bytes[40..].copy_from_slice(&(row.entry.len | long).to_le_bytes());
    Ok(bytes)
}

const _: () = assert!(IX_ROW == 16 + 16 + 4);
