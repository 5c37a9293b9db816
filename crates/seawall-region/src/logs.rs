//! Mirrored logs: C2SP tlog-witness `add-checkpoint`, tlog-mirror `add-entries`, tlog-tiles.
//!
//! Every entry passes [`LogState`] before the mirror commits it, so what a region serves and
//! cosigns is not only append-only but follows the rules of the record. Before it publishes a
//! checkpoint it makes the check that every reader will make: a subkey certified *in the log*
//! signed it. Subkeys a member only introduced let it announce a checkpoint, never publish one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seawall_base::{FleetId, Seconds, Sha256, TenantId, read_file, write_atomic};
use seawall_record::{Accepted, Fleet, LogState, Manifest, ReferenceSet};
use seawall_sign::{Envelope, Statement};
use seawall_sync::{Answer, LogSummary, tenant_id};
use seawall_tlog::{
    AddCheckpoint, EntriesHeader, Kind, Mirror, MirrorAnswer, MirrorInfo, Origin, SignedCheckpoint,
    Verifier,
};

use crate::deletion::Tombs;
use crate::epochs::{Trunk, check_left_out};
use crate::region::UNPOISONED;
use crate::{Member, Refusal, Region, RegionError};

/// How far a node's clock may be off before its subkey counts as expired.
const SKEW: Seconds = Seconds::days(1);

/// Entries replayed at a time.
const STEP: u64 = 256;

/// A log that is open, or can be.
pub(crate) struct LogSlot {
    pub(crate) origin: Origin,
    pub(crate) dir: String,
    pub(crate) fleet: FleetId,
    open: Mutex<Option<MirroredLog>>,
}

/// A mirror and what its entries say.
pub(crate) struct MirroredLog {
    pub(crate) mirror: Mirror,
    pub(crate) state: LogState,
    /// Version of the fleet's policy under which the entries were judged.
    judged_under: u64,
    /// Digest and reference set of each manifest, by index.
    pub(crate) manifests: BTreeMap<u64, (Sha256, ReferenceSet)>,
    /// Reference sets that entries name which do not count, because their node was revoked before.
    pub(crate) disbelieved: Vec<ReferenceSet>,
    /// What of this log is deleted here.
    pub(crate) tombs: Tombs,
}

impl LogSlot {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<MirroredLog>> {
        // Whoever works on a log has taken it out of its slot: what a panic leaves behind is an
        // empty slot, and the next use opens the log again.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where evidence about this log is kept.
    pub(crate) fn evidence_dir(&self) -> String {
        format!("{}/evidence", self.dir)
    }

    pub(crate) fn close(&self) {
        *self.lock() = None;
    }
}

impl MirroredLog {
    fn open(region: &Region, slot: &LogSlot) -> Result<Self, RegionError> {
        let (mirror, report) = Mirror::open(region.disk.clone(), &slot.dir, &slot.origin)?;
        if report.cut_bytes > 0 {
            tracing::info!(origin = %slot.origin, bytes = report.cut_bytes, "cut a torn upload");
        }
        let fleet = region.hosted(slot.fleet)?;
        let mut it = Self {
            mirror,
            judged_under: fleet.version(),
            state: LogState::new(fleet, slot.origin.as_str()),
            manifests: BTreeMap::new(),
            disbelieved: Vec::new(),
            tombs: Tombs::open(region.disk.as_ref(), &slot.dir)?,
        };
        it.replay()?;
        Ok(it)
    }

    /// Brings state and manifests up to the entries held.
    fn replay(&mut self) -> Result<(), RegionError> {
        let size = self.mirror.next_entry();
        while self.state.entries() < size {
            let from = self.state.entries();
            for (index, entry) in (from..).zip(self.mirror.entries(from..size.min(from + STEP))?) {
                let accepted = self.state.accept(&entry)?;
                self.note(index, &entry, &accepted);
            }
        }
        Ok(())
    }

    fn note(&mut self, index: u64, entry: &[u8], accepted: &Accepted) {
        if let Accepted::Disbelieved = accepted {
            let manifest = Envelope::parse(entry)
                .and_then(|envelope| Statement::<Manifest>::read_unverified(&envelope));
            // What is not a manifest names nothing.
            self.disbelieved.extend(manifest.ok().map(|it| it.predicate.core.reference_set));
        }
        if let Some((digest, manifest)) = accepted.snapshot() {
            self.manifests.insert(index, (digest, manifest.core.reference_set));
        }
    }

