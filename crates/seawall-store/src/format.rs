//! The bytes of a zone: its header and the headers of its records (`docs/formats/zone.md`).
//!
//! A record header carries its own offset and the zone's tag. The offset makes a misplaced
//! record invalid; the tag, which nobody outside can know when the store's salt is secret, keeps
//! an object's *body* from posing as records when a scan resynchronises inside it.

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{MAX_OBJECT, ObjectId};

/// First bytes of a zone file. The high bit and line ends catch transfers that mangle text.
pub(crate) const ZONE_MAGIC: [u8; 8] = *b"\x89SWZN\r\n\x1a";
/// First bytes of a record.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"\xe5SWr";
/// The format version of a zone that claims every zone below it to be ended.
pub(crate) const VERSION: u32 = 1;
/// The format version of a zone that says which one its writer had ended, if any.
pub(crate) const VERSION_BESIDE: u32 = 2;
/// Length of a zone header in bytes.
pub(crate) const ZONE_HEADER: u64 = 64;
/// Length of a record header without the local-only part, in bytes.
pub(crate) const SHORT_HEADER: u64 = 80;
/// Length of a record header with the local-only part, in bytes.
pub(crate) const LONG_HEADER: u64 = 112;
/// Records start at multiples of this.
pub(crate) const ALIGN: u64 = 8;

const FLAG_IX: u8 = 1;
const FLAG_CLOSE: u8 = 2;
const FLAG_SETTLE: u8 = 4;
const CHECK: usize = 16;

/// A zone's secret-derived mark, repeated in each of its records.
pub(crate) type Tag = [u8; 8];

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let mut out = [0; CHECK];
    out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK]);
    out
}

/// The tag of a new zone.
pub(crate) fn tag_of(salt: &[u8; 32], zone: u64) -> Tag {
    let mut tag = [0; 8];
    let hash = blake3::keyed_hash(salt, &zone.to_le_bytes());
    tag.copy_from_slice(&hash.as_bytes()[..8]);
    tag
}

/// Which zones had their closing commit made durable before this one was begun. A zone that is named
/// here and has no closing commit is damaged; one that nobody names was left by a process that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every zone with a lower number.
    AllBelow,
    /// None, as far as its writer knew.
    Unknown,
    /// This one.
    Zone(u64),
}

impl Ended {
    pub(crate) const fn names(self, zone: u64) -> bool {
        match self {
            Self::AllBelow => true,
            Self::Unknown => false,
            Self::Zone(ended) => ended == zone,
        }
    }

    pub(crate) const fn encode(self) -> u64 {
        match self {
            Self::AllBelow => 0,
            Self::Unknown => 1,
            Self::Zone(zone) => zone.saturating_add(2),
        }
    }

    pub(crate) const fn decode(field: u64) -> Self {
        match field {
            0 => Self::AllBelow,
            1 => Self::Unknown,
            zone => Self::Zone(zone - 2),
        }
    }
}

/// The first 64 bytes of a zone file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZoneHeader {
    pub(crate) zone: u64,
    pub(crate) tag: Tag,
    pub(crate) ended: Ended,
}

/// Why a zone header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Whole, but of another version.
    Version(u32),
    /// Not a whole zone header.
    Broken,
}

impl From<WireError> for HeaderFault {
    fn from(_: WireError) -> Self {
        Self::Broken
    }
}

