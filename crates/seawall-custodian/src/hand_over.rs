//! Post-quantum shares of snapshots given on to the custodians of a group that was shared anew.
//!
//! A re-sharing moves shares of the group; those of single snapshots are dealt again, one by one,
//! by whoever has them. What comes of it are files of public bytes: those who come after keep them
//! beside their shares, whoever restores beside the request.
//!
//! Whom a share is dealt to is said by the group's file alone, which its participants have signed;
//! a policy names the same custodians later, but its root keys could name others.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{Clock, Sha256};
use seawall_escrow::{
    CheckedCapsule, CheckedHandOver, DealingError, HandOver, KemSecret, PqShare, Recipients,
};
use seawall_record::{Arrival, Fleet, GroupFile, HandOverFile, HandedOver, Hex32, ShareHandOver};
use seawall_sign::{Envelope, Signer};

use crate::{ArrivedManifest, CustodianError, CustodianHome, CustodyError};

/// Deals a leaving custodian's shares of some snapshots to those who come after it: the statement
/// it signs, and the dealings, in the same order. `shares` are pairs of a manifest's digest and
/// the share, at most [`ShareHandOver::MAX_SHARES`].
pub fn hand_over_shares(
    about: &ShareHandOver,
    shares: &[(Sha256, PqShare)],
    recipients: &Recipients,
    signer: &dyn Signer,
) -> Result<(Envelope, Vec<HandOver>), CustodianError> {
    let mut dealings = Vec::new();
    let mut handed = Vec::new();
    for (manifest, share) in shares {
        let dealing = HandOver::make(share, recipients);
        handed.push(HandedOver { manifest: *manifest, dealing: Hex32(dealing.digest()) });
        dealings.push(dealing);
    }
    let statement = ShareHandOver { shares: handed, ..about.clone() }.statement();
    Ok((statement.sign(&[signer])?, dealings))
}

/// What a custodian gave on.
#[derive(Debug)]
pub struct HandedOn {
    /// The file for those who come after it, and for whoever restores.
    pub file: HandOverFile,
    /// Shares in it.
    pub shares: usize,
    /// Snapshots of which this custodian has no share, and why.
    pub without: Vec<(Sha256, String)>,
}

/// Deals what this home has of these snapshots to the custodians that a group file names: its own
/// shares, and its shares of what was handed over to it before.
pub fn hand_on(
    home: &CustodianHome,
    group: &GroupFile,
    arrivals: &[Arrival],
    clock: &dyn Clock,
) -> Result<HandedOn, CustodyError> {
    let record = group.record();
    let refused = |e: &dyn std::fmt::Display| CustodyError::refused(e.to_string());
    let to = Recipients::of_record(record).map_err(|e| refused(&e))?.ok_or_else(|| {
        CustodyError::refused("the group has no post-quantum half: there is nothing to hand over")
    })?;
    let fleets = home.fleets()?;
    let named = group.ceremony().opening.fleet;
    let is_theirs = |fleet: &&Fleet| named.is_none_or(|id| id == fleet.id());
    let fleet = fleets.iter().filter(is_theirs).find(|fleet| fleet.group(record.id).is_some());
    let fleet =
        fleet.ok_or_else(|| CustodyError::refused("this home knows no fleet with that group"))?;
    let known = fleet.group(record.id);
    let previous = group.ceremony().opening.previous.as_ref();
    if known != Some(record) && (known.is_none() || known != previous) {
        let why = "the ceremony does not start from the group as this home knows it: join the fleet's newest card";
        return Err(CustodyError::refused(why));
    }
    let signing = home.signing()?;
    let keys = [home.kem()?, KemSecret::of_share_file(&signing.seed())];
    let (given, mut shares, mut without) = (home.hand_overs()?, Vec::new(), Vec::new());
    for arrival in arrivals {
        let arrived = arrival.open(fleet)?;
        if arrived.manifest.core.group != record.id {
            continue;
        }
        let manifest = arrived.envelope.digest();
        let found = ArrivedManifest::check(fleet, &arrived.envelope)
            .map(|checked| shares_of(checked.capsule(), fleet, &given, &keys));
        match found {
            Ok(own) if own.is_empty() => without.push((manifest, "it has none for it".to_owned())),
            Ok(own) => shares.extend(own.into_iter().map(|share| (manifest, share))),
            Err(e) => without.push((manifest, e.to_string())),
        }
    }
    let own = signing.public();
    let mut histories = fleet.group_history(record.id).into_iter().flat_map(|(_, g)| g.custodians);
    let custodian = histories.find(|c| c.signing_key == own).ok_or_else(|| {
        CustodyError::refused("the fleet's policy never named this home's signing key")
    })?;
    let about = ShareHandOver {
        fleet: fleet.id(),
        group: record.id,
        custodian: custodian.index,
        share_epoch: record.share_epoch,
        shares: Vec::new(),
        created: clock.now(),
    };
    let mut batches = Vec::new();
    // Half of what may be in one: an ML-DSA signature must fit beside it.
    for batch in shares.chunks(ShareHandOver::MAX_SHARES / 2) {
        let (statement, dealings) =
            hand_over_shares(&about, batch, &to, &signing).map_err(|e| refused(&e))?;
        batches.push((statement, dealings.iter().map(HandOver::encode).collect()));
    }
    Ok(HandedOn { file: HandOverFile::new(batches), shares: shares.len(), without })
}

