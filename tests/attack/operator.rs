//! Stolen credentials of an operator: root keys, and members enrolled with them.

use std::path::Path;

use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, arg, copy, run};

/// Proposes and applies a policy on the first node.
fn change(fleet: &Fleet, edits: &[&str]) -> Value {
    let next = fleet.path("next.json");
    fleet.run(&[&["fleet", "policy", "propose", "--out", arg(&next)], edits].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next), "--json"]).ok().json()
}

fn write_tree(path: &Path) {
    std::fs::create_dir_all(path).expect("created");
    std::fs::write(path.join("ledger"), "who owes whom").expect("written");
}

#[test]
fn a_revoked_node_asks_for_a_restore() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let tree = fleet.path("tree");
    write_tree(&tree);
    let id = fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    let thief = fleet.second_node("site-b");
    let request = fleet.request(&thief, &id, "asked-before.json");
    change(&fleet, &["--revoke", "site-b", "--reason", "laptop stolen", "--keep-entries", "0"]);
    fleet.run(&["sync"]).ok();
    let said = run(&thief, &["sync"]).code(1).says(&["revoked", "laptop stolen"]);
    stopped(&said.stderr);
    // A custodian that knows no more than its share file believes what the request carries; one
    // that was shown the fleet's card does not.
    let (card, share) = (fleet.path("card.json"), fleet.shares()[0].clone());
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let out = fleet.path("approval.json");
    let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes"];
    let args = [&args[..], &["--fleet", arg(&card), "--out", arg(&out)]].concat();
    let said = run(&fleet.path("nowhere"), &args).code(1).says(&["revoked", "laptop stolen"]);
    stopped(&said.stderr);
    assert!(!out.exists());
    region.stop();
}

#[test]
fn an_old_policy_is_shown_to_a_node_that_has_seen_a_newer_one() {
    let fleet = Fleet::found();
    let other = fleet.path("stolen");
    copy(&fleet.home(), &other);
    change(&fleet, &["--deletion-min-days", "30", "--deletion-custodians", "2"]);
    // The thief has the root key of before and makes another second version with it.
    let forged = fleet.path("forged.json");
    let edits = ["--deletion-min-days", "1", "--deletion-custodians", "1"];
    let args = ["fleet", "policy", "propose", "--out", arg(&forged)];
    run(&other, &[&args[..], &edits].concat()).ok();
    let said = fleet.run(&["fleet", "policy", "apply", arg(&forged)]).code(1);
    let said = said.says(&["version 2 where 3 must follow"]);
    stopped(&said.stderr);
}

#[test]
fn a_root_key_that_was_replaced_enrols_a_region() {
    let fleet = Fleet::found();
    let stolen = fleet.path("stolen");
    copy(&fleet.home(), &stolen);
    let (anna, bert) = (fleet.path("anna.json"), fleet.path("bert.json"));
    let key = |path: &Path| {
        let said = fleet.run(&["fleet", "root-key", "--new", "--out", arg(path), "--json"]).ok();
        said.json()["key"].as_str().expect("a key").to_owned()
    };
    let (a, b) = (key(&anna), key(&bert));
    let next = fleet.path("next.json");
    let args = ["fleet", "policy", "propose", "--root-key", &a, "--root-key", &b];
    fleet.run(&[&args[..], &["--root-threshold", "2", "--out", arg(&next)]].concat()).ok();
    let said = fleet.run(&["fleet", "policy", "apply", arg(&next)]).code(1);
    stopped(&said.says(&["0 of the trusted"]).stderr);
    for file in [&anna, &bert] {
        let args = ["fleet", "policy", "sign", arg(&next), "--root-key", arg(file)];
        fleet.run(&[&args[..], &["--yes", "--out", arg(&next)]].concat()).ok();
    }
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    // What was enrolled before goes on.
    let tree = fleet.path("tree");
    write_tree(&tree);
    let id = fleet.snapshot(&tree);
    fleet.restore(&fleet.home(), &id, &fleet.path("restored")).ok();
    // The thief's home still signs with the old key; a node that knows the new ones refuses it.
    let region_card = fleet.path("region-card.json");
    let card = fleet.path("card.json");
    run(&stolen, &["fleet", "card", "--out", arg(&card)]).ok();
    let args = ["region", "init", "--fleet", arg(&card), "--name", "trap", "--listen", "[::1]:1"];
    run(&fleet.path("trap"), &[&args[..], &["--out", arg(&region_card)]].concat()).ok();
    run(&stolen, &["fleet", "adopt", arg(&region_card)]).ok();
    copy(&stolen.join("regions/trap.json"), &fleet.home().join("regions/trap.json"));
    let said = fleet.run(&["sync"]).code(1).says(&["trap.json", "0 of the trusted keys"]);
    stopped(&said.stderr);
}
