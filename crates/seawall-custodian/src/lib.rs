//! The custodian: its home, its part in ceremonies, and its answers to requests.
//!
//! Floor 6, a composition root: it keeps keys and shares in a [`CustodianHome`], and takes part in
//! [`ceremony`]. Requests and approvals are files. It links
//! no sealing, no store and no backup code, so a custodian cannot read content even by mistake.
//!
//! A capsule of suite 2 or 3 has a post-quantum share for each custodian; [`ArrivedManifest`] looks at
//! it as soon as a manifest is seen, and an answer carries it beside the partial.
//!
//! Whoever answers and whoever restores look at a request through the same [`examine`]: in
//! DESIGN's order, fleet id, node key and subkey, log inclusion, capsule proof and label.

pub mod ceremony;
mod deletion;
mod hand_over;
mod home;
mod quorum;
mod witness;

pub use deletion::sign_deletion;
pub use hand_over::{
    HandedOn, check_hand_overs, hand_on, hand_over_shares, hand_overs_to, shares_of,
};
pub use home::{
    Ask, AskPassphrase, CustodianHome, CustodyError, HomeLock, Joined, Moved, NO_FLEET, OpenToken,
};
pub mod message;
mod notify;
mod office;
mod post_quantum;
mod routes;
mod serving;
mod token;
mod vouching;

pub use notify::{Notifier, parse_webhook};
pub use office::{
    ACCEPTED_CLOCK, AcceptedClock, CASES, CaseList, HeldShare, ListedCase, LogKeys, MAX_CASES,
    Office, OfficeError, OfficeParts, ReadLog, Rules, ShareTrouble, Unvouched, VERDICTS,
    export_log, read_log,
};
pub use post_quantum::{ArrivedManifest, JudgedShare, ShareReport, judge_bad_share, kem_keys};
pub use quorum::{reached, roster};
pub use serving::{Renewal, run_until_signal};
pub use token::{AskPin, PinState, Token, TokenError, TokenPin};
pub use witness::{DeskError, WitnessDesk};

use seawall_base::{Clock, GroupId, Rng, Sha256, Timestamp};
use seawall_escrow::{
    Capsule, CapsuleError, CheckedCapsule, Demand, Group, GroupError, KemSecret, LabelFields,
    OneTimeError, OneTimePublic, OneTimeSecret, Partial, PartialError, PqShare, ShareFileError,
    SharePublic, ShareSecret, VerifiedPartial,
};
use seawall_policy::witness::Reached;
use seawall_record::{
    Approval, Base64, Dossier, DossierParts, EscrowGroupRecord, Fleet, Manifest, Pin, RecordError,
    SeenAbout, SeenGlass, VerifiedDossier,
};
use seawall_sign::{Envelope, SignError, Statement, StatementKey, VerifyingKey};
use seawall_tlog::{CheckpointError, Kind, MerkleError, NoteError, SignedCheckpoint, Verifier};

/// HPKE `info` of a sealed partial: separates it from everything else sealed to one-time keys.
const PARTIAL_INFO: &[u8] = b"seawall 2026-11 sealed partial v1";

