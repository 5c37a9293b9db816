//! One-time keys: who receives partials and tenant secrets, sealed against a quantum computer too.
//!
//! HPKE (RFC 9180) in base mode with X-Wing (ML-KEM-768 and X25519, KEM id 0x647a), HKDF-SHA256
//! and ChaCha20-Poly1305. A requester makes a key per request, keeps the secret in a 0600 file and
//! puts the public key in the request; custodians seal their partials to it with the request's
//! digest as associated data. The key pair is the draft's own: the secret is its 32-byte seed.
//!
//! Base mode does not say who sealed: what is inside carries its own proof or signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use seawall_base::Rng;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::randomness::Adapted;

/// Largest plaintext, in bytes: 64 KiB, far above a partial or a bundle's tenant secrets.
pub const MAX_SEALED_PLAINTEXT: usize = 64 << 10;

const PUBLIC_LEN: usize = 1216;
const ENCAPSULATED_LEN: usize = 1120;
const TAG_LEN: usize = 16;
const PREFIX: &str = "xwing:";

/// Why a one-time key or a sealed message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OneTimeError {
    /// Not a public key in its one text form.
    #[error("one-time key is not \"{PREFIX}\" and the base64 of {PUBLIC_LEN} bytes")]
    Text,
    /// The 1216 bytes are no X-Wing public key.
    #[error("one-time key is not a valid X-Wing public key")]
    PublicKey,
    /// The plaintext to seal is too long.
    #[error("message of {found} bytes to seal is above the limit of {MAX_SEALED_PLAINTEXT}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Too short or too long to be a sealed message.
    #[error("sealed message has an impossible length of {found} bytes")]
    Length {
        /// Its length.
        found: usize,
    },
    /// Sealed to another key, for another purpose or request, or altered.
    #[error("sealed message does not open: other key, other request, or altered")]
    Open,
}

/// The secret half: 32 bytes, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OneTimeSecret([u8; 32]);

impl OneTimeSecret {
    /// A fresh key.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut seed = Self([0; 32]);
        rng.fill(&mut seed.0);
        seed
    }

    /// The secret from the bytes [`OneTimeSecret::to_bytes`] gave.
    pub const fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The secret's bytes, for a file of mode 0600.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// The public half.
    pub fn public(&self) -> OneTimePublic {
        let bytes: [u8; PUBLIC_LEN] = XWing::sk_to_pk(&self.key()).to_bytes().into();
        OneTimePublic(Box::new(bytes))
    }

    /// Opens what [`OneTimePublic::seal`] made for this key, with the same `info` and `aad`.
    pub fn open(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OneTimeError> {
        const OVERHEAD: usize = ENCAPSULATED_LEN + TAG_LEN;
        if !(OVERHEAD..=OVERHEAD + MAX_SEALED_PLAINTEXT).contains(&sealed.len()) {
            return Err(OneTimeError::Length { found: sealed.len() });
        }
        let (encapsulated, ciphertext) = sealed.split_at(ENCAPSULATED_LEN);
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated)
            .map_err(|_| OneTimeError::Open)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.key(),
            &encapsulated,
            info,
            ciphertext,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| OneTimeError::Open)
    }

    fn key(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(&self.0).expect("every 32 bytes are an X-Wing seed")
    }
}

impl std::fmt::Debug for OneTimeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimeSecret").finish_non_exhaustive()
    }
}

/// The public half: 1216 bytes that are a valid X-Wing public key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OneTimePublic(Box<[u8; PUBLIC_LEN]>);

