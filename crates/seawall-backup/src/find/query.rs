//! Answering a question: every segment is searched, block by block, by all cores; what is found
//! of one path in several segments is put together.
//!
//! Blocks are claimed in order. When enough has been found, no further one is claimed: what is
//! known is then known of everything before that block, and the answer says that there is more.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall_base::{Sha256, Timestamp};

use super::cache::{Cache, CacheError, Line, LineId, SnapshotFacts};
use super::pattern::Pattern;
use super::row::{Event, coalesce, fold, push_path};
use super::segment::{Columns, Dirs, Segment, name_starts};
use crate::path_index::PathKind;

/// What answers must be, besides fitting the pattern. The default lets everything pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In this snapshot.
    pub snapshot: Option<Sha256>,
    /// In a snapshot made at this time or later.
    pub since: Option<Timestamp>,
    /// Snapshots that were forgotten: asked for only if no other has what is wanted.
    pub forgotten: HashSet<Sha256>,
    /// Of nodes with this name.
    pub node: Option<String>,
    /// One of these kinds; empty: any.
    pub kinds: Vec<PathKind>,
    /// Files of at least so many bytes.
    pub min_size: Option<u64>,
    /// Files of at most so many bytes.
    pub max_size: Option<u64>,
    /// Modified at this time or later (seconds since the Unix epoch).
    pub modified_since: Option<i64>,
    /// Modified before this time.
    pub modified_before: Option<i64>,
}

/// One version of one path, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path, from the snapshot's root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: PathKind,
    /// Bytes of a file.
    pub size: u64,
    /// Modification time, seconds since the Unix epoch.
    pub mtime: i64,
    /// Whose it is.
    pub line: LineId,
    /// First snapshot that has this version.
    pub first: SnapshotFacts,
    /// Last snapshot that has it.
    pub last: SnapshotFacts,
    /// The one to ask for: the last that was not forgotten, or the last if all were.
    pub ask: SnapshotFacts,
    /// How many have it.
    pub snapshots: u32,
    /// Whether the newest snapshot of its line still has it.
    pub stands: bool,
}

/// What was found, in order of line, directory, name and age.
#[derive(Debug, Default)]
pub struct Answer {
    /// Versions of paths.
    pub found: Vec<Found>,
    /// There is more than was asked for.
    pub more: bool,
}

/// A row that fits: its place, what happened.
type Hit = (u32, Vec<u8>, Vec<u8>, Event);
/// Line, directory and name.
type Key<'a> = (u32, &'a [u8], &'a [u8]);

struct Question<'a> {
    pattern: &'a Pattern,
    filter: &'a Filter,
    /// Which lines are asked about, by number, and the ordinals from and up to which.
    lines: Vec<Option<(u32, u32)>>,
    /// Rows after which a segment's search may end.
    enough: usize,
    threads: usize,
}

/// What a segment has: rows in order, and the place from which on it was not searched.
struct Searched {
    hits: Vec<Hit>,
    until: Option<(u32, Vec<u8>, Vec<u8>)>,
}

