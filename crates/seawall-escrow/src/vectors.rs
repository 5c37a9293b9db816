//! Golden vectors: `docs/vectors/escrow.json`, which a second implementation checks as well.
//!
//! Everything in the file is computed here from fixed scalars, and every refusal is declared by
//! hand and then demanded of the code. `SEAWALL_BLESS=1` rewrites the file; without it the file
//! must be byte for byte what the code makes.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use seawall_base::{FleetId, GroupId, NodeId, Sha256};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::capsule::{Capsule, CapsuleError, CheckedCapsule, SUITE, Secrets, commit};
use crate::curve::{Element, hash_to_scalar, second_generator};
use crate::demand::Demand;
use crate::group::{Group, GroupError};
use crate::label::{Label, LabelFields};
use crate::open::{OpenError, open};
use crate::partial::{Partial, PartialError};
use crate::share::SecretShare;
use crate::share_file::{KdfCost, ShareFile, SharePublic, ShareSecret};
use crate::testkit::{BAD_ENCODINGS, Seeded, SoftKey, changed_labels, hex32};

mod bound;
mod quantum;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/escrow.json");
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn fixed_scalar(name: &str) -> Scalar {
    hash_to_scalar("seawall escrow test vector scalar", name.as_bytes())
}

fn fixed_bytes(name: &str) -> [u8; 32] {
    blake3::derive_key("seawall escrow test vector bytes", name.as_bytes())
}

/// A group with a known polynomial, as no real group ever has.
struct Cast {
    name: &'static str,
    coefficients: Vec<Scalar>,
    group: Group,
    shares: Vec<SecretShare>,
}

impl Cast {
    fn new(name: &'static str, class: &str, threshold: u16, indices: &[u16]) -> Self {
        let coefficients: Vec<_> =
            (0..threshold).map(|i| fixed_scalar(&format!("{name} coefficient {i}"))).collect();
        Self::from_coefficients(name, class, indices, coefficients)
    }

    fn from_coefficients(
        name: &'static str,
        class: &str,
        indices: &[u16],
        coefficients: Vec<Scalar>,
    ) -> Self {
        let at = |x: u16| {
            coefficients.iter().rev().fold(Scalar::ZERO, |sum, c| sum * Scalar::from(x) + c)
        };
        let shares: Vec<_> = indices
            .iter()
            .map(|i| SecretShare::from_bytes(*i, at(*i).as_bytes()).expect("a share"))
            .collect();
        let key = RistrettoPoint::mul_base(&coefficients[0]).compress().to_bytes();
        let members = shares.iter().map(|s| (s.index(), s.verification_share())).collect();
        let group = Group::new(class, coefficients.len() as u16, key, members).expect("a group");
        Self { name, coefficients, group, shares }
    }

    /// The same key, shared anew (a refresh).
    fn refreshed(&self, name: &'static str) -> Self {
        let mut coefficients = self.coefficients.clone();
        for (i, c) in coefficients.iter_mut().enumerate().skip(1) {
            *c += fixed_scalar(&format!("{name} coefficient {i}"));
        }
        let indices: Vec<_> = self.shares.iter().map(SecretShare::index).collect();
        Self::from_coefficients(name, self.group.class(), &indices, coefficients)
    }

    fn share(&self, index: u16) -> &SecretShare {
        self.shares.iter().find(|s| s.index() == index).expect("a member")
    }

    fn to_json(&self) -> Value {
        let members = self.group.members().iter().zip(&self.shares).map(|(m, s)| {
            json!({
                "index": m.index(),
                "share": hex::encode(m.verification_share()),
                "scalar": hex::encode(s.to_bytes()),
            })
        });
        let coefficients = self.coefficients.iter().map(|c| hex::encode(c.as_bytes()));
        json!({
            "name": self.name,
            "class": self.group.class(),
            "threshold": self.group.threshold(),
            "key": hex::encode(self.group.key()),
            "id": self.group.id().to_hex(),
            "members": members.collect::<Vec<_>>(),
            "coefficients": coefficients.collect::<Vec<_>>(),
        })
    }
}

fn fields(group: GroupId, sequence: u64) -> LabelFields {
    LabelFields {
        fleet: FleetId(fixed_bytes("fleet")),
        group,
        node: NodeId(fixed_bytes("node")),
        origin: "harbour.example/zoë/1".to_owned(),
        sequence,
        manifest_core: Sha256(fixed_bytes("manifest core")),
    }
}

fn classical_label(f: &LabelFields) -> Label {
    f.label(SUITE, &[0; 32]).expect("a label")
}

