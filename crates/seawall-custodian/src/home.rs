//! A custodian's home: its keys, its shares, the fleets it knows, and ceremonies under way.
//!
//! ```text
//! custodian.json                 format, name, operator; written last
//! lock                           held by the command that changes something
//! keys/*.key                     signing, recipient, kem, witness, transport (0600)
//! token.json, keys/wrapped.json  which token wraps the shares, and keys it wrapped ([`wrapped`])
//! fleets/<fleet id>.json         fleet cards: the genesis statement and the policies since
//! shares/<group id>-<epoch>.json share files, sealed under a passphrase or wrapped by a token; set
//!                                aside, their names end in .abandoned or .left
//! ceremonies/<id>/               own statements, and secrets of unfinished steps
//! hand-overs/*.json              post-quantum shares of snapshots, handed over by others
//! ```
//!
//! Who has the home has the signing key, and can speak as this custodian; a share needs its
//! passphrase or its token as well. A share of a fleet that is still to be founded names the fleet id zero,
//! which no fleet has, until [`CustodianHome::join`] seals it anew.

mod wrapped;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::{LogKeys, check_hand_overs};
use seawall_base::{Disk, DiskFile, FleetId, GroupId, LockMode, OpenMode, Rng, Sha256};
use seawall_base::{read_file, write_atomic};
use seawall_escrow::{
    CeremonyError, GroupError, KdfCost, KemSecret, MAX_SHARE_FILE, OneTimeError, OneTimeSecret,
    ShareFile, ShareFileError, SharePublic, WrappingKey,
};
use seawall_host::FsDisk;
use seawall_record::{
    Base64, CustodianCard, EscrowGroupRecord, Fleet, FleetCard, HandOverFile, MAX_BUNDLE,
    MAX_HAND_OVERS, RecordError,
};
use seawall_sign::key_file::{self, KeyFileError, Purpose};
use seawall_sign::{Algorithm, SignError, SigningKey, StatementKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::wrapped::{Moved, OpenToken};
use crate::token::TokenError;

const FORMAT: &str = "seawall-custodian-home/1";
const CONFIG: &str = "custodian.json";
const MAX_CONFIG: usize = 4 << 10;
const SIGNING: &str = "keys/signing.key";
const RECIPIENT: &str = "keys/recipient.key";
const KEM: &str = "keys/kem.key";
const WITNESS: &str = "keys/witness.key";
const HAND_OVERS: &str = "hand-overs";
const TRANSPORT: &str = "keys/transport.key";
/// End of the name of a share whose ceremony was given up.
pub(crate) const ABANDONED: &str = "abandoned";
/// End of the name of a share of a group that this custodian has left.
const LEFT: &str = "left";

/// The fleet id in a share whose fleet is still to be founded.
pub const NO_FLEET: FleetId = FleetId([0; 32]);

/// Why something with a custodian's home failed.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// Not a home.
    #[error(
        "{0} is not a custodian's home; run `seawall custodian init`, or name another with --home"
    )]
    NotAHome(PathBuf),
    /// Already one.
    #[error("{0} already is a custodian's home; nothing was changed")]
    AlreadyAHome(PathBuf),
    /// The operating system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// A file of the home that is not what it should be.
    #[error("{file} is damaged: {why}; restore it from a copy of the home")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A key file.
    #[error("{0}; restore it from a copy of the home")]
    Key(#[from] KeyFileError),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
    /// A participant of a ceremony said something that cannot be true.
    #[error("{name} (number {index}) {why}; stop here: nothing of this ceremony may be used")]
    Culprit {
        /// The participant's name.
        name: String,
        /// Its index.
        index: u16,
        /// What it did.
        why: String,
    },
    /// A statement, or a file of statements.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file of a ceremony.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A share file.
    #[error(transparent)]
    Share(#[from] ShareFileError),
    /// The token that wraps shares.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// An escrow group.
    #[error("escrow group: {0}")]
    Group(#[from] GroupError),
    /// The arithmetic of a ceremony.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// A recipient key, or what was sealed to it.
    #[error("recipient key: {0}")]
    OneTime(#[from] OneTimeError),
}

impl CustodyError {
    pub(crate) fn io(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    pub(crate) fn damaged(file: &str, why: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), why: why.into() }
    }
}

/// What a passphrase is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The one a share is sealed under.
    Existing,
    /// One for a new share.
    New,
}

/// Asks for a passphrase.
pub type AskPassphrase<'a> = dyn FnMut(Ask, &str) -> Result<Zeroizing<Vec<u8>>, CustodyError> + 'a;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    format: String,
    name: String,
    operator: String,
    /// Of the signing key; absent for Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
}

