//! Deleting snapshots everywhere: proposing it, and putting the custodians' statement on record.
//!
//! A proposal is signed by this node's subkey, which shows who proposed it and counts for nothing.
//! Once enough custodians have signed, the statement is an entry of this node's log: from then on
//! everybody knows the snapshots as deleted, the next sync carries it to each region, and the next
//! prune gives their room back here. What regions keep is a statement of the root keys in the same
//! log ([`seawall_record::Retention`]).

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{Clock, NodeId, Rng, Seconds, Sha256, Timestamp};
use seawall_policy::deletion::{Kept, Rule, expire};
use seawall_policy::retention::{Group, Rules};
use seawall_policy::witness::Stamp;
use seawall_record::{
    Accepted, Deleted, Deletion, DeletionFile, DeletionRule, Enrolment, Fleet, Forgotten, Hex32,
    LogState, ManifestCore, Retention,
};
use seawall_sign::{Envelope, Statement, StatementKey};
use seawall_sync::Receipts;
use seawall_tlog::{Log, Roster};

use crate::fleet_policy::copies_of;
use crate::home::{Home, HomeError, append, replay};
use crate::root_files::sign_as_root;
use crate::witnesses::{Witnessed, region_enrolments, roster};

/// What is to be deleted, and why.
#[derive(Debug)]
pub struct DeletionOrder<'a> {
    /// Digests of manifests in this node's log.
    pub snapshots: &'a [Sha256],
    /// For the custodians.
    pub reason: &'a str,
    /// Whether the newest of a set and the last proven may be among them.
    pub even_last: bool,
    /// How long it may be signed and acted on.
    pub validity: Seconds,
}

/// Proposes a deletion: a file for the custodians to sign one after the other.
pub fn propose_deletion(
    home: &Home,
    order: &DeletionOrder<'_>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<DeletionFile, HomeError> {
    let fleet = home.fleet()?;
    if fleet.deletion().is_none() {
        return Err(HomeError::refused(
            "the fleet's policy lets nothing be deleted; seawall fleet policy propose --deletion-min-days … --deletion-custodians … changes that",
        ));
    }
    let lock = home.lock()?;
    let mut log = home.log_for_writing(&fleet, &lock)?;
    let mut state = home.log_state(&fleet, &log)?;
    let mut found = Vec::new();
    let mut fresh = LogState::new(fleet.clone(), log.origin().as_str());
    replay(&mut fresh, &log, &mut |index, accepted| {
        if let Some((digest, manifest)) = accepted.snapshot()
            && order.snapshots.contains(&digest)
        {
            found.push((Forgotten { sequence: manifest.core.sequence, manifest: digest }, index));
        }
    })?;
    let missing = order.snapshots.iter().find(|it| !found.iter().any(|(f, _)| f.manifest == **it));
    if let Some(missing) = missing {
        return Err(HomeError::refused(format!(
            "{} is no snapshot of this node; propose its deletion on the node that made it",
            missing.to_hex()
        )));
    }
    found.sort_by_key(|(it, _)| (it.sequence, it.manifest));
    found.dedup();
    if let Some((it, _)) = found.iter().find(|(it, _)| !order.even_last && state.is_last(it)) {
        return Err(HomeError::refused(format!(
            "number {} is the newest of its set, or the last that a drill has proven; --even-last says that it goes all the same",
            it.sequence
        )));
    }
    let manifests: Vec<Envelope> = found
        .iter()
        .map(|(_, index)| Ok(Envelope::parse(&log.entry(*index)?)?))
        .collect::<Result<_, HomeError>>()?;
    let now = clock.now();
    let mut nonce = [0; 32];
    rng.fill(&mut nonce);
    let deletion = Deletion {
        fleet: fleet.id(),
        node: home.enrolment(&fleet)?.0.node(),
        origin: log.origin().to_string(),
        snapshots: found.into_iter().map(|(it, _)| it).collect(),
        even_last: order.even_last,
        policy: fleet.version(),
        reason: order.reason.to_owned(),
        nonce: Hex32(nonce),
        created: now,
        expires: now.after(order.validity),
    };
    let subkey = home.subkey(&fleet, &mut log, &mut state, clock, rng)?;
    let envelope = deletion.statement().sign(&[&subkey])?;
    let file = DeletionFile::new(fleet, envelope, manifests)?;
    check_signable(&file)?;
    Ok(file)
}

/// Refuses what nobody could sign: a class may have fewer custodians than the policy wants of each.
fn check_signable(file: &DeletionFile) -> Result<(), HomeError> {
    for it in file.signed()? {
        let has = file.fleet().group(it.group).map_or(0, |group| group.custodians.len());
        if has < usize::from(it.need) {
            return Err(HomeError::refused(format!(
                "class {} has {has} custodians, and the policy wants {} of them to sign a deletion: nobody can sign this one; fewer of them (seawall fleet policy propose --deletion-custodians), or wait until it expires",
                it.class, it.need
            )));
        }
    }
    Ok(())
}

