//! Drills, restores and events as a node's log has them.
//!
//! A drill of a snapshot of this log is held to the manifest it names, and decides whether that
//! snapshot counts as proven: the newest proven of each class and set is not forgotten. One of a
//! branch is none of the chain, and protects nothing. What a
//! drill says of another node's snapshot is for whoever has both logs to judge.

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement};

use super::{Accepted, LogState};
use crate::{Drill, Event, RecordError, Restored, SnapshotPlace};

/// Whose a statement says it is, where it says it stands, and when it was made.
struct Head<'a> {
    fleet: FleetId,
    node: NodeId,
    origin: &'a str,
    created: Timestamp,
}

impl LogState {
    /// Opens a statement a node makes about itself in its own log.
    fn open_own<P: Predicate>(
        &self,
        what: &'static str,
        envelope: &Envelope,
        head: impl Fn(&P) -> Head<'_>,
    ) -> Result<P, RecordError> {
        let signer = self.signer(what, envelope)?;
        let it = Statement::<P>::open(envelope, &[signer.key], 1)
            .map_err(RecordError::statement(what))?
            .predicate;
        let Head { fleet, node, origin, created } = head(&it);
        if fleet != self.fleet.id() {
            let (expected, found) = (self.fleet.id(), fleet);
            return Err(RecordError::OtherFleet { what, expected, found });
        }
        if node != signer.node || origin != self.origin {
            return Err(RecordError::refused(what, "names another node or log than it is in"));
        }
        if !signer.valid_at(created) {
            let why = format!("made {created} by a subkey that was not valid then");
            return Err(RecordError::refused(what, why));
        }
        self.check_clock(what, created)?;
        Ok(it)
    }

    /// Whether an origin is this log's, in this epoch or an earlier one.
    fn is_own(&self, origin: &str) -> bool {
        origin == self.origin || self.epochs.is_earlier(origin)
    }

    /// A snapshot that is said to be of this log must be, in its chain or in a branch of it.
    fn check_place(&self, what: &'static str, place: &SnapshotPlace) -> Result<(), RecordError> {
        let is_there = self.manifest_at(place.sequence) == Some(place.manifest)
            || self.epochs.is_branch(&place.manifest, place.sequence);
        if !self.is_own(&place.origin) || is_there {
            return Ok(());
        }
        let why = format!("number {} is not the snapshot it names", place.sequence);
        Err(RecordError::refused(what, why))
    }

    pub(super) fn accept_drill(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "drill statement";
        let drill: Drill = self.open_own(WHAT, envelope, |it: &Drill| Head {
            fleet: it.fleet,
            node: it.node,
            origin: &it.origin,
            created: it.created,
        })?;
        drill.check_form()?;
        if let Some(place) = &drill.snapshot {
            self.check_place(WHAT, place)?;
            let is_chained = self.manifest_at(place.sequence) == Some(place.manifest);
            if !self.is_own(&place.origin) && drill.whole && drill.proves() {
                self.deletions.proven_elsewhere.insert(place.manifest);
            }
            if self.is_own(&place.origin) && is_chained && drill.whole {
                if drill.proves() {
                    self.proven.insert(place.sequence);
                    self.deletions.ever_proven.insert(place.sequence);
                } else {
                    self.proven.remove(&place.sequence);
                }
            }
        }
        self.last_created = Some(drill.created);
        Ok(Accepted::Drill(Box::new(drill)))
    }

    pub(super) fn accept_restored(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "restored statement";
        let it: Restored = self.open_own(WHAT, envelope, |it: &Restored| Head {
            fleet: it.fleet,
            node: it.node,
            origin: &it.origin,
            created: it.created,
        })?;
        it.check_form()?;
        self.check_place(WHAT, &it.snapshot)?;
        self.last_created = Some(it.created);
        Ok(Accepted::Restored(Box::new(it)))
    }

    pub(super) fn accept_event(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "event";
        let it: Event = self.open_own(WHAT, envelope, |it: &Event| Head {
            fleet: it.fleet,
            node: it.node,
            origin: &it.origin,
            created: it.created,
        })?;
        it.check_form()?;
        self.last_created = Some(it.created);
        Ok(Accepted::Event(Box::new(it)))
    }

    /// Whether this snapshot is the one of this number in the log's chain, rather than in a branch.
    pub fn is_chained(&self, sequence: u64, manifest: Sha256) -> bool {
        self.manifest_at(sequence) == Some(manifest)
    }

    /// Whether the last whole drill of this snapshot of this log restored it.
    pub fn is_proven(&self, sequence: u64) -> bool {
        self.proven.contains(&sequence)
    }

    /// Whether it is the newest proven one of its class and set that is not forgotten.
    pub(super) fn is_last_proven(&self, sequence: u64) -> bool {
        let group =
            |sequence: u64| self.groups.get(usize::try_from(sequence.checked_sub(1)?).ok()?);
        let is_forgotten =
            |s: u64| self.manifest_at(s).is_some_and(|it| self.forgotten.contains_key(&it));
        let held = |s: &&u64| !is_forgotten(**s) && group(**s) == group(sequence);
        self.proven.iter().rev().find(held) == Some(&sequence)
    }
}
