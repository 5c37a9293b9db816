//! What a fleet's policy shows for a change of an escrow group: the word of its custodians.
//!
//! Root keys decide who belongs to a fleet; they do not hold the group's secret, and must not be
//! able to make anyone believe that others hold it now. So a policy that changes a group carries
//! the signatures under the ceremony's result: of as many custodians of the record before as its
//! threshold says, and of every custodian whose entry is new. The result itself is not carried
//! along. It is said again from the two records, so that the signatures hold for exactly this step,
//! from exactly that record, or not at all.
//!
//! Here only signatures are checked, so that a region, which knows no group arithmetic, checks as
//! much as anyone. That the points fit is checked by whoever computes with them.
//!
//! Rejected: the whole group file in the policy (two records and all dealings: more than an
//! envelope holds), and its digest alone (a region could not tell a good one from an invented one).

use seawall_base::{GroupId, Sha256};
use seawall_sign::Signatures;
use serde::{Deserialize, Serialize};

use crate::ceremony::{CeremonyResult, MAX_PARTICIPANTS};
use crate::{CustodianRecord, EscrowGroupRecord, RecordError};

const WHAT: &str = "change of an escrow group";

/// The signatures under a ceremony's result, with what cannot be said again from the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupChange {
    /// The group that is changed.
    pub group: GroupId,
    /// The ceremony: digest of its opening.
    pub ceremony: Sha256,
    /// Digests of the ceremony's decisive statements.
    pub transcript: Vec<Sha256>,
    /// Signatures under the result.
    pub signatures: Signatures,
}

/// Whether two entries say the same of a custodian. An address is a hint and may change without
/// anyone's word.
fn same_custodian(a: &CustodianRecord, b: &CustodianRecord) -> bool {
    (a.index, &a.name, a.signing_key, a.share, &a.kem)
        == (b.index, &b.name, b.signing_key, b.share, &b.kem)
}

/// Whether nothing of a group has changed that its custodians have to agree to.
pub(crate) fn same_sharing(before: &EscrowGroupRecord, after: &EscrowGroupRecord) -> bool {
    (before.threshold, before.share_epoch, before.suite)
        == (after.threshold, after.share_epoch, after.suite)
        && (&before.ceremony, before.custodians.len()) == (&after.ceremony, after.custodians.len())
        && before.custodians.iter().zip(&after.custodians).all(|(a, b)| same_custodian(a, b))
}

impl GroupChange {
    pub(crate) fn check_form(&self) -> Result<(), RecordError> {
        if self.transcript.is_empty() || self.transcript.len() > MAX_PARTICIPANTS {
            return Err(RecordError::refused(WHAT, "rests on 1 to 16 statements"));
        }
        Ok(())
    }

    /// Whether custodians of `before` have signed for `after`.
    pub(crate) fn check(
        &self,
        before: &EscrowGroupRecord,
        after: &EscrowGroupRecord,
    ) -> Result<(), RecordError> {
        let unsigned = |who: &str, e| {
            let why = format!("{} is not changed by {who}: {e}", before.id);
            RecordError::refused(WHAT, why)
        };
        let result = CeremonyResult {
            ceremony: self.ceremony,
            // Retiring a group is the root keys' to decide.
            record: EscrowGroupRecord { retired: before.retired, ..after.clone() },
            transcript: self.transcript.clone(),
            previous: Some(before.digest()),
        };
        let result = result
            .statement()
            .with_signatures(&self.signatures)
            .map_err(RecordError::statement(WHAT))?;
        let old: Vec<_> = before.custodians.iter().map(|c| c.signing_key).collect();
        result
            .verify(&old, usize::from(before.threshold))
            .map_err(|e| unsigned("as many of its custodians as it takes", e))?;
        let new = |c: &&CustodianRecord| {
            before.custodian(c.index).is_none_or(|known| !same_custodian(known, c))
        };
        let new: Vec<_> = after.custodians.iter().filter(new).map(|c| c.signing_key).collect();
        if new.is_empty() {
            return Ok(());
        }
        result
            .verify(&new, new.len())
            .map(drop)
            .map_err(|e| unsigned("everyone whose entry is new", e))
    }
}
