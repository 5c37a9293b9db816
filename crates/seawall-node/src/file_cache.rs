//! Where the file caches of a node are: one for each set of paths it makes snapshots of.
//!
//! Two snapshots of one set at once are allowed; the second does without the cache.

use std::fs::File;

use seawall_backup::snapshot::FileCache;
use seawall_base::{Clock, Rng};

use crate::home::{Home, HomeError};

/// A cache no other process uses, for as long as this lives.
pub(crate) struct HeldCache {
    /// None if another process has it, or the disk does not give it.
    pub(crate) cache: Option<FileCache>,
    _lock: Option<File>,
}

/// The file cache of snapshots of `sources` in the class with this number.
pub(crate) fn hold(
    home: &Home,
    class: u8,
    sources: &[Vec<u8>],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<HeldCache, HomeError> {
    let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 file cache name v1");
    hasher.update(&[class]);
    for source in sources {
        hasher.update(&(source.len() as u64).to_le_bytes()).update(source);
    }
    let stem = format!("cache/files-{}", &hasher.finalize().to_hex()[..16]);
    let dir = home.path().join("cache");
    std::fs::create_dir_all(&dir).map_err(HomeError::io("cache"))?;
    let lock = File::create(home.path().join(format!("{stem}.lock")));
    let lock = lock.map_err(HomeError::io(&stem))?;
    if lock.try_lock().is_err() {
        tracing::info!("another snapshot of the same paths is running, reading every file");
        return Ok(HeldCache { cache: None, _lock: None });
    }
    let cache = match FileCache::open(home.disk(), &stem, clock.now(), rng) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(%error, "the file cache cannot be used, reading every file");
            None
        }
    };
    Ok(HeldCache { cache, _lock: Some(lock) })
}