impl Cache<'_> {
    /// Finds at most `limit` versions of paths (0: all), with `threads` threads.
    pub fn find(
        &self,
        pattern: &Pattern,
        filter: &Filter,
        limit: usize,
        threads: usize,
    ) -> Result<Answer, CacheError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let lines = self.lines.iter().map(|line| asked(line, filter)).collect();
        let mut question =
            Question { pattern, filter, lines, enough: limit, threads: threads.max(1) };
        loop {
            let answer = self.answer(&question, limit)?;
            // What the filter took from the rows found may have left too few.
            if !answer.more || answer.found.len() >= limit {
                return Ok(answer);
            }
            question.enough = question.enough.saturating_mul(8);
        }
    }

    fn answer(&self, question: &Question<'_>, limit: usize) -> Result<Answer, CacheError> {
        let mut searched = Vec::new();
        for segment in &self.segments {
            searched.push(question.search(segment)?);
        }
        let until = searched.iter().filter_map(|s| s.until.clone()).min();
        let mut answer = Answer { found: Vec::new(), more: until.is_some() };
        let known = |key: Key<'_>| {
            until.as_ref().is_none_or(|(line, dir, name)| key < (*line, &dir[..], &name[..]))
        };
        let mut paths: BTreeMap<(u32, Vec<u8>, Vec<u8>), Vec<Event>> = BTreeMap::new();
        for (line, dir, name, event) in searched.into_iter().flat_map(|s| s.hits) {
            if known((line, &dir, &name)) {
                paths.entry((line, dir, name)).or_default().push(event);
            }
        }
        let mut folded = Vec::new();
        for ((line, dir, name), events) in paths {
            fold(events.into_iter(), &mut folded);
            coalesce(&mut folded);
            for version in &folded {
                let Some(found) = self.found(question, line, &dir, &name, version) else {
                    continue;
                };
                if answer.found.len() == limit {
                    answer.more = true;
                    return Ok(answer);
                }
                answer.found.push(found);
            }
        }
        Ok(answer)
    }

    fn found(
        &self,
        question: &Question<'_>,
        number: u32,
        dir: &[u8],
        name: &[u8],
        version: &Event,
    ) -> Option<Found> {
        let Event::Span { kind, size, mtime, born, died, .. } = *version else { return None };
        let line = self.lines.get(number as usize)?;
        let (from, to) = question.lines[number as usize]?;
        let newest = (line.snapshots.len() as u32).checked_sub(1)?;
        let last = died.map_or(newest, |died| died.saturating_sub(1)).min(newest);
        if born > to || last < from || born > last || !question.filter.is_kept(kind, size, mtime) {
            return None;
        }
        let mut path = Vec::new();
        push_path(&mut path, dir, name);
        let holders = &line.snapshots[born as usize..=last as usize];
        let kept = |s: &&SnapshotFacts| !question.filter.forgotten.contains(&s.digest);
        Some(Found {
            path,
            kind,
            size,
            mtime,
            line: line.id.clone(),
            first: line.snapshots[born as usize],
            last: line.snapshots[last as usize],
            ask: *holders.iter().rev().find(|s| kept(s)).unwrap_or(&line.snapshots[last as usize]),
            snapshots: last - born + 1,
            stands: last == newest,
        })
    }
}

/// The snapshots of a line that are asked about: ordinals from and up to which.
fn asked(line: &Line, filter: &Filter) -> Option<(u32, u32)> {
    if filter.node.as_ref().is_some_and(|node| *node != line.id.node_name) {
        return None;
    }
    let newest = (line.snapshots.len() as u32).checked_sub(1)?;
    let (mut from, mut to) = (0, newest);
    if let Some(wanted) = filter.snapshot {
        let at = line.snapshots.iter().position(|s| s.digest == wanted)?;
        (from, to) = (at as u32, at as u32);
    }
    if let Some(since) = filter.since {
        // Times are what nodes say, and may go back: the first one late enough counts.
        let at = line.snapshots.iter().position(|s| s.created >= since)?;
        from = from.max(at as u32);
    }
    (from <= to).then_some((from, to))
}

impl Filter {
    fn is_kept(&self, kind: PathKind, size: u64, mtime: i64) -> bool {
        let sized = self.min_size.is_some() || self.max_size.is_some();
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && !(sized && kind != PathKind::File)
            && self.min_size.is_none_or(|min| size >= min)
            && self.max_size.is_none_or(|max| size <= max)
            && self.modified_since.is_none_or(|t| mtime >= t)
            && self.modified_before.is_none_or(|t| mtime < t)
    }
}

impl Question<'_> {
    /// Whether a row can be part of an answer. Ends always can: they say until when.
    fn is_wanted(&self, event: &Event) -> bool {
        match *event {
            Event::End { .. } => true,
            Event::Span { kind, size, mtime, .. } => {
                !(self.pattern.directories_only && kind != PathKind::Directory)
                    && self.filter.is_kept(kind, size, mtime)
            }
        }
    }

    /// Searches a segment.
    fn search(&self, segment: &Segment) -> Result<Searched, CacheError> {
        let wanted: Vec<usize> = segment
            .blocks
            .iter()
            .enumerate()
            .filter(|(_, b)| {
                self.lines.get(b.line as usize).is_some_and(Option::is_some)
                    && self.pattern.may_be_in(&b.first_dir, &b.last_dir)
            })
            .map(|(at, _)| at)
            .collect();
        let (next, spans) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results: Mutex<Vec<(usize, Vec<Hit>)>> = Mutex::new(Vec::new());
        let work = || {
            let mut scan = Scan::new(self, segment);
            while spans.load(Ordering::Relaxed) < self.enough {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&block) = wanted.get(at) else { return Ok(()) };
                let hits = scan.block(block)?;
                let is_span = |(.., e): &&Hit| matches!(e, Event::Span { .. });
                spans.fetch_add(hits.iter().filter(is_span).count(), Ordering::Relaxed);
                if !hits.is_empty() {
                    results.lock().expect("no holder panics").push((at, hits));
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads = self.threads.min(wanted.len());
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let joined = others.into_iter().map(|t| t.join().expect("a search does not panic"));
            joined.fold(own, Result::and)
        })?;
        let mut results = results.into_inner().expect("no holder panics");
        results.sort_unstable_by_key(|(at, _)| *at);
        let hits = results.into_iter().flat_map(|(_, hits)| hits).collect();
        let until = wanted.get(next.into_inner()).map(|&block| {
            let info = &segment.blocks[block];
            (info.line, info.first_dir.clone(), info.first_name.clone())
        });
        Ok(Searched { hits, until })
    }
}

