//! What the last snapshot knew of each directory, so that unchanged files are not read again.
//!
//! A directory's knowledge is one frame: its listing, and for every name in it the stamp it had,
//! its encoded entry and the objects that entry needs. An entry is taken over only if the stamp
//! is equal and the store still has the objects; nothing else here is ever believed. The cache is
//! disposable: whatever is wrong with it costs time, never content.
//!
//! References open objects, so frames are encrypted under a key of their own, drawn afresh for
//! every run and kept in a file beside; a finished run replaces both, and with the old key go the
//! references to files that are no longer there. A run that was interrupted leaves its frames
//! behind and the next run goes on with them.
//!
//! Layout: `docs/formats/file-cache.md`.

#[cfg(any(fuzzing, test))]
mod forge;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{Disk, DiskFile, OpenMode, Rng, Timestamp, read_file};
use seawall_record::reference_set::Member;
use seawall_seal::{FrameKey, ObjectRef};
use zeroize::Zeroizing;

use super::directory::Listed;
use crate::entry::{List, MAX_DEPTH, MAX_NAME};
use crate::pages::MAX_PAGE;
use crate::path_index::Indexed;
use crate::source::Stamp;

const MAGIC: &[u8; 16] = b"seawall files 2\n";
/// Longest plaintext of a frame. A directory that needs more is not cached.
const MAX_FRAME: usize = 1 << 30;
/// Length and nonce in front of a frame's ciphertext.
const FRAME_HEADER: usize = 4 + 12;
/// Change times this close to the start of a run, in seconds, are not trusted: a file system with
/// coarse time stamps may give two versions of a file the same.
const GRAIN: u64 = 2;

/// Which directory: a hash of the path from the root of the snapshot.
pub(super) type DirKey = [u8; 16];

/// The key of the snapshot's root directory.
pub(super) const ROOT_KEY: DirKey = [0; 16];

/// The key of `name` in the directory `parent`.
pub(super) fn child_key(parent: &DirKey, name: &[u8]) -> DirKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(parent).update(name);
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

/// Where a frame is.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    len: u32,
}

/// A finished file up to this length is read at once.
const IN_MEMORY: u64 = 24 << 20;
/// Frames are written when there are so many bytes of them.
const WRITE_AT: usize = 1 << 20;

/// Frames on disk and where they are.
struct Frames {
    file: Box<dyn DiskFile>,
    /// All of the file, if it is short.
    bytes: Option<Vec<u8>>,
    key: FrameKey,
    /// Frames by directory: one whole, or several parts.
    places: HashMap<DirKey, Vec<Place>>,
    /// Where the next frame goes.
    end: u64,
    /// Frames before `end` that are not written yet.
    unwritten: Vec<u8>,
}

/// Content of frames. Numbers are those of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum FrameKind {
    Directory = 1,
    Part = 2,
    Index = 3,
}

/// The file cache of one set of paths.
pub struct FileCache {
    disk: Arc<dyn Disk>,
    /// Path of the files without their extensions.
    stem: String,
    last: Option<Frames>,
    next: Next,
    started: Timestamp,
    /// Bundles most of which no file uses any more: what is left in them is read anew.
    sparse: Vec<[u8; 32]>,
    nonces: Nonces,
}

/// What this run writes.
enum Next {
    /// Nothing yet but that these directories are as they were. As long as that is all, the last
    /// run's file stays.
    Same(Vec<DirKey>, Zeroizing<[u8; 32]>),
    Begun(Frames),
    /// The disk refused.
    Lost(io::Error),
}

/// Nonces that never repeat under one key: random per run, then counted.
struct Nonces {
    prefix: [u8; 8],
    count: u32,
}

impl std::fmt::Debug for FileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileCache").field("stem", &self.stem).finish_non_exhaustive()
    }
}

