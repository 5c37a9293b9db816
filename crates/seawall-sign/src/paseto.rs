//! PASETO v4.public: a message signed with Ed25519, as text.
//!
//! <https://github.com/paseto-standard/paseto-spec> `Version4.md` and `Common.md`. Only this
//! version and purpose exist here: a token that names another is refused by name before anything
//! of it is decoded, so that there is nothing to downgrade to. What the message means is
//! [`crate::token`]'s.
//!
//! Rejected: the crate `pasetors`. Its v4 brings a second Ed25519 (`ed25519-compact`, whose
//! verification is not the strict one all other signatures here get) and `orion` for v4.local,
//! which nothing here may accept. Without those v4.public is a header, an encoding of four pieces
//! and a signature; the standard's vectors hold it (`tests/paseto.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::{SignError, SigningKey, VerifyingKey};

/// Version and purpose, the beginning of every token.
pub const HEADER: &str = "v4.public.";

/// Longest token in characters.
pub const MAX_TOKEN: usize = 4_096;

const SIGNATURE: usize = 64;

/// A token taken apart. Nothing of it is to be believed before [`Paseto::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paseto {
    message: Vec<u8>,
    signature: [u8; SIGNATURE],
    footer: Vec<u8>,
}

/// Pre-authentication encoding: the number of pieces, then each with its length, all as 64-bit
/// little-endian numbers whose highest bit is clear.
fn encode_pieces(pieces: &[&[u8]]) -> Vec<u8> {
    let length = |n: usize| (n as u64 & (u64::MAX >> 1)).to_le_bytes();
    let mut out = length(pieces.len()).to_vec();
    for piece in pieces {
        out.extend_from_slice(&length(piece.len()));
        out.extend_from_slice(piece);
    }
    out
}

/// Signs `message`. The footer travels in the token; the implicit assertion does not, and whoever
/// verifies must know it.
pub fn sign(key: &SigningKey, message: &[u8], footer: &[u8], implicit: &[u8]) -> String {
    let signed = encode_pieces(&[HEADER.as_bytes(), message, footer, implicit]);
    let mut body = message.to_vec();
    body.extend_from_slice(&key.sign(&signed));
    let mut token = format!("{HEADER}{}", BASE64.encode(body));
    if !footer.is_empty() {
        token.push('.');
        BASE64.encode_string(footer, &mut token);
    }
    token
}

impl Paseto {
    /// Takes a token apart. Refuses every other version and purpose, padding, and a footer that
    /// is announced and empty: one token has one spelling.
    pub fn parse(token: &str) -> Result<Self, SignError> {
        if token.len() > MAX_TOKEN {
            return Err(SignError::TooLarge { found: token.len(), limit: MAX_TOKEN });
        }
        let rest = token.strip_prefix(HEADER).ok_or_else(|| {
            let named: Vec<&str> = token.split('.').take(2).collect();
            let found = named.join(".").chars().take(40).collect();
            SignError::WrongType { expected: "v4.public", found }
        })?;
        let malformed = |why: &str| SignError::Malformed(format!("token: {why}"));
        let (body, footer) = match rest.split_once('.') {
            Some((_, "")) => return Err(malformed("a dot and no footer")),
            Some((body, footer)) => (body, footer),
            None => (rest, ""),
        };
        let decode = |text: &str| {
            BASE64.decode(text).map_err(|_| malformed("not base64url without padding"))
        };
        let (mut message, footer) = (decode(body)?, decode(footer)?);
        let at = message
            .len()
            .checked_sub(SIGNATURE)
            .ok_or_else(|| malformed("too short for a signature"))?;
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(&message.split_off(at));
        Ok(Self { message, signature, footer })
    }

    /// The footer: which key to verify with, and nothing else, may be taken from it.
    pub fn footer(&self) -> &[u8] {
        &self.footer
    }

    /// The message before any check.
    pub(crate) fn unverified_message(&self) -> &[u8] {
        &self.message
    }

    /// The message, if `key` signed it with this footer and `implicit`.
    pub fn verify(&self, key: &VerifyingKey, implicit: &[u8]) -> Result<&[u8], SignError> {
        let signed = encode_pieces(&[HEADER.as_bytes(), &self.message, &self.footer, implicit]);
        key.verify(&signed, &self.signature)?;
        Ok(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_encoded_as_the_specification_shows() {
        // Common.md, "PAE Definition": the examples.
        assert_eq!(encode_pieces(&[]), [0; 8]);
        assert_eq!(encode_pieces(&[b""]), [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8]].concat());
        let test = encode_pieces(&[b"test"]);
        assert_eq!(test, b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0test");
    }

    #[test]
    fn every_version_and_purpose_but_one_is_refused_by_name() {
        let key = SigningKey::from_seed(&[1; 32]);
        let good = sign(&key, b"{}", b"", b"");
        for other in
            ["v1.public.", "v2.public.", "v3.public.", "v4.local.", "v5.public.", "V4.public."]
        {
            let downgraded = good.replacen(HEADER, other, 1);
            let named = other.trim_end_matches('.').to_owned();
            let refused = SignError::WrongType { expected: "v4.public", found: named };
            assert_eq!(Paseto::parse(&downgraded), Err(refused));
        }
        for bad in [
            "",
            "v4.public",
            "v4.public.",
            "v4.public.AAAA",
            &format!("{good}."),
            &format!("{good}="),
        ] {
            assert!(Paseto::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("{HEADER}{}", "A".repeat(MAX_TOKEN));
        assert!(matches!(Paseto::parse(&long), Err(SignError::TooLarge { .. })));
    }

    #[test]
    fn each_piece_is_signed() {
        let key = SigningKey::from_seed(&[1; 32]);
        let token = Paseto::parse(&sign(&key, b"message", b"footer", b"implicit")).expect("parses");
        assert_eq!(token.verify(&key.public(), b"implicit"), Ok(&b"message"[..]));
        assert_eq!(token.verify(&key.public(), b""), Err(SignError::BadSignature));
        let other = SigningKey::from_seed(&[2; 32]).public();
        assert_eq!(token.verify(&other, b"implicit"), Err(SignError::BadSignature));
        for altered in [
            Paseto { message: b"massage".to_vec(), ..token.clone() },
            Paseto { footer: b"Footer".to_vec(), ..token.clone() },
            // What moves from one piece to the next is another encoding.
            Paseto { message: b"messagef".to_vec(), footer: b"ooter".to_vec(), ..token.clone() },
        ] {
            assert_eq!(altered.verify(&key.public(), b"implicit"), Err(SignError::BadSignature));
        }
    }
}
