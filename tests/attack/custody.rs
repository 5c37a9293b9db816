//! Shares, requests and approvals that are wrong in every way a file can be: each is refused,
//! and the message says what is wrong, where, and what to do.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, Said, arg, run, said, seawall};

/// A fleet with one snapshot and an open request for it.
struct Asked {
    fleet: Fleet,
    id: String,
    request: PathBuf,
}

impl Asked {
    fn new() -> Self {
        let fleet = Fleet::found();
        let tree = fleet.path("tree");
        std::fs::create_dir(&tree).expect("created");
        std::fs::write(tree.join("file"), "content").expect("written");
        let id = fleet.snapshot(&tree);
        let request = fleet.request(&fleet.home(), &id, "request.json");
        Self { fleet, id, request }
    }

    /// Answers `request` with `share`; returns the approval's place and what was said.
    fn answer(&self, request: &Path, share: &Path) -> (PathBuf, Said) {
        let out = self.fleet.path("answer.json");
        let args = ["restore", "approve", arg(request), "--share", arg(share), "--out", arg(&out)];
        let said = run(&self.fleet.path("nowhere"), &[&args[..], &["--yes"]].concat());
        (out, said)
    }

    /// Asserts that no answer is given to `request` with `share`.
    #[track_caller]
    fn refuses(&self, request: &Path, share: &Path, words: &[&str]) {
        let (out, said) = self.answer(request, share);
        let said = said.code(1).says(words);
        stopped(&said.stderr);
        assert_eq!(said.stdout, "");
        assert!(!out.exists(), "nothing was written");
    }

    /// Runs the restore on the first node with these approvals.
    fn run(&self, request: &Path, approvals: &[&Path]) -> (PathBuf, Said) {
        let to = self.fleet.path("restored");
        let mut args = vec!["restore", "run", arg(request), "--to", arg(&to)];
        args.extend(approvals.iter().flat_map(|a| ["--approval", arg(a)]));
        let said = self.fleet.run(&args);
        (to, said)
    }

    /// Asserts that the approvals do not open the snapshot and nothing is written.
    #[track_caller]
    fn stays_closed(&self, approvals: &[&Path], words: &[&str]) {
        let (to, said) = self.run(&self.request, approvals);
        let said = said.code(1).says(&["the snapshot was not opened"]).says(words);
        stopped(&said.stderr);
        assert_eq!(said.stdout, "");
        assert!(!to.exists(), "nothing is written without a quorum");
    }

    /// Writes `bytes` to a file beside the others.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.fleet.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("readable")
}

/// `bytes` with one bit changed at each of about `samples` positions, the last included.
fn flips(bytes: &[u8], samples: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let step = (bytes.len() / samples).max(1);
    (0..bytes.len()).step_by(step).chain([bytes.len() - 1]).map(move |at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 7);
        (at, flipped)
    })
}

/// The envelope with its payload changed by `change`, its signatures kept.
fn tampered(envelope: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let payload = BASE64.decode(envelope["payload"].as_str().expect("base64")).expect("base64");
    let mut statement = serde_json::from_slice(&payload).expect("a statement");
    change(&mut statement);
    let mut out = envelope.clone();
    out["payload"] = BASE64.encode(statement.to_string()).into();
    out
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&read(path)).expect("JSON")
}

#[test]
fn a_wrong_passphrase_is_named() {
    let asked = Asked::new();
    let (share, out) = (asked.fleet.shares().remove(0), asked.fleet.path("a.json"));
    let mut command = seawall();
    command.env("SEAWALL_SHARE_PASSPHRASE", "not the passphrase").args(["restore", "approve"]);
    command.args([arg(&asked.request), "--share", arg(&share), "--out", arg(&out), "--yes"]);
    said(&mut command).code(1).says(&["wrong passphrase", arg(&share)]);
    assert!(!out.exists());
}

