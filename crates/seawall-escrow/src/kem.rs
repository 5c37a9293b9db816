//! Custodians' long-term ML-KEM-768 keys (FIPS 203): whom a capsule's post-quantum shares go to.
//!
//! The implementation is the one that X-Wing uses here (`RustCrypto`'s `ml-kem`), so there is one to
//! trust and one to keep up to date.
//!
//! A secret key is 32 bytes that are expanded to FIPS 203's seed `d ‖ z`.

use ml_kem::Seed;
use ml_kem::kem::{Key, KeyExport as _};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use seawall_base::Rng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of an encapsulation key, in bytes.
pub const KEM_PUBLIC_LEN: usize = 1184;

const EXPAND_CONTEXT: &str = "seawall 2026-11 custodian kem seed v1";

/// The bytes are no ML-KEM-768 encapsulation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ML-KEM-768 encapsulation key of {KEM_PUBLIC_LEN} bytes")]
pub struct KemError;

/// A public key that passed the length and modulus checks of FIPS 203, section 7.2.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic(Box<[u8; KEM_PUBLIC_LEN]>);

impl KemPublic {
    /// Checks and wraps raw bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KemError> {
        let array: Box<[u8; KEM_PUBLIC_LEN]> = Box::new(bytes.try_into().map_err(|_| KemError)?);
        parse(&array).ok_or(KemError)?;
        Ok(Self(array))
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; KEM_PUBLIC_LEN] {
        &self.0
    }
}

fn parse(bytes: &[u8; KEM_PUBLIC_LEN]) -> Option<EncapsulationKey> {
    EncapsulationKey::new(&Key::<EncapsulationKey>::from(*bytes)).ok()
}

impl std::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KemPublic({}…)", &hex::encode(&self.0[..8]))
    }
}

/// A custodian's secret key: 32 bytes, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KemSecret([u8; 32]);

impl KemSecret {
    /// A fresh key.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut secret = Self([0; 32]);
        rng.fill(&mut secret.0);
        secret
    }

    /// The key from the bytes [`KemSecret::to_bytes`] gave.
    pub const fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The secret's bytes, for a file of mode 0600 or a sealed one.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// The public half.
    pub fn public(&self) -> KemPublic {
        let bytes: [u8; KEM_PUBLIC_LEN] = self.expanded().encapsulation_key().to_bytes().into();
        KemPublic(Box::new(bytes))
    }

    fn expanded(&self) -> DecapsulationKey {
        let mut seed = Zeroizing::new([0; 64]);
        let mut hasher = blake3::Hasher::new_derive_key(EXPAND_CONTEXT);
        hasher.update(&self.0).finalize_xof().fill(seed.as_mut_slice());
        hasher.zeroize();
        let mut expanded = Seed::from(*seed);
        let key = DecapsulationKey::from_seed(expanded);
        expanded.zeroize();
        key
    }
}

impl std::fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KemSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Seeded;

    #[test]
    fn the_public_half_is_checked_and_the_same_each_time() {
        let secret = KemSecret::generate(&mut Seeded::new("kem"));
        let public = secret.public();
        assert_eq!(KemSecret::from_bytes(&secret.to_bytes()).public(), public);
        assert_eq!(KemPublic::from_bytes(public.as_bytes()), Ok(public.clone()));
        assert_eq!(KemPublic::from_bytes(&public.as_bytes()[1..]), Err(KemError));
        let mut unreduced = *public.as_bytes();
        unreduced[..3].fill(0xff);
        assert_eq!(KemPublic::from_bytes(&unreduced), Err(KemError));
        let other = KemSecret::generate(&mut Seeded::new("other"));
        assert_ne!(other.public(), public);
        assert_eq!(format!("{secret:?}"), "KemSecret { .. }");
    }
}
