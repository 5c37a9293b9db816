//! Regions set up anew or put back, receipts that are spoilt, buckets that are not mounted,
//! notes that are damaged: each is named, and none stands between a node and its data.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Fleet, Region, Said, arg, copy, free_address, run};

/// A small tree of its own.
fn small(fleet: &Fleet, n: u8) -> PathBuf {
    let tree = fleet.path(&format!("small-{n}"));
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("file"), vec![n; 3_000]).expect("written");
    tree
}

/// The files below a directory of receipts whose names end so.
fn receipts(home: &Path, end: &str) -> Vec<PathBuf> {
    let dir = home.join("receipts/region-a").read_dir().expect("receipts");
    let mut files: Vec<_> = dir.map(|it| it.expect("readable").path()).collect();
    files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(end)));
    files
}

/// Sets up a region of this name in the directory `dir` and returns it, not running, and its card.
fn set_up(fleet: &Fleet, name: &str, dir: &str) -> (PathBuf, String, PathBuf) {
    let (card, listen) = (fleet.path("fleet-card.json"), free_address());
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    let (home, out) = (fleet.path(dir), fleet.path(&format!("{dir}-card.json")));
    let args = ["region", "init", "--fleet", arg(&card), "--name", name];
    run(&home, &[&args[..], &["--listen", &listen, "--out", arg(&out)]].concat()).ok();
    (home, listen, out)
}

fn request(fleet: &Fleet, home: &Path, id: &str, more: &[&str]) -> Said {
    let out = fleet.path("asked.json");
    let args = ["restore", "request", id, "--reason", "a test", "--out", arg(&out)];
    run(home, &[&args[..], more].concat())
}

#[test]
fn a_region_set_up_anew_takes_the_place_of_the_old_one_only_by_word_and_is_filled() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let id = fleet.snapshot(&small(&fleet, 1));
    assert_eq!(fleet.run(&["sync", "--json"]).ok().json()[0]["receipts"], 1);
    let regions = || fleet.run(&["fleet", "show", "--json"]).ok().json()["regions"].clone();
    region.kill();
    let (home, listen, card) = set_up(&fleet, "region-a", "region-new");
    let before = regions();
    let said = fleet.run(&["fleet", "adopt", arg(&card)]).code(1);
    said.says(&["region-a at ", &region.address(), "another key", "--replace"]);
    assert_eq!(regions(), before);
    // The same one again, perhaps at another address, needs no word.
    fleet.run(&["fleet", "adopt", arg(&fleet.path("region-a-card.json"))]).ok();
    let said = fleet.run(&["fleet", "adopt", arg(&card), "--replace", "--json"]).ok().json();
    assert_eq!(said["replaces"], before[0]["identity"]);
    assert_ne!(regions(), before);

    // Receipts of the first enrolment count no longer, and stop nothing.
    let list = fleet.run(&["snapshot", "list", "--json"]).ok().says(&["counts for nothing"]);
    assert_eq!(list.json()[0]["receipts"], Value::Array(Vec::new()));
    fleet.run(&["verify"]).ok();
    request(&fleet, &fleet.home(), &id, &[]).ok();
    let _region = Region::start(home, listen);
    assert_eq!(fleet.run(&["sync", "--json"]).ok().json()[0]["receipts"], 1);
    assert_eq!(receipts(&fleet.home(), ".receipt.set-aside").len(), 1);
    let said = fleet.run(&["snapshot", "list", "--json"]).ok();
    assert_eq!(said.json()[0]["receipts"][0], "region-a");
    assert!(!said.stderr.contains("for nothing"), "{}", said.stderr);
}

