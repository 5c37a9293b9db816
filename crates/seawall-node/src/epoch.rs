//! What a node does when its disk went back in time, and how it gets out by itself.
//!
//! 1. It is *noticed*: somebody shows a checkpoint that this node signed and does not have. From
//!    then on the node's entries are **provisional**: durable here, under no checkpoint, so that
//!    nobody is shown an index a second time. Snapshots go on being made.
//! 2. [`begin`] asks everybody for the largest checkpoint and writes a request.
//! 3. The root keys sign it ([`sign`]): an enrolment for the next epoch and the [`Epoch`] statement
//!    that commits to that checkpoint.
//! 4. [`adopt`] builds the next epoch's log beside the old one: the entries that were committed
//!    to, fetched where they are not here; both statements; and behind them, announced as a
//!    branch, every snapshot that was made since the disk went back.
//!
//! Writing `enrolment.json` is the one step that counts: before it the home is in the old epoch,
//! whatever else was written, and after it in the new one. The old log stays, as evidence.

use seawall_base::{Clock, Disk as _, Rng, Sha256, Timestamp, write_atomic};
use seawall_record::{
    Branch, Enrolment, Epoch, Fleet, LogPoint, LogState, Manifest, Role, Subkey, node_origin,
};
use seawall_sign::{Envelope, Predicate as _, StatementKey, VerifyingKey, predicate_type};
use seawall_sync::Tier as _;
use seawall_tlog::{Kind, Log, Origin, SignedCheckpoint, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bucket::Bucket;
use crate::enrol::keep_epoch;
use crate::home::{Home, HomeError, log_dir};
use crate::root_files::sign_as_root;
use crate::tiers::{PulledLog, RegionLink, Unreached, pull_branch, pull_bucket_logs, pull_log};
use crate::witness_link::HttpWitness;
use crate::witnesses::Witnessed;

const PROVISIONAL: &str = "epoch/provisional.json";

/// Largest request or answer in bytes of JSON.
pub const MAX_EPOCH_FILE: usize = 512 << 10;

/// How many entries are appended at a time.
const STEP: usize = 1_024;

/// Why entries of this node are under no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisional {
    format: String,
    /// The log that went back.
    pub origin: String,
    /// What told so, in words.
    pub why: String,
    /// When it was noticed.
    pub since: Timestamp,
}

impl Provisional {
    const FORMAT: &str = "seawall-provisional/1";
}

/// Why this node's entries are provisional, if they are.
pub fn provisional(home: &Home) -> Result<Option<Provisional>, HomeError> {
    if home.read(PROVISIONAL)?.is_none() {
        return Ok(None);
    }
    let it: Provisional = home.read_json(PROVISIONAL)?;
    if it.format != Provisional::FORMAT {
        return Err(HomeError::damaged(PROVISIONAL, format!("format {:?}", it.format)));
    }
    // Left over from an epoch that has ended.
    let current = home.origin(&home.fleet()?)?;
    Ok((it.origin == current.as_str()).then_some(it))
}

/// From now on no checkpoint is signed until the next epoch has begun.
pub(crate) fn make_provisional(home: &Home, why: &str, now: Timestamp) -> Result<(), HomeError> {
    if provisional(home)?.is_some() {
        return Ok(());
    }
    let origin = home.origin(&home.fleet()?)?.as_str().to_owned();
    home.disk().create_dir_all("epoch").map_err(HomeError::io("epoch"))?;
    let format = Provisional::FORMAT.to_owned();
    home.write_json(PROVISIONAL, &Provisional { format, origin, why: why.to_owned(), since: now })
}

/// Where this node's log stands, and what others have of it.
#[derive(Debug)]
pub struct Standing {
    /// Its origin.
    pub origin: String,
    /// Its epoch.
    pub epoch: u32,
    /// Entries here.
    pub held: u64,
    /// Entries under a checkpoint of this node.
    pub signed: u64,
    /// Why entries are provisional, if they are.
    pub provisional: Option<Provisional>,
    /// What those who were asked have of this epoch's log.
    pub elsewhere: Vec<Elsewhere>,
    /// Who could not be asked, or has a copy that is not believed.
    pub unreached: Vec<(String, String)>,
}

