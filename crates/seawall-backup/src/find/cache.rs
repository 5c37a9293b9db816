//! The cache as a whole: which snapshots it knows, which segments hold their paths.
//!
//! One small file, `root`, names everything else and is replaced atomically: a power cut leaves
//! the old state or the new. Segments nobody names are removed by the next writer. One writer at
//! a time (the caller holds a lock); readers need none: a segment that a merge removed meanwhile
//! reads as damaged, and the caller opens the cache again.

use std::collections::HashSet;
use std::io;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{Disk, FleetId, NodeId, Rng, Sha256, Timestamp, read_file, write_atomic};
use zeroize::Zeroizing;

use super::merge::merge;
use super::segment::{Segment, SegmentInfo, SegmentWriter};
use super::vault::Vault;

const VERSION: u8 = 1;
const MAGIC: &[u8; 16] = b"seawall found 1\n";
const MAX_ROOT: usize = 64 << 20;
const MAX_TEXT: usize = 256;
/// A segment is merged with those before it that have at most this many times its rows.
const MERGE_RATIO: u64 = 3;

/// Whose cache it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The fleet.
    pub fleet: FleetId,
    /// Id of the operator's key.
    pub operator: [u8; 32],
}

/// A line: snapshots of one node, of equal sources, that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineId {
    /// Origin of the log they stand in.
    pub origin: String,
    /// The node that made them.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Digest of the sources ([`crate::path_index::PathIndexRoot::line`]).
    pub line: [u8; 32],
}

/// What the cache keeps of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Digest of its manifest: its id.
    pub digest: Sha256,
    /// Its number in its log.
    pub sequence: u64,
    /// When it was made, as its node says.
    pub created: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: LineId,
    /// By ordinal.
    pub(super) snapshots: Vec<SnapshotFacts>,
    /// Fingerprint of the newest one's tree.
    pub(super) head: [u8; 16],
}

/// How much the cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Snapshots.
    pub snapshots: u64,
    /// Rows: versions of paths, and ends not merged yet.
    pub rows: u64,
    /// Segments.
    pub segments: u64,
}

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The operating system.
    #[error("find cache, {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// It does not open: damaged, of another key, fleet or version. It holds nothing that
    /// cannot be read again: start it anew.
    #[error("find cache, {file}: {why}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
}

impl CacheError {
    pub(super) fn io(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn damaged(file: &str, why: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), why: why.into() }
    }
}

/// An open cache.
pub struct Cache<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: String,
    pub(super) key: Zeroizing<[u8; 32]>,
    owner: Owner,
    pub(super) lines: Vec<Line>,
    /// Snapshots that were looked at and have no readable index; they are not asked for again.
    passed_over: Vec<Sha256>,
    /// Every snapshot taken in or passed over.
    known: HashSet<Sha256>,
    pub(super) segments: Vec<Segment>,
}

