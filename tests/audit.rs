//! Who did what, when, and with whose approval.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use seawall_sign::SigningKey;
use seawall_tlog::{Hash, SignedCheckpoint, merkle};
use serde_json::Value;

use crate::harness::{Fleet, Said, arg, copy, restored, run};
use crate::machines::Machines;

fn lines(fleet: &Fleet, home: &Path, more: &[&str]) -> Vec<Value> {
    let out = fleet.path("audit.jsonl");
    run(home, &[&["audit", "--export", arg(&out)], more].concat()).ok();
    let text = fs::read_to_string(&out).expect("written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|l| l["kind"].as_str().expect("a kind")).collect()
}

/// Bytes of the first entry of a bundle, with its length.
fn entry_len(bundle: &[u8]) -> usize {
    2 + usize::from(u16::from_be_bytes([bundle[0], bundle[1]]))
}

/// Checks the inclusion proof of a line, whose statement is the entry in `log`.
fn is_proven(line: &Value, entry: &[u8]) {
    let log = &line["log"];
    let note = log["checkpoint"].as_str().expect("a checkpoint");
    let signed = SignedCheckpoint::parse(note.as_bytes()).expect("a signed checkpoint");
    let checkpoint = signed.checkpoint();
    assert_eq!(checkpoint.origin.as_str(), log["origin"].as_str().expect("an origin"));
    let hashes = log["inclusion"].as_array().expect("hashes").iter();
    let proof: Vec<Hash> =
        hashes.map(|h| Hash::from_hex(h.as_str().expect("hex")).expect("a hash")).collect();
    let index = log["index"].as_u64().expect("an index");
    let leaf = merkle::leaf_hash(entry);
    merkle::verify_inclusion(&leaf, index, checkpoint.size, &checkpoint.root, &proof)
        .expect("included");
}

#[test]
fn a_restore_leaves_who_asked_and_who_agreed() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to).ok();
    let all = lines(&fleet, &fleet.home(), &[]);
    assert_eq!(
        kinds(&all).iter().filter(|k| ["request", "approval", "restored"].contains(k)).count(),
        4,
        "{all:#?}"
    );
    let of = |kind: &str| all.iter().find(|l| l["kind"] == kind).expect("one");
    let restored_line = of("restored");
    assert_eq!(of("request")["actor"], "node-1");
    assert!(of("request")["what"].as_str().is_some_and(|w| w.ends_with(": a test")));
    assert_eq!(restored_line["snapshots"], serde_json::json!([id]));
    assert_eq!(restored_line["request"], of("request")["statement"]);
    assert_eq!(restored_line["log"]["witnessed"]["level"], "0", "nobody else has seen it");
    let approvals = all.iter().filter(|l| l["kind"] == "approval");
    let mut given: Vec<_> = approvals.map(|l| l["statement"].clone()).collect();
    given.sort_by_key(Value::to_string);
    assert_eq!(restored_line["approvals"], Value::from(given));
    let index = restored_line["log"]["index"].to_string();
    let proof = fleet.run(&["log", "prove", &index, "--json"]).ok().json();
    is_proven(restored_line, proof["entry"].as_str().expect("an entry").as_bytes());

    // By whom, about what, since when.
    let home = fleet.home();
    let anna = lines(&fleet, &home, &["--actor", "custodian-1"]);
    assert_eq!(kinds(&anna), ["approval"]);
    let about = lines(&fleet, &home, &["--snapshot", &id[..8]]);
    let mut found = kinds(&about);
    found.sort_unstable();
    assert_eq!(found, ["approval", "approval", "request", "restored", "snapshot"]);
    assert!(lines(&fleet, &home, &["--since", "2999-01-01"]).is_empty());
    let words = fleet.run(&["audit", "--snapshot", &id[..8]]).ok().stdout;
    assert!(words.contains("custodian-2") && words.contains("restore of number 1"), "{words}");
}

