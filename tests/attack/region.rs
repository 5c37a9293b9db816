//! Regions that roll back, lose, lie about or impersonate; nodes that come back from the past;
//! strangers at a region's door.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stopped;
use crate::harness::{
    Fleet, Region, arg, assert_same, copy, free_address, noise_of, restored, run,
};

/// A fleet with a region and a second node.
struct Three {
    fleet: Fleet,
    region: Region,
    second: PathBuf,
}

impl Three {
    fn new() -> Self {
        let fleet = Fleet::found();
        let region = fleet.region("region");
        let second = fleet.second_node("node-2");
        Self { fleet, region, second }
    }

    /// A tree of its own bytes, in a snapshot.
    fn snapshot(&self, seed: u64) -> (PathBuf, String) {
        let tree = self.fleet.path(&format!("tree-{seed}"));
        std::fs::create_dir(&tree).expect("a directory");
        for i in 0..4 {
            std::fs::write(tree.join(format!("{i}")), noise_of(seed << 8 | i, 400_000))
                .expect("written");
        }
        let id = self.fleet.snapshot(&tree);
        (tree, id)
    }

    fn sync(&self) -> Value {
        let synced = self.fleet.run(&["sync", "--json"]).ok().json();
        synced[0].clone()
    }

    /// The ids that the second node sees in the region.
    fn seen(&self) -> Vec<String> {
        ids(&run(&self.second, &["snapshot", "list", "--all", "--json"]).ok().json())
    }

    /// Replaces the region's home by `make` while it is stopped.
    fn meanwhile(&mut self, make: impl FnOnce(&Path)) {
        self.region.stop();
        make(&self.region.home);
        self.region.resume();
    }

    fn restores_from_the_region(&self, tree: &Path, id: &str) {
        let to = self.fleet.path(&format!("restored-{}", &id[..8]));
        self.fleet.restore(&self.second, id, &to).ok();
        assert_same(tree, &restored(&to, tree));
    }
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("an array").iter();
    list.map(|s| s["id"].as_str().expect("an id").to_owned()).collect()
}

fn replace(home: &Path, by: &Path) {
    std::fs::remove_dir_all(home).expect("removed");
    copy(by, home);
}

/// Removes every tenant's zones.
fn lose_zones(home: &Path) {
    for tenant in home.join("tenants").read_dir().expect("tenants") {
        std::fs::remove_dir_all(tenant.expect("readable").path().join("zones")).expect("removed");
    }
}

#[test]
fn a_region_rolled_back_is_named_by_who_saw_more_and_filled_again_by_who_has_it() {
    let mut it = Three::new();
    let (_, first) = it.snapshot(1);
    it.sync();
    let old = it.fleet.path("old-region");
    it.meanwhile(|home| copy(home, &old));
    let (tree, second) = it.snapshot(2);
    it.sync();
    assert_eq!(it.seen(), [first.clone(), second.clone()]);
    it.meanwhile(|home| replace(home, &old));
    for _ in 0..2 {
        let said = run(&it.second, &["snapshot", "list", "--all"]).code(1);
        let said = said.says(&["region, log", "rolled back", "compare with another region"]);
        stopped(&said.stderr);
    }
    // What is here can still be listed.
    run(&it.second, &["snapshot", "list"]).ok();
    it.sync();
    assert_eq!(it.seen(), [first, second.clone()]);
    it.restores_from_the_region(&tree, &second);
    it.region.stop();
    run(&it.region.home, &["verify"]).ok();
}

#[test]
fn a_region_that_lost_its_zones_is_challenged_and_filled_again() {
    let mut it = Three::new();
    let (tree, id) = it.snapshot(1);
    let sent = it.sync()["sent_objects"].as_u64().expect("a number");
    it.meanwhile(lose_zones);
    let again = it.sync();
    assert_eq!(again["ok"], true);
    let sent_again = again["sent_objects"].as_u64().expect("a number");
    assert!(sent_again >= sent, "{again}, first {sent}");
    stopped(&format!("challenges it could not answer; {sent_again} objects were sent again"));
    it.restores_from_the_region(&tree, &id);
    it.region.stop();
    run(&it.region.home, &["verify"]).ok();
}

#[test]
fn receipts_of_an_earlier_incarnation_do_not_count() {
    let mut it = Three::new();
    let (tree, id) = it.snapshot(1);
    assert_eq!(it.sync()["receipts"], 1);
    assert_eq!(it.sync()["receipts"], 0);
    it.meanwhile(|home| {
        lose_zones(home);
        let path = home.join("region.json");
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        config["incarnation"] = "11".repeat(32).into();
        std::fs::write(&path, config.to_string()).expect("written");
    });
    assert_eq!(it.sync()["receipts"], 1);
    it.restores_from_the_region(&tree, &id);
    it.fleet.run(&["verify"]).ok();
}

