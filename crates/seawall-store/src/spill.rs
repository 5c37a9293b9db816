//! Writing the index out, and reading it back.
//!
//! The entries in memory become a segment, merged with those newer segments that are not four times as
//! large as what is merged into them: so there are few segments, and each entry is written a few times at
//! most. One process at a time does this, under `locks/index`; who cannot have the lock keeps its entries
//! in memory a little longer.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use seawall_base::LockMode;

use crate::index::Index;
use crate::root::Root;
use crate::segment::{Segment, build, segment_path};
use crate::site::{INDEX_LOCK, Site, numbered};

/// A segment this many times larger than what would be merged into it is left alone.
const GROWTH: u64 = 4;
/// More segments than this are merged whatever their sizes.
const MOST_SEGMENTS: usize = 24;

/// What became of an attempt to write the index out.
pub(crate) enum Spilled {
    /// A new root with its segments; see [`Index::written_out`].
    Written(Root, Vec<Arc<Segment>>),
    /// Another process is at it.
    Busy,
    /// Another process has been at it since this one last looked.
    Stale,
}

/// Writes the entries in memory out. `unseen` are zones that are there and have not been looked at yet:
/// of them the index holds what its root says.
pub(crate) fn spill(site: &Site, index: &Index, unseen: &BTreeSet<u64>) -> io::Result<Spilled> {
    let lock = site.lock_file(INDEX_LOCK).map_err(io::Error::other)?;
    if !lock.lock(LockMode::Exclusive, false)? {
        return Ok(Spilled::Busy);
    }
    if Root::read(site)?.generation != index.root.generation {
        return Ok(Spilled::Stale);
    }
    let from = merge_from(index, unseen);
    let merged = &index.segments[from..];
    let sum = |count: fn(&Segment) -> u64| merged.iter().map(|s| count(s)).sum::<u64>();
    let tail = index.in_memory() as u64;
    // Index keys may outnumber entries: an object may have been given several.
    let most = (sum(Segment::ids) + tail, sum(Segment::ixs) + tail);
    let there = segment_numbers(site)?;
    let number = 1 + there.iter().copied().max().unwrap_or(0).max(index.root.generation);
    let segment =
        build(site, number, most, index.id_rows(from, unseen), index.ix_rows(from, unseen))?;
    let mut segments = index.segments[..from].to_vec();
    segments.push(Arc::new(segment));
    let mut zones = index.zones.clone();
    let covered = index.root.zones.iter().filter(|(zone, _)| unseen.contains(zone));
    zones.extend(covered.map(|(zone, state)| (*zone, *state)));
    let numbers: Vec<u64> = segments.iter().map(|s| s.number).collect();
    let root = Root { generation: number, segments: numbers, zones };
    root.write(site)?;
    for old in there.into_iter().filter(|n| !root.segments.contains(n)) {
        site.disk.remove(&segment_path(site, old))?;
    }
    Ok(Spilled::Written(root, segments))
}

/// The first of the segments that are merged with the entries in memory.
fn merge_from(index: &Index, unseen: &BTreeSet<u64>) -> usize {
    let segments = &index.segments;
    let mut from = segments.len();
    let mut sum = index.in_memory() as u64;
    while from > 0 {
        let next = &segments[from - 1];
        let here = |z: &&u64| index.zones.contains_key(z) || unseen.contains(z);
        let gone = next.zones().len() - next.zones().iter().filter(here).count();
        let wasteful = gone * 4 > next.zones().len();
        if next.ids() >= GROWTH * sum && from < MOST_SEGMENTS && !wasteful {
            break;
        }
        from -= 1;
        sum += next.ids();
    }
    from
}

fn segment_numbers(site: &Site) -> io::Result<Vec<u64>> {
    let names = site.disk.list(&site.path("index"))?;
    Ok(names.iter().filter_map(|n| numbered(n, ".segment")).collect())
}

/// Reads the root and opens its segments; those of `open` are used again. Where they cannot be believed,
/// there are none, and the third says why.
pub(crate) fn load(
    site: &Site,
    open: &[Arc<Segment>],
) -> io::Result<(Root, Vec<Arc<Segment>>, Option<String>)> {
    let mut attempts = 0;
    loop {
        let root = Root::read(site)?;
        let segments: io::Result<Vec<_>> = root
            .segments
            .iter()
            .map(|number| match open.iter().find(|s| s.number == *number) {
                Some(segment) => Ok(segment.clone()),
                None => Segment::open(site, *number).map(Arc::new),
            })
            .collect();
        match segments {
            Ok(segments) => return Ok((root, segments, None)),
            // Merged into another since the root was read.
            Err(e) if e.kind() == io::ErrorKind::NotFound && attempts < 8 => attempts += 1,
            Err(e) => {
                let root = Root { generation: root.generation, ..Root::default() };
                return Ok((root, Vec::new(), Some(e.to_string())));
            }
        }
    }
}

/// Makes everybody forget the index that is there.
pub(crate) fn discard(site: &Site) -> io::Result<()> {
    let lock = site.lock_file(INDEX_LOCK).map_err(io::Error::other)?;
    lock.lock(LockMode::Exclusive, true)?;
    let number = segment_numbers(site)?.into_iter().max().unwrap_or(0);
    let generation = 1 + number.max(Root::read(site)?.generation);
    site.disk.create_dir_all(&site.path("index"))?;
    Root { generation, ..Root::default() }.write(site)
}
