//! A log shown in two ways, rolled back, replayed, or continued by a disk that went back in time;
//! witnesses that lie about time or come in one person's many names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_base::{Seconds, Sha256, Timestamp};
use seawall_policy::retention::{Group, Guards, Reason, Rules, Snapshot, Verdict, decide};
use seawall_policy::witness::{Quorum, Reached, Stamp, witnessed_now, witnessed_then};
use seawall_sign::SigningKey;
use seawall_sign::token::Operation;
use seawall_sim::SimDisk;
use seawall_tlog::tile::{TilePath, TileReader, encode_bundle};
use seawall_tlog::{AddCheckpoint, Checkpoint, Log, SignedCheckpoint};
use serde_json::Value;

use super::bombs::{StolenLog, stolen_subkey};
use super::network::Caller;
use super::stopped;
use crate::harness::{Fleet, arg, assert_same, copy, noise_of, restored, run};

fn tree(fleet: &Fleet, seed: u64) -> PathBuf {
    let tree = fleet.path(&format!("tree-{seed}"));
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise_of(seed, 300_000)).expect("written");
    tree
}

fn replace(home: &Path, by: &Path) {
    std::fs::remove_dir_all(home).expect("removed");
    copy(by, home);
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("an array").iter();
    list.map(|s| s["id"].as_str().expect("an id").to_owned()).collect()
}

/// The only file in a home's `evidence`.
fn evidence(home: &Path) -> PathBuf {
    let files: Vec<_> = home.join("evidence").read_dir().expect("written").collect();
    assert_eq!(files.len(), 1);
    files[0].as_ref().expect("readable").path()
}

