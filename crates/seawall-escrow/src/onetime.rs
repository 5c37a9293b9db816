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

    /// Opens what [`seal`] made for this key, with the same `info` and `aad`.
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

/// Seals `plaintext` (at most [`MAX_SEALED_PLAINTEXT`] bytes) to `public`.
///
/// `info` names the purpose, `aad` the very request; both must be given again to open. The result
/// is the 1120-byte encapsulated key and then the ciphertext with its 16-byte tag.
pub fn seal(
    public: &OneTimePublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &mut dyn Rng,
) -> Result<Vec<u8>, OneTimeError> {
    if plaintext.len() > MAX_SEALED_PLAINTEXT {
        return Err(OneTimeError::TooLong { found: plaintext.len() });
    }
    let key = <XWing as Kem>::PublicKey::from_bytes(public.0.as_slice())
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
