//! The mirror of C2SP tlog-mirror: a region's durable copy of a node's log.
//!
//! A mirror first locks onto a signed *pending checkpoint*, then takes entries that are proved to
//! be in it, package by package, and only when it holds them all cosigns. Entries live in the
//! same storage as a [`crate::Log`]'s, so they are hashed, chained and fsynced the same way.
//!
//! Invariants: every stored entry is in every pending checkpoint that covers it, which opening
//! checks again; the pending checkpoints are durable before an entry is taken on their strength;
//! the mirror checkpoint never shrinks and is durable before its cosignature leaves. What the
//! disk holds therefore always satisfies *mirror checkpoint ≤ entries ≤ latest pending*. No state
//! survives between requests but these, so an upload may be interrupted anywhere.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{Disk, Timestamp, write_atomic};

use crate::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use crate::log::{read_checkpoint, serve};
use crate::merkle::{self, Hash, leaf_hash, root_of_leaves, verify_subtree};
use crate::note::{MAX_NOTE, Verifier};
use crate::package::{Bounds, EntriesHeader, MAX_PACKAGES, MirrorAnswer, MirrorInfo, Package};
use crate::store::{EntryStore, LogError, OpenReport, damaged, read_small};
use crate::tile::{TilePath, WIDTH};
use crate::witness::{AddCheckpoint, Cosigner, Finding, Judgement, WitnessAnswer, judge};

/// How many pending checkpoints an upload may still be for.
pub const MAX_PENDING: usize = 8;

/// Most entries a client may send again that the mirror already has.
const MAX_EXCESS: u64 = MAX_PACKAGES * WIDTH;

const PENDING_MAGIC: &[u8; 8] = b"SWPENDv1";

/// Decides whether an entry may be mirrored, before it is committed. The error goes to the client.
pub type Accept<'a> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 'a;

/// The copy of one log.
pub struct Mirror {
    disk: Arc<dyn Disk>,
    dir: String,
    origin: Origin,
    store: EntryStore,
    /// Oldest first, sizes growing.
    pending: Vec<SignedCheckpoint>,
    published: Option<SignedCheckpoint>,
}

