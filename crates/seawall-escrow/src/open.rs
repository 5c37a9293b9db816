//! Opening a capsule with a quorum's verified partials.
//!
//! The partials are interpolated *in the exponent*: what comes out is the group's secret times
//! `u`, good for this one capsule. The group's secret itself appears nowhere.
//!
//! With a post-quantum half the custodians' shares of it are interpolated as well. What the node dealt
//! is then made again from its secret and compared: a node, or a custodian who handed a share on,
//! that dealt wrongly to anybody is named, even where the capsule opens in spite of it.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use seawall_base::GroupId;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::capsule::{CheckedCapsule, commit};
use crate::curve::Polynomial;
use crate::dealing::{Context, Dealing, PqShare, Recipients, interpolate};
use crate::group::Group;
use crate::hand_over::CheckedHandOver;
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
    /// Too few post-quantum shares are at hand; ask more custodians.
    #[error(
        "opening needs the post-quantum shares of {need} custodians of {group}, {have} good ones \
         are at hand; ask more, or bring the hand-over files"
    )]
    NotEnoughShares {
        /// Good shares at hand.
        have: usize,
        /// How many the dealing needs.
        need: usize,
        /// The group.
        group: GroupId,
    },
    /// `K_s` is not the one committed to: the node that made the capsule made it wrongly.
    #[error("the key inside the capsule is not the committed one: its node made it wrongly")]
    Commitment,
    /// The payload does not open under `K_s`: the node that made the capsule made it wrongly.
    #[error("the capsule's payload does not open under its key: its node made it wrongly")]
    Payload,
}

/// Who dealt post-quantum shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dealer {
    /// The node that made the capsule.
    Node,
    /// A custodian who handed its share on: its index in the dealing that share is of.
    Custodian(u16),
}

/// A dealing that is not what an honest dealer makes of its secret. Whoever has the secret can
/// show it to anybody who has the dealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misdealt {
    /// Who dealt.
    pub dealer: Dealer,
    /// The dealing's digest.
    pub dealing: [u8; 32],
    /// The custodians that were dealt something wrong.
    pub custodians: Vec<u16>,
}

/// What an opened capsule held.
#[derive(Debug)]
pub struct Opened {
    payload: Zeroizing<Vec<u8>>,
    misdealt: Vec<Misdealt>,
}

impl Opened {
    /// What was sealed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Dealers of post-quantum shares who dealt wrongly to somebody; empty if all were honest.
    pub fn misdealt(&self) -> &[Misdealt] {
        &self.misdealt
    }
}

/// Opens `capsule` with the partials of at least the group's threshold of distinct custodians,
/// and with the post-quantum shares that came with them, if there is a half. `hand_overs` are needed where
/// shares were given on to other custodians.
pub fn open(
    capsule: &CheckedCapsule,
    group: &Group,
    hand_overs: &[CheckedHandOver],
    partials: &[VerifiedPartial],
) -> Result<Opened, OpenError> {
    if capsule.group() != group.id() {
        return Err(OpenError::OtherGroup { found: capsule.group(), expected: group.id() });
    }
    let shared = combine(capsule, group, partials)?;
    let hand_overs = hand_overs.iter().map(|it| (it.hand_over().digest(), it)).collect();
    let mut recovery = Recovery { hand_overs, partials, misdealt: Vec::new() };
    let dealt = match capsule.half() {
        Some((half, context, recipients)) => {
            let root = (half, *context, recipients);
            let need = usize::from(half.threshold());
            let too_few = |have| OpenError::NotEnoughShares { have, need, group: group.id() };
            Some(recovery.recover(root).map_err(too_few)?)
        }
        None => None,
    };
    let key = capsule.key(&shared, dealt.as_deref());
    if !bool::from(commit(&key, capsule.label()).ct_eq(capsule.commitment())) {
        return Err(OpenError::Commitment);
    }
    if let (Some((half, context, recipients)), Some(secret)) = (capsule.half(), &dealt) {
        recovery.judge(Dealer::Node, (half, *context, recipients), secret);
    }
    let payload = capsule.open_payload(&key).ok_or(OpenError::Payload)?;
    Ok(Opened { payload, misdealt: recovery.misdealt })
}

/// The group's secret times `u`, compressed.
fn combine(
    capsule: &CheckedCapsule,
    group: &Group,
    partials: &[VerifiedPartial],
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
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
    Ok(Zeroizing::new(Polynomial::through(&quorum).at(0).compress().to_bytes()))
}