fn fields_json(f: &LabelFields) -> Value {
    json!({
        "suite": SUITE,
        "fleet": f.fleet.to_hex(),
        "group": f.group.to_hex(),
        "node": f.node.to_hex(),
        "origin": f.origin,
        "sequence": f.sequence,
        "manifest_core": f.manifest_core.to_hex(),
        "pq_digest": hex::encode([0; 32]),
    })
}

fn secrets(name: &str) -> Secrets {
    Secrets {
        key: Zeroizing::new(fixed_bytes(&format!("{name} key"))),
        quantum: Zeroizing::new(fixed_scalar(&format!("{name} quantum"))),
        r: Zeroizing::new(fixed_scalar(&format!("{name} r"))),
        s: Zeroizing::new(fixed_scalar(&format!("{name} s"))),
    }
}

/// A sealed capsule with everything that went into it.
struct Scene<'a> {
    name: String,
    cast: &'a Cast,
    fields: LabelFields,
    payload: Vec<u8>,
    capsule: Capsule,
    checked: CheckedCapsule,
}

impl<'a> Scene<'a> {
    fn new(name: &str, cast: &'a Cast, sequence: u64, payload: &[u8]) -> Self {
        let fields = fields(cast.group.id(), sequence);
        let capsule = Capsule::seal_with(&cast.group, &fields, None, payload, &secrets(name));
        let capsule = capsule.expect("seals");
        let checked = capsule.check(&cast.group, &fields, &Demand::classical()).expect("checks");
        let (name, payload) = (name.to_owned(), payload.to_vec());
        Self { name, cast, fields, payload, capsule, checked }
    }

    fn label(&self) -> Label {
        *self.checked.label()
    }

    fn partial(&self, index: u16, epoch: u32) -> Partial {
        let fresh = fixed_bytes(&format!("{} fresh {index} {epoch}", self.name));
        let share = self.cast.share(index);
        Partial::make_with(&self.checked, share, &self.cast.group, epoch, &fresh).expect("answers")
    }

    fn to_json(&self) -> Value {
        let secrets = secrets(&self.name);
        json!({
            "name": self.name,
            "group": self.cast.name,
            "label_fields": fields_json(&self.fields),
            "label": hex::encode(self.label().0),
            "payload": hex::encode(&self.payload),
            "k_s": hex::encode(*secrets.key),
            "r": hex::encode(secrets.r.as_bytes()),
            "s": hex::encode(secrets.s.as_bytes()),
            "capsule": hex::encode(self.capsule.encode()),
        })
    }

    fn partial_json(&self, index: u16, epoch: u32) -> Value {
        json!({
            "capsule": self.name,
            "index": index,
            "share_epoch": epoch,
            "fresh": hex::encode(fixed_bytes(&format!("{} fresh {index} {epoch}", self.name))),
            "partial": hex::encode(self.partial(index, epoch).encode()),
        })
    }
}

fn capsule_code(err: &CapsuleError) -> &'static str {
    match err {
        CapsuleError::Malformed(_) | CapsuleError::Half(_) => "malformed",
        CapsuleError::Suite { .. } => "suite",
        CapsuleError::PayloadTooLong { .. } => "too-long",
        CapsuleError::OtherGroup { .. } => "other-group",
        CapsuleError::OtherLabel => "other-label",
        CapsuleError::Label(_) => "label",
        CapsuleError::Proof => "proof",
        CapsuleError::Downgraded => "downgraded",
        CapsuleError::OtherRecipients => "other-recipients",
    }
}

fn partial_code(err: &PartialError) -> &'static str {
    match err {
        PartialError::Malformed(_) => "malformed",
        PartialError::Suite { .. } => "suite",
        PartialError::OtherSuite { .. } => "other-suite",
        PartialError::OtherGroup { .. } => "other-group",
        PartialError::OtherLabel { .. } => "other-label",
        PartialError::UnknownCustodian { .. } => "unknown-custodian",
        PartialError::WrongShare { .. } => "wrong-share",
        PartialError::Proof { .. } => "proof",
    }
}

fn open_code(err: &OpenError) -> &'static str {
    match err {
        OpenError::NotEnough { .. } => "not-enough",
        OpenError::OtherGroup { .. } => "other-group",
        OpenError::OtherCapsule { .. } => "other-capsule",
        OpenError::MixedEpochs { .. } => "mixed-epochs",
        OpenError::NotEnoughShares { .. } => "not-enough-shares",
        OpenError::Commitment => "commitment",
        OpenError::Payload => "payload",
    }
}

