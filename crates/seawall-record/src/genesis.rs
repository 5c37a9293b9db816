//! The genesis statement: root keys, escrow groups and witnesses with which a fleet begins.
//!
//! Its payload's SHA-256 *is* the fleet id. Everything else is believed because a chain of
//! signatures leads to it, and it is believed because people hold its id on paper. What changes
//! later is said by policies (`fleet_policy`), which name the same kinds of records.

use std::collections::BTreeSet;

use seawall_base::{GroupId, Sha256, Timestamp};
use seawall_sign::{Predicate, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Base64, Hex32, RecordError, check_text};

const WHAT: &str = "genesis statement";
/// Most escrow groups of a fleet that take new snapshots; retired ones count too.
pub(crate) const MAX_GROUPS: usize = 16;
/// Length of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
const KEM_KEY: usize = 1_184;
const MAX_CUSTODIANS: usize = 64;
/// Most custodians of a group of suite 2: their shares travel in each manifest.
const MAX_POST_QUANTUM: usize = 16;

/// What a group's record says if its capsules have a post-quantum half. That half's own versions
/// are told by the capsules (`seawall-escrow`).
pub const SUITE_PQ: u8 = 2;

/// What a fleet begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Version of the fleet policy this statement carries; later versions name their predecessor.
    pub policy_version: u64,
    /// A name for people; it decides nothing.
    pub fleet_name: String,
    /// Keys that enrol members and change policy.
    pub root_keys: Vec<VerifyingKey>,
    /// How many of them have to sign.
    pub root_threshold: u16,
    /// Escrow groups, one per data class. The first is the strictest and takes unnamed sets.
    pub groups: Vec<EscrowGroupRecord>,
    /// Log witnesses, counted by operator.
    pub witnesses: Vec<WitnessRecord>,
    /// When the fleet was founded.
    pub created: Timestamp,
    /// Makes two fleets with the same keys differ.
    pub nonce: Hex32,
}

/// The public side of one escrow group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscrowGroupRecord {
    /// Hash of group key and class (`seawall-escrow`).
    pub id: GroupId,
    /// Name of the data class.
    pub class: String,
    /// Number of the data class inside sealed objects.
    pub class_number: u8,
    /// Custodians needed to open a snapshot.
    pub threshold: u16,
    /// The group key: a compressed ristretto255 point.
    pub key: Hex32,
    /// How the key was made: `local` (one process) or `distributed` (between the custodians).
    pub ceremony: String,
    /// How often the shares were refreshed or shared anew; partials of two epochs do not combine.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub share_epoch: u32,
    /// 2 if its capsules have a post-quantum half, which needs an ML-KEM-768 key of every
    /// custodian; absent for suite 1. Records from before suite 2 may have such keys and no suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<u8>,
    /// Opens what was sealed to it and takes no new snapshots.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retired: bool,
    /// The custodians, by ascending share index.
    pub custodians: Vec<CustodianRecord>,
}

const fn is_zero(epoch: &u32) -> bool {
    *epoch == 0
}

pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Where a custodian or a witness is reached: an address is a hint, the key is what is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `HOST:PORT` of its TLS endpoint.
    pub address: String,
    /// Key of that endpoint, pinned (RFC 7250 raw public key).
    pub transport: VerifyingKey,
}

/// One custodian of an escrow group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodianRecord {
    /// Share index, from 1.
    pub index: u16,
    /// A name for people.
    pub name: String,
    /// Signs approvals. Never the escrow share itself.
    pub signing_key: VerifyingKey,
    /// Verification share: a compressed ristretto255 point.
    pub share: Hex32,
    /// ML-KEM-768 encapsulation key (FIPS 203) of the post-quantum half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kem: Option<Base64>,
    /// Where its daemon answers, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
}

/// A log witness. Several keys of one operator count once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessRecord {
    /// Who runs it.
    pub operator: String,
    /// The name in its cosignatures.
    pub name: String,
    /// Its cosignature key.
    pub key: VerifyingKey,
    /// Where it is reached, if it is no region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
}

impl Predicate for Genesis {
    const TYPE: &'static str = "urn:seawall:predicate:genesis:1";
}

impl Genesis {
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        check_text(WHAT, &self.fleet_name, 64)?;
        if self.policy_version == 0 {
            return Err(RecordError::refused(WHAT, "policy versions count from 1"));
        }
        check_roots(WHAT, &self.root_keys, self.root_threshold)?;
        check_groups(WHAT, &self.groups)?;
        check_witnesses(WHAT, &self.witnesses)
    }
}

/// 1 to 16 distinct keys, and a threshold they can reach.
pub(crate) fn check_roots(
    what: &'static str,
    keys: &[VerifyingKey],
    threshold: u16,
) -> Result<(), RecordError> {
    let distinct: BTreeSet<_> = keys.iter().collect();
    if distinct.len() != keys.len() || keys.is_empty() || keys.len() > 16 {
        return Err(RecordError::refused(what, "a fleet has 1 to 16 distinct root keys"));
    }
    if threshold == 0 || usize::from(threshold) > keys.len() {
        let why = "the root threshold must be between 1 and the number of root keys";
        return Err(RecordError::refused(what, why));
    }
    Ok(())
}

