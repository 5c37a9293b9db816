//! From an HTTP request to a call of [`Region`] and back. Deny by default.
//!
//! Who is not a member may ask who the region is and to be enrolled, and learns nothing else,
//! not even which paths exist. A body is read only once its sender may send it, up to its
//! route's limit and while it makes progress; the work is done on a blocking thread.

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
use seawall_sync::message::{MAX_ENROL_BODY, MAX_JSON_BODY, ReceiptRequest};
use seawall_sync::{Answer, ReceiptAnswer, wire};
use seawall_tlog::witness::MAX_ADD_CHECKPOINT;

use crate::{Member, Refusal, Region};

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

fn protocol(answer: Answer) -> Reply {
    Reply::new(TEXT, answer.body).with_status(answer.status)
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
        let peer = session.peer;
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
            (&Method::POST, "/v1/policies") => {
                return self
                    .work_in(&self.strangers, request, MAX_BUNDLE, move |region, body| {
                        Ok(Reply::new(JSON, region.exchange_policies(&peer, &body)?))
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
        let peer = member.enrolment.transport;
        match path {
            "/v1/have" => {
                self.work(peer, request, wire::MAX_IDS_BODY, move |region, body| {
                    let ids = wire::decode_ids(&body, wire::MAX_HAVE)?;
                    let have = region.have(&member, &ids)?;
                    Ok(Reply::new(OCTETS, wire::encode_have(&ids, &have)))
                })
                .await
            }
            "/v1/objects" => {
                self.work(peer, request, wire::MAX_OBJECTS_BODY, move |region, body| {
                    region.put(&member, &body)?;
                    Ok(Reply::new(JSON, "{}"))
                })
                .await
            }
            "/v1/get" => {
                self.work(peer, request, 4 + wire::MAX_GET * 32, move |region, body| {
                    let ids = wire::decode_distinct_ids(&body, wire::MAX_GET)?;
                    Ok(Reply::new(OCTETS, region.get(&member, &ids)?))
                })
                .await
            }
            "/v1/challenge" => {
                self.work(peer, request, wire::MAX_CHALLENGE_BODY, move |region, body| {
                    let (nonce, ids) = wire::decode_challenge(&body)?;
                    let proofs = region.challenge(&member, &nonce, &ids)?;
                    Ok(Reply::new(OCTETS, wire::encode_proofs(&proofs)))
                })
                .await
            }
            "/v1/receipt" => {
                self.work(peer, request, MAX_JSON_BODY, move |region, body| {
                    receipt(region, &member, &body)
                })
                .await
            }
            "/v1/log/add-checkpoint" => {
                self.work(peer, request, MAX_ADD_CHECKPOINT, move |region, body| {
                    region.add_checkpoint(&member, &body).map(protocol)
                })
                .await
            }
            "/v1/log/add-entries" => {
                self.work(peer, request, MAX_ADD_ENTRIES, move |region, body| {
                    region.add_entries(&member, &body).map(protocol)
                })
                .await
            }
            _ => Err(no_such_path()),
        }
    }

    async fn read(&self, member: Arc<Member>, path: String, request: Request<Incoming>) -> Handled {
        self.work(member.enrolment.transport, request, 0, move |region, _| {
            if path == "/v1/logs" {
                return Ok(Reply::json(&region.list_logs(&member)));
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

fn receipt(region: &Region, member: &Member, body: &[u8]) -> Handled {
    let wanted: ReceiptRequest = serde_json::from_slice(body).map_err(|e| {
        Refusal::new(400, format!("malformed request: {e}"), "use a matching version of seawall")
    })?;
    Ok(match region.receipt(member, &wanted.origin, wanted.index)? {
        ReceiptAnswer::Given(envelope) => Reply::new(JSON, envelope.to_json()),
        ReceiptAnswer::Missing(ids) => Reply::new(OCTETS, wire::encode_ids(&ids)).with_status(409),
    })
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
    use seawall_sync::wire::encode_ids;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

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

    fn post(path: &str, body: &[u8], claimed: usize) -> Vec<u8> {
        let head = format!("POST {path} HTTP/1.1\r\nhost: r\r\ncontent-length: {claimed}\r\n\r\n");
        [head.as_bytes(), body].concat()
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
            let slow = post("/v1/objects", b"", 9_000_000);
            let first = send(&routes, &greedy, &slow).await;
            let _second = send(&routes, &greedy, &slow).await;
            while routes.large.free() > 6 {
                tokio::task::yield_now().await;
            }
            let mut third = send(&routes, &greedy, &slow).await;
            assert_eq!(status(&mut third).await, "429");
            let mut small = send(&routes, &greedy, &post("/v1/get", &[0; 4], 4)).await;
            assert_eq!(status(&mut small).await, "200", "small requests go on");
            let mut good = send(&routes, &other, &post("/v1/objects", b"", 0)).await;
            assert_eq!(status(&mut good).await, "200", "others' go on");
            drop(first);
            while routes.large.free() < 7 {
                tokio::task::yield_now().await;
            }
            let mut again = send(&routes, &greedy, &post("/v1/objects", b"", 0)).await;
            assert_eq!(status(&mut again).await, "200");
            assert_eq!(routes.shares.lock().len(), 1, "what has ended is forgotten");
        });
    }

    /// There is no request that deletes, whoever asks.
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
            for verb in ["delete", "forget", "objects/delete", "log/delete", "prune", "gc"] {
                let text = post(&format!("/v1/{verb}"), &[1; 32], 32);
                let mut connection = send(&routes, &node, &text).await;
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
                let mut connection = send(&routes, &node, &post(path, &body, body.len())).await;
                assert_eq!(status(&mut connection).await, "400", "{path}");
            }
        });
    }
}