/// Shares at hand, and what is found out about dealers while dealings are recovered from them.
struct Recovery<'a> {
    /// By digest, so that one given twice is looked at once.
    hand_overs: BTreeMap<[u8; 32], &'a CheckedHandOver>,
    partials: &'a [VerifiedPartial],
    misdealt: Vec<Misdealt>,
}

/// A dealing, its context, and whom it is for.
type Dealt<'a> = (&'a Dealing, Context, &'a Recipients);

impl<'a> Recovery<'a> {
    /// The secret of a dealing, from shares of it and from shares of those given on; how many
    /// good shares there were if they are too few.
    ///
    /// The recursion ends: a hand-over is named by a hash of its parent's name, so no chain of
    /// them comes back to where it began, and each is visited once on the way from its parent.
    fn recover(&mut self, (dealing, context, _): Dealt<'a>) -> Result<Zeroizing<Scalar>, usize> {
        let digest = dealing.digest(&context);
        let mut good: BTreeMap<u16, Zeroizing<Scalar>> = BTreeMap::new();
        let shares = self.partials.iter().flat_map(VerifiedPartial::shares);
        for share in shares.filter(|share: &&PqShare| *share.dealing() == digest) {
            if dealing.commits_to(&context, share.index(), share.value()) {
                good.insert(share.index(), Zeroizing::new(*share.value()));
            }
        }
        let is_child = |it: &&CheckedHandOver| *it.hand_over().parent() == digest;
        let children: Vec<_> = self.hand_overs.values().copied().filter(is_child).collect();
        for given in children {
            let dealer = given.hand_over().dealer();
            let Ok(value) = self.recover(given.parts()) else { continue };
            if dealing.commits_to(&context, dealer, &value) {
                self.judge(Dealer::Custodian(dealer), given.parts(), &value);
                good.entry(dealer).or_insert(value);
            } else {
                self.name(Dealer::Custodian(dealer), given.parts(), Vec::new());
            }
        }
        let need = usize::from(dealing.threshold());
        if good.len() < need {
            return Err(good.len());
        }
        let quorum: Vec<_> = good.iter().take(need).map(|(i, share)| (*i, &**share)).collect();
        Ok(interpolate(&quorum))
    }

    /// Makes a dealing again and names its dealer if it comes out otherwise.
    fn judge(&mut self, dealer: Dealer, dealt: Dealt<'_>, secret: &Scalar) {
        let (dealing, context, recipients) = dealt;
        let wrong = dealing.misdealt(secret, &context, recipients);
        if !wrong.is_empty() {
            self.name(dealer, dealt, wrong);
        }
    }

