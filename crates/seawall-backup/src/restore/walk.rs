//! Depth-first through the pages of a snapshot, writing what they say.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::ops::Range;

use seawall_base::ObjectId;
use seawall_record::{ManifestCore, Totals};
use seawall_seal::{Kind, MAX_PLAIN, ObjectRef};

use super::fetch::{Objects, Opener};
use super::{EntryError, Lost, Progress, RestoreError};
use crate::entry::{Content, Entry, EntryKind, List, Meta};
use crate::pages::{self, RootPage, Stretch};
use crate::target::{FileWriter, Target, TargetError};

/// What is left to do in one directory.
struct Frame {
    /// Its metadata, for when it is left; none for the root, which is the target itself.
    meta: Option<Meta>,
    /// Pages not opened yet: reference and level.
    pages: VecDeque<(ObjectRef, u8)>,
    /// Pages met so far, damaged ones included. Names ascend, so none stands in a directory
    /// twice; index pages that repeat each other would otherwise never end.
    met: HashSet<ObjectId>,
    entries: VecDeque<Entry>,
    /// Name of the last entry of the last page.
    last: Vec<u8>,
}

pub(super) struct Walk<'a> {
    opener: Opener<'a>,
    signed: &'a ManifestCore,
    target: &'a mut Target,
    frames: Vec<Frame>,
    path: Vec<Vec<u8>>,
    totals: Totals,
    lost: Vec<Lost>,
    report: &'a mut dyn FnMut(&Progress),
}

type Entries<T> = Result<T, EntryError>;

impl<'a> Walk<'a> {
    pub(super) fn new(
        objects: &'a dyn Objects,
        signed: &'a ManifestCore,
        target: &'a mut Target,
        report: &'a mut dyn FnMut(&Progress),
    ) -> Self {
        Self {
            opener: Opener::new(objects, signed.class),
            signed,
            target,
            frames: Vec::new(),
            path: Vec::new(),
            totals: Totals::default(),
            lost: Vec::new(),
            report,
        }
    }

    pub(super) fn root_page(&mut self, root: &ObjectRef) -> Entries<RootPage> {
        let page = self.opener.open(root, Kind::Root)?;
        let page = RootPage::decode(&page).map_err(|e| malformed(root, e))?;
        if page.chunker != crate::chunker::CHUNKER_ID {
            let why = format!("chunker {} is not known; use a newer seawall", page.chunker);
            return Err(EntryError::Malformed { id: root.id, why });
        }
        Ok(page)
    }

