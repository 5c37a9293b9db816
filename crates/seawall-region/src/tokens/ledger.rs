//! Which tokens are live, and which numbers were used with them; survives restarts.
//!
//! A token this region issued is live only while it stands here: what was dropped, for its age or
//! to make room, is refused for ever, whatever any clock says then. A token issued elsewhere, under
//! a delegation, enters when it is first used; dropping one raises a floor under which no such
//! token is taken any more, so that a clock set forward and back does not bring one to life again.
//!
//! Numbers rise with each use. What is durable is not each number but the one *below which all
//! count as used*, written [`AHEAD`] numbers ahead and before the call is acted on: a crash uses up
//! numbers and gives none back. So a token costs a sync when it is issued and one in every
//! [`AHEAD`] requests, not one in each.
//!
//! On disk: `SWTOKEN1`, then records of fixed length, appended and synced; the last of a token
//! counts. A torn tail was never acknowledged and is cut. Damage before the tail, or a file that is
//! gone, forgets all tokens: callers ask for new ones. Layout: `docs/formats/token.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{Disk, DiskFile, NodeId, OpenMode, Sha256, Timestamp, read_file, write_atomic};
use seawall_sign::token::{MAX_LIFE, SKEW};

use crate::RegionError;

pub(crate) const DIR: &str = "tokens";
const PATH: &str = "tokens/ledger";
const MAGIC: &[u8; 8] = b"SWTOKEN1";
const RECORD: usize = 1 + 32 + 32 + 8 + 8 + 8;

/// Largest ledger that is read: more than twice what [`SPARE`] lets grow beside 400 000 tokens.
const MAX_FILE: usize = 128 << 20;

/// How many numbers are written ahead as used.
const AHEAD: u64 = 256;

/// How far a number may leap over those not seen: requests that never arrived.
const MAX_LEAP: u64 = 1_024;

/// Live tokens of one node. The one that expires first makes room; its holder asks again.
const MAX_PER_NODE: usize = 64;

/// Records beyond the live ones before the file is written anew.
const SPARE: usize = 4_096;

/// Where a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// This region.
    Here,
    /// A node, under a delegation.
    Delegated,
}

/// A token, as far as the ledger is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// SHA-256 of its text.
    pub(crate) digest: Sha256,
    /// For whom it was issued: a node of a fleet.
    pub(crate) holder: NodeId,
    /// When it expires.
    pub(crate) expires: Timestamp,
    /// Who issued it.
    pub(crate) source: Source,
}

/// Why a number is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("this region did not issue the token, or dropped it since")]
    Unknown,
    #[error("the proof's number was used before: this request is a replay")]
    Replayed,
    #[error("the proof's number leaps more than 1024 ahead")]
    Leaps,
    #[error("64 tokens of this node's own issue are in use already")]
    TooMany,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    known: Known,
    /// The next number that may be used.
    next: u64,
    /// Numbers below this one are used as far as the disk knows.
    reserved: u64,
}

/// The tokens of a region.
pub(crate) struct Ledger {
    disk: Arc<dyn Disk>,
    live: BTreeMap<Sha256, Entry>,
    /// Delegated tokens that expire until then are refused.
    floor: Timestamp,
    records: usize,
    /// None after a failed write, until the file has been read again.
    file: Option<(Box<dyn DiskFile>, u64)>,
}

impl Ledger {
    /// Makes an empty one in a new home.
    pub(crate) fn init(disk: &dyn Disk) -> Result<(), RegionError> {
        disk.create_dir_all(DIR).map_err(RegionError::io("creating tokens"))?;
        write_atomic(disk, PATH, MAGIC).map_err(RegionError::io(format!("writing {PATH}")))?;
        disk.sync_dir("").map_err(RegionError::io("syncing the home"))
    }

    /// Reads what is live. A ledger that is gone or damaged is begun anew.
    pub(crate) fn open(disk: Arc<dyn Disk>, now: Timestamp) -> Result<Self, RegionError> {
        let mut it =
            Self { disk, live: BTreeMap::new(), floor: Timestamp(0), records: 0, file: None };
        it.load(now)?;
        Ok(it)
    }

