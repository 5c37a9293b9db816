//! Deleting snapshots where others hold them: the quorum's statement, the fleet's rules for what
//! expires, and a region's word that something is gone.
//!
//! A [`Deletion`] is signed by custodians of each snapshot's escrow group, as many as the fleet's
//! policy says: those who together could open a snapshot may together destroy it, and nobody else.
//! A [`Retention`] is signed by the root keys and says which snapshots may expire once they are old
//! enough by witnessed time. Both name the version of the policy they are judged by, so that a log
//! is read alike for ever; whoever *acts* on one asks for the newest. Both stand in the node's log:
//! what is deleted stays visible as deleted, by whom and why.
//!
//! Rejected: root keys as a second quorum for single snapshots. Whoever has them sits where the
//! node is administered; custodians do not.

use std::collections::BTreeSet;

use seawall_base::{FleetId, GroupId, NodeId, Seconds, Sha256, Timestamp};
use seawall_policy::deletion::{Authority, Case, Rule, judge};
use seawall_policy::retention::Rules;
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{DeletionRule, FleetPolicy, Forgotten, Hex32, RecordError, check_text};

impl DeletionRule {
    /// The rule, for deciding.
    pub const fn rule(self) -> Rule {
        Rule { min_age: self.min_age, signers: self.custodians }
    }
}

/// The custodians say: delete these snapshots wherever they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// The fleet.
    pub fleet: FleetId,
    /// The node whose snapshots they are.
    pub node: NodeId,
    /// Origin line of the log in which this stands.
    pub origin: String,
    /// Which, by strictly ascending sequence number; of branches, those of the same number by
    /// ascending digest.
    pub snapshots: Vec<Forgotten>,
    /// Whether the newest of a set, and the last that a drill has proven, may be among them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub even_last: bool,
    /// Version of the fleet's policy by which its signers count.
    pub policy: u64,
    /// Why, for people.
    pub reason: String,
    /// Makes two statements about the same snapshots differ.
    pub nonce: Hex32,
    /// When it was proposed.
    pub created: Timestamp,
    /// Until when it may be acted on.
    pub expires: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_false(it: &bool) -> bool {
    !*it
}

impl Predicate for Deletion {
    const TYPE: &'static str = "urn:seawall:predicate:deletion:1";
}

const WHAT: &str = "deletion statement";

impl Deletion {
    /// Most snapshots in one statement: it has to fit a log entry with the signatures of all
    /// custodians.
    pub const MAX: usize = 128;
    /// Longest reason in bytes.
    pub const MAX_REASON: usize = 1_000;
    /// How long one may be signed and acted on.
    pub const MAX_VALIDITY: Seconds = Seconds::days(30);

