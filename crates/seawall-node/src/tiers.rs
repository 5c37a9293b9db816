//! Other tiers: pushing to regions, reading what they mirror, taking objects from them.

mod pins;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Once;

use seawall_backup::restore::{FetchError, Objects};
use seawall_base::{Clock, NodeId, ObjectId, Rng, Sha256, Timestamp};
use seawall_host::SystemClock;
use seawall_policy::witness::Reached;
use seawall_record::reference_set::Pages;
use seawall_record::{Enrolment, Fleet, LogState, Manifest, RegionAddress};
use seawall_store::Store;
use seawall_sync::wire::{MAX_COSIGNED, MAX_COSIGNED_BODY};
use seawall_sync::{
    Class, Push, Pushed, Receipts, SyncError, Tier, TierError, Unusable, read_entries,
};
use seawall_tlog::merkle::{self, Frontier, HashReader};
use seawall_tlog::{Hash, Kind, Log, Origin, SignedCheckpoint, Verifier};

use self::pins::{check_lagging, check_pin, contradiction, keep_pin, read_pin};
use crate::arrivals::{Brought, bring_manifests};
use crate::bucket::{self, Bucket, BucketPushed};
use crate::deletion::expired_too_early;
use crate::epoch::{make_provisional, provisional, take_left_behind};
use crate::home::{Home, HomeError, file_name};
use crate::policy_news::Told;
use crate::region_client::RegionClient;
use crate::snapshots::Listed;
use crate::witness_link::{Compared, HttpWitness, bring};
use crate::witnesses::{Witnessed, home_roster};

/// Regions that could not be reached, by name, each with the reason.
pub type Unreached = Vec<(String, HomeError)>;

/// A region this node can talk to.
pub struct RegionLink {
    /// Its enrolment.
    pub region: Enrolment,
    /// The connection.
    pub tier: RegionClient,
    /// That it lied is said once, not for each object that others had to give.
    named: Once,
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
        Ok(Self { region, tier, named: Once::new() })
    }

    /// All regions of a home. Those that cannot be reached are returned with the reason.
    pub fn all(home: &Home, fleet: &Fleet) -> Result<(Vec<Self>, Unreached), HomeError> {
        let mut links = Vec::new();
        let (known, mut failed) = home.known_regions(fleet)?;
        for (address, region) in known {
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
    /// A witness, which cosigned the log at this time.
    Witness(Timestamp),
    /// A custodian, which looked at its shares of new snapshots.
    Custodian(Brought),
    /// A custodian's or a witness's machine, which was shown the fleet's policies.
    Told(Told),
}

/// The receipts of a region. Those that count for nothing are named.
pub(crate) fn receipts_of(home: &Home, region: &Enrolment) -> Result<Receipts, HomeError> {
    let dir = format!("receipts/{}", file_name(&region.name));
    let receipts = Receipts::open(home.disk(), &dir, region.identity)?;
    if let Some(Unusable { path, why, .. }) = receipts.unusable().first() {
        let more = match receipts.unusable().len() {
            1 => "counts for nothing".to_owned(),
            n => format!("and {} files beside it count for nothing", n - 1),
        };
        home.warn_once(&format!(
            "{path} {more} ({why}): damaged, or of an earlier enrolment of the region; seawall sync sets aside what it cannot use and asks for what is missing"
        ));
    }
    Ok(receipts)
}

/// What else a sync is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncOptions {
    /// The bucket is meant to be a new one, although this node knows that it held data.
    pub new_bucket: bool,
}

