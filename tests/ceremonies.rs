//! Ceremonies by the real program: killed on their way, and what they leave on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::harness::{Fleet, Said, arg, end, run, start};

const THREE: [&str; 3] = ["anna", "bob", "carla"];

/// Three homes and an open ceremony.
fn opened() -> (Fleet, PathBuf) {
    let fleet = Fleet::nowhere();
    let folder = fleet.path("ceremony");
    let mut args = vec!["group", "begin", arg(&folder), "--threshold", "2", "--reason", "a test"];
    let cards = THREE.map(|name| fleet.path(&format!("{name}.json")));
    for (name, card) in THREE.iter().zip(&cards) {
        let init = ["custodian", "init", "--name", name, "--out", arg(card)];
        run(&fleet.path(name), &init).ok();
        args.extend(["--card", arg(card)]);
    }
    let said = run(&fleet.path("anna"), &[&args[..], &["--json"]].concat()).ok().json();
    assert_eq!(said["fingerprint"].as_str().map(str::len), Some(19), "{said}");
    (fleet, folder)
}

/// Everything below a directory, with its mode.
fn files(dir: &Path) -> Vec<(String, u32)> {
    let mut out = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).expect("readable") {
            let entry = entry.expect("readable");
            let mode = entry.metadata().expect("readable").permissions().mode() & 0o777;
            if entry.path().is_dir() {
                assert_eq!(mode, 0o700, "{}", entry.path().display());
                left.push(entry.path());
            } else {
                out.push((entry.path().display().to_string(), mode));
            }
        }
    }
    out
}

#[test]
fn a_step_killed_anywhere_goes_on_and_leaves_no_secret() {
    let (fleet, folder) = opened();
    let step = ["group", "step", arg(&folder), "--yes", "--json"];
    // Each is killed a little later each time; at last it is left alone.
    let mut unfinished = 0;
    for pause in [1, 3, 6, 10, 20, 40, 80, 0] {
        for name in THREE {
            let mut child = start(&fleet.path(name), &step);
            std::thread::sleep(Duration::from_millis(pause));
            if pause > 0 {
                child.kill().expect("killed");
            }
            let said = end(child);
            if pause == 0 {
                said.ok();
            }
            let home = fleet.path(name);
            for (path, mode) in files(&home) {
                assert_eq!(mode, 0o600, "{path}");
                unfinished += usize::from(path.ends_with(".secret"));
            }
        }
    }
    assert!(unfinished > 0, "some were killed between two steps");
    for _ in 0..2 {
        for name in THREE {
            run(&fleet.path(name), &step).ok();
        }
    }
    let group = fleet.path("group.json");
    let finish = ["group", "finish", arg(&folder), "--out", arg(&group), "--json"];
    let said = run(&fleet.path("bob"), &finish).ok().json();
    assert_eq!((said["threshold"].as_u64(), said["share_epoch"].as_u64()), (Some(2), Some(0)));
    for name in THREE {
        let left = files(&fleet.path(name));
        assert!(left.iter().all(|(path, _)| !path.contains(".secret")), "{left:?}");
        let shown = run(&fleet.path(name), &["custodian", "show", "--json"]).ok().json();
        assert_eq!(shown["shares"].as_array().map(Vec::len), Some(1));
    }
    let status = run(&fleet.path("nowhere"), &["group", "status", arg(&folder), "--json"]);
    assert_eq!(status.ok().json()["complete"], true);
    let record = run(&fleet.path("nowhere"), &["group", "record", arg(&group), "--json"]).ok();
    let record = record.json()["record"].as_str().expect("a page").to_owned();
    for words in ["SEAWALL CEREMONY RECORD", "any 2 of 3", "nobody ever had the whole secret"] {
        assert!(record.contains(words), "{record}");
    }
}

#[test]
fn a_share_of_a_fleet_that_is_still_to_be_founded_answers_nothing() {
    let (fleet, folder) = opened();
    for _ in 0..3 {
        for name in THREE {
            run(&fleet.path(name), &["group", "step", arg(&folder), "--yes"]).ok();
        }
    }
    let group = fleet.path("group.json");
    run(&fleet.path("anna"), &["group", "finish", arg(&folder), "--out", arg(&group)]).ok();
    // The group goes into an existing fleet, too: its own class retires the local one.
    let found = Fleet::found();
    let (card, next) = (fleet.path("fleet.json"), fleet.path("next.json"));
    let propose = ["fleet", "policy", "propose", "--group", arg(&group), "--out", arg(&next)];
    found.run(&propose).ok();
    found.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    found.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let tree = found.tree("tree");
    let id = found.snapshot(&tree);
    let request = found.request(&found.home(), &id, "request.json");
    let shown = run(&fleet.path("bob"), &["custodian", "show", "--json"]).ok().json();
    let share = shown["shares"][0]["file"].as_str().expect("a path").to_owned();
    let out = fleet.path("answer.json");
    let approve = ["restore", "approve", arg(&request), "--share", &share, "--yes"];
    let approve = [&approve[..], &["--out", arg(&out)]].concat();
    run(&fleet.path("bob"), &approve).code(1).says(&["seawall custodian join"]);
    let other = ["custodian", "join", arg(&card), "--fleet-id", "00"];
    run(&fleet.path("bob"), &other).code(1).says(&["somebody may have replaced it"]);
    run(&fleet.path("bob"), &["custodian", "join", arg(&card), "--yes"]).ok();
    run(&fleet.path("bob"), &approve).ok();
}

