//! A segment: an immutable file of rows in order, in blocks of three parts sealed apart.
//!
//! Names are one run of bytes, each name between two NULs, so that one scan over a block's names
//! finds a word in any of them. Directories are front-coded; columns have a base and as many
//! bytes per row as the block's range of values needs.

use std::cmp::Ordering;
use std::io;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{Disk, DiskFile, OpenMode};

use super::cache::CacheError;
use super::row::Event;
use super::vault::{OVERHEAD, Vault};
use crate::path_index::PathKind;

/// Rows after which a block ends.
const BLOCK_ROWS: usize = 8_192;
/// Bytes of names after which a block ends.
const BLOCK_NAMES: usize = 256 << 10;
/// Bytes of whole paths after which a block ends: what a search may have to put together.
const BLOCK_PATHS: usize = 8 << 20;
/// Bytes of directories in a block, at most: those of [`BLOCK_PATHS`] and one more.
const MAX_DIRS: usize = BLOCK_PATHS + MAX_DIR;
/// Longest key of a directory, in bytes; deeper ones are not indexed.
pub(super) const MAX_DIR: usize = 16 << 10;
const MAGIC: &[u8; 16] = b"seawall find 1\n\0";
const INDEX_PART: u64 = u64::MAX;

/// Where a segment is and how large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentInfo {
    /// Names the file and its keys.
    pub(super) id: [u8; 16],
    /// Where its index begins.
    pub(super) index_offset: u64,
    /// Sealed bytes of the index.
    pub(super) index_len: u32,
    /// Rows.
    pub(super) rows: u64,
}

impl SegmentInfo {
    /// Its file in `dir`.
    pub(super) fn path(&self, dir: &str) -> String {
        format!("{dir}/{}.seg", hex::encode(self.id))
    }
}

/// What the index says of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockInfo {
    offset: u64,
    /// Sealed lengths of names, directories and columns, one behind the other.
    lens: [u32; 3],
    rows: u32,
    /// All rows of a block are of one line.
    pub(super) line: u32,
    pub(super) first_dir: Vec<u8>,
    pub(super) first_name: Vec<u8>,
    pub(super) last_dir: Vec<u8>,
}

/// An integer column: base, and the bytes of each row's distance from it.
struct Column {
    base: u64,
    width: usize,
    bytes: Vec<u8>,
}

impl Column {
    /// `None` stands for any value: it takes the base.
    fn encode(values: &[Option<u64>], w: &mut Writer) {
        let known = || values.iter().flatten().copied();
        let base = known().min().map_or(0, |v| v);
        let range = known().max().map_or(0, |v| v - base);
        let width = (64 - range.leading_zeros() as usize).div_ceil(8);
        w.u64(base).u8(width as u8);
        for value in values {
            w.raw(&(value.map_or(0, |v| v - base)).to_le_bytes()[..width]);
        }
    }

    fn decode(r: &mut Reader<'_>, rows: usize) -> Result<Self, WireError> {
        let (base, width) = (r.u64()?, usize::from(r.u8()?));
        if width > 8 {
            return Err(r.invalid("width of a column"));
        }
        Ok(Self { base, width, bytes: r.take(rows * width)?.to_vec() })
    }

    fn get(&self, row: usize) -> u64 {
        let mut value = [0; 8];
        value[..self.width].copy_from_slice(&self.bytes[row * self.width..][..self.width]);
        self.base.wrapping_add(u64::from_le_bytes(value))
    }
}

/// Keeps the order of signed numbers.
const fn unsigned(v: i64) -> u64 {
    v.cast_unsigned() ^ (1 << 63)
}

const fn signed(v: u64) -> i64 {
    (v ^ (1 << 63)).cast_signed()
}

#[derive(Default)]
struct OpenBlock {
    line: u32,
    names: Vec<u8>,
    dirs: Vec<(Vec<u8>, u32)>,
    events: Vec<Event>,
    first_name: Vec<u8>,
    /// Bytes of the paths of all rows.
    paths: usize,
}