/// Every group by itself, and no two that a manifest could confuse. Retired groups may share
/// class and number with the one that followed them.
pub(crate) fn check_groups(
    what: &'static str,
    groups: &[EscrowGroupRecord],
) -> Result<(), RecordError> {
    if groups.is_empty() || groups.len() > MAX_GROUPS {
        return Err(RecordError::refused(what, "a fleet has 1 to 16 escrow groups"));
    }
    if groups.iter().all(|g| g.retired) {
        return Err(RecordError::refused(what, "every escrow group is retired"));
    }
    for (i, group) in groups.iter().enumerate() {
        group.check(what)?;
        for other in &groups[..i] {
            let (class, number) =
                (other.class == group.class, other.class_number == group.class_number);
            let both_active = !other.retired && !group.retired;
            if other.id == group.id || class != number || (class && both_active) {
                let why = "two escrow groups share an id, a class or a class number";
                return Err(RecordError::refused(what, why));
            }
        }
    }
    Ok(())
}

/// At most 64, each with a name and a key of its own.
pub(crate) fn check_witnesses(
    what: &'static str,
    witnesses: &[WitnessRecord],
) -> Result<(), RecordError> {
    if witnesses.len() > 64 {
        return Err(RecordError::refused(what, "a fleet has at most 64 witnesses"));
    }
    for witness in witnesses {
        witness.key.require_ed25519().map_err(RecordError::statement(what))?;
        check_text(what, &witness.operator, 64)?;
        check_text(what, &witness.name, 128)?;
        witness.endpoint.iter().try_for_each(|e| e.check(what))?;
    }
    let keys: BTreeSet<_> = witnesses.iter().map(|w| w.key).collect();
    if keys.len() != witnesses.len() {
        return Err(RecordError::refused(what, "two witnesses share a key"));
    }
    Ok(())
}

impl Endpoint {
    fn check(&self, what: &'static str) -> Result<(), RecordError> {
        check_text(what, &self.address, 256)
    }
}

impl EscrowGroupRecord {
    /// The number of a data class among a fleet's groups; that of a class without a group is the
    /// first that no other has.
    pub fn number_of_class(groups: &[Self], class: &str) -> u8 {
        let used = |n: &u8| groups.iter().any(|g| g.class_number == *n);
        let of_class = groups.iter().find(|g| g.class == class).map(|g| g.class_number);
        // 255 classes are more than the 16 groups a fleet may have.
        of_class.unwrap_or_else(|| (1..=u8::MAX).find(|n| !used(n)).unwrap_or(u8::MAX))
    }

    /// The custodian with this share index.
    pub fn custodian(&self, index: u16) -> Option<&CustodianRecord> {
        self.custodians.iter().find(|c| c.index == index)
    }

    /// SHA-256 of the record's JSON without white space: by it what custodians decide about a
    /// group says what they started from.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&serde_json::to_vec(self).expect("text always serialises"))
    }

    /// Checks a record that is in no fleet yet.
    pub fn check_form(&self) -> Result<(), RecordError> {
        self.check("escrow group")
    }

    fn check(&self, what: &'static str) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(what, why));
        let n = self.custodians.len();
        if n == 0 || n > MAX_CUSTODIANS {
            return refuse("an escrow group has 1 to 64 custodians");
        }
        if self.threshold == 0 || usize::from(self.threshold) > n {
            return refuse("a threshold must be between 1 and the number of custodians");
        }
        if self.custodians[0].index == 0
            || self.custodians.windows(2).any(|w| w[0].index >= w[1].index)
        {
            return refuse("custodians are listed by ascending index from 1");
        }
        let keys: BTreeSet<_> = self.custodians.iter().map(|c| c.signing_key).collect();
        if keys.len() != n {
            return refuse("two custodians share a signing key");
        }
        if self.class_number == 0 {
            return refuse("class numbers count from 1");
        }
        let kem: Vec<_> = self.custodians.iter().filter_map(|c| c.kem.as_ref()).collect();
        if !kem.is_empty() && kem.len() != n {
            return refuse("all custodians of a group have an ML-KEM-768 key, or none has");
        }
        let distinct: BTreeSet<_> = kem.iter().map(|k| &k.0).collect();
        if distinct.len() != kem.len() || kem.iter().any(|k| k.0.len() != KEM_KEY) {
            return refuse("ML-KEM-768 keys are distinct, of 1184 bytes each");
        }
        match self.suite {
            None => {}
            Some(SUITE_PQ) if kem.len() == n && n <= MAX_POST_QUANTUM => {}
            Some(SUITE_PQ) => {
                return refuse("suite 2 is for 1 to 16 custodians, each with an ML-KEM-768 key");
            }
            Some(_) => {
                return refuse("it demands a suite that this version does not know; upgrade");
            }
        }
        check_text(what, &self.class, 64)?;
        check_text(what, &self.ceremony, 32)?;
        self.custodians.iter().try_for_each(|c| {
            check_text(what, &c.name, 64)?;
            c.endpoint.iter().try_for_each(|e| e.check(what))
        })
    }
}
