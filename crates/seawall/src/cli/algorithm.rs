//! The algorithm of keys that sign statements.

use clap::ValueEnum;

/// Algorithm of keys that sign statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyAlgorithm {
    /// RFC 8032
    #[value(name = "ed25519")]
    Ed25519,
    /// FIPS 204: secure against quantum computers, signatures of 3.7 KiB
    #[value(name = "ml-dsa-44")]
    MlDsa44,
}

impl From<KeyAlgorithm> for seawall_sign::Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Ed25519 => Self::Ed25519,
            KeyAlgorithm::MlDsa44 => Self::MlDsa44,
        }
    }
}
