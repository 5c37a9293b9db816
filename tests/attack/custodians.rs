//! Fewer custodians than it takes, and whoever carries a ceremony's folder.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use curve25519_dalek::{RistrettoPoint, Scalar};
use seawall_escrow::ShareFile;
use serde_json::Value;

use super::stopped;
use crate::harness::{Fleet, PASSPHRASE, Said, arg, copy, run};

pub(super) const THREE: [&str; 3] = ["anna", "bob", "carla"];

/// Custodians with homes of their own, and perhaps a fleet on their group.
pub(super) struct Circle {
    pub(super) fleet: Fleet,
}

impl Circle {
    pub(super) fn of(names: &[&str]) -> Self {
        let circle = Self { fleet: Fleet::nowhere() };
        for name in names {
            circle.add(name);
        }
        circle
    }

    pub(super) fn add(&self, name: &str) {
        let card = self.card(name);
        self.run(name, &["custodian", "init", "--name", name, "--out", arg(&card)]).ok();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.fleet.path(name)
    }

    pub(super) fn card(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.json"))
    }

    pub(super) fn run(&self, name: &str, args: &[&str]) -> Said {
        run(&self.path(name), args)
    }

    pub(super) fn step(&self, name: &str, folder: &Path) -> Said {
        self.run(name, &["group", "step", arg(folder), "--yes", "--json"])
    }

    /// Opens a ceremony with further arguments; the cards come last.
    pub(super) fn open(&self, folder: &str, words: &[&str], cards: &[&str]) -> PathBuf {
        let folder = self.path(folder);
        let mut args = vec!["group", words[0], arg(&folder), "--reason", "an attack"];
        args.extend(&words[1..]);
        let cards: Vec<_> = cards.iter().map(|name| self.card(name)).collect();
        args.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
        self.run("anna", &args).ok();
        folder
    }

    /// Everybody steps until there is nothing to do, and the group file is written.
    pub(super) fn finish(&self, folder: &Path, names: &[&str]) -> PathBuf {
        for _ in 0..3 {
            for name in names {
                self.step(name, folder).ok();
            }
        }
        let out = folder.with_extension("group");
        self.run(names[0], &["group", "finish", arg(folder), "--out", arg(&out)]).ok();
        out
    }

    /// A group of two of three.
    fn group(&self, folder: &str) -> PathBuf {
        self.group_of(folder, "2")
    }

    /// A group of so many of three.
    fn group_of(&self, folder: &str, threshold: &str) -> PathBuf {
        let folder = self.open(folder, &["begin", "--threshold", threshold], &THREE);
        self.finish(&folder, &THREE)
    }

    /// A fleet on a group of two of three, whom it is known to, with a snapshot.
    pub(super) fn founded() -> (Self, String) {
        Self::founded_on("2")
    }

    /// A fleet on a group of so many of three.
    fn founded_on(threshold: &str) -> (Self, String) {
        let circle = Self::of(&THREE);
        let group = circle.group_of("ceremony", threshold);
        circle.fleet.run(&["init", "--group", arg(&group), "--name", "node-1"]).ok();
        circle.all_join(&THREE);
        let tree = circle.path("tree");
        std::fs::create_dir(&tree).expect("made");
        std::fs::write(tree.join("file"), "content").expect("written");
        let id = circle.fleet.snapshot(&tree);
        (circle, id)
    }

    pub(super) fn fleet_card(&self) -> PathBuf {
        let card = self.path("fleet.json");
        self.fleet.run(&["fleet", "card", "--out", arg(&card)]).ok();
        card
    }

    pub(super) fn all_join(&self, names: &[&str]) {
        let card = self.fleet_card();
        for name in names {
            self.run(name, &["custodian", "join", arg(&card), "--yes"]).ok();
        }
    }

    /// Puts a group into the fleet's policy.
    fn decide(&self, group: &Path) {
        let next = self.path("next.json");
        let propose = ["fleet", "policy", "propose", "--group", arg(group)];
        self.fleet.run(&[&propose[..], &["--out", arg(&next)]].concat()).ok();
        self.fleet.run(&["fleet", "policy", "apply", arg(&next)]).ok();
    }

