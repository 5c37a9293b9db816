//! A node's home: one directory with everything the node is.
//!
//! ```text
//! home.json                 format, name
//! lock                      held for the moments in which log, keys or members change
//! sync.lock                 held by the one command that syncs
//! reading/<digest>.lock     shared by those that read a snapshot, so that it is not forgotten
//! retention.json            the saved policy of `seawall prune`
//! fleet/genesis.json        the anchor of trust
//! keys/*.key                identity, transport, recipient, subkey, tenant (0600)
//! root/*.key                the fleet's root keys, on the operator's machine only
//! enrolment.json            this node's enrolment
//! regions/<name>.json       where regions are, each with its root-signed enrolment
//! log/, log-<epoch>/        this node's log, and that of a later epoch (docs/formats/log.md)
//! clock.json                when somebody last said that the clock is right
//! epoch/provisional.json    why no checkpoint is signed until the next epoch has begun
//! evidence/                 what contradicts what was seen before
//! zones/, index/, locks/, reclaim/   this node's objects (docs/formats/zone.md)
//! receipts/<region>/        what regions have signed for
//! find/                     what `find` knows, encrypted
//! requests/<digest>.key     one-time secrets of open restore requests
//! pins/<origin>.checkpoint  the newest checkpoint seen of every other log
//! cache/                    file caches (docs/formats/file-cache.md); may be deleted at any time
//! ```

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use seawall_base::{Clock, Disk, Rng, Seconds, Sha256, read_file, write_atomic};
use seawall_escrow::{CapsuleError, CeremonyError, GroupError, OneTimeError, ShareFileError};
use seawall_host::FsDisk;
use seawall_record::{
    Accepted, Enrolment, Fleet, LogState, MAX_BUNDLE, PolicyChain, RecordError, RegionAddress,
    Role, Subkey,
};
use seawall_seal::{Domain, DomainScope};
use seawall_sign::{Algorithm, Envelope, SignError, SigningKey, StatementKey};
use seawall_store::{Access, OpenReport, Options, Store, StoreError};
use seawall_tlog::{CheckpointError, Log, LogError, NoteError, Origin};
use serde::{Deserialize, Serialize};

use crate::keys::{self, Purpose};
use crate::still::StillDisk;

const FORMAT: &str = "seawall-home/1";
const MAX_FILE: usize = 1 << 20;
/// The anchor of trust.
const GENESIS: &str = "fleet/genesis.json";
/// This node's own enrolment.
const ENROLMENT: &str = "enrolment.json";
/// Policies since the founding.
const POLICIES: &str = "fleet/policies.json";
/// A subkey is replaced when less than this is left of it.
const RENEW_BEFORE: Seconds = Seconds::days(2);
/// How long a fresh subkey lasts.
const SUBKEY_DAYS: Seconds = Seconds::days(7);

