//! Keys, short-lived signing subkeys, DSSE envelopes, in-toto statements, tokens and their proofs.
//!
//! Floor 1. A statement is the only way anything is ever authorised; this room makes and checks
//! signatures and knows what a statement looks like, never what any of them means. A token lets a
//! request through to where statements are judged, and is a type of its own.
//!
//! It must not know: the predicates (`seawall-record`), logs, escrow keys (those never sign).

pub mod envelope;
mod key;
pub mod key_file;
mod mldsa;
#[cfg(test)]
mod outside;
pub mod paseto;
pub mod possession;
mod signer;
mod statement;
pub mod token;

pub use envelope::{Envelope, Signatures};
pub use key::{Algorithm, ED25519, ML_DSA_44, SigningKey, VerifyingKey};
pub use mldsa::MlDsaKey;
pub use signer::{Signer, StatementKey};
pub use statement::{Predicate, Statement, Subject, predicate_type};

/// Why something signed was refused. None of these is cured by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A key that cannot be used.
    #[error("bad key: {0}")]
    BadKey(&'static str),
    /// An algorithm this version does not know; it may be newer, or a downgrade.
    #[error("unknown signature algorithm {0:?}; a newer seawall may know it")]
    UnknownAlgorithm(String),
    /// A trusted key's signature does not match what it signs.
    #[error("a signature does not match what it signs; the statement was altered or forged")]
    BadSignature,
    /// One signer counted twice would defeat a threshold.
    #[error("{0} signed twice; each signer counts once")]
    DuplicateSigner(VerifyingKey),
    /// Too few trusted signers.
    #[error("signed by {have} of the trusted keys, {need} needed")]
    BelowThreshold {
        /// How many trusted keys signed.
        have: usize,
        /// How many have to.
        need: usize,
    },
    /// Another kind of statement than the one expected.
    #[error("expected {expected}, found {found:?}")]
    WrongType {
        /// The type asked for.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// Above a limit.
    #[error("{found} bytes, above the limit of {limit}")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Not what the format says.
    #[error("malformed: {0}")]
    Malformed(String),
}

impl SignError {
    #[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
    fn json(e: serde_json::Error) -> Self {
        Self::Malformed(e.to_string())
    }
}