fn group_code(err: &GroupError) -> &'static str {
    match err {
        GroupError::Class { .. } => "class",
        GroupError::Members { .. } => "members",
        GroupError::Threshold { .. } => "threshold",
        GroupError::ZeroIndex => "zero-index",
        GroupError::DuplicateIndex { .. } => "duplicate-index",
        GroupError::Key => "key",
        GroupError::Share { .. } => "share",
        GroupError::WrongKey => "wrong-key",
        GroupError::LowDegree { .. } => "low-degree",
        GroupError::OffPolynomial { .. } => "off-polynomial",
        GroupError::OtherId { .. } => "other-id",
        GroupError::Hex { .. } => "hex",
    }
}

/// Replaces the bytes from `at` on.
fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + patch.len()].copy_from_slice(patch);
    out
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    patched(bytes, at, &[bytes[at] ^ 1])
}

fn with_tail(bytes: &[u8], tail: &[u8]) -> Vec<u8> {
    [bytes, tail].concat()
}

/// The scene's capsule shifted by 42 in the exponent, as plain `ElGamal` would allow.
fn re_randomised(scene: &Scene<'_>) -> Vec<u8> {
    let bytes = scene.capsule.encode();
    let shift = |generator: &RistrettoPoint, at: usize| {
        let point = Element::decode(bytes[at..at + 32].try_into().expect("32")).expect("a point");
        (point.point() + generator * Scalar::from(42_u8)).compress().to_bytes()
    };
    let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
    let moved = patched(&bytes, 65, &shift(&base, 65));
    patched(&moved, 97, &shift(second_generator(), 97))
}

fn refused_capsules(scene: &Scene<'_>, other: &Cast) -> Vec<Value> {
    let good = scene.capsule.encode();
    let end = good.len();
    let this = &scene.cast.group;
    let own = &scene.fields;
    let changed = changed_labels(own);
    let relabelled = &changed[5].1;
    let as_relabelled = patched(&good, 33, &classical_label(relabelled).0);
    let mut cases = vec![
        ("empty", vec![], this, own, "malformed"),
        ("suite 4", patched(&good, 0, &[4]), this, own, "suite"),
        ("suite 2 claimed", patched(&good, 0, &[2]), this, own, "malformed"),
        ("last byte missing", good[..end - 1].to_vec(), this, own, "malformed"),
        ("a byte more", with_tail(&good, &[0]), this, own, "malformed"),
        ("u is the identity", patched(&good, 65, &[0; 32]), this, own, "malformed"),
        ("u-bar is the identity", patched(&good, 97, &[0; 32]), this, own, "malformed"),
        ("e is the order", patched(&good, 129, &hex32(ORDER)), this, own, "malformed"),
        ("f is the order", patched(&good, 161, &hex32(ORDER)), this, own, "malformed"),
        ("pq half", with_tail(&good[..end - 4], &[1, 0, 0, 0, 0]), this, own, "malformed"),
        ("no room for a tag", with_tail(&good[..257], &[15; 19]), this, own, "malformed"),
        ("masked key flipped", flipped(&good, 193), this, own, "proof"),
        ("commitment flipped", flipped(&good, 225), this, own, "proof"),
        ("payload flipped", flipped(&good, 261), this, own, "proof"),
        ("tag flipped", flipped(&good, end - 5), this, own, "proof"),
        ("e is zero", patched(&good, 129, &[0; 32]), this, own, "proof"),
        ("f is zero", patched(&good, 161, &[0; 32]), this, own, "proof"),
        ("re-randomised", re_randomised(scene), this, own, "proof"),
        ("relabelled", as_relabelled, this, relabelled, "proof"),
        ("another group", good.clone(), &other.group, own, "other-group"),
        (
            "moved to another group",
            patched(&good, 1, other.group.id().as_bytes()),
            &other.group,
            own,
            "proof",
        ),
    ];
    // A length field of 15 with 15 bytes behind it, and an empty pq section.
    cases[10].1[258..261].copy_from_slice(&[0; 3]);
    for (name, fields) in &changed {
        cases.push((name, good.clone(), this, fields, "other-label"));
    }
    let case =
        |(name, bytes, group, fields, expected): (&str, Vec<u8>, &Group, &LabelFields, &str)| {
            let err = Capsule::decode(&bytes)
                .and_then(|c| c.check(group, fields, &Demand::classical()))
                .expect_err(name);
            assert_eq!(capsule_code(&err), expected, "{name}: {err}");
            let group = if group == this { scene.cast.name } else { other.name };
            json!({
                "name": name,
                "group": group,
                "label": hex::encode(classical_label(fields).0),
                "capsule": hex::encode(bytes),
                "expected": expected,
            })
        };
    cases.into_iter().map(case).collect()
}