#[test]
fn a_restored_node_uses_indices_again_and_gets_out_by_itself() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    let first = fleet.snapshot(&tree(&fleet, 1));
    fleet.run(&["sync"]).ok();
    let image = fleet.path("image");
    copy(&fleet.home(), &image);
    let lost = tree(&fleet, 2);
    let witnessed = fleet.snapshot(&lost);
    fleet.run(&["sync"]).ok();
    run(&second, &["snapshot", "list", "--all"]).ok();

    // The disk goes back, and the node writes where others have seen other entries.
    replace(&fleet.home(), &image);
    let branch = tree(&fleet, 3);
    let before = fleet.snapshot(&branch);
    let said = fleet.run(&["sync"]).code(1).says(&["restored from an old copy", "epoch begin"]);
    stopped(&said.stderr);
    // What it goes on writing is under no checkpoint, and shown to nobody.
    let meanwhile = fleet.snapshot(&tree(&fleet, 4));
    let said = fleet.run(&["sync"]).code(1).says(&["went back in time", "epoch begin"]);
    stopped(&said.stderr);
    let request = fleet.path("too-early.json");
    let args = ["restore", "request", &meanwhile, "--reason", "x", "--out", arg(&request)];
    fleet.run(&args).code(1).says(&["under no checkpoint yet"]);
    let status = fleet.run(&["node", "epoch", "status", "--json"]).code(1).json();
    assert_eq!((status["behind"].as_bool(), status["epoch"].as_u64()), (Some(true), Some(1)));
    assert!(status["provisional"]["why"].is_string());

    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let args = ["node", "epoch", "begin", "--reason", "a VM image", "--out", arg(&ask)];
    fleet.run(&args).ok();
    fleet.run(&["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)]).ok();
    let adopted = fleet.run(&["node", "epoch", "adopt", arg(&grant), "--json"]).ok().json();
    assert_eq!((adopted["epoch"].as_u64(), adopted["branched"].as_u64()), (Some(2), Some(2)));
    fleet.run(&["log", "verify"]).ok();
    let next = fleet.snapshot(&tree(&fleet, 5));
    fleet.run(&["sync"]).ok();

    // Nothing anybody has seen is gone, nothing written meanwhile is lost, and readers agree.
    let all = [first, witnessed.clone(), before.clone(), meanwhile, next];
    let mut seen = ids(&run(&second, &["snapshot", "list", "--all", "--json"]).ok().json());
    let mut expected = all.to_vec();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    for (id, tree) in [(&witnessed, &lost), (&before, &branch)] {
        let to = fleet.path(&format!("restored-{}", &id[..8]));
        fleet.restore(&second, id, &to).ok();
        assert_same(tree, &restored(&to, tree));
    }
    fleet.run(&["verify", "--repair"]).ok();
    fleet.run(&["verify"]).ok();
    region.stop();
    run(&region.home, &["verify"]).ok();
}

#[test]
fn entries_that_an_epoch_left_behind_turn_up() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    let first = fleet.snapshot(&tree(&fleet, 1));
    fleet.run(&["sync"]).ok();
    let image = fleet.path("image");
    copy(&fleet.home(), &image);
    let behind = fleet.snapshot(&tree(&fleet, 2));
    fleet.run(&["sync"]).ok();
    // The disk goes back while nobody is there who knows better.
    region.stop();
    replace(&fleet.home(), &image);
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let args = ["node", "epoch", "begin", "--reason", "a VM image", "--out", arg(&ask)];
    fleet.run(&args).ok();
    fleet.run(&["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)]).ok();
    fleet.run(&["node", "epoch", "adopt", arg(&grant)]).ok();
    let after = fleet.snapshot(&tree(&fleet, 3));
    region.resume();
    // The first sync finds what was left behind, the second brings it along.
    fleet.run(&["sync"]).ok();
    fleet.run(&["sync"]).ok();
    let log = fleet.run(&["log", "show"]).ok().stdout;
    let line = log.lines().find(|line| line.contains("branch ")).expect("a branch");
    assert!(line.contains("1 snapshots of"), "{line}");
    stopped(line);
    let mut seen = ids(&run(&second, &["snapshot", "list", "--all", "--json"]).ok().json());
    let mut expected = [first, behind, after].to_vec();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    region.stop();
}

#[test]
fn an_epoch_is_begun_without_the_root_keys() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    run(&second, &["snapshot", "create", arg(&tree(&fleet, 1))]).ok();
    run(&second, &["sync"]).ok();
    let ask = fleet.path("ask.json");
    let args = ["node", "epoch", "begin", "--reason", "to drop my past", "--out", arg(&ask)];
    run(&second, &args).ok();
    let grant = fleet.path("grant.json");
    let args = ["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)];
    let said = run(&second, &args).code(1).says(&["root key"]);
    stopped(&said.stderr);
    // The root keys' answer to one node is no other's.
    fleet.run(&args).ok();
    let said = fleet.run(&["node", "epoch", "adopt", arg(&grant)]).code(1);
    stopped(&said.says(&["another node"]).stderr);
    region.stop();
}

#[test]
fn a_split_view_is_shown_to_two_regions() {
    let fleet = Fleet::found();
    let (mut a, mut b) = (fleet.region("region-a"), fleet.region("region-b"));
    let second = fleet.second_node("site-b");
    fleet.snapshot(&tree(&fleet, 1));
    // Two copies of one node, each with its own region: whoever holds the keys shows two faces.
    let face = fleet.path("other-face");
    copy(&fleet.home(), &face);
    std::fs::remove_file(fleet.home().join("regions/region-b.json")).expect("removed");
    std::fs::remove_file(face.join("regions/region-a.json")).expect("removed");
    fleet.snapshot(&tree(&fleet, 2));
    fleet.run(&["sync"]).ok();
    run(&face, &["snapshot", "create", arg(&tree(&fleet, 3))]).ok();
    run(&face, &["sync"]).ok();

    let said = run(&second, &["snapshot", "list", "--all"]).code(1);
    let said = said.says(&["the history was forked", "both checkpoints are in evidence/"]);
    stopped(&said.stderr);
    // Anybody can check what was found, without a network and without a home.
    let file = evidence(&second);
    // Who did what is told all the same, without the copy that contradicts what was seen first.
    let audit = run(&second, &["audit", "--json"]).code(1).json();
    let made = audit.as_array().expect("a list").iter().filter(|l| l["kind"] == "snapshot");
    assert_eq!(made.count(), 2, "the common one, and that of one face: {audit}");
    a.stop();
    b.stop();
    let nowhere = fleet.path("nowhere");
    let said = run(&nowhere, &["log", "evidence", "verify", arg(&file)]).ok();
    assert!(said.stdout.contains("PROVEN: the log forked"), "{}", said.stdout);
    let forged = fleet.path("forged.json");
    let text = std::fs::read_to_string(&file).expect("readable");
    // The same checkpoint twice proves nothing.
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value["second"] = value["first"].clone();
    value.as_object_mut().expect("an object").remove("beginning");
    std::fs::write(&forged, value.to_string()).expect("written");
    let said = run(&nowhere, &["log", "evidence", "verify", arg(&forged)]).code(1);
    assert!(said.stdout.contains("prove nothing"), "{}", said.stdout);
    stopped(&said.stdout);
}

/// A thief with a node's keys shows the region another history than the node did. The region keeps
/// the proof, over a restart, and whoever reads the log gets it.
#[test]
fn a_fork_is_shown_to_a_region_which_keeps_the_proof() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    fleet.snapshot(&tree(&fleet, 1));
    fleet.run(&["sync"]).ok();
    run(&second, &["snapshot", "list", "--all"]).ok();
    let log = StolenLog::read(&fleet.home()).log;
    let held = log.checkpoint().expect("signed").checkpoint().clone();
    let subkey = std::fs::read(fleet.home().join("keys/subkey.key")).expect("the subkey");
    let subkey = stolen_subkey(&subkey);
    let mut thief = Caller::connect(&fleet, &region, &fleet.home());
    for size in [held.size, held.size - 1] {
        // A proof's number is used once; another token begins anew.
        let token = thief.token(Operation::Sync);
        let forked = Checkpoint::new(held.origin.clone(), size, Sha256([7; 32]));
        let checkpoint = SignedCheckpoint::sign(forked, &subkey).expect("signed");
        let request = AddCheckpoint { old: size, proof: Vec::new(), checkpoint };
        let request = thief.make_of(&token, "/v1/log/add-checkpoint", request.to_bytes());
        let answer = thief.send(&request);
        assert_eq!(answer.status.as_u16(), 409, "{:?}", answer.body);
    }
    region.stop();
    region.resume();
    let said = run(&second, &["snapshot", "list", "--all"]).code(1);
    let said = said.says(&["region-a has proof that log", "forked", "revoke it"]);
    stopped(&said.stderr);
    let kept: Vec<_> = second.join("evidence").read_dir().expect("written").collect();
    assert_eq!(kept.len(), 2, "of the same size, and of a smaller one");
    for file in kept {
        let path = file.expect("readable").path();
        let args = ["log", "evidence", "verify", arg(&path)];
        let said = run(&fleet.path("nowhere"), &args).ok();
        assert!(said.stdout.contains("PROVEN: the log forked"), "{}", said.stdout);
    }
    region.stop();
}

#[test]
fn a_region_replays_an_old_state_of_a_log() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    fleet.snapshot(&tree(&fleet, 1));
    fleet.run(&["sync"]).ok();
    region.stop();
    let old = fleet.path("old-region");
    copy(&region.home, &old);
    region.resume();
    fleet.snapshot(&tree(&fleet, 2));
    fleet.run(&["sync"]).ok();
    run(&second, &["snapshot", "list", "--all"]).ok();
    region.stop();
    replace(&region.home, &old);
    region.resume();
    let said = run(&second, &["snapshot", "list", "--all"]).code(1).says(&["rolled back"]);
    stopped(&said.stderr);
    region.stop();
}

