//! Tokens and proofs at a region, tried by whoever has part of what they take.

mod world;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use seawall_base::{NodeId, Seconds, Sha256, Timestamp};
use seawall_link::{ChannelBinding, Session};
use seawall_record::{Delegable, Delegation};
use seawall_region::{Head, Refusal, Region};
use seawall_sign::possession::{Call, Proof};
use seawall_sign::token::{About, Claims, Operation};
use seawall_sign::{Envelope, SigningKey};
use seawall_sim::{SeededRng, SimClock, SimDisk};
use seawall_sync::message::{EnrolRequest, ShownDelegation, TokenAnswer, TokenRequest};
use seawall_sync::rights::{RIGHTS, right_to};
use world::{Node, World, key};

const NOW: Timestamp = Timestamp(1_800_000_000);
const BINDING: ChannelBinding = ChannelBinding([1; 32]);
const OTHER_BINDING: ChannelBinding = ChannelBinding([2; 32]);

/// A region whose disk and clock are ours.
struct Shore {
    world: World,
    disk: SimDisk,
    clock: SimClock,
    region: Region,
}

impl Shore {
    fn of(world: World, seed: u64) -> Self {
        let (disk, clock) = (SimDisk::new(), SimClock::new(NOW));
        let fleets = std::slice::from_ref(&world.fleet);
        let mut rng = SeededRng::new(seed);
        Region::init_on(&disk, "127.0.0.1:0", "shore", fleets, &mut rng, &clock).expect("made");
        let region = open(&disk, &clock);
        Self { world, disk, clock, region }
    }

    fn new() -> Self {
        Self::of(World::new(1, NOW), 1)
    }

    /// A member of the tenant.
    fn member(&self, seed: u8, tenant: &str) -> Node {
        let node = self.world.node(seed, tenant);
        enrol(&self.region, &node);
        node
    }

    fn restart(&mut self) {
        self.region = open(&self.disk, &self.clock);
    }
}

fn open(disk: &SimDisk, clock: &SimClock) -> Region {
    Region::open_on(Arc::new(disk.clone()), Arc::new(clock.clone())).expect("opened")
}

fn enrol(region: &Region, node: &Node) {
    let request = EnrolRequest::new(node.fleet.id(), &node.envelope, &[]);
    let request = serde_json::to_vec(&request).expect("JSON");
    region.enrol(&node.transport.public(), &request).expect("enrolled");
}

fn session(node: &Node) -> Session {
    Session { peer: node.transport.public(), binding: BINDING }
}

fn ask(region: &Region, node: &Node, operation: Operation, id: u8) -> TokenAnswer {
    let asked = TokenRequest { operation, statement: None, nonce: hex::encode([id; 16]) };
    let asked = serde_json::to_vec(&asked).expect("JSON");
    region.issue(&session(node), &asked).expect("issued")
}

/// A request as a thief may have put it together.
#[derive(Clone)]
struct Request {
    session: Session,
    method: &'static str,
    path: &'static str,
    body: Vec<u8>,
    token: Option<String>,
    proof: Option<String>,
    delegation: Option<String>,
}

impl Request {
    /// The honest one: `node` fetches nothing at all.
    fn get(node: &Node, token: &TokenAnswer, number: u64) -> Self {
        let mut it = Self {
            session: session(node),
            method: "POST",
            path: "/v1/get",
            body: vec![0; 4],
            token: Some(token.token.clone()),
            proof: None,
            delegation: None,
        };
        it.prove(&node.transport, number, token.now);
        it
    }

    fn prove(&mut self, key: &SigningKey, number: u64, time: Timestamp) {
        let (_, call) = right_to(self.method, self.path).expect("in the table");
        let call = Call {
            method: self.method,
            path: self.path,
            body: &call.covered.digest(&self.body).expect("well formed"),
            binding: &self.session.binding.0,
            token: self.token.as_deref().expect("a token"),
        };
        self.proof = Some(Proof::make(key, &call, number, time).to_text());
    }

