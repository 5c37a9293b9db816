//! Append-only zones and the index rebuilt from them: opaque bytes under their BLAKE3 digest.
//!
//! Zones are the truth (`docs/formats/zone.md`), the index a cache. A flush is one commit record and
//! one sync; what is acknowledged is exactly what a durable commit covers. Corruption of acknowledged
//! bytes is reported and skipped, never cut: only the unacknowledged tail of the last zone is.
//!
//! It must not know: what an object means, how it was sealed, or which keys exist.

mod error;
mod format;
mod index;
mod recover;
mod scan;
mod store;
mod writer;

pub use error::{Damage, DamageKind, StoreError};
pub use scan::{FoundObject, Scan, scan};
pub use store::{OpenReport, Options, Stats, Store, VerifyReport};