/// Why a request was not answered, or an approval not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    /// A statement in the file, or what it refers to.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The checkpoint's form.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is not signed by the node's subkey.
    #[error("the checkpoint, by the node's subkey: {0}")]
    Note(#[from] NoteError),
    /// The snapshot is not in the log it claims to be in.
    #[error("the manifest is not in its node's log at index {index}: {source}")]
    NotIncluded {
        /// The claimed index.
        index: u64,
        /// What the proof says.
        source: MerkleError,
    },
    /// Too few of the policy's witnesses vouch for the log.
    #[error(
        "too few witnesses vouch for the snapshot's log ({0}): ask again when they can be reached, or with --break-glass"
    )]
    NotWitnessed(Box<Reached>),
    /// The checkpoint is another log's.
    #[error("the checkpoint is of log {found:?}, the manifest of {expected:?}")]
    OtherLog {
        /// The manifest's log.
        expected: String,
        /// The checkpoint's log.
        found: String,
    },
    /// The escrow group in the genesis statement.
    #[error("escrow group: {0}")]
    Group(#[from] GroupError),
    /// The capsule.
    #[error("capsule: {0}")]
    Capsule(#[from] CapsuleError),
    /// The request is too old.
    #[error("the request expired {0}; ask for a new one")]
    Expired(Timestamp),
    /// The request comes from the future.
    #[error("the request was made {0}, which is still to come; compare the clocks")]
    FromTheFuture(Timestamp),
    /// The share cannot help this request.
    #[error(
        "this share is of {found} ({class}), the snapshot needs {expected}; use the share of that group"
    )]
    OtherGroup {
        /// The group of the snapshot.
        expected: GroupId,
        /// The group of the share.
        found: GroupId,
        /// The class of the share.
        class: String,
    },
    /// The share file.
    #[error(transparent)]
    Share(#[from] ShareFileError),
    /// The signing key in the share is not the recorded one.
    #[error(
        "the share's signing key is not the one recorded for custodian {0}; was the file altered?"
    )]
    OtherSigner(u16),
    /// A partial.
    #[error("partial: {0}")]
    Partial(#[from] PartialError),
    /// A signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The one-time key or what was encrypted to it.
    #[error("one-time key: {0}")]
    OneTime(#[from] OneTimeError),
    /// An approval that does not belong to this request.
    #[error("the approval {0}")]
    Misplaced(String),
}

/// What an answer without a post-quantum share is worth, and what helps.
pub const NO_QUANTUM_SHARE: &str = "this custodian has no post-quantum share of this snapshot: its answer counts towards k, not towards the post-quantum half; ask as many others as it takes to answer, or to hand theirs over to it (custodian hand-over)";

/// A request that may be answered: everything in it has been checked but the clock.
#[derive(Debug)]
pub struct Examined {
    /// The statements.
    pub dossier: VerifiedDossier,
    /// The escrow group, its points checked.
    pub group: Group,
    /// The capsule, its proof checked under the manifest's label.
    pub capsule: CheckedCapsule,
    /// Entries of the log when the checkpoint was signed.
    pub log_size: u64,
    /// Who of the policy's witnesses vouches for it.
    pub witnessed: Reached,
}

/// What to think of a capsule without a post-quantum half, made more than ninety days after its
/// group had demanded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classical {
    /// A downgrade.
    Refused,
    /// Of a node that was cut off so long: somebody who knows it said so.
    Accepted,
}

/// Checks a request file against the pinned fleet id, or against all that is known of the fleet.
pub fn examine<'p>(json: &[u8], pin: impl Into<Pin<'p>>) -> Result<Examined, CustodianError> {
    examine_with(json, pin, Classical::Refused)
}

/// As [`examine`], where a person may have said what else to accept. Machines do not.
pub fn examine_with<'p>(
    json: &[u8],
    pin: impl Into<Pin<'p>>,
    classical: Classical,
) -> Result<Examined, CustodianError> {
    let parts = Dossier::parse(json)?;
    let dossier = parts.verify(pin)?;
    let log_size = check_inclusion(&parts, &dossier)?;
    let (group, capsule) = check_capsule(&dossier.fleet, &dossier.manifest, classical)?;
    let signed = SignedCheckpoint::parse(parts.checkpoint.as_bytes())?;
    let witnessed = reached(&dossier.fleet, &roster(dossier.fleet.policy()), [&signed]);
    // Never a dead end: who asks may say why it cannot wait, and everybody is shown that.
    if !witnessed.suffices() && dossier.break_glass.is_none() {
        return Err(CustodianError::NotWitnessed(Box::new(witnessed)));
    }
    Ok(Examined { dossier, group, capsule, log_size, witnessed })
}

/// Checks a manifest's capsule: its group, its proof under the manifest's label, and that it is
/// of the suite that the group demanded when it was made.
fn check_capsule(
    fleet: &Fleet,
    manifest: &Manifest,
    classical: Classical,
) -> Result<(Group, CheckedCapsule), CustodianError> {
    let core = &manifest.core;
    let group = Group::of_record(group_record(fleet, core.group)?)?;
    let demand = Demand::of_history(&fleet.group_history(core.group), core.created);
    let demand = if classical == Classical::Accepted { demand.or_classical() } else { demand };
    let capsule = Capsule::decode(&manifest.capsule.0)?;
    let capsule = capsule.check(&group, &LabelFields::of_manifest(core), &demand)?;
    Ok((group, capsule))
}

