//! This node's keys in their files: `seawall_sign::key_file` with a home's errors.

use seawall_base::{Disk, Rng};
use seawall_escrow::OneTimeSecret;
use seawall_sign::SigningKey;
pub(crate) use seawall_sign::key_file::Purpose;
use seawall_sign::key_file::{self, KeyFileError};
use zeroize::Zeroizing;

use crate::HomeError;

impl From<KeyFileError> for HomeError {
    fn from(e: KeyFileError) -> Self {
        match e {
            KeyFileError::Io { path, source } => Self::Io { path, source },
            KeyFileError::Damaged { path, why } => Self::Damaged { file: path, why },
            KeyFileError::Missing { path } => Self::Missing(path),
        }
    }
}

/// Reads 32 secret bytes; `None` if the file is not there.
pub(crate) fn read(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
) -> Result<Option<Zeroizing<[u8; 32]>>, HomeError> {
    Ok(key_file::read(disk, path, purpose)?)
}

/// Writes 32 secret bytes.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &str,
    purpose: Purpose,
    secret: &[u8; 32],
) -> Result<(), HomeError> {
    Ok(key_file::write(disk, path, purpose, secret)?)
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