#[test]
fn a_restored_file_leads_back_to_its_site() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    let second = fleet.second_node("node-2");
    let to = fleet.path("restored");
    fleet.restore(&second, &id, &to).ok();
    let file = restored(&to, &tree).join("sub/deeper/long.bin");
    let said = run(&second, &["audit", "--file", arg(&file), "--json"]).ok().json();
    assert_eq!((&said["site"], &said["sequence"]), (&"node-1".into(), &1.into()));
    assert_eq!(said["snapshot"], id);
    assert_eq!(said["path"], arg(&tree.join("sub/deeper/long.bin")));
    assert!(said["checkpoint"].as_str().is_some_and(|c| c.starts_with("seawall/")), "{said}");
    // The site's own snapshot in the line of another node, from the region's copy of its log.
    let all = lines(&fleet, &second, &["--snapshot", &id]);
    let made = all.iter().find(|l| l["kind"] == "snapshot").expect("one");
    assert_eq!((&made["actor"], &made["log"]["seen_in"]), (&"node-1".into(), &"region-a".into()));
    assert_eq!(made["log"]["witnessed"]["level"], "1", "the region has cosigned it");
    let tree_link = restored(&to, &tree).join("link");
    let said = run(&second, &["audit", "--file", arg(&tree_link), "--json"]).ok().json();
    assert!(said["path"].as_str().is_some_and(|p| p.ends_with("/link")), "not what it points to");

    // What was put there later is not vouched for.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let added = file.with_file_name("added-later");
    fs::write(&added, "not of the snapshot").expect("written");
    let said = run(&second, &["audit", "--file", arg(&added), "--json"]).code(3);
    assert!(said.says(&["after the restore"]).json()["touched_since"].is_string());

    let elsewhere = fleet.path("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let args = ["audit", "--file", arg(&elsewhere)];
    run(&second, &args).code(1).says(&["nothing on record"]);
    region.stop();
    run(&second, &["audit"]).ok().says(&["region-a"]);
    run(&second, &["audit", "--offline"]).ok();
}

