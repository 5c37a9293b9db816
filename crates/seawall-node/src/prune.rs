//! Forgetting snapshots and giving back the room of what nobody refers to any more.
//!
//! Two things that do not depend on one another. *Forgetting* is a signed statement in the log: it
//! decides. *Reclaiming* reads the log, walks the public reference sets of every snapshot that is
//! not forgotten, and gives back everything else. A reclaim that dies is begun anew by the next
//! prune, from the log alone; nothing else has to be remembered. No page of a tree is opened and
//! no data key is read: the reference sets are public.
//!
//! Order, and why each step may be the last:
//! 1. Under the sync lock, so that no push counts on what is forgotten, and the home's lock: decide
//!    again, log the statement, sign the checkpoint. A snapshot somebody reads is left alone.
//! 2. Mark, then condemn what is not marked: durable, and from here on new snapshots write anew what
//!    they would have shared with it. Everything can still be read.
//! 3. Wait for snapshots that began before; reprieve what those refer to that were logged meanwhile.
//! 4. Sweep.
//!
//! `docs/decisions/0012-retention.md` has every pair of commands that may meet.
//!
//! What is marked is kept in a Bloom filter of sixteen bits an object, not in a list of ids: fifty
//! million of those would be more than a gigabyte. About one in a thousand dead objects is taken for
//! live and stays; the next prune, whose filter is salted differently, sees it.

use std::collections::BTreeSet;

use seawall_base::{Clock, ObjectId, Rng, Sha256};
use seawall_policy::retention::Verdict;
use seawall_record::reference_set::{Visit, difference};
use seawall_record::{Fleet, Forget, Forgotten, LogState, ReferenceSet};
use seawall_store::{Mark, Reclaim, ReclaimPlan, Store, Swept};
use serde::{Deserialize, Serialize};

use crate::home::{Home, HomeError, Lock, append};
use crate::retention::{
    Decision, Evidence, Held, Logged, Retention, ask_bucket, decide_for, logged, mark_readers,
};

/// Zones with a smaller share of live bytes than this, in percent, are written anew.
pub const REWRITE_BELOW: u8 = 70;

/// How long to wait before looking again whether a snapshot or a sync has ended.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// How many ids are spared at a time: 32 MiB of them.
const AT_A_TIME: usize = 1 << 20;

/// How many of the log's deletions by custodians this store has been freed of.
///
/// What they deleted must not stay in a zone because the rest of it is worth keeping: the first
/// prune after a deletion writes every zone anew that has anything dead in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Erased {
    deletions: usize,
}

impl Erased {
    const PATH: &str = "erased.json";

    fn read(home: &Home) -> Result<Self, HomeError> {
        match home.read(Self::PATH)? {
            Some(_) => home.read_json(Self::PATH),
            None => Ok(Self { deletions: 0 }),
        }
    }

    fn write(&self, home: &Home) -> Result<(), HomeError> {
        if Self::read(home)?.deletions == self.deletions {
            return Ok(());
        }
        home.write_json(Self::PATH, self)
    }

    fn percent(&self, log: &LogState, percent: u8) -> u8 {
        if log.deletions() > self.deletions { 100 } else { percent }
    }
}

/// What a prune would do.
#[derive(Debug)]
pub struct PrunePlan {
    /// What is to become of each snapshot.
    pub decision: Decision,
    /// What could be given back, zone by zone, if they were forgotten.
    pub reclaim: ReclaimPlan,
}

/// What a prune is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneStep {
    /// Waits for a sync to end.
    WaitingForSync,
    /// Has walked so many objects of reference sets.
    Marking(u64),
    /// Waits for snapshots that began before it.
    WaitingForSnapshots,
    /// Has given back so many bytes.
    Sweeping(u64),
}

/// What a prune did.
#[derive(Debug)]
pub struct Pruned {
    /// The snapshots forgotten.
    pub forgotten: Vec<Held>,
    /// How many are kept.
    pub kept: usize,
    /// What was live and what was not when it was marked.
    pub reclaim: ReclaimPlan,
    /// Objects spared because a snapshot that was made meanwhile needs them.
    pub reprieved: u64,
    /// What was given back.
    pub swept: Swept,
}

