//! What people are shown before they sign, and what they know when they do.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::Sha256;
use serde_json::{Value, json};

use crate::harness::{Fleet, Said, arg, noise, run};

/// A fresh Ed25519 key, and its sealed copy.
fn key(fleet: &Fleet, name: &str) -> (String, PathBuf) {
    let copy = fleet.path(name);
    let args = ["fleet", "root-key", "--new", "--out", arg(&copy), "--json"];
    let said = fleet.run(&args).ok().json();
    (said["key"].as_str().expect("a key").to_owned(), copy)
}

/// The first 16 hex digits of a key's hash, as people compare them.
fn fingerprint(key: &Value) -> String {
    let key = BASE64.decode(key.as_str().expect("text")).expect("base64");
    let hex = Sha256::of(&key).to_hex();
    [&hex[..4], &hex[4..8], &hex[8..12], &hex[12..16]].join(" ")
}

fn write(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).expect("written");
}

fn propose(fleet: &Fleet, more: &[&str]) -> PathBuf {
    let next = fleet.path("next.json");
    let args = ["fleet", "policy", "propose", "--out", arg(&next)];
    fleet.run(&[&args[..], more].concat()).ok();
    next
}

fn apply(fleet: &Fleet, more: &[&str]) {
    let next = propose(fleet, more);
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
}

/// What `fleet sign --dry-run` shows of a file, for people and for programs.
fn shown(fleet: &Fleet, file: &Path) -> (String, Value) {
    let args = ["fleet", "sign", arg(file), "--dry-run"];
    let words = fleet.run(&args).ok().stdout;
    (words, fleet.run(&[&args[..], &["--json"]].concat()).ok().json())
}

/// Asserts that a proposal is shown to change one thing, from one value to another.
#[track_caller]
fn changes((words, value): &(String, Value), path: &str, before: &str, after: &str) {
    assert!(!words.contains("nothing changes"), "{words}");
    for line in [format!("\n    - {before}\n"), format!("\n    + {after}\n")] {
        assert!(words.contains(&line), "{line:?} is not in: {words}");
    }
    assert_eq!(value["changes"].as_array().map(Vec::len), Some(1), "{}", value["changes"]);
    let change = &value["changes"][0];
    assert!(change["path"].as_str().is_some_and(|it| it.ends_with(path)), "{change}");
    assert_eq!((&change["before"], &change["after"]), (&before.into(), &after.into()), "{change}");
}

#[test]
fn a_key_that_is_swapped_under_the_same_name_is_a_change() {
    let fleet = Fleet::found();
    let [(a, _), (b, _), (c, _), (d, _)] = ["a", "b", "c", "d"].map(|name| key(&fleet, name));
    let record = fleet.path("witness.json");
    let witness = |key: &str, transport: &str| {
        let endpoint = json!({ "address": "w.example:7444", "transport": transport });
        write(
            &record,
            &json!({ "operator": "wanda", "name": "w-1", "key": key, "endpoint": endpoint }),
        );
        propose(&fleet, &["--witness", arg(&record)])
    };
    let next = witness(&a, &b);
    let (words, value) = shown(&fleet, &next);
    assert!(
        words.contains("witness w-1 (new)") && words.contains(&format!("+ key: {a}")),
        "{words}"
    );
    assert_eq!(value["changes"][0]["before"], Value::Null);
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    changes(&shown(&fleet, &witness(&c, &b)), "witnesses[w-1].key", &a, &c);
    changes(&shown(&fleet, &witness(&a, &d)), "witnesses[w-1].endpoint.transport", &b, &d);
    // A proposal that says the same again, and one that only says when.
    let (words, value) = shown(&fleet, &witness(&a, &b));
    assert!(words.contains("nothing changes"), "{words}");
    assert_eq!(value["changes"], json!([]));

    // Where a custodian is reached, root keys say without anybody's word.
    let mut group =
        fleet.run(&["fleet", "policy", "show", "--json"]).ok().json()["groups"][0].take();
    let at = |group: &mut Value, transport: &str| {
        group["custodians"][1]["endpoint"] =
            json!({ "address": "c.example:7444", "transport": transport });
        write(&record, group);
    };
    at(&mut group, &a);
    apply(&fleet, &["--group", arg(&record)]);
    at(&mut group, &c);
    let next = propose(&fleet, &["--group", arg(&record)]);
    changes(&shown(&fleet, &next), "custodians[2].endpoint.transport", &a, &c);
    let (words, _) = shown(&fleet, &next);
    assert!(words.contains(&format!("at c.example:7444, transport key {c}")), "{words}");
}

