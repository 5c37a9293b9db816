//! Whoever wants backups gone: a stolen node, stolen operator's credentials, a witness whose clock
//! runs fast, a custodian too few, and papers used twice.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_sign::Envelope;
use seawall_sign::token::Operation;
use serde_json::Value;

use super::desks::{Witness, four};
use super::network::Caller;
use super::stopped;
use crate::harness::{Fleet, Region, arg, copy, noise_of, run};

/// Lets regions delete: by two custodians, or after 30 days.
fn ruled(fleet: &Fleet) {
    let next = fleet.path("rule.json");
    let rule = ["--deletion-min-days", "30", "--deletion-custodians", "2", "--out", arg(&next)];
    fleet.run(&[&["fleet", "policy", "propose"][..], &rule].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
}

/// A snapshot of its own noise on the first node; its id.
fn snapshot(fleet: &Fleet, seed: u64) -> String {
    let tree = fleet.path("tree");
    std::fs::create_dir_all(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise_of(seed, 200_000)).expect("written");
    fleet.snapshot(&tree)
}

fn propose(fleet: &Fleet, home: &Path, ids: &[&str], more: &[&str]) -> PathBuf {
    let out = fleet.path("delete.json");
    let args = ["--reason", "nobody will miss it", "--out", arg(&out)];
    run(home, &[&["snapshot", "delete", "propose"][..], ids, &args, more].concat()).ok();
    out
}

fn sign(fleet: &Fleet, file: &Path, custodian: usize) {
    let share = fleet.shares()[custodian].clone();
    let args = ["snapshot", "delete", "sign", arg(file), "--share", arg(&share)];
    let more = ["--out", arg(file), "--yes"];
    run(&fleet.path("nowhere"), &[&args[..], &more].concat()).ok();
}

/// Has the region collect garbage at once, while it is stopped.
fn collect(region: &mut Region) -> Value {
    region.stop();
    let said = run(&region.home, &["region", "gc", "--grace-hours", "0", "--json"]).ok().json();
    region.resume();
    said
}

fn expired(said: &Value) -> usize {
    let logs = said["logs"].as_array().expect("an array");
    logs.iter().map(|it| it["expired"].as_array().expect("an array").len()).sum()
}

/// Three snapshots that four witnesses saw 40 days ago, in a region; rules that keep `keep`.
fn of_old(fleet: &Fleet, keep: &str) -> Vec<Witness> {
    let witnesses = four(fleet);
    ruled(fleet);
    ahead(&witnesses, -40);
    for seed in 1..=3 {
        snapshot(fleet, seed);
    }
    let rules = fleet.path("keep.json");
    fleet.run(&["fleet", "retention", "propose", "--keep-last", keep, "--out", arg(&rules)]).ok();
    fleet.run(&["fleet", "retention", "apply", arg(&rules)]).ok();
    fleet.run(&["sync"]).ok();
    witnesses
}

fn ahead(witnesses: &[Witness], days: i64) {
    for it in witnesses {
        it.set_ahead(days);
    }
}

/// The node lets go what it can, and tells everybody.
fn let_go(fleet: &Fleet) {
    fleet.run(&["sync"]).ok();
    fleet.run(&["prune", "--keep-last", "1", "--min-age", "0h", "--copies", "1", "--yes"]).ok();
    fleet.run(&["sync"]).ok();
    // What witnesses said of it reaches the region with the next one.
    fleet.run(&["sync"]).ok();
}

#[test]
fn a_stolen_node_floods_its_log_to_push_the_past_out() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let mut witnesses = of_old(&fleet, "3");
    ahead(&witnesses, 0);
    for seed in 10..16 {
        snapshot(&fleet, seed);
    }
    let_go(&fleet);
    let said = collect(&mut region);
    assert_eq!(expired(&said), 0, "{said}");
    let log = &said["logs"][0];
    assert_eq!((log["wanted"].as_u64(), log["denied"].as_u64()), (Some(3), Some(6)), "{said}");
    stopped("6 young snapshots take no rule's count: the 3 old ones are wanted still");
    witnesses.iter_mut().for_each(Witness::stop);
    region.stop();
}