#[test]
fn a_share_file_from_init_becomes_a_home_and_is_refreshed() {
    let fleet = Fleet::found();
    let card = fleet.path("fleet.json");
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let id = fleet.run(&["fleet", "show", "--json"]).ok().json()["fleet"].clone();
    let id = id.as_str().expect("an id").to_owned();
    let homes = ["c1", "c2", "c3"];
    let cards = homes.map(|name| fleet.path(&format!("{name}.json")));
    for ((name, share), out) in homes.iter().zip(fleet.shares()).zip(&cards) {
        let init = ["custodian", "init", "--share", arg(&share), "--fleet", arg(&card)];
        let more = ["--fleet-id", &id, "--out", arg(out)];
        run(&fleet.path(name), &[&init[..], &more].concat()).ok();
    }
    let folder = fleet.path("refresh");
    let mut open = vec!["group", "refresh", arg(&folder), "--from", arg(&card), "--reason", "x"];
    open.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
    run(&fleet.path("c1"), &open).ok();
    for _ in 0..2 {
        for name in homes {
            run(&fleet.path(name), &["group", "step", arg(&folder), "--yes"]).ok();
        }
    }
    let group = fleet.path("group.json");
    run(&fleet.path("c1"), &["group", "finish", arg(&folder), "--out", arg(&group)]).ok();
    let record = run(&fleet.path("c1"), &["group", "record", arg(&group)]).ok();
    assert!(record.stdout.contains("that machine saw the secret"), "a refresh does not undo that");
    let next = fleet.path("next.json");
    let propose = ["fleet", "policy", "propose", "--group", arg(&group), "--out", arg(&next)];
    fleet.run(&propose).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
}

#[test]
fn who_has_no_post_quantum_share_is_told_and_named() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let (card, next) = (fleet.path("fleet.json"), fleet.path("next.json"));
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let homes = ["c1", "new", "c3"];
    let cards = homes.map(|name| fleet.path(&format!("{name}.json")));
    for (n, (name, out)) in homes.iter().zip(&cards).enumerate() {
        let share = fleet.shares()[n].clone();
        let init: &[&str] = match *name {
            // The second one's home and share file are lost.
            "new" => &["--name", "custodian-2", "--out", arg(out)],
            _ => &["--share", arg(&share), "--out", arg(out)],
        };
        run(&fleet.path(name), &[&["custodian", "init"][..], init].concat()).ok();
        if *name != "new" {
            run(&fleet.path(name), &["custodian", "join", arg(&card), "--yes"]).ok();
        }
    }
    let folder = fleet.path("repair");
    let mut open = vec!["group", "repair", arg(&folder), "--from", arg(&card), "--reason", "x"];
    open.extend(["--lost", "custodian-2"]);
    open.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
    run(&fleet.path("c1"), &open).ok();
    for name in homes.iter().cycle().take(12) {
        run(&fleet.path(name), &["group", "step", arg(&folder), "--yes"]).ok();
    }
    let group = fleet.path("group.json");
    run(&fleet.path("c1"), &["group", "finish", arg(&folder), "--out", arg(&group)]).ok();
    decide(&fleet, &group, homes);
    let asked = fleet.request(&fleet.home(), &id, "request.json");
    // Each with the own share of the home.
    let answers = homes.map(|name| {
        let out = fleet.path(&format!("{name}-answer.json"));
        let args = ["restore", "approve", arg(&asked), "--out", arg(&out), "--yes", "--json"];
        (out.clone(), run(&fleet.path(name), &args).ok())
    });
    let warned = &answers[1].1.stderr;
    assert!(warned.contains("no post-quantum share of this snapshot"), "{warned}");
    assert!(warned.contains("custodian hand-over"), "{warned}");
    let has = answers.each_ref().map(|(_, said)| said.json()["post_quantum"] == true);
    assert_eq!(has, [true, false, true]);
    let to = fleet.path("restored");
    let (a, b) = (arg(&answers[0].0), arg(&answers[1].0));
    let args = ["restore", "run", arg(&asked), "--approval", a, "--approval", b];
    let args = [&args[..], &["--to", arg(&to)]].concat();
    let said = fleet.run(&args).code(1);
    said.says(&["1 good ones", "the answers of custodian-2 have none", "custodian hand-over"]);
    fleet.run(&[&args[..], &["--approval", arg(&answers[2].0)]].concat()).ok();
    // Whoever has no custodian's home names a share.
    let nobody = ["restore", "approve", arg(&asked), "--out", arg(&next), "--yes"];
    fleet.run(&nobody).code(2).says(&["--share names the share file"]);
}

