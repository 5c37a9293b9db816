//! Making and listing snapshots.

use std::collections::BTreeSet;

use seawall_backup::snapshot::{self, Checkpoints, Plan, Progress, Snapshot};
use seawall_backup::source::filter::Excluded;
use seawall_backup::source::{Problem, Source};
use seawall_base::{Clock, Rng, Sha256, Timestamp};
use seawall_escrow::{Capsule, CapsuleError, Group, LabelFields, Recipients};
use seawall_policy::witness::Reached;
use seawall_record::{
    Base64, EscrowGroupRecord, Fleet, LoggedDeletion, MAX_TAGS, Manifest, ManifestCore, Operator,
    check_tag,
};
use seawall_tlog::Origin;

use crate::file_cache;
use crate::home::{Home, HomeError, append, replay};
use crate::input::{self, Input, Ready};
use crate::operators;
use crate::tiers::PulledLog;
use crate::witnesses::{Witnessed, home_roster};

/// How to make a snapshot.
pub struct CreateOptions<'a> {
    /// Data class; the strictest if none is named.
    pub class: Option<&'a str>,
    /// The set it belongs to, if one is named. Public.
    pub set: Option<&'a str>,
    /// Tags, in any order. Public.
    pub tags: &'a [String],
    /// Threads that seal.
    pub workers: usize,
}

/// A snapshot that is on disk and in the log.
#[derive(Debug)]
pub struct Written {
    /// Its place in the log and its manifest.
    pub listed: Listed,
    /// What is not in it, or not whole.
    pub problems: Vec<Problem>,
    /// What was passed over because somebody asked for that.
    pub excluded: Excluded,
    /// What it cost.
    pub progress: Progress,
}

/// A snapshot as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Digest of its manifest statement: its id.
    pub digest: Sha256,
    /// Index in its log.
    pub index: u64,
    /// Name of the node that made it.
    pub node: String,
    /// Where it was seen: `local`, or a region's name.
    pub seen_in: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Origin line of the log it stands in; a later epoch's than the manifest's if it was carried
    /// over.
    pub log: String,
    /// Regions that have signed for it.
    pub receipts: Vec<String>,
    /// When its node forgot it, if it did: only other tiers keep its objects.
    pub forgotten: Option<Timestamp>,
    /// The custodians' statement by which it is deleted everywhere, if it is.
    pub deleted: Option<LoggedDeletion>,
    /// Regions that keep it no longer, by their own signed word.
    pub gone_from: Vec<String>,
    /// Who vouches for the log it stands in.
    pub witnessed: Reached,
}

/// Makes a snapshot. When this returns it is durable here: objects, then log, then checkpoint.
///
/// The home is locked for the last moments only, in which the manifest gets its place in the log:
/// what is read before says which group to seal to and nothing that another snapshot changes.
pub fn create_snapshot(
    home: &Home,
    input: Input<'_>,
    options: &CreateOptions<'_>,
    clock: &dyn Clock,
    rng: &mut (dyn Rng + Send),
    progress: &mut dyn FnMut(&Progress),
) -> Result<Written, HomeError> {
    let tags = names(options)?;
    let fleet = home.fleet()?;
    let record = fleet.group_of_class(options.class).ok_or_else(|| {
        let known: Vec<_> =
            fleet.groups().iter().filter(|g| !g.retired).map(|g| g.class.as_str()).collect();
        let class = options.class.unwrap_or("");
        HomeError::refused(format!("no data class {class:?}; the fleet has {}", known.join(", ")))
    })?;
    // A log that cannot be continued is found before the tree is read, not after.
    home.log_state(&fleet, &home.log(&fleet)?)?;
    let (store, _) = home.store_for_writing()?;
    let Ready { source, names: sources, is_whole } = input.ready(clock)?;
    let domain = home.domain()?;
    let readers = operators::readers(home, &fleet, &record.class)?;
    let index_domain = (!readers.is_empty()).then(|| home.index_domain()).transpose()?;
    let plan = Plan {
        sources,
        host: home.name().as_bytes().to_vec(),
        class: record.class_number,
        domain: &domain,
        index_domain: index_domain.as_ref(),
        store: &store,
        workers: options.workers,
        checkpoints: Checkpoints::new(clock),
    };
    let tree = read_tree(home, &plan, (source, is_whole), clock, rng, progress)?;

    let names = Names { set: options.set, tags };
    let listed = log_snapshot(home, (&fleet, record), names, (&tree, &readers), clock, rng)?;
    let Snapshot { problems, excluded, progress, .. } = tree;
    Ok(Written { listed, problems, excluded, progress })
}

