//! The file a custodian keeps: a share and a signing key, sealed under a passphrase or wrapped by
//! a token.
//!
//! JSON, so that whoever finds the file in ten years sees what it is: every public field is
//! readable without opening it ([`SharePublic`]), and all of them are the associated data of the
//! seal. Under a passphrase, Argon2id makes the key; its cost is in the file and bounded when
//! parsed, so a hostile file cannot exhaust the memory of the machine it is opened on. Wrapped by a
//! token ([`WrappingKey`]), the file names token and key. It never names the module that reaches
//! the token: a file that says which library to load would be a file that runs code.
//!
//! An AEAD cannot tell a wrong passphrase from a damaged file, and a custodian must know which it
//! is. The checksum tells: it covers every field, needs no passphrase, and is checked first. It
//! finds accidents, not attackers, who could recompute it: "wrong passphrase" therefore always
//! means "or the file was altered on purpose". The layouts are in `docs/formats/share.md`.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::wire::Writer;
use seawall_base::{FleetId, GroupId, Rng};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::aead;
use crate::group::{GroupError, MAX_MEMBERS, check_class};
use crate::share::{SecretShare, ShareError};
use crate::wrapping::{self, IV_LEN, TokenKey, TokenText, WrapError, WrappingKey};

/// Largest share file, in bytes.
pub const MAX_SHARE_FILE: usize = 8 << 10;

