//! What the fleet's witnesses have said of this node's log, and what that is worth.
//!
//! `witnessed/<origin>/` keeps every checkpoint of this node's own log that anybody cosigned, with
//! all cosignatures on it, named by its size. The *last* one says how far the log is witnessed; the
//! *first* one that covers a snapshot says since when others know of it, which is what its age is
//! counted from. Later cosignatures must not make it younger.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{Disk as _, Sha256, Timestamp, read_file, write_atomic};
use seawall_custodian::reached;
use seawall_policy::witness::{Quorum, Reached, Stamp};
use seawall_record::{
    Enrolment, EvidenceFile, Fleet, FleetPolicy, Introduction, LogState, Sighting,
};
use seawall_tlog::{Cosigned, Hash, Kind, Origin, Roster, SignedCheckpoint, Verifier};

use crate::epoch::keep_evidence;
use crate::home::{Home, HomeError};

/// Largest checkpoint file in bytes.
const MAX_CHECKPOINT: usize = 256 << 10;

/// The policy's witnesses by operator. Regions it does not name count as operators of their own:
/// they lift a level to 1, and are part of no quorum.
pub fn roster(policy: &FleetPolicy, regions: &[Enrolment]) -> Roster {
    let mut roster = seawall_custodian::roster(policy);
    for region in regions {
        let operator = format!("region {}", region.name);
        if let Err(e) = roster.add(&operator, &region.name, region.identity) {
            tracing::warn!(error = %e, "a region cannot cosign anything under its name");
        }
    }
    roster
}

/// The keys with which regions cosign. One whose name no signature line can carry has none.
pub fn region_cosigners<'a>(regions: impl IntoIterator<Item = &'a Enrolment>) -> Vec<Verifier> {
    let key = |it: &Enrolment| Verifier::new(&it.name, Kind::Cosigner, &it.identity).ok();
    regions.into_iter().filter_map(key).collect()
}

/// What the log's own keys and the cosigners of a home have said, of all that stands on a
/// checkpoint: whoever showed it can have added lines.
pub(crate) fn believed_lines(
    home: &Home,
    fleet: &Fleet,
    state: &LogState,
    shown: &SignedCheckpoint,
) -> Result<SignedCheckpoint, HomeError> {
    let origin = shown.checkpoint().origin.as_str();
    let mut keys = home_roster(home, fleet)?.verifiers();
    for key in state.all_subkeys() {
        keys.push(Verifier::new(origin, Kind::Signer, &key)?);
    }
    Ok(shown.with_good_lines_of(&keys))
}

/// The roster of a home: the policy's witnesses and the regions it knows.
pub fn home_roster(home: &Home, fleet: &Fleet) -> Result<Roster, HomeError> {
    Ok(roster(fleet.policy(), &region_enrolments(home, fleet)?))
}

/// The regions that this home knows.
pub(crate) fn region_enrolments(home: &Home, fleet: &Fleet) -> Result<Vec<Enrolment>, HomeError> {
    Ok(home.regions(fleet)?.into_iter().map(|(_, region)| region).collect())
}

/// Who stands behind the last checkpoint of this node's own log.
pub fn log_reached(home: &Home) -> Result<Reached, HomeError> {
    let fleet = home.fleet()?;
    let log = home.log(&fleet)?;
    let roster = home_roster(home, &fleet)?;
    let voices = Witnessed::open(home, log.origin())?.voices(&roster, log.checkpoint());
    let last = log.checkpoint().map_or(0, |it| it.checkpoint().size.saturating_sub(1));
    Ok(voices.reached(fleet.policy().quorum().as_ref(), last))
}

/// Every cosigned checkpoint of one log that this home keeps, by its size.
#[derive(Debug, Default)]
pub struct Witnessed {
    all: Cosigned,
}

fn dir_of(origin: &Origin) -> String {
    format!("witnessed/{}", origin.hash().to_hex())
}

impl Witnessed {
    /// Reads what the home keeps of a log.
    pub fn open(home: &Home, origin: &Origin) -> Result<Self, HomeError> {
        let (disk, dir) = (home.disk(), dir_of(origin));
        let mut all = Cosigned::default();
        for name in disk.list(&dir).map_err(HomeError::io(&dir))? {
            let path = format!("{dir}/{name}");
            let Some(size) = name.strip_suffix(".checkpoint").and_then(|s| s.parse::<u64>().ok())
            else {
                continue;
            };
            let Some(bytes) =
                read_file(disk.as_ref(), &path, MAX_CHECKPOINT).map_err(HomeError::io(&path))?
            else {
                continue;
            };
            let signed = SignedCheckpoint::parse(&bytes)
                .map_err(|e| HomeError::damaged(&path, e.to_string()))?;
            if signed.checkpoint().size != size || signed.checkpoint().origin != *origin {
                return Err(HomeError::damaged(&path, "another checkpoint".to_owned()));
            }
            all.add(&signed)?;
        }
        Ok(Self { all })
    }

