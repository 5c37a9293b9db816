//! Reading a long or sparse file, or a stream, as runs of data between long holes.

use std::io;

use zeroize::Zeroizing;

use crate::chunker::{Chunker, MAX, MIN};
use crate::source::Content;

/// Holes shorter than this stay inside chunks, as zeros with a note.
const SHORT_HOLE: u64 = MIN as u64;
/// How much is held at most: the longest chunk, and as much again so that what is left of one
/// read is moved only once for several chunks.
const HELD: usize = 2 * MAX;

/// The next piece of a long file.
pub(super) enum Piece {
    /// A chunk (its length; it is at the front of [`Pieces::front`]) and the short holes inside
    /// it (offset in the chunk, length).
    Chunk { len: usize, gaps: Vec<(u32, u32)> },
    /// A long hole, or the hole a file ends with.
    Hole(u64),
}

/// Yields the pieces of one file in order.
pub(super) struct Pieces {
    content: Box<dyn Content>,
    /// Length of the file; until its end is found, a stream's is the longest there can be.
    size: u64,
    is_stream: bool,
    /// Everything before this offset has been taken into `held` or yielded.
    at: u64,
    /// Data read and not yet yielded, from `start` to `end`; begins at a chunk boundary.
    held: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    /// Short holes in what is held, as (offset from `start`, length).
    gaps: Vec<(usize, usize)>,
    /// End of the extent being read; equal to `at` when the next one is to be found.
    extent_end: u64,
    /// The run is over; this long hole follows it.
    hole_after: Option<u64>,
    /// The file became shorter while it was read; zeros stand for what is missing.
    pub(super) short: bool,
}

impl Pieces {
    /// Reads `content` through `buffer`, which is given back by [`Pieces::into_buffer`].
    pub(super) fn new(content: Box<dyn Content>, mut buffer: Zeroizing<Vec<u8>>) -> Self {
        buffer.resize(HELD, 0);
        let size = content.size();
        Self {
            content,
            size: size.unwrap_or(crate::entry::MAX_FILE),
            is_stream: size.is_none(),
            at: 0,
            held: buffer,
            start: 0,
            end: 0,
            gaps: Vec::new(),
            extent_end: 0,
            hole_after: None,
            short: false,
        }
    }

    pub(super) fn into_buffer(self) -> Zeroizing<Vec<u8>> {
        self.held
    }

    /// The length of what was read, after the last piece.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn changed(&mut self) -> io::Result<bool> {
        Ok(self.content.changed()? || self.short)
    }

    /// The next piece. A chunk has to be taken with [`Pieces::take`] before asking again.
    pub(super) fn next(&mut self, chunker: &Chunker) -> io::Result<Option<Piece>> {
        while self.end - self.start < MAX && self.hole_after.is_none() && self.at < self.size {
            self.read_more()?;
        }
        if self.start == self.end {
            return Ok(self.hole_after.take().map(Piece::Hole));
        }
        let len = chunker.cut(&self.held[self.start..self.end]);
        Ok(Some(Piece::Chunk { len, gaps: self.split_gaps(len) }))
    }

    /// Takes the chunk of `len` bytes just announced.
    pub(super) fn take(&mut self, len: usize, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.held[self.start..self.start + len]);
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for `wanted` more bytes, or as much as there can be.
    fn room(&mut self, wanted: u64) -> usize {
        if self.held.len() - self.end < MAX {
            self.held.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        wanted.min((self.held.len() - self.end) as u64) as usize
    }

    /// Reads from the current extent, or finds the next one and what lies before it.
    fn read_more(&mut self) -> io::Result<()> {
        if self.at < self.extent_end {
            let wanted = self.room(self.extent_end - self.at);
            let into = &mut self.held[self.end..self.end + wanted];
            let found = self.content.read_at(self.at, into)?;
            if self.is_stream && found < wanted {
                self.size = self.at + found as u64;
                self.extent_end = self.size;
                self.at = self.size;
                self.end += found;
                return Ok(());
            }
            into[found..].fill(0);
            self.short |= found < wanted;
            self.at += wanted as u64;
            self.end += wanted;
            return Ok(());
        }
        let next = self.content.data_after(self.at)?;
        let start = next.map_or(self.size, |extent| extent.offset);
        let end = next.map_or(start, |extent| extent.offset.saturating_add(extent.len));
        self.extent_end = end.min(self.size);
        let hole = start - self.at;
        self.at = start;
        if hole == 0 {
            return Ok(());
        }
        if hole < SHORT_HOLE && next.is_some() && self.start < self.end {
            let room = self.room(hole);
            assert!(room as u64 == hole, "a short hole fits: less than a longest chunk is held");
            self.gaps.push((self.end - self.start, room));
            self.held[self.end..self.end + room].fill(0);
            self.end += room;
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
