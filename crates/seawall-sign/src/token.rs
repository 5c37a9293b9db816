//! Tokens: for some minutes, one caller may ask for one operation in one place.
//!
//! A token *moves bytes*. It says that a request is let through to the code that does an
//! operation, never that the operation is right: authority to delete or to change policy is a
//! statement with its signers (`Statement`), and nothing here can stand in for one. A token is
//! worth nothing by itself either: it names its caller's key, and each request needs a proof made
//! with that key ([`crate::possession`]).
//!
//! On the wire it is PASETO v4.public. Its message is JSON in one spelling: every claim below, in
//! this order, nothing else. Bytes: `docs/formats/token.md`.

use std::fmt;
use std::str::FromStr;

use seawall_base::{FleetId, NodeId, Seconds, Sha256, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::paseto::{self, Paseto};
use crate::{SignError, SigningKey, VerifyingKey};

/// Signed with every token and never sent: no token of another use of PASETO passes here.
const IMPLICIT: &[u8] = b"seawall 2026-11 token v1";

/// Longest life of a token.
pub const MAX_LIFE: Seconds = Seconds(15 * 60);

/// How far the clocks of issuer and checker may be apart.
pub const SKEW: Seconds = Seconds(60);

/// Bytes that tell two tokens of one second apart.
pub type TokenId = [u8; 16];

/// What a token lets its caller ask for. Deletion and administration need a statement besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Bring objects.
    Store,
    /// Extend the caller's own log, have snapshots counted.
    Sync,
    /// Fetch objects and logs of the caller's tenant.
    Read,
    /// Hand in a deletion that others have signed.
    Delete,
    /// Ask for a delegation, hand in a policy that others have signed.
    Admin,
}

impl Operation {
    /// Every operation there is.
    pub const ALL: [Self; 5] = [Self::Store, Self::Sync, Self::Read, Self::Delete, Self::Admin];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Sync => "sync",
            Self::Read => "read",
            Self::Delete => "delete",
            Self::Admin => "admin",
        })
    }
}

/// What a token is good for within its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// One TLS connection.
    Session(Sha256),
    /// One statement, by its digest: a deletion, a policy, a manifest.
    Statement(Sha256),
}

impl About {
    /// The session with this channel binding. The binding itself stands in no token.
    pub fn session(binding: &[u8; 32]) -> Self {
        Self::Session(Sha256::of(&[b"seawall 2026-11 session v1".as_slice(), binding].concat()))
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(digest) => write!(f, "session:{}", digest.to_hex()),
            Self::Statement(digest) => write!(f, "statement:{}", digest.to_hex()),
        }
    }
}

impl FromStr for About {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        let malformed = || SignError::Malformed("what a token is about is not known".to_owned());
        let (kind, hex) = text.split_once(':').ok_or_else(malformed)?;
        let digest = Sha256::from_hex(hex).map_err(|_| malformed())?;
        match kind {
            "session" => Ok(Self::Session(digest)),
            "statement" => Ok(Self::Statement(digest)),
            _ => Err(malformed()),
        }
    }
}

impl Serialize for About {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for About {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parsed(d)
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(d: D) -> Result<T, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// Times in a token are spelled as PASETO's registered claims are.
mod spelled {
    use super::{Deserializer, Serializer, Timestamp, parsed};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        parsed(d)
    }
}

mod hexadecimal {
    use super::{Deserialize, Deserializer, Serializer, TokenId};