/// What a snapshot is called: public.
struct Names<'a> {
    set: Option<&'a str>,
    tags: Vec<String>,
}

/// Gives a tree its place in the log. Log and subkey are looked at only now: reading the tree may
/// have taken days, and others may have logged theirs since.
fn log_snapshot(
    home: &Home,
    (fleet, record): (&Fleet, &EscrowGroupRecord),
    names: Names<'_>,
    (tree, readers): (&Snapshot, &[Operator]),
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Listed, HomeError> {
    let group = Group::of_record(record)?;
    let lock = home.lock()?;
    let mut log = home.log_for_writing(fleet, &lock)?;
    let mut state = home.log_state(fleet, &log)?;
    let subkey = home.subkey(fleet, &mut log, &mut state, clock, rng)?;
    let (enrolment, _) = home.enrolment(fleet)?;
    let last = state.last_manifest();
    let core = ManifestCore {
        fleet: fleet.id(),
        node: enrolment.node(),
        origin: log.origin().as_str().to_owned(),
        sequence: last.map_or(1, |(_, sequence)| sequence + 1),
        previous: last.map(|(digest, _)| digest),
        created: clock.now(),
        class: record.class_number,
        group: group.id(),
        reference_set: tree.reference_set,
        totals: tree.totals,
        set: names.set.map(str::to_owned),
        tags: names.tags,
    };
    let mut root = seawall_base::wire::Writer::new();
    tree.root.encode(&mut root);
    let root = zeroize::Zeroizing::new(root.into_vec());
    let to = Recipients::of_record(record).map_err(CapsuleError::from)?;
    let fields = LabelFields::of_manifest(&core);
    let capsule = Capsule::seal(&group, &fields, to.as_ref(), &root, rng)?;
    let path_index = match &tree.path_index {
        Some(root) => operators::seal_root(readers, &core, root, rng)?,
        None => Vec::new(),
    };
    let manifest = Manifest { core, capsule: Base64(capsule.encode()), path_index };
    let envelope = manifest.clone().statement().sign(&[&subkey])?;
    let index = append(&mut log, &mut state, &envelope)?;
    home.sign(&mut log, &subkey)?;
    Ok(Listed {
        digest: envelope.digest(),
        index,
        node: enrolment.name,
        seen_in: "local".to_owned(),
        log: log.origin().to_string(),
        manifest,
        receipts: Vec::new(),
        forgotten: None,
        deleted: None,
        gone_from: Vec::new(),
        witnessed: Reached::count(fleet.policy().quorum().as_ref(), []),
    })
}

/// Reads the source of a plan, as far as it has changed since the last time. Of one that is worth
/// something only whole, nothing is taken over.
fn read_tree(
    home: &Home,
    plan: &Plan<'_>,
    (source, is_whole): (Box<dyn Source>, bool),
    clock: &dyn Clock,
    rng: &mut (dyn Rng + Send),
    progress: &mut dyn FnMut(&Progress),
) -> Result<Snapshot, HomeError> {
    let mut held = None;
    if !is_whole {
        held = Some(file_cache::hold(home, plan.class, &plan.sources, clock, rng)?);
    }
    let cache = held.as_mut().and_then(|held| held.cache.take());
    let tree = snapshot::write(plan, source, cache, rng, progress)?;
    input::check(is_whole, &tree.problems)?;
    if let Some(error) = &tree.cache_lost {
        tracing::warn!(%error, "the file cache was not kept, the next snapshot reads every file");
    }
    Ok(tree)
}

/// The tags in order, each once, after checking them and the set: not only once the tree is read.
fn names(options: &CreateOptions<'_>) -> Result<Vec<String>, HomeError> {
    let mut tags = options.tags.to_vec();
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        return Err(HomeError::refused(format!("more than {MAX_TAGS} tags")));
    }
    let set = options.set.into_iter();
    set.chain(tags.iter().map(String::as_str)).try_for_each(check_tag)?;
    Ok(tags)
}