/// Pushes everything to every region. A region that fails does not stop the others.
///
/// One process syncs at a time; snapshots are made beside it. It works on the log as it stands when
/// it begins: what is logged later is for the next sync.
pub fn sync(
    home: &Home,
    options: SyncOptions,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    progress: &mut dyn FnMut(&str, SyncProgress),
) -> Result<Vec<SyncOutcome>, HomeError> {
    let _syncing = home.lock_sync()?;
    let fleet = home.fleet()?;
    check_not_provisional(home)?;
    sign_whole_log(home, &fleet, clock, rng)?;
    // The log first: what it names is in the store, and a snapshot may be made between the two.
    let mut log = home.log(&fleet)?;
    let (store, _) = home.store()?;
    let mut outcomes = Vec::new();
    let (regions, passed_over) = home.known_regions(&fleet)?;
    for (address, region) in &regions {
        let name = region.name.clone();
        let tell = &mut |p| progress(&name, p);
        let known = (address, region);
        let result = fill_region(home, &fleet, known, (&mut log, &store), (clock, rng), tell);
        if let Err(HomeError::Sync(e @ SyncError::RolledBack { .. })) = &result {
            make_provisional(home, &e.to_string(), clock.now())?;
        }
        outcomes.push(SyncOutcome { region: name, result: result.map(SyncDone::Region) });
    }
    let failed = passed_over.into_iter();
    outcomes.extend(failed.map(|(region, e)| SyncOutcome { region, result: Err(e) }));
    // Regions may have shown newer ones.
    crate::policy_news::tell(home, &home.fleet()?, &mut outcomes)?;
    bring_to_witnesses(home, &fleet, &log, clock, &mut outcomes)?;
    if home.bucket().is_some() {
        let open = if options.new_bucket { Bucket::new_of } else { Bucket::of };
        let pushed = open(home).and_then(|bucket| {
            bucket.map_or(Ok(BucketPushed::default()), |mut bucket| {
                let done = bucket.push(&fleet, &store, &log, &mut |p| {
                    let (objects, bytes) = (p.sent_objects, p.sent_bytes);
                    let total =
                        SyncProgress { objects, bytes, total_objects: objects, total_bytes: bytes };
                    progress("bucket", total);
                })?;
                bucket::note_filled(home, log.size())?;
                Ok(done)
            })
        });
        let result = pushed.map(SyncDone::Bucket);
        outcomes.push(SyncOutcome { region: "bucket".to_owned(), result });
    }
    Ok(outcomes)
}

/// Makes one region hold what this node holds.
fn fill_region(
    home: &Home,
    fleet: &Fleet,
    (address, region): (&RegionAddress, &Enrolment),
    (log, store): (&mut Log, &Store),
    (clock, rng): (&dyn Clock, &mut dyn Rng),
    progress: &mut dyn FnMut(SyncProgress),
) -> Result<Pushed, HomeError> {
    let mut receipts = receipts_of(home, region)?;
    receipts.set_aside_unusable()?;
    let link = RegionLink::open(home, fleet, address, region.clone())?;
    learn(home, fleet, &link)?;
    bring_back(home, (fleet, &link), log, clock, rng)?;
    let mut push = Push { fleet, region, log, objects: store, receipts: &mut receipts };
    let done = push.run(&link.tier, rng, progress)?;
    // Without one, tokens are asked for: no reason to fail.
    if let Err(e) = home.renew_delegation(fleet, (address, region), &link.tier, clock, rng) {
        tracing::warn!(region = region.name, error = %e, "no delegation");
    }
    if let Some(cosigned) = log.checkpoint() {
        keep_lines(home, fleet, cosigned)?;
    }
    let sequences = expired_too_early(home, fleet, log, &receipts, clock.now())?;
    if !sequences.is_empty() {
        return Err(SyncError::ExpiredEarly { tier: region.name.clone(), sequences }.into());
    }
    show_cosigned(home, &link, log)?;
    Ok(done)
}

fn check_not_provisional(home: &Home) -> Result<(), HomeError> {
    let Some(it) = provisional(home)? else { return Ok(()) };
    Err(HomeError::refused(format!(
        "this node's log went back in time ({}): what it wrote since is kept here and shown to nobody; `seawall node epoch begin` is the way out",
        it.why
    )))
}

/// Shows a region what witnesses have said of this node's log: what it judges ages by. A region that
/// is older than deletion has no use for it.
fn show_cosigned(home: &Home, link: &RegionLink, log: &Log) -> Result<(), HomeError> {
    let held = match link.tier.show_cosigned(&[]) {
        Ok(held) => held,
        Err(TierError::Refused { why, .. }) => {
            tracing::info!(region = link.region.name, why, "it takes no cosigned checkpoints");
            return Ok(());
        }
        Err(e) => return Err(SyncError::from(e).into()),
    };
    let mirrored = log.checkpoint().map_or(0, |it| it.checkpoint().size);
    let witnessed = Witnessed::open(home, log.origin())?;
    let news: Vec<SignedCheckpoint> =
        witnessed.since(held).filter(|it| it.checkpoint().size <= mirrored).cloned().collect();
    let mut batch = Vec::new();
    let mut size = 0;
    for it in news {
        let len = it.to_bytes().len();
        if batch.len() == MAX_COSIGNED || size + len > MAX_COSIGNED_BODY / 2 {
            link.tier.show_cosigned(&batch).map_err(SyncError::from)?;
            (batch, size) = (Vec::new(), 0);
        }
        size += len;
        batch.push(it);
    }
    if !batch.is_empty() {
        link.tier.show_cosigned(&batch).map_err(SyncError::from)?;
    }
    Ok(())
}

