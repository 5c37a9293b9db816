//! What a log's rules owe to epochs, and the statements that concern other snapshots than the next.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement};

use super::{Accepted, LogState};
use crate::epoch::epoch_of;
use crate::{Branch, BreakGlass, Enrolment, Epoch, LogPoint, Manifest, RecordError, Role};

/// Most epochs of one log. Each is a disk that went back in time.
const MAX_EPOCHS: usize = 256;

/// Where a log was continued by the next epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continued {
    /// What the root keys committed to.
    pub point: LogPoint,
    /// Entries of it that stand in this log; fewer than committed to if some could be had from
    /// nobody. If it has them all, its root at this size must be the one committed to.
    pub held: u64,
}

/// What a log has said of epochs so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Epochs {
    /// The enrolment for a new epoch, whose epoch statement must be the next entry.
    next: Option<(Enrolment, Envelope)>,
    /// Where earlier epochs' logs were continued, oldest first.
    continued: Vec<Continued>,
    /// Snapshots of branches that must follow now.
    announced: BTreeSet<Sha256>,
    /// Snapshots of branches, with the sequence numbers they had there.
    branches: BTreeMap<Sha256, u64>,
}

impl Epochs {
    pub(super) fn is_earlier(&self, origin: &str) -> bool {
        self.continued.iter().any(|it| it.point.origin == origin)
    }

    pub(super) fn is_branch(&self, manifest: &Sha256, sequence: u64) -> bool {
        self.branches.get(manifest) == Some(&sequence)
    }
}

impl LogState {
    /// Where the logs of earlier epochs were continued, oldest first. *Roots are for those to
    /// check who hold the entries.*
    pub fn continued(&self) -> &[Continued] {
        &self.epochs.continued
    }

    /// Origin line of the epoch that is being read.
    pub fn epoch_origin(&self) -> &str {
        &self.origin
    }

    /// Whether all epochs the log's origin names have been read.
    pub fn is_current(&self) -> bool {
        self.origin == self.log
    }

    /// Whether the manifest stands in this log, in the chain or as a branch.
    pub fn has_snapshot(&self, manifest: &Sha256) -> bool {
        self.epochs.branches.contains_key(manifest) || self.manifests.contains(manifest)
    }

    /// A new epoch's enrolment is followed by its statement, an announced branch by its snapshots
    /// and the certificates of those who signed them, and nothing comes in between.
    pub(super) fn check_what_must_follow(&self, kind: &str) -> Result<(), RecordError> {
        if self.epochs.next.is_some() && kind != Epoch::TYPE {
            let why = "an enrolment for a new epoch is followed by its epoch statement";
            return Err(RecordError::refused("log entry", why));
        }
        let of_branch = [Manifest::TYPE, crate::Subkey::TYPE].contains(&kind);
        if !self.epochs.announced.is_empty() && !of_branch {
            let why = "the snapshots of an announced branch follow first";
            return Err(RecordError::refused("log entry", why));
        }
        Ok(())
    }

    pub(super) fn accept_next_enrolment(
        &mut self,
        owner: &Enrolment,
        envelope: Envelope,
    ) -> Result<Accepted, RecordError> {
        const WHAT: &str = "enrolment";
        let it = Enrolment::open(&self.fleet, &envelope, Role::Node)?;
        let last = epoch_of(&self.log, owner.fleet, owner.node());
        if last.is_none_or(|last| it.epoch > last) || self.is_current() {
            let why = "a log has one, and further ones only for the epochs up to its own";
            return Err(RecordError::refused(WHAT, why));
        }
        if it.node() != owner.node() || it.tenant != owner.tenant || it.epoch <= owner.epoch {
            let why = "for another node or tenant, or for no later epoch";
            return Err(RecordError::refused(WHAT, why));
        }
        let accepted = Accepted::Enrolment(Box::new(it.clone()));
        self.epochs.next = Some((it, envelope));
        Ok(accepted)
    }

