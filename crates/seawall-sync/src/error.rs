//! What can go wrong between two tiers, by what the caller does next.

use seawall_base::ObjectId;
use seawall_record::RecordError;
use seawall_record::reference_set::ReferenceSetError;
use seawall_tlog::LogError;

use crate::ReceiptsError;

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait ([`crate::Backoff`]) and run again; nothing is lost.
    Retry,
    /// The tier understood and said no. A person has to change something.
    Refused,
    /// The tier claimed what it could not prove. Do not count on its copy; tell a person.
    Lied,
    /// This side's disk or state. Mend it, then run again.
    Local,
}

/// Why a tier did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// Out of reach, busy or broken off. Run again later.
    #[error("{tier} cannot be reached or did not finish: {why}")]
    Retry {
        /// The tier's name and address.
        tier: String,
        /// What happened.
        why: String,
    },
    /// It understood and refused. Trying again changes nothing.
    #[error("{tier} refused: {why}; {remedy}")]
    Refused {
        /// The tier's name and address.
        tier: String,
        /// Its reason.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// It broke the protocol: it is not what it should be, or somebody changed its answer.
    #[error("{tier} answered against the protocol: {why}; do not count on its copy")]
    Protocol {
        /// The tier's name and address.
        tier: String,
        /// What was wrong with the answer.
        why: String,
    },
}

/// Why a push stopped. Whatever was proven until then stays proven.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The tier's answer, or lack of one.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The tier said it holds objects and could not prove it. They have been offered again, and
    /// no receipt was asked for.
    #[error(
        "{tier} said it holds {} objects that it cannot prove to hold, the first is {}; they were \
         sent again, its receipts no longer count until everything is proven anew",
        ids.len(),
        ids.first().map_or_else(String::new, ToString::to_string)
    )]
    Lied {
        /// The tier's name.
        tier: String,
        /// What it claimed to hold.
        ids: Vec<ObjectId>,
    },
    /// The tier no longer has snapshots that it signed for, and no statement in this node's log lets
    /// it delete them.
    #[error(
        "{tier} deleted snapshots {} of this node, and no statement in its log says so: do not \
         count on its copy, and ask whoever runs it",
        sequences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    DeletedUnasked {
        /// The tier's name.
        tier: String,
        /// The snapshots, by number.
        sequences: Vec<u64>,
    },
    /// The tier let snapshots expire that no policy the fleet ever had, and no stamps of witnesses
    /// that this node knows, let expire.
    #[error(
        "{tier} let snapshots {} of this node expire that were too young by all that is known here, \
         or that the rules still want: do not count on its copy, and ask whoever runs it",
        sequences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    ExpiredEarly {
        /// The tier's name.
        tier: String,
        /// The snapshots, by number.
        sequences: Vec<u64>,
    },
    /// The log on this disk is shorter than, or differs from, the one the tier mirrored.
    #[error(
        "{tier} mirrored {mirrored} entries of {origin}, this node holds {held}: this node was \
         restored from an old copy; what it writes is kept here until \
         `seawall node epoch begin` leads to a new epoch"
    )]
    RolledBack {
        /// The tier's name.
        tier: String,
        /// The log.
        origin: String,
        /// Entries the tier holds.
        mirrored: u64,
        /// Entries this node holds.
        held: u64,
    },
    /// An object that this node's own snapshot needs is not in its store.
    #[error(
        "object {id}, needed by entry {index} of this node's log, is not in its store; run `seawall verify`"
    )]
    MissingLocally {
        /// The object.
        id: ObjectId,
        /// The manifest's index.
        index: u64,
    },
    /// This node's store failed.
    #[error("reading object {id}: {why}")]
    Store {
        /// The object.
        id: ObjectId,
        /// What the store said.
        why: String,
    },
    /// The reference set of one of this node's snapshots cannot be read.
    #[error("snapshot at entry {index}: {source}")]
    ReferenceSet {
        /// The manifest's index.
        index: u64,
        /// What is wrong.
        source: ReferenceSetError,
    },
    /// This node's log cannot be read or extended.
    #[error(transparent)]
    Log(#[from] LogError),
    /// This node's own log breaks a rule.
    #[error("entry {index} of this node's log: {source}")]
    Record {
        /// The entry.
        index: u64,
        /// The rule.
        source: RecordError,
    },
    /// The log has entries that no checkpoint covers.
    #[error(
        "the log holds {size} entries, its checkpoint covers {signed}; sign a checkpoint first"
    )]
    NotSigned {
        /// Entries held.
        size: u64,
        /// Entries covered.
        signed: u64,
    },
    /// Receipts cannot be read or written.
    #[error(transparent)]
    Receipts(#[from] ReceiptsError),
}

impl TierError {
    /// What the caller does next.
    pub const fn class(&self) -> Class {
        match self {
            Self::Retry { .. } => Class::Retry,
            Self::Refused { .. } => Class::Refused,
            Self::Protocol { .. } => Class::Lied,
        }
    }
}

impl SyncError {
    /// What the caller does next.
    pub const fn class(&self) -> Class {
        match self {
            Self::Tier(e) => e.class(),
            Self::Lied { .. } | Self::DeletedUnasked { .. } | Self::ExpiredEarly { .. } => {
                Class::Lied
            }
            Self::RolledBack { .. } => Class::Refused,
            _ => Class::Local,
        }
    }
}
