//! A drill without keys: everything held here is read and hashed, and what other tiers hold of it.
//!
//! Of this node it is what `verify` does. Of a region, this node's log is read back entry by entry,
//! and the objects of every snapshot that is not forgotten are fetched, or some of them at random,
//! and hashed. Of a bucket everything is read.

use seawall_backup::restore::Objects as _;
use seawall_base::{Clock, ObjectId, Rng};
use seawall_record::reference_set::{Pages, Visit, difference};
use seawall_record::{DrillKind, Fleet, ReferenceSet, Verdict};
use seawall_store::Subset;
use seawall_sync::{Details, Phase};

use super::record::{Drilled, put_on_record};
use super::watch::Watch;
use crate::bucket::Bucket;
use crate::retention::logged;
use crate::tiers::{RegionLink, page_of, pull_logs};
use crate::verify::{ReadData, VerifyOptions, verify};
use crate::{Home, HomeError};

/// Objects asked for at once.
const BATCH: usize = 64;

/// What to scrub.
#[derive(Debug, Clone, Default)]
pub struct ScrubDrill {
    /// Threads that read and hash here.
    pub workers: usize,
    /// Regions, by name.
    pub regions: Vec<String>,
    /// Also the bucket.
    pub bucket: bool,
    /// So many objects of each region, chosen at random, instead of all.
    pub sample: Option<u64>,
}

/// Reads, hashes, and puts what was found on record.
pub fn drill_scrub(
    home: &Home,
    plan: &ScrubDrill,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    progress: &mut dyn FnMut(u64),
) -> Result<Drilled, HomeError> {
    let fleet = home.fleet()?;
    let (own, _) = home.enrolment(&fleet)?;
    let links = links(home, &fleet, plan)?;
    let mut details = Details::new(DrillKind::Scrub, fleet.id(), own.node(), clock.now());
    details.whole = plan.sample.is_none();
    details.tiers.push("this node".to_owned());
    let mut findings = Vec::new();
    let mut watch = Watch::start();
    own_store(home, plan, &mut details, &mut findings, progress)?;
    for (name, link) in links {
        let check = format!("region {name}");
        let read = link.and_then(|link| region(home, &fleet, &link, plan.sample, rng, progress));
        tell(&mut details, &mut findings, &check, read);
        details.tiers.push(name);
    }
    if plan.bucket {
        tell(&mut details, &mut findings, "bucket", bucket(home, progress));
        details.tiers.push("the bucket".to_owned());
    }
    details.phases.push(Phase { name: "read".to_owned(), millis: watch.lap() });
    put_on_record(home, details, findings, clock, rng)
}

/// What one tier held.
struct Read {
    objects: u64,
    bytes: u64,
    wrong: Vec<String>,
}

fn tell(
    details: &mut Details,
    findings: &mut Vec<String>,
    check: &str,
    read: Result<Read, HomeError>,
) {
    match read {
        Ok(Read { objects, bytes, wrong }) => {
            details.items += objects;
            details.bytes += bytes;
            let verdict = if wrong.is_empty() { Verdict::Passed } else { Verdict::Failed };
            let said = format!("{objects} objects, {bytes} bytes; {} findings", wrong.len());
            details.note(check, verdict, said);
            findings.extend(wrong.into_iter().map(|w| format!("{check}: {w}")));
        }
        Err(e) => {
            details.note(check, Verdict::Failed, "it could not be read");
            findings.push(format!("{check}: {e}"));
        }
    }
}

/// Regions by name, each connected or not.
type Links = Vec<(String, Result<RegionLink, HomeError>)>;

/// The regions named, each connected or not; a name nobody has is an error before anything is read.
fn links(home: &Home, fleet: &Fleet, plan: &ScrubDrill) -> Result<Links, HomeError> {
    if plan.bucket && home.bucket().is_none() {
        return Err(HomeError::refused("this home has no bucket; leave --bucket out"));
    }
    let known = home.regions(fleet)?;
    let one = |name: &String| {
        let (address, region) = known.iter().find(|(_, r)| r.name == *name).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(_, r)| r.name.as_str()).collect();
            HomeError::refused(format!("no region {name:?}; this home knows {names:?}"))
        })?;
        Ok((name.clone(), RegionLink::open(home, fleet, address, region.clone())))
    };
    plan.regions.iter().map(one).collect()
}

