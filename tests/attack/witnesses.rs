//! Witnesses of a fleet, and logs that show them two faces or go back in time. Each witness is a
//! custodian's machine of its own, as `seawall custodian run` runs it.

use std::path::PathBuf;
use std::process::Child;

use serde_json::Value;

use super::{level, snapshot, stopped};
use crate::harness::{Fleet, arg, copy, free_address, run, seawall, wait_until};

/// A witness that can be stopped and started.
pub(crate) struct Witness {
    pub(crate) name: &'static str,
    pub(crate) home: PathBuf,
    pub(crate) address: String,
    running: Option<Child>,
}

impl Witness {
    fn new(fleet: &Fleet, name: &'static str) -> Self {
        let home = fleet.path(&format!("witness-{name}"));
        let it = Self { name, home, address: free_address(), running: None };
        run(&it.home, &["custodian", "init", "--name", name, "--out", "-"]).ok();
        let card = ["custodian", "card", "--address", &it.address, "--out"];
        run(&it.home, &[&card[..], &[arg(&it.card(fleet))]].concat()).ok();
        it
    }

    /// Its card, which names it in the policy.
    fn card(&self, fleet: &Fleet) -> PathBuf {
        fleet.path(&format!("{}-witness.json", self.name))
    }

    pub(crate) fn start(&mut self) {
        let log = std::fs::File::create(self.home.join("stderr.log")).expect("a log file");
        let mut command = seawall();
        command.env("SEAWALL_HOME", &self.home).args(["custodian", "run"]);
        command.args(["--listen", &self.address]).stderr(log);
        self.running = Some(command.spawn().expect("the machine starts"));
        wait_until("it listens", || std::net::TcpStream::connect(&self.address).is_ok());
    }

    pub(crate) fn stop(&mut self) {
        let mut child = self.running.take().expect("running");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
    }
}

/// Four witnesses in the policy, three of whom are a quorum: one of them may cheat.
fn four(fleet: &Fleet) -> Vec<Witness> {
    witnesses(fleet, &["anna", "ben", "cleo", "dora"], ["3", "1"])
}

/// Witnesses in the policy, and running: so many are a quorum, and so many may cheat.
pub(crate) fn witnesses(
    fleet: &Fleet,
    names: &[&'static str],
    [quorum, faulty]: [&str; 2],
) -> Vec<Witness> {
    let mut all: Vec<_> = names.iter().map(|name| Witness::new(fleet, name)).collect();
    let (next, card) = (fleet.path("next.json"), fleet.path("witness-card.json"));
    let cards: Vec<_> = all.iter().map(|witness| witness.card(fleet)).collect();
    let mut args = vec!["fleet", "policy", "propose", "--out", arg(&next)];
    args.extend(cards.iter().flat_map(|card| ["--witness", arg(card)]));
    args.extend(["--witness-quorum", quorum, "--faulty", faulty]);
    fleet.run(&args).ok();
    fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
    for witness in &mut all {
        run(&witness.home, &["custodian", "join", arg(&card), "--yes"]).ok();
        witness.start();
    }
    all
}

#[test]
fn a_quorum_vouches_and_a_minority_does_not() {
    let fleet = Fleet::found();
    let mut witnesses = four(&fleet);
    let home = fleet.home();
    let first = snapshot(&fleet, &home, 1);
    assert_eq!(level(&home, &first), "0");
    let synced = fleet.run(&["sync", "--json"]).ok().json();
    assert_eq!(synced.as_array().map(Vec::len), Some(4));
    assert!(synced[0]["cosigned"].is_string());
    assert_eq!(level(&home, &first), "q");
    // Once witnessed it stays so, whoever is gone since.
    witnesses[..2].iter_mut().for_each(Witness::stop);
    let second = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).code(1);
    assert_eq!((level(&home, &first).as_str(), level(&home, &second).as_str()), ("q", "1"));
    let out = fleet.path("req.json");
    let args = ["--reason", "a test", "--out", arg(&out)];
    fleet.run(&[&["restore", "request", &first][..], &args].concat()).ok();
    let said = fleet.run(&[&["restore", "request", &second][..], &args].concat()).code(1);
    stopped(&said.says(&["too few witnesses", "cleo, dora (3 needed)"]).stderr);
    // A witness that comes back is brought what it missed.
    witnesses[0].start();
    fleet.run(&["sync"]).code(1);
    assert_eq!(level(&home, &second), "q");
    fleet.run(&[&["restore", "request", &second][..], &args].concat()).ok();
}

