//! Collecting garbage: giving back the room of objects that no living snapshot of a tenant needs.
//!
//! Nothing here can open an object. What is needed is what the public reference sets of all
//! snapshots name that are not deleted, and what is under a lease. One tenant at a time, beside
//! requests, in two steps with days between them (decision 11 has the store's side):
//!
//! 1. *Condemn*: walk the reference sets, and condemn what they do not name. From here on `have`
//!    says that it is missing, so that whoever needs it sends it again; it can still be read.
//! 2. After the grace, *sweep*: spare what is leased by then and what was logged since, then remove
//!    dead zones and write mostly dead ones anew.
//!
//! Leases are looked at before logs, each time: whoever ends a lease has logged what it was for. A
//! node that was told "it is here" before the condemning has a lease; one that got none (all were
//! in use) finds out when its snapshot is counted, and sends again.
//!
//! Fail safe: where a page of a living snapshot is missing, a log cannot be read, or a log that was
//! here before is gone or shorter, nothing of that tenant is removed. The state between the steps is
//! written after the condemning: killed before it, the next run condemns anew.
//!
//! Rejected: counting references, which must be right through every crash; and sweeping at once,
//! which leaves nobody a day to notice a deletion that should not have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seawall_base::{ObjectId, Rng, Seconds, Sha256, TenantId, Timestamp, read_file, write_atomic};
use seawall_record::reference_set::{ReferenceSetError, Visit, difference};
use seawall_record::{Forgotten, ReferenceSet};
use seawall_store::{Mark, Reclaim, ReclaimPlan, StoreError, Swept};
use serde::{Deserialize, Serialize};

use crate::logs::{LogSlot, MirroredLog};
use crate::region::{Tenant, UNPOISONED};
use crate::{Region, RegionError};

const FORMAT: &str = "seawall-region-collect/1";
/// Largest state file in bytes.
const MAX_FILE: usize = 16 << 20;
/// How many ids are spared at a time: 32 MiB of them.
const AT_A_TIME: usize = 1 << 20;

/// How a collection is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collect {
    /// How long condemned objects stay.
    pub grace: Seconds,
    /// Zones with a smaller share of needed bytes than this, in percent, are written anew.
    pub percent: u8,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl Default for Collect {
    fn default() -> Self {
        Self { grace: Seconds::days(1), percent: 70, dry_run: false }
    }
}

/// What expired of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// The log.
    pub origin: String,
    /// Snapshots that expired.
    pub snapshots: Vec<Forgotten>,
    /// Snapshots that may not: too young, no witnessed time, or proven by a drill.
    pub denied: u64,
    /// Snapshots that only their own node keeps from expiring.
    pub held: u64,
    /// Snapshots that the rules want.
    pub wanted: u64,
    /// Why nothing of this log can expire, where that is so.
    pub why: Option<String>,
}

/// What was done for one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that are needed.
    pub live_objects: u64,
    /// Records that are not.
    pub dead_records: u64,
    /// Bytes that sweeping gives back, of zones that are dead enough.
    pub reclaimable: u64,
    /// Until when what is condemned stays, if it does.
    pub sweeps_at: Option<Timestamp>,
    /// Objects spared because somebody needs them again.
    pub spared: u64,
    /// What was given back, once it was swept.
    pub swept: Option<Swept>,
    /// Why nothing was removed, where something is wrong.
    pub stopped: Option<String>,
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// By log.
    pub expired: Vec<Expired>,
    /// By tenant.
    pub tenants: Vec<(TenantId, Collected)>,
}

impl CollectReport {
    /// Bytes given back: those of files that are gone, less what was written for it.
    pub fn freed(&self) -> u64 {
        let swept = self.tenants.iter().filter_map(|(_, it)| it.swept.as_ref());
        swept.map(|it| it.freed.saturating_sub(it.copied)).sum()
    }

    /// Whether something kept a tenant's garbage from being removed.
    pub fn is_stopped(&self) -> bool {
        let left = |it: &Swept| !it.damaged.is_empty() || it.stopped.is_some();
        let tenants = self.tenants.iter();
        tenants
            .map(|it| &it.1)
            .any(|it| it.stopped.is_some() || it.swept.as_ref().is_some_and(left))
    }
}

