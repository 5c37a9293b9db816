//! A node that deals its custodians bad cards, and custodians' statements under other algorithms.
//!
//! The node here has its own sealing, written from the format's description, so that it can do
//! what no code of the house does.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as G;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use seawall_backup::entry::EntryKind;
use seawall_base::Rng;
use seawall_escrow::{Capsule, Group, LabelFields, Recipients, SUITE_PQ};
use seawall_record::Totals;

use super::bombs::{Forger, SealRoot, honest};
use super::stopped;
use crate::harness::{Fleet, Said, arg, run};
use crate::machines::Machines;

/// Repeats what the node drew, so that it knows its own secrets.
struct Drawn(Vec<u8>);

impl Rng for Drawn {
    fn fill(&mut self, out: &mut [u8]) {
        let at = self.0.len() as u64;
        let mut stream = blake3::Hasher::new_derive_key("a dishonest node's randomness");
        stream.update(&at.to_le_bytes()).finalize_xof().fill(out);
        self.0.extend_from_slice(out);
    }
}

fn scalar(context: &str, data: &[u8]) -> Scalar {
    let mut wide = [0; 64];
    blake3::Hasher::new_derive_key(context).update(data).finalize_xof().fill(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn second_generator() -> RistrettoPoint {
    let name = b"seawall 2026-11 tdh2 second generator v1";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, name);
    RistrettoPoint::from_uniform_bytes(hash.as_ref().try_into().expect("64 bytes"))
}

fn aead(key: [u8; 32], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let key = UnboundKey::new(&AES_256_GCM_SIV, &key).expect("32 bytes");
    let mut out = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::from(aad), &mut out).expect("seals");
    out
}

/// A capsule whose proof holds, around a post-quantum half with some of its bytes turned.
fn with_half_turned(
    group: &Group,
    fields: &LabelFields,
    to: Option<&Recipients>,
    payload: &[u8],
    at: &[usize],
) -> Vec<u8> {
    let mut drawn = Drawn(Vec::new());
    let good = Capsule::seal(group, fields, to, payload, &mut drawn).expect("seals").encode();
    let drawn = drawn.0;
    let wide = |n: usize| {
        let bytes = drawn[32 + 64 * n..96 + 64 * n].try_into().expect("64 bytes");
        Scalar::from_bytes_mod_order_wide(&bytes)
    };
    let (t, r, s, dealt) = (&drawn[..32], wide(0), wide(1), wide(2));
    let sealed_len = payload.len() + 16;
    let mut half = good[261 + sealed_len + 4..].to_vec();
    for at in at {
        half[*at] ^= 1;
    }
    let core = fields.core_label().expect("a label").0;
    let digest = blake3::derive_key("seawall 2026-11 pq dealing v1", &[&core[..], &half].concat());
    let label = fields.label(SUITE_PQ, &digest).expect("a label").0;
    let k_s = [t, dealt.as_bytes(), &label].concat();
    let k_s = blake3::derive_key("seawall 2026-11 capsule key v2", &k_s);
    let sealed =
        aead(blake3::derive_key("seawall 2026-11 capsule payload key v1", &k_s), &label, payload);
    let commitment =
        blake3::derive_key("seawall 2026-11 capsule commitment v1", &[k_s, label].concat());
    let bytes = |data: &[u8]| [&(data.len() as u32).to_le_bytes(), data].concat();
    let masked = &good[193..225];
    let point = |p: RistrettoPoint| p.compress().to_bytes();
    let transcript = [
        &[SUITE_PQ][..],
        &group.key(),
        group.id().as_bytes(),
        &label,
        masked,
        &commitment,
        &bytes(&sealed),
        &bytes(&half),
        &good[65..97],
        &point(G * s),
        &good[97..129],
        &point(second_generator() * s),
    ]
    .concat();
    let e = scalar("seawall 2026-11 capsule proof v1", &transcript);
    let f = s + e * r;
    [
        &good[..33],
        &label,
        &good[65..129],
        e.as_bytes(),
        f.as_bytes(),
        masked,
        &commitment,
        &bytes(&sealed),
        &bytes(&half),
    ]
    .concat()
}

/// Where custodian 3's parcel begins in a half for three.
const THIRD: usize = 36 + 2 * 1170;

fn third_is_cheated(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    with_half_turned(g, f, to, p, &[THIRD + 34 + 500])
}

/// The share opens, and is not the one that was committed to.
fn third_is_lied_to(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    with_half_turned(g, f, to, p, &[THIRD + 2])
}

fn two_are_cheated(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    with_half_turned(g, f, to, p, &[THIRD + 34 + 500, 36 + 1170 + 10])
}

fn without_half(g: &Group, f: &LabelFields, _: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    honest(g, f, None, p)
}

/// The honest capsule, moved in the exponent as plain `ElGamal` would allow.
fn re_randomised(g: &Group, f: &LabelFields, to: Option<&Recipients>, p: &[u8]) -> Vec<u8> {
    let mut bytes = honest(g, f, to, p);
    for (at, generator) in [(65, G), (97, second_generator())] {
        let point = CompressedRistretto::from_slice(&bytes[at..at + 32]).expect("32 bytes");
        let moved = point.decompress().expect("a point") + generator * Scalar::from(42_u8);
        bytes[at..at + 32].copy_from_slice(moved.compress().as_bytes());
    }
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