    fn load(&mut self, now: Timestamp) -> Result<(), RegionError> {
        let bytes = read_file(self.disk.as_ref(), PATH, MAX_FILE)
            .map_err(RegionError::io(format!("reading {PATH}")))?;
        self.live.clear();
        let whole = bytes.as_ref().and_then(|bytes| self.replay(bytes).ok());
        if let (Some(whole), Some(bytes)) = (whole, &bytes) {
            self.records = (whole - MAGIC.len()) / RECORD;
            let file = self.disk.open(PATH, OpenMode::Write).map_err(RegionError::io(PATH))?;
            if whole < bytes.len() {
                file.set_len(whole as u64).map_err(RegionError::io(format!("cutting {PATH}")))?;
                file.sync().map_err(RegionError::io(format!("syncing {PATH}")))?;
            }
            self.file = Some((file, whole as u64));
            return Ok(());
        }
        tracing::warn!(
            "the list of tokens is gone or damaged: all tokens have to be asked for anew"
        );
        self.live.clear();
        self.floor = self.floor.max(now.after(MAX_LIFE).after(SKEW));
        Self::init(self.disk.as_ref())?;
        self.rewrite()
    }

    /// Takes records in; returns up to where the file is whole. An error is damage that no power
    /// cut explains.
    fn replay(&mut self, bytes: &[u8]) -> Result<usize, WireError> {
        let mut r = Reader::new(bytes);
        if r.array::<8>()? != *MAGIC {
            return Err(r.invalid("magic number"));
        }
        let mut whole = r.offset();
        while r.remaining() >= RECORD {
            let record = r.take(RECORD)?;
            match decode(record) {
                Ok(Record::Floor(floor)) => self.floor = self.floor.max(floor),
                // It made room for another.
                Ok(Record::Token(entry)) if entry.reserved == u64::MAX => {
                    self.live.remove(&entry.known.digest);
                }
                Ok(Record::Token(entry)) => {
                    self.live.insert(entry.known.digest, entry);
                }
                // The last records of a file may be torn; whatever follows them is not whole either.
                Err(_) if bytes[whole..].chunks_exact(RECORD).all(|c| decode(c).is_err()) => break,
                Err(e) => return Err(e),
            }
            whole = r.offset();
        }
        Ok(whole)
    }

    /// Notes a token as issued. Durable on return. One issued already stays as it is.
    pub(crate) fn issue(&mut self, known: Known, now: Timestamp) -> Result<(), RegionError> {
        self.ready(now)?;
        self.drop_expired(now);
        if self.live.contains_key(&known.digest) {
            return Ok(());
        }
        let mut records = Vec::new();
        let evicted = self.to_evict(known.holder);
        if let Some(evicted) = evicted {
            records.extend(Entry { reserved: u64::MAX, ..evicted }.encode());
        }
        let entry = Entry { known, next: 0, reserved: 0 };
        records.extend(entry.encode());
        self.append(&records, now)?;
        if let Some(evicted) = evicted {
            self.live.remove(&evicted.known.digest);
        }
        self.live.insert(known.digest, entry);
        Ok(())
    }

    /// Whether this region issued the token and it is still live.
    pub(crate) fn is_live(&self, digest: &Sha256) -> bool {
        self.live.get(digest).is_some_and(|entry| entry.known.source == Source::Here)
    }

    /// Uses a number up. Durable on return: whatever happens next, it is not taken again.
    pub(crate) fn take(
        &mut self,
        known: Known,
        number: u64,
        now: Timestamp,
    ) -> Result<Result<(), Unusable>, RegionError> {
        self.ready(now)?;
        let entry = match (self.live.get(&known.digest), known.source) {
            (Some(entry), _) => *entry,
            (None, Source::Here) => return Ok(Err(Unusable::Unknown)),
            (None, Source::Delegated) => {
                self.drop_expired(now);
                if known.expires <= self.floor {
                    return Ok(Err(Unusable::Unknown));
                }
                // Making room would raise the floor, for others too.
                if self.to_evict(known.holder).is_some() {
                    return Ok(Err(Unusable::TooMany));
                }
                Entry { known, next: 0, reserved: 0 }
            }
        };
        if number < entry.next || number == u64::MAX {
            return Ok(Err(Unusable::Replayed));
        }
        if number - entry.next > MAX_LEAP {
            return Ok(Err(Unusable::Leaps));
        }
        let mut after = Entry { next: number + 1, ..entry };
        if number >= entry.reserved {
            after.reserved = number.saturating_add(AHEAD);
            self.append(&after.encode(), now)?;
        }
        self.live.insert(known.digest, after);
        Ok(Ok(()))
    }