    /// The statement for custodians to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("node", Sha256(self.node.0)), self)
    }

    /// Reads what an envelope claims, and its form; for showing it before it is signed.
    pub fn read_unverified(envelope: &Envelope) -> Result<Self, RecordError> {
        let it = Statement::<Self>::read_unverified(envelope)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        it.check_form()?;
        Ok(it)
    }

    fn check_form(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        check_text(WHAT, &self.reason, Self::MAX_REASON)?;
        if self.snapshots.is_empty() || self.snapshots.len() > Self::MAX {
            return refuse("names none, or more than 128 snapshots");
        }
        let place = |it: &Forgotten| (it.sequence, it.manifest);
        if !self.snapshots.is_sorted_by(|a, b| place(a) < place(b)) {
            return refuse("not in strictly ascending order");
        }
        let validity = self.expires.0.checked_sub(self.created.0);
        if validity.is_none_or(|it| it == 0 || it > Self::MAX_VALIDITY.0) {
            return refuse("is not valid for 1 second to 30 days");
        }
        Ok(())
    }

    /// Checks its form and that enough custodians of each of these escrow groups signed it, by a
    /// version of the fleet's policy. `last` says whether the newest or the last proven snapshot of
    /// a set is among those named.
    pub fn open(
        envelope: &Envelope,
        policy: &FleetPolicy,
        groups: &BTreeSet<GroupId>,
        last: bool,
    ) -> Result<Self, RecordError> {
        let it = Self::read_unverified(envelope)?;
        if it.fleet != policy.fleet {
            let (expected, found) = (policy.fleet, it.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        if it.policy != policy.version {
            let why = format!(
                "names version {} of the fleet's policy and is judged by {}",
                it.policy, policy.version
            );
            return Err(RecordError::refused(WHAT, why));
        }
        let rule = policy.deletion.map(DeletionRule::rule);
        let case = Case { age: None, last, even_last: it.even_last };
        if groups.is_empty() {
            return Err(RecordError::refused(WHAT, "no escrow group stands behind it"));
        }
        for id in groups {
            let group = policy.groups.iter().find(|g| g.id == *id);
            let group =
                group.ok_or_else(|| RecordError::refused(WHAT, format!("{id} is unknown")))?;
            let keys: Vec<_> = group.custodians.iter().map(|c| c.signing_key).collect();
            let signers = good_signers(envelope, &keys)?;
            judge(rule, Authority::Quorum(signers.len()), &case).map_err(|why| {
                let why = match why {
                    seawall_policy::deletion::Denied::TooFew { .. } => {
                        format!("{why}: custodians of class {:?}", group.class)
                    }
                    _ => why.to_string(),
                };
                RecordError::refused(WHAT, why)
            })?;
        }
        Ok(it)
    }

    /// Names of the custodians of `policy` that signed, each once. Signatures have been checked.
    pub fn signers(envelope: &Envelope, policy: &FleetPolicy) -> Vec<String> {
        let signed: BTreeSet<VerifyingKey> = envelope.signers().collect();
        let custodians = policy.groups.iter().flat_map(|g| &g.custodians);
        let named = custodians.filter(|c| signed.contains(&c.signing_key)).map(|c| c.name.clone());
        named.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Those of `keys` that signed. A wrong signature under one of them is an error: somebody made it
/// to deceive.
fn good_signers(
    envelope: &Envelope,
    keys: &[VerifyingKey],
) -> Result<BTreeSet<VerifyingKey>, RecordError> {
    let signers: BTreeSet<_> = envelope.signers().filter(|key| keys.contains(key)).collect();
    if !signers.is_empty() {
        envelope.verify(keys, signers.len()).map_err(RecordError::statement(WHAT))?;
    }
    Ok(signers)
}

/// The root keys say: of this node's snapshots regions keep these; the rest may expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The fleet.
    pub fleet: FleetId,
    /// The node whose snapshots they are.
    pub node: NodeId,
    /// Rises with each such statement; the highest holds.
    pub version: u64,
    /// What is kept.
    pub rules: Rules,
    /// Version of the fleet's policy whose root keys signed it.
    pub policy: u64,
    /// When it was made.
    pub created: Timestamp,
}

impl Predicate for Retention {
    const TYPE: &'static str = "urn:seawall:predicate:retention:1";
}

impl Retention {
    /// The statement for root keys to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("node", Sha256(self.node.0)), self)
    }

    /// Checks that the root keys of a version of the fleet's policy signed it, and its form.
    pub fn open(envelope: &Envelope, policy: &FleetPolicy) -> Result<Self, RecordError> {
        const WHAT: &str = "retention statement";
        let threshold = usize::from(policy.root_threshold);
        let it = Statement::<Self>::open(envelope, &policy.root_keys, threshold)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        it.rules.check().map_err(|e| RecordError::refused(WHAT, e.to_string()))?;
        if it.fleet != policy.fleet {
            let (expected, found) = (policy.fleet, it.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        if it.policy != policy.version || it.version == 0 {
            return Err(RecordError::refused(WHAT, "names another policy, or no version"));
        }
        Ok(it)
    }
}

/// A region says: I keep these snapshots no longer, because of that statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    /// The fleet.
    pub fleet: FleetId,
    /// The region.
    pub region: NodeId,
    /// Of the region's store.
    pub incarnation: Hex32,
    /// The log they stand in.
    pub origin: String,
    /// Digest of the [`Deletion`] or [`Retention`] in that log by which they went.
    pub under: Sha256,
    /// Which, ascending as in [`Deletion`].
    pub snapshots: Vec<Forgotten>,
    /// When the region said so.
    pub created: Timestamp,
}

impl Predicate for Deleted {
    const TYPE: &'static str = "urn:seawall:predicate:deleted:1";
}

impl Deleted {
    /// Most snapshots in one statement.
    pub const MAX: usize = 256;

    /// The statement for the region's identity key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("under", self.under), self)
    }

    /// Checks that the region with this identity key signed it.
    pub fn open(envelope: &Envelope, region: VerifyingKey) -> Result<Self, RecordError> {
        const WHAT: &str = "notice of deletion";
        let it = Statement::<Self>::open(envelope, &[region], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if it.region != region.node_id() {
            return Err(RecordError::refused(WHAT, "names another region than its signer"));
        }
        if it.snapshots.is_empty() || it.snapshots.len() > Self::MAX {
            return Err(RecordError::refused(WHAT, "names none, or more than 256 snapshots"));
        }
        Ok(it)
    }
}