    /// The tenant its enrolment names, once there is one.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        let enrolment = self.state.enrolment()?;
        enrolment.tenant.as_deref().map(|name| tenant_id(enrolment.fleet, name))
    }

    /// The checkpoint an upload to `end` would publish. Only the latest pending one is taken: a
    /// client that is not up to date is told where to go on.
    fn target(&self, end: u64) -> Result<&SignedCheckpoint, MirrorAnswer> {
        let latest = self
            .mirror
            .pending()
            .ok_or_else(|| MirrorAnswer::Refused("no pending checkpoint".to_owned()))?;
        let size = latest.checkpoint().size;
        if size == end {
            return Ok(latest);
        }
        let next = self.mirror.next_entry();
        Err(MirrorAnswer::Conflict(MirrorInfo { size, next, ticket: Vec::new() }))
    }

    /// Entries of the mirror checkpoint.
    pub(crate) fn published(&self) -> u64 {
        self.mirror.checkpoint().map_or(0, |c| c.checkpoint().size)
    }
}

impl Region {
    pub(crate) fn load_logs(&self, fleet: &Fleet) -> Result<(), RegionError> {
        let dir = format!("fleets/{}/logs", fleet.id().to_hex());
        for name in self.disk.list(&dir).map_err(RegionError::io(format!("listing {dir}")))? {
            let path = format!("{dir}/{name}/origin");
            // A directory without its origin was made by a first upload that was never answered.
            let Some(bytes) = read_file(self.disk.as_ref(), &path, 256)
                .map_err(RegionError::io(format!("reading {path}")))?
            else {
                continue;
            };
            let damaged =
                |why: &str| RegionError::Damaged { path: path.clone(), why: why.to_owned() };
            let text = String::from_utf8(bytes).map_err(|_| damaged("not UTF-8"))?;
            let origin: Origin = text.parse().map_err(|_| damaged("not an origin"))?;
            if origin.hash().to_hex() != name {
                return Err(damaged("another log's origin"));
            }
            self.insert_slot(&origin, fleet.id());
        }
        Ok(())
    }

    fn insert_slot(&self, origin: &Origin, fleet: FleetId) -> Arc<LogSlot> {
        let hash = origin.hash();
        let mut logs = self.logs.lock().expect(UNPOISONED);
        let slot = logs.entry(hash).or_insert_with(|| {
            Arc::new(LogSlot {
                origin: origin.clone(),
                dir: format!("fleets/{}/logs/{}", fleet.to_hex(), hash.to_hex()),
                fleet,
                open: Mutex::default(),
            })
        });
        slot.clone()
    }

    pub(crate) fn slots(&self) -> Vec<Arc<LogSlot>> {
        self.logs.lock().expect(UNPOISONED).values().cloned().collect()
    }

    pub(crate) fn slot(&self, hash: Sha256) -> Option<Arc<LogSlot>> {
        self.logs.lock().expect(UNPOISONED).get(&hash).cloned()
    }

    /// Runs `work` on an open log. A failure of its disk closes it: the next use opens it again.
    /// So does a newer policy of its fleet, which may believe fewer entries.
    pub(crate) fn with_log<T>(
        &self,
        slot: &LogSlot,
        work: impl FnOnce(&mut MirroredLog) -> Result<T, RegionError>,
    ) -> Result<T, RegionError> {
        let mut open = slot.lock();
        let version = self.hosted(slot.fleet)?.version();
        let mut log = match open.take() {
            Some(log) if log.judged_under == version => log,
            _ => MirroredLog::open(self, slot)?,
        };
        let done = work(&mut log)?;
        *open = Some(log);
        Ok(done)
    }

    /// The slot of a member's own log, made durable at its first use.
    fn own_slot(&self, member: &Member, origin: &Origin) -> Result<Arc<LogSlot>, Refusal> {
        if *origin != member.origin {
            return Err(Refusal::forbidden(
                format!("log {origin} is not this member's: it may write {} only", member.origin),
                "a replaced node writes the log of its new epoch",
            ));
        }
        if let Some(slot) = self.slot(origin.hash()) {
            return Ok(slot);
        }
        let fleet = member.fleet.id().to_hex();
        let hash = origin.hash().to_hex();
        let dir = format!("fleets/{fleet}/logs/{hash}");
        let io = |what: &str| RegionError::io(format!("{what} {dir}"));
        self.disk.create_dir_all(&dir).map_err(io("creating"))?;
        write_atomic(self.disk.as_ref(), &format!("{dir}/origin"), origin.as_str().as_bytes())
            .map_err(io("writing"))?;
        for parent in [format!("fleets/{fleet}/logs"), format!("fleets/{fleet}")] {
            self.disk.sync_dir(&parent).map_err(io("syncing"))?;
        }
        Ok(self.insert_slot(origin, member.fleet.id()))
    }

