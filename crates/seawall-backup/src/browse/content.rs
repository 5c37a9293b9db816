//! Ranges of one file's bytes, and where its holes are.
//!
//! Pages of a chunk list say how long their chunks are, not where they begin, so the first time
//! a place in a long file is asked for, the pages before it are read (about one byte of page for
//! ten thousand of content). What was learned is kept as a few [`Mark`]s, places of pages and the
//! offsets they begin at; from then on any place costs a page of each level. When there are too
//! many marks, every second one is forgotten, so a file takes the same memory whatever its size.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use seawall_seal::{Kind, MAX_PLAIN, ObjectRef};

use super::{Opens, Page, View, ViewError, locked, malformed};
use crate::entry::{Content, Entry, EntryKind, List};
use crate::pages::Stretch;

/// Most marks of one file.
const MARKS: usize = 1_024;

/// A file whose content can be read in any order and from several threads.
#[derive(Debug)]
pub struct OpenFile {
    size: u64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Inline(Arc<Entry>),
    Bundle { object: ObjectRef, offset: u32 },
    Chunks { list: List, known: Mutex<Known> },
}

/// What has been learned about where the pages of a chunk list begin.
#[derive(Debug, Default)]
struct Known {
    /// By offset. The first page needs none.
    marks: Vec<Mark>,
    /// Leaf pages between two marks.
    stride: u64,
    /// The page used last: the next read mostly is in it, too.
    last: Option<Arc<Section>>,
}

/// Where a leaf page begins.
#[derive(Debug, Clone)]
struct Mark {
    /// First byte of the file it covers.
    start: u64,
    /// Leaf pages before it.
    number: u64,
    /// Which child, from the root page down.
    place: Vec<u32>,
    /// Gaps that pages before it announced for its first chunk.
    gaps: Vec<Range<u32>>,
}

/// A leaf page of a chunk list with every stretch at its offset.
#[derive(Debug)]
struct Section {
    mark: Mark,
    end: u64,
    spans: Vec<Span>,
    /// Gaps announced for the first chunk of the next page.
    open_gaps: Vec<Range<u32>>,
}

/// A hole or a chunk.
#[derive(Debug)]
struct Span {
    start: u64,
    len: u64,
    chunk: Option<ObjectRef>,
    /// Short holes within the chunk.
    gaps: Box<[Range<u32>]>,
}

impl Span {
    const fn end(&self) -> u64 {
        self.start + self.len
    }

    /// The stretches of data in it, in order.
    fn data(&self) -> impl Iterator<Item = Range<u64>> {
        let chunk = self.chunk.is_some();
        let starts = std::iter::once(0).chain(self.gaps.iter().map(|g| u64::from(g.end)));
        let ends = self.gaps.iter().map(|g| u64::from(g.start)).chain([self.len]);
        let spans = starts.zip(ends).map(|(from, to)| self.start + from..self.start + to);
        spans.filter(move |span| chunk && !span.is_empty())
    }
}

/// What a file has at some place: a chunk, a hole, or bytes it shares an object for.
#[derive(Debug)]
pub(crate) struct PieceAt {
    start: u64,
    /// First byte after it.
    pub(crate) end: u64,
    object: Option<ObjectRef>,
    is_hole: bool,
}

impl PieceAt {
    /// Whether both certainly hold the same bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_chunk = self.object.is_some() && self.object == other.object;
        self.is_hole && other.is_hole || is_chunk && self.start == other.start
    }
}

impl OpenFile {
    /// The content of a file's entry; none if it is not a file.
    pub fn new(entry: &Arc<Entry>) -> Option<Self> {
        let EntryKind::File { size, content } = &entry.kind else { return None };
        let form = match content {
            Content::Empty | Content::Inline(_) => Form::Inline(entry.clone()),
            Content::Bundle { object, offset, .. } => {
                Form::Bundle { object: object.clone(), offset: *offset }
            }
            Content::Chunks { list, depth } => Form::Chunks {
                list: List { root: list.clone(), depth: *depth },
                known: Mutex::new(Known { stride: 1, ..Known::default() }),
            },
        };
        Some(Self { size: *size, form })
    }

    /// Length in bytes, holes included.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether it may have holes.
    pub const fn may_have_holes(&self) -> bool {
        matches!(self.form, Form::Chunks { .. })
    }
}

