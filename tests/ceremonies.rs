//! Ceremonies by the real program: killed on their way, and what they leave on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Fleet, arg, end, run, start};

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
