//! The file a custodian keeps: a share and a signing key, sealed under a passphrase.
//!
//! JSON, so that whoever finds the file in ten years sees what it is: every public field is
//! readable without the passphrase ([`SharePublic`]), and all of them are the associated data of
//! the seal. Argon2id turns the passphrase into the key; its cost is in the file and bounded when
//! parsed, so a hostile file cannot exhaust the memory of the machine it is opened on.
//!
//! An AEAD cannot tell a wrong passphrase from a damaged file, and a custodian must know which it
//! is. The checksum tells: it covers every field, needs no passphrase, and is checked first. It
//! finds accidents, not attackers, who could recompute it: "wrong passphrase" therefore always
//! means "or the file was altered on purpose". The layout is in `docs/formats/share.md`.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::wire::Writer;
use seawall_base::{FleetId, GroupId, Rng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::aead;
use crate::group::{GroupError, MAX_MEMBERS, check_class};
use crate::share::{SecretShare, ShareError};

/// Largest share file, in bytes.
pub const MAX_SHARE_FILE: usize = 8 << 10;

const FORMAT: &str = "seawall-share/1";
const ALGORITHM: &str = "argon2id";
const CHECKSUM_CONTEXT: &str = "seawall 2026-11 share file checksum v1";
const MAX_TEXT: usize = 256;
const SALT_LEN: usize = 16;
const SECRET_LEN: usize = 64;
const MAX_M_KIB: u32 = 1 << 20;
const MAX_T: u32 = 16;
const MAX_P: u32 = 4;

/// Why a share file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ShareFileError {
    /// Longer than any share file.
    #[error("share file of {found} bytes is above the limit of {MAX_SHARE_FILE}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Not JSON, or not these fields.
    #[error("share file is damaged: {0}; use another copy")]
    Json(#[from] serde_json::Error),
    /// A format this version does not know.
    #[error("share file has format {found:?}, this version knows {FORMAT:?}; upgrade seawall")]
    Format {
        /// The format named, cut to a printable length.
        found: String,
    },
    /// A field holds a value it cannot have.
    #[error("share file is damaged: {field} is out of range; use another copy")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// The class is no class name.
    #[error("share file is damaged: {0}; use another copy")]
    Class(#[from] GroupError),
    /// The checksum does not match: some byte of the file changed since it was written.
    #[error("share file is damaged: its checksum does not match; use another copy")]
    Damaged,
    /// The key-derivation cost is beyond what this program will spend.
    #[error(
        "share file asks for argon2id with {m_kib} KiB, t={t}, p={p}; at most {MAX_M_KIB} KiB, \
         t={MAX_T}, p={MAX_P} are allowed"
    )]
    Cost {
        /// Memory in KiB.
        m_kib: u32,
        /// Passes.
        t: u32,
        /// Lanes.
        p: u32,
    },
    /// An empty passphrase.
    #[error("passphrase is empty")]
    EmptyPassphrase,
    /// The seal does not open though the file is undamaged.
    #[error("wrong passphrase (or the share file was altered on purpose)")]
    WrongPassphrase,
    /// The seal opened and held something that is no share.
    #[error("share file holds no usable share: {0}")]
    Share(#[from] ShareError),
}

/// What a share file says to whoever reads it, without the passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharePublic {
    /// The fleet.
    pub fleet: FleetId,
    /// The escrow group.
    pub group: GroupId,
    /// The class of data the group guards.
    pub class: String,
    /// The custodian's index in the group, 1 or more.
    pub index: u16,
    /// How many custodians it takes.
    pub threshold: u16,
    /// How many custodians there are.
    pub members: u16,
    /// Refreshes and re-sharings this share has seen.
    pub share_epoch: u32,
    /// The custodian's name, 1 to 256 bytes without control characters.
    pub custodian: String,
    /// The custodian's signing key in its text form, 1 to 256 bytes without control characters.
    pub signing_key: String,
}