    /// A custodian's answer to a request, with the share file given.
    fn answer(&self, name: &str, request: &Path, share: &Path) -> (PathBuf, Said) {
        let out = self.path(&format!("{name}-answer.json"));
        let args = ["restore", "approve", arg(request), "--share", arg(share), "--yes"];
        let said = self.run(name, &[&args[..], &["--out", arg(&out)]].concat());
        (out, said)
    }

    /// What a custodian honestly answers, with the newest share.
    pub(super) fn answers(&self, name: &str, request: &Path) -> PathBuf {
        let (out, said) = self.answer(name, request, &self.share(name));
        said.ok();
        out
    }

    /// The newest share of somebody.
    pub(super) fn share(&self, name: &str) -> PathBuf {
        let shown = self.run(name, &["custodian", "show", "--json"]).ok().json();
        let shares = shown["shares"].as_array().cloned().expect("an array");
        let newest = shares.iter().max_by_key(|s| s["share_epoch"].as_u64()).expect("a share");
        PathBuf::from(newest["file"].as_str().expect("a path"))
    }

    /// Tries to restore with these answers, and expects to be stopped.
    #[track_caller]
    fn stays_closed(&self, request: &Path, answers: &[PathBuf], words: &[&str]) {
        let to = self.path("restored");
        let mut args = vec!["restore", "run", arg(request), "--to", arg(&to)];
        args.extend(answers.iter().flat_map(|a| ["--approval", arg(a)]));
        let said = self.fleet.run(&args).code(1).says(words);
        stopped(&said.stderr);
        assert!(!to.exists(), "nothing is written without a quorum");
    }
}

/// What a share file guards, as whoever stole it with its passphrase has it.
fn secret_of(path: &Path) -> (u64, Scalar) {
    let file = ShareFile::parse(&std::fs::read(path).expect("readable")).expect("a share");
    let share = file.open(PASSPHRASE.as_bytes()).expect("opens").share;
    let scalar = Scalar::from_canonical_bytes(*share.to_bytes());
    (share.index().into(), Option::from(scalar).expect("canonical"))
}

/// The public key of the secret that Lagrange's formula makes of these shares.
fn key_of(shares: &[(u64, Scalar)]) -> String {
    let mut secret = Scalar::ZERO;
    for (i, share) in shares {
        let mut weight = Scalar::ONE;
        for (j, _) in shares.iter().filter(|(j, _)| j != i) {
            let (i, j) = (Scalar::from(*i), Scalar::from(*j));
            weight *= j * (j - i).invert();
        }
        secret += weight * share;
    }
    hex::encode(RistrettoPoint::mul_base(&secret).compress().as_bytes())
}

pub(super) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

fn payload(envelope: &Value) -> Value {
    let bytes = BASE64.decode(envelope["payload"].as_str().expect("base64")).expect("base64");
    serde_json::from_slice(&bytes).expect("a statement")
}

#[test]
fn a_swapped_group_key() {
    let circle = Circle::of(&THREE);
    let (ours, theirs) = (circle.group("ours"), circle.group("theirs"));
    let founds = |group: &Path, words: &[&str]| {
        let said = circle.fleet.run(&["init", "--group", arg(group)]).code(1).says(words);
        stopped(&said.stderr);
        assert!(!circle.fleet.home().join("home.json").exists(), "no fleet was founded");
    };
    // Another group's key and shares under our signatures.
    let (mut file, other) = (json(&ours), json(&theirs));
    let mut statement = payload(&file["result"]);
    statement["predicate"]["record"] = payload(&other["result"])["predicate"]["record"].clone();
    file["result"]["payload"] = BASE64.encode(statement.to_string()).into();
    let swapped = circle.path("swapped.json");
    std::fs::write(&swapped, file.to_string()).expect("written");
    founds(&swapped, &["a signature does not match"]);
    // Another ceremony's result, as it was signed.
    let mut file = json(&ours);
    file["result"] = other["result"].clone();
    std::fs::write(&swapped, file.to_string()).expect("written");
    founds(&swapped, &["another ceremony"]);
    // A bare record for the root keys to sign: their group, and their key under our id.
    circle.fleet.run(&["init", "--group", arg(&ours)]).ok();
    let bare = payload(&other["result"])["predicate"]["record"].clone();
    std::fs::write(&swapped, bare.to_string()).expect("written");
    let said = circle.fleet.run(&["fleet", "policy", "propose", "--group", arg(&swapped)]);
    stopped(&said.code(1).says(&["a record that nobody has signed"]).stderr);
    let mut record = payload(&other["result"])["predicate"]["record"].clone();
    record["id"] = payload(&json(&ours)["result"])["predicate"]["record"]["id"].clone();
    std::fs::write(&swapped, record.to_string()).expect("written");
    let said = circle.fleet.run(&["fleet", "policy", "propose", "--group", arg(&swapped)]);
    stopped(&said.code(1).says(&["the key was swapped"]).stderr);
}

