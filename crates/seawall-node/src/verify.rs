//! `verify` on a node: its own zones, log, receipts and snapshots, without any key.

use seawall_sync::{Audit, AuditProgress, AuditReport, AuditedLog};
use seawall_tlog::{Kind, Verifier};

use crate::home::{Home, HomeError};
use crate::tiers::receipts_of;

/// What `verify` found on a node.
pub type Verified = AuditReport;

/// Checks every object, proof and signature this node holds.
pub fn verify(home: &Home, progress: &mut dyn FnMut(AuditProgress)) -> Result<Verified, HomeError> {
    let fleet = home.fleet()?;
    let (store, opened) = home.store()?;
    for damage in &opened.damage {
        tracing::warn!(%damage, "found when opening the store");
    }
    let log = home.log(&fleet)?;
    let regions = home.regions(&fleet)?;
    let mut receipts = Vec::new();
    let mut cosigners = Vec::new();
    for (_, region) in &regions {
        receipts.push(receipts_of(home, region)?);
        cosigners.push(Verifier::new(&region.name, Kind::Cosigner, &region.identity)?);
    }
    let entries = |range| log.entries(range).map_err(|e| e.to_string());
    let own = AuditedLog {
        origin: log.origin().clone(),
        fleet: &fleet,
        size: log.size(),
        entries: &entries,
        checkpoint: log.checkpoint().cloned(),
        cosigners,
        reclaims: true,
    };
    let audit = Audit {
        store: &store,
        logs: vec![own],
        receipts: receipts.iter().flat_map(|r| r.all().map(|(receipt, _)| receipt)).collect(),
    };
    Ok(audit.run(progress)?)
}