impl OneTimePublic {
    /// Checks and wraps raw bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OneTimeError> {
        let array: Box<[u8; PUBLIC_LEN]> =
            Box::new(bytes.try_into().map_err(|_| OneTimeError::PublicKey)?);
        <XWing as Kem>::PublicKey::from_bytes(array.as_slice())
            .map_err(|_| OneTimeError::PublicKey)?;
        Ok(Self(array))
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        &self.0
    }

    /// The text form: `xwing:` and standard base64 with padding.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(self.0.as_slice()))
    }

    /// Parses the text form; there is one spelling for each key.
    pub fn parse(text: &str) -> Result<Self, OneTimeError> {
        let rest = text.strip_prefix(PREFIX).ok_or(OneTimeError::Text)?;
        if rest.len() != PUBLIC_LEN.div_ceil(3) * 4 {
            return Err(OneTimeError::Text);
        }
        Self::from_bytes(&BASE64.decode(rest).map_err(|_| OneTimeError::Text)?)
    }

    /// Seals `plaintext` (at most [`MAX_SEALED_PLAINTEXT`] bytes) to this key.
    ///
    /// `info` names the purpose, `aad` the very request; both must be given again to open. The
    /// result is the 1120-byte encapsulated key, then the ciphertext with its 16-byte tag.
    pub fn seal(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Vec<u8>, OneTimeError> {
        if plaintext.len() > MAX_SEALED_PLAINTEXT {
            return Err(OneTimeError::TooLong { found: plaintext.len() });
        }
        let key = <XWing as Kem>::PublicKey::from_bytes(self.0.as_slice())
            .expect("a OneTimePublic was checked when it was made");
        let (encapsulated, ciphertext) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &OpModeS::Base,
                &key,
                info,
                plaintext,
                aad,
                &mut Adapted(rng),
            )
            .expect("base-mode sealing of a bounded message to a valid key cannot fail");
        let mut out = encapsulated.to_bytes().to_vec();
        out.extend_from_slice(&ciphertext);
        Ok(out)
    }
}

impl TryFrom<String> for OneTimePublic {
    type Error = OneTimeError;

    fn try_from(text: String) -> Result<Self, OneTimeError> {
        Self::parse(&text)
    }
}

impl From<OneTimePublic> for String {
    fn from(key: OneTimePublic) -> Self {
        key.to_text()
    }
}

