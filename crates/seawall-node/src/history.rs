//! Whether a snapshot still stands in its log where its request says, in an unbroken history.
//!
//! A request proves inclusion under a checkpoint its author signed. Between then and now a
//! thief of the author's keys could have signed another history; whoever keeps a copy of the
//! log knows better. Nobody reachable is no reason to refuse: a check that made data unopenable
//! would be worse than none, so the level reached is returned and shown instead.

use seawall_base::Sha256;
use seawall_custodian::Examined;
use seawall_sign::Envelope;

use crate::home::{Home, HomeError};
use crate::tiers::PulledLog;

/// Who vouches for the history a snapshot stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouched {
    /// This node's own log, replayed.
    OwnLog,
    /// The copy of the log in this region or bucket, replayed and compared with what was seen.
    Copy(String),
    /// Nobody could be asked: only the author's signature stands.
    Nobody,
}

/// Replays the log of the snapshot as far as anybody has it, and finds the manifest in its place.
pub fn check_history(
    home: &Home,
    examined: &Examined,
    logs: &[PulledLog],
) -> Result<Vouched, HomeError> {
    let fleet = home.fleet()?;
    let origin = &examined.dossier.request.origin;
    let (index, digest) = (examined.dossier.request.index, examined.dossier.manifest_digest);
    let own = home.log(&fleet)?;
    if own.origin().as_str() == origin {
        home.log_state(&fleet, &own)?;
        compare(&own.entry(index)?, digest, "this node's log")?;
        return Ok(Vouched::OwnLog);
    }
    let Some(log) = logs.iter().find(|l| l.origin.as_str() == origin) else {
        return Ok(Vouched::Nobody);
    };
    // A copy that is known to lag is no word against what it has not.
    if log.behind.is_some() && log.entry(index).is_none() {
        return Ok(Vouched::Nobody);
    }
    let entry = log.entry(index).ok_or_else(|| {
        HomeError::refused(format!(
            "{} has only {} entries of the snapshot's log, not entry {index}: it lags or was rolled back",
            log.region,
            log.state.entries()
        ))
    })?;
    compare(entry, digest, &log.region)?;
    Ok(Vouched::Copy(log.region.clone()))
}

fn compare(entry: &[u8], digest: Sha256, place: &str) -> Result<(), HomeError> {
    if Envelope::parse(entry)?.digest() == digest {
        return Ok(());
    }
    Err(HomeError::refused(format!(
        "{place} has another entry where the request has its manifest: the history was forked; find out which is true before restoring"
    )))
}