#[test]
fn a_participant_that_tells_two_people_two_things() {
    let circle = Circle::of(&THREE);
    let folder = circle.open("ceremony", &["begin", "--threshold", "2"], &THREE);
    // A second copy of Bob's home draws another polynomial, for Carla's eyes only.
    copy(&circle.path("bob"), &circle.path("bob-again"));
    let for_carla = circle.path("for-carla");
    copy(&folder, &for_carla);
    circle.step("anna", &folder).ok();
    circle.step("bob", &folder).ok();
    copy(&folder.join("1-commit-1-anna.json"), &for_carla.join("1-commit-1-anna.json"));
    circle.step("bob-again", &for_carla).ok();
    circle.step("carla", &for_carla).ok();
    let carla = ["1-commit-3-carla.json", "2-deal-3-carla.json"];
    copy(&for_carla.join(carla[0]), &folder.join(carla[0]));
    circle.step("anna", &folder).ok();
    // The folders meet: Anna and Carla have both dealt, by what each was shown.
    copy(&for_carla.join(carla[1]), &folder.join(carla[1]));
    for name in THREE {
        let said = circle.step(name, &folder).code(1).says(&["said two different things"]);
        stopped(&said.stderr);
    }
}

#[test]
fn replayed_missing_duplicate_and_foreign_statements() {
    let circle = Circle::of(&THREE);
    let folder = circle.open("ceremony", &["begin", "--threshold", "2"], &THREE);
    let other = circle.open("other", &["begin", "--threshold", "2"], &THREE);
    circle.step("bob", &other).ok();
    circle.step("anna", &folder).ok();
    // A statement of another ceremony of the same people.
    let name = "1-commit-2-bob.json";
    copy(&other.join(name), &folder.join(name));
    let said = circle.step("anna", &folder).code(1).says(&["belongs to another ceremony", name]);
    stopped(&said.stderr);
    std::fs::remove_file(folder.join(name)).expect("removed");
    // One says it under the name of another.
    let mut forged = json(&folder.join("1-commit-1-anna.json"));
    let mut statement = payload(&forged["message"]);
    statement["predicate"]["from"] = 2.into();
    forged["message"]["payload"] = BASE64.encode(statement.to_string()).into();
    std::fs::write(folder.join(name), forged.to_string()).expect("written");
    let said = circle.step("anna", &folder).code(1).says(&["said to be by bob"]);
    stopped(&said.stderr);
    std::fs::remove_file(folder.join(name)).expect("removed");
    // Somebody is missing; somebody counts twice; somebody was not asked.
    let out = circle.path("group.json");
    let finish = ["group", "finish", arg(&folder), "--out", arg(&out)];
    let said = circle.run("anna", &finish).code(1).says(&["waiting for bob, carla"]);
    stopped(&said.stderr);
    let (anna, twice) = (circle.card("anna"), circle.path("twice"));
    let begin = ["group", "begin", arg(&twice), "--threshold", "2", "--reason", "x"];
    let cards = ["--card", arg(&anna), "--card", arg(&anna)];
    let said = circle.run("anna", &[&begin[..], &cards].concat()).code(1);
    stopped(&said.says(&["share a key or a card"]).stderr);
    circle.add("mallory");
    let said = circle.step("mallory", &folder).code(1).says(&["takes no part"]);
    stopped(&said.stderr);
    assert!(!out.exists());
}