/// Writes a segment front to back.
pub(super) struct SegmentWriter {
    id: [u8; 16],
    vault: Vault,
    file: Box<dyn DiskFile>,
    path: String,
    offset: u64,
    open: OpenBlock,
    last_name: Vec<u8>,
    blocks: Vec<BlockInfo>,
    rows: u64,
}

impl SegmentWriter {
    /// A new segment in `dir`, named by `id`.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &str,
        key: &[u8; 32],
        id: [u8; 16],
    ) -> Result<Self, CacheError> {
        let path = format!("{dir}/{}.seg", hex::encode(id));
        let failed = CacheError::io(&path);
        let file = disk.open(&path, OpenMode::Create).map_err(failed)?;
        file.write_at(0, &[&MAGIC[..], &id].concat()).map_err(CacheError::io(&path))?;
        Ok(Self {
            id,
            vault: Vault::new(key, &id),
            file,
            path,
            offset: (MAGIC.len() + id.len()) as u64,
            open: OpenBlock::default(),
            last_name: Vec::new(),
            blocks: Vec::new(),
            rows: 0,
        })
    }

    /// Appends a row, which comes after all before it.
    pub(super) fn push(
        &mut self,
        line: u32,
        dir: &[u8],
        name: &[u8],
        event: Event,
    ) -> Result<(), CacheError> {
        let open = &self.open;
        let full = open.events.len() >= BLOCK_ROWS
            || open.names.len() >= BLOCK_NAMES
            || open.paths >= BLOCK_PATHS;
        if !open.events.is_empty() && (full || open.line != line) {
            self.close_block()?;
        }
        let open = &mut self.open;
        match open.dirs.last_mut() {
            Some((last, rows)) if last == dir => {
                assert!(self.last_name[..] <= *name, "names of a directory come in order");
                *rows += 1;
            }
            last => {
                assert!(last.is_none_or(|(last, _)| last[..] < *dir), "directories come in order");
                open.dirs.push((dir.to_vec(), 1));
            }
        }
        if open.events.is_empty() {
            open.line = line;
            open.first_name = name.to_vec();
            open.names.push(0);
        }
        open.names.extend_from_slice(name);
        open.names.push(0);
        open.events.push(event);
        open.paths += dir.len() + name.len() + 2;
        self.last_name.clear();
        self.last_name.extend_from_slice(name);
        self.rows += 1;
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), CacheError> {
        let block = std::mem::take(&mut self.open);
        let part = 3 * self.blocks.len() as u64;
        let dirs = encode_dirs(&block.dirs);
        let columns = encode_columns(&block.events);
        let (offset, mut lens) = (self.offset, [0; 3]);
        for (i, mut plain) in [block.names, dirs, columns].into_iter().enumerate() {
            self.vault.seal(part + i as u64, &mut plain);
            self.file.write_at(self.offset, &plain).map_err(CacheError::io(&self.path))?;
            self.offset += plain.len() as u64;
            lens[i] = plain.len() as u32;
        }
        let (first, last) = (&block.dirs[0].0, &block.dirs[block.dirs.len() - 1].0);
        self.blocks.push(BlockInfo {
            offset,
            lens,
            rows: block.events.len() as u32,
            line: block.line,
            first_dir: first.clone(),
            first_name: block.first_name,
            last_dir: last.clone(),
        });
        Ok(())
    }

    /// Makes the segment durable; `None` if there was nothing to write: its file is then to be
    /// removed by whoever collects unnamed files.
    pub(super) fn finish(mut self) -> Result<Option<SegmentInfo>, CacheError> {
        if !self.open.events.is_empty() {
            self.close_block()?;
        }
        if self.blocks.is_empty() {
            return Ok(None);
        }
        let mut w = Writer::new();
        w.length(self.blocks.len());
        for block in &self.blocks {
            w.u64(block.offset);
            let [names, dirs, columns] = block.lens;
            w.u32(names).u32(dirs).u32(columns).u32(block.rows).u32(block.line);
            w.bytes(&block.first_dir).bytes(&block.first_name).bytes(&block.last_dir);
        }
        let mut index = w.into_vec();
        self.vault.seal(INDEX_PART, &mut index);
        let failed = || CacheError::io(&self.path);
        self.file.write_at(self.offset, &index).map_err(failed())?;
        self.file.set_len(self.offset + index.len() as u64).map_err(failed())?;
        self.file.sync().map_err(failed())?;
        Ok(Some(SegmentInfo {
            id: self.id,
            index_offset: self.offset,
            index_len: index.len() as u32,
            rows: self.rows,
        }))
    }
}

