//! Somebody else's capsule in a manifest of one's own, so that people who say yes to the innocent
//! one open the other: copied, moved in the exponent, given the right label.
//!
//! With plain `ElGamal` each of these works: the quorum decrypts the moved capsule, and the thief
//! moves the answer back.

use std::cell::RefCell;

use curve25519_dalek::Scalar;
use curve25519_dalek::ristretto::CompressedRistretto;
use seawall_backup::entry::EntryKind;
use seawall_escrow::{Group, LabelFields, Recipients};
use seawall_record::Totals;

use super::bombs::{Forger, SealRoot, StolenLog, honest};
use super::sealing::right_label;
use super::stopped;
use crate::harness::{Fleet, arg, run};

thread_local! {
    /// The capsule of the snapshot the thief is after. Each test has a thread of its own.
    static VICTIM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// As it is.
fn copied(_: &Group, _: &LabelFields, _: Option<&Recipients>, _: &[u8]) -> Vec<u8> {
    VICTIM.with_borrow(Clone::clone)
}

/// Both points times a secret of the thief's (docs/formats/capsule.md: u and u-bar).
fn moved(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    let mut bytes = copied(g, f, to, p);
    for at in [65, 97] {
        let point = CompressedRistretto::from_slice(&bytes[at..at + 32]).expect("32 bytes");
        let point = point.decompress().expect("a point") * Scalar::from(42_u8);
        bytes[at..at + 32].copy_from_slice(point.compress().as_bytes());
    }
    bytes
}

/// Where a capsule's post-quantum half begins.
fn half(capsule: &[u8]) -> usize {
    let payload = capsule[257..261].try_into().expect("4 bytes");
    261 + usize::try_from(u32::from_le_bytes(payload)).expect("it fits")
}

/// Moved, with the label that the thief's own manifest has to have, and the half that it covers:
/// that of the victim is bound to the victim's snapshot.
fn moved_and_labelled(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    let (mut bytes, own) = (moved(g, f, to, p), honest(g, f, to, p));
    bytes.truncate(half(&bytes));
    bytes.extend_from_slice(&own[half(&own)..]);
    let label = right_label(&bytes, f);
    bytes[33..65].copy_from_slice(&label);
    bytes
}

/// A stolen node publishes a snapshot that is sealed so, and asks for it with a good reason.
fn is_refused(seal_root: SealRoot, word: &str) {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    let victim = StolenLog::read(&fleet.home()).manifests[0].capsule.0.clone();
    VICTIM.with_borrow_mut(|it| it.clone_from(&victim));
    let thief = fleet.second_node("site-b");
    let photos = fleet.path("photos");
    std::fs::create_dir(&photos).expect("made");
    run(&thief, &["snapshot", "create", arg(&photos)]).ok();
    let mut forger = Forger::open(&thief);
    forger.seal_root = seal_root;
    let tree = forger.directory(std::iter::empty::<(String, EntryKind)>());
    let id = forger.publish(&thief, tree, Totals::default());
    let request = fleet.request(&thief, &id, "request.json");
    let (share, out) = (fleet.shares()[0].clone(), fleet.path("answer.json"));
    let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes"];
    let said = run(&fleet.path("nowhere"), &[&args[..], &["--out", arg(&out)]].concat());
    stopped(&said.code(1).says(&[word]).stderr);
    assert!(!out.exists(), "no answer is given");
}

#[test]
fn another_snapshots_capsule_stands_in_an_innocent_manifest() {
    is_refused(copied, "made for another snapshot");
}

#[test]
fn a_re_randomised_capsule_stands_in_an_innocent_manifest() {
    is_refused(moved, "made for another snapshot");
}

#[test]
fn a_re_randomised_capsule_with_the_right_label_stands_in_an_innocent_manifest() {
    is_refused(moved_and_labelled, "capsule proof does not hold");
}