/// Takes what a region has of earlier epochs and this log lacks. That it cannot be had is no reason
/// to bring the region nothing: what it makes of the log is for it to say.
fn bring_back(
    home: &Home,
    (fleet, link): (&Fleet, &RegionLink),
    log: &mut Log,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<(), HomeError> {
    match take_left_behind(home, fleet, link, clock, rng) {
        Ok(0) => {}
        // They are to be shown in this very push.
        Ok(_) => *log = home.log(fleet)?,
        Err(e) => {
            let region = &link.region.name;
            tracing::warn!(region, error = %e, "what it has of an earlier epoch cannot be taken");
        }
    }
    Ok(())
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

/// All regions of a home, after each was asked for newer policies of the fleet: what they show is read
/// under the newest that any of them knows. One that will not say is read all the same.
pub fn learn_newer(home: &Home) -> Result<(Fleet, Vec<RegionLink>, Unreached), HomeError> {
    let fleet = home.fleet()?;
    let (links, failed) = RegionLink::all(home, &fleet)?;
    for link in &links {
        if let Err(e) = learn(home, &fleet, link) {
            tracing::warn!(region = link.region.name, error = %e, "it shows no policies");
        }
    }
    let newest = home.fleet()?;
    if newest.version() == fleet.version() {
        return Ok((fleet, links, failed));
    }
    let (links, failed) = RegionLink::all(home, &newest)?;
    Ok((newest, links, failed))
}

/// Brings the log's checkpoint to every witness of the policy that says where it is, and keeps what
/// they cosign; then its new manifests to custodians. One that fails does not stop the others.
fn bring_to_witnesses(
    home: &Home,
    fleet: &Fleet,
    log: &Log,
    clock: &dyn Clock,
    outcomes: &mut Vec<SyncOutcome>,
) -> Result<(), HomeError> {
    let state = home.log_state(fleet, log)?;
    let (links, unreached) = HttpWitness::all(home, fleet);
    for (region, e) in unreached {
        outcomes.push(SyncOutcome { region, result: Err(e) });
    }
    for link in &links {
        let result = bring(link, log, &state).and_then(|(cosigned, time)| {
            keep_lines(home, fleet, &cosigned)?;
            Ok(SyncDone::Witness(time))
        });
        if let Err(HomeError::Sync(e @ SyncError::RolledBack { .. })) = &result {
            make_provisional(home, &e.to_string(), clock.now())?;
        }
        outcomes.push(SyncOutcome { region: link.record().name.clone(), result });
    }
    bring_manifests(home, fleet, log, &state, outcomes);
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
        home.sign(&mut log, &subkey)?;
    }
    Ok(())
}

/// Keeps what somebody has cosigned. On the log's own checkpoint only as long as it has not grown
/// since: the next sync asks again.
fn keep_lines(home: &Home, fleet: &Fleet, cosigned: &SignedCheckpoint) -> Result<(), HomeError> {
    let roster = home_roster(home, fleet)?;
    let lock = home.lock()?;
    let mut log = home.log_for_writing(fleet, &lock)?;
    if log.checkpoint().is_some_and(|c| c.note().text() == cosigned.note().text()) {
        log.add_cosignatures(cosigned.note().signatures(), &roster.verifiers())?;
    }
    Witnessed::open(home, log.origin())?.keep(home, &roster, cosigned)
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
    /// What witnesses showed of it, all of this history.
    pub(crate) shown: Vec<SignedCheckpoint>,
    /// How many entries were seen before, if this copy has fewer: it lags, or was rolled back. What
    /// it shows is the author's word, and perhaps not the newest.
    pub behind: Option<u64>,
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
    /// What a checkpoint of this log says beside this copy.
    pub(crate) fn compare(&self, theirs: &SignedCheckpoint) -> Result<Compared, HomeError> {
        let (have, it) = (self.checkpoint.checkpoint().size, theirs.checkpoint());
        if it.size > have {
            return Ok(Compared::Ahead);
        }
        let here = self.root_at(it.size)?;
        if here == it.root {
            return Ok(Compared::Agrees);
        }
        if it.size == have {
            return Ok(Compared::Other(None));
        }
        let proof = merkle::consistency_proof(self, it.size, have)
            .map_err(|e| HomeError::refused(format!("log {}: {e}", self.origin)))?;
        Ok(Compared::Other(Some((here, proof))))
    }

    /// The inclusion proof of an entry under the checkpoint.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, HomeError> {
        self.inclusion_at(index, self.checkpoint.checkpoint().size)
    }

    /// The inclusion proof of an entry in the tree of `size`.
    pub fn inclusion_at(&self, index: u64, size: u64) -> Result<Vec<Hash>, HomeError> {
        merkle::inclusion_proof(self, index, size)
            .map_err(|e| HomeError::refused(format!("log {}: {e}", self.origin)))
    }

    /// The root over its first `size` entries.
    pub fn root_at(&self, size: u64) -> Result<Hash, HomeError> {
        merkle::root(self, size)
            .map_err(|e| HomeError::refused(format!("log {}: {e}", self.origin)))
    }

    /// The bytes of an entry.
    pub fn entry(&self, index: u64) -> Option<&[u8]> {
        self.entries.get(index as usize).map(Vec::as_slice)
    }

    /// What is wrong with a copy that lags.
    pub fn lag(&self) -> Option<String> {
        let now = self.checkpoint.checkpoint().size;
        self.behind.map(|seen| {
            format!(
                "{}, log {}: it shows {now} entries where {seen} were seen before: it lags, or was rolled back; compare with another region",
                self.region, self.origin
            )
        })
    }

    /// This copy, unless it lags.
    pub(crate) fn whole(self) -> Pulled {
        self.lag().map_or(Ok(self), |why| Err(HomeError::refused(why)))
    }

    /// Every checkpoint of this history that somebody showed.
    pub fn vouchers(&self) -> impl Iterator<Item = &SignedCheckpoint> {
        std::iter::once(&self.checkpoint).chain(&self.shown)
    }

    /// Its snapshots as a list shows them; `witnessed` says who vouches for an entry.
    pub fn listed<'a>(
        &'a self,
        witnessed: &'a dyn Fn(u64) -> Reached,
    ) -> impl Iterator<Item = Listed> + 'a {
        let node = self.state.enrolment().map_or_else(String::new, |e| e.name.clone());
        self.manifests.iter().map(move |(index, digest, manifest)| Listed {
            digest: *digest,
            index: *index,
            node: node.clone(),
            seen_in: self.region.clone(),
            log: self.origin.to_string(),
            manifest: manifest.clone(),
            // A copy is no receipt; only what a region signed counts, and that is with the node.
            receipts: Vec::new(),
            forgotten: self.state.forgotten(digest),
            deleted: self.state.deleted(digest).cloned(),
            gone_from: Vec::new(),
            witnessed: witnessed(*index),
        })
    }
}

