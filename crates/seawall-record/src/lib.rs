//! Predicate types of every statement, the public reference-set tree, and the order in which a
//! log of statements is verified.
//!
//! Floor 2. What the fleet's members say to one another is defined here and nowhere else, with
//! the rules that make a sequence of such sayings believable ([`LogState`]).
//!
//! It must not know: how an object is sealed, what a capsule's bytes mean, how a log is stored
//! or proven. A capsule is opaque bytes here; an origin is a string.

mod arrival;
mod break_glass;
mod bundle;
mod ceremony;
mod custodian_card;
mod custody;
mod delegation;
mod deletion;
mod deletion_file;
mod dossier;
mod drill;
mod encoding;
mod enrolment;
mod epoch;
mod evidence;
mod fleet;
mod fleet_policy;
mod forget;
mod genesis;
mod group_change;
mod group_file;
mod happened;
mod index_policy;
mod introduction;
mod log_state;
mod manifest;
pub mod reference_set;
mod request;
mod share_hand_over;
mod share_report;

pub use arrival::{Arrival, Arrived, BadShareFile, MAX_ARRIVAL, OpenedBadShare};
pub use break_glass::BreakGlass;
pub use bundle::{
    BundlePredicate, EnrolmentBundle, FleetCard, MAX_BUNDLE, MemberCard, OpenedBundle, PolicyChain,
    RegionAddress, RegionCard,
};
pub use ceremony::{
    Ceremony, CeremonyKind, CeremonyMessage, CeremonyOpening, CeremonyResult, CeremonyStep,
    KnowledgeProof, MAX_CEREMONY_FILE, MAX_PARTICIPANTS, MessageFile, Participant, SealedPart,
    open_accept, open_message,
};
pub use custodian_card::{CustodianCard, fingerprint};
pub use custody::{
    Act, Alive, AliveOutlook, CustodianAct, PersonVerdict, SeenAbout, SeenGlass, Unable,
};
pub use delegation::{Delegable, Delegation};
pub use deletion::{Deleted, Deletion, Retention};
pub use deletion_file::{DeletionFile, MAX_DELETION_FILE, Signed};
pub use dossier::{Dossier, DossierParts, MAX_DOSSIER, VerifiedDossier};
pub use drill::{Drill, DrillKind, ResourceDescriptor, SnapshotPlace, TestResult, Verdict};
pub use encoding::{Base64, Hex32};
pub use enrolment::{Enrolment, Role, Subkey};
pub use epoch::{Branch, Epoch, LogPoint, node_origin};
pub use evidence::{Beginning, EvidenceFile, MAX_EVIDENCE, OpenedEvidence, Sighting};
pub use fleet::{Fleet, MAX_POLICIES, Pin};
pub use fleet_policy::{DeletionRule, EarlierLog, FleetPolicy, Revocation, WitnessQuorum};
pub use forget::{Forget, Forgotten};
pub use genesis::{CustodianRecord, Endpoint, EscrowGroupRecord, Genesis, SUITE_PQ, WitnessRecord};
pub use group_change::GroupChange;
pub use group_file::GroupFile;
pub use happened::{Ending, Event, Restored, Use};
pub use index_policy::{IndexPolicy, MAX_OPERATORS, Operator, OperatorCard};
pub use introduction::{Introduced, Introduction, MAX_INTRODUCED, MAX_INTRODUCTION};
pub use log_state::{Accepted, Continued, LogState, LoggedDeletion};
pub use manifest::{
    MAX_TAG, MAX_TAGS, Manifest, ManifestCore, ReferenceSet, SealedRoot, Totals, check_tag,
};
pub use request::{Approval, Receipt, Request};
pub use share_hand_over::{HandOverFile, HandedOver, MAX_HAND_OVERS, ShareHandOver};
pub use share_report::{ShareBad, ShareGood, ShareSubject};

use seawall_base::FleetId;
use seawall_sign::SignError;

/// Why a statement, or a sequence of them, is not believed. None is cured by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A signature or the form of a statement.
    #[error("{what}: {source}")]
    Statement {
        /// Which statement.
        what: &'static str,
        /// What is wrong with it.
        source: SignError,
    },
    /// It belongs to another fleet.
    #[error("{what} belongs to {found}, not to {expected}")]
    OtherFleet {
        /// Which statement.
        what: &'static str,
        /// The fleet expected.
        expected: FleetId,
        /// The fleet found.
        found: FleetId,
    },
    /// It is said by a member that was revoked before.
    #[error("{what} was revoked ({reason}): what it says since is not believed")]
    Revoked {
        /// Which member.
        what: &'static str,
        /// The reason in the fleet's policy.
        reason: String,
    },
    /// A rule of the record is broken.
    #[error("{what}: {why}")]
    Refused {
        /// Which statement.
        what: &'static str,
        /// The rule.
        why: String,
    },
}

impl RecordError {
    fn refused(what: &'static str, why: impl Into<String>) -> Self {
        Self::Refused { what, why: why.into() }
    }

    fn revoked(what: &'static str, revocation: &Revocation) -> Self {
        Self::Revoked { what, reason: revocation.reason.clone() }
    }

    fn statement(what: &'static str) -> impl FnOnce(SignError) -> Self {
        move |source| Self::Statement { what, source }
    }
}

/// Checks a free text: printable, one line, bounded. What people read must not fool a terminal.
pub fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), RecordError> {
    if text.is_empty() || text.len() > limit || text.chars().any(is_deceptive) {
        let why =
            format!("text must be 1 to {limit} bytes without control or invisible characters");
        return Err(RecordError::refused(what, why));
    }
    Ok(())
}

/// As [`check_text`], for the name of a key that cosigns: it stands in signature lines (C2SP
/// signed-note), which know neither white space nor plus signs in names.
pub fn check_key_name(what: &'static str, name: &str, limit: usize) -> Result<(), RecordError> {
    check_text(what, name, limit)?;
    if name.contains(|c: char| c == '+' || c.is_whitespace()) {
        let why = format!(
            "{name:?} cannot be the name of a key that cosigns: no spaces, no plus signs; use dashes"
        );
        return Err(RecordError::refused(what, why));
    }
    Ok(())
}

/// Control characters, and those that turn or hide what is around them (Unicode bidirectional
/// and zero-width formatting).
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}
