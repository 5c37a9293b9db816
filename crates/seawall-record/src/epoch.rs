//! A log goes on under a new name, because its node's disk went back in time.
//!
//! A restored disk holds fewer entries than others have seen. Whoever appends there uses indices
//! a second time: a fork, whatever the intention. The way out keeps every index unique and every
//! entry anyone has seen: the log of the next epoch begins with the very entries of the old one
//! up to the largest checkpoint that anybody reachable holds, so that at this size both have one
//! root and a plain consistency proof links them. Then stand the enrolment for the new epoch and
//! the root keys' [`Epoch`] statement, which commits to that checkpoint. What the node had written
//! meanwhile, on the branch that was never numbered, is appended behind them, announced by a
//! [`Branch`] statement and marked by it for ever.
//!
//! Rejected: a new log that begins empty and refers to the old one. Readers, retention and
//! restores would have to join logs, and whoever lost the old one could prove nothing.

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Predicate, Statement, Subject};
use serde::{Deserialize, Serialize};

use crate::{Enrolment, Fleet, RecordError, check_text};

/// A state of a log: what its checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPoint {
    /// Origin line of the log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root of its Merkle tree.
    pub root: Sha256,
}

/// The root keys say: this node's log goes on in a new epoch, from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// The fleet.
    pub fleet: FleetId,
    /// The node.
    pub node: NodeId,
    /// The new epoch.
    pub epoch: u32,
    /// The largest checkpoint of the epoch before that anybody reachable held.
    pub continues: LogPoint,
    /// Digest of the enrolment for the new epoch, which stands right before this.
    pub enrolment: Sha256,
    /// Who was asked for the largest checkpoint and answered, for people.
    pub asked: Vec<String>,
    /// Why, for people.
    pub reason: String,
    /// When it was signed.
    pub created: Timestamp,
}

impl Predicate for Epoch {
    const TYPE: &'static str = "urn:seawall:predicate:epoch:1";
}

/// Origin line of a node's log in an epoch: `seawall/<fleet>/<node>/<epoch>`.
pub fn node_origin(fleet: FleetId, node: NodeId, epoch: u32) -> String {
    format!("seawall/{}/{}/{epoch}", fleet.to_hex(), node.to_hex())
}

/// The epoch in an origin line of a node's log; none for another log's.
pub(crate) fn epoch_of(origin: &str, fleet: FleetId, node: NodeId) -> Option<u32> {
    let epoch = origin.rsplit_once('/')?.1.parse().ok()?;
    (node_origin(fleet, node, epoch) == origin).then_some(epoch)
}

impl Epoch {
    /// Most names of who was asked.
    pub const MAX_ASKED: usize = 128;

    /// The statement for root keys to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("member", Sha256(self.node.0)), self)
    }

    /// Origin of the log in the new epoch.
    pub fn origin(&self) -> String {
        node_origin(self.fleet, self.node, self.epoch)
    }

    /// The epoch whose log is continued; none if that is no earlier log of this node.
    pub fn before(&self) -> Option<u32> {
        let before = epoch_of(&self.continues.origin, self.fleet, self.node);
        before.filter(|before| *before < self.epoch)
    }

    /// Checks that the fleet's root keys signed it for the member that `enrolment` enrols.
    pub fn open(
        fleet: &Fleet,
        envelope: &seawall_sign::Envelope,
        enrolment: &Enrolment,
        enrolment_digest: Sha256,
    ) -> Result<Self, RecordError> {
        const WHAT: &str = "epoch statement";
        let it: Self = fleet.open_root_signed(WHAT, envelope)?;
        if it.fleet != fleet.id() {
            let (expected, found) = (fleet.id(), it.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        if it.node != enrolment.node() || it.epoch != enrolment.epoch {
            return refuse("for another node or epoch than the enrolment before it");
        }
        if it.enrolment != enrolment_digest {
            return refuse("signed for another enrolment than the one before it");
        }
        if it.before().is_none() {
            return refuse("does not continue an earlier epoch of this node's log");
        }
        check_text(WHAT, &it.reason, 1_000)?;
        if it.asked.len() > Self::MAX_ASKED {
            return refuse("names more than 128 witnesses");
        }
        it.asked.iter().try_for_each(|name| check_text(WHAT, name, 128))?;
        Ok(it)
    }
}

/// A node says: these snapshots were made on a branch of an earlier epoch's log. They follow as
/// they are, and prove nothing about the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// The fleet.
    pub fleet: FleetId,
    /// The node.
    pub node: NodeId,
    /// Origin line of the log this stands in.
    pub origin: String,
    /// Origin line of the earlier epoch's log of which they are a branch.
    pub of: String,
    /// Digests of their manifest statements, in the order in which they follow.
    pub manifests: Vec<Sha256>,
    /// When the node says it appended them.
    pub created: Timestamp,
}

impl Predicate for Branch {
    const TYPE: &'static str = "urn:seawall:predicate:branch:1";
}

impl Branch {
    /// Most snapshots in one statement: it has to fit a log entry.
    pub const MAX: usize = 256;

    /// The statement for the node's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("node", Sha256(self.node.0)), self)
    }
}
