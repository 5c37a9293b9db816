//! A region and its client over real TCP on the loopback.

#[path = "../../seawall-region/tests/world/mod.rs"]
mod world;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use seawall_base::{Clock as _, ObjectId, Rng as _};
use seawall_host::{OsRng, SystemClock};
use seawall_link::raw_key;
use seawall_link::{Connection, Message, Patience};
use seawall_node::region_client::RegionClient;
use seawall_record::{Enrolment, Receipt};
use seawall_region::{Background, Region, RegionError, init, serve_in_background, verify};
use seawall_sign::SigningKey;
use seawall_sign::possession::{Call, Proof};
use seawall_store::Scrub;
use seawall_sync::message::{PROOF_HEADER, TOKEN_HEADER, TOKEN_SCHEME, TokenAnswer, TokenRequest};
use seawall_sync::rights::right_to;
use seawall_sync::wire::{MAX_GET, MAX_IDS_BODY};
use seawall_sync::{Class, ReceiptAnswer, SyncError, Tier, TierError, read_entries};
use world::{Node, World, key, objects};

struct Shore {
    _dir: tempfile::TempDir,
    home: PathBuf,
    world: World,
    enrolment: Enrolment,
    serving: Option<Background>,
    address: String,
}

fn shore() -> Shore {
    let world = World::new(1, SystemClock.now());
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    // A free port that stays the same when the region is started again.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let listen = port.to_string();
    let fleets = std::slice::from_ref(&world.fleet);
    let card =
        init(&home, &listen, "shore", fleets, &mut OsRng, &SystemClock).expect("a new region");
    let enrolment = world.region(&card.name, card.identity, card.transport);
    let serving = Some(serve_in_background(&home).expect("served"));
    Shore { _dir: dir, home, world, enrolment, serving, address: listen }
}

impl Shore {
    fn connect(&self, node: &Node) -> Result<RegionClient, TierError> {
        let Node { transport, fleet, envelope, .. } = node;
        RegionClient::connect(&self.address, &self.enrolment, transport, fleet, envelope)
    }

    fn stop(&mut self) {
        self.serving.take().expect("running").stop().expect("ended in order");
    }
}

fn ids(bodies: &[Vec<u8>]) -> Vec<ObjectId> {
    bodies.iter().map(|b| ObjectId::of(b)).collect()
}

#[test]
fn two_nodes_push_and_read_back_over_the_network() {
    let mut shore = shore();
    let (mut a, mut b) = (shore.world.node(10, "acme"), shore.world.node(20, "acme"));
    let mut bodies = objects(1, 2_500);
    bodies.push(vec![7; 9 << 20]);
    bodies.push(vec![8; 9 << 20]);
    let index = a.snapshot(&bodies);
    let tier = shore.connect(&a).expect("connected");
    let done = a.push(&tier, &shore.enrolment).expect("pushed");
    assert_eq!((done.receipts, done.mirrored), (1, 3));
    b.snapshot(&bodies[..2_000]);
    let other = shore.connect(&b).expect("connected");
    let done = b.push(&other, &shore.enrolment).expect("pushed");
    assert!(done.proven_objects >= 2_000, "{done:?}");

    let mut wanted = ids(&bodies);
    wanted.insert(3, ObjectId([9; 32]));
    let mut got = Vec::new();
    other.get(&wanted, &mut |id, bytes| got.push((id, bytes.len()))).expect("fetched");
    assert_eq!(got.len(), bodies.len(), "in several answers, the unknown one left out");
    assert!(wanted.len() > MAX_GET);
    let mut logs = other.logs().expect("listed");
    logs.retain(|l| l.origin == a.log.origin().as_str());
    assert_eq!(logs[0].size, 3);
    let checkpoint = other.checkpoint(a.log.origin()).expect("read").expect("there");
    let entries = read_entries(&other, checkpoint.checkpoint(), 0..3).expect("proven");
    assert_eq!(entries[index as usize], a.log.entry(index).expect("entry"));
    let ReceiptAnswer::Given(receipt) = other.receipt(a.log.origin(), index).expect("answered")
    else {
        panic!("everything is there");
    };
    let receipt = Receipt::open(&receipt, shore.enrolment.identity).expect("signed");
    assert_eq!(receipt.reference_set.count, bodies.len() as u64);
    assert!(shore.serving.as_ref().expect("running").region().verify(&mut |_| {}).is_ok());

    shore.stop();
    let report = verify(&shore.home, &Scrub::default(), &mut |_| {}).expect("verified");
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.logs, report.snapshots, report.cosignatures), (2, 2, 2));
}

