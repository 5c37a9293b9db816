//! What changes in a fleet after its founding: root keys, groups, witnesses, rules, revocations.
//!
//! Each policy is whole and names the one before, so that reading the newest is enough to act and
//! reading the chain is enough to believe it. It is signed by the root keys of the policy before,
//! and by its own where they differ: nobody can be handed a fleet whose new keys never agreed.
//!
//! Invariants, from one policy to the next: the version rises by one; no escrow group disappears
//! or changes its key (what was sealed to it must open), and no share epoch falls; a revocation
//! stays. Who a group's custodians are, and under which sharing, changes with their own word only
//! ([`GroupChange`]): root keys cannot make anyone believe that nobody holds the shares any more.
//! Whoever has seen a version takes no lower one, and no other of the same version.
//!
//! Earlier versions of this program changed groups without that word. Such a policy is read by
//! whoever believed it then, or knows no more of the fleet than its id; nobody else takes one.
//!
//! Rejected: single changes as statements of their own (a reader would have to hold all of them
//! to know what holds), and expiry of policies (a site that is cut off for months must go on).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use seawall_base::{FleetId, GroupId, NodeId, Seconds, Sha256, Timestamp};
use seawall_policy::witness::Quorum;
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::genesis::{check_groups, check_roots, check_witnesses};
use crate::group_change::same_sharing;
use crate::{
    EscrowGroupRecord, GroupChange, RecordError, WitnessRecord, check_key_name, check_text,
};

pub(crate) const WHAT: &str = "fleet policy";
/// Most earlier statements that a policy carries over to new root keys.
const MAX_CARRIED: usize = 256;
/// Most members that can be revoked.
const MAX_REVOKED: usize = 256;
/// Most earlier epochs' logs that one revocation names.
const MAX_EARLIER: usize = 256;

/// One version of a fleet's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetPolicy {
    /// The fleet.
    pub fleet: FleetId,
    /// One above the version before; the genesis statement has the first.
    pub version: u64,
    /// Digest of the policy before, or of the genesis statement.
    pub previous: Sha256,
    /// Keys that enrol members and change policy.
    pub root_keys: Vec<VerifyingKey>,
    /// How many of them have to sign.
    pub root_threshold: u16,
    /// Statements signed under earlier root keys that still hold, by digest, ascending. Empty as
    /// long as the root keys are the founding ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Sha256>,
    /// Every escrow group the fleet ever had. The first that is not retired takes unnamed sets.
    pub groups: Vec<EscrowGroupRecord>,
    /// The word of custodians for what this policy changes of a group that was there before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<GroupChange>,
    /// Log witnesses, counted by operator.
    pub witnesses: Vec<WitnessRecord>,
    /// How many operators must have cosigned what is believed to be fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_quorum: Option<WitnessQuorum>,
    /// When anything may be deleted outside a node; never, where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionRule>,
    /// Members that are none any more, ascending by member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<Revocation>,
    /// When it was made.
    pub created: Timestamp,
}

/// How many witness operators it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessQuorum {
    /// Operators that must have cosigned.
    pub quorum: u16,
    /// Operators of which it is assumed that they may lie together.
    pub faulty: u16,
}

impl WitnessQuorum {
    /// Whether any two quorums of `operators` witnesses share an honest one: `q > (W + f) / 2`.
    pub const fn intersects(self, operators: usize) -> bool {
        2 * self.quorum as usize > operators + self.faulty as usize
            && self.quorum as usize <= operators
    }
}

/// When regions may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletionRule {
    /// Age by witnessed time below which only a quorum statement deletes.
    pub min_age: Seconds,
    /// Custodians of the snapshot's escrow group that such a statement needs.
    pub custodians: u16,
}

/// A member whose keys are not trusted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The member.
    pub member: NodeId,
    /// The last epoch that is revoked; an enrolment with a higher one counts.
    pub epoch: u32,
    /// Entries of its log in that epoch that are believed; nothing behind them is, and of logs of
    /// earlier epochs only what `earlier` says. Sizes are witnessed, times are what the member's own
    /// clock claimed.
    pub log_size: u64,
    /// Why, for people.
    pub reason: String,
    /// When it was noticed.
    pub since: Timestamp,
    /// How much is believed of its logs of earlier epochs, ascending by epoch; nothing of those
    /// that are not named. Whoever stole its keys can write on in them, too. What was good of them
    /// stands in the later log, but a tier may have only the earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierLog>,
}