/// Why something with a home failed.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Not a home.
    #[error("{0} is not a seawall home; run `seawall init`, or name another with --home")]
    NotAHome(PathBuf),
    /// Already one.
    #[error("{0} already is a seawall home; nothing was changed")]
    AlreadyAHome(PathBuf),
    /// Another process has it.
    #[error("{0} is in use by another seawall process; wait for it, or stop it")]
    InUse(PathBuf),
    /// Another process syncs it.
    #[error("{0} is in use by another seawall process that syncs; wait for it, or stop it")]
    Syncing(PathBuf),
    /// A file that must be there.
    #[error("{0} is missing from the home; restore it, or enrol this node anew")]
    Missing(String),
    /// A file that is not what it should be.
    #[error("{file} is damaged: {why}; restore it, or enrol this node anew")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// What was seen of another node's log.
    #[error(
        "{file} is damaged: {why}; remove it: what is shown then is taken for the newest, so compare it with another region"
    )]
    Pin {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A region that cannot be used as it stands in the home.
    #[error(
        "{file}: the region is passed over, for its enrolment does not hold ({why}); adopt it again (seawall fleet adopt, with the region's card), take a newer bundle (seawall node enroll), or remove the file"
    )]
    Region {
        /// Its file.
        file: String,
        /// Why.
        why: String,
    },
    /// The operating system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// Something the caller asked for cannot be done.
    #[error("{0}")]
    Refused(String),
    /// A statement.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The log.
    #[error("log: {0}")]
    Log(#[from] LogError),
    /// A checkpoint's form.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A signed note.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The store.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The key ceremony.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// A share file.
    #[error(transparent)]
    Share(#[from] ShareFileError),
    /// An escrow group.
    #[error("escrow group: {0}")]
    Group(#[from] GroupError),
    /// A capsule.
    #[error("capsule: {0}")]
    Capsule(#[from] CapsuleError),
    /// A one-time or recipient key.
    #[error("recipient key: {0}")]
    OneTime(#[from] OneTimeError),
    /// Writing a snapshot.
    #[error(transparent)]
    Snapshot(#[from] seawall_backup::snapshot::SnapshotError),
    /// Talking to a region.
    #[error(transparent)]
    Sync(#[from] seawall_sync::SyncError),
    /// A retention policy.
    #[error(transparent)]
    Policy(#[from] seawall_policy::retention::PolicyError),
    /// A reference set.
    #[error("{0}; run `seawall verify`")]
    ReferenceSet(#[from] seawall_record::reference_set::ReferenceSetError),
    /// A region's answer.
    #[error(transparent)]
    Tier(#[from] seawall_sync::TierError),
    /// The bucket that stands in for a region.
    #[error(transparent)]
    Bucket(#[from] crate::bucket::BucketError),
    /// The cache of `find`.
    #[error(transparent)]
    Cache(#[from] seawall_backup::find::CacheError),
    /// Stored receipts.
    #[error(transparent)]
    Receipts(#[from] seawall_sync::ReceiptsError),
}

impl HomeError {
    /// Names the file an I/O error is about.
    pub(crate) fn io(path: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn damaged(file: &str, why: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), why: why.into() }
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HomeFile {
    format: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
}

/// An open home.
pub struct Home {
    disk: Arc<FsDisk>,
    name: String,
    bucket: Option<String>,
    /// What was said once and need not be said again.
    said: Mutex<BTreeSet<String>>,
}

/// A lock on something in the home, as against every other process; released when dropped, and by
/// the system when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: std::fs::File,
}

/// How often, and how many times, somebody asks for a lock that is held for moments only.
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
const LOCK_TRIES: u32 = 3_000;

impl Home {
    /// Makes an empty home. `bucket` is the plain directory that stands in for a region, if any.
    pub fn create(path: &Path, name: &str, bucket: Option<&str>) -> Result<Self, HomeError> {
        if path.join("home.json").exists() {
            return Err(HomeError::AlreadyAHome(path.to_owned()));
        }
        let disk = FsDisk::create(path).map_err(HomeError::io(&path.display().to_string()))?;
        for dir in ["fleet", "keys", "regions", "receipts", "requests", "pins"] {
            disk.create_dir_all(dir).map_err(HomeError::io(dir))?;
        }
        let bucket = bucket.map(str::to_owned);
        let said = Mutex::default();
        let home = Self { disk: Arc::new(disk), name: name.to_owned(), bucket, said };
        let file = HomeFile {
            format: FORMAT.to_owned(),
            name: home.name.clone(),
            bucket: home.bucket.clone(),
        };
        home.write_json("home.json", &file)?;
        Ok(home)
    }

    /// Opens a home.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        if !path.join("home.json").is_file() {
            return Err(HomeError::NotAHome(path.to_owned()));
        }
        let disk = FsDisk::create(path).map_err(HomeError::io(&path.display().to_string()))?;
        let (name, said) = (String::new(), Mutex::default());
        let mut home = Self { disk: Arc::new(disk), name, bucket: None, said };
        let file: HomeFile = home.read_json("home.json")?;
        if file.format != FORMAT {
            return Err(HomeError::damaged("home.json", format!("format {:?}", file.format)));
        }
        home.name = file.name;
        home.bucket = file.bucket;
        Ok(home)
    }

    /// As [`Home::open`]; none where there is no home. What cannot be looked at is there.
    pub fn open_if_any(path: &Path) -> Result<Option<Self>, HomeError> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let file = path.join("home.json");
        match file.metadata() {
            Err(e) if matches!(e.kind(), NotFound | NotADirectory) => Ok(None),
            Err(e) => Err(HomeError::io(&file.display().to_string())(e)),
            Ok(_) => Self::open(path).map(Some),
        }
    }

    /// Takes the home for changing log, keys or members. Whoever has it holds it for moments, not
    /// while a tree is read or a region is spoken to; so this waits for it, a minute at most.
    pub fn lock(&self) -> Result<Lock, HomeError> {
        for _ in 0..LOCK_TRIES {
            if let Some(lock) = self.try_lock("lock")? {
                return Ok(lock);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Err(HomeError::InUse(self.disk.root().to_owned()))
    }

    /// Takes the right to sync, which somebody may have for hours.
    pub(crate) fn lock_sync(&self) -> Result<Lock, HomeError> {
        let lock = self.try_lock("sync.lock")?;
        lock.ok_or_else(|| HomeError::Syncing(self.disk.root().to_owned()))
    }

    fn try_lock(&self, name: &str) -> Result<Option<Lock>, HomeError> {
        let path = self.disk.root().join(name);
        let file = std::fs::File::create(&path).map_err(HomeError::io(name))?;
        held(file.try_lock().map(|()| file), name)
    }

    /// Says that a snapshot of this node is being read, until the lock is dropped. `None` where
    /// the home cannot be written: then nobody can forget anything either.
    pub(crate) fn reading(&self, snapshot: Sha256) -> Option<Lock> {
        let file = self.reading_file(snapshot).ok()?;
        file.lock_shared().ok()?;
        Some(Lock { _file: file })
    }

    /// Takes a snapshot away from readers until the lock is dropped; `None` if somebody reads it.
    pub(crate) fn lock_out_readers(&self, snapshot: Sha256) -> Result<Option<Lock>, HomeError> {
        const PATH: &str = "reading";
        let file = self.reading_file(snapshot).map_err(HomeError::io(PATH))?;
        held(file.try_lock().map(|()| file), PATH)
    }

    /// The digests, in hexadecimal, of snapshots that were ever read here.
    pub(crate) fn ever_read(&self) -> Result<BTreeSet<String>, HomeError> {
        let names = self.disk.list("reading").map_err(HomeError::io("reading"))?;
        Ok(names.iter().filter_map(|n| n.strip_suffix(".lock").map(str::to_owned)).collect())
    }

    fn reading_file(&self, snapshot: Sha256) -> io::Result<std::fs::File> {
        self.disk.create_dir_all("reading")?;
        let path = self.disk.root().join(format!("reading/{}.lock", snapshot.to_hex()));
        std::fs::File::create(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.disk.root()
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plain directory or bucket that stands in for a region.
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    pub(crate) fn disk(&self) -> Arc<FsDisk> {
        self.disk.clone()
    }

    pub(crate) fn write_json<T: Serialize>(&self, path: &str, value: &T) -> Result<(), HomeError> {
        let mut json = serde_json::to_vec_pretty(value).expect("plain fields serialise");
        json.push(b'\n');
        write_atomic(self.disk.as_ref(), path, &json).map_err(HomeError::io(path))
    }

    pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
    ) -> Result<T, HomeError> {
        let bytes = self.read(path)?.ok_or_else(|| HomeError::Missing(path.to_owned()))?;
        serde_json::from_slice(&bytes).map_err(|e| HomeError::damaged(path, e.to_string()))
    }

    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HomeError> {
        self.read_up_to(path, MAX_FILE)
    }

    fn read_up_to(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, HomeError> {
        read_file(self.disk.as_ref(), path, limit).map_err(HomeError::io(path))
    }

    pub(crate) fn write_envelope(&self, path: &str, it: &Envelope) -> Result<(), HomeError> {
        write_atomic(self.disk.as_ref(), path, &it.to_json()).map_err(HomeError::io(path))
    }

    pub(crate) fn read_envelope(&self, path: &str) -> Result<Envelope, HomeError> {
        let bytes = self.read(path)?.ok_or_else(|| HomeError::Missing(path.to_owned()))?;
        Envelope::parse(&bytes).map_err(|e| HomeError::damaged(path, e.to_string()))
    }

    /// The fleet this home belongs to, with every policy it has seen.
    pub fn fleet(&self) -> Result<Fleet, HomeError> {
        let fleet = Fleet::open(self.read_envelope(GENESIS)?)
            .map_err(|e| HomeError::damaged(GENESIS, e.to_string()))?;
        let Some(bytes) = self.read_up_to(POLICIES, MAX_BUNDLE)? else { return Ok(fleet) };
        let damaged = |e: RecordError| HomeError::damaged(POLICIES, e.to_string());
        let (of, policies) = PolicyChain::parse(&bytes).map_err(damaged)?;
        if of != fleet.id() {
            return Err(HomeError::damaged(POLICIES, "another fleet's policies"));
        }
        fleet.advance_all(policies).map_err(damaged)
    }

    /// As [`Home::fleet`]; none in a home that has not joined a fleet yet.
    pub fn fleet_if_any(&self) -> Result<Option<Fleet>, HomeError> {
        for file in [GENESIS, POLICIES, ENROLMENT] {
            if self.path().join(file).try_exists().map_err(HomeError::io(file))? {
                return self.fleet().map(Some);
            }
        }
        Ok(None)
    }

    /// Keeps what is known of the fleet: its genesis statement and its policies.
    pub(crate) fn keep_fleet(&self, fleet: &Fleet) -> Result<(), HomeError> {
        self.write_envelope(GENESIS, fleet.envelope())?;
        if fleet.policies().is_empty() {
            return Ok(());
        }
        write_atomic(self.disk.as_ref(), POLICIES, &PolicyChain::of(fleet).to_json())
            .map_err(HomeError::io(POLICIES))
    }

    /// Takes newer policies of this fleet, whoever showed them. The fleet as it is then known.
    pub fn learn_policies(&self, policies: Vec<Envelope>) -> Result<Fleet, HomeError> {
        let _lock = self.lock()?;
        self.learn_locked(policies)
    }

    /// As [`Home::learn_policies`], in a home that is locked.
    pub(crate) fn learn_locked(&self, policies: Vec<Envelope>) -> Result<Fleet, HomeError> {
        let known = self.fleet()?;
        let newest = Fleet::open_chain(known.envelope().clone(), policies, &known)?;
        if newest.version() > known.version() {
            crate::fleet_policy::check_groups(known.groups(), newest.groups())?;
            self.keep_fleet(&newest)?;
        }
        Ok(newest)
    }

    /// This node's enrolment, checked, and its statement.
    pub fn enrolment(&self, fleet: &Fleet) -> Result<(Enrolment, Envelope), HomeError> {
        let envelope = self.read_envelope(ENROLMENT)?;
        let enrolment = Enrolment::open(fleet, &envelope, Role::Node);
        Ok((enrolment.map_err(|e| HomeError::damaged(ENROLMENT, e.to_string()))?, envelope))
    }

    /// The regions this node may use, by name, each checked. One whose enrolment does not hold is
    /// named and passed over: it must not stand between this node and its data.
    pub fn regions(&self, fleet: &Fleet) -> Result<Vec<(RegionAddress, Enrolment)>, HomeError> {
        let (known, passed_over) = self.known_regions(fleet)?;
        for (_, e) in passed_over {
            self.warn_once(&e.to_string());
        }
        Ok(known)
    }

    /// As [`Home::regions`], with those that are passed over by the name of their file; naming them
    /// is the caller's.
    pub(crate) fn known_regions(&self, fleet: &Fleet) -> Result<KnownRegions, HomeError> {
        let names = self.disk.list("regions").map_err(HomeError::io("regions"))?;
        let (mut known, mut passed_over) = (Vec::new(), Vec::new());
        for file in names.iter().filter_map(|n| n.strip_suffix(".json")) {
            let path = format!("regions/{file}.json");
            let opened = match self.read_json::<RegionAddress>(&path) {
                Ok(address) => address.open(fleet).map(|enrolment| (address, enrolment)),
                Err(HomeError::Damaged { why, .. }) => {
                    passed_over.push((file.to_owned(), HomeError::Region { file: path, why }));
                    continue;
                }
                Err(e) => return Err(e),
            };
            match opened {
                Ok(region) => known.push(region),
                Err(e @ RecordError::Revoked { .. }) => {
                    self.warn_once(&format!("{path}: the region is not used any more: {e}"));
                }
                Err(e) => {
                    let why = e.to_string();
                    passed_over.push((file.to_owned(), HomeError::Region { file: path, why }));
                }
            }
        }
        Ok((known, passed_over))
    }

    /// Says something that many parts of one command come upon.
    pub(crate) fn warn_once(&self, what: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(what.to_owned()) {
            tracing::warn!("{what}");
        }
    }

    /// Keeps a region's address, replacing an earlier one of the same name.
    pub(crate) fn keep_region(&self, name: &str, it: &RegionAddress) -> Result<(), HomeError> {
        self.write_json(&format!("regions/{}.json", file_name(name)), it)
    }

    /// Origin of this node's log.
    pub fn origin(&self, fleet: &Fleet) -> Result<Origin, HomeError> {
        let (enrolment, _) = self.enrolment(fleet)?;
        Ok(Origin::of_node(fleet.id(), enrolment.node(), enrolment.epoch))
    }

    /// Opens this node's log as it stands, for reading: nothing in the home is changed, so another
    /// command may be writing.
    pub fn log(&self, fleet: &Fleet) -> Result<Log, HomeError> {
        self.open_log(fleet, self.still())
    }

    /// Opens this node's log for appending, cutting what a crash left half written.
    pub(crate) fn log_for_writing(&self, fleet: &Fleet, _: &Lock) -> Result<Log, HomeError> {
        self.open_log(fleet, self.disk())
    }

    fn open_log(&self, fleet: &Fleet, disk: Arc<dyn Disk>) -> Result<Log, HomeError> {
        let origin = self.origin(fleet)?;
        let (enrolment, _) = self.enrolment(fleet)?;
        let later = log_dir(enrolment.epoch);
        // The epoch a home was enrolled for has the plain name.
        let entries = self.disk.list(&later).map_err(HomeError::io(&later))?;
        let dir = if entries.is_empty() { "log" } else { later.as_str() };
        let (log, report) = Log::open(disk, dir, &origin).map_err(|e| match e {
            LogError::Checkpoint(_) | LogError::Note(_) => {
                HomeError::damaged(&format!("{dir}/checkpoint"), e.to_string())
            }
            e => e.into(),
        })?;
        tracing::debug!(entries = log.size(), ?report, "opened the log");
        Ok(log)
    }

    /// Replays this node's log through the record's rules.
    pub fn log_state(&self, fleet: &Fleet, log: &Log) -> Result<LogState, HomeError> {
        let mut state = LogState::new(fleet.clone(), log.origin().as_str());
        replay(&mut state, log, &mut |_, _| ())?;
        Ok(state)
    }

    /// Opens this node's store as it stands, for reading: see [`Home::log`].
    pub fn store(&self) -> Result<(Store, OpenReport), HomeError> {
        self.open_store(Access::Read)
    }

    /// Opens this node's store for writing, cutting what a crash left half written. Any number of
    /// processes may.
    pub(crate) fn store_for_writing(&self) -> Result<(Store, OpenReport), HomeError> {
        self.open_store(Access::Write)
    }

    /// Opens this node's store to put good copies of objects into it. Other processes may write to it.
    pub(crate) fn store_to_mend(&self) -> Result<(Store, OpenReport), HomeError> {
        self.open_store(Access::Write)
    }

    fn still(&self) -> Arc<dyn Disk> {
        Arc::new(StillDisk::over(self.disk()))
    }

    fn open_store(&self, access: Access) -> Result<(Store, OpenReport), HomeError> {
        let salt = keys::read(self.disk.as_ref(), "keys/tenant.key", Purpose::Tenant)?
            .map_or([0; 32], |s| blake3::derive_key("seawall 2026-11 store salt v1", &*s));
        let options = Options { access, salt, ..Options::default() };
        let (store, report) = Store::open(self.disk(), "", options)?;
        tracing::debug!(objects = report.objects, cut = report.cut_bytes, "opened the store");
        Ok((store, report))
    }

    /// The tenant's dedup domain.
    pub(crate) fn domain(&self) -> Result<Domain, HomeError> {
        const PATH: &str = "keys/tenant.key";
        let secret = keys::read(self.disk.as_ref(), PATH, Purpose::Tenant)?
            .ok_or_else(|| HomeError::Missing(PATH.to_owned()))?;
        Ok(Domain::derive(&secret, DomainScope::Tenant))
    }

    /// The tenant's dedup domain of path indexes.
    pub(crate) fn index_domain(&self) -> Result<Domain, HomeError> {
        const PATH: &str = "keys/tenant.key";
        let secret = keys::read(self.disk.as_ref(), PATH, Purpose::Tenant)?
            .ok_or_else(|| HomeError::Missing(PATH.to_owned()))?;
        Ok(Domain::derive(&secret, DomainScope::PathIndex))
    }

    pub(crate) fn transport(&self) -> Result<SigningKey, HomeError> {
        keys::signing(self.disk.as_ref(), "keys/transport.key", Purpose::Transport)
    }

    /// The root keys kept in this home, none where it holds none; some may be root keys no more.
    pub fn root_keys(&self) -> Result<Vec<StatementKey>, HomeError> {
        let names = self.disk.list("root").map_err(HomeError::io("root"))?;
        let keys = names.iter().filter(|n| n.ends_with(".key"));
        keys.map(|n| self.root_key(&format!("root/{n}"))).collect()
    }

    /// A root key; the fleet's list of them says of which algorithm its seed is.
    fn root_key(&self, path: &str) -> Result<StatementKey, HomeError> {
        let seed = keys::read(self.disk.as_ref(), path, Purpose::Root)?
            .ok_or_else(|| HomeError::Missing(path.to_owned()))?;
        let fleet = self.fleet()?;
        let mut listed = fleet.root_keys().iter();
        let found = listed.find_map(|key| StatementKey::of_public(key, &seed).ok());
        // One that is not listed yet, or no more, is said to be none by whoever is shown its
        // signature.
        Ok(found.unwrap_or_else(|| StatementKey::from_seed(Algorithm::Ed25519, &seed)))
    }

    /// The identity key, which must be the enrolled one.
    pub(crate) fn identity(&self, enrolment: &Enrolment) -> Result<StatementKey, HomeError> {
        const PATH: &str = "keys/identity.key";
        let seed = keys::read(self.disk.as_ref(), PATH, Purpose::Identity)?
            .ok_or_else(|| HomeError::Missing(PATH.to_owned()))?;
        Ok(StatementKey::of_public(&enrolment.identity, &seed)?)
    }

    /// The signing subkey, replaced in time: a fresh one is certified by the identity key and
    /// logged before it signs anything else. A checkpoint covers it at once, because a log with
    /// snapshots and no checkpoint could not be told from one whose checkpoint was lost.
    pub(crate) fn subkey(
        &self,
        fleet: &Fleet,
        log: &mut Log,
        state: &mut LogState,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<SigningKey, HomeError> {
        const PATH: &str = "keys/subkey.key";
        let now = clock.now();
        crate::clock::check(self, fleet, log.origin(), (state, now))?;
        if let Some(seed) = keys::read(self.disk.as_ref(), PATH, Purpose::Subkey)? {
            let key = SigningKey::from_seed(&seed);
            let lasts = |s: &Subkey| s.valid_at(now) && s.valid_at(now.after(RENEW_BEFORE));
            if state.subkey(key.public()).is_some_and(|(s, _)| lasts(s)) {
                // Certified by a command that was killed before it signed.
                if log.checkpoint().is_none() {
                    self.sign(log, &key)?;
                }
                return Ok(key);
            }
        }
        let (enrolment, enrolment_envelope) = self.enrolment(fleet)?;
        if log.size() == 0 {
            append(log, state, &enrolment_envelope)?;
        }
        let identity = self.identity(&enrolment)?;
        let key = SigningKey::generate(rng);
        // Written before it is logged: a key in the log that is lost would be harmless, but the
        // same key must sign what follows.
        keys::write(self.disk.as_ref(), PATH, Purpose::Subkey, &key.seed())?;
        let subkey = Subkey {
            fleet: fleet.id(),
            node: enrolment.node(),
            key: key.public(),
            not_before: now.before(Seconds::hours(1)),
            not_after: now.after(SUBKEY_DAYS),
        };
        append(log, state, &subkey.statement().sign(&[&identity])?)?;
        self.sign(log, &key)?;
        Ok(key)
    }

    /// Signs a checkpoint of all entries, unless they are provisional: then no checkpoint may
    /// cover them, or two entries would have been shown under one index.
    pub(crate) fn sign(&self, log: &mut Log, key: &SigningKey) -> Result<(), HomeError> {
        if crate::epoch::provisional(self)?.is_none() {
            log.sign_checkpoint(key)?;
        }
        Ok(())
    }
}

/// Regions that may be used, and those that are passed over, each with the reason.
pub(crate) type KnownRegions = (Vec<(RegionAddress, Enrolment)>, Vec<(String, HomeError)>);

/// Where the log of a later epoch than the first is.
pub(crate) fn log_dir(epoch: u32) -> String {
    format!("log-{epoch}")
}

/// What trying for a lock came to; `None` if somebody else has it.
fn held(
    tried: Result<std::fs::File, std::fs::TryLockError>,
    name: &str,
) -> Result<Option<Lock>, HomeError> {
    match tried {
        Ok(file) => Ok(Some(Lock { _file: file })),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(HomeError::io(name)(e)),
    }
}

/// Appends a statement after checking that every reader will accept it.
pub(crate) fn append(
    log: &mut Log,
    state: &mut LogState,
    envelope: &Envelope,
) -> Result<u64, HomeError> {
    let entry = envelope.to_json();
    let mut next = state.clone();
    if matches!(next.accept(&entry)?, Accepted::Disbelieved) {
        return Err(HomeError::refused(
            "this node was revoked by the fleet's policy; nobody believes what it writes from here on. Enrol it anew, with new keys",
        ));
    }
    let range = log.append(&[entry])?;
    *state = next;
    Ok(range.start)
}

/// Takes every entry of a log into `state`, telling `each` what it was.
pub(crate) fn replay(
    state: &mut LogState,
    log: &Log,
    each: &mut dyn FnMut(u64, &Accepted),
) -> Result<(), HomeError> {
    for index in state.entries()..log.size() {
        let accepted = state.accept(&log.entry(index)?)?;
        each(index, &accepted);
    }
    Ok(())
}

/// A name as a file name: ASCII letters, digits, `-` and `_` stay, everything else becomes `_`.
pub(crate) fn file_name(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    name.chars().map(keep).collect()
}
