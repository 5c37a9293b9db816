//! Root keys replaced, members revoked and clocks that jump, where logs have gone on in a new epoch.

use std::path::{Path, PathBuf};

use seawall_base::{Clock as _, Seconds};
use seawall_host::{OsRng, SystemClock};
use seawall_node::{Home, append_event, clock_standing, trust_clock};
use seawall_sim::SimClock;
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, Region, Said, arg, copy, noise_of, run};

/// A fleet with a region and a second node.
struct Shore {
    fleet: Fleet,
    region: Region,
    second: PathBuf,
}

impl Shore {
    fn new() -> Self {
        let fleet = Fleet::found();
        let region = fleet.region("region-a");
        let second = fleet.second_node("site-b");
        Self { fleet, region, second }
    }

    fn snapshot(&self, home: &Path, seed: u64) -> String {
        let tree = self.fleet.path(&format!("tree-{seed}"));
        std::fs::create_dir(&tree).expect("a directory");
        std::fs::write(tree.join("ledger"), noise_of(seed, 20_000)).expect("written");
        let said = run(home, &["snapshot", "create", arg(&tree), "--json"]).ok();
        said.json()["id"].as_str().expect("an id").to_owned()
    }

    /// A node's next epoch, asked for, granted and begun; returns the root keys' answer.
    fn next_epoch(&self, home: &Path, name: &str) -> PathBuf {
        let paths = ["ask", "grant"].map(|it| self.fleet.path(&format!("{name}-{it}.json")));
        let [ask, grant] = &paths;
        run(home, &["node", "epoch", "begin", "--reason", "a test", "--out", arg(ask)]).ok();
        self.fleet.run(&["fleet", "epoch", arg(ask), "--yes", "--out", arg(grant)]).ok();
        run(home, &["node", "epoch", "adopt", arg(grant)]).ok();
        grant.clone()
    }

    fn propose(&self, more: &[&str]) -> Said {
        let next = self.fleet.path("next.json");
        let args = ["fleet", "policy", "propose", "--out", arg(&next)];
        self.fleet.run(&[&args[..], more].concat())
    }

    /// What is proposed.
    fn proposed(&self) -> Value {
        let next = self.fleet.path("next.json");
        self.fleet.run(&["fleet", "policy", "show", arg(&next), "--json"]).ok().json()
    }

    fn apply(&self) {
        self.fleet.run(&["fleet", "policy", "apply", arg(&self.fleet.path("next.json"))]).ok();
    }

    /// Signs the proposal with a new root key, and applies it.
    fn agree(&self, key: &Path) {
        let next = self.fleet.path("next.json");
        let args = ["fleet", "policy", "sign", arg(&next), "--root-key", arg(key), "--yes"];
        self.fleet.run(&[&args[..], &["--out", arg(&next)]].concat()).ok();
        self.apply();
    }

    /// A new root key: its copy, and the key.
    fn root_key(&self, name: &str) -> (PathBuf, String) {
        let copy = self.fleet.path(name);
        let args = ["fleet", "root-key", "--new", "--out", arg(&copy), "--json"];
        let key = self.fleet.run(&args).ok().json()["key"].as_str().expect("a key").to_owned();
        (copy, key)
    }
}