/// What somebody else has of this node's log.
#[derive(Debug)]
pub struct Elsewhere {
    /// Who.
    pub name: String,
    /// Entries there.
    pub entries: u64,
    /// Whether all of them are here. If not, this disk went back in time.
    pub agrees: bool,
}

impl Elsewhere {
    fn of(name: String, own: &Log, shown: Option<&SignedCheckpoint>) -> Result<Self, HomeError> {
        let Some(it) = shown.map(SignedCheckpoint::checkpoint) else {
            return Ok(Self { name, entries: 0, agrees: true });
        };
        let agrees = it.size <= own.size() && own.root_at(it.size)? == it.root;
        Ok(Self { name, entries: it.size, agrees })
    }
}

/// This epoch's log in every copy within reach, the longest first.
fn copies(home: &Home, fleet: &Fleet, origin: &Origin) -> (Vec<PulledLog>, Vec<(String, String)>) {
    let (links, failed): (Vec<RegionLink>, Unreached) = match RegionLink::all(home, fleet) {
        Ok(reached) => reached,
        Err(e) => return (Vec::new(), vec![("the regions".to_owned(), e.to_string())]),
    };
    let mut unreached: Vec<_> = failed.into_iter().map(|(n, e)| (n, e.to_string())).collect();
    let mut copies = Vec::new();
    for link in &links {
        match pull_log(home, fleet, link, origin.as_str()) {
            Ok(log) => copies.push(log),
            Err(e) => unreached.push((link.region.name.clone(), e.to_string())),
        }
    }
    if let Some(bucket) = Bucket::of(home).transpose() {
        match bucket.and_then(|bucket| pull_bucket_logs(home, fleet, &bucket)) {
            Ok(logs) => copies.extend(logs.into_iter().flatten().filter(|l| l.origin == *origin)),
            Err(e) => unreached.push(("the bucket".to_owned(), e.to_string())),
        }
    }
    copies.sort_by_key(|log| std::cmp::Reverse(log.state.entries()));
    (copies, unreached)
}

type Vouched = Result<Option<(SignedCheckpoint, Envelope)>, HomeError>;

/// What each witness of the policy holds of a log, with the certificate of who signed it.
fn witnesses(home: &Home, fleet: &Fleet, origin: &Origin) -> Vec<(String, Vouched)> {
    let (links, unreached) = HttpWitness::all(home, fleet);
    let asked = links.iter().map(|it| (it.record().name.clone(), it.vouched(fleet, origin)));
    asked.chain(unreached.into_iter().map(|(name, e)| (name, Err(e)))).collect()
}

/// Looks where this node's log stands.
pub fn standing(home: &Home) -> Result<Standing, HomeError> {
    let fleet = home.fleet()?;
    let (enrolment, _) = home.enrolment(&fleet)?;
    let log = home.log(&fleet)?;
    let (copies, mut unreached) = copies(home, &fleet, log.origin());
    let mut elsewhere = Vec::new();
    for copy in &copies {
        elsewhere.push(Elsewhere::of(copy.region.clone(), &log, Some(&copy.checkpoint))?);
    }
    for (name, vouched) in witnesses(home, &fleet, log.origin()) {
        match vouched {
            Ok(vouched) => {
                let shown = vouched.as_ref().map(|(shown, _)| shown);
                elsewhere.push(Elsewhere::of(name, &log, shown)?);
            }
            Err(e) => unreached.push((name, e.to_string())),
        }
    }
    Ok(Standing {
        origin: log.origin().to_string(),
        epoch: enrolment.epoch,
        held: log.size(),
        signed: log.checkpoint().map_or(0, |c| c.checkpoint().size),
        provisional: provisional(home)?,
        elsewhere,
        unreached,
    })
}

