//! The rules of one node's log, applied entry by entry.
//!
//! Everyone who reads a log (the region before it commits an entry, `verify`, a restorer) runs
//! this one machine over it: the first entry enrols the node, subkeys are certified by its
//! identity key, and every manifest is signed by a subkey valid at its time and continues the
//! chain of the one before. A log that breaks a rule is refused at that entry, by name.
//!
//! A forget statement names manifests that stand earlier in the log, each once, and never the
//! last of its class and set: whoever has a node's keys cannot make the fleet believe that there
//! is nothing left of it. Nor does it name the newest that a drill has proven. A deletion by the
//! custodians may, where it says so.
//!
//! A log of a later epoch begins with the entries of the one before ([`Epoch`]), so one machine
//! reads through all of them: which origin a manifest must name changes where the root keys say.

mod deletion;
mod epochs;
mod happened;

pub use deletion::LoggedDeletion;
pub use epochs::Continued;

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{NodeId, Seconds, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, VerifyingKey, predicate_type};

use crate::epoch::{epoch_of, node_origin};
use crate::{
    Branch, BreakGlass, Deletion, Drill, Enrolment, Epoch, Event, Fleet, Forget, MAX_OPERATORS,
    Manifest, RecordError, Restored, Retention, Role, SealedRoot, Subkey,
};

/// How far a node's clock may be set back between two snapshots.
const CLOCK_STEP: Seconds = Seconds::hours(25);

/// Most subkeys in one log: one a day for eleven years. Every reader keeps them all.
const MAX_SUBKEYS: usize = 4_096;

/// What an entry turned out to be.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// The node's enrolment.
    Enrolment(Box<Enrolment>),
    /// A signing subkey.
    Subkey(Subkey),
    /// A snapshot, with the digest by which others name it.
    Manifest(Sha256, Box<Manifest>),
    /// The node no longer keeps some of its snapshots.
    Forget(Box<Forget>),
    /// The node was revoked before it wrote this: whatever it says, it does not count.
    Disbelieved,
    /// The log goes on in a new epoch, for which the entry before enrolled the node.
    Epoch(Box<Epoch>),
    /// Snapshots of a branch follow.
    Branch(Box<Branch>),
    /// A snapshot of a branch, which stands outside the chain.
    BranchManifest(Sha256, Box<Manifest>),
    /// The node asked for a restore without the witnesses the policy demands.
    BreakGlass(Box<BreakGlass>),
    /// A drill, and what came of it.
    Drill(Box<Drill>),
    /// A snapshot was used that a quorum had opened.
    Restored(Box<Restored>),
    /// Something the node put on record.
    Event(Box<Event>),
    /// The custodians delete some of its snapshots wherever they are; with the statement's digest.
    Deletion(Sha256, Box<Deletion>),
    /// What regions keep of its snapshots, by the root keys.
    Retention(Box<Retention>),
}

impl Accepted {
    /// A snapshot and its digest, of the chain or of a branch.
    pub fn snapshot(&self) -> Option<(Sha256, &Manifest)> {
        match self {
            Self::Manifest(digest, manifest) | Self::BranchManifest(digest, manifest) => {
                Some((*digest, manifest))
            }
            _ => None,
        }
    }
}

/// Where a log stands after the entries accepted so far.
#[derive(Debug, Clone)]
pub struct LogState {
    fleet: Fleet,
    /// Of the epoch that is being read; the log's own in the end.
    origin: String,
    /// Of the log, whose last epoch this is.
    log: String,
    epochs: epochs::Epochs,
    deletions: deletion::Deletions,
    enrolment: Option<(Enrolment, Envelope)>,
    subkeys: BTreeMap<VerifyingKey, (Subkey, Envelope)>,
    /// Digests of all manifests; the first has sequence number 1.
    manifests: Vec<Sha256>,
    /// Class and set of each of them.
    groups: Vec<(u8, Option<String>)>,
    /// Sequence numbers of those that the last whole drill of them restored.
    proven: BTreeSet<u64>,
    /// Sequence number of the last manifest of each class and set.
    newest: BTreeMap<(u8, Option<String>), u64>,
    /// When each snapshot was forgotten, by its digest.
    forgotten: BTreeMap<Sha256, Timestamp>,
    /// Time of the last statement of a subkey's.
    last_created: Option<Timestamp>,
    entries: u64,
}

