//! Secret keys in files: one key a file, 0600, each saying what it is for.
//!
//! JSON of `format`, `purpose`, `secret` (base64 of 32 bytes) and `check` (8 bytes of a keyed hash
//! of purpose and secret). The purpose is checked when a key is read, so a transport key put where
//! an identity key belongs is refused by name. So is the check: one flipped bit makes another
//! valid key, and a node with another tenant key would seal into another dedup domain unnoticed.

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

/// What a key is for; the number is hashed into its file's check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Signs for the fleet: enrolments, policy.
    Root = 1,
    /// Certifies subkeys.
    Identity = 2,
    /// Authenticates TLS.
    Transport = 3,
    /// Receives the tenant's secret.
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
    /// Signs tokens of this node's own issue.
    Token = 10,
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
        Ok(32) if file.check == check(purpose, &secret) => Ok(Some(secret)),
        Ok(32) => Err(damaged("its secret does not have the check beside it".to_owned())),
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
    let mut file = KeyFile {
        format: FORMAT.to_owned(),
        purpose,
        secret: BASE64.encode(secret),
        check: check(purpose, secret),
    };
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
    purpose: Purpose,
    rng: &mut dyn Rng,
) -> Result<OneTimeSecret, HomeError> {
    if let Some(secret) = read(disk, path, purpose)? {
        return Ok(OneTimeSecret::from_bytes(&secret));
    }
    let secret = OneTimeSecret::generate(rng);
    write(disk, path, purpose, &secret.to_bytes())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use seawall_host::FsDisk;

    use super::*;

    #[test]
    fn no_flipped_bit_makes_another_key() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = FsDisk::create(dir.path()).expect("a disk");
        let secret = [0x5a; 32];
        write(&disk, "k", Purpose::Tenant, &secret).expect("written");
        let good = std::fs::read(dir.path().join("k")).expect("read");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join("k"), &bad).expect("written");
            if let Ok(key) = read(&disk, "k", Purpose::Tenant) {
                assert_eq!(key.as_deref(), Some(&secret), "bit {bit}");
            }
        }
        std::fs::write(dir.path().join("k"), &good).expect("written");
        assert_eq!(read(&disk, "k", Purpose::Tenant).expect("whole").as_deref(), Some(&secret));
        let other = read(&disk, "k", Purpose::Identity).expect_err("another purpose");
        assert!(other.to_string().contains("k is damaged"), "{other}");
    }
}
