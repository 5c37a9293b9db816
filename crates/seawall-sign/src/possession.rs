//! Proof of possession: the caller of a request holds the key its token names, now and here.
//!
//! A token is sent with every request and could be copied by whoever sees one. So each request
//! bears a signature by the caller's key over all that makes it this request: method, path, the
//! body's digest, the channel binding of the TLS connection, the token, a number used once and the
//! time. What is replayed has a used number; what is moved has another connection; what is altered
//! has another digest. In spirit RFC 9449 (`DPoP`), with the body and the connection covered too.
//!
//! The number counts up from 0 for each token. A connection carries one request at a time, so
//! whoever checks remembers one number for each token instead of every nonce it ever saw, and can
//! write ahead the number up to which all count as used. Bytes: `docs/formats/token.md`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{Seconds, Sha256, Timestamp};

use crate::{SignError, SigningKey, VerifyingKey};

/// Stands before everything signed here: no other signature of the key can be taken for a proof.
const DOMAIN: &[u8; 40] = b"seawall 2026-11 proof of possession v1\0\0";

/// The one version of the encoding.
const VERSION: u8 = 1;

/// Length of a proof as text.
pub const PROOF_TEXT: usize = 108;

/// How far the time of a proof may be from the checker's.
pub const WINDOW: Seconds = Seconds(120);

/// All of a request that a proof covers, besides its own number and time.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub path: &'a str,
    /// Digest of the body, as the path's rule has it.
    pub body: &'a [u8; 32],
    /// Channel binding of the connection (RFC 9266).
    pub binding: &'a [u8; 32],
    /// The token sent along.
    pub token: &'a str,
}

/// A caller's signature under one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The request's number with this token.
    pub number: u64,
    /// When it was made, as the caller counts from the token's issue.
    pub time: Timestamp,
    signature: [u8; 64],
}

fn message(call: &Call<'_>, number: u64, time: Timestamp) -> Vec<u8> {
    let mut w = Writer::new();
    w.raw(DOMAIN)
        .bytes(call.method.as_bytes())
        .bytes(call.path.as_bytes())
        .raw(call.body)
        .raw(call.binding)
        .raw(Sha256::of(call.token.as_bytes()).as_bytes())
        .u64(number)
        .u64(time.0);
    w.into_vec()
}

impl Proof {
    /// Signs a request with the key its token names.
    pub fn make(key: &SigningKey, call: &Call<'_>, number: u64, time: Timestamp) -> Self {
        Self { number, time, signature: key.sign(&message(call, number, time)) }
    }

    /// The text that is sent: base64url of version, number, time and signature.
    pub fn to_text(&self) -> String {
        let mut w = Writer::new();
        w.u8(VERSION).u64(self.number).u64(self.time.0).raw(&self.signature);
        BASE64.encode(w.into_vec())
    }

    /// Parses what [`Proof::to_text`] gives and nothing else.
    pub fn parse(text: &str) -> Result<Self, SignError> {
        let malformed = || SignError::Malformed("proof of possession: not one".to_owned());
        if text.len() != PROOF_TEXT {
            return Err(malformed());
        }
        let bytes = BASE64.decode(text).map_err(|_| malformed())?;
        Self::decode(&bytes).map_err(|e| SignError::Malformed(format!("proof of possession: {e}")))
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.u8()? != VERSION {
            return Err(r.invalid("version"));
        }
        let it = Self { number: r.u64()?, time: Timestamp(r.u64()?), signature: r.array()? };
        r.finish()?;
        Ok(it)
    }

    /// Whether it was made about `now`.
    pub fn is_of(&self, now: Timestamp) -> bool {
        self.time.0.abs_diff(now.0) <= WINDOW.0
    }

    /// Whether the holder of `key` made it for this very request.
    pub fn verify(&self, key: &VerifyingKey, call: &Call<'_>) -> Result<(), SignError> {
        key.verify(&message(call, self.number, self.time), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000);
    const CALL: Call<'_> = Call {
        method: "POST",
        path: "/v1/objects",
        body: &[1; 32],
        binding: &[2; 32],
        token: "v4.public.AAAA",
    };

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    #[test]
    fn what_is_signed_and_sent_is_pinned() {
        let signed = message(&CALL, 3, NOW);
        let token = Sha256::of(b"v4.public.AAAA");
        let expected = [
            &b"seawall 2026-11 proof of possession v1\0\0"[..],
            b"\x04\0\0\0POST",
            b"\x0b\0\0\0/v1/objects",
            &[1; 32],
            &[2; 32],
            token.as_bytes(),
            &3_u64.to_le_bytes(),
            &1_795_000_000_u64.to_le_bytes(),
        ];
        assert_eq!(signed, expected.concat());
        insta::assert_snapshot!(Proof::make(&key(), &CALL, 3, NOW).to_text());
    }

    #[test]
    fn nothing_of_a_request_can_be_changed() {
        let proof = Proof::make(&key(), &CALL, 3, NOW);
        let public = key().public();
        assert_eq!(proof.verify(&public, &CALL), Ok(()));
        for other in [
            Call { method: "GET", ..CALL },
            Call { method: "POST/", path: "v1/objects", ..CALL },
            Call { path: "/v1/get", ..CALL },
            Call { path: "/v1/objects?", ..CALL },
            Call { body: &[9; 32], ..CALL },
            Call { binding: &[9; 32], ..CALL },
            Call { body: &[2; 32], binding: &[1; 32], ..CALL },
            Call { token: "v4.public.AAAB", ..CALL },
        ] {
            assert_eq!(proof.verify(&public, &other), Err(SignError::BadSignature), "{other:?}");
        }
        for other in [
            Proof { number: 4, ..proof.clone() },
            Proof { time: NOW.after(Seconds(1)), ..proof.clone() },
        ] {
            assert_eq!(other.verify(&public, &CALL), Err(SignError::BadSignature));
        }
        let stranger = SigningKey::from_seed(&[8; 32]).public();
        assert_eq!(proof.verify(&stranger, &CALL), Err(SignError::BadSignature));
    }

    #[test]
    fn its_time_is_two_minutes_either_way() {
        let proof = Proof::make(&key(), &CALL, 0, NOW);
        assert!(proof.is_of(NOW.after(WINDOW)) && proof.is_of(NOW.before(WINDOW)));
        assert!(!proof.is_of(NOW.after(Seconds(121))) && !proof.is_of(NOW.before(Seconds(121))));
        assert!(!proof.is_of(Timestamp(0)) && !proof.is_of(Timestamp(u64::MAX)));
    }

    #[test]
    fn one_proof_has_one_spelling() {
        let text = Proof::make(&key(), &CALL, u64::MAX, NOW).to_text();
        assert_eq!(text.len(), PROOF_TEXT);
        let parsed = Proof::parse(&text).expect("parses");
        assert_eq!((parsed.number, parsed.to_text()), (u64::MAX, text.clone()));
        let version_2 = format!("Ag{}", &text[2..]);
        for bad in ["", &text[1..], &format!("{text}="), &format!("{text}A"), &version_2] {
            assert!(Proof::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text: String, bytes in prop::array::uniform32(any::<u8>())) {
            let _ = Proof::parse(&text);
            let padded = BASE64.encode([&bytes[..], &[0; 49]].concat());
            if let Ok(proof) = Proof::parse(&padded) {
                prop_assert_eq!(proof.to_text(), padded);
            }
        }
    }
}
