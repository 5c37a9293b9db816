//! Vectors of ceremonies, `docs/vectors/ceremony.json`: our own, and outside ones, each set with
//! where its figures are from.
//!
//! `own` holds a refresh, a re-sharing and a repair, every value of them, which a second
//! implementation in Python checks as well; `SEAWALL_BLESS=1` rewrites it.
//!
//! RFC 9591 and the FROST crates share our key generation, so theirs run through the very code.
//! C2SP's cocktail-dkg is another protocol: it encrypts shares by its own means, sends them with
//! the commitments, and its proof of possession hashes other things. What it has in common with
//! ours is Feldman's sharing, so its commitments must lead to its shares and key in our code, and
//! its proofs must hold under the equation ours obey.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use serde::Deserialize;
use serde_json::{Value, json};

use super::dkg::{self, Commitment, Plan};
use super::polynomial::{Committed, lagrange};
use super::repair::Repair;
use super::resharing::Resharing;
use crate::curve::{Element, decode_scalar};
use crate::group::Group;
use crate::share::SecretShare;
use crate::testkit::{Seeded, hex32, three_of_five};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/ceremony.json");

#[derive(Deserialize)]
struct File {
    rfc9591: Rfc9591,
    frost_dkg: Case,
    cocktail_dkg: Cocktail,
}

#[derive(Deserialize)]
struct Rfc9591 {
    threshold: u16,
    secret: String,
    key: String,
    coefficients: Vec<String>,
    shares: BTreeMap<u16, String>,
}

#[derive(Deserialize)]
struct Cocktail {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    threshold: u16,
    key: String,
    participants: BTreeMap<u16, Participant>,
}

#[derive(Deserialize)]
struct Participant {
    commitments: Vec<String>,
    proof: String,
    share: String,
    verification_share: String,
    #[serde(default)]
    receives: BTreeMap<u16, String>,
    #[serde(default)]
    challenge: String,
    #[serde(default)]
    challenge_input: String,
}

fn file() -> File {
    serde_json::from_str(include_str!("../../../../docs/vectors/ceremony.json")).expect("vectors")
}

fn scalar(text: &str) -> Scalar {
    decode_scalar(hex32(text)).expect("a canonical scalar")
}

fn commitment(it: &Participant) -> Commitment {
    let points = it.commitments.iter().map(|p| hex32(p)).collect();
    Commitment { points, proof: (hex32(&it.proof[..64]), hex32(&it.proof[64..])) }
}

/// Commitments must lead to the vectors' shares, verification shares and key.
fn shares_follow(case: &Case) -> Group {
    let committed: Vec<_> = case
        .participants
        .iter()
        .map(|(i, p)| Committed::decode(*i, &commitment(p).points).expect("points"))
        .collect();
    let at = |x: u16| committed.iter().map(|c| c.at(x)).sum::<RistrettoPoint>().compress();
    assert_eq!(at(0).to_bytes(), hex32(&case.key));
    let mut members = Vec::new();
    for (&index, p) in &case.participants {
        assert_eq!(at(index).to_bytes(), hex32(&p.verification_share));
        members.push((index, hex32(&p.verification_share)));
    }
    let group = Group::new("keys", case.threshold, hex32(&case.key), members).expect("a group");
    for (&index, p) in &case.participants {
        let share = SecretShare::from_bytes(index, &hex32(&p.share)).expect("a share");
        assert!(group.holds(&share));
    }
    group
}

#[test]
fn shares_of_rfc_9591_lie_on_its_polynomial_and_lead_to_its_key() {
    let it = file().rfc9591;
    let terms: Vec<_> =
        std::iter::once(&it.secret).chain(&it.coefficients).map(|t| scalar(t)).collect();
    let commitments: Vec<_> =
        terms.iter().map(|t| RistrettoPoint::mul_base(t).compress().to_bytes()).collect();
    let committed = Committed::decode(1, &commitments).expect("points");
    let mut members = Vec::new();
    for (&index, share) in &it.shares {
        assert!(committed.check(1, index, &hex32(share)).is_ok(), "{index}");
        let share = SecretShare::from_bytes(index, &hex32(share)).expect("a share");
        members.push((index, share.verification_share()));
    }
    Group::new("keys", it.threshold, hex32(&it.key), members).expect("a group");
    for pair in [[1, 2], [1, 3], [2, 3]] {
        let sum: Scalar = pair.iter().map(|i| scalar(&it.shares[i]) * lagrange(&pair, *i, 0)).sum();
        assert_eq!(sum, scalar(&it.secret), "{pair:?}");
    }
}

#[test]
fn frosts_key_generation_is_ours() {
    let case = file().frost_dkg;
    let expected = shares_follow(&case);
    let plan = Plan { class: "keys", threshold: case.threshold, members: 3 };
    let all: BTreeMap<_, _> = case.participants.iter().map(|(i, p)| (*i, commitment(p))).collect();
    assert_eq!(dkg::group(&plan, &all).expect("a group"), expected);
    for (&index, p) in &case.participants {
        for (from, value) in &p.receives {
            let committed = Committed::decode(*from, &all[from].points).expect("points");
            assert!(committed.check(*from, index, &hex32(value)).is_ok(), "{from} to {index}");
        }
        // Whoever deals checks the others' proofs: theirs hold, and no others.
        let own = dkg::commit(&plan, index, &mut Seeded::new("own")).expect("commits");
        dkg::deal(&plan, index, &own.secret, &all).expect("the proofs hold");
        let other = index % 3 + 1;
        let mut wrong = all.clone();
        wrong.get_mut(&other).expect("three").proof = all[&index].proof;
        assert!(dkg::deal(&plan, index, &own.secret, &wrong).is_err());
    }
}

