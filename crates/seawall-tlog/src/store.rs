//! The entries of one log on a disk, and the hashes above them.
//!
//! The truth is one append-only file of *groups*: the entries of one append, framed and chained.
//! A group's tag is SHA-256 over the previous tag and the group, so bytes left over from an
//! earlier, failed write can never be mistaken for the next group. The stored-hashes file is a
//! cache: opening recomputes every hash from the entries and corrects the file. Rejected: trusting
//! the cache up to a checkpoint, which opens faster but notices a rotten entry only when someone
//! asks for it, perhaps years later at a restore.
//!
//! Invariants: an index is returned only after the fsync of its group; only the last group can be
//! unacknowledged, because an append that fails poisons the store until it is opened again; a
//! torn tail is cut only after it is known that nothing signed is missing. The byte-level format
//! and the crash argument are in `docs/formats/log.md`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use seawall_base::{Disk, DiskFile, OpenMode, Sha256, read_file, write_atomic};
use sha2::Digest as _;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::merkle::{
    self, Frontier, Hash, HashReader, MAX_SIZE, MerkleError, leaf_hash, stored_count,
    stored_position,
};
use crate::note::NoteError;

/// Largest entry in bytes: what a 16-bit length can say (C2SP tlog-tiles).
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// Most entries of one append.
pub const MAX_GROUP_ENTRIES: usize = 1 << 16;

/// Most bytes of one append, with two bytes for each entry's length: room for a full package of
/// 256 largest entries.
pub const MAX_GROUP_BYTES: usize = 17 << 20;

const FILE_MAGIC: &[u8; 8] = b"SWLOGv1\n";
const GROUP_MAGIC: &[u8; 4] = b"SWg1";
const REDO: &str = "entries.redo";
const GROUP_HEADER: usize = 20;
const TAG: usize = 32;

/// How many bytes may be hashed in search of groups behind a bad one.
const SEARCH_BUDGET: usize = 1 << 30;

