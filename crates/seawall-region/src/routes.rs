//! From an HTTP request to a call of [`Region`] and back. Deny by default.
//!
//! Who is not a member may ask who the region is and to be enrolled, and learns nothing else,
//! not even which paths exist. A member gets a token, and nothing else without one. A body is read
//! only once its sender may send it, up to its route's limit and while it makes progress; the work
//! is done on a blocking thread, and only once the proof over head and body has passed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use seawall_base::Sha256;
use seawall_link::{Handler, JSON, OCTETS, Reply, Room, Session, TEXT};
use seawall_record::MAX_BUNDLE;
use seawall_sign::VerifyingKey;
use seawall_sign::envelope::MAX_ENVELOPE;
use seawall_sync::message::{
    CosignedAnswer, DELEGATION_HEADER, MAX_ENROL_BODY, MAX_JSON_BODY, PROOF_HEADER, ReceiptRequest,
    TOKEN_HEADER, TOKEN_SCHEME, envelopes_to_json,
};
use seawall_sync::{Answer, ReceiptAnswer, wire};
use seawall_tlog::witness::MAX_ADD_CHECKPOINT;

use crate::tokens::{Admitted, Head};
use crate::{Refusal, Region};

/// Largest `add-entries` body in bytes: the client ends a request at the first package past
/// 8 MiB, and one package has at most 16 MiB of entries and a proof.
const MAX_ADD_ENTRIES: usize = 26 << 20;

/// Large requests of one member at one time. A node sends one after the other; a second is for
/// its connection that broke off unnoticed.
const LARGE_PER_MEMBER: usize = 2;

/// Large requests under way, by member, so that no member takes all the room there is.
#[derive(Default)]
struct Shares(Mutex<BTreeMap<VerifyingKey, usize>>);

/// One large request's part of [`Shares`].
struct Share<'s> {
    of: &'s Shares,
    member: VerifyingKey,
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VerifyingKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, member: VerifyingKey) -> Result<Share<'_>, Refusal> {
        let mut shares = self.lock();
        let under_way = shares.entry(member).or_default();
        if *under_way == LARGE_PER_MEMBER {
            let why = format!("busy: {LARGE_PER_MEMBER} large requests of this member run already");
            return Err(Refusal::new(429, why, "try again"));
        }
        *under_way += 1;
        Ok(Share { of: self, member })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut shares = self.of.lock();
        if let Some(under_way) = shares.get_mut(&self.member) {
            *under_way -= 1;
            if *under_way == 0 {
                shares.remove(&self.member);
            }
        }
    }
}

/// A region and the bounds of what it does at one time.
pub(crate) struct Routes {
    pub(crate) region: Arc<Region>,
    /// Members' large bodies: 8 of 32 MiB, each of which takes nine minutes over half a megabit.
    large: Room,
    shares: Shares,
    /// Members' other requests.
    small: Room,
    /// Whoever wants to be enrolled.
    strangers: Room,
}

/// An answer of a C2SP protocol; `state` is the type of one that says how far the region is.
fn protocol(answer: Answer, state: &'static str) -> Reply {
    let says_state = matches!(answer.status, 202 | 409);
    let numbers = answer.body.first().is_some_and(u8::is_ascii_digit);
    let content_type = if says_state && numbers { state } else { TEXT };
    Reply::new(content_type, answer.body).with_status(answer.status)
}

type Handled = Result<Reply, Refusal>;

impl Handler for Routes {
    fn is_known(&self, peer: &VerifyingKey) -> bool {
        self.region.member(peer).is_some()
    }

    async fn serve(
        self: Arc<Self>,
        session: Session,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let handled = self.route(session, request).await;
        let reply = handled.unwrap_or_else(|refusal| {
            tracing::info!(%method, path, status = refusal.status, error = refusal.error, "refused");
            Reply::refusal(refusal.status, refusal.error, refusal.remedy)
        });
        reply.into_response()
    }
}

impl Routes {
    pub(crate) fn new(region: Arc<Region>) -> Self {
        Self {
            region,
            large: Room::new(8, Duration::from_mins(10)),
            shares: Shares::default(),
            small: Room::new(64, Duration::from_mins(1)),
            strangers: Room::new(16, Duration::from_secs(30)),
        }
    }