fn encode_dirs(dirs: &[(Vec<u8>, u32)]) -> Vec<u8> {
    let mut w = Writer::new();
    w.length(dirs.len());
    let mut last: &[u8] = &[];
    for (dir, rows) in dirs {
        let shared = last.iter().zip(dir).take_while(|(a, b)| a == b).count();
        w.length(shared).bytes(&dir[shared..]).u32(*rows);
        last = dir;
    }
    w.into_vec()
}

fn encode_columns(events: &[Event]) -> Vec<u8> {
    let mut w = Writer::new();
    let mut columns: [Vec<Option<u64>>; 4] = Default::default();
    for event in events {
        let (kind, values) = match *event {
            Event::Span { kind, size, mtime, born, died, .. } => {
                let died = died.map_or(0, u64::from);
                (kind as u8, [Some(size), Some(unsigned(mtime)), Some(born.into()), Some(died)])
            }
            Event::End { died } => (0, [None, None, None, Some(died.into())]),
        };
        w.u8(kind);
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    for column in &columns {
        Column::encode(column, &mut w);
    }
    for event in events {
        if let Event::Span { kind: PathKind::Directory, below, .. } = event {
            w.raw(&below.map_or([0; 16], |below| below));
        }
    }
    w.into_vec()
}

/// The columns of a block.
pub(super) struct Columns {
    kinds: Vec<u8>,
    size: Column,
    mtime: Column,
    born: Column,
    died: Column,
    below: Vec<[u8; 16]>,
    /// How many directories stand before each row, in steps of 64 rows.
    ranks: Vec<u32>,
}

const RANK_STEP: usize = 64;

const fn is_dir(kind: &u8) -> bool {
    *kind == PathKind::Directory as u8
}

impl Columns {
    fn decode(plain: &[u8], rows: usize) -> Result<Self, WireError> {
        let mut r = Reader::new(plain);
        let kinds = r.take(rows)?.to_vec();
        if kinds.iter().any(|&k| k != 0 && PathKind::of(k).is_none()) {
            return Err(r.invalid("kind of a path"));
        }
        let mut column = || Column::decode(&mut r, rows);
        let (size, mtime, born, died) = (column()?, column()?, column()?, column()?);
        let mut below = Vec::new();
        for _ in kinds.iter().filter(|k| is_dir(k)) {
            below.push(r.array()?);
        }
        r.finish()?;
        let mut ranks = Vec::with_capacity(rows / RANK_STEP + 1);
        let mut rank = 0;
        for step in kinds.chunks(RANK_STEP) {
            ranks.push(rank);
            rank += step.iter().filter(|k| is_dir(k)).count() as u32;
        }
        Ok(Self { kinds, size, mtime, born, died, below, ranks })
    }

    /// What a row says.
    pub(super) fn event(&self, row: usize) -> Event {
        let died = self.died.get(row) as u32;
        let Some(kind) = PathKind::of(self.kinds[row]) else { return Event::End { died } };
        let below = (kind == PathKind::Directory).then(|| {
            let step = row / RANK_STEP;
            let before = self.kinds[step * RANK_STEP..row].iter();
            let dirs = before.filter(|k| is_dir(k)).count();
            self.below[self.ranks[step] as usize + dirs]
        });
        Event::Span {
            kind,
            size: self.size.get(row),
            mtime: signed(self.mtime.get(row)),
            below,
            born: self.born.get(row) as u32,
            died: (died != 0).then_some(died),
        }
    }
}

/// The directories of a block, one behind the other.
pub(super) struct Dirs {
    bytes: Vec<u8>,
    /// Of each directory, where its bytes end, and the row behind its last.
    ends: Vec<(u32, u32)>,
}

impl Dirs {
    fn decode(plain: &[u8], rows: usize) -> Result<Self, WireError> {
        let mut r = Reader::new(plain);
        let count = r.length(rows)?;
        let mut it = Self { bytes: Vec::new(), ends: Vec::with_capacity(count) };
        let (mut last, mut row) = (0..0, 0);
        for _ in 0..count {
            let shared = r.length(last.len())?;
            let (start, rest) = (it.bytes.len(), r.bytes(MAX_DIR)?);
            it.bytes.extend_from_within(last.start..last.start + shared);
            it.bytes.extend_from_slice(rest);
            if it.bytes.len() > MAX_DIRS || it.bytes.len() - start > MAX_DIR {
                return Err(r.invalid("length of the directories"));
            }
            row += r.length(rows)?;
            last = start..it.bytes.len();
            it.ends.push((last.end as u32, row as u32));
        }
        if row != rows {
            return Err(r.invalid("rows of the directories"));
        }
        r.finish()?;
        Ok(it)
    }

    fn at(&self, at: usize) -> (&[u8], std::ops::Range<usize>) {
        let (from, first) = at.checked_sub(1).map_or((0, 0), |before| self.ends[before]);
        let (to, behind) = self.ends[at];
        (&self.bytes[from as usize..to as usize], first as usize..behind as usize)
    }

    /// The directory of a row.
    pub(super) fn of(&self, row: usize) -> &[u8] {
        self.at(self.ends.partition_point(|(_, behind)| *behind as usize <= row)).0
    }

    /// The rows of a directory.
    pub(super) fn rows_of(&self, dir: &[u8]) -> std::ops::Range<usize> {
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = from.midpoint(to);
            let (found, rows) = self.at(middle);
            match found.cmp(dir) {
                Ordering::Equal => return rows,
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
            }
        }
        0..0
    }

    /// Each directory with its rows.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&[u8], std::ops::Range<usize>)> {
        (0..self.ends.len()).map(|at| self.at(at))
    }
}

