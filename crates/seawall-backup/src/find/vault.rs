//! Encryption at rest: each file of the cache under a key of its own, each part of it apart.
//!
//! A file's key is derived from the cache key and 16 random bytes that name the file; the nonce
//! is the part's number, which no file uses twice. A part that was altered, moved within its
//! file or taken from another one does not open.

use seawall_seal::{BadFrame, FrameKey};
use zeroize::Zeroizing;

/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = FrameKey::TAG;

/// Opens and seals the parts of one file.
pub(super) struct Vault(FrameKey);

impl Vault {
    /// The vault of the file named `id`.
    pub(super) fn new(cache_key: &[u8; 32], id: &[u8; 16]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 find cache file v1");
        let key = Zeroizing::new(*hasher.update(cache_key).update(id).finalize().as_bytes());
        Self(FrameKey::new(&key))
    }

    fn nonce(part: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&part.to_le_bytes());
        nonce
    }

    /// Seals a part in place.
    pub(super) fn seal(&self, part: u64, plain: &mut Vec<u8>) {
        self.0.seal(&Self::nonce(part), &[], plain, 0);
    }

    /// Opens a part in place: what was sealed is left.
    pub(super) fn open(&self, part: u64, sealed: &mut Vec<u8>) -> Result<(), BadFrame> {
        self.0.open(&Self::nonce(part), &[], sealed)
    }
}