impl ZoneHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        let version = if self.ended == Ended::AllBelow { VERSION } else { VERSION_BESIDE };
        w.raw(&ZONE_MAGIC).u32(version).u32(0).u64(self.zone).raw(&self.tag);
        w.u64(self.ended.encode()).u64(0);
        let check = check(w.as_slice());
        w.raw(&check);
        w.into_vec()
    }

    /// Parses the first bytes of a zone file; the checksum stands at the same place in all versions.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut r = Reader::new(bytes);
        let covered = r.clone().take(ZONE_HEADER as usize - CHECK)?;
        let magic = r.array::<8>()?;
        let version = r.u32()?;
        let flags = r.u32()?;
        let (zone, tag) = (r.u64()?, r.array()?);
        let (ended, reserved) = (r.u64()?, r.u64()?);
        if magic != ZONE_MAGIC || r.array()? != check(covered) {
            return Err(HeaderFault::Broken);
        }
        if !(VERSION..=VERSION_BESIDE).contains(&version) || flags != 0 {
            return Err(HeaderFault::Version(version));
        }
        if reserved != 0 || (ended == 0) != (version == VERSION) {
            return Err(HeaderFault::Broken);
        }
        Ok(Self { zone, tag, ended: Ended::decode(ended) })
    }

    /// Where the chain of record headers starts.
    pub(crate) fn chain(&self) -> [u8; 32] {
        *blake3::hash(&self.encode()).as_bytes()
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object: `id` names the body.
    Object { ix: Option<[u8; 32]> },
    /// A commit: `id` holds the chain over everything before it. It has no body.
    Commit(Mark),
    /// What recovery wrote over a torn stretch: the body is meaningless. `id` is zero.
    Void,
}

/// What a commit says besides covering everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Ends a flush.
    Flush,
    /// Written once the sync of the commit before it has succeeded.
    Settle,
    /// Ends the zone.
    Close,
}

impl Mark {
    const fn flags(self) -> u8 {
        match self {
            Self::Flush => 0,
            Self::Settle => FLAG_SETTLE,
            Self::Close => FLAG_CLOSE,
        }
    }

    const fn of(flags: u8) -> Option<Self> {
        match flags {
            0 => Some(Self::Flush),
            FLAG_SETTLE => Some(Self::Settle),
            FLAG_CLOSE => Some(Self::Close),
            _ => None,
        }
    }
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// Bytes of body.
    pub(crate) len: u32,
    /// How many records the zone holds before this one.
    pub(crate) count: u32,
    /// Where in the zone file the record starts.
    pub(crate) offset: u64,
    pub(crate) id: [u8; 32],
}

impl Record {
    pub(crate) const fn header_len(&self) -> u64 {
        match self.kind {
            Kind::Object { ix: Some(_) } => LONG_HEADER,
            _ => SHORT_HEADER,
        }
    }

    pub(crate) const fn body_offset(&self) -> u64 {
        self.offset + self.header_len()
    }

    pub(crate) const fn body_end(&self) -> u64 {
        self.body_offset() + self.len as u64
    }

    /// Where the next record starts.
    pub(crate) const fn end(&self) -> u64 {
        self.body_end().next_multiple_of(ALIGN)
    }

    pub(crate) const fn object_id(&self) -> ObjectId {
        ObjectId(self.id)
    }

    pub(crate) fn encode(&self, tag: Tag) -> Vec<u8> {
        let (kind, flags, ix) = match self.kind {
            Kind::Object { ix } => (1, if ix.is_some() { FLAG_IX } else { 0 }, ix),
            Kind::Commit(mark) => (2, mark.flags(), None),
            Kind::Void => (3, 0, None),
        };
        let mut w = Writer::new();
        w.raw(&RECORD_MAGIC).u8(kind).u8(flags).u16(0).raw(&tag);
        w.u32(self.len).u32(self.count).u64(self.offset).raw(&self.id);
        if let Some(ix) = ix {
            w.raw(&ix);
        }
        let check = check(w.as_slice());
        w.raw(&check);
        w.into_vec()
    }

    /// Parses the record header at the start of `bytes`, which stand at `offset` of a zone.
    ///
    /// `None` where there is no valid one. A tag of `None` accepts any; the tag found is returned.
    pub(crate) fn decode(bytes: &[u8], offset: u64, tag: Option<Tag>) -> Option<(Self, Tag)> {
        let mut r = Reader::new(bytes);
        if r.array::<4>().ok()? != RECORD_MAGIC {
            return None;
        }
        let (kind, flags, reserved) = (r.u8().ok()?, r.u8().ok()?, r.u16().ok()?);
        let found = r.array().ok()?;
        if reserved != 0 || tag.is_some_and(|t| t != found) {
            return None;
        }
        let (len, count, at) = (r.u32().ok()?, r.u32().ok()?, r.u64().ok()?);
        let id = r.array().ok()?;
        let ix = if flags & FLAG_IX == 0 { None } else { Some(r.array().ok()?) };
        let covered = bytes.get(..r.offset())?;
        if at != offset || r.array().ok()? != check(covered) {
            return None;
        }
        let kind = match (kind, flags) {
            (1, 0 | FLAG_IX) if len as usize <= MAX_OBJECT => Kind::Object { ix },
            (2, _) if len == 0 => Kind::Commit(Mark::of(flags)?),
            (3, 0) if id == [0; 32] => Kind::Void,
            _ => return None,
        };
        Some((Self { kind, len, count, offset, id }, found))
    }
}

