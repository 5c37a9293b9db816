//! Asking custodians whose machines answer over the network, all of a group at once.
//!
//! A custodian is reached at the endpoint that the fleet's policy names for it and at no other,
//! under the transport key pinned there. What one of them says is believed only as far as its
//! signing key in the group's record vouches for it; one that does not answer holds up nobody.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use seawall_base::{Rng, Sha256};
use seawall_custodian::message::{AliveRequest, MAX_STATUS, RequestStatus};
use seawall_custodian::{CustodianError, Examined};
use seawall_link::{Answer, Connection, ErrorBody, JSON, LinkError, Message, Patience};
use seawall_record::{Alive, CustodianRecord, EscrowGroupRecord, Hex32};
use seawall_sign::{Envelope, SigningKey};

use crate::home::{Home, HomeError};
use crate::restore::one_time_secret;

/// How long one custodian may take: its machine may have to unwrap a share in a token.
pub(crate) const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(5), request: Duration::from_mins(1) };

/// Why a custodian did not say what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No machine of its answers.
    #[error("answers by hand only: its record names no endpoint")]
    ByHand,
    /// Its machine is not reached now.
    #[error("not reached: {0}")]
    Unreached(LinkError),
    /// It said no.
    #[error("{why}; {remedy}")]
    Refused {
        /// Why.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// What it said makes no sense, or is not its.
    #[error("it answers against the protocol: {0}")]
    Protocol(String),
}

/// What one custodian of a group said.
#[derive(Debug)]
pub struct Asked<T> {
    /// Its record.
    pub custodian: CustodianRecord,
    /// What it said.
    pub said: Result<T, AskError>,
}

/// Sends a request to every custodian of its group that has an endpoint.
pub fn send_request(
    home: &Home,
    examined: &Examined,
    dossier: &[u8],
) -> Result<Vec<Asked<RequestStatus>>, HomeError> {
    let message = Message {
        method: Method::POST,
        path: "/v1/request".to_owned(),
        content_type: JSON,
        body: Bytes::copy_from_slice(dossier),
        limit: MAX_STATUS,
    };
    statuses(home, examined, &message)
}

/// Asks every custodian of a request's group how it stands.
pub fn request_status(
    home: &Home,
    examined: &Examined,
) -> Result<Vec<Asked<RequestStatus>>, HomeError> {
    let digest = examined.dossier.request_digest.to_hex();
    let message = Message {
        method: Method::GET,
        path: format!("/v1/request/{digest}"),
        content_type: JSON,
        body: Bytes::new(),
        limit: MAX_STATUS,
    };
    statuses(home, examined, &message)
}

fn statuses(
    home: &Home,
    examined: &Examined,
    message: &Message,
) -> Result<Vec<Asked<RequestStatus>>, HomeError> {
    let digest = examined.dossier.request_digest;
    let group = examined.dossier.fleet.group(examined.group.id());
    let group = group.ok_or_else(|| HomeError::refused("the fleet does not have its group"))?;
    let own = home.transport()?;
    Ok(ask_all(group, &own, |connection, _| {
        let body = ok(connection.request(message).map_err(AskError::Unreached)?)?;
        let status: RequestStatus =
            serde_json::from_slice(&body).map_err(|e| AskError::Protocol(e.to_string()))?;
        if status.request == digest {
            Ok(status)
        } else {
            Err(AskError::Protocol("it speaks of another request".to_owned()))
        }
    }))
}

/// Asks every custodian of a group for a sign of life and what its policy would do.
pub fn alive(
    home: &Home,
    group: &EscrowGroupRecord,
    rng: &mut dyn Rng,
) -> Result<Vec<Asked<Alive>>, HomeError> {
    let fleet = home.fleet()?;
    let (_, enrolment) = home.enrolment(&fleet)?;
    let own = home.transport()?;
    let mut nonce = [0; 32];
    rng.fill(&mut nonce);
    Ok(ask_all(group, &own, |connection, custodian| {
        // Each its own nonce: nobody can show another's signature.
        let nonce = Hex32(Sha256::of(&[&nonce[..], &custodian.index.to_le_bytes()].concat()).0);
        let request = AliveRequest::new(fleet.id(), nonce, &enrolment);
        let message = Message {
            method: Method::POST,
            path: "/v1/custodian".to_owned(),
            content_type: JSON,
            body: serde_json::to_vec(&request).expect("envelopes serialise").into(),
            limit: MAX_STATUS,
        };
        let body = ok(connection.request(&message).map_err(AskError::Unreached)?)?;
        let said = Envelope::parse(&body).map_err(|e| AskError::Protocol(e.to_string()))?;
        Alive::open(&said, custodian.signing_key, fleet.id(), nonce)
            .map_err(|e| AskError::Protocol(e.to_string()))
    }))
}

/// Checks an approval as the restore will, and returns its custodian's index.
pub fn check_approval(
    home: &Home,
    examined: &Examined,
    approval: &Envelope,
) -> Result<u16, HomeError> {
    let digest = examined.dossier.request_digest;
    let secret = one_time_secret(home, digest)?.ok_or_else(|| {
        HomeError::refused("the one-time secret of this request is not in this home")
    })?;
    let accepted = examined.accept(approval, &secret);
    let partial = accepted.map_err(|e: CustodianError| HomeError::refused(e.to_string()))?;
    Ok(partial.index())
}

/// Asks all custodians of a group at the same time.
fn ask_all<T: Send>(
    group: &EscrowGroupRecord,
    own: &SigningKey,
    ask: impl Fn(&mut Connection, &CustodianRecord) -> Result<T, AskError> + Sync,
) -> Vec<Asked<T>> {
    let one = |custodian: &CustodianRecord| {
        let endpoint = custodian.endpoint.as_ref().ok_or(AskError::ByHand)?;
        let mut connection =
            Connection::open(&endpoint.address, endpoint.transport, own, PATIENCE, None)
                .map_err(AskError::Unreached)?;
        ask(&mut connection, custodian)
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = group.custodians.iter().map(|c| (c, scope.spawn(|| one(c)))).collect();
        let said = asked.into_iter().map(|(custodian, thread)| {
            let said = thread.join().unwrap_or_else(|_| {
                Err(AskError::Protocol("the thread that asked it panicked".to_owned()))
            });
            Asked { custodian: custodian.clone(), said }
        });
        said.collect()
    })
}

/// The body of a 200; anything else is a refusal.
fn ok(answer: Answer) -> Result<Bytes, AskError> {
    if answer.status == StatusCode::OK {
        return Ok(answer.body);
    }
    let (why, remedy) = refusal(&answer);
    Err(AskError::Refused { why, remedy })
}

/// Why something was refused, and what to do.
pub(crate) fn refusal(answer: &Answer) -> (String, String) {
    let printable = |text: String| text.chars().filter(|c| !c.is_control()).take(500).collect();
    match serde_json::from_slice::<ErrorBody>(&answer.body) {
        Ok(body) => (printable(body.error), printable(body.remedy)),
        Err(_) => (format!("status {}", answer.status), "see its log".to_owned()),
    }
}