impl Mirror {
    /// Opens the copy in `dir`, creating it if there is none. Cuts a torn package, refuses a copy
    /// that lost or changed what it cosigned.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        origin: &Origin,
    ) -> Result<(Self, OpenReport), LogError> {
        let published = read_checkpoint(disk.as_ref(), dir, origin)?;
        let pending = read_pending(disk.as_ref(), dir, origin)?;
        let signed: Vec<&Checkpoint> = published.iter().map(SignedCheckpoint::checkpoint).collect();
        let (store, report) = EntryStore::open(&disk, dir, origin, &signed)?;
        for checkpoint in pending.iter().map(SignedCheckpoint::checkpoint) {
            if checkpoint.size <= store.size() && store.root_at(checkpoint.size)? != checkpoint.root
            {
                return Err(LogError::Diverged { path: dir.to_owned(), size: checkpoint.size });
            }
        }
        if pending.last().map_or(0, |p| p.checkpoint().size) < store.size() {
            let path = format!("{dir}/pending");
            return Err(damaged(&path, 0, "it covers fewer entries than are held"));
        }
        let (dir, origin) = (dir.to_owned(), origin.clone());
        Ok((Self { disk, dir, origin, store, pending, published }, report))
    }

    /// Which log this is a copy of.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The first entry the mirror does not have.
    pub const fn next_entry(&self) -> u64 {
        self.store.size()
    }

    /// The latest pending checkpoint, with the log's signature.
    pub fn pending(&self) -> Option<&SignedCheckpoint> {
        self.pending.last()
    }

    /// The mirror checkpoint, with the log's signature and this mirror's cosignature.
    pub const fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.published.as_ref()
    }

    /// An entry's bytes.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        self.store.entry(index)
    }

    /// The entries of a range.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, LogError> {
        self.store.entries(range)
    }

    /// The root over the first `size` entries.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        self.store.root_at(size)
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

    /// The resource at a C2SP tlog-tiles path, as of the mirror checkpoint; `None` is "404".
    pub fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        let Some(published) = &self.published else { return Ok(None) };
        match path.parse::<TilePath>() {
            Ok(path) => serve(&self.store, published, &path),
            Err(_) => Ok(None),
        }
    }

    /// Handles `add-checkpoint`: moves the pending checkpoint. Cosigns nothing: that is for
    /// entries held, or for a [`crate::Witness`] with a key of its own.
    ///
    /// Having entries, the mirror can tell a replayed old checkpoint from a fork.
    pub fn add_checkpoint(
        &mut self,
        body: &[u8],
        keys: &[Verifier],
    ) -> Result<Judgement, LogError> {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(why) => return Ok(WitnessAnswer::Malformed(why.to_string()).into()),
        };
        if request.checkpoint.checkpoint().origin != self.origin {
            return Ok(WitnessAnswer::UnknownLog.into());
        }
        let accepted = match judge(&request, keys, self.pending.last()) {
            Ok(accepted) => accepted,
            Err(judgement) => return self.refine(judgement),
        };
        let size = accepted.checkpoint().size;
        let published = self.published.as_ref().map_or(0, |p| p.checkpoint().size);
        let mut pending = self.pending.clone();
        pending.retain(|p| (published..size).contains(&p.checkpoint().size));
        pending.push(accepted);
        let surplus = pending.len().saturating_sub(MAX_PENDING);
        pending.drain(..surplus);
        let path = format!("{}/pending", self.dir);
        write_atomic(self.disk.as_ref(), &path, &encode_pending(&pending))
            .map_err(LogError::io("writing", &path))?;
        self.pending = pending;
        Ok(WitnessAnswer::Cosigned(Vec::new()).into())
    }

    /// Names what a smaller checkpoint is, if the entries to tell are here.
    fn refine(&self, judgement: Judgement) -> Result<Judgement, LogError> {
        let Judgement { answer, finding } = judgement;
        let finding = match finding {
            Some(Finding::Rollback(evidence)) => {
                let offered = evidence.offered.checkpoint();
                Some(if offered.size > self.next_entry() {
                    Finding::Rollback(evidence)
                } else if self.store.root_at(offered.size)? == offered.root {
                    Finding::Replay(evidence)
                } else {
                    Finding::Fork(evidence)
                })
            }
            other => other,
        };
        Ok(Judgement { answer, finding })
    }

    /// The checkpoint an upload to `end` is for, if it is still known.
    fn known(&self, end: u64) -> Option<&SignedCheckpoint> {
        self.pending.iter().rev().chain(&self.published).find(|c| c.checkpoint().size == end)
    }

    fn info(&self, size: u64) -> MirrorInfo {
        MirrorInfo { size, next: self.next_entry(), ticket: Vec::new() }
    }

    /// Handles `add-entries` after its header was read (and found to name this log).
    ///
    /// Packages are verified, shown to `accept`, and made durable one by one; the answer to a
    /// whole upload is the mirror's cosignature. An error means that nothing more was promised
    /// (answer 500); after an I/O error the mirror must be opened again.
    pub fn add_entries(
        &mut self,
        header: &EntriesHeader,
        body: &mut dyn Read,
        cosigner: Cosigner<'_>,
        now: Timestamp,
        accept: &mut Accept<'_>,
    ) -> Result<MirrorAnswer, LogError> {
        let target = match self.target(header) {
            Ok(target) => target.clone(),
            Err(answer) => return Ok(answer),
        };
        for (taken, bounds) in header.bounds().enumerate() {
            let package = match Package::read(body, &bounds) {
                Ok(package) => package,
                Err(_) if taken > 0 => return Ok(MirrorAnswer::Accepted(self.info(header.end))),
                Err(why) => {
                    return Ok(MirrorAnswer::Malformed(format!("no whole package: {why}")));
                }
            };
            if let Some(refused) = self.take(&bounds, &package, target.checkpoint(), accept)? {
                return Ok(refused);
            }
        }
        if body.read(&mut [0]).unwrap_or(0) > 0 {
            return Ok(MirrorAnswer::Malformed("bytes follow the last package".to_owned()));
        }
        self.publish(target, cosigner, now)
    }

    /// Checks a header against the mirror's state; gives the checkpoint to verify against.
    fn target(&self, header: &EntriesHeader) -> Result<&SignedCheckpoint, MirrorAnswer> {
        if header.origin != self.origin {
            return Err(MirrorAnswer::UnknownLog);
        }
        let Some(latest) = self.pending.last() else {
            return Err(MirrorAnswer::Refused("no pending checkpoint".to_owned()));
        };
        let published = self.published.as_ref().map_or(0, |p| p.checkpoint().size);
        let target = self
            .known(header.end)
            .filter(|_| header.end >= published)
            .ok_or_else(|| MirrorAnswer::Conflict(self.info(latest.checkpoint().size)))?;
        let next = self.next_entry();
        let excess = header.end.min(next).saturating_sub(header.start);
        if header.start > next || excess > MAX_EXCESS {
            return Err(MirrorAnswer::Conflict(self.info(header.end)));
        }
        Ok(target)
    }

    /// Verifies a package and commits the entries that are new; `Some` is a refusal.
    fn take(
        &mut self,
        bounds: &Bounds,
        package: &Package,
        target: &Checkpoint,
        accept: &mut Accept<'_>,
    ) -> Result<Option<MirrorAnswer>, LogError> {
        let mut leaves = Vec::with_capacity((bounds.end - bounds.aligned) as usize);
        for index in bounds.aligned..bounds.start {
            leaves.push(self.store.leaf(index)?);
        }
        leaves.extend(package.entries.iter().map(|entry| leaf_hash(entry)));
        let hash = root_of_leaves(leaves);
        let (size, root) = (target.size, &target.root);
        if let Err(why) =
            verify_subtree(bounds.aligned, bounds.end, &hash, size, root, &package.proof)
        {
            return Ok(Some(MirrorAnswer::Refused(why.to_string())));
        }
        let next = self.next_entry();
        let known = next.saturating_sub(bounds.start).min(bounds.end - bounds.start) as usize;
        let new = &package.entries[known..];
        for (index, entry) in (next..).zip(new) {
            if let Err(why) = accept(index, entry) {
                return Ok(Some(MirrorAnswer::Refused(format!("entry {index}: {why}"))));
            }
        }
        self.store.append(new)?;
        Ok(None)
    }

    /// Moves the mirror checkpoint to `target`, all of whose entries are held, and cosigns it.
    fn publish(
        &mut self,
        mut target: SignedCheckpoint,
        cosigner: Cosigner<'_>,
        now: Timestamp,
    ) -> Result<MirrorAnswer, LogError> {
        let Checkpoint { size, root, .. } = *target.checkpoint();
        // Proved package by package already; a cosignature is worth the second look.
        if self.store.root_at(size)? != root {
            return Err(LogError::Diverged { path: self.dir.clone(), size });
        }
        let line = target.cosign(cosigner.name, cosigner.key, now)?;
        target.add(line.clone())?;
        let path = format!("{}/checkpoint", self.dir);
        write_atomic(self.disk.as_ref(), &path, &target.to_bytes())
            .map_err(LogError::io("writing", &path))?;
        self.published = Some(target);
        Ok(MirrorAnswer::Cosigned(vec![line]))
    }
}

