//! Public keys, each with its algorithm's name in every text form, and Ed25519 secrets.
//!
//! Two algorithms: Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204, [`crate::MlDsaKey`]). A key or
//! signature that names another is refused, never skipped over, so that a downgrade cannot pass
//! as "nothing to check". Ed25519 verification is strict: small-order keys and non-canonical
//! signatures are refused.
//!
//! **A [`VerifyingKey`] is a tag and 32 bytes whatever the algorithm.** An ML-DSA-44 key has 1312
//! bytes; what stands in records is its SHA-256, and the key itself travels in front of each of
//! its signatures. So records, share files and node ids are as small as with Ed25519, a genesis
//! statement still fits a log entry, and the type stays `Copy`. Rejected: keys in full (a fleet
//! of eight custodians would fill an entry), and an `Arc` around large ones.
//!
//! Where a protocol knows Ed25519 only (TLS raw keys, log checkpoints, cosignatures, tokens) the
//! secret is a [`SigningKey`]; statements are signed by any [`crate::Signer`].

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer as _;
use seawall_base::{NodeId, Rng, Sha256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{SignError, mldsa};

/// The tag of Ed25519 keys.
pub const ED25519: &str = "ed25519";
/// The tag of ML-DSA-44 keys.
pub const ML_DSA_44: &str = "ml-dsa-44";

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// Ed25519, RFC 8032.
    #[default]
    Ed25519,
    /// ML-DSA-44, FIPS 204: secure against quantum computers.
    MlDsa44,
}

impl Algorithm {
    /// Its tag in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => ED25519,
            Self::MlDsa44 => ML_DSA_44,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        match text {
            ED25519 => Ok(Self::Ed25519),
            ML_DSA_44 => Ok(Self::MlDsa44),
            _ => Err(SignError::UnknownAlgorithm(text.chars().take(40).collect())),
        }
    }
}

/// A secret Ed25519 key. Zeroized when dropped, never printed.
pub struct SigningKey {
    inner: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { inner: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    /// The seed, for writing the key to its 0600 file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.inner.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        let bytes = self.inner.verifying_key().to_bytes();
        VerifyingKey { algorithm: Algorithm::Ed25519, bytes }
    }

    /// Signs `message`; 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.inner.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public())
    }
}

/// A public key. Text form: the algorithm's tag, a colon, and the base64 of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    bytes: [u8; 32],
}

impl VerifyingKey {
    /// The Ed25519 key of 32 bytes; refuses what is not a point and points of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map_err(|_| SignError::BadKey("not a point of the curve"))?;
        if key.is_weak() {
            return Err(SignError::BadKey("a point of small order"));
        }
        Ok(Self { algorithm: Algorithm::Ed25519, bytes: *bytes })
    }

    /// The ML-DSA-44 key with this SHA-256.
    pub(crate) const fn of_fingerprint(bytes: [u8; 32]) -> Self {
        Self { algorithm: Algorithm::MlDsa44, bytes }
    }

    /// The key's algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Refuses a key that is not Ed25519, for protocols that know no other.
    pub fn require_ed25519(&self) -> Result<(), SignError> {
        match self.algorithm {
            Algorithm::Ed25519 => Ok(()),
            Algorithm::MlDsa44 => Err(SignError::BadKey("an Ed25519 key is needed here")),
        }
    }

    /// The 32 bytes behind the tag: an Ed25519 key, or the SHA-256 of an ML-DSA-44 key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The identifier of whoever holds this key: SHA-256 of its text form.
    pub fn node_id(&self) -> NodeId {
        NodeId(Sha256::of(self.to_string().as_bytes()).0)
    }

    /// Checks an Ed25519 signature strictly (`verify_strict`: no malleability, no small order).
    /// A key of another algorithm verifies nothing here.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), SignError> {
        self.require_ed25519()?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.bytes)
            .map_err(|_| SignError::BadKey("not a point of the curve"))?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).map_err(|_| SignError::BadSignature)
    }

    /// Length in bytes of what [`crate::Signer::sign_statement`] gives for such a key.
    pub const fn signature_len(&self) -> usize {
        match self.algorithm {
            Algorithm::Ed25519 => 64,
            Algorithm::MlDsa44 => mldsa::PUBLIC_LEN + mldsa::SIGNATURE_LEN,
        }
    }

    /// Checks a statement's signature by a key of any algorithm.
    pub fn verify_statement(&self, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        match self.algorithm {
            Algorithm::Ed25519 => {
                let signature = signature.try_into().map_err(|_| SignError::BadSignature)?;
                self.verify(message, signature)
            }
            Algorithm::MlDsa44 => mldsa::verify(&self.bytes, message, signature),
        }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, BASE64.encode(self.bytes))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyingKey {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        let (algorithm, encoded) =
            text.split_once(':').ok_or(SignError::BadKey("no algorithm tag"))?;
        let algorithm: Algorithm = algorithm.parse()?;
        let mut bytes = [0; 32];
        if !matches!(BASE64.decode_slice(encoded, &mut bytes), Ok(32)) {
            return Err(SignError::BadKey("not the base64 of 32 bytes"));
        }
        match algorithm {
            Algorithm::Ed25519 => Self::from_bytes(&bytes),
            Algorithm::MlDsa44 => Ok(Self::of_fingerprint(bytes)),
        }
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_test_2() {
        let seed: [u8; 32] =
            hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
                .expect("hex")
                .try_into()
                .expect("32 bytes");
        let key = SigningKey::from_seed(&seed);
        assert_eq!(
            hex::encode(key.public().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert!(hex::encode(signature).starts_with("92a009a9f0d4cab8720e820b5f642540"));
        assert_eq!(key.public().verify(&[0x72], &signature), Ok(()));
        assert_eq!(key.public().verify(&[0x73], &signature), Err(SignError::BadSignature));
    }

    #[test]
    fn refuses_weak_keys_and_other_algorithms() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(VerifyingKey::from_bytes(&identity).is_err());
        let rsa = "rsa:AAAA".parse::<VerifyingKey>();
        assert_eq!(rsa, Err(SignError::UnknownAlgorithm("rsa".to_owned())));
        assert!("AAAA".parse::<VerifyingKey>().is_err());
        assert!("ed25519:AAAA".parse::<VerifyingKey>().is_err());
    }

    #[test]
    fn text_form_round_trips_and_the_secret_is_not_printed() {
        let key = SigningKey::from_seed(&[7; 32]);
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert!(!format!("{key:?}").contains("0707"));
    }
}