/// Homes of custodians with a group of some class between them.
fn group_of_class(fleet: &Fleet, names: [&str; 3], threshold: &str, class: &str) -> PathBuf {
    let folder = fleet.path(&format!("ceremony-{}", names[0]));
    let card = fleet.path("before.json");
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let mut args = vec!["group", "begin", arg(&folder), "--threshold", threshold, "--reason", "x"];
    args.extend(["--class", class, "--fleet", arg(&card)]);
    let cards = names.map(|name| fleet.path(&format!("{name}.json")));
    for (name, card) in names.iter().zip(&cards) {
        let init = ["custodian", "init", "--name", name, "--out", arg(card)];
        run(&fleet.path(name), &init).ok();
        args.extend(["--card", arg(card)]);
    }
    run(&fleet.path(names[0]), &args).ok();
    for _ in 0..3 {
        for name in names {
            run(&fleet.path(name), &["group", "step", arg(&folder), "--yes"]).ok();
        }
    }
    let out = folder.with_extension("group");
    let finish = ["group", "finish", arg(&folder), "--out", arg(&out), "--json"];
    let said = run(&fleet.path(names[0]), &finish).ok().json();
    assert_eq!(said["class_number"], 2, "the first class has 1, and classes keep theirs: {said}");
    out
}

/// Puts a group into the fleet's policy and tells its custodians of the fleet.
fn decide(fleet: &Fleet, group: &Path, names: [&str; 3]) {
    let (next, card) = (fleet.path("next.json"), fleet.path("fleet.json"));
    let propose = ["fleet", "policy", "propose", "--group", arg(group), "--out", arg(&next)];
    fleet.run(&propose).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    for name in names {
        run(&fleet.path(name), &["custodian", "join", arg(&card), "--yes"]).ok();
    }
}

/// Has somebody answer a request with the newest share of their home.
fn answer(fleet: &Fleet, name: &str, request: &Path) -> (PathBuf, Said) {
    let shown = run(&fleet.path(name), &["custodian", "show", "--json"]).ok().json();
    let share = shown["shares"][0]["file"].as_str().expect("a path").to_owned();
    let out = fleet.path(&format!("{name}-answer.json"));
    let args = ["restore", "approve", arg(request), "--share", &share, "--out", arg(&out)];
    let said = run(&fleet.path(name), &[&args[..], &["--yes"]].concat());
    (out, said)
}

/// Restores `id` with these custodians' answers.
fn restores(fleet: &Fleet, id: &str, names: &[&str]) {
    let asked = fleet.request(&fleet.home(), id, &format!("{}.json", &id[..8]));
    let to = fleet.path(&format!("restored-{}", &id[..8]));
    let mut args = vec!["restore", "run", arg(&asked), "--to", arg(&to)];
    let answers: Vec<_> = names.iter().map(|name| answer(fleet, name, &asked)).collect();
    for (out, said) in &answers {
        assert_eq!(said.code, 0, "{said:?}");
        args.extend(["--approval", arg(out)]);
    }
    fleet.run(&args).ok();
}

