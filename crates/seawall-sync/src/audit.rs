//! The keyless verification of everything one tier holds.
//!
//! Order: objects (every byte hashed; what is damaged counts as missing from then on), then each
//! log (rules, root, signature, cosignatures), then the reference set of every manifest against
//! the objects. A finding never stops the audit: one run names everything that is wrong.

use std::collections::BTreeSet;
use std::ops::Range;

use seawall_base::{ObjectId, Sha256};
use seawall_record::reference_set::{ReferenceSetError, Visit, difference};
use seawall_record::{Accepted, Enrolment, Fleet, LogState, Manifest, Receipt, ReferenceSet};
use seawall_store::{Scrub, Store, StoreError, VerifyReport};
use seawall_tlog::checkpoint::{Origin, SignedCheckpoint};
use seawall_tlog::merkle::{leaf_hash, root_of_leaves};
use seawall_tlog::note::{Kind, NoteError, Verifier};

/// Most findings kept; further ones are counted.
const MAX_FINDINGS: usize = 10_000;

/// Entries read at a time.
const STEP: u64 = 256;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// Where: zone and byte, log and entry, object and snapshot.
    pub place: String,
    /// What to do about it.
    pub remedy: String,
}

/// How to read entries of a log.
pub type ReadEntries<'a> = &'a dyn Fn(Range<u64>) -> Result<Vec<Vec<u8>>, String>;

/// A log to audit: a node's own or a mirrored one.
pub struct AuditedLog<'a> {
    /// Its origin.
    pub origin: Origin,
    /// The fleet its node belongs to.
    pub fleet: &'a Fleet,
    /// Entries held.
    pub size: u64,
    /// Reads entries.
    pub entries: ReadEntries<'a>,
    /// The checkpoint that covers them, as stored.
    pub checkpoint: Option<SignedCheckpoint>,
    /// Witness and mirror keys whose cosignatures are checked where there are any.
    pub cosigners: Vec<Verifier>,
    /// Whether this tier reclaims what the log says is forgotten: the node itself does. Any other
    /// keeps what it has; only of what it never had nothing is expected.
    pub reclaims: bool,
    /// Manifests of what this tier deleted: nothing of them is expected.
    pub deleted: BTreeSet<Sha256>,
}

/// What to audit.
pub struct Audit<'a> {
    /// The objects.
    pub store: &'a Store,
    /// The logs whose snapshots they belong to.
    pub logs: Vec<AuditedLog<'a>>,
    /// Receipts held for entries of these logs; their signatures have been checked.
    pub receipts: Vec<&'a Receipt>,
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditProgress {
    /// Bytes of zones read so far.
    pub bytes: u64,
    /// Log entries checked so far.
    pub entries: u64,
}

/// What an audit counted and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Zones read.
    pub zones: u64,
    /// Objects hashed.
    pub objects: u64,
    /// Objects that were not hashed because they are not in the subset asked for.
    pub skipped: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Logs checked.
    pub logs: u64,
    /// Their entries.
    pub entries: u64,
    /// Snapshots whose reference set was walked.
    pub snapshots: u64,
    /// Cosignatures that verified.
    pub cosignatures: u64,
    /// Receipts that match the entry they name.
    pub receipts: u64,
    /// Damaged records of objects of which a good copy is here too: nothing is lost, though the
    /// disk may be wearing out.
    pub superseded: u64,
    /// Objects of which no good copy is here: damaged, or missing and needed by a snapshot.
    pub lost: BTreeSet<ObjectId>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond the first ten thousand.
    pub more_findings: u64,
}

