//! Depth-first through the pages of a snapshot, making directories and handing out files.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use seawall_base::ObjectId;
use seawall_record::{ManifestCore, Totals};
use seawall_seal::{Kind, MAX_PLAIN, ObjectRef};

use super::fetch::{Objects, Opener};
use super::writing::{DirId, Done, File, Finished, Job, LongFile, Piece};
use super::{EntryError, Lost, Progress, RestoreError, malformed};
use crate::entry::{Content, Entry, EntryKind, List, Meta};
use crate::pages::{self, RootPage, Stretch};
use crate::path_index;
use crate::target::{Place, Target, TargetError};

/// Bundles whose files are collected at one time: neighbours share bundles.
const OPEN_BUNDLES: usize = 8;
/// Bundles in one job: one request to a tier far away.
const BUNDLES: usize = 4;
/// Chunks in one job.
const CHUNKS: usize = 4;
/// Files with content of their own in one job.
const INLINE: usize = 32;
/// Bytes after which the disk is asked to write: it works while the processors do, and little is
/// left to wait for in the end.
const SYNC_EVERY: u64 = 128 << 20;
/// Directories held open for files that are still being written, at most.
const OPEN_DIRS: usize = 256;

/// What is left to do in one directory.
struct Frame {
    id: DirId,
    /// Pages not opened yet: reference and level.
    pages: VecDeque<(ObjectRef, u8)>,
    /// Pages met so far, damaged ones included. Names ascend, so none stands in a directory
    /// twice; index pages that repeat each other would otherwise never end.
    met: HashSet<ObjectId>,
    entries: VecDeque<Entry>,
    /// Name of the last entry of the last page.
    last: Vec<u8>,
}

/// A directory that is not finished: files in it are being written.
struct Unfinished {
    /// None for the root, which is the target itself and keeps its metadata.
    meta: Option<Meta>,
    place: Option<Arc<Place>>,
    writing: usize,
    left: bool,
}

/// A bundle and the files in it met so far.
type Group = (ObjectRef, Vec<(File, u32)>);

pub(super) struct Walk<'a> {
    opener: Opener<'a>,
    signed: &'a ManifestCore,
    target: &'a mut Target,
    channels: Channels,
    /// Bytes handed out since the disk was last asked to write.
    unsynced: u64,
    in_flight: usize,
    frames: Vec<Frame>,
    path: Vec<Vec<u8>>,
    next_dir: DirId,
    dirs: HashMap<DirId, Unfinished>,
    inline: Vec<(File, Vec<u8>)>,
    groups: VecDeque<Group>,
    full: Vec<Group>,
    /// Paths of files not finished yet: a hard link to one of them waits.
    writing: HashSet<Vec<u8>>,
    totals: Totals,
    lost: Vec<Lost>,
    report: &'a mut dyn FnMut(&Progress),
}

/// The channels to the writing threads, and to the one that has the disk write meanwhile.
pub(super) struct Channels {
    pub(super) jobs: Sender<Job>,
    pub(super) done: Receiver<Done>,
    pub(super) syncs: Sender<()>,
}

/// What a walk has found.
pub(super) struct Walked {
    pub(super) totals: Totals,
    pub(super) lost: Vec<Lost>,
    pub(super) visited: Vec<ObjectId>,
}

type Entries<T> = Result<T, EntryError>;

