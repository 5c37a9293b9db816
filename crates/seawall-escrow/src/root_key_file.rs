//! A copy of a fleet's root key for the drawer, sealed under a passphrase.
//!
//! Whoever loses every machine but keeps the shares can open nothing without somebody enrolled
//! to ask; this file is what makes a new machine able to enrol. It opens no snapshot. Format and
//! checks are those of a share file (`docs/formats/share.md`), with other fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::wire::Writer;
use seawall_base::{FleetId, Rng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::aead;
use crate::share_file::{
    ALGORITHM, KdfCost, KdfText, MAX_SHARE_FILE, SALT_LEN, ShareFileError, decode_exact,
};

const FORMAT: &str = "seawall-root-key/1";
const CHECKSUM_CONTEXT: &str = "seawall 2026-11 root key file checksum v1";

/// A sealed root key in memory: checked for damage, still sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKeyFile {
    fleet: FleetId,
    key: String,
    cost: KdfCost,
    salt: [u8; SALT_LEN],
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    format: String,
    fleet: FleetId,
    key: String,
    kdf: KdfText,
    sealed: String,
    checksum: String,
}

impl RootKeyFile {
    /// Seals the seed of the root key whose public text form is `key`.
    pub fn seal(
        fleet: FleetId,
        key: &str,
        seed: &[u8; 32],
        passphrase: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Self, ShareFileError> {
        if passphrase.is_empty() {
            return Err(ShareFileError::EmptyPassphrase);
        }
        let mut salt = [0; SALT_LEN];
        rng.fill(&mut salt);
        let cost = KdfCost::DEFAULT;
        let mut file = Self { fleet, key: key.to_owned(), cost, salt, sealed: Vec::new() };
        let secret = cost.derive(passphrase, &salt);
        file.sealed = aead::seal(&secret, &file.associated_data(), seed);
        Ok(file)
    }

    /// Opens the seal: the root key's seed.
    pub fn open(&self, passphrase: &[u8]) -> Result<Zeroizing<[u8; 32]>, ShareFileError> {
        let secret = self.cost.derive(passphrase, &self.salt);
        let plain = aead::open(&secret, &self.associated_data(), &self.sealed)
            .ok_or(ShareFileError::WrongPassphrase)?;
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&plain);
        Ok(seed)
    }

    /// The fleet.
    pub const fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// The root key's public text form.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The file's text: pretty-printed JSON with a final newline.
    pub fn to_json(&self) -> String {
        let text = FileText {
            format: FORMAT.to_owned(),
            fleet: self.fleet,
            key: self.key.clone(),
            kdf: KdfText::of(self.cost, &self.salt),
            sealed: BASE64.encode(&self.sealed),
            checksum: hex::encode(self.checksum()),
        };
        serde_json::to_string_pretty(&text).expect("plain fields serialise") + "\n"
    }

    /// Parses a file and checks it for damage; the passphrase is not needed.
    pub fn parse(bytes: &[u8]) -> Result<Self, ShareFileError> {
        if bytes.len() > MAX_SHARE_FILE {
            return Err(ShareFileError::TooLong { found: bytes.len() });
        }
        let text: FileText = serde_json::from_slice(bytes)?;
        if text.format != FORMAT {
            return Err(ShareFileError::Format { found: text.format.chars().take(80).collect() });
        }
        if text.key.len() > 256 || text.key.chars().any(char::is_control) {
            return Err(ShareFileError::Field { field: "key" });
        }
        let (cost, salt) = text.kdf.parse()?;
        let sealed = decode_exact::<{ 32 + aead::TAG_LEN }>("sealed", &text.sealed)?.to_vec();
        let file = Self { fleet: text.fleet, key: text.key, cost, salt, sealed };
        if hex::encode(file.checksum()) != text.checksum {
            return Err(ShareFileError::Damaged);
        }
        Ok(file)
    }

    fn associated_data(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(FORMAT.as_bytes())
            .raw(self.fleet.as_bytes())
            .bytes(self.key.as_bytes())
            .bytes(ALGORITHM.as_bytes())
            .u32(self.cost.m_kib)
            .u32(self.cost.t)
            .u32(self.cost.p)
            .raw(&self.salt);
        w.into_vec()
    }

    fn checksum(&self) -> [u8; 32] {
        let mut w = Writer::new();
        w.raw(&self.associated_data()).raw(&self.sealed);
        blake3::derive_key(CHECKSUM_CONTEXT, w.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Seeded;

    fn file() -> RootKeyFile {
        let mut rng = Seeded::new("root key");
        RootKeyFile::seal(FleetId([3; 32]), "ed25519:key", &[9; 32], b"pass", &mut rng)
            .expect("sealed")
    }

    #[test]
    fn opens_with_its_passphrase_only() {
        let parsed = RootKeyFile::parse(file().to_json().as_bytes()).expect("parses");
        assert_eq!(parsed, file());
        assert_eq!(*parsed.open(b"pass").expect("opens"), [9; 32]);
        assert!(matches!(parsed.open(b"other"), Err(ShareFileError::WrongPassphrase)));
        let fleet = FleetId([4; 32]);
        let moved = RootKeyFile { fleet, ..file() };
        assert!(moved.open(b"pass").is_err(), "the fleet is bound to the seal");
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let good = file().to_json().into_bytes();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            match RootKeyFile::parse(&bad) {
                Err(_) => {}
                // White space between fields carries nothing.
                Ok(parsed) => assert_eq!(parsed, file(), "byte {at}"),
            }
        }
    }
}
