//! The two digests of the house: BLAKE3 for what we store, SHA-256 where a standard says so.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// Why a textual digest or identifier was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {expected}: {found:?}; expected 64 lowercase hexadecimal digits after the prefix")]
pub struct ParseDigestError {
    /// What the text was expected to be.
    pub expected: &'static str,
    /// The offending text, cut to a printable length.
    pub found: String,
}

impl ParseDigestError {
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(80).collect() }
    }
}

/// Parses exactly 64 lowercase hex digits. Upper case is refused so that one digest has one spelling.
pub(crate) fn parse_hex32(
    expected: &'static str,
    text: &str,
) -> Result<[u8; 32], ParseDigestError> {
    let mut out = [0; 32];
    let canonical = text.len() == 64 && !text.bytes().any(|b| b.is_ascii_uppercase());
    if !canonical || hex::decode_to_slice(text, &mut out).is_err() {
        return Err(ParseDigestError::new(expected, text));
    }
    Ok(out)
}

macro_rules! digest32 {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 lowercase hexadecimal digits, without the prefix.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }

            /// Parses 64 lowercase hexadecimal digits without a prefix.
            pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
                parse_hex32(stringify!($name), text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let rest = text
                    .strip_prefix($prefix)
                    .ok_or_else(|| ParseDigestError::new(stringify!($name), text))?;
                Self::from_hex(rest)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use digest32;

digest32!(
    /// BLAKE3-256 of a stored object's bytes (of the *ciphertext* for sealed objects).
    ObjectId, "blake3:"
);
digest32!(
    /// SHA-256, used where a standard asks for it (statements, the log).
    Sha256, "sha256:"
);

impl ObjectId {
    /// The id of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// An object's bytes with the id that was computed from them, so that nobody has to compute it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<'a> {
    id: ObjectId,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Object<'a> {
    /// Computes the id of `bytes`.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let bytes = bytes.into();
        Self { id: ObjectId::of(&bytes), bytes }
    }

    /// The id.
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// The bytes, copied if they are borrowed.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_owned()
    }

    /// The same object, with bytes of its own.
    pub fn into_owned(self) -> Object<'static> {
        Object { id: self.id, bytes: Cow::Owned(self.bytes.into_owned()) }
    }
}

impl Deref for Object<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Sha256 {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_has_one_spelling() {
        let id = ObjectId::of(b"abc");
        assert_eq!(
            id.to_string(),
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(id.to_string().parse::<ObjectId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<ObjectId>().is_err());
        let upper = format!("blake3:{}", id.to_hex().to_uppercase());
        assert!(upper.parse::<ObjectId>().is_err());
        assert!(id.to_string().parse::<Sha256>().is_err(), "the prefix tells digests apart");
        assert!("blake3:00".parse::<ObjectId>().is_err());
    }

    #[test]
    fn sha256_matches_fips_180_example() {
        assert_eq!(
            Sha256::of(b"abc").to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn serde_uses_the_text_form() {
        let id = Sha256::of(b"x");
        let json = serde_json::to_string(&id).expect("a digest serialises");
        assert_eq!(serde_json::from_str::<Sha256>(&json).expect("and parses"), id);
        assert!(serde_json::from_str::<Sha256>("\"sha256:zz\"").is_err());
    }
}
