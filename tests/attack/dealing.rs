//! A node that deals its custodians bad cards, and custodians' statements under other algorithms.
//!
//! The node here has its own sealing ([`super::sealing`]). Whoever stole it replays what it once
//! dealt, in the hope that a custodian shows what opens it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as G;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use seawall_backup::entry::EntryKind;
use seawall_escrow::{Capsule, Group, LabelFields, Recipients, SUITE_BOUND, SUITE_PQ};
use seawall_node::Home;
use seawall_record::{Arrival, Base64, Manifest, Totals};

use super::bombs::{Forger, SealRoot, StolenLog, honest, stolen_subkey};
use super::sealing::{
    Drawn, Sealing, Secrets, half_of, opens, parcel_at, right_label, second_generator,
};
use super::stopped;
use crate::harness::{Fleet, Said, arg, run};
use crate::machines::{Machines, ask, message};

/// A capsule whose proof holds, around a post-quantum half that was edited.
fn with_half(
    group: &Group,
    fields: &LabelFields,
    to: Option<&Recipients>,
    payload: &[u8],
    edit: impl FnOnce(&Sealing<'_>, &mut Vec<u8>),
) -> Vec<u8> {
    let mut drawn = Drawn(Vec::new());
    let good = Capsule::seal(group, fields, to, payload, &mut drawn).expect("seals").encode();
    let sealing = Sealing { suite: SUITE_BOUND, group, fields, secrets: Secrets::of(&drawn) };
    let mut half = half_of(&good).to_vec();
    assert_eq!(sealing.around(&half, payload), good, "it seals as the program does");
    edit(&sealing, &mut half);
    sealing.around(&half, payload)
}

fn turned(half: &mut [u8], at: &[usize]) {
    for at in at {
        half[*at] ^= 1;
    }
}

const THIRD: usize = parcel_at(3);

fn third_is_cheated(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    with_half(g, f, to, p, |_, half| turned(half, &[THIRD + 34 + 500]))
}

/// The share opens, and is not the one that was committed to.
fn third_is_lied_to(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    with_half(g, f, to, p, |sealing, half| {
        let said = half[THIRD + 2..THIRD + 34].try_into().expect("32 bytes");
        let parcel = sealing.parcel(to.expect("custodians"), 3, &said, &Scalar::from(5_u8));
        half[THIRD..].copy_from_slice(&parcel);
    })
}

fn two_are_cheated(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    with_half(g, f, to, p, |_, half| turned(half, &[THIRD + 34 + 500, parcel_at(2) + 10]))
}

/// As earlier versions sealed.
fn as_before(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    let secrets = Secrets::named("a node of an earlier version");
    let it = Sealing { suite: SUITE_PQ, group: g, fields: f, secrets };
    it.around(&it.deal(to.expect("custodians")), p)
}

/// By secrets that the thief comes to know.
fn with_known_secrets(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    let secrets = Secrets::named("known");
    let it = Sealing { suite: SUITE_BOUND, group: g, fields: f, secrets };
    it.around(&it.deal(to.expect("custodians")), p)
}

fn without_half(g: &Group, f: &LabelFields, _: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    honest(g, f, None, p)
}

/// The honest capsule, moved in the exponent as plain `ElGamal` would allow, and labelled anew.
fn re_randomised(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    let mut bytes = honest(g, f, to, p);
    for (at, generator) in [(65, G), (97, second_generator())] {
        let point = CompressedRistretto::from_slice(&bytes[at..at + 32]).expect("32 bytes");
        let moved = point.decompress().expect("a point") + generator * Scalar::from(42_u8);
        bytes[at..at + 32].copy_from_slice(moved.compress().as_bytes());
    }
    let label = right_label(&bytes, f);
    bytes[33..65].copy_from_slice(&label);
    bytes
}

/// A post-quantum fleet whose node has published a snapshot sealed by `seal_root`.
fn published(seal_root: SealRoot) -> (Fleet, String) {
    let fleet = Fleet::found();
    fleet.snapshot(&fleet.tree("tree"));
    let id = publish(&fleet, seal_root);
    (fleet, id)
}

fn publish(fleet: &Fleet, seal_root: SealRoot) -> String {
    let mut forger = Forger::open(&fleet.home());
    forger.seal_root = seal_root;
    let tree = forger.directory(std::iter::empty::<(String, EntryKind)>());
    forger.publish(&fleet.home(), tree, Totals::default())
}

/// Asks custodian `n` to answer, who must not.
fn refuses(fleet: &Fleet, id: &str, words: &[&str]) {
    let request = fleet.request(&fleet.home(), id, "request.json");
    let (out, share) = (fleet.path("answer.json"), fleet.shares()[0].clone());
    let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes", "--out"];
    let said = run(&fleet.path("nowhere"), &[&args[..], &[arg(&out)]].concat());
    stopped(&said.code(1).says(words).stderr);
}

#[test]
fn inconsistent_post_quantum_shares_are_reported_on_arrival_and_convict_their_dealer() {
    let mut it = Machines::of(Fleet::found());
    let id = publish(&it.fleet, third_is_lied_to);
    it.start(0);
    it.start(2);
    let said = it.fleet.run(&["sync"]).code(1);
    stopped(&said.says(&["custodian-3", "is not the committed one"]).stderr);
    it.kill(0);
    it.kill(2);
    // Each writes down what it found; the third has what convicts the node.
    let acts = it.acts(0);
    assert!(acts.iter().all(|act| act["act"]["kind"] == "share-good"), "{acts:?}");
    let acts = it.acts(2);
    let bad: Vec<_> = acts.iter().filter(|act| act["act"]["kind"] == "share-bad").collect();
    let of = serde_json::json!(format!("sha256:{id}"));
    assert_eq!((bad.len(), &bad[0]["request"]), (1, &of));
    assert!(bad[0]["act"]["evidence"].is_string(), "{bad:?}");
    let lie = StolenLog::read(&it.fleet.home()).manifests.pop().expect("the lie");
    let shown = shown(&it, 2, &id);
    assert!(
        shown.iter().any(|z| opens(&lie.capsule.0, &fields(&lie), 3, z)),
        "what it shows opens"
    );
    let report = it.home(2).join("custody").join(&it.fleet_id).join("bad-shares");
    let report = report.join(format!("{id}.json"));
    // Anybody judges that, with nothing else.
    let nowhere = it.fleet.path("nowhere");
    let verify = |file: &Path| run(&nowhere, &["log", "evidence", "verify", arg(file)]);
    let proven = "PROVEN: node node-1 dealt custodian custodian-3";
    let said = verify(&report).ok().stdout;
    assert!(said.contains(proven), "{said}");
    stopped(&said);
    // A custodian without the evidence, or with another's, proves nothing.
    let text = std::fs::read_to_string(&report).expect("a report");
    let other = it.fleet.path("other.json");
    std::fs::write(&other, text.replace("seawall-bad-share/1", "seawall-bad-share/2"))
        .expect("written");
    verify(&other).code(1);
    // The snapshot opens with the other two, and names the dealer once more.
    let said = it.fleet.restore(&it.fleet.home(), &id, &it.fleet.path("restored"));
    stopped(&said.ok().says(&["node node-1 dealt wrong post-quantum shares", "[3]"]).stderr);
}

fn fields(manifest: &Manifest) -> LabelFields {
    LabelFields::of_manifest(&manifest.core)
}

/// A replay: a thief's capsule for the snapshot of an old manifest, with its parcels, and every
/// commitment turned. The thief has the node's keys, and the secrets given.
fn replay(it: &Machines, old: &Manifest, secrets: Secrets) -> (String, Vec<u8>) {
    let home = it.fleet.home();
    let fleet = Home::open(&home).and_then(|home| home.fleet()).expect("a fleet");
    let record = fleet.group(old.core.group).expect("a group");
    let (group, fields) = (Group::of_record(record).expect("a group"), fields(old));
    let mut half = half_of(&old.capsule.0).to_vec();
    turned(&mut half, &[1, 2, 3].map(|index| parcel_at(index) + 2));
    let suite = old.capsule.0[0];
    let capsule = Sealing { suite, group: &group, fields: &fields, secrets }.around(&half, b"");
    let manifest = Manifest { capsule: Base64(capsule), ..old.clone() };
    let key = stolen_subkey(&std::fs::read(home.join("keys/subkey.key")).expect("the subkey"));
    let signed = manifest.statement().sign(&[&key]).expect("signed");
    let known = seawall_node::capsules(&Home::open(&home).expect("a home")).expect("its log");
    let (author, _) = known.into_iter().next().expect("a snapshot").into_parts();
    (signed.digest().to_hex(), Arrival::new(author, &signed).to_json())
}

/// Every 32 bytes in hexadecimal that machine `n` shows about a snapshot: in its log, and in the
/// file for everybody with the statement inside.
fn shown(it: &Machines, n: usize, id: &str) -> Vec<[u8; 32]> {
    let file = it.home(n).join("custody").join(&it.fleet_id).join("bad-shares");
    let file = std::fs::read_to_string(file.join(format!("{id}.json"))).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    let payload = report["report"]["payload"].as_str().expect("a statement");
    let payload = BASE64.decode(payload).expect("base64");
    let log = serde_json::Value::from(it.acts(n)).to_string();
    let all = [log.into_bytes(), file.into_bytes(), payload].concat();
    all.windows(64).filter_map(|hex| hex::decode(hex).ok()?.try_into().ok()).collect()
}

/// Brings a replay to two custodians' machines, a quorum. Neither shows what opens the old parcel.
fn nobody_shows_anything(it: &mut Machines, old: &Manifest, secrets: Secrets, why: &str) {
    let (id, arrival) = replay(it, old, secrets);
    for n in [0, 1] {
        it.start(n);
        let mut node = it.connect(n, &it.node_key()).expect("connects");
        let (status, said) = ask(&mut node, &message("POST", "/v1/manifest", arrival.clone()));
        assert_eq!(status, 200, "{said}");
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["share"], "bad", "{said}");
        stopped(said["why"].as_str().filter(|said| said.contains(why)).expect(why));
        it.kill(n);
        let acts = it.acts(n);
        let of = serde_json::json!(format!("sha256:{id}"));
        let act = acts.iter().find(|act| act["request"] == of).expect("it is in the log");
        assert_eq!(act["act"]["kind"], "share-bad", "{act}");
        assert!(act["act"].get("evidence").is_none_or(serde_json::Value::is_null), "{act}");
        let shown = shown(it, n, &id);
        assert!(shown.len() > 5, "digests and names");
        let index = n as u16 + 1;
        assert!(!shown.iter().any(|z| opens(&old.capsule.0, &fields(old), index, z)));
        let report = it.home(n).join("custody").join(&it.fleet_id).join("bad-shares");
        let report = report.join(format!("{id}.json"));
        let said = run(&it.fleet.path("nowhere"), &["log", "evidence", "verify", arg(&report)]);
        assert!(said.stdout.contains("not proven"), "{}", said.stdout);
    }
}

