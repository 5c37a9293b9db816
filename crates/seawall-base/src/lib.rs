//! Digests, identifiers, units and the capabilities the other rooms are given.
//!
//! Floor 0. It holds only what three rooms share and performs no I/O: time, randomness and
//! disk are traits here ([`Clock`], [`Rng`], [`Disk`]) and real things in the roots, so that
//! every room above can be run as a deterministic simulation.
//!
//! It must not know: what a snapshot is, how anything is signed, sealed or stored.

mod capability;
mod digest;
mod ids;
mod time;
pub mod wire;

pub use capability::{
    Clock, Disk, DiskFile, LockMode, OpenMode, Rng, Steady, read_file, write_atomic,
};
pub use digest::{Object, ObjectId, ParseDigestError, Sha256};
pub use ids::{FleetId, GroupId, NodeId, TenantId};
pub use time::{ParseTimestampError, Seconds, Timestamp};

/// Largest sealed object, in bytes of ciphertext and header: 16 MiB (DESIGN, "Rules that may not bend").
pub const MAX_OBJECT: usize = 16 << 20;
