//! Which segments make the index, and up to where they cover each zone (`docs/formats/store-index.md`).
//!
//! One file, replaced atomically under `locks/index`. Whatever is wrong with it, the zones are read
//! instead; it is never asked for more than where to look.

use std::collections::BTreeMap;
use std::io;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{read_file, write_atomic};

use crate::format::Ended;
use crate::index::ZoneState;
use crate::site::Site;

const MAGIC: [u8; 8] = *b"\x89SWIR\r\n\x1a";
const VERSION: u32 = 1;
/// Largest root in bytes: a million zones.
const MAX_ROOT: usize = 32 << 20;
const MAX_SEGMENTS: usize = 64;
const MAX_ZONES: usize = 1 << 20;
const CLOSED: u8 = 1;

/// The root of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Root {
    /// Grows with every change.
    pub(crate) generation: u64,
    /// Numbers of the segments, oldest first.
    pub(crate) segments: Vec<u64>,
    /// What the segments hold of each zone. None of them is live as far as this file knows.
    pub(crate) zones: BTreeMap<u64, ZoneState>,
}

pub(crate) fn root_path(site: &Site) -> String {
    site.path("index/root")
}

impl Root {
    fn encode(&self, site: &Site) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&MAGIC).u32(VERSION).raw(&site.mark()).u64(self.generation);
        w.length(self.segments.len());
        for number in &self.segments {
            w.u64(*number);
        }
        w.length(self.zones.len());
        for (zone, state) in &self.zones {
            w.u64(*zone).u64(state.end).u64(state.ended.encode());
            w.u8(if state.closed { CLOSED } else { 0 });
        }
        let check = *blake3::keyed_hash(&site.salt, w.as_slice()).as_bytes();
        w.raw(&check);
        w.into_vec()
    }

    fn decode(bytes: &[u8], site: &Site) -> Result<Option<Self>, WireError> {
        let mut r = Reader::new(bytes);
        let covered = r.clone().take(bytes.len().saturating_sub(32))?;
        if r.array::<8>()? != MAGIC || r.u32()? != VERSION || r.array::<16>()? != site.mark() {
            return Ok(None);
        }
        let mut root = Self { generation: r.u64()?, ..Self::default() };
        for _ in 0..r.length(MAX_SEGMENTS)? {
            root.segments.push(r.u64()?);
        }
        for _ in 0..r.length(MAX_ZONES)? {
            let (zone, end) = (r.u64()?, r.u64()?);
            let (ended, closed) = (Ended::decode(r.u64()?), r.u8()? == CLOSED);
            root.zones.insert(zone, ZoneState { end, closed, live: false, ended });
        }
        let check = r.array::<32>()?;
        r.finish()?;
        Ok((*blake3::keyed_hash(&site.salt, covered).as_bytes() == check).then_some(root))
    }

    /// Reads the root; an empty one where there is none that can be believed.
    pub(crate) fn read(site: &Site) -> io::Result<Self> {
        match read_file(site.disk.as_ref(), &root_path(site), MAX_ROOT) {
            Ok(Some(bytes)) => {
                Ok(Self::decode(&bytes, site).ok().flatten().unwrap_or_else(Self::default))
            }
            Ok(None) => Ok(Self::default()),
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Replaces the root.
    pub(crate) fn write(&self, site: &Site) -> io::Result<()> {
        write_atomic(site.disk.as_ref(), &root_path(site), &self.encode(site))
    }
}