impl std::fmt::Debug for OneTimePublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OneTimePublic({}…)", &hex::encode(&self.0[..8]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Seeded, hex32};
    use seawall_base::Sha256;

    struct Fixed(Vec<u8>);

    impl Rng for Fixed {
        fn fill(&mut self, out: &mut [u8]) {
            out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        }
    }

    /// Seed, encapsulation seed, shared secret, SHA-256 of the public key and of the ciphertext.
    const XWING_VECTORS: [[&str; 5]; 3] = [
        [
            "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
            "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2\
             35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
            "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
            "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
            "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
        ],
        [
            "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
            "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef\
             aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
            "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
            "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
            "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
        ],
        [
            "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
            "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619\
             f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b",
            "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
            "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95",
            "d3ca5578500344b5896cffc4fd740c9311946b82951df155e6fd86a7966b43c6",
        ],
    ];

    #[test]
    fn keys_and_encapsulation_match_the_x_wing_draft() {
        for [seed, encapsulation, shared, public, ciphertext] in XWING_VECTORS {
            let secret = OneTimeSecret::from_bytes(&hex32(seed));
            let key = secret.public();
            assert_eq!(Sha256::of(key.as_bytes()).to_hex(), public);
            let key = <XWing as Kem>::PublicKey::from_bytes(key.as_bytes()).expect("a key");
            let mut rng = Fixed(hex::decode(encapsulation).expect("hex"));
            let (ss, ct) =
                XWing::encap_with_rng(&key, None, &mut Adapted(&mut rng)).expect("encapsulates");
            assert_eq!(hex::encode(ss.0), shared);
            assert_eq!(Sha256::of(&ct.to_bytes()).to_hex(), ciphertext);
            let back = XWing::decap(&secret.key(), None, &ct).expect("decapsulates");
            assert_eq!(hex::encode(back.0), shared);
        }
    }

    #[test]
    fn the_sealed_form_is_pinned() {
        let secret = OneTimeSecret::from_bytes(&[7; 32]);
        let sealed = secret
            .public()
            .seal(b"info", b"aad", b"plain", &mut Fixed(vec![9; 64]))
            .expect("seals");
        assert_eq!(sealed.len(), 1120 + 5 + 16);
        assert_eq!(hex::encode(&sealed[1120..]), "daf0e23b85c23c32665b9809e3369e22553a52b84e");
        let opened = secret.open(b"info", b"aad", &sealed).expect("opens");
        assert_eq!(opened.as_slice(), b"plain");
    }

    #[test]
    fn other_keys_purposes_requests_and_bytes_do_not_open() {
        let mut rng = Seeded::new("onetime");
        let secret = OneTimeSecret::generate(&mut rng);
        let other = OneTimeSecret::generate(&mut rng);
        let sealed = secret.public().seal(b"info", b"aad", b"plain", &mut rng).expect("seals");
        assert_eq!(other.open(b"info", b"aad", &sealed), Err(OneTimeError::Open));
        assert_eq!(secret.open(b"inf", b"oaad", &sealed), Err(OneTimeError::Open));
        assert_eq!(secret.open(b"info", b"aae", &sealed), Err(OneTimeError::Open));
        for at in (0..sealed.len()).step_by(7).chain(1100..sealed.len()) {
            let mut bad = sealed.clone();
            bad[at] ^= 0x10;
            assert_eq!(secret.open(b"info", b"aad", &bad), Err(OneTimeError::Open), "byte {at}");
        }
        for len in [0, 1119, 1135] {
            let found = OneTimeError::Length { found: len };
            assert_eq!(secret.open(b"info", b"aad", &sealed[..len]), Err(found));
        }
        assert_eq!(secret.open(b"info", b"aad", &sealed[..1136]), Err(OneTimeError::Open));
        let again = OneTimeSecret::from_bytes(&secret.to_bytes());
        assert_eq!(again.open(b"info", b"aad", &sealed).expect("opens").as_slice(), b"plain");
        assert_eq!(format!("{secret:?}"), "OneTimeSecret { .. }");
    }

    #[test]
    fn lengths_are_bounded() {
        let mut rng = Seeded::new("long");
        let secret = OneTimeSecret::generate(&mut rng);
        let most = vec![1; MAX_SEALED_PLAINTEXT];
        let sealed = secret.public().seal(b"", b"", &most, &mut rng).expect("seals");
        assert_eq!(*secret.open(b"", b"", &sealed).expect("opens"), most);
        let found = MAX_SEALED_PLAINTEXT + 1;
        assert_eq!(
            secret.public().seal(b"", b"", &vec![1; found], &mut rng),
            Err(OneTimeError::TooLong { found })
        );
        let too_long = vec![0; sealed.len() + 1];
        let found = OneTimeError::Length { found: too_long.len() };
        assert_eq!(secret.open(b"", b"", &too_long), Err(found));
    }

    #[test]
    fn public_keys_have_one_text_form() {
        let key = OneTimeSecret::from_bytes(&[7; 32]).public();
        let text = key.to_text();
        assert_eq!(OneTimePublic::parse(&text), Ok(key.clone()));
        let json = serde_json::to_string(&key).expect("serialises");
        assert_eq!(serde_json::from_str::<OneTimePublic>(&json).expect("parses"), key);
        for bad in ["", "xwing:", &text[1..], &text[..text.len() - 1], &format!("{text}\n")] {
            assert_eq!(OneTimePublic::parse(bad), Err(OneTimeError::Text));
            let json = serde_json::to_string(bad).expect("serialises");
            assert!(serde_json::from_str::<OneTimePublic>(&json).is_err());
        }
        assert_eq!(OneTimePublic::parse(&text.replace('A', "*")), Err(OneTimeError::Text));
        assert_eq!(OneTimePublic::from_bytes(&[0; 1215]), Err(OneTimeError::PublicKey));
        // Coefficients above the modulus are no ML-KEM key (FIPS 203 section 7.2).
        assert_eq!(OneTimePublic::from_bytes(&[0xff; 1216]), Err(OneTimeError::PublicKey));
        assert!(format!("{key:?}").starts_with("OneTimePublic("));
    }
}