impl View {
    /// Reads up to `len` bytes from `offset` on; fewer only at the end of the file.
    pub fn read(&self, file: &OpenFile, offset: u64, len: usize) -> Result<Vec<u8>, ViewError> {
        let end = offset.saturating_add(len as u64).min(file.size);
        if offset >= end {
            return Ok(Vec::new());
        }
        match &file.form {
            Form::Inline(entry) => {
                let EntryKind::File { content: Content::Inline(bytes), .. } = &entry.kind else {
                    return Ok(Vec::new());
                };
                Ok(bytes[offset as usize..end as usize].to_vec())
            }
            Form::Bundle { object, offset: at } => {
                let plain = self.piece(object, Kind::Bundle)?;
                let from = u64::from(*at);
                let span = plain.get((from + offset) as usize..(from + end) as usize);
                let span = span.ok_or_else(|| malformed(object, "a file lies outside it"))?;
                Ok(span.to_vec())
            }
            Form::Chunks { list, known } => {
                let mut out = Vec::with_capacity((end - offset) as usize);
                while offset + (out.len() as u64) < end {
                    let at = offset + out.len() as u64;
                    let section = self.section(list, known, file.size, at)?;
                    self.read_section(&section, at..end, &mut out)?;
                }
                Ok(out)
            }
        }
    }

    /// Appends what of `wanted` lies in `section`, which holds its first byte.
    fn read_section(&self, section: &Section, wanted: Range<u64>, out: &mut Vec<u8>) -> Opens<()> {
        let first = section.spans.partition_point(|s| s.end() <= wanted.start);
        let spans = &section.spans[first..];
        let spans = &spans[..spans.partition_point(|s| s.start < wanted.end)];
        let chunks: Vec<_> = spans.iter().filter_map(|s| s.chunk.as_ref()).collect();
        self.fetch_ahead(&chunks);
        for span in spans {
            let from = wanted.start.max(span.start) - span.start;
            let to = wanted.end.min(span.end()) - span.start;
            let Some(chunk) = &span.chunk else {
                out.resize(out.len() + (to - from) as usize, 0);
                continue;
            };
            let plain = self.piece(chunk, Kind::Chunk)?;
            for gap in &span.gaps {
                // A gap past the chunk's end was refused when the page was read.
                let (start, end) = (u64::from(gap.start).max(from), u64::from(gap.end).min(to));
                if start < end && plain[start as usize..end as usize].iter().any(|&b| b != 0) {
                    return Err(malformed(chunk, "it is not zero where its short holes are"));
                }
            }
            out.extend_from_slice(&plain[from as usize..to as usize]);
        }
        Ok(())
    }

    /// The first byte at or after `offset` that is not in a hole; none if only holes follow.
    pub fn next_data(&self, file: &OpenFile, offset: u64) -> Result<Option<u64>, ViewError> {
        let Form::Chunks { list, known } = &file.form else {
            return Ok((offset < file.size).then_some(offset));
        };
        let mut at = offset;
        while at < file.size {
            let section = self.section(list, known, file.size, at)?;
            let first = section.spans.partition_point(|s| s.end() <= at);
            let data = section.spans[first..].iter().flat_map(Span::data).find(|d| d.end > at);
            if let Some(data) = data {
                return Ok(Some(data.start.max(at)));
            }
            at = section.end;
        }
        Ok(None)
    }

    /// The first byte at or after `offset` that is in a hole; the end of the file counts as one.
    pub fn next_hole(&self, file: &OpenFile, offset: u64) -> Result<u64, ViewError> {
        let Form::Chunks { list, known } = &file.form else {
            return Ok(offset.max(file.size));
        };
        let mut at = offset;
        while at < file.size {
            let section = self.section(list, known, file.size, at)?;
            let first = section.spans.partition_point(|s| s.end() <= at);
            for data in section.spans[first..].iter().flat_map(Span::data) {
                if data.start > at {
                    return Ok(at);
                }
                at = at.max(data.end);
            }
            if at < section.end {
                return Ok(at);
            }
        }
        Ok(at.max(offset))
    }

    /// What covers byte `at`, which is below the file's size.
    pub(crate) fn piece_at(&self, file: &OpenFile, at: u64) -> Opens<PieceAt> {
        let Form::Chunks { list, known } = &file.form else {
            return Ok(PieceAt { start: 0, end: file.size, object: None, is_hole: false });
        };
        let section = self.section(list, known, file.size, at)?;
        let span = &section.spans[section.spans.partition_point(|s| s.end() <= at)];
        let (object, is_hole) = (span.chunk.clone(), span.chunk.is_none());
        Ok(PieceAt { start: span.start, end: span.end(), object, is_hole })
    }

