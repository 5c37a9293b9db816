//! Bringing the fleet's policies to the machines of its custodians and witnesses: each answers whom a
//! policy revokes until it has heard of it.
//!
//! What each machine was shown is kept by its transport key, so that a sync with nothing new asks
//! nobody. A machine that is off hears of it at a later sync; until then it is named.

use bytes::Bytes;
use http::{Method, StatusCode};
use seawall_base::Disk as _;
use seawall_custodian::message::{PoliciesKnown, PoliciesShown};
use seawall_link::{Connection, JSON, Message};
use seawall_record::{Endpoint, Fleet, MAX_BUNDLE};
use seawall_sign::SigningKey;
use serde::{Deserialize, Serialize};

use crate::arrivals::Away;
use crate::custodians::{PATIENCE, refusal};
use crate::home::{Home, HomeError};
use crate::tiers::{SyncDone, SyncOutcome};

const DIR: &str = "custodians";
const FORMAT: &str = "seawall-policy-shown/1";

/// What a machine was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The version of the fleet's policy.
    pub version: u64,
    /// That it was not reached.
    pub away: Option<Away>,
}

/// Up to which version a machine was shown the policies.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    format: String,
    version: u64,
}

/// A machine of a custodian, or of a witness.
struct Machine<'a> {
    name: &'a str,
    endpoint: &'a Endpoint,
    path: String,
}

/// Shows the policies to every machine that was not shown them yet, all at once, and takes newer ones
/// that one of them has.
pub(crate) fn tell(
    home: &Home,
    fleet: &Fleet,
    outcomes: &mut Vec<SyncOutcome>,
) -> Result<(), HomeError> {
    let mut machines = Vec::new();
    for machine in machines_of(fleet) {
        match shown_before(home, fleet, &machine) {
            Ok(version) if version >= fleet.version() => {}
            Ok(_) => machines.push(machine),
            Err(e) => {
                // It is only a note: whoever was shown them is shown them again.
                tracing::warn!(error = %e, "what a machine was shown is not known; it is shown all");
                machines.push(machine);
            }
        }
    }
    if machines.is_empty() {
        return Ok(());
    }
    let (_, enrolment) = home.enrolment(fleet)?;
    let own = home.transport()?;
    let body =
        serde_json::to_vec(&PoliciesShown::new(fleet, &enrolment)).expect("envelopes serialise");
    let message = Message {
        method: Method::POST,
        path: "/v1/policies".to_owned(),
        content_type: JSON,
        body: Bytes::from(body),
        limit: MAX_BUNDLE + 1_024,
    };
    let said: Vec<_> = std::thread::scope(|scope| {
        let one = |machine: &Machine<'_>| show(machine.endpoint, &own, &message);
        let asked: Vec<_> = machines.iter().map(|it| scope.spawn(move || one(it))).collect();
        let ended = asked.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("the thread that asked it panicked".to_owned()))
        });
        ended.collect()
    });
    for (machine, said) in machines.iter().zip(said) {
        let result = match said {
            Ok(known) => {
                let is_news = known.before < fleet.version();
                let taken = taken(home, fleet, machine, &known);
                if taken.is_ok() && !is_news {
                    continue;
                }
                taken.map(|()| None)
            }
            Err(why) => Ok(Some(Away { why, since: fleet.policy().created })),
        };
        let result = result.map(|away| SyncDone::Told(Told { version: fleet.version(), away }));
        let region = format!("machine of {}", machine.name);
        outcomes.push(SyncOutcome { region, result });
    }
    Ok(())
}

/// Up to which version a machine was shown the policies.
fn shown_before(home: &Home, fleet: &Fleet, machine: &Machine<'_>) -> Result<u64, HomeError> {
    if home.read(&machine.path)?.is_none() {
        // What a fleet was founded with nobody has to be told.
        return Ok(fleet.genesis().policy_version);
    }
    let shown: Shown = home.read_json(&machine.path)?;
    if shown.format != FORMAT {
        return Err(HomeError::damaged(&machine.path, "not a format this version knows"));
    }
    Ok(shown.version)
}

/// Whatever answers at an endpoint, each machine once.
fn machines_of(fleet: &Fleet) -> Vec<Machine<'_>> {
    let custodians = fleet.groups().iter().flat_map(|group| &group.custodians);
    let custodians = custodians.map(|it| (it.name.as_str(), it.endpoint.as_ref()));
    let witnesses = fleet.witnesses().iter().map(|it| (it.name.as_str(), it.endpoint.as_ref()));
    let mut all: Vec<Machine<'_>> = Vec::new();
    for (name, endpoint) in custodians.chain(witnesses) {
        let Some(endpoint) = endpoint else { continue };
        let path = format!("{DIR}/{}-policy.json", endpoint.transport.node_id().to_hex());
        if !all.iter().any(|it| it.path == path) {
            all.push(Machine { name, endpoint, path });
        }
    }
    all
}

/// Shows one machine the policies; what it knows then.
fn show(endpoint: &Endpoint, own: &SigningKey, message: &Message) -> Result<PoliciesKnown, String> {
    let unreached = |e| format!("not reached: {e}");
    let connection = Connection::open(&endpoint.address, endpoint.transport, own, PATIENCE, None);
    let answer = connection.map_err(unreached)?.request(message).map_err(unreached)?;
    match answer.status {
        StatusCode::OK => serde_json::from_slice(&answer.body)
            .map_err(|e| format!("it answers against the protocol: {e}")),
        StatusCode::NOT_FOUND => Err("its version of seawall takes no policies".to_owned()),
        _ => Err(refusal(&answer).0),
    }
}

fn taken(
    home: &Home,
    fleet: &Fleet,
    machine: &Machine<'_>,
    known: &PoliciesKnown,
) -> Result<(), HomeError> {
    let (of, policies) = known.policies()?;
    if of != fleet.id() {
        return Err(HomeError::refused("it showed another fleet's policies"));
    }
    let newest = home.learn_policies(policies)?;
    if newest.version() > fleet.version() {
        tracing::info!(
            version = newest.version(),
            from = machine.name,
            "a newer policy was learned"
        );
    }
    home.disk().create_dir_all(DIR).map_err(HomeError::io(DIR))?;
    let shown = Shown { format: FORMAT.to_owned(), version: fleet.version() };
    home.write_json(&machine.path, &shown)
}
