//! A region that has its own keys and everything it was sent, and answers what suits it: objects
//! swapped or left out, logs shortened and rewritten, proofs made up, another group's key.
//!
//! It is the real region's code over the real region's home, behind answers that are altered, and
//! the real program talks to it over TLS as it would to any.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use seawall_base::{ObjectId, Sha256};
use seawall_link::{Background, Handler, JSON, OCTETS, Reply, Session, TEXT, serve_in_background};
use seawall_record::PolicyChain;
use seawall_region::{Refusal, Region as InProcess};
use seawall_sign::{SigningKey, VerifyingKey};
use seawall_sync::message::{CosignedAnswer, ReceiptRequest};
use seawall_sync::{ReceiptAnswer, wire};
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, Region, Said, arg, assert_same, noise_of, restored, run};

/// What becomes of an answer: the path, what was asked, and what the region would have said.
type Lie = Box<dyn Fn(&str, &[u8], Vec<u8>) -> Vec<u8> + Send + Sync>;

struct Liar {
    region: InProcess,
    lie: Lie,
}

impl Handler for Liar {
    fn is_known(&self, _: &VerifyingKey) -> bool {
        true
    }

    async fn serve(
        self: Arc<Self>,
        session: Session,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let answer = self.honest(&session, &method, &path, &body);
        let answer = answer.unwrap_or_else(|refusal| {
            Reply::refusal(refusal.status, refusal.error, refusal.remedy)
        });
        if !answer.status.is_success() {
            return answer.into_response();
        }
        let told = (self.lie)(&path, &body, answer.body.to_vec());
        Reply { body: told.into(), ..answer }.into_response()
    }
}

impl Liar {
    /// What the region would say. It asks nobody for a token: it may do as it likes.
    fn honest(
        &self,
        session: &Session,
        method: &Method,
        path: &str,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let it = &self.region;
        match path {
            "/v1/region" => return Ok(Reply::json(&it.identity())),
            "/v1/enrol" => {
                it.enrol(&session.peer, body)?;
                return Ok(Reply::new(JSON, "{}"));
            }
            "/v1/policies" => {
                return Ok(Reply::new(JSON, it.exchange_policies(&session.peer, body)?));
            }
            "/v1/token" => return Ok(Reply::json(&it.issue(session, body)?)),
            _ => {}
        }
        let by = it.member(&session.peer).expect("enrolled");
        let text =
            |answer: seawall_sync::Answer| Reply::new(TEXT, answer.body).with_status(answer.status);
        match (method, path) {
            (_, "/v1/have") => {
                let ids = wire::decode_ids(body, wire::MAX_HAVE)?;
                Ok(Reply::new(OCTETS, wire::encode_have(&ids, &it.have(&by, &ids)?)))
            }
            (_, "/v1/objects") => it.put(&by, body).map(|()| Reply::new(JSON, "{}")),
            (_, "/v1/get") => {
                let ids = wire::decode_ids(body, wire::MAX_GET)?;
                Ok(Reply::new(OCTETS, it.get(&by, &ids)?))
            }
            (_, "/v1/challenge") => {
                let (nonce, ids) = wire::decode_challenge(body)?;
                Ok(Reply::new(OCTETS, wire::encode_proofs(&it.challenge(&by, &nonce, &ids)?)))
            }
            (_, "/v1/receipt") => {
                let wanted: ReceiptRequest = serde_json::from_slice(body).expect("a request");
                Ok(match it.receipt(&by, &wanted.origin, wanted.index)? {
                    ReceiptAnswer::Given(it) => Reply::new(JSON, it.to_json()),
                    ReceiptAnswer::Missing(ids) => {
                        Reply::new(OCTETS, wire::encode_ids(&ids)).with_status(409)
                    }
                })
            }
            (_, "/v1/delegation") => Ok(Reply::new(JSON, it.delegate(&by, body)?.to_json())),
            (_, "/v1/log/add-checkpoint") => it.add_checkpoint(&by, body).map(text),
            (_, "/v1/log/add-entries") => it.add_entries(&by, body).map(text),
            (_, "/v1/log/witnessed") => {
                let size = it.show_cosigned(&by, body)?;
                Ok(Reply::json(&CosignedAnswer { size }))
            }
            (&Method::GET, "/v1/logs") => Ok(Reply::json(&it.list_logs(&by))),
            (_, path) => {
                let tile = path.strip_prefix("/v1/log/").and_then(|it| it.split_once('/'));
                let Some((log, tile)) = tile else {
                    return Ok(Reply::refusal(404, "no such path".to_owned(), String::new()));
                };
                let log = Sha256::from_hex(log).expect("a hash");
                Ok(Reply::new(OCTETS, it.tile(&by, log, tile)?))
            }
        }
    }
}

