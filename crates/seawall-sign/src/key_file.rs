//! Secret keys in files: one key a file, 0600, each saying what it is for.
//!
//! JSON of `format`, `purpose`, `secret` (base64 of 32 bytes) and `check` (8 bytes of a keyed hash
//! of purpose and secret). The purpose is checked when a key is read, so a transport key put where
//! an identity key belongs is refused by name. So is the check: one flipped bit makes another
//! valid key, and a node with another tenant key would seal into another dedup domain unnoticed.
//!
//! Nodes and custodians keep their keys alike; the format lives here so that there is one of it.
//! The disk is passed in.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::{Disk, read_file, write_atomic};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::SigningKey;

const FORMAT: &str = "seawall-key/1";
const MAX_KEY_FILE: usize = 1_024;

/// What a key is for; the number is hashed into its file's check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Signs for the fleet: enrolments, policy.
    Root = 1,
    /// Certifies subkeys.
    Identity = 2,
    /// Authenticates TLS.
    Transport = 3,
    /// Receives what is sealed to a member: the tenant's secret, a ceremony's shares.
    Recipient = 4,
    /// Signs snapshots and checkpoints for some days.
    Subkey = 5,
    /// The tenant's dedup secret.
    Tenant = 6,
    /// Opens the approvals of one request.
    OneTime = 7,
    /// Reads path indexes.
    Operator = 8,
    /// Encrypts what `find` keeps on this disk.
    FindCache = 9,
    /// Signs tokens of a node's own issue.
    Token = 10,
    /// Signs a custodian's approvals and its part in ceremonies.
    Custodian = 11,
    /// Opens a custodian's post-quantum shares (ML-KEM-768).
    Kem = 12,
    /// Cosigns logs.
    Witness = 13,
    /// Signs the verdicts of one of a custodian's people.
    Approver = 14,
}

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// Not the key file that belongs there.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The key is not there.
    #[error("{path} is missing")]
    Missing {
        /// The file.
        path: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: String,
    purpose: Purpose,
    secret: String,
    check: String,
}

/// Eight bytes that a damaged secret does not have. They say nothing about the secret: it has 256
/// bits that nobody can guess.
fn check(purpose: Purpose, secret: &[u8; 32]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 key file check v1");
    hasher.update(&[purpose as u8]).update(secret);
    hasher.finalize().to_hex()[..16].to_owned()
}

fn io(path: &str) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |source| KeyFileError::Io { path, source }
}

/// Reads 32 secret bytes; `None` if the file is not there.
pub fn read(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
) -> Result<Option<Zeroizing<[u8; 32]>>, KeyFileError> {
    let Some(bytes) = read_file(disk, path, MAX_KEY_FILE).map_err(io(path))? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let damaged = |why: String| KeyFileError::Damaged { path: path.to_owned(), why };
    let mut file: KeyFile =
        serde_json::from_slice(&bytes).map_err(|_| damaged("not a key file".to_owned()))?;
    if file.format != FORMAT || file.purpose != purpose {
        return Err(damaged(format!("a {:?} key where {purpose:?} belongs", file.purpose)));
    }
    let mut secret = Zeroizing::new([0; 32]);
    let decoded = BASE64.decode_slice(&file.secret, &mut *secret);
    file.secret.zeroize();
    match decoded {
        Ok(32) if file.check == check(purpose, &secret) => Ok(Some(secret)),
        Ok(32) => Err(damaged("its secret does not have the check beside it".to_owned())),
        _ => Err(damaged("its secret is not 32 bytes".to_owned())),
    }
}

/// Writes 32 secret bytes.
pub fn write(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
    secret: &[u8; 32],
) -> Result<(), KeyFileError> {
    let mut file = KeyFile {
        format: FORMAT.to_owned(),
        purpose,
        secret: BASE64.encode(secret),
        check: check(purpose, secret),
    };
    let json = serde_json::to_vec_pretty(&file).map(Zeroizing::new);
    file.secret.zeroize();
    let json = json.expect("text always serialises");
    write_atomic(disk, path, &json).map_err(io(path))
}

/// Reads 32 secret bytes that must be there.
pub fn require(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    read(disk, path, purpose)?.ok_or_else(|| KeyFileError::Missing { path: path.to_owned() })
}

/// Reads a signing key that must be there.
pub fn signing(disk: &dyn Disk, path: &str, purpose: Purpose) -> Result<SigningKey, KeyFileError> {
    Ok(SigningKey::from_seed(&*require(disk, path, purpose)?))
}