#[test]
fn a_fast_witness_clock_flushes_retention() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let mut witnesses = of_old(&fleet, "1");
    // Three witnesses are where they were; the fourth says that a year has passed.
    witnesses[3].set_ahead(365);
    snapshot(&fleet, 4);
    let_go(&fleet);
    let said = collect(&mut region);
    assert_eq!((expired(&said), said["logs"][0]["denied"].as_u64()), (0, Some(4)), "{said}");
    stopped("now is what 3 of 4 operators have reached: one clock makes nothing old");
    // When all of them have come so far, the same snapshots go.
    ahead(&witnesses, 0);
    snapshot(&fleet, 5);
    let_go(&fleet);
    let said = collect(&mut region);
    assert_eq!(expired(&said), 3, "{said}");
    assert!(said["freed"].as_u64().expect("bytes") > 450_000, "{said}");
    let verified = run(&fleet.home(), &["sync", "--json"]).ok().json();
    assert_eq!(verified[0]["gone"], 3, "{verified}");
    let list = fleet.run(&["snapshot", "list", "--all", "--json"]).ok().json();
    assert_eq!(list[0]["gone_from"], serde_json::json!(["region-a"]), "{list}");
    // Who vouches from now on never saw it: the region was right all the same.
    let next = fleet.path("next.json");
    let mut newcomer = Witness::new(&fleet, "emil", 70);
    let record = newcomer.record(&fleet);
    let mut args = vec!["fleet", "policy", "propose", "--witness", arg(&record)];
    let names = ["anna", "ben", "cleo", "dora"].map(|name| format!("{name}.example/witness"));
    args.extend(names.iter().flat_map(|name| ["--remove-witness", name]));
    args.extend(["--witness-quorum", "1", "--faulty", "0", "--out", arg(&next)]);
    fleet.run(&args).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    newcomer.start(&fleet);
    fleet.run(&["sync"]).ok();
    fleet.run(&["sync"]).ok();
    witnesses.push(newcomer);
    witnesses.iter_mut().for_each(Witness::stop);
    region.stop();
}

#[test]
fn stolen_operator_credentials_delete_below_the_minimum_age() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    ruled(&fleet);
    let ids: Vec<String> = (1..=3).map(|seed| snapshot(&fleet, seed)).collect();
    fleet.run(&["sync"]).ok();
    let thief = fleet.path("thief");
    copy(&fleet.home(), &thief);
    // With everything the node has: its subkey, its identity, the root key, tokens.
    let file = propose(&fleet, &thief, &[&ids[0]], &[]);
    let said = run(&thief, &["snapshot", "delete", "apply", arg(&file)]).code(1);
    stopped(&said.says(&["0 of 2 signatures that count"]).stderr);
    // With one custodian of the two.
    sign(&fleet, &file, 0);
    let said = run(&thief, &["snapshot", "delete", "apply", arg(&file)]).code(1);
    stopped(&said.says(&["1 of 2 signatures that count"]).stderr);
    // By the root key's rules: nothing has been witnessed for 30 days.
    let rules = fleet.path("keep.json");
    run(&thief, &["fleet", "retention", "propose", "--keep-last", "1", "--out", arg(&rules)]).ok();
    run(&thief, &["fleet", "retention", "apply", arg(&rules)]).ok();
    let prune = ["prune", "--keep-last", "1", "--min-age", "0h", "--copies", "1", "--yes"];
    run(&thief, &prune).ok();
    run(&thief, &["sync"]).ok();
    let said = collect(&mut region);
    assert_eq!(expired(&said), 0, "{said}");
    stopped(said["logs"][0]["why_nothing"].as_str().expect("why"));
    region.stop();
}

#[test]
fn what_custodians_deleted_is_read_from_a_zone_that_is_worth_keeping() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    ruled(&fleet);
    // One customer's file among much that stays.
    let tree = fleet.path("tree");
    std::fs::create_dir_all(&tree).expect("a directory");
    std::fs::write(tree.join("shop"), noise_of(1, 5 << 20)).expect("written");
    std::fs::write(tree.join("customer"), noise_of(2, 20_000)).expect("written");
    let erased = fleet.snapshot(&tree);
    std::fs::remove_file(tree.join("customer")).expect("removed");
    let kept = fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    let file = propose(&fleet, &fleet.home(), &[&erased], &[]);
    for custodian in [0, 1] {
        sign(&fleet, &file, custodian);
    }
    fleet.run(&["snapshot", "delete", "apply", arg(&file)]).ok();
    fleet.run(&["sync"]).ok();
    run(&second, &["sync"]).ok();
    let (said, out) = (["--reason", "a test", "--out"], fleet.path("asked.json"));
    let ask = [&["restore", "request", &erased][..], &said, &[arg(&out)]].concat();
    run(&second, &ask).ok().says(&["was deleted by"]);
    fleet.restore(&second, &erased, &fleet.path("before")).ok();
    fleet.run(&["prune", "--keep-last", "10", "--yes"]).ok();
    collect(&mut region);
    let said = fleet.restore(&second, &erased, &fleet.path("after")).code(1);
    stopped(&said.stderr);
    // Neither in the node's own store.
    region.stop();
    let said = fleet.restore(&fleet.home(), &erased, &fleet.path("own")).code(1);
    stopped(&said.stderr);
    fleet.restore(&fleet.home(), &kept, &fleet.path("kept")).ok();
    // Once is enough: later collections go by what is worth it.
    region.resume();
    let state = || {
        let mut tenants = std::fs::read_dir(region.home.join("tenants")).expect("tenants");
        let tenant = tenants.next().expect("one").expect("readable").path();
        let text = std::fs::read(tenant.join("collect.json")).expect("a state");
        serde_json::from_slice::<Value>(&text).expect("JSON")
    };
    assert_eq!((&state()["erasing"], &state()["erased"]), (&1.into(), &1.into()));
    region.stop();
}