#[test]
fn a_region_without_its_mirrors_gets_them_again() {
    let mut it = Three::new();
    let (tree, id) = it.snapshot(1);
    it.sync();
    it.meanwhile(|home| {
        for fleet in home.join("fleets").read_dir().expect("fleets") {
            std::fs::remove_dir_all(fleet.expect("readable").path().join("logs")).expect("removed");
        }
    });
    it.sync();
    assert_eq!(it.seen(), std::slice::from_ref(&id));
    it.restores_from_the_region(&tree, &id);
}

#[test]
fn another_machine_at_the_regions_address_is_not_trusted() {
    let mut it = Three::new();
    let (_, id) = it.snapshot(1);
    it.sync();
    it.region.stop();
    let (card, home) = (it.fleet.path("fleet-card.json"), it.fleet.path("impostor"));
    let out = it.fleet.path("impostor-card.json");
    let address = it.region.address();
    let args = ["region", "init", "--fleet", arg(&card), "--name", "region"];
    run(&home, &[&args[..], &["--listen", &address, "--out", arg(&out)]].concat()).ok();
    let impostor = Region::start(home.clone(), address.clone());
    let (_, newer) = it.snapshot(2);
    let said = it.fleet.run(&["sync", "--json"]).code(1);
    let said = said.says(&["region", &address, "not trusted", "pins", "nothing was sent"]);
    stopped(&said.stderr);
    assert_eq!(said.json()[0]["ok"], false);
    let said = it.fleet.run(&["snapshot", "list", "--all", "--json"]).code(3);
    assert_eq!(ids(&said.json()), [id, newer]);
    said.says(&["warning", "not trusted"]);
    drop(impostor);
    assert!(!home.join("tenants").exists(), "nothing was sent");
}

#[test]
fn a_node_from_an_old_backup_is_told_so_and_overwrites_nothing() {
    let it = Three::new();
    it.snapshot(1);
    it.sync();
    let old = it.fleet.path("old-node");
    copy(&it.fleet.home(), &old);
    let (tree, newest) = it.snapshot(2);
    it.sync();
    let seen = it.seen();
    replace(&it.fleet.home(), &old);
    let say = ["region", "restored from an old copy", "node epoch begin"];
    let said = it.fleet.run(&["sync"]).code(1).says(&say);
    stopped(&said.stderr);
    // A fork: the old copy goes on by itself and is refused all the same.
    it.snapshot(3);
    it.fleet.run(&["sync"]).code(1).says(&say);
    it.snapshot(4);
    it.fleet.run(&["sync"]).code(1).says(&say);
    assert_eq!(it.seen(), seen, "the region shows what it showed");
    it.restores_from_the_region(&tree, &newest);
}

#[test]
fn a_region_that_is_away_stops_no_snapshot() {
    let mut it = Three::new();
    let (_, first) = it.snapshot(1);
    it.sync();
    it.region.kill();
    let (_, second) = it.snapshot(2);
    let address = it.region.address();
    let said = it.fleet.run(&["sync", "--json"]).code(1);
    let said = said.says(&["region", &address, "cannot be reached", "is it running"]);
    assert_eq!(said.json()[0]["ok"], false);
    // Nobody else could be asked, and that is said: the list is this node's own.
    let said = it.fleet.run(&["snapshot", "list", "--all", "--json"]).code(3);
    assert_eq!(ids(&said.json()), [first, second]);
    said.says(&["warning", "region", &address]);
    let said = run(&it.second, &["snapshot", "list", "--all"]).code(3);
    let said = said.says(&["warning", &address]);
    assert!(said.stdout.contains("nobody else could be asked"), "{}", said.stdout);
    it.region.resume();
    assert_eq!(it.sync()["receipts"], 1);
}

#[test]
fn a_fleet_that_is_not_hosted_is_sent_away() {
    let it = Three::new();
    let other = Fleet::found();
    let card = it.fleet.path("region-card.json");
    other.run(&["fleet", "adopt", arg(&card)]).ok();
    other.snapshot(&other.tree("tree"));
    let said = other.run(&["sync"]).code(1);
    let address = it.region.address();
    let said = said.says(&["region", &address, "is not hosted here", "ask the region's operator"]);
    stopped(&said.stderr);
    assert!(!it.region.home.join("tenants").exists(), "nothing of it is kept");
}