impl FileCache {
    /// Opens the cache whose files are called `stem` on `disk`, or begins one. `started` is now:
    /// files that changed later, or just before, are not remembered.
    ///
    /// A damaged cache is an empty one; only a disk that cannot be used is an error.
    pub fn open(
        disk: Arc<dyn Disk>,
        stem: &str,
        started: Timestamp,
        rng: &mut dyn Rng,
    ) -> io::Result<Self> {
        if let Some((dir, _)) = stem.rsplit_once('/') {
            disk.create_dir_all(dir)?;
        }
        let mut sparse = Vec::new();
        let last = Frames::finished(&*disk, stem, &mut sparse)?;
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(&mut *key);
        let resumed = Frames::interrupted(&*disk, stem)?;
        let next = resumed.map_or(Next::Same(Vec::new(), key), Next::Begun);
        let mut prefix = [0; 8];
        rng.fill(&mut prefix);
        let nonces = Nonces { prefix, count: 0 };
        let stem = stem.to_owned();
        Ok(Self { disk, stem, last, next, started, sparse, nonces })
    }

    /// What is known of a directory; of several frames the later ones count.
    pub(super) fn directory(&self, key: &DirKey) -> Option<CachedDir> {
        let resumed = match &self.next {
            Next::Begun(frames) => frames.of(key),
            Next::Same(..) | Next::Lost(_) => Vec::new(),
        };
        if let [only] = &resumed[..]
            && only.listing.is_some()
        {
            return resumed.into_iter().next();
        }
        let last = self.last.as_ref().map_or(Vec::new(), |frames| frames.of(key));
        CachedDir::merge(last.into_iter().chain(resumed).collect())
    }

    /// Whether a stamp taken in this run says all: the object last changed well before.
    pub(super) fn trusts(&self, stamp: &Stamp) -> bool {
        u64::try_from(stamp.ctime.0).is_ok_and(|changed| changed + GRAIN < self.started.0)
    }

    /// Whether what is in this bundle is to be read anew.
    pub(super) fn is_sparse(&self, id: &[u8; 32]) -> bool {
        self.sparse.binary_search(id).is_ok()
    }

    /// Adds what is now known of a directory: all of it, or entries it got since the last part.
    ///
    /// From the first failure on nothing is kept any more; the snapshot does not need it.
    pub(super) fn put(&mut self, key: &DirKey, plain: &[u8], is_part: bool) {
        if let Err(e) = self.try_put(key, plain, is_part) {
            self.next = Next::Lost(e);
        }
    }

    /// As [`FileCache::put`] of a whole directory that is as the last run left it.
    pub(super) fn put_same(&mut self, key: &DirKey, plain: &[u8]) {
        match &mut self.next {
            Next::Same(keys, _) => keys.push(*key),
            Next::Begun(_) | Next::Lost(_) => self.put(key, plain, false),
        }
    }

    fn try_put(&mut self, key: &DirKey, plain: &[u8], is_part: bool) -> io::Result<()> {
        self.begin()?;
        let kind = if is_part { FrameKind::Part } else { FrameKind::Directory };
        match &mut self.next {
            Next::Begun(next) => next.add(key, kind, plain, &mut self.nonces),
            Next::Same(..) | Next::Lost(_) => Ok(()),
        }
    }

    /// Begins a file of this run's own, with what it has in common with the last.
    fn begin(&mut self) -> io::Result<()> {
        let Next::Same(keys, fresh) = &mut self.next else { return Ok(()) };
        let (keys, fresh) = (std::mem::take(keys), fresh.clone());
        let mut next = Frames::begin(&*self.disk, &self.stem, &fresh)?;
        for key in keys {
            let last = self.last.as_ref().expect("what is the same was in the last file");
            for place in last.places.get(&key).map_or(&[][..], Vec::as_slice) {
                if let Some(plain) = last.read(*place) {
                    next.add(&key, FrameKind::Directory, &plain, &mut self.nonces)?;
                }
            }
        }
        self.next = Next::Begun(next);
        Ok(())
    }

    /// Writes what is known so far: a run that is cut short from here on leaves it behind.
    pub(super) fn write_out(&mut self) {
        if let Next::Begun(next) = &mut self.next
            && let Err(e) = next.write_out()
        {
            self.next = Next::Lost(e);
        }
    }