fn group_record(fleet: &Fleet, group: GroupId) -> Result<&EscrowGroupRecord, CustodianError> {
    fleet.group(group).ok_or_else(|| {
        CustodianError::Misplaced("names an escrow group the fleet does not have".to_owned())
    })
}

/// The manifest must be in the log, under a checkpoint the node's own subkey signed.
fn check_inclusion(parts: &DossierParts, dossier: &VerifiedDossier) -> Result<u64, CustodianError> {
    let signed = SignedCheckpoint::parse(parts.checkpoint.as_bytes())?;
    let checkpoint = signed.checkpoint();
    let expected = &dossier.request.origin;
    if checkpoint.origin.as_str() != expected {
        let (expected, found) = (expected.clone(), checkpoint.origin.as_str().to_owned());
        return Err(CustodianError::OtherLog { expected, found });
    }
    let author = &dossier.author;
    let owner = Some((dossier.fleet.id(), author.node(), author.epoch));
    if checkpoint.origin.node() != owner {
        let found = checkpoint.origin.as_str().to_owned();
        let expected = format!("a log of {} in epoch {}", author.node(), author.epoch);
        return Err(CustodianError::OtherLog { expected, found });
    }
    let key = Verifier::new(expected, Kind::Signer, &dossier.checkpoint_subkey.key)?;
    signed.verify(&[key])?;
    let leaf = seawall_tlog::merkle::leaf_hash(&parts.manifest.to_json());
    let index = dossier.request.index;
    seawall_tlog::merkle::verify_inclusion(
        &leaf,
        index,
        checkpoint.size,
        &checkpoint.root,
        &parts.inclusion,
    )
    .map_err(|source| CustodianError::NotIncluded { index, source })?;
    Ok(checkpoint.size)
}

impl Examined {
    /// Whether the requester says that it cannot wait: too few of the policy's witnesses vouch, or,
    /// where enough do, it has seen a newer history than it can show.
    pub const fn breaks_glass(&self) -> bool {
        self.dossier.break_glass.is_some()
    }

    /// What people are shown of it beside its own words.
    pub fn about(&self) -> SeenAbout {
        /// Names of operators are as many as a policy likes.
        const MAX_WITNESSED: usize = 500;
        let it = &self.dossier;
        let reached = &self.witnessed;
        let mut witnessed = reached.to_string();
        if witnessed.len() > MAX_WITNESSED {
            witnessed = format!("level {}: {} operators", reached.level, reached.operators.len());
        }
        // Counted here: what the requester's statement says of operators is its own word.
        let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        let break_glass = self.breaks_glass().then(|| SeenGlass {
            vouched: count(reached.operators.len()),
            needed: reached.needed.unwrap_or(0),
        });
        SeenAbout {
            requester_name: it.requester.name.clone(),
            node: it.author.node(),
            node_name: it.author.name.clone(),
            witnessed,
            break_glass,
        }
    }

    /// Refuses a request that has expired or has not been made yet.
    pub fn check_time(&self, clock: &dyn Clock) -> Result<(), CustodianError> {
        /// Clocks of honest machines differ by this much at most.
        const SKEW: seawall_base::Seconds = seawall_base::Seconds(300);
        /// Custodians need days to answer.
        const GRACE: seawall_base::Seconds = seawall_base::Seconds::days(7);
        let request = &self.dossier.request;
        let now = clock.now();
        if now > request.expires {
            return Err(CustodianError::Expired(request.expires));
        }
        // A request may outlive the subkey that signed it by this much, not more: a stolen subkey
        // would otherwise ask, backdated, for a month after its end.
        let subkey_end = self.dossier.requester_subkey.not_after.after(GRACE);
        if now > subkey_end {
            return Err(CustodianError::Expired(subkey_end));
        }
        if request.created > now.after(SKEW) {
            return Err(CustodianError::FromTheFuture(request.created));
        }
        Ok(())
    }

    /// Whether a share can help this request at all; known without its passphrase.
    pub fn check_share(&self, public: &SharePublic) -> Result<(), CustodianError> {
        let expected = self.group.id();
        if public.group != expected {
            let (found, class) = (public.group, public.class.clone());
            return Err(CustodianError::OtherGroup { expected, found, class });
        }
        Ok(())
    }

    /// Whether the snapshot has a post-quantum half, and these shares are none of it.
    pub fn lacks_quantum(&self, shares: &[PqShare]) -> bool {
        self.capsule.dealing().is_some() && shares.is_empty()
    }

