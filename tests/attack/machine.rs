//! Custodians' machines, asked by those they are not for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, arg, run};
use crate::machines::{Machines, ask, connect, message, transport_key};

/// The request of the first node's, as a file's bytes, and its digest.
fn request(it: &Machines) -> (Vec<u8>, String) {
    let out = it.fleet.path("request.json");
    let args = ["restore", "request", &it.id, "--reason", "a test", "--out", arg(&out), "--json"];
    let said = it.fleet.run(&args).ok().json();
    let digest = said["request"].as_str().expect("a digest").to_owned();
    (std::fs::read(out).expect("a request"), digest)
}

#[test]
fn a_region_asks_for_an_answer_with_a_request_it_relayed() {
    let mut it = Machines::new();
    let region = it.fleet.region("region-a");
    it.start(0);
    let (dossier, digest) = request(&it);
    let own = std::fs::read(region.home.join("keys/transport")).expect("a seed");
    let own = seawall_sign::SigningKey::from_seed(&own.try_into().expect("32 bytes"));
    let mut connection = it.connect(0, &own).expect("any key may connect");
    let (status, said) = ask(&mut connection, &message("POST", "/v1/request", dossier));
    assert_eq!(status, 403, "{said}");
    stopped(&said);
    let (status, said) =
        ask(&mut connection, &message("GET", &format!("/v1/request/{digest}"), Vec::new()));
    assert_eq!(status, 404, "{said}");
}

/// On its way to a custodian's machine the request is given the key of whoever carries it, so that
/// the answer would open for them.
#[test]
fn the_one_time_key_of_a_request_is_swapped_on_its_way() {
    let mut it = Machines::new();
    let region = it.fleet.region("region-a");
    it.start(0);
    let (dossier, _) = request(&it);
    let own = seawall_escrow::OneTimeSecret::generate(&mut seawall_host::OsRng);
    let mut value: Value = serde_json::from_slice(&dossier).expect("JSON");
    let payload = value["request"]["payload"].as_str().expect("base64");
    let payload = BASE64.decode(payload).expect("base64");
    let mut statement: Value = serde_json::from_slice(&payload).expect("a statement");
    let key = &mut statement["predicate"]["one_time_key"];
    assert!(key.is_string());
    *key = BASE64.encode(own.public().as_bytes()).into();
    value["request"]["payload"] = BASE64.encode(statement.to_string()).into();
    // The carrier has the region's key; the second has even stolen the node's transport key.
    let seed = std::fs::read(region.home.join("keys/transport")).expect("a seed");
    let region = seawall_sign::SigningKey::from_seed(&seed.try_into().expect("32 bytes"));
    for carrier in [region, it.node_key()] {
        let mut connection = it.connect(0, &carrier).expect("any key may connect");
        let body = value.to_string().into_bytes();
        let (status, said) = ask(&mut connection, &message("POST", "/v1/request", body));
        assert_eq!(status / 100, 4, "{said}");
        assert!(said.contains("signature"), "{said}");
        stopped(&said);
    }
    assert!(!it.home(0).join("custody/answers").exists());
    let mut connection = it.connect(0, &it.node_key()).expect("connected");
    let (status, said) = ask(&mut connection, &message("POST", "/v1/request", dossier));
    assert!(status == 200 && said.contains("answered"), "{said}");
}

#[test]
fn another_node_of_the_fleet_fetches_an_answer() {
    let mut it = Machines::new();
    let other = it.fleet.second_node("site-b");
    it.start(0);
    let (dossier, digest) = request(&it);
    let mut own = it.connect(0, &it.node_key()).expect("connected");
    let (status, first) = ask(&mut own, &message("POST", "/v1/request", dossier.clone()));
    assert!(status == 200 && first.contains("answered"), "{first}");
    // The same request again is the same answer, not another partial.
    let (_, again) = ask(&mut own, &message("POST", "/v1/request", dossier.clone()));
    assert_eq!(first, again);
    let mut connection = it.connect(0, &transport_key(&other)).expect("connected");
    let get = message("GET", &format!("/v1/request/{digest}"), Vec::new());
    let (status, said) = ask(&mut connection, &get);
    assert_eq!(status, 404, "{said}");
    stopped(&said);
    let (status, said) = ask(&mut connection, &message("POST", "/v1/request", dossier));
    assert_eq!(status, 403, "{said}");
    stopped(&said);
}

#[test]
fn a_member_of_one_fleet_looks_at_another_that_the_machine_serves() {
    let mut it = Machines::new();
    let other = Fleet::found();
    let card = other.path("card.json");
    other.run(&["fleet", "card", "--out", arg(&card)]).ok();
    run(&it.home(0), &["custodian", "join", arg(&card), "--yes"]).ok();
    it.start(0);
    let (dossier, digest) = request(&it);
    let mut own = it.connect(0, &it.node_key()).expect("connected");
    assert_eq!(ask(&mut own, &message("POST", "/v1/request", dossier)).0, 200);

    let key = transport_key(&other.home());
    let enrolment = std::fs::read(other.home().join("enrolment.json")).expect("an enrolment");
    let enrolment = String::from_utf8(enrolment).expect("JSON");
    let alive = |fleet: &str| {
        let nonce = "07".repeat(32);
        format!("{{\"fleet\":\"fleet:{fleet}\",\"nonce\":\"{nonce}\",\"enrolment\":{enrolment}}}")
    };
    let mut connection = it.connect(0, &key).expect("connected");
    // A true member of a served fleet, who is told of that fleet and of nothing else.
    let shown = other.run(&["fleet", "show", "--json"]).ok().json();
    let own_fleet = shown["fleet"].as_str().expect("an id").trim_start_matches("fleet:");
    let body = alive(own_fleet).into_bytes();
    let (status, said) = ask(&mut connection, &message("POST", "/v1/custodian", body));
    assert_eq!(status, 200, "{said}");
    let mut answers = Vec::new();
    for fleet in [it.fleet_id.clone(), "09".repeat(32)] {
        let body = alive(&fleet).into_bytes();
        answers.push(ask(&mut connection, &message("POST", "/v1/custodian", body)));
    }
    assert_eq!(answers[0], answers[1], "a fleet that is served looks like one that is not");
    assert_eq!(answers[0].0, 403);
    stopped(&answers[0].1);
    let mut gets = Vec::new();
    for digest in [digest, "09".repeat(32)] {
        let get = message("GET", &format!("/v1/request/{digest}"), Vec::new());
        gets.push(ask(&mut connection, &get));
    }
    assert_eq!(gets[0], gets[1], "a request that is there looks like one that is not");
    stopped(&gets[0].1);
}

#[test]
fn another_machine_answers_at_a_custodians_address() {
    let mut it = Machines::new();
    it.start(0);
    let wrong = seawall_sign::SigningKey::from_seed(&[9; 32]).public();
    let error = connect(&it.address(0), wrong, &it.node_key()).err().expect("refused");
    stopped(&error.to_string());
    assert!(error.to_string().contains("not trusted"), "{error}");
}