#[test]
fn a_truncated_share_is_damaged() {
    let asked = Asked::new();
    let whole = read(&asked.fleet.shares()[0]);
    for len in (0..whole.len() - 1).step_by(whole.len() / 30) {
        let share = asked.file("share-cut.json", &whole[..len]);
        asked.refuses(&asked.request, &share, &["share-cut.json", "damaged", "use another copy"]);
    }
}

#[test]
fn a_share_with_any_bit_flipped_is_refused() {
    let asked = Asked::new();
    let whole = read(&asked.fleet.shares()[1]);
    for (at, bytes) in flips(&whole, 100) {
        let share = asked.file("share-bad.json", &bytes);
        let (out, said) = asked.answer(&asked.request, &share);
        assert!(!out.exists(), "answered with byte {at} flipped");
        let said = said.code(1).says(&["share-bad.json"]);
        // Nobody is told that a damaged file has another passphrase.
        assert!(!said.stderr.contains("passphrase"), "byte {at}: {}", said.stderr);
    }
}

#[test]
fn shares_with_their_secrets_swapped_are_refused() {
    let asked = Asked::new();
    let [a, b] = [0, 1].map(|n| json(&asked.fleet.shares()[n]));
    for field in ["sealed", "index", "signing_key"] {
        let mut mixed = a.clone();
        mixed[field] = b[field].clone();
        let share = asked.file("share-mixed.json", mixed.to_string().as_bytes());
        asked.refuses(&asked.request, &share, &["share-mixed.json", "damaged"]);
    }
    // The whole file under another's name is that other custodian's share, whatever its name.
    let moved = asked.file("share-1-custodian-1.json", &read(&asked.fleet.shares()[1]));
    let (out, said) = asked.answer(&asked.request, &moved);
    said.ok();
    let payload = json(&out)["payload"].as_str().map(|p| BASE64.decode(p).expect("base64"));
    let statement: Value = serde_json::from_slice(&payload.expect("there")).expect("JSON");
    assert_eq!(statement["predicate"]["custodian"], 2);
}

#[test]
fn a_file_that_is_no_share_is_refused() {
    let asked = Asked::new();
    let large = asked.file("large", &vec![b' '; 9_000]);
    asked.refuses(&asked.request, &large, &["large", "too large to be a share file"]);
    let huge = asked.file("huge", &vec![b' '; (4 << 20) + 1]);
    asked.refuses(&asked.request, &huge, &["huge", "larger than 4 MiB"]);
    asked.refuses(&asked.request, &asked.request, &["request.json"]);
    asked.refuses(&asked.request, &asked.fleet.path("none"), &["cannot read", "none"]);
    let mut costly = json(&asked.fleet.shares()[0]);
    costly["kdf"]["m_kib"] = (1_u64 << 31).into();
    let costly = asked.file("share-costly", costly.to_string().as_bytes());
    asked.refuses(&asked.request, &costly, &["share-costly"]);
}

#[test]
fn a_share_of_another_fleet_does_not_answer() {
    let (asked, other) = (Asked::new(), Fleet::found());
    let share = other.shares().remove(0);
    asked.refuses(&asked.request, &share, &["request.json", "must not be approved", "fleet"]);
}

#[test]
fn a_truncated_request_is_refused() {
    let asked = Asked::new();
    let (whole, share) = (read(&asked.request), asked.fleet.shares().remove(0));
    for len in (0..whole.len() - 1).step_by(whole.len() / 30) {
        let request = asked.file("cut.json", &whole[..len]);
        asked.refuses(&request, &share, &["cut.json", "request file", "not a seawall-request/1"]);
    }
    let cut = asked.file("cut.json", &whole[..whole.len() / 2]);
    let (to, said) = asked.run(&cut, &[&share]);
    said.code(1).says(&["the snapshot was not opened", "request file"]);
    assert!(!to.exists());
}

#[test]
fn a_request_with_any_bit_flipped_is_refused() {
    let asked = Asked::new();
    let (whole, share) = (read(&asked.request), asked.fleet.shares().remove(0));
    for (at, bytes) in flips(&whole, 150) {
        let request = asked.file("flipped.json", &bytes);
        let (out, said) = asked.answer(&request, &share);
        assert!(!out.exists(), "answered with byte {at} flipped: {}", said.stderr);
        said.code(1).says(&["flipped.json", "must not be approved"]);
    }
}

