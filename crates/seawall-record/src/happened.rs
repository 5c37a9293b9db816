//! What happened at a node besides snapshots: a restore that was carried out, and what somebody or
//! something there wants on record.

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Predicate, Statement, Subject};
use serde::{Deserialize, Serialize};

use crate::{RecordError, SnapshotPlace, check_text};

/// How a snapshot was used that a quorum had opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// All of it was written into a directory.
    Restore,
    /// A part of it was.
    Part,
    /// Its names were listed.
    List,
    /// It was written as an archive.
    Export,
    /// It was mounted.
    Mount,
    /// It was compared with another.
    Diff,
}

/// How a use of a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// All that was asked for was done.
    Done,
    /// Some of it could not be.
    Partly,
    /// It ended early.
    Failed,
}

/// A node says: I used this snapshot, opened by these approvals of this request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// The fleet.
    pub fleet: FleetId,
    /// The node that did it.
    pub node: NodeId,
    /// Origin line of the log this stands in.
    pub origin: String,
    /// Digest of the request statement.
    pub request: Sha256,
    /// The snapshot.
    pub snapshot: SnapshotPlace,
    /// Digests of the approvals that opened it, strictly ascending.
    pub approvals: Vec<Sha256>,
    /// What was done with it.
    pub what: Use,
    /// How that ended.
    pub ending: Ending,
    /// When.
    pub created: Timestamp,
}

impl Predicate for Restored {
    const TYPE: &'static str = "urn:seawall:predicate:restored:1";
}

impl Restored {
    /// Most approvals in one statement.
    pub const MAX_APPROVALS: usize = 64;

    /// The statement for the node's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("manifest", self.snapshot.manifest), self)
    }

    /// What holds whatever log it stands in.
    pub(crate) fn check_form(&self) -> Result<(), RecordError> {
        const WHAT: &str = "restored statement";
        let many = self.approvals.is_empty() || self.approvals.len() > Self::MAX_APPROVALS;
        if many || !self.approvals.is_sorted_by(|a, b| a < b) {
            let why = "it names no approval, more than 64, or not in strictly ascending order";
            return Err(RecordError::refused(WHAT, why));
        }
        Ok(())
    }
}

/// A node puts something on record: a case was opened, a door, a maintenance begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The fleet.
    pub fleet: FleetId,
    /// The node.
    pub node: NodeId,
    /// Origin line of the log this stands in.
    pub origin: String,
    /// What sort, such as `chassis-tamper`.
    pub kind: String,
    /// What is to be known.
    pub text: String,
    /// When the node says it was.
    pub created: Timestamp,
}

impl Predicate for Event {
    const TYPE: &'static str = "urn:seawall:predicate:event:1";
}

impl Event {
    /// Longest text in bytes.
    pub const MAX_TEXT: usize = 4_000;
    /// Longest kind in bytes.
    pub const MAX_KIND: usize = 32;

    /// The statement for the node's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("node", Sha256(self.node.0)), self)
    }

    /// What holds whatever log it stands in.
    pub(crate) fn check_form(&self) -> Result<(), RecordError> {
        const WHAT: &str = "event";
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let kind = self.kind.as_bytes();
        if kind.len() > Self::MAX_KIND
            || !kind.first().is_some_and(u8::is_ascii_lowercase)
            || !kind.iter().all(|b| word(*b))
        {
            let why = "its kind must be 1 to 32 of a-z, 0-9 and dashes, a letter first";
            return Err(RecordError::refused(WHAT, why));
        }
        check_text(WHAT, &self.text, Self::MAX_TEXT)
    }
}
