//! A log of a later epoch is taken only if it begins as the region has seen it before.
//!
//! The root keys' statement says where an earlier epoch's log is continued; a region that mirrors
//! that log knows better than to believe it blindly. Every entry of the earlier epoch that it
//! holds must come again, byte for byte, and the tree must have the root committed to. A region
//! that holds *more* than was committed to says so and goes on: what was left behind is a branch
//! that its node appends later, and refusing it would end the node's backups.

use std::sync::Arc;

use seawall_base::Sha256;
use seawall_record::{Accepted, Epoch};
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
}

impl<'r> Trunk<'r> {
    /// The trunk of a log, as far as it is held.
    pub(crate) fn of(region: &'r Region, log: &MirroredLog) -> Result<Self, RegionError> {
        let mut it = Self { region, frontier: Frontier::default(), before: Hash::of(b"") };
        if log.state.entries() > 0 && log.state.is_current() {
            return Ok(it);
        }
        for index in 0..log.mirror.next_entry() {
            it.push(&log.mirror.entry(index)?);
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
                self.compare(earlier.as_deref(), index, entry)
            }
        }
    }

    fn compare(&self, earlier: Option<&LogSlot>, index: u64, entry: &[u8]) -> Result<(), String> {
        let Some(slot) = earlier else { return Ok(()) };
        let held = self.region.with_log(slot, |log| {
            Ok((index < log.published()).then(|| log.mirror.entry(index)).transpose()?)
        });
        match held {
            Ok(Some(held)) if held != entry => Err(format!(
                "it is not entry {index} of {}, whose copy is here: the history was rewritten",
                slot.origin
            )),
            Ok(_) => Ok(()),
            Err(e) => Err(format!("the copy of {} cannot be read: {e}", slot.origin)),
        }
    }

    fn check_point(&self, it: &Epoch, earlier: Option<&LogSlot>) -> Result<(), String> {
        let (size, origin) = (it.continues.size, &it.continues.origin);
        // `before` is the root without the enrolment, which is the last entry of the frontier.
        if self.frontier.size() == size + 1 && self.before != it.continues.root {
            return Err(format!("the {size} entries of {origin} do not have the root signed for"));
        }
        let Some(slot) = earlier else { return Ok(()) };
        let held = self.region.with_log(slot, |log| Ok(log.published()));
        let held = held.map_err(|e| format!("the copy of {origin} cannot be read: {e}"))?;
        if held > size {
            tracing::warn!(%origin, held, size, "an epoch leaves entries behind that are here");
        } else if self.frontier.size() <= held {
            return Err(format!(
                "it leaves out entries of {origin} that are here: {held} were seen, fetch them"
            ));
        }
        Ok(())
    }
}

impl Region {
    /// The mirrored log with this origin.
    fn earlier(&self, origin: &str) -> Option<Arc<LogSlot>> {
        self.slot(Sha256::of(origin.as_bytes()))
    }
}
