//! A custodian who leaves says which of its post-quantum shares it has given on, and how.
//!
//! The dealings themselves are public bytes in a file beside the statement; the statement names
//! them by digest, and is what their dealer can be held to.

use seawall_base::{FleetId, GroupId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Hex32, RecordError};

const WHAT: &str = "hand-over of post-quantum shares";
/// One share given on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandedOver {
    /// Digest of the manifest statement whose share it is.
    pub manifest: Sha256,
    /// What names the new dealing (`seawall-escrow`).
    pub dealing: Hex32,
}

/// A custodian has dealt its shares of these snapshots to those who come after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareHandOver {
    /// The fleet.
    pub fleet: FleetId,
    /// The escrow group.
    pub group: GroupId,
    /// Index of the custodian whose shares they were.
    pub custodian: u16,
    /// The share epoch of those who get them.
    pub share_epoch: u32,
    /// 1 to 256 shares.
    pub shares: Vec<HandedOver>,
    /// When it was made.
    pub created: Timestamp,
}

impl Predicate for ShareHandOver {
    const TYPE: &'static str = "urn:seawall:predicate:share-hand-over:1";
}

impl ShareHandOver {
    /// Most shares in one statement.
    pub const MAX_SHARES: usize = 256;

    /// The statement for the leaving custodian's signing key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("group", Sha256(self.group.0)), self)
    }

    /// Checks that the custodian with this signing key made it.
    pub fn open(envelope: &Envelope, custodian: VerifyingKey) -> Result<Self, RecordError> {
        let it = Statement::<Self>::open(envelope, &[custodian], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if it.shares.is_empty() || it.shares.len() > Self::MAX_SHARES {
            return Err(RecordError::refused(WHAT, "it names no share, or more than 256"));
        }
        Ok(it)
    }
}
