//! From an HTTP request to a call of [`Region`] and back. Deny by default.
//!
//! Who is not a member may ask who the region is and to be enrolled, and learns nothing else,
//! not even which paths exist. A body is read only once its sender may send it, up to its
//! route's limit; the work is done on a blocking thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use seawall_base::Sha256;
use seawall_sign::VerifyingKey;
use seawall_sync::message::{ErrorBody, MAX_ENROL_BODY, MAX_JSON_BODY, ReceiptRequest};
use seawall_sync::{Answer, ReceiptAnswer, wire};
use seawall_tlog::witness::MAX_ADD_CHECKPOINT;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::{Member, Refusal, Region};

const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Largest `add-entries` body in bytes: the client ends a request at the first package past
/// 8 MiB, and one package has at most 16 MiB of entries and a proof.
const MAX_ADD_ENTRIES: usize = 26 << 20;

/// Room for one kind of requests, so that no kind can starve another.
struct Room {
    /// Requests at one time.
    at_once: Semaphore,
    /// For a whole body.
    body_timeout: Duration,
}

impl Room {
    const fn new(at_once: usize, body_timeout: Duration) -> Self {
        Self { at_once: Semaphore::const_new(at_once), body_timeout }
    }
}

/// A region and the bounds of what it does at one time.
pub(crate) struct Routes {
    pub(crate) region: Arc<Region>,
    /// Members' large bodies: 8 of 32 MiB, each of which takes nine minutes over half a megabit.
    large: Room,
    /// Members' other requests.
    small: Room,
    /// Whoever wants to be enrolled.
    strangers: Room,
}

/// What a successful call answers.
struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Reply {
    fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into() }
    }

    fn json(value: &impl serde::Serialize) -> Self {
        Self::new(JSON, serde_json::to_vec(value).expect("text and numbers serialise"))
    }

    fn protocol(answer: Answer) -> Self {
        let status =
            StatusCode::from_u16(answer.status).expect("the protocols' codes are HTTP codes");
        Self { status, content_type: TEXT, body: answer.body.into() }
    }
}

type Handled = Result<Reply, Refusal>;

impl Routes {
    pub(crate) fn new(region: Arc<Region>) -> Self {
        Self {
            region,
            large: Room::new(8, Duration::from_mins(10)),
            small: Room::new(64, Duration::from_mins(1)),
            strangers: Room::new(16, Duration::from_secs(30)),
        }
    }

