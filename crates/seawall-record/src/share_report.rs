//! What a custodian says of its post-quantum share of a snapshot, once it has seen the manifest.
//!
//! For the custodian's own log. A good report is the custodian's word that it can answer; a bad
//! one accuses the node that dealt. Where the share opens and is not the committed one, the report
//! has what convicts the node before anybody (`seawall-escrow`). Where it does not open at all,
//! a report is a word against a word until somebody opens the snapshot: then everything dealt is
//! made again, and it is plain who was wrong.

use seawall_base::{FleetId, GroupId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Hex32, RecordError, check_text};

/// Which share a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareSubject {
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the manifest statement.
    pub manifest: Sha256,
    /// The escrow group.
    pub group: GroupId,
    /// The custodian's index.
    pub custodian: u16,
    /// What names the post-quantum half (`seawall-escrow`).
    pub dealing: Hex32,
    /// The commitment to the share in it.
    pub commitment: Hex32,
}

/// The share opens and is the committed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareGood {
    /// Which share.
    pub share: ShareSubject,
    /// When it was looked at.
    pub created: Timestamp,
}

/// The share does not open, or is not the committed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareBad {
    /// Which share.
    pub share: ShareSubject,
    /// What is wrong with it, for people.
    pub reason: String,
    /// What was encapsulated to the custodian, where that proves it to anybody and opens nobody
    /// else's dealing: not in capsules of suite 2, of which earlier versions have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Hex32>,
    /// When it was looked at.
    pub created: Timestamp,
}

impl Predicate for ShareGood {
    const TYPE: &'static str = "urn:seawall:predicate:share-good:1";
}

impl Predicate for ShareBad {
    const TYPE: &'static str = "urn:seawall:predicate:share-bad:1";
}

impl ShareGood {
    /// The statement for the custodian's signing key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("manifest", self.share.manifest), self)
    }

    /// Checks that the custodian with this signing key said so.
    pub fn open(envelope: &Envelope, custodian: VerifyingKey) -> Result<Self, RecordError> {
        Statement::<Self>::open(envelope, &[custodian], 1)
            .map(|statement| statement.predicate)
            .map_err(RecordError::statement("report of a good share"))
    }
}

impl ShareBad {
    /// The statement for the custodian's signing key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("manifest", self.share.manifest), self)
    }

    /// Checks that the custodian with this signing key said so.
    pub fn open(envelope: &Envelope, custodian: VerifyingKey) -> Result<Self, RecordError> {
        const WHAT: &str = "report of a bad share";
        let it = Statement::<Self>::open(envelope, &[custodian], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        check_text(WHAT, &it.reason, 1_000)?;
        Ok(it)
    }
}