/// A revoked member's log of an epoch before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierLog {
    /// The epoch.
    pub epoch: u32,
    /// Entries of it that are believed.
    pub log_size: u64,
}

impl Revocation {
    /// Entries that are believed of its log whose last epoch is `epoch`: all, if that is a later one
    /// than those revoked.
    pub fn believed(&self, epoch: u32) -> Option<u64> {
        match epoch.cmp(&self.epoch) {
            Ordering::Greater => None,
            Ordering::Equal => Some(self.log_size),
            Ordering::Less => {
                let named = self.earlier.iter().find(|it| it.epoch == epoch);
                Some(named.map_or(0, |it| it.log_size))
            }
        }
    }

    fn check_form(&self) -> Result<(), RecordError> {
        let sorted = self.earlier.is_sorted_by(|a, b| a.epoch < b.epoch);
        let below = self.earlier.iter().all(|it| it.epoch < self.epoch);
        if !sorted || !below || self.earlier.len() > MAX_EARLIER {
            let why =
                "a revocation names earlier epochs' logs out of order, later ones, or too many";
            return Err(RecordError::refused(WHAT, why));
        }
        check_text(WHAT, &self.reason, 1_000)
    }

    /// Whether it revokes all that `old` does. A log that nobody had named may be named: it turned
    /// up later.
    fn keeps(&self, old: &Self) -> bool {
        let no_more = |epoch: u32| self.believed(epoch) <= old.believed(epoch);
        self.member == old.member
            && self.epoch >= old.epoch
            && no_more(old.epoch)
            && old.earlier.iter().all(|it| no_more(it.epoch))
    }
}

impl Predicate for FleetPolicy {
    const TYPE: &'static str = "urn:seawall:predicate:fleet-policy:1";
}

impl FleetPolicy {
    /// Its witnesses: operator, name in cosignatures, key.
    pub fn cosigners(&self) -> impl Iterator<Item = (&str, &str, VerifyingKey)> {
        self.witnesses.iter().map(|it| (it.operator.as_str(), it.name.as_str(), it.key))
    }

    /// Its quorum of witnesses, if it demands one. A policy whose quorums could miss each other is
    /// refused before anybody believes it, so there is none here.
    pub fn quorum(&self) -> Option<Quorum> {
        let rule = self.witness_quorum?;
        Quorum::new(self.cosigners().map(|it| it.0), rule.quorum, rule.faulty).ok()
    }

