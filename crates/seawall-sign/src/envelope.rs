//! DSSE v1 envelopes: a payload, its type, and signatures over both.
//!
//! <https://github.com/secure-systems-lab/dsse> `protocol.md` and `envelope.md`. The payload is
//! never re-serialised: what was signed is what is parsed, byte for byte. A signature's `keyid`
//! is the signer's algorithm-tagged public key, so that an envelope with an unknown algorithm
//! is refused by name instead of being counted as unsigned.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::Sha256;
use serde::{Deserialize, Serialize};

use crate::{SignError, Signer, VerifyingKey};

/// Largest envelope in bytes of JSON: it must fit a log entry (tlog-tiles: below 64 KiB).
pub const MAX_ENVELOPE: usize = 65_535;

/// Most signatures in one envelope.
pub const MAX_SIGNATURES: usize = 64;

/// A signed payload. The payload is kept as received; [`Envelope::to_json`] spells the envelope
/// around it in the one canonical way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(VerifyingKey, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnvelopeJson {
    payload_type: String,
    payload: String,
    signatures: Vec<SignatureJson>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureJson {
    keyid: String,
    sig: String,
}

/// Signatures without what they sign, for where that can be said again from what is known. They
/// say nothing until they stand around a statement ([`crate::Statement::with_signatures`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signatures(Vec<SignatureJson>);

/// DSSE pre-authentication encoding: `DSSEv1 SP len(type) SP type SP len(body) SP body`.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let mut out = out.into_bytes();
    out.extend_from_slice(payload);
    out
}

impl Envelope {
    /// Signs `payload` with each of `keys`.
    pub fn sign(payload_type: &str, payload: Vec<u8>, keys: &[&dyn Signer]) -> Self {
        let message = pre_authentication_encoding(payload_type, &payload);
        let signatures = keys.iter().map(|k| (k.public(), k.sign_statement(&message))).collect();
        Self { payload_type: payload_type.to_owned(), payload, signatures }
    }

    /// The same statement with one more signature. The signatures so far are not checked.
    pub fn and_sign(mut self, key: &dyn Signer) -> Result<Self, SignError> {
        if self.signatures.iter().any(|(signer, _)| *signer == key.public()) {
            return Err(SignError::DuplicateSigner(key.public()));
        }
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        self.signatures.push((key.public(), key.sign_statement(&message)));
        Ok(self)
    }