#[test]
fn a_stolen_node_replays_an_old_snapshots_parcels_with_spoilt_commitments() {
    let mut it = Machines::of(Fleet::found());
    let old = StolenLog::read(&it.fleet.home()).manifests.remove(0);
    assert_eq!(old.capsule.0[0], SUITE_BOUND, "as the program seals");
    let why = "does not open with its key";
    nobody_shows_anything(&mut it, &old, Secrets::named("a thief"), why);
}

/// The first machine, started, finds its shares of both snapshots good.
fn finds_both_good(it: &mut Machines) {
    it.start(0);
    let said = it.fleet.run(&["sync", "--json"]).json();
    let mut all = said.as_array().expect("a list").iter();
    let said = all.find(|it| it["id"] == "custodian custodian-1").expect("the first");
    assert_eq!(said["good_shares"], 2, "{said}");
}

#[test]
fn a_stolen_node_that_computes_logarithms_replays_parcels_with_spoilt_commitments() {
    let mut it = Machines::of(Fleet::found());
    publish(&it.fleet, with_known_secrets);
    let old = StolenLog::read(&it.fleet.home()).manifests.pop().expect("the last");
    let why = "does not open with its key";
    nobody_shows_anything(&mut it, &old, Secrets::named("known"), why);
    // What was replayed was good.
    finds_both_good(&mut it);
}

