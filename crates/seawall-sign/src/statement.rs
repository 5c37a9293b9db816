//! in-toto Statement v1: who says what about which digest.
//!
//! <https://github.com/in-toto/attestation> `spec/v1/statement.md`. Parsing is strict: exactly
//! the predicate type asked for, no unknown fields, at least one subject.

use std::collections::BTreeMap;

use seawall_base::{ObjectId, Sha256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::envelope::Signatures;
use crate::{Envelope, SignError, Signer, VerifyingKey};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What a statement says: a predicate with a fixed type URI.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The predicate's type URI, with its version.
    const TYPE: &'static str;
}

/// One thing a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// A name within the statement.
    pub name: String,
    /// Digests by algorithm (`sha256`, `blake3`), lowercase hexadecimal.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// A subject under its SHA-256.
    pub fn sha256(name: &str, digest: Sha256) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), digest.to_hex())]);
        Self { name: name.to_owned(), digest }
    }

    /// A subject under its BLAKE3.
    pub fn blake3(name: &str, id: ObjectId) -> Self {
        let digest = BTreeMap::from([("blake3".to_owned(), id.to_hex())]);
        Self { name: name.to_owned(), digest }
    }
}

/// A statement with a predicate of type `P`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement<P> {
    #[serde(rename = "_type")]
    layout: String,
    /// What the statement is about.
    pub subject: Vec<Subject>,
    predicate_type: String,
    /// What it says.
    pub predicate: P,
}

impl<P: Predicate> Statement<P> {
    /// A statement about `subject`.
    pub fn new(subject: Subject, predicate: P) -> Self {
        Self {
            layout: STATEMENT_TYPE.to_owned(),
            subject: vec![subject],
            predicate_type: P::TYPE.to_owned(),
            predicate,
        }
    }

    /// Signs the statement into a DSSE envelope.
    pub fn sign(&self, keys: &[&dyn Signer]) -> Result<Envelope, SignError> {
        let payload = serde_json::to_vec(self).map_err(SignError::json)?;
        let envelope = Envelope::sign(PAYLOAD_TYPE, payload, keys);
        let size = envelope.to_json().len();
        if size > crate::envelope::MAX_ENVELOPE {
            return Err(SignError::TooLarge { found: size, limit: crate::envelope::MAX_ENVELOPE });
        }
        Ok(envelope)
    }

    /// This very statement with signatures that were kept apart from it, none of them checked.
    pub fn with_signatures(&self, signatures: &Signatures) -> Result<Envelope, SignError> {
        let payload = serde_json::to_vec(self).map_err(SignError::json)?;
        Envelope::assembled(PAYLOAD_TYPE, &payload, signatures)
    }

    /// Checks the signatures, then parses the statement.
    pub fn open(
        envelope: &Envelope,
        trusted: &[VerifyingKey],
        threshold: usize,
    ) -> Result<Self, SignError> {
        envelope.verify(trusted, threshold)?;
        Self::read_unverified(envelope)
    }

    /// Parses what an envelope *claims*. For finding out which keys to check it with, and for
    /// showing it; never for acting on.
    pub fn read_unverified(envelope: &Envelope) -> Result<Self, SignError> {
        if envelope.payload_type() != PAYLOAD_TYPE {
            return Err(SignError::WrongType {
                expected: PAYLOAD_TYPE,
                found: envelope.payload_type().chars().take(120).collect(),
            });
        }
        let found = predicate_type(envelope)?;
        if found != P::TYPE {
            return Err(SignError::WrongType { expected: P::TYPE, found });
        }
        let statement: Self =
            serde_json::from_slice(envelope.unverified_payload()).map_err(SignError::json)?;
        if statement.layout != STATEMENT_TYPE || statement.subject.is_empty() {
            return Err(SignError::Malformed("not an in-toto statement v1".to_owned()));
        }
        Ok(statement)
    }
}

/// The predicate type an envelope claims, for telling kinds of statements apart.
pub fn predicate_type(envelope: &Envelope) -> Result<String, SignError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        predicate_type: String,
    }
    let head: Head =
        serde_json::from_slice(envelope.unverified_payload()).map_err(SignError::json)?;
    Ok(head.predicate_type.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        text: String,
    }
    impl Predicate for Note {
        const TYPE: &'static str = "https://seawall.example/note/v1";
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Other {
        text: String,
    }
    impl Predicate for Other {
        const TYPE: &'static str = "https://seawall.example/other/v1";
    }

    fn signed() -> (SigningKey, Envelope) {
        let key = SigningKey::from_seed(&[9; 32]);
        let subject = Subject::sha256("thing", Sha256::of(b"thing"));
        let statement = Statement::new(subject, Note { text: "hello".to_owned() });
        let envelope = statement.sign(&[&key]).expect("signed");
        (key, envelope)
    }

    #[test]
    fn payload_is_the_in_toto_layout() {
        let (_, envelope) = signed();
        let text = String::from_utf8(envelope.unverified_payload().to_vec()).expect("JSON");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn opens_for_the_right_key_and_type_only() {
        let (key, envelope) = signed();
        let note = Statement::<Note>::open(&envelope, &[key.public()], 1).expect("opens");
        assert_eq!(note.predicate.text, "hello");
        assert!(matches!(
            Statement::<Other>::open(&envelope, &[key.public()], 1),
            Err(SignError::WrongType { .. })
        ));
        let stranger = SigningKey::from_seed(&[8; 32]).public();
        assert_eq!(
            Statement::<Note>::open(&envelope, &[stranger], 1),
            Err(SignError::BelowThreshold { have: 0, need: 1 })
        );
    }

    #[test]
    fn unknown_fields_are_refused() {
        let (key, envelope) = signed();
        let text = String::from_utf8(envelope.unverified_payload().to_vec()).expect("JSON");
        let text = text.replace("\"text\"", "\"more\":1,\"text\"");
        let envelope = Envelope::sign(PAYLOAD_TYPE, text.into_bytes(), &[&key]);
        assert!(matches!(
            Statement::<Note>::open(&envelope, &[key.public()], 1),
            Err(SignError::Malformed(_))
        ));
    }
}
