//! What another tier can do for this one. The HTTP client is one implementor; tests have an
//! honest one in memory and one that lies.
//!
//! All calls block and may be repeated: each is idempotent. An implementor moves bytes and checks
//! their form; whether an answer is *true* is checked by the callers in this room.

use std::io;
use std::ops::Range;

use seawall_base::{ObjectId, Timestamp};
use seawall_record::Hex32;
use seawall_sign::{Envelope, VerifyingKey};
use seawall_store::Store;
use seawall_tlog::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use seawall_tlog::tile::{TilePath, TileReader};
use serde::{Deserialize, Serialize};

use crate::TierError;

/// Who a tier is and which store it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierIdentity {
    /// Name for people, and in its cosignatures.
    pub name: String,
    /// Signs receipts and cosignatures.
    pub identity: VerifyingKey,
    /// Drawn when its store was made: when it changes, no receipt of the old one counts.
    pub incarnation: Hex32,
}

/// Answer to "which of these do you have?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    /// Until when the tier promises to keep those it has, though no manifest names them yet.
    pub lease: Timestamp,
    /// Which of those asked for it does not have, in the order asked.
    pub missing: Vec<ObjectId>,
}

/// An HTTP-shaped answer of the C2SP endpoints, whose status codes carry meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A log a tier mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSummary {
    /// Its origin.
    pub origin: String,
    /// Entries mirrored.
    pub size: u64,
}

/// Answer to "do you hold all of this snapshot?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptAnswer {
    /// Yes; a signed [`seawall_record::Receipt`].
    Given(Envelope),
    /// No; these objects (the first 65 536) are missing.
    Missing(Vec<ObjectId>),
}

/// Another tier.
pub trait Tier: Send + Sync {
    /// Who it is.
    fn identity(&self) -> Result<TierIdentity, TierError>;

    /// Shows the statements that certify the subkeys of this node's log, so that the tier can
    /// check a checkpoint before it has the entries that certify its signer.
    fn introduce(&self, subkeys: &[Envelope]) -> Result<(), TierError>;

    /// Which of at most [`crate::wire::MAX_HAVE`] objects it has *in this tenant*.
    fn have(&self, ids: &[ObjectId]) -> Result<Have, TierError>;

    /// Gives it objects, together at most [`crate::wire::MAX_OBJECTS_BODY`] with their frames.
    /// On return they are durable.
    fn put(&self, objects: &[(ObjectId, Vec<u8>)]) -> Result<(), TierError>;

    /// Fetches objects, any number; each body has been checked against its id. An object the
    /// tier does not have is not delivered.
    fn get(
        &self,
        ids: &[ObjectId],
        sink: &mut dyn FnMut(ObjectId, Vec<u8>),
    ) -> Result<(), TierError>;

    /// Asks for [`crate::possession`] of at most [`crate::wire::MAX_CHALLENGE`] objects: one
    /// answer for each id, `None` where the tier admits not to have it.
    fn challenge(
        &self,
        nonce: &[u8; 32],
        ids: &[ObjectId],
    ) -> Result<Vec<Option<[u8; 32]>>, TierError>;

    /// C2SP tlog-witness `add-checkpoint`; body and answer as in the specification.
    fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, TierError>;

    /// C2SP tlog-mirror `add-entries`; body and answer as in the specification.
    fn add_entries(&self, body: &[u8]) -> Result<Answer, TierError>;

    /// The logs of this tenant it mirrors.
    fn logs(&self) -> Result<Vec<LogSummary>, TierError>;

    /// A resource of a mirrored log (C2SP tlog-tiles); `None` if it does not have it.
    fn tile(&self, origin: &Origin, path: &TilePath) -> Result<Option<Vec<u8>>, TierError>;

    /// Asks it to count the snapshot whose manifest is entry `index` and to sign for it.
    fn receipt(&self, origin: &Origin, index: u64) -> Result<ReceiptAnswer, TierError>;

    /// Shows it cosigned checkpoints of this node's own log, at most [`crate::wire::MAX_COSIGNED`].
    /// Returns the largest size of which it keeps one.
    fn show_cosigned(&self, all: &[SignedCheckpoint]) -> Result<u64, TierError>;

    /// Carries a deletion statement to it, which stands in the log it mirrors. On return it has
    /// decided for good that the snapshots named are gone.
    fn delete(&self, statement: &Envelope) -> Result<(), TierError>;

    /// Its signed word on what it keeps no longer of a log ([`seawall_record::Deleted`]).
    fn deleted(&self, origin: &Origin) -> Result<Vec<Envelope>, TierError>;

    /// The checkpoint up to which it mirrors a log. *Its signatures are the caller's to check.*
    fn checkpoint(&self, origin: &Origin) -> Result<Option<SignedCheckpoint>, TierError> {
        let Some(bytes) = self.tile(origin, &TilePath::Checkpoint)? else { return Ok(None) };
        let protocol = |why: String| TierError::Protocol { tier: "the region".to_owned(), why };
        let signed = SignedCheckpoint::parse(&bytes).map_err(|e| protocol(e.to_string()))?;
        if signed.checkpoint().origin != *origin {
            return Err(protocol(format!("a checkpoint of another log than {origin}")));
        }
        Ok(Some(signed))
    }
}

/// Reads entries of a mirrored log, each proven to be in the tree of `checkpoint` (which the
/// caller has verified).
pub fn read_entries(
    tier: &dyn Tier,
    checkpoint: &Checkpoint,
    range: Range<u64>,
) -> Result<Vec<Vec<u8>>, TierError> {
    // The tile reader knows I/O errors only; the tier's own error is kept beside it.
    let failure = std::cell::RefCell::new(None);
    let fetch = |path: &TilePath| match tier.tile(&checkpoint.origin, path) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(io::ErrorKind::NotFound.into()),
        Err(e) => {
            let io = io::Error::other(e.to_string());
            *failure.borrow_mut() = Some(e);
            Err(io)
        }
    };
    TileReader::new(checkpoint, &fetch).entries(range).map_err(|e| {
        failure.borrow_mut().take().unwrap_or_else(|| TierError::Protocol {
            tier: "the region".to_owned(),
            why: format!("log {}: {e}", checkpoint.origin),
        })
    })
}

/// Where a node's own objects (and reference-set pages) are read from.
pub trait Objects {
    /// The bytes of an object; `None` if it is not there.
    fn object(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String>;
}

impl Objects for Store {
    fn object(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        self.get(id).map_err(|e| e.to_string())
    }
}