#[test]
fn a_request_with_another_one_time_key_is_refused() {
    let asked = Asked::new();
    let other = asked.fleet.request(&asked.fleet.home(), &asked.id, "other.json");
    let payload = json(&other)["request"]["payload"].as_str().map(|p| BASE64.decode(p));
    let theirs: Value =
        serde_json::from_slice(&payload.expect("there").expect("base64")).expect("JSON");
    let mut request = json(&asked.request);
    request["request"] = tampered(&request["request"], |statement| {
        let key = &mut statement["predicate"]["one_time_key"];
        assert_ne!(*key, theirs["predicate"]["one_time_key"], "each request has its own");
        *key = theirs["predicate"]["one_time_key"].clone();
    });
    let swapped = asked.file("swapped.json", request.to_string().as_bytes());
    let share = asked.fleet.shares().remove(0);
    let words = ["swapped.json", "must not be approved", "restore request", "signature"];
    asked.refuses(&swapped, &share, &words);
    // The whole statement of the other request, with its own signature, is simply that request.
    let mut request = json(&asked.request);
    request["request"] = json(&other)["request"].clone();
    let moved = asked.file("moved.json", request.to_string().as_bytes());
    let (_, said) = asked.answer(&moved, &share);
    said.ok();
}

#[test]
fn a_request_of_another_fleet_is_not_run() {
    let (asked, other) = (Asked::new(), Asked::new());
    let (to, said) = asked.run(&other.request, &[&other.fleet.shares()[0]]);
    said.code(1).says(&["the snapshot was not opened", "fleet"]);
    assert!(!to.exists());
}

#[test]
fn a_request_runs_only_where_it_was_made() {
    let asked = Asked::new();
    let second = asked.fleet.second_node("node-2");
    let a = asked.fleet.approve(&asked.request, 0, "a.json");
    let b = asked.fleet.approve(&asked.request, 1, "b.json");
    let to = asked.fleet.path("restored");
    let args = ["restore", "run", arg(&asked.request), "--to", arg(&to)];
    let approvals = ["--approval", arg(&a), "--approval", arg(&b)];
    run(&second, &[&args[..], &approvals].concat()).code(1).says(&[
        "one-time secret",
        arg(&second),
        "requests/",
        "runs where its request was made",
    ]);
    assert!(!to.exists());
    let (to, said) = asked.run(&asked.request, &[&a, &b]);
    said.ok();
    assert!(to.exists());
}

#[test]
fn approvals_for_another_snapshot_do_not_open_this_one() {
    let asked = Asked::new();
    let tree = asked.fleet.path("tree");
    std::fs::write(tree.join("file"), "other content").expect("written");
    let id = asked.fleet.snapshot(&tree);
    let other = asked.fleet.request(&asked.fleet.home(), &id, "other.json");
    let a = asked.fleet.approve(&other, 0, "other-a.json");
    let b = asked.fleet.approve(&other, 1, "other-b.json");
    let words = ["needs 2 custodians", "other-a.json", "other-b.json", "is for another snapshot"];
    asked.stays_closed(&[&a, &b], &words);
}

#[test]
fn approvals_for_another_request_of_this_snapshot_do_not_count() {
    let asked = Asked::new();
    let again = asked.fleet.request(&asked.fleet.home(), &asked.id, "again.json");
    let a = asked.fleet.approve(&again, 0, "a.json");
    let b = asked.fleet.approve(&asked.request, 1, "b.json");
    let words = ["needs 2 custodians", "1 have answered", "a.json", "answers another request"];
    asked.stays_closed(&[&a, &b], &words);
}

