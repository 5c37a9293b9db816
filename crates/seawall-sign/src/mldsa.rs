//! ML-DSA-44 (FIPS 204) keys for statements.
//!
//! A statement's signature by such a key is the public key (1312 bytes) and the signature proper
//! (2420 bytes); the key is checked against the SHA-256 that stands in the records, then the
//! signature against the key. Signing is the standard's deterministic variant with an empty
//! context: a room without randomness of its own stays reproducible, and DSSE's encoding keeps
//! what is signed here apart from everything else.
//!
//! The implementation is `ml-dsa` of the `RustCrypto` project, which shares its lattice code with the `ml-kem`
//! already here. AWS-LC's was rejected: its interface is marked unstable, and its signing draws
//! randomness of its own. `tests/wycheproof.rs` holds it to the vectors of Project Wycheproof.

use ml_dsa::{
    B32, EncodedSignature, EncodedVerifyingKey, Keypair as _, MlDsa44, Signature, Signer as _,
    SigningKey, VerifyingKey as PublicKey,
};
use seawall_base::{Rng, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{SignError, VerifyingKey};

/// Length of a public key in bytes.
pub(crate) const PUBLIC_LEN: usize = 1312;
/// Length of a signature proper in bytes.
pub(crate) const SIGNATURE_LEN: usize = 2420;

/// A secret ML-DSA-44 key. Zeroized when dropped, never printed.
pub struct MlDsaKey {
    inner: SigningKey<MlDsa44>,
    public: Box<[u8; PUBLIC_LEN]>,
}

impl MlDsaKey {
    /// A fresh key.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed (FIPS 204, `ML-DSA.KeyGen_internal`).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut xi = B32::from(*seed);
        let inner = SigningKey::from_seed(&xi);
        xi.zeroize();
        let public = Box::new(inner.verifying_key().encode().into());
        Self { inner, public }
    }

    /// The seed, for writing the key to its 0600 file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new((*self.inner.as_seed()).into())
    }

    /// The public half, as it stands in records.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey::of_fingerprint(Sha256::of(self.public.as_slice()).0)
    }

    /// Public key and signature, as envelopes carry them.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.inner.sign(message).encode();
        [self.public.as_slice(), signature.as_slice()].concat()
    }
}

impl std::fmt::Debug for MlDsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MlDsaKey(public {})", self.public())
    }
}

/// Checks public key and signature of a statement against the key's recorded SHA-256.
pub(crate) fn verify(
    fingerprint: &[u8; 32],
    message: &[u8],
    signed: &[u8],
) -> Result<(), SignError> {
    if signed.len() != PUBLIC_LEN + SIGNATURE_LEN {
        return Err(SignError::BadSignature);
    }
    let (key, signature) = signed.split_at(PUBLIC_LEN);
    if Sha256::of(key).0 != *fingerprint {
        return Err(SignError::BadKey("the ML-DSA-44 key is not the recorded one"));
    }
    verify_with(key, message, b"", signature)
}

/// Checks a signature with a whole public key.
pub(crate) fn verify_with(
    key: &[u8],
    message: &[u8],
    context: &[u8],
    signature: &[u8],
) -> Result<(), SignError> {
    let key = EncodedVerifyingKey::<MlDsa44>::try_from(key)
        .map_err(|_| SignError::BadKey("not an ML-DSA-44 key"))?;
    let signature = EncodedSignature::<MlDsa44>::try_from(signature)
        .ok()
        .and_then(|signature| Signature::<MlDsa44>::decode(&signature))
        .ok_or(SignError::BadSignature)?;
    if PublicKey::decode(&key).verify_with_context(message, context, &signature) {
        Ok(())
    } else {
        Err(SignError::BadSignature)
    }
}