#[test]
fn a_stolen_node_replays_parcels_that_an_earlier_version_sealed() {
    let mut it = Machines::of(Fleet::found());
    let id = publish(&it.fleet, as_before);
    let old = StolenLog::read(&it.fleet.home()).manifests.pop().expect("the last");
    assert_eq!(old.capsule.0[0], SUITE_PQ);
    // The parcel opens. Whose doing that it does not fit is, is not known: it is kept.
    let why = "is not the committed one";
    nobody_shows_anything(&mut it, &old, Secrets::named("a thief"), why);
    finds_both_good(&mut it);
    it.kill(0);
    // The snapshot itself opens as it did.
    it.fleet.restore(&it.fleet.home(), &id, &it.fleet.path("restored")).ok();
}

#[test]
fn a_node_deals_one_custodian_a_bad_post_quantum_share() {
    let (fleet, id) = published(third_is_cheated);
    let said = fleet.restore(&fleet.home(), &id, &fleet.path("restored"));
    let said = said.ok().says(&["node node-1 dealt wrong post-quantum shares", "[3]"]);
    stopped(&said.stderr);
}

#[test]
fn a_node_deals_inconsistent_post_quantum_shares_to_a_majority() {
    let (fleet, id) = published(two_are_cheated);
    let said = fleet.restore(&fleet.home(), &id, &fleet.path("restored"));
    stopped(&said.code(1).says(&["post-quantum shares of 2 custodians", "1 good"]).stderr);
}