fn refused_partials(
    scene: &Scene<'_>,
    same_label: &Scene<'_>,
    later: &Scene<'_>,
    refreshed: &Cast,
) -> Vec<Value> {
    let good = scene.partial(1, 0).encode().to_vec();
    let cases = [
        ("empty", vec![], scene, scene.cast, "malformed"),
        ("suite 4", patched(&good, 0, &[4]), scene, scene.cast, "suite"),
        ("suite 2 claimed", patched(&good, 0, &[2]), scene, scene.cast, "malformed"),
        ("last byte missing", good[..166].to_vec(), scene, scene.cast, "malformed"),
        ("a byte more", with_tail(&good, &[0]), scene, scene.cast, "malformed"),
        ("another group", flipped(&good, 1), scene, scene.cast, "other-group"),
        ("another label", flipped(&good, 33), scene, scene.cast, "other-label"),
        ("custodian 0", patched(&good, 65, &[0, 0]), scene, scene.cast, "malformed"),
        ("custodian 2 claimed", patched(&good, 65, &[2, 0]), scene, scene.cast, "proof"),
        (
            "custodian 9 claimed",
            patched(&good, 65, &[9, 0]),
            scene,
            scene.cast,
            "unknown-custodian",
        ),
        ("share epoch claimed", patched(&good, 67, &[1]), scene, scene.cast, "proof"),
        ("u_i is the identity", patched(&good, 71, &[0; 32]), scene, scene.cast, "malformed"),
        (
            "u_i of another custodian",
            patched(&good, 71, &scene.partial(2, 0).encode()[71..103]),
            scene,
            scene.cast,
            "proof",
        ),
        ("e_i is the order", patched(&good, 103, &hex32(ORDER)), scene, scene.cast, "malformed"),
        ("f_i is the order", patched(&good, 135, &hex32(ORDER)), scene, scene.cast, "malformed"),
        ("e_i flipped", flipped(&good, 103), scene, scene.cast, "proof"),
        ("f_i flipped", flipped(&good, 135), scene, scene.cast, "proof"),
        ("replayed for a capsule of the same label", good.clone(), same_label, scene.cast, "proof"),
        ("replayed for a later snapshot", good.clone(), later, scene.cast, "other-label"),
        ("from before a refresh", good.clone(), scene, refreshed, "proof"),
    ];
    let case = |(name, bytes, scene, cast, expected): (&str, Vec<u8>, &Scene<'_>, &Cast, &str)| {
        let err = Partial::decode(&bytes)
            .and_then(|p| p.verify(&scene.checked, &cast.group))
            .expect_err(name);
        assert_eq!(partial_code(&err), expected, "{name}: {err}");
        json!({
            "name": name,
            "capsule": scene.name,
            "group": cast.name,
            "partial": hex::encode(bytes),
            "expected": expected,
        })
    };
    cases.into_iter().map(case).collect()
}

/// Opens a scene's capsule, or any other under the same label, with partials made for it.
fn opening(
    name: &str,
    scene: &Scene<'_>,
    capsule: &Capsule,
    answers: &[(u16, u32)],
    expected: &str,
) -> Value {
    let checked =
        capsule.check(&scene.cast.group, &scene.fields, &Demand::classical()).expect(name);
    let made: Vec<_> = answers
        .iter()
        .map(|(index, epoch)| {
            let fresh = fixed_bytes(&format!("{name} fresh {index} {epoch}"));
            let share = scene.cast.share(*index);
            Partial::make_with(&checked, share, &scene.cast.group, *epoch, &fresh).expect(name)
        })
        .collect();
    let verified: Vec<_> =
        made.iter().map(|p| p.verify(&checked, &scene.cast.group).expect(name)).collect();
    let found = match open(&checked, &scene.cast.group, &[], &verified) {
        Ok(opened) => hex::encode(opened.payload()),
        Err(err) => open_code(&err).to_owned(),
    };
    assert_eq!(found, expected, "{name}");
    json!({
        "name": name,
        "group": scene.cast.name,
        "label": hex::encode(scene.label().0),
        "capsule": hex::encode(capsule.encode()),
        "partials": made.iter().map(|p| hex::encode(p.encode())).collect::<Vec<_>>(),
        "expected": expected,
    })
}