/// Applies a policy that names these witnesses and demands two of them.
pub(crate) fn demand_witnesses(fleet: &Fleet, names: &[&str]) {
    let next = fleet.path("next.json");
    let edits = witnesses(fleet, names);
    let edits: Vec<&str> = edits.iter().map(String::as_str).collect();
    let args = ["fleet", "policy", "propose", "--out", arg(&next)];
    fleet.run(&[&args[..], &edits].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
}

#[test]
fn a_restore_is_asked_for_from_a_log_nobody_vouches_for() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&tree(&fleet, 1));
    demand_witnesses(&fleet, &["anna", "ben", "cleo"]);
    let out = fleet.path("request.json");
    let args = ["restore", "request", &id, "--reason", "disk died", "--out", arg(&out)];
    let said = fleet.run(&args).code(1).says(&["too few witnesses", "--break-glass"]);
    stopped(&said.stderr);
    // Never a dead end: it is asked for loudly, and every custodian sees that.
    let json = fleet.run(&[&args[..], &["--break-glass", "--json"]].concat()).ok().json();
    assert_eq!(json["break_glass"].as_bool(), Some(true));
    assert_eq!(json["witnessed"]["level"].as_str(), Some("0"));
    let share = fleet.shares()[0].clone();
    let approval = fleet.path("approval.json");
    let args = ["restore", "approve", arg(&out), "--share", arg(&share), "--yes"];
    let said = run(&fleet.path("nowhere"), &[&args[..], &["--out", arg(&approval)]].concat()).ok();
    said.says(&["BREAK-GLASS: 0 of 2 witnesses"]);
    let other = fleet.approve(&out, 1, "other.json");
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&out), "--approval", arg(&approval)];
    let said = fleet.run(&[&args[..], &["--approval", arg(&other), "--to", arg(&to)]].concat());
    said.ok().says(&["BREAK-GLASS"]);
    let log = fleet.run(&["log", "show"]).ok().stdout;
    assert!(log.contains("break-glass") && log.contains("0 of 2 operators vouched"), "{log}");

    // Without its statement the request is worth nothing to a custodian.
    let text = std::fs::read_to_string(&out).expect("readable");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value.as_object_mut().expect("an object").remove("break_glass");
    let quiet = fleet.path("quiet.json");
    std::fs::write(&quiet, value.to_string()).expect("written");
    let args = ["restore", "approve", arg(&quiet), "--share", arg(&share), "--yes"];
    let said = run(&fleet.path("nowhere"), &[&args[..], &["--out", arg(&approval)]].concat());
    stopped(&said.code(1).stderr);
}