/// A log as one copy shows it, or why that copy is not believed.
pub type Pulled = Result<PulledLog, HomeError>;

/// Reads the logs a region mirrors, checks every entry, and compares each with the newest
/// checkpoint this home has ever seen of it: a region that rolls back or forks a log is named.
/// One bad copy does not hide the others.
pub(crate) fn pull_logs(
    home: &Home,
    fleet: &Fleet,
    link: &RegionLink,
) -> Result<Vec<Pulled>, HomeError> {
    Ok(whole(pull_shown(home, fleet, link)?))
}

/// As [`pull_logs`], but a copy that has fewer entries than were seen before, and is in every other
/// respect what its author signed, is given, too: [`PulledLog::behind`] says so.
pub fn pull_shown(home: &Home, fleet: &Fleet, link: &RegionLink) -> Result<Vec<Pulled>, HomeError> {
    let mut origins: Vec<_> = link.tier.logs()?.into_iter().map(|it| it.origin).collect();
    origins.sort_by_cached_key(|it| it.parse().ok().and_then(|it| place(&it)));
    Ok(origins.iter().map(|origin| pull_copy(home, fleet, link, origin)).collect())
}

/// Copies that do not lag.
fn whole(copies: Vec<Pulled>) -> Vec<Pulled> {
    copies.into_iter().map(|copy| copy.and_then(PulledLog::whole)).collect()
}

