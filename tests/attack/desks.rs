//! Witnesses in this process, whose clocks obey the test. Where no clock matters, witnesses are
//! machines of their own: [`super::witnesses`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use seawall_base::{Clock as _, Sha256, Timestamp};
use seawall_custodian::WitnessDesk;
use seawall_host::{FsDisk, SystemClock};
use seawall_link::{Background, Handler, JSON, Reply, Session, TEXT, serve_in_background};
use seawall_record::Fleet as FleetState;
use seawall_record::{FleetCard, FleetPolicy};
use seawall_sign::{Envelope, SigningKey, VerifyingKey};
use seawall_tlog::{NoteSignature, SignedCheckpoint};

use super::{level, snapshot, stopped};
use crate::harness::{Fleet, arg, copy, free_address, run};
use crate::machines::key_in;

/// What a witness makes of the checkpoint it would have shown.
type Lie = fn(&SignedCheckpoint) -> Vec<u8>;

/// A witness as a custodian's daemon serves it.
struct Desk {
    witness: Mutex<WitnessDesk>,
    fleet: FleetState,
    /// Days by which its clock is ahead.
    ahead: Arc<AtomicI64>,
    lie: Option<Lie>,
}

impl Handler for Desk {
    fn is_known(&self, _: &VerifyingKey) -> bool {
        true
    }

    async fn serve(
        self: Arc<Self>,
        _: Session,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        self.answer(&method, &path, &body).into_response()
    }
}

impl Desk {
    fn now(&self) -> Timestamp {
        let days = self.ahead.load(Ordering::SeqCst);
        Timestamp(SystemClock.now().0.saturating_add_signed(days * 86_400))
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> Reply {
        let mut desk = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let fleets = std::slice::from_ref(&self.fleet);
        let path = path.strip_prefix("/v1/witness/").unwrap_or("");
        let refused = |why: String| Reply::refusal(403, why, "be introduced".to_owned());
        match (method, path.split_once('/')) {
            (&Method::POST, None) if path == "introduce" => match desk.introduce(fleets, body) {
                Ok(()) => Reply::new(JSON, "{}"),
                Err(e) => refused(e.to_string()),
            },
            (&Method::POST, None) => {
                let judged = desk.add_checkpoint(fleets, body, self.now());
                let answer = judged.expect("the disk works").answer;
                Reply::new(TEXT, answer.body()).with_status(answer.status())
            }
            (_, Some((hash, what))) => {
                let hash = Sha256::from_hex(hash).expect("a hash");
                let shown = |bytes: Vec<u8>| match self.lie {
                    Some(lie) => lie(&SignedCheckpoint::parse(&bytes).expect("its own")),
                    None => bytes,
                };
                let found = match what {
                    "checkpoint" => desk.checkpoint(hash).map(shown),
                    _ => desk.introduction(hash),
                };
                found.map_or_else(
                    || refused("unknown".to_owned()).with_status(404),
                    |bytes| Reply::new(TEXT, bytes),
                )
            }
            _ => refused("no such path".to_owned()).with_status(404),
        }
    }
}

/// A witness that can be stopped and started.
pub(super) struct Witness {
    name: &'static str,
    home: PathBuf,
    address: String,
    seed: u8,
    serving: Option<Background>,
    ahead: Arc<AtomicI64>,
}

impl Witness {
    pub(super) fn new(fleet: &Fleet, name: &'static str, seed: u8) -> Self {
        let home = fleet.path(&format!("witness-{name}"));
        Self { name, home, address: free_address(), seed, serving: None, ahead: Arc::default() }
    }

    fn key(&self) -> SigningKey {
        SigningKey::from_seed(&[self.seed; 32])
    }

    fn transport(&self) -> SigningKey {
        SigningKey::from_seed(&[self.seed + 100; 32])
    }

    /// Its record in the policy, in a file.
    pub(super) fn record(&self, fleet: &Fleet) -> PathBuf {
        let record = serde_json::json!({
            "operator": self.name,
            "name": format!("{}.example/witness", self.name),
            "key": self.key().public(),
            "endpoint": { "address": self.address, "transport": self.transport().public() },
        });
        let path = fleet.path(&format!("{}.json", self.name));
        std::fs::write(&path, record.to_string()).expect("written");
        path
    }

