//! Other tiers: pushing to regions, reading what they mirror, taking objects from them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use seawall_backup::restore::{FetchError, Objects};
use seawall_base::{Clock, ObjectId, Rng, Sha256, read_file, write_atomic};
use seawall_host::SystemClock;
use seawall_record::reference_set::Pages;
use seawall_record::{Accepted, Enrolment, Fleet, LogState, Manifest, RegionAddress};
use seawall_store::Store;
use seawall_sync::{Push, Pushed, Receipts, Tier, read_entries};
use seawall_tlog::merkle::{self, Frontier, HashReader};
use seawall_tlog::{Hash, Kind, Log, Origin, SignedCheckpoint, Verifier};

use crate::bucket::{Bucket, BucketPushed};
use crate::home::{Home, HomeError, file_name};
use crate::region_client::RegionClient;
use crate::snapshots::Listed;

/// Regions that could not be reached, by name, each with the reason.
pub type Unreached = Vec<(String, HomeError)>;

/// A region this node can talk to.
pub struct RegionLink {
    /// Its enrolment.
    pub region: Enrolment,
    /// The connection.
    pub tier: RegionClient,
}

impl RegionLink {
    /// Connects to a region with this node's transport key.
    pub fn open(
        home: &Home,
        fleet: &Fleet,
        address: &RegionAddress,
        region: Enrolment,
    ) -> Result<Self, HomeError> {
        let (_, own) = home.enrolment(fleet)?;
        let issuer = home.issuer(fleet, SystemClock.now())?;
        let (address, transport) = (&address.address, home.transport()?);
        let tier =
            RegionClient::connect_as_issuer(address, &region, &transport, fleet, &own, issuer)?;
        Ok(Self { region, tier })
    }

    /// All regions of a home. Those that cannot be reached are returned with the reason.
    pub fn all(home: &Home, fleet: &Fleet) -> Result<(Vec<Self>, Unreached), HomeError> {
        let (mut links, mut failed) = (Vec::new(), Vec::new());
        for (address, region) in home.regions(fleet)? {
            let name = region.name.clone();
            match Self::open(home, fleet, &address, region) {
                Ok(link) => links.push(link),
                Err(e) => failed.push((name, e)),
            }
        }
        Ok((links, failed))
    }
}

/// How far a sync is.
pub type SyncProgress = seawall_sync::Progress;

/// What a sync did with one region.
#[derive(Debug)]
pub struct SyncOutcome {
    /// The region.
    pub region: String,
    /// What was pushed, or why it stopped.
    pub result: Result<SyncDone, HomeError>,
}

/// What one tier was given.
#[derive(Debug)]
pub enum SyncDone {
    /// A region, which has signed for it.
    Region(Pushed),
    /// A bucket, which cannot sign.
    Bucket(BucketPushed),
}

/// Where the receipts of a region are kept.
pub(crate) fn receipts_of(home: &Home, region: &Enrolment) -> Result<Receipts, HomeError> {
    let dir = format!("receipts/{}", file_name(&region.name));
    Ok(Receipts::open(home.disk(), &dir, region.identity)?)
}

/// Pushes everything to every region. A region that fails does not stop the others.
///
/// One process syncs at a time; snapshots are made beside it. It works on the log as it stands when
/// it begins: what is logged later is for the next sync.
pub fn sync(
    home: &Home,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    progress: &mut dyn FnMut(&str, SyncProgress),
) -> Result<Vec<SyncOutcome>, HomeError> {
    let _syncing = home.lock_sync()?;
    let fleet = home.fleet()?;
    sign_whole_log(home, &fleet, clock, rng)?;
    // The log first: what it names is in the store, and a snapshot may be made between the two.
    let mut log = home.log(&fleet)?;
    let (store, _) = home.store()?;
    let mut outcomes = Vec::new();
    for (address, region) in home.regions(&fleet)? {
        let name = region.name.clone();
        let mut receipts = receipts_of(home, &region)?;
        let result = RegionLink::open(home, &fleet, &address, region.clone()).and_then(|link| {
            learn(home, &fleet, &link)?;
            let mut push = Push {
                fleet: &fleet,
                region: &region,
                log: &mut log,
                objects: &store,
                receipts: &mut receipts,
            };
            let done = push.run(&link.tier, rng, &mut |p| progress(&name, p))?;
            keep_cosignatures(home, &fleet, &region, &log)?;
            // Without one, tokens are asked for: no reason to fail.
            let known = (&address, &region);
            if let Err(e) = home.renew_delegation(&fleet, known, &link.tier, clock, rng) {
                tracing::warn!(region = name, error = %e, "no delegation");
            }
            Ok(SyncDone::Region(done))
        });
        outcomes.push(SyncOutcome { region: name, result });
    }
    if let Some(url) = home.bucket() {
        let pushed = Bucket::open(url).map_err(HomeError::from).and_then(|mut bucket| {
            bucket.push(&fleet, &store, &log, &mut |p| {
                let (objects, bytes) = (p.sent_objects, p.sent_bytes);
                let total =
                    SyncProgress { objects, bytes, total_objects: objects, total_bytes: bytes };
                progress("bucket", total);
            })
        });
        let result = pushed.map(SyncDone::Bucket);
        outcomes.push(SyncOutcome { region: "bucket".to_owned(), result });
    }
    Ok(outcomes)
}