const FORMAT: &str = "seawall-share/1";
const WRAPPED_FORMAT: &str = "seawall-share/2";
pub(crate) const ALGORITHM: &str = "argon2id";
const CHECKSUM_CONTEXT: &str = "seawall 2026-11 share file checksum v1";
const MAX_TEXT: usize = 256;
pub(crate) const SALT_LEN: usize = 16;
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
    #[error(
        "share file has format {found:?}, this version knows {FORMAT:?} and {WRAPPED_FORMAT:?}; \
         upgrade seawall"
    )]
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
    /// It takes a token, not a passphrase.
    #[error(
        "the share is wrapped by {0}; plug it in, and name its PKCS#11 module with --module or \
         SEAWALL_PKCS11_MODULE"
    )]
    NeedsToken(Box<TokenKey>),
    /// It takes a passphrase, not a token.
    #[error("the share is sealed under a passphrase, not wrapped by a token")]
    NeedsPassphrase,
    /// The token's key did not wrap or unwrap it.
    #[error(transparent)]
    Wrap(#[from] WrapError),
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

    pub(crate) fn derive(self, passphrase: &[u8], salt: &[u8; SALT_LEN]) -> Zeroizing<[u8; 32]> {
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
    guard: Guard,
    sealed: Vec<u8>,
}

/// What a share is sealed with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    Passphrase { cost: KdfCost, salt: [u8; SALT_LEN] },
    Token { key: TokenKey, iv: [u8; IV_LEN] },
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
        let guard = Guard::Passphrase { cost: cost.check()?, salt };
        let mut file = Self { public, guard, sealed: Vec::new() };
        let plain = file.plain(secret)?;
        let key = cost.derive(passphrase, &salt);
        file.sealed = aead::seal(&key, &file.associated_data(), plain.as_slice());
        Ok(file)
    }

    /// Has a token's key wrap a share and signing seed; what it wrapped has been unwrapped again
    /// for a test when this returns, so the caller may drop another copy of the share.
    pub fn wrap(
        public: SharePublic,
        secret: &ShareSecret,
        key: &dyn WrappingKey,
        rng: &mut dyn Rng,
    ) -> Result<Self, ShareFileError> {
        let mut iv = [0; IV_LEN];
        rng.fill(&mut iv);
        let guard = Guard::Token { key: key.name().clone(), iv };
        let mut file = Self { public, guard, sealed: Vec::new() };
        let plain = file.plain(secret)?;
        file.sealed = wrapping::seal(key, &iv, &file.associated_data(), plain.as_slice())?;
        Ok(file)
    }

    /// What is sealed; refused where the public fields cannot be.
    fn plain(&self, secret: &ShareSecret) -> Result<Zeroizing<[u8; SECRET_LEN]>, ShareFileError> {
        self.check()?;
        if self.public.index != secret.share.index() {
            return Err(ShareFileError::Field { field: "index" });
        }
        let mut plain = Zeroizing::new([0; SECRET_LEN]);
        plain[..32].copy_from_slice(secret.share.to_bytes().as_slice());
        plain[32..].copy_from_slice(secret.signing_seed.as_slice());
        Ok(plain)
    }

    /// Opens the seal. Takes as long and as much memory as the file's cost says.
    pub fn open(&self, passphrase: &[u8]) -> Result<ShareSecret, ShareFileError> {
        let (cost, salt) = match &self.guard {
            Guard::Passphrase { cost, salt } => (cost, salt),
            Guard::Token { key, .. } => {
                return Err(ShareFileError::NeedsToken(Box::new(key.clone())));
            }
        };
        let key = cost.derive(passphrase, salt);
        let plain = aead::open(&key, &self.associated_data(), &self.sealed)
            .ok_or(ShareFileError::WrongPassphrase)?;
        self.secret(&plain)
    }

    /// Has the token's key unwrap the share.
    pub fn unwrap_with(&self, key: &dyn WrappingKey) -> Result<ShareSecret, ShareFileError> {
        let Guard::Token { key: named, iv } = &self.guard else {
            return Err(ShareFileError::NeedsPassphrase);
        };
        let plain = wrapping::open(key, named, iv, &self.associated_data(), &self.sealed)?;
        self.secret(&plain)
    }

    fn secret(&self, plain: &[u8]) -> Result<ShareSecret, ShareFileError> {
        let Some((scalar, seed)) = plain.split_at_checked(32) else {
            return Err(ShareFileError::Field { field: "sealed" });
        };
        let exact = |bytes: &[u8]| -> Result<Zeroizing<[u8; 32]>, ShareFileError> {
            let mut out = Zeroizing::new([0; 32]);
            if bytes.len() != out.len() {
                return Err(ShareFileError::Field { field: "sealed" });
            }
            out.copy_from_slice(bytes);
            Ok(out)
        };
        let (scalar, signing_seed) = (exact(scalar)?, exact(seed)?);
        let share = SecretShare::from_bytes(self.public.index, &scalar)?;
        Ok(ShareSecret { share, signing_seed })
    }

    /// The token's key that unwraps the share; `None` if a passphrase opens it.
    pub const fn token(&self) -> Option<&TokenKey> {
        match &self.guard {
            Guard::Token { key, .. } => Some(key),
            Guard::Passphrase { .. } => None,
        }
    }

    /// What the file says to anybody. Not proven until it is opened.
    pub const fn public(&self) -> &SharePublic {
        &self.public
    }

    /// The file's text: pretty-printed JSON with a final newline.
    pub fn to_json(&self) -> String {
        let p = &self.public;
        let (kdf, token) = match &self.guard {
            Guard::Passphrase { cost, salt } => (Some(KdfText::of(*cost, salt)), None),
            Guard::Token { key, iv } => (None, Some(TokenText::of(key, iv))),
        };
        let text = FileText {
            format: self.format().to_owned(),
            fleet: p.fleet,
            group: p.group,
            class: p.class.clone(),
            index: p.index,
            threshold: p.threshold,
            members: p.members,
            share_epoch: p.share_epoch,
            custodian: p.custodian.clone(),
            signing_key: p.signing_key.clone(),
            kdf,
            token,
            sealed: BASE64.encode(&self.sealed),
            checksum: hex::encode(self.checksum()),
        };
        let mut json = serde_json::to_string_pretty(&text).expect("plain fields serialise");
        json.push('\n');
        json
    }

    /// Parses a file and checks it for damage; neither passphrase nor token is needed.
    pub fn parse(bytes: &[u8]) -> Result<Self, ShareFileError> {
        if bytes.len() > MAX_SHARE_FILE {
            return Err(ShareFileError::TooLong { found: bytes.len() });
        }
        let text: FileText = serde_json::from_slice(bytes)?;
        let guard = match (text.format.as_str(), &text.kdf, &text.token) {
            (FORMAT, Some(kdf), None) => {
                let (cost, salt) = kdf.parse()?;
                Guard::Passphrase { cost, salt }
            }
            (WRAPPED_FORMAT, None, Some(token)) => {
                let (key, iv) = token.parse().map_err(|field| ShareFileError::Field { field })?;
                Guard::Token { key, iv }
            }
            (FORMAT, ..) => return Err(ShareFileError::Field { field: "kdf" }),
            (WRAPPED_FORMAT, ..) => return Err(ShareFileError::Field { field: "token" }),
            (other, ..) => {
                return Err(ShareFileError::Format { found: other.chars().take(80).collect() });
            }
        };
        let file = Self {
            guard,
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
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), ShareFileError> {
        check_public(&self.public)?;
        match self.token().map(TokenKey::check) {
            Some(Err(field)) => Err(ShareFileError::Field { field }),
            _ => Ok(()),
        }
    }

    const fn format(&self) -> &'static str {
        match self.guard {
            Guard::Passphrase { .. } => FORMAT,
            Guard::Token { .. } => WRAPPED_FORMAT,
        }
    }

    /// Every field but the sealed bytes and the checksum, in the wire encoding.
    fn associated_data(&self) -> Vec<u8> {
        let p = &self.public;
        let mut w = Writer::new();
        w.bytes(self.format().as_bytes())
            .raw(p.fleet.as_bytes())
            .raw(p.group.as_bytes())
            .bytes(p.class.as_bytes())
            .u16(p.index)
            .u16(p.threshold)
            .u16(p.members)
            .u32(p.share_epoch)
            .bytes(p.custodian.as_bytes())
            .bytes(p.signing_key.as_bytes());
        match &self.guard {
            Guard::Passphrase { cost, salt } => {
                w.bytes(ALGORITHM.as_bytes()).u32(cost.m_kib).u32(cost.t).u32(cost.p).raw(salt);
            }
            Guard::Token { key, iv } => key.write(iv, &mut w),
        }
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

pub(crate) fn decode_exact<const N: usize>(
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
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    kdf: Option<KdfText>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    token: Option<TokenText>,
    sealed: String,
    checksum: String,
}

/// A field that may be missing, but is never `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KdfText {
    algorithm: String,
    m_kib: u32,
    t: u32,
    p: u32,
    salt: String,
}

