//! From an HTTP request to a call of the [`Office`] and back. Deny by default.
//!
//! Whoever is connected has proved a key and nothing else. Each route checks for itself what that
//! key may do; the answer to everybody else is the same for what is not there, what is another's
//! and what belongs to another fleet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use seawall_base::Sha256;
use seawall_link::{BodyError, Handler, JSON, OCTETS, Reply, Room, Session, TEXT};
use seawall_record::{MAX_ARRIVAL, MAX_BUNDLE, MAX_DOSSIER};
use seawall_sign::VerifyingKey;
use seawall_tlog::witness::MAX_ADD_CHECKPOINT;

use crate::Office;
use crate::message::{MAX_ALIVE_BODY, MAX_POLICIES_BODY, Refusal};

type Handled = Result<Reply, Refusal>;

impl From<BodyError> for Refusal {
    fn from(e: BodyError) -> Self {
        match e {
            BodyError::Panicked(_) => Self::internal(&e),
            _ => Self::new(e.status(), e.to_string(), e.remedy()),
        }
    }
}

/// A office and the bounds of what is done at one time.
pub(crate) struct Routes {
    office: Arc<Mutex<Office>>,
    /// Requests with their evidence: up to 4 MiB each.
    requests: Room,
    /// Everything else.
    small: Room,
    /// Whatever comes from keys that have shown no enrolment yet.
    strangers: Room,
}

impl Handler for Routes {
    fn is_known(&self, peer: &VerifyingKey) -> bool {
        self.office().is_known(peer)
    }

    async fn serve(
        self: Arc<Self>,
        session: Session,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let handled = self.route(session.peer, request).await;
        let reply = handled.unwrap_or_else(|refusal| {
            tracing::info!(%method, path, status = refusal.status, error = refusal.error, "refused");
            Reply::refusal(refusal.status, refusal.error, refusal.remedy)
        });
        reply.into_response()
    }
}

impl Routes {
    pub(crate) fn new(office: Arc<Mutex<Office>>) -> Self {
        Self {
            office,
            requests: Room::new(8, 2, Duration::from_mins(1)),
            small: Room::new(32, 4, Duration::from_secs(30)),
            strangers: Room::new(16, 2, Duration::from_secs(15)).for_strangers(),
        }
    }

    fn office(&self) -> MutexGuard<'_, Office> {
        lock(&self.office)
    }

    async fn route(&self, peer: VerifyingKey, request: Request<Incoming>) -> Handled {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match (&method, path.as_str()) {
            (&Method::POST, "/v1/request") => {
                self.work(&self.requests, peer, request, MAX_DOSSIER, move |office, body| {
                    Ok(Reply::json(&office.submit(peer, &body)?))
                })
                .await
            }
            (&Method::POST, "/v1/custodian") => {
                self.work(&self.small, peer, request, MAX_ALIVE_BODY, move |office, body| {
                    Ok(Reply::new(JSON, office.alive(peer, &body)?))
                })
                .await
            }
            (&Method::POST, "/v1/manifest") => {
                self.work(&self.small, peer, request, MAX_ARRIVAL, move |office, body| {
                    Ok(Reply::json(&office.arrive(peer, &body)?))
                })
                .await
            }
            (&Method::POST, "/v1/policies") => {
                self.work(&self.requests, peer, request, MAX_POLICIES_BODY, move |office, body| {
                    Ok(Reply::json(&office.hear_policies(peer, &body)?))
                })
                .await
            }
            (&Method::POST, "/v1/witness/introduce") => {
                self.work(&self.small, peer, request, MAX_BUNDLE, move |office, body| {
                    office.introduce(peer, &body)?;
                    Ok(Reply::new(JSON, "{}"))
                })
                .await
            }
            (&Method::POST, "/v1/witness/add-checkpoint") => {
                self.work(&self.small, peer, request, MAX_ADD_CHECKPOINT, move |office, body| {
                    let judged = office.add_checkpoint(&body)?;
                    if let Some(finding) = &judged.finding {
                        tracing::error!(?finding, "a log that is witnessed here misbehaves");
                    }
                    let answer = judged.answer;
                    let reply = Reply::new(answer.content_type(), answer.body());
                    Ok(reply.with_status(answer.status()))
                })
                .await
            }
            (&Method::GET, path) => self.read(peer, path.to_owned(), request).await,
            _ => Err(Refusal::unknown()),
        }
    }

    async fn read(&self, peer: VerifyingKey, path: String, request: Request<Incoming>) -> Handled {
        self.work(&self.small, peer, request, 0, move |office, _| {
            if let Some(digest) = path.strip_prefix("/v1/request/") {
                let digest = Sha256::from_hex(digest).map_err(|_| Refusal::unknown())?;
                return Ok(Reply::json(&office.status(peer, digest)?));
            }
            if let Some((log, what)) =
                path.strip_prefix("/v1/witness/").and_then(|rest| rest.split_once('/'))
            {
                let log = Sha256::from_hex(log).map_err(|_| Refusal::unknown())?;
                return Ok(Reply::new(TEXT, office.witnessed(log, what)?));
            }
            let (log, resource) = path
                .strip_prefix("/v1/log/")
                .and_then(|rest| rest.split_once('/'))
                .ok_or_else(Refusal::unknown)?;
            let log = Sha256::from_hex(log).map_err(|_| Refusal::unknown())?;
            let content_type = if resource == "checkpoint" { TEXT } else { OCTETS };
            Ok(Reply::new(content_type, office.tile(peer, log, resource)?))
        })
        .await
    }

    /// Reads a body of at most `limit` bytes and works on it on a blocking thread, in the given room
    /// where the peer is known.
    async fn work(
        &self,
        room: &Room,
        peer: VerifyingKey,
        request: Request<Incoming>,
        limit: usize,
        work: impl FnOnce(&mut Office, Bytes) -> Handled + Send + 'static,
    ) -> Handled {
        let room = if self.is_known(&peer) { room } else { &self.strangers };
        let office = self.office.clone();
        room.work(peer, request.into_body(), limit, move |body| work(&mut lock(&office), body))
            .await
    }
}

/// A panic of another thread leaves the office as its log has it: what was written is whole.
pub(crate) fn lock(office: &Mutex<Office>) -> MutexGuard<'_, Office> {
    office.lock().unwrap_or_else(PoisonError::into_inner)
}
