//! Phase two: removing zones, and rewriting those of which something is still live.
//!
//! Order for each batch: copies are durable, then the state names the zones as swept, then the files go.
//! A crash before the state leaves spare copies, which the next plan finds; a crash behind it leaves
//! files that every opening passes over and the next sweep removes. Wholly dead zones go first: they need
//! no room.

use std::io;

use seawall_base::ObjectId;

use super::{Found, Reclaim, Unfit, action};
use crate::error::StoreError;
use crate::format::{Kind, Record};
use crate::reclaim::ZoneAction;
use crate::writer::Writer;

/// Live bytes that are copied before the zones they come from are removed.
const BATCH: u64 = 256 << 20;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Zones removed of which nothing was live.
    pub removed: u64,
    /// Zones removed after what was live in them was copied.
    pub rewritten: u64,
    /// Bytes of zone files that are gone.
    pub freed: u64,
    /// Bytes written for it.
    pub copied: u64,
    /// Zones with condemned records that are in use by a writer: for a later sweep.
    pub in_use: u64,
    /// Zones with condemned records that are kept because something in them cannot be read: repair the
    /// store first.
    pub damaged: Vec<u64>,
    /// Why it stopped before the end, if it did: the disk is too full to copy. What was done counts.
    pub stopped: Option<String>,
}

impl Swept {
    /// Whether no zone that should have gone is left: nothing that was condemned can be read any more.
    pub fn is_whole(&self) -> bool {
        self.in_use == 0 && self.damaged.is_empty() && self.stopped.is_none()
    }
}