#[test]
fn a_token_deletes_without_a_statement() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    ruled(&fleet);
    let ids: Vec<String> = (1..=2).map(|seed| snapshot(&fleet, seed)).collect();
    fleet.run(&["sync"]).ok();
    let file = propose(&fleet, &fleet.home(), &[&ids[0]], &[]);
    let proposal: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    let statement = proposal["statement"].to_string().into_bytes();
    let digest = Envelope::parse(&statement).expect("an envelope").digest();
    let mut node = Caller::connect(&fleet, &region, &fleet.home());
    let token = node.token(Operation::Store);
    let request = node.make_with(&token, "/v1/delete", statement.clone());
    node.is_stopped("another operation's token", &request, 401, "the operation store, not");
    let token = node.token_to_delete(seawall_base::Sha256([7; 32]));
    let request = node.make_with(&token, "/v1/delete", statement.clone());
    node.is_stopped("another statement's token", &request, 401, "for another statement");
    // The right token carries it to where its signers are counted, and no further.
    let token = node.token_to_delete(digest);
    let request = node.make_with(&token, "/v1/delete", statement);
    node.is_stopped("a statement nobody signed", &request, 409, "does not stand in the log");
    region.stop();
}

/// What is done to an envelope.
type Edit = fn(&mut Value);

/// A proposal with its statement's envelope changed.
fn edited(fleet: &Fleet, file: &Path, edit: impl Fn(&mut Value)) -> PathBuf {
    let mut json: Value =
        serde_json::from_slice(&std::fs::read(file).expect("read")).expect("JSON");
    edit(&mut json["statement"]);
    let out = fleet.path("edited.json");
    std::fs::write(&out, json.to_string()).expect("written");
    out
}

#[test]
fn signatures_are_missing_repeated_or_of_an_unknown_algorithm() {
    let fleet = Fleet::found();
    ruled(&fleet);
    let ids: Vec<String> = (1..=2).map(|seed| snapshot(&fleet, seed)).collect();
    let file = propose(&fleet, &fleet.home(), &[&ids[0]], &[]);
    sign(&fleet, &file, 0);
    let edits: [(Edit, &str); 5] = [
        (|s| s["signatures"] = serde_json::json!([]), "1 to 64 signatures"),
        (|s| drop(s.as_object_mut().expect("an object").remove("signatures")), "signatures"),
        (
            |s| {
                let one = s["signatures"][1].clone();
                s["signatures"].as_array_mut().expect("an array").push(one);
            },
            "twice",
        ),
        (
            |s| {
                let id = s["signatures"][1]["keyid"].as_str().expect("text").to_owned();
                s["signatures"][1]["keyid"] = id.replace("ed25519:", "ed448:").into();
            },
            "ed448",
        ),
        (
            |s| {
                let payload = s["payload"].as_str().expect("text").to_owned();
                let payload = BASE64.decode(payload).expect("base64");
                let text = String::from_utf8(payload).expect("UTF-8");
                s["payload"] = BASE64.encode(text.replace("miss it", "miss me")).into();
            },
            "signature",
        ),
    ];
    for (edit, word) in edits {
        let forged = edited(&fleet, &file, edit);
        let said = fleet.run(&["snapshot", "delete", "apply", arg(&forged)]).code(1);
        stopped(&said.says(&[word]).stderr);
    }
}