/// A block, taken apart.
pub(super) struct Block {
    pub(super) line: u32,
    names: Vec<u8>,
    /// Where each name begins.
    starts: Vec<u32>,
    pub(super) dirs: Dirs,
    pub(super) columns: Columns,
}

impl Block {
    /// How many rows it has.
    pub(super) const fn rows(&self) -> usize {
        self.starts.len()
    }

    /// The name in a row.
    pub(super) fn name(&self, row: usize) -> &[u8] {
        let start = self.starts[row] as usize;
        let end = self.starts.get(row + 1).map_or(self.names.len(), |next| *next as usize) - 1;
        &self.names[start..end]
    }
}

/// Where names begin in a block's run of names: behind each NUL but the last.
pub(super) fn name_starts(names: &[u8]) -> Vec<u32> {
    let mut starts: Vec<u32> = memchr::memchr_iter(0, names).map(|at| at as u32 + 1).collect();
    starts.pop();
    starts
}

/// An open segment.
pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    vault: Vault,
    path: String,
    pub(super) blocks: Vec<BlockInfo>,
    pub(super) info: SegmentInfo,
}

impl Segment {
    /// Opens a segment and its index.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &str,
        key: &[u8; 32],
        info: &SegmentInfo,
    ) -> Result<Self, CacheError> {
        let path = info.path(dir);
        let file = match disk.open(&path, OpenMode::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(CacheError::damaged(&path, "it is missing"));
            }
            file => file.map_err(CacheError::io(&path))?,
        };
        let vault = Vault::new(key, &info.id);
        let mut it = Self { file, vault, path, blocks: Vec::new(), info: info.clone() };
        let mut index = Vec::new();
        let plain = it.part(INDEX_PART, info.index_offset, info.index_len, &mut index)?;
        let blocks = decode_index(plain, info).map_err(|e| it.damaged(e))?;
        it.blocks = blocks;
        Ok(it)
    }

    pub(super) fn damaged(&self, e: impl std::fmt::Display) -> CacheError {
        CacheError::damaged(&self.path, e.to_string())
    }

    /// Reads and opens a part into `buffer`, which is reused.
    fn part<'a>(
        &self,
        part: u64,
        offset: u64,
        len: u32,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], CacheError> {
        buffer.resize(len as usize, 0);
        match self.file.read_exact_at(offset, buffer) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged("it is cut short"));
            }
            read => read.map_err(CacheError::io(&self.path))?,
        }
        let opened = self.vault.open(part, buffer);
        opened.map_err(|_| self.damaged("a part of it does not open"))?;
        Ok(buffer)
    }

    fn block_part<'a>(
        &self,
        block: usize,
        which: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], CacheError> {
        let info = &self.blocks[block];
        let before: u64 = info.lens[..which].iter().map(|len| u64::from(*len)).sum();
        self.part((3 * block + which) as u64, info.offset + before, info.lens[which], buffer)
    }

    /// How many rows a block has.
    pub(super) fn rows_of(&self, block: usize) -> usize {
        self.blocks[block].rows as usize
    }

    /// A block's run of names.
    pub(super) fn names<'a>(
        &self,
        block: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], CacheError> {
        let names = self.block_part(block, 0, buffer)?;
        // Searches rely on a NUL in front of the first name and behind the last.
        if names.len() < 2 || names[0] != 0 || names[names.len() - 1] != 0 {
            return Err(self.damaged("its names are not between NULs"));
        }
        Ok(names)
    }

    /// A block's directories.
    pub(super) fn dirs(&self, block: usize, buffer: &mut Vec<u8>) -> Result<Dirs, CacheError> {
        let rows = self.blocks[block].rows as usize;
        let plain = self.block_part(block, 1, buffer)?;
        Dirs::decode(plain, rows).map_err(|e| self.damaged(e))
    }

    /// A block's columns.
    pub(super) fn columns(
        &self,
        block: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Columns, CacheError> {
        let rows = self.blocks[block].rows as usize;
        let plain = self.block_part(block, 2, buffer)?;
        Columns::decode(plain, rows).map_err(|e| self.damaged(e))
    }

    /// A whole block.
    pub(super) fn block(&self, block: usize) -> Result<Block, CacheError> {
        let mut buffer = Vec::new();
        let names = self.names(block, &mut buffer)?.to_vec();
        let starts = name_starts(&names);
        if starts.len() != self.blocks[block].rows as usize {
            return Err(self.damaged("its names are not as many as its rows"));
        }
        let dirs = self.dirs(block, &mut buffer)?;
        let columns = self.columns(block, &mut buffer)?;
        Ok(Block { line: self.blocks[block].line, names, starts, dirs, columns })
    }
}