    async fn route(self: Arc<Self>, session: Session, request: Request<Incoming>) -> Handled {
        let method = request.method().clone();
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str()).to_owned();
        match (&method, path.as_str()) {
            (&Method::GET, "/v1/region") => return Ok(Reply::json(&self.region.identity())),
            (&Method::POST, "/v1/enrol") => {
                return self
                    .work_in(&self.strangers, request, MAX_ENROL_BODY, move |region, body| {
                        region.enrol(&session.peer, &body)?;
                        Ok(Reply::new(JSON, "{}"))
                    })
                    .await;
            }
            (&Method::POST, "/v1/policies") => {
                return self
                    .work_in(&self.strangers, request, MAX_BUNDLE, move |region, body| {
                        Ok(Reply::new(JSON, region.exchange_policies(&session.peer, &body)?))
                    })
                    .await;
            }
            (&Method::POST, "/v1/token") => {
                self.region.standing_member(&session.peer)?;
                return self
                    .work_in(&self.small, request, MAX_JSON_BODY, move |region, body| {
                        Ok(Reply::json(&region.issue(&session, &body)?))
                    })
                    .await;
            }
            _ => {}
        }
        let pending = self.region.admit(&session, &head(&request, &path))?;
        let (limit, work) = work_of(&path).ok_or_else(no_such_path)?;
        self.work(session.peer, request, limit, move |region, body| {
            // Nothing is done before the proof has passed and its number is used up.
            let admitted = pending.confirm(region, &body)?;
            work(region, &admitted, &path, &body)
        })
        .await
    }

    /// Works on a member's request when there is room.
    async fn work(
        &self,
        member: VerifyingKey,
        request: Request<Incoming>,
        limit: usize,
        work: impl FnOnce(&Region, Bytes) -> Handled + Send + 'static,
    ) -> Handled {
        if limit <= MAX_ENROL_BODY {
            return self.work_in(&self.small, request, limit, work).await;
        }
        let _share = self.shares.take(member)?;
        self.work_in(&self.large, request, limit, work).await
    }

    /// Reads a body of at most `limit` bytes and works on it on a blocking thread.
    async fn work_in(
        &self,
        room: &Room,
        request: Request<Incoming>,
        limit: usize,
        work: impl FnOnce(&Region, Bytes) -> Handled + Send + 'static,
    ) -> Handled {
        let region = self.region.clone();
        room.work(request.into_body(), limit, move |body| work(&region, body)).await
    }
}

/// What is done with a call that was let through: its path and body.
type Work = fn(&Region, &Admitted, &str, &[u8]) -> Handled;

/// The longest body of a path, and what is done with it.
fn work_of(path: &str) -> Option<(usize, Work)> {
    Some(match path {
        "/v1/have" => (wire::MAX_IDS_BODY, have),
        "/v1/objects" => (wire::MAX_OBJECTS_BODY, put),
        "/v1/get" => (4 + wire::MAX_GET * 32, get),
        "/v1/challenge" => (wire::MAX_CHALLENGE_BODY, challenge),
        "/v1/receipt" => (MAX_JSON_BODY, receipt),
        "/v1/log/add-checkpoint" => (MAX_ADD_CHECKPOINT, |region, by, _, body| {
            region.add_checkpoint(by.member(), body).map(|it| protocol(it, "text/x.tlog.size"))
        }),
        "/v1/log/add-entries" => (MAX_ADD_ENTRIES, |region, by, _, body| {
            region.add_entries(by.member(), body).map(|it| protocol(it, "text/x.tlog.mirror-info"))
        }),
        "/v1/log/witnessed" => (wire::MAX_COSIGNED_BODY, |region, by, _, body| {
            let size = region.show_cosigned(by.member(), body)?;
            Ok(Reply::json(&CosignedAnswer { size }))
        }),
        "/v1/delete" => (MAX_ENVELOPE, |region, by, _, body| {
            region.delete(by.member(), body)?;
            Ok(Reply::new(JSON, "{}"))
        }),
        "/v1/logs" => (0, |region, by, _, _| Ok(Reply::json(&region.list_logs(by.member())))),
        "/v1/delegation" => (MAX_JSON_BODY, |region, by, _, body| {
            Ok(Reply::new(JSON, region.delegate(by.member(), body)?.to_json()))
        }),
        _ if path.starts_with("/v1/log/") => (0, log),
        _ => return None,
    })
}

fn have(region: &Region, by: &Admitted, _: &str, body: &[u8]) -> Handled {
    let ids = wire::decode_ids(body, wire::MAX_HAVE)?;
    let have = region.have(by.member(), &ids)?;
    Ok(Reply::new(OCTETS, wire::encode_have(&ids, &have)))
}

fn put(region: &Region, by: &Admitted, _: &str, body: &[u8]) -> Handled {
    region.put(by.member(), body)?;
    Ok(Reply::new(JSON, "{}"))
}