#[test]
fn statements_that_are_carried_over_are_named() {
    let fleet = Fleet::found();
    let (old, copy) = key(&fleet, "anna.json");
    let next = propose(&fleet, &["--root-key", &old, "--root-threshold", "1"]);
    let (words, value) = shown(&fleet, &next);
    let carried = value["carried"].as_array().expect("the first node's enrolment").clone();
    assert!(!carried.is_empty());
    for digest in &carried {
        let line = format!("\n    + {}\n", digest.as_str().expect("text"));
        assert!(words.contains(&line), "{line:?} is not in: {words}");
    }
    assert!(words.contains("root key (gone)") && words.contains("root key (new)"), "{words}");
    let sign = ["fleet", "policy", "sign", arg(&next), "--root-key", arg(&copy)];
    let said = fleet.run(&[&sign[..], &["--yes"]].concat()).ok();
    said.says(&["root key (new)", &old]);
}

#[test]
fn nobody_signs_unseen_or_unasked() {
    let fleet = Fleet::found();
    let (card, operator, index) =
        (fleet.path("card.json"), fleet.path("operator.json"), fleet.path("index.json"));
    let (copy, out) = (fleet.path("root.json"), fleet.path("out.json"));
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    fleet.run(&["fleet", "root-key", "--out", arg(&copy)]).ok();
    fleet.run(&["node", "operator", "--out", arg(&operator)]).ok();
    let second = fleet.second_node("site-b");
    let others = fleet.path("others.json");
    run(&second, &["node", "operator", "--out", arg(&others)]).ok();
    let mut other: Value =
        serde_json::from_slice(&std::fs::read(&others).expect("a card")).expect("JSON");
    other["name"] = "anna".into();
    write(&others, &other);
    fleet.run(&["fleet", "operator", "add", arg(&others), "--out", arg(&index)]).ok();

    let holder = |more: &[&str]| -> Said {
        let args = ["fleet", "sign", arg(&index), "--fleet", arg(&card), "--root-key", arg(&copy)];
        run(&fleet.path("nowhere"), &[&args[..], more].concat())
    };
    let key = format!("read by   anna, key with fingerprint {}", fingerprint(&other["key"]));
    let said = holder(&["--out", arg(&out)]).code(2).says(&[&key, "tenant    default", "--yes"]);
    assert!(said.stdout.is_empty() && !out.exists());
    // What is signed is shown where the file itself is the result, too.
    let said = holder(&["--yes", "-q"]).ok().says(&[&key]);
    assert!(said.json()["payload"].is_string());
    holder(&["--yes", "--out", arg(&out)]).ok().says(&[&key]);

    let bundle: Value = {
        let file = fleet.path("site-b-bundle.json");
        let (words, value) = shown(&fleet, &file);
        assert!(words.contains("tenant    default"), "{words}");
        let card = std::fs::read(fleet.path("site-b-card.json")).expect("a card");
        let card: Value = serde_json::from_slice(&card).expect("JSON");
        let secrets =
            format!("secrets   for the key with fingerprint {}", fingerprint(&card["recipient"]));
        assert!(words.contains(&secrets), "{words}");
        value
    };
    assert!(bundle["words"].to_string().contains("tenant    default"), "{bundle}");
}

