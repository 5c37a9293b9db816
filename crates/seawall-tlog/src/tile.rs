//! C2SP tlog-tiles: paths, hash tiles, entry bundles, and reading a log back from them.
//!
//! Tiles are a view; nothing is stored in this shape. A reader trusts none of it:
//! [`TileReader::entries`] proves every bundle to the checkpoint's root before an entry is
//! returned.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::str::FromStr;

use seawall_base::Sha256;

use crate::checkpoint::Checkpoint;
use crate::merkle::{
    self, Hash, HashReader, MAX_SIZE, MerkleError, leaf_hash, root_of_leaves, subtree_proof,
    verify_subtree,
};
use crate::note::parse_decimal;
use crate::store::MAX_ENTRY;

/// Hashes of a full tile and entries of a full bundle.
pub const WIDTH: u64 = 256;

/// Largest full bundle in bytes.
pub const MAX_BUNDLE: usize = 256 * (2 + MAX_ENTRY);

/// Why tiles were refused.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// Not a path of the specification in its only spelling.
    #[error("not a tile path: {0:?}")]
    Path(String),
    /// A tile or bundle that is not of the size its path says.
    #[error("malformed {path}: {what}")]
    Malformed {
        /// Which.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A tile could not be fetched.
    #[error("fetching {path}")]
    Fetch {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A resource that the checkpoint promises is not there: the log was truncated.
    #[error("{path} is missing below a checkpoint of {size}: the log was truncated")]
    Truncated {
        /// Which.
        path: String,
        /// The checkpoint's size.
        size: u64,
    },
    /// Entries asked for beyond the checkpoint.
    #[error("entries to {end} asked for, the checkpoint covers {size}")]
    Range {
        /// One past the last entry asked for.
        end: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// The tiles are not those of the checkpoint.
    #[error(transparent)]
    Proof(MerkleError),
}

/// A resource of a tiled log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TilePath {
    /// `checkpoint`
    Checkpoint,
    /// `tile/<level>/<index>[.p/<width>]`
    Hashes {
        /// 0 to 63; each is 8 levels of the tree.
        level: u8,
        /// Position in the level.
        index: u64,
        /// 1 to 256 hashes.
        width: u16,
    },
    /// `tile/entries/<index>[.p/<width>]`
    Entries {
        /// Position.
        index: u64,
        /// 1 to 256 entries.
        width: u16,
    },
}

impl TilePath {
    /// How many hashes or entries it holds; 0 for the checkpoint.
    fn len(&self) -> usize {
        match *self {
            Self::Checkpoint => 0,
            Self::Hashes { width, .. } | Self::Entries { width, .. } => width.into(),
        }
    }

    /// Whether a log of `size` entries has this resource. Narrower views of its tiles count.
    pub fn exists_in(&self, size: u64) -> bool {
        let within = |level: u8, index: u64, width: u16| {
            let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            index
                .checked_mul(WIDTH)
                .and_then(|first| first.checked_add(width.into()))
                .is_some_and(|end| end <= hashes)
        };
        match *self {
            Self::Checkpoint => true,
            Self::Hashes { level, index, width } => within(level, index, width),
            Self::Entries { index, width } => within(0, index, width),
        }
    }
}

/// `1234067` as `x001/x234/067`.
fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    if index >= 1000 {
        write_groups(f, index / 1000)?;
    }
    write!(f, "{:03}", index % 1000)
}

fn write_groups(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    if index >= 1000 {
        write_groups(f, index / 1000)?;
    }
    write!(f, "x{:03}/", index % 1000)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match *self {
            Self::Checkpoint => return f.write_str("checkpoint"),
            Self::Hashes { level, index, width } => {
                write!(f, "tile/{level}/")?;
                (index, width)
            }
            Self::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                (index, width)
            }
        };
        write_index(f, index)?;
        if u64::from(width) < WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(text: &str) -> Result<Self, TileError> {
        let bad = || TileError::Path(text.chars().take(80).collect());
        if text == "checkpoint" {
            return Ok(Self::Checkpoint);
        }
        let rest = text.strip_prefix("tile/").ok_or_else(bad)?;
        let (kind, rest) = rest.split_once('/').ok_or_else(bad)?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, parse_decimal(width).ok_or_else(bad)?),
            None => (rest, WIDTH),
        };
        let mut index = 0_u64;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let value = digits.parse::<u16>().map_err(|_| bad())?;
            index = index
                .checked_mul(1000)
                .and_then(|i| i.checked_add(value.into()))
                .filter(|i| *i <= MAX_SIZE)
                .ok_or_else(bad)?;
        }
        let width = u16::try_from(width).map_err(|_| bad())?;
        let path = if kind == "entries" {
            Self::Entries { index, width }
        } else {
            let level = parse_decimal(kind).filter(|l| *l < 64).ok_or_else(bad)?;
            Self::Hashes { level: level as u8, index, width }
        };
        // One spelling: what prints otherwise, or has an impossible width, is refused.
        if (1..=WIDTH).contains(&u64::from(width)) && path.to_string() == text {
            Ok(path)
        } else {
            Err(bad())
        }
    }
}

/// The width of tile `index` of `level` in a log of `size` entries: 0 to 256.
fn width(level: u8, index: u64, size: u64) -> u16 {
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    hashes.saturating_sub(index.saturating_mul(WIDTH)).min(WIDTH) as u16
}

