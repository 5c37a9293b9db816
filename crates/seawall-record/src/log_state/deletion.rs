//! Deletions and retention as a node's log has them.
//!
//! Each is judged by the version of the policy it names, which must be in the chain: a log that was
//! good once stays good when custodians or root keys change. What is deleted counts as forgotten by
//! its node, too.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{GroupId, Sha256, Timestamp};
use seawall_sign::Envelope;

use super::{Accepted, LogState};
use crate::{Deletion, FleetPolicy, Forgotten, RecordError, Retention};

/// A deletion as it stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedDeletion {
    /// Digest of the statement.
    pub statement: Sha256,
    /// Its entry.
    pub index: u64,
    /// Who signed it, by name.
    pub by: Vec<String>,
    /// Why.
    pub reason: String,
    /// When it was proposed.
    pub created: Timestamp,
}

/// What a log has said of deletions so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Deletions {
    /// In the order in which they stand in the log.
    logged: Vec<LoggedDeletion>,
    /// Each deleted snapshot, with the first statement that names it.
    of: BTreeMap<Sha256, usize>,
    /// The escrow group of each snapshot.
    pub(super) groups: BTreeMap<Sha256, GroupId>,
    /// What regions keep, and the statement that says so.
    retention: Option<(Retention, Envelope)>,
    /// Sequence numbers of those that a whole drill ever restored.
    pub(super) ever_proven: BTreeSet<u64>,
    /// Snapshots of other logs that a whole drill of this one's node restored.
    pub(super) proven_elsewhere: BTreeSet<Sha256>,
}

impl LogState {
    /// The deletion that names a snapshot first, if one does.
    pub fn deleted(&self, manifest: &Sha256) -> Option<&LoggedDeletion> {
        self.deletions.of.get(manifest).map(|&at| &self.deletions.logged[at])
    }

    /// The deletion with this digest, if it stands in this log.
    pub fn deletion(&self, statement: &Sha256) -> Option<&LoggedDeletion> {
        self.deletions.logged.iter().find(|it| it.statement == *statement)
    }

    /// What regions keep of this node's snapshots, and the statement that says so. *Whether today's
    /// root keys stand behind it is for whoever acts on it to ask.*
    pub fn retention(&self) -> Option<(&Retention, &Envelope)> {
        self.deletions.retention.as_ref().map(|(it, envelope)| (it, envelope))
    }

    /// How many deletions stand in this log.
    pub fn deletions(&self) -> usize {
        self.deletions.logged.len()
    }

    /// The escrow group of a snapshot of this log.
    pub fn group_of(&self, manifest: &Sha256) -> Option<GroupId> {
        self.deletions.groups.get(manifest).copied()
    }

    /// Whether a whole drill of this snapshot of this log's chain ever restored it, whatever later
    /// drills of it said: what a node's own log can add to, and never take back.
    pub fn was_proven(&self, sequence: u64) -> bool {
        self.deletions.ever_proven.contains(&sequence)
    }

    /// Snapshots of other logs that this log's node has restored in a whole drill. *Its word alone:
    /// it may keep a snapshot, and must let none go.*
    pub fn proved_for_others(&self) -> impl Iterator<Item = Sha256> + '_ {
        self.deletions.proven_elsewhere.iter().copied()
    }

    /// Whether it is the newest of its class and set, or the last of them that a drill has proven.
    pub fn is_last(&self, it: &Forgotten) -> bool {
        let chained = self.is_chained(it.sequence, it.manifest);
        let newest = || self.newest.values().any(|newest| *newest == it.sequence);
        chained && (newest() || self.is_last_proven(it.sequence))
    }

    /// Checks a deletion of snapshots of this log by a version of the fleet's policy.
    pub fn check_deletion(
        &self,
        envelope: &Envelope,
        policy: &FleetPolicy,
    ) -> Result<Deletion, RecordError> {
        const WHAT: &str = "deletion statement";
        let claimed = Deletion::read_unverified(envelope)?;
        if claimed.fleet != self.fleet.id() {
            let (expected, found) = (self.fleet.id(), claimed.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        let owner = self.owner().map(|(node, _)| node);
        if Some(claimed.node) != owner || claimed.origin != self.origin {
            let why = "names another node or log than the one it is in";
            return Err(RecordError::refused(WHAT, why));
        }
        let mut groups = BTreeSet::new();
        for it in &claimed.snapshots {
            let here = self.is_chained(it.sequence, it.manifest)
                || self.epochs.is_branch(&it.manifest, it.sequence);
            let Some(group) = self.group_of(&it.manifest).filter(|_| here) else {
                let why = format!("number {} is not a snapshot of this log", it.sequence);
                return Err(RecordError::refused(WHAT, why));
            };
            groups.insert(group);
        }
        // What was deleted before is the last of nothing.
        let last = claimed.snapshots.iter().any(|it| self.is_last(it));
        Deletion::open(envelope, policy, &groups, last)
    }

    fn policy_named(&self, what: &'static str, version: u64) -> Result<FleetPolicy, RecordError> {
        self.fleet.policy_of(version).ok_or_else(|| {
            let why = format!(
                "names version {version} of the fleet's policy, which is not among those known here"
            );
            RecordError::refused(what, why)
        })
    }

    pub(super) fn accept_deletion(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "deletion statement";
        let digest = envelope.digest();
        if self.deletion(&digest).is_some() {
            return Err(RecordError::refused(WHAT, "stands in this log already"));
        }
        let policy = self.policy_named(WHAT, Deletion::read_unverified(envelope)?.policy)?;
        let it = self.check_deletion(envelope, &policy)?;
        if self.last_created.is_some_and(|last| it.expires < last) {
            return Err(RecordError::refused(WHAT, "had expired when it was logged"));
        }
        let at = self.deletions.logged.len();
        self.deletions.logged.push(LoggedDeletion {
            statement: digest,
            index: self.entries,
            by: Deletion::signers(envelope, &policy),
            reason: it.reason.clone(),
            created: it.created,
        });
        for gone in &it.snapshots {
            self.deletions.of.entry(gone.manifest).or_insert(at);
            self.forgotten.entry(gone.manifest).or_insert(it.created);
        }
        self.find_newest();
        Ok(Accepted::Deletion(digest, Box::new(it)))
    }

    /// The newest of each class and set among those that are left.
    fn find_newest(&mut self) {
        self.newest.clear();
        for (sequence, (digest, group)) in (1..).zip(self.manifests.iter().zip(&self.groups)) {
            if !self.deletions.of.contains_key(digest) {
                self.newest.insert(group.clone(), sequence);
            }
        }
    }

    pub(super) fn accept_retention(&mut self, envelope: Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "retention statement";
        let claimed = seawall_sign::Statement::<Retention>::read_unverified(&envelope)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        let policy = self.policy_named(WHAT, claimed.policy)?;
        let it = Retention::open(&envelope, &policy)?;
        if self.owner().is_none_or(|(node, _)| node != it.node) {
            return Err(RecordError::refused(WHAT, "names another node than its log's"));
        }
        let held = self.retention().map_or(0, |(held, _)| held.version);
        if it.version <= held {
            let why = format!("version {} where {held} holds", it.version);
            return Err(RecordError::refused(WHAT, why));
        }
        self.deletions.retention = Some((it.clone(), envelope));
        Ok(Accepted::Retention(Box::new(it)))
    }
}