/// What a node asks the root keys for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRequest {
    format: String,
    enrolment: Box<RawValue>,
    signer: Box<RawValue>,
    checkpoint: String,
    /// Who was asked for the largest checkpoint and answered.
    pub asked: Vec<String>,
    /// Why, for people.
    pub reason: String,
}

/// A request whose statements have been checked.
#[derive(Debug)]
pub struct OpenedEpochRequest {
    /// The enrolment of the epoch that ends.
    pub enrolment: Enrolment,
    /// Where its log is to be continued.
    pub continues: LogPoint,
}

fn raw(envelope: &Envelope) -> Box<RawValue> {
    let json = String::from_utf8(envelope.to_json()).expect("JSON is UTF-8");
    RawValue::from_string(json).expect("an envelope is one JSON value")
}

fn parse<T: for<'de> Deserialize<'de>>(what: &str, json: &[u8]) -> Result<T, HomeError> {
    if json.len() > MAX_EPOCH_FILE {
        return Err(HomeError::refused(format!("the {what} is larger than 512 KiB")));
    }
    serde_json::from_slice(json).map_err(|e| HomeError::refused(format!("not a {what}: {e}")))
}

impl EpochRequest {
    const FORMAT: &str = "seawall-epoch-request/1";

    /// Parses a request without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, HomeError> {
        let it: Self = parse("request for an epoch", json)?;
        if it.format != Self::FORMAT || it.asked.len() > Epoch::MAX_ASKED {
            return Err(HomeError::refused("not a request for an epoch of this version"));
        }
        Ok(it)
    }

    /// Checks that the node of this fleet signed the checkpoint to be continued from.
    pub fn open(&self, fleet: &Fleet) -> Result<OpenedEpochRequest, HomeError> {
        let enrolment = Envelope::parse(self.enrolment.get().as_bytes())?;
        let enrolment = Enrolment::open(fleet, &enrolment, Role::Node)?;
        let signer = Envelope::parse(self.signer.get().as_bytes())?;
        let signer = Subkey::open(&enrolment, &signer)?;
        let shown = SignedCheckpoint::parse(self.checkpoint.as_bytes())?;
        let checkpoint = shown.checkpoint();
        let origin = checkpoint.origin.as_str();
        if origin != node_origin(fleet.id(), enrolment.node(), enrolment.epoch) {
            return Err(HomeError::refused(
                "its checkpoint is of another log than its enrolment's",
            ));
        }
        shown.verify(&[Verifier::new(origin, Kind::Signer, &signer.key)?])?;
        let (size, root) = (checkpoint.size, checkpoint.root);
        if size == 0 {
            return Err(HomeError::refused(
                "its checkpoint is of an empty log: every log begins with its enrolment, so there is nothing to continue",
            ));
        }
        Ok(OpenedEpochRequest {
            continues: LogPoint { origin: origin.to_owned(), size, root },
            enrolment,
        })
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

fn to_json(it: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(it).expect("envelopes are JSON");
    json.push(b'\n');
    json
}

/// Makes this node's entries provisional and asks for the next epoch. Also who could not be asked
/// for the largest checkpoint, each with the reason: what only they have becomes a branch.
pub fn begin(
    home: &Home,
    reason: &str,
    clock: &dyn Clock,
) -> Result<(EpochRequest, Vec<(String, String)>), HomeError> {
    let fleet = home.fleet()?;
    let (_, enrolment) = home.enrolment(&fleet)?;
    let own = home.log(&fleet)?;
    let (copies, mut unreached) = copies(home, &fleet, own.origin());
    let mut asked: Vec<String> = copies.iter().map(|c| c.region.clone()).collect();
    let mut shown: Vec<(SignedCheckpoint, Envelope)> = Vec::new();
    let state = home.log_state(&fleet, &own)?;
    // What this node signed since its disk went back is worth nothing: that is the branch.
    if let Some(checkpoint) = cosigned(home, &own)? {
        shown.push(with_signer(&state, &checkpoint)?);
    }
    for copy in &copies {
        shown.push(with_signer(&copy.state, &copy.checkpoint)?);
    }
    for (name, vouched) in witnesses(home, &fleet, own.origin()) {
        match vouched {
            Ok(vouched) => {
                asked.push(name);
                shown.extend(vouched);
            }
            Err(e) => unreached.push((name, e.to_string())),
        }
    }
    let largest = shown.into_iter().max_by_key(|(it, _)| it.checkpoint().size);
    let (checkpoint, signer) = match (largest, own.checkpoint()) {
        (Some(largest), _) => largest,
        // Nobody has ever seen any of it.
        (None, Some(own)) => with_signer(&state, own)?,
        (None, None) => return Err(HomeError::refused("this node has signed no checkpoint yet")),
    };
    let _lock = home.lock()?;
    make_provisional(home, reason, clock.now())?;
    let request = EpochRequest {
        format: EpochRequest::FORMAT.to_owned(),
        enrolment: raw(&enrolment),
        signer: raw(&signer),
        checkpoint: String::from_utf8_lossy(&checkpoint.to_bytes()).into_owned(),
        asked,
        reason: reason.to_owned(),
    };
    Ok((request, unreached))
}

/// A checkpoint with the certificate of the subkey that signed it.
fn with_signer(
    state: &LogState,
    checkpoint: &SignedCheckpoint,
) -> Result<(SignedCheckpoint, Envelope), HomeError> {
    let signer = crate::restore::checkpoint_signer(state, checkpoint)?;
    let certified = state.subkey(signer).map(|(_, certificate)| certificate.clone());
    let missing = || HomeError::refused("a subkey is not certified in its log");
    let key = [Verifier::new(checkpoint.checkpoint().origin.as_str(), Kind::Signer, &signer)?];
    Ok((checkpoint.with_good_lines_of(&key), certified.ok_or_else(missing)?))
}

/// The root keys' answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochGrant {
    format: String,
    enrolment: Box<RawValue>,
    epoch: Box<RawValue>,
}