/// Tells what a prune would do. Changes nothing, and takes no lock anybody would wait for.
pub fn plan_prune(
    home: &Home,
    retention: &Retention,
    percent: u8,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    step: &mut dyn FnMut(PruneStep),
) -> Result<PrunePlan, HomeError> {
    let fleet = home.fleet()?;
    let log = home.log(&fleet)?;
    let (mut snapshots, state) = logged(&fleet, &log)?;
    let percent = Erased::read(home)?.percent(&state, percent);
    mark_readers(home, &mut snapshots)?;
    let evidence = Evidence::gather(home, &fleet, &log, &ask_bucket(home, &log))?;
    let decision = decide_for(snapshots, &evidence, retention, clock)?;
    let (store, _) = home.store()?;
    let kept = decision.snapshots.iter().filter(|s| s.verdict != Verdict::Forget);
    let sets = kept.map(|s| s.manifest.core.reference_set);
    let mark = mark_live(&store, sets, rng, step)?;
    let reclaim = store.plan_reclaim(&mut |id| mark.has(id), percent)?;
    Ok(PrunePlan { decision, reclaim })
}

/// Forgets those of `chosen` that the policy still lets go, then gives back what nobody needs.
pub fn prune(
    home: &Home,
    retention: &Retention,
    chosen: &BTreeSet<Sha256>,
    percent: u8,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    step: &mut dyn FnMut(PruneStep),
) -> Result<Pruned, HomeError> {
    let fleet = home.fleet()?;
    let (store, _) = home.store_for_writing()?;
    // First, so that of two prunes the second changes nothing.
    let mut reclaim = store.reclaim()?;
    let forgotten = forget(home, &fleet, retention, chosen, clock, rng, step)?;
    let (kept, state) = logged(&fleet, &home.log(&fleet)?)?;
    let percent = Erased::read(home)?.percent(&state, percent);
    // What was logged since the store was opened is in zones it has not seen.
    store.refresh()?;
    let sets = kept.iter().map(|it| it.manifest.core.reference_set);
    let mark = mark_live(&store, sets, rng, step)?;
    let plan = reclaim.condemn(&mut |id| mark.has(id), percent)?;
    drop(mark);
    wait_for_snapshots(&mut reclaim, step)?;
    drop(reclaim);
    drop(store);
    // Opened again, it takes over the zones of those that have ended. A prune that slips in between
    // condemns by a newer log; what is newer than this one's mark is spared either way.
    let (store, _) = home.store_for_writing()?;
    let mut reclaim = store.reclaim()?;
    wait_for_snapshots(&mut reclaim, step)?;
    let reprieved = reprieve_newer(home, &fleet, &store, &mut reclaim, &kept)?;
    let swept = reclaim.sweep(percent, &mut |freed| step(PruneStep::Sweeping(freed)))?;
    // A zone that was left may hold what was deleted: the next prune writes all anew again.
    if swept.is_whole() {
        Erased { deletions: state.deletions() }.write(home)?;
    }
    Ok(Pruned { forgotten, kept: kept.len(), reclaim: plan, reprieved, swept })
}