impl AuditReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.more_findings == 0
    }

    /// Adds the counts and findings of another audit.
    pub fn merge(&mut self, other: Self) {
        self.zones += other.zones;
        self.objects += other.objects;
        self.skipped += other.skipped;
        self.bytes += other.bytes;
        self.logs += other.logs;
        self.entries += other.entries;
        self.snapshots += other.snapshots;
        self.cosignatures += other.cosignatures;
        self.receipts += other.receipts;
        self.superseded += other.superseded;
        self.lost.extend(other.lost);
        self.more_findings += other.more_findings;
        for finding in other.findings {
            self.find(finding.what, finding.place, &finding.remedy);
        }
    }

    fn find(&mut self, what: impl Into<String>, place: impl Into<String>, remedy: &str) {
        if self.findings.len() == MAX_FINDINGS {
            self.more_findings += 1;
            return;
        }
        let remedy = remedy.to_owned();
        self.findings.push(Finding { what: what.into(), place: place.into(), remedy });
    }
}

const FETCH: &str = "fetch a good copy: on a node, run `seawall verify --repair`; for a region, \
                     `seawall sync` on the node";
const FORGED: &str = "do not trust this log further; compare it with another mirror's copy";

impl Audit<'_> {
    /// Audits everything, on one thread. Fails only where the disk cannot be read at all.
    pub fn run(&self, progress: &mut dyn FnMut(AuditProgress)) -> Result<AuditReport, StoreError> {
        self.run_with(&Scrub::default(), progress)
    }

    /// As [`Audit::run`], with objects read as `scrub` says.
    pub fn run_with(
        &self,
        scrub: &Scrub,
        progress: &mut dyn FnMut(AuditProgress),
    ) -> Result<AuditReport, StoreError> {
        let mut read = 0;
        let verified = self.store.scrub(scrub, &mut |bytes| {
            read = bytes;
            progress(AuditProgress { bytes, entries: 0 });
        })?;
        let mut report = self.objects(verified);
        report.merge(self.run_logs(&mut |p| progress(AuditProgress { bytes: read, ..p })));
        Ok(report)
    }

    /// Audits the logs, and whether what their snapshots need is here; reads no object but the pages
    /// of reference sets.
    pub fn run_logs(&self, progress: &mut dyn FnMut(AuditProgress)) -> AuditReport {
        let mut report = AuditReport::default();
        for log in &self.logs {
            let manifests = replay(log, &mut report, &mut |entries| {
                progress(AuditProgress { bytes: 0, entries });
            });
            self.receipts(&log.origin, &manifests, &mut report);
            let expected: Vec<_> =
                manifests.into_iter().filter(|s| self.is_expected(log, s)).collect();
            self.snapshots(&log.origin, &expected, &mut report);
        }
        report
    }

    /// What a scrub of the store has found, as the store stands now.
    pub fn objects(&self, verified: VerifyReport) -> AuditReport {
        let mut report = AuditReport {
            zones: verified.zones,
            objects: verified.records,
            skipped: verified.skipped,
            bytes: verified.bytes,
            superseded: verified.condemned,
            ..AuditReport::default()
        };
        for damage in verified.damage {
            if damage.id.is_some_and(|id| self.store.contains(id)) {
                report.superseded += 1;
                continue;
            }
            let place = format!("zone {:016x} at byte {}", damage.zone, damage.offset);
            let what = damage.id.map_or_else(
                || format!("damaged: {damage}"),
                |id| format!("object {id} is damaged: {damage}"),
            );
            report.lost.extend(damage.id);
            report.find(what, place, FETCH);
        }
        report
    }

    fn is_expected(&self, log: &AuditedLog<'_>, snapshot: &Snapshot) -> bool {
        let root = snapshot.manifest.core.reference_set.root;
        let kept = !log.reclaims && self.store.readable_size(root).is_some();
        !log.deleted.contains(&snapshot.digest) && (!snapshot.forgotten || kept)
    }

    fn receipts(&self, origin: &Origin, manifests: &[Snapshot], report: &mut AuditReport) {
        for receipt in self.receipts.iter().filter(|r| r.origin == origin.as_str()) {
            let known = manifests.iter().find(|s| s.index == receipt.index);
            let matches = known.is_some_and(|s| {
                s.digest == receipt.manifest
                    && s.manifest.core.reference_set == receipt.reference_set
            });
            if matches {
                report.receipts += 1;
            } else {
                let place = format!("log {origin}, entry {}", receipt.index);
                let what = format!(
                    "region {} signed a receipt for another manifest than the one here",
                    receipt.region.short()
                );
                report.find(what, place, FORGED);
            }
        }
    }

    /// Walks what each snapshot adds to the one before; an object is named with the first
    /// snapshot that needs it.
    fn snapshots(&self, origin: &Origin, manifests: &[Snapshot], report: &mut AuditReport) {
        let pages = |id: ObjectId| match self.store.get(id) {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(e) => Err(e.to_string()),
        };
        let mut whole: Option<ReferenceSet> = None;
        for snapshot in manifests {
            let set = &snapshot.manifest.core.reference_set;
            let place = format!(
                "snapshot {} (entry {} of log {origin})",
                snapshot.manifest.core.sequence, snapshot.index
            );
            let (mut missing, mut lost) = (Vec::new(), Vec::new());
            let walked = difference(&pages, whole.as_ref(), set, &mut |visit| {
                let (id, len) = match visit {
                    Visit::Page(id, len) => (id, len),
                    Visit::Member(member) => (member.id, member.len),
                };
                match self.store.readable_size(id) {
                    None => {
                        lost.push(id);
                        missing.push(format!("object {id} is missing"));
                    }
                    Some(found) if found != len => missing
                        .push(format!("object {id} has {found} bytes, the snapshot counts {len}")),
                    Some(_) => {}
                }
            });
            report.snapshots += 1;
            report.lost.extend(lost);
            for what in missing {
                report.find(what, place.clone(), FETCH);
            }
            if let Err(ReferenceSetError::Missing(page)) = &walked {
                report.lost.insert(*page);
            }
            match walked {
                Ok(()) => whole = Some(*set),
                Err(e @ ReferenceSetError::Malformed { .. }) => {
                    report.find(e.to_string(), place, FORGED);
                }
                Err(e) => report.find(e.to_string(), place, FETCH),
            }
        }
    }
}

