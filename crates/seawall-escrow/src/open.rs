//! Opening a capsule with a quorum's verified partials.
//!
//! The partials are interpolated *in the exponent*: what comes out is the group's secret times
//! `u`, good for this one capsule. The group's secret itself appears nowhere.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use seawall_base::GroupId;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::capsule::{CheckedCapsule, commit};
use crate::curve::Polynomial;
use crate::group::Group;
use crate::partial::VerifiedPartial;

/// Why a capsule did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too few custodians have answered; ask more.
    #[error("opening needs {need} custodians of {group}, {have} have answered; ask {} more", need - have)]
    NotEnough {
        /// Distinct custodians whose partials are at hand.
        have: usize,
        /// The group's threshold.
        need: usize,
        /// The group.
        group: GroupId,
    },
    /// The capsule is sealed to another group.
    #[error("capsule is sealed to {found}, not to {expected}")]
    OtherGroup {
        /// The capsule's group.
        found: GroupId,
        /// The group given.
        expected: GroupId,
    },
    /// A partial was verified against another capsule.
    #[error("partial of custodian {index} answers another capsule")]
    OtherCapsule {
        /// The custodian's index.
        index: u16,
    },
    /// Partials of two sharings do not combine.
    #[error(
        "partials are of share epochs {first} and {other}; ask the custodians of one epoch only"
    )]
    MixedEpochs {
        /// The first partial's epoch.
        first: u32,
        /// A differing one.
        other: u32,
    },
    /// `K_s` is not the one committed to: the node that made the capsule made it wrongly.
    #[error("the key inside the capsule is not the committed one: its node made it wrongly")]
    Commitment,
    /// The payload does not open under `K_s`: the node that made the capsule made it wrongly.
    #[error("the capsule's payload does not open under its key: its node made it wrongly")]
    Payload,
}