    /// The statement for root keys to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("fleet", Sha256(self.fleet.0)), self)
    }

    /// Reads what an envelope claims, and its form; for showing it before it is signed.
    pub fn read_unverified(envelope: &Envelope) -> Result<Self, RecordError> {
        let it = Statement::<Self>::read_unverified(envelope)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        it.check_form()?;
        Ok(it)
    }

    pub(crate) fn check_form(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        check_roots(WHAT, &self.root_keys, self.root_threshold)?;
        check_groups(WHAT, &self.groups)?;
        check_witnesses(WHAT, &self.witnesses)?;
        self.changes.iter().try_for_each(GroupChange::check_form)?;
        let changed: BTreeSet<_> = self.changes.iter().map(|c| c.group).collect();
        if changed.len() != self.changes.len() {
            return refuse("it shows two changes of one escrow group");
        }
        if self.carried.len() > MAX_CARRIED || !self.carried.is_sorted_by(|a, b| a < b) {
            return refuse("it carries more than 256 statements over, or out of order");
        }
        let operators: BTreeSet<_> = self.witnesses.iter().map(|w| &w.operator).collect();
        if self.witness_quorum.is_some_and(|q| !q.intersects(operators.len())) {
            return refuse(
                "two witness quorums could miss each other: quorum q of W operators with f faulty needs q > (W + f) / 2",
            );
        }
        if self.deletion.is_some_and(|d| d.custodians == 0) {
            return refuse("a deletion needs at least one custodian");
        }
        if self.revoked.len() > MAX_REVOKED
            || !self.revoked.is_sorted_by(|a, b| a.member < b.member)
        {
            return refuse("it revokes more than 256 members, or out of order");
        }
        self.revoked.iter().try_for_each(Revocation::check_form)
    }

    /// Whether a statement counts as signed by root keys under this policy: by its own, or by
    /// earlier ones and carried over.
    pub fn upholds(&self, statement: &Envelope) -> bool {
        let own = |key: VerifyingKey| self.root_keys.contains(&key);
        let threshold = usize::from(self.root_threshold);
        (statement.signers().any(own) && statement.verify(&self.root_keys, threshold).is_ok())
            || self.carried.contains(&statement.digest())
    }

    /// Refuses what would be legal and is surely a mistake, for those who make a policy: a witness
    /// that is not of `before` and has a name under which it can cosign nothing. Readers take it,
    /// as they always have, and count that witness for nothing.
    pub fn check_new_witnesses(&self, before: &[WitnessRecord]) -> Result<(), RecordError> {
        let new = self.witnesses.iter().filter(|it| !before.contains(it));
        new.into_iter().try_for_each(|it| check_key_name(WHAT, &it.name, 128))
    }

    /// Whether it may follow `before`, leaving signatures aside.
    pub(crate) fn check_follows(&self, before: &Self) -> Result<(), RecordError> {
        let refuse = |why: String| Err(RecordError::refused(WHAT, why));
        let Some(next) = before.version.checked_add(1) else {
            return refuse(format!("no version follows {}", before.version));
        };
        if self.version != next {
            return refuse(format!("version {} where {next} must follow", self.version));
        }
        for old in &before.groups {
            let Some(new) = self.groups.iter().find(|g| g.id == old.id) else {
                return refuse(format!("{} is missing: what was sealed to it must open", old.id));
            };
            if (new.key, &new.class, new.class_number) != (old.key, &old.class, old.class_number) {
                return refuse(format!("{} has another key or class: it was swapped", old.id));
            }
            if new.share_epoch < old.share_epoch || (old.retired && !new.retired) {
                return refuse(format!("{} goes back to an earlier sharing", old.id));
            }
            let places = |g: &EscrowGroupRecord| -> Vec<_> {
                g.custodians.iter().map(|c| (c.index, c.share)).collect()
            };
            let same = new.threshold == old.threshold && places(new) == places(old);
            if new.share_epoch == old.share_epoch && !same {
                return refuse(format!("{} has other shares in the same share epoch", old.id));
            }
        }
        for old in &before.revoked {
            if !self.revoked.iter().any(|new| new.keeps(old)) {
                return refuse(format!("the revocation of {} is taken back", old.member));
            }
        }
        Ok(())
    }

    /// The word shown for what it changes of groups: what is shown must hold.
    ///
    /// Returns the first group that it changes without anybody's word.
    pub(crate) fn check_changes(&self, before: &Self) -> Result<Option<GroupId>, RecordError> {
        let mut without = None;
        let mut shown = self.changes.len();
        for old in &before.groups {
            let Some(new) = self.groups.iter().find(|g| g.id == old.id) else { continue };
            let change = self.changes.iter().find(|c| c.group == old.id);
            let Some(change) = change else {
                if !same_sharing(old, new) {
                    without = without.or(Some(old.id));
                }
                continue;
            };
            let next = old.share_epoch.checked_add(1) == Some(new.share_epoch);
            if !next && new.share_epoch != old.share_epoch {
                let why = format!(
                    "{} goes from share epoch {} to {}: sharings follow one another",
                    old.id, old.share_epoch, new.share_epoch
                );
                return Err(RecordError::refused(WHAT, why));
            }
            change.check(old, new)?;
            shown -= 1;
        }
        if shown > 0 {
            return Err(RecordError::refused(WHAT, "shows a change of a group that is new"));
        }
        Ok(without)
    }
}