fn encode_pending(pending: &[SignedCheckpoint]) -> Vec<u8> {
    let mut out = Writer::new();
    out.raw(PENDING_MAGIC).length(pending.len());
    for checkpoint in pending {
        out.bytes(&checkpoint.to_bytes());
    }
    out.into_vec()
}

/// The notes of a `pending` file.
fn decode_pending(bytes: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != *PENDING_MAGIC {
        return Err(reader.invalid("magic"));
    }
    let count = reader.length(MAX_PENDING)?;
    let notes = (0..count).map(|_| reader.bytes(MAX_NOTE)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(notes)
}

fn read_pending(
    disk: &dyn Disk,
    dir: &str,
    origin: &Origin,
) -> Result<Vec<SignedCheckpoint>, LogError> {
    let path = format!("{dir}/pending");
    let limit = 12 + MAX_PENDING * (4 + MAX_NOTE);
    let Some(bytes) = read_small(disk, &path, limit)? else { return Ok(Vec::new()) };
    let notes = decode_pending(&bytes)
        .map_err(|_| damaged(&path, 0, "not a list of pending checkpoints"))?;
    let mut pending: Vec<SignedCheckpoint> = Vec::new();
    for note in notes {
        let checkpoint = SignedCheckpoint::parse(note)?;
        let found = &checkpoint.checkpoint().origin;
        if found != origin {
            return Err(LogError::OtherLog { path, found: found.to_string() });
        }
        if pending.last().is_some_and(|p| p.checkpoint().size >= checkpoint.checkpoint().size) {
            return Err(damaged(&path, 0, "sizes do not grow"));
        }
        pending.push(checkpoint);
    }
    Ok(pending)
}