/// Every snapshot a node sees.
fn seen(home: &Path) -> Vec<String> {
    let list = run(home, &["snapshot", "list", "--all", "--json"]).ok().json();
    let list = list.as_array().expect("an array").iter();
    list.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

#[track_caller]
fn sees(home: &Path, expected: &[&String]) {
    let (mut seen, mut expected) = (seen(home), expected.to_vec());
    seen.sort();
    expected.sort();
    assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_node_stolen_in_its_second_epoch_is_revoked() {
    let mut it = Shore::new();
    let first = it.snapshot(&it.second, 1);
    run(&it.second, &["sync"]).ok();
    it.next_epoch(&it.second, "b");
    let second = it.snapshot(&it.second, 2);
    run(&it.second, &["sync"]).ok();
    let revoke = ["--revoke", "site-b", "--reason", "stolen"];
    // The first epoch alone would leave its keys good.
    let said = it.propose(&[&revoke[..], &["--epoch", "1"]].concat()).code(1);
    stopped(&said.says(&["is in epoch 2"]).stderr);
    it.propose(&revoke).ok();
    let policy = it.proposed();
    let of = &policy["revoked"][0];
    assert_eq!(of["epoch"], 2, "{policy}");
    assert_eq!(of["earlier"][0]["epoch"], 1, "and its first log, as far as it goes: {policy}");
    it.apply();
    it.fleet.run(&["sync"]).ok();
    let said = run(&it.second, &["sync"]).code(1).says(&["revoked"]);
    stopped(&said.stderr);
    sees(&it.fleet.home(), &[&first, &second]);
    it.region.stop();
}

#[test]
fn a_revocation_of_an_earlier_epoch_hides_a_later_log() {
    let mut it = Shore::new();
    let first = it.snapshot(&it.second, 1);
    run(&it.second, &["sync"]).ok();
    // Believed are the enrolment and the first certificate; then the node is found again.
    it.propose(&["--revoke", "site-b", "--reason", "lost", "--keep-entries", "2"]).ok();
    it.apply();
    it.fleet.run(&["sync"]).ok();
    assert_eq!(seen(&it.fleet.home()), Vec::<String>::new());
    stopped(&run(&it.second, &["sync"]).code(1).says(&["revoked"]).stderr);
    // In a higher epoch it counts again, with all that the root keys continue from.
    it.next_epoch(&it.second, "b");
    let second = it.snapshot(&it.second, 2);
    run(&it.second, &["sync"]).ok();
    sees(&it.fleet.home(), &[&first, &second]);
    let to = it.fleet.path("restored");
    it.fleet.restore(&it.fleet.home(), &first, &to).ok();
    it.region.stop();
}

#[test]
fn root_keys_are_replaced_where_logs_have_changed_epoch() {
    let mut it = Shore::new();
    let home = it.fleet.home();
    let mut all = vec![it.snapshot(&home, 1), it.snapshot(&it.second, 2)];
    it.fleet.run(&["sync"]).ok();
    run(&it.second, &["sync"]).ok();
    it.next_epoch(&home, "a");
    let granted = it.next_epoch(&it.second, "b");
    all.extend([it.snapshot(&home, 3), it.snapshot(&it.second, 4)]);
    it.fleet.run(&["sync"]).ok();
    run(&it.second, &["sync"]).ok();
    // As a home from before it kept what it signs: its own log still has its own.
    for dir in ["root/enrolments", "root/epochs"] {
        for file in home.join(dir).read_dir().expect("kept") {
            std::fs::remove_file(file.expect("readable").path()).expect("removed");
        }
    }
    let (copy, key) = it.root_key("anna-root.json");
    let replace = ["--root-key", &key, "--root-threshold", "1"];
    let said = it.propose(&replace).code(1).says(&["site-b", "epoch 2", "--carry-logs"]);
    stopped(&said.stderr);
    // Whoever goes on without them loses that log, and can take it up again.
    it.propose(&[&replace[..], &["--leave-logs"]].concat()).ok();
    it.agree(&copy);
    it.fleet.run(&["sync"]).ok();
    all.push(it.snapshot(&home, 5));
    let own = [&all[0], &all[2], &all[4]];
    sees(&home, &own);
    let enrolment = it.fleet.path("site-b-enrolment.json");
    let first = first_entry(&it.second);
    std::fs::write(&enrolment, first).expect("written");
    it.propose(&["--carry", arg(&granted), "--carry", arg(&enrolment)]).ok();
    it.agree(&copy);
    it.fleet.run(&["sync"]).ok();
    sees(&home, &all.iter().collect::<Vec<_>>());
    run(&it.second, &["sync"]).ok();
    let to = it.fleet.path("restored");
    it.fleet.restore(&it.second, &all[1], &to).ok();

    // The next time they are carried over in one step.
    let (next, key) = it.root_key("ben-root.json");
    let replace = ["--root-key", &key, "--root-threshold", "1", "--carry-logs"];
    it.region.stop();
    it.propose(&replace).code(1).says(&["cannot be looked through: region-a", "--leave-logs"]);
    it.region.resume();
    it.propose(&replace).ok();
    let proposal = it.fleet.path("next.json");
    let args = ["fleet", "policy", "sign", arg(&proposal), "--root-key", arg(&copy)];
    it.fleet.run(&[&args[..], &["--yes", "--out", arg(&proposal)]].concat()).ok();
    it.agree(&next);
    it.fleet.run(&["sync"]).ok();
    sees(&home, &all.iter().collect::<Vec<_>>());
    it.region.stop();
}

#[test]
fn a_member_is_given_a_second_bundle_and_a_stolen_one_none() {
    let mut it = Shore::new();
    let [card, first, again] =
        ["site-b-card.json", "site-b-bundle.json", "again.json"].map(|name| it.fleet.path(name));
    it.fleet.run(&["fleet", "bundle", arg(&card), "--out", arg(&again)]).ok();
    let enrolment = |bundle: &Path| {
        let bytes = std::fs::read(bundle).expect("readable");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")["enrolment"].clone()
    };
    assert_eq!(enrolment(&first), enrolment(&again), "its log begins with one of them");
    run(&it.second, &["node", "enroll", arg(&again)]).ok();
    it.propose(&["--revoke", "site-b", "--reason", "stolen"]).ok();
    it.apply();
    let said = it.fleet.run(&["fleet", "bundle", arg(&card), "--out", arg(&again)]).code(1);
    stopped(&said.says(&["were revoked", "node keys"]).stderr);
    it.region.stop();
}

/// The enrolment that a node's log begins with.
fn first_entry(home: &Path) -> String {
    let said = run(home, &["log", "prove", "0", "--json"]).ok().json();
    said["entry"].as_str().expect("an entry").to_owned()
}

#[test]
fn a_nodes_clock_shows_2040_once() {
    let fleet = Fleet::found();
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("ledger"), noise_of(1, 20_000)).expect("written");
    fleet.snapshot(&tree);
    let home = Home::open(&fleet.home()).expect("a home");
    let ahead = SimClock::new(SystemClock.now().after(Seconds::days(5_000)));
    let log = |clock: &SimClock| append_event(&home, "test", "an entry", clock, &mut OsRng);
    let e = log(&ahead).expect_err("far ahead of the last entry").to_string();
    assert!(e.contains("seawall log clock --is-right"), "{e}");
    stopped(&e);
    // A fortnight off is no reason to stop.
    let later = SimClock::new(SystemClock.now().after(Seconds::days(14)));
    assert!(clock_standing(&home, &later).expect("read").is_believed());
    // Somebody says it is right, and it is not: only the root keys' word undoes that.
    trust_clock(&home, &ahead).expect("written");
    log(&ahead).expect("as somebody said");
    let said = fleet.run(&["snapshot", "create", arg(&tree)]).code(1);
    said.says(&["before its predecessor", "its next epoch goes on"]);
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let args = ["node", "epoch", "begin", "--reason", "the clock", "--out", arg(&ask)];
    fleet.run(&args).ok();
    fleet.run(&["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)]).ok();
    fleet.run(&["node", "epoch", "adopt", arg(&grant)]).ok();
    fleet.snapshot(&tree);
    fleet.run(&["log", "verify"]).ok();
    fleet.run(&["log", "clock"]).ok();
    stopped("an epoch, which is dated by the root keys");
}

#[test]
fn a_region_that_was_away_refuses_an_epoch_begun_without_it() {
    let fleet = Fleet::found();
    let region = fleet.region("region-a");
    // One reader knows the first region alone, the other both.
    let third = fleet.second_node("site-c");
    let mut other = fleet.region("region-b");
    let second = fleet.second_node("site-b");
    let mut it = Shore { fleet, region, second };
    let home = it.fleet.home();
    let mut all = vec![it.snapshot(&home, 1)];
    it.fleet.run(&["sync"]).ok();
    let image = it.fleet.path("image");
    copy(&home, &image);
    // One region sees a snapshot; the disk goes back, and the other sees others.
    other.stop();
    all.push(it.snapshot(&home, 2));
    it.fleet.run(&["sync"]).code(1);
    it.region.stop();
    other.resume();
    std::fs::remove_dir_all(&home).expect("removed");
    copy(&image, &home);
    all.extend((3..6).map(|seed| it.snapshot(&home, seed)));
    it.fleet.run(&["sync"]).code(1);
    it.next_epoch(&home, "a");
    all.push(it.snapshot(&home, 6));
    it.fleet.run(&["sync"]).code(1);
    it.region.resume();
    // One region has what it was refused for; its objects are still to be fetched for the other.
    it.fleet.run(&["sync"]).code(1);
    it.fleet.run(&["verify", "--repair"]).ok();
    it.fleet.run(&["sync"]).ok();
    // Who reads the first log as the region had it is told of the fork, and reads on in the second.
    let said = run(&third, &["snapshot", "list", "--all", "--json"]).ok();
    let said = said.says(&["the history was forked", "the root keys continue this branch"]);
    assert!(all.iter().all(|id| said.stdout.contains(id)), "{}", said.stdout);
    // Who reads both copies of the first has the proof.
    let said = run(&it.second, &["snapshot", "list", "--all", "--json"]).code(1);
    let said = said.says(&["the history was forked", "both checkpoints are in evidence/"]);
    assert!(all.iter().all(|id| said.stdout.contains(id)), "{}", said.stdout);
    let to = it.fleet.path("restored");
    it.fleet.restore(&it.second, &all[1], &to).ok();
    stopped("the root keys' statement, which commits to what is shown, and a branch");
    it.region.stop();
    other.stop();
}
