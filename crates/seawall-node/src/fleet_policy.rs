//! Changing a fleet's policy: propose, sign, apply.
//!
//! A proposal is the whole next policy with the signatures it has so far. It goes from one holder
//! of a root key to the next as a file and is in force for whoever has seen it with enough of
//! them. Regions relay it at the next `sync`; they cannot make one.
//!
//! New root keys carry over, by digest, what the old ones signed and this home knows of (`carried`):
//! whatever is forgotten here stops counting, so a proposal names what it carries.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{Clock, GroupId, NodeId};
use seawall_record::{
    DeletionRule, EarlierLog, Enrolment, EscrowGroupRecord, Fleet, FleetPolicy, GroupChange,
    Revocation, WitnessQuorum, WitnessRecord,
};
use seawall_sign::{Envelope, Signer, StatementKey, VerifyingKey};
use seawall_sync::Tier as _;
use seawall_tlog::Origin;

use crate::bucket::Bucket;
use crate::carried::{Elsewhere, OtherLogs, carry, carry_files, elsewhere};
use crate::enrol;
use crate::home::{Home, HomeError};
use crate::root_files::sign_as_root;
use crate::tiers::{Pulled, PulledLog, RegionLink, pull_bucket_logs, pull_log};

/// What the next policy changes; what is not named stays.
#[derive(Debug, Clone, Default)]
pub struct PolicyEdits {
    /// Escrow groups as their custodians signed them, to add or, under the same id, to replace. A
    /// new group of a class that has one retires the old.
    pub groups: Vec<EscrowGroupRecord>,
    /// The word of custodians for what is changed of groups that the fleet has.
    pub changes: Vec<GroupChange>,
    /// Escrow groups that take no new snapshots any more.
    pub retire: Vec<GroupId>,
    /// Witnesses to add or, under the same name, to replace.
    pub witnesses: Vec<WitnessRecord>,
    /// Names of witnesses to remove.
    pub remove_witnesses: Vec<String>,
    /// How many witness operators it takes.
    pub witness_quorum: Option<WitnessQuorum>,
    /// That none is demanded any more.
    pub no_witness_quorum: bool,
    /// When regions may delete.
    pub deletion: Option<DeletionRule>,
    /// Members to revoke.
    pub revoke: Vec<Revocation>,
    /// The new root keys and their threshold.
    pub root_keys: Option<(Vec<VerifyingKey>, u16)>,
    /// Further statements that root keys of this fleet signed at some time and that hold.
    pub carry: Vec<Envelope>,
    /// With new root keys: what becomes of statements of the old ones in other nodes' logs.
    pub other_logs: OtherLogs,
}

/// How far a proposal is.
#[derive(Debug)]
pub struct Proposal {
    /// What it would make of the policy.
    pub policy: FleetPolicy,
    /// The proposal with its signatures.
    pub envelope: Envelope,
    /// Good signatures and how many it takes: of the keys that decide now, and of the new ones.
    pub signed: [(usize, usize); 2],
}

impl Proposal {
    /// Whether everybody would believe it.
    pub fn is_complete(&self) -> bool {
        self.signed.iter().all(|(have, need)| have >= need)
    }

    /// Looks at a proposal against the fleet as it is known here.
    pub fn of(fleet: &Fleet, envelope: Envelope) -> Result<Self, HomeError> {
        let policy = FleetPolicy::read_unverified(&envelope)?;
        if policy.fleet != fleet.id() || policy.previous != fleet.policy_digest() {
            return Err(HomeError::refused(format!(
                "the proposal does not follow version {} of this fleet's policy, which is the newest known here",
                fleet.version()
            )));
        }
        fleet.check_next(&policy)?;
        check_groups(fleet.groups(), &policy.groups)?;
        policy.check_new_witnesses(fleet.witnesses())?;
        let signed = [
            (fleet.root_keys(), fleet.root_threshold()),
            (policy.root_keys.as_slice(), policy.root_threshold),
        ]
        .map(|(keys, need)| {
            let good = |key: &&VerifyingKey| envelope.verify(&[**key], 1).is_ok();
            (keys.iter().filter(good).count(), usize::from(need))
        });
        Ok(Self { policy, envelope, signed })
    }
}