impl KdfText {
    pub(crate) fn of(cost: KdfCost, salt: &[u8; SALT_LEN]) -> Self {
        Self {
            algorithm: ALGORITHM.to_owned(),
            m_kib: cost.m_kib,
            t: cost.t,
            p: cost.p,
            salt: BASE64.encode(salt),
        }
    }

    pub(crate) fn parse(&self) -> Result<(KdfCost, [u8; SALT_LEN]), ShareFileError> {
        if self.algorithm != ALGORITHM {
            return Err(ShareFileError::Field { field: "kdf.algorithm" });
        }
        let cost = KdfCost { m_kib: self.m_kib, t: self.t, p: self.p }.check()?;
        Ok((cost, decode_exact::<SALT_LEN>("kdf.salt", &self.salt)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Seeded, SoftKey, three_of_five};

    /// The least Argon2 allows: these tests are not about its cost.
    const CHEAP: KdfCost = KdfCost { m_kib: 8, t: 1, p: 1 };

    fn public(group: GroupId) -> SharePublic {
        SharePublic {
            fleet: FleetId([1; 32]),
            group,
            class: "customer-data".to_owned(),
            index: 2,
            threshold: 3,
            members: 5,
            share_epoch: 4,
            custodian: "Zoë at the notary".to_owned(),
            signing_key: "ed25519:AAAA".to_owned(),
        }
    }

    fn secret() -> (GroupId, ShareSecret) {
        let (group, mut shares) = three_of_five("share file");
        let signing_seed = Zeroizing::new([6; 32]);
        (group.id(), ShareSecret { share: shares.remove(1), signing_seed })
    }

    fn sealed(cost: KdfCost) -> (ShareFile, ShareSecret) {
        let (group, secret) = secret();
        let mut rng = Seeded::new("salt");
        let file = ShareFile::seal(public(group), &secret, b"correct horse", cost, &mut rng)
            .expect("seals");
        (file, secret)
    }

    fn kdf(file: &mut ShareFile) -> (&mut KdfCost, &mut [u8; SALT_LEN]) {
        match &mut file.guard {
            Guard::Passphrase { cost, salt } => (cost, salt),
            Guard::Token { .. } => panic!("sealed under a passphrase"),
        }
    }

    fn refusal(json: &str) -> String {
        ShareFile::parse(json.as_bytes()).expect_err("refused").to_string()
    }

    #[test]
    fn a_file_says_what_it_is_and_opens_with_its_passphrase() {
        let (file, secret) = sealed(KdfCost::DEFAULT);
        let json = file.to_json();
        let parsed = ShareFile::parse(json.as_bytes()).expect("parses");
        assert_eq!(parsed, file);
        assert_eq!(parsed.public(), &public(file.public.group));
        let opened = parsed.open(b"correct horse").expect("opens");
        assert_eq!(opened.share.to_bytes(), secret.share.to_bytes());
        assert_eq!(opened.share.index(), 2);
        assert_eq!(opened.signing_seed, secret.signing_seed);
        assert_eq!(
            format!("{opened:?}"),
            "ShareSecret { share: SecretShare { index: 2, .. }, .. }"
        );
        for wrong in [&b""[..], b"correct hors", b"correct horse "] {
            let err = parsed.open(wrong).expect_err("refused");
            assert!(matches!(err, ShareFileError::WrongPassphrase));
        }
    }

    #[test]
    fn damage_is_told_from_a_wrong_passphrase_at_every_bit() {
        let (file, _) = sealed(CHEAP);
        let json = file.to_json().into_bytes();
        for bit in 0..json.len() * 8 {
            let mut bad = json.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let err = ShareFile::parse(&bad).expect_err("a flipped bit is refused");
            assert!(!matches!(err, ShareFileError::WrongPassphrase), "bit {bit}");
        }
        for len in 0..json.len() - 1 {
            assert!(ShareFile::parse(&json[..len]).is_err(), "{len} bytes");
        }
        let mut trailing = json;
        trailing.push(b'}');
        assert!(ShareFile::parse(&trailing).is_err());
    }

    #[test]
    fn a_file_altered_with_a_new_checksum_does_not_open() {
        let (file, _) = sealed(CHEAP);
        let alterations: [fn(&mut ShareFile); 13] = [
            |f| f.public.fleet.0[0] ^= 1,
            |f| f.public.group.0[0] ^= 1,
            |f| f.public.class.push('x'),
            |f| f.public.index = 3,
            |f| f.public.threshold = 2,
            |f| f.public.members = 6,
            |f| f.public.share_epoch = 5,
            |f| f.public.custodian.push('x'),
            |f| f.public.signing_key.push('x'),
            |f| kdf(f).0.m_kib = 16,
            |f| kdf(f).0.t = 2,
            |f| kdf(f).1[0] ^= 1,
            |f| f.sealed[0] ^= 1,
        ];
        for (n, alter) in alterations.into_iter().enumerate() {
            let mut altered = file.clone();
            alter(&mut altered);
            let parsed = ShareFile::parse(altered.to_json().as_bytes()).expect("parses");
            let err = parsed.open(b"correct horse").expect_err("refused");
            assert!(matches!(err, ShareFileError::WrongPassphrase), "alteration {n}");
        }
        file.open(b"correct horse").expect("the unaltered file opens");
    }

    #[test]
    fn hostile_costs_are_refused_before_they_are_paid() {
        let (file, _) = sealed(CHEAP);
        let costs = [
            (MAX_M_KIB + 1, 1, 1),
            (u32::MAX, u32::MAX, u32::MAX),
            (64, 0, 1),
            (64, MAX_T + 1, 1),
            (64, 1, 0),
            (64, 1, MAX_P + 1),
            (7, 1, 1),
            (31, 1, 4),
        ];
        for (m_kib, t, p) in costs {
            let mut hostile = file.clone();
            *kdf(&mut hostile).0 = KdfCost { m_kib, t, p };
            assert!(refusal(&hostile.to_json()).contains("argon2id"), "{m_kib} {t} {p}");
            let (group, secret) = secret();
            let mut rng = Seeded::new("s");
            let cost = KdfCost { m_kib, t, p };
            let err = ShareFile::seal(public(group), &secret, b"p", cost, &mut rng);
            assert!(matches!(err, Err(ShareFileError::Cost { .. })));
        }
        for (m_kib, t, p) in [(MAX_M_KIB, MAX_T, MAX_P), (32, 1, 4)] {
            let mut dear = file.clone();
            *kdf(&mut dear).0 = KdfCost { m_kib, t, p };
            ShareFile::parse(dear.to_json().as_bytes()).expect("dear but allowed");
        }
    }

    type Change = fn(&mut SharePublic);

    #[test]
    fn fields_out_of_range_are_refused_on_both_ways() {
        let (file, _) = sealed(CHEAP);
        let wrong: [(&str, Change); 10] = [
            ("index", |p| p.index = 0),
            ("threshold", |p| p.threshold = 0),
            ("threshold", |p| p.threshold = 6),
            ("members", |p| p.members = 0),
            ("members", |p| p.members = 256),
            ("custodian", |p| p.custodian.clear()),
            ("custodian", |p| p.custodian = "a\u{1b}[2J".to_owned()),
            ("custodian", |p| p.custodian = "a".repeat(257)),
            ("signing_key", |p| p.signing_key.clear()),
            ("class", |p| p.class = "Data".to_owned()),
        ];
        for (field, change) in wrong {
            let mut altered = file.clone();
            change(&mut altered.public);
            assert!(refusal(&altered.to_json()).contains(field), "{field}");
            let (_, secret) = secret();
            let mut rng = Seeded::new("s");
            let err = ShareFile::seal(altered.public, &secret, b"p", CHEAP, &mut rng)
                .expect_err("refused");
            assert!(err.to_string().contains(field), "{field}");
        }
    }

    #[test]
    fn a_file_is_sealed_for_the_share_it_holds_and_never_without_a_passphrase() {
        let (group, secret) = secret();
        let mut rng = Seeded::new("s");
        let other = SharePublic { index: 1, ..public(group) };
        let err = ShareFile::seal(other, &secret, b"p", CHEAP, &mut rng).expect_err("refused");
        assert!(matches!(err, ShareFileError::Field { field: "index" }));
        let err = ShareFile::seal(public(group), &secret, b"", CHEAP, &mut rng);
        assert!(matches!(err, Err(ShareFileError::EmptyPassphrase)));
    }

    #[test]
    fn unknown_formats_algorithms_and_fields_are_refused() {
        let json = sealed(CHEAP).0.to_json();
        assert!(refusal(&json.replace("share/1", "share/3")).contains("upgrade"));
        assert!(refusal(&json.replace("share/1", "share/2")).contains("token"));
        assert!(refusal(&json.replacen('{', "{\"token\": null,", 1)).contains("damaged"));
        assert!(refusal(&json.replace("argon2id", "argon2d")).contains("kdf.algorithm"));
        assert!(refusal(&json.replacen('{', "{\"x\": 1,", 1)).contains("unknown field"));
        assert!(refusal(&json.replace("\"m_kib\"", "\"n\": 1, \"m_kib\"")).contains("unknown"));
        assert!(refusal(&json.replace("\"index\"", "\"inde\"")).contains("damaged"));
        assert!(
            refusal(&json.replacen("\"salt\": \"", "\"salt\": \"AAAA", 1)).contains("kdf.salt")
        );
        assert!(refusal(&" ".repeat(MAX_SHARE_FILE + 1)).contains("limit"));
    }

    #[test]
    fn a_sealed_scalar_that_is_no_share_is_refused() {
        let (mut file, _) = sealed(CHEAP);
        let key = CHEAP.derive(b"p", kdf(&mut file).1);
        file.sealed = aead::seal(&key, &file.associated_data(), &[0; SECRET_LEN]);
        assert!(matches!(file.open(b"p"), Err(ShareFileError::Share(ShareError::Scalar))));
    }

    fn wrapped() -> (ShareFile, SoftKey) {
        let (group, secret) = secret();
        let key = SoftKey::new("anna's token", [7; 32]);
        let file = ShareFile::wrap(public(group), &secret, &key, &mut Seeded::new("iv"));
        (file.expect("wrapped"), key)
    }

    #[test]
    fn a_wrapped_share_opens_with_its_token_and_nothing_else() {
        let (file, key) = wrapped();
        let parsed = ShareFile::parse(file.to_json().as_bytes()).expect("parses");
        assert_eq!(parsed, file);
        assert_eq!(parsed.token(), Some(key.name()));
        let opened = parsed.unwrap_with(&key).expect("unwrapped");
        assert_eq!(opened.share.to_bytes(), secret().1.share.to_bytes());
        assert_eq!(*opened.signing_seed, [6; 32]);
        let err = parsed.open(b"correct horse").expect_err("there is no passphrase").to_string();
        assert!(err.contains("anna's token") && err.contains("--module"), "{err}");
        let other = SoftKey::new("bob's token", [7; 32]);
        let err = parsed.unwrap_with(&other).expect_err("another name");
        assert!(matches!(err, ShareFileError::Wrap(WrapError::OtherKey { .. })), "{err}");
        let twin = SoftKey::new("anna's token", [8; 32]);
        let err = parsed.unwrap_with(&twin).expect_err("another key");
        assert!(matches!(err, ShareFileError::Wrap(WrapError::Mismatch(_))), "{err}");
        let err = sealed(CHEAP).0.unwrap_with(&key).expect_err("a passphrase opens that");
        assert!(matches!(err, ShareFileError::NeedsPassphrase));
    }

    #[test]
    fn a_wrapped_file_altered_with_a_new_checksum_does_not_open() {
        let (file, key) = wrapped();
        let alterations: [fn(&mut ShareFile); 9] = [
            |f| f.public.fleet.0[0] ^= 1,
            |f| f.public.group.0[0] ^= 1,
            |f| f.public.class.push('x'),
            |f| f.public.index = 3,
            |f| f.public.threshold = 2,
            |f| f.public.share_epoch = 5,
            |f| f.public.custodian.push('x'),
            |f| f.public.signing_key.push('x'),
            |f| f.sealed[0] ^= 1,
        ];
        for (n, alter) in alterations.into_iter().enumerate() {
            let mut altered = file.clone();
            alter(&mut altered);
            let parsed = ShareFile::parse(altered.to_json().as_bytes()).expect("parses");
            let err = parsed.unwrap_with(&key).expect_err("refused");
            assert!(matches!(err, ShareFileError::Wrap(WrapError::Mismatch(_))), "{n}: {err}");
        }
        let mut moved = file;
        if let Guard::Token { iv, .. } = &mut moved.guard {
            iv[0] ^= 1;
        }
        assert!(moved.unwrap_with(&key).is_err());
    }

    #[test]
    fn damage_of_a_wrapped_file_is_found_at_every_bit_and_its_fields_have_limits() {
        let (file, _) = wrapped();
        let json = file.to_json();
        let bytes = json.as_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            ShareFile::parse(&bad).expect_err("a flipped bit is refused");
        }
        let label = "\"label\": \"anna's token\"";
        let long = format!("\"label\": \"{}\"", "x".repeat(33));
        for (from, to, word) in [
            ("share/2", "share/1", "kdf"),
            ("aes-256-gcm", "aes-256-cbc", "token.mechanism"),
            (label, "\"label\": \"\"", "token.label"),
            (label, "\"label\": \"a\\u0007\"", "token.label"),
            (label, long.as_str(), "token.label"),
            ("\"iv\": \"", "\"iv\": \"AAAA", "token.iv"),
            ("\"key\": \"", "\"key\": \"00", "token.key"),
            ("\"token\": {", "\"token\": {\"module\": \"/tmp/evil.so\", ", "unknown field"),
        ] {
            assert!(json.contains(from), "{from}");
            let said = refusal(&json.replace(from, to));
            assert!(said.contains(word), "{from} -> {to}: {said}");
        }
    }
}
