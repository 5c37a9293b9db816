//! Opening: looks at every zone that the index does not cover, and takes over what an ended process left.
//!
//! A zone that no other zone's header names as ended has a writer that lives, and holds the zone's lock, or one that ended.
//! Only the second is changed, and there only what no sync is known to have covered: the tail behind the
//! last commit is cut; if nothing proves that the last flush's sync succeeded, its bodies are read,
//! pieces that did not survive become voids, and the rest is written again and synced. A crash during
//! any of this leaves a zone that opens the same way. Of a zone whose writer lives, what is proven to be
//! durable counts, and nothing is touched.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use seawall_base::{DiskFile, LockMode, OpenMode};

use crate::error::{Damage, DamageKind, StoreError};
use crate::format::{
    Ended, HeaderFault, Kind, Mark, Record, SHORT_HEADER, Tag, ZONE_HEADER, ZoneHeader,
};
use crate::index::{Index, ZoneState};
use crate::scan::{Acknowledged, View, Walk, body_fault, damage_of, judge, walk};
use crate::site::{Site, ZONES_LOCK};
use crate::spill::{Spilled, spill};
use crate::store::{Access, OpenReport};
use crate::writer::Active;

/// Bytes rewritten at a time.
const CHUNK: u64 = 1 << 20;

/// What opening leaves to the writer.
#[derive(Default)]
pub(crate) struct TakenOver {
    /// The zone to go on with.
    pub(crate) active: Option<Active>,
    /// A zone file that never held a record, locked.
    pub(crate) blank: Option<(u64, Arc<dyn DiskFile>)>,
    /// A zone whose closing commit is durable now, and that none above it says so of.
    pub(crate) previous: Option<u64>,
}

/// A look at the zones, filling `index`.
pub(crate) struct Look<'a> {
    pub(crate) site: &'a Site,
    pub(crate) index: &'a mut Index,
    pub(crate) report: &'a mut OpenReport,
    /// What headers say of other zones.
    claims: Vec<(u64, Ended)>,
    taken: TakenOver,
    /// Zones that have not been looked at yet.
    unseen: BTreeSet<u64>,
    /// A zone is not what the index says of it.
    stale: bool,
}

impl<'a> Look<'a> {
    pub(crate) fn new(site: &'a Site, index: &'a mut Index, report: &'a mut OpenReport) -> Self {
        let taken = TakenOver { active: None, blank: None, previous: None };
        let (claims, unseen) = (Vec::new(), BTreeSet::new());
        Self { site, index, report, claims, taken, unseen, stale: false }
    }

    /// Looks at `zones`, but for those the index has whole; `None` if the index is not of these zones. With `adopt`, zones of writers that ended are mended and one is taken over.
    /// `own` is the zone this process writes, and up to where it is durable.
    pub(crate) fn at(
        mut self,
        zones: &[u64],
        own: Option<(u64, ZoneState)>,
        adopt: bool,
    ) -> Result<Option<TakenOver>, StoreError> {
        let mut unclosed = Vec::new();
        self.unseen = zones.iter().copied().collect();
        // Downwards: what proves a zone to be ended stands in one above it.
        for &zone in zones.iter().rev() {
            if let Some(state) = self.index.root.zones.get(&zone).filter(|state| state.closed) {
                self.claims.push((zone, state.ended));
                self.index.zones.insert(zone, *state);
                self.unseen.remove(&zone);
                continue;
            }
            match own.filter(|(number, _)| *number == zone) {
                Some((_, state)) => self.own(zone, state)?,
                None if !self.closed(zone)? => unclosed.push(zone),
                None => {}
            }
            if self.stale {
                return Ok(None);
            }
        }
        // Whoever creates a zone holds this lock until the zone's own is held.
        let _creating = if adopt && !unclosed.is_empty() {
            self.site.lock(ZONES_LOCK, LockMode::Exclusive, true)?
        } else {
            None
        };
        for zone in unclosed.into_iter().rev() {
            if self.ended(zone) {
                self.as_it_is(zone)?;
            } else if !(adopt && self.adopted(zone)?) {
                self.beside(zone)?;
            }
        }
        self.report.zones = self.index.zones.len() as u64;
        Ok(Some(self.taken).filter(|_| !self.stale))
    }

