//! Witnesses of a fleet on the loopback, and logs that show them two faces or go back in time.

use std::path::{Path, PathBuf};
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
use seawall_record::FleetCard;
use seawall_sign::{SigningKey, VerifyingKey};
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, arg, copy, free_address, noise_of, run};

/// A witness as a custodian's daemon serves it.
struct Desk {
    witness: Mutex<WitnessDesk>,
    fleet: FleetState,
    /// Days by which its clock is ahead.
    ahead: Arc<AtomicI64>,
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
                let found = match what {
                    "checkpoint" => desk.checkpoint(hash),
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
    fn new(fleet: &Fleet, name: &'static str, seed: u8) -> Self {
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
    fn record(&self, fleet: &Fleet) -> PathBuf {
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

    fn start(&mut self, fleet: &Fleet) {
        let card = fleet.path("witness-card.json");
        fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        let state = FleetCard::open(&std::fs::read(&card).expect("readable")).expect("a card");
        let home = Arc::new(FsDisk::create(self.home.clone()).expect("a directory"));
        let name = format!("{}.example/witness", self.name);
        let desk = WitnessDesk::open(home, "witness", name, self.key()).expect("the desk opens");
        let ahead = self.ahead.clone();
        let desk = Arc::new(Desk { witness: Mutex::new(desk), fleet: state, ahead });
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

fn snapshot(fleet: &Fleet, home: &Path, seed: u64) -> String {
    let tree = fleet.path(&format!("tree-{seed}"));
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise_of(seed, 100_000)).expect("written");
    let said = run(home, &["snapshot", "create", arg(&tree), "--json"]).ok();
    said.json()["id"].as_str().expect("an id").to_owned()
}

fn level(home: &Path, id: &str) -> String {
    let list = run(home, &["snapshot", "list", "--json"]).ok().json();
    let list = list.as_array().expect("an array");
    let it = list.iter().find(|it| it["id"] == id).expect("listed");
    it["witnessed"]["level"].as_str().expect("a level").to_owned()
}

#[test]
fn a_quorum_vouches_and_a_minority_does_not() {
    let fleet = Fleet::found();
    let mut witnesses = four(&fleet);
    let home = fleet.home();
    let first = snapshot(&fleet, &home, 1);
    assert_eq!(level(&home, &first), "0");
    let synced = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(synced.as_array().map(Vec::len), Some(4));
    assert!(synced[0]["cosigned"].is_string());
    assert_eq!(level(&home, &first), "q");
    // Once witnessed it stays so, whoever is gone since.
    witnesses[..2].iter_mut().for_each(Witness::stop);
    let second = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).code(1);
    assert_eq!((level(&home, &first).as_str(), level(&home, &second).as_str()), ("q", "1"));
    let out = fleet.path("req.json");
    let args = ["--reason", "a test", "--out", arg(&out)];
    fleet.run(&[&["restore", "request", &first][..], &args].concat()).ok();
    let said = fleet.run(&[&["restore", "request", &second][..], &args].concat()).code(1);
    stopped(&said.says(&["too few witnesses", "cleo, dora (3 needed)"]).stderr);
    // A witness that comes back is brought what it missed.
    witnesses[0].start(&fleet);
    fleet.run(&["sync"]).code(1);
    assert_eq!(level(&home, &second), "q");
    fleet.run(&[&["restore", "request", &second][..], &args].concat()).ok();
    witnesses.iter_mut().filter(|it| it.serving.is_some()).for_each(Witness::stop);
}

#[test]
fn a_split_view_is_shown_to_two_witness_pairs() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    let mut witnesses = four(&fleet);
    let home = fleet.home();
    snapshot(&fleet, &home, 1);
    fleet.run(&["sync"]).ok();
    run(&second, &["sync"]).code(0);
    let face = fleet.path("other-face");
    copy(&home, &face);
    std::fs::remove_file(face.join("regions/region-a.json")).expect("removed");
    // One pair sees one face, the other pair the other.
    witnesses[2..].iter_mut().for_each(Witness::stop);
    let one = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).code(1);
    witnesses[..2].iter_mut().for_each(Witness::stop);
    for it in &mut witnesses[2..] {
        it.start(&fleet);
    }
    let other = snapshot(&fleet, &face, 3);
    run(&face, &["sync"]).code(1);
    for it in &mut witnesses[..2] {
        it.start(&fleet);
    }
    // Neither has a quorum, and whoever compares any two finds the fork, with evidence.
    assert_eq!((level(&home, &one).as_str(), level(&face, &other).as_str()), ("1", "1"));
    let said = run(&second, &["snapshot", "list", "--all"]).code(1);
    let said = said.says(&["two histories: a fork", "both checkpoints are in evidence/"]);
    stopped(&said.stderr);
    let files: Vec<PathBuf> = second
        .join("evidence")
        .read_dir()
        .expect("written")
        .map(|it| it.expect("readable").path())
        .collect();
    assert_eq!(files.len(), 2, "against each of the other pair");
    for file in &files {
        let said = run(&fleet.path("nowhere"), &["log", "evidence", "verify", arg(file)]).ok();
        assert!(said.stdout.contains("PROVEN: the log forked"), "{}", said.stdout);
    }
    // Nor does either face get further with the other pair.
    let said = fleet.run(&["sync"]).code(1).says(&["restored from an old copy"]);
    stopped(&said.stderr);
    region.stop();
    witnesses.iter_mut().for_each(Witness::stop);
}

#[test]
fn a_restored_node_meets_a_witness_that_has_seen_more() {
    let fleet = Fleet::found();
    let mut witnesses = four(&fleet);
    let home = fleet.home();
    snapshot(&fleet, &home, 1);
    fleet.run(&["sync"]).ok();
    let image = fleet.path("image");
    copy(&home, &image);
    let lost = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).ok();
    std::fs::remove_dir_all(&home).expect("removed");
    copy(&image, &home);
    let kept = snapshot(&fleet, &home, 3);
    let said = fleet.run(&["sync"]).code(1).says(&["restored from an old copy", "epoch begin"]);
    stopped(&said.stderr);
    // No region has its entries: what was witnessed and cannot be had is said, and it goes on.
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let args = ["node", "epoch", "begin", "--reason", "an image", "--out", arg(&ask)];
    fleet.run(&args).ok();
    fleet.run(&["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)]).ok();
    let said = fleet.run(&["node", "epoch", "adopt", arg(&grant), "--json"]).code(3).json();
    let number = |value: &Value| value.as_u64().expect("a number");
    assert!(number(&said["lost"]) > 0 && number(&said["branched"]) == 1, "{said}");
    fleet.run(&["sync"]).ok();
    assert_eq!(level(&home, &kept), "q");
    let shown = run(&home, &["snapshot", "list", "--json"]).ok().json();
    assert!(!shown.to_string().contains(&lost), "it is with nobody");
    witnesses.iter_mut().for_each(Witness::stop);
}