/// What a share file guards.
pub struct ShareSecret {
    /// The share of the group's secret.
    pub share: SecretShare,
    /// The seed of the custodian's Ed25519 signing key.
    pub signing_seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for ShareSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShareSecret").field("share", &self.share).finish_non_exhaustive()
    }
}

/// The cost of Argon2id (RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB, at least `8 * p` and at most 1 GiB.
    pub m_kib: u32,
    /// Passes, 1 to 16.
    pub t: u32,
    /// Lanes, 1 to 4.
    pub p: u32,
}

impl KdfCost {
    /// What new files use: 64 MiB, three passes, one lane (RFC 9106 section 4, second choice, with
    /// one lane because the code is single-threaded).
    pub const DEFAULT: Self = Self { m_kib: 64 << 10, t: 3, p: 1 };

    fn check(self) -> Result<Self, ShareFileError> {
        let Self { m_kib, t, p } = self;
        let bounded = m_kib <= MAX_M_KIB && (1..=MAX_T).contains(&t) && (1..=MAX_P).contains(&p);
        if !bounded || m_kib < 8 * p {
            return Err(ShareFileError::Cost { m_kib, t, p });
        }
        Ok(self)
    }

    fn derive(self, passphrase: &[u8], salt: &[u8; SALT_LEN]) -> Zeroizing<[u8; 32]> {
        let in_range = "the cost was checked, and passphrase and salt are within bounds";
        let params = Params::new(self.m_kib, self.t, self.p, Some(32)).expect(in_range);
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, key.as_mut_slice())
            .expect(in_range);
        key
    }
}

/// A share file in memory: checked for damage, still sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareFile {
    public: SharePublic,
    cost: KdfCost,
    salt: [u8; SALT_LEN],
    sealed: Vec<u8>,
}

impl ShareFile {
    /// Seals a share and signing seed under a passphrase, at [`KdfCost::DEFAULT`] in real use.
    ///
    /// The passphrase's bytes are used as they are: no Unicode normalisation, no trimming.
    pub fn seal(
        public: SharePublic,
        secret: &ShareSecret,
        passphrase: &[u8],
        cost: KdfCost,
        rng: &mut dyn Rng,
    ) -> Result<Self, ShareFileError> {
        let mut salt = [0; SALT_LEN];
        rng.fill(&mut salt);
        if passphrase.is_empty() {
            return Err(ShareFileError::EmptyPassphrase);
        }
        let mut file = Self { public, cost: cost.check()?, salt, sealed: Vec::new() };
        check_public(&file.public)?;
        if file.public.index != secret.share.index() {
            return Err(ShareFileError::Field { field: "index" });
        }
        let mut plain = Zeroizing::new([0; SECRET_LEN]);
        plain[..32].copy_from_slice(secret.share.to_bytes().as_slice());
        plain[32..].copy_from_slice(secret.signing_seed.as_slice());
        let key = cost.derive(passphrase, &salt);
        file.sealed = aead::seal(&key, &file.associated_data(), plain.as_slice());
        Ok(file)
    }

    /// Opens the seal. Takes as long and as much memory as the file's cost says.
    pub fn open(&self, passphrase: &[u8]) -> Result<ShareSecret, ShareFileError> {
        let key = self.cost.derive(passphrase, &self.salt);
        let plain = aead::open(&key, &self.associated_data(), &self.sealed)
            .ok_or(ShareFileError::WrongPassphrase)?;
        let mut scalar = Zeroizing::new([0; 32]);
        let mut signing_seed = Zeroizing::new([0; 32]);
        scalar.copy_from_slice(&plain[..32]);
        signing_seed.copy_from_slice(&plain[32..]);
        Ok(ShareSecret {
            share: SecretShare::from_bytes(self.public.index, &scalar)?,
            signing_seed,
        })
    }

    /// What the file says without its passphrase. Not proven until [`ShareFile::open`] succeeds.
    pub const fn public(&self) -> &SharePublic {
        &self.public
    }