/// Puts a statement that enough custodians have signed into this node's log. With `dry_run` only
/// says whether it could. The digest of the statement.
pub fn apply_deletion(
    home: &Home,
    file: &DeletionFile,
    dry_run: bool,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Sha256, HomeError> {
    let fleet = home.fleet()?;
    let now = clock.now();
    if file.deletion().expires < now {
        return Err(HomeError::refused(format!(
            "the statement expired {}; propose it again",
            file.deletion().expires
        )));
    }
    let digest = file.envelope().digest();
    log_statement(home, &fleet, file.envelope(), dry_run, clock, rng)?;
    Ok(digest)
}

/// Logs a statement that others signed, unless it stands there already.
fn log_statement(
    home: &Home,
    fleet: &Fleet,
    envelope: &Envelope,
    dry_run: bool,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<(), HomeError> {
    if crate::epoch::provisional(home)?.is_some() {
        return Err(HomeError::refused(
            "this node's log is provisional; begin the next epoch first (seawall node epoch begin)",
        ));
    }
    let _syncing = home.lock_sync()?;
    let lock = home.lock()?;
    let mut log = home.log_for_writing(fleet, &lock)?;
    let mut state = home.log_state(fleet, &log)?;
    if state.deletion(&envelope.digest()).is_some() {
        return Ok(());
    }
    if dry_run {
        state.accept(&envelope.to_json())?;
        return Ok(());
    }
    let subkey = home.subkey(fleet, &mut log, &mut state, clock, rng)?;
    append(&mut log, &mut state, envelope)?;
    log.sign_checkpoint(&subkey)?;
    Ok(())
}

/// What regions keep of this node's snapshots, by the statement in its log.
pub fn region_retention(home: &Home) -> Result<Option<Retention>, HomeError> {
    let fleet = home.fleet()?;
    let state = home.log_state(&fleet, &home.log(&fleet)?)?;
    Ok(state.retention().map(|(it, _)| it.clone()))
}

/// Writes the next statement of what regions keep of a node's snapshots, of this one's where none is
/// named, signed with `roots`. The node puts it into its log.
///
/// Which version follows the node's log says, as any tier within reach has it.
pub fn propose_retention(
    home: &Home,
    node: Option<NodeId>,
    rules: Rules,
    roots: &[StatementKey],
    clock: &dyn Clock,
) -> Result<Envelope, HomeError> {
    let fleet = home.fleet()?;
    let own = home.enrolment(&fleet)?.0.node();
    let node = node.unwrap_or(own);
    let held = if node == own {
        region_retention(home)?.map_or(0, |held| held.version)
    } else {
        let mut held = 0;
        for (place, pulled) in copies_of(home, &fleet, node)? {
            let log = pulled.map_err(|e| {
                HomeError::refused(format!(
                    "{place}: {e}: which version follows cannot be told; try again when it is there"
                ))
            })?;
            held = held.max(log.state.retention().map_or(0, |(it, _)| it.version));
        }
        held
    };
    let version = held + 1;
    let it = Retention {
        fleet: fleet.id(),
        node,
        version,
        rules,
        policy: fleet.version(),
        created: clock.now(),
    };
    sign_as_root(roots, |roots| it.statement().sign(roots))
}

/// Puts a statement of what regions keep into this node's log.
pub fn apply_retention(
    home: &Home,
    envelope: &Envelope,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Retention, HomeError> {
    let fleet = home.fleet()?;
    let it = Retention::open(envelope, fleet.policy())?;
    log_statement(home, &fleet, envelope, false, clock, rng)?;
    Ok(it)
}

/// What a statement of what regions keep says, before it is signed by enough.
pub fn read_retention(envelope: &Envelope) -> Result<Retention, HomeError> {
    Ok(Statement::<Retention>::read_unverified(envelope)?.predicate)
}

/// The statement in this home's own log that new root keys have to carry over.
pub(crate) fn to_carry(home: &Home, fleet: &Fleet) -> Result<Option<Envelope>, HomeError> {
    let log = home.log(fleet)?;
    let mut state = LogState::new(fleet.clone(), log.origin().as_str());
    replay(&mut state, &log, &mut |_, _: &Accepted| ())?;
    Ok(state.retention().map(|(_, envelope)| envelope.clone()))
}

/// Which snapshots a region says expired and cannot have, by number: too young, or wanted by the rules
/// it names, even if of all stamps those are believed that suit it best.
///
/// The region decided earlier, from fewer stamps, and under the policy of that day: it is accused only
/// if no policy that the fleet ever had allows it. What may expire once may expire ever after. What it
/// let go of an earlier epoch's log was judged by that log's stamps, when it was told.
pub(crate) fn expired_too_early(
    home: &Home,
    fleet: &Fleet,
    log: &Log,
    receipts: &Receipts,
    clock: Timestamp,
) -> Result<Vec<u64>, HomeError> {
    let of_this = |notice: &Deleted| notice.origin == log.origin().as_str();
    let told: BTreeSet<(Sha256, Sha256)> = receipts
        .all_deleted()
        .filter(|(_, notice)| of_this(notice))
        .map(|(manifest, notice)| (notice.under, manifest))
        .collect();
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let mut state = LogState::new(fleet.clone(), log.origin().as_str());
    let (mut all, mut statements) = (Vec::new(), Vec::new());
    replay(&mut state, log, &mut |index, accepted| {
        if let Accepted::Retention(it) = accepted {
            statements.push((index, it.rules.clone()));
        } else if let Some((digest, manifest)) = accepted.snapshot() {
            all.push((index, digest, manifest.core.clone()));
        }
    })?;
    let witnessed = Witnessed::open(home, log.origin())?;
    let judges = judges(fleet, &region_enrolments(home, fleet)?);
    let mut early = BTreeSet::new();
    for (index, rules) in statements {
        let under = Envelope::parse(&log.entry(index)?)?.digest();
        let gone = |digest: &Sha256| told.contains(&(under, *digest));
        let claimed = all.iter().filter(|(_, digest, _)| gone(digest));
        let mut of_it: BTreeSet<u64> = claimed.map(|(_, _, core)| core.sequence).collect();
        for judge in &judges {
            if of_it.is_empty() {
                break;
            }
            let kept: Vec<Kept> = all.iter().map(|it| judge.kept(&witnessed, it, &state)).collect();
            let now = judge.now(&witnessed, clock);
            let verdicts = expire(&kept, &rules, judge.rule, now)
                .map_err(|e| HomeError::refused(e.to_string()))?;
            for (it, _) in kept.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok()) {
                of_it.remove(&it.sequence);
            }
        }
        early.extend(of_it);
    }
    Ok(early.into_iter().collect())
}

/// Who could have let something expire: the witnesses of a policy, and its rule.
struct Judge {
    roster: Roster,
    needed: u16,
    rule: Option<Rule>,
}

/// One of each policy that the fleet has had with a quorum of witnesses.
fn judges(fleet: &Fleet, regions: &[Enrolment]) -> Vec<Judge> {
    let first = fleet.genesis().policy_version;
    let mut known = Vec::new();
    let mut judges = Vec::new();
    for policy in (first..=fleet.version()).filter_map(|version| fleet.policy_of(version)) {
        let of_it = (policy.witnesses.clone(), policy.witness_quorum, policy.deletion);
        if known.contains(&of_it) {
            continue;
        }
        known.push(of_it);
        if let Some(quorum) = policy.quorum() {
            let roster = roster(&policy, regions);
            let rule = policy.deletion.map(DeletionRule::rule);
            judges.push(Judge { roster, needed: quorum.needed(), rule });
        }
    }
    judges
}

impl Judge {
    /// The latest time that any of its witnesses has signed, but for what lies ahead of the clock.
    fn now(&self, witnessed: &Witnessed, clock: Timestamp) -> Option<Timestamp> {
        let latest = witnessed.last_stamps(&self.roster).into_iter().map(|stamp| stamp.time);
        latest.filter(|time| *time <= clock.after(Seconds::days(1))).max()
    }

    fn kept(
        &self,
        witnessed: &Witnessed,
        (index, digest, core): &(u64, Sha256, ManifestCore),
        state: &LogState,
    ) -> Kept {
        let stamps = witnessed.first_stamps(&self.roster, *index, self.needed);
        Kept {
            group: Group { node: core.node.to_string(), set: core.set.clone(), class: core.class },
            sequence: core.sequence,
            created: core.created,
            then: earliest(&stamps, usize::from(self.needed)),
            tags: core.tags.clone(),
            let_go: state.forgotten(digest).is_some(),
            proven: false,
        }
    }
}

/// The earliest time at which so many operators can have signed.
fn earliest(stamps: &[Stamp<'_>], needed: usize) -> Option<Timestamp> {
    let mut first: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for it in stamps.iter().filter(|it| it.time > Timestamp(0)) {
        let time = first.entry(it.operator).or_insert(it.time);
        *time = it.time.min(*time);
    }
    let mut times: Vec<Timestamp> = first.into_values().collect();
    times.sort_unstable();
    times.get(needed.checked_sub(1)?).copied()
}