/// Two nodes and the region between them, which has turned.
struct Turned {
    fleet: Fleet,
    region: Region,
    second: PathBuf,
    tree: PathBuf,
    id: String,
}

/// A region as long as it lies.
struct Lying(Option<Background>);

impl Drop for Lying {
    fn drop(&mut self) {
        self.0.take().expect("running").stop().expect("it ended in order");
    }
}

impl Turned {
    fn new() -> Self {
        let fleet = Fleet::found();
        let mut region = fleet.region("region-a");
        let second = fleet.second_node("site-b");
        let tree = fleet.path("tree");
        std::fs::create_dir(&tree).expect("a directory");
        for n in 0..4 {
            std::fs::write(tree.join(format!("{n}")), noise_of(n, 400_000)).expect("written");
        }
        let id = fleet.snapshot(&tree);
        fleet.run(&["sync"]).ok();
        region.stop();
        Self { fleet, region, second, tree, id }
    }

    /// The region lies until what this returns is dropped.
    fn tells(
        &self,
        lie: impl Fn(&str, &[u8], Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Lying {
        let region = InProcess::open(&self.region.home).expect("it has its home");
        let liar = Arc::new(Liar { region, lie: Box::new(lie) });
        let seed = std::fs::read(self.region.home.join("keys/transport")).expect("a key");
        let own = SigningKey::from_seed(&seed.try_into().expect("32 bytes"));
        let serving = serve_in_background(liar, &own, &self.region.address());
        Lying(Some(serving.expect("served")))
    }

    /// Two custodians' answers to a request of the second node's.
    fn approved(&self) -> [PathBuf; 3] {
        let request = self.fleet.request(&self.second, &self.id, "request.json");
        let answer = |n: usize| self.fleet.approve(&request, n, &format!("a{n}.json"));
        [answer(0), answer(1), request]
    }

    fn restore(&self, approved: &[PathBuf; 3], to: &Path) -> Said {
        let [a, b, request] = approved;
        let args = ["restore", "run", arg(request), "--approval", arg(a), "--approval", arg(b)];
        run(&self.second, &[&args[..], &["--to", arg(to)]].concat())
    }
}

/// The objects of an answer to `/v1/get`.
fn objects(asked: &[u8], answer: &[u8]) -> (usize, Vec<(ObjectId, Vec<u8>)>) {
    let ids = wire::decode_ids(asked, wire::MAX_GET).expect("ids");
    let (covered, objects) = wire::decode_get_answer(&ids, answer).expect("an answer");
    (covered, objects.into_iter().map(|(id, bytes)| (id, bytes.to_vec())).collect())
}

fn answer(covered: usize, objects: &[(ObjectId, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, bytes) in objects {
        wire::push_object(&mut body, *id, bytes);
    }
    wire::encode_get_answer(covered, &body)
}

/// An object that the node itself sealed, in another's place.
#[test]
fn one_object_is_served_in_place_of_another() {
    let it = Turned::new();
    let honest = it.tells(|_, _, told| told);
    let approved = it.approved();
    drop(honest);
    let other = std::sync::Mutex::new(None::<Vec<u8>>);
    let lying = it.tells(move |path, asked, told| {
        if path != "/v1/get" {
            return told;
        }
        let (covered, mut all) = objects(asked, &told);
        let mut other = other.lock().expect("whole");
        for (_, bytes) in &mut all {
            let kept = other.get_or_insert_with(|| bytes.clone());
            bytes.clone_from(kept);
        }
        answer(covered, &all)
    });
    let to = it.fleet.path("restored");
    let said = it.restore(&approved, &to);
    assert_ne!(said.code, 0, "{said:?}");
    stopped(&said.says(&["are not that object"]).stderr);
    drop(lying);
    let written = |n: u64| std::fs::read(restored(&to, &it.tree).join(n.to_string()));
    for n in 0..4 {
        if let Ok(bytes) = written(n) {
            assert_eq!(bytes, noise_of(n, 400_000), "what stands under its name is what it was");
        }
    }
    let honest = it.tells(|_, _, told| told);
    it.restore(&approved, &it.fleet.path("again")).ok();
    drop(honest);
}

#[test]
fn objects_are_left_out_and_put_into_another_order() {
    let it = Turned::new();
    let honest = it.tells(|_, _, told| told);
    let approved = it.approved();
    drop(honest);
    let lying = it.tells(|path, asked, told| {
        if path != "/v1/get" {
            return told;
        }
        let (covered, mut all) = objects(asked, &told);
        // Large ones only: directories and file lists are there, content is not.
        all.retain(|(_, bytes)| bytes.len() < 100_000);
        answer(covered, &all)
    });
    let said = it.restore(&approved, &it.fleet.path("without")).code(3).says(&["not restored"]);
    stopped(&said.stderr);
    drop(lying);
    let lying = it.tells(|path, asked, told| {
        if path != "/v1/get" {
            return told;
        }
        let (covered, mut all) = objects(asked, &told);
        all.reverse();
        let ids = wire::decode_ids(asked, wire::MAX_GET).expect("ids");
        // A single object has no order; it is given twice.
        if ids.len() == 1 {
            answer(covered, &[all.clone(), all].concat())
        } else {
            answer(covered, &all)
        }
    });
    let said = it.restore(&approved, &it.fleet.path("reversed"));
    assert_ne!(said.code, 0, "{said:?}");
    stopped(&said.says(&["against the protocol"]).stderr);
    drop(lying);
}

/// A second region has everything: the first does no more harm than to be named.
#[test]
fn it_lies_beside_an_honest_region() {
    let it = Turned::new();
    let honest = it.fleet.region("region-b");
    it.fleet.run(&["sync"]).code(1).says(&["region-a"]);
    let (card, bundle) = (it.fleet.path("site-b-card.json"), it.fleet.path("newer.json"));
    it.fleet.run(&["fleet", "bundle", arg(&card), "--out", arg(&bundle)]).ok();
    run(&it.second, &["node", "enroll", arg(&bundle)]).ok();
    let approved = it.approved();
    let lying = it.tells(|path, asked, told| {
        if path != "/v1/get" {
            return told;
        }
        let (covered, mut all) = objects(asked, &told);
        for (_, bytes) in &mut all {
            bytes[40] ^= 1;
        }
        answer(covered, &all)
    });
    let to = it.fleet.path("restored");
    let said = it.restore(&approved, &to).ok();
    assert_same(&it.tree, &restored(&to, &it.tree));
    stopped(said.says(&["region-a", "are not that object"]).stderr.as_str());
    drop((lying, honest));
}

/// What is done to a bundle of entries.
type Change = fn(&mut Vec<Vec<u8>>);

/// Rewrites the first bundle of entries of every log.
fn of_entries(change: Change) -> impl Fn(&str, &[u8], Vec<u8>) -> Vec<u8> {
    move |path, _, told| {
        if !path.contains("/tile/entries/") {
            return told;
        }
        let mut entries = Vec::new();
        let mut rest = &told[..];
        while let [a, b, more @ ..] = rest {
            let (entry, after) = more.split_at(usize::from(u16::from_be_bytes([*a, *b])));
            entries.push(entry.to_vec());
            rest = after;
        }
        change(&mut entries);
        seawall_tlog::tile::encode_bundle(&entries)
    }
}

#[test]
fn entries_are_dropped_reordered_and_replaced() {
    let it = Turned::new();
    let changes: [(&str, Change); 5] = [
        ("dropped", |entries| drop(entries.remove(1))),
        ("reordered", |entries| entries.swap(1, 2)),
        ("replaced", |entries| entries[1] = b"{}".to_vec()),
        ("repeated", |entries| entries[2] = entries[1].clone()),
        ("cut", |entries| entries.truncate(1)),
    ];
    for (change, lie) in changes {
        let lying = it.tells(of_entries(lie));
        let said = run(&it.second, &["snapshot", "list", "--all"]);
        drop(lying);
        assert_eq!(said.code, 1, "{change}: {said:?}");
        assert!(!said.stdout.contains(&it.id[..8]), "{change}: {}", said.stdout);
        stopped(&said.stderr);
    }
    let honest = it.tells(|_, _, told| told);
    let said = run(&it.second, &["snapshot", "list", "--all"]).ok();
    assert!(said.stdout.contains(&it.id[..8]));
    drop(honest);
}

/// A checkpoint of the region's own making over a history of its own.
#[test]
fn a_log_is_written_anew_under_the_regions_key() {
    let it = Turned::new();
    let seed = std::fs::read(it.region.home.join("keys/identity")).expect("a key");
    let own = SigningKey::from_seed(&seed.try_into().expect("32 bytes"));
    let lying = it.tells(move |path, _, told| {
        if !path.ends_with("/checkpoint") {
            return told;
        }
        let signed = seawall_tlog::SignedCheckpoint::parse(&told).expect("a checkpoint");
        let mut checkpoint = signed.checkpoint().clone();
        checkpoint.root = Sha256([7; 32]);
        let forged = seawall_tlog::SignedCheckpoint::sign(checkpoint, &own);
        forged.expect("signed").to_bytes()
    });
    let said = run(&it.second, &["snapshot", "list", "--all"]).code(1);
    stopped(&said.stderr);
    drop(lying);
}

#[test]
fn it_claims_to_hold_what_it_never_got() {
    let it = Turned::new();
    let tree = it.fleet.path("more");
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("x"), noise_of(99, 300_000)).expect("written");
    it.fleet.snapshot(&tree);
    // It has everything, it says, and makes the proofs up.
    let lying = it.tells(|path, asked, told| match path {
        "/v1/have" => {
            let ids = wire::decode_ids(asked, wire::MAX_HAVE).expect("ids");
            let mut have = wire::decode_have(&ids, &told).expect("an answer");
            have.missing.clear();
            wire::encode_have(&ids, &have)
        }
        "/v1/challenge" => {
            let (_, ids) = wire::decode_challenge(asked).expect("a challenge");
            wire::encode_proofs(&vec![Some([7; 32]); ids.len()])
        }
        _ => told,
    });
    let said = it.fleet.run(&["sync"]).code(1);
    stopped(&said.stderr);
    let list = it.fleet.run(&["snapshot", "list", "--json"]).ok().json();
    assert_eq!(list[1]["receipts"], serde_json::json!([]), "no receipt counts: {list}");
    drop(lying);
}

#[test]
fn it_signs_for_another_snapshot_than_it_counted() {
    let it = Turned::new();
    let receipts = it.fleet.home().join("receipts");
    let old = std::fs::read_dir(&receipts).expect("receipts").count();
    assert!(old > 0);
    it.fleet.snapshot(&it.fleet.tree("more"));
    let lying = it.tells(|path, _, told| {
        if path != "/v1/receipt" {
            return told;
        }
        // The receipt is moved to another entry; its signature stays.
        let mut envelope: Value = serde_json::from_slice(&told).expect("an envelope");
        let payload = BASE64.decode(envelope["payload"].as_str().expect("text")).expect("base64");
        let mut statement: Value = serde_json::from_slice(&payload).expect("a statement");
        statement["predicate"]["index"] = 1.into();
        envelope["payload"] = BASE64.encode(statement.to_string()).into();
        envelope.to_string().into_bytes()
    });
    let said = it.fleet.run(&["sync"]).code(1);
    stopped(&said.stderr);
    drop(lying);
}

/// The region shows the second node a policy in which the escrow group has its own key.
#[test]
fn another_group_key_is_shown_to_a_node() {
    let it = Turned::new();
    let next = it.fleet.path("next.json");
    let args = ["fleet", "policy", "propose", "--deletion-min-days", "30"];
    let more = ["--deletion-custodians", "2", "--out", arg(&next)];
    it.fleet.run(&[&args[..], &more].concat()).ok();
    it.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    let honest = it.tells(|_, _, told| told);
    it.fleet.run(&["sync"]).ok();
    drop(honest);
    let lying = it.tells(|path, _, told| {
        if path != "/v1/policies" {
            return told;
        }
        let mut chain: Value = serde_json::from_slice(&told).expect("JSON");
        let policies = chain["policies"].as_array_mut().expect("a list");
        let envelope = policies.last_mut().expect("one");
        let payload = BASE64.decode(envelope["payload"].as_str().expect("text")).expect("base64");
        let mut statement: Value = serde_json::from_slice(&payload).expect("a statement");
        let group = &mut statement["predicate"]["groups"][0];
        assert!(group["key"].is_string(), "{statement}");
        // The base point: a key whose secret is one.
        group["key"] = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76".into();
        envelope["payload"] = BASE64.encode(statement.to_string()).into();
        let told = chain.to_string().into_bytes();
        PolicyChain::parse(&told).expect("well formed");
        told
    });
    let said = run(&it.second, &["sync"]);
    drop(lying);
    let shown = run(&it.second, &["fleet", "policy", "show", "--json"]).ok().json();
    assert!(!shown.to_string().contains("e2f2ae0a6abc4e71"), "{shown}");
    assert_ne!(said.code, 0, "{said:?}");
    stopped(&said.stderr);
}
