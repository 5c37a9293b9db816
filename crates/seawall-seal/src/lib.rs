//! Sealed objects: convergent, misuse-resistant, padded; the store never learns what it stores.
//!
//! Floor 1. Every plaintext piece (chunk, bundle, page) is sealed the same way; the byte layout
//! and its reasons are in `docs/formats/object.md`. Sealing is deterministic within a dedup
//! domain, so equal pieces become equal objects; a domain of "none" draws random keys.
//!
//! It must not know: what pages contain, where objects are stored, who may open a snapshot.

mod domain;
mod frame;
mod object;
mod object_ref;
mod padding;

pub use domain::{Domain, DomainScope, IndexKey};
pub use frame::{BadFrame, FrameKey};
pub use object::{
    Codec, Kind, Placement, Prepared, SealError, Sealed, Workspace, open, open_in_domain, seal,
};
pub use object_ref::{ObjectKey, ObjectRef};
pub use padding::padme;

/// Suite byte of every sealed object so far: BLAKE3, AES-256-GCM-SIV (RFC 8452), zstd.
pub const SUITE: u8 = 1;

/// Format number that enters the hash and the associated data of every object.
///
/// It pins what decides an object's bytes: zstd 1.5 at level 3, the layout of the padded
/// plaintext, and the Padmé rule.
pub const FORMAT: u16 = 1;

/// Largest plaintext of one object in bytes: 8 MiB. Padding adds at most 12 %, so the sealed
/// object stays below [`seawall_base::MAX_OBJECT`].
pub const MAX_PLAIN: usize = 8 << 20;