impl<'a> Walk<'a> {
    pub(super) fn new(
        objects: &'a dyn Objects,
        signed: &'a ManifestCore,
        target: &'a mut Target,
        channels: Channels,
        report: &'a mut dyn FnMut(&Progress),
    ) -> Self {
        Self {
            opener: Opener::new(objects, signed.class),
            signed,
            target,
            channels,
            unsynced: 0,
            in_flight: 0,
            frames: Vec::new(),
            path: Vec::new(),
            next_dir: 0,
            dirs: HashMap::new(),
            inline: Vec::new(),
            groups: VecDeque::new(),
            full: Vec::new(),
            writing: HashSet::new(),
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
        self.push(root, None);
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
        self.hand_out_all()?;
        while self.in_flight > 0 {
            self.take_done(true)?;
        }
        Ok(())
    }

    /// Visits the pages of the snapshot's path index. Nothing is restored from them, but they
    /// are part of what was signed.
    pub(super) fn path_index(&mut self, index: &List) {
        let mut met = HashSet::new();
        let mut open = vec![(index.root.clone(), index.depth)];
        while let Some((page, level)) = open.pop() {
            if !met.insert(page.id) {
                continue;
            }
            match self.index_page(&page, level) {
                Ok(below) => open.extend(below),
                Err(why) => self.lost.push(Lost { path: b"(its path index)".to_vec(), why }),
            }
        }
    }

    fn index_page(&mut self, page: &ObjectRef, level: u8) -> Entries<Vec<(ObjectRef, u8)>> {
        let plain = self.opener.open(page, Kind::PathIndex)?;
        let below = path_index::Page::decode(&plain, level).and_then(|p| p.references(level));
        let below = below.map_err(|e| malformed(page, e))?;
        self.opener.announce(below.iter().map(|(r, _)| r.id));
        Ok(below)
    }

    pub(super) fn finish(mut self) -> Walked {
        Walked { totals: self.totals, lost: self.lost, visited: self.opener.take_visited() }
    }

    fn push(&mut self, listing: &List, meta: Option<Meta>) {
        self.next_dir += 1;
        let id = self.next_dir;
        self.dirs.insert(id, Unfinished { meta, place: None, writing: 0, left: false });
        self.frames.push(Frame::of(id, listing));
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
        self.opener.announce(entries.iter().filter_map(first_page));
        frame.entries.extend(entries);
        Ok(())
    }

    fn entry(&mut self, entry: Entry) -> Result<(), RestoreError> {
        let Entry { name, meta, kind } = entry;
        self.count(&kind)?;
        let target = &mut *self.target;
        let written = match kind {
            EntryKind::Directory { listing } => return self.enter(name, meta, &listing),
            EntryKind::File { size, content } => {
                self.file(&name, meta, size, content)?;
                (self.report)(&Progress { files: self.totals.files, bytes: self.totals.bytes });
                return self.take_done(false);
            }
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
                self.wait_for(&first)?;
                self.target.hard_link(&name, &first).map_err(Into::into)
            }
        };
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
        self.push(listing, Some(meta));
        Ok(())
    }

    /// Leaves a directory; it is finished when everything in it is.
    fn leave(&mut self) -> Result<(), RestoreError> {
        let frame = self.frames.pop().expect("the loop saw a frame");
        let place = self.place(frame.id);
        let dir = self.dirs.get_mut(&frame.id).expect("a directory stays until it is finished");
        dir.left = true;
        if dir.meta.is_none() {
            return Ok(());
        }
        self.target.abandon();
        if let Err(e) = place {
            self.dirs.remove(&frame.id);
            let name = self.path.pop();
            return self.lose(name.as_deref(), e.into());
        }
        self.path.pop();
        self.settle(frame.id)?;
        // Each holds a descriptor.
        while self.dirs.len() > OPEN_DIRS + self.frames.len() {
            self.hand_out_all()?;
            self.take_done(true)?;
        }
        Ok(())
    }

    /// Finishes a directory if it was left and nothing in it is being written any more.
    fn settle(&mut self, id: DirId) -> Result<(), RestoreError> {
        let is_settled = |dir: &Unfinished| dir.left && dir.writing == 0 && dir.meta.is_some();
        if !self.dirs.get(&id).is_some_and(is_settled) {
            return Ok(());
        }
        let dir = self.dirs.remove(&id).expect("just seen");
        let (Some(meta), Some(place)) = (dir.meta, dir.place) else { return Ok(()) };
        match place.finish(&meta) {
            Ok(refused) => {
                self.target.note(refused);
                Ok(())
            }
            Err(e) => self.lose_at(place.path().to_vec(), e.into()),
        }
    }

    /// The directory stood in, as a place for files.
    fn place(&mut self, id: DirId) -> Result<Arc<Place>, TargetError> {
        let dir = self.dirs.get_mut(&id).expect("it is being restored");
        if let Some(place) = &dir.place {
            return Ok(place.clone());
        }
        let place = Arc::new(self.target.here()?);
        dir.place = Some(place.clone());
        Ok(place)
    }

    /// Notes what could not be restored; ends the restore where going on is pointless.
    fn lose(&mut self, name: Option<&[u8]>, why: EntryError) -> Result<(), RestoreError> {
        let path = self.path.iter().map(Vec::as_slice).chain(name).flat_map(|c| [b"/", c].concat());
        let path = path.collect();
        self.lose_at(path, why)
    }

    fn lose_at(&mut self, path: Vec<u8>, why: EntryError) -> Result<(), RestoreError> {
        match why {
            EntryError::Target(e) if is_final(&e) => Err(RestoreError::Target(e)),
            why => {
                self.lost.push(Lost { path, why });
                Ok(())
            }
        }
    }