#[test]
fn cocktail_dkg_shares_as_we_do() {
    for case in file().cocktail_dkg.cases {
        shares_follow(&case);
        for p in case.participants.values() {
            let it = commitment(p);
            let input = hex::decode(&p.challenge_input).expect("hex");
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &input);
            let wide = hash.as_ref().try_into().expect("SHA-512 gives 64 bytes");
            let challenge = Scalar::from_bytes_mod_order_wide(wide);
            assert_eq!(challenge, scalar(&p.challenge));
            let point = |bytes| *Element::decode(bytes).expect("a point").point();
            let response = decode_scalar(it.proof.1).expect("a scalar");
            assert_eq!(
                RistrettoPoint::mul_base(&response),
                point(it.proof.0) + point(it.points[0]) * challenge
            );
        }
    }
}

type Published = BTreeMap<u16, Vec<[u8; 32]>>;
/// Values by recipient, then by dealer.
type Values = BTreeMap<u16, dkg::Values>;

fn published_json(it: &Published) -> Value {
    let points = |points: &Vec<[u8; 32]>| points.iter().map(hex::encode).collect::<Vec<_>>();
    it.iter()
        .map(|(i, p)| (i.to_string(), json!(points(p))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn values_json(it: &dkg::Values) -> Value {
    it.iter()
        .map(|(i, v)| (i.to_string(), json!(hex::encode(**v))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn shares_json(shares: &[SecretShare]) -> Value {
    values_json(&shares.iter().map(|s| (s.index(), s.to_bytes())).collect())
}

fn inboxes_json(it: &Values) -> Value {
    it.iter()
        .map(|(to, v)| (to.to_string(), values_json(v)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn resharing_json(it: &Resharing<'_>, shares: &[SecretShare], seed: &str) -> Value {
    let mut rng = Seeded::new(seed);
    let (mut published, mut inboxes) = (Published::new(), Values::new());
    for dealer in it.dealers {
        let dealing = it.deal(&shares[usize::from(*dealer) - 1], &mut rng).expect("deals");
        published.insert(*dealer, dealing.commitments);
        for (to, value) in dealing.values {
            inboxes.entry(to).or_default().insert(*dealer, value);
        }
    }
    let finish = |index: &u16| {
        let old = it.refresh.then(|| &shares[usize::from(*index) - 1]);
        it.finish(*index, old, &published, &inboxes[index]).expect("finishes").1
    };
    json!({
        "dealers": it.dealers,
        "threshold": it.threshold,
        "published": published_json(&published),
        "values": inboxes_json(&inboxes),
        "shares": shares_json(&it.members.iter().map(finish).collect::<Vec<_>>()),
    })
}

fn repair_json(it: &Repair<'_>, shares: &[SecretShare]) -> Value {
    let mut rng = Seeded::new("vectors repair");
    let (mut published, mut inboxes) = (Published::new(), Values::new());
    for helper in it.helpers {
        let pieces = it.deal(&shares[usize::from(*helper) - 1], &mut rng).expect("cuts");
        published.insert(*helper, pieces.commitments);
        for (to, value) in pieces.values {
            inboxes.entry(to).or_default().insert(*helper, value);
        }
    }
    let sum = |i: &u16| (*i, it.sum(*i, &published, &inboxes[i]).expect("adds up"));
    let sums = it.helpers.iter().map(sum).collect();
    it.finish(&published, &sums).expect("repaired");
    json!({
        "helpers": it.helpers,
        "repaired": it.repaired,
        "published": published_json(&published),
        "values": inboxes_json(&inboxes),
        "sums": values_json(&sums),
    })
}

#[test]
fn our_own_are_what_the_code_makes() {
    let (before, shares) = three_of_five("vectors");
    let all = [1, 2, 3, 4, 5];
    let refresh =
        Resharing { before: &before, dealers: &all, threshold: 3, members: &all, refresh: true };
    let reshare = Resharing {
        dealers: &[1, 3, 4],
        threshold: 2,
        members: &[1, 2, 3],
        refresh: false,
        ..refresh
    };
    let repair = Repair { group: &before, helpers: &[1, 4, 5], repaired: 2 };
    let own = json!({
        "key": hex::encode(before.key()),
        "threshold": before.threshold(),
        "shares": shares_json(&shares),
        "refresh": resharing_json(&refresh, &shares, "vectors refresh"),
        "reshare": resharing_json(&reshare, &shares, "vectors reshare"),
        "repair": repair_json(&repair, &shares),
    });
    let text = std::fs::read_to_string(PATH).expect("docs/vectors/ceremony.json is there");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        file["own"] = own;
        let text = serde_json::to_string_pretty(&file).expect("JSON") + "\n";
        std::fs::write(PATH, text).expect("docs/vectors can be written");
        return;
    }
    assert_eq!(file["own"], own, "if it was meant, bless it and look at the difference");
}