fn openings(scene: &Scene<'_>, sparse: &Scene<'_>, single: &Scene<'_>) -> Vec<Value> {
    let lie = |sealed, commitment| {
        let secrets = secrets("lie");
        Capsule::prove(&scene.cast.group, &scene.label(), None, sealed, commitment, &secrets)
    };
    let payload = hex::encode(&scene.payload);
    let honest = commit(&secrets("lie").key, &scene.label());
    let of = |name, answers, expected| opening(name, scene, &scene.capsule, answers, expected);
    vec![
        of("first three", &[(1, 0), (2, 0), (3, 0)], &payload),
        of("last three, backwards", &[(5, 0), (4, 0), (3, 0)], &payload),
        of("all five", &[(1, 9), (2, 9), (3, 9), (4, 9), (5, 9)], &payload),
        of("nobody", &[], "not-enough"),
        of("one too few", &[(1, 0), (2, 0)], "not-enough"),
        of("one custodian three times", &[(4, 0), (4, 0), (4, 0)], "not-enough"),
        of("two share epochs", &[(1, 0), (2, 0), (3, 1)], "mixed-epochs"),
        opening(
            "key is not the committed one",
            scene,
            &lie(vec![7; 40], [7; 32]),
            &[(1, 0), (2, 0), (3, 0)],
            "commitment",
        ),
        opening(
            "payload under another key",
            scene,
            &lie(vec![7; 40], honest),
            &[(1, 0), (2, 0), (3, 0)],
            "payload",
        ),
        opening("sparse indices", sparse, &sparse.capsule, &[(200, 1), (7, 1)], ""),
        opening("threshold one", single, &single.capsule, &[(3, 0)], &hex::encode(&single.payload)),
    ]
}

fn refused_groups(cast: &Cast, other: &Cast) -> Vec<Value> {
    let key = cast.group.key();
    let members: Vec<_> =
        cast.group.members().iter().map(|m| (m.index(), m.verification_share())).collect();
    let with = |at: usize, member: (u16, [u8; 32])| {
        let mut members = members.clone();
        members[at] = member;
        members
    };
    let foreign = |i: u16| other.group.member(i).expect("a member").verification_share();
    let cases = [
        ("no class", "", 3, key, members.clone(), "class"),
        ("capital class", "Data", 3, key, members.clone(), "class"),
        ("no members", "data", 1, key, vec![], "members"),
        ("threshold 0", "data", 0, key, members.clone(), "threshold"),
        ("threshold above members", "data", 6, key, members.clone(), "threshold"),
        ("threshold too small for the key", "data", 2, key, members.clone(), "wrong-key"),
        ("threshold too large for the shares", "data", 4, key, members.clone(), "low-degree"),
        ("index 0", "data", 3, key, with(0, (0, members[0].1)), "zero-index"),
        ("index twice", "data", 3, key, with(0, (2, members[0].1)), "duplicate-index"),
        ("key is the identity", "data", 3, [0; 32], members.clone(), "key"),
        ("share is the identity", "data", 3, key, with(4, (5, [0; 32])), "share"),
        ("key of another group", "data", 3, other.group.key(), members.clone(), "wrong-key"),
        ("first share foreign", "data", 3, key, with(0, (1, foreign(7))), "wrong-key"),
        ("last share foreign", "data", 3, key, with(4, (5, foreign(7))), "off-polynomial"),
        ("last share repeats", "data", 3, key, with(4, (5, members[3].1)), "off-polynomial"),
    ];
    cases.into_iter().map(refused_group).collect()
}