/// One thread's search through a segment, with its buffers.
struct Scan<'q> {
    question: &'q Question<'q>,
    segment: &'q Segment,
    searcher: super::pattern::Searcher<'q>,
    names: Vec<u8>,
    buffer: Vec<u8>,
    paths: Vec<u8>,
    path: Vec<u8>,
    rows: Vec<u32>,
}

impl<'q> Scan<'q> {
    fn new(question: &'q Question<'q>, segment: &'q Segment) -> Self {
        Self {
            question,
            segment,
            searcher: question.pattern.searcher(),
            names: Vec::new(),
            buffer: Vec::new(),
            paths: Vec::new(),
            path: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn block(&mut self, block: usize) -> Result<Vec<Hit>, CacheError> {
        let mut dirs = None;
        if self.question.pattern.wants_dirs() {
            let read = self.segment.dirs(block, &mut self.buffer)?;
            if !read.spans().any(|(dir, _)| self.question.pattern.may_be_below(dir)) {
                return Ok(Vec::new());
            }
            dirs = Some(read);
        }
        let names = self.segment.names(block, &mut self.names)?;
        let count = self.segment.rows_of(block);
        if self.question.pattern.wants_paths() {
            let read = self.segment.dirs(block, &mut self.buffer)?;
            run_of_paths(&read, names, &mut self.paths);
            self.searcher.find(&self.paths, count, &mut self.rows);
            dirs = Some(read);
        } else {
            self.searcher.find(names, count, &mut self.rows);
        }
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        let starts = name_starts(names);
        if starts.len() != count {
            return Err(self.segment.damaged("its names are not as many as its rows"));
        }
        let dirs = match dirs {
            Some(dirs) => dirs,
            None => self.segment.dirs(block, &mut self.buffer)?,
        };
        let columns = self.segment.columns(block, &mut self.buffer)?;
        let line = self.segment.blocks[block].line;
        Ok(hits(self.question, &self.rows, names, &starts, &dirs, &columns, line, &mut self.path))
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one block, borrowed apart")]
fn hits(
    question: &Question<'_>,
    rows: &[u32],
    names: &[u8],
    starts: &[u32],
    dirs: &Dirs,
    columns: &Columns,
    line: u32,
    path: &mut Vec<u8>,
) -> Vec<Hit> {
    let mut out = Vec::new();
    for &row in rows {
        let row = row as usize;
        let end = starts.get(row + 1).map_or(names.len(), |next| *next as usize) - 1;
        let (name, dir) = (&names[starts[row] as usize..end], dirs.of(row));
        if !question.pattern.is_place(dir, name, path) {
            continue;
        }
        let event = columns.event(row);
        if question.is_wanted(&event) {
            out.push((line, dir.to_vec(), name.to_vec(), event));
        }
    }
    out
}

/// The paths of a block's rows between NULs, as names stand in a run of names.
fn run_of_paths(dirs: &Dirs, names: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(0);
    let mut rest = names[1..].split(|&b| b == 0);
    let mut front = Vec::new();
    for (dir, rows) in dirs.spans() {
        front.clear();
        push_path(&mut front, dir, b"");
        for name in rest.by_ref().take(rows.len()) {
            out.extend_from_slice(&front);
            out.extend_from_slice(name);
            out.push(0);
        }
    }
}