    fn failed(&self, zone: u64) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.site.zone_path(zone);
        move |e| StoreError::io(format!("opening {path}"), e)
    }

    /// Opens a zone to read it; `None` if it is gone.
    fn open(&self, zone: u64) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        match self.site.disk.open(&self.site.zone_path(zone), OpenMode::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(zone)(e)),
        }
    }

    fn walk(&self, zone: u64, file: &dyn DiskFile) -> Result<Walk, StoreError> {
        let found = file.len().and_then(|len| walk(file, len)).map_err(self.failed(zone))?;
        match found.header {
            Err(HeaderFault::Version(version)) => {
                Err(StoreError::UnsupportedVersion { zone, version })
            }
            _ => Ok(found),
        }
    }

    fn own(&mut self, zone: u64, state: ZoneState) -> Result<(), StoreError> {
        let Some(file) = self.open(zone)? else { return Ok(()) };
        let found = walk(&*file, state.end).map_err(self.failed(zone))?;
        self.claims.push((zone, state.ended));
        let view = judge(&found, zone, Acknowledged::All);
        self.take(zone, &view, state);
        Ok(())
    }

    /// Whether the header of another zone says that this one's closing commit is durable.
    fn ended(&self, zone: u64) -> bool {
        self.claims.iter().any(|(by, ended)| *by > zone && ended.names(zone))
    }

    /// Takes in a zone that is known to be ended and is whole, or that is gone; false if it is neither.
    fn closed(&mut self, zone: u64) -> Result<bool, StoreError> {
        let Some(file) = self.open(zone)? else { return Ok(true) };
        let found = self.walk(zone, &*file)?;
        self.claims.push((zone, found.header.map_or(Ended::Unknown, |h| h.ended)));
        if !self.ended(zone) {
            return Ok(false);
        }
        let view = judge(&found, zone, Acknowledged::Closed);
        if !view.closed || view.tip.offset != found.len {
            return Ok(false);
        }
        self.compare(zone, &view);
        self.keep(zone, &found, &view, false);
        self.make_room();
        Ok(true)
    }

    /// Writes the index out where it has grown large. Only ended zones have been looked at so far, so that
    /// all of it is durable. If it cannot be written, it stays in memory.
    fn make_room(&mut self) {
        if self.index.in_memory() < 2 * self.site.index_tail {
            return;
        }
        match spill(self.site, self.index, &self.unseen) {
            Ok(Spilled::Written(root, segments)) => self.index.written_out(root, segments),
            Ok(Spilled::Busy | Spilled::Stale) => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidData => self.stale = true,
            Err(e) => self.report.renewed.push(format!("the index was not written: {e}")),
        }
    }

    /// Takes in a zone that nobody will write to any more, whatever is wrong with it.
    fn as_it_is(&mut self, zone: u64) -> Result<(), StoreError> {
        let Some(file) = self.open(zone)? else { return Ok(()) };
        let found = self.walk(zone, &*file)?;
        let view = judge(&found, zone, Acknowledged::Closed);
        self.compare(zone, &view);
        self.keep(zone, &found, &view, false);
        Ok(())
    }

    /// Takes in a zone that somebody else writes, or may: what a later record proves to be durable. A
    /// reader also takes what it finds whole.
    fn beside(&mut self, zone: u64) -> Result<(), StoreError> {
        let Some(file) = self.open(zone)? else { return Ok(()) };
        let found = self.walk(zone, &*file)?;
        if found.header.is_err() && found.len <= ZONE_HEADER {
            return Ok(());
        }
        if !writable(&found) {
            return self.as_it_is(zone);
        }
        let mut view = judge(&found, zone, Acknowledged::UpToCommit);
        self.compare(zone, &view);
        if let Some((start, _)) = view.unsettled {
            if self.site.access == Access::Write {
                view.records.retain(|r| r.offset < start);
                view.damage.retain(|d| d.offset < start);
                view.tip.offset = start;
            } else {
                let torn = torn_pieces(&*file, zone, start, &mut view);
                self.report.torn.extend(torn);
            }
        }
        self.keep(zone, &found, &view, true);
        Ok(())
    }

    /// Takes over a zone that no process writes any more; false if one does.
    fn adopted(&mut self, zone: u64) -> Result<bool, StoreError> {
        let path = self.site.zone_path(zone);
        let file: Arc<dyn DiskFile> = match self.site.disk.open(&path, OpenMode::Write) {
            Ok(file) => Arc::from(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(self.failed(zone)(e)),
        };
        if !file.lock(LockMode::Exclusive, false).map_err(self.failed(zone))? {
            return Ok(false);
        }
        let found = self.walk(zone, &*file)?;
        if found.header.is_err() && found.len <= ZONE_HEADER {
            // The header is durable before a zone takes records, so this one never held any.
            self.taken.blank = Some((zone, file));
            return Ok(true);
        }
        let Some(tag) = found.tag.filter(|_| writable(&found)) else {
            self.as_it_is(zone)?;
            return Ok(true);
        };
        let mut view = judge(&found, zone, Acknowledged::UpToCommit);
        mend(&*file, zone, tag, &found, &mut view, self.report).map_err(self.failed(zone))?;
        self.compare(zone, &view);
        // What was mended is durable up to its last flush; a settling commit may not be.
        let settle = view.records.last().filter(|r| r.kind == Kind::Commit(Mark::Settle)).copied();
        let ended = found.header.map_or(Ended::Unknown, |h| h.ended);
        let mut active = Active::new(file, ZoneHeader { zone, tag, ended }, view.tip);
        active.retire = view.damage.iter().any(|d| d.kind == DamageKind::ZoneHeader);
        if let Some(settle) = settle {
            view.tip.offset = settle.offset;
            active.resume(&settle);
        } else if matches!(view.records.last(), Some(r) if r.kind == Kind::Commit(Mark::Flush)) {
            active.settle();
        }
        self.keep(zone, &found, &view, !view.closed);
        if view.closed {
            self.taken.previous = Some(zone);
        } else {
            self.taken.active = Some(active);
        }
        Ok(true)
    }

    fn keep(&mut self, zone: u64, found: &Walk, view: &View, live: bool) {
        let whole = view.damage.is_empty() && !found.unreadable;
        self.report.damage.extend(view.damage.iter().cloned());
        // Where another process knew more to be durable, it has told the index so.
        let covered = self.covered(zone);
        let state = ZoneState {
            end: view.tip.offset.max(covered),
            closed: view.closed && whole,
            live,
            ended: found.header.map_or(Ended::Unknown, |h| h.ended),
        };
        self.take(zone, view, state);
    }

    fn take(&mut self, zone: u64, view: &View, state: ZoneState) {
        self.index.zones.insert(zone, state);
        self.unseen.remove(&zone);
        let covered = self.covered(zone);
        for record in view.records.iter().filter(|r| r.offset >= covered) {
            self.index.found(zone, record);
        }
    }

    /// Up to where the segments have a zone.
    fn covered(&self, zone: u64) -> u64 {
        self.index.root.zones.get(&zone).map_or(0, |state| state.end)
    }

    /// What the index covers of a zone ends behind a record, if it is of this zone at all.
    fn compare(&mut self, zone: u64, view: &View) {
        let covered = self.covered(zone);
        let fits = covered <= ZONE_HEADER || view.records.iter().any(|r| r.end() == covered);
        self.stale |= !fits;
    }
}