#[test]
fn two_custodians_logs_tell_of_one_request_each_for_itself() {
    let mut it = Machines::new();
    it.start(0);
    it.start(1);
    it.send("a test for the audit");
    let mut args = Vec::new();
    for n in [0, 1] {
        it.kill(n);
        let tiles = it.fleet.path(&format!("tiles-{n}"));
        run(&it.home(n), &["custodian", "log", "export", arg(&tiles)]).ok();
        args.extend(["--log".to_owned(), arg(&tiles).to_owned()]);
    }
    // The same one twice is no second witness.
    args.extend([args[0].clone(), args[1].clone()]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let all = lines(&it.fleet, &it.fleet.home(), &args);
    for kind in ["seen", "answered"] {
        let who: Vec<_> = all.iter().filter(|l| l["kind"] == kind).map(|l| &l["actor"]).collect();
        assert_eq!(who.len(), 2, "{kind}: {who:?}");
        assert!(who.contains(&&"custodian-1".into()) && who.contains(&&"custodian-2".into()));
    }
}

#[test]
fn two_histories_of_one_log_are_both_listed_and_named() {
    let fleet = Fleet::found();
    let event = |text: &str| {
        fleet.run(&["log", "append-event", "--kind", "tamper", "--text", text]).ok();
    };
    let export = |name: &str| {
        let tiles = fleet.path(name);
        fleet.run(&["log", "export", arg(&tiles)]).ok();
        tiles
    };
    event("the lid was opened");
    let earlier = export("earlier");
    let (home, before) = (fleet.home(), fleet.path("before"));
    copy(&home, &before);
    event("a disk was taken out");
    let told = export("told");
    // The same keys tell the end of the story again.
    fs::remove_dir_all(&home).expect("removed");
    copy(&before, &home);
    event("all is well");
    let told_again = export("told-again");
    let second = fleet.second_node("node-2");
    let args = ["audit", "--offline", "--actor", "node-1", "--json", "--log", arg(&told)];
    let of = |more: &[&str]| run(&second, &[&args[..], more].concat());
    let events = |said: &Said| {
        let all = said.json();
        let all = all.as_array().expect("a list").iter().filter(|l| l["kind"] == "event");
        all.map(|l| l["what"].as_str().expect("words").to_owned()).collect::<Vec<_>>()
    };
    // One copy, the same again, an earlier one: one history.
    let one = of(&["--log", arg(&told), "--log", arg(&earlier)]).ok();
    assert_eq!(events(&one).len(), 2, "{:?}", events(&one));
    let both = of(&["--log", arg(&told_again)]).code(1);
    let both = both.says(&["told-again", "contradicts another copy", "two histories"]);
    let all = events(&both);
    assert_eq!(all.len(), 3, "{all:?}");
    for word in ["the lid was opened", "a disk was taken out", "all is well"] {
        assert!(all.iter().any(|what| what.contains(word)), "{word}: {all:?}");
    }
}

#[test]
fn who_signed_a_deletion_and_what_the_root_keys_decided() {
    let fleet = Fleet::found();
    let next = fleet.path("next.json");
    let rule = ["--deletion-min-days", "30", "--deletion-custodians", "2", "--out", arg(&next)];
    fleet.run(&[&["fleet", "policy", "propose"][..], &rule].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    fleet.snapshot(&tree);
    let delete = fleet.path("delete.json");
    let propose = ["snapshot", "delete", "propose", &id, "--reason", "case 7", "--out"];
    fleet.run(&[&propose[..], &[arg(&delete)]].concat()).ok();
    for n in [0, 2] {
        let share = fleet.shares()[n].clone();
        let sign = ["snapshot", "delete", "sign", arg(&delete), "--share", arg(&share), "--yes"];
        fleet.run(&[&sign[..], &["--out", arg(&delete)]].concat()).ok();
    }
    fleet.run(&["snapshot", "delete", "apply", arg(&delete)]).ok();
    let all = lines(&fleet, &fleet.home(), &["--actor", "custodian-3"]);
    assert_eq!(kinds(&all), ["deletion"], "{all:#?}");
    assert_eq!(all[0]["signers"], serde_json::json!(["custodian-1", "custodian-3"]));
    let all = lines(&fleet, &fleet.home(), &["--actor", "root keys"]);
    assert_eq!(kinds(&all), ["policy"], "{all:#?}");
    let what = all[0]["what"].as_str().expect("words");
    assert!(what.contains("version 2") && what.contains("after 30 days"), "{what}");
}

#[test]
fn the_policy_that_replaced_the_root_keys_says_so() {
    let fleet = Fleet::found();
    let (key, next) = (fleet.path("anna-root.json"), fleet.path("next.json"));
    let made = fleet.run(&["fleet", "root-key", "--new", "--out", arg(&key), "--json"]).ok().json();
    let made = made["key"].as_str().expect("a key");
    let propose = ["fleet", "policy", "propose", "--root-key", made, "--root-threshold", "1"];
    fleet.run(&[&propose[..], &["--out", arg(&next)]].concat()).ok();
    let sign = ["fleet", "policy", "sign", arg(&next), "--root-key", arg(&key)];
    fleet.run(&[&sign[..], &["--out", arg(&next), "--yes"]].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    let all = lines(&fleet, &fleet.home(), &["--actor", "root keys"]);
    assert_eq!(kinds(&all), ["policy"], "{all:#?}");
    let what = all[0]["what"].as_str().expect("words");
    let new = format!("1 of 1 root keys decide, new {made}, no more ed25519:");
    assert!(what.contains("version 2") && what.contains(&new), "{what}");
}

#[test]
fn entries_that_are_alike_are_all_listed() {
    let fleet = Fleet::found();
    for _ in 0..4 {
        fleet.run(&["log", "append-event", "--kind", "tamper", "--text", "again"]).ok();
    }
    let all = fleet.run(&["audit", "--json"]).ok().json();
    let all = all.as_array().expect("a list");
    let events: Vec<_> = all.iter().filter(|l| l["kind"] == "event").collect();
    assert_eq!(events.len(), 4, "{events:#?}");
    let statements: BTreeSet<_> = events.iter().map(|l| l["statement"].to_string()).collect();
    assert!(statements.len() < 4, "two were made within one second");
    let ids: BTreeSet<_> = all.iter().map(|l| l["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), all.len(), "each has one of its own");
    // Handed over as tiles, and read by another: the same entries.
    let (tiles, second) = (fleet.path("tiles"), fleet.second_node("node-2"));
    fleet.run(&["log", "export", arg(&tiles)]).ok();
    let there = lines(&fleet, &second, &["--log", arg(&tiles), "--actor", "node-1"]);
    assert_eq!(kinds(&there).iter().filter(|k| **k == "event").count(), 4);
    assert!(there.iter().all(|l| ids.contains(l["id"].as_str().expect("an id"))), "{there:#?}");
}

#[test]
fn a_restore_that_failed_is_no_origin_without_a_word() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let request = fleet.request(&fleet.home(), &id, "r.json");
    let (a, b) = (fleet.approve(&request, 0, "a.json"), fleet.approve(&request, 1, "b.json"));
    let args = ["restore", "run", arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    let restore = |to: &Path| fleet.run(&[&args[..], &["--to", arg(to)]].concat());
    let origin = |of: &Path| fleet.run(&["audit", "--file", arg(of)]);
    let (good, bad) = (fleet.path("good"), fleet.path("bad"));
    restore(&good).ok();
    // What was left alone came from where it came before.
    restore(&good).code(1).says(&["is not empty"]);
    let words = origin(&restored(&good, &tree)).ok().stdout;
    assert!(!words.contains("failed"), "{words}");
    fs::remove_dir_all(fleet.home().join("zones")).expect("lost");
    fs::remove_dir_all(fleet.home().join("index")).ok();
    restore(&bad).code(1).says(&["ended early"]);
    let said = origin(&bad).code(3).says(&["that restore failed"]);
    assert!(said.stdout.contains("which failed"), "{}", said.stdout);
}

#[test]
fn parts_archives_and_lists_are_on_record_too() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let request = fleet.request(&fleet.home(), &id, "r.json");
    let (a, b) = (fleet.approve(&request, 0, "a.json"), fleet.approve(&request, 1, "b.json"));
    let opened = [arg(&request), "--approval", arg(&a), "--approval", arg(&b)];
    let dry = [&["restore", "run"], &opened[..], &["--dry-run"]].concat();
    fleet.run(&dry).ok();
    let (to, tar) = (fleet.path("part"), fleet.path("x.tar"));
    let part = ["--to", arg(&to), "--glob", "**/small.txt"];
    fleet.run(&[&["restore", "run"], &opened[..], &part].concat()).ok();
    fleet.run(&[&["export"], &opened[..], &["--tar", "-o", arg(&tar)]].concat()).ok();
    // A restore that fails is one that was tried.
    let full = ["--to", arg(&to)];
    fleet.run(&[&["restore", "run"], &opened[..], &full].concat()).code(1);
    let all = lines(&fleet, &fleet.home(), &[]);
    let what: Vec<_> = all.iter().filter(|l| l["kind"] == "restored").collect();
    let words: Vec<_> =
        what.iter().map(|l| l["what"].as_str().expect("words").split(" of ").next()).collect();
    assert_eq!(
        words,
        [Some("list"), Some("partial restore"), Some("export"), Some("restore")],
        "{what:#?}"
    );
    assert!(what[3]["what"].as_str().is_some_and(|w| w.contains("failed")), "{what:#?}");
}

#[test]
fn physical_events_and_exported_logs() {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    let event = |kind: &str, text: &str| {
        fleet.run(&["log", "append-event", "--kind", kind, "--text", text])
    };
    event("chassis-tamper", "lid switch of rack 3").ok();
    event("Tamper", "x").code(1).says(&["a-z"]);
    event("tamper", "two\nlines").code(1).says(&["control"]);
    event("tamper", &"a".repeat(4_001)).code(1).says(&["4000"]);
    let found = lines(&fleet, &fleet.home(), &["--since", "1h"]);
    let tamper = found.iter().find(|l| l["kind"] == "event").expect("logged");
    assert!(tamper["what"].as_str().is_some_and(|w| w.starts_with("chassis-tamper: lid switch")));

    // Handed over as tiles, it is read by whoever has the fleet.
    let tiles = fleet.path("tiles");
    fleet.run(&["log", "export", arg(&tiles)]).ok();
    let second = fleet.second_node("node-2");
    let all = lines(&fleet, &second, &["--log", arg(&tiles), "--actor", "node-1"]);
    assert!(kinds(&all).contains(&"event") && kinds(&all).contains(&"snapshot"), "{all:#?}");
    let bundle = fs::read_dir(tiles.join("tile/entries")).expect("bundles").next();
    let mut bundle = bundle.expect("one").expect("readable").path();
    while bundle.is_dir() {
        let inner = fs::read_dir(&bundle).expect("readable").next().expect("one");
        bundle = inner.expect("readable").path();
    }
    let mut bytes = fs::read(&bundle).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bundle, bytes).expect("written");
    run(&second, &["audit", "--log", arg(&tiles)]).code(1).says(&["tiles"]);
}

#[test]
fn what_a_custodians_machine_did_is_told_with_time_and_snapshot() {
    machine_is_audited(Fleet::found());
}

#[test]
fn what_a_machine_with_a_post_quantum_key_did_is_told_as_well() {
    machine_is_audited(Fleet::found_with(&["--algorithm", "ml-dsa-44"]));
}

fn machine_is_audited(fleet: Fleet) {
    let mut it = Machines::of(fleet);
    it.start(0);
    let (request, sent) = it.send("a test for the audit");
    assert_eq!(sent[0]["state"], "answered", "{sent}");
    it.collect(&request).code(3);
    it.kill(0);
    let home = it.fleet.home();
    let (by_machine, by_hand) =
        (it.fleet.path("approvals/approval-1.json"), it.fleet.approve(&request, 1, "b.json"));
    let args = ["restore", "run", arg(&request), "--approval", arg(&by_machine)];
    let to = it.fleet.path("restored");
    it.fleet.run(&[&args[..], &["--approval", arg(&by_hand), "--to", arg(&to)]].concat()).ok();

    // Its log, handed over as tiles.
    let tiles = it.fleet.path("tiles");
    run(&it.home(0), &["custodian", "log", "export", arg(&tiles)]).ok();
    let other = ["custodian", "log", "export", arg(&tiles), "--fleet-id", "91ab"];
    run(&it.home(0), &other).code(1).says(&["--fleet-id says which"]);
    run(&it.home(1), &["custodian", "log", "export", arg(&tiles)]).code(1).says(&["no request"]);
    let of_machine = ["--log", arg(&tiles), "--actor", "custodian-1", "--since", "7d"];
    let all = lines(&it.fleet, &home, &of_machine);
    assert_eq!(kinds(&all), ["approval", "seen", "decided", "answered"], "{all:#?}");
    for line in &all {
        assert_eq!(line["snapshots"], serde_json::json!([it.id]), "{line}");
    }
    assert!(all[1]["what"].as_str().is_some_and(|w| w.contains("a test for the audit")));
    assert_eq!(all[3]["approvals"], all[0]["approvals"], "one digest for one approval");
    // It cannot be told otherwise.
    let bundle = tiles.join("tile/entries/000.p/3");
    let entries = fs::read(&bundle).expect("the entries");
    let (skipped, all) = ((2..4).fold(0, |at, _| at + entry_len(&entries[at..])), &all);
    is_proven(&all[3], &entries[skipped + 2..]);
    let mut lying = entries;
    lying[skipped + 40] ^= 1;
    fs::write(&bundle, lying).expect("written");
    run(&home, &["audit", "--log", arg(&tiles)]).code(1).says(&["tiles"]);
}

#[test]
fn what_would_be_refused_today_stays_on_record() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let to = fleet.path("restored");
    fleet.restore(&fleet.home(), &id, &to).ok();
    // From now on a restore needs two witnesses, and that one had none.
    let next = fleet.path("next.json");
    let mut args: Vec<String> =
        ["fleet", "policy", "propose", "--out", arg(&next)].map(str::to_owned).into();
    for (seed, name) in [(70, "anna"), (71, "ben"), (72, "cleo")] {
        let record = fleet.path(&format!("{name}.json"));
        let key = SigningKey::from_seed(&[seed; 32]).public();
        let text = serde_json::json!({ "operator": name, "name": name, "key": key });
        fs::write(&record, text.to_string()).expect("written");
        args.extend(["--witness".to_owned(), arg(&record).to_owned()]);
    }
    args.extend(["--witness-quorum", "2", "--faulty", "0"].map(str::to_owned));
    fleet.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    let all = lines(&fleet, &fleet.home(), &[]);
    let request = all.iter().find(|l| l["kind"] == "request").expect("on record");
    let what = request["what"].as_str().expect("words");
    assert!(what.contains("no longer acceptable: too few witnesses"), "{what}");
    assert_eq!(kinds(&all).iter().filter(|k| **k == "approval").count(), 2);
    let file = restored(&to, &tree).join("inline.txt");
    let said = fleet.run(&["audit", "--file", arg(&file), "--json"]).ok().json();
    assert!(said["refused_today"].is_string() && said["checkpoint"].is_string(), "{said}");

    // What was kept and is damaged hides nothing else.
    let kept = fs::read_dir(fleet.home().join("evidence")).expect("kept").next().expect("one");
    let kept = kept.expect("readable").path();
    fs::write(kept.join("approval-1.json"), "{}").expect("written");
    let all = lines(&fleet, &fleet.home(), &[]);
    let words = |l: &Value| l["what"].as_str().expect("words").contains("not believed");
    assert_eq!(all.iter().filter(|l| words(l)).count(), 1, "{all:#?}");
    assert!(kinds(&all).contains(&"restored"));
}