/// An open home.
pub struct CustodianHome {
    disk: Arc<FsDisk>,
    name: String,
    operator: String,
    algorithm: Algorithm,
    cost: KdfCost,
    open_token: Option<Box<OpenToken>>,
    token: Mutex<Option<Arc<dyn WrappingKey>>>,
}

/// The right to change the home; released when dropped, and by the system when the process dies.
pub struct HomeLock {
    _file: Box<dyn DiskFile>,
}

impl CustodianHome {
    /// Makes a home with fresh keys.
    pub fn create(
        path: &Path,
        name: &str,
        operator: &str,
        rng: &mut dyn Rng,
    ) -> Result<Self, CustodyError> {
        Self::create_of(path, name, operator, Algorithm::Ed25519, rng)
    }

    /// Makes a home with fresh keys, the signing key of this algorithm.
    pub fn create_of(
        path: &Path,
        name: &str,
        operator: &str,
        algorithm: Algorithm,
        rng: &mut dyn Rng,
    ) -> Result<Self, CustodyError> {
        let signing = StatementKey::generate(algorithm, rng);
        Self::create_with(path, (name, operator), &signing, None, rng)
    }

    /// As [`CustodianHome::create_of`], in a token from the start: what it wraps is never on the
    /// disk in clear.
    pub fn create_wrapped(
        path: &Path,
        (name, operator): (&str, &str),
        algorithm: Algorithm,
        token: Arc<dyn WrappingKey>,
        rng: &mut dyn Rng,
    ) -> Result<Self, CustodyError> {
        let signing = StatementKey::generate(algorithm, rng);
        Self::create_with(path, (name, operator), &signing, Some(token), rng)
    }

    /// Makes a home for the custodian of a share file, whose signing key it takes over; in a token
    /// from the start, if one is given.
    pub fn create_from_share(
        path: &Path,
        operator: &str,
        (share, passphrase): (&ShareFile, &[u8]),
        token: Option<Arc<dyn WrappingKey>>,
        rng: &mut dyn Rng,
    ) -> Result<Self, CustodyError> {
        let secret = share.open(passphrase)?;
        let name = &share.public().custodian;
        let named: VerifyingKey = share.public().signing_key.parse()?;
        let signing = StatementKey::of_public(&named, &secret.signing_seed)?;
        let wrapped = token
            .as_ref()
            .map(|token| ShareFile::wrap(share.public().clone(), &secret, token.as_ref(), rng));
        let wrapped = wrapped.transpose()?;
        let home = Self::create_with(path, (name, operator), &signing, token, rng)?;
        home.keep_share(wrapped.as_ref().unwrap_or(share))?;
        Ok(home)
    }

    fn create_with(
        path: &Path,
        (name, operator): (&str, &str),
        signing: &StatementKey,
        token: Option<Arc<dyn WrappingKey>>,
        rng: &mut dyn Rng,
    ) -> Result<Self, CustodyError> {
        if path.join(CONFIG).exists() {
            return Err(CustodyError::AlreadyAHome(path.to_owned()));
        }
        let disk = FsDisk::create(path).map_err(CustodyError::io(&path.display().to_string()))?;
        for dir in ["keys", "fleets", "shares", "ceremonies"] {
            disk.create_dir_all(dir).map_err(CustodyError::io(dir))?;
        }
        let home = Self::of(disk, name, operator, signing.algorithm());
        let mut fresh = |path, purpose| -> Result<Zeroizing<[u8; 32]>, CustodyError> {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill(&mut *secret);
            // What was begun and cut off is gone on with, but for a key that a token is to wrap.
            let is_kept = token.is_none() || path != RECIPIENT;
            let kept = key_file::read(home.disk.as_ref(), path, purpose)?;
            Ok(kept.filter(|_| is_kept).unwrap_or(secret))
        };
        let recipient = fresh(RECIPIENT, Purpose::Recipient)?;
        for (path, purpose) in [(WITNESS, Purpose::Witness), (TRANSPORT, Purpose::Transport)] {
            key_file::write(home.disk.as_ref(), path, purpose, &*fresh(path, purpose)?)?;
        }
        // The share file brings this key along: nobody needs the home to answer with the share.
        let kem = KemSecret::of_share_file(&signing.seed()).to_bytes();
        home.keep_keys([&signing.seed(), &recipient, &kem], token, rng)?;
        // A card that nobody would take is found out now.
        CustodianCard::parse(&home.unsigned_card(None)?.to_json())?;
        let config = Config {
            format: FORMAT.to_owned(),
            name: home.name.clone(),
            operator: home.operator.clone(),
            algorithm: (home.algorithm != Algorithm::Ed25519).then(|| home.algorithm.to_string()),
        };
        home.write_json(CONFIG, &config)?;
        Ok(home)
    }

