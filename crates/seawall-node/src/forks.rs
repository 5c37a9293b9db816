//! Proof of forks that regions keep: fetched, judged here, and kept here as well.
//!
//! A region is not believed: what it shows counts only if both checkpoints are signed by keys that
//! this fleet's root keys lead to, and cannot both be true.

use seawall_base::Sha256;
use seawall_record::{EvidenceFile, Fleet};
use seawall_tlog::{Kind, Misconduct, Origin, Pair, SignedCheckpoint, Verifier};
use serde_json::value::RawValue;

use crate::epoch::keep_evidence;
use crate::home::{Home, HomeError};
use crate::tiers::RegionLink;

/// Most files that are looked at of one log.
const MAX_FILES: usize = 16;

/// What a region can prove of the logs it shows, each finding in words. Logs of members who were
/// revoked since are passed over: that is what was to be done about them.
pub fn forks_shown(
    home: &Home,
    fleet: &Fleet,
    link: &RegionLink,
) -> Result<Vec<String>, HomeError> {
    let mut out = Vec::new();
    for summary in seawall_sync::Tier::logs(&link.tier)? {
        let Ok(origin) = summary.origin.parse::<Origin>() else { continue };
        let revoked = |(_, node, epoch)| fleet.is_revoked(node, epoch);
        if origin.node().is_some_and(revoked) {
            continue;
        }
        let body = link.tier.evidence(&origin)?;
        let files: Vec<Box<RawValue>> = serde_json::from_slice(&body).map_err(|e| {
            HomeError::refused(format!("{}: evidence about {origin}: {e}", link.region.name))
        })?;
        for file in files.into_iter().take(MAX_FILES) {
            let json = file.get().as_bytes();
            // A file that proves nothing is no finding about the log; the region may have made it.
            if !proves_fork(fleet, &origin, json).unwrap_or(false) {
                continue;
            }
            let name = format!("{}.json", &Sha256::of(json).to_hex()[..16]);
            let path = keep_evidence(home, &name, json)?;
            let region = &link.region.name;
            out.push(format!(
                "{region} has proof that log {origin} forked: its keys are in two hands, or its node lies; both checkpoints are in {path}; revoke it"
            ));
        }
    }
    Ok(out)
}

fn proves_fork(fleet: &Fleet, origin: &Origin, json: &[u8]) -> Result<bool, HomeError> {
    let file = EvidenceFile::parse(json)?;
    let opened = file.open()?;
    if opened.fleet.id() != fleet.id() || opened.author.origin() != origin.as_str() {
        return Err(HomeError::refused("the evidence is of another fleet or log"));
    }
    let first = SignedCheckpoint::parse(file.first.checkpoint.as_bytes())?;
    let second = SignedCheckpoint::parse(file.second.checkpoint.as_bytes())?;
    let pair = Pair::new(first, second, file.beginning())
        .map_err(|e| HomeError::refused(e.to_string()))?;
    let keys: Vec<Verifier> = opened
        .author
        .keys()
        .map(|key| Verifier::new(origin.as_str(), Kind::Signer, &key))
        .collect::<Result<_, _>>()?;
    Ok(pair.judge(&keys, &[]).iter().any(|found| matches!(found, Misconduct::LogForked)))
}
