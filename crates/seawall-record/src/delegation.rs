//! A region lets a node issue tokens for some days.
//!
//! So that a node whose region is away, or busy, still gets through to another region of the
//! fleet. What is delegated is the moving of bytes within the node's own tenant: storing, syncing,
//! reading. Deleting and administration are not in the type, so no signature can delegate them.

use seawall_base::{FleetId, NodeId, Seconds, Sha256, Timestamp};
use seawall_sign::token::Operation;
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Enrolment, RecordError, Role};

const WHAT: &str = "delegation";

/// What can be delegated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delegable {
    /// Bring objects.
    Store,
    /// Extend one's own log.
    Sync,
    /// Fetch.
    Read,
}

impl Delegable {
    /// All of it.
    pub const ALL: [Self; 3] = [Self::Store, Self::Sync, Self::Read];

    /// The operation.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Store => Operation::Store,
            Self::Sync => Operation::Sync,
            Self::Read => Operation::Read,
        }
    }
}

/// The region's identity key says: tokens signed by this key count as mine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The fleet.
    pub fleet: FleetId,
    /// Who delegates.
    pub region: NodeId,
    /// Who issues from now on.
    pub node: NodeId,
    /// The epoch of its enrolment: one that is revoked or replaced issues nothing.
    pub epoch: u32,
    /// The tenant: for its members, and for no others.
    pub tenant: String,
    /// The key that signs the tokens.
    pub key: VerifyingKey,
    /// What for, ascending.
    pub operations: Vec<Delegable>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until, inclusive; no token may outlive it.
    pub not_after: Timestamp,
}

impl Predicate for Delegation {
    const TYPE: &'static str = "urn:seawall:predicate:delegation:1";
}

impl Delegation {
    /// Longest validity.
    pub const MAX_VALIDITY: Seconds = Seconds::days(7);

    /// The statement for the region's identity key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("member", Sha256(self.node.0)), self)
    }

    /// Checks that `region` delegated.
    pub fn open(region: &Enrolment, envelope: &Envelope) -> Result<Self, RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        if region.role != Role::Region {
            return refuse("only a region delegates");
        }
        let it = Statement::<Self>::open(envelope, &[region.identity], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if it.fleet != region.fleet || it.region != region.node() {
            return refuse("made by another region, or for another fleet");
        }
        if it.operations.is_empty() || !it.operations.is_sorted_by(|a, b| a < b) {
            return refuse("it names no operation, or one twice or out of order");
        }
        if it.not_after < it.not_before || it.not_after > it.not_before.after(Self::MAX_VALIDITY) {
            return refuse("valid for more than 7 days, or for none");
        }
        Ok(it)
    }

    /// Whether a token for `operation` may be issued at `when` and hold until `until`.
    pub fn covers(&self, operation: Operation, when: Timestamp, until: Timestamp) -> bool {
        self.operations.iter().any(|o| o.operation() == operation)
            && (self.not_before..=self.not_after).contains(&when)
            && until <= self.not_after
    }
}