fn own_store(
    home: &Home,
    plan: &ScrubDrill,
    details: &mut Details,
    findings: &mut Vec<String>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), HomeError> {
    let read = ReadData::Subset(Subset::All);
    let options = VerifyOptions { workers: plan.workers.max(1), read, repair: false };
    let report = verify(home, &options, &mut |p, _| progress(p.bytes))?.report;
    let wrong: Vec<_> =
        report.findings.iter().map(|f| format!("{} ({}); {}", f.what, f.place, f.remedy)).collect();
    let more = report.more_findings;
    let said = format!(
        "{} entries, {} snapshots, {} receipts",
        report.entries, report.snapshots, report.receipts
    );
    let is_clean = report.is_clean();
    tell(
        details,
        findings,
        "own store",
        Ok(Read { objects: report.objects, bytes: report.bytes, wrong }),
    );
    let verdict = if is_clean { Verdict::Passed } else { Verdict::Failed };
    details.note("own log", verdict, said);
    if more > 0 {
        findings.push(format!("own store: and {more} more"));
    }
    Ok(())
}

/// Reads this node's log back from a region, and the objects of its snapshots.
fn region(
    home: &Home,
    fleet: &Fleet,
    link: &RegionLink,
    sample: Option<u64>,
    rng: &mut dyn Rng,
    progress: &mut dyn FnMut(u64),
) -> Result<Read, HomeError> {
    let own = home.log(fleet)?;
    let mut out = Read { objects: 0, bytes: 0, wrong: Vec::new() };
    let mut mirrored = None;
    for pulled in pull_logs(home, fleet, link)? {
        match pulled {
            Ok(log) if log.origin == *own.origin() => mirrored = Some(log),
            Ok(_) => {}
            Err(e) => out.wrong.push(e.to_string()),
        }
    }
    let Some(mirrored) = mirrored else {
        out.wrong.push("it does not have this node's log; run `seawall sync`".to_owned());
        return Ok(out);
    };
    let entries = mirrored.checkpoint.checkpoint().size;
    if own.root_at(entries.min(own.size()))? != mirrored.checkpoint.checkpoint().root {
        out.wrong.push("its copy of this node's log is another log".to_owned());
        return Ok(out);
    }
    let (snapshots, _) = logged(fleet, &own)?;
    let sets = snapshots.iter().filter(|s| s.index < entries);
    let ids = members(link, sets.map(|s| s.manifest.core.reference_set), sample, rng)?;
    for batch in ids.chunks(BATCH) {
        link.get(batch, &mut |id, got| match got {
            Ok(bytes) if ObjectId::of(&bytes) == id => {
                out.objects += 1;
                out.bytes += bytes.len() as u64;
            }
            Ok(_) => out.wrong.push(format!("object {id} is not what its id says")),
            Err(e) => out.wrong.push(e.to_string()),
        });
        progress(out.bytes);
    }
    Ok(out)
}

/// Pages of a reference set as a region gives them.
struct Remote<'a>(&'a RegionLink);

impl Pages for Remote<'_> {
    fn page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        page_of(self.0, id)
    }
}

/// The objects of these sets, each once, or so many of them at random (reservoir sampling).
fn members(
    link: &RegionLink,
    sets: impl Iterator<Item = ReferenceSet>,
    sample: Option<u64>,
    rng: &mut dyn Rng,
) -> Result<Vec<ObjectId>, HomeError> {
    let (mut chosen, mut seen, mut previous) = (Vec::new(), 0_u64, None);
    for set in sets {
        difference(&Remote(link), previous.as_ref(), &set, &mut |visit| {
            let Visit::Member(member) = visit else { return };
            seen += 1;
            if sample.is_none_or(|n| (chosen.len() as u64) < n) {
                chosen.push(member.id);
                return;
            }
            let mut bytes = [0; 8];
            rng.fill(&mut bytes);
            let at = u64::from_le_bytes(bytes) % seen;
            if let Some(slot) = chosen.get_mut(at as usize) {
                *slot = member.id;
            }
        })?;
        previous = Some(set);
    }
    Ok(chosen)
}

fn bucket(home: &Home, progress: &mut dyn FnMut(u64)) -> Result<Read, HomeError> {
    let bucket = Bucket::of(home)?;
    let bucket = bucket.ok_or_else(|| HomeError::refused("this home has no bucket"))?;
    let (objects, bytes, found) = bucket.verify(&mut |bytes| progress(bytes))?;
    let wrong = found.iter().map(|f| format!("{} ({}); {}", f.what, f.place, f.remedy)).collect();
    Ok(Read { objects, bytes, wrong })
}
