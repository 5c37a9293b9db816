//! Taking in a snapshot: its index is compared with what the cache knows of its line.
//!
//! Only directories whose fingerprint changed are read, and their rows come out in the order in
//! which a segment wants them: a directory's own names first, then its subdirectories by name.
//! So memory holds one way down the tree, however large it is.

use std::collections::HashSet;

use seawall_base::Rng;
use seawall_record::Totals;
use seawall_seal::Kind;

use super::cache::{Cache, CacheError, LineId, SnapshotFacts};
use super::lookup::{Lookup, Standing};
use super::row::{Event, child};
use super::segment::{MAX_DIR, SegmentWriter};
use crate::path_index::{Listing, Page, PathEntry, PathIndexRoot, PathKind, decode_inline};
use crate::restore::{EntryError, Objects, Opener};

/// Most objects in one snapshot that an index may list, whatever its totals say.
const MAX_ENTRIES: u64 = 1 << 30;

/// A snapshot to take in.
pub struct Source<'a> {
    /// Which line it continues; its `line` is taken from the index.
    pub line: LineId,
    /// What the cache keeps of it.
    pub facts: SnapshotFacts,
    /// Data class of its objects.
    pub class: u8,
    /// Its signed totals: an index that lists more is forged.
    pub totals: Totals,
    /// Where its index begins.
    pub root: PathIndexRoot,
    /// Where its pages come from.
    pub objects: &'a dyn Objects,
}

/// What taking in a snapshot cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingested {
    /// Pages read.
    pub pages: u64,
    /// Directories looked at.
    pub directories: u64,
    /// Rows written.
    pub rows: u64,
    /// Directories not taken in because their path is longer than the cache keeps.
    pub too_deep: u64,
}

/// Why a snapshot was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A page is missing, damaged or malformed.
    #[error(transparent)]
    Page(#[from] EntryError),
    /// The index contradicts what its node signed.
    #[error("the path index lists more than its snapshot's signed total of {signed}; it is forged")]
    AboveTotals {
        /// Files, directories and others.
        signed: u64,
    },
}

impl IngestError {
    /// Whether another try can end otherwise: a tier may come back.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Cache(_) | Self::Page(EntryError::Fetch(_)))
    }
}

/// What is to be done with a directory.
enum Task {
    /// Nothing is known of it.
    New(Listing),
    /// Something else is known of it.
    Changed(Listing),
    /// It is not there any more.
    Gone,
}

struct Walk<'a, 'c> {
    opener: Opener<'a>,
    lookup: Lookup<'c>,
    out: SegmentWriter,
    line: u32,
    ordinal: u32,
    /// Entries that may still be listed.
    left: u64,
    signed: u64,
    done: Ingested,
}

impl Cache<'_> {
    /// Takes in a snapshot, which comes after all of its line that are known.
    pub fn ingest(
        &mut self,
        source: &Source<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Ingested, IngestError> {
        let id = LineId { line: source.root.line, ..source.line.clone() };
        let known = self.line(&id);
        let line = known.unwrap_or(self.lines.len() as u32);
        let head = Listing::Pages(source.root.tree.clone());
        let fingerprint = head.fingerprint();
        let before = known.map(|at| &self.lines[at as usize]);
        if before.is_some_and(|l| l.head == fingerprint) {
            self.commit(&id, source.facts, fingerprint, None, rng)?;
            return Ok(Ingested::default());
        }
        let Totals { files, directories, others, .. } = source.totals;
        let signed = files.saturating_add(directories).saturating_add(others);
        let mut walk = Walk {
            opener: Opener::new(source.objects, source.class),
            lookup: Lookup::new(&self.segments),
            out: self.segment_writer(rng)?,
            line,
            ordinal: before.map_or(0, |l| l.snapshots.len() as u32),
            left: signed.min(MAX_ENTRIES),
            signed,
            done: Ingested::default(),
        };
        let task = if before.is_some() { Task::Changed(head) } else { Task::New(head) };
        walk.run(task)?;
        let Walk { out, mut done, mut opener, .. } = walk;
        done.pages = opener.take_visited().len() as u64;
        let segment = out.finish()?;
        self.commit(&id, source.facts, fingerprint, segment, rng)?;
        Ok(done)
    }
}

impl Walk<'_, '_> {
    fn run(&mut self, top: Task) -> Result<(), IngestError> {
        let mut open = vec![(Vec::new(), top)];
        while let Some((dir, task)) = open.pop() {
            if dir.len() + 256 > MAX_DIR {
                self.done.too_deep += 1;
                continue;
            }
            self.done.directories += 1;
            // What is gone is a directory that lists nothing any more.
            let (listing, known) = match task {
                Task::New(listing) => (Some(listing), false),
                Task::Changed(listing) => (Some(listing), true),
                Task::Gone => (None, true),
            };
            let standing =
                if known { self.lookup.directory(self.line, &dir)? } else { Standing::new() };
            let entries = listing.map_or(Ok(Vec::new()), |listing| self.entries(listing))?;
            self.left = self
                .left
                .checked_sub(entries.len() as u64)
                .ok_or(IngestError::AboveTotals { signed: self.signed })?;
            let tasks = self.compare(&dir, entries, standing)?;
            let pages = tasks.iter().filter_map(|(_, task)| match task {
                Task::New(Listing::Pages(list)) | Task::Changed(Listing::Pages(list)) => {
                    Some(list.root.id)
                }
                _ => None,
            });
            self.opener.announce(pages);
            open.extend(tasks.into_iter().rev().map(|(name, task)| (child(&dir, &name), task)));
        }
        Ok(())
    }