    /// Restores everything under the root directory.
    pub(super) fn tree(&mut self, root: &List) -> Result<(), RestoreError> {
        self.frames.push(Frame::of(root, None));
        while let Some(frame) = self.frames.last_mut() {
            if let Some(entry) = frame.entries.pop_front() {
                self.entry(entry)?;
            } else if let Some((page, level)) = frame.pages.pop_front() {
                if let Err(why) = self.page(&page, level) {
                    // The rest of the directory is still tried: it has other pages.
                    self.lose(None, why)?;
                }
            } else {
                self.leave()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> (Totals, Vec<Lost>, Vec<ObjectId>) {
        (self.totals, self.lost, self.opener.into_visited())
    }

    /// Opens one page of the current directory.
    fn page(&mut self, page: &ObjectRef, level: u8) -> Entries<()> {
        let frame = self.frames.last_mut().expect("a page belongs to a directory");
        let is_only = frame.met.is_empty();
        if !frame.met.insert(page.id) {
            return Err(malformed(page, "it stands in one directory twice"));
        }
        let plain = self.opener.open(page, Kind::Directory)?;
        if level > 0 {
            let below = pages::decode_index(&plain, level).map_err(|e| malformed(page, e))?;
            self.opener.announce(below.iter().map(|r| r.id));
            for reference in below.into_iter().rev() {
                frame.pages.push_front((reference, level - 1));
            }
            return Ok(());
        }
        let entries = pages::decode_directory(&plain).map_err(|e| malformed(page, e))?;
        match (entries.first(), entries.last()) {
            (Some(first), Some(last)) if first.name > frame.last => {
                frame.last.clone_from(&last.name);
            }
            (Some(_), _) => return Err(malformed(page, "its names do not follow the page before")),
            (None, _) if is_only => {}
            (None, _) => return Err(malformed(page, "it is empty and not the only page")),
        }
        self.opener.announce(entries.iter().filter_map(first_object));
        frame.entries.extend(entries);
        Ok(())
    }

    fn entry(&mut self, entry: Entry) -> Result<(), RestoreError> {
        let Entry { name, meta, kind } = entry;
        self.count(&kind)?;
        let target = &mut *self.target;
        let written = match kind {
            EntryKind::Directory { listing } => return self.enter(name, meta, &listing),
            EntryKind::File { size, content } => self.file(&name, &meta, size, &content),
            EntryKind::Symlink { target: to } => {
                target.symlink(&name, &to, &meta).map_err(Into::into)
            }
            EntryKind::Fifo => target.fifo(&name, &meta).map_err(Into::into),
            EntryKind::CharDevice { major, minor } => {
                target.char_device(&name, (major, minor), &meta).map_err(Into::into)
            }
            EntryKind::BlockDevice { major, minor } => {
                target.block_device(&name, (major, minor), &meta).map_err(Into::into)
            }
            EntryKind::HardLink { target: first } => {
                target.hard_link(&name, &first).map_err(Into::into)
            }
        };
        (self.report)(&Progress { files: self.totals.files, bytes: self.totals.bytes });
        written.or_else(|why| self.lose(Some(&name), why))
    }

    /// Counts an entry and refuses the one that goes beyond the signed totals, before writing.
    fn count(&mut self, kind: &EntryKind) -> Result<(), RestoreError> {
        let signed = self.signed.totals;
        let totals = &mut self.totals;
        let (what, counter, limit) = match kind {
            EntryKind::Directory { .. } => {
                ("directories", &mut totals.directories, signed.directories)
            }
            EntryKind::File { size, .. } => {
                let bytes = totals.bytes.checked_add(*size).filter(|n| *n <= signed.bytes);
                totals.bytes = bytes
                    .ok_or(RestoreError::AboveTotals { what: "bytes", signed: signed.bytes })?;
                ("files", &mut totals.files, signed.files)
            }
            _ => ("links and special files", &mut totals.others, signed.others),
        };
        *counter += 1;
        if *counter > limit {
            return Err(RestoreError::AboveTotals { what, signed: limit });
        }
        Ok(())
    }

    fn enter(&mut self, name: Vec<u8>, meta: Meta, listing: &List) -> Result<(), RestoreError> {
        if let Err(e) = self.target.enter(&name) {
            return self.lose(Some(&name), e.into());
        }
        self.path.push(name);
        self.frames.push(Frame::of(listing, Some(meta)));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), RestoreError> {
        let frame = self.frames.pop().expect("the loop saw a frame");
        let Some(meta) = frame.meta else { return Ok(()) };
        let left = self.target.leave(&meta);
        let name = self.path.pop();
        left.or_else(|e| self.lose(name.as_deref(), e.into()))
    }

    /// Notes what could not be restored; ends the restore where going on is pointless.
    fn lose(&mut self, name: Option<&[u8]>, why: EntryError) -> Result<(), RestoreError> {
        let why = match why {
            EntryError::Target(e) if is_final(&e) => return Err(RestoreError::Target(e)),
            other => other,
        };
        let path = self.path.iter().map(Vec::as_slice).chain(name).flat_map(|c| [b"/", c].concat());
        self.lost.push(Lost { path: path.collect(), why });
        Ok(())
    }

    fn file(&mut self, name: &[u8], meta: &Meta, size: u64, content: &Content) -> Entries<()> {
        let writer = self.target.file(name, size)?;
        if let Err(why) = self.content(&writer, size, content) {
            self.target.discard(writer)?;
            return Err(why);
        }
        Ok(self.target.finish_file(writer, meta)?)
    }

    fn content(&mut self, writer: &FileWriter, size: u64, content: &Content) -> Entries<()> {
        match content {
            Content::Empty if size == 0 => {}
            Content::Inline(bytes) if bytes.len() as u64 == size => writer.write_at(0, bytes)?,
            Content::Bundle { object, offset, len } if u64::from(*len) == size => {
                let plain = self.opener.open_bundle(object)?;
                let start = *offset as usize;
                let span = start.checked_add(*len as usize).and_then(|end| plain.get(start..end));
                let span = span.ok_or_else(|| malformed(object, "a file lies outside it"))?;
                writer.write_at(0, span)?;
            }
            Content::Chunks { list, depth } => self.chunks(writer, size, list, *depth)?,
            Content::Empty | Content::Inline(_) | Content::Bundle { .. } => {
                let why = "a file's size and content disagree".to_owned();
                return Err(EntryError::Malformed { id: self.signed.reference_set.root, why });
            }
        }
        Ok(())
    }

    fn chunks(
        &mut self,
        writer: &FileWriter,
        size: u64,
        list: &ObjectRef,
        depth: u8,
    ) -> Entries<()> {
        let mut pages = vec![(list.clone(), depth)];
        let mut at = 0;
        let mut gaps: Vec<Range<usize>> = Vec::new();
        while let Some((page, level)) = pages.pop() {
            let plain = self.opener.open(&page, Kind::ChunkList)?;
            if level > 0 {
                let below = pages::decode_index(&plain, level).map_err(|e| malformed(&page, e))?;
                pages.extend(below.into_iter().rev().map(|r| (r, level - 1)));
                continue;
            }
            let stretches = pages::decode_chunk_list(&plain).map_err(|e| malformed(&page, e))?;
            if stretches.is_empty() {
                return Err(malformed(&page, "it is empty"));
            }
            let data = |s: &Stretch| match s {
                Stretch::Data(object) => Some(object.id),
                Stretch::Hole(_) | Stretch::Gap { .. } => None,
            };
            self.opener.announce(stretches.iter().filter_map(data));
            for stretch in stretches {
                let len = stretch.len();
                if len > size - at {
                    return Err(malformed(&page, "its chunks are longer than the file"));
                }
                match stretch {
                    Stretch::Gap { offset, len } => {
                        let gap = offset as usize..offset as usize + len as usize;
                        // Here and not with the chunk, so that a list of gaps only comes to an end.
                        if gaps.last().is_some_and(|last| gap.start <= last.end)
                            || gap.end > MAX_PLAIN
                        {
                            return Err(malformed(&page, "its short holes are out of place"));
                        }
                        gaps.push(gap);
                    }
                    Stretch::Hole(_) => {}
                    Stretch::Data(object) => self.chunk(writer, at, &object, &mut gaps)?,
                }
                at += len;
            }
        }
        if at != size || !gaps.is_empty() {
            return Err(malformed(list, "its chunks are shorter than the file"));
        }
        Ok(())
    }

    /// Writes one chunk around the short holes announced for it.
    fn chunk(
        &mut self,
        writer: &FileWriter,
        at: u64,
        object: &ObjectRef,
        gaps: &mut Vec<Range<usize>>,
    ) -> Entries<()> {
        let plain = self.opener.open(object, Kind::Chunk)?;
        let mut from = 0;
        for gap in gaps.drain(..) {
            if plain.get(gap.clone()).is_none_or(|zeros| zeros.iter().any(|&b| b != 0)) {
                return Err(malformed(object, "it is not zero where its short holes are"));
            }
            writer.write_at(at + from as u64, &plain[from..gap.start])?;
            from = gap.end;
        }
        Ok(writer.write_at(at + from as u64, &plain[from..])?)
    }
}

impl Frame {
    fn of(list: &List, meta: Option<Meta>) -> Self {
        let pages = VecDeque::from([(list.root.clone(), list.depth)]);
        let (met, entries) = (HashSet::new(), VecDeque::new());
        Self { meta, pages, met, entries, last: Vec::new() }
    }
}

/// The first object an entry needs, for fetching ahead.
fn first_object(entry: &Entry) -> Option<ObjectId> {
    match &entry.kind {
        EntryKind::File { content: Content::Bundle { object, .. }, .. } => Some(object.id),
        EntryKind::File { content: Content::Chunks { list, .. }, .. } => Some(list.id),
        EntryKind::Directory { listing } => Some(listing.root.id),
        _ => None,
    }
}

fn malformed(object: &ObjectRef, e: impl std::fmt::Display) -> EntryError {
    EntryError::Malformed { id: object.id, why: e.to_string() }
}

/// Whether every further entry would fail the same way.
fn is_final(e: &TargetError) -> bool {
    let TargetError::Io { source, .. } = e else { return false };
    matches!(
        source.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    )
}