/// Logs are read by node, and by epoch: a later log is compared with what was seen of those before
/// it, so whether a fork between them is noticed must not hang on the order a tier lists them in.
fn place(origin: &Origin) -> Option<(NodeId, u32)> {
    origin.node().map(|(_, node, epoch)| (node, epoch))
}

pub(crate) fn pull_log(home: &Home, fleet: &Fleet, link: &RegionLink, origin: &str) -> Pulled {
    pull_copy(home, fleet, link, origin)?.whole()
}

fn pull_copy(home: &Home, fleet: &Fleet, link: &RegionLink, origin: &str) -> Pulled {
    let region = &link.region.name;
    let origin: Origin =
        origin.parse().map_err(|e| HomeError::refused(format!("{region}, log {origin:?}: {e}")))?;
    let signed = link.tier.checkpoint(&origin)?.ok_or_else(|| {
        HomeError::refused(format!("{region} lists log {origin} and has no checkpoint of it"))
    })?;
    let read = |range| Ok(read_entries(&link.tier, signed.checkpoint(), range)?);
    check_log(home, fleet, region, &signed, &read)
}

/// As [`pull_log`], of a log of this node's own that has ended: whatever branch of it a region has.
/// It is neither compared with what was seen of others' nor remembered.
pub(crate) fn pull_branch(
    home: &Home,
    fleet: &Fleet,
    link: &RegionLink,
    signed: &SignedCheckpoint,
) -> Pulled {
    let read = |range| Ok(read_entries(&link.tier, signed.checkpoint(), range)?);
    Ok(read_copy(home, fleet, (&link.region.name, signed, None), &read)?.0)
}

/// As [`pull_logs`], from the bucket that stands in for a region.
pub(crate) fn pull_bucket_logs(
    home: &Home,
    fleet: &Fleet,
    bucket: &Bucket,
) -> Result<Vec<Pulled>, HomeError> {
    Ok(whole(pull_bucket_shown(home, fleet, bucket)?))
}

/// As [`pull_shown`], from the bucket that stands in for a region.
pub fn pull_bucket_shown(
    home: &Home,
    fleet: &Fleet,
    bucket: &Bucket,
) -> Result<Vec<Pulled>, HomeError> {
    let mut logs = bucket.logs()?;
    logs.sort_by_cached_key(|(_, signed)| place(&signed.checkpoint().origin));
    let check = |(dir, signed): &(String, SignedCheckpoint)| {
        let read = |range| bucket.entries(dir, signed.checkpoint(), range);
        check_log(home, fleet, "bucket", signed, &read)
    };
    Ok(logs.iter().map(check).collect())
}

/// How many entries are read at a time: what is not believed is not kept.
const STEP: u64 = 256;

type ReadEntries<'a> = dyn Fn(Range<u64>) -> Result<Vec<Vec<u8>>, HomeError> + 'a;

/// Reads a copy of a log and compares it with what was seen of it before.
fn check_log(
    home: &Home,
    fleet: &Fleet,
    seen_in: &str,
    signed: &SignedCheckpoint,
    read: &ReadEntries<'_>,
) -> Pulled {
    let origin = &signed.checkpoint().origin;
    let named = |why: String| HomeError::refused(format!("{seen_in}, log {origin}: {why}"));
    let pin = read_pin(home, origin)?;
    let (mut log, forked) = read_copy(home, fleet, (seen_in, signed, pin.as_ref()), read)?;
    if let (Some(why), Some(pin)) = (forked, &pin) {
        let evidence = contradiction(home, fleet, &log, (pin, &why))?;
        return Err(named(format!("{why}{evidence}")));
    }
    log.behind = keep_pin(home, pin.as_ref(), &log)?;
    if let (Some(_), Some(pin)) = (log.behind, &pin)
        && let Some(why) = check_lagging(home, pin, &log)?
    {
        let evidence = contradiction(home, fleet, &log, (pin, &why))?;
        return Err(named(format!("{why}{evidence}")));
    }
    Ok(log)
}

