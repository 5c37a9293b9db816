//! A plain directory or S3 bucket in place of a region, for fleets too small to run one.
//!
//! Nobody answers there: no receipts, no cosignatures, no proof of possession. What it gives is
//! a copy elsewhere that is worthless to whoever holds it and can be checked by anybody. All
//! keys but a log's checkpoint are immutable and content-addressed, so no conditional writes are
//! needed (some S3 servers ignore them). Layout: `docs/formats/bucket.md`.
//!
//! Order of a push: packs, then the index that makes their objects visible, then the log's
//! tiles, then its checkpoint. Killed anywhere, it leaves unreferenced packs and is run again.

mod blobs;
mod filled;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use seawall_backup::restore::{FetchError, Objects};
use seawall_base::{ObjectId, Sha256};
use seawall_record::reference_set::{self, Visit};
use seawall_record::{Fleet, FleetCard, LogState, ReferenceSet};
use seawall_store::Store;
use seawall_sync::pack::{Index, PACK_BYTES, Pack, Place};
use seawall_sync::{Finding, Objects as _};
use seawall_tlog::tile::{self, TilePath, TileReader};
use seawall_tlog::{Checkpoint, Log, SignedCheckpoint};

use self::blobs::Blobs;
use self::filled::Filled;
pub(crate) use self::filled::note_filled;
use crate::home::{Home, HomeError, replay};

/// Why a bucket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The URL or its configuration.
    #[error("bucket {url}: {why}")]
    Setup {
        /// The directory or URL.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A read or write.
    #[error("bucket: {action} {key}: {why}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The key.
        key: String,
        /// What the store said.
        why: String,
    },
    /// Something in the bucket is not what its name says.
    #[error("bucket: {key} is damaged: {why}; run `seawall sync` on a node that has the data")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing is there where this node knows of data.
    #[error(
        "bucket {url} is empty or not there, and this node knows that it held this fleet's data{of}: is the disk or the share mounted? If it is meant to be a new one, `seawall sync --new-bucket` fills it"
    )]
    Emptied {
        /// The directory or URL.
        url: String,
        /// What it held of this node's log, in words.
        of: String,
    },
    /// The bucket knows more of this node's log than the node does.
    #[error(
        "the bucket holds {theirs} entries of this log, this node {ours}: this home was rolled back; enrol it anew instead of going on"
    )]
    RolledBack {
        /// Entries in the bucket.
        theirs: u64,
        /// Entries here.
        ours: u64,
    },
    /// The bucket's copy of the log is another one.
    #[error("the bucket's log is not a beginning of this node's: one of them was rewritten")]
    Forked,
}

/// How far a push to a bucket is.
#[derive(Debug, Clone, Copy, Default)]
pub struct BucketPushed {
    /// Objects and pages sent.
    pub sent_objects: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Snapshots whose objects are all there.
    pub snapshots: u64,
}

/// An open bucket.
pub struct Bucket {
    blobs: Box<dyn Blobs>,
    index: BTreeMap<ObjectId, Place>,
}

impl Bucket {
    /// Opens the bucket of a home, if it has one. One that is empty although this node knows that it
    /// was not, is an error: a share that is not mounted looks like that.
    pub fn of(home: &Home) -> Result<Option<Self>, HomeError> {
        let Some(bucket) = Self::new_of(home)? else { return Ok(None) };
        if let Some(held) = Filled::of(home)?
            && bucket.blobs.get("fleet.json")?.is_none()
        {
            return Err(held.missing().into());
        }
        Ok(Some(bucket))
    }

    /// As [`Bucket::of`], where it may be a new one.
    pub(crate) fn new_of(home: &Home) -> Result<Option<Self>, HomeError> {
        Ok(home.bucket().map(Self::open).transpose()?)
    }

    /// Opens `DIR` or `s3://BUCKET/PREFIX` (credentials and endpoint from the usual `AWS_*`
    /// variables) and reads its indexes. A directory that is not there is an empty bucket; it is
    /// made by the first push.
    pub fn open(url: &str) -> Result<Self, BucketError> {
        let blobs = blobs::open(url)?;
        let mut index = BTreeMap::new();
        for key in blobs.list("index/")? {
            let bytes = get(&*blobs, &key)?;
            check_name(&key, &bytes)?;
            let damaged = |e| BucketError::Damaged { key: key.clone(), why: format!("{e}") };
            Index::decode(&bytes).map_err(damaged)?.add_to(&mut index);
        }
        Ok(Self { blobs, index })
    }

    /// The fleet whose data this is; `None` in an empty bucket.
    pub fn fleet(&self) -> Result<Option<Fleet>, HomeError> {
        let Some(card) = self.blobs.get("fleet.json")? else { return Ok(None) };
        Ok(Some(FleetCard::open(&card)?))
    }

