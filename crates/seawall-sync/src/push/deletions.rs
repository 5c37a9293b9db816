//! What a push has to do with deletions: statements are carried to the tier, and what the tier says
//! it deleted is held against this node's own log.
//!
//! A tier may delete what a statement of the custodians names, and what the root keys' rules let
//! expire of snapshots that this node has let go. It says so, signed, and names the statement.
//! Whatever else is gone from it was deleted unasked, and that is named: what this node still has
//! is challenged as ever, and of what it has let go one snapshot is counted at each push.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::Sha256;
use seawall_record::{Accepted, Deleted, Deletion, LogState};
use seawall_sign::Envelope;

use super::{Run, Snapshot, protocol};
use crate::possession::below;
use crate::tier::ReceiptAnswer;
use crate::{SyncError, TierError};

/// What this node's log says of deletions.
#[derive(Default)]
pub(super) struct Deletions {
    /// The statements, in order.
    statements: Vec<(Envelope, Deletion)>,
    /// Digests of all statements of what may expire.
    retention: BTreeSet<Sha256>,
    /// Snapshots that this node has let go and no statement names.
    pub(super) let_go: Vec<Snapshot>,
}

impl Deletions {
    /// Notes an entry, if it is about deletions.
    pub(super) fn note(&mut self, entry: &[u8], accepted: &Accepted) {
        let envelope = || Envelope::parse(entry).expect("it was accepted as an envelope");
        match accepted {
            Accepted::Deletion(_, it) => self.statements.push((envelope(), (**it).clone())),
            Accepted::Retention(_) => {
                self.retention.insert(envelope().digest());
            }
            _ => {}
        }
    }

    /// Takes the snapshots out that are no longer this node's to offer.
    pub(super) fn divide(&mut self, snapshots: Vec<Snapshot>, state: &LogState) -> Vec<Snapshot> {
        let (kept, gone): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(|s| state.forgotten(&s.digest).is_none());
        self.let_go = gone.into_iter().filter(|s| state.deleted(&s.digest).is_none()).collect();
        kept
    }

    /// Whether a snapshot may be deleted under a statement of this log.
    fn allow(&self, manifest: Sha256, under: Sha256) -> bool {
        let named = |(envelope, it): &(Envelope, Deletion)| {
            envelope.digest() == under && it.snapshots.iter().any(|s| s.manifest == manifest)
        };
        let expired =
            || self.retention.contains(&under) && self.let_go.iter().any(|s| s.digest == manifest);
        self.statements.iter().any(named) || expired()
    }
}

impl Run<'_, '_> {
    /// What the tier says it deleted, with the statement it names; kept, for its receipts of those
    /// count no longer. An error if it had no right to.
    pub(super) fn notices(
        &mut self,
        deletions: &Deletions,
    ) -> Result<BTreeMap<Sha256, Sha256>, SyncError> {
        let origin = self.push.log.origin().clone();
        let envelopes = self.tier.deleted(&origin)?;
        let (mut gone, mut unasked) = (BTreeMap::new(), Vec::new());
        for envelope in &envelopes {
            let it = Deleted::open(envelope, self.push.region.identity)
                .map_err(|e| protocol(&self.push.region.name, e.to_string()))?;
            let of_this = it.fleet == self.push.fleet.id()
                && it.incarnation == self.incarnation
                && it.origin == origin.as_str();
            if !of_this {
                let why = "its notice of deletion is of another log or store".to_owned();
                return Err(protocol(&self.push.region.name, why));
            }
            for snapshot in it.snapshots {
                if deletions.allow(snapshot.manifest, it.under) {
                    gone.insert(snapshot.manifest, it.under);
                } else {
                    unasked.push(snapshot.sequence);
                }
            }
        }
        if !unasked.is_empty() {
            return Err(self.unasked(unasked));
        }
        self.push.receipts.note_deleted(self.incarnation, &origin, &envelopes)?;
        self.done.gone = gone.len() as u64;
        Ok(gone)
    }

    fn unasked(&self, sequences: Vec<u64>) -> SyncError {
        SyncError::DeletedUnasked { tier: self.name(), sequences }
    }

    /// Carries the statements to the tier that it has not acted on. One that it refuses is named and
    /// stops nothing: custodians have to sign another.
    pub(super) fn carry(
        &mut self,
        deletions: &Deletions,
        gone: &BTreeMap<Sha256, Sha256>,
    ) -> Result<(), SyncError> {
        let mut carried = false;
        for (envelope, it) in &deletions.statements {
            if it.snapshots.iter().all(|s| gone.contains_key(&s.manifest)) {
                continue;
            }
            match self.tier.delete(envelope) {
                Ok(()) => {
                    self.done.deleted += it.snapshots.len() as u64;
                    carried = true;
                }
                Err(TierError::Refused { why, .. }) => {
                    let digest = envelope.digest().to_hex();
                    self.done.refused_deletions.push(format!("{}: {why}", &digest[..12]));
                }
                Err(e) => return Err(e.into()),
            }
        }
        if carried {
            self.notices(deletions)?;
        }
        Ok(())
    }

    /// Has one of the snapshots counted that this node has let go and the tier signed for.
    pub(super) fn count_one_let_go(
        &mut self,
        deletions: &Deletions,
        gone: &BTreeMap<Sha256, Sha256>,
    ) -> Result<(), SyncError> {
        let held: Vec<&Snapshot> = deletions
            .let_go
            .iter()
            .filter(|s| !gone.contains_key(&s.digest) && self.is_receipted(s))
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        let chosen = held[below(held.len() as u64, self.rng) as usize];
        let sequence = chosen.manifest.core.sequence;
        let origin = self.push.log.origin().clone();
        match self.tier.receipt(&origin, chosen.index) {
            Ok(ReceiptAnswer::Given(envelope)) => self.keep(&envelope, chosen),
            Ok(ReceiptAnswer::Missing(_)) => Err(self.unasked(vec![sequence])),
            // It may have expired just now; then it says so.
            Err(TierError::Refused { .. }) => {
                if self.notices(deletions)?.contains_key(&chosen.digest) {
                    return Ok(());
                }
                Err(self.unasked(vec![sequence]))
            }
            Err(e) => Err(e.into()),
        }
    }
}
