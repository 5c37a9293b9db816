//! What is about to be removed: the set of condemned records, and the state of reclaiming on disk
//! (`docs/formats/zone.md`, "Reclaim").
//!
//! Condemned are *records*, not objects: an object that is needed again is written again, and the new
//! record is not condemned. The state is one small file, replaced atomically; it names the file with the
//! set. Both are durable before anybody acts on them.

use std::collections::BTreeMap;
use std::io;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{OpenMode, read_file, write_atomic};

use crate::error::StoreError;
use crate::format::ALIGN;
use crate::index::Entry;
use crate::site::{Site, numbered};

const STATE_MAGIC: [u8; 8] = *b"\x89SWRC\r\n\x1a";
const LIST_MAGIC: [u8; 8] = *b"\x89SWCD\r\n\x1a";
const VERSION: u32 = 1;
const CHECK: usize = 32;
/// Largest state file in bytes: 4 million ranges of swept zones.
const MAX_STATE: usize = 64 << 20;
/// Largest list in bytes: 400 million records.
const MAX_LIST: usize = 1600 << 20;
/// Most zones a list may name.
const MAX_ZONES: usize = 1 << 24;

/// A set of records: for each zone their offsets in units of eight bytes, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condemned {
    pub(crate) zones: BTreeMap<u64, Vec<u32>>,
}

impl Condemned {
    pub(crate) fn contains(&self, entry: &Entry) -> bool {
        !self.zones.is_empty() && self.has(entry.zone, entry.offset)
    }

    pub(crate) fn has(&self, zone: u64, offset: u64) -> bool {
        let unit = (offset / ALIGN) as u32;
        self.zones.get(&zone).is_some_and(|offsets| offsets.binary_search(&unit).is_ok())
    }

    /// Adds a record; [`Condemned::settle`] before asking.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.zones.entry(entry.zone).or_default().push((entry.offset / ALIGN) as u32);
    }

    pub(crate) fn remove(&mut self, entry: &Entry) -> bool {
        let unit = (entry.offset / ALIGN) as u32;
        let Some(offsets) = self.zones.get_mut(&entry.zone) else { return false };
        let Ok(at) = offsets.binary_search(&unit) else { return false };
        offsets.remove(at);
        if offsets.is_empty() {
            self.zones.remove(&entry.zone);
        }
        true
    }

    pub(crate) fn settle(&mut self) {
        for offsets in self.zones.values_mut() {
            offsets.sort_unstable();
            offsets.dedup();
            offsets.shrink_to_fit();
        }
    }

    fn encode(&self, site: &Site) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&LIST_MAGIC).u32(VERSION).raw(&site.mark()).length(self.zones.len());
        for (zone, offsets) in &self.zones {
            w.u64(*zone).length(offsets.len());
            for offset in offsets {
                w.u32(*offset);
            }
        }
        sealed(w, site)
    }

    fn decode(bytes: &[u8], site: &Site) -> Result<Self, Fault> {
        let mut r = opened(bytes, site, LIST_MAGIC)?;
        let mut zones = BTreeMap::new();
        let mut last = None;
        for _ in 0..r.length(MAX_ZONES)? {
            let zone = r.u64()?;
            let n = r.length(r.remaining() / 4)?;
            let offsets: Vec<u32> = (0..n).map(|_| r.u32()).collect::<Result<_, _>>()?;
            if last.is_some_and(|l| l >= zone) || n == 0 || !offsets.is_sorted_by(|a, b| a < b) {
                return Err(Fault("not in order"));
            }
            last = Some(zone);
            zones.insert(zone, offsets);
        }
        r.finish()?;
        Ok(Self { zones })
    }
}

/// Why a file of reclaiming was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(&'static str);

impl From<WireError> for Fault {
    fn from(_: WireError) -> Self {
        Self("its fields are not whole")
    }
}

/// Adds a checksum that only whoever has the salt can make.
fn sealed(w: Writer, site: &Site) -> Vec<u8> {
    let mut bytes = w.into_vec();
    let check = *blake3::keyed_hash(&site.salt, &bytes).as_bytes();
    bytes.extend_from_slice(&check);
    bytes
}

fn opened<'b>(bytes: &'b [u8], site: &Site, magic: [u8; 8]) -> Result<Reader<'b>, Fault> {
    let split = bytes.len().checked_sub(CHECK).ok_or(Fault("too short"))?;
    let (covered, check) = bytes.split_at(split);
    if blake3::keyed_hash(&site.salt, covered).as_bytes() != check {
        return Err(Fault("its checksum does not match"));
    }
    let mut r = Reader::new(covered);
    if r.array::<8>()? != magic || r.u32()? != VERSION || r.array::<16>()? != site.mark() {
        return Err(Fault("of another version or another store"));
    }
    Ok(r)
}

/// How far reclaiming is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReclaimState {
    /// Grows with every set of condemned records. Writers hold a lock under the one they opened at.
    pub(crate) generation: u64,
    /// Number of the file with the set; 0 for none.
    list: u64,
    /// Zones that were removed or may be, as ranges (first, last), ascending and apart.
    pub(crate) swept: Vec<(u64, u64)>,
}

impl ReclaimState {
    pub(crate) fn is_swept(&self, zone: u64) -> bool {
        let after = self.swept.partition_point(|(first, _)| *first <= zone);
        after > 0 && self.swept[after - 1].1 >= zone
    }