    /// The token of a holder that makes room for another, if it has as many as it may have.
    fn to_evict(&self, holder: NodeId) -> Option<Entry> {
        let held: Vec<_> = self.live.values().filter(|e| e.known.holder == holder).collect();
        let first = held.iter().min_by_key(|e| (e.known.expires, e.known.digest)).copied();
        first.filter(|_| held.len() >= MAX_PER_NODE).copied()
    }

    fn drop_expired(&mut self, now: Timestamp) {
        let over: Vec<Entry> =
            self.live.values().filter(|e| e.known.expires.after(SKEW) < now).copied().collect();
        for entry in over {
            self.drop_entry(&entry);
        }
    }

    fn drop_entry(&mut self, entry: &Entry) {
        if entry.known.source == Source::Delegated {
            self.floor = self.floor.max(entry.known.expires);
        }
        self.live.remove(&entry.known.digest);
    }

    /// After a write that failed, the file is read again: what it holds by now is not known.
    fn ready(&mut self, now: Timestamp) -> Result<(), RegionError> {
        if self.file.is_some() { Ok(()) } else { self.load(now) }
    }

    fn append(&mut self, records: &[u8], now: Timestamp) -> Result<(), RegionError> {
        if self.records > 2 * self.live.len() + SPARE {
            self.rewrite()?;
        }
        self.ready(now)?;
        let Some((file, end)) = self.file.take() else {
            return Err(RegionError::io(PATH)(std::io::Error::other("it is not open")));
        };
        file.write_at(end, records).map_err(RegionError::io(format!("writing {PATH}")))?;
        file.sync().map_err(RegionError::io(format!("syncing {PATH}")))?;
        self.file = Some((file, end + records.len() as u64));
        self.records += records.len() / RECORD;
        Ok(())
    }

    /// Replaces the file by one with the live tokens only.
    fn rewrite(&mut self) -> Result<(), RegionError> {
        self.file = None;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(encode(0, &[0; 32], &[0; 32], self.floor, 0));
        // What was used since the last record is below what that record reserved.
        self.live.values().for_each(|entry| bytes.extend(entry.encode()));
        write_atomic(self.disk.as_ref(), PATH, &bytes)
            .map_err(RegionError::io(format!("writing {PATH}")))?;
        let file = self.disk.open(PATH, OpenMode::Write).map_err(RegionError::io(PATH))?;
        self.file = Some((file, bytes.len() as u64));
        self.records = self.live.len() + 1;
        Ok(())
    }
}

enum Record {
    Floor(Timestamp),
    Token(Entry),
}

fn encode(
    kind: u8,
    digest: &[u8; 32],
    holder: &[u8; 32],
    expires: Timestamp,
    reserved: u64,
) -> Vec<u8> {
    let mut w = Writer::new();
    w.u8(kind).raw(digest).raw(holder).u64(expires.0).u64(reserved);
    let check = Sha256::of(w.as_slice());
    w.raw(&check.0[..8]);
    w.into_vec()
}