#[test]
fn one_old_share_with_one_new_share_after_a_refresh() {
    let (circle, id) = Circle::founded();
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request.json");
    // A thief copies Bob's home with its share, and has him answer before the refresh.
    copy(&circle.path("bob"), &circle.path("stolen"));
    let (before, said) = circle.answer("bob", &request, &circle.share("bob"));
    said.ok();
    let kept = circle.path("kept.json");
    copy(&before, &kept);
    let card = circle.fleet_card();
    let folder = circle.open("refresh", &["refresh", "--from", arg(&card)], &THREE);
    circle.decide(&circle.finish(&folder, &THREE));
    circle.all_join(&THREE);
    let (anna, said) = circle.answer("anna", &request, &circle.share("anna"));
    said.ok();
    circle.stays_closed(&request, &[anna.clone(), kept], &["made with an old share", "1 more"]);
    // A ceremony from the record of before, in which nobody names the fleet.
    let first = circle.path("ceremony.group");
    let again = circle.open("again", &["refresh", "--from", arg(&first)], &THREE);
    let said = circle.step("carla", &again).code(1);
    stopped(
        &said
            .says(&["which the ceremony does not name", "begin anew from that fleet's card"])
            .stderr,
    );
    // The stolen share itself: its home knows the old policy, so the request's newer one counts.
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request-2.json");
    let stolen = circle.share("stolen");
    let (_, said) = circle.answer("stolen", &request, &stolen);
    stopped(&said.code(1).says(&["was it refreshed?"]).stderr);
    // The new shares open what was sealed before.
    let answers = ["anna", "carla"].map(|name| {
        let (answer, said) = circle.answer(name, &request, &circle.share(name));
        said.ok();
        answer
    });
    let to = circle.path("restored");
    let args = ["restore", "run", arg(&request), "--to", arg(&to)];
    let approvals = ["--approval", arg(&answers[0]), "--approval", arg(&answers[1])];
    circle.fleet.run(&[&args[..], &approvals].concat()).ok();
}

/// One of two custodians and the region together: its whole disk, her share and passphrase, and an
/// approval that she gave herself, once in her name and once in another's.
#[test]
fn a_region_and_one_custodian_of_two_try_to_open() {
    let (circle, id) = Circle::founded();
    let mut region = circle.fleet.region("region-a");
    circle.fleet.run(&["sync"]).ok();
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request.json");
    region.stop();
    let loot = circle.path("loot");
    copy(&region.home, &loot);
    // By arithmetic: her share alone, whoever else she pretends to stand for.
    let group = payload(&json(&circle.fleet_card())["genesis"])["predicate"]["groups"][0].clone();
    let key = group["key"].as_str().expect("a key");
    let (index, share) = secret_of(&circle.share("anna"));
    for other in 1..=3_u64 {
        for theirs in [Scalar::ZERO, Scalar::ONE, share, -share] {
            assert!(other == index || key_of(&[(index, share), (other, theirs)]) != key);
        }
    }
    assert_ne!(key_of(&[(index, share)]), key);
    // By the program: her approval, and the same with another's number.
    let (hers, said) = circle.answer("anna", &request, &circle.share("anna"));
    said.ok();
    let mut forged = json(&hers);
    let mut statement = payload(&forged);
    statement["predicate"]["custodian"] = 2.into();
    forged["payload"] = BASE64.encode(statement.to_string()).into();
    let again = circle.path("again.json");
    std::fs::write(&again, forged.to_string()).expect("written");
    circle.stays_closed(&request, std::slice::from_ref(&hers), &["1 have answered", "1 more"]);
    circle.stays_closed(&request, &[hers, again], &["1 have answered", "signed by 0"]);
    // What the region has opens with nothing of hers.
    run(&loot, &["verify"]).ok();
    for entry in ["restore", "snapshot"] {
        run(&loot, &[entry, "list"]).code(if entry == "restore" { 2 } else { 1 });
    }
}

