//! What a node knows that decides about its snapshots, and the policy it was told to keep.
//!
//! Rules count by the time the node says it made a snapshot. Whether one is old enough to go is
//! judged by those who signed for it: receipts of regions and cosignatures of witnesses are stamps
//! of their operators, and `seawall_policy::witness` says what they are worth. A node whose clock
//! was set forward, by a thief or a flat battery, cannot expire its past, and neither can one
//! witness. Where nobody can sign (no region and no witness, or only a bucket) there is only the
//! node's own clock, and age alone decides.

use std::collections::BTreeSet;

use seawall_base::{Clock, Sha256, Timestamp};
use seawall_policy::Span;
use seawall_policy::retention::{Group, Guards, Rules, Snapshot, Verdict, decide};
use seawall_policy::witness::{Stamp, witnessed_now, witnessed_then};
use seawall_record::{Enrolment, Fleet, Hex32, LogState, Manifest, Receipt};
use seawall_tlog::{Log, Roster};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::home::{Home, HomeError, replay};
use crate::tiers::receipts_of;
use crate::witnesses::{Witnessed, home_roster};

const FORMAT: &str = "seawall-retention/1";
const PATH: &str = "retention.json";

/// How long a snapshot stays at least, unless the policy says otherwise.
pub const DEFAULT_MIN_AGE: Span = Span::hours(24);

/// How many other tiers must hold what is forgotten, unless the policy says otherwise, where any
/// other tier is known.
pub const DEFAULT_COPIES: u32 = 2;

/// A retention policy as it is saved in a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    format: String,
    /// What is wanted.
    pub rules: Rules,
    /// What is younger stays; [`DEFAULT_MIN_AGE`] if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age: Option<Span>,
    /// How many other tiers must hold it; [`DEFAULT_COPIES`] if unset, and none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
}

impl Retention {
    /// A policy of these rules.
    pub fn new(rules: Rules, min_age: Option<Span>, copies: Option<u32>) -> Self {
        Self { format: FORMAT.to_owned(), rules, min_age, copies }
    }

    /// The policy saved in a home, if any.
    pub fn saved(home: &Home) -> Result<Option<Self>, HomeError> {
        if home.read(PATH)?.is_none() {
            return Ok(None);
        }
        let it: Self = home.read_json(PATH)?;
        if it.format != FORMAT {
            return Err(HomeError::damaged(PATH, format!("format {:?}", it.format)));
        }
        it.rules.check().map_err(|e| HomeError::damaged(PATH, e.to_string()))?;
        Ok(Some(it))
    }

    /// Saves it in a home, in place of an earlier one.
    pub fn save(&self, home: &Home) -> Result<(), HomeError> {
        self.rules.check()?;
        let _lock = home.lock()?;
        home.write_json(PATH, self)
    }

    /// What must hold before a snapshot goes, in a home with so many other tiers.
    pub(crate) fn guards(&self, tiers: usize) -> Guards {
        let copies = if tiers == 0 { 0 } else { DEFAULT_COPIES };
        Guards {
            min_age: self.min_age.unwrap_or(DEFAULT_MIN_AGE),
            copies: self.copies.unwrap_or(copies),
        }
    }
}

/// A snapshot of this node that is not forgotten.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its id.
    pub digest: Sha256,
    /// Its manifest.
    pub manifest: Manifest,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// What is to become of each snapshot of this node.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Every snapshot that is not forgotten yet, oldest first.
    pub snapshots: Vec<Held>,
    /// What had to hold.
    pub guards: Guards,
    /// How many other tiers this home knows.
    pub tiers: usize,
    /// The time that counts as now.
    pub now: Timestamp,
    /// Other tiers that could not be asked, each with the reason: their copies did not count.
    pub unreached: Vec<(String, String)>,
}

impl Decision {
    /// The snapshots that go.
    pub fn to_forget(&self) -> impl Iterator<Item = &Held> {
        self.snapshots.iter().filter(|s| s.verdict == Verdict::Forget)
    }
}