    fn send(&self, region: &Region) -> Result<Operation, Refusal> {
        let head = Head {
            method: self.method,
            path: self.path,
            token: self.token.as_deref(),
            proof: self.proof.as_deref(),
            delegation: self.delegation.as_deref(),
        };
        let pending = region.admit(&self.session, &head)?;
        Ok(pending.confirm(region, &self.body)?.operation())
    }

    #[track_caller]
    fn is_refused(&self, region: &Region, status: u16, why: &str) {
        let refusal = self.send(region).expect_err(why);
        assert_eq!(refusal.status, status, "{refusal}");
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
}

#[test]
fn a_stolen_token_is_worth_nothing_on_another_connection_or_with_another_key() {
    let shore = Shore::new();
    let (node, thief) = (shore.member(10, "acme"), shore.member(20, "acme"));
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let honest = Request::get(&node, &token, 0);
    // With a copy of the whole request, on a connection of the thief's own.
    let theirs = Session { peer: thief.transport.public(), binding: OTHER_BINDING };
    let stolen = Request { session: theirs, ..honest.clone() };
    stolen.is_refused(&shore.region, 401, "the token is for");
    let mut proved = stolen.clone();
    proved.prove(&thief.transport, 0, NOW);
    proved.is_refused(&shore.region, 401, "the token is for node");
    // With the victim's transport key, but on another connection: what a proxy in between has.
    let mut moved = honest.clone();
    moved.session.binding = OTHER_BINDING;
    moved.is_refused(&shore.region, 401, "the token is for use in session:");
    moved.prove(&node.transport, 0, NOW);
    moved.is_refused(&shore.region, 401, "the token is for use in session:");
    // On the very connection, without the key.
    let mut forged = honest.clone();
    forged.prove(&thief.transport, 0, NOW);
    forged.is_refused(&shore.region, 401, "not of this request");
    assert_eq!(honest.send(&shore.region), Ok(Operation::Read), "nothing of it was used up");
}

#[test]
fn a_replayed_request_is_refused_and_still_is_after_a_restart_and_with_any_clock() {
    let mut shore = Shore::new();
    let node = shore.member(10, "acme");
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let request = Request::get(&node, &token, 0);
    assert_eq!(request.send(&shore.region), Ok(Operation::Read));
    request.is_refused(&shore.region, 401, "replay");
    shore.restart();
    request.is_refused(&shore.region, 401, "replay");
    for clock in [NOW.after(Seconds(100)), NOW.before(Seconds(60))] {
        shore.clock.set(clock);
        request.is_refused(&shore.region, 401, "replay");
        shore.restart();
        request.is_refused(&shore.region, 401, "replay");
    }
    shore.clock.set(NOW);
    assert_eq!(Request::get(&node, &token, 256).send(&shore.region), Ok(Operation::Read));
    Request::get(&node, &token, 3).is_refused(&shore.region, 401, "replay");
    Request::get(&node, &token, 5_000).is_refused(&shore.region, 401, "leaps");
}

#[test]
fn the_ledger_gone_or_damaged_refuses_what_it_does_not_know() {
    let mut shore = Shore::new();
    let node = shore.member(10, "acme");
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let request = Request::get(&node, &token, 0);
    assert_eq!(request.send(&shore.region), Ok(Operation::Read));
    shore.disk.truncate("tokens/ledger", 0).expect("cut");
    shore.restart();
    request.is_refused(&shore.region, 401, "did not issue");
    Request::get(&node, &token, 1).is_refused(&shore.region, 401, "did not issue");
    let again = ask(&shore.region, &node, Operation::Read, 2);
    assert_eq!(Request::get(&node, &again, 0).send(&shore.region), Ok(Operation::Read));
}

#[test]
fn nothing_is_acted_on_that_the_disk_does_not_know_as_used() {
    let shore = Shore::new();
    let node = shore.member(10, "acme");
    let token = ask(&shore.region, &node, Operation::Read, 1);
    shore.disk.fail_after(0, std::io::ErrorKind::Other, seawall_sim::Outcome::Lost);
    let request = Request::get(&node, &token, 0);
    assert_eq!(request.send(&shore.region).expect_err("the disk fails").status, 500);
    shore.disk.clear_fault();
    assert_eq!(request.send(&shore.region), Ok(Operation::Read));
    request.is_refused(&shore.region, 401, "replay");
}

#[test]
fn a_token_is_for_one_node_one_operation_and_one_place() {
    let shore = Shore::new();
    let (node, other) = (shore.member(10, "acme"), shore.member(20, "acme"));
    let theirs = ask(&shore.region, &other, Operation::Read, 1);
    Request::get(&node, &theirs, 0).is_refused(&shore.region, 401, "the token is for node");
    for operation in [Operation::Store, Operation::Sync, Operation::Admin] {
        let token = ask(&shore.region, &node, operation, 2);
        let why = format!("the operation {operation}, not read");
        Request::get(&node, &token, 0).is_refused(&shore.region, 401, &why);
    }
    for (operation, statement) in
        [(Operation::Delete, None), (Operation::Read, Some(Sha256([1; 32])))]
    {
        let asked = TokenRequest { operation, statement, nonce: hex::encode([1; 16]) };
        let asked = serde_json::to_vec(&asked).expect("JSON");
        let refusal = shore.region.issue(&session(&node), &asked).expect_err("another scope");
        assert_eq!(refusal.status, 403, "{refusal}");
    }
    let elsewhere = Shore::of(World::new(1, NOW), 2);
    enrol(&elsewhere.region, &node);
    let foreign = ask(&elsewhere.region, &node, Operation::Read, 1);
    Request::get(&node, &foreign, 0).is_refused(&shore.region, 401, "is signed by");
}

#[test]
fn a_request_that_was_altered_on_the_way_is_refused() {
    let shore = Shore::new();
    let node = shore.member(10, "acme");
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let honest = Request::get(&node, &token, 0);
    for altered in [
        Request { body: vec![0, 0, 0, 0, 0], ..honest.clone() },
        Request { body: Vec::new(), ..honest.clone() },
        Request { path: "/v1/challenge", ..honest.clone() },
        Request { method: "GET", path: "/v1/logs", ..honest.clone() },
    ] {
        altered.is_refused(&shore.region, 401, "not of this request");
    }
    let query = Request { path: "/v1/get?all", ..honest.clone() };
    query.is_refused(&shore.region, 404, "no such path");
    // Objects: ids and lengths are what is signed, bytes are held to the ids.
    let token = ask(&shore.region, &node, Operation::Store, 1);
    let framed = |bytes: &[u8]| {
        let mut body = Vec::new();
        let id = seawall_base::ObjectId::of(bytes);
        seawall_sync::wire::push_object(&mut body, id, bytes);
        body
    };
    let mut put = Request { path: "/v1/objects", body: framed(b"mine"), ..honest };
    put.token = Some(token.token);
    put.prove(&node.transport, 0, NOW);
    for body in [framed(b"theirs"), [framed(b"mine"), framed(b"more")].concat(), Vec::new()] {
        Request { body, ..put.clone() }.is_refused(&shore.region, 401, "not of this request");
    }
    assert_eq!(put.send(&shore.region), Ok(Operation::Store));
}

#[test]
fn expired_early_and_undated_tokens_are_refused() {
    let shore = Shore::new();
    let node = shore.member(10, "acme");
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let late = token.expires;
    shore.clock.set(late);
    let mut request = Request::get(&node, &token, 0);
    request.prove(&node.transport, 0, late);
    request.is_refused(&shore.region, 401, "expired");
    shore.clock.set(NOW.before(Seconds::days(1)));
    request.is_refused(&shore.region, 401, "holds from");
    // A proof made long ago or for later, with a token that still holds.
    shore.clock.set(NOW.after(Seconds(300)));
    Request::get(&node, &token, 0).is_refused(&shore.region, 401, "the proof is of");
    request.prove(&node.transport, 0, NOW.after(Seconds(421)));
    request.is_refused(&shore.region, 401, "the proof is of");
    request.prove(&node.transport, 0, NOW.after(Seconds(300)));
    assert_eq!(request.send(&shore.region), Ok(Operation::Read));
}

#[test]
fn a_clock_set_forward_and_back_revives_nothing() {
    let mut shore = Shore::new();
    let (node, other) = (shore.member(10, "acme"), shore.member(20, "acme"));
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let request = Request::get(&node, &token, 0);
    assert_eq!(request.send(&shore.region), Ok(Operation::Read));
    shore.clock.set(NOW.after(Seconds::days(400)));
    // Somebody asks for a token: what has expired by this clock is dropped.
    ask(&shore.region, &other, Operation::Read, 1);
    shore.clock.set(NOW);
    request.is_refused(&shore.region, 401, "did not issue");
    shore.restart();
    request.is_refused(&shore.region, 401, "replay");
}

#[test]
fn without_token_or_proof_or_with_another_version_nothing_is_let_through() {
    let shore = Shore::new();
    let node = shore.member(10, "acme");
    let token = ask(&shore.region, &node, Operation::Read, 1);
    let honest = Request::get(&node, &token, 0);
    Request { token: None, ..honest.clone() }.is_refused(&shore.region, 401, "without a token");
    Request { proof: None, ..honest.clone() }.is_refused(&shore.region, 401, "no proof");
    let empty = Request { token: Some(String::new()), ..honest.clone() };
    empty.is_refused(&shore.region, 401, "expected v4.public");
    for version in ["v1.public", "v2.public", "v3.public", "v4.local", "v3.local", "none"] {
        let mut downgraded = honest.clone();
        downgraded.token = Some(token.token.replacen("v4.public", version, 1));
        downgraded.prove(&node.transport, 0, NOW);
        downgraded.is_refused(&shore.region, 401, "expected v4.public");
    }
    let stranger = Session { peer: key(97).public(), binding: BINDING };
    Request { session: stranger, ..honest.clone() }.is_refused(&shore.region, 403, "enrol first");
    for call in RIGHTS.iter().flat_map(|right| right.calls) {
        let head = Head {
            method: call.method,
            path: call.path,
            token: None,
            proof: None,
            delegation: None,
        };
        let refusal = shore.region.admit(&session(&node), &head).expect_err(call.path);
        assert_eq!(refusal.status, 401, "{}: {refusal}", call.path);
    }
}

/// A second region of the fleet, and what the first delegated to a node.
struct Delegated {
    first: Shore,
    second: Shore,
    node: Node,
    key: SigningKey,
    claims: Claims,
}

impl Delegated {
    fn new() -> Self {
        let (first, second) = (Shore::of(World::new(1, NOW), 1), Shore::of(World::new(1, NOW), 2));
        let node = first.member(10, "acme");
        enrol(&second.region, &node);
        let claims = Claims {
            fleet: node.fleet.id(),
            issuer: node.enrolment.node(),
            operation: Operation::Read,
            node: node.enrolment.node(),
            about: About::session(&BINDING.0),
            caller: node.transport.public(),
            issued: NOW,
            not_before: NOW,
            expires: NOW.after(Seconds(600)),
            id: [1; 16],
        };
        Self { first, second, node, key: key(77), claims }
    }

