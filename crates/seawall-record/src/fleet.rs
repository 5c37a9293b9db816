//! A fleet as its members know it: the genesis statement and the chain of policies since.
//!
//! The founding policy is the genesis statement itself, read as version 1 of a policy, so that
//! there is one place where keys, groups and witnesses are looked up, whatever changed since.
//! What root keys signed before they were replaced holds only where the newest policy carries it
//! over by digest: dates are what a thief of an old key would write.

use std::cmp::Reverse;

use seawall_base::{FleetId, GroupId, NodeId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};

use crate::fleet_policy::WHAT as POLICY;
use crate::{
    DeletionRule, EscrowGroupRecord, FleetPolicy, Genesis, RecordError, Revocation, WitnessRecord,
};

const WHAT: &str = "genesis statement";
/// Most policies since the founding: one a week for twenty years.
pub const MAX_POLICIES: usize = 1_024;

/// A fleet whose genesis statement and policies have been checked.
#[derive(Debug, Clone)]
pub struct Fleet {
    id: FleetId,
    genesis: Genesis,
    envelope: Envelope,
    policies: Vec<Envelope>,
    /// The newest policy; the founding one as long as there is no other.
    policy: FleetPolicy,
    /// The last version that changed an escrow group without its custodians' word, and the group:
    /// earlier programs made such policies.
    unproven: Option<(u64, GroupId)>,
}

/// What a reader trusts before it reads: a fleet id from paper, or all it has seen of the fleet.
#[derive(Debug, Clone, Copy)]
pub enum Pin<'a> {
    /// The id; any version of the fleet's policy will be believed.
    Id(FleetId),
    /// The fleet as known so far; nothing older will be believed.
    Known(&'a Fleet),
}

impl From<FleetId> for Pin<'_> {
    fn from(id: FleetId) -> Self {
        Self::Id(id)
    }
}

impl<'a> From<&'a Fleet> for Pin<'a> {
    fn from(fleet: &'a Fleet) -> Self {
        Self::Known(fleet)
    }
}

impl Fleet {
    /// The genesis statement's subject: the fleet's name under the hash of its root keys.
    pub fn subject(genesis: &Genesis) -> Subject {
        let keys = serde_json::to_vec(&genesis.root_keys).expect("keys serialise as text");
        Subject::sha256("fleet", Sha256::of(&keys))
    }

    /// Checks a genesis statement against itself: signed by its own root keys, well formed.
    ///
    /// This proves nothing about *which* fleet it is; compare [`Fleet::id`] with a pinned one or
    /// use [`Fleet::open_pinned`].
    pub fn open(envelope: Envelope) -> Result<Self, RecordError> {
        let claimed = Statement::<Genesis>::read_unverified(&envelope)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        claimed.check()?;
        let genesis = Statement::<Genesis>::open(
            &envelope,
            &claimed.root_keys,
            usize::from(claimed.root_threshold),
        )
        .map_err(RecordError::statement(WHAT))?
        .predicate;
        let id = FleetId(envelope.digest().0);
        let policy = founding_policy(id, &envelope, &genesis);
        Ok(Self { id, genesis, envelope, policies: Vec::new(), policy, unproven: None })
    }

    /// Checks a genesis statement and that it is the one of the fleet `pinned`.
    pub fn open_pinned(envelope: Envelope, pinned: FleetId) -> Result<Self, RecordError> {
        let fleet = Self::open(envelope)?;
        if fleet.id != pinned {
            let (expected, found) = (pinned, fleet.id);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        Ok(fleet)
    }

    /// Checks a genesis statement with the policies since, in order, against what is known.
    /// Where more is known than is shown, what is known holds.
    pub fn open_chain<'p>(
        genesis: Envelope,
        policies: Vec<Envelope>,
        pin: impl Into<Pin<'p>>,
    ) -> Result<Self, RecordError> {
        let pin = pin.into();
        let id = match pin {
            Pin::Id(id) => id,
            Pin::Known(fleet) => fleet.id,
        };
        let shown = Self::open_pinned(genesis, id)?.advance_all(policies)?;
        match pin {
            Pin::Id(_) => Ok(shown),
            Pin::Known(known) => known.newest(shown),
        }
    }

    /// The fleet after its next policy.
    pub fn advance(self, envelope: Envelope) -> Result<Self, RecordError> {
        let known = self.version();
        self.follow(envelope)?.proven_since(known)
    }

    /// Whether a policy could come next, leaving aside who has signed it.
    pub fn check_next(&self, policy: &FleetPolicy) -> Result<(), RecordError> {
        policy.check_follows(&self.policy)?;
        match policy.check_changes(&self.policy)? {
            None => Ok(()),
            Some(group) => Err(without_word(policy.version, group)),
        }
    }