/// Why a log could not be opened, extended or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed. Make room or repair it, then open the log again.
    #[error("{what} {path}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// An append failed earlier; whether its entries survived is known after opening again.
    #[error("the log {path} had a failed write and takes no more until it is opened again")]
    Poisoned {
        /// The log's directory.
        path: String,
    },
    /// Committed bytes are wrong. Nothing was changed; restore the file from a mirror.
    #[error("{path} is damaged at byte {offset}: {what}; restore it from a mirror, do not cut it")]
    Damaged {
        /// Which file.
        path: String,
        /// Where.
        offset: u64,
        /// How it was noticed.
        what: &'static str,
    },
    /// Fewer entries than a signed checkpoint covers. Appending would fork the log.
    #[error(
        "{path} holds {held} entries but a checkpoint of {signed} was signed: the disk was rolled \
         back or damaged; restore it from a mirror or begin a new epoch"
    )]
    RolledBack {
        /// The log's directory.
        path: String,
        /// Entries found.
        held: u64,
        /// Entries signed for.
        signed: u64,
    },
    /// The entries are not those that were signed. Appending would fork the log.
    #[error(
        "the entries of {path} do not have the root that was signed for {size} of them; restore \
         it from a mirror or begin a new epoch"
    )]
    Diverged {
        /// The log's directory.
        path: String,
        /// The size whose root differs.
        size: u64,
    },
    /// The directory holds another log.
    #[error("{path} belongs to the log {found:?}")]
    OtherLog {
        /// The file.
        path: String,
        /// The origin it names.
        found: String,
    },
    /// An append larger than allowed. Split it.
    #[error("cannot append: {0}")]
    TooLarge(&'static str),
    /// An entry or size that the log does not have (yet).
    #[error("{path} has no entry {index}, it holds {size}")]
    NoEntry {
        /// The log's directory.
        path: String,
        /// The index asked for.
        index: u64,
        /// Entries held.
        size: u64,
    },
    /// A proof could not be made.
    #[error(transparent)]
    Proof(#[from] MerkleError),
    /// A checkpoint could not be read or signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A cosignature was refused.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl LogError {
    pub(crate) fn io(what: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// What opening found and corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Entries held.
    pub size: u64,
    /// Bytes of a torn, never acknowledged append that were cut.
    pub cut_bytes: u64,
    /// Stored hashes that were missing or wrong and have been written again.
    pub rebuilt_hashes: u64,
    /// The size of the last checkpoint, if there is one.
    pub signed: Option<u64>,
}

/// A group found in the entries file.
struct Group {
    /// Its bytes: header, body, tag.
    bytes: Vec<u8>,
    first: u64,
    count: usize,
}

/// What a group's header says.
struct Claim {
    /// Bytes of the group with header and tag.
    total: usize,
    first: u64,
    count: usize,
}

impl Claim {
    fn parse(header: &[u8; GROUP_HEADER]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes")) as usize
        };
        let (body_len, count) = (word(4), word(8));
        let first = u64::from_le_bytes(header[12..].try_into().expect("8 bytes"));
        let plausible = header.starts_with(GROUP_MAGIC)
            && body_len <= MAX_GROUP_BYTES
            && (1..=MAX_GROUP_ENTRIES).contains(&count);
        plausible.then_some(Self { total: GROUP_HEADER + body_len + TAG, first, count })
    }
}

impl Group {
    fn body(&self) -> &[u8] {
        &self.bytes[GROUP_HEADER..self.bytes.len() - TAG]
    }

    fn tag(&self) -> Hash {
        let tail = &self.bytes[self.bytes.len() - TAG..];
        Sha256(tail.try_into().expect("a group ends in its tag"))
    }

    fn encode(previous: &Hash, first: u64, body: &[u8], count: usize) -> Self {
        let mut bytes = Vec::with_capacity(GROUP_HEADER + body.len() + TAG);
        bytes.extend_from_slice(GROUP_MAGIC);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&chain(previous, &bytes).0);
        Self { bytes, first, count }
    }

    /// What the header at the start of `bytes` says, if it can be that of a group within them.
    fn claim(bytes: &[u8]) -> Option<Claim> {
        let (header, rest) = bytes.split_first_chunk::<GROUP_HEADER>()?;
        let claim = Claim::parse(header)?;
        (claim.total - GROUP_HEADER <= rest.len()).then_some(claim)
    }

    /// The group in `bytes`, if its tag and entries are right.
    fn parse(bytes: &[u8], claim: &Claim, previous: &Hash) -> Option<Self> {
        let group = Self { bytes: bytes.to_vec(), first: claim.first, count: claim.count };
        let sealed = chain(previous, &bytes[..claim.total - TAG]) == group.tag();
        (sealed && group.entries().is_some()).then_some(group)
    }

    /// Reads the group at `offset`; `None` if there is no whole and valid one.
    fn read(
        file: &dyn DiskFile,
        offset: u64,
        len: u64,
        previous: &Hash,
    ) -> io::Result<Option<Self>> {
        let mut header = [0; GROUP_HEADER];
        let room = len.saturating_sub(offset);
        if room < (GROUP_HEADER + TAG) as u64 {
            return Ok(None);
        }
        file.read_exact_at(offset, &mut header)?;
        let Some(claim) = Claim::parse(&header).filter(|c| c.total as u64 <= room) else {
            return Ok(None);
        };
        let mut bytes = vec![0; claim.total];
        file.read_exact_at(offset, &mut bytes)?;
        Ok(Self::parse(&bytes, &claim, previous))
    }

    /// The entries, if the body is exactly `count` of them.
    fn entries(&self) -> Option<Vec<&[u8]>> {
        let mut rest = self.body();
        let mut out = Vec::with_capacity(self.count.min(rest.len()));
        while !rest.is_empty() {
            let (len, tail) = rest.split_first_chunk::<2>()?;
            let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
            out.push(entry);
            rest = tail;
        }
        (out.len() == self.count).then_some(out)
    }
}

fn chain(previous: &Hash, bytes: &[u8]) -> Hash {
    Sha256(sha2::Sha256::new().chain_update(previous.0).chain_update(bytes).finalize().into())
}