/// Name, class, threshold, key, members, expected refusal.
type GroupCase = (&'static str, &'static str, u16, [u8; 32], Vec<(u16, [u8; 32])>, &'static str);

fn refused_group((name, class, threshold, key, members, expected): GroupCase) -> Value {
    let err = Group::new(class, threshold, key, members.clone()).expect_err(name);
    assert_eq!(group_code(&err), expected, "{name}: {err}");
    let members: Vec<_> = members
        .iter()
        .map(|(index, share)| json!({ "index": index, "share": hex::encode(share) }))
        .collect();
    json!({
        "name": name,
        "class": class,
        "threshold": threshold,
        "key": hex::encode(key),
        "members": members,
        "expected": expected,
    })
}

fn share_of_zoe(cast: &Cast) -> (SharePublic, ShareSecret) {
    let public = SharePublic {
        fleet: FleetId(fixed_bytes("fleet")),
        group: cast.group.id(),
        class: cast.group.class().to_owned(),
        index: 4,
        threshold: cast.group.threshold(),
        members: cast.group.members().len() as u16,
        share_epoch: 2,
        custodian: "Zoë".to_owned(),
        signing_key: "ed25519:example".to_owned(),
    };
    let secret = ShareSecret {
        share: cast.share(4).clone(),
        signing_seed: Zeroizing::new(fixed_bytes("signing seed")),
    };
    (public, secret)
}

fn wrapped_share_file(cast: &Cast) -> Value {
    let (public, secret) = share_of_zoe(cast);
    let wrapping_key = fixed_bytes("wrapping key");
    let key = SoftKey::new("Zoë's token", wrapping_key);
    let file = ShareFile::wrap(public, &secret, &key, &mut Seeded::new("wrapped file"));
    let text = file.expect("wraps").to_json();
    let opened = ShareFile::parse(text.as_bytes()).and_then(|file| file.unwrap_with(&key));
    let opened = opened.expect("opens");
    json!({
        "wrapping_key": hex::encode(wrapping_key),
        "scalar": hex::encode(opened.share.to_bytes()),
        "signing_seed": hex::encode(*opened.signing_seed),
        "text": text,
    })
}

fn share_file(cast: &Cast) -> Value {
    let (public, secret) = share_of_zoe(cast);
    let passphrase = "correct horse battery staple ⚓";
    // Far below what real files use: a checker without a fast Argon2 must bear it.
    let cheap = KdfCost { m_kib: 32, t: 2, p: 1 };
    let file =
        ShareFile::seal(public, &secret, passphrase.as_bytes(), cheap, &mut Seeded::new("file"))
            .expect("seals");
    let text = file.to_json();
    let opened = ShareFile::parse(text.as_bytes())
        .and_then(|file| file.open(passphrase.as_bytes()))
        .expect("opens");
    json!({
        "passphrase": passphrase,
        "scalar": hex::encode(opened.share.to_bytes()),
        "signing_seed": hex::encode(*opened.signing_seed),
        "text": text,
    })
}

fn all() -> Value {
    let main = Cast::new("three of five", "customer-data", 3, &[1, 2, 3, 4, 5]);
    let sparse = Cast::new("two of three", "keys-2", 2, &[2, 7, 200]);
    let single = Cast::new("one of three", "web-root", 1, &[1, 2, 3]);
    let refreshed = main.refreshed("three of five, refreshed");
    let scene = Scene::new("root reference", &main, 7, b"blake3:0123 and a key");
    let same_label = Scene::new("same label again", &main, 7, b"blake3:0123 and a key");
    let later = Scene::new("later snapshot", &main, 8, &[0xa5; 300]);
    let empty = Scene::new("empty payload", &sparse, u64::MAX, b"");
    let one = Scene::new("threshold one", &single, 0, &[1; 100]);
    let partials = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (1, u32::MAX)]
        .map(|(index, epoch)| scene.partial_json(index, epoch));
    let groups = [&main, &sparse, &single, &refreshed].map(Cast::to_json);
    let capsules = [&scene, &same_label, &later, &empty, &one].map(Scene::to_json);
    json!({
        "format": "seawall-escrow-vectors/1",
        "second_generator": hex::encode(second_generator().compress().as_bytes()),
        "bad_points": BAD_ENCODINGS,
        "groups": groups,
        "groups_refused": refused_groups(&main, &sparse),
        "capsules": capsules,
        "capsules_refused": refused_capsules(&scene, &sparse),
        "partials": partials,
        "partials_refused": refused_partials(&scene, &same_label, &later, &refreshed),
        "openings": openings(&scene, &empty, &one),
        "share_file": share_file(&main),
        "post_quantum": quantum::all(&main, &sparse),
        "share_file_wrapped": wrapped_share_file(&main),
        "post_quantum_bound": bound::all(&main),
    })
}

#[test]
fn the_file_is_what_the_code_makes() {
    let mut text = serde_json::to_string_pretty(&all()).expect("serialises");
    text.push('\n');
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        std::fs::write(PATH, &text).expect("docs/vectors can be written");
    }
    let golden = std::fs::read_to_string(PATH).expect("docs/vectors/escrow.json is there");
    let differs = golden.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        golden == text,
        "docs/vectors/escrow.json differs at line {:?}; if the format changed on purpose, rerun \
         with SEAWALL_BLESS=1 and look at the difference",
        differs.map(|n| n + 1)
    );
}