#[test]
fn a_region_that_went_away_is_a_reason_to_wait_and_its_return_needs_no_new_client() {
    let mut shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 10));
    let tier = shore.connect(&node).expect("connected");
    node.push(&tier, &shore.enrolment).expect("pushed");
    shore.stop();
    let error = tier.logs().expect_err("nobody there");
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert!(error.to_string().contains("is it running"), "{error}");
    shore.serving = Some(serve_in_background(&shore.home).expect("served again"));
    node.snapshot(&objects(2, 10));
    let done = node.push(&tier, &shore.enrolment).expect("the same client");
    assert_eq!(done.receipts, 1);
}

#[test]
fn a_wrong_key_on_either_side_is_named() {
    let shore = shore();
    let node = shore.world.node(10, "acme");
    let impostor = Enrolment { transport: key(99).public(), ..shore.enrolment.clone() };
    let Node { transport, fleet, envelope, .. } = &node;
    let error = RegionClient::connect(&shore.address, &impostor, transport, fleet, envelope)
        .err()
        .expect("not the pinned key");
    assert_eq!(error.class(), Class::Refused, "{error}");
    assert!(error.to_string().contains("its enrolment pins"), "{error}");
    assert!(error.to_string().contains("nothing was sent"), "{error}");

    let stolen = key(98);
    let error = RegionClient::connect(&shore.address, &shore.enrolment, &stolen, fleet, envelope)
        .err()
        .expect("not the enrolled key");
    assert_eq!(error.class(), Class::Refused, "{error}");
    assert!(error.to_string().contains("not the one enrolled"), "{error}");

    let stranger = World::new(2, shore.world.now).node(30, "acme");
    let error = shore.connect(&stranger).err().expect("another fleet");
    assert!(error.to_string().contains("not hosted here"), "{error}");
    let nobody = RegionClient::connect("127.0.0.1:1", &shore.enrolment, transport, fleet, envelope);
    assert_eq!(nobody.err().expect("nobody listens").class(), Class::Retry);
}

#[test]
fn one_home_is_open_once_and_made_once() {
    let mut shore = shore();
    assert!(matches!(Region::open(&shore.home), Err(RegionError::InUse(_))));
    let listen = &shore.address;
    let again = init(&shore.home, listen, "shore", &[], &mut OsRng, &SystemClock);
    assert!(matches!(again, Err(RegionError::Exists(_))));
    let late = World::new(2, shore.world.now);
    let node = late.node(30, "acme");
    assert!(shore.connect(&node).is_err());
    let serving = shore.serving.as_ref().expect("running");
    assert!(serving.region().add_fleet(late.fleet.clone()).expect("added"));
    assert!(!serving.region().add_fleet(late.fleet.clone()).expect("known"));
    shore.connect(&node).expect("its fleet is hosted now");
    shore.stop();
    let region = Region::open(&shore.home).expect("free again");
    assert_eq!(region.fleet_ids().len(), 2);
}

#[test]
fn a_restored_old_copy_is_told_by_name_over_the_network() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 5));
    let mut copy = node.restored_from_copy(&shore.world);
    node.snapshot(&objects(2, 5));
    let tier = shore.connect(&node).expect("connected");
    node.push(&tier, &shore.enrolment).expect("pushed");
    let error = copy.push(&tier, &shore.enrolment).expect_err("shorter than the mirror");
    assert!(matches!(error, SyncError::RolledBack { mirrored: 4, held: 3, .. }), "{error}");
}