impl EpochGrant {
    const FORMAT: &str = "seawall-epoch/1";

    /// Parses an answer without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, HomeError> {
        let it: Self = parse("epoch file", json)?;
        if it.format != Self::FORMAT {
            return Err(HomeError::refused("not an epoch file of this version"));
        }
        Ok(it)
    }

    /// An answer of its statements.
    pub(crate) fn of([enrolment, epoch]: [&Envelope; 2]) -> Self {
        let format = Self::FORMAT.to_owned();
        Self { format, enrolment: raw(enrolment), epoch: raw(epoch) }
    }

    /// The enrolment and the epoch statement in it, which nobody has checked.
    pub fn statements(&self) -> Result<[Envelope; 2], HomeError> {
        let parse = |raw: &RawValue| Envelope::parse(raw.get().as_bytes());
        Ok([parse(&self.enrolment)?, parse(&self.epoch)?])
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// Signs a new epoch with `roots`. With fewer of them than it takes, others sign it as well
/// ([`crate::RootFile`]).
pub fn sign(
    home: &Home,
    request: &EpochRequest,
    roots: &[StatementKey],
    now: Timestamp,
) -> Result<EpochGrant, HomeError> {
    let fleet = home.fleet()?;
    let OpenedEpochRequest { enrolment, continues } = request.open(&fleet)?;
    let epoch =
        enrolment.epoch.checked_add(1).ok_or_else(|| HomeError::refused("no epoch left"))?;
    let next = Enrolment { epoch, issued: now, ..enrolment };
    let node = next.node();
    let enrolment = sign_as_root(roots, |roots| next.clone().statement().sign(roots))?;
    let statement = Epoch {
        fleet: fleet.id(),
        node,
        epoch,
        continues,
        enrolment: enrolment.digest(),
        asked: request.asked.clone(),
        reason: request.reason.clone(),
        created: now,
    };
    let number = statement.epoch;
    let epoch = sign_as_root(roots, |roots| statement.statement().sign(roots))?;
    // What is not signed by enough must not be carried over to new root keys as if it were.
    let (have, need) = fleet.root_signatures(&epoch);
    if have >= need {
        let opened = Enrolment::open(&fleet, &enrolment, Role::Node)?;
        Epoch::open(&fleet, &epoch, &opened, enrolment.digest())?;
        keep_epoch(home, (node, number), [&enrolment, &epoch])?;
    }
    Ok(EpochGrant::of([&enrolment, &epoch]))
}

/// What became of a node's log in its new epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its new origin.
    pub origin: String,
    /// Its new epoch.
    pub epoch: u32,
    /// Entries it has of the epoch before.
    pub continued: u64,
    /// Entries that were committed to and nobody within reach has.
    pub lost: u64,
    /// Snapshots of the branch, appended again.
    pub branched: usize,
    /// Other entries of the branch that were left in the old log, by index.
    pub left: Vec<u64>,
}