/// What of a tenant was condemned, and what was known of its logs then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: String,
    /// Entries of each log, by the hash of its origin.
    logs: BTreeMap<String, u64>,
    /// When it was condemned, if it has not been swept since.
    condemned: Option<Timestamp>,
    /// How many snapshots custodians had deleted when it was last condemned.
    #[serde(default)]
    erasing: u64,
    /// For how many of them every zone that held something of theirs has been written anew.
    #[serde(default)]
    erased: u64,
    /// How many objects nothing but a lease kept when it was last condemned: they may be theirs.
    #[serde(default)]
    leased: u64,
}

impl State {
    /// What is deleted by statement must not stay readable in a zone that is worth keeping: after
    /// one, every zone with anything dead in it is written anew.
    fn percent(&self, how: &Collect) -> u8 {
        if self.erasing > self.erased { 100 } else { how.percent }
    }
}

/// A snapshot that a log names.
struct Named {
    index: u64,
    digest: Sha256,
    set: ReferenceSet,
    /// Its node has let it go, perhaps before it was ever sent.
    let_go: bool,
}

/// One log as it stands.
struct Standing {
    slot: Arc<LogSlot>,
    tenant: Option<TenantId>,
    entries: u64,
    snapshots: Vec<Named>,
    disbelieved: Vec<ReferenceSet>,
    dead: Vec<Sha256>,
    /// How many of the dead were deleted by a statement, and did not expire.
    erased: u64,
}

type Progress<'p> = dyn FnMut(u64) + 'p;

impl Region {
    /// Lets snapshots expire that may, and collects every tenant's garbage. What goes wrong with
    /// one tenant stops no other. `progress` is told how many objects have been walked.
    pub fn collect(
        &self,
        how: &Collect,
        rng: &mut dyn Rng,
        progress: &mut Progress<'_>,
    ) -> Result<CollectReport, RegionError> {
        let mut report = CollectReport::default();
        let proven = self.proven_by_others();
        for slot in self.slots() {
            let expired = self.expire(&slot, &proven, how.dry_run);
            report.expired.push(expired.unwrap_or_else(|e| Expired {
                origin: slot.origin.to_string(),
                why: Some(e.to_string()),
                ..Expired::default()
            }));
        }
        let would_expire: BTreeSet<Sha256> =
            report.expired.iter().flat_map(|it| &it.snapshots).map(|it| it.manifest).collect();
        for id in self.tenant_ids()? {
            let done = self.collect_tenant(id, how, &would_expire, rng, progress);
            let done = done.unwrap_or_else(|e| {
                tracing::warn!(tenant = %id, error = %e, "nothing of this tenant was collected");
                Collected { stopped: Some(e.to_string()), ..Collected::default() }
            });
            report.tenants.push((id, done));
        }
        Ok(report)
    }

    fn collect_tenant(
        &self,
        id: TenantId,
        how: &Collect,
        expired: &BTreeSet<Sha256>,
        rng: &mut dyn Rng,
        progress: &mut Progress<'_>,
    ) -> Result<Collected, RegionError> {
        let tenant = self.tenant(id)?;
        let path = format!("tenants/{}/collect.json", id.to_hex());
        let mut state = self.read_state(&path)?;
        let now = self.clock.now();
        let mut out = Collected::default();
        if let Some(condemned) = state.condemned.filter(|_| !how.dry_run) {
            let at = condemned.after(how.grace);
            if now < at {
                return Ok(Collected { sweeps_at: Some(at), ..out });
            }
            return self.sweep_tenant(id, &tenant, how, (&path, state), out);
        }
        let leased = leased(&tenant, now);
        let logs = self.standing(id, &state)?;
        let (mark, only_leased) = mark(&tenant, &logs, (&leased, expired), rng, progress)?;
        state.erasing = logs.iter().map(|log| log.erased).sum();
        let percent = state.percent(how);
        if how.dry_run {
            let plan = tenant.store.plan_reclaim(&mut |id| mark.has(id), percent)?;
            return Ok(planned(out, &plan));
        }
        let plan = tenant.store.reclaim()?.condemn(&mut |id| mark.has(id), percent)?;
        drop(mark);
        out = planned(out, &plan);
        (state.logs, state.leased) = (sizes(&logs), only_leased);
        state.condemned = (plan.dead_records > 0).then_some(now);
        self.write_state(&path, &state)?;
        if plan.dead_records == 0 || how.grace > Seconds(0) {
            out.sweeps_at = state.condemned.map(|at| at.after(how.grace));
            return Ok(out);
        }
        self.sweep_tenant(id, &tenant, how, (&path, state), out)
    }

