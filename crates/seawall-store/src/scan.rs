//! Finds the records of a zone in whatever bytes its file holds, and judges them.
//!
//! Walking reads headers and skips bodies. Where no valid header stands, it moves forward eight bytes
//! at a time until one does: damage never hides what follows it. Judging then tells apart what is
//! kept, what is damage, and, in the active zone only, the tail that was never acknowledged.

use std::io;

use seawall_base::{DiskFile, ObjectId};

use crate::error::{Damage, DamageKind};
use crate::format::{
    ALIGN, HeaderFault, Kind, LONG_HEADER, Mark, Record, SHORT_HEADER, Tag, ZONE_HEADER,
    ZoneHeader, chain_after,
};

/// Bytes that can be read at a position: a file, or a slice for fuzzing.
pub(crate) trait ReadAt {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for dyn DiskFile + '_ {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        DiskFile::read_at(self, offset, buf)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let start = self.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let n = buf.len().min(self.len() - start);
        buf[..n].copy_from_slice(&self[start..start + n]);
        Ok(n)
    }
}

/// Read-ahead in bytes while headers follow one another closely.
const NEAR: usize = 64 << 10;
/// Read-ahead in bytes after a jump over a large body.
const FAR: usize = 4 << 10;
/// Blocks of a zone that may fail to be read before the disk, not the zone, is taken to be at fault.
const BAD_BLOCKS: u32 = 16;
/// Bytes hashed at a time.
const CHUNK: usize = 256 << 10;

/// A buffered view of the first `len` bytes of a source.
struct Window<'a, S: ReadAt + ?Sized> {
    source: &'a S,
    len: u64,
    start: u64,
    buf: Vec<u8>,
    bad_blocks: u32,
    /// Bytes read ahead where reading goes on.
    ahead: usize,
    /// What cannot be read is an error, not a gap.
    strict: bool,
}

impl<'a, S: ReadAt + ?Sized> Window<'a, S> {
    const fn new(source: &'a S, len: u64) -> Self {
        Self { source, len, start: 0, buf: Vec::new(), bad_blocks: 0, ahead: NEAR, strict: false }
    }

    /// The bytes at `offset`: `n`, or fewer at the end.
    fn at(&mut self, offset: u64, n: u64) -> io::Result<&[u8]> {
        let n = n.min(self.len.saturating_sub(offset));
        let end = self.start + self.buf.len() as u64;
        if offset < self.start || offset + n > end {
            let ahead = if offset <= end + NEAR as u64 { self.ahead } else { FAR };
            let want = n.max(ahead as u64).min(self.len.saturating_sub(offset)) as usize;
            self.buf.resize(want, 0);
            self.start = offset;
            match read_full(self.source, offset, &mut self.buf) {
                Ok(got) => self.buf.truncate(got),
                Err(e) if self.strict => return Err(e),
                Err(_) => self.read_around_bad_blocks(offset)?,
            }
        }
        let from = (offset - self.start) as usize;
        let to = self.buf.len().min(from + n as usize);
        Ok(&self.buf[from..to])
    }
}

impl<S: ReadAt + ?Sized> Window<'_, S> {
    /// Hashes a record's body and looks at its padding; what is wrong with them, if anything.
    fn body_fault(&mut self, record: &Record) -> io::Result<Option<DamageKind>> {
        let (mut at, end) = (record.body_offset(), record.body_end());
        let digest = if end - at <= self.ahead as u64 {
            blake3::hash(self.at(at, end - at)?)
        } else {
            let mut hasher = blake3::Hasher::new();
            while at < end {
                let bytes = self.at(at, (end - at).min(self.ahead as u64))?;
                if bytes.is_empty() {
                    break;
                }
                hasher.update(bytes);
                at += bytes.len() as u64;
            }
            hasher.finalize()
        };
        if *digest.as_bytes() != record.id {
            return Ok(Some(DamageKind::Body));
        }
        let padding = self.at(end, record.end() - end)?;
        Ok(padding.iter().any(|b| *b != 0).then_some(DamageKind::Padding))
    }

    /// Reads block by block, with zeros for what cannot be read: they are no record, so they end up in
    /// a gap.
    fn read_around_bad_blocks(&mut self, offset: u64) -> io::Result<()> {
        let mut at = offset;
        while at < offset + self.buf.len() as u64 {
            let from = (at - offset) as usize;
            let to = self.buf.len().min(from + FAR - at as usize % FAR);
            let block = &mut self.buf[from..to];
            if let Err(e) = read_full(self.source, at, block) {
                self.bad_blocks += 1;
                if self.bad_blocks > BAD_BLOCKS {
                    return Err(e);
                }
                block.fill(0);
            }
            at += (to - from) as u64;
        }
        Ok(())
    }
}

