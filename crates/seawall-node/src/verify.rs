//! `verify` on a node: its own zones, log, receipts and snapshots, without any key; and mending what is
//! damaged or missing from the tiers that have it.
//!
//! A tier is believed as little here as anywhere: what it gives is hashed before it is stored. Pages of
//! reference sets come first, because only they tell what else is missing; so fetching goes on until
//! nothing more turns up.

use std::collections::{BTreeMap, BTreeSet};

use seawall_backup::restore::Objects;
use seawall_base::ObjectId;
use seawall_record::{Enrolment, Fleet, RegionAddress};
use seawall_store::{Scrub, Store, Subset};
use seawall_sync::{Audit, AuditProgress, AuditReport, AuditedLog, Finding, Receipts};

use crate::bucket::Bucket;
use crate::home::{Home, HomeError};
use crate::tiers::{RegionLink, receipts_of};
use crate::witnesses::region_cosigners;

/// Objects asked for at once.
const BATCH: usize = 64;

/// How much of the objects is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadData {
    /// As the store says.
    Subset(Subset),
    /// About so many bytes, chosen at random with this seed.
    Bytes {
        /// How many.
        bytes: u64,
        /// Chooses.
        seed: u64,
    },
}

/// How to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Threads that read and hash.
    pub workers: usize,
    /// What they read.
    pub read: ReadData,
    /// Whether objects of which no good copy is here are fetched from other tiers.
    pub repair: bool,
}

/// What `verify` found on a node.
#[derive(Debug)]
pub struct Verified {
    /// What was found, after the repair where one was asked for.
    pub report: AuditReport,
    /// What was mended.
    pub repaired: Repaired,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Objects and bytes by the tier that gave them.
    pub from: BTreeMap<String, (u64, u64)>,
    /// Tiers that could not be asked, with the reason.
    pub unreached: Vec<(String, String)>,
}

/// How far it is, and how many bytes of zones there are to read, about.
pub type VerifyProgress<'a> = dyn FnMut(AuditProgress, u64) + 'a;

/// Checks every object, proof and signature this node holds.
pub fn verify(
    home: &Home,
    options: &VerifyOptions,
    progress: &mut VerifyProgress<'_>,
) -> Result<Verified, HomeError> {
    let fleet = home.fleet()?;
    let regions = home.regions(&fleet)?;
    let mut receipts = Vec::new();
    for (_, region) in &regions {
        receipts.push(receipts_of(home, region)?);
    }
    let mut verified = check(home, (&fleet, &regions, &receipts), options, progress)?;
    // Those of an earlier enrolment are whole, and only count no longer.
    let damaged = receipts.iter().flat_map(Receipts::unusable).filter(|it| !it.is_foreign);
    verified.report.findings.extend(damaged.map(|it| Finding {
        what: format!("a receipt is damaged: {}", it.why),
        place: it.path.clone(),
        remedy: "seawall sync sets it aside and asks for what is missing".to_owned(),
    }));
    Ok(verified)
}

fn check(
    home: &Home,
    (fleet, regions, receipts): (&Fleet, &[(RegionAddress, Enrolment)], &[Receipts]),
    options: &VerifyOptions,
    progress: &mut VerifyProgress<'_>,
) -> Result<Verified, HomeError> {
    // The log first: what it names is in the store, and a snapshot may be made between the two.
    let log = home.log(fleet)?;
    let (store, opened) = if options.repair { home.store_to_mend()? } else { home.store()? };
    for damage in &opened.damage {
        tracing::warn!(%damage, "found when opening the store");
    }
    let cosigners = region_cosigners(regions.iter().map(|(_, region)| region));
    let entries = |range| log.entries(range).map_err(|e| e.to_string());
    let own = AuditedLog {
        origin: log.origin().clone(),
        fleet,
        size: log.size(),
        entries: &entries,
        checkpoint: log.checkpoint().cloned(),
        cosigners,
        reclaims: true,
        deleted: BTreeSet::new(),
    };
    let audit = Audit {
        store: &store,
        logs: vec![own],
        receipts: receipts.iter().flat_map(|r| r.all().map(|(receipt, _)| receipt)).collect(),
    };
    let (scrub, total) = plan(&store, options)?;
    let mut tell = |p: AuditProgress| progress(p, total);
    if !options.repair {
        let report = audit.run_with(&scrub, &mut tell)?;
        return Ok(Verified { report, repaired: Repaired::default() });
    }
    let mut read = 0;
    let found = store.scrub(&scrub, &mut |bytes| {
        read = bytes;
        tell(AuditProgress { bytes, entries: 0 });
    })?;
    let mut standing = || {
        let mut report = audit.objects(found.clone());
        report.merge(audit.run_logs(&mut |p| tell(AuditProgress { bytes: read, ..p })));
        report
    };
    let report = standing();
    if report.lost.is_empty() {
        return Ok(Verified { report, repaired: Repaired::default() });
    }
    repair(home, fleet, &store, report, &mut standing)
}

