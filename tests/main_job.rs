//! The main job: seal a tree, replicate it, restore it by quorum.

use crate::harness::{Fleet, arg, assert_same, restored, run};

#[test]
fn a_tree_comes_back_from_the_own_store() {
    let fleet = Fleet::found();
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let to = fleet.path("restored");
    let said = fleet.restore(&fleet.home(), &id, &to).ok();
    assert_eq!(said.json()["files"], 4);
    assert_same(&tree, &restored(&to, &tree));
    fleet.run(&["verify"]).ok();
    fleet.run(&["log", "verify"]).ok();
}

#[test]
fn a_second_node_restores_from_the_region_alone() {
    let fleet = Fleet::found();
    let region = fleet.region("region");
    let second = fleet.second_node("node-2");
    let tree = fleet.tree("tree");
    let id = fleet.snapshot(&tree);
    let sync = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(sync[0]["receipts"], 1);
    std::fs::remove_dir_all(fleet.home()).expect("node-1's disk is destroyed");
    let list = run(&second, &["snapshot", "list", "--all", "--json"]).ok().json();
    assert_eq!(list[0]["id"], id.as_str());
    let to = fleet.path("restored");
    fleet.restore(&second, &id, &to).ok();
    assert_same(&tree, &restored(&to, &tree));
    drop(region);
    run(&fleet.path("region"), &["verify"]).ok();
}

#[test]
fn one_approval_is_not_two() {
    let fleet = Fleet::found();
    let id = fleet.snapshot(&fleet.tree("tree"));
    let request = fleet.request(&fleet.home(), &id, "request.json");
    let one = fleet.approve(&request, 0, "one.json");
    let same = fleet.approve(&request, 0, "same.json");
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--to", arg(&to), "--approval", arg(&one)];
    fleet.run(&args).code(1).says(&["needs 2 custodians", "1 have answered"]);
    let twice = [&args[..], &["--approval", arg(&same)]].concat();
    fleet.run(&twice).code(1).says(&["needs 2 custodians"]);
    assert!(!to.exists(), "nothing is written without a quorum");
}