/// The entries and hashes of one log.
pub(crate) struct EntryStore {
    dir: String,
    entries: Box<dyn DiskFile>,
    hashes: Box<dyn DiskFile>,
    /// Where each entry's length prefix begins.
    offsets: Vec<u64>,
    /// One past the last committed group.
    tail: u64,
    /// The tag of the last committed group.
    tag: Hash,
    frontier: Frontier,
    poisoned: bool,
}

impl HashReader for EntryStore {
    fn hash(&self, level: u8, index: u64) -> io::Result<Hash> {
        let mut hash = [0; 32];
        self.hashes.read_exact_at(stored_position(level, index) * 32, &mut hash)?;
        Ok(Sha256(hash))
    }
}

impl EntryStore {
    /// Opens or creates the store in `dir`. Every checkpoint in `signed` must hold for what is
    /// found, or nothing is changed and the error says so.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &str,
        origin: &Origin,
        signed: &[&Checkpoint],
    ) -> Result<(Self, OpenReport), LogError> {
        let path = format!("{dir}/entries");
        let header = file_header(origin);
        create_entries(disk.as_ref(), dir, &path, &header, signed)?;
        let open = |name: &str, mode| {
            let path = format!("{dir}/{name}");
            disk.open(&path, mode).map_err(LogError::io("opening", &path))
        };
        let mut store = Self {
            dir: dir.to_owned(),
            entries: open("entries", OpenMode::Write)?,
            hashes: open("hashes", OpenMode::Create)?,
            offsets: Vec::new(),
            tail: header.len() as u64,
            tag: Sha256::of(&header),
            frontier: Frontier::default(),
            poisoned: false,
        };
        store.check_header(&path, &header)?;
        let mut wanted: Vec<&Checkpoint> = signed.to_vec();
        wanted.sort_by_key(|c| c.size);
        apply_redo(disk.as_ref(), dir, store.entries.as_ref())?;
        let (last, rebuilt_hashes) = store.scan(&path, &wanted)?;
        let size = store.size();
        let signed = wanted.last().map(|c| c.size);
        let unproven = last.filter(|_| signed.is_none_or(|signed| signed < size));
        let cut_bytes = store.recover(disk.as_ref(), &path, unproven)?;
        remove_redo(disk.as_ref(), dir)?;
        disk.sync_dir(dir).map_err(LogError::io("syncing", dir))?;
        Ok((store, OpenReport { size, cut_bytes, rebuilt_hashes, signed }))
    }

    fn check_header(&self, path: &str, header: &[u8]) -> Result<(), LogError> {
        let len = self.entries.len().map_err(LogError::io("measuring", path))?;
        let mut found = vec![0; (len as usize).min(FILE_MAGIC.len() + 1 + usize::from(u8::MAX))];
        self.entries.read_exact_at(0, &mut found).map_err(LogError::io("reading", path))?;
        if found.starts_with(header) {
            return Ok(());
        }
        let name = found.strip_prefix(FILE_MAGIC).and_then(<[u8]>::split_first);
        let name = name.and_then(|(len, rest)| rest.get(..usize::from(*len)));
        match name.map(str::from_utf8) {
            Some(Ok(name)) => {
                Err(LogError::OtherLog { path: path.to_owned(), found: name.to_owned() })
            }
            _ => Err(damaged(path, 0, "not the header of a log")),
        }
    }

    /// Reads every group, recomputing hashes; checks `wanted`, sorted by size. Gives the offset
    /// of the last group and the tag before it, and how many stored hashes were corrected.
    fn scan(
        &mut self,
        path: &str,
        wanted: &[&Checkpoint],
    ) -> Result<(Option<(u64, Hash)>, u64), LogError> {
        let len = self.entries.len().map_err(LogError::io("measuring", path))?;
        let (mut last, mut rebuilt) = (None, 0);
        let mut wanted = wanted.iter().peekable();
        let mut stored = Vec::new();
        self.check_roots(&mut wanted)?;
        while let Some(group) = Group::read(self.entries.as_ref(), self.tail, len, &self.tag)
            .map_err(LogError::io("reading", path))?
        {
            if group.first != self.size() {
                return Err(damaged(path, self.tail, "a group with the wrong first index"));
            }
            last = Some((self.tail, self.tag));
            let before = stored_count(self.size());
            let mut at = self.tail + GROUP_HEADER as u64;
            stored.clear();
            for entry in group.entries().expect("checked when the group was read") {
                self.offsets.push(at);
                at += 2 + entry.len() as u64;
                self.frontier.push(leaf_hash(entry), &mut stored);
                self.check_roots(&mut wanted)?;
            }
            rebuilt += self.correct_hashes(before, &stored)?;
            self.tail += group.bytes.len() as u64;
            self.tag = group.tag();
        }
        self.refuse_lost_groups(path, len)?;
        if let Some(missing) = wanted.last() {
            let (path, held) = (self.dir.clone(), self.size());
            return Err(LogError::RolledBack { path, held, signed: missing.size });
        }
        Ok((last, rebuilt))
    }

    /// Checks the signed roots of exactly the current size.
    fn check_roots<'a>(
        &self,
        wanted: &mut std::iter::Peekable<std::slice::Iter<'a, &'a Checkpoint>>,
    ) -> Result<(), LogError> {
        while let Some(checkpoint) = wanted.next_if(|c| c.size == self.size()) {
            if checkpoint.root != self.root() {
                return Err(LogError::Diverged { path: self.dir.clone(), size: self.size() });
            }
        }
        Ok(())
    }

    /// Refuses a file in which a valid group follows bytes that are none: committed groups were
    /// damaged, this is no torn tail. The next group chains to the 32 bytes before it.
    ///
    /// A torn tail is part of one group, so more than one group's bytes are damage, too. In doubt,
    /// when the bytes are made to look like too many groups, nothing is cut either.
    fn refuse_lost_groups(&self, path: &str, len: u64) -> Result<(), LogError> {
        let lost = || damaged(path, self.tail, "committed entries follow a bad group");
        let rest = len - self.tail;
        if rest > (GROUP_HEADER + MAX_GROUP_BYTES + TAG) as u64 {
            return Err(lost());
        }
        let mut bytes = vec![0; rest as usize];
        self.entries.read_exact_at(self.tail, &mut bytes).map_err(LogError::io("reading", path))?;
        let mut budget = SEARCH_BUDGET;
        for at in TAG..bytes.len() {
            let Some(claim) = Group::claim(&bytes[at..]) else { continue };
            budget = budget.checked_sub(claim.total).ok_or_else(lost)?;
            let previous = bytes[at - TAG..at].try_into().expect("32 bytes");
            if Group::parse(&bytes[at..at + claim.total], &claim, &Sha256(previous)).is_some() {
                return Err(lost());
            }
        }
        Ok(())
    }

    /// Compares stored hashes from position `before` on; writes those that differ.
    fn correct_hashes(&self, before: u64, right: &[Hash]) -> Result<u64, LogError> {
        let path = format!("{}/hashes", self.dir);
        let len = self.hashes.len().map_err(LogError::io("measuring", &path))?;
        let mut found = vec![0; right.len() * 32];
        let have = len.saturating_sub(before * 32).min(found.len() as u64) as usize;
        self.hashes
            .read_exact_at(before * 32, &mut found[..have])
            .map_err(LogError::io("reading", &path))?;
        let wrong = right
            .iter()
            .zip(found.chunks_exact(32))
            .enumerate()
            .filter(|(i, (hash, found))| (i + 1) * 32 > have || hash.0 != **found)
            .count();
        if wrong > 0 {
            self.write_hashes(before, right)?;
        }
        Ok(wrong as u64)
    }

    fn write_hashes(&self, position: u64, hashes: &[Hash]) -> Result<(), LogError> {
        let bytes: Vec<u8> = hashes.iter().flat_map(|h| h.0).collect();
        let path = format!("{}/hashes", self.dir);
        self.hashes.write_at(position * 32, &bytes).map_err(LogError::io("writing", &path))
    }

    /// Cuts a torn tail and makes durable what is about to be shown.
    ///
    /// Unless a checkpoint covers it, the last group may have been read from memory the disk never
    /// took (a failed fsync drops pages while readers still see them), so its bytes are written
    /// again before the sync. Writing over bytes that may be durable can itself be torn: a copy
    /// stands by in `entries.redo` until the sync has succeeded.
    fn recover(
        &mut self,
        disk: &dyn Disk,
        path: &str,
        unproven: Option<(u64, Hash)>,
    ) -> Result<u64, LogError> {
        let len = self.entries.len().map_err(LogError::io("measuring", path))?;
        if len > self.tail {
            self.entries.set_len(self.tail).map_err(LogError::io("cutting", path))?;
        }
        if let Some((offset, previous)) = unproven {
            let mut bytes = vec![0; (self.tail - offset) as usize];
            self.entries
                .read_exact_at(offset, &mut bytes)
                .map_err(LogError::io("reading", path))?;
            let redo = [&offset.to_le_bytes()[..], &previous.0, &bytes].concat();
            let redo_path = format!("{}/{REDO}", self.dir);
            write_atomic(disk, &redo_path, &redo).map_err(LogError::io("writing", &redo_path))?;
            self.entries.write_at(offset, &bytes).map_err(LogError::io("writing", path))?;
        }
        self.entries.sync().map_err(LogError::io("syncing", path))?;
        let path = format!("{}/hashes", self.dir);
        let right = stored_count(self.size()) * 32;
        if self.hashes.len().map_err(LogError::io("measuring", &path))? > right {
            self.hashes.set_len(right).map_err(LogError::io("cutting", &path))?;
        }
        Ok(len - self.tail)
    }

    /// Entries held, all durable.
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over all entries.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The root over the first `size` entries.
    pub(crate) fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        if size > self.size() {
            return Err(self.no_entry(size));
        }
        Ok(merkle::root(self, size)?)
    }

    fn no_entry(&self, index: u64) -> LogError {
        LogError::NoEntry { path: self.dir.clone(), index, size: self.size() }
    }

    /// Appends entries as one group: all of them are durable, or none is acknowledged.
    pub(crate) fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Range<u64>, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned { path: self.dir.clone() });
        }
        let first = self.size();
        if entries.is_empty() {
            return Ok(first..first);
        }
        if entries.len() > MAX_GROUP_ENTRIES || first + entries.len() as u64 > MAX_SIZE {
            return Err(LogError::TooLarge("more than 65536 entries at once; split them"));
        }
        let body = encode_entries(entries)?;
        let group = Group::encode(&self.tag, first, &body, entries.len());
        let (mut frontier, mut stored) = (self.frontier.clone(), Vec::new());
        for entry in entries {
            frontier.push(leaf_hash(entry.as_ref()), &mut stored);
        }
        // Until everything below has succeeded, what is on the disk is unknown.
        self.poisoned = true;
        let path = format!("{}/entries", self.dir);
        self.entries.write_at(self.tail, &group.bytes).map_err(LogError::io("writing", &path))?;
        self.entries.sync().map_err(LogError::io("syncing", &path))?;
        self.write_hashes(stored_count(first), &stored)?;
        self.poisoned = false;
        let mut at = self.tail + GROUP_HEADER as u64;
        for entry in entries {
            self.offsets.push(at);
            at += 2 + entry.as_ref().len() as u64;
        }
        self.frontier = frontier;
        self.tag = group.tag();
        self.tail += group.bytes.len() as u64;
        Ok(first..self.size())
    }

    /// The stored hash of a leaf.
    pub(crate) fn leaf(&self, index: u64) -> Result<Hash, LogError> {
        if index >= self.size() {
            return Err(self.no_entry(index));
        }
        self.hash(0, index).map_err(LogError::io("reading hashes of", &self.dir))
    }

    /// An entry's bytes, checked against its stored leaf hash.
    pub(crate) fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let at = *usize::try_from(index)
            .ok()
            .and_then(|i| self.offsets.get(i))
            .ok_or_else(|| self.no_entry(index))?;
        let path = format!("{}/entries", self.dir);
        let reading = || LogError::io("reading", &path);
        let mut len = [0; 2];
        self.entries.read_exact_at(at, &mut len).map_err(reading())?;
        let mut entry = vec![0; u16::from_be_bytes(len).into()];
        self.entries.read_exact_at(at + 2, &mut entry).map_err(reading())?;
        if leaf_hash(&entry) != self.leaf(index)? {
            return Err(damaged(&path, at, "an entry does not have its stored hash"));
        }
        Ok(entry)
    }

    /// The entries of a range.
    pub(crate) fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, LogError> {
        range.map(|index| self.entry(index)).collect()
    }
}

