//! `find` on an operator's machine: brings the cache up to date, and asks it.
//!
//! Every manifest whose index is sealed to this operator is taken in once, in order of its log.
//! What cannot be read now is tried again; what can never be read is noted and passed over, so
//! that one forged or damaged index costs itself only. A cache that does not open is built again.

use std::collections::BTreeSet;
use std::sync::Arc;

use seawall_backup::find::{
    Answer, Cache, CacheError, CacheStats, Filter, IngestError, Ingested, LineId, Owner, Pattern,
    SnapshotFacts, Source,
};
use seawall_backup::path_index::PathIndexRoot;
use seawall_backup::restore::{EntryError, FetchError, Objects};
use seawall_base::Rng;
use seawall_escrow::OneTimeSecret;
use seawall_host::FsDisk;
use seawall_record::Hex32;
use zeroize::Zeroizing;

use crate::home::{Home, HomeError};
use crate::keys::{self, Purpose};
use crate::operators;
use crate::snapshots::Listed;

const DIR: &str = "find";
const CACHE_KEY: &str = "keys/find-cache.key";

/// Finds paths in the snapshots of a fleet, with the operator's key of one home.
pub struct Finder {
    disk: Arc<FsDisk>,
    cache_key: Zeroizing<[u8; 32]>,
    secret: OneTimeSecret,
    key: Hex32,
    owner: Owner,
}

/// Where pages of indexes come from.
pub struct Tiers {
    /// All of them, one behind the other.
    pub objects: Box<dyn Objects>,
    /// Whether every tier there is could be asked: what is missing then is gone for good.
    pub are_all: bool,
}

/// What bringing the cache up to date did.
#[derive(Debug, Clone, Default)]
pub struct Updated {
    /// Snapshots taken in.
    pub taken: u64,
    /// Snapshots without an index for this operator.
    pub without: u64,
    /// Snapshots with an index that is not searched: it could not be read, or was refused.
    pub unsearched: u64,
    /// Pages of indexes read.
    pub pages: u64,
    /// Versions of paths, ends included, that were written.
    pub rows: u64,
    /// What could not be read, was refused, or had to be built again.
    pub notes: Vec<String>,
}

impl Updated {
    fn take(&mut self, listed: &Listed, ingested: Ingested) {
        self.taken += 1;
        self.pages += ingested.pages;
        self.rows += ingested.rows;
        if ingested.too_deep > 0 {
            self.notes.push(format!(
                "snapshot {}: {} directories lie too deep and are not searched",
                short(listed),
                ingested.too_deep
            ));
        }
    }

    fn leave(&mut self, listed: &Listed, why: &dyn std::fmt::Display) {
        // Of what was forgotten before it was taken in, the index may be gone as well.
        if listed.forgotten.is_none() {
            self.unsearched += 1;
            self.notes.push(format!("snapshot {} is not searched: {why}", short(listed)));
        }
    }
}

impl Finder {
    /// Takes the operator's key of a home; makes the cache's own key at the first time.
    pub fn open(home: &Home, rng: &mut dyn Rng) -> Result<Self, HomeError> {
        let secret = operators::secret(home)?;
        let disk = home.disk();
        let cache_key = match keys::read(disk.as_ref(), CACHE_KEY, Purpose::FindCache) {
            Ok(Some(key)) => key,
            // A damaged key opens nothing, and nothing is lost with it but a cache.
            Ok(None) | Err(HomeError::Damaged { .. }) => {
                let mut key = Zeroizing::new([0; 32]);
                rng.fill(&mut *key);
                keys::write(disk.as_ref(), CACHE_KEY, Purpose::FindCache, &key)?;
                key
            }
            Err(e) => return Err(e),
        };
        let key = operators::key_id(&secret);
        let owner = Owner { fleet: home.fleet()?.id(), operator: key.0 };
        Ok(Self { disk, cache_key, secret, key, owner })
    }