/// The shares that one of `keys` opens: of the capsule itself, and of what was handed over.
pub fn shares_of(
    capsule: &CheckedCapsule,
    fleet: &Fleet,
    given: &[HandOverFile],
    keys: &[KemSecret],
) -> Vec<PqShare> {
    let own = capsule.open_own_share(keys);
    let handed = hand_overs_to(capsule, fleet, given);
    let handed = handed.iter().filter_map(|it| it.open_own_share(keys));
    own.into_iter().chain(handed).collect()
}

/// Checks a file of hand-overs before it is kept: every statement of this fleet in it is signed by a
/// custodian that a group of the fleet ever had, and every dealing is the one signed for. Returns
/// how many there are.
pub fn check_hand_overs(file: &HandOverFile, fleet: &Fleet) -> Result<usize, CustodianError> {
    let handed = file.open(fleet)?;
    handed.iter().try_for_each(|(said, bytes)| signed_for(said, bytes).map(drop))?;
    Ok(handed.len())
}

fn signed_for(said: &HandedOver, bytes: &[u8]) -> Result<HandOver, CustodianError> {
    let it = HandOver::decode(bytes).map_err(|e| misplaced(&e))?;
    if it.digest() != said.dealing.0 {
        let why = "has a hand-over that is not the one signed for".to_owned();
        return Err(CustodianError::Misplaced(why));
    }
    Ok(it)
}

/// The hand-overs that lead to a capsule, whatever else is in the files: of its own shares, and of
/// shares of those. Each is signed for, and for custodians whom the group ever had. A file or a
/// dealing that is none is passed over and said: others may have what it takes.
pub fn hand_overs_to(
    capsule: &CheckedCapsule,
    fleet: &Fleet,
    files: &[HandOverFile],
) -> Vec<CheckedHandOver> {
    let Some(dealing) = capsule.dealing() else { return Vec::new() };
    let mut by_parent: BTreeMap<[u8; 32], Vec<HandOver>> = BTreeMap::new();
    let passed_over = |e: &dyn std::fmt::Display| {
        tracing::warn!("a file of hand-overs is not what somebody signed, and not used: {e}");
    };
    for file in files {
        let handed = match file.open(fleet) {
            Ok(handed) => handed,
            Err(e) => {
                passed_over(&e);
                continue;
            }
        };
        for (said, bytes) in handed {
            match signed_for(&said, bytes) {
                Ok(it) => by_parent.entry(*it.parent()).or_default().push(it),
                Err(e) => passed_over(&e),
            }
        }
    }
    let group = capsule.capsule().group();
    let history = fleet.group_history(group);
    let known: Vec<_> =
        history.iter().filter_map(|(_, record)| Recipients::of_record(record).ok()?).collect();
    let (mut out, mut open, mut seen) = (Vec::new(), vec![(dealing, 0)], BTreeSet::new());
    while let Some((parent, depth)) = open.pop() {
        // A share is handed on once for each time the group changed hands.
        if depth == history.len() {
            continue;
        }
        for it in by_parent.remove(&parent).into_iter().flatten() {
            let digest = it.digest();
            let checked = known.iter().find_map(|to| it.clone().check(to).ok());
            if let (Some(checked), true) = (checked, seen.insert(digest)) {
                out.push(checked);
                open.push((digest, depth + 1));
            }
        }
    }
    out
}

fn misplaced(e: &DealingError) -> CustodianError {
    CustodianError::Misplaced(format!("has a hand-over that is none: {e}"))
}