/// Makes the next policy and signs it with the root keys of this home and `copies` of others.
pub fn propose_policy(
    home: &Home,
    edits: &PolicyEdits,
    copies: Vec<StatementKey>,
    clock: &dyn Clock,
) -> Result<Proposal, HomeError> {
    let elsewhere = match (&edits.root_keys, edits.other_logs) {
        (None, _) | (_, OtherLogs::Leave) => Elsewhere::default(),
        (Some(_), _) => elsewhere(home, &home.fleet()?)?,
    };
    let _lock = home.lock()?;
    let fleet = home.fleet()?;
    let mut next = fleet.policy().clone();
    next.version = next.version.checked_add(1).ok_or_else(|| {
        HomeError::refused("the fleet's policy has had as many versions as there can be")
    })?;
    next.previous = fleet.policy_digest();
    next.created = clock.now();
    next.changes.clear();
    edit_groups(&mut next, edits);
    edit_witnesses(&mut next, edits)?;
    next.witness_quorum = edits.witness_quorum.or(next.witness_quorum);
    next.witness_quorum = next.witness_quorum.filter(|_| !edits.no_witness_quorum);
    next.deletion = edits.deletion.or(next.deletion);
    for revocation in &edits.revoke {
        next.revoked.retain(|r| r.member != revocation.member);
        next.revoked.push(revocation.clone());
    }
    next.revoked.sort_by_key(|r| r.member);
    carry_files(&fleet, &mut next, &edits.carry)?;
    if let Some((keys, threshold)) = &edits.root_keys {
        (next.root_keys, next.root_threshold) = (keys.clone(), *threshold);
        carry(home, &fleet, &mut next, (edits.other_logs, elsewhere))?;
    }
    next.carried.sort();
    next.carried.dedup();
    let mut roots = home.root_keys()?;
    roots.extend(copies);
    let roots = deciding(&fleet, &next, roots)?;
    let envelope = sign_as_root(&roots, |roots| next.statement().sign(roots))?;
    Proposal::of(&fleet, envelope)
}

/// Those of the keys whose signature counts, now or under the next policy. Where none does, as in a
/// home whose root key was replaced, they sign all the same: a file has a signature.
fn deciding(
    fleet: &Fleet,
    next: &FleetPolicy,
    mut keys: Vec<StatementKey>,
) -> Result<Vec<StatementKey>, HomeError> {
    let mut seen = Vec::new();
    keys.retain(|key| {
        !seen.contains(&key.public()) && {
            seen.push(key.public());
            true
        }
    });
    let counts = |key: &StatementKey| {
        fleet.root_keys().contains(&key.public()) || next.root_keys.contains(&key.public())
    };
    if keys.iter().any(counts) {
        keys.retain(counts);
    }
    if keys.is_empty() {
        return Err(HomeError::refused(
            "there is no root key in this home; run this where the fleet was founded, or name a sealed copy of one (--sign-with)",
        ));
    }
    Ok(keys)
}

fn edit_groups(next: &mut FleetPolicy, edits: &PolicyEdits) {
    for group in &edits.groups {
        if let Some(held) = next.groups.iter_mut().find(|g| g.id == group.id) {
            let class_number = held.class_number;
            *held = EscrowGroupRecord { class_number, ..group.clone() };
            next.changes.extend(edits.changes.iter().find(|c| c.group == group.id).cloned());
            continue;
        }
        let class_number = EscrowGroupRecord::number_of_class(&next.groups, &group.class);
        next.groups.iter_mut().filter(|g| g.class == group.class).for_each(|g| g.retired = true);
        next.groups.push(EscrowGroupRecord { class_number, ..group.clone() });
    }
    next.groups.iter_mut().filter(|g| edits.retire.contains(&g.id)).for_each(|g| g.retired = true);
}

/// Refuses groups that nobody could seal to or open with; those known already are left alone.
pub(crate) fn check_groups(
    known: &[EscrowGroupRecord],
    newest: &[EscrowGroupRecord],
) -> Result<(), HomeError> {
    match seawall_escrow::unsound_group(known, newest) {
        None => Ok(()),
        Some((group, e)) => Err(HomeError::refused(format!(
            "the policy's record of {group} is unsound ({e}): it was not taken; find out who signed it with the root keys"
        ))),
    }
}