/// Waits until every snapshot has ended that began before the last condemning.
fn wait_for_snapshots(
    reclaim: &mut Reclaim<'_>,
    step: &mut dyn FnMut(PruneStep),
) -> Result<(), HomeError> {
    while !reclaim.quiet()? {
        step(PruneStep::WaitingForSnapshots);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Decides under the locks and logs what goes.
fn forget(
    home: &Home,
    fleet: &Fleet,
    retention: &Retention,
    chosen: &BTreeSet<Sha256>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    step: &mut dyn FnMut(PruneStep),
) -> Result<Vec<Held>, HomeError> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let bucket = ask_bucket(home, &home.log(fleet)?);
    let _syncing = wait_for_sync(home, step)?;
    let lock = home.lock()?;
    let mut log = home.log_for_writing(fleet, &lock)?;
    let (mut snapshots, mut state) = logged(fleet, &log)?;
    // Held until the statement is logged: whoever begins to read later sees it.
    let _locked_out = lock_out(home, &mut snapshots, chosen)?;
    let evidence = Evidence::gather(home, fleet, &log, &bucket)?;
    let decision = decide_for(snapshots, &evidence, retention, clock)?;
    if crate::epoch::provisional(home)?.is_some() {
        return Err(HomeError::refused(
            "this node's log is provisional, and what it forgets would be lost with it; begin the next epoch first (seawall node epoch begin)",
        ));
    }
    let going: Vec<Held> =
        decision.to_forget().filter(|held| chosen.contains(&held.digest)).cloned().collect();
    if going.is_empty() {
        return Ok(going);
    }
    let subkey = home.subkey(fleet, &mut log, &mut state, clock, rng)?;
    let (enrolment, _) = home.enrolment(fleet)?;
    for some in going.chunks(Forget::MAX) {
        let one = |held: &Held| Forgotten {
            sequence: held.manifest.core.sequence,
            manifest: held.digest,
        };
        let forget = Forget {
            fleet: fleet.id(),
            node: enrolment.node(),
            origin: log.origin().as_str().to_owned(),
            snapshots: some.iter().map(one).collect(),
            copies: decision.guards.copies,
            reason: in_words(retention),
            created: clock.now(),
        };
        append(&mut log, &mut state, &forget.statement().sign(&[&subkey])?)?;
    }
    log.sign_checkpoint(&subkey)?;
    Ok(going)
}

fn in_words(retention: &Retention) -> String {
    let mut words = format!("keep {}", retention.rules);
    let end = words.floor_char_boundary(Forget::MAX_REASON);
    words.truncate(end);
    words
}

fn wait_for_sync(home: &Home, step: &mut dyn FnMut(PruneStep)) -> Result<Lock, HomeError> {
    loop {
        match home.lock_sync() {
            Err(HomeError::Syncing(_)) => {
                step(PruneStep::WaitingForSync);
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// Takes the chosen snapshots away from readers; those that somebody reads are marked so.
fn lock_out(
    home: &Home,
    snapshots: &mut [Logged],
    chosen: &BTreeSet<Sha256>,
) -> Result<Vec<Lock>, HomeError> {
    let mut locks = Vec::new();
    for it in snapshots.iter_mut().filter(|it| chosen.contains(&it.digest)) {
        match home.lock_out_readers(it.digest)? {
            Some(lock) => locks.push(lock),
            None => it.in_use = true,
        }
    }
    Ok(locks)
}

/// Marks every object and page of these sets, in the order in which they were made, so that what
/// two of them share is walked once.
fn mark_live(
    store: &Store,
    sets: impl Iterator<Item = ReferenceSet>,
    rng: &mut dyn Rng,
    step: &mut dyn FnMut(PruneStep),
) -> Result<Mark, HomeError> {
    let mut salt = [0; 16];
    rng.fill(&mut salt);
    let mut mark = Mark::new(store.stats()?.objects, salt);
    let (mut seen, mut previous) = (0_u64, None);
    for set in sets {
        each_new(store, previous.as_ref(), &set, &mut |id| {
            mark.add(&id);
            seen += 1;
            if seen.is_multiple_of(4_096) {
                step(PruneStep::Marking(seen));
            }
        })?;
        previous = Some(set);
    }
    Ok(mark)
}

/// Gives every page and object of `set` that `previous` does not have.
fn each_new(
    store: &Store,
    previous: Option<&ReferenceSet>,
    set: &ReferenceSet,
    give: &mut dyn FnMut(ObjectId),
) -> Result<(), HomeError> {
    let pages = |id: ObjectId| store.get(id).map_err(|e| e.to_string());
    Ok(difference(&pages, previous, set, &mut |visit| match visit {
        Visit::Page(id, _) => give(id),
        Visit::Member(member) => give(member.id),
    })?)
}

/// Spares what snapshots refer to that were logged since the mark was made.
fn reprieve_newer(
    home: &Home,
    fleet: &Fleet,
    store: &Store,
    reclaim: &mut Reclaim<'_>,
    marked: &[Logged],
) -> Result<u64, HomeError> {
    let last = marked.last().map_or(0, |it| it.manifest.core.sequence);
    let (now, _) = logged(fleet, &home.log(fleet)?)?;
    // The objects of others' snapshots are not in the index of a store opened before.
    store.refresh()?;
    let mut previous = None;
    let mut spared = 0;
    for it in now.iter().filter(|it| it.manifest.core.sequence > last) {
        let set = it.manifest.core.reference_set;
        let (mut ids, mut failed) = (Vec::new(), None);
        each_new(store, previous.as_ref(), &set, &mut |id| {
            ids.push(id);
            if ids.len() == AT_A_TIME && failed.is_none() {
                match reclaim.reprieve(&mut ids.drain(..)) {
                    Ok(count) => spared += count,
                    Err(e) => failed = Some(e),
                }
            }
        })?;
        if let Some(e) = failed {
            return Err(e.into());
        }
        spared += reclaim.reprieve(&mut ids.into_iter())?;
        previous = Some(set);
    }
    Ok(spared)
}