impl Reclaim<'_> {
    /// Phase two: removes wholly condemned zones and rewrites those whose live share is below `percent`.
    /// [`StoreError::WritersAtWork`] unless [`Reclaim::quiet`] has said yes since
    /// [`Reclaim::condemn`].
    ///
    /// `progress` is told the bytes freed so far. After a crash at any point the store is as if the sweep
    /// had stopped there.
    pub fn sweep(
        &mut self,
        percent: u8,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Swept, StoreError> {
        if !self.quiet {
            return Err(StoreError::WritersAtWork);
        }
        self.store.refresh()?;
        let mut swept = Swept::default();
        self.remove_leftovers()?;
        let mut rewrite = self.remove_dead(percent, &mut swept, progress)?;
        rewrite.sort_unstable();
        let mut batch = Vec::new();
        for (live, zone) in rewrite {
            let found = match self.look_at(zone)? {
                Ok(found) => found,
                Err(unfit) => {
                    swept.pass_over(zone, &unfit);
                    continue;
                }
            };
            match self.copy(&found) {
                Ok(Some(bytes)) => {
                    swept.copied += bytes;
                    batch.push(found);
                }
                Ok(None) => swept.damaged.push(zone),
                Err(e @ StoreError::Full { .. }) => {
                    swept.stopped = Some(e.to_string());
                    break;
                }
                Err(e) => return Err(e),
            }
            if batch.iter().map(|f: &Found| f.live_bytes).sum::<u64>() + live >= BATCH {
                self.finish(&mut batch, &mut swept, progress)?;
            }
        }
        self.finish(&mut batch, &mut swept, progress)?;
        if !self.store.index().segments.is_empty() {
            self.store.write_index(&mut self.store.writer())?;
        }
        Ok(swept)
    }

    /// Removes zone files that an interrupted sweep left.
    fn remove_leftovers(&self) -> Result<(), StoreError> {
        let site = &self.store.site;
        let failed = |e| StoreError::io(format!("listing {}", site.zones_dir()), e);
        let state = self.state();
        let there = site.zones().map_err(failed)?;
        let top = there.last().copied();
        let left: Vec<u64> =
            there.into_iter().filter(|z| state.is_swept(*z) && Some(*z) != top).collect();
        self.remove_files(&left)
    }

    /// Removes the zones of which nothing is live; returns those to rewrite with their live bytes.
    fn remove_dead(
        &mut self,
        percent: u8,
        swept: &mut Swept,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let condemned = self.store.index().condemned.clone();
        self.close_own(&condemned)?;
        let (mut dead, mut rewrite) = (Vec::new(), Vec::new());
        for &zone in condemned.zones.keys() {
            match self.look_at(zone)? {
                Err(unfit) => swept.pass_over(zone, &unfit),
                Ok(found) => match action(found.live_bytes, found.dead_bytes, percent) {
                    ZoneAction::Keep => {}
                    ZoneAction::Remove => dead.push(Found { live: Vec::new(), ..found }),
                    ZoneAction::Rewrite => rewrite.push((found.live_bytes, zone)),
                },
            }
        }
        // A zone file is held open for each: given back in batches.
        while !dead.is_empty() {
            let mut batch = dead.split_off(dead.len().saturating_sub(64));
            self.finish(&mut batch, swept, progress)?;
        }
        Ok(rewrite)
    }

    /// Closes the zone this process writes if something in it is condemned.
    fn close_own(&self, condemned: &crate::condemned::Condemned) -> Result<(), StoreError> {
        let mut writer = self.store.writer();
        let number = writer.active.as_ref().map(|a| a.number);
        if number.is_some_and(|zone| condemned.zones.contains_key(&zone)) {
            self.store.commit(&mut writer, true)?;
        }
        Ok(())
    }

    /// Copies the live records of a zone behind the writer; `None` if one of them cannot be read and no
    /// other zone has it.
    fn copy(&self, found: &Found) -> Result<Option<u64>, StoreError> {
        let mut copied = 0;
        for record in &found.live {
            let Kind::Object { ix } = record.kind else { continue };
            let id = record.object_id();
            let Some(body) = Self::whole_body(found, record)? else {
                if self.elsewhere(id, found.zone) {
                    continue;
                }
                return Ok(None);
            };
            self.store.append(&mut self.store.writer(), id, ix, &body)?;
            copied += record.end() - record.offset;
        }
        self.store.commit(&mut self.store.writer(), false)?;
        Ok(Some(copied))
    }

    fn whole_body(found: &Found, record: &Record) -> Result<Option<Vec<u8>>, StoreError> {
        let mut body = vec![0; record.len as usize];
        match found.file.read_exact_at(record.body_offset(), &mut body) {
            Ok(()) => Ok(Some(body).filter(|b| ObjectId::of(b) == record.object_id())),
            Err(e) if e.kind() == io::ErrorKind::OutOfMemory => {
                Err(StoreError::io(format!("reading zone {:016x}", found.zone), e))
            }
            // A sector that cannot be read is damage to what is in it.
            Err(_) => Ok(None),
        }
    }

    /// Whether a whole copy is in another zone.
    fn elsewhere(&self, id: ObjectId, zone: u64) -> bool {
        let copies = self.store.index().copies(&id);
        copies.iter().any(|e| e.zone != zone && self.store.is_whole(id, e))
    }

    /// Gives a batch of zones back: nothing in them is needed any more.
    fn finish(
        &self,
        batch: &mut Vec<Found>,
        swept: &mut Swept,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let zones: Vec<u64> = batch.iter().map(|f| f.zone).collect();
        self.leave_a_higher_one(&zones)?;
        let mut state = self.state();
        state.sweep(&zones);
        match state.write(&self.store.site) {
            // So full that not even this fits: a zone of which nothing is live may go without a word.
            Err(StoreError::Full { .. }) if batch[0].live.is_empty() => {
                self.forget(&zones[..1]);
                self.remove_files(&zones[..1])?;
                state.write(&self.store.site)?;
            }
            other => other?,
        }
        self.store.presence().state = state;
        self.forget(&zones);
        self.remove_files(&zones)?;
        for found in batch.drain(..) {
            swept.freed += found.len;
            match found.live[..] {
                [] => swept.removed += 1,
                _ => swept.rewritten += 1,
            }
            progress(swept.freed);
        }
        Ok(())
    }

    /// Sees to it that a zone with a higher number than all of `zones` stays: numbers are not used twice,
    /// because an index of another process may still say what was in them.
    fn leave_a_higher_one(&self, zones: &[u64]) -> Result<(), StoreError> {
        let site = &self.store.site;
        let failed = |e| StoreError::io(format!("listing {}", site.zones_dir()), e);
        let top = site.zones().map_err(failed)?.last().copied();
        if !top.is_some_and(|top| zones.contains(&top)) {
            return Ok(());
        }
        let mut writer: std::sync::MutexGuard<'_, Writer> = self.store.writer();
        self.store.commit(&mut writer, true)?;
        let index = self.store.index();
        writer.create_zone(&index)
    }

    fn forget(&self, zones: &[u64]) {
        let mut index = self.store.index_mut();
        for zone in zones {
            index.zones.remove(zone);
        }
    }

    fn remove_files(&self, zones: &[u64]) -> Result<(), StoreError> {
        let site = &self.store.site;
        for zone in zones {
            let path = site.zone_path(*zone);
            match site.disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(format!("removing {path}"), e));
                }
                _ => {}
            }
        }
        let dir = site.zones_dir();
        let synced = if zones.is_empty() { Ok(()) } else { site.disk.sync_dir(&dir) };
        synced.map_err(|e| StoreError::io(format!("syncing {dir}"), e))
    }
}

impl Swept {
    fn pass_over(&mut self, zone: u64, unfit: &Unfit) {
        match unfit {
            Unfit::InUse => self.in_use += 1,
            Unfit::Damaged => self.damaged.push(zone),
            Unfit::Gone => {}
        }
    }
}