    /// Answers the request with one share: a signed statement around an encrypted partial, and
    /// beside it the post-quantum share that one of `keys` opens (see [`kem_keys`]). Without one
    /// the answer still helps: others may have theirs.
    pub fn approve(
        &self,
        public: &SharePublic,
        secret: &ShareSecret,
        keys: &[KemSecret],
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Envelope, CustodianError> {
        let shares = self.capsule.open_own_share(keys).into_iter().collect();
        self.approve_with(public, secret, shares, clock, rng)
    }

    /// Answers the request with one share and these post-quantum shares: the custodian's own, or
    /// those handed over to it.
    pub fn approve_with(
        &self,
        public: &SharePublic,
        secret: &ShareSecret,
        shares: Vec<PqShare>,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Envelope, CustodianError> {
        self.check_time(clock)?;
        self.check_share(public)?;
        let named: VerifyingKey = public.signing_key.parse()?;
        let key = StatementKey::from_seed(named.algorithm(), &secret.signing_seed);
        let recorded = group_record(&self.dossier.fleet, self.group.id())?.custodian(public.index);
        if recorded.map(|c| c.signing_key) != Some(key.public()) {
            return Err(CustodianError::OtherSigner(public.index));
        }
        let partial =
            Partial::make(&self.capsule, &secret.share, &self.group, public.share_epoch, rng)?
                .with_shares(shares);
        let dossier = &self.dossier;
        let one_time = OneTimePublic::from_bytes(&dossier.request.one_time_key.0)?;
        let request = dossier.request_digest;
        let sealed = one_time.seal(PARTIAL_INFO, &request.0, &partial.encode(), rng)?;
        let approval = Approval {
            fleet: dossier.fleet.id(),
            request,
            manifest: dossier.manifest_digest,
            group: self.group.id(),
            custodian: public.index,
            share_epoch: public.share_epoch,
            sealed_partial: Base64(sealed),
            created: clock.now(),
        };
        Ok(approval.statement().sign(&[&key])?)
    }

    /// Opens an approval: signed by the custodian it names, for this very request, with a
    /// partial that proves itself.
    pub fn accept(
        &self,
        approval: &Envelope,
        one_time: &OneTimeSecret,
    ) -> Result<VerifiedPartial, CustodianError> {
        let claimed = Statement::<Approval>::read_unverified(approval)?.predicate;
        let record = group_record(&self.dossier.fleet, self.group.id())?;
        let misplaced = |why: &str| Err(CustodianError::Misplaced(why.to_owned()));
        if claimed.group != record.id {
            return misplaced("is of another escrow group; ask its custodians for this request");
        }
        let Some(custodian) = record.custodian(claimed.custodian) else {
            return misplaced("names a custodian the escrow group does not have");
        };
        let it = Statement::<Approval>::open(approval, &[custodian.signing_key], 1)?.predicate;
        let dossier = &self.dossier;
        if it.fleet != dossier.fleet.id() {
            return misplaced("is of another fleet");
        }
        if it.manifest != dossier.manifest_digest {
            return misplaced("is for another snapshot");
        }
        if it.request != dossier.request_digest {
            return misplaced("answers another request for this snapshot; approve this one");
        }
        let request: Sha256 = dossier.request_digest;
        let plain = one_time.open(PARTIAL_INFO, &request.0, &it.sealed_partial.0)?;
        let partial = Partial::decode(&plain)?;
        if partial.index() != it.custodian {
            return misplaced("carries the partial of another custodian");
        }
        // A partial proves its share, not its sharing: one of another epoch would spoil the
        // answers of all others.
        let epochs = [it.share_epoch, partial.share_epoch()];
        if let Some(found) = epochs.into_iter().find(|epoch| *epoch != record.share_epoch) {
            let (name, expected) = (&custodian.name, record.share_epoch);
            return misplaced(&if found < expected {
                format!(
                    "of {name} was made with an old share: of share epoch {found}, the fleet's policy has {expected}; ask {name} to join the fleet's newest card and to answer again"
                )
            } else {
                format!(
                    "of {name} claims share epoch {found}, the fleet's policy has {expected}; ask {name} again, and find out what runs there"
                )
            });
        }
        Ok(partial.verify(&self.capsule, &self.group)?)
    }
}
