//! Cosigned checkpoints of mirrored logs: what a region's sense of time is made of.
//!
//! A region cannot ask witnesses, who may not know it. Its members bring what witnesses gave them.
//! A member can keep stamps back, and then its snapshots do not age; it cannot make any. What is
//! kept is of the history mirrored here, and cosigned by somebody the fleet's policy lists.

use seawall_base::{Disk, Timestamp, read_file, write_atomic};
use seawall_policy::witness::Stamp;
use seawall_record::Fleet;
use seawall_sync::wire::decode_cosigned;
use seawall_tlog::note::MAX_NOTE;
use seawall_tlog::{Cosigned, Roster, SignedCheckpoint};

use crate::logs::LogSlot;
use crate::{Member, Refusal, Region, RegionError};

const DIR: &str = "witnessed";
const SUFFIX: &str = ".checkpoint";

fn path_of(dir: &str, size: u64) -> String {
    format!("{dir}/{DIR}/{size:020}{SUFFIX}")
}

/// The sizes of which a log's directory has a cosigned checkpoint, ascending.
fn sizes(disk: &dyn Disk, dir: &str) -> Result<Vec<u64>, RegionError> {
    let dir = format!("{dir}/{DIR}");
    let names = disk.list(&dir).map_err(RegionError::io(format!("listing {dir}")))?;
    let size = |name: &String| name.strip_suffix(SUFFIX)?.parse().ok();
    let mut sizes: Vec<u64> = names.iter().filter_map(size).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

fn read(disk: &dyn Disk, dir: &str, size: u64) -> Result<Option<SignedCheckpoint>, RegionError> {
    let path = path_of(dir, size);
    let bytes =
        read_file(disk, &path, MAX_NOTE).map_err(RegionError::io(format!("reading {path}")))?;
    let parse = |bytes: Vec<u8>| {
        SignedCheckpoint::parse(&bytes)
            .map_err(|e| RegionError::Damaged { path: path.clone(), why: e.to_string() })
    };
    bytes.map(parse).transpose()
}

/// Every cosigned checkpoint kept of a log.
pub(crate) fn cosigned(disk: &dyn Disk, slot: &LogSlot) -> Result<Cosigned, RegionError> {
    let mut all = Cosigned::default();
    for size in sizes(disk, &slot.dir)? {
        if let Some(signed) = read(disk, &slot.dir, size)? {
            all.add(&signed).map_err(|e| RegionError::Log(e.into()))?;
        }
    }
    Ok(all)
}

/// Who counts as a witness of a fleet, by operator.
pub(crate) fn roster(fleet: &Fleet) -> Roster {
    Roster::of(fleet.policy().cosigners(), |e| {
        tracing::warn!(error = %e, "a witness of the policy cannot cosign anything");
    })
}

/// How many operators it takes to know what time it is; none where the policy demands no quorum.
pub(crate) fn needed(fleet: &Fleet) -> Option<u16> {
    fleet.policy().quorum().map(|quorum| quorum.needed())
}

pub(crate) fn stamps(all: Vec<(&str, Timestamp)>) -> Vec<Stamp<'_>> {
    all.into_iter().map(|(operator, time)| Stamp { operator, time }).collect()
}

impl Region {
    /// Takes cosigned checkpoints of the member's own log in; returns the largest size of which one
    /// is kept. Durable on return.
    pub fn show_cosigned(&self, member: &Member, body: &[u8]) -> Result<u64, Refusal> {
        let shown = decode_cosigned(body)?;
        let slot = self.visible_origin(member, member.origin.as_str())?;
        let roster = roster(&member.fleet);
        let keys = roster.verifiers();
        for signed in &shown {
            let checkpoint = signed.checkpoint();
            let root = self.with_log(&slot, |log| {
                let held = checkpoint.size <= log.published();
                Ok(held.then(|| log.mirror.root_at(checkpoint.size)).transpose()?)
            })?;
            if checkpoint.origin != slot.origin || root != Some(checkpoint.root) {
                let why = format!("a checkpoint of {} entries that are not here", checkpoint.size);
                return Err(Refusal::new(422, why, "push the log first"));
            }
            if !roster.stamps(signed).is_empty() {
                self.keep_cosigned(&slot, &signed.with_good_lines_of(&keys))?;
            }
        }
        Ok(sizes(self.disk.as_ref(), &slot.dir)?.last().copied().unwrap_or(0))
    }

    fn keep_cosigned(&self, slot: &LogSlot, signed: &SignedCheckpoint) -> Result<(), RegionError> {
        let (disk, size) = (self.disk.as_ref(), signed.checkpoint().size);
        let _alone = slot.lock();
        let mut all = Cosigned::default();
        if let Some(known) = read(disk, &slot.dir, size)? {
            all.add(&known).map_err(|e| RegionError::Log(e.into()))?;
        }
        let Some(merged) = all.add(signed).map_err(|e| RegionError::Log(e.into()))? else {
            return Ok(());
        };
        let (dir, path) = (format!("{}/{DIR}", slot.dir), path_of(&slot.dir, size));
        disk.create_dir_all(&dir).map_err(RegionError::io(format!("creating {dir}")))?;
        write_atomic(disk, &path, &merged.to_bytes())
            .map_err(RegionError::io(format!("writing {path}")))?;
        disk.sync_dir(&slot.dir).map_err(RegionError::io(format!("syncing {}", slot.dir)))
    }
}