    /// Spares what is needed again and gives back the rest of what was condemned.
    fn sweep_tenant(
        &self,
        id: TenantId,
        tenant: &Tenant,
        how: &Collect,
        (path, mut state): (&str, State),
        mut out: Collected,
    ) -> Result<Collected, RegionError> {
        let mut reclaim = tenant.store.reclaim()?;
        if !reclaim.quiet()? {
            let why = "a writer from before the condemning has not ended".to_owned();
            return Ok(Collected { stopped: Some(why), ..out });
        }
        // Leases first: one that ends now has logged what it was for.
        let leased = leased(tenant, self.clock.now());
        let by_lease = reclaim.reprieve(&mut leased.into_iter())?;
        out.spared = by_lease;
        let logs = self.standing(id, &state)?;
        out.spared += spare_newer(tenant, &logs, &state, &mut reclaim)?;
        let swept = reclaim.sweep(state.percent(how), &mut |_| ())?;
        tracing::info!(tenant = %id, freed = swept.freed, "collected");
        (state.logs, state.condemned) = (sizes(&logs), None);
        // What a lease has kept, or a zone that was left has, may be of what was deleted.
        if swept.is_whole() && by_lease == 0 && state.leased == 0 {
            state.erased = state.erasing;
        }
        self.write_state(path, &state)?;
        Ok(Collected { swept: Some(swept), ..out })
    }

    fn read_state(&self, path: &str) -> Result<State, RegionError> {
        let bytes = read_file(self.disk.as_ref(), path, MAX_FILE)
            .map_err(RegionError::io(format!("reading {path}")))?;
        let Some(bytes) = bytes else { return Ok(State::default()) };
        let damaged = |why: String| RegionError::Damaged { path: path.to_owned(), why };
        let state: State = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if state.format != FORMAT {
            return Err(damaged(format!("format {:?}", state.format)));
        }
        Ok(state)
    }

    fn write_state(&self, path: &str, state: &State) -> Result<(), RegionError> {
        let state = State { format: FORMAT.to_owned(), ..state.clone() };
        let json = serde_json::to_vec(&state).expect("numbers and text serialise");
        write_atomic(self.disk.as_ref(), path, &json)
            .map_err(RegionError::io(format!("writing {path}")))
    }

    /// The logs of a tenant as they stand; an error where one that must be there cannot be read.
    fn standing(&self, id: TenantId, state: &State) -> Result<Vec<Standing>, RegionError> {
        let writers: BTreeMap<Sha256, TenantId> =
            self.members().values().map(|m| (m.origin.hash(), m.tenant)).collect();
        let mut logs = Vec::new();
        for slot in self.slots() {
            let stands = self.with_log(&slot, |log| {
                let named = |(index, (digest, set)): (&u64, &(Sha256, ReferenceSet))| Named {
                    index: *index,
                    digest: *digest,
                    set: *set,
                    let_go: log.state.forgotten(digest).is_some(),
                };
                Ok(Standing {
                    slot: slot.clone(),
                    tenant: log.tenant(),
                    entries: log.mirror.next_entry(),
                    snapshots: log.manifests.iter().map(named).collect(),
                    disbelieved: log.disbelieved.clone(),
                    dead: log.tombs.all().map(|it| it.manifest).collect(),
                    erased: erased(log),
                })
            });
            match stands {
                Ok(it) if it.tenant == Some(id) => logs.push(it),
                Ok(_) => {}
                // Whose it is nobody knows but its writer; without one it may be this tenant's.
                Err(_) if writers.get(&slot.origin.hash()).is_some_and(|t| *t != id) => {}
                Err(e) => return Err(e),
            }
        }
        for (hash, entries) in &state.logs {
            let here = logs.iter().find(|it| it.slot.origin.hash().to_hex() == *hash);
            if here.is_none_or(|it| it.entries < *entries) {
                let why = format!("{entries} entries of this log were here before");
                return Err(RegionError::Damaged { path: format!("log {hash}"), why });
            }
        }
        Ok(logs)
    }
}

/// How many snapshots of a log custodians have deleted.
fn erased(log: &MirroredLog) -> u64 {
    log.tombs.all().filter(|it| log.state.deletion(&it.under).is_some()).count() as u64
}

fn planned(out: Collected, plan: &ReclaimPlan) -> Collected {
    Collected {
        live_objects: plan.live_objects,
        dead_records: plan.dead_records,
        reclaimable: plan.reclaimable(),
        ..out
    }
}

fn sizes(logs: &[Standing]) -> BTreeMap<String, u64> {
    logs.iter().map(|it| (it.slot.origin.hash().to_hex(), it.entries)).collect()
}

