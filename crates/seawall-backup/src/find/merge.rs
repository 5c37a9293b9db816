//! Reading several segments as one sequence of rows, and writing one segment of several.

use std::rc::Rc;

use super::cache::CacheError;
use super::row::{Event, coalesce, fold};
use super::segment::{Block, Segment, SegmentWriter};

/// Stands at a row of a segment.
struct Cursor<'a> {
    segment: &'a Segment,
    number: usize,
    block: Option<Rc<Block>>,
    row: usize,
    /// Number of the directory in the block, so that rows need no search.
    dirs: Vec<(Vec<u8>, usize)>,
    dir: usize,
}

impl<'a> Cursor<'a> {
    fn at_start(segment: &'a Segment) -> Result<Self, CacheError> {
        let mut it = Self { segment, number: 0, block: None, row: 0, dirs: Vec::new(), dir: 0 };
        it.load()?;
        Ok(it)
    }

    fn load(&mut self) -> Result<(), CacheError> {
        self.block = None;
        (self.row, self.dir) = (0, 0);
        if self.number < self.segment.blocks.len() {
            let block = self.segment.block(self.number)?;
            self.dirs = block.dirs.spans().map(|(dir, rows)| (dir.to_vec(), rows.end)).collect();
            self.block = Some(Rc::new(block));
        }
        Ok(())
    }

    fn key(&self) -> Option<(u32, &[u8], &[u8])> {
        let block = self.block.as_ref()?;
        Some((block.line, &self.dirs[self.dir].0, block.name(self.row)))
    }

    fn take(&mut self) -> Result<Event, CacheError> {
        let block = self.block.as_ref().expect("a cursor with a key has a block");
        let event = block.columns.event(self.row);
        self.row += 1;
        if self.row == self.dirs[self.dir].1 {
            self.dir += 1;
        }
        if self.row == block.rows() {
            self.number += 1;
            self.load()?;
        }
        Ok(event)
    }
}

/// Writes the rows of `segments`, which follow one another in age, oldest first.
///
/// `is_oldest` says that no segment older than these exists: ends that close nothing are dropped.
pub(super) fn merge(
    segments: &[&Segment],
    is_oldest: bool,
    out: &mut SegmentWriter,
) -> Result<(), CacheError> {
    let mut cursors =
        segments.iter().map(|s| Cursor::at_start(s)).collect::<Result<Vec<_>, _>>()?;
    let (mut events, mut folded) = (Vec::new(), Vec::new());
    let (mut dir, mut name) = (Vec::new(), Vec::new());
    loop {
        let Some(key) = cursors.iter().filter_map(Cursor::key).min() else { return Ok(()) };
        let line = key.0;
        dir.clear();
        dir.extend_from_slice(key.1);
        name.clear();
        name.extend_from_slice(key.2);
        events.clear();
        for cursor in &mut cursors {
            while cursor.key() == Some((line, &dir, &name)) {
                events.push(cursor.take()?);
            }
        }
        fold(events.iter().copied(), &mut folded);
        coalesce(&mut folded);
        for event in &folded {
            if !(is_oldest && matches!(event, Event::End { .. })) {
                out.push(line, &dir, &name, *event)?;
            }
        }
    }
}