/// The snapshots of this node, oldest first, then those of `pulled` logs of other nodes.
pub fn list_snapshots(home: &Home, pulled: &[PulledLog]) -> Result<Vec<Listed>, HomeError> {
    let fleet = home.fleet()?;
    let log = home.log(&fleet)?;
    let (receipts, gone) = receipts(home, &fleet, log.origin())?;
    let mut out = Vec::new();
    let mut state = seawall_record::LogState::new(fleet.clone(), log.origin().as_str());
    let (enrolment, _) = home.enrolment(&fleet)?;
    let (roster, quorum) = (home_roster(home, &fleet)?, fleet.policy().quorum());
    let voices = Witnessed::open(home, log.origin())?.voices(&roster, log.checkpoint());
    replay(&mut state, &log, &mut |index, accepted| {
        if let Some((digest, manifest)) = accepted.snapshot() {
            let signed_for = |(d, name): &(Sha256, String)| (*d == digest).then(|| name.clone());
            out.push(Listed {
                digest,
                index,
                node: enrolment.name.clone(),
                seen_in: "local".to_owned(),
                log: log.origin().to_string(),
                manifest: manifest.clone(),
                receipts: receipts.iter().filter_map(signed_for).collect(),
                forgotten: None,
                deleted: None,
                gone_from: gone.iter().filter_map(signed_for).collect(),
                witnessed: voices.reached(quorum.as_ref(), index),
            });
        }
    })?;
    for listed in &mut out {
        listed.forgotten = state.forgotten(&listed.digest);
        listed.deleted = state.deleted(&listed.digest).cloned();
    }
    // A later epoch's log has the snapshots of those before it: each is listed once.
    let mut others: Vec<&PulledLog> = pulled.iter().filter(|p| p.origin != *log.origin()).collect();
    others.sort_by_key(|p| std::cmp::Reverse(p.origin.node().map_or(0, |(_, _, epoch)| epoch)));
    let mut seen: BTreeSet<Sha256> = out.iter().map(|it| it.digest).collect();
    for other in others {
        let witnessed = |index: u64| {
            let covering = other.vouchers().filter(|it| it.checkpoint().size > index);
            seawall_custodian::reached(&fleet, &roster, covering)
        };
        out.extend(other.listed(&witnessed).filter(|it| seen.insert(it.digest)));
    }
    out.sort_by_key(|l| l.manifest.core.created);
    Ok(out)
}

/// Manifests, each with the name of a region.
type ByRegion = Vec<(Sha256, String)>;

/// Manifests of this log that regions have signed for, and those of which they say that they keep
/// them no longer.
fn receipts(
    home: &Home,
    fleet: &Fleet,
    origin: &Origin,
) -> Result<(ByRegion, ByRegion), HomeError> {
    let (mut out, mut gone) = (Vec::new(), Vec::new());
    for (_, region) in home.regions(fleet)? {
        let receipts = crate::tiers::receipts_of(home, &region)?;
        let own = receipts.all().filter(|(r, _)| r.origin == origin.as_str());
        out.extend(own.map(|(r, _)| (r.manifest, region.name.clone())));
        let own = receipts.all_deleted().filter(|(_, it)| it.origin == origin.as_str());
        gone.extend(own.map(|(manifest, _)| (manifest, region.name.clone())));
    }
    Ok((out, gone))
}