    pub(super) fn accept_epoch(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "epoch statement";
        let (enrolment, statement) = self.epochs.next.clone().ok_or_else(|| {
            RecordError::refused(WHAT, "stands only behind the enrolment for its epoch")
        })?;
        let it = Epoch::open(&self.fleet, envelope, &enrolment, statement.digest())?;
        if it.continues.origin != self.origin {
            return Err(RecordError::refused(WHAT, "does not continue the epoch before it"));
        }
        // The enrolment is the last of the entries accepted so far.
        let held = self.entries.saturating_sub(1);
        if it.continues.size < held {
            let why = format!(
                "continues from {} entries where {held} of that epoch stand",
                it.continues.size
            );
            return Err(RecordError::refused(WHAT, why));
        }
        if self.epochs.continued.len() == MAX_EPOCHS {
            return Err(RecordError::refused(WHAT, "the log has too many epochs"));
        }
        self.epochs.next = None;
        self.epochs.continued.push(Continued { point: it.continues.clone(), held });
        self.origin = it.origin();
        self.enrolment = Some((enrolment, statement));
        Ok(Accepted::Epoch(Box::new(it)))
    }

    pub(super) fn accept_branch(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "branch statement";
        let it: Branch = self.by_subkey(WHAT, envelope, |it: &Branch| {
            (it.fleet, it.node, it.origin.clone(), it.created)
        })?;
        self.check_clock(WHAT, it.created)?;
        if !self.epochs.is_earlier(&it.of) {
            return Err(RecordError::refused(WHAT, "is of no earlier epoch of this log"));
        }
        let announced: BTreeSet<Sha256> = it.manifests.iter().copied().collect();
        let distinct = announced.len() == it.manifests.len();
        if announced.is_empty() || announced.len() > Branch::MAX || !distinct {
            return Err(RecordError::refused(WHAT, "names none, one twice, or more than 256"));
        }
        if announced.iter().any(|digest| self.has_snapshot(digest)) {
            return Err(RecordError::refused(WHAT, "names a snapshot this log has already"));
        }
        self.epochs.announced = announced;
        Ok(Accepted::Branch(Box::new(it)))
    }

    /// A snapshot of an earlier epoch, which only an announcement lets in: an expired subkey in a
    /// thief's hands could otherwise write history as it likes.
    pub(super) fn accept_branch_manifest(
        &mut self,
        digest: Sha256,
        manifest: Manifest,
    ) -> Result<Accepted, RecordError> {
        if !self.epochs.announced.remove(&digest) {
            let why = "made in an earlier epoch, and no branch statement announces it";
            return Err(RecordError::refused("manifest", why));
        }
        self.epochs.branches.insert(digest, manifest.core.sequence);
        self.deletions.groups.insert(digest, manifest.core.group);
        Ok(Accepted::BranchManifest(digest, Box::new(manifest)))
    }

    pub(super) fn accept_break_glass(
        &mut self,
        envelope: &Envelope,
    ) -> Result<Accepted, RecordError> {
        const WHAT: &str = "break-glass statement";
        let signer = self.signer(WHAT, envelope)?;
        let it = BreakGlass::open(envelope, signer.key)?;
        if it.fleet != self.fleet.id() || it.requester != signer.node {
            return Err(RecordError::refused(WHAT, "in the name of another fleet or node"));
        }
        if !signer.valid_at(it.created) {
            return Err(RecordError::refused(WHAT, "made by a subkey that was not valid then"));
        }
        Ok(Accepted::BreakGlass(Box::new(it)))
    }

    /// Opens a statement of this log's node about itself: signed by a subkey valid at its time,
    /// for this fleet, node and epoch. `names` reads those from it.
    fn by_subkey<P: Predicate>(
        &self,
        what: &'static str,
        envelope: &Envelope,
        names: impl FnOnce(&P) -> (FleetId, NodeId, String, Timestamp),
    ) -> Result<P, RecordError> {
        let signer = self.signer(what, envelope)?;
        let it = Statement::<P>::open(envelope, &[signer.key], 1)
            .map_err(RecordError::statement(what))?
            .predicate;
        let (fleet, node, origin, created) = names(&it);
        if fleet != self.fleet.id() {
            return Err(RecordError::OtherFleet { what, expected: self.fleet.id(), found: fleet });
        }
        if node != signer.node || origin != self.origin {
            let why = "names another node or log than the one it is in";
            return Err(RecordError::refused(what, why));
        }
        if !signer.valid_at(created) {
            let why = format!("made {created} by a subkey that was not valid then");
            return Err(RecordError::refused(what, why));
        }
        Ok(it)
    }
}