#[test]
fn a_node_leaves_the_post_quantum_half_out() {
    let (fleet, id) = published(without_half);
    refuses(&fleet, &id, &["no post-quantum half", "downgrade"]);
    // Only a person's word, custodian by custodian and at the restore, gets it through.
    let request = fleet.path("request.json");
    let answers = [0, 1].map(|n| fleet.path(&format!("answer-{n}.json")));
    for (n, answer) in answers.iter().enumerate() {
        let share = fleet.shares()[n].clone();
        let args = ["restore", "approve", arg(&request), "--share", arg(&share), "--yes"];
        let more = ["--accept-classical", "--out", arg(answer)];
        let said = run(&fleet.path("nowhere"), &[&args[..], &more].concat());
        said.ok().says(&["check whose it is"]);
    }
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--to", arg(&to)];
    let with = ["--approval", arg(&answers[0]), "--approval", arg(&answers[1])];
    let said = fleet.run(&[&args[..], &with].concat());
    stopped(&said.code(1).says(&["no post-quantum half"]).stderr);
    fleet.run(&[&args[..], &with, &["--accept-classical"]].concat()).ok();
}

#[test]
fn a_re_randomised_capsule_stands_in_an_innocent_manifest() {
    let (fleet, id) = published(re_randomised);
    refuses(&fleet, &id, &["capsule proof does not hold"]);
}

/// Restores with two approvals, the second altered.
fn altered(edit: impl Fn(&str) -> String) -> Said {
    let fleet = Fleet::found_with(&["--algorithm", "ml-dsa-44"]);
    let id = fleet.snapshot(&fleet.tree("tree"));
    let request = fleet.request(&fleet.home(), &id, "request.json");
    let (a, b) = (fleet.approve(&request, 0, "a.json"), fleet.approve(&request, 1, "b.json"));
    let text = std::fs::read_to_string(&b).expect("an approval");
    let changed = edit(&text);
    assert_ne!(text, changed, "something was altered");
    std::fs::write(&b, changed).expect("written");
    let to = fleet.path("restored");
    let args = ["restore", "run", arg(&request), "--to", arg(&to)];
    fleet.run(&[&args[..], &["--approval", arg(&a), "--approval", arg(&b)]].concat()).code(1)
}

#[test]
fn an_approval_is_signed_by_an_algorithm_nobody_knows() {
    let said = altered(|text| text.replace("\"ml-dsa-44:", "\"falcon-512:"));
    stopped(&said.says(&["unknown signature algorithm", "falcon-512"]).stderr);
}

#[test]
fn an_approval_is_downgraded_to_an_older_algorithm() {
    // The 32 bytes of the key's digest, passed off as an Ed25519 key.
    let said = altered(|text| text.replace("\"ml-dsa-44:", "\"ed25519:"));
    let said = said.says(&["1 have answered"]);
    stopped(&said.stderr);
}

#[test]
fn one_custodian_signs_twice() {
    let said = altered(|text| {
        let mut envelope: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let signatures = envelope["signatures"].as_array_mut().expect("signatures");
        let first = signatures[0].clone();
        signatures.push(first);
        envelope.to_string()
    });
    stopped(&said.says(&["signed twice"]).stderr);
}
