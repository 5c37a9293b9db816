//! The vectors of suite 2: dealings, shares, hand-overs, and what is found out about dealers.
//!
//! Nothing is sealed in suite 2 any more, and what was sealed in it must open: its vectors stay.

use serde_json::{Value, json};

use super::{
    Cast, capsule_code, fields, fields_json, fixed_bytes, flipped, open_code, patched, secrets,
};
use crate::capsule::{Capsule, CheckedCapsule, SUITE, SUITE_PQ, Secrets};
use crate::curve::random_scalar;
use crate::dealing::{Context, Dealing, DealingError, PqShare, Recipients};
use crate::demand::Demand;
use crate::hand_over::{CheckedHandOver, HandOver};
use crate::kem::KemSecret;
use crate::label::LabelFields;
use crate::open::{Dealer, Misdealt, open};
use crate::partial::Partial;
use crate::testkit::{Seeded, kem_keys};

/// Indices into the list of keys, by custodian index.
pub(super) type Places = Vec<(u16, usize)>;

pub(super) fn recipients(threshold: u16, places: &Places, keys: &[KemSecret]) -> Recipients {
    let to = places.iter().map(|(index, key)| (*index, keys[*key].public())).collect();
    Recipients::new(threshold, to).expect("recipients")
}

pub(super) fn recipients_json(threshold: u16, places: &Places) -> Value {
    json!({ "threshold": threshold, "keys": places })
}

/// A capsule of suite 2 or 3 with everything that went into it.
pub(super) struct Scene<'a> {
    pub(super) name: &'static str,
    pub(super) suite: u8,
    /// Whose secrets it is made of.
    sealer: &'static str,
    pub(super) cast: &'a Cast,
    pub(super) keys: &'a [KemSecret],
    pub(super) places: Places,
    pub(super) fields: LabelFields,
    payload: &'static [u8],
    pub(super) capsule: Capsule,
    pub(super) checked: CheckedCapsule,
}