    /// Makes the bucket hold every snapshot of `log`.
    pub fn push(
        &mut self,
        fleet: &Fleet,
        store: &Store,
        log: &Log,
        progress: &mut dyn FnMut(&BucketPushed),
    ) -> Result<BucketPushed, HomeError> {
        self.claim(fleet)?;
        self.check_log(log)?;
        let mut sets: Vec<(Sha256, ReferenceSet)> = Vec::new();
        let mut state = LogState::new(fleet.clone(), log.origin().as_str());
        replay(&mut state, log, &mut |_, accepted| {
            if let Some((digest, manifest)) = accepted.snapshot() {
                sets.push((digest, manifest.core.reference_set));
            }
        })?;
        // Objects of what was forgotten may be gone here; the bucket keeps what it has of them.
        sets.retain(|(digest, _)| state.forgotten(digest).is_none());
        let mut done = BucketPushed::default();
        let mut pack = Pack::default();
        let mut index = Index::default();
        let mut previous = None;
        for (_, set) in &sets {
            for id in self.missing(store, previous, set)? {
                let bytes = read_own(store, id)?;
                done.sent_objects += 1;
                done.sent_bytes += bytes.len() as u64;
                pack.push(id, &bytes);
                if pack.len() >= PACK_BYTES {
                    self.put_pack(&mut pack, &mut index)?;
                }
                progress(&done);
            }
            done.snapshots += 1;
            previous = Some(set);
        }
        self.put_pack(&mut pack, &mut index)?;
        self.put_index(&index)?;
        self.put_log(log)?;
        Ok(done)
    }

    /// A bucket belongs to one fleet.
    fn claim(&self, fleet: &Fleet) -> Result<(), HomeError> {
        match self.fleet()? {
            Some(other) if other.id() != fleet.id() => Err(HomeError::refused(format!(
                "the bucket belongs to {}, not to {}; choose another",
                other.id(),
                fleet.id()
            ))),
            Some(held) if held.newest(fleet.clone())?.version() == held.version() => Ok(()),
            _ => {
                let card = serde_json::to_vec(&FleetCard::new(fleet)).expect("a card serialises");
                Ok(self.blobs.put("fleet.json", card)?)
            }
        }
    }

    /// What the bucket lacks of `set`; only what `previous` does not have is looked at.
    fn missing(
        &self,
        store: &Store,
        previous: Option<&ReferenceSet>,
        set: &ReferenceSet,
    ) -> Result<BTreeSet<ObjectId>, HomeError> {
        let mut wanted = BTreeSet::new();
        let pages = |id| store.object(id);
        reference_set::difference(&pages, previous, set, &mut |visit| {
            let id = match visit {
                Visit::Page(id, _) => id,
                Visit::Member(member) => member.id,
            };
            if !self.index.contains_key(&id) {
                wanted.insert(id);
            }
        })
        .map_err(|e| HomeError::refused(e.to_string()))?;
        Ok(wanted)
    }

    fn put_pack(&mut self, pack: &mut Pack, index: &mut Index) -> Result<(), BucketError> {
        let pack = std::mem::take(pack);
        let Some((id, bytes, members)) = pack.finish() else { return Ok(()) };
        self.blobs.put(&pack_key(id), bytes)?;
        index.add(id, members);
        Ok(())
    }

    fn put_index(&mut self, index: &Index) -> Result<(), BucketError> {
        if index.is_empty() {
            return Ok(());
        }
        let bytes = index.encode();
        self.blobs.put(&format!("index/{}", ObjectId::of(&bytes).to_hex()), bytes)?;
        index.add_to(&mut self.index);
        Ok(())
    }

    fn check_log(&self, log: &Log) -> Result<(), HomeError> {
        let Some(theirs) = self.checkpoint(&log_dir(log))? else { return Ok(()) };
        let (theirs, ours) = (theirs.checkpoint(), log.size());
        if theirs.size > ours {
            return Err(BucketError::RolledBack { theirs: theirs.size, ours }.into());
        }
        if log.root_at(theirs.size)? != theirs.root {
            return Err(BucketError::Forked.into());
        }
        Ok(())
    }

    /// How many entries of `log` the bucket holds, and so every snapshot in them: it gets the log
    /// last. An error if they are other ones.
    pub(crate) fn mirrored(&self, log: &Log) -> Result<u64, HomeError> {
        self.check_log(log)?;
        Ok(self.checkpoint(&log_dir(log))?.map_or(0, |c| c.checkpoint().size))
    }