/// Begins the epoch that the root keys granted; nothing if that was done before. `without` goes on
/// although copies of the log could not be asked for the entries that are not here.
pub fn adopt(
    home: &Home,
    grant: &EpochGrant,
    without: bool,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Option<Adopted>, HomeError> {
    let fleet = home.fleet()?;
    let (old, held) = home.enrolment(&fleet)?;
    let enrolment = Envelope::parse(grant.enrolment.get().as_bytes())?;
    let next = Enrolment::open(&fleet, &enrolment, Role::Node)?;
    let statement = Envelope::parse(grant.epoch.get().as_bytes())?;
    let epoch = Epoch::open(&fleet, &statement, &next, enrolment.digest())?;
    if held.digest() == enrolment.digest() {
        return Ok(None);
    }
    let same = (next.node(), next.transport, &next.recipient, &next.tenant)
        == (old.node(), old.transport, &old.recipient, &old.tenant);
    let own = home.log(&fleet)?;
    if !same || epoch.continues.origin != own.origin().as_str() {
        return Err(HomeError::refused(
            "the epoch was granted to another node, or continues another log than this home's",
        ));
    }
    let trunk = trunk(home, &fleet, &own, &epoch.continues, without)?;
    let lock = home.lock()?;
    // Others may have made snapshots while regions were asked.
    let own = home.log(&fleet)?;
    make_provisional(home, &epoch.reason, clock.now())?;
    let mut new = NewLog::create(home, &fleet, &epoch)?;
    new.append_all(&trunk)?;
    new.append(&enrolment.to_json())?;
    new.append(&statement.to_json())?;
    let mut branch = Vec::new();
    for index in 0..own.size() {
        let entry = own.entry(index)?;
        if !branch.is_empty() || trunk.get(index as usize) != Some(&entry) {
            branch.push((index, entry));
        }
    }
    let of = &epoch.continues.origin;
    let (branched, left) = new.append_branch(home, of, branch, (clock, rng))?;
    let subkey = home.subkey(&fleet, &mut new.log, &mut new.state, clock, rng)?;
    new.log.sign_checkpoint(&subkey)?;
    home.write_envelope("enrolment.json", &enrolment)?;
    home.disk().sync_dir("").map_err(HomeError::io("."))?;
    drop(lock);
    let continued = trunk.len() as u64;
    let (origin, epoch_number) = (new.log.origin().to_string(), epoch.epoch);
    let lost = epoch.continues.size.saturating_sub(continued);
    Ok(Some(Adopted { origin, epoch: epoch_number, continued, lost, branched, left }))
}

/// The entries committed to: from here, if they are; else from the longest copy within reach.
fn trunk(
    home: &Home,
    fleet: &Fleet,
    own: &Log,
    point: &LogPoint,
    without: bool,
) -> Result<Vec<Vec<u8>>, HomeError> {
    if own.size() >= point.size && own.root_at(point.size)? == point.root {
        return Ok(own.entries(0..point.size)?);
    }
    let (copies, unreached) = copies(home, fleet, own.origin());
    let Some(copy) = copies.into_iter().next() else {
        if unreached.is_empty() || without {
            return common(home, own, point);
        }
        let why: Vec<String> = unreached.iter().map(|(n, e)| format!("{n}: {e}")).collect();
        return Err(HomeError::refused(format!(
            "the entries this epoch continues from are neither here nor within reach ({}); try again when a region is, or go on without them (--without-copies): what turns up later is appended then",
            why.join("; ")
        )));
    };
    let size = point.size.min(copy.state.entries());
    if size == point.size && copy.root_at(size)? != point.root {
        return Err(HomeError::refused(format!(
            "{} shows other entries than the root keys committed to: the log was forked; keep its copy as evidence",
            copy.region
        )));
    }
    Ok((0..size).filter_map(|index| copy.entry(index).map(<[u8]>::to_vec)).collect())
}

/// The entries here that somebody cosigned: those belong to the history that was committed to,
/// whatever else does. The enrolment does in any case.
fn common(home: &Home, own: &Log, point: &LogPoint) -> Result<Vec<Vec<u8>>, HomeError> {
    let size = cosigned(home, own)?.map_or(1, |it| it.checkpoint().size.min(point.size).max(1));
    Ok(own.entries(0..size)?)
}

/// The largest checkpoint of the entries here that somebody else has cosigned.
fn cosigned(home: &Home, own: &Log) -> Result<Option<SignedCheckpoint>, HomeError> {
    let mut largest = None;
    for signed in Witnessed::open(home, own.origin())?.covering(0) {
        let it = signed.checkpoint();
        if it.size <= own.size() && own.root_at(it.size)? == it.root {
            largest = Some(signed.clone());
        }
    }
    Ok(largest)
}

/// A log with its state: being built beside the old one, or the current one.
struct NewLog {
    log: Log,
    state: LogState,
}

impl NewLog {
    fn create(home: &Home, fleet: &Fleet, epoch: &Epoch) -> Result<Self, HomeError> {
        let disk = home.disk();
        let dir = log_dir(epoch.epoch);
        // What an earlier attempt left: nobody has seen any of it.
        for name in disk.list(&dir).map_err(HomeError::io(&dir))? {
            let path = format!("{dir}/{name}");
            disk.remove(&path).map_err(HomeError::io(&path))?;
        }
        let origin = epoch.origin().parse::<Origin>()?;
        let (log, _) = Log::open(disk, &dir, &origin)?;
        Ok(Self { log, state: LogState::new(fleet.clone(), origin.as_str()) })
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), HomeError> {
        self.state.accept(entry)?;
        self.log.append(&[entry])?;
        Ok(())
    }

    fn append_all(&mut self, entries: &[Vec<u8>]) -> Result<(), HomeError> {
        for some in entries.chunks(STEP) {
            some.iter().try_for_each(|entry| self.state.accept(entry).map(drop))?;
            self.log.append(some)?;
        }
        Ok(())
    }

    /// Appends what stands on a branch of the log `of`: certificates first, then the snapshots,
    /// announced. Returns how many those are, and the indices of what was left where it is.
    fn append_branch(
        &mut self,
        home: &Home,
        of: &str,
        entries: Vec<(u64, Vec<u8>)>,
        (clock, rng): (&dyn Clock, &mut dyn Rng),
    ) -> Result<(usize, Vec<u64>), HomeError> {
        let (mut snapshots, mut left) = (Vec::new(), Vec::new());
        for (index, entry) in entries {
            let envelope = Envelope::parse(&entry)?;
            match predicate_type(&envelope)?.as_str() {
                Manifest::TYPE => snapshots.push((index, envelope)),
                Subkey::TYPE if self.certifies_new(&envelope) => self.append(&entry)?,
                Subkey::TYPE => {}
                _ => left.push(index),
            }
        }
        snapshots.retain(|(_, it)| !self.state.has_snapshot(&it.digest()));
        snapshots.retain(|(index, it)| {
            let sound = self.state.open_manifest(it);
            if let Err(e) = &sound {
                tracing::warn!(index, error = %e, "a snapshot of the branch is not taken over");
                left.push(*index);
            }
            sound.is_ok()
        });
        let fleet = home.fleet()?;
        for some in snapshots.chunks(Branch::MAX) {
            let subkey = home.subkey(&fleet, &mut self.log, &mut self.state, clock, rng)?;
            let branch = Branch {
                fleet: fleet.id(),
                node: subkey_owner(&self.state)?,
                origin: self.log.origin().as_str().to_owned(),
                of: of.to_owned(),
                manifests: some.iter().map(|(_, it)| it.digest()).collect::<Vec<Sha256>>(),
                created: clock.now(),
            };
            // As one group: an announcement without its snapshots would block the log.
            let mut group = vec![branch.statement().sign(&[&subkey])?.to_json()];
            group.extend(some.iter().map(|(_, manifest)| manifest.to_json()));
            let mut next = self.state.clone();
            group.iter().try_for_each(|entry| next.accept(entry).map(drop))?;
            self.log.append(&group)?;
            self.state = next;
        }
        Ok((snapshots.len(), left))
    }

    fn certifies_new(&self, envelope: &Envelope) -> bool {
        let subkey = self.state.enrolment().map(|owner| Subkey::open(owner, envelope));
        let key: Option<VerifyingKey> = subkey.and_then(Result::ok).map(|subkey| subkey.key);
        key.is_some_and(|key| self.state.subkey(key).is_none())
    }
}

/// Entries of an earlier epoch that a region has and this log lacks: they were with nobody within
/// reach when the next epoch began, or the root keys continued another branch of it. Their snapshots
/// are appended as a branch, before anything is shown to the region: it may take the new log only
/// with them. Returns how many there were.
pub(crate) fn take_left_behind(
    home: &Home,
    fleet: &Fleet,
    link: &RegionLink,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<usize, HomeError> {
    let own = home.log(fleet)?;
    let state = home.log_state(fleet, &own)?;
    let mut taken = 0;
    for it in state.continued() {
        let origin: Origin = it.point.origin.parse()?;
        let Some(shown) = link.tier.checkpoint(&origin)? else { continue };
        let (size, root) = (shown.checkpoint().size, shown.checkpoint().root);
        if size <= it.held && own.root_at(size)? == root {
            continue;
        }
        let marker = format!("epoch/{}.{}.taken", origin.hash().to_hex(), root.to_hex());
        if home.read(&marker)?.is_some() {
            continue;
        }
        let copy = pull_branch(home, fleet, link, &shown)?;
        let held = own.entries(0..it.held.min(size))?;
        let common = (0..).zip(&held).take_while(|(index, entry)| {
            copy.entry(*index).is_some_and(|theirs| theirs == entry.as_slice())
        });
        let common = common.count() as u64;
        let entries = (common..size).filter_map(|i| Some((i, copy.entry(i)?.to_vec()))).collect();
        let lock = home.lock()?;
        let log = home.log_for_writing(fleet, &lock)?;
        let state = home.log_state(fleet, &log)?;
        let mut next = NewLog { log, state };
        taken += next.append_branch(home, origin.as_str(), entries, (clock, &mut *rng))?.0;
        let subkey = home.subkey(fleet, &mut next.log, &mut next.state, clock, rng)?;
        home.sign(&mut next.log, &subkey)?;
        home.disk().create_dir_all("epoch").map_err(HomeError::io("epoch"))?;
        home.write_json(&marker, &size)?;
    }
    Ok(taken)
}

fn subkey_owner(state: &LogState) -> Result<seawall_base::NodeId, HomeError> {
    state
        .owner()
        .map(|(node, _)| node)
        .ok_or_else(|| HomeError::refused("the log does not begin with an enrolment"))
}

/// Keeps what was shown by somebody, under a name of its own.
pub(crate) fn keep_evidence(home: &Home, name: &str, bytes: &[u8]) -> Result<String, HomeError> {
    let disk = home.disk();
    disk.create_dir_all("evidence").map_err(HomeError::io("evidence"))?;
    let path = format!("evidence/{name}");
    write_atomic(disk.as_ref(), &path, bytes).map_err(HomeError::io(&path))?;
    Ok(path)
}
