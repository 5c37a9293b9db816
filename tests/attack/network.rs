//! Somebody on the way between a node and its region, who copied what passed; and the two clocks.
//!
//! The thief here has more than the network gives: whole requests in clear, as a proxy inside the
//! node's process would see them, and in some attacks the node's transport key as well.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderName, HeaderValue, Method};
use seawall_base::{Clock as _, Rng as _, Seconds, Sha256, Timestamp};
use seawall_host::{FsDisk, OsRng, SystemClock};
use seawall_link::{Answer, ChannelBinding, Connection, Message, Patience, Session};
use seawall_record::Delegation;
use seawall_region::{Head, Region as InProcess};
use seawall_sign::possession::{Call, Proof};
use seawall_sign::token::{About, Claims, Operation};
use seawall_sign::{SigningKey, Statement, VerifyingKey};
use seawall_sim::SimClock;
use seawall_sync::message::{
    DELEGATION_HEADER, PROOF_HEADER, ShownDelegation, TOKEN_HEADER, TOKEN_SCHEME, TokenAnswer,
    TokenRequest,
};
use seawall_sync::rights::right_to;
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, Region};

/// An honest call that reads nothing: no ids.
const GET: &str = "/v1/get";
const NOTHING: [u8; 4] = [0; 4];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON")
}

/// The transport key of the node in `home`.
fn transport(home: &Path) -> SigningKey {
    signing_key(home, "keys/transport.key")
}

fn signing_key(home: &Path, name: &str) -> SigningKey {
    let file = json(&home.join(name));
    let secret = BASE64.decode(file["secret"].as_str().expect("a secret")).expect("base64");
    SigningKey::from_seed(&secret.try_into().expect("32 bytes"))
}

/// A request as it can be copied: what it asks, and its headers.
#[derive(Clone)]
pub(super) struct Copied {
    method: Method,
    path: &'static str,
    body: Vec<u8>,
    token: String,
    proof: String,
    delegation: Option<String>,
}

/// A holder of a node's transport key on a connection of its own.
pub(super) struct Caller {
    connection: Connection,
    key: SigningKey,
}

impl Caller {
    /// Connects with the key of the node in `home`.
    pub(super) fn connect(fleet: &Fleet, region: &Region, home: &Path) -> Self {
        let card = json(&fleet.path("region-a-card.json"));
        let pinned: VerifyingKey =
            card["transport"].as_str().expect("a key").parse().expect("a key");
        let (key, patience) = (transport(home), Patience::default());
        let connection = Connection::open(&region.address(), pinned, &key, patience, None);
        Self { connection: connection.expect("connected"), key }
    }

    fn message(method: Method, path: &str, body: Vec<u8>) -> Message {
        let path = path.to_owned();
        Message { method, path, content_type: "application/json", body: body.into(), limit: 4_096 }
    }

    fn ask(&mut self, operation: Operation) -> Answer {
        let nonce = hex::encode(OsRng.array::<16>());
        let asked = TokenRequest { operation, statement: None, nonce };
        let asked = serde_json::to_vec(&asked).expect("JSON");
        let message = Self::message(Method::POST, "/v1/token", asked);
        self.connection.request(&message).expect("answered")
    }

    pub(super) fn token(&mut self, operation: Operation) -> TokenAnswer {
        serde_json::from_slice(&self.ask(operation).body).expect("a token")
    }

    /// A token to carry a deletion statement.
    pub(super) fn token_to_delete(&mut self, statement: Sha256) -> TokenAnswer {
        let (operation, nonce) = (Operation::Delete, hex::encode(OsRng.array::<16>()));
        let asked = TokenRequest { operation, statement: Some(statement), nonce };
        let asked = serde_json::to_vec(&asked).expect("JSON");
        let message = Self::message(Method::POST, "/v1/token", asked);
        let answer = self.connection.request(&message).expect("answered");
        serde_json::from_slice(&answer.body).expect("a token")
    }

