//! Reading every acknowledged byte of every zone and hashing every body.

use std::io;

use seawall_base::OpenMode;

use crate::error::{Damage, DamageKind, StoreError};
use crate::format::Kind;
use crate::scan::{Acknowledged, body_fault, damage_of, judge, walk};
use crate::store::Store;

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Zones read.
    pub zones: u64,
    /// Object records read, damaged ones and superseded copies included.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
}

impl Store {
    /// Reads every acknowledged byte of every zone and hashes every body. Needs no keys, runs beside
    /// readers and the writer, and marks objects found damaged so that they can be put again.
    ///
    /// `progress` is told how many bytes of zone files have been read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, StoreError> {
        let zones: Vec<_> = self
            .index()
            .zones
            .iter()
            .map(|(zone, state)| (*zone, state.live.then_some(state.end)))
            .collect();
        let mut report = VerifyReport { zones: zones.len() as u64, ..VerifyReport::default() };
        let mut read = 0;
        for (zone, limit) in zones {
            self.verify_zone(zone, limit, &mut report, &mut |n| progress(read + n))
                .map_err(|e| StoreError::io(format!("verifying {}", self.site.zone_path(zone)), e))
                .map(|len| read += len)?;
        }
        let blamed = self.index_mut().blame(std::mem::take(&mut report.damage));
        report.damage = blamed.map_err(|e| self.rebuilt(&e))?;
        Ok(report)
    }

    /// Verifies one zone, the first `limit` bytes where it is live; returns the bytes read.
    fn verify_zone(
        &self,
        zone: u64,
        limit: Option<u64>,
        report: &mut VerifyReport,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<u64> {
        let file = match self.site.disk.open(&self.site.zone_path(zone), OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if !self.was_swept(zone).map_err(io::Error::other)? {
                    let kind = DamageKind::Unclosed;
                    report.damage.push(Damage { zone, offset: 0, len: 0, id: None, kind });
                }
                return Ok(0);
            }
            Err(e) => return Err(e),
        };
        let present = file.len()?;
        let len = limit.map_or(present, |l| l.min(present));
        let found = walk(&*file, len)?;
        let all = if limit.is_some() { Acknowledged::All } else { Acknowledged::Closed };
        let view = judge(&found, zone, all);
        report.damage.extend(view.damage);
        if limit.is_some_and(|l| l > present) {
            let kind = DamageKind::Unclosed;
            report.damage.push(Damage { zone, offset: present, len: 0, id: None, kind });
        }
        for record in &view.records {
            if let Some(kind) = body_fault(&*file, record) {
                report.damage.push(damage_of(zone, record, kind));
            }
            if matches!(record.kind, Kind::Object { .. }) {
                report.records += 1;
                report.bytes += u64::from(record.len);
            }
            progress(record.end());
        }
        Ok(len)
    }
}