    /// Notes a dealer; no custodians stands for all.
    fn name(&mut self, dealer: Dealer, (dealing, context, _): Dealt<'_>, custodians: Vec<u16>) {
        let all = || dealing.indices().collect();
        let custodians = if custodians.is_empty() { all() } else { custodians };
        let digest = dealing.digest(&context);
        self.misdealt.push(Misdealt { dealer, dealing: digest, custodians });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capsule::{Capsule, MAX_PAYLOAD, SUITE_BOUND, SUITE_PQ, Secrets};
    use crate::curve::random_scalar;
    use crate::demand::Demand;
    use crate::hand_over::HandOver;
    use crate::kem::KemSecret;
    use crate::partial::Partial;
    use crate::share::SecretShare;
    use crate::testkit::{Seeded, kem_keys, label_fields, recipients, three_of_five};

    struct Scene {
        group: Group,
        shares: Vec<SecretShare>,
        keys: Vec<KemSecret>,
        capsule: CheckedCapsule,
        rng: Seeded,
    }

    fn scene(payload: &[u8]) -> Scene {
        let (group, shares) = three_of_five("open");
        let fields = label_fields(group.id());
        let mut rng = Seeded::new("open capsule");
        let capsule = Capsule::seal(&group, &fields, None, payload, &mut rng).expect("seals");
        let capsule = capsule.check(&group, &fields, &Demand::classical()).expect("checks");
        Scene { group, shares, keys: Vec::new(), capsule, rng }
    }

    fn quantum(payload: &[u8]) -> Scene {
        let (group, shares) = three_of_five("open");
        let fields = label_fields(group.id());
        let keys = kem_keys("open", 5);
        let to = recipients(&group, &keys);
        let mut rng = Seeded::new("open capsule");
        let capsule = Capsule::seal(&group, &fields, Some(&to), payload, &mut rng);
        let demand = Demand::post_quantum(vec![to], false);
        let capsule = capsule.expect("seals").check(&group, &fields, &demand).expect("checks");
        Scene { group, shares, keys, capsule, rng }
    }

    /// Has the node deal again, otherwise, and everything else be as an honest node makes it.
    fn misdealt(suite: u8, edit: impl FnOnce(Dealing) -> Dealing, honest_key: bool) -> Scene {
        let mut scene = quantum(b"x");
        let fields = label_fields(scene.group.id());
        let to = recipients(&scene.group, &scene.keys);
        let secrets = Secrets {
            key: Zeroizing::new([8; 32]),
            quantum: random_scalar(&mut scene.rng),
            r: random_scalar(&mut scene.rng),
            s: random_scalar(&mut scene.rng),
        };
        let context = secrets.context(suite, &fields).expect("a label");
        let half = edit(Dealing::deal(&secrets.quantum, &context, &to));
        let dealt = if honest_key { *secrets.quantum } else { Scalar::ONE };
        let capsule =
            Capsule::seal_half(&scene.group, &fields, (suite, half), dealt, b"x", &secrets)
                .expect("seals");
        let demand = Demand::post_quantum(vec![to], false);
        scene.capsule = capsule.check(&scene.group, &fields, &demand).expect("the proof holds");
        scene
    }

    impl Scene {
        fn partial(&mut self, index: u16, epoch: u32) -> VerifiedPartial {
            let shares = match self.keys.get(usize::from(index) - 1) {
                Some(key) => self.capsule.open_share(index, key).into_iter().collect(),
                None => Vec::new(),
            };
            self.partial_with(index, epoch, shares)
        }

        fn partial_with(
            &mut self,
            index: u16,
            epoch: u32,
            shares: Vec<PqShare>,
        ) -> VerifiedPartial {
            let share = &self.shares[usize::from(index) - 1];
            Partial::make(&self.capsule, share, &self.group, epoch, &mut self.rng)
                .expect("answers")
                .with_shares(shares)
                .verify(&self.capsule, &self.group)
                .expect("verifies")
        }

        fn open(&mut self, indices: &[u16]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
            self.open_all(indices).map(|opened| opened.payload)
        }

        fn open_all(&mut self, indices: &[u16]) -> Result<Opened, OpenError> {
            let partials: Vec<_> = indices.iter().map(|i| self.partial(*i, 0)).collect();
            open(&self.capsule, &self.group, &[], &partials)
        }
    }

    #[test]
    fn any_quorum_opens_a_post_quantum_capsule_and_finds_nobody_to_name() {
        for payload in [&b""[..], b"root reference", &[7; MAX_PAYLOAD]] {
            let mut scene = quantum(payload);
            for quorum in [&[1, 2, 3][..], &[5, 3, 1], &[1, 2, 3, 4, 5]] {
                let opened = scene.open_all(quorum).expect("opens");
                assert_eq!((opened.payload(), opened.misdealt()), (payload, &[][..]));
            }
        }
    }

    #[test]
    fn a_quorum_without_its_post_quantum_shares_opens_nothing() {
        let mut scene = quantum(b"x");
        let group = scene.group.id();
        let bare: Vec<_> = (1..=5).map(|i| scene.partial_with(i, 0, Vec::new())).collect();
        let err = open(&scene.capsule, &scene.group, &[], &bare).expect_err("TDH2 alone");
        assert_eq!(err, OpenError::NotEnoughShares { have: 0, need: 3, group });
        // The shares may come from others than the partials do, but it takes three.
        let key = |scene: &Scene, i: u16| {
            let key = &scene.keys[usize::from(i) - 1];
            scene.capsule.open_share(i, key).expect("its share")
        };
        let two = vec![key(&scene, 4), key(&scene, 5)];
        let mut partials = vec![scene.partial_with(1, 0, two), bare[1].clone(), bare[2].clone()];
        let err = open(&scene.capsule, &scene.group, &[], &partials).expect_err("two of three");
        assert_eq!(err, OpenError::NotEnoughShares { have: 2, need: 3, group });
        let third = vec![key(&scene, 2)];
        partials.push(scene.partial_with(2, 0, third));
        open(&scene.capsule, &scene.group, &[], &partials).expect("opens");
    }

    #[test]
    fn an_altered_post_quantum_share_does_not_count() {
        let mut scene = quantum(b"x");
        let good = scene.capsule.open_share(1, &scene.keys[0]).expect("its share");
        let mut w = seawall_base::wire::Writer::new();
        good.write(&mut w);
        let mut bytes = w.into_vec();
        bytes[34] ^= 1;
        let bad = PqShare::read(&mut seawall_base::wire::Reader::new(&bytes)).expect("a scalar");
        let lied = scene.partial_with(1, 0, vec![bad]);
        let partials = [lied, scene.partial(2, 0), scene.partial(3, 0)];
        let err = open(&scene.capsule, &scene.group, &[], &partials).expect_err("one short");
        let group = scene.group.id();
        assert_eq!(err, OpenError::NotEnoughShares { have: 2, need: 3, group });
    }

    #[test]
    fn a_node_that_dealt_wrongly_to_somebody_is_named_by_whoever_opens() {
        let spoil = |at: usize| {
            move |dealing: Dealing| {
                let mut bytes = dealing.encode();
                bytes[at] ^= 1;
                Dealing::decode(&bytes).expect("well formed")
            }
        };
        // The fourth custodian's ciphertext, sealed share and commitment.
        let parcel = 36 + 3 * 1170;
        let places = [parcel + 34 + 900, parcel + 34 + 1088 + 5, parcel + 2];
        for (suite, at) in
            [SUITE_PQ, SUITE_BOUND].into_iter().flat_map(|s| places.map(|at| (s, at)))
        {
            let mut scene = misdealt(suite, spoil(at), true);
            let refused = scene.capsule.open_share(4, &scene.keys[3]);
            refused.expect_err("the custodian sees it on arrival");
            let opened = scene.open_all(&[1, 2, 3]).expect("the others' shares are good");
            let dealing = scene.capsule.dealing().expect("a dealing");
            let named = Misdealt { dealer: Dealer::Node, dealing, custodians: vec![4] };
            assert_eq!(opened.misdealt(), [named]);
        }
    }

    #[test]
    fn inconsistent_shares_give_nothing_and_accuse_the_node() {
        // Every share is the committed one; together they are not what the key was made of.
        for suite in [SUITE_PQ, SUITE_BOUND] {
            let mut scene = misdealt(suite, |dealing| dealing, false);
            assert_eq!(scene.open(&[1, 2, 3]), Err(OpenError::Commitment));
        }
    }

    #[test]
    fn a_capsule_from_before_halves_were_bound_opens() {
        let mut scene = misdealt(SUITE_PQ, |dealing| dealing, true);
        assert_eq!(scene.capsule.suite(), SUITE_PQ);
        let opened = scene.open_all(&[5, 1, 3]).expect("opens");
        assert_eq!((opened.payload(), opened.misdealt()), (&b"x"[..], &[][..]));
        // And so does one that was handed on.
        let keys = kem_keys("newcomers", 2);
        let to = vec![(1, keys[0].public()), (9, keys[1].public())];
        let to = Recipients::new(2, to).expect("recipients");
        let given: Vec<_> = (1..=3)
            .map(|i| scene.capsule.open_share(i, &scene.keys[usize::from(i) - 1]).expect("good"))
            .map(|share| HandOver::make(&share, &to).check(&to).expect("for them"))
            .collect();
        let of = |index, n: usize| -> Vec<_> {
            given.iter().map(|it| it.open_share(index, &keys[n]).expect("good")).collect()
        };
        let (first, second) = (of(1, 0), of(9, 1));
        let partials = [
            scene.partial_with(1, 0, first),
            scene.partial_with(2, 0, second),
            scene.partial_with(3, 0, Vec::new()),
        ];
        let opened = open(&scene.capsule, &scene.group, &given, &partials).expect("opens");
        assert_eq!((opened.payload(), opened.misdealt()), (&b"x"[..], &[][..]));
    }

    #[test]
    fn shares_handed_on_twice_open_and_a_wrong_dealer_is_named() {
        let mut scene = quantum(b"x");
        let first = kem_keys("newcomers", 3);
        let second = kem_keys("later newcomers", 2);
        let to = |threshold, keys: &[KemSecret]| {
            let keys = (1..).zip(keys.iter().map(KemSecret::public)).collect();
            Recipients::new(threshold, keys).expect("recipients")
        };
        let (next, last) = (to(2, &first), to(2, &second));
        let give = |share: &PqShare, to: &Recipients| {
            let bytes = HandOver::make(share, to).encode();
            HandOver::decode(&bytes).expect("decodes").check(to).expect("for them")
        };
        let mut given = Vec::new();
        for index in [1, 2, 4] {
            let key = &scene.keys[usize::from(index) - 1];
            given.push(give(&scene.capsule.open_share(index, key).expect("its share"), &next));
        }
        let mut shares = Vec::new();
        for hand_over in given.clone() {
            for (i, key) in (1..=2).zip(&first) {
                let share = hand_over.open_share(i, key).expect("its share");
                let again = give(&share, &last);
                for (i, key) in (1..).zip(&second) {
                    shares.push(again.open_share(i, key).expect("its share"));
                }
                given.push(again);
            }
        }
        let partials: Vec<_> = (1..=3)
            .map(|i| scene.partial_with(i, 0, if i == 1 { shares.clone() } else { Vec::new() }))
            .collect();
        let opened = open(&scene.capsule, &scene.group, &given, &partials).expect("opens");
        assert_eq!((opened.payload(), opened.misdealt()), (&b"x"[..], &[][..]));
        let short = open(&scene.capsule, &scene.group, &given[1..], &partials);
        let group = scene.group.id();
        assert_eq!(short.err(), Some(OpenError::NotEnoughShares { have: 2, need: 3, group }));
    }

    #[test]
    fn a_custodian_that_hands_on_something_else_is_named() {
        let mut scene = quantum(b"x");
        let key = kem_keys("newcomer", 1);
        let to = Recipients::new(1, vec![(9, key[0].public())]).expect("recipients");
        let honest = scene.capsule.open_share(1, &scene.keys[0]).expect("its share");
        let mut w = seawall_base::wire::Writer::new();
        honest.write(&mut w);
        let mut bytes = w.into_vec();
        bytes[34] ^= 1;
        let lie = PqShare::read(&mut seawall_base::wire::Reader::new(&bytes)).expect("a scalar");
        let given = HandOver::make(&lie, &to).check(&to).expect("for them");
        let share = given.open_share(9, &key[0]).expect("consistent in itself");
        let mut partials: Vec<_> = (2..=4).map(|i| scene.partial(i, 0)).collect();
        partials.push(scene.partial_with(5, 0, vec![share]));
        let opened = open(&scene.capsule, &scene.group, std::slice::from_ref(&given), &partials);
        let named = Misdealt {
            dealer: Dealer::Custodian(1),
            dealing: given.hand_over().digest(),
            custodians: vec![9],
        };
        assert_eq!(opened.expect("the others suffice").misdealt(), [named]);
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
            open(&scene.capsule, &scene.group, &[], &partials).err(),
            Some(OpenError::MixedEpochs { first: 0, other: 1 })
        );
    }