#[test]
fn an_epoch_says_that_it_brings_a_revoked_node_back() {
    let fleet = Fleet::found();
    let second = fleet.second_node("site-b");
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise(20_000)).expect("written");
    run(&second, &["snapshot", "create", arg(&tree)]).ok();
    let revoke =
        ["--revoke", "site-b", "--reason", "stolen", "--epoch", "1", "--keep-entries", "2"];
    apply(&fleet, &revoke);
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let begin = ["node", "epoch", "begin", "--reason", "found again", "--out", arg(&ask)];
    run(&second, &begin).ok();
    let args = ["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)];
    let said = fleet.run(&args).ok();
    let (words, value) = shown(&fleet, &grant);
    let line = words.lines().find(|line| line.contains("so far 2 entries are believed; all "));
    let line = line.expect("how much comes back");
    assert!(line.starts_with("REVOKED") && line.contains("(stolen)"), "{words}");
    assert!(words.contains("up to epoch 1: this brings it back"), "{words}");
    assert!(value["words"].to_string().contains("REVOKED"), "{value}");
    // The first to sign is shown the same.
    said.says(&[line]);
}

#[test]
fn an_older_card_replaces_nothing_that_a_home_knows() {
    let fleet = Fleet::found();
    let second = fleet.second_node("site-b");
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise(20_000)).expect("written");
    let said = run(&second, &["snapshot", "create", arg(&tree), "--json"]).ok().json();
    let request = fleet.request(&second, said["id"].as_str().expect("an id"), "request.json");
    let (old, new) = (fleet.path("old-card.json"), fleet.path("new-card.json"));
    fleet.run(&["fleet", "card", "--out", arg(&old)]).ok();
    let revoke =
        ["--revoke", "site-b", "--reason", "stolen", "--epoch", "1", "--keep-entries", "2"];
    apply(
        &fleet,
        &[&revoke[..], &["--deletion-min-days", "1", "--deletion-custodians", "1"]].concat(),
    );
    fleet.run(&["fleet", "card", "--out", arg(&new)]).ok();

    let (home, out) = (fleet.path("c0"), fleet.path("approval.json"));
    let share = fleet.shares()[0].clone();
    run(&home, &["custodian", "init", "--share", arg(&share)]).ok();
    run(&home, &["custodian", "join", arg(&new), "--yes"]).ok();
    let args = ["restore", "approve", arg(&request), "--out", arg(&out), "--yes"];
    for more in [&[][..], &["--fleet", arg(&old)], &["--fleet", arg(&new)]] {
        run(&home, &[&args[..], more].concat()).code(1).says(&["revoked"]);
    }
    assert!(!out.exists());
    // Whoever knows no more than the old card has nothing to hold against it.
    let alone = ["--share", arg(&share), "--fleet"];
    let with = |card: &Path| run(&fleet.path("no"), &[&args[..], &alone, &[arg(card)]].concat());
    with(&new).code(1).says(&["revoked"]);
    with(&old).ok();

    cut_proposals(&fleet, &home, &tree);
}

/// Without `--share` a proposal that is cut is called so, and no stranger.
fn cut_proposals(fleet: &Fleet, custodian: &Path, tree: &Path) {
    let id = fleet.snapshot(tree);
    let (delete, signed) = (fleet.path("delete.json"), fleet.path("signed.json"));
    let args = ["snapshot", "delete", "propose", &id, "--reason", "a test", "--even-last"];
    fleet.run(&[&args[..], &["--out", arg(&delete)]].concat()).ok();
    let text = std::fs::read(&delete).expect("a proposal");
    let sign = || {
        let args = ["snapshot", "delete", "sign", arg(&delete), "--yes", "--out", arg(&signed)];
        run(custodian, &args)
    };
    std::fs::write(&delete, &text[..text.len() / 2]).expect("cut");
    sign().code(1).says(&["the proposal cannot be used", "not a seawall-deletion/1 file"]);
    let other = Fleet::found();
    let stranger = other.snapshot(&other.tree("tree"));
    apply(&other, &["--deletion-min-days", "1", "--deletion-custodians", "1"]);
    let args = ["snapshot", "delete", "propose", &stranger, "--reason", "a test", "--even-last"];
    other.run(&[&args[..], &["--out", arg(&delete)]].concat()).ok();
    sign().code(1).says(&["of no fleet that this home knows"]);
    std::fs::write(&delete, &text).expect("whole");
    sign().ok();
}