    /// The run is over and everything is durable: its knowledge replaces that of the last run.
    /// `sparse` are bundles (ascending) not worth keeping for what is left in them.
    pub(super) fn finish(mut self, sparse: &[[u8; 32]]) -> io::Result<()> {
        if sparse != self.sparse {
            self.begin()?;
        }
        let mut next = match self.next {
            Next::Same(..) => return Ok(()),
            Next::Lost(e) => return Err(e),
            Next::Begun(next) => next,
        };
        let index = next.encode_index(sparse);
        let place = next.append(FrameKind::Index, &index, &mut self.nonces)?;
        next.unwritten.extend_from_slice(&place.offset.to_le_bytes());
        next.end += 8;
        next.write_out()?;
        next.file.set_len(next.end)?;
        drop(next);
        // Between the two renames the cache does not open: then the next run reads everything.
        self.disk
            .rename(&format!("{}.next.secret", self.stem), &format!("{}.secret", self.stem))?;
        self.disk.rename(&format!("{}.next", self.stem), &format!("{}.cache", self.stem))
    }
}

impl Nonces {
    /// None when used up: then the run goes on without its cache.
    fn draw(&mut self) -> Option<[u8; 12]> {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.prefix);
        nonce[8..].copy_from_slice(&self.count.to_le_bytes());
        self.count = self.count.checked_add(1)?;
        Some(nonce)
    }
}

fn associated_data(kind: FrameKind, offset: u64) -> [u8; 9] {
    let mut out = [0; 9];
    out[0] = kind as u8;
    out[1..].copy_from_slice(&offset.to_le_bytes());
    out
}