/// Replays one log; returns its manifests with their index and digest.
fn replay(
    log: &AuditedLog<'_>,
    report: &mut AuditReport,
    progress: &mut dyn FnMut(u64),
) -> Vec<Snapshot> {
    report.logs += 1;
    let mut state = LogState::new(log.fleet.clone(), log.origin.as_str());
    let mut leaves = Vec::new();
    let mut manifests = Vec::new();
    let mut believed = true;
    let mut at = 0;
    while at < log.size {
        let end = (at + STEP).min(log.size);
        let entries = match (log.entries)(at..end) {
            Ok(entries) => entries,
            Err(why) => {
                let place = format!("log {}, entries {at} to {end}", log.origin);
                report.find(format!("cannot be read: {why}"), place, FETCH);
                return manifests;
            }
        };
        for (index, entry) in (at..).zip(&entries) {
            leaves.push(leaf_hash(entry));
            if !believed {
                continue;
            }
            match state.accept(entry) {
                Ok(
                    Accepted::Manifest(digest, manifest)
                    | Accepted::BranchManifest(digest, manifest),
                ) => {
                    manifests.push(Snapshot {
                        index,
                        digest,
                        manifest: *manifest,
                        forgotten: false,
                    });
                }
                Ok(Accepted::Enrolment(enrolment)) if !of_its_node(&log.origin, &enrolment) => {
                    let place = format!("log {}, entry {index}", log.origin);
                    let (node, epoch) = (enrolment.node(), enrolment.epoch);
                    let what = format!("it enrols {node} for epoch {epoch}, which is another log");
                    report.find(what, place, FORGED);
                }
                Ok(_) => {}
                Err(e) => {
                    let place = format!("log {}, entry {index}", log.origin);
                    report.find(e.to_string(), place, FORGED);
                    believed = false;
                }
            }
        }
        report.entries += entries.len() as u64;
        progress(report.entries);
        at = end;
    }
    check_checkpoint(log, &state, &leaves, report);
    for snapshot in &mut manifests {
        snapshot.forgotten = state.forgotten(&snapshot.digest).is_some();
    }
    manifests
}