    pub(super) fn start(&mut self, fleet: &Fleet) {
        self.start_as(fleet, None);
    }

    fn start_as(&mut self, fleet: &Fleet, lie: Option<Lie>) {
        let card = fleet.path("witness-card.json");
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let state = FleetCard::open(&std::fs::read(&card).expect("readable")).expect("a card");
        let home = Arc::new(FsDisk::create(self.home.clone()).expect("a directory"));
        let name = format!("{}.example/witness", self.name);
        let desk = WitnessDesk::open(home, "witness", name, self.key()).expect("the desk opens");
        let ahead = self.ahead.clone();
        let desk = Arc::new(Desk { witness: Mutex::new(desk), fleet: state, ahead, lie });
        let serving = serve_in_background(desk, &self.transport(), &self.address);
        self.serving = Some(serving.expect("served"));
    }

    /// Sets its clock so many days ahead.
    pub(super) fn set_ahead(&self, days: i64) {
        self.ahead.store(days, Ordering::SeqCst);
    }

    pub(super) fn stop(&mut self) {
        self.serving.take().expect("running").stop().expect("ended in order");
    }
}

/// Four witnesses in the policy, three of whom are a quorum: one of them may cheat.
pub(super) fn four(fleet: &Fleet) -> Vec<Witness> {
    let names = ["anna", "ben", "cleo", "dora"];
    let mut all: Vec<Witness> =
        (60..).zip(names).map(|(seed, name)| Witness::new(fleet, name, seed)).collect();
    let next = fleet.path("next.json");
    let mut args = vec!["fleet".to_owned(), "policy".to_owned(), "propose".to_owned()];
    for witness in &all {
        args.extend(["--witness".to_owned(), arg(&witness.record(fleet)).to_owned()]);
    }
    args.extend(["--witness-quorum", "3", "--faulty", "1", "--out", arg(&next)].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    fleet.run(&args).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    for it in &mut all {
        it.start(fleet);
    }
    all
}

/// A line that does not verify in the name of each key that signed, and one in another witness's.
fn slander(signed: &SignedCheckpoint) -> Vec<u8> {
    let mut out = String::from_utf8(signed.to_bytes()).expect("text");
    let text = signed.note().text();
    let ben = SigningKey::from_seed(&[61; 32]);
    let ben = NoteSignature::cosign("ben.example/witness", &ben, text, Timestamp(5));
    for line in signed.note().signatures().iter().chain(&[ben.expect("a line")]) {
        // Its own stays as it is: that one is looked at.
        if line.name != "anna.example/witness" {
            let mut bad = line.clone();
            *bad.signature.last_mut().expect("bytes") ^= 1;
            out.push_str(&bad.to_string());
        }
    }
    out.into_bytes()
}

/// As many lines of nobody's as a note can have.
fn drown(signed: &SignedCheckpoint) -> Vec<u8> {
    let mut out = String::from_utf8(signed.to_bytes()).expect("text");
    let key = SigningKey::from_seed(&[9; 32]);
    for n in signed.note().signatures().len()..64 {
        let line = NoteSignature::sign(&format!("nobody-{n}"), &key, signed.note().text());
        out.push_str(&line.expect("a line").to_string());
    }
    out.into_bytes()
}

#[test]
fn a_witness_adds_lines_to_what_others_have_signed() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    let mut witnesses = four(&fleet);
    let id = snapshot(&fleet, &fleet.home(), 1);
    fleet.run(&["sync"]).ok();
    run(&second, &["sync"]).ok();
    for (name, lie) in [("slander", slander as Lie), ("drown", drown as Lie)] {
        witnesses[0].stop();
        witnesses[0].start_as(&fleet, Some(lie));
        let out = fleet.path(&format!("{name}.json"));
        let args = ["restore", "request", &id, "--reason", "a test", "--out", arg(&out), "--json"];
        let said = run(&second, &args).ok().json();
        assert_eq!(said["witnessed"]["level"], "q", "{said}");
        let operators = said["witnessed"]["operators"].as_array().expect("operators");
        assert_eq!(operators.len(), 5, "its own voice counts, too, and the region's: {said}");
        fleet.approve(&out, 0, &format!("{name}-approval.json"));
        stopped(&format!("{name}: only lines that verify are taken over, and none is replaced"));
    }
    region.stop();
    witnesses.iter_mut().for_each(Witness::stop);
}

#[test]
fn a_witness_has_a_name_that_no_signature_line_can_carry() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let id = snapshot(&fleet, &fleet.home(), 1);
    let record = fleet.path("anna.json");
    let key = SigningKey::from_seed(&[60; 32]).public();
    let anna = |name: &str| {
        let text = serde_json::json!({ "operator": "anna", "name": name, "key": key });
        std::fs::write(&record, text.to_string()).expect("written");
    };
    let next = fleet.path("next.json");
    let propose = ["fleet", "policy", "propose", "--witness", arg(&record), "--out", arg(&next)];
    for name in ["Anna Witness", "anna+ben"] {
        anna(name);
        let said = fleet.run(&propose).code(1).says(&["no spaces, no plus signs"]);
        stopped(&said.stderr);
    }
    // A policy of earlier days has it, and everything goes on without that voice.
    anna("anna");
    fleet.run(&propose).ok();
    let proposed = Envelope::parse(std::fs::read(&next).expect("there").trim_ascii());
    let proposed = proposed.expect("an envelope");
    let mut policy = FleetPolicy::read_unverified(&proposed).expect("a policy");
    policy.witnesses[0].name = "Anna Witness".to_owned();
    let root = key_in(&fleet.home().join("root/root-1.key"));
    let signed = policy.statement().sign(&[&root]).expect("signed");
    std::fs::write(&next, signed.to_json()).expect("written");
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    fleet.run(&["sync"]).ok();
    assert_eq!(level(&fleet.home(), &id), "1", "the region's voice");
    fleet.run(&["verify"]).ok();
    let out = fleet.path("request.json");
    fleet.run(&["restore", "request", &id, "--reason", "a test", "--out", arg(&out)]).ok();
    fleet.approve(&out, 0, "approval.json");
    // The next policy may leave it as it is, or take it out.
    let out = ["--out", arg(&next)];
    fleet.run(&[&["fleet", "policy", "propose"][..], &out].concat()).ok();
    let remove = ["fleet", "policy", "propose", "--remove-witness", "Anna Witness"];
    fleet.run(&[&remove[..], &out].concat()).ok();
    region.stop();
}

