//! Giving back the room of objects that nobody needs any more (`docs/formats/zone.md`, "Reclaim").
//!
//! Two phases, so that no process ever has to stop. First, records are *condemned*: from then on every
//! process that opens the store takes their objects for absent and would write them again, while readers
//! still read them. Then, when every writer that opened before has ended, and what their snapshots
//! refer to has been *reprieved*, zones are *swept*: wholly condemned ones are removed, and of mostly
//! condemned ones the rest is copied to a new zone first. Nothing here needs a key.
//!
//! Rejected: reference counts (a crash between two counts loses data or room for good), and one lock over
//! snapshots and pruning (a snapshot can take a night).

use std::collections::BTreeMap;
use std::io;

use seawall_base::{DiskFile, LockMode, ObjectId, OpenMode};

use crate::condemned::{Condemned, ReclaimState, WRITERS, writers_lock};
use crate::error::StoreError;
use crate::format::Kind;
use crate::index::{Entry, IndexWalk};
use crate::scan::{Acknowledged, Item, judge, walk};
use crate::site::{RECLAIM_LOCK, numbered};
use crate::store::{Access, Store};

mod sweep;

pub use sweep::Swept;

/// What sweeping does, or would do, with a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneAction {
    /// Nothing: too little of it is dead.
    Keep,
    /// Copy what is live to another zone, then remove it.
    Rewrite,
    /// Remove it: nothing in it is live.
    Remove,
}

/// One zone of a [`ReclaimPlan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZonePlan {
    /// The zone's number.
    pub zone: u64,
    /// Bytes of records that are live.
    pub live: u64,
    /// Bytes of records that are not.
    pub dead: u64,
    /// What sweeping would do with it.
    pub action: ZoneAction,
}

/// What is live and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReclaimPlan {
    /// Every zone with a record in it, by number.
    pub zones: Vec<ZonePlan>,
    /// Objects that are live.
    pub live_objects: u64,
    /// Records that are not needed: of objects that are not live, and spare copies of live ones.
    pub dead_records: u64,
}

impl ReclaimPlan {
    /// Bytes that sweeping gives back.
    pub fn reclaimable(&self) -> u64 {
        self.zones.iter().filter(|z| z.action != ZoneAction::Keep).map(|z| z.dead).sum()
    }

    /// Bytes that sweeping has to copy for it.
    pub fn to_copy(&self) -> u64 {
        self.zones.iter().filter(|z| z.action == ZoneAction::Rewrite).map(|z| z.live).sum()
    }
}

/// Tells whether an object is needed. Asked once for each object, in ascending order of id, so that a
/// sorted list can be gone through beside it.
pub type IsLive<'a> = dyn FnMut(&ObjectId) -> bool + 'a;

/// The right to remove objects from a store; one process at a time has it.
pub struct Reclaim<'s> {
    store: &'s Store,
    _lock: Box<dyn DiskFile>,
    /// Condemned in this session, and all earlier writers gone since.
    quiet: bool,
}

impl Store {
    /// What [`Reclaim::condemn`] and [`Reclaim::sweep`] would do if they were asked with the same
    /// arguments now. Changes nothing. Zones whose live share is below `percent` would be rewritten.
    pub fn plan_reclaim(
        &self,
        live: &mut IsLive<'_>,
        percent: u8,
    ) -> Result<ReclaimPlan, StoreError> {
        self.survey(live, percent).map(|(plan, _)| plan)
    }

