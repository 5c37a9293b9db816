//! Asking for a restore although the policy's witnesses cannot be reached.
//!
//! A check that made data unopenable would be worse than none, so a failure of freshness never
//! ends a restore: it makes it loud. Whoever asks signs what could not be proven and why it must
//! be opened all the same; the statement stands in its log, if it has one, and goes with the
//! request to *every* custodian that can be reached. Custodians and the restorer show it.

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{RecordError, check_text};

const WHAT: &str = "break-glass statement";

/// The requester says: open it, although so few witnesses vouch for its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// The fleet.
    pub fleet: FleetId,
    /// Who asks.
    pub requester: NodeId,
    /// Digest of the manifest statement.
    pub manifest: Sha256,
    /// The log it stands in.
    pub origin: String,
    /// The operators whose cosignatures could be had, ascending.
    pub operators: Vec<String>,
    /// How many the policy demands.
    pub needed: u16,
    /// Why it cannot wait, for people.
    pub reason: String,
    /// When it was signed.
    pub created: Timestamp,
}

impl Predicate for BreakGlass {
    const TYPE: &'static str = "urn:seawall:predicate:break-glass:1";
}

impl BreakGlass {
    /// The statement for the requester's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("manifest", self.manifest), self)
    }

    /// Checks that `signer` signed it, and its form.
    pub fn open(envelope: &Envelope, signer: VerifyingKey) -> Result<Self, RecordError> {
        let it = Statement::<Self>::open(envelope, &[signer], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        check_text(WHAT, &it.reason, 1_000)?;
        it.operators.iter().try_for_each(|name| check_text(WHAT, name, 128))?;
        if it.operators.len() > 128 || !it.operators.is_sorted_by(|a, b| a < b) {
            return Err(RecordError::refused(
                WHAT,
                "operators are at most 128, each once, ascending",
            ));
        }
        Ok(it)
    }
}