/// Edits that name witnesses, one operator each, and demand two of them.
fn witnesses(fleet: &Fleet, names: &[&str]) -> Vec<String> {
    let mut edits = Vec::new();
    for (seed, name) in (50..).zip(names) {
        let card = fleet.path(&format!("{name}-witness.json"));
        let key = SigningKey::from_seed(&[seed; 32]).public();
        let record = serde_json::json!({ "operator": name, "name": name, "key": key });
        std::fs::write(&card, record.to_string()).expect("written");
        edits.extend(["--witness".to_owned(), arg(&card).to_owned()]);
    }
    edits.extend(["--witness-quorum", "2", "--faulty", "0"].map(str::to_owned));
    edits
}

const NOW: Timestamp = Timestamp(1_800_000_000);

fn snapshot(number: u64, witnessed: Option<Timestamp>) -> Snapshot {
    Snapshot {
        group: Group { node: "site-a".to_owned(), set: None, class: 1 },
        sequence: number,
        created: NOW.before(Seconds::hours(100 - number)),
        witnessed,
        tags: Vec::new(),
        copies: 2,
        in_use: false,
        proven: false,
    }
}

#[test]
fn a_fast_witness_clock_flushes_retention() {
    let rules: Rules = serde_json::from_str(r#"{"counts":{"last":"1"}}"#).expect("rules");
    let guards = Guards { min_age: "365d".parse().expect("a span"), copies: 2 };
    let fast = NOW.after(Seconds::days(4_000));
    let stamp = |operator, time| Stamp { operator, time };
    // The node's own clock was set forward, too; only one of three operators plays along.
    let made = NOW.before(Seconds::hours(90));
    let stamps = [stamp("mallory", fast), stamp("anna", NOW), stamp("ben", NOW)];
    let now = witnessed_now(stamps, 2, fast).expect("two have signed");
    assert_eq!(now, NOW, "what two operators have reached");
    let then = witnessed_then([stamp("anna", made), stamp("ben", made)], 2, fast);
    let snapshots = [snapshot(1, then), snapshot(2, then)];
    let verdicts = decide(&snapshots, &rules, guards, now).expect("decided");
    let Verdict::Keep(reasons) = &verdicts[0] else { panic!("the past was flushed") };
    assert!(reasons.contains(&Reason::Young(guards.min_age)));
    stopped(&reasons[0].to_string());
    // A witness alone that stamps the past backwards makes nothing old, either.
    let then = witnessed_then([stamp("mallory", Timestamp(1))], 2, fast);
    let verdicts = decide(&[snapshot(1, then), snapshot(2, then)], &rules, guards, now);
    let Verdict::Keep(reasons) = &verdicts.expect("decided")[0] else { panic!("flushed") };
    assert!(reasons.contains(&Reason::Unwitnessed));
    stopped(&reasons[0].to_string());
}

#[test]
fn a_region_drops_reorders_or_replaces_entries() {
    let origin = "example.com/log".parse().expect("an origin");
    let (mut log, _) = Log::open(Arc::new(SimDisk::new()), "log", &origin).expect("a new log");
    let entries: Vec<Vec<u8>> = (0..300_u32).map(|i| format!("entry {i}").into_bytes()).collect();
    log.append(&entries).expect("appended");
    let key = SigningKey::from_seed(&[7; 32]);
    let checkpoint = log.sign_checkpoint(&key).expect("signed").checkpoint().clone();
    let tampers: [fn(&mut Vec<Vec<u8>>); 5] = [
        |bundle| drop(bundle.remove(7)),
        |bundle| bundle.swap(7, 8),
        |bundle| bundle[7] = b"entry of mine".to_vec(),
        |bundle| bundle[7] = bundle[6].clone(),
        Vec::clear,
    ];
    for tamper in tampers {
        let fetch = |path: &TilePath| -> std::io::Result<Vec<u8>> {
            if let TilePath::Entries { index: 0, .. } = path {
                let mut bundle = entries[..256].to_vec();
                tamper(&mut bundle);
                return Ok(encode_bundle(&bundle));
            }
            let tile = log.tile(&path.to_string()).expect("readable");
            tile.ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let e = TileReader::new(&checkpoint, &fetch).entries(0..300).expect_err("tampered with");
        stopped(&e.to_string());
    }
    let whole = |path: &TilePath| -> std::io::Result<Vec<u8>> {
        let tile = log.tile(&path.to_string()).expect("readable");
        tile.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let read = TileReader::new(&checkpoint, &whole).entries(0..300).expect("untouched");
    assert_eq!(read, entries);
    // One that hides the end says so by what it lacks.
    let short = |path: &TilePath| -> std::io::Result<Vec<u8>> {
        match path {
            TilePath::Entries { index: 1, .. } => Err(std::io::ErrorKind::NotFound.into()),
            other => whole(other),
        }
    };
    let e = TileReader::new(&checkpoint, &short).entries(0..300).expect_err("truncated");
    stopped(&e.to_string());
}

#[test]
fn one_operator_signs_with_many_keys() {
    let quorum = Quorum::new(["anna", "ben", "cleo"], 2, 0).expect("a quorum");
    let reached = Reached::count(Some(&quorum), ["anna", "anna", "anna"]);
    assert!(!reached.suffices());
    stopped(&reached.to_string());
    let e = Quorum::new(["anna", "anna", "anna"], 2, 0).expect_err("one operator");
    stopped(&e.to_string());
    let e = Quorum::new(["anna", "ben", "cleo"], 2, 1).expect_err("too small");
    stopped(&e.to_string());
}