#[test]
fn a_deletion_is_replayed_on_another_node_and_under_another_policy() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    ruled(&fleet);
    let ids: Vec<String> = (1..=3).map(|seed| snapshot(&fleet, seed)).collect();
    fleet.run(&["sync"]).ok();
    let other = fleet.second_node("site-b");
    let file = propose(&fleet, &fleet.home(), &[&ids[0]], &[]);
    sign(&fleet, &file, 0);
    sign(&fleet, &file, 2);
    // Another node of the fleet, and a fleet of somebody else.
    let said = run(&other, &["snapshot", "delete", "apply", arg(&file)]).code(1);
    stopped(&said.says(&["names another node or log"]).stderr);
    let stranger = Fleet::found();
    let said = stranger.run(&["snapshot", "delete", "apply", arg(&file)]).code(1);
    stopped(&said.stderr);
    // It is good where it belongs, once, and shown for what it is.
    let said = fleet.run(&["snapshot", "delete", "apply", arg(&file), "--dry-run"]).ok();
    assert!(said.stdout.contains("could be applied"), "{}", said.stdout);
    fleet.run(&["snapshot", "delete", "apply", arg(&file)]).ok();
    fleet.run(&["snapshot", "delete", "apply", arg(&file)]).ok();
    let list = fleet.run(&["snapshot", "list", "--all", "--json"]).ok().json();
    let gone = &list.as_array().expect("an array")[0]["deleted"];
    assert_eq!(gone["reason"], "nobody will miss it");
    assert_eq!(gone["by"].as_array().map(Vec::len), Some(2), "{gone}");
    let synced = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!((&synced[0]["deleted"], &synced[0]["gone"]), (&1.into(), &1.into()), "{synced}");
    assert!(collect(&mut region)["freed"].as_u64().expect("bytes") > 100_000);
    fleet.run(&["sync"]).ok();
    fleet.run(&["verify"]).ok();
    // Under a newer policy the old paper is none.
    let late = propose(&fleet, &fleet.home(), &[&ids[1]], &[]);
    sign(&fleet, &late, 0);
    sign(&fleet, &late, 1);
    ruled(&fleet);
    let said = fleet.run(&["snapshot", "delete", "apply", arg(&late)]).code(1);
    stopped(&said.says(&["version 2", "3 is the newest"]).stderr);
    region.stop();
}

#[test]
fn the_last_of_a_set_is_deleted() {
    let fleet = Fleet::found();
    ruled(&fleet);
    let ids: Vec<String> = (1..=2).map(|seed| snapshot(&fleet, seed)).collect();
    let out = fleet.path("delete.json");
    let args = ["snapshot", "delete", "propose", &ids[1], "--reason", "x", "--out", arg(&out)];
    let said = fleet.run(&args).code(1);
    stopped(&said.says(&["newest of its set", "--even-last"]).stderr);
    // Who removes the word from the paper removes the signatures with it.
    let file = propose(&fleet, &fleet.home(), &[&ids[1]], &["--even-last"]);
    let shown = fleet.run(&["snapshot", "delete", "show", arg(&file)]).ok();
    assert!(shown.stdout.contains("THE NEWEST OF A SET"), "{}", shown.stdout);
    let said = fleet.run(&["snapshot", "delete", "apply", arg(&file)]).code(1);
    stopped(&said.says(&["0 of 2 signatures that count"]).stderr);
}

/// The node has let them go; the rules do not want them; they are a minute old. That today's policy
/// demands no witnesses is no excuse.
#[test]
fn a_region_lets_expire_what_is_young() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let mut witnesses = of_old(&fleet, "1");
    ahead(&witnesses, 0);
    let next = fleet.path("next.json");
    let drop = ["fleet", "policy", "propose", "--no-witness-quorum", "--out", arg(&next)];
    fleet.run(&drop).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    let ids: Vec<String> = (10..13).map(|seed| snapshot(&fleet, seed)).collect();
    let_go(&fleet);
    snapshot(&fleet, 20);
    fleet.run(&["sync"]).ok();
    let prune = ["prune", "--keep-last", "1", "--min-age", "0h", "--copies", "1", "--yes"];
    fleet.run(&prune).ok();
    fleet.run(&["sync"]).ok();
    let rules = std::fs::read(fleet.path("keep.json")).expect("read");
    let under = Envelope::parse(rules.trim_ascii()).expect("an envelope").digest();
    let tomb = serde_json::json!({
        "format": "seawall-region-deleted/1",
        "snapshots": [{
            "sequence": 4, "manifest": format!("sha256:{}", ids[0]), "under": under, "at": 1
        }],
    });
    let fleets = region.home.join("fleets");
    let one = |dir: PathBuf| -> PathBuf {
        let mut all = dir.read_dir().expect("a directory");
        all.next().expect("one").expect("readable").path()
    };
    let log = one(one(fleets).join("logs"));
    region.stop();
    std::fs::write(log.join("deleted.json"), tomb.to_string()).expect("written");
    region.resume();
    let said = fleet.run(&["sync"]).code(1);
    stopped(&said.says(&["let snapshots 4 of this node expire", "too young"]).stderr);
    witnesses.iter_mut().for_each(Witness::stop);
    region.stop();
}
