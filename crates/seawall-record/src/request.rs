//! Asking for a restore, answering, and acknowledging what was received.

use seawall_base::{FleetId, GroupId, NodeId, Seconds, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Base64, Hex32, RecordError, ReferenceSet, check_text};

/// An enrolled requester asks custodians to open one snapshot to one one-time key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the manifest statement.
    pub manifest: Sha256,
    /// The log it stands in.
    pub origin: String,
    /// Its index there.
    pub index: u64,
    /// Identity of the requester.
    pub requester: NodeId,
    /// The X-Wing public key that answers are encrypted to; its secret is used once.
    pub one_time_key: Base64,
    /// Makes two requests differ.
    pub nonce: Hex32,
    /// When it was made.
    pub created: Timestamp,
    /// After this nobody answers it.
    pub expires: Timestamp,
    /// Why, for the people who decide.
    pub reason: String,
    /// Whether it is made for a drill. It opens the snapshot all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

impl Predicate for Request {
    const TYPE: &'static str = "urn:seawall:predicate:restore-request:1";
}

impl Request {
    /// Longest time a request may stay open.
    pub const MAX_VALIDITY: Seconds = Seconds::days(30);

    /// The statement for the requester's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("manifest", self.manifest), self)
    }

    /// Checks that `signer` signed it, and its form. Expiry is checked by who has a clock.
    pub fn open(envelope: &Envelope, signer: VerifyingKey) -> Result<Self, RecordError> {
        const WHAT: &str = "restore request";
        let it = Statement::<Self>::open(envelope, &[signer], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        check_text(WHAT, &it.reason, 1_000)?;
        if it.expires < it.created || it.expires > it.created.after(Self::MAX_VALIDITY) {
            return Err(RecordError::refused(WHAT, "open for more than 30 days, or for none"));
        }
        Ok(it)
    }
}

/// One custodian's answer: a partial decryption only the request's one-time key can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the request statement it answers.
    pub request: Sha256,
    /// Digest of the manifest statement it opens.
    pub manifest: Sha256,
    /// The escrow group.
    pub group: GroupId,
    /// Share index of the custodian.
    pub custodian: u16,
    /// Epoch of its share; refresh raises it.
    pub share_epoch: u32,
    /// The partial with its proof, encrypted with the request's digest as associated data.
    pub sealed_partial: Base64,
    /// When it was given.
    pub created: Timestamp,
}

impl Predicate for Approval {
    const TYPE: &'static str = "urn:seawall:predicate:restore-approval:1";
}

impl Approval {
    /// The statement for the custodian's signing key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("request", self.request), self)
    }
}

/// A region says: I hold every object of this snapshot and have mirrored its log so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The fleet.
    pub fleet: FleetId,
    /// The region.
    pub region: NodeId,
    /// Drawn when the region's store was made; a new one means nothing old counts.
    pub incarnation: Hex32,
    /// Digest of the manifest statement.
    pub manifest: Sha256,
    /// The log it stands in.
    pub origin: String,
    /// Its index there.
    pub index: u64,
    /// The objects counted and found.
    pub reference_set: ReferenceSet,
    /// When the count was made.
    pub created: Timestamp,
}

impl Predicate for Receipt {
    const TYPE: &'static str = "urn:seawall:predicate:receipt:1";
}

impl Receipt {
    /// The statement for the region's identity key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("manifest", self.manifest), self)
    }

    /// Checks that the region with this identity key signed it.
    pub fn open(envelope: &Envelope, region: VerifyingKey) -> Result<Self, RecordError> {
        const WHAT: &str = "receipt";
        let it = Statement::<Self>::open(envelope, &[region], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if it.region != region.node_id() {
            return Err(RecordError::refused(WHAT, "names another region than its signer"));
        }
        Ok(it)
    }
}