    pub(super) fn serialize<S: Serializer>(id: &TokenId, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<TokenId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let mut id = TokenId::default();
        // Another spelling of the same bytes is refused with the message as a whole.
        hex::decode_to_slice(text.as_bytes(), &mut id).map_err(serde::de::Error::custom)?;
        Ok(id)
    }
}

/// All that a token says. Each claim must be there; there are no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The fleet.
    pub fleet: FleetId,
    /// Who issued it: a region, or a node to which a region delegated.
    #[serde(rename = "iss")]
    pub issuer: NodeId,
    /// For what.
    #[serde(rename = "op")]
    pub operation: Operation,
    /// For whom.
    #[serde(rename = "sub")]
    pub node: NodeId,
    /// Where.
    pub about: About,
    /// The caller's transport key, with which each use is proved.
    #[serde(rename = "cnf")]
    pub caller: VerifyingKey,
    /// When it was issued.
    #[serde(rename = "iat", with = "spelled")]
    pub issued: Timestamp,
    /// From when on it holds.
    #[serde(rename = "nbf", with = "spelled")]
    pub not_before: Timestamp,
    /// From when on it no longer holds.
    #[serde(rename = "exp", with = "spelled")]
    pub expires: Timestamp,
    /// Chosen by the caller.
    #[serde(rename = "jti", with = "hexadecimal")]
    pub id: TokenId,
}

/// What the checker of a token knows by itself.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The fleet of the caller.
    pub fleet: FleetId,
    /// Whose key signed.
    pub issuer: NodeId,
    /// What the request asks for.
    pub operation: Operation,
    /// Who asks.
    pub node: NodeId,
    /// The connection or statement at hand.
    pub about: About,
    /// The key the connection's peer proved.
    pub caller: VerifyingKey,
    /// The time.
    pub now: Timestamp,
}

/// Why a token does not let a request through. Another token may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its form or signature.
    #[error("token: {0}")]
    Form(#[from] SignError),
    /// Another key than the issuer's signed it.
    #[error("the token is signed by {0}, which is not its issuer's key")]
    Signer(VerifyingKey),
    /// It is for something else.
    #[error("the token is for {what} {found}, not {expected}")]
    Other {
        /// Which claim.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it would have to say.
        expected: String,
    },
    /// Its time is over.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// Its time has not come, by the checker's clock.
    #[error("the token holds from {0} on only; one of the two clocks is wrong")]
    NotYet(Timestamp),
    /// It would hold for more than 15 minutes, or for none.
    #[error("the token holds for more than 15 minutes, or for no time at all")]
    Life,
}

/// A token as it came. Its claims are claims until [`Token::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    paseto: Paseto,
    key: VerifyingKey,
    claims: Claims,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    kid: VerifyingKey,
}

impl Claims {
    /// Signs these claims. The footer names the key.
    pub fn mint(&self, key: &SigningKey) -> String {
        let message = serde_json::to_vec(self).expect("text always serialises");
        let footer = serde_json::to_vec(&Footer { kid: key.public() }).expect("text serialises");
        paseto::sign(key, &message, &footer, IMPLICIT)
    }

    /// Compares every claim with what the checker knows. Nothing is optional.
    pub fn check(&self, expected: &Expected) -> Result<(), TokenError> {
        same("fleet", &self.fleet, &expected.fleet)?;
        same("tokens issued by", &self.issuer, &expected.issuer)?;
        same("the operation", &self.operation, &expected.operation)?;
        same("node", &self.node, &expected.node)?;
        same("the holder of", &self.caller, &expected.caller)?;
        same("use in", &self.about, &expected.about)?;
        let longest = self.issued.after(MAX_LIFE);
        if self.not_before < self.issued
            || self.expires <= self.not_before
            || self.expires > longest
        {
            return Err(TokenError::Life);
        }
        if self.not_before > expected.now.after(SKEW) {
            return Err(TokenError::NotYet(self.not_before));
        }
        if self.expires <= expected.now {
            return Err(TokenError::Expired(self.expires));
        }
        Ok(())
    }
}

fn same<T: PartialEq + fmt::Display>(
    what: &'static str,
    found: &T,
    expected: &T,
) -> Result<(), TokenError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.to_string(), expected.to_string());
    Err(TokenError::Other { what, found, expected })
}