/// What is read, and about how many bytes that is.
fn plan(store: &Store, options: &VerifyOptions) -> Result<(Scrub, u64), HomeError> {
    const WHOLE: u64 = 1_000_000;
    let whole = store.zone_bytes()?;
    let share = |part: u64, of: u64| {
        (u128::from(whole) * u128::from(part) / u128::from(of.max(1))).min(u128::from(whole)) as u64
    };
    let subset = match options.read {
        ReadData::Subset(subset) => subset,
        ReadData::Bytes { bytes, seed } => {
            // Rounded up: never nothing.
            let millionths = (u128::from(bytes) * u128::from(WHOLE)).div_ceil(whole.max(1).into());
            let millionths = millionths.min(u128::from(WHOLE)) as u32;
            Subset::Share { millionths, seed }
        }
    };
    let total = match subset {
        Subset::All => whole,
        Subset::Part { of, .. } => share(1, of.into()),
        Subset::Share { millionths, .. } => share(millionths.into(), WHOLE),
    };
    Ok((Scrub { workers: options.workers, subset }, total))
}

/// Fetches what is lost until nothing more can be had.
fn repair(
    home: &Home,
    fleet: &Fleet,
    store: &Store,
    mut report: AuditReport,
    standing: &mut dyn FnMut() -> AuditReport,
) -> Result<Verified, HomeError> {
    let mut repaired = Repaired::default();
    let (links, unreached) = RegionLink::all(home, fleet)?;
    repaired.unreached.extend(unreached.into_iter().map(|(name, e)| (name, e.to_string())));
    let bucket = match Bucket::of(home) {
        Ok(bucket) => bucket,
        Err(e) => {
            repaired.unreached.push(("bucket".to_owned(), e.to_string()));
            None
        }
    };
    let regions = links.iter().map(|l| (l.region.name.as_str(), l as &dyn Objects));
    let behind = bucket.as_ref().map(|b| ("bucket", b as &dyn Objects));
    let tiers: Vec<_> = regions.chain(behind).collect();
    let mut asked = BTreeSet::new();
    loop {
        let wanted: Vec<ObjectId> = report.lost.difference(&asked).copied().collect();
        if wanted.is_empty() {
            break;
        }
        asked.extend(wanted.iter().copied());
        let mut wanted: BTreeSet<ObjectId> = wanted.into_iter().collect();
        for (name, tier) in &tiers {
            fetch(store, *tier, &mut wanted, repaired.from.entry((*name).to_owned()).or_default())?;
        }
        store.flush()?;
        report = standing();
    }
    repaired.from.retain(|_, (objects, _)| *objects > 0);
    Ok(Verified { report, repaired })
}

/// Takes from a tier what it has of `wanted`.
fn fetch(
    store: &Store,
    tier: &dyn Objects,
    wanted: &mut BTreeSet<ObjectId>,
    given: &mut (u64, u64),
) -> Result<(), HomeError> {
    let ids: Vec<ObjectId> = wanted.iter().copied().collect();
    for batch in ids.chunks(BATCH) {
        let mut stored = Ok(());
        tier.get(batch, &mut |id, got| {
            let Ok(bytes) = got else { return };
            if stored.is_err() || ObjectId::of(&bytes) != id || !wanted.remove(&id) {
                return;
            }
            stored = store.replace_damaged(id, &bytes).map(drop);
            *given = (given.0 + 1, given.1 + bytes.len() as u64);
        });
        stored?;
    }
    Ok(())
}