/// A region that hosts both fleets.
fn shared_region(a: &Fleet, b: &Fleet) -> Region {
    let listen = free_address();
    let cards = [a.path("fleet-card.json"), b.path("fleet-card.json")];
    for (fleet, card) in [a, b].into_iter().zip(&cards) {
        fleet.run(&["fleet", "card", "--out", arg(card)]).ok();
    }
    let (home, out) = (a.path("shared"), a.path("shared-card.json"));
    let args = ["region", "init", "--fleet", arg(&cards[0]), "--fleet", arg(&cards[1])];
    let more = ["--name", "shared", "--listen", &listen, "--out", arg(&out)];
    run(&home, &[&args[..], &more].concat()).ok();
    for fleet in [a, b] {
        fleet.run(&["fleet", "adopt", arg(&out)]).ok();
    }
    Region::start(home, listen)
}

#[test]
fn two_fleets_at_one_region_see_nothing_of_each_other() {
    let (a, b) = (Fleet::found(), Fleet::found());
    let mut region = shared_region(&a, &b);
    let tree = a.tree("tree");
    let (mine, theirs) = (a.snapshot(&tree), b.snapshot(&tree));
    let sent = |fleet: &Fleet| fleet.run(&["sync", "--json"]).ok().json()[0].clone();
    let (first, second) = (sent(&a), sent(&b));
    assert_eq!(second["proven_objects"], 0, "the same bytes are no hint: {first} {second}");
    let listed =
        |fleet: &Fleet| ids(&fleet.run(&["snapshot", "list", "--all", "--json"]).ok().json());
    assert_eq!(listed(&a), std::slice::from_ref(&mine));
    assert_eq!(listed(&b), [theirs]);
    let out = b.path("request.json");
    let ask = ["restore", "request", &mine, "--reason", "curious", "--out", arg(&out)];
    stopped(&b.run(&ask).code(1).says(&["no snapshot"]).stderr);
    // A request that reaches the other fleet's custodians or nodes is refused by name.
    let request = a.request(&a.home(), &mine, "request.json");
    let (share, approval) = (b.shares()[0].clone(), b.path("approval.json"));
    let approve = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes"];
    let said = b.run(&[&approve[..], &["--out", arg(&approval)]].concat()).code(1);
    stopped(&said.says(&["fleet"]).stderr);
    assert!(!approval.exists(), "nothing was approved");
    region.stop();
    run(&region.home, &["verify"]).ok();
}

#[test]
fn a_bundle_serves_one_node_of_one_fleet() {
    let fleet = Fleet::found();
    let (one, two) = (fleet.path("one"), fleet.path("two"));
    let card = |home: &Path, name: &str| {
        let out = fleet.path(&format!("{name}.json"));
        run(home, &["node", "keys", "--name", name, "--out", arg(&out)]).ok();
        out
    };
    let (card_one, _) = (card(&one, "one"), card(&two, "two"));
    let bundle = fleet.path("bundle.json");
    fleet.run(&["fleet", "bundle", arg(&card_one), "--out", arg(&bundle)]).ok();
    let said = run(&two, &["node", "enroll", arg(&bundle)]).code(1);
    let said = said.says(&["made for another node's keys", "give the operator this node's card"]);
    stopped(&said.stderr);
    let other = "ab".repeat(32);
    let said = run(&one, &["node", "enroll", arg(&bundle), "--fleet-id", &other]).code(1);
    said.says(&["fleet"]);
    for home in [&one, &two] {
        run(home, &["fleet", "show"]).code(1).says(&["fleet/genesis.json"]);
    }
    let good = std::fs::read(&bundle).expect("read");
    let altered = fleet.path("altered.json");
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&altered, &bad).expect("written");
        let said = run(&one, &["node", "enroll", arg(&altered)]);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        assert_eq!(said.code, 1, "byte {at} of {} altered: {}", good.len(), said.stdout);
        assert!(!one.join("fleet/genesis.json").exists(), "byte {at}: not enrolled");
    }
    let show = fleet.run(&["fleet", "show", "--json"]).ok().json();
    let id = show["fleet"].as_str().or(show["id"].as_str()).expect("the fleet's id").to_owned();
    run(&one, &["node", "enroll", arg(&bundle), "--fleet-id", &id]).ok();
    // Once enrolled, a bundle of another fleet is refused too.
    let stranger = Fleet::found();
    let foreign = stranger.path("foreign.json");
    stranger.run(&["fleet", "bundle", arg(&card_one), "--out", arg(&foreign)]).ok();
    run(&one, &["node", "enroll", arg(&foreign)]).code(1).says(&["fleet"]);
}
