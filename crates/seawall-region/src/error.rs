//! What goes wrong inside a region, and what is said to a caller about it.

use std::io;

use seawall_base::wire::WireError;
use seawall_link::{BodyError, ServeError};
use seawall_record::RecordError;
use seawall_store::StoreError;
use seawall_tlog::LogError;

/// Why a region could not be made, opened or run.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The disk or the network failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, on what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is a region already.
    #[error("{0} already holds a region; choose another directory, or remove it yourself")]
    Exists(String),
    /// Another process has the home open.
    #[error("{0} is in use by another process; stop it first")]
    InUse(String),
    /// A file of the home is not what it should be.
    #[error("{path}: {why}; restore it from a copy of this home")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Something the operator gave cannot be used.
    #[error("{what}: {why}")]
    Unusable {
        /// What was given.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A tenant's objects.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mirrored log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A statement.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl RegionError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// An answer of "no" (or "not now"): an HTTP status, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {error}; {remedy}")]
pub struct Refusal {
    /// HTTP status code.
    pub status: u16,
    /// What was refused and why.
    pub error: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, error: error.into(), remedy: remedy.into() }
    }

    pub(crate) fn forbidden(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(403, error, remedy)
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(404, error, "check the name; nothing of it is kept here")
    }

    /// The region's own trouble: details stay in its log.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "request failed");
        Self::new(500, "the region has trouble of its own", "try again later; see the region's log")
    }
}

impl From<ServeError> for RegionError {
    fn from(e: ServeError) -> Self {
        Self::Io { what: e.what, source: e.source }
    }
}

impl From<BodyError> for Refusal {
    fn from(e: BodyError) -> Self {
        match e {
            BodyError::Panicked(_) => Self::internal(&e),
            _ => Self::new(e.status(), e.to_string(), e.remedy()),
        }
    }
}

impl From<WireError> for Refusal {
    fn from(e: WireError) -> Self {
        Self::new(400, format!("malformed body: {e}"), "use a matching version of seawall")
    }
}

impl From<LogError> for Refusal {
    fn from(e: LogError) -> Self {
        Self::internal(&e)
    }
}

impl From<RegionError> for Refusal {
    fn from(e: RegionError) -> Self {
        Self::internal(&e)
    }
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::WrongId { .. } | StoreError::TooLarge { .. } => Self::new(
                422,
                e.to_string(),
                "the sender's store is damaged: run `seawall verify` there",
            ),
            StoreError::Full { .. } => {
                tracing::error!(error = %e, "disk full");
                Self::new(
                    507,
                    "the region's disk is full",
                    "free space on the region, then push again",
                )
            }
            e => Self::internal(&e),
        }
    }
}