    /// Refuses a fleet in which a group was changed without its custodians' word after `known`.
    fn proven_since(self, known: u64) -> Result<Self, RecordError> {
        match self.unproven {
            Some((version, group)) if version > known => Err(without_word(version, group)),
            _ => Ok(self),
        }
    }

    /// As [`Fleet::advance`], for policies that were believed before, or by somebody who knows
    /// nothing later: those of earlier programs may change a group without its custodians' word.
    fn follow(mut self, envelope: Envelope) -> Result<Self, RecordError> {
        let claimed = FleetPolicy::read_unverified(&envelope)?;
        if claimed.fleet != self.id {
            let (expected, found) = (self.id, claimed.fleet);
            return Err(RecordError::OtherFleet { what: POLICY, expected, found });
        }
        claimed.check_follows(&self.policy)?;
        if claimed.previous != self.policy_digest() {
            let why = format!(
                "version {} does not follow the one known here: the fleet's policy was forked",
                claimed.version
            );
            return Err(RecordError::refused(POLICY, why));
        }
        if self.policies.len() == MAX_POLICIES {
            return Err(RecordError::refused(POLICY, "the fleet has had too many"));
        }
        for (keys, threshold) in [
            (&self.policy.root_keys, self.policy.root_threshold),
            (&claimed.root_keys, claimed.root_threshold),
        ] {
            envelope
                .verify(keys, usize::from(threshold))
                .map_err(RecordError::statement(POLICY))?;
        }
        if let Some(group) = claimed.check_changes(&self.policy)? {
            self.unproven = Some((claimed.version, group));
        }
        self.policies.push(envelope);
        self.policy = claimed;
        Ok(self)
    }

    /// The fleet after these policies, in order, for whoever believed them before or knows no
    /// more than the fleet's id. Who knows more has [`Fleet::newest`] compare.
    pub fn advance_all(self, policies: Vec<Envelope>) -> Result<Self, RecordError> {
        policies.into_iter().try_fold(self, Self::follow)
    }

    /// Whichever of two views of one fleet has seen more; an error if they cannot both be true,
    /// or if the other got further by changing a group without its custodians' word.
    pub fn newest(&self, other: Self) -> Result<Self, RecordError> {
        if self.id != other.id {
            let (expected, found) = (self.id, other.id);
            return Err(RecordError::OtherFleet { what: POLICY, expected, found });
        }
        let both = self.policies.iter().zip(&other.policies);
        if let Some(at) = both.into_iter().position(|(a, b)| a.digest() != b.digest()) {
            let version = self.genesis.policy_version.saturating_add(1 + at as u64);
            let why = format!(
                "there are two of version {version}, both signed by the root keys: find out who holds them before going on"
            );
            return Err(RecordError::refused(POLICY, why));
        }
        if other.policies.len() > self.policies.len() {
            return other.proven_since(self.version());
        }
        Ok(self.clone())
    }

    /// The fleet's id.
    pub const fn id(&self) -> FleetId {
        self.id
    }

    /// What the fleet was founded with. For what holds today, ask the fleet itself.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis statement as it was signed.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The policies since the founding, as they were signed, in order.
    pub fn policies(&self) -> &[Envelope] {
        &self.policies
    }

    /// The policy that holds, as far as is known here.
    pub const fn policy(&self) -> &FleetPolicy {
        &self.policy
    }

    /// The policy of a version, as its root keys signed it; none that is not known here.
    pub fn policy_of(&self, version: u64) -> Option<FleetPolicy> {
        let since = version.checked_sub(self.genesis.policy_version)?;
        let Some(at) = since.checked_sub(1) else {
            return Some(founding_policy(self.id, &self.envelope, &self.genesis));
        };
        let envelope = self.policies.get(usize::try_from(at).ok()?)?;
        // It was checked when the chain was.
        FleetPolicy::read_unverified(envelope).ok()
    }

    /// Version of the policy that holds.
    pub const fn version(&self) -> u64 {
        self.policy.version
    }

    /// Digest of the statement with the policy that holds; the next policy names it.
    pub fn policy_digest(&self) -> Sha256 {
        self.policies.last().unwrap_or(&self.envelope).digest()
    }

    /// Keys that enrol members and change policy.
    pub fn root_keys(&self) -> &[VerifyingKey] {
        &self.policy.root_keys
    }

    /// How many of them have to sign.
    pub const fn root_threshold(&self) -> u16 {
        self.policy.root_threshold
    }

    /// All escrow groups, retired ones among them.
    pub fn groups(&self) -> &[EscrowGroupRecord] {
        &self.policy.groups
    }

    /// Log witnesses, counted by operator.
    pub fn witnesses(&self) -> &[WitnessRecord] {
        &self.policy.witnesses
    }

    /// When anything may be deleted outside a node; never, if the fleet does not say.
    pub const fn deletion(&self) -> Option<DeletionRule> {
        self.policy.deletion
    }

