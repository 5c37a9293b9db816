//! Bringing the manifests of new snapshots to the custodians whose machines answer: each looks at
//! its post-quantum share at once, and says how it is.
//!
//! How far each custodian has got is kept by its signing key; who was away gets the rest at the
//! next sync. A person's machine may be off at night: that is said, and a sync does not fail for it.
//! A manifest that a custodian will not look at is named and not brought again.

use bytes::Bytes;
use http::{Method, StatusCode};
use seawall_base::{Disk as _, Seconds, Sha256, Timestamp};
use seawall_custodian::message::{ArrivalStatus, MAX_STATUS, ShareFound};
use seawall_link::{Connection, JSON, LinkError, Message};
use seawall_record::{
    Arrival, CustodianRecord, EscrowGroupRecord, Fleet, Introduction, LogState, Manifest,
};
use seawall_sign::{Envelope, Predicate as _, Statement, VerifyingKey, predicate_type};
use seawall_tlog::Log;
use serde::{Deserialize, Serialize};

use crate::custodians::{PATIENCE, refusal};
use crate::home::{Home, HomeError};
use crate::tiers::{SyncDone, SyncOutcome};

const DIR: &str = "custodians";
const FORMAT: &str = "seawall-brought/1";

/// Entries of the log read at a time.
const STEP: u64 = 256;

/// What came of bringing manifests to one custodian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    /// Shares that it found good.
    pub good: u64,
    /// Manifests that have no share for it.
    pub without: u64,
    /// Manifests that it complains of, and why.
    pub complaints: Vec<(Sha256, String)>,
    /// That it was not reached, with more for it.
    pub away: Option<Away>,
}

/// A custodian whose machine does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// How that was noticed.
    pub why: String,
    /// When the first snapshot was made whose share it has not looked at.
    pub since: Timestamp,
}

impl Away {
    /// From then on somebody should ask after it.
    const LONG: Seconds = Seconds::days(7);

    /// Whether it has been away for a week. Until it looks, nobody knows whether what it was dealt
    /// is good.
    pub fn is_long(&self, now: Timestamp) -> bool {
        now >= self.since.after(Self::LONG)
    }
}

/// The manifests of this node's own log, each with what shows who signed it: what a custodian needs
/// to give its post-quantum shares on.
pub fn capsules(home: &Home) -> Result<Vec<Arrival>, HomeError> {
    let fleet = home.fleet()?;
    let log = home.log(&fleet)?;
    let state = home.log_state(&fleet, &log)?;
    let (mut out, mut next) = (Vec::new(), 0);
    while next < log.size() {
        let end = (next + STEP).min(log.size());
        for entry in log.entries(next..end)? {
            let found = arrival(&fleet, &state, |_| true, &entry)?;
            out.extend(found.map(|(_, _, arrival)| arrival));
        }
        next = end;
    }
    Ok(out)
}

/// Up to where a custodian was brought the manifests of a log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    format: String,
    log: String,
    next: u64,
}

/// Brings what is new to every custodian of a post-quantum group that has an endpoint. One that
/// fails does not stop the others.
pub(crate) fn bring_manifests(
    home: &Home,
    fleet: &Fleet,
    log: &Log,
    state: &LogState,
    outcomes: &mut Vec<SyncOutcome>,
) {
    let mut seen: Vec<VerifyingKey> = Vec::new();
    let groups = fleet.groups().iter().filter(|group| group.suite.is_some());
    for custodian in groups.flat_map(|group: &EscrowGroupRecord| &group.custodians) {
        if custodian.endpoint.is_none() || seen.contains(&custodian.signing_key) {
            continue;
        }
        seen.push(custodian.signing_key);
        let result = bring(home, fleet, log, state, custodian);
        if result.as_ref().is_ok_and(|brought| *brought == Brought::default()) {
            continue;
        }
        let region = format!("custodian {}", custodian.name);
        outcomes.push(SyncOutcome { region, result: result.map(SyncDone::Custodian) });
    }
}

fn bring(
    home: &Home,
    fleet: &Fleet,
    log: &Log,
    state: &LogState,
    custodian: &CustodianRecord,
) -> Result<Brought, HomeError> {
    let path = format!("{DIR}/{}.json", custodian.signing_key.node_id().to_hex());
    let mut place = match home.read(&path)? {
        Some(_) => home.read_json::<Place>(&path)?,
        None => Place { format: FORMAT.to_owned(), log: String::new(), next: 0 },
    };
    if place.format != FORMAT {
        return Err(HomeError::damaged(&path, "not a format this version knows"));
    }
    if place.log != log.origin().as_str() {
        (place.log, place.next) = (log.origin().as_str().to_owned(), 0);
    }
    let is_theirs = |group: &EscrowGroupRecord| {
        group.suite.is_some()
            && group.custodians.iter().any(|c| c.signing_key == custodian.signing_key)
    };
    let (begun, mut connection, mut since) = (place.next, None, Timestamp(0));
    let mut brought = Brought::default();
    let stopped = loop {
        if place.next >= log.size() {
            break Ok(());
        }
        let end = (place.next + STEP).min(log.size());
        let mut entries = log.entries(place.next..end)?.into_iter();
        let failed = entries.find_map(|entry| {
            let arrived = arrival(fleet, state, is_theirs, &entry).transpose()?;
            let done = arrived.map_err(Stopped::from).and_then(|(digest, created, arrival)| {
                since = created;
                let open = match &mut connection {
                    Some(open) => open,
                    none => none.insert(connect(home, custodian)?),
                };
                note(&mut brought, digest, send(open, &arrival)?);
                Ok(())
            });
            done.err()
        });
        match failed {
            Some(Stopped::Away(why)) => {
                brought.away = Some(Away { why, since });
                break Ok(());
            }
            Some(Stopped::Failed(e)) => break Err(e),
            None => place.next = end,
        }
    };
    if place.next != begun {
        home.disk().create_dir_all(DIR).map_err(HomeError::io(DIR))?;
        home.write_json(&path, &place)?;
    }
    stopped.map(|()| brought)
}