    fn put_log(&self, log: &Log) -> Result<(), HomeError> {
        let Some(signed) = log.checkpoint() else { return Ok(()) };
        let dir = log_dir(log);
        let there: BTreeSet<String> = self.blobs.list(&format!("{dir}/"))?.into_iter().collect();
        for path in tile::paths(signed.checkpoint().size) {
            let key = format!("{dir}/{path}");
            if !there.contains(&key) {
                let bytes = log.tile(&path.to_string())?.ok_or_else(|| {
                    HomeError::refused(format!("the log does not have its own tile {path}"))
                })?;
                self.blobs.put(&key, bytes)?;
            }
        }
        Ok(self.blobs.put(&format!("{dir}/{}", TilePath::Checkpoint), signed.to_bytes())?)
    }

    fn checkpoint(&self, dir: &str) -> Result<Option<SignedCheckpoint>, HomeError> {
        let key = format!("{dir}/{}", TilePath::Checkpoint);
        Ok(self.blobs.get(&key)?.map(|b| SignedCheckpoint::parse(&b)).transpose()?)
    }

    /// Every log in the bucket: where it is, and its checkpoint. The signatures are the caller's
    /// to check.
    pub fn logs(&self) -> Result<Vec<(String, SignedCheckpoint)>, HomeError> {
        let suffix = format!("/{}", TilePath::Checkpoint);
        let mut out = Vec::new();
        for key in self.blobs.list("log/")? {
            let Some(dir) = key.strip_suffix(&suffix) else { continue };
            if let Some(signed) = self.checkpoint(dir)? {
                out.push((dir.to_owned(), signed));
            }
        }
        Ok(out)
    }

    /// Entries of the log in `dir`, each proven under `checkpoint`.
    pub fn entries(
        &self,
        dir: &str,
        checkpoint: &Checkpoint,
        range: Range<u64>,
    ) -> Result<Vec<Vec<u8>>, HomeError> {
        let fetch = |path: &TilePath| {
            let key = format!("{dir}/{path}");
            let got = self.blobs.get(&key).map_err(|e| io::Error::other(e.to_string()))?;
            got.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let entries = TileReader::new(checkpoint, &fetch).entries(range);
        Ok(entries.map_err(|e| BucketError::Damaged { key: dir.to_owned(), why: e.to_string() })?)
    }

    /// Reads every pack and hashes every object; returns how many, their bytes, and what is
    /// wrong.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(u64, u64, Vec<Finding>), BucketError> {
        let (mut objects, mut bytes, mut findings) = (0, 0, Vec::new());
        let mut packs: BTreeMap<ObjectId, Vec<ObjectId>> = BTreeMap::new();
        for (id, place) in &self.index {
            packs.entry(place.pack).or_default().push(*id);
        }
        for (pack, members) in packs {
            let key = pack_key(pack);
            // A pack that is gone has none of its objects: each is named below.
            let found = self.blobs.get(&key)?.unwrap_or(Vec::new());
            bytes += found.len() as u64;
            progress(bytes);
            for id in members {
                objects += 1;
                let place = &self.index[&id];
                if place.slice(&found).is_none_or(|object| ObjectId::of(object) != id) {
                    findings.push(Finding {
                        what: format!("object {id} is damaged or missing"),
                        place: key.clone(),
                        remedy: "delete this pack and its index, then run `seawall sync`"
                            .to_owned(),
                    });
                }
            }
        }
        Ok((objects, bytes, findings))
    }
}

impl Objects for Bucket {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        for &id in ids {
            let Some(place) = self.index.get(&id) else {
                give(id, Err(FetchError::Missing(id)));
                continue;
            };
            let key = pack_key(place.pack);
            let got = match self.blobs.get_range(&key, place.offset, place.len) {
                Ok(bytes) if ObjectId::of(&bytes) == id => Ok(bytes),
                Ok(_) => Err(FetchError::Damaged { id, why: format!("in {key}") }),
                Err(e) => Err(FetchError::Unavailable { id, why: e.to_string() }),
            };
            give(id, got);
        }
    }
}

fn pack_key(id: ObjectId) -> String {
    format!("packs/{}", id.to_hex())
}

fn log_dir(log: &Log) -> String {
    format!("log/{}", log.origin().hash().to_hex())
}

fn get(blobs: &dyn Blobs, key: &str) -> Result<Vec<u8>, BucketError> {
    blobs.get(key)?.ok_or_else(|| BucketError::Io {
        action: "reading",
        key: key.to_owned(),
        why: "it was there a moment ago and is gone".to_owned(),
    })
}

/// A content-addressed key must name its content.
fn check_name(key: &str, bytes: &[u8]) -> Result<(), BucketError> {
    if key.ends_with(&ObjectId::of(bytes).to_hex()) {
        return Ok(());
    }
    Err(BucketError::Damaged { key: key.to_owned(), why: "its name is not its digest".to_owned() })
}

fn read_own(store: &Store, id: ObjectId) -> Result<Vec<u8>, HomeError> {
    store.get(id)?.ok_or_else(|| {
        HomeError::refused(format!("object {id} is missing here; run `seawall verify`"))
    })
}
