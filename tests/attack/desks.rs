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
use seawall_record::FleetCard;
use seawall_sign::{SigningKey, VerifyingKey};

use crate::harness::{Fleet, arg, free_address};

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