fn edit_witnesses(next: &mut FleetPolicy, edits: &PolicyEdits) -> Result<(), HomeError> {
    for name in &edits.remove_witnesses {
        let before = next.witnesses.len();
        next.witnesses.retain(|w| w.name != *name);
        if next.witnesses.len() == before {
            let known: Vec<_> = next.witnesses.iter().map(|w| w.name.as_str()).collect();
            return Err(HomeError::refused(format!(
                "there is no witness {name:?}; known: {}",
                known.join(", ")
            )));
        }
    }
    for witness in &edits.witnesses {
        next.witnesses.retain(|w| w.name != witness.name);
        next.witnesses.push(witness.clone());
    }
    Ok(())
}

/// Adds a signature to a proposal.
pub fn sign_proposal(
    fleet: &Fleet,
    envelope: Envelope,
    key: &dyn Signer,
) -> Result<Proposal, HomeError> {
    let proposal = Proposal::of(fleet, envelope)?;
    let public = key.public();
    if !fleet.root_keys().contains(&public) && !proposal.policy.root_keys.contains(&public) {
        return Err(HomeError::refused(format!(
            "{public} is neither a root key of this fleet nor one that the proposal names"
        )));
    }
    Proposal::of(fleet, proposal.envelope.and_sign(key)?)
}

/// Takes a complete proposal: from here on this home acts by it.
pub fn apply_policy(home: &Home, envelope: Envelope) -> Result<Fleet, HomeError> {
    let _lock = home.lock()?;
    let fleet = home.fleet()?;
    let mut chain = fleet.policies().to_vec();
    if chain.last().is_some_and(|newest| newest.digest() == envelope.digest()) {
        return Ok(fleet);
    }
    chain.push(envelope);
    home.learn_locked(chain)
}

/// How a member that is not known by its id is named on a command line.
pub fn member_named(home: &Home, name: &str) -> Result<NodeId, HomeError> {
    let fleet = home.fleet()?;
    let named = |statements: &[Envelope]| {
        let members = statements.iter().filter_map(|it| member_of(&fleet, it));
        let named = members.filter(|it| it.name == name || it.node().to_hex() == name);
        named.map(|it| it.node()).collect::<BTreeSet<NodeId>>()
    };
    let mut found = named(&enrol::issued(home, &fleet)?);
    let id = NodeId::from_hex(name);
    let mut untold = Vec::new();
    // Its enrolment may have been finished elsewhere: it stands in its log.
    if found.is_empty() && id.is_err() {
        let elsewhere = elsewhere(home, &fleet)?;
        found = named(&elsewhere.statements());
        untold = elsewhere.untold;
    }
    let found: Vec<NodeId> = found.into_iter().collect();
    match (found.as_slice(), id) {
        ([one], _) => Ok(*one),
        ([], Ok(id)) => Ok(id),
        ([], Err(_)) => {
            untold
                .insert(0, format!("no member {name:?} is known here or in the logs within reach"));
            Err(HomeError::refused(format!(
                "{}; give its id (64 hex digits; it stands in the log's name in seawall snapshot list --all --json)",
                untold.join("; ")
            )))
        }
        _ => Err(HomeError::refused(format!("several members are called {name:?}; give the id"))),
    }
}

/// Whom a statement enrols, if it does and holds today.
fn member_of(fleet: &Fleet, statement: &Envelope) -> Option<Enrolment> {
    fleet.open_root_signed("enrolment", statement).ok()
}

/// The epochs up to which a member is revoked, and how much of its logs is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    /// The last epoch that is revoked.
    pub epoch: u32,
    /// Entries of its log in that epoch.
    pub log_size: u64,
    /// Entries of its logs in earlier epochs.
    pub earlier: Vec<EarlierLog>,
}

/// What of [`Believed`] somebody says himself.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The last epoch that is revoked.
    pub epoch: Option<u32>,
    /// Entries of its log in that epoch.
    pub log_size: Option<u64>,
    /// Entries of its logs in earlier epochs.
    pub earlier: Vec<EarlierLog>,
}

