//! Secrets wrapped by a key that never leaves a token.
//!
//! The room knows that there is such a key, how it is named, and what it has to do: AES-256-GCM
//! with a nonce and associated data of ours. How a token is reached (PKCS#11, a session, a PIN) is
//! a root's business, behind [`WrappingKey`]. A software key of the tests is the other
//! implementation.
//!
//! Encryption rather than the token's *wrap* operation: that one takes key objects only, has no
//! associated data in the mechanisms that tokens share, and would leave the secret in the token as
//! an object between two calls. Nonces are random: a key wraps some dozens of secrets in its life,
//! far from the 2^32 of NIST SP 800-38D section 8.3.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::Rng;
use seawall_base::wire::Writer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::aead::TAG_LEN;

/// Length of a nonce in bytes.
pub const IV_LEN: usize = 12;

/// Length of a key's id in bytes.
pub const KEY_ID_LEN: usize = 16;

/// `CKM_AES_GCM` with a 256-bit key, a nonce of 96 bits and a tag of 128 (PKCS#11 v2.40 2.12.5).
const MECHANISM: &str = "pkcs11:aes-256-gcm";

/// Longest token label in bytes (`CK_TOKEN_INFO`).
const MAX_LABEL: usize = 32;

/// Longest serial number in bytes (`CK_TOKEN_INFO`).
const MAX_SERIAL: usize = 16;

/// Why a token's key did not wrap or unwrap.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// Another key than the one that wrapped it. Use that one.
    #[error("it was wrapped by {wanted}, and this is {found}")]
    OtherKey {
        /// The key that wrapped it.
        wanted: Box<TokenKey>,
        /// The key at hand.
        found: Box<TokenKey>,
    },
    /// The key works, and this does not open. Use another copy of the file.
    #[error(
        "{0} works, and what it was given does not open: the file was altered after it was \
         wrapped, or the token's key is another one; use a copy of the file, or have the share \
         repaired"
    )]
    Mismatch(Box<TokenKey>),
    /// The token did not do its work. What it says tells what to do.
    #[error("{0}")]
    Token(String),
}

/// Which key of which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// The token's label, 1 to 32 bytes.
    pub label: String,
    /// The token's serial number, at most 16 bytes.
    pub serial: String,
    /// `CKA_ID` of the key.
    pub key: [u8; KEY_ID_LEN],
}

impl TokenKey {
    /// The field that cannot be, if one cannot.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let printable = |s: &str| !s.chars().any(char::is_control);
        if !(1..=MAX_LABEL).contains(&self.label.len()) || !printable(&self.label) {
            return Err("token.label");
        }
        if self.serial.len() > MAX_SERIAL || !printable(&self.serial) {
            return Err("token.serial");
        }
        Ok(())
    }

    /// The name with mechanism and nonce, as associated data.
    pub(crate) fn write(&self, iv: &[u8; IV_LEN], w: &mut Writer) {
        w.bytes(MECHANISM.as_bytes())
            .bytes(self.label.as_bytes())
            .bytes(self.serial.as_bytes())
            .raw(&self.key)
            .raw(iv);
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = hex::encode(self.key);
        write!(f, "key {key} of the token {:?} (serial {:?})", self.label, self.serial)
    }
}

/// A key in a token, ready to be used. Nothing here hands out the key.
pub trait WrappingKey: Send + Sync {
    /// Which one it is.
    fn name(&self) -> &TokenKey;

    /// Encrypts with AES-256-GCM: ciphertext and tag.
    fn wrap(&self, iv: &[u8; IV_LEN], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, WrapError>;

    /// Decrypts what [`WrappingKey::wrap`] made. [`WrapError::Mismatch`] only if the key does work.
    fn unwrap(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError>;
}

/// Wraps `plain`. `iv` must be fresh. What the token made is unwrapped again for a test: a token
/// that cannot give back what it took is found out now.
pub(crate) fn seal(
    key: &dyn WrappingKey,
    iv: &[u8; IV_LEN],
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, WrapError> {
    let sealed = key.wrap(iv, aad, plain)?;
    let back = key.unwrap(iv, aad, &sealed)?;
    if sealed.len() != plain.len() + TAG_LEN || back.as_slice() != plain {
        let why = format!("{} does not give back what it wrapped; do not use it", key.name());
        return Err(WrapError::Token(why));
    }
    Ok(sealed)
}

/// Unwraps what the key `named` wrapped.
pub(crate) fn open(
    key: &dyn WrappingKey,
    named: &TokenKey,
    iv: &[u8; IV_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    if key.name() != named {
        let (wanted, found) = (Box::new(named.clone()), Box::new(key.name().clone()));
        return Err(WrapError::OtherKey { wanted, found });
    }
    key.unwrap(iv, aad, sealed)
}

/// Any few secret bytes wrapped by a token's key, as part of a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedSecret {
    token: TokenText,
    sealed: String,
}

impl WrappedSecret {
    /// Wraps `plain`; `context` is what it cannot be opened without.
    pub fn make(
        key: &dyn WrappingKey,
        context: &[u8],
        plain: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Self, WrapError> {
        let mut iv = [0; IV_LEN];
        rng.fill(&mut iv);
        let sealed = seal(key, &iv, &Self::associated_data(context, key.name(), &iv), plain)?;
        Ok(Self { token: TokenText::of(key.name(), &iv), sealed: BASE64.encode(sealed) })
    }

    /// Unwraps it.
    pub fn open(
        &self,
        key: &dyn WrappingKey,
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let bad = |field: &str| WrapError::Token(format!("{field} is not as it was written"));
        let (named, iv) = self.token.parse().map_err(bad)?;
        let sealed = BASE64.decode(&self.sealed).map_err(|_| bad("sealed"))?;
        open(key, &named, &iv, &Self::associated_data(context, &named, &iv), &sealed)
    }

    fn associated_data(context: &[u8], key: &TokenKey, iv: &[u8; IV_LEN]) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(context);
        key.write(iv, &mut w);
        w.into_vec()
    }
}

/// A token's key and a nonce as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenText {
    mechanism: String,
    label: String,
    serial: String,
    key: String,
    iv: String,
}

impl TokenText {
    /// As JSON.
    pub(crate) fn of(key: &TokenKey, iv: &[u8; IV_LEN]) -> Self {
        Self {
            mechanism: MECHANISM.to_owned(),
            label: key.label.clone(),
            serial: key.serial.clone(),
            key: hex::encode(key.key),
            iv: BASE64.encode(iv),
        }
    }

    /// The key and the nonce, or the field that cannot be.
    pub(crate) fn parse(&self) -> Result<(TokenKey, [u8; IV_LEN]), &'static str> {
        if self.mechanism != MECHANISM {
            return Err("token.mechanism");
        }
        let mut id = [0; KEY_ID_LEN];
        hex::decode_to_slice(&self.key, &mut id).map_err(|_| "token.key")?;
        if hex::encode(id) != self.key {
            return Err("token.key");
        }
        let iv = BASE64.decode(&self.iv).map_err(|_| "token.iv")?;
        let iv = iv.try_into().map_err(|_| "token.iv")?;
        let key = TokenKey { label: self.label.clone(), serial: self.serial.clone(), key: id };
        key.check()?;
        Ok((key, iv))
    }
}
