//! Append-only zones and the index rebuilt from them: opaque bytes under their BLAKE3 digest.
//!
//! Zones are the truth (`docs/formats/zone.md`), the index a cache. A flush is one commit record and
//! one sync; what is acknowledged is exactly what a durable commit covers. Corruption of acknowledged
//! bytes is reported and skipped, never cut: only the unacknowledged tail of the last zone is.
//!
//! It must not know: what an object means, how it was sealed, or which keys exist.

mod condemned;
mod error;
mod format;
mod index;
mod mark;
mod merge;
mod reclaim;
mod recover;
mod root;
mod scan;
mod scrub;
mod segment;
mod site;
mod spill;
mod store;
mod writer;

pub use error::{Damage, DamageKind, StoreError};
pub use mark::Mark;
pub use reclaim::{IsLive, Reclaim, ReclaimPlan, Swept, ZoneAction, ZonePlan};
pub use scan::{FoundObject, Scan, scan};
pub use scrub::{Scrub, Subset, VerifyReport};
pub use store::{Access, OpenReport, Options, Stats, Store};
