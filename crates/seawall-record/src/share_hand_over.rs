//! A custodian who leaves says which of its post-quantum shares it has given on, and how.
//!
//! The dealings themselves are public bytes in a file beside the statement; the statement names
//! them by digest, and is what their dealer can be held to.

use seawall_base::{FleetId, GroupId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, raw};
use crate::{Base64, Fleet, Hex32, RecordError};

const WHAT: &str = "hand-over of post-quantum shares";

/// Largest file of hand-overs, in bytes of JSON: some ten thousand snapshots.
pub const MAX_HAND_OVERS: usize = 64 << 20;

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

/// What one custodian has given on: its statements, each with the dealings it names, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOverFile {
    format: String,
    batches: Vec<Batch>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    statement: Box<RawValue>,
    dealings: Vec<Base64>,
}

impl HandOverFile {
    const FORMAT: &str = "seawall-hand-over/1";

    /// A file of these statements and what they name.
    pub fn new(batches: Vec<(Envelope, Vec<Vec<u8>>)>) -> Self {
        let batch = |(statement, dealings): (Envelope, Vec<Vec<u8>>)| Batch {
            statement: raw(&statement),
            dealings: dealings.into_iter().map(Base64).collect(),
        };
        let batches = batches.into_iter().map(batch).collect();
        Self { format: Self::FORMAT.to_owned(), batches }
    }

    /// Parses a file without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        if json.len() > MAX_HAND_OVERS {
            return Err(RecordError::refused(WHAT, "larger than 64 MiB"));
        }
        let it: Self = serde_json::from_slice(json)
            .map_err(|e| RecordError::refused(WHAT, format!("not a {} file: {e}", Self::FORMAT)))?;
        if it.format != Self::FORMAT {
            let why = format!("format {:?} is not {}", it.format, Self::FORMAT);
            return Err(RecordError::refused(WHAT, why));
        }
        Ok(it)
    }

    /// Checks that each statement of this fleet is of a custodian whom its group ever had, and
    /// returns what they name: the dealings' bytes, opaque here, each with the digest signed for.
    /// Statements of other fleets are passed over: a custodian may keep files of several.
    pub fn open(&self, fleet: &Fleet) -> Result<Vec<(HandedOver, &[u8])>, RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        let mut out = Vec::new();
        for batch in &self.batches {
            let statement = envelope(WHAT, &batch.statement)?;
            let claimed = Statement::<ShareHandOver>::read_unverified(&statement)
                .map_err(RecordError::statement(WHAT))?
                .predicate;
            if claimed.fleet != fleet.id() {
                continue;
            }
            let history = fleet.group_history(claimed.group);
            let said = history.iter().find_map(|(_, group)| {
                let key = group.custodian(claimed.custodian)?.signing_key;
                ShareHandOver::open(&statement, key).ok()
            });
            let Some(said) = said else {
                return refuse("not signed by the custodian that it names");
            };
            if said.shares.len() != batch.dealings.len() {
                return refuse("it names other dealings than it has");
            }
            let dealings = batch.dealings.iter().map(|dealing| dealing.0.as_slice());
            out.extend(said.shares.into_iter().zip(dealings));
        }
        Ok(out)
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("text always serialises");
        json.push(b'\n');
        json
    }
}