    fn delegation(&self) -> Delegation {
        Delegation {
            fleet: self.node.fleet.id(),
            region: self.first.region.card().identity.node_id(),
            node: self.node.enrolment.node(),
            epoch: 1,
            tenant: "acme".to_owned(),
            key: self.key.public(),
            operations: Delegable::ALL.to_vec(),
            not_before: NOW,
            not_after: NOW.after(Seconds::days(3)),
        }
    }

    /// The delegation as the first region signs it.
    fn signed(&self) -> Envelope {
        let token = ask(&self.first.region, &self.node, Operation::Admin, 1);
        let mut request = Request::get(&self.node, &token, 0);
        request.path = "/v1/delegation";
        request.body = format!("{{\"key\":\"{}\"}}", self.key.public()).into_bytes();
        request.prove(&self.node.transport, 0, NOW);
        assert_eq!(request.send(&self.first.region), Ok(Operation::Admin));
        let member = self.first.region.member(&self.node.transport.public()).expect("a member");
        self.first.region.delegate(&member, &request.body).expect("delegated")
    }

    fn enrolment_of_first(&self) -> Envelope {
        let card = self.first.region.card();
        self.first.world.region_envelope(&card.name, card.identity, card.transport)
    }

    fn request(&self, claims: &Claims, delegation: &Envelope, number: u64) -> Request {
        let token = claims.mint(&self.key);
        let token = TokenAnswer { token, now: claims.issued, expires: claims.expires };
        let mut request = Request::get(&self.node, &token, number);
        let shown = ShownDelegation::new(&self.enrolment_of_first(), delegation);
        request.delegation = Some(shown.to_header());
        request
    }
}

#[test]
fn a_token_of_a_nodes_own_issue_is_good_at_another_region_for_what_was_delegated() {
    let mut it = Delegated::new();
    let delegation = it.signed();
    let request = it.request(&it.claims, &delegation, 0);
    assert_eq!(request.send(&it.second.region), Ok(Operation::Read));
    request.is_refused(&it.second.region, 401, "replay");
    it.second.restart();
    request.is_refused(&it.second.region, 401, "replay");
    let bare = Request { delegation: None, ..it.request(&it.claims, &delegation, 1) };
    bare.is_refused(&it.second.region, 401, "is signed by");
    let mut request = it.request(&it.claims, &delegation, 300);
    request.prove(&key(66), 300, NOW);
    request.is_refused(&it.second.region, 401, "not of this request");
    let claims = Claims { operation: Operation::Admin, ..it.claims.clone() };
    let mut admin = it.request(&claims, &delegation, 0);
    admin.path = "/v1/delegation";
    admin.is_refused(&it.second.region, 401, "does not cover admin tokens");
    let claims = Claims { issuer: NodeId([9; 32]), ..it.claims.clone() };
    it.request(&claims, &delegation, 0).is_refused(&it.second.region, 401, "issued by");
    it.second.clock.set(NOW.after(Seconds::days(3)));
    let late = NOW.after(Seconds::days(3)).before(Seconds(30));
    let expires = late.after(Seconds(600));
    let claims = Claims { issued: late, not_before: late, expires, ..it.claims.clone() };
    it.request(&claims, &delegation, 0).is_refused(&it.second.region, 401, "does not cover");
}

#[test]
fn a_delegation_by_nobody_of_too_much_or_for_others_is_refused() {
    let it = Delegated::new();
    let good = it.delegation();
    let sign = |delegation: &Delegation, by: &SigningKey| {
        delegation.clone().statement().sign(&[by]).expect("small")
    };
    // The region's identity key, from its disk.
    let seed = it.first.disk.read("keys/identity").expect("read").try_into().expect("32 bytes");
    let identity = SigningKey::from_seed(&seed);
    let refused = |envelope: &Envelope, why: &str| {
        it.request(&it.claims, envelope, 0).is_refused(&it.second.region, 401, why);
    };
    refused(&sign(&good, &it.node.transport), "delegation");
    refused(&sign(&good, &key(10)), "delegation");
    for (bad, why) in [
        (Delegation { tenant: "bolt".to_owned(), ..good.clone() }, "another tenant"),
        (Delegation { operations: vec![Delegable::Store], ..good.clone() }, "does not cover"),
        (Delegation { operations: Vec::new(), ..good.clone() }, "names no operation"),
        (Delegation { key: key(78).public(), ..good.clone() }, "is signed by"),
        (Delegation { not_after: NOW.after(Seconds::days(8)), ..good.clone() }, "7 days"),
        (Delegation { region: NodeId([3; 32]), ..good.clone() }, "another region"),
    ] {
        refused(&sign(&bad, &identity), why);
    }
    let ok = it.request(&it.claims, &sign(&good, &identity), 0);
    let two = ShownDelegation::new(&it.node.envelope, &sign(&good, &identity)).to_header();
    Request { delegation: Some(two), ..ok.clone() }.is_refused(&it.second.region, 401, "not as");
    for header in ["", "AAAA", &"A".repeat(20_000), &BASE64.encode("{}")] {
        let bad = Request { delegation: Some(header.to_owned()), ..ok.clone() };
        assert_eq!(bad.send(&it.second.region).expect_err("refused").status, 401, "{header:.20}");
    }
    assert_eq!(ok.send(&it.second.region), Ok(Operation::Read));
}
