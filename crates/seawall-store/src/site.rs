//! Where a store is: its disk, its directories, and the locks that keep processes apart.
//!
//! Lock files are empty and never removed while they can be in use, so that two processes cannot hold
//! locks on two files of one name. Locks end with their process, whatever ends it.

use std::io;
use std::sync::Arc;

use seawall_base::{Disk, DiskFile, LockMode, OpenMode};

use crate::error::StoreError;
use crate::store::{Access, Options};

/// Zones are created, and those of ended processes taken over, by one process at a time.
pub(crate) const ZONES_LOCK: &str = "zones";
/// Held by the one process that writes the index.
pub(crate) const INDEX_LOCK: &str = "index";
/// Held by the one process that removes objects.
pub(crate) const RECLAIM_LOCK: &str = "reclaim";

/// The place of one store.
pub(crate) struct Site {
    pub(crate) disk: Arc<dyn Disk>,
    /// The directory of the store; empty for the disk's own.
    dir: String,
    pub(crate) access: Access,
    pub(crate) zone_bytes: u64,
    pub(crate) salt: [u8; 32],
    /// Entries in memory above which the index is written out.
    pub(crate) index_tail: usize,
}

impl Site {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &str, options: &Options) -> Self {
        let Options { access, zone_bytes, salt, index_tail } = *options;
        let (dir, zone_bytes) = (dir.to_owned(), zone_bytes.min(2 << 30));
        Self { disk, dir, access, zone_bytes, salt, index_tail: index_tail.max(1) }
    }

    /// The path of a file or directory of the store.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.dir.is_empty() { name.to_owned() } else { format!("{}/{name}", self.dir) }
    }

    pub(crate) fn zones_dir(&self) -> String {
        self.path("zones")
    }

    pub(crate) fn zone_path(&self, zone: u64) -> String {
        self.path(&format!("zones/{zone:016x}.zone"))
    }

    /// Marks files as this store's; without its salt nobody can make it.
    pub(crate) fn mark(&self) -> [u8; 16] {
        let mut mark = [0; 16];
        let hash = blake3::keyed_hash(&self.salt, b"seawall store mark v1");
        mark.copy_from_slice(&hash.as_bytes()[..16]);
        mark
    }

    /// Opens a lock file, creating it where it is not there.
    pub(crate) fn lock_file(&self, name: &str) -> Result<Box<dyn DiskFile>, StoreError> {
        let path = self.path(&format!("locks/{name}"));
        let open = || -> io::Result<_> {
            self.disk.create_dir_all(&self.path("locks"))?;
            self.disk.open(&path, OpenMode::Create)
        };
        open().map_err(|e| StoreError::io(format!("opening {path}"), e))
    }

    /// Locks a lock file; `None` if another handle is in the way and `wait` is not set.
    pub(crate) fn lock(
        &self,
        name: &str,
        mode: LockMode,
        wait: bool,
    ) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        let file = self.lock_file(name)?;
        match file.lock(mode, wait) {
            Ok(held) => Ok(held.then_some(file)),
            Err(e) => Err(StoreError::io(format!("locking {}", self.path(name)), e)),
        }
    }

    /// The numbers of the zone files that are there, ascending.
    pub(crate) fn zones(&self) -> io::Result<Vec<u64>> {
        let names = self.disk.list(&self.zones_dir())?;
        Ok(names.iter().filter_map(|n| zone_number(n)).collect())
    }
}

/// The number in a zone's file name; `None` for names that are not ours.
fn zone_number(name: &str) -> Option<u64> {
    numbered(name, ".zone")
}

/// The number in a name of 16 lowercase hexadecimal digits and a suffix.
pub(crate) fn numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let canonical =
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if canonical { u64::from_str_radix(digits, 16).ok() } else { None }
}