/// Whether `enrolment` is that of the node whose log `origin` names, for its epoch or an earlier
/// one, whose entries it begins with.
fn of_its_node(origin: &Origin, enrolment: &Enrolment) -> bool {
    origin.node().is_some_and(|(fleet, node, epoch)| {
        (fleet, node) == (enrolment.fleet, enrolment.node()) && enrolment.epoch <= epoch
    })
}

/// Whether `enrolment` is that of the node and epoch whose log `origin` names.
pub(crate) fn enrols(origin: &Origin, enrolment: &Enrolment) -> bool {
    origin.node() == Some((enrolment.fleet, enrolment.node(), enrolment.epoch))
}

/// A log of a later epoch continues the one before where the root keys say, and reaches its own.
fn check_epochs(
    log: &AuditedLog<'_>,
    state: &LogState,
    leaves: &[seawall_tlog::Hash],
    report: &mut AuditReport,
) {
    let place = format!("log {}", log.origin);
    let short = |e: &Enrolment| of_its_node(&log.origin, e) && !enrols(&log.origin, e);
    if state.enrolment().is_some_and(short) {
        report.find("it does not reach the epoch its origin names", &place, FORGED);
    }
    for it in state.continued().iter().filter(|it| it.held == it.point.size) {
        let held = leaves.iter().take(it.held as usize).copied();
        if root_of_leaves(held) != it.point.root {
            let what =
                format!("its first {} entries are not those of {}", it.held, it.point.origin);
            report.find(what, &place, FORGED);
        }
    }
}

struct Snapshot {
    index: u64,
    digest: Sha256,
    manifest: Manifest,
    forgotten: bool,
}

fn check_checkpoint(
    log: &AuditedLog<'_>,
    state: &LogState,
    leaves: &[seawall_tlog::Hash],
    report: &mut AuditReport,
) {
    let place = format!("log {}", log.origin);
    let Some(signed) = &log.checkpoint else {
        if log.size > 0 {
            let what = format!("{} entries and no checkpoint", log.size);
            report.find(what, place, "run `seawall sync` on the node that writes it");
        }
        return;
    };
    let checkpoint = signed.checkpoint();
    if checkpoint.origin != log.origin {
        report.find("its checkpoint is another log's", place, FORGED);
        return;
    }
    match usize::try_from(checkpoint.size).ok().and_then(|size| leaves.get(..size)) {
        None => {
            let what =
                format!("{} entries where {} were signed for", leaves.len(), checkpoint.size);
            report.find(what, &place, FETCH);
        }
        Some(covered) => {
            if root_of_leaves(covered.iter().copied()) != checkpoint.root {
                report.find("its entries do not have the root signed for", &place, FORGED);
            }
        }
    }
    check_epochs(log, state, leaves, report);
    let signers: Result<Vec<_>, _> = state
        .all_subkeys()
        .map(|key| Verifier::new(log.origin.as_str(), Kind::Signer, &key))
        .collect();
    if let Err(e) = signers.and_then(|signers| signed.verify(&signers).map(drop)) {
        report.find(format!("its checkpoint, by the keys of the log: {e}"), &place, FORGED);
    }
    match signed.verify(&log.cosigners) {
        Ok(cosigners) => report.cosignatures += cosigners.len() as u64,
        // Not pushed yet, or no region at all: the level reached is zero, which is no damage.
        Err(NoteError::NoKnownSignature) => {}
        Err(e) => report.find(format!("a cosignature of its checkpoint: {e}"), place, FORGED),
    }
}