    /// Takes the right to remove objects. [`StoreError::Reclaiming`] if another has it.
    pub fn reclaim(&self) -> Result<Reclaim<'_>, StoreError> {
        if self.site.access == Access::Read {
            return Err(StoreError::ReadOnly);
        }
        let lock = self.site.lock(RECLAIM_LOCK, LockMode::Exclusive, false)?;
        let lock = lock.ok_or(StoreError::Reclaiming)?;
        self.refresh()?;
        Ok(Reclaim { store: self, _lock: lock, quiet: false })
    }

    /// Sorts all records into live and condemned ones. Of each live object one good copy is live.
    fn survey(
        &self,
        live: &mut IsLive<'_>,
        percent: u8,
    ) -> Result<(ReclaimPlan, Condemned), StoreError> {
        let index = self.index().walk();
        let mut use_of: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let (mut plan, mut condemned) = (ReclaimPlan::default(), Condemned::default());
        let walked = index.visit(&mut |id, copies| {
            let keep = if live(&id) { self.to_keep(id, copies, &index) } else { Vec::new() };
            plan.live_objects += u64::from(!keep.is_empty());
            for entry in copies {
                let bytes = use_of.entry(entry.zone).or_default();
                if keep.contains(entry) {
                    bytes.0 += entry.size();
                } else {
                    bytes.1 += entry.size();
                    plan.dead_records += 1;
                    condemned.add(entry);
                }
            }
        });
        walked.map_err(|e| self.rebuilt(&e))?;
        condemned.settle();
        let planned = use_of.into_iter().map(|(zone, (live, dead))| {
            let action = action(live, dead, percent);
            ZonePlan { zone, live, dead, action }
        });
        plan.zones = planned.collect();
        Ok((plan, condemned))
    }

    /// The copies of a live object to keep: one that is good, or all where none is. Before a spare copy
    /// goes, the one that stays is read.
    fn to_keep(&self, id: ObjectId, copies: &[Entry], index: &IndexWalk) -> Vec<Entry> {
        let mut good: Vec<Entry> =
            copies.iter().filter(|e| !index.is_damaged(e)).copied().collect();
        // A copy that counts already comes first, so that as little as possible is written again.
        good.sort_by_key(|e| !index.counts(e));
        match good[..] {
            [] => copies.to_vec(),
            [only] => vec![only],
            _ => match good.iter().find(|e| self.is_whole(id, e)) {
                Some(whole) => vec![*whole],
                None => copies.to_vec(),
            },
        }
    }

    fn is_whole(&self, id: ObjectId, entry: &Entry) -> bool {
        self.read_body(entry).is_ok_and(|body| ObjectId::of(&body) == id)
    }

    /// Whether a zone file that is not there was removed on purpose.
    pub(crate) fn was_swept(&self, zone: u64) -> Result<bool, StoreError> {
        if !self.presence().state.is_swept(zone) {
            self.refresh()?;
        }
        Ok(self.presence().state.is_swept(zone))
    }
}

fn action(live: u64, dead: u64, percent: u8) -> ZoneAction {
    let share = u128::from(live) * 100;
    match (live, dead) {
        (_, 0) => ZoneAction::Keep,
        (0, _) => ZoneAction::Remove,
        _ if share < u128::from(live + dead) * u128::from(percent) => ZoneAction::Rewrite,
        _ => ZoneAction::Keep,
    }
}