    /// Hands out a file, or keeps it until there are enough for a job.
    fn file(
        &mut self,
        name: &[u8],
        meta: Meta,
        size: u64,
        content: Content,
    ) -> Result<(), RestoreError> {
        let dir = self.frames.last().expect("a file is in a directory").id;
        let place = match self.place(dir) {
            Ok(place) => place,
            Err(e) => return self.lose(Some(name), e.into()),
        };
        let file = File { dir, place, name: name.to_vec(), meta, size };
        match content {
            Content::Empty if size == 0 => self.inline(file, Vec::new()),
            Content::Inline(bytes) if bytes.len() as u64 == size => self.inline(file, bytes),
            Content::Bundle { object, offset, len } if u64::from(len) == size => {
                self.bundled(file, object, offset)
            }
            Content::Chunks { list, depth } => self.long(file, &list, depth),
            Content::Empty | Content::Inline(_) | Content::Bundle { .. } => {
                let why = "a file's size and content disagree".to_owned();
                let id = self.signed.reference_set.root;
                self.lose(Some(name), EntryError::Malformed { id, why })
            }
        }
    }

    /// Has the disk write, if that is due.
    fn hand_out_bytes(&mut self, bytes: u64) {
        self.unsynced += bytes;
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            // If one is under way, the next one covers this.
            let _ = self.channels.syncs.try_send(());
        }
    }

    /// Notes that a file is being written.
    fn begin(&mut self, file: &File) {
        self.writing.insert(file.place.path_of(&file.name));
        self.dirs.get_mut(&file.dir).expect("it is being restored").writing += 1;
    }

    fn inline(&mut self, file: File, content: Vec<u8>) -> Result<(), RestoreError> {
        self.begin(&file);
        self.inline.push((file, content));
        if self.inline.len() < INLINE {
            return Ok(());
        }
        let files = std::mem::take(&mut self.inline);
        self.submit(Job::Inline(files))
    }

    fn bundled(&mut self, file: File, object: ObjectRef, at: u32) -> Result<(), RestoreError> {
        self.begin(&file);
        self.hand_out_bytes(file.size);
        // By the whole reference: what opens must not depend on what was opened before.
        if let Some((_, files)) = self.groups.iter_mut().rev().find(|(open, _)| *open == object) {
            files.push((file, at));
            return Ok(());
        }
        self.groups.push_back((object, vec![(file, at)]));
        if self.groups.len() > OPEN_BUNDLES {
            self.full.extend(self.groups.pop_front());
        }
        if self.full.len() < BUNDLES {
            return Ok(());
        }
        let full = std::mem::take(&mut self.full);
        self.submit(Job::Bundles(full))
    }

    /// Hands out everything that was kept for larger jobs.
    fn hand_out_all(&mut self) -> Result<(), RestoreError> {
        let inline = std::mem::take(&mut self.inline);
        if !inline.is_empty() {
            self.submit(Job::Inline(inline))?;
        }
        self.full.extend(self.groups.drain(..));
        while !self.full.is_empty() {
            let rest = self.full.split_off(self.full.len().min(BUNDLES));
            let full = std::mem::replace(&mut self.full, rest);
            self.submit(Job::Bundles(full))?;
        }
        Ok(())
    }

    fn submit(&mut self, job: Job) -> Result<(), RestoreError> {
        self.in_flight += 1;
        self.channels.jobs.send(job).map_err(|_| RestoreError::WorkerLost)
    }

    /// Takes note of finished jobs: all there are, after waiting for one if `wait`.
    fn take_done(&mut self, wait: bool) -> Result<(), RestoreError> {
        if wait && self.in_flight > 0 {
            let done = self.channels.done.recv().map_err(|_| RestoreError::WorkerLost)?;
            self.done(done)?;
        }
        while let Ok(done) = self.channels.done.try_recv() {
            self.done(done)?;
        }
        Ok(())
    }

    fn done(&mut self, done: Done) -> Result<(), RestoreError> {
        self.in_flight -= 1;
        self.opener.note(&done.visited);
        done.files.into_iter().try_for_each(|file| self.finished(file))
    }

    fn finished(&mut self, finished: Finished) -> Result<(), RestoreError> {
        let Finished { dir, path, outcome } = finished;
        self.writing.remove(&path);
        if let Some(unfinished) = self.dirs.get_mut(&dir) {
            unfinished.writing -= 1;
        }
        match outcome {
            Ok(refused) => self.target.note(refused),
            Err(why) => self.lose_at(path, why)?,
        }
        self.settle(dir)
    }

    /// Waits until the file with these components is written, if it is being written.
    fn wait_for(&mut self, components: &[Vec<u8>]) -> Result<(), RestoreError> {
        let path: Vec<u8> = components.iter().flat_map(|c| [&b"/"[..], c].concat()).collect();
        if self.writing.contains(&path) {
            self.hand_out_all()?;
        }
        while self.writing.contains(&path) && self.in_flight > 0 {
            self.take_done(true)?;
        }
        Ok(())
    }

    /// Hands out a long file in pieces.
    fn long(&mut self, file: File, list: &ObjectRef, depth: u8) -> Result<(), RestoreError> {
        self.begin(&file);
        let long = match file.place.file(&file.name, file.size) {
            Ok(writer) => Arc::new(LongFile::new(file, writer)),
            Err(e) => return self.finished(file.finished(Err(e.into()))),
        };
        match self.chunks(&long, list, depth) {
            Err(Stop::Entry(why)) => long.fail(why),
            Err(Stop::Restore(e)) => return Err(e),
            Ok(()) => {}
        }
        match long.end() {
            Some(finished) => self.finished(finished),
            None => Ok(()),
        }
    }

    fn chunks(&mut self, long: &Arc<LongFile>, list: &ObjectRef, depth: u8) -> Result<(), Stop> {
        let size = long.file.size;
        let mut pages = vec![(list.clone(), depth)];
        let mut at = 0;
        let mut gaps: Vec<Range<usize>> = Vec::new();
        let mut pieces = Vec::new();
        while let Some((page, level)) = pages.pop() {
            let plain = self.opener.open(&page, Kind::ChunkList)?;
            if level > 0 {
                let below = pages::decode_index(&plain, level).map_err(|e| malformed(&page, e))?;
                pages.extend(below.into_iter().rev().map(|r| (r, level - 1)));
                continue;
            }
            let stretches = pages::decode_chunk_list(&plain).map_err(|e| malformed(&page, e))?;
            if stretches.is_empty() {
                return Err(malformed(&page, "it is empty").into());
            }
            for stretch in stretches {
                let len = stretch.len();
                if len > size - at {
                    return Err(malformed(&page, "its chunks are longer than the file").into());
                }
                match stretch {
                    Stretch::Gap { offset, len } => {
                        let gap = offset as usize..offset as usize + len as usize;
                        // Here and not with the chunk, so that a list of gaps only comes to an end.
                        if gaps.last().is_some_and(|last| gap.start <= last.end)
                            || gap.end > MAX_PLAIN
                        {
                            return Err(malformed(&page, "its short holes are out of place").into());
                        }
                        gaps.push(gap);
                    }
                    Stretch::Hole(_) => {}
                    Stretch::Data(object) => {
                        pieces.push(Piece { at, object, gaps: std::mem::take(&mut gaps) });
                        self.write_pieces(long, &mut pieces, CHUNKS)?;
                    }
                }
                at += len;
            }
        }
        self.write_pieces(long, &mut pieces, 1)?;
        if at != size || !gaps.is_empty() {
            return Err(malformed(list, "its chunks are shorter than the file").into());
        }
        Ok(())
    }

    /// Hands out the pieces, if there are at least so many.
    fn write_pieces(
        &mut self,
        long: &Arc<LongFile>,
        pieces: &mut Vec<Piece>,
        least: usize,
    ) -> Result<(), RestoreError> {
        if pieces.len() < least {
            return Ok(());
        }
        long.begin();
        self.hand_out_bytes(pieces.iter().map(|piece| u64::from(piece.object.plain_len)).sum());
        self.submit(Job::Chunks(long.clone(), std::mem::take(pieces)))?;
        self.take_done(false)
    }
}

/// Why a file's chunk list is not read to its end.
enum Stop {
    /// This file cannot be restored.
    Entry(EntryError),
    /// Nothing can.
    Restore(RestoreError),
}

impl From<EntryError> for Stop {
    fn from(e: EntryError) -> Self {
        Self::Entry(e)
    }
}

impl From<RestoreError> for Stop {
    fn from(e: RestoreError) -> Self {
        Self::Restore(e)
    }
}

impl Frame {
    fn of(id: DirId, list: &List) -> Self {
        let pages = VecDeque::from([(list.root.clone(), list.depth)]);
        let (met, entries) = (HashSet::new(), VecDeque::new());
        Self { id, pages, met, entries, last: Vec::new() }
    }
}

/// The page an entry needs first, for fetching ahead.
fn first_page(entry: &Entry) -> Option<ObjectId> {
    match &entry.kind {
        EntryKind::File { content: Content::Chunks { list, .. }, .. } => Some(list.id),
        EntryKind::Directory { listing } => Some(listing.root.id),
        _ => None,
    }
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