/// Shows a region the policies known here and takes newer ones that it has; they hold from the
/// next command on.
fn learn(home: &Home, fleet: &Fleet, link: &RegionLink) -> Result<(), HomeError> {
    let newest = home.learn_policies(link.tier.exchange_policies(fleet)?)?;
    if newest.version() > fleet.version() {
        let (version, region) = (newest.version(), &link.region.name);
        tracing::info!(version, region, "a newer policy of the fleet was learned");
    }
    Ok(())
}

/// Sees to it that a checkpoint covers the whole log.
fn sign_whole_log(
    home: &Home,
    fleet: &Fleet,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<(), HomeError> {
    let lock = home.lock()?;
    crate::restore::forget_expired(home, clock.now())?;
    let mut log = home.log_for_writing(fleet, &lock)?;
    let mut state = home.log_state(fleet, &log)?;
    let subkey = home.subkey(fleet, &mut log, &mut state, clock, rng)?;
    if log.checkpoint().is_none_or(|c| c.checkpoint().size < log.size()) {
        log.sign_checkpoint(&subkey)?;
    }
    Ok(())
}

/// Keeps what a region has cosigned, unless the log has grown since: the next sync asks again.
fn keep_cosignatures(
    home: &Home,
    fleet: &Fleet,
    region: &Enrolment,
    pushed: &Log,
) -> Result<(), HomeError> {
    let Some(cosigned) = pushed.checkpoint() else { return Ok(()) };
    let lock = home.lock()?;
    let mut log = home.log_for_writing(fleet, &lock)?;
    if log.checkpoint().is_some_and(|c| c.note().text() == cosigned.note().text()) {
        let key = Verifier::new(&region.name, Kind::Cosigner, &region.identity)?;
        log.add_cosignatures(cosigned.note().signatures(), &[key])?;
    }
    Ok(())
}

/// A log of another node, read from a region and checked in every respect.
pub struct PulledLog {
    /// Its origin.
    pub origin: Origin,
    /// The region it was read from.
    pub region: String,
    /// Where it stands after all its entries.
    pub state: LogState,
    /// The checkpoint that covers them.
    pub checkpoint: SignedCheckpoint,
    entries: Vec<Vec<u8>>,
    manifests: Vec<(u64, Sha256, Manifest)>,
    stored: Vec<Hash>,
}

impl HashReader for PulledLog {
    fn hash(&self, level: u8, index: u64) -> std::io::Result<Hash> {
        let at = merkle::stored_position(level, index) as usize;
        self.stored.get(at).copied().ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

impl PulledLog {
    /// The inclusion proof of an entry under the checkpoint.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, HomeError> {
        let size = self.checkpoint.checkpoint().size;
        merkle::inclusion_proof(self, index, size)
            .map_err(|e| HomeError::refused(format!("log {}: {e}", self.origin)))
    }

    /// The bytes of an entry.
    pub fn entry(&self, index: u64) -> Option<&[u8]> {
        self.entries.get(index as usize).map(Vec::as_slice)
    }

    /// Its snapshots as a list shows them.
    pub fn listed(&self) -> impl Iterator<Item = Listed> {
        let node = self.state.enrolment().map_or_else(String::new, |e| e.name.clone());
        self.manifests.iter().map(move |(index, digest, manifest)| Listed {
            digest: *digest,
            index: *index,
            node: node.clone(),
            seen_in: self.region.clone(),
            manifest: manifest.clone(),
            // A copy is no receipt; only what a region signed counts, and that is with the node.
            receipts: Vec::new(),
            forgotten: self.state.forgotten(manifest.core.sequence),
        })
    }
}

/// A log as one copy shows it, or why that copy is not believed.
pub type Pulled = Result<PulledLog, HomeError>;

/// Reads the logs a region mirrors, checks every entry, and compares each with the newest
/// checkpoint this home has ever seen of it: a region that rolls back or forks a log is named.
/// One bad copy does not hide the others.
pub fn pull_logs(home: &Home, fleet: &Fleet, link: &RegionLink) -> Result<Vec<Pulled>, HomeError> {
    let mut out = Vec::new();
    for summary in link.tier.logs()? {
        out.push(pull_log(home, fleet, link, &summary.origin));
    }
    Ok(out)
}

fn pull_log(home: &Home, fleet: &Fleet, link: &RegionLink, origin: &str) -> Pulled {
    let region = &link.region.name;
    let origin: Origin =
        origin.parse().map_err(|e| HomeError::refused(format!("{region}, log {origin:?}: {e}")))?;
    let signed = link.tier.checkpoint(&origin)?.ok_or_else(|| {
        HomeError::refused(format!("{region} lists log {origin} and has no checkpoint of it"))
    })?;
    let read = |range| Ok(read_entries(&link.tier, signed.checkpoint(), range)?);
    check_log(home, fleet, region, &signed, &read)
}

/// As [`pull_logs`], from the bucket that stands in for a region.
pub fn pull_bucket_logs(
    home: &Home,
    fleet: &Fleet,
    bucket: &Bucket,
) -> Result<Vec<Pulled>, HomeError> {
    let mut out = Vec::new();
    for (dir, signed) in bucket.logs()? {
        let read = |range| bucket.entries(&dir, signed.checkpoint(), range);
        out.push(check_log(home, fleet, "bucket", &signed, &read));
    }
    Ok(out)
}

/// How many entries are read at a time: what is not believed is not kept.
const STEP: u64 = 256;

type ReadEntries<'a> = dyn Fn(Range<u64>) -> Result<Vec<Vec<u8>>, HomeError> + 'a;

/// Replays a copy of a log. Entries are proven under the copy's checkpoint as they are read, and
/// accepted one by one: garbage ends at its first entry, however much of it there is.
fn check_log(
    home: &Home,
    fleet: &Fleet,
    seen_in: &str,
    signed: &SignedCheckpoint,
    read: &ReadEntries<'_>,
) -> Pulled {
    let checkpoint = signed.checkpoint();
    let origin = checkpoint.origin.clone();
    let named = |why: String| HomeError::refused(format!("{seen_in}, log {origin}: {why}"));
    let pin = read_pin(home, &origin)?;
    let mut log = PulledLog {
        origin: origin.clone(),
        region: seen_in.to_owned(),
        state: LogState::new(fleet.clone(), origin.as_str()),
        checkpoint: signed.clone(),
        entries: Vec::new(),
        manifests: Vec::new(),
        stored: Vec::new(),
    };
    let mut frontier = Frontier::default();
    while frontier.size() < checkpoint.size {
        let next = frontier.size()..checkpoint.size.min(frontier.size() + STEP);
        for entry in read(next)? {
            log.take(entry, &mut frontier).map_err(named)?;
            check_pin(pin.as_ref(), &frontier).map_err(named)?;
        }
        let owner = log.state.owner().map(|(node, epoch)| (fleet.id(), node, epoch));
        if owner != origin.node() {
            return Err(named("it begins with the enrolment of another node".to_owned()));
        }
    }
    if frontier.root() != checkpoint.root {
        return Err(named("its entries do not have the root its checkpoint signs".to_owned()));
    }
    let keys: Vec<Verifier> = log
        .state
        .checkpoint_signers()
        .map(|k| Verifier::new(origin.as_str(), Kind::Signer, &k))
        .collect::<Result<_, _>>()?;
    signed
        .verify(&keys)
        .map_err(|e| named(format!("its checkpoint, by its node's subkeys: {e}")))?;
    keep_pin(home, pin.as_ref(), signed, &named)?;
    Ok(log)
}

/// The entries seen before must be the entries seen now.
fn check_pin(pin: Option<&SignedCheckpoint>, frontier: &Frontier) -> Result<(), String> {
    match pin.map(SignedCheckpoint::checkpoint) {
        Some(pin) if pin.size == frontier.size() && pin.root != frontier.root() => Err(format!(
            "its first {} entries are not those seen before: the history was forked; compare with another region",
            pin.size
        )),
        _ => Ok(()),
    }
}

impl PulledLog {
    fn take(&mut self, entry: Vec<u8>, frontier: &mut Frontier) -> Result<(), String> {
        let index = self.state.entries();
        let accepted = self.state.accept(&entry).map_err(|e| format!("entry {index}: {e}"))?;
        if let Accepted::Manifest(digest, manifest) = accepted {
            self.manifests.push((index, digest, *manifest));
        }
        frontier.push(merkle::leaf_hash(&entry), &mut self.stored);
        self.entries.push(entry);
        Ok(())
    }
}

fn pin_path(origin: &Origin) -> String {
    format!("pins/{}.checkpoint", origin.hash().to_hex())
}

fn read_pin(home: &Home, origin: &Origin) -> Result<Option<SignedCheckpoint>, HomeError> {
    let path = pin_path(origin);
    let bytes = read_file(home.disk().as_ref(), &path, 1 << 20).map_err(HomeError::io(&path))?;
    Ok(bytes.map(|b| SignedCheckpoint::parse(&b)).transpose()?)
}

fn keep_pin(
    home: &Home,
    pin: Option<&SignedCheckpoint>,
    signed: &SignedCheckpoint,
    named: &dyn Fn(String) -> HomeError,
) -> Result<(), HomeError> {
    let (seen, now) = (pin.map_or(0, |p| p.checkpoint().size), signed.checkpoint().size);
    if now < seen {
        return Err(named(format!(
            "it shows {now} entries where {seen} were seen before: it lags, or was rolled back; compare with another region"
        )));
    }
    if now == seen && pin.is_some() {
        return Ok(());
    }
    let path = pin_path(&signed.checkpoint().origin);
    write_atomic(home.disk().as_ref(), &path, &signed.to_bytes()).map_err(HomeError::io(&path))
}

/// This node's store with other tiers behind it.
pub struct Layered<'a> {
    /// Asked first.
    pub store: &'a Store,
    /// Asked in order for what the store does not have, or has damaged.
    pub behind: Vec<&'a dyn Objects>,
}

impl Objects for RegionLink {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        let mut wanted: BTreeSet<ObjectId> = ids.iter().copied().collect();
        let asked = self.tier.get(ids, &mut |id, bytes| {
            if wanted.remove(&id) {
                give(id, Ok(bytes));
            }
        });
        for id in wanted {
            give(
                id,
                Err(match &asked {
                    Ok(()) => FetchError::Missing(id),
                    Err(e) => FetchError::Unavailable { id, why: e.to_string() },
                }),
            );
        }
    }
}