/// What other tiers say of this node's snapshots.
pub(crate) struct Evidence {
    /// Counting receipts of each region, those of its present incarnation, with its operator.
    regions: Vec<(String, Vec<Receipt>)>,
    witnessed: Witnessed,
    roster: Roster,
    /// How many operators the policy wants to hear before a time is believed.
    quorum: Option<u16>,
    /// Entries of this log that the bucket holds.
    in_bucket: Option<u64>,
    has_bucket: bool,
    unreached: Vec<(String, String)>,
}

/// What the bucket answered: how many entries of the log it holds, none if it could not be asked.
pub(crate) struct InBucket {
    size: Option<u64>,
    unreached: Vec<(String, String)>,
}

/// Asks the bucket, which may take its time: not under a lock.
pub(crate) fn ask_bucket(home: &Home, log: &Log) -> InBucket {
    let mut unreached = Vec::new();
    let size = Bucket::of(home).transpose().and_then(|bucket| {
        let size = bucket.and_then(|b| b.mirrored(log));
        size.map_err(|e| unreached.push(("the bucket".to_owned(), e.to_string()))).ok()
    });
    InBucket { size, unreached }
}

impl Evidence {
    /// Gathers what is here. Speaks to no region: receipts are kept in the home.
    pub(crate) fn gather(
        home: &Home,
        fleet: &Fleet,
        log: &Log,
        bucket: &InBucket,
    ) -> Result<Self, HomeError> {
        let mut regions = Vec::new();
        for (_, region) in home.regions(fleet)? {
            let all = receipts_of(home, &region)?;
            let own = all.all().map(|(r, _)| r).filter(|r| r.origin == log.origin().as_str());
            let operator = operator_of(fleet, &region);
            regions.push((operator, of_present_incarnation(own.cloned().collect())));
        }
        Ok(Self {
            regions,
            witnessed: Witnessed::open(home, log.origin())?,
            roster: home_roster(home, fleet)?,
            quorum: fleet.policy().quorum().map(|q| q.needed()),
            in_bucket: bucket.size,
            has_bucket: home.bucket().is_some(),
            unreached: bucket.unreached.clone(),
        })
    }

    fn tiers(&self) -> usize {
        self.regions.len() + usize::from(self.has_bucket)
    }

    /// How many operators it takes: the policy's quorum, or as many regions as must hold a copy.
    fn needed(&self, copies: u32) -> u16 {
        let regions = (copies as usize).min(self.regions.len());
        self.quorum.unwrap_or_else(|| u16::try_from(regions).unwrap_or(u16::MAX))
    }

    /// Now: the local clock, or earlier, if not so many operators have reached it.
    fn now(&self, clock: Timestamp, copies: u32) -> Timestamp {
        let receipts = self.regions.iter().flat_map(|(operator, receipts)| {
            receipts.iter().map(|r| Stamp { operator, time: r.created })
        });
        let stamps = receipts.chain(self.witnessed.last_stamps(&self.roster));
        // Fewer have ever signed than must: nothing has an age.
        witnessed_now(stamps, self.needed(copies), clock).unwrap_or(Timestamp(0))
    }

    fn snapshot(&self, it: &Logged, copies: u32, clock: Timestamp) -> Snapshot {
        let core = &it.manifest.core;
        let signed = |r: &&Receipt| {
            r.manifest == it.digest && r.index == it.index && r.reference_set == core.reference_set
        };
        let receipts: Vec<(&str, &Receipt)> = self
            .regions
            .iter()
            .filter_map(|(operator, r)| Some((operator.as_str(), r.iter().find(signed)?)))
            .collect();
        let needed = self.needed(copies);
        let counted = receipts.iter().map(|(operator, r)| Stamp { operator, time: r.created });
        let cosigned = self.witnessed.first_stamps(&self.roster, it.index, needed);
        let witnessed = witnessed_then(counted.chain(cosigned), needed, clock);
        let in_bucket = self.in_bucket.is_some_and(|size| it.index < size);
        Snapshot {
            group: Group { node: core.node.to_string(), set: core.set.clone(), class: core.class },
            sequence: core.sequence,
            created: core.created,
            witnessed: if needed > 0 { witnessed } else { Some(core.created) },
            tags: core.tags.clone(),
            copies: receipts.len() as u32 + u32::from(in_bucket),
            in_use: it.in_use,
            proven: it.proven,
        }
    }
}