/// Two old and two new shares of a group that takes three, put together outside any program that
/// could refuse them.
#[test]
fn two_old_and_two_new_shares_are_put_together_by_arithmetic() {
    let (circle, _) = Circle::founded_on("3");
    let old = THREE.map(|name| secret_of(&circle.share(name)));
    let card = circle.fleet_card();
    let group = payload(&json(&card)["genesis"])["predicate"]["groups"][0].clone();
    let key = group["key"].as_str().expect("a key").to_owned();
    assert_eq!(key_of(&old), key, "three old ones are the secret");
    let folder = circle.open("refresh", &["refresh", "--from", arg(&card)], &THREE);
    circle.decide(&circle.finish(&folder, &THREE));
    circle.all_join(&THREE);
    let new = THREE.map(|name| secret_of(&circle.share(name)));
    assert_eq!(key_of(&new), key, "three new ones are the same secret");
    assert!((0..3).all(|n| old[n].1 != new[n].1), "each share is another");
    let mut tried = 0;
    for mix in 1..7 {
        let taken: Vec<_> =
            (0..3).map(|n| if mix >> n & 1 == 1 { new[n] } else { old[n] }).collect();
        for left in 0..8 {
            let some = taken.iter().enumerate().filter(|(n, _)| left >> n & 1 == 0);
            let some: Vec<_> = some.map(|(_, share)| *share).collect();
            assert_ne!(key_of(&some), key, "{mix} without {left}");
            tried += 1;
        }
    }
    // Nor do two of either kind alone, whatever third the thief pretends to have been zero.
    for shares in [old, new] {
        for two in [[0, 1], [0, 2], [1, 2]] {
            let two = two.map(|n| shares[n]);
            let third = (6 - two[0].0 - two[1].0, Scalar::ZERO);
            assert_ne!(key_of(&[two[0], two[1], third]), key);
            assert_ne!(key_of(&two), key);
            tried += 2;
        }
    }
    stopped(&format!(
        "a refresh draws a new polynomial: none of {tried} sums is the group's secret"
    ));
}

#[test]
fn one_old_share_with_one_new_share_after_a_resharing() {
    let (circle, id) = Circle::founded();
    circle.add("dora");
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request.json");
    let (bob, said) = circle.answer("bob", &request, &circle.share("bob"));
    said.ok();
    let card = circle.fleet_card();
    let words = ["reshare", "--from", arg(&card), "--threshold", "2", "--dealer", "anna"];
    let words = [&words[..], &["--dealer", "carla"]].concat();
    let folder = circle.open("reshare", &words, &["anna", "carla", "dora"]);
    circle.decide(&circle.finish(&folder, &["anna", "carla", "dora"]));
    circle.all_join(&["anna", "carla", "dora"]);
    let (dora, said) = circle.answer("dora", &request, &circle.share("dora"));
    said.ok();
    circle.stays_closed(&request, &[dora, bob], &["1 more"]);
    // Bob's home sets the share aside as soon as it knows: a card deletes nobody's last share.
    circle.all_join(&["bob"]);
    let shown = circle.run("bob", &["custodian", "show", "--json"]).ok().json();
    assert_eq!(shown["shares"], serde_json::json!([]));
    assert_eq!(shown["aside"].as_array().map(Vec::len), Some(1));
}

#[test]
fn approvals_from_an_old_group() {
    let (circle, _) = Circle::founded();
    let old = circle.share("anna");
    let (old_share, kept) = (circle.path("old-share.json"), circle.path("tree"));
    copy(&old, &old_share);
    // As many shares as it takes may be stolen: a new group in new homes, the old one retired.
    for name in ["anna-2", "bob-2", "carla-2"] {
        circle.add(name);
    }
    let card = circle.fleet_card();
    let folder = circle.path("new");
    let begin = ["group", "begin", arg(&folder), "--threshold", "2", "--reason", "theft"];
    let cards = ["anna-2", "bob-2", "carla-2"].map(|name| circle.card(name));
    let mut args = [&begin[..], &["--fleet", arg(&card)]].concat();
    args.extend(cards.iter().flat_map(|card| ["--card", arg(card)]));
    circle.run("anna-2", &args).ok();
    circle.decide(&circle.finish(&folder, &["anna-2", "bob-2", "carla-2"]));
    circle.all_join(&["anna", "anna-2"]);
    let id = circle.fleet.snapshot(&kept);
    let request = circle.fleet.request(&circle.fleet.home(), &id, "request.json");
    let (_, said) = circle.answer("anna", &request, &old_share);
    stopped(&said.code(1).says(&["the snapshot needs"]).stderr);
    let (new, said) = circle.answer("anna-2", &request, &circle.share("anna-2"));
    said.ok();
    // An approval of the old group's for an old snapshot, shown for the new one.
    let (said, other) = (circle.fleet.run(&["snapshot", "list", "--json"]).ok(), "old.json");
    let first = said.json()[0]["id"].as_str().expect("an id").to_owned();
    let asked = circle.fleet.request(&circle.fleet.home(), &first, other);
    let (answer, said) = circle.answer("anna", &asked, &old_share);
    said.ok();
    circle.stays_closed(&request, &[new, answer], &["another escrow group", "1 more"]);
}