#[test]
fn a_spoilt_receipt_is_named_and_stops_nothing() {
    let fleet = Fleet::found();
    let _region = fleet.region("region-a");
    let id = fleet.snapshot(&small(&fleet, 1));
    let flipped = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let spoils: [&dyn Fn(Vec<u8>) -> Vec<u8>; 3] =
        [&|_| Vec::new(), &|bytes| bytes[..40].to_vec(), &flipped];
    for (n, spoil) in spoils.into_iter().enumerate() {
        assert_eq!(fleet.run(&["sync", "--json"]).ok().json()[0]["receipts"], 1, "{n}");
        let file = receipts(&fleet.home(), ".receipt")[0].clone();
        fs::write(&file, spoil(fs::read(&file).expect("read"))).expect("written");
        let list = fleet.run(&["snapshot", "list", "--json"]).ok();
        let list = list.says(&["counts for nothing", "seawall sync"]);
        assert_eq!(list.json()[0]["receipts"], Value::Array(Vec::new()), "{n}");
        request(&fleet, &fleet.home(), &id, &[]).ok();
        fleet.run(&["verify"]).code(1).says(&["a receipt is damaged"]);
    }
    fleet.run(&["sync"]).ok();
    fleet.run(&["verify"]).ok();
}

#[test]
fn a_region_whose_enrolment_does_not_hold_is_passed_over_and_named() {
    let (fleet, other) = (Fleet::found(), Fleet::found());
    let _region = fleet.region("region-a");
    let id = fleet.snapshot(&small(&fleet, 1));
    fleet.run(&["sync"]).ok();
    let (_, _, card) = set_up(&other, "region-b", "region-b");
    other.run(&["fleet", "adopt", arg(&card)]).ok();
    let file = fleet.home().join("regions/region-b.json");
    for content in [fs::read(other.home().join("regions/region-b.json")).expect("there"), vec![]] {
        fs::write(&file, content).expect("written");
        let named = ["regions/region-b.json", "passed over", "seawall fleet adopt"];
        fleet.run(&["snapshot", "list"]).ok().says(&named);
        fleet.run(&["snapshot", "list", "--all"]).ok().says(&named);
        fleet.run(&["verify"]).ok().says(&named);
        fleet.run(&["fleet", "show"]).ok().says(&named);
        request(&fleet, &fleet.home(), &id, &[]).ok().says(&named);
        let said = fleet.run(&["sync", "--json"]).code(1).says(&named).json();
        assert_eq!((&said[0]["ok"], &said[1]["ok"]), (&true.into(), &false.into()), "{said}");
        assert_eq!(said[1]["id"], "region-b");
    }
}

#[test]
fn a_bucket_that_is_not_mounted_is_not_made_anew() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (bucket, away) = (elsewhere.path().join("nas"), elsewhere.path().join("away"));
    let fleet = Fleet::found_with(&["--profile", "solo", "--bucket", arg(&bucket)]);
    fleet.snapshot(&small(&fleet, 1));
    // Reading makes none, also where nothing was sent yet.
    fleet.run(&["snapshot", "list", "--all"]).ok();
    assert!(!bucket.exists());
    fleet.run(&["sync"]).ok();
    fleet.run(&["sync"]).ok();

    fs::rename(&bucket, &away).expect("unmounted");
    let named = [arg(&bucket), "empty or not there", "entries of this node's log", "--new-bucket"];
    fleet.run(&["sync"]).code(1).says(&named);
    fleet.run(&["verify", "--bucket"]).code(1).says(&named);
    fleet.run(&["snapshot", "list", "--all"]).code(3).says(&named);
    let key = fleet.path("root-key.json");
    fleet.run(&["fleet", "root-key", "--out", arg(&key)]).ok();
    let args = ["fleet", "recover", "--root-key", arg(&key), "--bucket", arg(&bucket)];
    run(&fleet.path("nobody"), &args).code(1).says(&["holds no fleet"]);
    assert!(!bucket.exists(), "nobody made it");
    // A mount point that is empty is no bucket either.
    fs::create_dir(&bucket).expect("a directory");
    fleet.run(&["sync"]).code(1).says(&named);
    assert_eq!(bucket.read_dir().expect("there").count(), 0);
    fs::remove_dir(&bucket).expect("removed");
    fs::rename(&away, &bucket).expect("mounted");
    fleet.run(&["sync"]).ok();

    // Meant to be new, it is filled.
    fs::remove_dir_all(&bucket).expect("removed");
    fleet.run(&["sync"]).code(1).says(&named);
    let said = fleet.run(&["sync", "--new-bucket", "--json"]).ok().json();
    assert_eq!(said[0]["snapshots"], 1);
    fleet.run(&["sync"]).ok();
    fleet.run(&["verify", "--bucket"]).ok();
    // Whoever recovered from it has seen that it held something.
    let new = fleet.path("new");
    run(&new, &args).ok();
    fs::rename(&bucket, &away).expect("unmounted");
    run(&new, &["sync"]).code(1).says(&["held this fleet's data", "--new-bucket"]);
    assert!(!bucket.exists());
}