#[test]
fn a_region_returns_after_an_epoch_was_begun_without_its_copies() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    let mut witnesses = four(&fleet);
    let home = fleet.home();
    let first = snapshot(&fleet, &home, 1);
    fleet.run(&["sync"]).ok();
    let image = fleet.path("image");
    copy(&home, &image);
    let away = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).ok();
    // Witnesses know how far the log went; the region that has its entries is away.
    region.stop();
    std::fs::remove_dir_all(&home).expect("removed");
    copy(&image, &home);
    let kept = snapshot(&fleet, &home, 3);
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let args = ["node", "epoch", "begin", "--reason", "an image", "--out", arg(&ask)];
    fleet.run(&args).ok();
    fleet.run(&["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)]).ok();
    let adopt = ["node", "epoch", "adopt", arg(&grant)];
    fleet.run(&adopt).code(1).says(&["--without-copies"]);
    fleet.run(&[&adopt[..], &["--without-copies"]].concat()).code(3);
    region.resume();
    // It is brought what it has itself, as a branch, and takes the log.
    fleet.run(&["sync"]).ok();
    let list = run(&second, &["snapshot", "list", "--all", "--json"]).ok().json();
    let list = list.as_array().expect("an array");
    assert_eq!(list.len(), 3, "{list:#?}");
    for id in [first, away, kept] {
        assert!(list.iter().any(|it| it["id"] == id), "{id}");
    }
    stopped("what was left out stands in the log as a branch");
    region.stop();
    witnesses.iter_mut().for_each(Witness::stop);
}
