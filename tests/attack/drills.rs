//! A node that seals something else than it should, and people who would have a drill say something
//! else than it did.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall_base::FleetId;
use seawall_sync::Report;
use serde_json::value::RawValue;

use super::stopped;
use crate::harness::{Fleet, Said, arg, copy, run};

fn seal(fleet: &Fleet, tree: &Path) {
    fleet.run(&["snapshot", "create", arg(tree), "--class", "canary"]).ok();
}

/// A stolen node shows its own files to whoever looks and seals garbage. Objects, totals, reference
/// set, signatures and log are all as they should be.
#[test]
fn a_node_signs_a_garbage_snapshot() {
    let fleet = Fleet::found_with(&["--canary"]);
    let tree = fleet.tree("tree");
    let (good, bad) = (fleet.path("good"), fleet.path("bad"));
    copy(&tree, &bad);
    let file = bad.join("sub/deeper/long.bin");
    let mtime = fs::metadata(&file).and_then(|m| m.modified()).expect("a time");
    let garbage = vec![0; 5 << 20];
    fs::write(&file, garbage).expect("written");
    fs::File::options().write(true).open(&file).and_then(|f| f.set_modified(mtime)).expect("set");
    std::thread::sleep(Duration::from_millis(2_100));
    fs::rename(&tree, &good).expect("moved away");
    fs::rename(&bad, &tree).expect("moved in");
    seal(&fleet, &tree);
    fs::rename(&tree, &bad).expect("moved out");
    fs::rename(&good, &tree).expect("moved back");
    fleet.run(&["verify"]).ok();
    fleet.run(&["log", "verify"]).ok();
    let said = fleet.run(&["drill", "canary", "--against", arg(&tree), "--json"]).code(1);
    let finding = said.json()["findings"].to_string();
    assert!(finding.contains("long.bin") && finding.contains("content differs"), "{finding}");
    stopped(said.json()["findings"][0].as_str().expect("a finding"));
}

/// A stolen node seals a link to the live tree in place of the tree. Whoever compares through the
/// link compares the live tree with itself.
#[test]
fn a_node_signs_a_link_in_place_of_the_tree() {
    let fleet = Fleet::found_with(&["--canary"]);
    let tree = fleet.tree("tree");
    let real = fleet.path("real");
    fs::rename(&tree, &real).expect("moved away");
    std::os::unix::fs::symlink(&real, &tree).expect("linked");
    // It is told by the way, to whoever did not mean it.
    let made = fleet.run(&["snapshot", "create", arg(&tree), "--class", "canary"]).ok();
    assert!(made.stderr.contains("the directory it points to is not read"), "{}", made.stderr);
    let against = ["drill", "canary", "--against", arg(&tree), "--json"];
    let said = fleet.run(&against).code(1);
    let finding = said.json()["findings"].to_string();
    assert!(finding.contains("is a symbolic link"), "{finding}");
    stopped(said.json()["findings"][0].as_str().expect("a finding"));
}

/// A fleet with two published reports, the first passed, the second failed; their paths.
fn published() -> (Fleet, [PathBuf; 2]) {
    let fleet = Fleet::found_with(&["--canary"]);
    seal(&fleet, &fleet.tree("tree"));
    let report = |said: Said| PathBuf::from(said.json()["report"].as_str().expect("a path"));
    let good = report(fleet.run(&["drill", "canary", "--json"]).ok());
    let bad = report(fleet.run(&["drill", "canary", "--check", "false", "--json"]).code(1));
    (fleet, [good, bad])
}

fn id_of(fleet: &Fleet) -> String {
    let shown = fleet.run(&["fleet", "show", "--json"]).ok().json();
    shown["fleet"].as_str().expect("an id").to_owned()
}

/// A report by its parts, each as it is spelled.
type Parts = BTreeMap<String, Box<RawValue>>;