/// Who runs a region: the operator whose witness has its key, or the region itself.
fn operator_of(fleet: &Fleet, region: &Enrolment) -> String {
    let listed = fleet.witnesses().iter().find(|w| w.key == region.identity);
    listed.map_or_else(|| format!("region {}", region.name), |w| w.operator.clone())
}

/// Receipts of the incarnation that signed last; what an earlier one signed for is not there.
fn of_present_incarnation(mut receipts: Vec<Receipt>) -> Vec<Receipt> {
    let present: Option<Hex32> = receipts.iter().max_by_key(|r| r.created).map(|r| r.incarnation);
    receipts.retain(|r| Some(r.incarnation) == present);
    receipts
}

/// A snapshot of a log that is not forgotten.
pub(crate) struct Logged {
    pub(crate) digest: Sha256,
    pub(crate) index: u64,
    pub(crate) manifest: Manifest,
    pub(crate) in_use: bool,
    /// Whether the last whole drill of it restored it.
    pub(crate) proven: bool,
}

/// The snapshots of a log that are not forgotten, oldest first, and the state of the log.
pub(crate) fn logged(fleet: &Fleet, log: &Log) -> Result<(Vec<Logged>, LogState), HomeError> {
    let mut state = LogState::new(fleet.clone(), log.origin().as_str());
    let mut all = Vec::new();
    replay(&mut state, log, &mut |index, accepted| {
        if let Some((digest, manifest)) = accepted.snapshot() {
            let manifest = manifest.clone();
            all.push(Logged { digest, index, manifest, in_use: false, proven: false });
        }
    })?;
    for it in &mut all {
        it.proven = state.is_proven(it.manifest.core.sequence)
            && state.is_chained(it.manifest.core.sequence, it.digest);
    }
    all.retain(|it| state.forgotten(&it.digest).is_none());
    Ok((all, state))
}

/// Decides for the snapshots of a log. What is being read stays: `in_use` says.
pub(crate) fn decide_for(
    snapshots: Vec<Logged>,
    evidence: &Evidence,
    retention: &Retention,
    clock: &dyn Clock,
) -> Result<Decision, HomeError> {
    let guards = retention.guards(evidence.tiers());
    let clock = clock.now();
    let now = evidence.now(clock, guards.copies);
    let facts: Vec<Snapshot> =
        snapshots.iter().map(|it| evidence.snapshot(it, guards.copies, clock)).collect();
    let verdicts = decide(&facts, &retention.rules, guards, now)?;
    let held = snapshots.into_iter().zip(verdicts).map(|(it, verdict)| Held {
        digest: it.digest,
        manifest: it.manifest,
        verdict,
    });
    let (snapshots, tiers) = (held.collect(), evidence.tiers());
    Ok(Decision { snapshots, guards, tiers, now, unreached: evidence.unreached.clone() })
}

/// Which snapshots somebody reads at this moment.
pub(crate) fn mark_readers(home: &Home, snapshots: &mut [Logged]) -> Result<(), HomeError> {
    // Only snapshots that were ever read have a lock file.
    let ever: BTreeSet<String> = home.ever_read()?;
    for it in snapshots.iter_mut().filter(|it| ever.contains(&it.digest.to_hex())) {
        it.in_use = home.lock_out_readers(it.digest)?.is_none();
    }
    Ok(())
}
