//! Opening: reads every zone's headers and brings the active zone to a state that can be appended to.
//!
//! Only the active (last) zone is changed, and there only what no sync is known to have covered: the
//! tail behind the last commit is cut; if nothing proves that the last flush's sync succeeded, its
//! bodies are read, pieces that did not survive become voids, and the rest is written again and synced.
//! A crash during any of this leaves a zone that opens the same way.

use std::io;
use std::sync::Arc;

use seawall_base::{Disk, DiskFile, OpenMode};

use crate::error::{Damage, DamageKind, StoreError};
use crate::format::{HeaderFault, Kind, Mark, Record, SHORT_HEADER, Tag, ZONE_HEADER};
use crate::index::Index;
use crate::scan::{Acknowledged, View, Walk, body_fault, damage_of, judge, walk};
use crate::store::{OpenReport, Options, zone_path};
use crate::writer::{Active, Writer};

/// Bytes rewritten at a time.
const CHUNK: u64 = 1 << 20;

/// The number in a zone's file name; `None` for names that are not ours.
fn zone_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".zone")?;
    let canonical =
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if canonical { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// Reads all zones under `dir` (the zones directory itself).
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    dir: String,
    options: &Options,
) -> Result<(Index, Writer, OpenReport), StoreError> {
    let at_dir = |e| StoreError::io(format!("opening {dir}"), e);
    disk.create_dir_all(&dir).map_err(at_dir)?;
    // A crashed process may have left names that are seen but not durable.
    disk.sync_dir(&dir).map_err(at_dir)?;
    let names = disk.list(&dir).map_err(at_dir)?;
    let numbers: Vec<u64> = names.iter().filter_map(|n| zone_number(n)).collect();
    let mut index = Index::new(&options.salt);
    let mut report = OpenReport::default();
    let mut writer = Writer {
        disk,
        dir,
        zone_bytes: options.zone_bytes,
        salt: options.salt,
        active: None,
        next_zone: 0,
        zones: Vec::new(),
        poisoned: None,
    };
    for (i, number) in numbers.iter().enumerate() {
        let last = i + 1 == numbers.len();
        let view = open_zone(&mut writer, *number, last, &mut report)?;
        for record in view.iter().flat_map(|v| &v.records) {
            index.found(*number, record);
        }
    }
    report.zones = writer.zones.len() as u64;
    report.objects = index.iter().count() as u64;
    Ok((index, writer, report))
}

/// Reads one zone; the last one becomes the active zone. `None` if it was never fully created.
fn open_zone(
    writer: &mut Writer,
    number: u64,
    last: bool,
    report: &mut OpenReport,
) -> Result<Option<View>, StoreError> {
    let path = zone_path(&writer.dir, number);
    let failed = |e| StoreError::io(format!("opening {path}"), e);
    let mode = if last { OpenMode::Write } else { OpenMode::Read };
    let file: Arc<dyn DiskFile> = Arc::from(writer.disk.open(&path, mode).map_err(failed)?);
    let len = file.len().map_err(failed)?;
    let found = walk(&*file, len).map_err(failed)?;
    if let Err(HeaderFault::Version(version)) = found.header {
        return Err(StoreError::UnsupportedVersion { zone: number, version });
    }
    if last && found.header.is_err() && len <= ZONE_HEADER {
        // The header is durable before a zone takes records, so this one never held any.
        writer.next_zone = number;
        return Ok(None);
    }
    writer.next_zone = number.saturating_add(1);
    writer.zones.push(number);
    // Where a sector cannot be read, a commit may hide in it: such a zone is never cut or written.
    let writable = last && !found.unreadable && (found.header.is_ok() || found.has_records());
    let Some(tag) = found.tag.filter(|_| writable) else {
        let view = judge(&found, number, Acknowledged::Closed);
        report.damage.extend(view.damage.iter().cloned());
        return Ok(Some(view));
    };
    let mut view = judge(&found, number, Acknowledged::UpToCommit);
    mend(&*file, number, tag, &found, &mut view, report).map_err(failed)?;
    report.damage.extend(view.damage.iter().cloned());
    let mut active = Active::new(number, file, tag, view.tip);
    active.closed = view.closed;
    active.retire = view.damage.iter().any(|d| d.kind == DamageKind::ZoneHeader);
    match view.records.last() {
        Some(last) if last.kind == Kind::Commit(Mark::Settle) => active.resume(last),
        Some(last) if last.kind == Kind::Commit(Mark::Flush) => active.settle(),
        _ => {}
    }
    writer.active = Some(active);
    Ok(Some(view))
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
        void_torn(file, zone, tag, start, view, report)?;
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

/// Replaces the torn pieces of an unsettled flush, which starts at `start`, by voids.
fn void_torn(
    file: &dyn DiskFile,
    zone: u64,
    tag: Tag,
    start: u64,
    view: &mut View,
    report: &mut OpenReport,
) -> io::Result<()> {
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
    for piece in &torn {
        let Some(len) = void_len(piece) else { continue };
        let void = Record { kind: Kind::Void, len, count: 0, offset: piece.offset, id: [0; 32] };
        file.write_at(piece.offset, &void.encode(tag))?;
    }
    report.torn.extend(torn);
    Ok(())
}

/// The body length of a void that covers a damaged stretch exactly, where one can.
fn void_len(damage: &Damage) -> Option<u32> {
    damage.len.checked_sub(SHORT_HEADER).and_then(|len| u32::try_from(len).ok())
}
