//! Statements without signatures, with one signature twice, or of an algorithm that nobody agreed
//! on: wherever a statement decides something, each must fail closed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, Said, arg, run};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

/// What is done to an envelope, and the word that refuses it.
type Change = (&'static str, fn(&mut Value), &'static str);

fn signatures(envelope: &mut Value) -> &mut Vec<Value> {
    envelope["signatures"].as_array_mut().expect("a list")
}

fn renamed(envelope: &mut Value, algorithm: &str) {
    for signature in signatures(envelope) {
        let name = signature["keyid"].as_str().expect("a key").to_owned();
        let (_, key) = name.split_once(':').expect("an algorithm before the key");
        signature["keyid"] = format!("{algorithm}:{key}").into();
    }
}

const CHANGES: [Change; 8] = [
    ("no signatures", |it| signatures(it).clear(), "sign"),
    (
        "a field that is missing",
        |it| drop(it.as_object_mut().expect("an object").remove("signatures")),
        "signatures",
    ),
    ("null for a list", |it| it["signatures"] = Value::Null, ""),
    (
        "one signer twice",
        |it| {
            let first = signatures(it)[0].clone();
            signatures(it).push(first);
        },
        "twice",
    ),
    ("an unknown algorithm", |it| renamed(it, "ed448"), "ed448"),
    ("no algorithm", |it| renamed(it, "none"), "none"),
    ("an older algorithm", |it| renamed(it, "rsa-sha1"), "rsa-sha1"),
    (
        "an empty signature",
        |it| signatures(it).iter_mut().for_each(|one| one["sig"] = "".into()),
        "",
    ),
];

/// Tries every change on the envelope at `pointer` of `file`; `use_it` says what the program does
/// with what came out.
fn is_refused(fleet: &Fleet, file: &Path, pointer: &str, use_it: impl Fn(&Path) -> Said) {
    let good = json(file);
    for (what, change, word) in CHANGES {
        let mut bad = good.clone();
        change(bad.pointer_mut(pointer).expect("an envelope"));
        let forged = fleet.path("forged.json");
        std::fs::write(&forged, bad.to_string()).expect("written");
        let said = use_it(&forged);
        assert_eq!(said.code, 1, "{what}: {said:?}");
        assert!(said.stderr.contains(word), "{what}: {}", said.stderr);
        stopped(&said.stderr);
    }
}

/// A fleet with a request, and one custodian's answer.
fn asked() -> (Fleet, PathBuf, PathBuf) {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).expect("created");
    std::fs::write(tree.join("file"), "content").expect("written");
    let id = fleet.snapshot(&tree);
    let request = fleet.request(&fleet.home(), &id, "request.json");
    let approval = fleet.approve(&request, 0, "approval.json");
    (fleet, request, approval)
}

#[test]
fn approvals_that_are_missing_empty_doubled_or_of_another_algorithm() {
    let (fleet, request, approval) = asked();
    let other = fleet.approve(&request, 1, "other.json");
    let to = fleet.path("restored");
    let restore = |approvals: &[&Path]| {
        let mut args = vec!["restore", "run", arg(&request), "--to", arg(&to)];
        args.extend(approvals.iter().flat_map(|a| ["--approval", arg(a)]));
        let said = fleet.run(&args);
        assert!(said.code == 0 || !to.exists(), "nothing is written");
        said
    };
    let none = restore(&[]);
    assert_ne!(none.code, 0, "{none:?}");
    stopped(&none.stderr);
    is_refused(&fleet, &other, "", |forged| restore(&[&approval, forged]));
    for nothing in ["", "[]", "{}", "null"] {
        let empty = fleet.path("empty.json");
        std::fs::write(&empty, nothing).expect("written");
        restore(&[&approval, &empty]).code(1);
    }
    restore(&[&approval, &other]).ok();
}

#[test]
fn a_request_signed_by_nobody() {
    let (fleet, request, _) = asked();
    let (share, out) = (fleet.shares()[2].clone(), fleet.path("answer.json"));
    for pointer in ["/request", "/manifest", "/requester/0", "/author/1", "/genesis"] {
        is_refused(&fleet, &request, pointer, |forged| {
            let args = ["restore", "approve", arg(forged), "--share", arg(&share), "--yes"];
            let said = run(&fleet.path("nowhere"), &[&args[..], &["--out", arg(&out)]].concat());
            assert!(!out.exists(), "no answer is given");
            said
        });
    }
}

#[test]
fn a_policy_signed_by_nobody() {
    let fleet = Fleet::found();
    let next = fleet.path("next.json");
    let args = ["fleet", "policy", "propose", "--deletion-min-days", "1"];
    let more = ["--deletion-custodians", "1", "--out", arg(&next)];
    fleet.run(&[&args[..], &more].concat()).ok();
    is_refused(&fleet, &next, "", |forged| fleet.run(&["fleet", "policy", "apply", arg(forged)]));
    let shown = fleet.run(&["fleet", "policy", "show", "--json"]).ok().json();
    assert_eq!(shown["version"], 1);
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
}

#[test]
fn an_enrolment_signed_by_nobody() {
    let fleet = Fleet::found();
    let (home, card) = (fleet.path("site-b"), fleet.path("card.json"));
    run(&home, &["node", "keys", "--name", "site-b", "--out", arg(&card)]).ok();
    let bundle = fleet.path("bundle.json");
    fleet.run(&["fleet", "bundle", arg(&card), "--out", arg(&bundle)]).ok();
    for pointer in ["/enrolment", "/bundle", "/genesis"] {
        is_refused(&fleet, &bundle, pointer, |forged| {
            let said = run(&home, &["node", "enroll", arg(forged)]);
            assert!(!home.join("fleet/genesis.json").exists(), "not enrolled");
            said
        });
    }
    run(&home, &["node", "enroll", arg(&bundle)]).ok();
}