    /// Why there is no token for an operation.
    pub(super) fn refused_token(&mut self, operation: Operation) -> String {
        let answer = self.ask(operation);
        assert_eq!(answer.status.as_u16(), 403);
        let said: Value = serde_json::from_slice(&answer.body).expect("a refusal");
        said["error"].as_str().expect("why").to_owned()
    }

    /// Makes a request as the node's own program would, without sending it.
    pub(super) fn make(&mut self, token: &TokenAnswer, path: &'static str) -> Copied {
        self.make_with(token, path, NOTHING.to_vec())
    }

    /// As [`Caller::make`], with this body.
    pub(super) fn make_with(
        &mut self,
        token: &TokenAnswer,
        path: &'static str,
        body: Vec<u8>,
    ) -> Copied {
        let mut copied = Copied {
            method: Method::POST,
            path,
            body,
            token: token.token.clone(),
            proof: String::new(),
            delegation: None,
        };
        let binding = self.binding();
        copied.prove(&self.key, &binding, token.now);
        copied
    }

    /// As [`Caller::make`], with a body.
    pub(super) fn make_of(
        &mut self,
        token: &TokenAnswer,
        path: &'static str,
        body: Vec<u8>,
    ) -> Copied {
        let (method, proof) = (Method::POST, String::new());
        let mut copied =
            Copied { method, path, body, token: token.token.clone(), proof, delegation: None };
        let binding = self.binding();
        copied.prove(&self.key, &binding, token.now);
        copied
    }

    /// A request with a token of the node's own issue, its claims changed.
    pub(super) fn issue(&mut self, home: &Path, change: impl FnOnce(&mut Claims)) -> Copied {
        let shown = std::fs::read(home.join("delegations/region-a.json")).expect("read");
        let shown: ShownDelegation = serde_json::from_slice(&shown).expect("a delegation");
        let (_, delegation) = shown.envelopes().expect("envelopes");
        let delegation = Statement::<Delegation>::read_unverified(&delegation).expect("one");
        let Delegation { fleet, node, .. } = delegation.predicate;
        let (binding, now) = (self.binding(), SystemClock.now());
        let mut claims = Claims {
            fleet,
            issuer: node,
            operation: Operation::Read,
            node,
            about: About::session(&binding.0),
            caller: self.key.public(),
            issued: now,
            not_before: now,
            expires: now.after(Seconds(600)),
            id: OsRng.array(),
        };
        change(&mut claims);
        let mut copied = Copied {
            method: Method::POST,
            path: GET,
            body: NOTHING.to_vec(),
            token: claims.mint(&signing_key(home, "keys/token.key")),
            proof: String::new(),
            delegation: Some(shown.to_header()),
        };
        copied.prove(&self.key, &binding, now);
        copied
    }

    fn binding(&mut self) -> ChannelBinding {
        let mut binding = None;
        let who = Self::message(Method::GET, "/v1/region", Vec::new());
        let answer = self.connection.request_with(&who, &mut |on| {
            binding = Some(*on);
            Vec::new()
        });
        answer.expect("answered");
        binding.expect("a connection")
    }

    pub(super) fn send(&mut self, copied: &Copied) -> Answer {
        let Copied { method, path, body, token, proof, delegation } = copied.clone();
        let message = Self::message(method, path, body);
        let delegation = delegation.unwrap_or_else(|| " ".to_owned());
        let headers = [
            (TOKEN_HEADER, format!("{TOKEN_SCHEME}{token}")),
            (PROOF_HEADER, proof),
            (DELEGATION_HEADER, delegation),
        ];
        let header = |(name, value): &(&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("text"))
        };
        let shown: Vec<_> = headers.iter().filter(|h| !h.1.ends_with(' ')).map(header).collect();
        self.connection.request_with(&message, &mut |_| shown.clone()).expect("answered")
    }

    /// Sends what has to be refused and prints why it was.
    #[track_caller]
    pub(super) fn is_stopped(&mut self, attack: &str, copied: &Copied, status: u16, word: &str) {
        let answer = self.send(copied);
        let said: Value = serde_json::from_slice(&answer.body).expect("a refusal");
        let why = said["error"].as_str().expect("why");
        assert_eq!(answer.status.as_u16(), status, "{attack}: {why}");
        assert!(why.contains(word), "{attack}: {why}");
        stopped(why);
    }
}