/// Fills as much of `buf` as the source has.
fn read_full<S: ReadAt + ?Sized>(source: &S, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match source.read_at(offset + got as u64, &mut buf[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// What stands in a zone, in order and without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A valid record header with room for its body.
    Record(Record),
    /// Bytes that no valid record covers.
    Gap { offset: u64, len: u64, id: Option<ObjectId> },
}

/// A zone as found.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) header: Result<ZoneHeader, HeaderFault>,
    /// From the header, or from the first valid record where that is damaged.
    pub(crate) tag: Option<Tag>,
    pub(crate) items: Vec<Item>,
    pub(crate) len: u64,
    /// Some of it could not be read: what looks absent may be there.
    pub(crate) unreadable: bool,
}

impl Walk {
    pub(crate) fn has_records(&self) -> bool {
        self.items.iter().any(|i| matches!(i, Item::Record(_)))
    }

    fn last_commit(&self) -> Option<usize> {
        self.items
            .iter()
            .rposition(|i| matches!(i, Item::Record(r) if matches!(r.kind, Kind::Commit(_))))
    }
}

/// Walks the first `len` bytes of a zone.
pub(crate) fn walk<S: ReadAt + ?Sized>(source: &S, len: u64) -> io::Result<Walk> {
    walk_in(&mut Window::new(source, len), &mut |_, _| Ok(()))
}

/// Bytes that [`scrub`] reads at a time: more would fall out of the processor's cache before they are
/// hashed.
pub(crate) const SCRUB_CHUNK: usize = 1 << 20;

/// Walks the first `len` bytes of a zone front to back, hashing the bodies of the objects that `wanted`
/// names; returns what is wrong with them. Fails where anything cannot be read. `buffer` is used again.
pub(crate) fn scrub<S: ReadAt + ?Sized>(
    source: &S,
    len: u64,
    buffer: &mut Vec<u8>,
    wanted: &mut dyn FnMut(&Record) -> bool,
) -> io::Result<(Walk, Vec<(Record, DamageKind)>)> {
    let mut window = Window::new(source, len);
    (window.ahead, window.strict) = (SCRUB_CHUNK, true);
    std::mem::swap(&mut window.buf, buffer);
    window.buf.clear();
    let mut faults = Vec::new();
    let found = walk_in(&mut window, &mut |window, record| {
        if matches!(record.kind, Kind::Object { .. })
            && wanted(record)
            && let Some(fault) = window.body_fault(record)?
        {
            faults.push((*record, fault));
        }
        Ok(())
    });
    std::mem::swap(&mut window.buf, buffer);
    Ok((found?, faults))
}

/// What is done with each record that is walked over.
type Visit<'v, 'w, S> = dyn FnMut(&mut Window<'w, S>, &Record) -> io::Result<()> + 'v;

fn walk_in<'w, S: ReadAt + ?Sized>(
    window: &mut Window<'w, S>,
    visit: &mut Visit<'_, 'w, S>,
) -> io::Result<Walk> {
    let (source, len) = (window.source, window.len);
    let header = ZoneHeader::decode(window.at(0, ZONE_HEADER)?);
    let mut walk =
        Walk { header, tag: header.ok().map(|h| h.tag), items: Vec::new(), len, unreadable: false };
    let mut gap = None;
    let mut pos = ZONE_HEADER;
    while pos < len {
        let found = Record::decode(window.at(pos, LONG_HEADER)?, pos, walk.tag);
        let Some((record, tag)) = found else {
            gap.get_or_insert(pos);
            pos += ALIGN;
            continue;
        };
        walk.tag = Some(tag);
        if let Some(start) = gap.take() {
            walk.items.push(gap_item(source, start, pos - start));
        }
        if record.end() > len {
            let id = matches!(record.kind, Kind::Object { .. }).then(|| record.object_id());
            walk.items.push(Item::Gap { offset: pos, len: len - pos, id });
            break;
        }
        visit(window, &record)?;
        walk.items.push(Item::Record(record));
        pos = record.end();
    }
    if let Some(start) = gap {
        walk.items.push(gap_item(source, start, len - start));
    }
    walk.unreadable = window.bad_blocks > 0;
    Ok(walk)
}

/// Names a gap's object where the bytes prove it: a damaged header whose id the body still matches.
fn gap_item<S: ReadAt + ?Sized>(source: &S, offset: u64, len: u64) -> Item {
    let mut head = [0; SHORT_HEADER as usize];
    let mut id = None;
    if read_full(source, offset, &mut head).is_ok_and(|n| n == head.len()) {
        let field =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut claimed = [0; 32];
        claimed.copy_from_slice(&head[32..64]);
        for header in [SHORT_HEADER, LONG_HEADER] {
            let body = u64::from(field(16));
            if header + body <= len && matches(source, offset + header, body, claimed) {
                id = Some(ObjectId(claimed));
            }
        }
    }
    Item::Gap { offset, len, id }
}

fn hash_at<S: ReadAt + ?Sized>(source: &S, offset: u64, len: u64) -> io::Result<ObjectId> {
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; CHUNK.min(len as usize)];
    let mut done = 0;
    while done < len {
        let want = (buf.len() as u64).min(len - done) as usize;
        let got = read_full(source, offset + done, &mut buf[..want])?;
        if got == 0 {
            break;
        }
        hasher.update(&buf[..got]);
        done += got as u64;
    }
    Ok(ObjectId(*hasher.finalize().as_bytes()))
}