fn decode(record: &[u8]) -> Result<Record, WireError> {
    let mut r = Reader::new(record);
    let (kind, digest, holder) = (r.u8()?, r.array()?, r.array()?);
    let (expires, reserved) = (Timestamp(r.u64()?), r.u64()?);
    let check = Sha256::of(&record[..r.offset()]);
    if r.array::<8>()? != check.0[..8] {
        return Err(r.invalid("check"));
    }
    r.finish()?;
    let source = match kind {
        0 if digest == [0; 32] && holder == [0; 32] && reserved == 0 => {
            return Ok(Record::Floor(expires));
        }
        1 => Source::Here,
        2 => Source::Delegated,
        _ => return Err(Reader::new(record).invalid("kind")),
    };
    let known = Known { digest: Sha256(digest), holder: NodeId(holder), expires, source };
    Ok(Record::Token(Entry { known, next: reserved, reserved }))
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let Known { digest, holder, expires, source } = self.known;
        let kind = match source {
            Source::Here => 1,
            Source::Delegated => 2,
        };
        encode(kind, &digest.0, &holder.0, expires, self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use seawall_base::Seconds;
    use seawall_sim::{PowerCut, SimDisk};

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000);

    fn token(n: u16, source: Source) -> Known {
        let digest = Sha256::of(&n.to_le_bytes());
        let holder = NodeId([n as u8 & 1; 32]);
        Known { digest, holder, expires: NOW.after(Seconds(600 + u64::from(n))), source }
    }

    fn ledger() -> (SimDisk, Ledger) {
        let disk = SimDisk::new();
        Ledger::init(&disk).expect("made");
        let ledger = open(&disk, NOW);
        (disk, ledger)
    }

    fn open(disk: &SimDisk, now: Timestamp) -> Ledger {
        Ledger::open(Arc::new(disk.clone()), now).expect("opened")
    }

    fn take(ledger: &mut Ledger, known: Known, number: u64) -> Result<(), Unusable> {
        ledger.take(known, number, NOW).expect("the disk is well")
    }

    #[test]
    fn the_same_identity_key_in_another_fleet_pushes_nothing_out() {
        let (_, mut ledger) = ledger();
        let holder = |n| crate::tokens::holder(seawall_base::FleetId([n; 32]), NodeId([7; 32]));
        let mine = Known { holder: holder(1), ..token(0, Source::Here) };
        ledger.issue(mine, NOW).expect("issued");
        for n in 1..200 {
            let theirs = Known { holder: holder(2), ..token(n, Source::Here) };
            ledger.issue(theirs, NOW).expect("issued");
        }
        assert!(ledger.is_live(&mine.digest));
        assert_eq!(ledger.live.len(), 1 + MAX_PER_NODE);
    }

    #[test]
    fn a_number_is_taken_once_and_never_after_a_power_cut() {
        let (disk, mut ledger) = ledger();
        let mine = token(1, Source::Here);
        assert_eq!(take(&mut ledger, mine, 0), Err(Unusable::Unknown), "not issued yet");
        ledger.issue(mine, NOW).expect("issued");
        assert!(ledger.is_live(&mine.digest));
        assert_eq!(take(&mut ledger, mine, 0), Ok(()));
        assert_eq!(take(&mut ledger, mine, 0), Err(Unusable::Replayed));
        assert_eq!(take(&mut ledger, mine, 7), Ok(()), "some never arrived");
        assert_eq!(take(&mut ledger, mine, 3), Err(Unusable::Replayed));
        assert_eq!(take(&mut ledger, mine, u64::MAX), Err(Unusable::Replayed));
        assert_eq!(take(&mut ledger, mine, 8 + MAX_LEAP + 1), Err(Unusable::Leaps));
        for cut in [PowerCut::LoseUnsynced, PowerCut::KeepUnsynced] {
            let mut after = open(&disk.power_cut(cut), NOW);
            assert!(after.is_live(&mine.digest));
            for number in [0, 7, 8, 255] {
                assert_eq!(take(&mut after, mine, number), Err(Unusable::Replayed), "{number}");
            }
            assert_eq!(take(&mut after, mine, AHEAD), Ok(()), "the token goes on");
        }
        // Each number up to the next record and beyond it.
        for number in 8..2 * AHEAD {
            assert_eq!(take(&mut ledger, mine, number), Ok(()));
            let mut after = open(&disk.power_cut(PowerCut::LoseUnsynced), NOW);
            assert_eq!(take(&mut after, mine, number), Err(Unusable::Replayed), "{number}");
        }
    }

    #[test]
    fn clocks_set_back_and_forward_bring_nothing_to_life() {
        let (disk, mut ledger) = ledger();
        let (here, there) = (token(1, Source::Here), token(3, Source::Delegated));
        ledger.issue(here, NOW).expect("issued");
        assert_eq!(take(&mut ledger, here, 0), Ok(()));
        assert_eq!(take(&mut ledger, there, 0), Ok(()));
        // A day ahead: both are dropped when the next is issued. Then back again.
        let ahead = NOW.after(Seconds::days(1));
        let mut late = token(5, Source::Here);
        late.expires = ahead.after(Seconds(600));
        ledger.issue(late, ahead).expect("issued");
        for number in [0, 1, 300] {
            assert_eq!(take(&mut ledger, here, number), Err(Unusable::Unknown));
            assert_eq!(take(&mut ledger, there, number), Err(Unusable::Unknown));
        }
        // A restart in between reads them again, with all that was used.
        let mut after = open(&disk, NOW);
        assert_eq!(take(&mut after, here, 0), Err(Unusable::Replayed));
        assert_eq!(take(&mut after, there, 0), Err(Unusable::Replayed));
        // Set back by a year: what is live stays live, what is used stays used.
        let back = NOW.before(Seconds::days(365));
        assert_eq!(after.take(here, 0, back).expect("well"), Err(Unusable::Replayed));
        assert_eq!(after.take(here, AHEAD, back).expect("well"), Ok(()));
    }

    #[test]
    fn a_node_has_sixty_four_and_takes_none_of_anothers() {
        let (disk, mut ledger) = ledger();
        let other = token(0, Source::Here);
        ledger.issue(other, NOW).expect("issued");
        let mine: Vec<_> =
            (0..=MAX_PER_NODE as u16).map(|n| token(2 * n + 1, Source::Here)).collect();
        for one in &mine {
            ledger.issue(*one, NOW).expect("issued");
        }
        assert!(!ledger.is_live(&mine[0].digest), "the first made room");
        assert!(mine[1..].iter().all(|one| ledger.is_live(&one.digest)));
        assert!(ledger.is_live(&other.digest));
        let mut after = open(&disk, NOW);
        assert_eq!(take(&mut after, mine[0], AHEAD), Err(Unusable::Unknown), "nor after a restart");
        let more = token(1_001, Source::Delegated);
        assert_eq!(take(&mut after, more, 0), Err(Unusable::TooMany), "nobody is made room by");
    }

    #[test]
    fn a_torn_tail_is_cut_and_other_damage_forgets_all_tokens() {
        let (disk, mut ledger) = ledger();
        let (one, two) = (token(1, Source::Here), token(3, Source::Here));
        ledger.issue(one, NOW).expect("issued");
        ledger.issue(two, NOW).expect("issued");
        drop(ledger);
        let good = read_file(&disk, PATH, MAX_FILE).expect("read").expect("there");
        for cut in MAGIC.len()..good.len() {
            write_atomic(&disk, PATH, &good[..cut]).expect("written");
            let ledger = open(&disk, NOW);
            assert_eq!(ledger.is_live(&one.digest), cut >= MAGIC.len() + RECORD, "{cut}");
            assert!(!ledger.is_live(&two.digest), "{cut}");
        }
        for at in 0..MAGIC.len() + RECORD {
            let mut bad = good.clone();
            bad[at] ^= 1;
            write_atomic(&disk, PATH, &bad).expect("written");
            let mut ledger = open(&disk, NOW);
            assert!(!ledger.is_live(&one.digest) && !ledger.is_live(&two.digest), "byte {at}");
            let old = token(5, Source::Delegated);
            assert_eq!(take(&mut ledger, old, 0), Err(Unusable::Unknown), "below the floor");
            let mut later = token(5, Source::Delegated);
            later.expires = NOW.after(MAX_LIFE).after(SKEW).after(Seconds(1));
            assert_eq!(take(&mut ledger, later, 0), Ok(()));
        }
        disk.remove(PATH).expect("removed");
        let mut ledger = open(&disk, NOW);
        assert_eq!(take(&mut ledger, one, AHEAD), Err(Unusable::Unknown));
    }

    #[test]
    fn the_file_stays_small_and_keeps_what_was_used() {
        let (disk, mut ledger) = ledger();
        let steady = token(1, Source::Here);
        ledger.issue(steady, NOW).expect("issued");
        for n in 0..(SPARE as u16 + 100) {
            let mut other = token(2 * n, Source::Here);
            other.expires = NOW.after(Seconds(600));
            ledger.issue(other, NOW).expect("issued");
        }
        assert_eq!(take(&mut ledger, steady, 0), Ok(()));
        let size = read_file(&disk, PATH, MAX_FILE).expect("read").expect("there").len();
        assert!(size < (2 * MAX_PER_NODE + SPARE + 300) * RECORD, "{size} bytes");
        let mut after = open(&disk, NOW);
        assert_eq!(take(&mut after, steady, 0), Err(Unusable::Replayed));
    }
}