impl Objects for Layered<'_> {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        let mut wanted: BTreeMap<ObjectId, FetchError> = BTreeMap::new();
        Objects::get(self.store, ids, &mut |id, got| match got {
            Ok(bytes) => give(id, Ok(bytes)),
            Err(e) => {
                wanted.insert(id, e);
            }
        });
        for tier in &self.behind {
            let ids: Vec<_> = wanted.keys().copied().collect();
            if ids.is_empty() {
                return;
            }
            tier.get(&ids, &mut |id, got| match got {
                Ok(bytes) => {
                    if wanted.remove(&id).is_some() {
                        give(id, Ok(bytes));
                    }
                }
                // The first tier that knows more than "missing" gives the reason.
                Err(e) => {
                    if let Some(why) = wanted.get_mut(&id)
                        && matches!(why, FetchError::Missing(_))
                    {
                        *why = e;
                    }
                }
            });
        }
        for (id, why) in wanted {
            give(id, Err(why));
        }
    }
}

impl Pages for Layered<'_> {
    fn page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        let mut answer = Ok(None);
        Objects::get(self, &[id], &mut |_, got| {
            answer = match got {
                Ok(bytes) => Ok(Some(bytes)),
                Err(FetchError::Missing(_)) => Ok(None),
                Err(e) => Err(e.to_string()),
            };
        });
        answer
    }
}