fn leased(tenant: &Tenant, now: Timestamp) -> BTreeSet<ObjectId> {
    tenant.leases.lock().expect(UNPOISONED).ids(now).collect()
}

/// What is deleted in any of a tenant's logs: the log of a later epoch begins with the entries of
/// the one before, which then has the same snapshots.
fn dead(logs: &[Standing]) -> BTreeSet<Sha256> {
    logs.iter().flat_map(|it| it.dead.iter().copied()).collect()
}

/// Marks everything that is needed; also how many objects of it only a lease keeps.
fn mark(
    tenant: &Tenant,
    logs: &[Standing],
    (leased, expired): (&BTreeSet<ObjectId>, &BTreeSet<Sha256>),
    rng: &mut dyn Rng,
    progress: &mut Progress<'_>,
) -> Result<(Mark, u64), RegionError> {
    let mut salt = [0; 16];
    rng.fill(&mut salt);
    let mut mark = Mark::new(tenant.store.stats()?.objects, salt);
    let (dead, mut seen) = (dead(logs), 0_u64);
    for log in logs {
        let mut previous = None;
        for it in &log.snapshots {
            if dead.contains(&it.digest) || expired.contains(&it.digest) || never_sent(tenant, it) {
                continue;
            }
            each_new(tenant, previous.as_ref(), &it.set, &mut |id| {
                mark.add(&id);
                seen += 1;
                if seen.is_multiple_of(4_096) {
                    progress(seen);
                }
            })
            .map_err(|e| RegionError::Damaged {
                path: format!("snapshot {} of log {}", it.digest.to_hex(), log.slot.origin),
                why: format!(
                    "{e}; nothing of this tenant is removed until its node syncs it again, or its custodians delete it"
                ),
            })?;
            previous = Some(it.set);
        }
        for set in &log.disbelieved {
            // A thief may have named what was never here.
            let walked = each_new(tenant, None, set, &mut |id| mark.add(&id));
            if let Err(e @ ReferenceSetError::Store { .. }) = walked {
                let path = format!("log {}", log.slot.origin);
                return Err(RegionError::Damaged { path, why: e.to_string() });
            }
        }
    }
    let mut only_leased = 0;
    for id in leased {
        if !mark.has(id) {
            only_leased += 1;
            mark.add(id);
        }
    }
    progress(seen);
    Ok((mark, only_leased))
}

/// Whether nothing of a snapshot was ever here, because its node had let it go by the time it synced.
fn never_sent(tenant: &Tenant, it: &Named) -> bool {
    it.let_go && tenant.store.readable_size(it.set.root).is_none()
}

/// Gives every page and object of `set` that `previous` does not have.
fn each_new(
    tenant: &Tenant,
    previous: Option<&ReferenceSet>,
    set: &ReferenceSet,
    give: &mut dyn FnMut(ObjectId),
) -> Result<(), ReferenceSetError> {
    let pages = |id: ObjectId| tenant.store.get(id).map_err(|e| e.to_string());
    difference(&pages, previous, set, &mut |visit| match visit {
        Visit::Page(id, _) => give(id),
        Visit::Member(member) => give(member.id),
    })
}

/// Spares what snapshots need that were logged since the condemning.
fn spare_newer(
    tenant: &Tenant,
    logs: &[Standing],
    state: &State,
    reclaim: &mut Reclaim<'_>,
) -> Result<u64, RegionError> {
    let (dead, mut spared) = (dead(logs), 0);
    for log in logs {
        let known = state.logs.get(&log.slot.origin.hash().to_hex()).copied().unwrap_or(0);
        for it in log.snapshots.iter().filter(|it| it.index >= known) {
            if dead.contains(&it.digest) {
                continue;
            }
            let mut failed: Option<StoreError> = None;
            let mut ids = Vec::new();
            let walked = each_new(tenant, None, &it.set, &mut |id| {
                ids.push(id);
                if ids.len() == AT_A_TIME && failed.is_none() {
                    match reclaim.reprieve(&mut ids.drain(..)) {
                        Ok(count) => spared += count,
                        Err(e) => failed = Some(e),
                    }
                }
            });
            if let Some(e) = failed {
                return Err(e.into());
            }
            spared += reclaim.reprieve(&mut ids.into_iter())?;
            // Not all of it is here yet: it is not counted either, and what misses is sent again.
            if let Err(e @ ReferenceSetError::Store { .. }) = walked {
                let path = format!("log {}", log.slot.origin);
                return Err(RegionError::Damaged { path, why: e.to_string() });
            }
        }
    }
    Ok(spared)
}