#[test]
fn nodes_push_at_the_same_time_and_a_stop_in_between_loses_nothing() {
    let mut shore = shore();
    let shared = objects(1, 1_500);
    let mut nodes: Vec<Node> = [10, 20, 30, 40]
        .into_iter()
        .map(|seed| {
            let mut node = shore.world.node(seed, if seed == 40 { "bolt" } else { "acme" });
            let mut bodies = shared.clone();
            bodies.extend(objects(u64::from(seed), 200));
            node.snapshot(&bodies);
            node
        })
        .collect();
    let address = shore.address.clone();
    let region = shore.enrolment.clone();
    let push_all = |nodes: &mut Vec<Node>| -> Vec<Result<u64, Class>> {
        std::thread::scope(|scope| {
            let (address, region) = (&address, &region);
            let running: Vec<_> = nodes
                .iter_mut()
                .map(|node| {
                    scope.spawn(move || {
                        let Node { transport, fleet, envelope, .. } = &*node;
                        let tier =
                            RegionClient::connect(address, region, transport, fleet, envelope)
                                .map_err(|e| e.class())?;
                        node.push(&tier, region).map(|done| done.receipts).map_err(|e| e.class())
                    })
                })
                .collect();
            running.into_iter().map(|r| r.join().expect("no panic")).collect()
        })
    };
    // Ends the region while they push, or just before or after: each must be harmless.
    let serving = shore.serving.take().expect("running");
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(60));
        serving.stop()
    });
    for pushed in push_all(&mut nodes) {
        assert!(matches!(pushed, Ok(1) | Err(Class::Retry)), "{pushed:?}");
    }
    stopping.join().expect("no panic").expect("ended in order");
    shore.serving = Some(serve_in_background(&shore.home).expect("served again"));
    for pushed in push_all(&mut nodes) {
        assert!(pushed.is_ok(), "{pushed:?}");
    }
    assert!(nodes.iter().all(|n| n.receipts(&region).all().count() == 1));
    shore.stop();
    let report = verify(&shore.home, &Scrub::default(), &mut |_| {}).expect("verified");
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.logs, report.snapshots), (4, 4));
}

/// A TLS client that believes any key, for asking what the real client never would.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// One request; an error is a connection that came to nothing.
fn ask(
    address: SocketAddr,
    own: Option<&SigningKey>,
    method: &Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(u16, String), String> {
    let resolver: Arc<dyn ResolvesClientCert> = match own {
        None => Arc::new(NoKey),
        Some(own) => {
            let secret = raw_key::pkcs8(own);
            let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.as_slice()));
            let signer = aws_lc_rs::sign::any_supported_type(&secret).expect("a good key");
            let public = CertificateDer::from(raw_key::spki(&own.public()).to_vec());
            let certified = Arc::new(CertifiedKey::new(vec![public], signer));
            Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified))
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_client_cert_resolver(resolver);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let name = ServerName::try_from("region.invalid").expect("a name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(|e| e.to_string())?;
        let (mut link, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "region")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let answer = link.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    })
}

/// A member's own requests, with tokens and proofs, which the real client never would make.
struct Shown {
    connection: Connection,
    key: SigningKey,
}

impl Shown {
    fn connect(shore: &Shore, node: &Node) -> Self {
        let (pinned, own) = (shore.enrolment.transport, &node.transport);
        let patience = Patience::default();
        let connection = Connection::open(&shore.address, pinned, own, patience, None);
        let connection = connection.expect("connected");
        Self { connection, key: SigningKey::from_seed(&own.seed()) }
    }

