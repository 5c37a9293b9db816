//! A node says that it no longer keeps the objects of some of its snapshots.
//!
//! The statement is about this node's own disk and nothing else. Regions keep what they hold: a
//! node's signature is no authority to delete (design, "Deletion"). The manifests stay in the log
//! for ever, so that the history shows what there was, when it went, and why.

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Predicate, Statement, Subject};
use serde::{Deserialize, Serialize};

use crate::{RecordError, check_text};

/// One snapshot that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    /// Its sequence number.
    pub sequence: u64,
    /// Digest of its manifest statement.
    pub manifest: Sha256,
}

/// The node no longer keeps these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The fleet.
    pub fleet: FleetId,
    /// The node.
    pub node: NodeId,
    /// Origin line of its log.
    pub origin: String,
    /// Which, by strictly ascending sequence number.
    pub snapshots: Vec<Forgotten>,
    /// How many other tiers had to hold each of them. Below 2 somebody decided to take the risk.
    pub copies: u32,
    /// The policy, in words.
    pub reason: String,
    /// When the node says it decided.
    pub created: Timestamp,
}

impl Forget {
    /// Most snapshots in one statement: it has to fit a log entry.
    pub const MAX: usize = 256;

    /// Longest reason in bytes.
    pub const MAX_REASON: usize = 1_000;

    /// The statement for the node's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("node", Sha256(self.node.0)), self)
    }

    /// What holds whatever log it stands in.
    pub(crate) fn check_form(&self) -> Result<(), RecordError> {
        const WHAT: &str = "forget statement";
        check_text(WHAT, &self.reason, Self::MAX_REASON)?;
        if self.snapshots.is_empty() || self.snapshots.len() > Self::MAX {
            let why = format!("names none, or more than {} snapshots", Self::MAX);
            return Err(RecordError::refused(WHAT, why));
        }
        if !self.snapshots.is_sorted_by(|a, b| a.sequence < b.sequence) {
            return Err(RecordError::refused(WHAT, "not in strictly ascending order"));
        }
        Ok(())
    }
}

impl Predicate for Forget {
    const TYPE: &'static str = "urn:seawall:predicate:forget:1";
}