/// Opens `capsule` with the partials of at least the group's threshold of distinct custodians.
pub fn open(
    capsule: &CheckedCapsule,
    group: &Group,
    partials: &[VerifiedPartial],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if capsule.group() != group.id() {
        return Err(OpenError::OtherGroup { found: capsule.group(), expected: group.id() });
    }
    let mut distinct: BTreeMap<u16, RistrettoPoint> = BTreeMap::new();
    for partial in partials {
        if !partial.answers(capsule) {
            return Err(OpenError::OtherCapsule { index: partial.index() });
        }
        let (first, other) = (partials[0].share_epoch(), partial.share_epoch());
        if first != other {
            return Err(OpenError::MixedEpochs { first, other });
        }
        distinct.insert(partial.index(), *partial.value().point());
    }
    let need = usize::from(group.threshold());
    if distinct.len() < need {
        return Err(OpenError::NotEnough { have: distinct.len(), need, group: group.id() });
    }
    let quorum: Vec<_> = distinct.into_iter().take(need).collect();
    let shared = Zeroizing::new(Polynomial::through(&quorum).at(0).compress());
    let key = capsule.unmask(shared.as_bytes());
    if !bool::from(commit(&key, capsule.label()).ct_eq(capsule.commitment())) {
        return Err(OpenError::Commitment);
    }
    capsule.open_payload(&key).ok_or(OpenError::Payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capsule::{Capsule, MAX_PAYLOAD, Secrets};
    use crate::curve::random_scalar;
    use crate::partial::Partial;
    use crate::share::SecretShare;
    use crate::testkit::{Seeded, label_fields, three_of_five};

    struct Scene {
        group: Group,
        shares: Vec<SecretShare>,
        capsule: CheckedCapsule,
        rng: Seeded,
    }

    fn scene(payload: &[u8]) -> Scene {
        let (group, shares) = three_of_five("open");
        let label = label_fields(group.id()).label().expect("a label");
        let mut rng = Seeded::new("open capsule");
        let capsule = Capsule::seal(&group, &label, payload, &mut rng).expect("seals");
        let capsule = capsule.check(&group, &label).expect("checks");
        Scene { group, shares, capsule, rng }
    }

    impl Scene {
        fn partial(&mut self, index: u16, epoch: u32) -> VerifiedPartial {
            let share = &self.shares[usize::from(index) - 1];
            Partial::make(&self.capsule, share, &self.group, epoch, &mut self.rng)
                .expect("answers")
                .verify(&self.capsule, &self.group)
                .expect("verifies")
        }

        fn open(&mut self, indices: &[u16]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
            let partials: Vec<_> = indices.iter().map(|i| self.partial(*i, 0)).collect();
            open(&self.capsule, &self.group, &partials)
        }
    }

    #[test]
    fn any_quorum_opens_and_all_agree() {
        for payload in [&b""[..], b"root reference", &[7; MAX_PAYLOAD]] {
            let mut scene = scene(payload);
            for quorum in [&[1, 2, 3][..], &[5, 3, 1], &[2, 4, 5], &[1, 2, 3, 4, 5]] {
                assert_eq!(scene.open(quorum).expect("opens").as_slice(), payload, "{quorum:?}");
            }
        }
    }

    #[test]
    fn too_few_custodians_open_nothing_and_one_twice_counts_once() {
        let mut scene = scene(b"x");
        let group = scene.group.id();
        for (indices, have) in [(&[][..], 0), (&[1, 2], 2), (&[2, 2, 2, 2], 1), (&[1, 5, 1], 2)] {
            let err = scene.open(indices).expect_err("refused");
            assert_eq!(err, OpenError::NotEnough { have, need: 3, group });
        }
        let text = scene.open(&[4]).expect_err("refused").to_string();
        assert!(text.contains("needs 3") && text.contains("1 have") && text.contains("2 more"));
    }

    #[test]
    fn partials_of_two_share_epochs_do_not_combine() {
        let mut scene = scene(b"x");
        let partials = [scene.partial(1, 0), scene.partial(2, 0), scene.partial(3, 1)];
        assert_eq!(
            open(&scene.capsule, &scene.group, &partials),
            Err(OpenError::MixedEpochs { first: 0, other: 1 })
        );
    }

    #[test]
    fn partials_for_one_capsule_do_not_open_another_with_the_same_label() {
        let mut scene = scene(b"first");
        let partials: Vec<_> = (1..=3).map(|i| scene.partial(i, 0)).collect();
        let label = *scene.capsule.label();
        let second = Capsule::seal(&scene.group, &label, b"second", &mut scene.rng)
            .expect("seals")
            .check(&scene.group, &label)
            .expect("checks");
        assert_eq!(
            open(&second, &scene.group, &partials),
            Err(OpenError::OtherCapsule { index: 1 })
        );
        let (other, _) = three_of_five("another group");
        assert_eq!(
            open(&scene.capsule, &other, &partials),
            Err(OpenError::OtherGroup { found: scene.group.id(), expected: other.id() })
        );
    }

    #[test]
    fn a_node_that_lied_about_the_key_or_the_payload_is_found_out() {
        let mut scene = scene(b"x");
        let label = *scene.capsule.label();
        let rng = &mut scene.rng;
        let secrets =
            Secrets { key: Zeroizing::new([8; 32]), r: random_scalar(rng), s: random_scalar(rng) };
        let honest = commit(&secrets.key, &label);
        for (commitment, expected) in
            [([0; 32], OpenError::Commitment), (honest, OpenError::Payload)]
        {
            let capsule = Capsule::prove(&scene.group, &label, vec![0; 40], commitment, &secrets);
            let bytes = capsule.encode();
            scene.capsule = Capsule::decode(&bytes)
                .expect("well formed")
                .check(&scene.group, &label)
                .expect("the proof holds: only a quorum sees the lie");
            assert_eq!(scene.open(&[1, 2, 3]), Err(expected));
        }
    }
}