    /// The file's text: pretty-printed JSON with a final newline.
    pub fn to_json(&self) -> String {
        let p = &self.public;
        let text = FileText {
            format: FORMAT.to_owned(),
            fleet: p.fleet,
            group: p.group,
            class: p.class.clone(),
            index: p.index,
            threshold: p.threshold,
            members: p.members,
            share_epoch: p.share_epoch,
            custodian: p.custodian.clone(),
            signing_key: p.signing_key.clone(),
            kdf: KdfText {
                algorithm: ALGORITHM.to_owned(),
                m_kib: self.cost.m_kib,
                t: self.cost.t,
                p: self.cost.p,
                salt: BASE64.encode(self.salt),
            },
            sealed: BASE64.encode(&self.sealed),
            checksum: hex::encode(self.checksum()),
        };
        let mut json = serde_json::to_string_pretty(&text).expect("plain fields serialise");
        json.push('\n');
        json
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
        if text.kdf.algorithm != ALGORITHM {
            return Err(ShareFileError::Field { field: "kdf.algorithm" });
        }
        let file = Self {
            cost: KdfCost { m_kib: text.kdf.m_kib, t: text.kdf.t, p: text.kdf.p }.check()?,
            salt: decode_exact::<SALT_LEN>("kdf.salt", &text.kdf.salt)?,
            sealed: decode_exact::<{ SECRET_LEN + aead::TAG_LEN }>("sealed", &text.sealed)?
                .to_vec(),
            public: SharePublic {
                fleet: text.fleet,
                group: text.group,
                class: text.class,
                index: text.index,
                threshold: text.threshold,
                members: text.members,
                share_epoch: text.share_epoch,
                custodian: text.custodian,
                signing_key: text.signing_key,
            },
        };
        if hex::encode(file.checksum()) != text.checksum {
            return Err(ShareFileError::Damaged);
        }
        check_public(&file.public)?;
        Ok(file)
    }

    /// Every field but the sealed bytes and the checksum, in the wire encoding.
    fn associated_data(&self) -> Vec<u8> {
        let p = &self.public;
        let mut w = Writer::new();
        w.bytes(FORMAT.as_bytes())
            .raw(p.fleet.as_bytes())
            .raw(p.group.as_bytes())
            .bytes(p.class.as_bytes())
            .u16(p.index)
            .u16(p.threshold)
            .u16(p.members)
            .u32(p.share_epoch)
            .bytes(p.custodian.as_bytes())
            .bytes(p.signing_key.as_bytes())
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

fn check_public(public: &SharePublic) -> Result<(), ShareFileError> {
    check_class(&public.class)?;
    let printable = |s: &str| (1..=MAX_TEXT).contains(&s.len()) && !s.chars().any(char::is_control);
    let fields = [
        ("members", (1..=MAX_MEMBERS).contains(&usize::from(public.members))),
        ("threshold", (1..=public.members).contains(&public.threshold)),
        ("index", public.index != 0),
        ("custodian", printable(&public.custodian)),
        ("signing_key", printable(&public.signing_key)),
    ];
    match fields.into_iter().find(|(_, ok)| !ok) {
        Some((field, _)) => Err(ShareFileError::Field { field }),
        None => Ok(()),
    }
}

fn decode_exact<const N: usize>(
    field: &'static str,
    text: &str,
) -> Result<[u8; N], ShareFileError> {
    let bytes = BASE64.decode(text).map_err(|_| ShareFileError::Field { field })?;
    bytes.try_into().map_err(|_| ShareFileError::Field { field })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    format: String,
    fleet: FleetId,
    group: GroupId,
    class: String,
    index: u16,
    threshold: u16,
    members: u16,
    share_epoch: u32,
    custodian: String,
    signing_key: String,
    kdf: KdfText,
    sealed: String,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfText {
    algorithm: String,
    m_kib: u32,
    t: u32,
    p: u32,
    salt: String,
}