impl<'a> Cache<'a> {
    /// Opens the cache in `dir`; an empty one if there is none.
    pub fn open(
        disk: &'a dyn Disk,
        dir: &str,
        key: &[u8; 32],
        owner: Owner,
    ) -> Result<Self, CacheError> {
        let mut it = Self::empty(disk, dir, key, owner);
        let path = it.root_path();
        let bytes = read_file(disk, &path, MAX_ROOT).map_err(CacheError::io(&path))?;
        let Some(bytes) = bytes else { return Ok(it) };
        let refused = |why: &str| CacheError::damaged(&path, why);
        let sealed = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<16>());
        let Some((id, body)) = sealed else { return Err(refused("it is no root of a find cache")) };
        let mut body = body.to_vec();
        let opened = Vault::new(key, id).open(0, &mut body);
        opened.map_err(|_| refused("it is damaged, or of another key"))?;
        let infos = it.decode(&body).map_err(|e| refused(&e.to_string()))?;
        for info in &infos {
            it.segments.push(Segment::open(disk, dir, key, info)?);
        }
        Ok(it)
    }

    /// A cache that knows nothing, in place of whatever is in `dir`.
    pub fn anew(
        disk: &'a dyn Disk,
        dir: &str,
        key: &[u8; 32],
        owner: Owner,
        rng: &mut dyn Rng,
    ) -> Result<Self, CacheError> {
        let it = Self::empty(disk, dir, key, owner);
        it.write_root(rng)?;
        it.collect()?;
        Ok(it)
    }

    fn empty(disk: &'a dyn Disk, dir: &str, key: &[u8; 32], owner: Owner) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            key: Zeroizing::new(*key),
            owner,
            lines: Vec::new(),
            passed_over: Vec::new(),
            known: HashSet::new(),
            segments: Vec::new(),
        }
    }

    fn root_path(&self) -> String {
        format!("{}/root", self.dir)
    }

    /// How much it holds.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            snapshots: self.lines.iter().map(|l| l.snapshots.len() as u64).sum(),
            rows: self.segments.iter().map(|s| s.info.rows).sum(),
            segments: self.segments.len() as u64,
        }
    }

    /// Whether a snapshot was taken in, or looked at and passed over.
    pub fn knows(&self, digest: Sha256) -> bool {
        self.known.contains(&digest)
    }

    /// Whether a snapshot was passed over: nothing of it is ever found.
    pub fn lacks(&self, digest: Sha256) -> bool {
        self.passed_over.contains(&digest)
    }

    /// Notes that a snapshot has no index that could ever be read.
    pub fn pass_over(&mut self, digest: Sha256, rng: &mut dyn Rng) -> Result<(), CacheError> {
        self.passed_over.push(digest);
        self.known.insert(digest);
        self.write_root(rng)
    }

    /// The number of a line, and whether it was known.
    pub(super) fn line(&self, id: &LineId) -> Option<u32> {
        let same = |l: &Line| l.id.origin == id.origin && l.id.line == id.line;
        self.lines.iter().position(same).map(|at| at as u32)
    }

    /// A writer for a new segment.
    pub(super) fn segment_writer(&self, rng: &mut dyn Rng) -> Result<SegmentWriter, CacheError> {
        let mut id = [0; 16];
        rng.fill(&mut id);
        self.disk.create_dir_all(&self.dir).map_err(CacheError::io(&self.dir))?;
        SegmentWriter::create(self.disk, &self.dir, &self.key, id)
    }

    /// Takes in a snapshot whose rows are in `segment`, merges what should be, and makes it all
    /// durable.
    pub(super) fn commit(
        &mut self,
        line: &LineId,
        snapshot: SnapshotFacts,
        head: [u8; 16],
        segment: Option<SegmentInfo>,
        rng: &mut dyn Rng,
    ) -> Result<(), CacheError> {
        self.known.insert(snapshot.digest);
        if let Some(at) = self.line(line) {
            let known = &mut self.lines[at as usize];
            known.snapshots.push(snapshot);
            (known.head, known.id) = (head, line.clone());
        } else {
            let (id, snapshots) = (line.clone(), vec![snapshot]);
            self.lines.push(Line { id, snapshots, head });
        }
        if let Some(info) = segment {
            self.segments.push(Segment::open(self.disk, &self.dir, &self.key, &info)?);
            self.merge_newest(rng)?;
        }
        self.write_root(rng)?;
        self.collect()
    }

    /// Merges the newest segment with those before it that are not much larger, so that there
    /// are few segments and each row is written again a logarithm of times.
    fn merge_newest(&mut self, rng: &mut dyn Rng) -> Result<(), CacheError> {
        let mut first = self.segments.len() - 1;
        let mut rows = self.segments[first].info.rows;
        while first > 0 && self.segments[first - 1].info.rows <= MERGE_RATIO * rows {
            first -= 1;
            rows += self.segments[first].info.rows;
        }
        if first + 1 == self.segments.len() {
            return Ok(());
        }
        let mut out = self.segment_writer(rng)?;
        let merged: Vec<&Segment> = self.segments[first..].iter().collect();
        merge(&merged, first == 0, &mut out)?;
        self.segments.truncate(first);
        if let Some(info) = out.finish()? {
            self.segments.push(Segment::open(self.disk, &self.dir, &self.key, &info)?);
        }
        Ok(())
    }

    /// Removes segments nobody names.
    fn collect(&self) -> Result<(), CacheError> {
        let named: Vec<String> = self.segments.iter().map(|s| s.info.path("")).collect();
        for name in self.disk.list(&self.dir).map_err(CacheError::io(&self.dir))? {
            if name.ends_with(".seg") && !named.contains(&format!("/{name}")) {
                let path = format!("{}/{name}", self.dir);
                self.disk.remove(&path).map_err(CacheError::io(&path))?;
            }
        }
        Ok(())
    }

    fn write_root(&self, rng: &mut dyn Rng) -> Result<(), CacheError> {
        let mut id = [0; 16];
        rng.fill(&mut id);
        let mut body = self.encode();
        Vault::new(&self.key, &id).seal(0, &mut body);
        let file = [&MAGIC[..], &id, &body].concat();
        self.disk.create_dir_all(&self.dir).map_err(CacheError::io(&self.dir))?;
        write_atomic(self.disk, &self.root_path(), &file).map_err(CacheError::io(&self.dir))
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(VERSION).raw(self.owner.fleet.as_bytes()).raw(&self.owner.operator);
        w.length(self.lines.len());
        for line in &self.lines {
            w.bytes(line.id.origin.as_bytes()).raw(line.id.node.as_bytes());
            w.bytes(line.id.node_name.as_bytes()).raw(&line.id.line).raw(&line.head);
            w.length(line.snapshots.len());
            for s in &line.snapshots {
                w.raw(s.digest.as_bytes()).u64(s.sequence).u64(s.created.0);
            }
        }
        w.length(self.passed_over.len());
        for digest in &self.passed_over {
            w.raw(digest.as_bytes());
        }
        w.length(self.segments.len());
        for segment in &self.segments {
            let it = &segment.info;
            w.raw(&it.id).u64(it.index_offset).u32(it.index_len).u64(it.rows);
        }
        w.into_vec()
    }

    fn decode(&mut self, body: &[u8]) -> Result<Vec<SegmentInfo>, WireError> {
        let mut r = Reader::new(body);
        if r.u8()? != VERSION {
            return Err(r.invalid("version of the cache"));
        }
        if r.array()? != self.owner.fleet.0 || r.array()? != self.owner.operator {
            return Err(r.invalid("owner of the cache"));
        }
        for _ in 0..r.length(body.len())? {
            let origin = text(&mut r)?;
            let node = NodeId(r.array()?);
            let node_name = text(&mut r)?;
            let (line, head) = (r.array()?, r.array()?);
            let mut snapshots = Vec::new();
            for _ in 0..r.length(body.len())? {
                let digest = Sha256(r.array()?);
                let (sequence, created) = (r.u64()?, Timestamp(r.u64()?));
                snapshots.push(SnapshotFacts { digest, sequence, created });
            }
            let id = LineId { origin, node, node_name, line };
            self.lines.push(Line { id, snapshots, head });
        }
        for _ in 0..r.length(body.len())? {
            self.passed_over.push(Sha256(r.array()?));
        }
        let mut segments = Vec::new();
        for _ in 0..r.length(body.len())? {
            segments.push(SegmentInfo {
                id: r.array()?,
                index_offset: r.u64()?,
                index_len: r.u32()?,
                rows: r.u64()?,
            });
        }
        r.finish()?;
        let taken = self.lines.iter().flat_map(|l| l.snapshots.iter().map(|s| s.digest));
        self.known = taken.chain(self.passed_over.iter().copied()).collect();
        Ok(segments)
    }
}

fn text(r: &mut Reader<'_>) -> Result<String, WireError> {
    let bytes = r.bytes(MAX_TEXT)?.to_vec();
    String::from_utf8(bytes).map_err(|_| r.invalid("text"))
}