    fn push(&mut self, dir: &[u8], name: &[u8], event: Event) -> Result<(), CacheError> {
        self.done.rows += 1;
        self.out.push(self.line, dir, name, event)
    }

    /// The entries of a listing, from all its pages.
    fn entries(&mut self, listing: Listing) -> Result<Vec<PathEntry>, IngestError> {
        let list = match listing {
            Listing::Inline(records) => return inline(&records),
            Listing::Pages(list) => list,
        };
        let mut entries: Vec<PathEntry> = Vec::new();
        let mut pages = vec![(list.root, list.depth)];
        let mut met = HashSet::new();
        while let Some((page, level)) = pages.pop() {
            let malformed = |why: String| EntryError::Malformed { id: page.id, why };
            // Names ascend, so no page stands in a listing twice: repeated ones would not end.
            if !met.insert(page.id) {
                return Err(malformed("it stands twice in one listing".to_owned()).into());
            }
            let plain = self.opener.open(&page, Kind::PathIndex)?;
            match Page::decode(&plain, level).map_err(|e| malformed(e.to_string()))? {
                Page::Index(below) => {
                    self.opener.announce(below.iter().map(|r| r.id));
                    pages.extend(below.into_iter().rev().map(|r| (r, level - 1)));
                }
                Page::Leaf(more) => {
                    let ordered = match (entries.last(), more.first()) {
                        (Some(before), Some(next)) => before.name < next.name,
                        (Some(_), None) => false,
                        (None, _) => true,
                    };
                    if !ordered {
                        return Err(malformed("its names are out of order".to_owned()).into());
                    }
                    entries.extend(more);
                    if entries.len() as u64 > self.left {
                        return Err(IngestError::AboveTotals { signed: self.signed });
                    }
                }
            }
        }
        Ok(entries)
    }

    /// Writes what is different in a directory, and says what is to be looked at below it.
    fn compare(
        &mut self,
        dir: &[u8],
        entries: Vec<PathEntry>,
        standing: Standing,
    ) -> Result<Vec<(Vec<u8>, Task)>, IngestError> {
        let mut tasks = Vec::new();
        let mut old = standing.into_iter().peekable();
        let end = Event::End { died: self.ordinal };
        for entry in entries {
            while let Some((name, event)) = old.next_if(|(name, _)| *name < entry.name) {
                self.push(dir, &name, end)?;
                if is_directory(&event) {
                    tasks.push((name, Task::Gone));
                }
            }
            let before = old.next_if(|(name, _)| *name == entry.name).map(|(_, event)| event);
            let now = self.span(&entry);
            let was_directory = before.as_ref().is_some_and(is_directory);
            if let Some(before) = &before {
                if is_same(before, &now) {
                    continue;
                }
                self.push(dir, &entry.name, end)?;
            }
            self.push(dir, &entry.name, now)?;
            match (was_directory, entry.listing) {
                (true, Some(listing)) if below(before.as_ref()) != below(Some(&now)) => {
                    tasks.push((entry.name, Task::Changed(listing)));
                }
                (false, Some(listing)) => tasks.push((entry.name, Task::New(listing))),
                (true, None) => tasks.push((entry.name, Task::Gone)),
                (true, Some(_)) | (false, None) => {}
            }
        }
        for (name, event) in old {
            self.push(dir, &name, end)?;
            if is_directory(&event) {
                tasks.push((name, Task::Gone));
            }
        }
        Ok(tasks)
    }

    fn span(&self, entry: &PathEntry) -> Event {
        Event::Span {
            kind: entry.kind,
            size: entry.size,
            mtime: entry.mtime,
            below: entry.listing.as_ref().map(Listing::fingerprint),
            born: self.ordinal,
            died: None,
        }
    }
}

fn inline(records: &[u8]) -> Result<Vec<PathEntry>, IngestError> {
    decode_inline(records).map_err(|e| {
        let id = seawall_base::ObjectId::of(records);
        EntryError::Malformed { id, why: format!("an inline listing: {e}") }.into()
    })
}

const fn is_directory(event: &Event) -> bool {
    matches!(event, Event::Span { kind: PathKind::Directory, .. })
}

fn below(event: Option<&Event>) -> Option<[u8; 16]> {
    match event {
        Some(Event::Span { below, .. }) => *below,
        _ => None,
    }
}

/// Whether two spans say the same of their path, apart from when.
fn is_same(a: &Event, b: &Event) -> bool {
    let facts = |e: &Event| match *e {
        Event::Span { kind, size, mtime, below, .. } => Some((kind, size, mtime, below)),
        Event::End { .. } => None,
    };
    facts(a) == facts(b)
}