    pub(crate) fn sweep(&mut self, zones: &[u64]) {
        self.swept.extend(zones.iter().map(|z| (*z, *z)));
        self.swept.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (first, last) in self.swept.drain(..) {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        self.swept = joined;
    }

    fn encode(&self, site: &Site) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&STATE_MAGIC).u32(VERSION).raw(&site.mark()).u64(self.generation).u64(self.list);
        w.length(self.swept.len());
        for (first, last) in &self.swept {
            w.u64(*first).u64(*last);
        }
        sealed(w, site)
    }

    fn decode(bytes: &[u8], site: &Site) -> Result<Self, Fault> {
        let mut r = opened(bytes, site, STATE_MAGIC)?;
        let mut state = Self { generation: r.u64()?, list: r.u64()?, swept: Vec::new() };
        for _ in 0..r.length(MAX_STATE / 16)? {
            let (first, last) = (r.u64()?, r.u64()?);
            let apart =
                state.swept.last().is_none_or(|b| b.1.checked_add(1).is_some_and(|e| e < first));
            if first > last || !apart {
                return Err(Fault("swept zones not in order"));
            }
            state.swept.push((first, last));
        }
        r.finish()?;
        Ok(state)
    }

    /// Replaces the state on disk; durable on return.
    pub(crate) fn write(&self, site: &Site) -> Result<(), StoreError> {
        let path = site.path(STATE);
        let write = || {
            site.disk.create_dir_all(&site.path("reclaim"))?;
            write_atomic(site.disk.as_ref(), &path, &self.encode(site))
        };
        write().map_err(|e| StoreError::io(format!("writing {path}"), e))
    }

    /// Writes a set and the state that names it; then the set before it is removed.
    pub(crate) fn replace_list(
        &mut self,
        site: &Site,
        condemned: &Condemned,
        generation: u64,
    ) -> Result<(), StoreError> {
        let (before, number) = (self.list, self.list + 1);
        let path = list_path(site, number);
        let write = || -> io::Result<()> {
            site.disk.create_dir_all(&site.path("reclaim"))?;
            let file = site.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_at(0, &condemned.encode(site))?;
            file.sync()?;
            site.disk.sync_dir(&site.path("reclaim"))
        };
        write().map_err(|e| StoreError::io(format!("writing {path}"), e))?;
        let next = Self { generation, list: number, swept: self.swept.clone() };
        next.write(site)?;
        *self = next;
        if before > 0 {
            let path = list_path(site, before);
            // It is named by nothing any more; if it stays it takes room until the next set.
            match site.disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(format!("removing {path}"), e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

const STATE: &str = "reclaim/state";

fn list_path(site: &Site, number: u64) -> String {
    site.path(&format!("reclaim/{number:016x}.condemned"))
}

/// What stands on disk.
pub(crate) enum Standing {
    Whole(ReclaimState, Condemned),
    /// What is wrong with it.
    Damaged(String),
}

/// Reads the state and its set. A set that vanishes while it is read was replaced: again, then.
pub(crate) fn read(site: &Site) -> Result<Standing, StoreError> {
    let path = site.path(STATE);
    let mut last = None;
    loop {
        let bytes = match read_file(site.disk.as_ref(), &path, MAX_STATE) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Standing::Whole(ReclaimState::default(), Condemned::default())),
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(Standing::Damaged(e.to_string()));
            }
            Err(e) => return Err(StoreError::io(format!("reading {path}"), e)),
        };
        let state = match ReclaimState::decode(&bytes, site) {
            Ok(state) => state,
            Err(e) => return Ok(Standing::Damaged(format!("{path}: {e}"))),
        };
        if state.list == 0 {
            return Ok(Standing::Whole(state, Condemned::default()));
        }
        let path = list_path(site, state.list);
        match read_file(site.disk.as_ref(), &path, MAX_LIST) {
            Ok(Some(bytes)) => {
                return Ok(match Condemned::decode(&bytes, site) {
                    Ok(condemned) => Standing::Whole(state, condemned),
                    Err(e) => Standing::Damaged(format!("{path}: {e}")),
                });
            }
            Ok(None) if last != Some(state.list) => last = Some(state.list),
            Ok(None) => return Ok(Standing::Damaged(format!("{path} is missing"))),
            Err(e) => return Err(StoreError::io(format!("reading {path}"), e)),
        }
    }
}

/// A state to go on with where the one on disk is damaged: nothing is condemned, and the generation is
/// above all that writers may hold locks for.
pub(crate) fn anew(site: &Site) -> Result<ReclaimState, StoreError> {
    let list = |dir: &str| {
        let path = site.path(dir);
        site.disk.list(&path).map_err(|e| StoreError::io(format!("listing {path}"), e))
    };
    let writers = list("locks")?.iter().filter_map(|n| numbered(n, WRITERS)).max();
    let lists = list("reclaim")?.iter().filter_map(|n| numbered(n, ".condemned")).max();
    let generation = writers.unwrap_or(0) + 1;
    Ok(ReclaimState { generation, list: lists.unwrap_or(0), swept: Vec::new() })
}

/// Suffix of the lock files of writers, by the generation they opened at.
pub(crate) const WRITERS: &str = ".writers";

/// The lock file of the writers that opened at a generation.
pub(crate) fn writers_lock(generation: u64) -> String {
    format!("{generation:016x}{WRITERS}")
}