/// Replays a copy of a log. Entries are proven under the copy's checkpoint as they are read, and
/// accepted one by one: garbage ends at its first entry, however much of it there is. Says, too, how
/// it contradicts `pin`, if it does.
fn read_copy(
    home: &Home,
    fleet: &Fleet,
    (seen_in, signed, pin): (&str, &SignedCheckpoint, Option<&SignedCheckpoint>),
    read: &ReadEntries<'_>,
) -> Result<(PulledLog, Option<String>), HomeError> {
    let checkpoint = signed.checkpoint();
    let origin = checkpoint.origin.clone();
    let named = |why: String| HomeError::refused(format!("{seen_in}, log {origin}: {why}"));
    let mut log = PulledLog {
        origin: origin.clone(),
        region: seen_in.to_owned(),
        state: LogState::new(fleet.clone(), origin.as_str()),
        checkpoint: signed.clone(),
        shown: Vec::new(),
        behind: None,
        entries: Vec::new(),
        manifests: Vec::new(),
        stored: Vec::new(),
    };
    let mut frontier = Frontier::default();
    let mut forked = None;
    while frontier.size() < checkpoint.size {
        let next = frontier.size()..checkpoint.size.min(frontier.size() + STEP);
        for entry in read(next)? {
            log.take(entry, &mut frontier).map_err(named)?;
            // Read on: what proves the fork is the whole of the other history.
            forked = forked.or(check_pin(pin, &frontier).err());
        }
        let owner = log.state.owner().map(|(node, _)| (fleet.id(), node));
        if owner != origin.node().map(|(fleet, node, _)| (fleet, node)) {
            return Err(named("it begins with the enrolment of another node".to_owned()));
        }
    }
    let owner = log.state.owner().map(|(node, epoch)| (fleet.id(), node, epoch));
    if owner != origin.node() {
        return Err(named("it does not reach the epoch its name says".to_owned()));
    }
    check_epochs(home, &log).map_err(named)?;
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
    Ok((log, forked))
}

/// A log of a later epoch continues those before it as the root keys say, and as this home has
/// seen them.
fn check_epochs(home: &Home, log: &PulledLog) -> Result<(), String> {
    for it in log.state.continued() {
        let (origin, size) = (&it.point.origin, it.point.size);
        let root = |size| log.root_at(size).map_err(|e| e.to_string());
        if it.held == size && root(size)? != it.point.root {
            return Err(format!("its first {size} entries are not those of {origin} signed for"));
        }
        let earlier: Origin = origin.parse().map_err(|e| format!("{origin}: {e}"))?;
        let Some(pin) = read_pin(home, &earlier).map_err(|e| e.to_string())? else { continue };
        let pin = pin.checkpoint();
        if pin.size <= it.held && root(pin.size)? != pin.root {
            let why = format!(
                "its first {} entries are not those seen before in {origin}: the history was forked",
                pin.size
            );
            // Which branch goes on the root keys have said, where all they committed to is shown. The
            // other is still with whoever showed it, and what it says is compared there.
            if it.held < size {
                return Err(why);
            }
            tracing::warn!("{why}; the root keys continue this branch");
        }
        if pin.size > it.held {
            tracing::warn!(%origin, seen = pin.size, held = it.held, "an epoch left entries behind");
        }
    }
    Ok(())
}

impl PulledLog {
    /// The hashes of its entries.
    fn leaves(&self) -> impl Iterator<Item = Hash> {
        self.entries.iter().map(|entry| merkle::leaf_hash(entry))
    }

    fn take(&mut self, entry: Vec<u8>, frontier: &mut Frontier) -> Result<(), String> {
        let index = self.state.entries();
        let accepted = self.state.accept(&entry).map_err(|e| format!("entry {index}: {e}"))?;
        if let Some((digest, manifest)) = accepted.snapshot() {
            self.manifests.push((index, digest, manifest.clone()));
        }
        frontier.push(merkle::leaf_hash(&entry), &mut self.stored);
        self.entries.push(entry);
        Ok(())
    }
}

/// This node's store with other tiers behind it.
pub struct Layered<'a> {
    /// Asked first.
    pub store: &'a dyn Objects,
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
        if let Err(e) = &asked
            && e.class() == Class::Lied
        {
            self.named.call_once(|| tracing::warn!("{e}"));
        }
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
        self.store.get(ids, &mut |id, got| match got {
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
        page_of(self, id)
    }
}

/// A page of a reference set, as an object among others.
pub(crate) fn page_of(objects: &dyn Objects, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
    let mut answer = Ok(None);
    objects.get(&[id], &mut |_, got| {
        answer = match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FetchError::Missing(_)) => Ok(None),
            Err(e) => Err(e.to_string()),
        };
    });
    answer
}