    /// Writes the signing, recipient and KEM key of a home that is being made.
    fn keep_keys(
        &self,
        keys: [&[u8; 32]; 3],
        token: Option<Arc<dyn WrappingKey>>,
        rng: &mut dyn Rng,
    ) -> Result<(), CustodyError> {
        if let Some(token) = token {
            return self.wrap_new(token, keys, rng);
        }
        if self.is_of_a_token()? {
            return Err(CustodyError::refused(format!(
                "{} holds keys that a token wrapped: finish what was begun there with --token-label, or take an empty directory",
                self.path().display()
            )));
        }
        let places =
            [(SIGNING, Purpose::Custodian), (RECIPIENT, Purpose::Recipient), (KEM, Purpose::Kem)];
        for ((path, purpose), key) in places.into_iter().zip(keys) {
            key_file::write(self.disk.as_ref(), path, purpose, key)?;
        }
        Ok(())
    }

    fn of(disk: FsDisk, name: &str, operator: &str, algorithm: Algorithm) -> Self {
        Self {
            disk: Arc::new(disk),
            name: name.to_owned(),
            operator: operator.to_owned(),
            algorithm,
            cost: KdfCost::DEFAULT,
            open_token: None,
            token: Mutex::new(None),
        }
    }

    /// Opens a home.
    pub fn open(path: &Path) -> Result<Self, CustodyError> {
        if !path.join(CONFIG).is_file() {
            return Err(CustodyError::NotAHome(path.to_owned()));
        }
        let disk = FsDisk::create(path).map_err(CustodyError::io(&path.display().to_string()))?;
        let mut home = Self::of(disk, "", "", Algorithm::Ed25519);
        let config: Config = serde_json::from_slice(&home.require(CONFIG, MAX_CONFIG)?)
            .map_err(|e| CustodyError::damaged(CONFIG, e.to_string()))?;
        if config.format != FORMAT {
            return Err(CustodyError::damaged(CONFIG, format!("format {:?}", config.format)));
        }
        home.name = config.name;
        home.operator = config.operator;
        if let Some(algorithm) = config.algorithm {
            home.algorithm = algorithm
                .parse()
                .map_err(|e: SignError| CustodyError::damaged(CONFIG, e.to_string()))?;
        }
        Ok(home)
    }

    /// The same home, sealing new shares at another cost. For tests: what they try is not Argon2.
    #[must_use]
    pub fn with_cost(mut self, cost: KdfCost) -> Self {
        self.cost = cost;
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.disk.root()
    }

    /// The directory, as the rooms below use it.
    pub fn disk(&self) -> Arc<FsDisk> {
        self.disk.clone()
    }

    /// The custodian's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who runs it.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// Takes the home for changing it; waits while another process has it.
    pub fn lock(&self) -> Result<HomeLock, CustodyError> {
        let file = self.disk.open("lock", OpenMode::Create).map_err(CustodyError::io("lock"))?;
        file.lock(LockMode::Exclusive, true).map_err(CustodyError::io("lock"))?;
        Ok(HomeLock { _file: file })
    }