    /// Answers one request of the peer that proved to hold `peer`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        peer: VerifyingKey,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let handled = self.route(peer, request).await;
        let reply = handled.unwrap_or_else(|refusal| {
            tracing::info!(%method, path, status = refusal.status, error = refusal.error, "refused");
            refused(refusal)
        });
        let mut response = Response::new(Full::new(reply.body));
        *response.status_mut() = reply.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        response
    }

    async fn route(self: Arc<Self>, peer: VerifyingKey, request: Request<Incoming>) -> Handled {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        match (&method, path.as_str()) {
            (&Method::GET, "/v1/region") => return Ok(Reply::json(&self.region.identity())),
            (&Method::POST, "/v1/enrol") => {
                return self
                    .work_in(&self.strangers, request, MAX_ENROL_BODY, move |region, body| {
                        region.enrol(&peer, &body)?;
                        Ok(Reply::new(JSON, "{}"))
                    })
                    .await;
            }
            _ => {}
        }
        let member = self.region.member(&peer).ok_or_else(|| {
            Refusal::forbidden(
                "not an enrolled member",
                "enrol first: the node's enrolment bundle comes from the fleet's operator",
            )
        })?;
        match method {
            Method::POST => self.post(member, &path, request).await,
            Method::GET => self.read(member, path, request).await,
            _ => Err(no_such_path()),
        }
    }

    async fn post(&self, member: Arc<Member>, path: &str, request: Request<Incoming>) -> Handled {
        match path {
            "/v1/have" => {
                self.work(request, wire::MAX_IDS_BODY, move |region, body| {
                    let ids = wire::decode_ids(&body, wire::MAX_HAVE)?;
                    let have = region.have(&member, &ids)?;
                    Ok(Reply::new(OCTETS, wire::encode_have(&ids, &have)))
                })
                .await
            }
            "/v1/objects" => {
                self.work(request, wire::MAX_OBJECTS_BODY, move |region, body| {
                    region.put(&member, &body)?;
                    Ok(Reply::new(JSON, "{}"))
                })
                .await
            }
            "/v1/get" => {
                self.work(request, 4 + wire::MAX_GET * 32, move |region, body| {
                    let ids = wire::decode_ids(&body, wire::MAX_GET)?;
                    Ok(Reply::new(OCTETS, region.get(&member, &ids)?))
                })
                .await
            }
            "/v1/challenge" => {
                self.work(request, wire::MAX_CHALLENGE_BODY, move |region, body| {
                    let (nonce, ids) = wire::decode_challenge(&body)?;
                    let proofs = region.challenge(&member, &nonce, &ids)?;
                    Ok(Reply::new(OCTETS, wire::encode_proofs(&proofs)))
                })
                .await
            }
            "/v1/receipt" => {
                self.work(request, MAX_JSON_BODY, move |region, body| {
                    receipt(region, &member, &body)
                })
                .await
            }
            "/v1/log/add-checkpoint" => {
                self.work(request, MAX_ADD_CHECKPOINT, move |region, body| {
                    region.add_checkpoint(&member, &body).map(Reply::protocol)
                })
                .await
            }
            "/v1/log/add-entries" => {
                self.work(request, MAX_ADD_ENTRIES, move |region, body| {
                    region.add_entries(&member, &body).map(Reply::protocol)
                })
                .await
            }
            _ => Err(no_such_path()),
        }
    }

    async fn read(&self, member: Arc<Member>, path: String, request: Request<Incoming>) -> Handled {
        self.work(request, 0, move |region, _| {
            if path == "/v1/logs" {
                return Ok(Reply::json(&region.list_logs(&member)?));
            }
            let (hash, resource) = path
                .strip_prefix("/v1/log/")
                .and_then(|rest| rest.split_once('/'))
                .ok_or_else(no_such_path)?;
            let hash = Sha256::from_hex(hash).map_err(|_| no_such_path())?;
            let content_type = if resource == "checkpoint" { TEXT } else { OCTETS };
            Ok(Reply::new(content_type, region.tile(&member, hash, resource)?))
        })
        .await
    }

    /// Works on a member's request when there is room.
    async fn work(
        &self,
        request: Request<Incoming>,
        limit: usize,
        work: impl FnOnce(&Region, Bytes) -> Handled + Send + 'static,
    ) -> Handled {
        let room = if limit > MAX_ENROL_BODY { &self.large } else { &self.small };
        self.work_in(room, request, limit, work).await
    }

    /// Reads a body of at most `limit` bytes and works on it on a blocking thread.
    async fn work_in(
        &self,
        room: &Room,
        request: Request<Incoming>,
        limit: usize,
        work: impl FnOnce(&Region, Bytes) -> Handled + Send + 'static,
    ) -> Handled {
        let _permit = room.at_once.acquire().await.expect("the semaphores are never closed");
        let body = timeout(room.body_timeout, Limited::new(request.into_body(), limit).collect())
            .await
            .map_err(|_| Refusal::new(408, "the body did not arrive in time", "try again later"))?
            .map_err(|e| match e.downcast_ref::<LengthLimitError>() {
                Some(_) => Refusal::new(
                    413,
                    format!("the body is above the limit of {limit} bytes"),
                    "send smaller batches; use a matching version of seawall",
                ),
                None => Refusal::new(400, format!("the body broke off: {e}"), "try again"),
            })?
            .to_bytes();
        let region = self.region.clone();
        tokio::task::spawn_blocking(move || work(&region, body))
            .await
            .map_err(|e| Refusal::internal(&e))?
    }
}

fn receipt(region: &Region, member: &Member, body: &[u8]) -> Handled {
    let wanted: ReceiptRequest = serde_json::from_slice(body).map_err(|e| {
        Refusal::new(400, format!("malformed request: {e}"), "use a matching version of seawall")
    })?;
    Ok(match region.receipt(member, &wanted.origin, wanted.index)? {
        ReceiptAnswer::Given(envelope) => Reply::new(JSON, envelope.to_json()),
        ReceiptAnswer::Missing(ids) => {
            Reply { status: StatusCode::CONFLICT, ..Reply::new(OCTETS, wire::encode_ids(&ids)) }
        }
    })
}

fn no_such_path() -> Refusal {
    Refusal::not_found("no such path")
}

fn refused(refusal: Refusal) -> Reply {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = ErrorBody { error: refusal.error, remedy: refusal.remedy };
    Reply { status, ..Reply::json(&body) }
}