pub(crate) fn damaged(path: &str, offset: u64, what: &'static str) -> LogError {
    LogError::Damaged { path: path.to_owned(), offset, what }
}

fn file_header(origin: &Origin) -> Vec<u8> {
    let name = origin.as_str().as_bytes();
    let mut header = FILE_MAGIC.to_vec();
    header.push(u8::try_from(name.len()).expect("an origin has at most 255 bytes"));
    header.extend_from_slice(name);
    header
}

/// Creates the entries file whole, unless a checkpoint says that it should have been there.
fn create_entries(
    disk: &dyn Disk,
    dir: &str,
    path: &str,
    header: &[u8],
    signed: &[&Checkpoint],
) -> Result<(), LogError> {
    match disk.open(path, OpenMode::Read) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(signed) = signed.iter().map(|c| c.size).max().filter(|size| *size > 0) {
                return Err(LogError::RolledBack { path: dir.to_owned(), held: 0, signed });
            }
            disk.create_dir_all(dir).map_err(LogError::io("creating", dir))?;
            write_atomic(disk, path, header).map_err(LogError::io("creating", path))
        }
        Err(e) => Err(LogError::io("opening", path)(e)),
    }
}

/// Writes the standby copy of the last group into place, if an earlier opening left one. The group
/// was valid when it was copied, so it is what belongs there, whatever was written since.
fn apply_redo(disk: &dyn Disk, dir: &str, entries: &dyn DiskFile) -> Result<(), LogError> {
    let path = format!("{dir}/{REDO}");
    let limit = 8 + TAG + GROUP_HEADER + MAX_GROUP_BYTES + TAG;
    let Some(redo) = read_small(disk, &path, limit)? else { return Ok(()) };
    let parts = redo.split_first_chunk::<8>().and_then(|(offset, rest)| {
        let (previous, group) = rest.split_first_chunk::<TAG>()?;
        let (body, tag) = group.split_last_chunk::<TAG>()?;
        (chain(&Sha256(*previous), body).0 == *tag).then_some((u64::from_le_bytes(*offset), group))
    });
    let (offset, group) =
        parts.ok_or_else(|| damaged(&path, 0, "not a group; remove it if entries is whole"))?;
    let target = format!("{dir}/entries");
    entries.write_at(offset, group).map_err(LogError::io("writing", &target))?;
    entries.sync().map_err(LogError::io("syncing", &target))
}

fn remove_redo(disk: &dyn Disk, dir: &str) -> Result<(), LogError> {
    let path = format!("{dir}/{REDO}");
    match disk.remove(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LogError::io("removing", &path)(e)),
        _ => Ok(()),
    }
}

/// Length-prefixed entries, as in a C2SP entry bundle.
fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, LogError> {
    let mut body = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let len = u16::try_from(entry.len())
            .map_err(|_| LogError::TooLarge("an entry of more than 65535 bytes"))?;
        body.extend_from_slice(&len.to_be_bytes());
        body.extend_from_slice(entry);
        if body.len() > MAX_GROUP_BYTES {
            return Err(LogError::TooLarge("more than 17 MiB at once; split the entries"));
        }
    }
    Ok(body)
}

/// Reads a small file of a log's directory.
pub(crate) fn read_small(
    disk: &dyn Disk,
    path: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>, LogError> {
    read_file(disk, path, limit).map_err(LogError::io("reading", path))
}