impl Frames {
    /// An empty file under this key.
    fn begin(disk: &dyn Disk, stem: &str, key: &[u8; 32]) -> io::Result<Self> {
        let file = disk.open(&format!("{stem}.next.secret"), OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(0, key)?;
        let file = disk.open(&format!("{stem}.next"), OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(0, MAGIC)?;
        Ok(Self::of_file(file, key))
    }

    fn of_file(file: Box<dyn DiskFile>, key: &[u8; 32]) -> Self {
        let (bytes, places, unwritten) = (None, HashMap::new(), Vec::new());
        let end = MAGIC.len() as u64;
        Self { file, bytes, key: FrameKey::new(key), places, end, unwritten }
    }

    /// A file and its key, if both are there and begin as they must.
    fn open(disk: &dyn Disk, path: &str, key: &str, mode: OpenMode) -> io::Result<Option<Self>> {
        let Some(key) = read_file(disk, key, 64)?.map(Zeroizing::new) else { return Ok(None) };
        let Ok(key) = <[u8; 32]>::try_from(&key[..]).map(Zeroizing::new) else { return Ok(None) };
        let file = match disk.open(path, mode) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut magic = [0; MAGIC.len()];
        if file.read_exact_at(0, &mut magic).is_err() || magic != *MAGIC {
            return Ok(None);
        }
        Ok(Some(Self::of_file(file, &key)))
    }

    /// The frames of a finished run, by its index.
    fn finished(
        disk: &dyn Disk,
        stem: &str,
        sparse: &mut Vec<[u8; 32]>,
    ) -> io::Result<Option<Self>> {
        let (path, key) = (format!("{stem}.cache"), format!("{stem}.secret"));
        let Some(mut frames) = Self::open(disk, &path, &key, OpenMode::Read)? else {
            return Ok(None);
        };
        let len = frames.file.len()?;
        let mut trailer = [0; 8];
        let Some(at) = len.checked_sub(8) else { return Ok(None) };
        frames.file.read_exact_at(at, &mut trailer)?;
        if len <= IN_MEMORY {
            let mut bytes = vec![0; len as usize];
            frames.file.read_exact_at(0, &mut bytes)?;
            frames.bytes = Some(bytes);
        }
        let offset = u64::from_le_bytes(trailer);
        let plain = frames
            .read_at(offset, at)
            .and_then(|(kind, plain, _)| (kind == FrameKind::Index).then_some(plain));
        let index = plain.and_then(|plain| decode_index(&plain).ok());
        Ok(index.map(|(places, found)| {
            *sparse = found;
            frames.places = places;
            frames
        }))
    }

    /// The frames of a run that did not come to its end, as far as they are whole.
    fn interrupted(disk: &dyn Disk, stem: &str) -> io::Result<Option<Self>> {
        let (path, key) = (format!("{stem}.next"), format!("{stem}.next.secret"));
        let Some(mut frames) = Self::open(disk, &path, &key, OpenMode::Write)? else {
            return Ok(None);
        };
        let len = frames.file.len()?;
        while let Some((kind, plain, end)) = frames.read_at(frames.end, len) {
            let place = Place { offset: frames.end, len: (end - frames.end) as u32 };
            let key = plain.get(..16).and_then(|key| DirKey::try_from(key).ok());
            match (kind, key) {
                (FrameKind::Directory, Some(key)) => {
                    frames.places.insert(key, vec![place]);
                }
                (FrameKind::Part, Some(key)) => frames.places.entry(key).or_default().push(place),
                _ => break,
            }
            frames.end = end;
        }
        frames.file.set_len(frames.end)?;
        Ok(Some(frames))
    }

    /// The frames of a directory, as far as they are whole.
    fn of(&self, key: &DirKey) -> Vec<CachedDir> {
        let places = self.places.get(key).map_or(&[][..], Vec::as_slice);
        let parts = places.iter().filter_map(|place| self.read(*place));
        parts.filter_map(|plain| CachedDir::decode(plain, key)).collect()
    }

    fn append(&mut self, kind: FrameKind, plain: &[u8], nonces: &mut Nonces) -> io::Result<Place> {
        let nonce = nonces.draw().filter(|_| plain.len() <= MAX_FRAME);
        let nonce = nonce.ok_or(io::ErrorKind::FileTooLarge)?;
        let mut frame = Vec::with_capacity(FRAME_HEADER + 1 + plain.len() + FrameKey::TAG);
        frame.extend_from_slice(&((1 + plain.len() + FrameKey::TAG) as u32).to_le_bytes());
        frame.extend_from_slice(&nonce);
        frame.push(kind as u8);
        let body = frame.len();
        frame.extend_from_slice(plain);
        self.key.seal(&nonce, &associated_data(kind, self.end), &mut frame, body);
        let place = Place { offset: self.end, len: frame.len() as u32 };
        self.end += frame.len() as u64;
        self.unwritten.extend_from_slice(&frame);
        if self.unwritten.len() >= WRITE_AT {
            self.write_out()?;
        }
        Ok(place)
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_at(self.end - self.unwritten.len() as u64, &self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }

    /// Adds a frame of a directory: a whole one in place of all before.
    fn add(
        &mut self,
        key: &DirKey,
        kind: FrameKind,
        plain: &[u8],
        nonces: &mut Nonces,
    ) -> io::Result<()> {
        let place = self.append(kind, plain, nonces)?;
        let places = self.places.entry(*key).or_default();
        if kind == FrameKind::Directory {
            places.clear();
        }
        places.push(place);
        Ok(())
    }

    fn read(&self, place: Place) -> Option<Zeroizing<Vec<u8>>> {
        let len = place.len as usize;
        let read;
        let frame = if let Some(bytes) = &self.bytes {
            bytes.get(place.offset as usize..)?.get(..len)?
        } else {
            let mut bytes = vec![0; len.min(FRAME_HEADER + 1 + MAX_FRAME + FrameKey::TAG)];
            self.file.read_exact_at(place.offset, &mut bytes).ok()?;
            read = bytes;
            &read[..]
        };
        let (header, body) = frame.split_first_chunk::<{ FRAME_HEADER + 1 }>()?;
        let (kind, nonce, body_len) = parse_header(header)?;
        if body_len != body.len() {
            return None;
        }
        self.open_body(kind, &nonce, place.offset, body.to_vec())
    }

    /// Reads the frame at `offset` that ends before `limit`; nothing if it is not whole.
    fn read_at(&self, offset: u64, limit: u64) -> Option<(FrameKind, Zeroizing<Vec<u8>>, u64)> {
        let mut header = [0; FRAME_HEADER + 1];
        self.file.read_exact_at(offset, &mut header).ok()?;
        let (kind, nonce, body_len) = parse_header(&header)?;
        let body_at = offset.checked_add(header.len() as u64)?;
        let end = body_at.checked_add(body_len as u64).filter(|end| *end <= limit)?;
        let mut bytes = vec![0; body_len];
        self.file.read_exact_at(body_at, &mut bytes).ok()?;
        Some((kind, self.open_body(kind, &nonce, offset, bytes)?, end))
    }

    fn open_body(
        &self,
        kind: FrameKind,
        nonce: &[u8; 12],
        offset: u64,
        body: Vec<u8>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut body = Zeroizing::new(body);
        self.key.open(nonce, &associated_data(kind, offset), &mut body).ok()?;
        Some(body)
    }

    fn encode_index(&self, sparse: &[[u8; 32]]) -> Vec<u8> {
        let whole = self.places.iter().filter_map(|(key, places)| match places[..] {
            [place] => Some((key, place)),
            // Parts of a directory that vanished while it was read.
            _ => None,
        });
        let mut w = Writer::new();
        let places: Vec<_> = whole.collect();
        w.u32(places.len() as u32);
        for (key, place) in places {
            w.raw(key).u64(place.offset).u32(place.len);
        }
        w.u32(sparse.len() as u32);
        for id in sparse {
            w.raw(id);
        }
        w.into_vec()
    }
}

/// Kind, nonce and length of what follows, tag included.
fn parse_header(header: &[u8; FRAME_HEADER + 1]) -> Option<(FrameKind, [u8; 12], usize)> {
    let (len, rest) = header.split_first_chunk::<4>()?;
    let (nonce, kind) = rest.split_first_chunk::<12>()?;
    let kind = match kind {
        [1] => FrameKind::Directory,
        [2] => FrameKind::Part,
        [3] => FrameKind::Index,
        _ => return None,
    };
    let body = (u32::from_le_bytes(*len) as usize).checked_sub(1)?;
    (FrameKey::TAG..=MAX_FRAME + FrameKey::TAG).contains(&body).then_some((kind, *nonce, body))
}

type Index = (HashMap<DirKey, Vec<Place>>, Vec<[u8; 32]>);

fn decode_index(plain: &[u8]) -> Result<Index, WireError> {
    let mut r = Reader::new(plain);
    let count = r.u32()?;
    let mut places = HashMap::with_capacity((count as usize).min(plain.len() / 28));
    for _ in 0..count {
        let (key, offset, len) = (r.array()?, r.u64()?, r.u32()?);
        places.insert(key, vec![Place { offset, len }]);
    }
    let count = r.u32()?;
    let mut sparse = Vec::with_capacity((count as usize).min(plain.len() / 32));
    for _ in 0..count {
        sparse.push(r.array()?);
    }
    r.finish()?;
    Ok((places, sparse))
}

/// One name in a cached directory. Ranges are of the directory's plaintext.
#[derive(Debug, Clone)]
pub(super) struct CachedEntry {
    name: (usize, usize),
    record: (usize, usize),
    /// Count and start of the members.
    members: (usize, usize),
    /// The stamp of a leaf that may be taken over; none for directories.
    pub(super) stamp: Option<Stamp>,
    /// The entry is a hard link.
    pub(super) is_link: bool,
    /// Plain length of the bundle the file is in; 0 if it is in none.
    pub(super) bundle_len: u32,
    /// Which of several frames it is in.
    part: usize,
}

/// What was known of a directory.
pub(super) struct CachedDir {
    parts: Vec<Zeroizing<Vec<u8>>>,
    /// The whole directory as it was sealed; none if only parts of it are known.
    pub(super) listing: Option<List>,
    list_members: (usize, usize),
    /// What the path index had of it, if it was indexed.
    pub(super) indexed: Option<Indexed>,
    index_members: (usize, usize),
    entries: Vec<CachedEntry>,
}

/// Bytes of an encoded member.
const MEMBER: usize = 36;

impl CachedDir {
    /// Takes a frame apart; nothing if it is not of this directory or not well formed.
    fn decode(plain: Zeroizing<Vec<u8>>, key: &DirKey) -> Option<Self> {
        let mut dir = Self::parse(&plain, key).ok()?;
        dir.parts.push(plain);
        Some(dir)
    }

    fn parse(plain: &[u8], key: &DirKey) -> Result<Self, WireError> {
        let mut r = Reader::new(plain);
        if r.array::<16>()? != *key {
            return Err(r.invalid("directory of a frame"));
        }
        let mut listing = None;
        if r.u8()? != 0 {
            let (root, depth) = (ObjectRef::decode(&mut r)?, r.u8()?);
            if depth > MAX_DEPTH {
                return Err(r.invalid("depth of a listing"));
            }
            listing = Some(List { root, depth });
        }
        let list_members = members(&mut r)?;
        let indexed = if r.u8()? == 0 { None } else { Some(Indexed::decode(&mut r)?) };
        let index_members = members(&mut r)?;
        let count = r.u32()?;
        let mut entries = Vec::with_capacity((count as usize).min(plain.len() / 16));
        for _ in 0..count {
            let flags = r.u8()?;
            let stamp = if flags & 1 == 0 { None } else { Some(stamp(&mut r)?) };
            let bundle_len = r.u32()?;
            let record = span(&mut r, MAX_PAGE)?;
            let mut inner = Reader::new(&plain[record.0..record.1]);
            let name = inner.bytes(MAX_NAME)?.len();
            let start = record.0 + inner.offset() - name;
            entries.push(CachedEntry {
                name: (start, start + name),
                record,
                members: members(&mut r)?,
                stamp,
                is_link: flags & 2 != 0,
                bundle_len,
                part: 0,
            });
        }
        r.finish()?;
        Ok(Self { parts: Vec::new(), listing, list_members, indexed, index_members, entries })
    }

    /// One view of several frames: of a name in more than one, the last counts.
    fn merge(mut frames: Vec<Self>) -> Option<Self> {
        if frames.len() < 2 {
            return frames.pop();
        }
        let mut merged = Self {
            parts: Vec::new(),
            listing: None,
            list_members: (0, 0),
            indexed: None,
            index_members: (0, 0),
            entries: Vec::new(),
        };
        for frame in frames {
            let part = merged.parts.len();
            merged.entries.extend(frame.entries.into_iter().map(|e| CachedEntry { part, ..e }));
            merged.parts.extend(frame.parts);
        }
        let mut entries = std::mem::take(&mut merged.entries);
        let place = |e: &CachedEntry| (merged.name(e).to_vec(), std::cmp::Reverse(e.part));
        entries.sort_by_cached_key(place);
        entries.dedup_by(|later, first| merged.name(later) == merged.name(first));
        merged.entries = entries;
        Some(merged)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, at: usize) -> &CachedEntry {
        &self.entries[at]
    }

    /// Position of the entry called `name`. Names mostly come in order: `hint` is tried first.
    pub(super) fn find(&self, name: &[u8], hint: usize) -> Option<usize> {
        if self.entries.get(hint).is_some_and(|e| self.name(e) == name) {
            return Some(hint);
        }
        self.entries.binary_search_by(|e| self.name(e).cmp(name)).ok()
    }

    fn slice(&self, entry: &CachedEntry, (start, end): (usize, usize)) -> &[u8] {
        &self.parts[entry.part][start..end]
    }

    pub(super) fn name(&self, entry: &CachedEntry) -> &[u8] {
        self.slice(entry, entry.name)
    }

    /// The encoded entry.
    pub(super) fn record(&self, entry: &CachedEntry) -> &[u8] {
        self.slice(entry, entry.record)
    }

    /// The objects an entry needs.
    pub(super) fn members(&self, entry: &CachedEntry) -> impl ExactSizeIterator<Item = Member> {
        let (count, start) = entry.members;
        decode_members(&self.parts[entry.part][start..start + count * MEMBER])
    }

    /// The pages of the listing.
    pub(super) fn list_members(&self) -> impl ExactSizeIterator<Item = Member> {
        self.first_members(self.list_members)
    }

    /// The pages of the path index's listing.
    pub(super) fn index_members(&self) -> impl ExactSizeIterator<Item = Member> {
        self.first_members(self.index_members)
    }

    fn first_members(
        &self,
        (count, start): (usize, usize),
    ) -> impl ExactSizeIterator<Item = Member> {
        let whole = self.parts.first().map_or(&[][..], |p| &p[start..start + count * MEMBER]);
        decode_members(whole)
    }

    /// The frame again, if this is one whole.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.listing.as_ref().and_then(|_| self.parts.first()).map(|plain| &plain[..])
    }
}

fn decode_members(bytes: &[u8]) -> impl ExactSizeIterator<Item = Member> {
    bytes.as_chunks::<MEMBER>().0.iter().map(|m| {
        let (id, len) = m.split_first_chunk::<32>().expect("a member begins with its id");
        let len = len.try_into().expect("four bytes are left");
        Member { id: seawall_base::ObjectId(*id), len: u32::from_le_bytes(len) }
    })
}

/// Count and start of a run of members.
fn members(r: &mut Reader<'_>) -> Result<(usize, usize), WireError> {
    let count = r.u32()? as usize;
    let start = r.offset();
    let len = count.checked_mul(MEMBER).ok_or_else(|| r.invalid("count of members"))?;
    r.take(len)?;
    Ok((count, start))
}

fn span(r: &mut Reader<'_>, limit: usize) -> Result<(usize, usize), WireError> {
    let len = r.bytes(limit)?.len();
    Ok((r.offset() - len, r.offset()))
}

fn stamp(r: &mut Reader<'_>) -> Result<Stamp, WireError> {
    Ok(Stamp {
        dev: r.u64()?,
        ino: r.u64()?,
        nlink: 0,
        size: r.u64()?,
        mtime: (r.i64()?, r.u32()?),
        ctime: (r.i64()?, r.u32()?),
        mode: r.u32()?,
        uid: r.u32()?,
        gid: r.u32()?,
    })
}

/// Writes the frame of a directory.
pub(super) struct FrameWriter {
    w: Writer,
    count: u32,
    count_at: usize,
}

impl FrameWriter {
    /// The frame of a complete directory.
    pub(super) fn whole(
        key: &DirKey,
        tree: &Listed<List>,
        index: Option<&Listed<Indexed>>,
    ) -> Self {
        let mut w = Writer::new();
        w.raw(key).u8(1);
        tree.list.root.encode(&mut w);
        w.u8(tree.list.depth);
        put_members(&mut w, tree.pages.iter().copied());
        w.u8(u8::from(index.is_some()));
        if let Some(index) = index {
            index.list.encode(&mut w);
        }
        let pages = index.map_or(&[][..], |index| &index.pages);
        put_members(&mut w, pages.iter().copied());
        Self::counting(w)
    }

    /// A frame of some entries of a directory.
    pub(super) fn part(key: &DirKey) -> Self {
        let mut w = Writer::new();
        w.raw(key).u8(0).u32(0).u8(0).u32(0);
        Self::counting(w)
    }

    fn counting(mut w: Writer) -> Self {
        let count_at = w.len();
        w.u32(0);
        Self { w, count: 0, count_at }
    }

    pub(super) fn entry(
        &mut self,
        stamp: Option<&Stamp>,
        is_link: bool,
        bundle_len: u32,
        record: &[u8],
        members: impl ExactSizeIterator<Item = Member>,
    ) {
        self.count += 1;
        let w = &mut self.w;
        w.u8(u8::from(stamp.is_some()) | u8::from(is_link) << 1);
        if let Some(s) = stamp {
            w.u64(s.dev).u64(s.ino).u64(s.size).i64(s.mtime.0).u32(s.mtime.1);
            w.i64(s.ctime.0).u32(s.ctime.1).u32(s.mode).u32(s.uid).u32(s.gid);
        }
        w.u32(bundle_len).bytes(record);
        put_members(w, members);
    }

    pub(super) fn finish(self) -> Zeroizing<Vec<u8>> {
        let mut plain = self.w.into_vec();
        plain[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_le_bytes());
        Zeroizing::new(plain)
    }
}

fn put_members(w: &mut Writer, members: impl ExactSizeIterator<Item = Member>) {
    w.length(members.len());
    for member in members {
        w.raw(member.id.as_bytes()).u32(member.len);
    }
}
