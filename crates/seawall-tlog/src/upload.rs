//! The client of a mirror: what to send next, given what was answered last. Sans I/O.
//!
//! The mirror is right about its own state, so every conflict is resolved by doing as it says,
//! with two exceptions: a mirror that claims to hold more than this log ever signed
//! ([`UploadError::Behind`]) and one that claims to hold another history ([`UploadError::Forked`]).
//! Neither is retried, because going on would fork. Both are claims: a mirror that tells the truth
//! can show a larger or different checkpoint with this log's own signature, and only that is a
//! reason to stop writing.

use crate::checkpoint::SignedCheckpoint;
use crate::log::Log;
use crate::merkle::subtree_proof;
use crate::note::NoteSignature;
use crate::package::{EntriesHeader, MAX_PACKAGES, MirrorAnswer, MirrorInfo, Package};
use crate::store::LogError;
use crate::witness::{AddCheckpoint, WitnessAnswer};

/// After how many bytes a request ends at the next package, short of 32 packages.
pub const MAX_REQUEST: usize = 8 << 20;

/// How many answers in a row may bring the upload no further.
const MAX_STALLS: u32 = 8;

/// Why an upload cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The mirror holds more than this log has: the log was rolled back. Stop writing to it; a
    /// new epoch continues from the mirror's copy.
    #[error(
        "the mirror holds a checkpoint of {mirror} entries, this log has {log}: it was rolled back"
    )]
    Behind {
        /// What the mirror holds.
        mirror: u64,
        /// What this log signed.
        log: u64,
    },
    /// The mirror claims to hold another history. Fetch its checkpoint; if this log's key signed it,
    /// stop writing to the log.
    #[error("the mirror claims another history of this log: {0}")]
    Forked(String),
    /// The mirror refuses this client or log. Tell the operator.
    #[error("the mirror refuses: {status} {why}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The mirror's words.
        why: String,
    },
    /// An answer the protocol does not know. Try later.
    #[error("the mirror gave an answer with status {0} that cannot be understood")]
    Nonsense(u16),
    /// The mirror's answers lead nowhere. Try later.
    #[error("the upload makes no progress after {MAX_STALLS} answers")]
    Stalled,
    /// The log has never signed a checkpoint. Sign one.
    #[error("there is no checkpoint to upload")]
    Unsigned,
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStep {
    /// POST these bytes to `add-checkpoint`.
    AddCheckpoint(Vec<u8>),
    /// POST these bytes to `add-entries`.
    AddEntries(Vec<u8>),
    /// The mirror holds the log's entries up to `size` and says so with these lines.
    Done {
        /// Entries mirrored.
        size: u64,
        /// Unverified: pass them to [`Log::add_cosignatures`] with the mirror's key.
        lines: Vec<NoteSignature>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Announce { old: u64 },
    Send(MirrorInfo),
    Done { size: u64, lines: Vec<NoteSignature> },
}

/// Brings a log's last checkpoint, and the entries below it, to one mirror.
#[derive(Debug, Clone)]
pub struct Upload {
    target: SignedCheckpoint,
    next: u64,
    stalls: u32,
    phase: Phase,
}

impl Upload {
    /// An upload of the log's last checkpoint. `pending` and `next` are where the mirror stood
    /// when last heard of; zeros will do.
    pub fn new(log: &Log, pending: u64, next: u64) -> Result<Self, UploadError> {
        let target = log.checkpoint().ok_or(UploadError::Unsigned)?.clone();
        let old = pending.min(target.checkpoint().size);
        let next = next.min(target.checkpoint().size);
        Ok(Self { target, next, stalls: 0, phase: Phase::Announce { old } })
    }

    /// The next request, or the end.
    pub fn step(&self, log: &Log) -> Result<UploadStep, UploadError> {
        let size = self.target.checkpoint().size;
        Ok(match &self.phase {
            Phase::Announce { old } => {
                let proof = log.consistency(*old, size)?;
                let request = AddCheckpoint { old: *old, proof, checkpoint: self.target.clone() };
                UploadStep::AddCheckpoint(request.to_bytes())
            }
            Phase::Send(info) => UploadStep::AddEntries(entries_request(log, info)?),
            Phase::Done { size, lines } => UploadStep::Done { size: *size, lines: lines.clone() },
        })
    }

    /// Takes the answer to the last request. An error of the network needs no call: the same
    /// request may be sent again.
    pub fn answer(&mut self, status: u16, body: &[u8]) -> Result<(), UploadError> {
        match self.phase {
            Phase::Announce { .. } => self.announced(status, body),
            Phase::Send(MirrorInfo { size, next, .. }) => self.sent(status, body, size, next),
            Phase::Done { .. } => Ok(()),
        }
    }

    fn announced(&mut self, status: u16, body: &[u8]) -> Result<(), UploadError> {
        let size = self.target.checkpoint().size;
        let nonsense = || UploadError::Nonsense(status);
        match WitnessAnswer::parse(status, body).ok_or_else(nonsense)? {
            WitnessAnswer::Cosigned(_) => {
                self.phase = Phase::Send(MirrorInfo { size, next: self.next, ticket: Vec::new() });
                Ok(())
            }
            WitnessAnswer::Conflict(held) if held > size => {
                Err(UploadError::Behind { mirror: held, log: size })
            }
            WitnessAnswer::Conflict(old) => {
                self.phase = Phase::Announce { old };
                self.stalled()
            }
            WitnessAnswer::Inconsistent(why) | WitnessAnswer::Forked(why) => {
                Err(UploadError::Forked(why))
            }
            refusal => Err(UploadError::Refused { status, why: refusal.body() }),
        }
    }

    fn sent(&mut self, status: u16, body: &[u8], end: u64, from: u64) -> Result<(), UploadError> {
        let size = self.target.checkpoint().size;
        let nonsense = || UploadError::Nonsense(status);
        match MirrorAnswer::parse(status, body).ok_or_else(nonsense)? {
            MirrorAnswer::Cosigned(_) if end < size => {
                // That was for an older checkpoint, which the mirror had pending.
                self.next = end;
                self.phase = Phase::Announce { old: end };
                self.stalled()
            }
            MirrorAnswer::Cosigned(lines) => {
                self.phase = Phase::Done { size: end, lines };
                Ok(())
            }
            MirrorAnswer::Accepted(info) | MirrorAnswer::Conflict(info) => {
                if info.size > size || info.next > size {
                    let mirror = info.size.max(info.next);
                    return Err(UploadError::Behind { mirror, log: size });
                }
                if info.next > info.size {
                    return Err(nonsense());
                }
                let further = status == 202 && info.next > from;
                self.next = info.next;
                self.phase = Phase::Send(info);
                if further {
                    self.stalls = 0;
                    return Ok(());
                }
                self.stalled()
            }
            refusal => Err(UploadError::Refused { status, why: refusal.body() }),
        }
    }

    const fn stalled(&mut self) -> Result<(), UploadError> {
        self.stalls += 1;
        if self.stalls > MAX_STALLS { Err(UploadError::Stalled) } else { Ok(()) }
    }
}

/// The body of an `add-entries` request from `info.next` towards `info.size`: at most 32
/// packages, fewer once they have 8 MiB.
pub fn entries_request(log: &Log, info: &MirrorInfo) -> Result<Vec<u8>, LogError> {
    let MirrorInfo { size, next, ref ticket } = *info;
    let origin = log.origin().clone();
    let header = EntriesHeader { origin, start: next, end: size, ticket: ticket.clone() };
    let mut body = header.to_bytes();
    for bounds in header.bounds().take(MAX_PACKAGES as usize) {
        if body.len() >= MAX_REQUEST {
            break;
        }
        let entries = log.entries(bounds.start..bounds.end)?;
        let proof = subtree_proof(log, bounds.aligned, bounds.end, size)?;
        Package { entries, proof }.write(&mut body);
    }
    Ok(body)
}
