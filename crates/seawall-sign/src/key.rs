//! Signature keys, each with its algorithm's name in every text form.
//!
//! Ed25519 (RFC 8032) is the only algorithm so far; a key or signature that names another is
//! refused, never skipped over, so that a downgrade cannot pass as "nothing to check".
//! Verification is strict: small-order keys and non-canonical signatures are refused.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer as _;
use seawall_base::{NodeId, Rng, Sha256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::SignError;

/// The algorithm tag of every key and signature made today.
pub const ED25519: &str = "ed25519";

/// A secret signing key. Zeroized when dropped, never printed.
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
        VerifyingKey { bytes: self.inner.verifying_key().to_bytes() }
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

/// A public key. Text form: `ed25519:` and the base64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey {
    bytes: [u8; 32],
}

impl VerifyingKey {
    /// Parses 32 bytes; refuses what is not a point and points of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map_err(|_| SignError::BadKey("not a point of the curve"))?;
        if key.is_weak() {
            return Err(SignError::BadKey("a point of small order"));
        }
        Ok(Self { bytes: *bytes })
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The identifier of whoever holds this key: SHA-256 of its text form.
    pub fn node_id(&self) -> NodeId {
        NodeId(Sha256::of(self.to_string().as_bytes()).0)
    }

    /// Checks a signature strictly (`verify_strict`: no malleability, no small order).
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), SignError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.bytes)
            .map_err(|_| SignError::BadKey("not a point of the curve"))?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).map_err(|_| SignError::BadSignature)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ED25519}:{}", BASE64.encode(self.bytes))
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
        if algorithm != ED25519 {
            return Err(SignError::UnknownAlgorithm(algorithm.chars().take(40).collect()));
        }
        let mut bytes = [0; 32];
        match BASE64.decode_slice(encoded, &mut bytes) {
            Ok(32) => Self::from_bytes(&bytes),
            _ => Err(SignError::BadKey("not the base64 of 32 bytes")),
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