    fn cache(&self) -> Result<Cache<'_>, CacheError> {
        Cache::open(self.disk.as_ref(), DIR, &self.cache_key, self.owner)
    }

    fn anew(&self, rng: &mut dyn Rng) -> Result<Cache<'_>, CacheError> {
        Cache::anew(self.disk.as_ref(), DIR, &self.cache_key, self.owner, rng)
    }

    /// Takes in what is new in `snapshots`, reading pages from what `reach` gives; it is asked
    /// only if there is something to read.
    ///
    /// One process at a time does this; another one is told so in a note and goes on without.
    pub fn update(
        &self,
        snapshots: &[Listed],
        reach: &mut dyn FnMut() -> Result<Tiers, HomeError>,
        rng: &mut dyn Rng,
        progress: &mut dyn FnMut(&Updated),
    ) -> Result<Updated, HomeError> {
        let mut done = Updated::default();
        let Some(_lock) = self.lock()? else {
            done.notes.push("another `seawall find` is reading new snapshots just now".to_owned());
            return Ok(done);
        };
        let mut cache = match self.cache() {
            Err(CacheError::Damaged { file, why }) => {
                done.notes.push(format!("find cache, {file}: {why}; it is built again"));
                self.anew(rng)?
            }
            cache => cache?,
        };
        let mut ordered: Vec<&Listed> = snapshots.iter().collect();
        ordered.sort_by_key(|l| (l.manifest.core.origin.clone(), l.index));
        let mut stopped = BTreeSet::new();
        let (mut rebuilt, mut tiers) = (false, None);
        let mut at = 0;
        while let Some(listed) = ordered.get(at) {
            at += 1;
            let origin = &listed.manifest.core.origin;
            if cache.knows(listed.digest) {
                let is_lost = cache.lacks(listed.digest) && listed.forgotten.is_none();
                done.unsearched += u64::from(is_lost);
                continue;
            }
            let Some(root) = self.root(listed, &mut cache, &mut done, rng)? else { continue };
            if stopped.contains(origin) {
                done.unsearched += 1;
                continue;
            }
            let tiers = match &mut tiers {
                Some(tiers) => tiers,
                none => none.insert(reach()?),
            };
            match cache.ingest(&source(listed, root, &*tiers.objects), rng) {
                Ok(ingested) => {
                    done.take(listed, ingested);
                    progress(&done);
                }
                Err(IngestError::Cache(CacheError::Damaged { file, why })) if !rebuilt => {
                    done.notes.push(format!("find cache, {file}: {why}; it is built again"));
                    cache = self.anew(rng)?;
                    (at, rebuilt) = (0, true);
                    (done.without, done.unsearched) = (0, 0);
                }
                Err(IngestError::Cache(e)) => return Err(e.into()),
                Err(e) => {
                    done.leave(listed, &e);
                    if e.may_pass() && !(tiers.are_all && is_missing(&e)) {
                        stopped.insert(origin.clone());
                    } else {
                        cache.pass_over(listed.digest, rng)?;
                    }
                }
            }
        }
        Ok(done)
    }

    /// The beginning of a snapshot's index, if there is one for this operator.
    fn root(
        &self,
        listed: &Listed,
        cache: &mut Cache<'_>,
        done: &mut Updated,
        rng: &mut dyn Rng,
    ) -> Result<Option<PathIndexRoot>, HomeError> {
        match operators::open_root(&self.secret, self.key, &listed.manifest) {
            Ok(Some(root)) => return Ok(Some(root)),
            Ok(None) => done.without += 1,
            Err(e) => {
                done.leave(listed, &e);
                cache.pass_over(listed.digest, rng)?;
            }
        }
        Ok(None)
    }

    fn lock(&self) -> Result<Option<std::fs::File>, HomeError> {
        const PATH: &str = "find/lock";
        seawall_base::Disk::create_dir_all(self.disk.as_ref(), DIR).map_err(HomeError::io(DIR))?;
        let file =
            std::fs::File::create(self.disk.root().join(PATH)).map_err(HomeError::io(PATH))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(e)) => Err(HomeError::io(PATH)(e)),
        }
    }

    /// Throws the cache away; the next update builds it again.
    pub fn forget(&self, rng: &mut dyn Rng) -> Result<(), HomeError> {
        let Some(_lock) = self.lock()? else {
            return Err(HomeError::refused("another `seawall find` is using the cache"));
        };
        self.anew(rng)?;
        Ok(())
    }

    /// Asks the cache as it is; see [`Cache::find`].
    pub fn find(
        &self,
        pattern: &Pattern,
        filter: &Filter,
        limit: usize,
        threads: usize,
    ) -> Result<(Answer, CacheStats), HomeError> {
        let ask = || {
            let cache = self.cache()?;
            Ok((cache.find(pattern, filter, limit, threads)?, cache.stats()))
        };
        // Another process may have merged segments away between two reads: the second look sees
        // what it made of them.
        ask().or_else(|_: CacheError| ask()).map_err(HomeError::from)
    }
}

fn source<'a>(listed: &Listed, root: PathIndexRoot, objects: &'a dyn Objects) -> Source<'a> {
    let core = &listed.manifest.core;
    let line = LineId {
        origin: core.origin.clone(),
        node: core.node,
        node_name: listed.node.clone(),
        line: root.line,
    };
    let (digest, sequence, created) = (listed.digest, core.sequence, core.created);
    Source {
        line,
        facts: SnapshotFacts { digest, sequence, created },
        class: core.class,
        totals: core.totals,
        root,
        objects,
    }
}

fn short(listed: &Listed) -> String {
    format!("{} of {}", &listed.digest.to_hex()[..12], listed.node)
}

const fn is_missing(e: &IngestError) -> bool {
    matches!(e, IngestError::Page(EntryError::Fetch(FetchError::Missing(_))))
}