    /// The leaf page that covers byte `at`, which is below `size`.
    fn section(
        &self,
        list: &List,
        known: &Mutex<Known>,
        size: u64,
        at: u64,
    ) -> Opens<Arc<Section>> {
        let mark = {
            let known = locked(known);
            if let Some(last) = &known.last
                && (last.mark.start..last.end).contains(&at)
            {
                return Ok(last.clone());
            }
            let before = known.marks.partition_point(|m| m.start <= at);
            before.checked_sub(1).map(|i| known.marks[i].clone())
        };
        let mut leaf = match &mark {
            Some(mark) => Leaf::at(self, list, &mark.place)?,
            None => Leaf::at(self, list, &[])?,
        };
        let mut mark = mark.unwrap_or_else(|| Mark {
            start: 0,
            number: 0,
            place: leaf.place(),
            gaps: Vec::new(),
        });
        loop {
            let section = self.lay_out(&leaf.object, mark, size)?;
            if at < section.end {
                let section = Arc::new(section);
                locked(known).last = Some(section.clone());
                return Ok(section);
            }
            if !leaf.advance(self)? {
                return Err(malformed(&list.root, "its chunks are shorter than the file"));
            }
            let (start, number) = (section.end, section.mark.number + 1);
            mark = Mark { start, number, place: leaf.place(), gaps: section.open_gaps };
            locked(known).learn(&mark);
        }
    }

    /// Puts every stretch of a leaf page at its offset.
    fn lay_out(&self, object: &ObjectRef, mark: Mark, size: u64) -> Opens<Section> {
        let page = self.page(object, Kind::ChunkList, 0)?;
        let Page::Chunks(stretches) = &*page else { unreachable!("a leaf was asked for") };
        if stretches.is_empty() {
            return Err(malformed(object, "it is empty"));
        }
        let (mut spans, mut gaps) = (Vec::new(), mark.gaps.clone());
        let mut at = mark.start;
        for stretch in stretches {
            let len = stretch.len();
            if len > size - at {
                return Err(malformed(object, "its chunks are longer than the file"));
            }
            let chunk = match stretch {
                Stretch::Gap { offset, len } => {
                    add_gap(&mut gaps, *offset, *len).map_err(|why| malformed(object, why))?;
                    continue;
                }
                Stretch::Hole(_) => None,
                Stretch::Data(chunk) => Some(chunk.clone()),
            };
            let own = if chunk.is_some() { std::mem::take(&mut gaps) } else { Vec::new() };
            if own.last().is_some_and(|gap| u64::from(gap.end) > len) {
                return Err(malformed(object, "its short holes are out of place"));
            }
            spans.push(Span { start: at, len, chunk, gaps: own.into() });
            at += len;
        }
        if at == size && !gaps.is_empty() {
            return Err(malformed(object, "its short holes are out of place"));
        }
        Ok(Section { mark, end: at, spans, open_gaps: gaps })
    }
}

fn add_gap(gaps: &mut Vec<Range<u32>>, offset: u32, len: u32) -> Result<(), &'static str> {
    let end = offset.checked_add(len).filter(|end| *end as usize <= MAX_PLAIN);
    match end {
        Some(end) if gaps.last().is_none_or(|last| offset > last.end) => {
            gaps.push(offset..end);
            Ok(())
        }
        _ => Err("its short holes are out of place"),
    }
}

impl Known {
    /// Notes where a page begins, unless there is a mark near enough.
    fn learn(&mut self, mark: &Mark) {
        let next = self.marks.last().map_or(0, |m| m.number) + self.stride;
        if mark.number < next {
            return;
        }
        if self.marks.len() == MARKS {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                !keep
            });
            self.stride *= 2;
        }
        self.marks.push(mark.clone());
    }
}

/// Stands at one leaf page of a list.
struct Leaf {
    /// Index pages from the root down, and the child taken in each.
    above: Vec<(Arc<Page>, u32)>,
    object: ObjectRef,
    depth: u8,
}

impl Leaf {
    /// The leaf at `place`; the first one if that is shorter than the list is deep.
    fn at(view: &View, list: &List, place: &[u32]) -> Opens<Self> {
        let mut leaf = Self { above: Vec::new(), object: list.root.clone(), depth: list.depth };
        leaf.descend(view, place)?;
        Ok(leaf)
    }

    /// Goes down from the page it stands at, by `place` and then by first children.
    fn descend(&mut self, view: &View, place: &[u32]) -> Opens<()> {
        let mut place = place.iter().copied();
        while self.above.len() < usize::from(self.depth) {
            let level = self.depth - self.above.len() as u8;
            let page = view.page(&self.object, Kind::ChunkList, level)?;
            let child = place.next().unwrap_or(0);
            self.object = children(&page)[child as usize].clone();
            self.above.push((page, child));
        }
        Ok(())
    }

    /// Goes to the next leaf; false at the end of the list.
    fn advance(&mut self, view: &View) -> Opens<bool> {
        while let Some((page, child)) = self.above.pop() {
            if let Some(next) = children(&page).get(child as usize + 1) {
                self.object = next.clone();
                self.above.push((page, child + 1));
                self.descend(view, &[])?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn place(&self) -> Vec<u32> {
        self.above.iter().map(|(_, child)| *child).collect()
    }
}

fn children(page: &Page) -> &[ObjectRef] {
    let Page::Index(below) = page else { unreachable!("an index page was asked for") };
    below
}