    fn key_in_file(
        &self,
        path: &str,
        purpose: Purpose,
    ) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        Ok(key_file::require(self.disk.as_ref(), path, purpose)?)
    }

    /// The public half of [`CustodianHome::signing`].
    pub fn signing_public(&self) -> Result<VerifyingKey, CustodyError> {
        Ok(self.publics()?.signing)
    }

    /// Signs approvals and this custodian's part in ceremonies.
    pub fn signing(&self) -> Result<StatementKey, CustodyError> {
        let seed = self.key(SIGNING, Purpose::Custodian)?;
        Ok(StatementKey::from_seed(self.algorithm, &seed))
    }

    /// What the log of this custodian's machine is signed with.
    pub fn log_keys(&self) -> Result<LogKeys, CustodyError> {
        let statements = self.signing()?;
        let checkpoints = match &statements {
            StatementKey::Ed25519(key) => SigningKey::from_seed(&key.seed()),
            StatementKey::MlDsa44(_) => self.transport()?,
        };
        Ok(LogKeys { statements, checkpoints })
    }

    /// Cosigns logs.
    pub fn witness(&self) -> Result<SigningKey, CustodyError> {
        Ok(SigningKey::from_seed(&*self.key(WITNESS, Purpose::Witness)?))
    }

    /// Authenticates TLS.
    pub fn transport(&self) -> Result<SigningKey, CustodyError> {
        Ok(SigningKey::from_seed(&*self.key(TRANSPORT, Purpose::Transport)?))
    }

    /// Opens what ceremonies seal to this custodian.
    pub fn recipient(&self) -> Result<OneTimeSecret, CustodyError> {
        Ok(OneTimeSecret::from_bytes(&*self.key(RECIPIENT, Purpose::Recipient)?))
    }

    /// Opens shares of the post-quantum half.
    pub fn kem(&self) -> Result<KemSecret, CustodyError> {
        Ok(KemSecret::from_bytes(&*self.key(KEM, Purpose::Kem)?))
    }

    /// This custodian's card, reached at `address` if it is reached at all.
    pub fn card(&self, address: Option<&str>) -> Result<CustodianCard, CustodyError> {
        Ok(self.unsigned_card(address)?.sign(&self.signing()?))
    }

    /// The card without its signature, which its digest does not cover. No token is needed.
    pub fn unsigned_card(&self, address: Option<&str>) -> Result<CustodianCard, CustodyError> {
        let own = self.publics()?;
        Ok(CustodianCard {
            format: CustodianCard::FORMAT.to_owned(),
            name: self.name.clone(),
            operator: self.operator.clone(),
            signing_key: own.signing,
            recipient: Base64(own.recipient),
            kem: Base64(own.kem),
            witness: self.witness()?.public(),
            transport: self.transport()?.public(),
            address: address.map(str::to_owned),
            signature: None,
        })
    }

    /// The fleets this custodian knows.
    pub fn fleets(&self) -> Result<Vec<Fleet>, CustodyError> {
        let names = self.disk.list("fleets").map_err(CustodyError::io("fleets"))?;
        let mut out = Vec::new();
        for name in names.iter().filter_map(|n| n.strip_suffix(".json")) {
            let path = format!("fleets/{name}.json");
            let bytes = self.require(&path, MAX_BUNDLE)?;
            let damaged = |why: String| CustodyError::damaged(&path, why);
            let fleet = FleetCard::open(&bytes).map_err(|e| damaged(e.to_string()))?;
            if fleet.id().to_hex() != name {
                return Err(damaged(format!("it is the card of {}", fleet.id())));
            }
            out.push(fleet);
        }
        Ok(out)
    }

    /// A fleet this custodian knows.
    pub fn fleet(&self, id: FleetId) -> Result<Option<Fleet>, CustodyError> {
        Ok(self.fleets()?.into_iter().find(|f| f.id() == id))
    }

    /// The share files, with their names below `shares/`.
    pub fn shares(&self) -> Result<Vec<(String, ShareFile)>, CustodyError> {
        let names = self.disk.list("shares").map_err(CustodyError::io("shares"))?;
        let mut out = Vec::new();
        for name in names.into_iter().filter(|n| n.ends_with(".json")) {
            let path = format!("shares/{name}");
            let bytes = self.require(&path, MAX_SHARE_FILE)?;
            let share = ShareFile::parse(&bytes)
                .map_err(|e| CustodyError::refused(format!("{path}: {e}")))?;
            out.push((name, share));
        }
        Ok(out)
    }

    /// The share of a group in one share epoch.
    pub fn share(&self, group: GroupId, epoch: u32) -> Result<Option<ShareFile>, CustodyError> {
        let path = share_path(group, epoch);
        let Some(bytes) = self.read(&path, MAX_SHARE_FILE)? else { return Ok(None) };
        let share =
            ShareFile::parse(&bytes).map_err(|e| CustodyError::refused(format!("{path}: {e}")))?;
        if (share.public().group, share.public().share_epoch) != (group, epoch) {
            return Err(CustodyError::damaged(&path, "it holds another share"));
        }
        Ok(Some(share))
    }

    /// What was handed over to this custodian, or to others.
    pub fn hand_overs(&self) -> Result<Vec<HandOverFile>, CustodyError> {
        let names = self.disk.list(HAND_OVERS).map_err(CustodyError::io(HAND_OVERS))?;
        let mut out = Vec::new();
        for name in names.into_iter().filter(|n| n.ends_with(".json")) {
            let path = format!("{HAND_OVERS}/{name}");
            let bytes = self.require(&path, MAX_HAND_OVERS)?;
            let file = HandOverFile::parse(&bytes);
            out.push(file.map_err(|e| CustodyError::damaged(&path, e.to_string()))?);
        }
        Ok(out)
    }

    /// Keeps a file of hand-overs under the hash of its bytes. Returns its path below the home.
    ///
    /// Only what is whole and signed in a fleet this home knows is kept.
    pub fn keep_hand_over(&self, json: &[u8]) -> Result<String, CustodyError> {
        let file = HandOverFile::parse(json)?;
        let mut count = 0;
        for fleet in self.fleets()? {
            let whole = check_hand_overs(&file, &fleet);
            count += whole.map_err(|e| CustodyError::refused(e.to_string()))?;
        }
        if count == 0 {
            let why = "the file hands nothing over in a fleet that this home knows: join the fleet";
            return Err(CustodyError::refused(why));
        }
        let path = format!("{HAND_OVERS}/{}.json", Sha256::of(json).to_hex());
        self.disk.create_dir_all(HAND_OVERS).map_err(CustodyError::io(HAND_OVERS))?;
        write_atomic(self.disk.as_ref(), &path, json).map_err(CustodyError::io(&path))?;
        Ok(path)
    }

    /// Keeps a share file, replacing one of the same group and epoch. Returns its path below the
    /// home.
    pub fn keep_share(&self, share: &ShareFile) -> Result<String, CustodyError> {
        let path = share_path(share.public().group, share.public().share_epoch);
        write_atomic(self.disk.as_ref(), &path, share.to_json().as_bytes())
            .map_err(CustodyError::io(&path))?;
        Ok(path)
    }

    /// Renames a share file so that the home uses it no more; somebody may still want it back, and
    /// as a file it answers requests as before. `why` becomes the end of its name.
    pub(crate) fn set_share_aside(&self, path: &str, why: &str) -> Result<String, CustodyError> {
        let aside = format!("{path}.{why}");
        self.disk.rename(path, &aside).map_err(CustodyError::io(path))?;
        self.disk.sync_dir("shares").map_err(CustodyError::io("shares"))?;
        Ok(aside)
    }

    /// Paths below the home of the shares that were set aside.
    pub fn shares_aside(&self) -> Result<Vec<String>, CustodyError> {
        let names = self.disk.list("shares").map_err(CustodyError::io("shares"))?;
        let aside = |name: &String| {
            [ABANDONED, LEFT].iter().any(|why| name.ends_with(&format!(".json.{why}")))
        };
        Ok(names.into_iter().filter(aside).map(|name| format!("shares/{name}")).collect())
    }

    /// A share that was set aside, or why its file cannot be used.
    pub fn share_aside(
        &self,
        path: &str,
    ) -> Result<Result<ShareFile, ShareFileError>, CustodyError> {
        Ok(ShareFile::parse(&self.require(path, MAX_SHARE_FILE)?))
    }

    /// Whether the share of a group that the fleet records now is here, opens, and is the one
    /// whose verification share is recorded.
    fn holds_recorded(
        &self,
        group: &EscrowGroupRecord,
        ask: &mut AskPassphrase<'_>,
    ) -> Result<bool, CustodyError> {
        let own = self.signing_public()?;
        let Some(recorded) = group.custodians.iter().find(|c| c.signing_key == own) else {
            return Ok(false);
        };
        let Some(file) = self.share(group.id, group.share_epoch)? else { return Ok(false) };
        let secret = self.open_share(&file, ask)?;
        Ok(file.public().index == recorded.index
            && secret.share.verification_share() == recorded.share.0)
    }

    /// Learns of a fleet, or of its newer policies. Shares made before a fleet that was founded on
    /// their group are sealed anew for it; other fleets' shares are none of its business. A share is deleted only where this home holds the one that the newer
    /// policy records, opened and compared; that of a group which this custodian has left is set
    /// aside. Whatever a fleet card says, no share is lost by it.
    ///
    /// A fleet card proves nothing about *which* fleet it is: the caller has its id confirmed.
    pub fn join(
        &self,
        fleet: Fleet,
        ask: &mut AskPassphrase<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Joined, CustodyError> {
        self.join_as(fleet, false, ask, rng)
    }

    /// As [`CustodianHome::join`], where a person has just compared the fleet's id: shares made
    /// before any fleet was named are sealed for this one, though it was not founded on their group.
    pub fn join_confirmed(
        &self,
        fleet: Fleet,
        ask: &mut AskPassphrase<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Joined, CustodyError> {
        self.join_as(fleet, true, ask, rng)
    }

    fn join_as(
        &self,
        fleet: Fleet,
        confirmed: bool,
        ask: &mut AskPassphrase<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Joined, CustodyError> {
        let _lock = self.lock()?;
        let known = self.fleet(fleet.id())?;
        let fleet = match &known {
            Some(known) => known.newest(fleet)?,
            None => fleet,
        };
        let before = known.as_ref().map_or(&[][..], Fleet::groups);
        if let Some((group, e)) = seawall_escrow::unsound_group(before, fleet.groups()) {
            return Err(CustodyError::refused(format!(
                "the card's record of {group} is unsound ({e}): it was not taken; find out who signed it with the root keys"
            )));
        }
        let path = format!("fleets/{}.json", fleet.id().to_hex());
        self.write_json(&path, &FleetCard::new(&fleet))?;
        let own = self.signing_public()?;
        let (bound, unbound, deleted, aside) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut joined = Joined { fleet, bound, unbound, deleted, aside };
        // Who joins for the first time has compared the id.
        let confirmed = confirmed || known.is_none();
        for (name, share) in self.shares()? {
            let public = share.public();
            // A group's record is public: another fleet's card may have it as well.
            let is_theirs = match public.fleet {
                NO_FLEET if confirmed => true,
                NO_FLEET => joined.fleet.genesis().groups.iter().any(|g| g.id == public.group),
                fleet => fleet == joined.fleet.id(),
            };
            let path = format!("shares/{name}");
            let Some(group) = joined.fleet.group(public.group) else { continue };
            if !is_theirs {
                joined.unbound.extend((public.fleet == NO_FLEET).then_some(path));
                continue;
            }
            let old = public.share_epoch < group.share_epoch;
            if old && group.custodians.iter().all(|c| c.signing_key != own) {
                joined.aside.push(self.set_share_aside(&path, LEFT)?);
            } else if old && self.holds_recorded(group, ask)? {
                self.disk.remove(&path).map_err(CustodyError::io(&path))?;
                joined.deleted.push(path);
            } else if public.fleet == NO_FLEET {
                let public = SharePublic { fleet: joined.fleet.id(), ..public.clone() };
                let sealed = self.seal_again(&share, public, ask, rng)?;
                joined.bound.push(self.keep_share(&sealed)?);
            }
        }
        self.disk.sync_dir("shares").map_err(CustodyError::io("shares"))?;
        Ok(joined)
    }

    pub(crate) fn write_json<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<(), CustodyError> {
        let mut json = serde_json::to_vec_pretty(value).expect("plain fields serialise");
        json.push(b'\n');
        write_atomic(self.disk.as_ref(), path, &json).map_err(CustodyError::io(path))
    }

    pub(crate) fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, CustodyError> {
        read_file(self.disk.as_ref(), path, limit).map_err(CustodyError::io(path))
    }

    fn require(&self, path: &str, limit: usize) -> Result<Vec<u8>, CustodyError> {
        self.read(path, limit)?.ok_or_else(|| CustodyError::damaged(path, "it is missing"))
    }
}

/// What joining a fleet did.
#[derive(Debug)]
pub struct Joined {
    /// The fleet, in its newest version known.
    pub fleet: Fleet,
    /// Shares that were sealed anew for it.
    pub bound: Vec<String>,
    /// Shares of no fleet yet, whose group this one lists without having been founded on it: only
    /// [`CustodianHome::join_confirmed`] seals them for it.
    pub unbound: Vec<String>,
    /// Shares that were deleted, since newer ones replaced them.
    pub deleted: Vec<String>,
    /// Shares of groups that this custodian has left, where they lie now.
    pub aside: Vec<String>,
}

pub(crate) fn share_path(group: GroupId, epoch: u32) -> String {
    format!("shares/{}-{epoch}.json", group.to_hex())
}