fn get(region: &Region, by: &Admitted, _: &str, body: &[u8]) -> Handled {
    let ids = wire::decode_distinct_ids(body, wire::MAX_GET)?;
    Ok(Reply::new(OCTETS, region.get(by.member(), &ids)?))
}

fn challenge(region: &Region, by: &Admitted, _: &str, body: &[u8]) -> Handled {
    let (nonce, ids) = wire::decode_challenge(body)?;
    let proofs = region.challenge(by.member(), &nonce, &ids)?;
    Ok(Reply::new(OCTETS, wire::encode_proofs(&proofs)))
}

fn log(region: &Region, by: &Admitted, path: &str, _: &[u8]) -> Handled {
    let (hash, resource) = path
        .strip_prefix("/v1/log/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(no_such_path)?;
    let hash = Sha256::from_hex(hash).map_err(|_| no_such_path())?;
    if resource == "deleted" {
        let notices = region.notices(by.member(), hash)?;
        return Ok(Reply::new(JSON, envelopes_to_json(&notices)));
    }
    let content_type = if resource == "checkpoint" { TEXT } else { OCTETS };
    Ok(Reply::new(content_type, region.tile(by.member(), hash, resource)?))
}

fn receipt(region: &Region, by: &Admitted, _: &str, body: &[u8]) -> Handled {
    let wanted: ReceiptRequest = serde_json::from_slice(body).map_err(|e| {
        Refusal::new(400, format!("malformed request: {e}"), "use a matching version of seawall")
    })?;
    Ok(match region.receipt(by.member(), &wanted.origin, wanted.index)? {
        ReceiptAnswer::Given(envelope) => Reply::new(JSON, envelope.to_json()),
        ReceiptAnswer::Missing(ids) => Reply::new(OCTETS, wire::encode_ids(&ids)).with_status(409),
    })
}

/// What of a request's head the check of its token is about. A header that comes twice, or is no
/// text, counts as not there.
fn head<'r>(request: &'r Request<Incoming>, path: &'r str) -> Head<'r> {
    let header = |name: &str| {
        let mut all = request.headers().get_all(name).iter();
        let first = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(first)
    };
    Head {
        method: request.method().as_str(),
        path,
        token: header(TOKEN_HEADER).and_then(|value| value.strip_prefix(TOKEN_SCHEME)),
        proof: header(PROOF_HEADER),
        delegation: header(DELEGATION_HEADER),
    }
}

fn no_such_path() -> Refusal {
    Refusal::not_found("no such path")
}

#[cfg(test)]
mod tests {
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use seawall_base::ObjectId;
    use seawall_link::ChannelBinding;
    use seawall_sign::possession::{Call, Proof};
    use seawall_sync::message::{TokenAnswer, TokenRequest};
    use seawall_sync::rights::{RIGHTS, right_to};
    use seawall_sync::wire::encode_ids;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::trial::{enrol, region_of};
    use crate::world::{Node, World};

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(work)
    }

    /// A connection of `node` without TLS, on which `text` has been sent.
    async fn send(routes: &Arc<Routes>, node: &Node, text: &[u8]) -> DuplexStream {
        let (mut near, far) = duplex(64 << 10);
        let (routes, peer) = (routes.clone(), node.transport.public());
        let service = service_fn(move |request| {
            let routes = routes.clone();
            let session = Session { peer, binding: ChannelBinding([0; 32]) };
            async move { Ok::<_, std::convert::Infallible>(routes.serve(session, request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(far), service));
        near.write_all(text).await.expect("sent");
        near
    }

    /// A request of `node` with a token of its own and a proof.
    fn post(routes: &Routes, node: &Node, path: &str, body: &[u8], claimed: usize) -> Vec<u8> {
        static TOKENS: AtomicU64 = AtomicU64::new(0);
        let session = Session { peer: node.transport.public(), binding: ChannelBinding([0; 32]) };
        let (right, call) = right_to("POST", path).expect("in the table");
        let nonce = format!("{:032x}", TOKENS.fetch_add(1, Ordering::Relaxed));
        let asked = TokenRequest { operation: right.operation, statement: None, nonce };
        let asked = serde_json::to_vec(&asked).expect("JSON");
        let TokenAnswer { token, now, .. } = routes.region.issue(&session, &asked).expect("issued");
        let covered = call.covered.digest(body).expect("well formed");
        let shown = Call {
            method: "POST",
            path,
            body: &covered,
            binding: &session.binding.0,
            token: &token,
        };
        let proof = Proof::make(&node.transport, &shown, 0, now).to_text();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: r\r\ncontent-length: {claimed}\r\n\
             {TOKEN_HEADER}: {TOKEN_SCHEME}{token}\r\n{PROOF_HEADER}: {proof}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    #[test]
    fn each_call_of_the_table_is_answered_and_no_other() {
        for call in RIGHTS.iter().flat_map(|right| right.calls) {
            assert!(work_of(call.path).is_some(), "{}", call.path);
        }
        for path in ["/", "/v1/have/", "/v1/delete/x", "/v2/have", "/v1/token", "/v1/region"] {
            assert!(work_of(path).is_none(), "{path}");
        }
    }

    async fn status(connection: &mut DuplexStream) -> String {
        let mut line = [0; 12];
        connection.read_exact(&mut line).await.expect("an answer");
        String::from_utf8_lossy(&line[9..]).into_owned()
    }

    #[test]
    fn a_member_has_two_large_requests_and_leaves_room_for_others() {
        let world = World::new(1, seawall_base::Timestamp(1_800_000_000));
        let region = region_of(&world);
        let (greedy, other) = (world.node(10, "acme"), world.node(20, "acme"));
        enrol(&region, &greedy);
        enrol(&region, &other);
        let routes = Arc::new(Routes::new(region));
        block_on(async {
            let slow = post(&routes, &greedy, "/v1/objects", b"", 9_000_000);
            let first = send(&routes, &greedy, &slow).await;
            let _second = send(&routes, &greedy, &slow).await;
            while routes.large.free() > 6 {
                tokio::task::yield_now().await;
            }
            let mut third = send(&routes, &greedy, &slow).await;
            assert_eq!(status(&mut third).await, "429");
            let mut small =
                send(&routes, &greedy, &post(&routes, &greedy, "/v1/get", &[0; 4], 4)).await;
            assert_eq!(status(&mut small).await, "200", "small requests go on");
            let mut good =
                send(&routes, &other, &post(&routes, &other, "/v1/objects", b"", 0)).await;
            assert_eq!(status(&mut good).await, "200", "others' go on");
            drop(first);
            while routes.large.free() < 7 {
                tokio::task::yield_now().await;
            }
            let mut again =
                send(&routes, &greedy, &post(&routes, &greedy, "/v1/objects", b"", 0)).await;
            assert_eq!(status(&mut again).await, "200");
            assert_eq!(routes.shares.lock().len(), 1, "what has ended is forgotten");
        });
    }

    /// One call carries a statement that deletes; no other method or path does.
    #[test]
    fn nothing_is_deleted_by_any_method() {
        let world = World::new(1, seawall_base::Timestamp(1_800_000_000));
        let region = region_of(&world);
        let node = world.node(10, "acme");
        enrol(&region, &node);
        let routes = Arc::new(Routes::new(region));
        let object = ObjectId([1; 32]).to_hex();
        block_on(async {
            for method in ["DELETE", "PUT", "PATCH", "PURGE"] {
                for path in ["/v1/objects", "/v1/get", "/v1/log/add-entries", "/v1/receipt", "/"] {
                    for path in [path.to_owned(), format!("{path}/{object}")] {
                        let head = format!("{method} {path} HTTP/1.1\r\nhost: r\r\n\r\n");
                        let mut connection = send(&routes, &node, head.as_bytes()).await;
                        assert_eq!(status(&mut connection).await, "404", "{method} {path}");
                    }
                }
            }
            for verb in ["forget", "delete/all", "objects/delete", "log/delete", "prune", "gc"] {
                let head = format!("POST /v1/{verb} HTTP/1.1\r\nhost: r\r\n\r\n");
                let mut connection = send(&routes, &node, head.as_bytes()).await;
                assert_eq!(status(&mut connection).await, "404", "{verb}");
            }
        });
    }

    #[test]
    fn one_object_is_not_read_a_thousand_times_for_one_request() {
        let world = World::new(1, seawall_base::Timestamp(1_800_000_000));
        let region = region_of(&world);
        let node = world.node(10, "acme");
        enrol(&region, &node);
        let routes = Arc::new(Routes::new(region));
        block_on(async {
            let ids = encode_ids(&vec![ObjectId([1; 32]); 1_024]);
            let challenge = [&[7; 32][..], &ids].concat();
            for (path, body) in [("/v1/get", ids), ("/v1/challenge", challenge)] {
                let mut connection =
                    send(&routes, &node, &post(&routes, &node, path, &body, body.len())).await;
                assert_eq!(status(&mut connection).await, "400", "{path}");
            }
        });
    }
}