    #[test]
    fn partials_for_one_capsule_do_not_open_another_with_the_same_label() {
        let mut scene = scene(b"first");
        let partials: Vec<_> = (1..=3).map(|i| scene.partial(i, 0)).collect();
        let fields = label_fields(scene.group.id());
        let second = Capsule::seal(&scene.group, &fields, None, b"second", &mut scene.rng)
            .expect("seals")
            .check(&scene.group, &fields, &Demand::classical())
            .expect("checks");
        assert_eq!(
            open(&second, &scene.group, &[], &partials).err(),
            Some(OpenError::OtherCapsule { index: 1 })
        );
        let (other, _) = three_of_five("another group");
        assert_eq!(
            open(&scene.capsule, &other, &[], &partials).err(),
            Some(OpenError::OtherGroup { found: scene.group.id(), expected: other.id() })
        );
    }

    #[test]
    fn a_node_that_lied_about_the_key_or_the_payload_is_found_out() {
        let mut scene = scene(b"x");
        let (label, fields) = (*scene.capsule.label(), label_fields(scene.group.id()));
        let rng = &mut scene.rng;
        let secrets = Secrets {
            key: Zeroizing::new([8; 32]),
            quantum: Zeroizing::new(Scalar::ZERO),
            r: random_scalar(rng),
            s: random_scalar(rng),
        };
        let honest = commit(&secrets.key, &label);
        for (commitment, expected) in
            [([0; 32], OpenError::Commitment), (honest, OpenError::Payload)]
        {
            let sealed = vec![0; 40];
            let capsule = Capsule::prove(&scene.group, &label, None, sealed, commitment, &secrets);
            let bytes = capsule.encode();
            scene.capsule = Capsule::decode(&bytes)
                .expect("well formed")
                .check(&scene.group, &fields, &Demand::classical())
                .expect("the proof holds: only a quorum sees the lie");
            assert_eq!(scene.open(&[1, 2, 3]), Err(expected));
        }
    }
}