/// Whether the bytes can be read and have this digest. A bad sector under a body is damage to it.
fn matches<S: ReadAt + ?Sized>(source: &S, offset: u64, len: u64, id: [u8; 32]) -> bool {
    hash_at(source, offset, len).is_ok_and(|found| found.0 == id)
}

/// Reads a record's body and padding; what is wrong with them, if anything.
pub(crate) fn body_fault<S: ReadAt + ?Sized>(source: &S, record: &Record) -> Option<DamageKind> {
    if !matches!(record.kind, Kind::Object { .. }) {
        return None;
    }
    if !matches(source, record.body_offset(), u64::from(record.len), record.id) {
        return Some(DamageKind::Body);
    }
    let mut padding = [0; ALIGN as usize];
    let padding = &mut padding[..(record.end() - record.body_end()) as usize];
    let read = read_full(source, record.body_end(), padding);
    (read.is_err() || padding.iter().any(|b| *b != 0)).then_some(DamageKind::Padding)
}

/// Which bytes of a zone are known to have been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// All, and the zone was closed.
    Closed,
    /// All that was walked.
    All,
    /// What the last valid commit covers.
    UpToCommit,
}

/// Where the next record goes, and what its header depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) offset: u64,
    pub(crate) chain: [u8; 32],
    pub(crate) count: u32,
}

/// A zone as judged.
#[derive(Debug)]
pub(crate) struct View {
    /// The records that are kept, with voids and commits.
    pub(crate) records: Vec<Record>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) tip: Tip,
    /// The last kept record is a closing commit.
    pub(crate) closed: bool,
    /// Start and end of the last flush where nothing proves that its sync succeeded; the start is 0
    /// where that includes the zone header.
    pub(crate) unsettled: Option<(u64, u64)>,
}

/// Judges a walked zone whose file name says `zone`.
pub(crate) fn judge(walk: &Walk, zone: u64, acknowledged: Acknowledged) -> View {
    let keep = match acknowledged {
        Acknowledged::UpToCommit => walk.last_commit().map_or(0, |i| i + 1),
        _ => walk.items.len(),
    };
    let mut judge = Judge::new(walk, zone);
    for item in &walk.items[..keep] {
        judge.item(item);
    }
    let mut view = judge.view;
    let last = view.records.last().copied();
    view.closed = last.is_some_and(|r| r.kind == Kind::Commit(Mark::Close));
    if acknowledged == Acknowledged::Closed && !(view.closed && view.tip.offset == walk.len) {
        let id = None;
        view.damage.push(Damage { zone, offset: walk.len, len: 0, id, kind: DamageKind::Unclosed });
    }
    // The writer touches the bytes behind a commit only once its sync has succeeded, so any record
    // there proves it.
    let proven = walk.items[keep..].iter().any(|i| matches!(i, Item::Record(_)))
        || last.is_some_and(|r| r.kind == Kind::Commit(Mark::Settle));
    if acknowledged == Acknowledged::UpToCommit && !proven {
        view.unsettled = Some((judge.settled, view.tip.offset));
    }
    view
}