/// Every resource of a log of `size` entries except its checkpoint: bundles and tiles, each at
/// its full width in that size.
pub fn paths(size: u64) -> impl Iterator<Item = TilePath> {
    let bundles = (0..size.div_ceil(WIDTH))
        .map(move |index| TilePath::Entries { index, width: width(0, index, size) });
    let tiles = (0..8_u8).flat_map(move |level| {
        (0..(size >> (8 * level)).div_ceil(WIDTH)).map(move |index| TilePath::Hashes {
            level,
            index,
            width: width(level, index, size),
        })
    });
    bundles.chain(tiles)
}

/// The bytes of a hash tile.
pub fn hash_tile(
    reader: &dyn HashReader,
    level: u8,
    index: u64,
    width: u16,
) -> Result<Vec<u8>, MerkleError> {
    let height = 8 * level;
    let mut bytes = Vec::with_capacity(usize::from(width) * 32);
    for index in index * WIDTH..index * WIDTH + u64::from(width) {
        let hash = reader.hash(height, index);
        let hash = hash.map_err(|source| MerkleError::Read { level: height, index, source })?;
        bytes.extend_from_slice(&hash.0);
    }
    Ok(bytes)
}

/// The bytes of a bundle: each entry, at most 65535 bytes, after its big-endian 16-bit length.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let len = u16::try_from(entry.len()).expect("the log takes no longer entries");
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    bytes
}

/// The entries of a bundle that must hold exactly `count`.
pub fn decode_bundle(bytes: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(count.min(WIDTH as usize));
    for _ in 0..count {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
        entries.push(entry);
        rest = tail;
    }
    rest.is_empty().then_some(entries)
}

/// Reads a tiled log as of a checkpoint whose signatures the caller has verified.
pub struct TileReader<'f> {
    checkpoint: &'f Checkpoint,
    fetch: &'f dyn Fn(&TilePath) -> io::Result<Vec<u8>>,
    tiles: RefCell<BTreeMap<TilePath, Vec<u8>>>,
}

impl<'f> TileReader<'f> {
    /// A reader that gets resources from `fetch`. Hash tiles are kept, bundles are not.
    pub fn new(
        checkpoint: &'f Checkpoint,
        fetch: &'f dyn Fn(&TilePath) -> io::Result<Vec<u8>>,
    ) -> Self {
        Self { checkpoint, fetch, tiles: RefCell::default() }
    }

    /// The entries of `range`, each proved to be in the checkpoint's tree.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, TileError> {
        let size = self.checkpoint.size;
        if range.end > size {
            return Err(TileError::Range { end: range.end, size });
        }
        let mut out = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let index = at / WIDTH;
            let (first, width) = (index * WIDTH, width(0, index, size));
            let path = TilePath::Entries { index, width };
            let bytes =
                (self.fetch)(&path).map_err(|source| self.missing(path.to_string(), source))?;
            let entries = decode_bundle(&bytes, width.into()).ok_or_else(|| {
                TileError::Malformed { path: path.to_string(), what: "not that many entries" }
            })?;
            let end = first + u64::from(width);
            let hash = root_of_leaves(entries.iter().map(|e| leaf_hash(e)));
            let proof = subtree_proof(self, first, end, size).map_err(|e| self.refused(e))?;
            verify_subtree(first, end, &hash, size, &self.checkpoint.root, &proof)
                .map_err(TileError::Proof)?;
            let wanted = (at - first) as usize..(range.end.min(end) - first) as usize;
            out.extend(entries[wanted].iter().map(|e| e.to_vec()));
            at = end;
        }
        Ok(out)
    }

    fn missing(&self, path: String, source: io::Error) -> TileError {
        if source.kind() == io::ErrorKind::NotFound {
            TileError::Truncated { path, size: self.checkpoint.size }
        } else {
            TileError::Fetch { path, source }
        }
    }

    fn refused(&self, error: MerkleError) -> TileError {
        match error {
            MerkleError::Read { level, index, source } => {
                self.missing(self.tile_of(level, index).to_string(), source)
            }
            other => TileError::Proof(other),
        }
    }

    /// The tile that a stored hash is in or is computed from.
    fn tile_of(&self, level: u8, index: u64) -> TilePath {
        let (level, index) = (level / 8, (index << (level % 8)) / WIDTH);
        TilePath::Hashes { level, index, width: width(level, index, self.checkpoint.size) }
    }

    /// Checks that the tiles have the checkpoint's root.
    pub fn verify_root(&self) -> Result<(), TileError> {
        let size = self.checkpoint.size;
        let root = merkle::root(self, size).map_err(|e| self.refused(e))?;
        if root == self.checkpoint.root {
            Ok(())
        } else {
            Err(TileError::Proof(MerkleError::Mismatch { start: 0, end: size, size }))
        }
    }
}

impl HashReader for TileReader<'_> {
    fn hash(&self, level: u8, index: u64) -> io::Result<Hash> {
        let path = self.tile_of(level, index);
        let mut tiles = self.tiles.borrow_mut();
        let bytes = match tiles.entry(path) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let bytes = (self.fetch)(&path)?;
                if bytes.len() != path.len() * 32 {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{path} has {} bytes", bytes.len()),
                    ));
                }
                entry.insert(bytes)
            }
        };
        let height = level % 8;
        let from = ((index << height) % WIDTH) as usize * 32;
        let hashes = bytes
            .get(from..from + (32 << height))
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .chunks_exact(32)
            .map(|h| Sha256(h.try_into().expect("chunks of 32")));
        Ok(root_of_leaves(hashes))
    }
}
