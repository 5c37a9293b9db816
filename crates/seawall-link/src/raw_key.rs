//! Ed25519 keys as TLS wants them: raw public keys (RFC 7250) in DER (RFC 8410).
//!
//! Both encodings are a fixed prefix and 32 bytes, so no DER parser is needed, and nothing but
//! exactly these bytes is accepted.

use seawall_sign::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// `SubjectPublicKeyInfo` of algorithm 1.3.101.112 up to the key (RFC 8410 §4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// PKCS#8 version 1 of algorithm 1.3.101.112 up to the seed (RFC 8410 §7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A public key as `SubjectPublicKeyInfo`.
pub fn spki(key: &VerifyingKey) -> [u8; 44] {
    let mut der = [0; 44];
    der[..12].copy_from_slice(&SPKI);
    der[12..].copy_from_slice(key.as_bytes());
    der
}

/// The Ed25519 key of a `SubjectPublicKeyInfo`; `None` for anything else.
pub fn from_spki(der: &[u8]) -> Option<VerifyingKey> {
    let bytes = der.strip_prefix(&SPKI)?.try_into().ok()?;
    VerifyingKey::from_bytes(bytes).ok()
}

/// A secret key as PKCS#8.
pub fn pkcs8(key: &SigningKey) -> Zeroizing<[u8; 48]> {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PKCS8);
    der[16..].copy_from_slice(&*key.seed());
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_8410() {
        // Section 10.1, the public key; section 10.3, the secret key without attributes.
        let public = "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        let secret = "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
        let seed = hex::decode(&secret[32..]).expect("hex").try_into().expect("32 bytes");
        let key = SigningKey::from_seed(&seed);
        assert_eq!(hex::encode(spki(&key.public())), public);
        assert_eq!(hex::encode(*pkcs8(&key)), secret);
        assert_eq!(from_spki(&spki(&key.public())), Some(key.public()));
    }

    #[test]
    fn nothing_else_is_a_key() {
        let good = spki(&SigningKey::from_seed(&[1; 32]).public());
        assert_eq!(from_spki(&good[..43]), None);
        assert_eq!(from_spki(&[good.as_slice(), &[0]].concat()), None);
        let mut x25519 = good;
        x25519[8] = 0x6e;
        assert_eq!(from_spki(&x25519), None);
    }
}