impl Token {
    /// Parses a token. Missing, unknown, repeated and otherwise spelled claims are refused, and
    /// every version and purpose but v4.public.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let paseto = Paseto::parse(text)?;
        let Footer { kid: key } = canonical(paseto.footer())?;
        let claims = canonical(paseto.unverified_message())?;
        Ok(Self { paseto, key, claims })
    }

    /// The claims before any check: for finding out whose key it should be, never for acting on.
    pub const fn unverified(&self) -> &Claims {
        &self.claims
    }

    /// The claims, if `key` signed them and all are as expected.
    pub fn verify(&self, key: &VerifyingKey, expected: &Expected) -> Result<&Claims, TokenError> {
        if self.key != *key {
            return Err(TokenError::Signer(self.key));
        }
        self.paseto.verify(key, IMPLICIT)?;
        self.claims.check(expected)?;
        Ok(&self.claims)
    }
}

/// Parses JSON that has one spelling only: the one we write.
fn canonical<T: Serialize + serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, SignError> {
    let it: T = serde_json::from_slice(json).map_err(SignError::json)?;
    let again = serde_json::to_vec(&it).map_err(SignError::json)?;
    if again != json {
        return Err(SignError::Malformed("not in the one spelling a token has".to_owned()));
    }
    Ok(it)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000);

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    fn claims() -> Claims {
        Claims {
            fleet: FleetId([1; 32]),
            issuer: NodeId([2; 32]),
            operation: Operation::Store,
            node: NodeId([3; 32]),
            about: About::session(&[4; 32]),
            caller: key(5).public(),
            issued: NOW,
            not_before: NOW,
            expires: NOW.after(Seconds(600)),
            id: [6; 16],
        }
    }

    fn expected() -> Expected {
        let Claims { fleet, issuer, operation, node, about, caller, .. } = claims();
        Expected { fleet, issuer, operation, node, about, caller, now: NOW }
    }

    fn verified(token: &str, expected: &Expected) -> Result<(), TokenError> {
        Token::parse(token)?.verify(&key(7).public(), expected).map(drop)
    }

    #[test]
    fn a_token_is_pinned_and_opens_for_what_it_names_only() {
        let token = claims().mint(&key(7));
        insta::assert_snapshot!(token);
        let parsed = Token::parse(&token).expect("parses");
        let message = String::from_utf8_lossy(parsed.paseto.unverified_message());
        insta::assert_snapshot!(message);
        assert_eq!(parsed.key, key(7).public());
        assert_eq!(verified(&token, &expected()), Ok(()));
        let good = expected();
        for (wrong, word) in [
            (Expected { fleet: FleetId([9; 32]), ..good }, "fleet"),
            (Expected { issuer: NodeId([9; 32]), ..good }, "issued by"),
            (Expected { operation: Operation::Delete, ..good }, "the operation store, not delete"),
            (Expected { node: NodeId([9; 32]), ..good }, "node"),
            (Expected { about: About::session(&[9; 32]), ..good }, "session:"),
            (Expected { about: About::Statement(Sha256([9; 32])), ..good }, "statement:"),
            (Expected { caller: key(9).public(), ..good }, "the holder of"),
        ] {
            let error = verified(&token, &wrong).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
        let forged = verified(&claims().mint(&key(8)), &good).expect_err("another key");
        assert!(forged.to_string().contains("signed by"), "{forged}");
        let message = serde_json::to_vec(&claims()).expect("serialises");
        let kid = format!("{{\"kid\":\"{}\"}}", key(7).public());
        let forged = paseto::sign(&key(8), &message, kid.as_bytes(), IMPLICIT);
        assert_eq!(verified(&forged, &good), Err(SignError::BadSignature.into()));
    }

    #[test]
    fn time_is_kept_to_the_second_whichever_way_a_clock_is_wrong() {
        let token = claims().mint(&key(7));
        let at = |now| verified(&token, &Expected { now, ..expected() });
        let end = NOW.after(Seconds(600));
        assert_eq!(at(end.before(Seconds(1))), Ok(()));
        assert_eq!(at(end), Err(TokenError::Expired(end)));
        assert_eq!(at(Timestamp(u64::MAX)), Err(TokenError::Expired(end)));
        assert_eq!(at(NOW.before(SKEW)), Ok(()));
        let early = NOW.before(SKEW).before(Seconds(1));
        assert_eq!(at(early), Err(TokenError::NotYet(NOW)));
        assert_eq!(at(Timestamp(0)), Err(TokenError::NotYet(NOW)));
        for bad in [
            Claims { expires: NOW.after(MAX_LIFE).after(Seconds(1)), ..claims() },
            Claims { expires: NOW, ..claims() },
            Claims { not_before: NOW.before(Seconds(1)), ..claims() },
            Claims { issued: Timestamp(u64::MAX), not_before: NOW, ..claims() },
        ] {
            assert_eq!(bad.check(&expected()), Err(TokenError::Life));
        }
    }

    fn signed(message: &str) -> String {
        let footer = format!("{{\"kid\":\"{}\"}}", key(7).public());
        paseto::sign(&key(7), message.as_bytes(), footer.as_bytes(), IMPLICIT)
    }

    #[test]
    fn claims_that_are_missing_unknown_repeated_or_spelled_otherwise_are_refused() {
        let good = serde_json::to_string(&claims()).expect("serialises");
        assert_eq!(verified(&signed(&good), &expected()), Ok(()));
        let fields: Vec<&str> = good.trim_matches(['{', '}']).split(",\"").collect();
        assert_eq!(fields.len(), 10);
        for at in 0..fields.len() {
            let quoted = |f: &&str| format!("\"{}", f.trim_start_matches('"'));
            let all: Vec<String> = fields.iter().map(quoted).collect();
            let (mut without, mut twice, mut null) = (all.clone(), all.clone(), all.clone());
            without.remove(at);
            twice.push(all[at].clone());
            let name = all[at].split(':').next().expect("a name").to_owned();
            null[at] = format!("{name}:null");
            let mut moved = all.clone();
            moved.rotate_left(at + 1);
            for bad in [without, twice, null, moved].iter().filter(|bad| **bad != all) {
                let json = format!("{{{}}}", bad.join(","));
                assert!(verified(&signed(&json), &expected()).is_err(), "{json}");
            }
        }
        for (from, to) in [
            ("{\"", "{\"x\":1,\""),
            ("{\"", "{ \""),
            ("\"store\"", "\"everything\""),
            ("\"store\"", "[\"store\",\"delete\"]"),
            ("\"store\"", "\"\""),
            ("session:", "tenant:"),
            ("session:", ""),
            ("ed25519:", "ed448:"),
            ("Z\"", "+00:00\""),
            ("0606", "060"),
            ("06060606", "0606060A"),
        ] {
            let json = good.replacen(from, to, 1);
            assert_ne!(json, good, "{from}");
            assert!(verified(&signed(&json), &expected()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_footer_is_the_key_and_nothing_else_and_the_domain_is_ours() {
        let message = serde_json::to_vec(&claims()).expect("serialises");
        let kid = format!("{{\"kid\":\"{}\"}}", key(7).public());
        for footer in ["", "{}", "{\"kid\":null}", &kid.replace(':', ": "), &format!("{kid} ")] {
            let token = paseto::sign(&key(7), &message, footer.as_bytes(), IMPLICIT);
            assert!(Token::parse(&token).is_err(), "{footer:?}");
        }
        for implicit in [&b""[..], b"seawall 2026-11 token v2"] {
            let token = paseto::sign(&key(7), &message, kid.as_bytes(), implicit);
            assert_eq!(verified(&token, &expected()), Err(SignError::BadSignature.into()));
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(bit in 0usize..8_000) {
            let mut token = claims().mint(&key(7)).into_bytes();
            let at = bit / 8 % token.len();
            token[at] ^= 1 << (bit % 8);
            if let Ok(text) = String::from_utf8(token) {
                prop_assert!(verified(&text, &expected()).is_err());
            }
        }

        #[test]
        fn hostile_text_never_panics(text: String) {
            let _ = Token::parse(&text);
            let _ = Token::parse(&signed(&text));
        }
    }
}
