//! Making another tier hold what this one holds: have and want, leases, receipts, possession, scrub.
//!
//! Floor 3, sans-I/O: a tier is the trait [`Tier`], state is files on a [`seawall_base::Disk`],
//! time and randomness are passed in. A node *pushes* ([`Push`]); whoever holds a copy, node or
//! region, *audits* it ([`Audit`]) with no key at all, and anybody checks the report of a drill
//! ([`Report`]) with the fleet's id alone.
//!
//! Invariant of every upload: objects first, then the log, then the receipt. A manifest that a
//! tier mirrors therefore never lacks an object, and a crash between two steps leaves objects
//! nobody names, never a name without objects.
//!
//! It must not know: how bytes travel (HTTP is in the roots), how an object is sealed, what a
//! capsule means.

mod audit;
mod backoff;
mod error;
mod lease;
pub mod message;
pub mod pack;
mod possession;
mod push;
mod receipts;
mod report;
pub mod rights;
mod tenant;
mod tier;
pub mod wire;

pub use audit::{Audit, AuditProgress, AuditReport, AuditedLog, Finding, ReadEntries};
pub use backoff::Backoff;
pub use error::{Class, SyncError, TierError};
pub use lease::{LEASE_VALIDITY, Lease, LeaseError, Leases, MAX_LEASED_IDS, MAX_LEASES};
pub use possession::{possession, shuffle};
pub use push::{Progress, Push, Pushed};
pub use receipts::{Receipts, ReceiptsError, Unusable};
pub use report::{
    Check, Details, Given, MAX_REPORT, Phase, Report, ReportError, RestoredSnapshot, VerifiedReport,
};
pub use tenant::tenant_id;
pub use tier::{
    Answer, Have, LogSummary, Objects, ReceiptAnswer, Tier, TierIdentity, read_entries,
};