#[test]
fn data_classes_have_groups_of_their_own() {
    let fleet = Fleet::found_with(&["--canary"]);
    let customers = ["anna", "bob", "carla"];
    decide(&fleet, &group_of_class(&fleet, customers, "3", "customers"), customers);
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).expect("made");
    std::fs::write(tree.join("file"), "content").expect("written");
    let snapshot = |class: &[&str]| {
        let args = [&["snapshot", "create", arg(&tree), "--json"], class].concat();
        fleet.run(&args).ok().json()["id"].as_str().expect("an id").to_owned()
    };
    // A set that names no class goes to those of whom it takes the most.
    let (unnamed, named) = (snapshot(&[]), snapshot(&["--class", "default"]));
    let plan = fleet.run(&["restore", "plan", "--json"]).code(3).json();
    assert_eq!(plan["groups"].as_array().map(Vec::len), Some(3), "{plan}");
    let request = fleet.request(&fleet.home(), &unnamed, "unnamed.json");
    let out = fleet.path("x.json");
    let share = fleet.shares()[0].clone();
    let approve = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes"];
    let said = fleet.run(&[&approve[..], &["--out", arg(&out)]].concat()).code(1);
    said.says(&["the snapshot needs"]);
    restores(&fleet, &unnamed, &customers);
    let request = fleet.request(&fleet.home(), &named, "named.json");
    let (_, said) = answer(&fleet, "anna", &request);
    said.code(1).says(&["the snapshot needs"]);
    fleet.restore(&fleet.home(), &named, &fleet.path("named")).ok();

    // As many shares of the customers' as it takes may be stolen: new people, a new key. What was
    // sealed before opens with the old ones, what comes only with the new, other classes as ever.
    let new = ["dora", "emil", "fritz"];
    decide(&fleet, &group_of_class(&fleet, new, "3", "customers"), new);
    std::fs::write(tree.join("file"), "newer content").expect("written");
    let later = snapshot(&["--class", "customers"]);
    let also_later = snapshot(&[]);
    let request = fleet.request(&fleet.home(), &later, "later.json");
    let (_, said) = answer(&fleet, "anna", &request);
    said.code(1).says(&["the snapshot needs"]);
    restores(&fleet, &later, &new);
    restores(&fleet, &also_later, &new);
    let request = fleet.request(&fleet.home(), &unnamed, "old.json");
    let (_, said) = answer(&fleet, "dora", &request);
    said.code(1).says(&["the snapshot needs"]);
    fleet.run(&["drill", "canary"]).code(1).says(&["no canary is known here"]);
    let classes = fleet.run(&["fleet", "policy", "show", "--json"]).ok().json();
    let retired = classes["groups"].as_array().expect("a list").iter();
    assert_eq!(retired.filter(|g| g["retired"] == true).count(), 1, "{classes}");
}

#[test]
fn a_record_that_no_custodian_signed_is_no_group() {
    let fleet = Fleet::found();
    let names = ["anna", "bob", "carla"];
    let group = group_of_class(&fleet, names, "2", "customers");
    let bytes = std::fs::read(&group).expect("readable");
    let file: Value = serde_json::from_slice(&bytes).expect("JSON");
    let payload = file["result"]["payload"].as_str().expect("base64");
    let statement = BASE64.decode(payload).expect("base64");
    let statement: Value = serde_json::from_slice(&statement).expect("a statement");
    let (bare, next) = (fleet.path("bare.json"), fleet.path("next.json"));
    let propose = |record: &Value| {
        std::fs::write(&bare, record.to_string()).expect("written");
        let args = ["fleet", "policy", "propose", "--group", arg(&bare), "--out", arg(&next)];
        fleet.run(&args)
    };
    let record = statement["predicate"]["record"].clone();
    propose(&record).code(1).says(&["a record that nobody has signed", "group begin"]);
    decide(&fleet, &group, names);
    // Of a group that the fleet has, it may say where somebody is reached, and nothing else.
    let mut addressed = record.clone();
    let transport = addressed["custodians"][1]["signing_key"].clone();
    addressed["custodians"][0]["endpoint"] =
        serde_json::json!({ "address": "custodian.example:7444", "transport": transport });
    propose(&addressed).ok();
    for (field, value, word) in [
        ("threshold", Value::from(1), "not a sound escrow group"),
        ("ceremony", "local".into(), "without the word of its custodians"),
    ] {
        let mut changed = record.clone();
        changed[field] = value;
        propose(&changed).code(1).says(&[word]);
    }
    let mut swapped = record.clone();
    swapped["custodians"][0]["signing_key"] = transport;
    propose(&swapped).code(1);
    // A card is of a custodian, or of nobody.
    let stranger = fleet.path("stranger.json");
    let init = ["custodian", "init", "--name", "eve", "--out", "-"];
    run(&fleet.path("eve"), &init).ok();
    let card = ["custodian", "card", "--address", "eve.example:1", "--out", arg(&stranger)];
    run(&fleet.path("eve"), &card).ok();
    let args = ["fleet", "policy", "propose", "--endpoint", arg(&stranger), "--out", arg(&next)];
    fleet.run(&args).code(1).says(&["is no custodian of this fleet"]);
    let without = fleet.path("anna.json");
    let args = ["fleet", "policy", "propose", "--endpoint", arg(&without), "--out", arg(&next)];
    fleet.run(&args).code(1).says(&["--address"]);
}
