//! A log of a later epoch is taken only if it begins as the region has seen it before, or as the
//! root keys say.
//!
//! The root keys' statement says where an earlier epoch's log is continued, and with which root. A
//! log that shows exactly that is taken: a region that holds something else of the earlier epoch
//! holds a branch, says so and goes on, for it would else end the node's backups for ever. Where
//! the log shows *fewer* entries than were committed to, since its node could not have them from
//! anybody, the region knows better than to believe it blindly: every entry shown must be the one
//! it holds, byte for byte, and before it publishes such a log, every snapshot it holds of those
//! that were left out must stand in it, as a branch.

use std::sync::Arc;

use seawall_base::Sha256;
use seawall_record::{Accepted, Epoch, LogState};
use seawall_tlog::Hash;
use seawall_tlog::merkle::{Frontier, leaf_hash};

use crate::logs::{LogSlot, MirroredLog};
use crate::{Region, RegionError};

/// The beginning of a log that has not reached its own epoch yet.
pub(crate) struct Trunk<'r> {
    region: &'r Region,
    frontier: Frontier,
    /// The root before the last entry.
    before: Hash,
    /// The first entry that is another than the one held here.
    differs: Option<u64>,
}

impl<'r> Trunk<'r> {
    /// The trunk of a log, as far as it is held.
    pub(crate) fn of(region: &'r Region, log: &MirroredLog) -> Result<Self, RegionError> {
        let (frontier, before) = (Frontier::default(), Hash::of(b""));
        let mut it = Self { region, frontier, before, differs: None };
        if log.state.entries() > 0 && log.state.is_current() {
            return Ok(it);
        }
        let earlier = region.earlier(log.state.epoch_origin());
        for index in 0..log.mirror.next_entry() {
            let entry = log.mirror.entry(index)?;
            it.push(&entry);
            it.compare(earlier.as_deref(), index, &entry)?;
        }
        Ok(it)
    }

    fn push(&mut self, entry: &[u8]) {
        self.before = self.frontier.root();
        self.frontier.push(leaf_hash(entry), &mut Vec::new());
    }

    /// Checks an entry that was accepted while the log was at the epoch of `origin`.
    pub(crate) fn check(
        &mut self,
        origin: &str,
        index: u64,
        entry: &[u8],
        accepted: &Accepted,
    ) -> Result<(), String> {
        let earlier = self.region.earlier(origin);
        match accepted {
            Accepted::Epoch(it) => self.check_point(it, earlier.as_deref()),
            // The enrolment for the next epoch stands where the old log may have more.
            Accepted::Enrolment(_) if index > 0 => {
                self.push(entry);
                Ok(())
            }
            _ => {
                self.push(entry);
                self.compare(earlier.as_deref(), index, entry).map_err(|e| unreadable(origin, &e))
            }
        }
    }

    /// Notes the first entry that is another than the one held here.
    fn compare(
        &mut self,
        earlier: Option<&LogSlot>,
        index: u64,
        entry: &[u8],
    ) -> Result<(), RegionError> {
        let (Some(slot), None) = (earlier, self.differs) else { return Ok(()) };
        let held = self.region.with_log(slot, |log| {
            Ok((index < log.published()).then(|| log.mirror.entry(index)).transpose()?)
        })?;
        if held.is_some_and(|held| held != entry) {
            self.differs = Some(index);
        }
        Ok(())
    }

    fn check_point(&mut self, it: &Epoch, earlier: Option<&LogSlot>) -> Result<(), String> {
        let (size, origin) = (it.continues.size, &it.continues.origin);
        // The enrolment is the last entry of the frontier, `before` the root without it.
        let shown = self.frontier.size().saturating_sub(1);
        let differs = self.differs.take();
        let Some(slot) = earlier else {
            return check_root(size, shown, (&self.before, it));
        };
        let held = self.region.with_log(slot, |log| Ok(log.published()));
        let held = held.map_err(|e| unreadable(origin, &e))?;
        check_root(size, shown, (&self.before, it))?;
        match differs {
            Some(index) if shown < size => {
                return Err(format!(
                    "it is not entry {index} of {origin}, whose copy is here: the history was rewritten"
                ));
            }
            Some(index) => {
                tracing::warn!(%origin, held, index, "the root keys continue another branch than is here");
            }
            None if held > shown => {
                tracing::warn!(%origin, held, shown, "an epoch leaves entries behind that are here");
            }
            None => {}
        }
        Ok(())
    }
}

/// A log that shows all that was committed to has the root that was.
fn check_root(size: u64, shown: u64, (root, it): (&Hash, &Epoch)) -> Result<(), String> {
    if shown == size && *root != it.continues.root {
        let origin = &it.continues.origin;
        return Err(format!("the {size} entries of {origin} do not have the root signed for"));
    }
    Ok(())
}

fn unreadable(origin: &str, e: &RegionError) -> String {
    format!("the copy of {origin} cannot be read: {e}")
}

/// Snapshots that an epoch was committed to, that its log does not show in their place, and that are
/// here, must stand in it as a branch.
pub(crate) fn check_left_out(region: &Region, state: &LogState) -> Result<(), String> {
    for it in state.continued().iter().filter(|it| it.held < it.point.size) {
        let origin = &it.point.origin;
        let Some(slot) = region.earlier(origin) else { continue };
        let missing = region.with_log(&slot, |log| {
            let (from, until) = (it.held, log.published());
            let mut held = log.manifests.range(from.min(until)..until);
            Ok(held.find(|(_, (digest, _))| !state.has_snapshot(digest)).map(|(index, _)| *index))
        });
        if let Some(index) = missing.map_err(|e| unreadable(origin, &e))? {
            return Err(format!(
                "it leaves out entries of {origin} that are here, such as snapshot {index}: fetch them, and append them as a branch"
            ));
        }
    }
    Ok(())
}

impl Region {
    /// The mirrored log with this origin.
    fn earlier(&self, origin: &str) -> Option<Arc<LogSlot>> {
        self.slot(Sha256::of(origin.as_bytes()))
    }
}
