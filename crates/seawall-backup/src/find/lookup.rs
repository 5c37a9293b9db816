//! What stands in a directory, as the segments have it.
//!
//! Asked in order of directory, as a comparison of two trees asks: each segment's last block is
//! kept, and neighbours are found in it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cache::CacheError;
use super::row::{Event, fold};
use super::segment::{Block, BlockInfo, Segment};

/// What stands under a name.
pub(super) type Standing = BTreeMap<Vec<u8>, Event>;

/// Looks things up in segments, oldest first.
pub(super) struct Lookup<'a> {
    segments: &'a [Segment],
    loaded: Vec<Option<(usize, Rc<Block>)>>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(segments: &'a [Segment]) -> Self {
        Self { segments, loaded: segments.iter().map(|_| None).collect() }
    }

    fn block(&mut self, segment: usize, number: usize) -> Result<Rc<Block>, CacheError> {
        match &self.loaded[segment] {
            Some((loaded, block)) if *loaded == number => Ok(block.clone()),
            _ => {
                let block = Rc::new(self.segments[segment].block(number)?);
                self.loaded[segment] = Some((number, block.clone()));
                Ok(block)
            }
        }
    }

    /// What stands in a directory, by name.
    pub(super) fn directory(&mut self, line: u32, dir: &[u8]) -> Result<Standing, CacheError> {
        let mut events: BTreeMap<Vec<u8>, Vec<Event>> = BTreeMap::new();
        for at in 0..self.segments.len() {
            let before = |b: &BlockInfo| (b.line, b.last_dir.as_slice()) < (line, dir);
            let mut number = self.segments[at].blocks.partition_point(before);
            while let Some(info) = self.segments[at].blocks.get(number)
                && (info.line, info.first_dir.as_slice()) <= (line, dir)
            {
                let block = self.block(at, number)?;
                for row in block.dirs.rows_of(dir) {
                    let events = events.entry(block.name(row).to_vec()).or_default();
                    events.push(block.columns.event(row));
                }
                number += 1;
            }
        }
        Ok(events.into_iter().filter_map(|(name, e)| Some((name, standing(&e)?))).collect())
    }
}

/// What of a path's events, oldest segment first, still stands.
fn standing(events: &[Event]) -> Option<Event> {
    let mut folded = Vec::new();
    fold(events.iter().copied(), &mut folded);
    folded.pop().filter(|e| matches!(e, Event::Span { died: None, .. }))
}
