//! The genesis statement: root keys, escrow groups and witnesses of one fleet.
//!
//! Its payload's SHA-256 *is* the fleet id. Everything else is believed because a chain of
//! signatures leads to it, and it is believed because people hold its id on paper.

use std::collections::BTreeSet;

use seawall_base::{FleetId, GroupId, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Hex32, RecordError, check_text};

const WHAT: &str = "genesis statement";
const MAX_GROUPS: usize = 16;
const MAX_CUSTODIANS: usize = 64;

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
    /// How the key was made: `local` (one process) or, later, `distributed`.
    pub ceremony: String,
    /// The custodians, by ascending share index.
    pub custodians: Vec<CustodianRecord>,
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
}

impl Predicate for Genesis {
    const TYPE: &'static str = "urn:seawall:predicate:genesis:1";
}

/// A fleet whose genesis statement has been checked.
#[derive(Debug, Clone)]
pub struct Fleet {
    id: FleetId,
    genesis: Genesis,
    envelope: Envelope,
}

impl Fleet {
    /// The genesis statement's subject: the fleet's name under the hash of its root keys.
    pub fn subject(genesis: &Genesis) -> Subject {
        let keys = serde_json::to_vec(&genesis.root_keys).expect("keys serialise as text");
        Subject::sha256("fleet", seawall_base::Sha256::of(&keys))
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
        Ok(Self { id: FleetId(envelope.digest().0), genesis, envelope })
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

    /// The fleet's id.
    pub const fn id(&self) -> FleetId {
        self.id
    }

    /// What the statement says.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The statement as it was signed.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Opens a statement that k root keys must have signed.
    pub fn open_root_signed<P: Predicate>(
        &self,
        what: &'static str,
        envelope: &Envelope,
    ) -> Result<P, RecordError> {
        let threshold = usize::from(self.genesis.root_threshold);
        Statement::<P>::open(envelope, &self.genesis.root_keys, threshold)
            .map(|s| s.predicate)
            .map_err(RecordError::statement(what))
    }

    /// The escrow group with this id.
    pub fn group(&self, id: GroupId) -> Option<&EscrowGroupRecord> {
        self.genesis.groups.iter().find(|g| g.id == id)
    }

    /// The escrow group of a data class; the strictest for an unnamed one.
    pub fn group_of_class(&self, class: Option<&str>) -> Option<&EscrowGroupRecord> {
        match class {
            Some(class) => self.genesis.groups.iter().find(|g| g.class == class),
            None => self.genesis.groups.first(),
        }
    }
}

impl Genesis {
    fn check(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        check_text(WHAT, &self.fleet_name, 64)?;
        if self.policy_version == 0 {
            return refuse("policy versions count from 1");
        }
        let keys: BTreeSet<_> = self.root_keys.iter().collect();
        if keys.len() != self.root_keys.len() || keys.is_empty() || keys.len() > 16 {
            return refuse("a fleet has 1 to 16 distinct root keys");
        }
        if self.root_threshold == 0 || usize::from(self.root_threshold) > keys.len() {
            return refuse("the root threshold must be between 1 and the number of root keys");
        }
        if self.groups.is_empty() || self.groups.len() > MAX_GROUPS {
            return refuse("a fleet has 1 to 16 escrow groups");
        }
        for (i, group) in self.groups.iter().enumerate() {
            group.check()?;
            let clash = |g: &EscrowGroupRecord| {
                g.id == group.id || g.class == group.class || g.class_number == group.class_number
            };
            if self.groups[..i].iter().any(clash) {
                return refuse("two escrow groups share an id, a class or a class number");
            }
        }
        if self.witnesses.len() > 64 {
            return refuse("a fleet has at most 64 witnesses");
        }
        for witness in &self.witnesses {
            check_text(WHAT, &witness.operator, 64)?;
            check_text(WHAT, &witness.name, 128)?;
        }
        Ok(())
    }
}

impl EscrowGroupRecord {
    /// The custodian with this share index.
    pub fn custodian(&self, index: u16) -> Option<&CustodianRecord> {
        self.custodians.iter().find(|c| c.index == index)
    }

    fn check(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
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
        check_text(WHAT, &self.class, 64)?;
        check_text(WHAT, &self.ceremony, 32)?;
        self.custodians.iter().try_for_each(|c| check_text(WHAT, &c.name, 64))
    }
}
