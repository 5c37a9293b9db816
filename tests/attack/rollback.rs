//! The only region is set back to an older state of a log, or shows a shorter one that never was, to
//! a node that has seen more.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, Region, Said, arg, assert_same, copy, restored, run};

/// A small tree of its own.
fn small_tree(fleet: &Fleet, n: u8) -> PathBuf {
    let tree = fleet.path(&format!("small-{n}"));
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("file"), vec![n; 3_000]).expect("written");
    tree
}

fn request(fleet: &Fleet, home: &Path, id: &str, more: &[&str]) -> Said {
    let out = fleet.path("asked.json");
    let args = ["restore", "request", id, "--reason", "a test", "--out", arg(&out)];
    run(home, &[&args[..], more].concat())
}

/// A fleet whose second node has seen more than the only region shows, and two snapshots, of which the
/// region has the first.
struct Lagging {
    fleet: Fleet,
    region: Region,
    second: PathBuf,
    old: PathBuf,
    home_then: PathBuf,
    tree: PathBuf,
    ids: [String; 2],
}

impl Lagging {
    fn new() -> Self {
        let fleet = Fleet::found();
        let mut region = fleet.region("region-a");
        let second = fleet.second_node("node-2");
        let tree = small_tree(&fleet, 1);
        let first = fleet.snapshot(&tree);
        fleet.run(&["sync"]).ok();
        let (old, home_then) = (fleet.path("old-region"), fleet.path("home-then"));
        region.stop();
        copy(&region.home, &old);
        copy(&fleet.home(), &home_then);
        region.resume();
        let later = fleet.snapshot(&small_tree(&fleet, 2));
        fleet.snapshot(&small_tree(&fleet, 3));
        fleet.run(&["sync"]).ok();
        run(&second, &["snapshot", "list", "--all"]).ok();
        let mut it = Self { fleet, region, second, old, home_then, tree, ids: [first, later] };
        it.roll_back();
        it
    }

    fn roll_back(&mut self) {
        self.region.stop();
        fs::remove_dir_all(&self.region.home).expect("removed");
        copy(&self.old, &self.region.home);
        self.region.resume();
    }
}

#[test]
fn what_a_rolled_back_region_still_shows_can_be_asked_for_by_breaking_the_glass() {
    let it = Lagging::new();
    let (fleet, second) = (&it.fleet, &it.second);
    let said = run(second, &["snapshot", "list", "--all", "--json"]).code(1);
    let list = said.says(&["rolled back", "it shows 3 entries where 5 were seen before"]).json();
    assert_eq!(
        (list.as_array().map(Vec::len), &list[0]["id"]),
        (Some(1), &Value::from(&*it.ids[0]))
    );
    request(fleet, second, &it.ids[1], &["--break-glass"]).code(1).says(&["no snapshot"]);
    let said = request(fleet, second, &it.ids[0], &[]).code(1);
    stopped(&said.says(&["rolled back", "--break-glass"]).stderr);
    request(fleet, second, &it.ids[0], &["--break-glass"]).ok().says(&["BREAK-GLASS"]);

    let asked = fleet.path("asked.json");
    let mut approvals = Vec::new();
    for n in 0..2 {
        let (out, share) = (fleet.path(&format!("says-{n}")), fleet.shares()[n].clone());
        let args = ["restore", "approve", arg(&asked), "--share", arg(&share), "--yes"];
        let said = run(&fleet.path("nowhere"), &[&args[..], &["--out", arg(&out)]].concat()).ok();
        let told = said.stdout + &said.stderr;
        assert!(told.contains("BREAK-GLASS: the requester has seen a newer history"), "{told}");
        assert!(told.contains("entries where 5 were seen before"), "{told}");
        approvals.push(out);
    }
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&asked), "--to", arg(&to)];
    let with = ["--approval", arg(&approvals[0]), "--approval", arg(&approvals[1])];
    run(second, &[&args[..], &with].concat()).ok().says(&["BREAK-GLASS"]);
    assert_same(&it.tree, &restored(&to, &it.tree));
}

#[test]
fn a_shorter_copy_of_another_history_is_refused_with_or_without_glass() {
    let it = Lagging::new();
    let (fleet, second) = (&it.fleet, &it.second);
    // Whoever has a copy of the node's home goes on from there, with fewer entries than were seen.
    let other =
        run(&it.home_then, &["snapshot", "create", arg(&small_tree(fleet, 4)), "--json"]).ok();
    let other = other.json()["id"].as_str().expect("an id").to_owned();
    run(&it.home_then, &["sync"]).ok();
    let said = run(second, &["snapshot", "list", "--all", "--json"]).code(1);
    let said = said.says(&["forked", "evidence/"]);
    stopped(&said.stderr);
    assert_eq!(said.json(), Value::Array(Vec::new()));
    for id in [&it.ids[0], &other] {
        request(fleet, second, id, &["--break-glass"]).code(1).says(&["forked", "no snapshot"]);
    }
    let kept = second.join("evidence").read_dir().expect("written");
    for file in kept {
        let path = file.expect("readable").path();
        let said = run(&fleet.path("nowhere"), &["log", "evidence", "verify", arg(&path)]).ok();
        assert!(said.stdout.contains("PROVEN: the log forked"), "{}", said.stdout);
    }
}