#[test]
fn damaged_notes_of_a_home_are_named_with_the_remedy_or_made_anew() {
    let fleet = Fleet::found();
    let _region = fleet.region("region-a");
    let second = fleet.second_node("node-2");
    fleet.snapshot(&small(&fleet, 1));
    fleet.run(&["sync"]).ok();
    run(&second, &["snapshot", "list", "--all"]).ok();
    let pins = || {
        let pins = second.join("pins").read_dir().expect("pins");
        let mut pins: Vec<_> = pins.map(|it| it.expect("readable").path()).collect();
        pins.retain(|path| path.extension().is_some_and(|end| end == "checkpoint"));
        pins
    };
    let pin = pins()[0].clone();
    fs::write(&pin, "").expect("written");
    let name = pin.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    run(&second, &["snapshot", "list", "--all"]).code(1).says(&[&name, "remove it"]);
    fs::remove_file(&pin).expect("removed");
    run(&second, &["snapshot", "list", "--all"]).ok();

    let key = fleet.home().join("keys/token.key");
    let good = fs::read(&key).expect("a key");
    fs::write(&key, &good[..20]).expect("written");
    fleet.run(&["snapshot", "list", "--all"]).ok();
    fleet.run(&["sync"]).ok().says(&["keys/token.key", "is made anew"]);
    assert_eq!(fs::read(&key).expect("a key").len(), good.len());
    let said = fleet.run(&["sync"]).ok();
    assert!(!said.stderr.contains("token.key"), "{}", said.stderr);
}

#[test]
fn a_region_put_back_from_its_keys_hosts_a_fleet_again() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    fleet.snapshot(&small(&fleet, 1));
    fleet.run(&["sync"]).ok();
    region.stop();
    let saved = fleet.path("saved");
    fs::create_dir(&saved).expect("a directory");
    for kept in ["keys", "region.json"] {
        copy(&region.home.join(kept), &saved.join(kept));
    }
    fs::remove_dir_all(&region.home).expect("lost");
    copy(&saved, &region.home);
    region.resume();
    fleet.run(&["sync"]).code(1).says(&["is not hosted here"]);
    region.stop();
    let card = fleet.path("fleet-card.json");
    let add = |more: &[&str]| {
        run(&region.home, &[&["region", "add-fleet", arg(&card)][..], more].concat()).ok()
    };
    assert_eq!(add(&["--json"]).json()["new"], true);
    assert!(add(&[]).stdout.contains("already"));
    region.resume();
    fleet.run(&["sync"]).ok();
    region.stop();
    run(&region.home, &["verify"]).ok();
}

#[test]
fn a_request_counts_the_regions_that_the_list_counts() {
    let fleet = Fleet::found();
    let _region = fleet.region("region-a");
    let second = fleet.second_node("node-2");
    let id = fleet.snapshot(&small(&fleet, 1));
    fleet.run(&["sync"]).ok();
    for home in [fleet.home(), second] {
        let shown = run(&home, &["snapshot", "show", &id, "--json"]).ok().json();
        assert_eq!(shown["witnessed"]["level"], "1", "{shown}");
        let asked = request(&fleet, &home, &id, &["--json"]).ok().json();
        assert_eq!(asked["witnessed"], shown["witnessed"]);
    }
}
