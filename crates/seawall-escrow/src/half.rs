//! What custodians do with the post-quantum half of a checked capsule.
//!
//! Each sees its own share and nobody else's. What it may show to others about a bad one is said
//! here too, so that a good one cannot be shown by mistake.

use crate::capsule::CheckedCapsule;
use crate::dealing::{DealingError, PqShare};
use crate::kem::KemSecret;

impl CheckedCapsule {
    /// What names the capsule's post-quantum half; `None` in suite 1.
    pub fn dealing(&self) -> Option<[u8; 32]> {
        self.half().map(|(half, context, _)| half.digest(context))
    }

    /// Indices of the custodians the post-quantum half has shares for; none in suite 1.
    pub fn addressed(&self) -> impl Iterator<Item = u16> + '_ {
        self.half().into_iter().flat_map(|(half, ..)| half.indices())
    }

    /// The commitment to a custodian's post-quantum share.
    pub fn share_commitment(&self, index: u16) -> Option<&[u8; 32]> {
        self.half().and_then(|(half, ..)| half.commitment(index))
    }

    /// Takes custodian `index`'s post-quantum share out and checks it against its commitment.
    pub fn open_share(&self, index: u16, key: &KemSecret) -> Result<PqShare, DealingError> {
        let (half, context, _) = self.half().ok_or(DealingError::NotAddressed { index })?;
        half.open(context, index, key)
    }

    /// Takes the post-quantum share out that one of `keys` opens, whatever its index: custodians
    /// keep their keys when a group is shared anew, and not their indices.
    pub fn open_own_share(&self, keys: &[KemSecret]) -> Option<PqShare> {
        self.addressed().find_map(|i| keys.iter().find_map(|key| self.open_share(i, key).ok()))
    }

    /// Index and key of the custodian that has one of `keys`, if the post-quantum half is for it.
    pub fn addressee<'k>(&self, keys: &'k [KemSecret]) -> Option<(u16, &'k KemSecret)> {
        let recipients = self.half()?.2.keys();
        keys.iter().find_map(|key| {
            let public = key.public();
            recipients.iter().find(|(_, it)| *it == public).map(|(index, _)| (*index, key))
        })
    }

    /// What custodian `index` can show to convict the dealer, if its share is not the committed
    /// one: [`CheckedCapsule::convicts`]. Never anything that opens a good share, and so nothing
    /// in suite 2, where the parcel may be a copy of somebody's good one.
    pub fn evidence(&self, index: u16, key: &KemSecret) -> Option<[u8; 32]> {
        let (half, context, _) = self.half()?;
        half.evidence(context, index, key)
    }

    /// Whether this, from custodian `index`, proves to anybody that the maker of the capsule dealt
    /// it something else than it committed to.
    pub fn convicts(&self, index: u16, evidence: &[u8; 32]) -> bool {
        self.half().is_some_and(|(half, context, _)| half.convicts(context, index, evidence))
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::scalar::Scalar;
    use zeroize::Zeroizing;

    use super::*;
    use crate::capsule::{Capsule, SUITE_BOUND, SUITE_PQ, Secrets};
    use crate::curve::random_scalar;
    use crate::dealing::{Context, Dealing, Recipients};
    use crate::demand::Demand;
    use crate::group::Group;
    use crate::label::LabelFields;
    use crate::testkit::{Seeded, kem_keys, label_fields, recipients, three_of_five};

    /// A group, its custodians' keys, and what a snapshot's capsule is for.
    struct Scene {
        group: Group,
        keys: Vec<KemSecret>,
        to: Recipients,
        fields: LabelFields,
    }

    impl Scene {
        fn new() -> Self {
            let (group, _) = three_of_five("half");
            let keys = kem_keys("half", 5);
            let (to, fields) = (recipients(&group, &keys), label_fields(group.id()));
            Self { group, keys, to, fields }
        }

        fn secrets(name: &str) -> Secrets {
            let rng = &mut Seeded::new(name);
            let (quantum, r, s) = (random_scalar(rng), random_scalar(rng), random_scalar(rng));
            Secrets { key: Zeroizing::new([8; 32]), quantum, r, s }
        }

        fn dealt(&self, suite: u8, secrets: &Secrets) -> (Context, Dealing) {
            let context = secrets.context(suite, &self.fields).expect("a label");
            (context, Dealing::deal(&secrets.quantum, &context, &self.to))
        }

        /// A capsule with a valid proof around any half.
        fn around(&self, suite: u8, half: Dealing, secrets: &Secrets) -> CheckedCapsule {
            let half = (suite, half);
            let sealed =
                Capsule::seal_half(&self.group, &self.fields, half, Scalar::ONE, b"x", secrets);
            let demand = Demand::post_quantum(vec![self.to.clone()], false);
            sealed.expect("seals").check(&self.group, &self.fields, &demand).expect("checks")
        }
    }

    /// Every commitment turned.
    fn spoilt(half: &Dealing) -> Dealing {
        let mut bytes = half.encode();
        for n in 0..5 {
            bytes[36 + 1170 * n + 2] ^= 1;
        }
        Dealing::decode(&bytes).expect("well formed")
    }

    #[test]
    fn a_half_moved_to_another_capsule_of_its_snapshot_gives_nothing_away() {
        let scene = Scene::new();
        let (old, new) = (Scene::secrets("sealer"), Scene::secrets("thief"));
        let (_, half) = scene.dealt(SUITE_BOUND, &old);
        let original = scene.around(SUITE_BOUND, half.clone(), &old);
        for (suite, half) in [SUITE_BOUND, SUITE_PQ]
            .into_iter()
            .flat_map(|suite| [(suite, half.clone()), (suite, spoilt(&half))])
        {
            let moved = scene.around(suite, half, &new);
            assert_ne!(moved.dealing(), original.dealing());
            for (i, key) in (1..).zip(&scene.keys) {
                original.open_share(i, key).expect("the sealer's is good");
                let refused = Some(DealingError::Sealed { index: i });
                assert_eq!(moved.open_share(i, key).err(), refused, "suite {suite}");
                assert_eq!(moved.evidence(i, key), None, "suite {suite}");
            }
            assert!(moved.open_own_share(&scene.keys).is_none());
        }
    }

    #[test]
    fn spoilt_commitments_give_nothing_away_to_whoever_computes_logarithms() {
        // The thief knows the sealer's `r`, and so writes a capsule with the same points.
        let scene = Scene::new();
        let old = Scene::secrets("sealer");
        let new = Secrets { key: Zeroizing::new([9; 32]), ..Scene::secrets("sealer") };
        let (_, half) = scene.dealt(SUITE_BOUND, &old);
        let forged = scene.around(SUITE_BOUND, spoilt(&half), &new);
        for (i, key) in (1..).zip(&scene.keys) {
            let refused = Some(DealingError::Sealed { index: i });
            assert_eq!(forged.open_share(i, key).err(), refused);
            assert_eq!(forged.evidence(i, key), None);
        }
    }

    #[test]
    fn spoilt_commitments_of_an_old_half_are_seen_and_nothing_is_shown() {
        let scene = Scene::new();
        let (old, new) = (Scene::secrets("sealer"), Scene::secrets("thief"));
        let (_, half) = scene.dealt(SUITE_PQ, &old);
        let moved = scene.around(SUITE_PQ, spoilt(&half), &new);
        for (i, key) in (1..).zip(&scene.keys) {
            let refused = Some(DealingError::Committed { index: i });
            assert_eq!(moved.open_share(i, key).err(), refused, "it does open");
            assert_eq!(moved.evidence(i, key), None, "and that is kept");
        }
        // A capsule of the later suite takes none of it.
        let moved = scene.around(SUITE_BOUND, half, &new);
        assert!(moved.open_own_share(&scene.keys).is_none());
    }

    #[test]
    fn a_sealer_that_lies_to_one_custodian_is_convicted() {
        let scene = Scene::new();
        let secrets = Scene::secrets("liar");
        let (context, _) = scene.dealt(SUITE_BOUND, &secrets);
        let half = Dealing::deal_saying(&secrets.quantum, &context, &scene.to, |i, mut said| {
            said[9] ^= u8::from(i == 4);
            said
        });
        let capsule = scene.around(SUITE_BOUND, half, &secrets);
        let shown = capsule.evidence(4, &scene.keys[3]).expect("it opens to another share");
        assert!(capsule.convicts(4, &shown) && !capsule.convicts(5, &shown));
        assert_eq!(capsule.evidence(5, &scene.keys[4]), None);
    }
}
