//! Fleets that a quantum computer does not open: ML-DSA-44 keys and post-quantum capsules.

use serde_json::Value;

use crate::harness::{Fleet, arg, assert_same, restored, run};

const BOTH: [&str; 3] = ["--algorithm", "ml-dsa-44", "--no-index"];

fn genesis(fleet: &Fleet) -> Value {
    use base64::Engine as _;
    let text = std::fs::read(fleet.home().join("fleet/genesis.json")).expect("a fleet");
    let envelope: Value = serde_json::from_slice(&text).expect("an envelope");
    let payload = envelope["payload"].as_str().expect("a payload");
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).expect("base64");
    let statement: Value = serde_json::from_slice(&payload).expect("a statement");
    statement["predicate"].clone()
}

#[test]
fn a_post_quantum_fleet_snapshots_syncs_and_restores_elsewhere() {
    let fleet = Fleet::found_with(&BOTH);
    let founded = genesis(&fleet);
    let is_quantum = |key: &Value| key.as_str().is_some_and(|key| key.starts_with("ml-dsa-44:"));
    assert!(is_quantum(&founded["root_keys"][0]));
    let custodians = founded["groups"][0]["custodians"].as_array().expect("custodians");
    assert!(custodians.iter().all(|c| is_quantum(&c["signing_key"]) && c["kem"].is_string()));

    let _region = fleet.region("region");
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    // A second node, with an identity of its own choice, restores what the first one wrote.
    let second = fleet.path("node-2");
    let (card, bundle) = (fleet.path("card.json"), fleet.path("bundle.json"));
    let keys =
        ["node", "keys", "--name", "node-2", "--algorithm", "ml-dsa-44", "--out", arg(&card)];
    run(&second, &keys).ok();
    fleet.run(&["fleet", "bundle", arg(&card), "--out", arg(&bundle)]).ok();
    run(&second, &["node", "enroll", arg(&bundle)]).ok();
    // Made again, the card is the same: the home knows its algorithm.
    let again = fleet.path("again.json");
    run(&second, &["node", "keys", "--out", arg(&again)]).ok();
    let read = |path| std::fs::read_to_string(path).expect("a card");
    assert_eq!(read(&card), read(&again));
    let to = fleet.path("restored");
    fleet.restore(&second, &id, &to).ok();
    assert_same(&tree, &restored(&to, &tree));
    fleet.run(&["verify"]).ok();
}

#[test]
fn a_post_quantum_fleet_comes_back_from_its_root_keys_copy() {
    let fleet = Fleet::found_with(&BOTH);
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);
    let (card, root) = (fleet.path("fleet-card.json"), fleet.path("root-key.json"));
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    fleet.run(&["fleet", "root-key", "--out", arg(&root)]).ok();
    let text = std::fs::read_to_string(&root).expect("written");
    assert!(text.contains("ml-dsa-44:"), "the copy says whose it is");
    let home = fleet.path("recovered");
    let args = ["fleet", "recover", "--root-key", arg(&root), "--card", arg(&card)];
    run(&home, &[&args[..], &["--name", "node-9"]].concat()).ok();
    // It enrols others, as the fleet's first node did.
    let theirs = fleet.path("theirs.json");
    run(&fleet.path("node-3"), &["node", "keys", "--name", "node-3", "--out", arg(&theirs)]).ok();
    run(&home, &["fleet", "bundle", arg(&theirs), "--out", arg(&fleet.path("b.json"))]).ok();
}