fn decode_index(plain: &[u8], info: &SegmentInfo) -> Result<Vec<BlockInfo>, WireError> {
    let mut r = Reader::new(plain);
    // A block's entry takes at least 40 bytes.
    let count = r.length(plain.len() / 40)?;
    let mut blocks = Vec::with_capacity(count);
    let (mut offset, mut rows) = ((MAGIC.len() + info.id.len()) as u64, 0);
    for _ in 0..count {
        let block = BlockInfo {
            offset: r.u64()?,
            lens: [r.u32()?, r.u32()?, r.u32()?],
            rows: r.u32()?,
            line: r.u32()?,
            first_dir: r.bytes(MAX_DIR)?.to_vec(),
            first_name: r.bytes(crate::entry::MAX_NAME)?.to_vec(),
            last_dir: r.bytes(MAX_DIR)?.to_vec(),
        };
        let len = block.lens.iter().map(|len| u64::from(*len)).sum::<u64>();
        let short = block.lens.iter().any(|len| (*len as usize) < OVERHEAD);
        if block.offset != offset || short || block.rows as usize > BLOCK_ROWS || block.rows == 0 {
            return Err(r.invalid("place of a block"));
        }
        offset += len;
        rows += u64::from(block.rows);
        blocks.push(block);
    }
    if offset != info.index_offset || rows != info.rows {
        return Err(r.invalid("extent of the blocks"));
    }
    r.finish()?;
    Ok(blocks)
}