    /// The revocation that covers a member in this epoch, if there is one.
    pub fn revocation(&self, member: NodeId, epoch: u32) -> Option<&Revocation> {
        self.policy.revoked.iter().find(|r| r.member == member && epoch <= r.epoch)
    }

    /// How many entries of a member's log are believed, by the last epoch of that log; all of them
    /// where no revocation covers it. A later epoch's log was continued by the root keys: there
    /// their statement decides what is believed of the epochs before.
    pub fn believed_entries(&self, member: NodeId, epoch: u32) -> Option<u64> {
        self.revocation(member, epoch)?.believed(epoch)
    }

    /// Whether a member was revoked in this epoch.
    pub fn is_revoked(&self, member: NodeId, epoch: u32) -> bool {
        self.revocation(member, epoch).is_some()
    }

    /// Opens a statement that k root keys must have signed: today's, or earlier ones where the
    /// policy carries the statement over.
    pub fn open_root_signed<P: Predicate>(
        &self,
        what: &'static str,
        envelope: &Envelope,
    ) -> Result<P, RecordError> {
        let open = |policy: &FleetPolicy| {
            let threshold = usize::from(policy.root_threshold);
            Statement::<P>::open(envelope, &policy.root_keys, threshold)
                .map(|s| s.predicate)
                .map_err(RecordError::statement(what))
        };
        let newest = open(&self.policy);
        if newest.is_ok() || self.policy.carried.binary_search(&envelope.digest()).is_err() {
            return newest;
        }
        // Today's root keys have signed for its digest; the signature says which type it is.
        Statement::<P>::read_unverified(envelope)
            .map(|s| s.predicate)
            .map_err(RecordError::statement(what))
    }

    /// How many of today's root keys have signed a statement, and how many have to.
    pub fn root_signatures(&self, statement: &Envelope) -> (usize, usize) {
        let good = |key: &&VerifyingKey| statement.verify(&[**key], 1).is_ok();
        (self.root_keys().iter().filter(good).count(), usize::from(self.root_threshold()))
    }

    /// Whether the root keys of any version signed a statement. Whether it still holds the newest
    /// policy says.
    pub fn was_root_signed(&self, statement: &Envelope) -> bool {
        let founding = founding_policy(self.id, &self.envelope, &self.genesis);
        // They were checked when the chain was.
        let since = self.policies.iter().filter_map(|it| FleetPolicy::read_unverified(it).ok());
        std::iter::once(founding).chain(since).any(|policy| policy.upholds(statement))
    }

    /// The escrow group with this id.
    pub fn group(&self, id: GroupId) -> Option<&EscrowGroupRecord> {
        self.groups().iter().find(|g| g.id == id)
    }

    /// What the fleet has said of an escrow group, and since when: from the founding on, one
    /// record for each policy that had the group, oldest first.
    pub fn group_history(&self, id: GroupId) -> Vec<(Timestamp, EscrowGroupRecord)> {
        let founding = (self.genesis.created, self.genesis.groups.clone());
        let later = self.policies.iter().filter_map(|envelope| {
            let policy = FleetPolicy::read_unverified(envelope).ok()?;
            Some((policy.created, policy.groups))
        });
        let of_group = |(since, groups): (Timestamp, Vec<EscrowGroupRecord>)| {
            groups.into_iter().find(|group| group.id == id).map(|group| (since, group))
        };
        std::iter::once(founding).chain(later).filter_map(of_group).collect()
    }

    /// The escrow group that takes new snapshots of a data class; the strictest for an unnamed
    /// one: that which needs the most custodians, and of those that of the class with the lowest
    /// number. A class keeps its number when it is given a new group, so nothing moves by that.
    pub fn group_of_class(&self, class: Option<&str>) -> Option<&EscrowGroupRecord> {
        let mut active = self.groups().iter().filter(|g| !g.retired);
        match class {
            Some(class) => active.find(|g| g.class == class),
            None => active.max_by_key(|g| (g.threshold, Reverse(g.class_number))),
        }
    }
}

fn without_word(version: u64, group: GroupId) -> RecordError {
    let why = format!(
        "version {version} changes {group} without the word of its custodians: a ceremony's group file has it (seawall fleet policy propose --group); if nobody you know proposed this, root keys are in other hands"
    );
    RecordError::refused(POLICY, why)
}

/// The genesis statement, read as the first policy.
fn founding_policy(fleet: FleetId, envelope: &Envelope, genesis: &Genesis) -> FleetPolicy {
    FleetPolicy {
        fleet,
        version: genesis.policy_version,
        previous: envelope.digest(),
        root_keys: genesis.root_keys.clone(),
        root_threshold: genesis.root_threshold,
        carried: Vec::new(),
        groups: genesis.groups.clone(),
        changes: Vec::new(),
        witnesses: genesis.witnesses.clone(),
        witness_quorum: None,
        deletion: None,
        revoked: Vec::new(),
        created: genesis.created,
    }
}
