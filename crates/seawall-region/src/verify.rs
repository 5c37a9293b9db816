//! The keyless verification of a region: every tenant's objects against every mirrored log.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use seawall_base::{Sha256, TenantId};
use seawall_store::Scrub;
use seawall_sync::{Audit, AuditProgress, AuditReport, AuditedLog, Finding};
use seawall_tlog::{Kind, Origin, SignedCheckpoint, Verifier};

use crate::logs::LogSlot;
use crate::{Region, RegionError};

/// Verifies the region in `home`, which must not be running: opening a store cuts what a crash
/// left half written. A running region verifies itself with [`Region::verify`].
pub fn verify(
    home: &Path,
    scrub: &Scrub,
    progress: &mut dyn FnMut(AuditProgress),
) -> Result<AuditReport, RegionError> {
    Region::open(home)?.verify_with(scrub, progress)
}

/// A mirrored log as it stood when the audit began.
struct Standing {
    slot: Arc<LogSlot>,
    tenant: Option<TenantId>,
    size: u64,
    checkpoint: Option<SignedCheckpoint>,
    deleted: BTreeSet<Sha256>,
}

impl Region {
    /// Hashes every object, replays every log, walks every snapshot. Runs beside requests; the
    /// logs are audited as they stood when it began.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(AuditProgress),
    ) -> Result<AuditReport, RegionError> {
        self.verify_with(&Scrub::default(), progress)
    }

    /// As [`Region::verify`], with objects read as `scrub` says.
    pub fn verify_with(
        &self,
        scrub: &Scrub,
        progress: &mut dyn FnMut(AuditProgress),
    ) -> Result<AuditReport, RegionError> {
        let mut report = AuditReport::default();
        let mut standing = Vec::new();
        for slot in self.slots() {
            let stands = self.with_log(&slot, |log| {
                let deleted = log.tombs.all().map(|it| it.manifest).collect();
                Ok((log.tenant(), log.published(), log.mirror.checkpoint().cloned(), deleted))
            });
            match stands {
                Ok((tenant, size, checkpoint, deleted)) => {
                    standing.push(Standing { slot, tenant, size, checkpoint, deleted });
                }
                Err(e) => report.findings.push(Finding {
                    what: format!("cannot be opened: {e}"),
                    place: format!("log {} in {}", slot.origin, slot.dir),
                    remedy: "move its directory away; the node's next sync mirrors it anew"
                        .to_owned(),
                }),
            }
        }
        let mut tenants = self.tenant_ids()?;
        tenants.extend(standing.iter().filter_map(|s| s.tenant));
        tenants.sort();
        tenants.dedup();
        for tenant in tenants {
            let logs: Vec<_> = standing.iter().filter(|s| s.tenant == Some(tenant)).collect();
            let before = AuditProgress { bytes: report.bytes, entries: report.entries };
            let found = self.verify_tenant(tenant, &logs, scrub, &mut |now| {
                progress(AuditProgress {
                    bytes: before.bytes + now.bytes,
                    entries: before.entries + now.entries,
                });
            })?;
            report.merge(found);
        }
        Ok(report)
    }

    fn verify_tenant(
        &self,
        id: TenantId,
        logs: &[&Standing],
        scrub: &Scrub,
        progress: &mut dyn FnMut(AuditProgress),
    ) -> Result<AuditReport, RegionError> {
        let tenant = self.tenant(id)?;
        let readers: Vec<_> = logs
            .iter()
            .map(|standing| {
                move |range: std::ops::Range<u64>| {
                    self.with_log(&standing.slot, |log| Ok(log.mirror.entries(range)?))
                        .map_err(|e| e.to_string())
                }
            })
            .collect();
        // A later epoch's log says it of snapshots that the earlier one has, too.
        let dead: BTreeSet<Sha256> =
            logs.iter().flat_map(|standing| standing.deleted.iter().copied()).collect();
        let own = self.own_verifier()?;
        let fleets = logs
            .iter()
            .map(|standing| self.hosted(standing.slot.fleet))
            .collect::<Result<Vec<_>, _>>()?;
        let logs = logs
            .iter()
            .zip(&readers)
            .zip(&fleets)
            .map(|((standing, entries), fleet)| AuditedLog {
                origin: Origin::clone(&standing.slot.origin),
                fleet,
                size: standing.size,
                entries,
                checkpoint: standing.checkpoint.clone(),
                cosigners: vec![own.clone()],
                reclaims: false,
                deleted: dead.clone(),
            })
            .collect();
        let audit = Audit { store: &tenant.store, logs, receipts: Vec::new() };
        Ok(audit.run_with(scrub, progress)?)
    }

    fn own_verifier(&self) -> Result<Verifier, RegionError> {
        Verifier::new(&self.config.name, Kind::Cosigner, &self.keys.identity.public())
            .map_err(|e| RegionError::Log(e.into()))
    }
}