/// Why a custodian was brought no more.
enum Stopped {
    Away(String),
    Failed(HomeError),
}

impl From<HomeError> for Stopped {
    fn from(e: HomeError) -> Self {
        Self::Failed(e)
    }
}

impl From<LinkError> for Stopped {
    fn from(e: LinkError) -> Self {
        match e {
            LinkError::Retry(why) => Self::Away(format!("not reached: {why}")),
            e => Self::Failed(HomeError::refused(e.to_string())),
        }
    }
}

fn connect(home: &Home, custodian: &CustodianRecord) -> Result<Connection, Stopped> {
    let endpoint = custodian.endpoint.as_ref();
    let endpoint = endpoint.ok_or_else(|| HomeError::refused("it has no endpoint"))?;
    let own = home.transport()?;
    Ok(Connection::open(&endpoint.address, endpoint.transport, &own, PATIENCE, None)?)
}

/// What an entry of the log is to a custodian: a manifest of a group that is wanted, with whatever
/// shows who signed it, its digest and time; nothing if it is anything else.
fn arrival(
    fleet: &Fleet,
    state: &LogState,
    is_wanted: impl Fn(&EscrowGroupRecord) -> bool,
    entry: &[u8],
) -> Result<Option<(Sha256, Timestamp, Arrival)>, HomeError> {
    let envelope = Envelope::parse(entry)?;
    if predicate_type(&envelope)? != Manifest::TYPE {
        return Ok(None);
    }
    let core = Statement::<Manifest>::read_unverified(&envelope)?.predicate.core;
    let is_wanted = fleet.group(core.group).is_some_and(is_wanted);
    let certified = envelope.signers().find_map(|key| state.subkey(key));
    let (true, Some((_, certificate)), Some(enrolment)) =
        (is_wanted, certified, state.enrolment_envelope())
    else {
        return Ok(None);
    };
    let author = Introduction::new(enrolment, std::slice::from_ref(certificate));
    Ok(Some((envelope.digest(), core.created, Arrival::new(author, &envelope))))
}

/// What a custodian said to a manifest; `Err` is why it did not look.
type Said = Result<ArrivalStatus, String>;

fn send(connection: &mut Connection, arrival: &Arrival) -> Result<Said, Stopped> {
    let message = Message {
        method: Method::POST,
        path: "/v1/manifest".to_owned(),
        content_type: JSON,
        body: Bytes::from(arrival.to_json()),
        limit: MAX_STATUS,
    };
    let answer = connection.request(&message)?;
    match answer.status {
        StatusCode::OK => Ok(serde_json::from_slice(&answer.body)
            .map_err(|e| format!("it answers against the protocol: {e}"))),
        // It will not look at this one, today or later.
        StatusCode::UNPROCESSABLE_ENTITY => Ok(Err(refusal(&answer).0)),
        _ => {
            let (why, remedy) = refusal(&answer);
            Err(HomeError::refused(format!("{why}; {remedy}")).into())
        }
    }
}

fn note(brought: &mut Brought, manifest: Sha256, said: Said) {
    let complaint = match said {
        Ok(status) if status.manifest != manifest => "it speaks of another manifest".to_owned(),
        Ok(ArrivalStatus { share: ShareFound::Good, .. }) => {
            brought.good += 1;
            return;
        }
        Ok(ArrivalStatus { share: ShareFound::None, .. }) => {
            brought.without += 1;
            return;
        }
        Ok(ArrivalStatus { share: ShareFound::Bad, why, .. }) | Err(why) => why,
    };
    let printable = complaint.chars().filter(|c| !c.is_control()).take(500).collect();
    brought.complaints.push((manifest, printable));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_for_a_week_is_asked_after() {
        let away = Away { why: "off".to_owned(), since: Timestamp(1_000_000) };
        let week = 7 * 24 * 3_600;
        assert!(!away.is_long(Timestamp(1_000_000 + week - 1)));
        assert!(away.is_long(Timestamp(1_000_000 + week)));
        // A clock that was set back says nothing about anybody.
        assert!(!away.is_long(Timestamp(0)));
    }
}
