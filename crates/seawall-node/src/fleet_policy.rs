//! Changing a fleet's policy: propose, sign, apply.
//!
//! A proposal is the whole next policy with the signatures it has so far. It goes from one holder
//! of a root key to the next as a file and is in force for whoever has seen it with enough of
//! them. Regions relay it at the next `sync`; they cannot make one.
//!
//! New root keys carry over, by digest, what the old ones signed and this home knows of: whatever
//! is forgotten here stops counting, so a proposal names what it carries.

use seawall_base::{Clock, GroupId, NodeId};
use seawall_record::{
    DeletionRule, EscrowGroupRecord, Fleet, FleetPolicy, IndexPolicy, Revocation, WitnessQuorum,
    WitnessRecord,
};
use seawall_sign::{Envelope, Signer, VerifyingKey};
use seawall_tlog::Origin;

use crate::home::{Home, HomeError};
use crate::tiers::{RegionLink, pull_logs};
use crate::{deletion, enrol, operators};

/// What the next policy changes; what is not named stays.
#[derive(Debug, Clone, Default)]
pub struct PolicyEdits {
    /// Escrow groups as their custodians signed them, to add or, under the same id, to replace. A
    /// new group of a class that has one retires the old.
    pub groups: Vec<EscrowGroupRecord>,
    /// Records of groups that nobody signed. Each must be of a group that the fleet has, and may
    /// change no more than where its custodians are reached, or add keys they had none of.
    pub unsigned_groups: Vec<EscrowGroupRecord>,
    /// Escrow groups that take no new snapshots any more.
    pub retire: Vec<GroupId>,
    /// Witnesses to add or, under the same name, to replace.
    pub witnesses: Vec<WitnessRecord>,
    /// Names of witnesses to remove.
    pub remove_witnesses: Vec<String>,
    /// How many witness operators it takes.
    pub witness_quorum: Option<WitnessQuorum>,
    /// When regions may delete.
    pub deletion: Option<DeletionRule>,
    /// Members to revoke.
    pub revoke: Vec<Revocation>,
    /// The new root keys and their threshold.
    pub root_keys: Option<(Vec<VerifyingKey>, u16)>,
    /// Further statements of the old root keys that still hold.
    pub carry: Vec<Envelope>,
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

/// Makes the next policy and signs it with the root keys of this home.
pub fn propose_policy(
    home: &Home,
    edits: &PolicyEdits,
    clock: &dyn Clock,
) -> Result<Proposal, HomeError> {
    let _lock = home.lock()?;
    let fleet = home.fleet()?;
    let mut next = fleet.policy().clone();
    next.version += 1;
    next.previous = fleet.policy_digest();
    next.created = clock.now();
    edit_groups(&mut next, edits);
    edit_unsigned(&mut next, edits)?;
    edit_witnesses(&mut next, edits)?;
    next.witness_quorum = edits.witness_quorum.or(next.witness_quorum);
    next.deletion = edits.deletion.or(next.deletion);
    for revocation in &edits.revoke {
        next.revoked.retain(|r| r.member != revocation.member);
        next.revoked.push(revocation.clone());
    }
    next.revoked.sort_by_key(|r| r.member);
    if let Some((keys, threshold)) = &edits.root_keys {
        (next.root_keys, next.root_threshold) = (keys.clone(), *threshold);
        carry(home, &fleet, &mut next, &edits.carry)?;
    }
    let envelope = enrol::sign_as_root(home, |roots| next.statement().sign(roots))?;
    Proposal::of(&fleet, envelope)
}

fn edit_groups(next: &mut FleetPolicy, edits: &PolicyEdits) {
    for group in &edits.groups {
        if let Some(held) = next.groups.iter_mut().find(|g| g.id == group.id) {
            let class_number = held.class_number;
            *held = EscrowGroupRecord { class_number, ..group.clone() };
            continue;
        }
        let of_class = next.groups.iter().find(|g| g.class == group.class).map(|g| g.class_number);
        let used = |n: &u8| next.groups.iter().any(|g| g.class_number == *n);
        // 255 classes are more than the 16 groups a fleet may have.
        let free = (1..=u8::MAX).find(|n| !used(n)).unwrap_or(u8::MAX);
        let class_number = of_class.unwrap_or(free);
        next.groups.iter_mut().filter(|g| g.class == group.class).for_each(|g| g.retired = true);
        next.groups.push(EscrowGroupRecord { class_number, ..group.clone() });
    }
    next.groups.iter_mut().filter(|g| edits.retire.contains(&g.id)).for_each(|g| g.retired = true);
}

fn edit_unsigned(next: &mut FleetPolicy, edits: &PolicyEdits) -> Result<(), HomeError> {
    for record in &edits.unsigned_groups {
        let held = next.groups.iter_mut().find(|held| is_readdressed(held, record));
        let held = held.ok_or_else(|| {
            HomeError::refused(format!(
                "nobody signed the record of {}: without its custodians' signatures it may only say anew where custodians of a group of this fleet are reached; give the file that `seawall group finish` wrote",
                record.id
            ))
        })?;
        *held = EscrowGroupRecord { class_number: held.class_number, ..record.clone() };
    }
    Ok(())
}

/// Whether a record says of a group what is known of it, but for addresses and keys where there
/// were none.
fn is_readdressed(held: &EscrowGroupRecord, record: &EscrowGroupRecord) -> bool {
    let mut plain = EscrowGroupRecord { class_number: held.class_number, ..record.clone() };
    if plain.custodians.len() != held.custodians.len() {
        return false;
    }
    for (new, old) in plain.custodians.iter_mut().zip(&held.custodians) {
        new.endpoint.clone_from(&old.endpoint);
        if old.kem.is_none() {
            new.kem = None;
        }
    }
    plain == *held
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

/// What old root keys signed, and still holds, by digest. Statements that are signed anew all the
/// time (bundles) are not among them.
fn carry(
    home: &Home,
    fleet: &Fleet,
    next: &mut FleetPolicy,
    more: &[Envelope],
) -> Result<(), HomeError> {
    let mut all = enrol::issued(home, fleet)?;
    all.extend(operators::policy(home, fleet)?.map(|(_, statement)| statement));
    all.extend(deletion::to_carry(home, fleet)?);
    for statement in more {
        let known = fleet.open_root_signed::<seawall_record::Enrolment>("enrolment", statement);
        if known.is_err() {
            fleet.open_root_signed::<IndexPolicy>("statement to carry over", statement)?;
        }
        all.push(statement.clone());
    }
    next.carried.extend(all.iter().map(Envelope::digest));
    next.carried.sort();
    next.carried.dedup();
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
    let mut found = Vec::new();
    for statement in enrol::issued(home, &fleet)? {
        let it: seawall_record::Enrolment = fleet.open_root_signed("enrolment", &statement)?;
        if it.name == name || it.node().to_hex() == name {
            found.push(it.node());
        }
    }
    found.sort();
    found.dedup();
    match (found.as_slice(), NodeId::from_hex(name)) {
        ([one], _) => Ok(*one),
        ([], Ok(id)) => Ok(id),
        ([], Err(_)) => Err(HomeError::refused(format!(
            "no member {name:?} was enrolled from here; give its id (64 hex digits; seawall snapshot list --all shows nodes)"
        ))),
        _ => Err(HomeError::refused(format!("several members are called {name:?}; give the id"))),
    }
}

/// How many entries of a member's log are believed if it is revoked now: as many as any region
/// shows with good proofs. An error where a region cannot be asked, for too low a number would
/// disown good snapshots.
pub fn believed_entries(home: &Home, member: NodeId, epoch: u32) -> Result<u64, HomeError> {
    let fleet = home.fleet()?;
    let origin = Origin::of_node(fleet.id(), member, epoch);
    let (links, unreached) = RegionLink::all(home, &fleet)?;
    if let Some((name, e)) = unreached.first() {
        return Err(HomeError::refused(format!(
            "region {name} cannot say how many entries of the member's log there are ({e}); give the number yourself (--keep-entries)"
        )));
    }
    let mut most = 0;
    for link in &links {
        for log in pull_logs(home, &fleet, link)?.into_iter().flatten() {
            if log.origin == origin {
                most = most.max(log.state.entries());
            }
        }
    }
    Ok(most)
}
