//! The writer of a log: appends entries, signs checkpoints, answers for both.
//!
//! Write order: entries, fsync, hashes, and only then a checkpoint, written atomically before it
//! is returned. So at every moment the disk holds at least what any checkpoint anyone has seen
//! covers, and opening refuses to go on if it does not: a log that continues from fewer entries
//! than it signed for has forked. The checkpoint file is the log's own memory; its signature is
//! not checked here, because signing keys live for days and logs for years.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use seawall_base::{Disk, write_atomic};
use seawall_sign::SigningKey;

use crate::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use crate::merkle::{self, Hash, HashReader};
use crate::note::{MAX_NOTE, NoteSignature, Verifier};
use crate::store::{EntryStore, LogError, OpenReport, read_small};
use crate::tile::{self, TilePath};

/// One origin's log, opened for writing. One process at a time may hold it.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: String,
    origin: Origin,
    store: EntryStore,
    signed: Option<SignedCheckpoint>,
}

impl Log {
    /// Opens the log in `dir`, creating it if there is none. Cuts a torn append, corrects the
    /// cache of hashes, refuses a log that lost or changed what it signed for.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        origin: &Origin,
    ) -> Result<(Self, OpenReport), LogError> {
        let signed = read_checkpoint(disk.as_ref(), dir, origin)?;
        let wanted: Vec<&Checkpoint> = signed.iter().map(SignedCheckpoint::checkpoint).collect();
        let (store, report) = EntryStore::open(&disk, dir, origin, &wanted)?;
        Ok((Self { disk, dir: dir.to_owned(), origin: origin.clone(), store, signed }, report))
    }

    /// Which log this is.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Entries held, all durable.
    pub const fn size(&self) -> u64 {
        self.store.size()
    }

    /// The root over all entries.
    pub fn root(&self) -> Hash {
        self.store.root()
    }

    /// The root over the first `size` entries.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        self.store.root_at(size)
    }

    /// Appends entries, at most 65536 of at most 65535 bytes each and 17 MiB together, with one
    /// fsync. Returns their indices once they are durable. After an I/O error none is
    /// acknowledged and the log must be opened again, which may find all of them or none.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Range<u64>, LogError> {
        self.store.append(entries)
    }

    /// An entry's bytes.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        self.store.entry(index)
    }

    /// The entries of a range.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, LogError> {
        self.store.entries(range)
    }

    /// The inclusion proof of entry `index` in the tree of `size`.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.store.root_at(size)?;
        Ok(merkle::inclusion_proof(&self.store, index, size)?)
    }

    /// The consistency proof from `old` to `size`.
    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.store.root_at(size)?;
        Ok(merkle::consistency_proof(&self.store, old, size)?)
    }

    /// The subtree consistency proof of `[start, end)` in the tree of `size`.
    pub fn subtree_consistency(
        &self,
        start: u64,
        end: u64,
        size: u64,
    ) -> Result<Vec<Hash>, LogError> {
        self.store.root_at(size)?;
        Ok(merkle::subtree_proof(&self.store, start, end, size)?)
    }

    /// The last checkpoint, with the cosignatures collected so far.
    pub const fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.signed.as_ref()
    }

    /// Signs a checkpoint of all entries and makes it durable before returning it.
    pub fn sign_checkpoint(&mut self, key: &SigningKey) -> Result<&SignedCheckpoint, LogError> {
        let checkpoint = Checkpoint::new(self.origin.clone(), self.size(), self.root());
        let signed = SignedCheckpoint::sign(checkpoint, key)?;
        self.write_checkpoint(&signed)?;
        Ok(self.signed.insert(signed))
    }

    /// Adds a witness's or mirror's lines to the last checkpoint; those of unknown keys are
    /// ignored. Returns how many were added. Lines for an older checkpoint do not verify.
    pub fn add_cosignatures(
        &mut self,
        lines: &[NoteSignature],
        known: &[Verifier],
    ) -> Result<usize, LogError> {
        let Some(mut signed) = self.signed.clone() else { return Ok(0) };
        let mut added = 0;
        for line in lines {
            for key in known.iter().filter(|key| key.claims(line)) {
                key.verify(signed.note().text(), line)?;
                signed.add(line.clone())?;
                added += 1;
            }
        }
        if added > 0 {
            self.write_checkpoint(&signed)?;
            self.signed = Some(signed);
        }
        Ok(added)
    }

    fn write_checkpoint(&self, signed: &SignedCheckpoint) -> Result<(), LogError> {
        let path = format!("{}/checkpoint", self.dir);
        write_atomic(self.disk.as_ref(), &path, &signed.to_bytes())
            .map_err(LogError::io("writing", &path))
    }

    /// The resource at a C2SP tlog-tiles path (`checkpoint`, `tile/…`), as of the last
    /// checkpoint; `None` is "404 Not Found".
    pub fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        let Some(signed) = &self.signed else { return Ok(None) };
        match path.parse() {
            Ok(path) => serve(&self.store, signed, &path),
            Err(_) => Ok(None),
        }
    }

    /// Writes the resources of the last checkpoint below `dir` of another disk: what a plain web
    /// server needs to be a tiled log. The checkpoint comes last, so it never promises a tile
    /// that is not there.
    pub fn export_tiles(&self, disk: &dyn Disk, dir: &str) -> Result<(), LogError> {
        let Some(signed) = &self.signed else { return Ok(()) };
        for path in tile::paths(signed.checkpoint().size).chain([TilePath::Checkpoint]) {
            let target = format!("{dir}/{path}");
            let parent = target.rsplit_once('/').map_or("", |(parent, _)| parent);
            let bytes = serve(&self.store, signed, &path)?.expect("a path of this checkpoint");
            disk.create_dir_all(parent).map_err(LogError::io("creating", parent))?;
            write_atomic(disk, &target, &bytes).map_err(LogError::io("writing", &target))?;
        }
        Ok(())
    }
}

impl HashReader for Log {
    fn hash(&self, level: u8, index: u64) -> io::Result<Hash> {
        self.store.hash(level, index)
    }
}

/// The checkpoint file of `dir`, if there is one; it must be of `origin`.
pub(crate) fn read_checkpoint(
    disk: &dyn Disk,
    dir: &str,
    origin: &Origin,
) -> Result<Option<SignedCheckpoint>, LogError> {
    let path = format!("{dir}/checkpoint");
    let Some(bytes) = read_small(disk, &path, MAX_NOTE)? else { return Ok(None) };
    let signed = SignedCheckpoint::parse(&bytes)?;
    let found = &signed.checkpoint().origin;
    if found != origin {
        return Err(LogError::OtherLog { path, found: found.to_string() });
    }
    Ok(Some(signed))
}

/// The resource at `path` of a log with the checkpoint `signed`.
pub(crate) fn serve(
    store: &EntryStore,
    signed: &SignedCheckpoint,
    path: &TilePath,
) -> Result<Option<Vec<u8>>, LogError> {
    if !path.exists_in(signed.checkpoint().size) {
        return Ok(None);
    }
    let bytes = match path {
        TilePath::Checkpoint => signed.to_bytes(),
        TilePath::Hashes { level, index, width } => tile::hash_tile(store, *level, *index, *width)?,
        TilePath::Entries { index, width } => {
            let first = index * tile::WIDTH;
            tile::encode_bundle(&store.entries(first..first + u64::from(*width))?)
        }
    };
    Ok(Some(bytes))
}
