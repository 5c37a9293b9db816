//! Fleets as pages of the manual find them.

use std::fs;
use std::process::Command;

use crate::attack::witnesses::witnesses;
use crate::harness::{Fleet, arg, said};
use crate::machines::Machines;

const CUSTODIANS: [&str; 6] = ["--custodian", "anna", "--custodian", "ben", "--custodian", "cleo"];

/// The directory in which the page is run has the shares, as on a stick.
fn share_files(fleet: &Fleet) {
    let stick = fleet.path("here/media/usb");
    fs::create_dir_all(&stick).expect("made");
    std::os::unix::fs::symlink(fleet.path("shares"), stick.join("shares")).expect("linked");
}

/// A fleet with a region, and custodians who have machines, of which one is down. What was put
/// aside for a bad night lies in `/media/safe`.
pub(super) fn bad_night() -> Fleet {
    let mut machines = Machines::of(Fleet::found_by("founder", &CUSTODIANS));
    let region = machines.fleet.region("region-a");
    machines.fleet.run(&["sync"]).ok();
    for n in 0..2 {
        machines.set_policy(n, "approvers = []", &[("reason = \"test\"", "reason = \".\"")]);
        machines.start(n);
    }
    let mut fleet = machines.into_fleet();
    fleet.keep(region);
    share_files(&fleet);
    let safe = fleet.path("here/media/safe");
    fs::create_dir_all(&safe).expect("made");
    fleet.run(&["fleet", "root-key", "--out", arg(&safe.join("root-key.json"))]).ok();
    fleet.run(&["fleet", "card", "--out", arg(&safe.join("fleet.json"))]).ok();
    fs::copy(fleet.path("region-a-card.json"), safe.join("region-a.json")).expect("copied");
    fleet
}

/// A fleet with a class of canaries, a region, and an empty repository for drills.
pub(super) fn canary_and_region() -> Fleet {
    let mut fleet = Fleet::found_with(&["--canary"]);
    let region = fleet.region("region-a");
    fleet.keep(region);
    let repository = fleet.path("here/drills.git");
    fs::create_dir_all(fleet.path("here")).expect("made");
    let operator = "[user]\nname = operator\nemail = operator@localhost\n";
    fs::write(fleet.path("here/.gitconfig"), operator).expect("written");
    let mut git = Command::new("git");
    said(git.args(["init", "--quiet", "--bare"]).arg(repository)).ok();
    fleet
}

/// A fleet whose policy demands two of three witnesses. They and the region have seen all but the
/// last snapshot, and are gone.
pub(super) fn everybody_gone() -> Fleet {
    let fleet = Fleet::found_by("site-a", &CUSTODIANS);
    share_files(&fleet);
    let mut region = fleet.region("region-a");
    let witnesses = witnesses(&fleet, &["dora", "emil", "fritz"], ["2", "0"]);
    let tree = fleet.tree("tree");
    fleet.snapshot(&tree);
    fleet.run(&["sync"]).ok();
    drop(witnesses);
    region.kill();
    fs::write(tree.join("later"), "after everybody was gone").expect("written");
    fleet.snapshot(&tree);
    fleet
}