/// The chain after a record with this header.
pub(crate) fn chain_after(chain: &[u8; 32], header: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain).update(header);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kind: Kind) -> Record {
        let (len, id) = match kind {
            Kind::Object { .. } => (5, [9; 32]),
            Kind::Commit(_) => (0, [8; 32]),
            Kind::Void => (24, [0; 32]),
        };
        Record { kind, len, count: 3, offset: 64, id }
    }

    #[test]
    fn every_kind_round_trips_and_no_single_bit_may_change() {
        for kind in [
            Kind::Object { ix: None },
            Kind::Object { ix: Some([7; 32]) },
            Kind::Commit(Mark::Flush),
            Kind::Commit(Mark::Settle),
            Kind::Commit(Mark::Close),
            Kind::Void,
        ] {
            let record = sample(kind);
            let bytes = record.encode([1; 8]);
            assert_eq!(bytes.len() as u64, record.header_len());
            assert_eq!(Record::decode(&bytes, 64, Some([1; 8])), Some((record, [1; 8])));
            assert_eq!(Record::decode(&bytes, 72, Some([1; 8])), None, "misplaced");
            assert_eq!(Record::decode(&bytes, 64, Some([2; 8])), None, "of another zone");
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bad, 64, None), None, "bit {bit}");
            }
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1], 64, None), None);
        }
    }

    #[test]
    fn forbidden_combinations_are_refused_even_with_a_good_checksum() {
        let tag = [1; 8];
        let too_long = Record { len: MAX_OBJECT as u32 + 1, ..sample(Kind::Object { ix: None }) };
        let commit_with_body = Record { len: 1, ..sample(Kind::Commit(Mark::Flush)) };
        let named_void = Record { id: [1; 32], ..sample(Kind::Void) };
        for bad in [too_long, commit_with_body, named_void] {
            assert_eq!(Record::decode(&bad.encode(tag), 64, Some(tag)), None, "{bad:?}");
        }
        for (at, value) in [(4, 0), (4, 4), (5, 2), (5, 4), (6, 1)] {
            let mut bytes = sample(Kind::Object { ix: None }).encode(tag);
            bytes[at] = value;
            let sum = check(&bytes[..64]);
            bytes[64..].copy_from_slice(&sum);
            assert_eq!(Record::decode(&bytes, 64, Some(tag)), None, "byte {at} = {value}");
        }
    }

    #[test]
    fn zone_headers_round_trip_and_tell_versions_from_damage() {
        let header = ZoneHeader { zone: 5, tag: [3; 8], ended: Ended::AllBelow };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, ZONE_HEADER);
        assert_eq!(ZoneHeader::decode(&bytes), Ok(header));
        for ended in [Ended::Unknown, Ended::Zone(0), Ended::Zone(4)] {
            let beside = ZoneHeader { ended, ..header };
            assert_eq!(ZoneHeader::decode(&beside.encode()), Ok(beside));
            assert_eq!(beside.encode()[8], 2);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ZoneHeader::decode(&bad), Err(HeaderFault::Broken), "bit {bit}");
        }
        for (at, fault) in [(8, HeaderFault::Version(3)), (12, HeaderFault::Version(1))] {
            let mut later = bytes.clone();
            later[at] = 3;
            let sum = check(&later[..48]);
            later[48..].copy_from_slice(&sum);
            assert_eq!(ZoneHeader::decode(&later), Err(fault));
        }
        let mut reserved = bytes;
        reserved[40] = 1;
        let sum = check(&reserved[..48]);
        reserved[48..].copy_from_slice(&sum);
        assert_eq!(ZoneHeader::decode(&reserved), Err(HeaderFault::Broken));
    }
}