impl<'a> Scene<'a> {
    fn new(
        name: &'static str,
        cast: &'a Cast,
        keys: &'a [KemSecret],
        payload: &'static [u8],
        edit: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> Self {
        Self::dealt((name, name), SUITE_PQ, cast, keys, payload, |secrets, context, to| {
            let dealt = Dealing::deal(&secrets.quantum, context, to).encode();
            Dealing::decode(&edit(dealt)).expect("well formed")
        })
    }

    pub(super) fn dealt(
        (name, sealer): (&'static str, &'static str),
        suite: u8,
        cast: &'a Cast,
        keys: &'a [KemSecret],
        payload: &'static [u8],
        deal: impl FnOnce(&Secrets, &Context, &Recipients) -> Dealing,
    ) -> Self {
        let fields = fields(cast.group.id(), 9);
        let places: Places = cast.shares.iter().zip(0..).map(|(s, n)| (s.index(), n)).collect();
        let to = recipients(cast.group.threshold(), &places, keys);
        let secrets = secrets(sealer);
        let context = secrets.context(suite, &fields).expect("a label");
        let half = (suite, deal(&secrets, &context, &to));
        let capsule =
            Capsule::seal_half(&cast.group, &fields, half, *secrets.quantum, payload, &secrets)
                .expect("seals");
        let demand = Demand::post_quantum(vec![to], false);
        let checked = capsule.check(&cast.group, &fields, &demand).expect("checks");
        Self { name, suite, sealer, cast, keys, places, fields, payload, capsule, checked }
    }

    pub(super) fn recipients(&self) -> Recipients {
        recipients(self.cast.group.threshold(), &self.places, self.keys)
    }

    pub(super) fn share(&self, index: u16) -> Result<PqShare, DealingError> {
        let (_, key) = self.places.iter().find(|(i, _)| *i == index).expect("a member");
        self.checked.open_share(index, &self.keys[*key])
    }

    pub(super) fn partial(&self, index: u16, shares: Vec<PqShare>) -> Partial {
        let fresh = fixed_bytes(&format!("{} fresh {index}", self.name));
        let share = self.cast.share(index);
        Partial::make_with(&self.checked, share, &self.cast.group, 0, &fresh)
            .expect("answers")
            .with_shares(shares)
    }

    pub(super) fn to_json(&self) -> Value {
        let secrets = secrets(self.sealer);
        let mut of = fields_json(&self.fields);
        of["suite"] = json!(self.suite);
        of["pq_digest"] = json!(hex::encode(self.checked.dealing().expect("a half")));
        json!({
            "name": self.name,
            "group": self.cast.name,
            "recipients": recipients_json(self.cast.group.threshold(), &self.places),
            "label_fields": of,
            "core_label": hex::encode(self.fields.core_label(self.suite).expect("a label").0),
            "label": hex::encode(self.capsule.label().0),
            "payload": hex::encode(self.payload),
            "tdh2_secret": hex::encode(*secrets.key),
            "dealt_secret": hex::encode(secrets.quantum.as_bytes()),
            "r": hex::encode(secrets.r.as_bytes()),
            "s": hex::encode(secrets.s.as_bytes()),
            "capsule": hex::encode(self.capsule.encode()),
        })
    }

    pub(super) fn shares_json(&self) -> Vec<Value> {
        let shares = self.places.iter().map(|(index, key)| {
            let found = match self.share(*index) {
                Ok(share) => hex::encode(share.value().as_bytes()),
                Err(DealingError::Sealed { .. }) => "sealed".to_owned(),
                Err(DealingError::Committed { .. }) => "committed".to_owned(),
                Err(other) => panic!("{other}"),
            };
            json!({ "index": index, "key": key, "expected": found })
        });
        shares.collect()
    }
}

fn refused(scene: &Scene<'_>, other: &Scene<'_>) -> Vec<Value> {
    let good = scene.capsule.encode();
    let half = good.len() - (36 + 5 * 1170);
    let secrets = secrets("without a half");
    let classical =
        Capsule::seal_with(&scene.cast.group, &scene.fields, None, scene.payload, &secrets)
            .expect("seals")
            .encode();
    let label = scene.fields.label(SUITE, &[0; 32]).expect("a label");
    let mut stripped = patched(&good[..half], 33, &label.0);
    stripped[0] = SUITE;
    stripped[half - 4..].fill(0);
    let relabelled = {
        let bytes = flipped(&good, half + 40);
        let changed = Dealing::decode(&bytes[half..]).expect("well formed");
        let context = secrets.context(SUITE_PQ, &scene.fields).expect("a label");
        let label = scene.fields.label(SUITE_PQ, &changed.digest(&context)).expect("a label");
        patched(&bytes, 33, &label.0)
    };
    let to = (scene.cast.group.threshold(), &scene.places);
    let cases = [
        ("suite 1 claimed", patched(&good, 0, &[1]), to, "malformed"),
        ("threshold 0", patched(&good, half + 32, &[0, 0]), to, "malformed"),
        ("threshold above the shares", patched(&good, half + 32, &[6, 0]), to, "malformed"),
        ("a share less claimed", patched(&good, half + 34, &[4, 0]), to, "malformed"),
        ("custodian 0", patched(&good, half + 36, &[0, 0]), to, "malformed"),
        ("custodian twice", patched(&good, half + 36 + 1170, &[1, 0]), to, "malformed"),
        ("commitment flipped", flipped(&good, half + 40), to, "other-label"),
        ("ciphertext flipped", flipped(&good, half + 700), to, "other-label"),
        ("commitment flipped, labelled anew", relabelled, to, "proof"),
        ("half taken off", stripped, to, "proof"),
        ("no half where one is demanded", classical, to, "downgraded"),
        ("for a lower threshold", good.clone(), (2, &scene.places), "other-recipients"),
        ("for other custodians", good.clone(), (2, &other.places), "other-recipients"),
    ];
    let case = |(name, bytes, (threshold, places), expected): (&str, Vec<u8>, (u16, _), &str)| {
        let demand = Demand::post_quantum(vec![recipients(threshold, places, scene.keys)], false);
        let err = Capsule::decode(&bytes)
            .and_then(|c| c.check(&scene.cast.group, &scene.fields, &demand))
            .expect_err(name);
        assert_eq!(capsule_code(&err), expected, "{name}: {err}");
        json!({
            "name": name,
            "capsule_of": scene.name,
            "recipients": recipients_json(threshold, places),
            "capsule": hex::encode(bytes),
            "expected": expected,
        })
    };
    cases.into_iter().map(case).collect()
}

/// Who is named: 0 for the node, otherwise the custodian that handed on.
fn named(misdealt: &[Misdealt]) -> Vec<Value> {
    let one = |it: &Misdealt| {
        let dealer = match it.dealer {
            Dealer::Node => 0,
            Dealer::Custodian(index) => index,
        };
        json!({
            "dealer": dealer,
            "dealing": hex::encode(it.dealing),
            "custodians": it.custodians,
        })
    };
    misdealt.iter().map(one).collect()
}

pub(super) type Given<'a> = (&'a CheckedHandOver, u16, &'a Places);

/// Hand-overs to newcomers of whom it takes two.
pub(super) fn given<'a>(list: &'a [CheckedHandOver], places: &'a Places) -> Vec<Given<'a>> {
    list.iter().map(|it| (it, 2, places)).collect()
}

pub(super) fn opening(
    name: &str,
    scene: &Scene<'_>,
    given: &[Given<'_>],
    partials: &[Partial],
    expected: Result<usize, &str>,
) -> Value {
    let verified: Vec<_> = partials
        .iter()
        .map(|p| p.verify(&scene.checked, &scene.cast.group).expect("verifies"))
        .collect();
    let hand_overs: Vec<_> = given.iter().map(|(given, ..)| (*given).clone()).collect();
    let opened = open(&scene.checked, &scene.cast.group, &hand_overs, &verified);
    let (text, misdealt) = match &opened {
        Ok(opened) => (hex::encode(opened.payload()), named(opened.misdealt())),
        Err(err) => (open_code(err).to_owned(), Vec::new()),
    };
    match expected {
        Ok(count) => {
            assert_eq!((text.as_str(), misdealt.len()), (&*hex::encode(scene.payload), count));
        }
        Err(code) => assert_eq!(text, code, "{name}"),
    }
    let given = given.iter().map(|(given, threshold, places)| {
        json!({
            "bytes": hex::encode(given.hand_over().encode()),
            "recipients": recipients_json(*threshold, places),
        })
    });
    json!({
        "name": name,
        "capsule_of": scene.name,
        "hand_overs": given.collect::<Vec<_>>(),
        "partials": partials.iter().map(|p| hex::encode(p.encode())).collect::<Vec<_>>(),
        "expected": text,
        "misdealt": misdealt,
    })
}

fn openings(scene: &Scene<'_>, spoilt: &Scene<'_>) -> Vec<Value> {
    let own =
        |scene: &Scene<'_>, index| scene.partial(index, vec![scene.share(index).expect("good")]);
    let bare = |index| scene.partial(index, Vec::new());
    let newcomers: Places = vec![(1, 3), (4, 4)];
    let to = recipients(2, &newcomers, scene.keys);
    let hand = |share: &PqShare| HandOver::make(share, &to).check(&to).expect("for them");
    let honest: Vec<_> =
        [1, 2, 5].map(|i| hand(&scene.share(i).expect("good"))).into_iter().collect();
    let lie = {
        let mut bytes = seawall_base::wire::Writer::new();
        let other = *random_scalar(&mut Seeded::new("a lie"));
        bytes.raw(scene.share(3).expect("good").dealing()).u16(3).raw(other.as_bytes());
        let bytes = bytes.into_vec();
        let mut r = seawall_base::wire::Reader::new(&bytes);
        hand(&PqShare::read(&mut r).expect("a scalar"))
    };
    let of = |given: &[CheckedHandOver], index: u16, key: usize| {
        let open = |it: &CheckedHandOver| it.open_share(index, &scene.keys[key]).expect("good");
        given.iter().map(open).collect::<Vec<_>>()
    };
    let some = vec![honest[0].clone(), lie];
    let with = |given: &[CheckedHandOver]| {
        vec![scene.partial(1, of(given, 1, 3)), scene.partial(2, of(given, 4, 4)), bare(3)]
    };
    let mut beside = with(&some);
    beside.push(own(scene, 4));
    beside.push(own(scene, 5));
    vec![
        opening("three of five", scene, &[], &[5, 1, 3].map(|i| own(scene, i)), Ok(0)),
        opening("partials alone", scene, &[], &[1, 2, 3].map(bare), Err("not-enough-shares")),
        opening(
            "shares of others",
            scene,
            &[],
            &[
                bare(1),
                bare(2),
                scene.partial(3, [2, 4, 5].map(|i| scene.share(i).expect("good")).to_vec()),
            ],
            Ok(0),
        ),
        opening("a cheated custodian", spoilt, &[], &[1, 2, 3].map(|i| own(spoilt, i)), Ok(1)),
        opening("handed over", scene, &given(&honest, &newcomers), &with(&honest), Ok(0)),
        opening(
            "handed over, one short",
            scene,
            &given(&honest[1..], &newcomers),
            &with(&honest),
            Err("not-enough-shares"),
        ),
        opening("handed over wrongly", scene, &given(&some, &newcomers), &beside, Ok(1)),
    ]
}

/// Whether something that custodian shows convicts the dealer.
pub(super) fn conviction(
    of: &Scene<'_>,
    custodian: u16,
    evidence: [u8; 32],
    convicts: bool,
) -> Value {
    assert_eq!(of.checked.convicts(custodian, &evidence), convicts);
    json!({
        "capsule_of": of.name,
        "custodian": custodian,
        "evidence": hex::encode(evidence),
        "convicts": convicts,
    })
}

/// What a custodian shows of its parcel, and whether that convicts the dealer.
fn convictions(scene: &Scene<'_>, spoilt: &Scene<'_>) -> Vec<Value> {
    // Earlier versions showed it; this one keeps what opens a parcel of suite 2.
    assert_eq!(spoilt.checked.evidence(5, &spoilt.keys[4]), None);
    let (half, ..) = spoilt.checked.half().expect("a half");
    let parcel = &half.encode()[36 + 4 * 1170..];
    let shown = *spoilt.keys[4].decapsulate(parcel[34..34 + 1088].try_into().expect("1088 bytes"));
    assert_eq!(spoilt.checked.evidence(4, &spoilt.keys[3]), None, "it does not open");
    assert_eq!(spoilt.checked.evidence(1, &spoilt.keys[0]), None, "a good share is not shown");
    vec![
        conviction(spoilt, 5, shown, true),
        conviction(spoilt, 4, shown, false),
        conviction(spoilt, 5, [7; 32], false),
        conviction(scene, 5, shown, false),
    ]
}

pub(super) fn keys_json(keys: &[KemSecret]) -> Vec<Value> {
    let keys = keys.iter().map(|key| {
        json!({
            "secret": hex::encode(*key.to_bytes()),
            "public": hex::encode(key.public().as_bytes()),
        })
    });
    keys.collect()
}

pub(super) fn all(main: &Cast, sparse: &Cast) -> Value {
    let keys = kem_keys("vectors", 5);
    let scene = Scene::new("post-quantum", main, &keys, b"blake3:0123 and a key", |half| half);
    let few = Scene::new("post-quantum, sparse", sparse, &keys, b"", |half| half);
    let spoilt = Scene::new("post-quantum, misdealt", main, &keys, b"x", |mut half| {
        half[36 + 3 * 1170 + 700] ^= 1;
        half[36 + 4 * 1170 + 10] ^= 1;
        half
    });
    let scenes = [&scene, &few, &spoilt];
    let shares = scenes.map(|s| json!({ "capsule_of": s.name, "shares": s.shares_json() }));
    assert_eq!(few.recipients().keys().len(), 3);
    json!({
        "keys": keys_json(&keys),
        "capsules": scenes.map(Scene::to_json),
        "capsules_refused": refused(&scene, &few),
        "shares": shares,
        "openings": openings(&scene, &spoilt),
        "convictions": convictions(&scene, &spoilt),
    })
}