/// State of one pass over the kept items.
struct Judge {
    view: View,
    zone: u64,
    tag: Tag,
    /// The chain so far; unknown behind a damaged zone header.
    chain: Option<[u8; 32]>,
    /// Whether every record since the last commit is there as it was written.
    complete: bool,
    segment: u64,
    /// Where the last flush ends, and where the one before it does. A settling commit counts as part of
    /// the next flush: it was not synced when it was written.
    flushed: u64,
    settled: u64,
}

impl Judge {
    fn new(walk: &Walk, zone: u64) -> Self {
        let header = walk.header.ok().filter(|h| h.zone == zone);
        let mut damage = Vec::new();
        if header.is_none() {
            let len = walk.len.min(ZONE_HEADER);
            damage.push(Damage { zone, offset: 0, len, id: None, kind: DamageKind::ZoneHeader });
        }
        let tip =
            Tip { offset: ZONE_HEADER, chain: header.map_or([0; 32], |h| h.chain()), count: 0 };
        let view = View { records: Vec::new(), damage, tip, closed: false, unsettled: None };
        Self {
            view,
            zone,
            tag: walk.tag.unwrap_or_default(),
            chain: header.map(|h| h.chain()),
            complete: true,
            segment: ZONE_HEADER,
            flushed: 0,
            settled: 0,
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Gap { offset, len, id } => {
                self.complete = false;
                self.view.damage.push(Damage {
                    zone: self.zone,
                    offset: *offset,
                    len: *len,
                    id: *id,
                    kind: DamageKind::Unreadable,
                });
            }
            Item::Record(record) => self.record(record),
        }
    }

    fn record(&mut self, record: &Record) {
        match record.kind {
            Kind::Commit(mark) => {
                if self.complete && self.chain.is_some_and(|c| c != record.id) {
                    self.view.damage.push(Damage {
                        zone: self.zone,
                        offset: self.segment,
                        len: record.offset - self.segment,
                        id: None,
                        kind: DamageKind::Sequence,
                    });
                }
                self.chain = Some(record.id);
                self.complete = true;
                self.segment = record.end();
                if mark != Mark::Settle {
                    self.settled = self.flushed;
                    self.flushed = record.end();
                }
            }
            // A void stands where other bytes were chained.
            Kind::Void => self.complete = false,
            Kind::Object { .. } => {}
        }
        self.chain = self.chain.map(|c| chain_after(&c, &record.encode(self.tag)));
        self.view.tip = Tip {
            offset: record.end(),
            chain: self.chain.unwrap_or_default(),
            count: record.count.wrapping_add(1),
        };
        self.view.records.push(*record);
    }
}

/// An object that [`scan`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundObject {
    /// The object's id, which its body matches.
    pub id: ObjectId,
    /// The private index key, where the record carries one.
    pub ix: Option<[u8; 32]>,
    /// Where the body starts in the zone.
    pub offset: u64,
    /// The body's length in bytes.
    pub len: u32,
}

/// What [`scan`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The zone's number, where its header is whole.
    pub zone: Option<u64>,
    /// The whole objects that a commit covers, in order of position.
    pub objects: Vec<FoundObject>,
    /// What is wrong in front of the last commit.
    pub damage: Vec<Damage>,
    /// Where the last commit ends; what follows was never acknowledged.
    pub committed: u64,
}

/// Reads the bytes of one zone as an active one, bodies included. Pure, and total: any bytes have an
/// answer. A zone of another version reads as one with a damaged header.
pub fn scan(bytes: &[u8]) -> Scan {
    let found = walk(&bytes, bytes.len() as u64).expect("reading a slice cannot fail");
    let zone = found.header.ok().map(|h| h.zone);
    let view = judge(&found, zone.unwrap_or(0), Acknowledged::UpToCommit);
    let mut out =
        Scan { zone, objects: Vec::new(), damage: view.damage, committed: view.tip.offset };
    for record in &view.records {
        let Kind::Object { ix } = record.kind else { continue };
        let fault = body_fault(&bytes, record);
        if let Some(kind) = fault {
            out.damage.push(damage_of(zone.unwrap_or(0), record, kind));
        }
        if fault != Some(DamageKind::Body) {
            let (offset, len) = (record.body_offset(), record.len);
            out.objects.push(FoundObject { id: record.object_id(), ix, offset, len });
        }
    }
    out
}

/// Damage that covers one whole record.
pub(crate) fn damage_of(zone: u64, record: &Record, kind: DamageKind) -> Damage {
    let id = Some(record.object_id());
    Damage { zone, offset: record.offset, len: record.end() - record.offset, id, kind }
}
