//! Who may read path indexes, and of which data classes they are written at all.
//!
//! A path index shows names, sizes and times without a quorum, so that it exists is a decision of
//! the fleet's root keys and not of a node: a node seals the beginning of each index to exactly
//! the operators of the newest policy it has seen. Without a policy there are no indexes. A
//! policy of an earlier version is not taken, so an operator who was removed does not come back.

use std::collections::BTreeSet;

use seawall_base::{FleetId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject};
use serde::{Deserialize, Serialize};

use crate::bundle::parse;
use crate::{Base64, Fleet, Hex32, RecordError, check_text};

const WHAT: &str = "index policy";
/// Most operators who may read indexes.
pub const MAX_OPERATORS: usize = 16;

/// The fleet's root keys say: path indexes of these classes, sealed to these operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexPolicy {
    /// The fleet.
    pub fleet: FleetId,
    /// The tenant whose nodes it is for.
    pub tenant: String,
    /// Rises with each policy.
    pub version: u64,
    /// Data classes whose snapshots get an index, ascending by name.
    pub classes: Vec<String>,
    /// Who may read them, ascending by name.
    pub operators: Vec<Operator>,
    /// When it was made.
    pub created: Timestamp,
}

/// Somebody who may read path indexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// A name for people.
    pub name: String,
    /// X-Wing public key; what it is worth shows when something is sealed to it.
    pub key: Base64,
}

impl Operator {
    /// The id by which a manifest names the key.
    pub fn id(&self) -> Hex32 {
        Hex32(Sha256::of(&self.key.0).0)
    }
}

impl Predicate for IndexPolicy {
    const TYPE: &'static str = "urn:seawall:predicate:index-policy:1";
}

impl IndexPolicy {
    /// The statement for root keys to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("fleet", Sha256(self.fleet.0)), self)
    }

    /// Checks that `fleet` decided so.
    pub fn open(fleet: &Fleet, envelope: &Envelope) -> Result<Self, RecordError> {
        let it: Self = fleet.open_root_signed(WHAT, envelope)?;
        if it.fleet != fleet.id() {
            let (expected, found) = (fleet.id(), it.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        it.check(fleet)?;
        Ok(it)
    }

    fn check(&self, fleet: &Fleet) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        check_text(WHAT, &self.tenant, 64)?;
        if self.version == 0 {
            return refuse("versions count from 1");
        }
        if !self.classes.is_sorted_by(|a, b| a < b) {
            return refuse("its classes are not in order");
        }
        // One that takes no new snapshots any more may stay: what has an index keeps its readers.
        if self.classes.iter().any(|c| fleet.groups().iter().all(|g| g.class != *c)) {
            return refuse("it names a data class the fleet does not have");
        }
        if self.operators.len() > MAX_OPERATORS {
            return refuse("more than 16 operators");
        }
        if !self.operators.is_sorted_by(|a, b| a.name < b.name) {
            return refuse("its operators are not in order");
        }
        let keys: BTreeSet<_> = self.operators.iter().map(Operator::id).collect();
        if keys.len() != self.operators.len() {
            return refuse("two operators share a key");
        }
        self.operators.iter().try_for_each(|o| check_text(WHAT, &o.name, 64))
    }

    /// Who may read the indexes of a class; nobody if it has none.
    pub fn readers(&self, class: &str) -> &[Operator] {
        if self.classes.iter().any(|c| c == class) { &self.operators } else { &[] }
    }
}

/// An operator's public key, for whoever has the root key to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorCard {
    /// Names the format: `seawall-operator/1`.
    pub format: String,
    /// The operator's name.
    pub name: String,
    /// X-Wing public key.
    pub key: Base64,
}

impl OperatorCard {
    /// The format's name.
    pub const FORMAT: &str = "seawall-operator/1";

    /// Parses a card.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let card: Self = parse("operator card", json, Self::FORMAT, |c: &Self| &c.format)?;
        check_text("operator card", &card.name, 64)?;
        Ok(card)
    }
}