#[test]
fn a_split_view_is_shown_to_two_witness_pairs() {
    let fleet = Fleet::found();
    let mut region = fleet.region("region-a");
    let second = fleet.second_node("site-b");
    let mut witnesses = four(&fleet);
    let home = fleet.home();
    snapshot(&fleet, &home, 1);
    fleet.run(&["sync"]).ok();
    run(&second, &["sync"]).code(0);
    let face = fleet.path("other-face");
    copy(&home, &face);
    std::fs::remove_file(face.join("regions/region-a.json")).expect("removed");
    // One pair sees one face, the other pair the other.
    witnesses[2..].iter_mut().for_each(Witness::stop);
    let one = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).code(1);
    witnesses[..2].iter_mut().for_each(Witness::stop);
    for it in &mut witnesses[2..] {
        it.start();
    }
    let other = snapshot(&fleet, &face, 3);
    run(&face, &["sync"]).code(1);
    for it in &mut witnesses[..2] {
        it.start();
    }
    // Neither has a quorum, and whoever compares any two finds the fork, with evidence.
    assert_eq!((level(&home, &one).as_str(), level(&face, &other).as_str()), ("1", "1"));
    let said = run(&second, &["snapshot", "list", "--all"]).code(1);
    let said = said.says(&["two histories: a fork", "both checkpoints are in evidence/"]);
    stopped(&said.stderr);
    let files: Vec<PathBuf> = second
        .join("evidence")
        .read_dir()
        .expect("written")
        .map(|it| it.expect("readable").path())
        .collect();
    assert_eq!(files.len(), 2, "against each of the other pair");
    for file in &files {
        let said = run(&fleet.path("nowhere"), &["log", "evidence", "verify", arg(file)]).ok();
        assert!(said.stdout.contains("PROVEN: the log forked"), "{}", said.stdout);
    }
    // Nor does either face get further with the other pair.
    let said = fleet.run(&["sync"]).code(1).says(&["restored from an old copy"]);
    stopped(&said.stderr);
    region.stop();
}

#[test]
fn a_restored_node_meets_a_witness_that_has_seen_more() {
    let fleet = Fleet::found();
    let _witnesses = four(&fleet);
    let home = fleet.home();
    snapshot(&fleet, &home, 1);
    fleet.run(&["sync"]).ok();
    let image = fleet.path("image");
    copy(&home, &image);
    let lost = snapshot(&fleet, &home, 2);
    fleet.run(&["sync"]).ok();
    std::fs::remove_dir_all(&home).expect("removed");
    copy(&image, &home);
    let kept = snapshot(&fleet, &home, 3);
    let said = fleet.run(&["sync"]).code(1).says(&["restored from an old copy", "epoch begin"]);
    stopped(&said.stderr);
    // No region has its entries: what was witnessed and cannot be had is said, and it goes on.
    let (ask, grant) = (fleet.path("ask.json"), fleet.path("grant.json"));
    let args = ["node", "epoch", "begin", "--reason", "an image", "--out", arg(&ask)];
    fleet.run(&args).ok();
    fleet.run(&["fleet", "epoch", arg(&ask), "--yes", "--out", arg(&grant)]).ok();
    let said = fleet.run(&["node", "epoch", "adopt", arg(&grant), "--json"]).code(3).json();
    let number = |value: &Value| value.as_u64().expect("a number");
    assert!(number(&said["lost"]) > 0 && number(&said["branched"]) == 1, "{said}");
    fleet.run(&["sync"]).ok();
    assert_eq!(level(&home, &kept), "q");
    let shown = run(&home, &["snapshot", "list", "--json"]).ok().json();
    assert!(!shown.to_string().contains(&lost), "it is with nobody");
}