impl Copied {
    fn prove(&mut self, key: &SigningKey, binding: &ChannelBinding, now: Timestamp) {
        let (_, call) = right_to(self.method.as_str(), self.path).expect("in the table");
        let covered = call.covered.digest(&self.body).expect("well formed");
        let call = Call {
            method: self.method.as_str(),
            path: self.path,
            body: &covered,
            binding: &binding.0,
            token: &self.token,
        };
        self.proof = Proof::make(key, &call, 0, now).to_text();
    }
}

/// A fleet with a region that has the first node's snapshot.
pub(super) fn synced() -> (Fleet, Region) {
    let fleet = Fleet::found();
    let region = fleet.region("region-a");
    fleet.snapshot(&fleet.tree("tree"));
    fleet.run(&["sync"]).ok();
    (fleet, region)
}

#[test]
fn a_stolen_token_is_used_on_another_connection_and_with_another_key() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Read);
    let copied = node.make(&token, GET);
    let mut elsewhere = Caller::connect(&fleet, &region, &fleet.home());
    let attack = "a copied request on another connection of the same node";
    elsewhere.is_stopped(attack, &copied, 401, "the token is for use in session:");
    let binding = elsewhere.binding();
    let mut proved = copied.clone();
    proved.prove(&elsewhere.key, &binding, token.now);
    let attack = "a stolen token on another connection, with the stolen key";
    elsewhere.is_stopped(attack, &proved, 401, "the token is for use in session:");
    let mut other = SigningKey::from_seed(&OsRng.array());
    std::mem::swap(&mut node.key, &mut other);
    let mut forged = copied.clone();
    let binding = node.binding();
    forged.prove(&node.key, &binding, token.now);
    let attack = "a stolen token on its own connection, with another key";
    node.is_stopped(attack, &forged, 401, "not of this request");
    assert_eq!(node.send(&copied).status.as_u16(), 200, "the honest request still passes");
}

#[test]
fn a_request_is_replayed_and_again_after_the_region_restarts() {
    let (fleet, mut region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Read);
    let copied = node.make(&token, GET);
    assert_eq!(node.send(&copied).status.as_u16(), 200);
    node.is_stopped("a request replayed on its own connection", &copied, 401, "a replay");
    region.kill();
    region.resume();
    let mut again = Caller::connect(&fleet, &region, &fleet.home());
    let attack = "a request replayed after the region was killed and started again";
    again.is_stopped(attack, &copied, 401, "the token is for use in session:");
    // What the ledger says of it, were the connection the same.
    region.stop();
    let binding = ChannelBinding([7; 32]);
    let (used, at) = (InHome::open(&fleet, &region), SystemClock.now());
    used.clock.set(at);
    let token = used.token(binding);
    let proof = used.proof(&token, binding, at);
    used.send(&token, &proof, binding).expect("the first time");
    drop(used);
    let used = InHome::open(&fleet, &region);
    used.clock.set(at);
    let why = used.send(&token, &proof, binding).expect_err("the second time");
    assert!(why.contains("a replay"), "{why}");
    stopped(&why);
}

#[test]
fn a_request_is_altered_on_its_way() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Read);
    let copied = node.make(&token, GET);
    let body = [&1_u32.to_le_bytes()[..], &[9; 32]].concat();
    for (attack, altered) in [
        ("another body under a node's proof", Copied { body, ..copied.clone() }),
        ("another path", Copied { path: "/v1/challenge", ..copied.clone() }),
        (
            "another method",
            Copied { method: Method::GET, path: "/v1/logs", body: Vec::new(), ..copied.clone() },
        ),
    ] {
        node.is_stopped(attack, &altered, 401, "not of this request");
    }
    assert_eq!(node.send(&copied).status.as_u16(), 200);
}