/// Where a sector cannot be read, a commit may hide in it: such a zone is never cut or written.
fn writable(found: &Walk) -> bool {
    !found.unreadable && (found.header.is_ok() || found.has_records())
}

/// Makes what is kept of the active zone durable and cuts the rest.
fn mend(
    file: &dyn DiskFile,
    zone: u64,
    tag: Tag,
    found: &Walk,
    view: &mut View,
    report: &mut OpenReport,
) -> io::Result<()> {
    if let Some((start, end)) = view.unsettled {
        rewrite(file, start, end)?;
        let torn = torn_pieces(file, zone, start, view);
        for piece in &torn {
            let Some(len) = void_len(piece) else { continue };
            let void =
                Record { kind: Kind::Void, len, count: 0, offset: piece.offset, id: [0; 32] };
            file.write_at(piece.offset, &void.encode(tag))?;
        }
        report.torn.extend(torn);
    }
    if found.len > view.tip.offset {
        report.cut_bytes += found.len - view.tip.offset;
        file.set_len(view.tip.offset)?;
    }
    if view.unsettled.is_some() || found.len > view.tip.offset {
        file.sync()?;
    }
    Ok(())
}

/// Writes bytes over themselves. After a failed sync the kernel may hold them in clean pages that never
/// reached the disk; only writing makes the next sync mean something.
fn rewrite(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let mut bytes = vec![0; CHUNK.min(end - at) as usize];
        file.read_exact_at(at, &mut bytes)?;
        file.write_at(at, &bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Takes the torn pieces of an unsettled flush, which starts at `start`, out of the view.
fn torn_pieces(file: &dyn DiskFile, zone: u64, start: u64, view: &mut View) -> Vec<Damage> {
    let mut torn = Vec::new();
    for record in view.records.iter().filter(|r| r.offset >= start) {
        if body_fault(file, record) == Some(DamageKind::Body) {
            torn.push(damage_of(zone, record, DamageKind::Body));
        }
    }
    view.records.retain(|r| {
        !(matches!(r.kind, Kind::Object { .. }) && torn.iter().any(|t| t.offset == r.offset))
    });
    let (gaps, damage) = std::mem::take(&mut view.damage).into_iter().partition::<Vec<_>, _>(|d| {
        d.offset >= start && d.kind == DamageKind::Unreadable && void_len(d).is_some()
    });
    view.damage = damage;
    torn.extend(gaps);
    torn
}

/// The body length of a void that covers a damaged stretch exactly, where one can.
fn void_len(damage: &Damage) -> Option<u32> {
    damage.len.checked_sub(SHORT_HEADER).and_then(|len| u32::try_from(len).ok())
}