    /// C2SP tlog-witness `add-checkpoint` for the pending checkpoint of the member's log.
    pub fn add_checkpoint(&self, member: &Member, body: &[u8]) -> Result<Answer, Refusal> {
        let request = AddCheckpoint::parse(body).map_err(|e| {
            Refusal::new(
                400,
                format!("malformed checkpoint: {e}"),
                "use a matching version of seawall",
            )
        })?;
        let slot = self.own_slot(member, &request.checkpoint.checkpoint().origin)?;
        let now = self.clock.now();
        let judgement = self.with_log(&slot, |log| {
            let (from, until) = (now.before(SKEW), now.after(SKEW));
            let mut keys: Vec<_> = member.subkeys_between(from, until).collect();
            keys.extend(log.state.checkpoint_keys(now));
            keys.sort();
            keys.dedup();
            let verifiers = keys
                .iter()
                .map(|key| Verifier::new(slot.origin.as_str(), Kind::Signer, key))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| RegionError::Log(e.into()))?;
            Ok(log.mirror.add_checkpoint(body, &verifiers)?)
        })?;
        if let Some(finding) = &judgement.finding {
            tracing::warn!(origin = %slot.origin, ?finding, "a checkpoint contradicts the one held");
            // The node is answered in any case: what it signed is refused.
            if let Err(e) = self.keep_evidence(member, &slot, finding) {
                tracing::error!(origin = %slot.origin, %e, "cannot keep the proof of it");
            }
        }
        let answer = judgement.answer;
        Ok(Answer { status: answer.status(), body: answer.body().into_bytes() })
    }

    /// C2SP tlog-mirror `add-entries` for the member's log.
    pub fn add_entries(&self, member: &Member, mut body: &[u8]) -> Result<Answer, Refusal> {
        let header = match EntriesHeader::read(&mut body) {
            Ok(header) => header,
            Err(answer) => return Ok(to_answer(&answer)),
        };
        let slot = self.own_slot(member, &header.origin)?;
        let now = self.clock.now();
        let answer = self.with_log(&slot, |log| {
            let target = match log.target(header.end) {
                Ok(target) => target.clone(),
                Err(answer) => return Ok(answer),
            };
            // With every entry here already, none will be shown to `accept`.
            if log.state.entries() >= header.end
                && let Err(why) = signed_by_log(&log.state, &target)
            {
                return Ok(MirrorAnswer::Refused(why));
            }
            let mut state = log.state.clone();
            let mut trunk = Trunk::of(self, log)?;
            let mut accept = |index: u64, entry: &[u8]| {
                let accepted = state.accept(entry).map_err(|e| e.to_string())?;
                if let Accepted::Epoch(it) = &accepted {
                    trunk.check(&it.continues.origin, index, entry, &accepted)?;
                } else if !state.is_current() {
                    trunk.check(state.epoch_origin(), index, entry, &accepted)?;
                }
                let last = index + 1 == header.end;
                // Every entry may be the one that brings the log to its own epoch.
                if last || matches!(accepted, Accepted::Enrolment(_) | Accepted::Epoch(_)) {
                    check_owner(&state, member, last)?;
                }
                // The last entry is the last chance to refuse before the mirror publishes.
                if last {
                    check_left_out(self, &state)?;
                    signed_by_log(&state, &target)
                } else {
                    Ok(())
                }
            };
            let answer =
                log.mirror.add_entries(&header, &mut body, self.cosigner(), now, &mut accept)?;
            // From what was committed, not from what was tried: a refused package leaves no trace.
            log.replay()?;
            Ok(answer)
        })?;
        if let MirrorAnswer::Refused(why) = &answer {
            tracing::warn!(origin = %slot.origin, why, "entries refused");
        }
        Ok(to_answer(&answer))
    }

    /// The log with this origin hash, if it is of the member's tenant.
    pub(crate) fn visible(&self, member: &Member, hash: Sha256) -> Result<Arc<LogSlot>, Refusal> {
        let unknown = || Refusal::not_found("no such log in this tenant");
        let slot = self.slot(hash).ok_or_else(unknown)?;
        let tenant = self.with_log(&slot, |log| Ok(log.tenant()))?;
        if tenant == Some(member.tenant) || (tenant.is_none() && slot.origin == member.origin) {
            Ok(slot)
        } else {
            Err(unknown())
        }
    }

    /// The slot of a log of the member's tenant, by its origin.
    pub(crate) fn visible_origin(
        &self,
        member: &Member,
        origin: &str,
    ) -> Result<Arc<LogSlot>, Refusal> {
        self.visible(member, Sha256::of(origin.as_bytes()))
    }

    /// The resource at a C2SP tlog-tiles path of a log of the member's tenant.
    pub fn tile(&self, member: &Member, hash: Sha256, path: &str) -> Result<Vec<u8>, Refusal> {
        let slot = self.visible(member, hash)?;
        if path == "evidence" {
            return Ok(self.evidence(&slot)?);
        }
        let tile = self.with_log(&slot, |log| Ok(log.mirror.tile(path)?))?;
        tile.ok_or_else(|| Refusal::not_found("no such resource of this log"))
    }

    /// The logs of the member's tenant that can be read. One that cannot is left out, so that it
    /// takes nobody else's with it; [`Region::verify`] names it.
    pub fn list_logs(&self, member: &Member) -> Vec<LogSummary> {
        // Spares opening what other tenants write; what a log itself says is what counts.
        let writers: BTreeMap<Sha256, TenantId> =
            self.members().values().map(|m| (m.origin.hash(), m.tenant)).collect();
        let mut out = Vec::new();
        for slot in self.slots() {
            let writer = writers.get(&slot.origin.hash());
            if slot.fleet != member.fleet.id() || writer.is_some_and(|t| *t != member.tenant) {
                continue;
            }
            match self.with_log(&slot, |log| Ok((log.tenant(), log.published()))) {
                Ok((tenant, size)) if tenant == Some(member.tenant) && size > 0 => {
                    out.push(LogSummary { origin: slot.origin.to_string(), size });
                }
                Ok(_) => {}
                Err(e) => tracing::warn!(origin = %slot.origin, error = %e, "unreadable log"),
            }
        }
        out
    }
}

