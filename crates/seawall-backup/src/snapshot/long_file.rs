//! Reading a long or sparse file as runs of data between long holes.

use std::io;

use zeroize::Zeroizing;

use crate::chunker::{Chunker, MAX, MIN};
use crate::source::FileReader;

/// Holes shorter than this stay inside chunks, as zeros with a note.
const SHORT_HOLE: u64 = MIN as u64;

/// The next piece of a long file.
pub(super) enum Piece {
    /// A chunk and the short holes inside it (offset in the chunk, length).
    Chunk { plain: Zeroizing<Vec<u8>>, gaps: Vec<(u32, u32)> },
    /// A long hole, or the hole a file ends with.
    Hole(u64),
}

/// Yields the pieces of one file in order.
pub(super) struct Pieces {
    reader: FileReader,
    /// Everything before this offset has been taken into `run` or yielded.
    at: u64,
    /// Data read and not yet yielded; starts at a chunk boundary.
    run: Zeroizing<Vec<u8>>,
    /// Short holes in `run`, as (offset, length) in it.
    gaps: Vec<(usize, usize)>,
    /// End of the extent being read; equal to `at` when the next one is to be found.
    extent_end: u64,
    /// The run is over; this long hole follows it.
    hole_after: Option<u64>,
    /// The file became shorter while it was read; zeros stand for what is missing.
    pub(super) short: bool,
}

impl Pieces {
    pub(super) fn new(reader: FileReader) -> Self {
        Self {
            reader,
            at: 0,
            run: Zeroizing::new(Vec::new()),
            gaps: Vec::new(),
            extent_end: 0,
            hole_after: None,
            short: false,
        }
    }

    pub(super) fn reader(&self) -> &FileReader {
        &self.reader
    }

    pub(super) fn next(&mut self, chunker: &Chunker) -> io::Result<Option<Piece>> {
        while self.run.len() < MAX && self.hole_after.is_none() && self.at < self.reader.size() {
            self.read_more()?;
        }
        if self.run.is_empty() {
            return Ok(self.hole_after.take().map(Piece::Hole));
        }
        let cut = chunker.cut(&self.run);
        let rest = Zeroizing::new(self.run[cut..].to_vec());
        self.run.truncate(cut);
        let plain = std::mem::replace(&mut self.run, rest);
        Ok(Some(Piece::Chunk { plain, gaps: self.split_gaps(cut) }))
    }

    /// Reads from the current extent, or finds the next one and what lies before it.
    fn read_more(&mut self) -> io::Result<()> {
        if self.at < self.extent_end {
            let wanted = (self.extent_end - self.at).min((MAX - self.run.len()) as u64) as usize;
            let start = self.run.len();
            self.run.resize(start + wanted, 0);
            let found = self.reader.read_at(self.at, &mut self.run[start..])?;
            self.short |= found < wanted;
            self.at += wanted as u64;
            return Ok(());
        }
        let next = self.reader.data_after(self.at)?;
        let start = next.map_or(self.reader.size(), |extent| extent.offset);
        self.extent_end = next.map_or(start, |extent| extent.offset + extent.len);
        let hole = start - self.at;
        self.at = start;
        if hole == 0 {
            return Ok(());
        }
        if hole < SHORT_HOLE && next.is_some() && !self.run.is_empty() {
            self.gaps.push((self.run.len(), hole as usize));
            let len = self.run.len() + hole as usize;
            self.run.resize(len, 0);
        } else {
            self.hole_after = Some(hole);
        }
        Ok(())
    }

    /// Takes the gaps that lie before `cut`, splitting one that lies across it.
    fn split_gaps(&mut self, cut: usize) -> Vec<(u32, u32)> {
        let mut taken = Vec::new();
        let mut rest = Vec::new();
        for &(offset, len) in &self.gaps {
            let end = offset + len;
            if offset < cut {
                taken.push((offset as u32, (end.min(cut) - offset) as u32));
            }
            if end > cut {
                let start = offset.max(cut);
                rest.push((start - cut, end - start));
            }
        }
        self.gaps = rest;
        taken
    }
}
