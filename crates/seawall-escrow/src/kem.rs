//! Custodians' long-term ML-KEM-768 keys (FIPS 203): whom a capsule's post-quantum shares go to.
//!
//! The implementation is the one that X-Wing uses here (`RustCrypto`, crate `ml-kem`), so there is one to
//! trust and one to keep up to date. AWS-LC has the KEM too, but draws its own randomness; a
//! dealing must be recomputable from its secret (see [`crate::dealing`]).
//!
//! A secret key is 32 bytes that are expanded to FIPS 203's seed `d ‖ z`. A custodian who has
//! only a share file has such a key as well: it is derived from the signing seed in that file.

use ml_kem::kem::{Decapsulate as _, Key, KeyExport as _};
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Seed};
use seawall_base::Rng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of an encapsulation key, in bytes.
pub const KEM_PUBLIC_LEN: usize = 1184;
/// Length of a ciphertext, in bytes.
pub(crate) const ENCAPSULATED_LEN: usize = 1088;

const EXPAND_CONTEXT: &str = "seawall 2026-11 custodian kem seed v1";
const SHARE_FILE_CONTEXT: &str = "seawall 2026-11 kem key of a share file v1";

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

    /// FIPS 203 `Encaps_internal`: the ciphertext and shared secret that `m` determines.
    pub(crate) fn encapsulate(
        &self,
        m: &[u8; 32],
    ) -> (Box<[u8; ENCAPSULATED_LEN]>, Zeroizing<[u8; 32]>) {
        let key = parse(&self.0).expect("a KemPublic was checked when it was made");
        let mut m = B32::from(*m);
        let (ciphertext, mut shared) = key.encapsulate_deterministic(&m);
        m.zeroize();
        let out = Zeroizing::new(shared.into());
        shared.zeroize();
        (Box::new(ciphertext.into()), out)
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

    /// The key of a custodian whose only secrets are in a share file: derived from the signing
    /// seed there. Who has the one has the other, and the seal around both is the same.
    pub fn of_share_file(signing_seed: &[u8; 32]) -> Self {
        Self(blake3::derive_key(SHARE_FILE_CONTEXT, signing_seed))
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

    /// FIPS 203 `Decaps`. What was not encapsulated to this key gives a secret that nobody else
    /// has (implicit rejection): the caller notices when what is sealed under it does not open.
    pub(crate) fn decapsulate(&self, encapsulated: &[u8; ENCAPSULATED_LEN]) -> Zeroizing<[u8; 32]> {
        let mut shared = self.expanded().decapsulate(&Ciphertext::from(*encapsulated));
        let out = Zeroizing::new(shared.into());
        shared.zeroize();
        out
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
    fn what_is_encapsulated_is_decapsulated_by_its_key_only() {
        let secret = KemSecret::generate(&mut Seeded::new("kem"));
        let other = KemSecret::generate(&mut Seeded::new("other kem"));
        let (ciphertext, shared) = secret.public().encapsulate(&[7; 32]);
        assert_eq!(*secret.decapsulate(&ciphertext), *shared);
        assert_ne!(*other.decapsulate(&ciphertext), *shared);
        let mut bad = ciphertext.clone();
        bad[1000] ^= 1;
        assert_ne!(*secret.decapsulate(&bad), *shared);
        assert_eq!(secret.public().encapsulate(&[7; 32]).0, ciphertext, "m decides all");
        let again = KemSecret::from_bytes(&secret.to_bytes());
        assert_eq!(again.public(), secret.public());
        assert_eq!(format!("{secret:?}"), "KemSecret { .. }");
        assert!(format!("{:?}", secret.public()).starts_with("KemPublic("));
    }

    #[test]
    fn only_encapsulation_keys_are_accepted() {
        let good = KemSecret::from_bytes(&[3; 32]).public();
        assert_eq!(KemPublic::from_bytes(good.as_bytes()), Ok(good.clone()));
        assert_eq!(KemPublic::from_bytes(&good.as_bytes()[1..]), Err(KemError));
        assert_eq!(KemPublic::from_bytes(&[]), Err(KemError));
        // Coefficients above the modulus (FIPS 203 section 7.2).
        assert_eq!(KemPublic::from_bytes(&[0xff; KEM_PUBLIC_LEN]), Err(KemError));
    }

    #[test]
    fn a_share_file_has_a_key_of_its_own() {
        let (a, b) = (KemSecret::of_share_file(&[1; 32]), KemSecret::of_share_file(&[2; 32]));
        assert_ne!(a.public(), b.public());
        assert_ne!(*a.to_bytes(), [1; 32]);
    }
}