    /// The same statement with the signatures of another envelope around it as well. Neither's
    /// are checked; a signer of both counts once.
    pub fn and_signatures_of(mut self, other: &Self) -> Result<Self, SignError> {
        if (&self.payload_type, &self.payload) != (&other.payload_type, &other.payload) {
            return Err(SignError::Malformed("signatures of two different statements".to_owned()));
        }
        for (key, signature) in &other.signatures {
            if !self.signatures.iter().any(|(signer, _)| signer == key) {
                self.signatures.push((*key, signature.clone()));
            }
        }
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(SignError::Malformed("an envelope has 1 to 64 signatures".to_owned()));
        }
        Ok(self)
    }

    /// Parses an envelope. Unknown fields, unknown algorithms, a signer twice, or no signature
    /// at all are refused.
    pub fn parse(json: &[u8]) -> Result<Self, SignError> {
        if json.len() > MAX_ENVELOPE {
            return Err(SignError::TooLarge { found: json.len(), limit: MAX_ENVELOPE });
        }
        let raw: EnvelopeJson = serde_json::from_slice(json).map_err(SignError::json)?;
        if raw.signatures.is_empty() || raw.signatures.len() > MAX_SIGNATURES {
            return Err(SignError::Malformed("an envelope has 1 to 64 signatures".to_owned()));
        }
        let payload = BASE64
            .decode(&raw.payload)
            .map_err(|_| SignError::Malformed("the payload is not base64".to_owned()))?;
        let mut seen = BTreeSet::new();
        let mut signatures = Vec::new();
        for s in &raw.signatures {
            let key: VerifyingKey = s.keyid.parse()?;
            let sig = BASE64.decode(&s.sig).ok().filter(|sig| sig.len() == key.signature_len());
            let Some(sig) = sig else {
                let why = format!("a signature is not {} bytes", key.signature_len());
                return Err(SignError::Malformed(why));
            };
            if !seen.insert(key) {
                return Err(SignError::DuplicateSigner(key));
            }
            signatures.push((key, sig));
        }
        Ok(Self { payload_type: raw.payload_type, payload, signatures })
    }

    /// The envelope as JSON text, the form that is stored, logged and sent.
    pub fn to_json(&self) -> Vec<u8> {
        let raw = EnvelopeJson {
            payload_type: self.payload_type.clone(),
            payload: BASE64.encode(&self.payload),
            signatures: self.signatures().0,
        };
        serde_json::to_vec(&raw).expect("strings always serialise")
    }

    /// The signatures by themselves.
    pub fn signatures(&self) -> Signatures {
        let one = |(key, sig): &(VerifyingKey, _)| SignatureJson {
            keyid: key.to_string(),
            sig: BASE64.encode(sig),
        };
        Signatures(self.signatures.iter().map(one).collect())
    }

    /// A payload with these signatures around it, as if they had come together.
    pub(crate) fn assembled(
        payload_type: &str,
        payload: &[u8],
        signatures: &Signatures,
    ) -> Result<Self, SignError> {
        let raw = EnvelopeJson {
            payload_type: payload_type.to_owned(),
            payload: BASE64.encode(payload),
            signatures: signatures.0.clone(),
        };
        Self::parse(&serde_json::to_vec(&raw).expect("strings always serialise"))
    }

    /// The payload's type. Authenticated only once [`Envelope::verify`] has passed.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload *before any check*: for showing what an envelope claims, never for acting on.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// SHA-256 of the payload: the digest by which other statements name this one. It does not
    /// cover the signatures, so adding one does not make it a different statement.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&self.payload)
    }

    /// The keys that claim to have signed.
    pub fn signers(&self) -> impl Iterator<Item = VerifyingKey> {
        self.signatures.iter().map(|(k, _)| *k)
    }

    /// Returns the payload if at least `threshold` distinct keys of `trusted` signed it.
    ///
    /// Signatures by other keys are ignored; a *wrong* signature by a trusted key is an error,
    /// for somebody made it to deceive. A threshold of zero is refused: it would accept anything.
    pub fn verify(&self, trusted: &[VerifyingKey], threshold: usize) -> Result<&[u8], SignError> {
        if threshold == 0 {
            return Err(SignError::Malformed("a threshold of zero accepts anything".to_owned()));
        }
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        let trusted: BTreeSet<_> = trusted.iter().collect();
        let mut good = BTreeSet::new();
        for (key, signature) in &self.signatures {
            if trusted.contains(key) {
                key.verify_statement(&message, signature)?;
                good.insert(key);
            }
        }
        if good.len() < threshold {
            return Err(SignError::BelowThreshold { have: good.len(), need: threshold });
        }
        Ok(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SigningKey;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    #[test]
    fn encoding_matches_the_dsse_specification() {
        // protocol.md, "Test Vectors".
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn counts_distinct_trusted_signers_only() {
        let (a, b, c) = (key(1), key(2), key(3));
        let envelope = Envelope::sign("t", b"p".to_vec(), &[&a, &c]);
        let trusted = [a.public(), b.public()];
        assert_eq!(envelope.verify(&trusted, 1), Ok(&b"p"[..]));
        assert_eq!(
            envelope.verify(&trusted, 2),
            Err(SignError::BelowThreshold { have: 1, need: 2 })
        );
        assert!(envelope.verify(&trusted, 0).is_err(), "fails closed");
        assert!(envelope.verify(&[], 1).is_err());
    }

    #[test]
    fn a_signature_added_later_counts_like_one_from_the_beginning() {
        let (a, b) = (key(1), key(2));
        let one = Envelope::sign("t", b"p".to_vec(), &[&a]);
        let two = one.clone().and_sign(&b).expect("another signer");
        assert_eq!(two, Envelope::sign("t", b"p".to_vec(), &[&a, &b]));
        assert_eq!(
            (two.digest(), two.verify(&[a.public(), b.public()], 2).is_ok()),
            (one.digest(), true)
        );
        assert_eq!(one.and_sign(&a), Err(SignError::DuplicateSigner(a.public())));
    }

    #[test]
    fn signatures_of_one_statement_are_put_together() {
        let (a, b) = (key(1), key(2));
        let of = |keys: &[&dyn Signer]| Envelope::sign("t", b"p".to_vec(), keys);
        let both = of(&[&a]).and_signatures_of(&of(&[&a, &b])).expect("one statement");
        assert_eq!(both, of(&[&a, &b]), "a counts once");
        let other = Envelope::sign("t", b"q".to_vec(), &[&b]);
        assert!(of(&[&a]).and_signatures_of(&other).is_err());
        let other = Envelope::sign("u", b"p".to_vec(), &[&b]);
        assert!(of(&[&a]).and_signatures_of(&other).is_err());
    }

    #[test]
    fn signatures_come_back_around_the_payload_they_were_made_for() {
        let (a, b) = (key(1), key(2));
        let whole = Envelope::sign("t", b"p".to_vec(), &[&a, &b]);
        let apart = whole.signatures();
        assert_eq!(Envelope::assembled("t", b"p", &apart), Ok(whole));
        let other = Envelope::assembled("t", b"q", &apart).expect("well formed");
        assert_eq!(other.verify(&[a.public()], 1), Err(SignError::BadSignature));
        let none = Signatures(Vec::new());
        assert!(Envelope::assembled("t", b"p", &none).is_err(), "as for any envelope");
        let twice = Signatures([apart.0.clone(), apart.0].concat());
        assert!(Envelope::assembled("t", b"p", &twice).is_err());
    }

    #[test]
    fn duplicate_missing_and_unknown_signers_are_refused() {
        let a = key(1);
        let twice = Envelope::sign("t", b"p".to_vec(), &[&a, &a]).to_json();
        assert_eq!(Envelope::parse(&twice), Err(SignError::DuplicateSigner(a.public())));
        let none = Envelope::sign("t", b"p".to_vec(), &[]).to_json();
        assert!(Envelope::parse(&none).is_err());
        let one = Envelope::sign("t", b"p".to_vec(), &[&a]).to_json();
        let other = String::from_utf8(one).expect("JSON").replace("ed25519:", "ed448:");
        assert_eq!(
            Envelope::parse(other.as_bytes()),
            Err(SignError::UnknownAlgorithm("ed448".to_owned()))
        );
        let missing = r#"{"payloadType":"t","payload":"cA=="}"#;
        assert!(Envelope::parse(missing.as_bytes()).is_err());
        assert!(matches!(
            Envelope::parse(&vec![b' '; MAX_ENVELOPE + 1]),
            Err(SignError::TooLarge { .. })
        ));
    }

    #[test]
    fn the_type_is_signed_too() {
        let a = key(1);
        let json = Envelope::sign("type-one", b"p".to_vec(), &[&a]).to_json();
        let json = String::from_utf8(json).expect("JSON").replace("type-one", "type-two");
        let envelope = Envelope::parse(json.as_bytes()).expect("well formed");
        assert_eq!(envelope.verify(&[a.public()], 1), Err(SignError::BadSignature));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(bit in 0usize..4_000) {
            let a = key(1);
            let good = Envelope::sign("t", b"payload".to_vec(), &[&a]);
            let mut json = good.to_json();
            let at = bit / 8 % json.len();
            json[at] ^= 1 << (bit % 8);
            if let Ok(envelope) = Envelope::parse(&json) {
                // A flip that still parses must either fail or leave what is signed untouched
                // (base64 has no such slack here: trailing bits are checked by the decoder).
                prop_assert!(envelope.verify(&[a.public()], 1).is_err() || envelope == good);
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Envelope::parse(&bytes);
        }
    }
}
