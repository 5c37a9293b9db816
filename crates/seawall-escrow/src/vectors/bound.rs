//! The vectors of suite 3. What it shares with suite 2 is not said again.

use serde_json::{Value, json};

use super::quantum::{
    Places, Scene, conviction, given, keys_json, opening, recipients, recipients_json,
};
use super::{Cast, capsule_code, flipped, patched};
use crate::capsule::{Capsule, SUITE_BOUND, SUITE_PQ, Secrets};
use crate::dealing::{Context, Dealing, Recipients};
use crate::demand::Demand;
use crate::hand_over::HandOver;
use crate::kem::KemSecret;
use crate::testkit::kem_keys;

/// Where custodian `index`'s parcel begins in a half for five.
const fn parcel(index: usize) -> usize {
    36 + (index - 1) * 1170
}

struct Scenes<'a> {
    keys: &'a [KemSecret],
    good: Scene<'a>,
    /// The fourth's parcel does not open, the fifth's opens to something else.
    lying: Scene<'a>,
    /// The good one's half in somebody else's capsule.
    moved: Scene<'a>,
    /// The good one's points around its half with the commitments turned, by whoever could.
    turned: Scene<'a>,
}

impl<'a> Scenes<'a> {
    fn new(cast: &'a Cast, keys: &'a [KemSecret]) -> Self {
        let scene = |name, sealer, deal: &dyn Fn(&Secrets, &Context, &Recipients) -> Dealing| {
            Scene::dealt((name, sealer), SUITE_BOUND, cast, keys, b"blake3:0123 and a key", deal)
        };
        let good = scene("bound", "bound", &|secrets, context, to| {
            Dealing::deal(&secrets.quantum, context, to)
        });
        let half = half(&good);
        let lying = scene("bound, misdealt", "bound, misdealt", &|secrets, context, to| {
            let lie = |index, mut said: [u8; 32]| {
                said[8] ^= u8::from(index == 5);
                said
            };
            let dealt = Dealing::deal_saying(&secrets.quantum, context, to, lie);
            Dealing::decode(&flipped(&dealt.encode(), parcel(4) + 700)).expect("well formed")
        });
        let moved = scene("bound, misdealt: moved", "a thief", &|_, _, _| half.clone());
        let turned = scene("bound, misdealt: commitments turned", "bound", &|_, _, _| {
            let bytes = (1..=5).fold(half.encode(), |all, n| flipped(&all, parcel(n) + 2));
            Dealing::decode(&bytes).expect("well formed")
        });
        Self { keys, good, lying, moved, turned }
    }

    fn all(&self) -> [&Scene<'a>; 4] {
        [&self.good, &self.lying, &self.moved, &self.turned]
    }

    fn refused(&self) -> Vec<Value> {
        let good = &self.good;
        let bytes = good.capsule.encode();
        let points = &self.moved.capsule.encode()[65..129];
        let cases = [
            ("suite 2 claimed", patched(&bytes, 0, &[SUITE_PQ]), "other-label"),
            ("suite 4 claimed", patched(&bytes, 0, &[4]), "suite"),
            ("another capsule's points", patched(&bytes, 65, points), "other-label"),
        ];
        let demand = Demand::post_quantum(vec![good.recipients()], false);
        let case = |(name, bytes, expected): (&str, Vec<u8>, &str)| {
            let err = Capsule::decode(&bytes)
                .and_then(|c| c.check(&good.cast.group, &good.fields, &demand))
                .expect_err(name);
            assert_eq!(capsule_code(&err), expected, "{name}: {err}");
            json!({
                "name": name,
                "capsule_of": good.name,
                "recipients": recipients_json(good.cast.group.threshold(), &good.places),
                "capsule": hex::encode(bytes),
                "expected": expected,
            })
        };
        cases.into_iter().map(case).collect()
    }

    fn openings(&self) -> [Value; 4] {
        let (good, lying) = (&self.good, &self.lying);
        let own = |scene: &Scene<'_>, index| {
            scene.partial(index, vec![scene.share(index).expect("good")])
        };
        let bare = |index| good.partial(index, Vec::new());
        let newcomers: Places = vec![(1, 3), (4, 4)];
        let to = recipients(2, &newcomers, self.keys);
        let handed = [1, 2, 5].map(|index| {
            HandOver::make(&good.share(index).expect("good"), &to).check(&to).expect("for them")
        });
        let of = |index, key: usize| {
            handed.iter().map(|it| it.open_share(index, &self.keys[key]).expect("good")).collect()
        };
        let with = [good.partial(1, of(1, 3)), good.partial(2, of(4, 4)), bare(3)];
        [
            opening("three of five", good, &[], &[5, 1, 3].map(|i| own(good, i)), Ok(0)),
            opening("partials alone", good, &[], &[1, 2, 3].map(bare), Err("not-enough-shares")),
            opening("cheated custodians", lying, &[], &[1, 2, 3].map(|i| own(lying, i)), Ok(1)),
            opening("handed over", good, &given(&handed, &newcomers), &with, Ok(0)),
        ]
    }

    /// What opens the first's good parcel convicts nobody who copied it, and is never shown.
    fn convictions(&self) -> [Value; 5] {
        for scene in [&self.good, &self.moved, &self.turned] {
            for (i, key) in (1..).zip(self.keys) {
                assert_eq!(scene.checked.evidence(i, key), None);
            }
        }
        let shown = self.lying.checked.evidence(5, &self.keys[4]).expect("it is another share");
        let ciphertext = &half(&self.good).encode()[parcel(1) + 34..][..1088];
        let stolen = *self.keys[0].decapsulate(ciphertext.try_into().expect("1088 bytes"));
        [
            conviction(&self.lying, 5, shown, true),
            conviction(&self.lying, 4, shown, false),
            conviction(&self.good, 1, stolen, false),
            conviction(&self.moved, 1, stolen, false),
            conviction(&self.turned, 1, stolen, false),
        ]
    }
}

fn half(scene: &Scene<'_>) -> Dealing {
    scene.checked.half().expect("a half").0.clone()
}

pub(super) fn all(cast: &Cast) -> Value {
    let keys = kem_keys("bound vectors", 5);
    let scenes = Scenes::new(cast, &keys);
    let capsules = scenes.all().map(|scene| {
        let mut it = scene.to_json();
        let (_, context, _) = scene.checked.half().expect("a half");
        it["context"] = json!(hex::encode(context.bytes()));
        it
    });
    let shares = scenes.all().map(|s| json!({ "capsule_of": s.name, "shares": s.shares_json() }));
    json!({
        "keys": keys_json(&keys),
        "capsules": capsules,
        "capsules_refused": scenes.refused(),
        "shares": shares,
        "openings": scenes.openings(),
        "convictions": scenes.convictions(),
    })
}