impl LogState {
    /// An empty log of `fleet` under `origin`.
    pub fn new(fleet: Fleet, origin: &str) -> Self {
        Self {
            fleet,
            origin: origin.to_owned(),
            log: origin.to_owned(),
            epochs: epochs::Epochs::default(),
            deletions: deletion::Deletions::default(),
            enrolment: None,
            subkeys: BTreeMap::new(),
            manifests: Vec::new(),
            groups: Vec::new(),
            proven: BTreeSet::new(),
            newest: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            last_created: None,
            entries: 0,
        }
    }

    /// How many entries have been accepted.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The node's enrolment, once accepted.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref().map(|(e, _)| e)
    }

    /// The node's enrolment statement.
    pub fn enrolment_envelope(&self) -> Option<&Envelope> {
        self.enrolment.as_ref().map(|(_, e)| e)
    }

    /// Time of the last statement of a subkey's, such as a manifest: a checkpoint is signed by a
    /// subkey that lasted at least so long.
    pub const fn last_created(&self) -> Option<Timestamp> {
        self.last_created
    }

    /// When the snapshot with this manifest was forgotten, if it was.
    pub fn forgotten(&self, manifest: &Sha256) -> Option<Timestamp> {
        self.forgotten.get(manifest).copied()
    }

    /// Keys that may have signed a checkpoint of the entries so far.
    pub fn checkpoint_signers(&self) -> impl Iterator<Item = VerifyingKey> {
        let since = self.last_created();
        let lasted = move |s: &Subkey| since.is_none_or(|t| s.not_after >= t);
        self.subkeys.values().filter(move |(s, _)| lasted(s)).map(|(s, _)| s.key)
    }

    /// Whose log this must be: node and epoch of the enrolment it begins with.
    pub fn owner(&self) -> Option<(NodeId, u32)> {
        self.enrolment().map(|e| (e.node(), e.epoch))
    }

    /// The statement that certified `key`, if this log holds one.
    pub fn subkey(&self, key: VerifyingKey) -> Option<(&Subkey, &Envelope)> {
        self.subkeys.get(&key).map(|(s, e)| (s, e))
    }

    /// All keys that may sign checkpoints of this log at `when`.
    pub fn checkpoint_keys(&self, when: Timestamp) -> impl Iterator<Item = VerifyingKey> {
        self.subkeys.values().filter(move |(s, _)| s.valid_at(when)).map(|(s, _)| s.key)
    }

    /// All subkeys ever certified: for checking checkpoints of the past.
    pub fn all_subkeys(&self) -> impl Iterator<Item = VerifyingKey> {
        self.subkeys.keys().copied()
    }

    /// Digest and sequence of the last manifest.
    pub fn last_manifest(&self) -> Option<(Sha256, u64)> {
        self.manifests.last().map(|digest| (*digest, self.manifests.len() as u64))
    }

    fn manifest_at(&self, sequence: u64) -> Option<Sha256> {
        self.manifests.get(usize::try_from(sequence.checked_sub(1)?).ok()?).copied()
    }

    /// Takes the next entry, or says why the log is not believed from here on.
    pub fn accept(&mut self, entry: &[u8]) -> Result<Accepted, RecordError> {
        if self.is_past_revocation() {
            self.entries += 1;
            return Ok(Accepted::Disbelieved);
        }
        let envelope = Envelope::parse(entry).map_err(RecordError::statement("log entry"))?;
        // Proofs hash the entry, dossiers carry the envelope: there may be one spelling only, or
        // a snapshot could be accepted here and never be provable at its restore.
        if envelope.to_json() != entry {
            return Err(RecordError::refused("log entry", "not in its canonical spelling"));
        }
        let kind = predicate_type(&envelope).map_err(RecordError::statement("log entry"))?;
        self.check_what_must_follow(&kind)?;
        let accepted = match (kind.as_str(), &self.enrolment) {
            (Enrolment::TYPE, None) => self.accept_enrolment(envelope)?,
            (Enrolment::TYPE, Some((owner, _))) => {
                let owner = owner.clone();
                self.accept_next_enrolment(&owner, envelope)?
            }
            (_, None) => {
                return Err(RecordError::refused(
                    "log entry",
                    "the first entry must enrol the node",
                ));
            }
            (Subkey::TYPE, Some((owner, _))) => {
                let subkey = Subkey::open(owner, &envelope)?;
                // A second certificate for a key would move the window in which what it signed
                // earlier is valid: a stolen identity key could disown the node's own past.
                if self.subkeys.contains_key(&subkey.key) {
                    return Err(RecordError::refused(
                        "signing subkey",
                        "certified before in this log",
                    ));
                }
                if self.subkeys.len() == MAX_SUBKEYS {
                    return Err(RecordError::refused("signing subkey", "the log has too many"));
                }
                self.subkeys.insert(subkey.key, (subkey.clone(), envelope));
                Accepted::Subkey(subkey)
            }
            (Manifest::TYPE, Some(_)) => self.accept_manifest(&envelope)?,
            (Forget::TYPE, Some(_)) => self.accept_forget(&envelope)?,
            (Epoch::TYPE, Some(_)) => self.accept_epoch(&envelope)?,
            (Branch::TYPE, Some(_)) => self.accept_branch(&envelope)?,
            (BreakGlass::TYPE, Some(_)) => self.accept_break_glass(&envelope)?,
            (Drill::TYPE, Some(_)) => self.accept_drill(&envelope)?,
            (Restored::TYPE, Some(_)) => self.accept_restored(&envelope)?,
            (Event::TYPE, Some(_)) => self.accept_event(&envelope)?,
            (Deletion::TYPE, Some(_)) => self.accept_deletion(&envelope)?,
            (Retention::TYPE, Some(_)) => self.accept_retention(envelope)?,
            (other, Some(_)) => {
                let why = format!("predicate type {other:?} has no place in a node's log");
                return Err(RecordError::refused("log entry", why));
            }
        };
        self.entries += 1;
        Ok(accepted)
    }

    /// Whether the next entry is behind those that a revoked node is still believed.
    ///
    /// Such entries are counted, so that proofs and mirrors go on, and not even parsed: refusing
    /// them would take everybody else's past in this log along.
    pub fn is_past_revocation(&self) -> bool {
        self.owner()
            .and_then(|(node, epoch)| self.fleet.revocation(node, epoch).zip(Some(epoch)))
            .is_some_and(|(it, epoch)| it.epoch == epoch && self.entries >= it.log_size)
    }

    fn accept_enrolment(&mut self, envelope: Envelope) -> Result<Accepted, RecordError> {
        let enrolment = Enrolment::open(&self.fleet, &envelope, Role::Node)?;
        let (fleet, node) = (enrolment.fleet, enrolment.node());
        // The log of a later epoch begins as that of an earlier one.
        if epoch_of(&self.log, fleet, node).is_some_and(|last| last > enrolment.epoch) {
            self.origin = node_origin(fleet, node, enrolment.epoch);
        }
        let accepted = Accepted::Enrolment(Box::new(enrolment.clone()));
        self.enrolment = Some((enrolment, envelope));
        Ok(accepted)
    }

    fn accept_manifest(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "manifest";
        let manifest = self.open_manifest(envelope)?;
        let core = &manifest.core;
        if core.origin != self.origin {
            return self.accept_branch_manifest(envelope.digest(), manifest);
        }
        self.check_clock(WHAT, core.created)?;
        let (previous, sequence) = self.last_manifest().unzip();
        let expected = sequence.map_or(1, |s| s + 1);
        if core.sequence != expected {
            let why = format!(
                "sequence {} where {expected} must follow: a snapshot was dropped, repeated or rolled back",
                core.sequence
            );
            return Err(RecordError::refused(WHAT, why));
        }
        if core.previous != previous {
            let why = "does not continue from the manifest before it: the history was rewritten";
            return Err(RecordError::refused(WHAT, why));
        }
        let digest = envelope.digest();
        self.manifests.push(digest);
        self.deletions.groups.insert(digest, core.group);
        self.newest.insert((core.class, core.set.clone()), core.sequence);
        self.groups.push((core.class, core.set.clone()));
        self.last_created = Some(core.created);
        Ok(Accepted::Manifest(digest, Box::new(manifest)))
    }

    /// An expired subkey in a thief's hands can only claim to have signed before what was signed
    /// since.
    fn check_clock(&self, what: &'static str, created: Timestamp) -> Result<(), RecordError> {
        match self.last_created {
            Some(last) if created < last.before(CLOCK_STEP) => {
                let why = format!("made {created}, before its predecessor ({last})");
                Err(RecordError::refused(what, why))
            }
            _ => Ok(()),
        }
    }

    fn signer(&self, what: &'static str, envelope: &Envelope) -> Result<&Subkey, RecordError> {
        envelope
            .signers()
            .find_map(|key| self.subkeys.get(&key))
            .map(|(subkey, _)| subkey)
            .ok_or_else(|| RecordError::refused(what, "not signed by a subkey of this log"))
    }

    fn accept_forget(&mut self, envelope: &Envelope) -> Result<Accepted, RecordError> {
        const WHAT: &str = "forget statement";
        let signer = self.signer(WHAT, envelope)?;
        let forget = Statement::<Forget>::open(envelope, &[signer.key], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if forget.fleet != self.fleet.id() {
            let (expected, found) = (self.fleet.id(), forget.fleet);
            return Err(RecordError::OtherFleet { what: WHAT, expected, found });
        }
        if forget.node != signer.node || forget.origin != self.origin {
            return Err(RecordError::refused(
                WHAT,
                "names another node or log than the one it is in",
            ));
        }
        if !signer.valid_at(forget.created) {
            let why = format!("made {} by a subkey that was not valid then", forget.created);
            return Err(RecordError::refused(WHAT, why));
        }
        self.check_clock(WHAT, forget.created)?;
        forget.check_form()?;
        for it in &forget.snapshots {
            let chained = self.manifest_at(it.sequence) == Some(it.manifest);
            let why = if !chained && !self.epochs.is_branch(&it.manifest, it.sequence) {
                "is not a snapshot of this log"
            } else if self.forgotten.contains_key(&it.manifest) {
                "was forgotten before"
            } else if chained && self.newest.values().any(|newest| *newest == it.sequence) {
                "is the last of its class and set, which is never forgotten"
            } else if chained && self.is_last_proven(it.sequence) {
                "is the last of its class and set that a drill has proven, which is never forgotten"
            } else {
                continue;
            };
            return Err(RecordError::refused(WHAT, format!("number {} {why}", it.sequence)));
        }
        let now = forget.created;
        self.forgotten.extend(forget.snapshots.iter().map(|it| (it.manifest, now)));
        self.last_created = Some(now);
        Ok(Accepted::Forget(Box::new(forget)))
    }

    /// Checks one manifest against the keys of this log, without its place in the chain.
    pub fn open_manifest(&self, envelope: &Envelope) -> Result<Manifest, RecordError> {
        const WHAT: &str = "manifest";
        let signer = self.signer(WHAT, envelope)?;
        let manifest = Statement::<Manifest>::open(envelope, &[signer.key], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        check_manifest(&self.fleet, signer, &manifest)?;
        if manifest.core.origin != self.origin && !self.epochs.is_earlier(&manifest.core.origin) {
            let why =
                format!("written for log {:?}, found in {:?}", manifest.core.origin, self.origin);
            return Err(RecordError::refused(WHAT, why));
        }
        Ok(manifest)
    }
}

/// What must hold of any manifest signed by `signer`: fleet, node, validity, group and class.
pub(crate) fn check_manifest(
    fleet: &Fleet,
    signer: &Subkey,
    manifest: &Manifest,
) -> Result<(), RecordError> {
    const WHAT: &str = "manifest";
    let core = &manifest.core;
    if core.fleet != fleet.id() {
        let (expected, found) = (fleet.id(), core.fleet);
        return Err(RecordError::OtherFleet { what: WHAT, expected, found });
    }
    if core.node != signer.node {
        return Err(RecordError::refused(WHAT, "names another node than its signer's"));
    }
    if !signer.valid_at(core.created) {
        let why = format!(
            "made {} with a subkey valid from {} to {}",
            core.created, signer.not_before, signer.not_after
        );
        return Err(RecordError::refused(WHAT, why));
    }
    let group = fleet
        .group(core.group)
        .ok_or_else(|| RecordError::refused(WHAT, "its escrow group is not one of the fleet's"))?;
    if group.class_number != core.class {
        return Err(RecordError::refused(WHAT, "its data class is not its escrow group's"));
    }
    if manifest.capsule.0.len() > Manifest::MAX_CAPSULE {
        return Err(RecordError::refused(WHAT, "its capsule is above 24 KiB"));
    }
    let roots = &manifest.path_index;
    if roots.len() > MAX_OPERATORS || roots.iter().any(|r| r.sealed.0.len() > SealedRoot::MAX) {
        return Err(RecordError::refused(
            WHAT,
            "its path index is sealed to too many, or too long",
        ));
    }
    if roots.windows(2).any(|w| w[0].key >= w[1].key) {
        return Err(RecordError::refused(WHAT, "its path index names operators out of order"));
    }
    core.check_names()
}