    /// One request with a token of its own; its status.
    fn ask(&mut self, method: &Method, path: &str, body: Vec<u8>) -> Result<u16, String> {
        let (right, call) = right_to(method.as_str(), path).expect("in the table");
        let nonce = hex::encode(OsRng.array::<16>());
        let asked = TokenRequest { operation: right.operation, statement: None, nonce };
        let mut message = Message {
            method: Method::POST,
            path: "/v1/token".to_owned(),
            content_type: "application/json",
            body: serde_json::to_vec(&asked).expect("JSON").into(),
            limit: 4_096,
        };
        let answer = self.connection.request(&message).map_err(|e| e.to_string())?;
        let TokenAnswer { token, now, .. } = serde_json::from_slice(&answer.body).expect("a token");
        let covered = call.covered.digest(&body).unwrap_or([0; 32]);
        message = Message {
            method: method.clone(),
            path: path.to_owned(),
            content_type: "application/octet-stream",
            body: body.into(),
            limit: 4_096,
        };
        let key = &self.key;
        let sent = self.connection.request_with(&message, &mut |binding| {
            let method = method.as_str();
            let call = Call { method, path, body: &covered, binding: &binding.0, token: &token };
            let proof = Proof::make(key, &call, 0, now).to_text();
            [(TOKEN_HEADER, format!("{TOKEN_SCHEME}{token}")), (PROOF_HEADER, proof)]
                .into_iter()
                .map(|(name, value)| {
                    let value = value.parse().expect("a header's text");
                    (HeaderName::from_static(name), value)
                })
                .collect()
        });
        sent.map(|answer| answer.status.as_u16()).map_err(|e| e.to_string())
    }
}

#[test]
fn strangers_learn_nothing_and_members_are_held_to_the_limits() {
    let shore = shore();
    let node = shore.world.node(10, "acme");
    let address = shore.serving.as_ref().expect("running").address();
    let (get, post) = (Method::GET, Method::POST);
    let stranger = key(97);
    assert!(ask(address, None, &get, "/v1/region", vec![]).is_err(), "a peer without a key");
    let (status, body) = ask(address, Some(&stranger), &get, "/v1/region", vec![]).expect("open");
    assert!(status == 200 && body.contains("shore"), "{status} {body}");
    for (method, path) in [
        (&post, "/v1/have"),
        (&post, "/v1/objects"),
        (&post, "/v1/get"),
        (&post, "/v1/challenge"),
        (&post, "/v1/receipt"),
        (&post, "/v1/log/add-checkpoint"),
        (&post, "/v1/log/add-entries"),
        (&get, "/v1/logs"),
        (&get, "/v1/log/00/checkpoint"),
        (&get, "/no/such/path"),
    ] {
        let (status, body) = ask(address, Some(&stranger), method, path, vec![]).expect("open");
        assert_eq!(status, 403, "{path}: {body}");
        assert!(body.contains("enrol first"), "{body}");
    }
    shore.connect(&node).expect("enrolled");
    let member = Some(&node.transport);
    let status = |method: &Method, path: &str, body: Vec<u8>| {
        ask(address, member, method, path, body).expect("open").0
    };
    assert_eq!(status(&get, "/no/such/path", vec![]), 404);
    assert_eq!(status(&post, "/v1/logs", vec![]), 404);
    assert_eq!(status(&Method::DELETE, "/v1/objects", vec![]), 404);
    // What a client from before there were tokens is told.
    let (code, said) = ask(address, member, &post, "/v1/have", vec![0; 4]).expect("open");
    assert_eq!(code, 401, "{said}");
    assert!(said.contains("without a token") && said.contains("update seawall"), "{said}");
    let mut shown = Shown::connect(&shore, &node);
    let mut status =
        |method: &Method, path: &str, body: Vec<u8>| shown.ask(method, path, body).expect("open");
    assert_eq!(status(&get, "/v1/log/00/checkpoint", vec![]), 404);
    assert_eq!(status(&get, &format!("/v1/log/{}/checkpoint", "0".repeat(64)), vec![]), 404);
    assert_eq!(status(&post, "/v1/have", vec![1, 2, 3]), 400);
    assert_eq!(status(&post, "/v1/challenge", vec![0; 33]), 400);
    assert_eq!(status(&post, "/v1/receipt", b"{}".to_vec()), 400);
    // A body above the limit may be answered or cut off while it is still being sent.
    for (path, size) in [("/v1/receipt", 5_000), ("/v1/have", MAX_IDS_BODY + 1)] {
        match shown.ask(&post, path, vec![0; size]) {
            Ok(status) => assert_eq!(status, 413, "{path}"),
            Err(e) => assert!(size > 5_000, "{path}: {e}"),
        }
    }
}