#[test]
fn approvals_for_another_requester_do_not_count() {
    let asked = Asked::new();
    let region = asked.fleet.region("region");
    asked.fleet.run(&["sync"]).ok();
    let second = asked.fleet.second_node("node-2");
    let theirs = asked.fleet.request(&second, &asked.id, "theirs.json");
    let a = asked.fleet.approve(&theirs, 0, "a.json");
    let b = asked.fleet.approve(&theirs, 1, "b.json");
    let words = ["needs 2 custodians", "a.json", "b.json", "answers another request"];
    asked.stays_closed(&[&a, &b], &words);
    // What the custodians said yes to is the other node's restore.
    let to = asked.fleet.path("theirs");
    let args = ["restore", "run", arg(&theirs), "--to", arg(&to), "--approval", arg(&a)];
    run(&second, &[&args[..], &["--approval", arg(&b)]].concat()).ok();
    drop(region);
}

#[test]
fn approvals_of_another_group_do_not_count() {
    let (asked, other) = (Asked::new(), Asked::new());
    let foreign = other.fleet.approve(&other.request, 0, "foreign.json");
    let own = asked.fleet.approve(&asked.request, 0, "own.json");
    let words = ["1 have answered", "foreign.json", "is of another escrow group"];
    asked.stays_closed(&[&own, &foreign], &words);
}

#[test]
fn damaged_approvals_are_named_and_do_not_count() {
    let asked = Asked::new();
    let good = asked.fleet.approve(&asked.request, 0, "good.json");
    let other = read(&asked.fleet.approve(&asked.request, 1, "other.json"));
    for len in (0..other.len()).step_by(other.len() / 20) {
        let cut = asked.file("cut.json", &other[..len]);
        asked.stays_closed(&[&good, &cut], &["1 have answered", "cut.json"]);
    }
    for (at, bytes) in flips(&other, 100) {
        let flipped = asked.file("flipped.json", &bytes);
        let (to, said) = asked.run(&asked.request, &[&good, &flipped]);
        assert!(!to.exists(), "opened with byte {at} flipped");
        said.code(1).says(&["1 have answered", "flipped.json"]);
    }
    asked.stays_closed(&[&good, &asked.request], &["1 have answered", "request.json"]);
    let (_, said) = asked.run(&asked.request, &[&good, &asked.fleet.path("none.json")]);
    said.code(1).says(&["cannot read", "none.json"]);
}

#[test]
fn an_approval_re_attributed_to_another_custodian_does_not_count() {
    let asked = Asked::new();
    let a = asked.fleet.approve(&asked.request, 0, "a.json");
    let envelope = tampered(&json(&a), |statement| {
        statement["predicate"]["custodian"] = 2.into();
    });
    let renamed = asked.file("renamed.json", envelope.to_string().as_bytes());
    asked.stays_closed(&[&a, &renamed], &["1 have answered", "renamed.json", "signed by 0 of"]);
    let envelope = tampered(&json(&a), |statement| {
        statement["predicate"]["custodian"] = 9.into();
    });
    let stranger = asked.file("stranger.json", envelope.to_string().as_bytes());
    asked.stays_closed(&[&a, &stranger], &["stranger.json", "names a custodian", "does not have"]);
}

#[test]
fn the_same_custodian_twice_is_one() {
    let asked = Asked::new();
    let a = asked.fleet.approve(&asked.request, 2, "a.json");
    let again = asked.fleet.approve(&asked.request, 2, "again.json");
    assert_ne!(read(&a), read(&again), "two answers of one custodian");
    asked.stays_closed(&[&a, &again], &["needs 2 custodians", "1 have answered"]);
    asked.stays_closed(&[&a, &a], &["needs 2 custodians", "1 have answered"]);
}

#[test]
fn an_unusable_approval_beside_a_quorum_is_warned_about() {
    let asked = Asked::new();
    let good = [0, 2].map(|n| asked.fleet.approve(&asked.request, n, &format!("good-{n}.json")));
    let bad = asked.file("bad.json", b"not an approval");
    let (to, said) = asked.run(&asked.request, &[&good[0], &bad, &good[1]]);
    said.ok().says(&["warning: ", "bad.json", "was not used"]);
    assert_eq!(read(&crate::harness::restored(&to, &asked.fleet.path("tree/file"))), b"content");
}