    /// Keeps a checkpoint with the cosignatures on it, beside those it had at this size. It must be
    /// of this node's own entries.
    pub(crate) fn keep(
        &mut self,
        home: &Home,
        roster: &Roster,
        cosigned: &SignedCheckpoint,
    ) -> Result<(), HomeError> {
        if roster.stamps(cosigned).is_empty() {
            return Ok(());
        }
        let Some(merged) = self.all.add(cosigned)? else { return Ok(()) };
        let checkpoint = merged.checkpoint();
        let dir = dir_of(&checkpoint.origin);
        let path = format!("{dir}/{:020}.checkpoint", checkpoint.size);
        let disk = home.disk();
        disk.create_dir_all(&dir).map_err(HomeError::io(&dir))?;
        write_atomic(disk.as_ref(), &path, &merged.to_bytes()).map_err(HomeError::io(&path))?;
        disk.sync_dir("witnessed").map_err(HomeError::io("witnessed"))
    }

    /// Checkpoints that cover entry `index`, the smallest first.
    pub fn covering(&self, index: u64) -> impl Iterator<Item = &SignedCheckpoint> {
        self.all.covering(index)
    }

    /// Those of at least this size, the smallest first.
    pub(crate) fn since(&self, size: u64) -> impl Iterator<Item = &SignedCheckpoint> {
        self.all.iter().filter(move |it| it.checkpoint().size >= size)
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&SignedCheckpoint> {
        self.all.newest()
    }

    /// Who stands behind entry `index`.
    pub fn reached(&self, fleet: &Fleet, roster: &Roster, index: u64) -> Reached {
        reached(fleet, roster, self.covering(index))
    }

    /// Who stands behind each of many entries; every signature is checked once.
    pub(crate) fn voices(&self, roster: &Roster, newest: Option<&SignedCheckpoint>) -> Voices {
        let mut by_size: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for signed in self.all.iter().chain(newest) {
            let names = roster.stamps(signed).into_iter().map(|(name, _)| name.to_owned());
            by_size.entry(signed.checkpoint().size).or_default().extend(names);
        }
        // Whoever vouches for more entries vouches for fewer.
        let mut so_far = BTreeSet::new();
        for names in by_size.values_mut().rev() {
            so_far.extend(names.iter().cloned());
            names.clone_from(&so_far);
        }
        Voices(by_size)
    }

    /// The first stamps on entry `index` of so many operators, from the first checkpoint that has
    /// them; every stamp there is, if none has.
    pub(crate) fn first_stamps<'r>(
        &self,
        roster: &'r Roster,
        index: u64,
        needed: u16,
    ) -> Vec<Stamp<'r>> {
        stamped(self.all.first_stamps(roster, index, needed))
    }

    /// The last stamps there are.
    pub(crate) fn last_stamps<'r>(&self, roster: &'r Roster) -> Vec<Stamp<'r>> {
        stamped(self.all.stamps(roster))
    }
}

/// Operators by the size of what they vouch for, those of larger sizes included.
pub(crate) struct Voices(BTreeMap<u64, BTreeSet<String>>);

impl Voices {
    /// Who stands behind entry `index`.
    pub(crate) fn reached(&self, quorum: Option<&Quorum>, index: u64) -> Reached {
        let names = self.0.range(index.saturating_add(1)..).next().map(|(_, names)| names);
        Reached::count(quorum, names.into_iter().flatten().map(String::as_str))
    }
}

fn stamped(stamps: Vec<(&str, Timestamp)>) -> Vec<Stamp<'_>> {
    stamps.into_iter().map(|(operator, time)| Stamp { operator, time }).collect()
}

type Shown = ([Sighting; 2], Option<(Hash, Vec<Hash>)>);

/// Writes an evidence file about a log whose state is known. None where nobody enrolled its node.
pub(crate) fn write_evidence(
    home: &Home,
    fleet: &Fleet,
    state: &LogState,
    finding: &str,
    (sightings, beginning): Shown,
) -> Result<Option<String>, HomeError> {
    let Some(enrolment) = state.enrolment_envelope() else { return Ok(None) };
    let author = Introduction::new(enrolment, &certificates(state));
    let file = EvidenceFile::new(fleet, author, finding, sightings, beginning);
    let json = file.to_json();
    let name = format!("{}.json", &Sha256::of(&json).to_hex()[..16]);
    keep_evidence(home, &name, &json).map(Some)
}

/// The statements that certify a log's subkeys, those that end last at the end.
pub(crate) fn certificates(state: &LogState) -> Vec<seawall_sign::Envelope> {
    let mut all: Vec<_> = state.all_subkeys().filter_map(|key| state.subkey(key)).collect();
    all.sort_by_key(|(subkey, _)| subkey.not_after);
    all.into_iter().map(|(_, envelope)| envelope.clone()).collect()
}