/// What a revocation of a member says if it is made now: up to the highest epoch that is known of
/// it, as many entries of each log as any tier shows with good proofs. What cannot be found out has
/// to be told: too few entries would disown good snapshots, and too low an epoch would leave its
/// keys good and the log of the later epoch unreadable.
pub fn believed_logs(home: &Home, member: NodeId, told: &Told) -> Result<Believed, HomeError> {
    let fleet = home.fleet()?;
    let (logs, untold) = logs_of(home, &fleet, member)?;
    if let (Some(why), true) = (untold.first(), told.epoch.is_none() || told.log_size.is_none()) {
        return Err(HomeError::refused(format!(
            "{why}: how far the member's logs go cannot be told; try again, or give epoch and number yourself (--epoch, --keep-entries, and --keep-earlier for each epoch before)"
        )));
    }
    let mut highest = logs.keys().next_back().copied();
    let issued = enrol::issued(home, &fleet)?;
    let of_it =
        issued.iter().filter_map(|it| member_of(&fleet, it)).filter(|it| it.node() == member);
    highest = highest.max(of_it.map(|it| it.epoch).max());
    let epoch = told.epoch.or(highest).unwrap_or(1);
    if let Some(later) = highest.filter(|highest| *highest > epoch) {
        return Err(HomeError::refused(format!(
            "the member is in epoch {later}: revoked in epoch {epoch}, its keys would go on counting; leave out --epoch, or give {later}"
        )));
    }
    // Once believed no more, never again.
    let capped = |of: u32, n: u64| fleet.believed_entries(member, of).map_or(n, |most| n.min(most));
    let shown = |of: u32| capped(of, logs.get(&of).copied().unwrap_or(0));
    let mut earlier = told.earlier.clone();
    for &of in logs.keys().filter(|of| **of < epoch) {
        if !earlier.iter().any(|it| it.epoch == of) {
            earlier.push(EarlierLog { epoch: of, log_size: shown(of) });
        }
    }
    earlier.sort_by_key(|it| it.epoch);
    Ok(Believed { epoch, log_size: told.log_size.unwrap_or_else(|| shown(epoch)), earlier })
}

/// A member's logs within reach, by epoch, with their entries, and what could not be read.
fn logs_of(
    home: &Home,
    fleet: &Fleet,
    member: NodeId,
) -> Result<(BTreeMap<u32, u64>, Vec<String>), HomeError> {
    let (mut logs, mut untold) = (BTreeMap::new(), Vec::new());
    for (place, pulled) in copies_of(home, fleet, member)? {
        match pulled {
            Ok(log) => {
                if let Some((_, _, epoch)) = log.origin.node() {
                    let most = logs.entry(epoch).or_insert(0);
                    *most = log.state.entries().max(*most);
                }
            }
            Err(e) => untold.push(format!("{place}: {e}")),
        }
    }
    Ok((logs, untold))
}

/// Every copy of a member's logs within reach, and what could not be read, each with its place.
pub(crate) fn copies_of(
    home: &Home,
    fleet: &Fleet,
    member: NodeId,
) -> Result<Vec<(String, Pulled)>, HomeError> {
    let mut all: Vec<(String, Pulled)> = Vec::new();
    let mut take = |place: &str, pulled: Pulled| all.push((place.to_owned(), pulled));
    let (links, unreached) = RegionLink::all(home, fleet)?;
    for (name, e) in unreached {
        take(&format!("region {name}"), Err(e));
    }
    for link in &links {
        // A copy of another member's log that is not believed says nothing about this one's.
        let of_member = |origin: &str| {
            let origin = origin.parse::<Origin>().ok().and_then(|it| it.node());
            origin.is_some_and(|(_, node, _)| node == member)
        };
        match link.tier.logs() {
            Ok(all) => all
                .iter()
                .filter(|it| of_member(&it.origin))
                .for_each(|it| take("a copy", pull_log(home, fleet, link, &it.origin))),
            Err(e) => take(&format!("region {}", link.region.name), Err(e.into())),
        }
    }
    if let Some(bucket) = Bucket::of(home).transpose() {
        let pulled = bucket.and_then(|it| pull_bucket_logs(home, fleet, &it));
        pulled.unwrap_or_else(|e| vec![Err(e)]).into_iter().for_each(|it| take("the bucket", it));
    }
    // A bucket shows all logs at once.
    let of_member = |log: &PulledLog| log.origin.node().is_some_and(|(_, node, _)| node == member);
    all.retain(|(_, pulled)| pulled.as_ref().map_or(true, of_member));
    Ok(all)
}