impl Reclaim<'_> {
    /// Phase one: condemns every record that is here now and not live. Durable on return. What was
    /// condemned before and is live is so no longer. `percent` is for the plan that is returned.
    pub fn condemn(
        &mut self,
        live: &mut IsLive<'_>,
        percent: u8,
    ) -> Result<ReclaimPlan, StoreError> {
        self.quiet = false;
        let (plan, condemned) = self.store.survey(live, percent)?;
        let generation = self.store.presence().state.generation + 1;
        self.write(condemned, generation)?;
        // This store acts by the new set from here on; it need not wait for itself.
        let name = writers_lock(generation);
        let lock = self.store.site.lock(&name, LockMode::Shared, true)?;
        self.store.presence().lock = lock;
        Ok(plan)
    }

    fn write(&self, condemned: Condemned, generation: u64) -> Result<(), StoreError> {
        let mut presence = self.store.presence();
        presence.state.replace_list(&self.store.site, &condemned, generation)?;
        self.store.index_mut().condemned = condemned.into();
        Ok(())
    }

    /// Whether every writer that opened the store before [`Reclaim::condemn`] has ended, however it
    /// did. While this is false, wait a little and ask again; or give up: nothing is lost.
    pub fn quiet(&mut self) -> Result<bool, StoreError> {
        let site = &self.store.site;
        let now = self.store.presence().state.generation;
        let locks = site.path("locks");
        let failed = |e| StoreError::io(format!("listing {locks}"), e);
        for name in site.disk.list(&locks).map_err(failed)? {
            if numbered(&name, WRITERS).is_none_or(|generation| generation >= now) {
                continue;
            }
            let Some(_lock) = site.lock(&name, LockMode::Exclusive, false)? else {
                return Ok(false);
            };
            // Whoever gets a lock on the removed file sees that its generation is over.
            let path = format!("{locks}/{name}");
            site.disk.remove(&path).map_err(|e| StoreError::io(format!("removing {path}"), e))?;
        }
        self.quiet = true;
        Ok(true)
    }

    /// Takes objects out of the condemned: what manifests refer to that were logged since
    /// [`Reclaim::condemn`]. Durable on return; tells how many were condemned.
    pub fn reprieve(&mut self, ids: &mut dyn Iterator<Item = ObjectId>) -> Result<u64, StoreError> {
        self.store.refresh()?;
        let mut condemned = Condemned::clone(&self.store.index().condemned);
        let mut count = 0;
        for id in ids {
            let index = self.store.index();
            let copies = index.copies(&id);
            let needed = |e: &&Entry| !condemned.contains(e) && !index.is_damaged(e);
            if copies.iter().any(|e| needed(&e)) {
                continue;
            }
            // All of them: which one is whole is not known without reading them.
            let taken = copies.iter().filter(|e| condemned.remove(e)).count();
            count += u64::from(taken > 0);
        }
        if count > 0 {
            let generation = self.store.presence().state.generation;
            self.write(condemned, generation)?;
        }
        Ok(count)
    }
}

/// A condemned zone as it was found.
struct Found {
    zone: u64,
    /// Length of its file in bytes.
    len: u64,
    /// Records that are not condemned, with their bytes in the zone.
    live: Vec<crate::format::Record>,
    live_bytes: u64,
    dead_bytes: u64,
    file: Box<dyn DiskFile>,
}

/// Why a zone cannot be swept.
enum Unfit {
    /// Another writer has it.
    InUse,
    /// Something in it cannot be read, and might be live.
    Damaged,
    /// It is not there.
    Gone,
}

impl Reclaim<'_> {
    /// Looks at a zone under its lock, which ends with the file.
    fn look_at(&self, zone: u64) -> Result<Result<Found, Unfit>, StoreError> {
        let path = self.store.site.zone_path(zone);
        let failed = |e| StoreError::io(format!("reading {path}"), e);
        let file = match self.store.site.disk.open(&path, OpenMode::Write) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(Unfit::Gone)),
            Err(e) => return Err(failed(e)),
        };
        if !file.lock(LockMode::Exclusive, false).map_err(failed)? {
            return Ok(Err(Unfit::InUse));
        }
        let len = file.len().map_err(failed)?;
        let found = walk(&*file, len).map_err(failed)?;
        let view = judge(&found, zone, Acknowledged::UpToCommit);
        let gaps = found.items.iter().any(|item| matches!(item, Item::Gap { .. }));
        // What is not closed was left by a process that ended; the next opening mends it.
        if gaps || found.unreadable || !view.closed {
            return Ok(Err(if gaps || found.unreadable { Unfit::Damaged } else { Unfit::InUse }));
        }
        let index = self.store.index();
        let objects = view.records.iter().filter(|r| matches!(r.kind, Kind::Object { .. }));
        let (dead, live): (Vec<_>, Vec<_>) =
            objects.copied().partition(|r| index.condemned.has(zone, r.offset));
        let sum = |records: &[crate::format::Record]| -> u64 {
            records.iter().map(|r| r.end() - r.offset).sum()
        };
        let (live_bytes, dead_bytes) = (sum(&live), sum(&dead));
        Ok(Ok(Found { zone, len, live, live_bytes, dead_bytes, file }))
    }

    fn state(&self) -> ReclaimState {
        self.store.presence().state.clone()
    }
}