/// Whether a log is that of the member as it is enrolled, once it has reached its own epoch; in
/// its last entry it must have.
fn check_owner(state: &LogState, member: &Member, last: bool) -> Result<(), String> {
    if !state.is_current() {
        let why = "the log does not reach the epoch its origin names";
        return if last { Err(why.to_owned()) } else { Ok(()) };
    }
    let here = state.enrolment_envelope().map(seawall_sign::Envelope::digest);
    if here == Some(member.envelope.digest()) {
        Ok(())
    } else {
        Err("enrolment: not the one this member is enrolled by".to_owned())
    }
}

/// Whether one of the subkeys that `state`'s entries certify signed `checkpoint`, else why not.
fn signed_by_log(state: &LogState, checkpoint: &SignedCheckpoint) -> Result<(), String> {
    let signed_for = checkpoint.checkpoint();
    let keys: Result<Vec<_>, _> = state
        .all_subkeys()
        .map(|key| Verifier::new(signed_for.origin.as_str(), Kind::Signer, &key))
        .collect();
    keys.and_then(|keys| checkpoint.verify(&keys).map(drop)).map_err(|e| {
        format!(
            "the checkpoint of {} entries is not signed by a subkey that these entries certify: \
             {e}; log its signer's certificate first",
            signed_for.size
        )
    })
}

fn to_answer(answer: &MirrorAnswer) -> Answer {
    Answer { status: answer.status(), body: answer.body().into_bytes() }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::trial::{enrol, region_of};
    use crate::world::{World, objects};

    #[test]
    fn a_panic_at_a_log_is_over_with_its_request() {
        let world = World::new(1, seawall_base::Timestamp(1_800_000_000));
        let region = region_of(&world);
        let mut node = world.node(10, "acme");
        node.snapshot(&objects(1, 3));
        let member = enrol(&region, &node);
        let slot = region.own_slot(&member, &member.origin).expect("made");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            region.with_log(&slot, |_| -> Result<(), RegionError> { panic!("a defect") })
        }));
        assert!(panicked.is_err() && slot.open.is_poisoned());
        assert_eq!(region.with_log(&slot, |log| Ok(log.published())).expect("opened again"), 0);
        assert_eq!(region.list_logs(&member), []);
        slot.close();
    }
}