#[test]
fn a_token_is_downgraded_or_left_out() {
    let (fleet, region) = synced();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Read);
    let copied = node.make(&token, GET);
    for version in ["v1.public", "v2.public", "v3.public", "v4.local"] {
        let downgraded = token.token.replacen("v4.public", version, 1);
        let attack = format!("a token of version {version}");
        let downgraded = Copied { token: downgraded, ..copied.clone() };
        node.is_stopped(&attack, &downgraded, 401, version);
    }
    let bare = Copied { token: String::new(), ..copied.clone() };
    node.is_stopped("a request without a token", &bare, 401, "without a token");
    let unproven = Copied { proof: String::new(), ..copied.clone() };
    node.is_stopped("a token without a proof", &unproven, 401, "proof of possession");
    assert_eq!(node.send(&copied).status.as_u16(), 200);
}

/// The region's own home, opened in this process with a clock that obeys.
struct InHome {
    region: InProcess,
    clock: SimClock,
    key: SigningKey,
}

impl InHome {
    fn open(fleet: &Fleet, region: &Region) -> Self {
        let clock = SimClock::new(SystemClock.now());
        let disk = Arc::new(FsDisk::create(&region.home).expect("opened"));
        let opened = InProcess::open_on(disk, Arc::new(clock.clone())).expect("opened");
        Self { region: opened, clock, key: transport(&fleet.home()) }
    }

    fn session(&self, binding: ChannelBinding) -> Session {
        Session { peer: self.key.public(), binding }
    }

    fn token(&self, binding: ChannelBinding) -> String {
        let nonce = hex::encode(OsRng.array::<16>());
        let asked = TokenRequest { operation: Operation::Read, statement: None, nonce };
        let asked = serde_json::to_vec(&asked).expect("JSON");
        self.region.issue(&self.session(binding), &asked).expect("issued").token
    }

    fn proof(&self, token: &str, binding: ChannelBinding, now: Timestamp) -> String {
        let (path, token) = (GET, token.to_owned());
        let (body, proof) = (NOTHING.to_vec(), String::new());
        let method = Method::POST;
        let mut copied = Copied { method, path, body, token, proof, delegation: None };
        copied.prove(&self.key, &binding, now);
        copied.proof
    }

    fn send(&self, token: &str, proof: &str, binding: ChannelBinding) -> Result<(), String> {
        let (token, proof) = (Some(token), Some(proof));
        let head = Head { method: "POST", path: GET, token, proof, delegation: None };
        let pending = self.region.admit(&self.session(binding), &head);
        let done = pending.and_then(|pending| pending.confirm(&self.region, &NOTHING));
        done.map(drop).map_err(|refusal| refusal.to_string())
    }
}

#[test]
fn a_regions_clock_is_set_back_and_forward_to_make_an_old_token_good() {
    let (fleet, mut region) = synced();
    region.stop();
    let it = InHome::open(&fleet, &region);
    let (start, binding) = (SystemClock.now(), ChannelBinding([7; 32]));
    it.clock.set(start);
    let token = it.token(binding);
    let proof = it.proof(&token, binding, start);
    it.send(&token, &proof, binding).expect("now");
    for (attack, now, word) in [
        ("an expired token", start.after(Seconds(601)), "expired"),
        ("a clock set back by a day", start.before(Seconds::days(1)), "holds from"),
        ("a clock set back by a minute, and a replay", start.before(Seconds(60)), "a replay"),
    ] {
        it.clock.set(now);
        let why = it.send(&token, &proof, binding).expect_err(attack);
        assert!(why.contains(word), "{attack}: {why}");
        stopped(&why);
    }
    // So far ahead that everything is forgotten, and back to when the token held.
    it.clock.set(start.after(Seconds::days(400)));
    it.token(binding);
    it.clock.set(start);
    let why = it.send(&token, &proof, binding).expect_err("dropped");
    assert!(why.contains("did not issue"), "{why}");
    stopped(&why);
}