/// Writes a forged report and has a stranger check it.
fn check(fleet: &Fleet, report: &Parts) -> Said {
    let forged = fleet.path("forged.json");
    fs::write(&forged, serde_json::to_vec(report).expect("JSON")).expect("written");
    let id = id_of(fleet);
    run(&fleet.path("stranger"), &["report", "verify", arg(&forged), "--fleet", &id])
}

fn read(path: &Path) -> Parts {
    serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON")
}

#[test]
fn a_failed_drill_is_told_as_a_passed_one() {
    let (fleet, [good, bad]) = published();
    let (passed, failed) = (read(&good), read(&bad));
    check(&fleet, &passed).ok();
    // Other words.
    let mut forged = failed.clone();
    let words = forged["details"].get().replace("FAILED", "PASSED");
    forged.insert("details".to_owned(), RawValue::from_string(words).expect("JSON"));
    let said = check(&fleet, &forged).code(1).says(&["not those that were signed"]);
    stopped(&said.stderr);
    // Words and signatures of a drill that passed, in the place of one that failed.
    for parts in [
        &["details"][..],
        &["statement"],
        &["statement", "details"],
        &["statement", "details", "entry"],
        &["inclusion"],
        &["checkpoint"],
    ] {
        let mut forged = failed.clone();
        for part in parts {
            forged.insert((*part).to_owned(), passed[*part].clone());
        }
        let said = check(&fleet, &forged).code(1).says(&["must not be believed"]);
        stopped(&said.stderr);
    }
}

#[test]
fn a_report_with_the_policies_of_before_its_node_was_revoked() {
    let (fleet, _) = published();
    let _region = fleet.region("region");
    fleet.run(&["sync"]).ok();
    let second = fleet.second_node("site-b");
    copy(&fleet.path("node-1-canary"), &fleet.path("site-b-canary"));
    let said = run(&second, &["drill", "canary", "--elsewhere", "--json"]).ok().json();
    let report = PathBuf::from(said["report"].as_str().expect("a path"));
    let site = fleet.path("site");
    run(&second, &["report", "publish", "--to", arg(&site)]).ok();
    fleet.run(&["report", "publish", "--to", arg(&site)]).ok();
    let next = fleet.path("next.json");
    let revoke = ["fleet", "policy", "propose", "--revoke", "site-b", "--reason", "stolen"];
    fleet.run(&[&revoke[..], &["--keep-entries", "1", "--out", arg(&next)]].concat()).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    // A stranger who has the id alone cannot know better; what it was judged by is said.
    let id = id_of(&fleet);
    let args = ["report", "verify", arg(&report), "--fleet", &id, "--json"];
    assert_eq!(run(&fleet.path("stranger"), &args).ok().json()["policy"], 1);
    let said = fleet.run(&["report", "publish", "--to", arg(&site)]).code(1);
    stopped(&said.says(&["its node was revoked before it wrote this"]).stderr);
}

#[test]
fn another_fleet_of_the_same_name_vouches_for_itself() {
    let (fleet, _) = published();
    let (other, [good, _]) = published();
    assert_ne!(id_of(&fleet), id_of(&other));
    let said = check(&fleet, &read(&good)).code(1).says(&["must not be believed"]);
    stopped(&said.stderr);
}

#[test]
fn a_bit_of_a_report_is_flipped() {
    let (fleet, [good, _]) = published();
    let pinned = FleetId::from_hex(&id_of(&fleet)).expect("an id");
    let bytes = fs::read(good).expect("there");
    let before = Report::parse(&bytes).expect("parses").verify(pinned).expect("genuine");
    let mut refused = String::new();
    for at in (0..bytes.len()).step_by(17) {
        let mut forged = bytes.clone();
        forged[at] ^= 1 << (at % 7);
        match Report::parse(&forged).and_then(|r| r.verify(pinned)) {
            Err(e) => refused = e.to_string(),
            Ok(after) => {
                // White space between the statements, or a signature line nobody knows.
                assert_eq!(after.details, before.details, "byte {at}");
                assert_eq!(after.drill, before.drill, "byte {at}");
            }
        }
    }
    stopped(&refused);
}
