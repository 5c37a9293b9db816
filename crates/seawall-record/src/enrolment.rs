//! Who belongs to a fleet, and which short-lived key signs for whom.

use seawall_base::{FleetId, NodeId, Seconds, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Base64, Fleet, RecordError, check_text};

/// What a member of the fleet may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Keeps a log, writes snapshots, may ask for restores.
    Node,
    /// Keeps objects and mirrors logs; opens nothing.
    Region,
}

/// The fleet's root keys say: this key is a member. First entry of every node's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The fleet.
    pub fleet: FleetId,
    /// What the member may do.
    pub role: Role,
    /// A name for people; it decides nothing.
    pub name: String,
    /// Log epoch this enrolment opens; it rises when a node's keys are replaced.
    pub epoch: u32,
    /// Long-term identity key: certifies signing subkeys (nodes), signs receipts (regions).
    pub identity: VerifyingKey,
    /// Key of its TLS endpoint, pinned on both sides (RFC 7250 raw public key).
    pub transport: VerifyingKey,
    /// X-Wing public key to which the tenant's secrets are encrypted. Nodes only.
    pub recipient: Option<Base64>,
    /// The tenant it belongs to. Nodes only.
    pub tenant: Option<String>,
    /// When it was enrolled.
    pub issued: Timestamp,
}

impl Predicate for Enrolment {
    const TYPE: &'static str = "urn:seawall:predicate:enrolment:1";
}

impl Enrolment {
    /// The member's id.
    pub fn node(&self) -> NodeId {
        self.identity.node_id()
    }

    /// The statement for root keys to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("member", Sha256(self.node().0)), self)
    }

    /// Checks that `fleet` enrolled this member in the role `role`.
    pub fn open(fleet: &Fleet, envelope: &Envelope, role: Role) -> Result<Self, RecordError> {
        const WHAT: &str = "enrolment";
        let it: Self = fleet.open_root_signed(WHAT, envelope)?;
        if it.fleet != fleet.id() {
            let (expected, found) = (fleet.id(), it.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        if it.role != role {
            let why = format!("enrolled as {:?}, not as {role:?}", it.role);
            return Err(RecordError::refused(WHAT, why.to_lowercase()));
        }
        // TLS and cosignatures know no other algorithm.
        let fixed =
            if role == Role::Region { vec![it.transport, it.identity] } else { vec![it.transport] };
        for key in fixed {
            key.require_ed25519().map_err(RecordError::statement(WHAT))?;
        }
        check_text(WHAT, &it.name, 64)?;
        // A node's past stays readable; who reads its log looks at how far it is believed.
        let is_node = role == Role::Node;
        if let (false, Some(why)) = (is_node, fleet.revocation(it.node(), it.epoch)) {
            return Err(RecordError::revoked("the region", why));
        }
        if is_node != it.tenant.is_some() || is_node != it.recipient.is_some() {
            let why = "a node, and only a node, has a tenant and a recipient key";
            return Err(RecordError::refused(WHAT, why));
        }
        if let Some(tenant) = &it.tenant {
            check_text(WHAT, tenant, 64)?;
        }
        Ok(it)
    }
}

/// A node's identity key says: this key signs for me, for these days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subkey {
    /// The fleet.
    pub fleet: FleetId,
    /// The node.
    pub node: NodeId,
    /// The subkey.
    pub key: VerifyingKey,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until, inclusive.
    pub not_after: Timestamp,
}

impl Predicate for Subkey {
    const TYPE: &'static str = "urn:seawall:predicate:subkey:1";
}

impl Subkey {
    /// Longest validity: a stolen subkey is worth days, not years.
    pub const MAX_VALIDITY: Seconds = Seconds::days(14);

    /// The statement for the identity key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("member", Sha256(self.node.0)), self)
    }

    /// Checks that the member `owner` certified this subkey.
    pub fn open(owner: &Enrolment, envelope: &Envelope) -> Result<Self, RecordError> {
        const WHAT: &str = "signing subkey";
        let it = Statement::<Self>::open(envelope, &[owner.identity], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if it.fleet != owner.fleet || it.node != owner.node() {
            return Err(RecordError::refused(WHAT, "certified for another fleet or node"));
        }
        // It signs checkpoints, whose standard has no other algorithm for a log's own signature.
        it.key.require_ed25519().map_err(RecordError::statement(WHAT))?;
        let longest = it.not_before.after(Self::MAX_VALIDITY);
        if it.not_after < it.not_before || it.not_after > longest {
            return Err(RecordError::refused(WHAT, "valid for more than 14 days, or for none"));
        }
        Ok(it)
    }

    /// Whether the subkey may sign at `when`.
    pub fn valid_at(&self, when: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&when)
    }
}
