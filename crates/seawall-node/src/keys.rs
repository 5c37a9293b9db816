//! Secret keys in files: one key a file, 0600, each saying what it is for.
//!
//! JSON of `format`, `purpose` and `secret` (base64 of 32 bytes). The purpose is checked when a
//! key is read, so a transport key put where an identity key belongs is refused by name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::{Disk, Rng, read_file, write_atomic};
use seawall_escrow::OneTimeSecret;
use seawall_sign::SigningKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::HomeError;

const FORMAT: &str = "seawall-key/1";
const MAX_KEY_FILE: usize = 1_024;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Signs for the fleet: enrolments, policy.
    Root,
    /// Certifies subkeys.
    Identity,
    /// Authenticates TLS.
    Transport,
    /// Receives the tenant's secret.
    Recipient,
    /// Signs snapshots and checkpoints for some days.
    Subkey,
    /// The tenant's dedup secret.
    Tenant,
    /// Opens the approvals of one request.
    OneTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: String,
    purpose: Purpose,
    secret: String,
}

/// Reads 32 secret bytes; `None` if the file is not there.
pub(crate) fn read(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
) -> Result<Option<Zeroizing<[u8; 32]>>, HomeError> {
    let Some(bytes) = read_file(disk, path, MAX_KEY_FILE).map_err(HomeError::io(path))? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let damaged = |why: String| HomeError::Damaged { file: path.to_owned(), why };
    let mut file: KeyFile =
        serde_json::from_slice(&bytes).map_err(|_| damaged("not a key file".to_owned()))?;
    if file.format != FORMAT || file.purpose != purpose {
        return Err(damaged(format!("a {:?} key where {purpose:?} belongs", file.purpose)));
    }
    let mut secret = Zeroizing::new([0; 32]);
    let decoded = BASE64.decode_slice(&file.secret, &mut *secret);
    file.secret.zeroize();
    match decoded {
        Ok(32) => Ok(Some(secret)),
        _ => Err(damaged("its secret is not 32 bytes".to_owned())),
    }
}

/// Writes 32 secret bytes.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
    secret: &[u8; 32],
) -> Result<(), HomeError> {
    let mut file = KeyFile { format: FORMAT.to_owned(), purpose, secret: BASE64.encode(secret) };
    let json = serde_json::to_vec_pretty(&file).map(Zeroizing::new);
    file.secret.zeroize();
    let json = json.expect("text always serialises");
    write_atomic(disk, path, &json).map_err(HomeError::io(path))
}

/// Reads a signing key that must be there.
pub(crate) fn signing(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
) -> Result<SigningKey, HomeError> {
    let seed = read(disk, path, purpose)?.ok_or_else(|| HomeError::Missing(path.to_owned()))?;
    Ok(SigningKey::from_seed(&seed))
}

/// Makes a signing key unless its file is there, and returns it.
pub(crate) fn signing_or_new(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
    rng: &mut dyn Rng,
) -> Result<SigningKey, HomeError> {
    if let Some(seed) = read(disk, path, purpose)? {
        return Ok(SigningKey::from_seed(&seed));
    }
    let key = SigningKey::generate(rng);
    write(disk, path, purpose, &key.seed())?;
    Ok(key)
}

/// Makes an X-Wing secret unless its file is there, and returns it.
pub(crate) fn recipient_or_new(
    disk: &dyn Disk,
    path: &str,
    rng: &mut dyn Rng,
) -> Result<OneTimeSecret, HomeError> {
    if let Some(secret) = read(disk, path, Purpose::Recipient)? {
        return Ok(OneTimeSecret::from_bytes(&secret));
    }
    let secret = OneTimeSecret::generate(rng);
    write(disk, path, Purpose::Recipient, &secret.to_bytes())?;
    Ok(secret)
}
