//! Dedup domains: within one, equal pieces become one object; between two, nothing is shared.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ObjectKey;

/// The scope within which equal plaintexts are stored once. Never wider than a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainScope<'a> {
    /// All sets of the tenant share.
    Tenant,
    /// Only snapshots of the named set share: for data whose readers must not meet.
    Set(&'a str),
    /// Pages of path indexes: apart from content, so that neither confirms guesses of the other.
    PathIndex,
}

/// Where an object stands in the private index (`ix → id`). Stolen, the index opens nothing:
/// it is a keyed hash of the plaintext.
pub type IndexKey = [u8; 32];

/// The secret of one dedup domain. Zeroized when dropped.
///
/// It confirms guesses (whoever holds it can test whether a known plaintext is stored) and
/// opens objects whose plaintext it can guess, nothing else.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Domain {
    secret: Option<[u8; 32]>,
}

impl Domain {
    /// The domain of `scope` under a tenant's secret.
    pub fn derive(tenant_secret: &[u8; 32], scope: DomainScope<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 dedup domain v1");
        hasher.update(tenant_secret);
        match scope {
            DomainScope::Tenant => hasher.update(&[0]),
            DomainScope::Set(name) => hasher.update(&[1]).update(name.as_bytes()),
            DomainScope::PathIndex => hasher.update(&[2]),
        };
        Self { secret: Some(*hasher.finalize().as_bytes()) }
    }

    /// The domain that shares nothing: every object gets a random key.
    pub const fn none() -> Self {
        Self { secret: None }
    }

    /// The keyed hash of a header and a plaintext; `None` in the domain that shares nothing.
    pub(crate) fn hash(&self, header: &[u8], plain: &[u8]) -> Option<blake3::Hash> {
        let secret = self.secret.as_ref()?;
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(header);
        // Multi-threaded hashing is not used: callers seal many pieces in parallel instead.
        hasher.update(plain);
        Some(hasher.finalize())
    }

    /// The secret behind the chunker's boundaries in this domain (`seawall-backup`), so that
    /// two domains cut equal data differently. `None` in the domain that shares nothing.
    pub fn chunker_secret(&self) -> Option<[u8; 32]> {
        self.secret.as_ref().map(|s| blake3::derive_key("seawall 2026-11 chunker secret v1", s))
    }
}

/// The object key behind a domain hash.
pub(crate) fn key_of(hash: &blake3::Hash) -> ObjectKey {
    ObjectKey::new(blake3::derive_key("seawall 2026-11 object key v1", hash.as_bytes()))
}

/// The private index key behind a domain hash.
pub(crate) fn index_of(hash: &blake3::Hash) -> IndexKey {
    blake3::derive_key("seawall 2026-11 object index v1", hash.as_bytes())
}
