//! One custodian's answer to one request: its share of a capsule's decryption, with a proof.
//!
//! `u_i = x_i * u`, and a Chaum-Pedersen proof that the discrete logarithm of `u_i` to `u` is that
//! of the custodian's verification share to the base point. The challenge covers group id and
//! key, index, share epoch, label and `u`, so a partial answers one capsule, for one custodian,
//! under one sharing, and cannot be moved to another.
//!
//! With a post-quantum half the custodian's post-quantum shares travel with it: that of the capsule's own
//! dealing, or those it was handed. They prove themselves, against commitments.
//!
//! The proof's nonce mixes the share into fresh randomness: a broken generator then does not give
//! the share away. The layout is in `docs/formats/partial.md`.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{GroupId, Rng};
use zeroize::Zeroizing;

use crate::capsule::{CheckedCapsule, SUITE, SUITE_BOUND, SUITE_PQ, read_element, read_scalar};
use crate::curve::{Element, hash_to_scalar};
use crate::dealing::PqShare;
use crate::group::Group;
use crate::label::Label;
use crate::share::SecretShare;

/// Length of an encoded partial without post-quantum shares, in bytes.
pub const PARTIAL_LEN: usize = 1 + 32 + 32 + 2 + 4 + 3 * 32;
/// Most post-quantum shares in one partial.
pub const MAX_PQ_SHARES: usize = 256;

const PROOF_CONTEXT: &str = "seawall 2026-11 partial proof v1";
const NONCE_CONTEXT: &str = "seawall 2026-11 partial nonce v1";

/// Why a partial was refused, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartialError {
    /// Not the encoding of a partial.
    #[error("partial is malformed: {0}")]
    Malformed(#[from] WireError),
    /// Made by a newer version.
    #[error(
        "partial uses suite {found}, this version knows suites {SUITE} to {SUITE_BOUND}; upgrade \
         seawall"
    )]
    Suite {
        /// The suite named.
        found: u8,
    },
    /// Its suite is not the capsule's.
    #[error("partial of custodian {index} is not in the capsule's suite")]
    OtherSuite {
        /// The custodian's index.
        index: u16,
    },
    /// The capsule or the partial belongs to another group.
    #[error("partial or capsule belongs to {found}, not to {expected}")]
    OtherGroup {
        /// The group it names.
        found: GroupId,
        /// The group it was checked against.
        expected: GroupId,
    },
    /// The partial answers another capsule.
    #[error("partial of custodian {index} was made for another snapshot")]
    OtherLabel {
        /// The custodian's index.
        index: u16,
    },
    /// Nobody has this index.
    #[error("the escrow group has no custodian {index}")]
    UnknownCustodian {
        /// The index.
        index: u16,
    },
    /// The share at hand is not this group's current share of that index.
    #[error("share {index} is not the escrow group's current share; was it refreshed?")]
    WrongShare {
        /// The share's index.
        index: u16,
    },
    /// The proof does not hold.
    #[error(
        "partial of custodian {index} is not proven: forged, altered, or made with an old share"
    )]
    Proof {
        /// The custodian's index.
        index: u16,
    },
}

/// A decoded partial: well-formed bytes that prove nothing yet.
#[derive(Clone)]
pub struct Partial {
    suite: u8,
    group: GroupId,
    label: Label,
    index: u16,
    share_epoch: u32,
    value: Element,
    challenge: Scalar,
    response: Scalar,
    shares: Vec<PqShare>,
}

impl Partial {
    /// A custodian's answer to a capsule it has checked.
    ///
    /// `share_epoch` counts the refreshes and re-sharings of the group that `share` has seen.
    pub fn make(
        capsule: &CheckedCapsule,
        share: &SecretShare,
        group: &Group,
        share_epoch: u32,
        rng: &mut dyn Rng,
    ) -> Result<Self, PartialError> {
        let mut fresh = Zeroizing::new([0; 32]);
        rng.fill(fresh.as_mut_slice());
        Self::make_with(capsule, share, group, share_epoch, &fresh)
    }

    pub(crate) fn make_with(
        capsule: &CheckedCapsule,
        share: &SecretShare,
        group: &Group,
        share_epoch: u32,
        fresh: &[u8; 32],
    ) -> Result<Self, PartialError> {
        let index = share.index();
        check_group(capsule.group(), group)?;
        let member = group.member(index).ok_or(PartialError::UnknownCustodian { index })?;
        if !group.holds(share) {
            return Err(PartialError::WrongShare { index });
        }
        let u = capsule.u().point();
        let nonce = nonce(capsule, share, share_epoch, fresh);
        let mut partial = Self {
            suite: capsule.suite(),
            group: group.id(),
            label: *capsule.label(),
            index,
            share_epoch,
            value: Element::of(u * share.scalar())
                .expect("a non-zero multiple of a point of prime order is never the identity"),
            challenge: Scalar::ZERO,
            response: Scalar::ZERO,
            shares: Vec::new(),
        };
        let (a, b) = (u * *nonce, RistrettoPoint::mul_base(&nonce));
        partial.challenge = partial.challenge_for(capsule, group, member.share(), &a, &b);
        partial.response = *nonce + share.scalar() * partial.challenge;
        Ok(partial)
    }

    /// Puts post-quantum shares beside the partial, at most [`MAX_PQ_SHARES`]; those beyond are
    /// left out. In suite 1 there are none.
    #[must_use]
    pub fn with_shares(mut self, mut shares: Vec<PqShare>) -> Self {
        shares.truncate(if self.suite == SUITE { 0 } else { MAX_PQ_SHARES });
        self.shares = shares;
        self
    }

    /// Decodes one partial and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, PartialError> {
        let mut r = Reader::new(bytes);
        let suite = r.u8()?;
        if ![SUITE, SUITE_PQ, SUITE_BOUND].contains(&suite) {
            return Err(PartialError::Suite { found: suite });
        }
        let group = GroupId(r.array()?);
        let label = Label(r.array()?);
        let index = r.u16()?;
        if index == 0 {
            return Err(r.invalid("custodian index").into());
        }
        let mut partial = Self {
            suite,
            group,
            label,
            index,
            share_epoch: r.u32()?,
            value: read_element(&mut r, "point u_i")?,
            challenge: read_scalar(&mut r, "scalar e_i")?,
            response: read_scalar(&mut r, "scalar f_i")?,
            shares: Vec::new(),
        };
        if suite != SUITE {
            let count = usize::from(r.u16()?);
            if count > MAX_PQ_SHARES {
                return Err(r.invalid("number of post-quantum shares").into());
            }
            for _ in 0..count {
                partial.shares.push(PqShare::read(&mut r)?);
            }
        }
        r.finish()?;
        Ok(partial)
    }

    /// The partial's bytes: [`PARTIAL_LEN`], and in suites 2 and 3 the post-quantum shares,
    /// which are secret.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::new();
        w.u8(self.suite)
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .u16(self.index)
            .u32(self.share_epoch)
            .raw(self.value.bytes())
            .raw(self.challenge.as_bytes())
            .raw(self.response.as_bytes());
        if self.suite != SUITE {
            w.u16(self.shares.len() as u16);
            self.shares.iter().for_each(|share| share.write(&mut w));
        }
        Zeroizing::new(w.into_vec())
    }

    /// The custodian's index. A claim until [`Partial::verify`].
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// The share epoch. A claim until [`Partial::verify`].
    pub const fn share_epoch(&self) -> u32 {
        self.share_epoch
    }

    /// Checks that this is what the custodian's current share makes of this very capsule.
    pub fn verify(
        &self,
        capsule: &CheckedCapsule,
        group: &Group,
    ) -> Result<VerifiedPartial, PartialError> {
        let index = self.index;
        check_group(capsule.group(), group)?;
        check_group(self.group, group)?;
        if self.suite != capsule.suite() {
            return Err(PartialError::OtherSuite { index });
        }
        if self.label != *capsule.label() {
            return Err(PartialError::OtherLabel { index });
        }
        let member = group.member(index).ok_or(PartialError::UnknownCustodian { index })?;
        // f*u - e*u_i and f*G - e*h_i.
        let commit = |generator: &RistrettoPoint, point: &RistrettoPoint| {
            RistrettoPoint::vartime_multiscalar_mul(
                [self.response, -self.challenge],
                [generator, point],
            )
        };
        let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        let a = commit(capsule.u().point(), self.value.point());
        let b = commit(&base, member.share().point());
        if self.challenge_for(capsule, group, member.share(), &a, &b) != self.challenge {
            return Err(PartialError::Proof { index });
        }
        Ok(VerifiedPartial { partial: self.clone(), u: *capsule.u().bytes() })
    }

    fn challenge_for(
        &self,
        capsule: &CheckedCapsule,
        group: &Group,
        verification_share: &Element,
        a: &RistrettoPoint,
        b: &RistrettoPoint,
    ) -> Scalar {
        let mut t = Writer::new();
        t.u8(self.suite)
            .raw(&group.key())
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .u16(self.index)
            .u32(self.share_epoch)
            .raw(verification_share.bytes())
            .raw(capsule.u().bytes())
            .raw(self.value.bytes())
            .raw(a.compress().as_bytes())
            .raw(b.compress().as_bytes());
        hash_to_scalar(PROOF_CONTEXT, t.as_slice())
    }
}

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partial")
            .field("group", &self.group)
            .field("index", &self.index)
            .field("share_epoch", &self.share_epoch)
            .finish_non_exhaustive()
    }
}

fn check_group(found: GroupId, group: &Group) -> Result<(), PartialError> {
    if found == group.id() {
        return Ok(());
    }
    Err(PartialError::OtherGroup { found, expected: group.id() })
}

/// The proof's nonce: share and fresh randomness together, and what is being answered.
fn nonce(
    capsule: &CheckedCapsule,
    share: &SecretShare,
    share_epoch: u32,
    fresh: &[u8; 32],
) -> Zeroizing<Scalar> {
    let mut input = Zeroizing::new([0; 134]);
    input[..32].copy_from_slice(share.to_bytes().as_slice());
    input[32..64].copy_from_slice(fresh);
    input[64..96].copy_from_slice(capsule.u().bytes());
    input[96..128].copy_from_slice(&capsule.label().0);
    input[128..130].copy_from_slice(&share.index().to_le_bytes());
    input[130..].copy_from_slice(&share_epoch.to_le_bytes());
    Zeroizing::new(hash_to_scalar(NONCE_CONTEXT, input.as_slice()))
}

/// A partial whose proof held against one capsule and one group.
#[derive(Debug, Clone)]
pub struct VerifiedPartial {
    partial: Partial,
    u: [u8; 32],
}

impl VerifiedPartial {
    /// The custodian's index.
    pub const fn index(&self) -> u16 {
        self.partial.index
    }

    /// The post-quantum shares that came with it; each counts only where a commitment has it.
    pub fn shares(&self) -> impl Iterator<Item = &PqShare> {
        self.partial.shares.iter()
    }

    /// The share epoch the custodian's share belongs to.
    pub const fn share_epoch(&self) -> u32 {
        self.partial.share_epoch
    }

    pub(crate) const fn value(&self) -> &Element {
        &self.partial.value
    }

    /// Whether it was `capsule` that the partial was verified against.
    pub(crate) fn answers(&self, capsule: &CheckedCapsule) -> bool {
        self.u == *capsule.u().bytes()
            && self.partial.label == *capsule.label()
            && self.partial.group == capsule.group()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capsule::Capsule;
    use crate::demand::Demand;
    use crate::testkit::{
        BAD_ENCODINGS, Seeded, hex32, kem_keys, label_fields, recipients, three_of_five,
    };

    struct Scene {
        group: Group,
        shares: Vec<SecretShare>,
        capsule: CheckedCapsule,
    }

    fn checked(group: &Group, sequence: u64, seed: &str) -> CheckedCapsule {
        let mut fields = label_fields(group.id());
        fields.sequence = sequence;
        Capsule::seal(group, &fields, None, b"x", &mut Seeded::new(seed))
            .expect("seals")
            .check(group, &fields, &Demand::classical())
            .expect("checks")
    }

    fn checked_pq(group: &Group, seed: &str) -> CheckedCapsule {
        let fields = label_fields(group.id());
        let to = recipients(group, &kem_keys("partial", 5));
        Capsule::seal(group, &fields, Some(&to), b"x", &mut Seeded::new(seed))
            .expect("seals")
            .check(group, &fields, &Demand::post_quantum(vec![to], false))
            .expect("checks")
    }

    fn scene() -> Scene {
        let (group, shares) = three_of_five("partial");
        let capsule = checked(&group, 7, "a");
        Scene { group, shares, capsule }
    }

    fn made(scene: &Scene, index: usize, epoch: u32) -> Partial {
        let share = &scene.shares[index - 1];
        Partial::make(&scene.capsule, share, &scene.group, epoch, &mut Seeded::new("p"))
            .expect("answers")
    }

    fn refusal(scene: &Scene, bytes: &[u8]) -> PartialError {
        Partial::decode(bytes)
            .and_then(|partial| partial.verify(&scene.capsule, &scene.group))
            .expect_err("refused")
    }

    /// The same key shared anew: every share moves by a polynomial that is zero at zero.
    fn refreshed(scene: &Scene) -> (Group, Vec<SecretShare>) {
        let shares: Vec<_> = scene
            .shares
            .iter()
            .map(|share| {
                let x = Scalar::from(share.index());
                let moved = share.scalar() + x * Scalar::from(3_u8) + x * x * Scalar::from(9_u8);
                SecretShare::from_bytes(share.index(), moved.as_bytes()).expect("a share")
            })
            .collect();
        let members = shares.iter().map(|s| (s.index(), s.verification_share())).collect();
        let group = Group::new(scene.group.class(), 3, scene.group.key(), members)
            .expect("the refreshed shares belong to the old key");
        (group, shares)
    }

    #[test]
    fn a_partial_survives_its_encoding_and_verifies() {
        let scene = scene();
        let partial = made(&scene, 4, 6);
        let bytes = partial.encode();
        assert_eq!(bytes.len(), PARTIAL_LEN);
        let decoded = Partial::decode(&bytes).expect("decodes");
        assert_eq!((decoded.index(), decoded.share_epoch()), (4, 6));
        assert_eq!(decoded.encode(), bytes);
        let verified = decoded.verify(&scene.capsule, &scene.group).expect("verifies");
        assert_eq!((verified.index(), verified.share_epoch()), (4, 6));
        assert!(format!("{verified:?}").contains("index: 4"));
    }

    #[test]
    fn every_flipped_bit_truncation_and_trailing_byte_is_refused() {
        let scene = scene();
        let mut bytes = made(&scene, 1, 0).encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            refusal(&scene, &bad);
        }
        for len in 0..bytes.len() {
            let err = refusal(&scene, &bytes[..len]);
            assert!(matches!(err, PartialError::Malformed(WireError::Truncated { .. })), "{len}");
        }
        bytes.push(0);
        assert_eq!(refusal(&scene, &bytes), WireError::Trailing { extra: 1 }.into());
        bytes[0] = 4;
        assert_eq!(refusal(&scene, &bytes), PartialError::Suite { found: 4 });
        for suite in [SUITE_PQ, SUITE_BOUND] {
            bytes[0] = suite;
            let why = refusal(&scene, &bytes);
            assert!(matches!(why, PartialError::Malformed(WireError::Truncated { .. })), "{why}");
        }
    }

    #[test]
    fn post_quantum_shares_travel_with_partials_of_capsules_that_have_a_half() {
        let mut scene = scene();
        let classical = made(&scene, 1, 0).encode();
        scene.capsule = checked_pq(&scene.group, "a");
        let keys = kem_keys("partial", 5);
        let share = scene.capsule.open_share(1, &keys[0]).expect("its share");
        let bare = made(&scene, 1, 0).encode();
        assert_eq!(bare.len(), PARTIAL_LEN + 2);
        let partial = made(&scene, 1, 0).with_shares(vec![share.clone()]);
        let bytes = partial.encode();
        assert_eq!(bytes.len(), PARTIAL_LEN + 2 + 66);
        let verified = Partial::decode(&bytes)
            .and_then(|partial| partial.verify(&scene.capsule, &scene.group))
            .expect("verifies");
        let carried: Vec<_> = verified.shares().map(|s| (s.index(), *s.value())).collect();
        assert_eq!(carried, [(1, *share.value())]);
        for len in 0..bytes.len() {
            assert!(matches!(refusal(&scene, &bytes[..len]), PartialError::Malformed(_)), "{len}");
        }
        let mut many = bytes[..PARTIAL_LEN].to_vec();
        many.extend_from_slice(&257_u16.to_le_bytes());
        many.extend(std::iter::repeat_n(&bytes[PARTIAL_LEN + 2..], 257).flatten());
        let invalid = matches!(
            refusal(&scene, &many),
            PartialError::Malformed(WireError::Invalid {
                what: "number of post-quantum shares",
                ..
            })
        );
        assert!(invalid);
        // A partial of suite 1 for the same u: neither suite passes for the other.
        assert_eq!(refusal(&scene, &classical), PartialError::OtherSuite { index: 1 });
        scene.capsule = checked(&scene.group, 7, "a");
        assert_eq!(refusal(&scene, &bytes), PartialError::OtherSuite { index: 1 });
        let mut older = bytes.clone();
        older[0] = SUITE_PQ;
        scene.capsule = checked_pq(&scene.group, "a");
        assert_eq!(refusal(&scene, &older), PartialError::OtherSuite { index: 1 });
        scene.capsule = checked(&scene.group, 7, "a");
        assert_eq!(made(&scene, 1, 0).with_shares(vec![share]).encode(), classical);
    }

    #[test]
    fn identity_and_non_canonical_values_are_refused() {
        let scene = scene();
        let bytes = made(&scene, 1, 0).encode();
        let put = |at: usize, value: [u8; 32]| {
            let mut bad = bytes.clone();
            bad[at..at + 32].copy_from_slice(&value);
            refusal(&scene, &bad)
        };
        for bad in BAD_ENCODINGS.into_iter().map(hex32).chain([[0; 32]]) {
            assert_eq!(put(71, bad), WireError::Invalid { offset: 103, what: "point u_i" }.into());
        }
        let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        assert_eq!(put(103, order), WireError::Invalid { offset: 135, what: "scalar e_i" }.into());
        assert_eq!(put(135, order), WireError::Invalid { offset: 167, what: "scalar f_i" }.into());
        let mut zero = bytes.clone();
        zero[65..67].copy_from_slice(&[0, 0]);
        let expected = WireError::Invalid { offset: 67, what: "custodian index" };
        assert_eq!(refusal(&scene, &zero), expected.into());
    }

    #[test]
    fn a_partial_claimed_for_another_custodian_or_epoch_is_refused() {
        let scene = scene();
        let good = made(&scene, 1, 0);
        let swapped = Partial { index: 2, ..good.clone() };
        assert_eq!(refusal(&scene, &swapped.encode()), PartialError::Proof { index: 2 });
        let later = Partial { share_epoch: 1, ..good.clone() };
        assert_eq!(refusal(&scene, &later.encode()), PartialError::Proof { index: 1 });
        let nobody = Partial { index: 6, ..good.clone() };
        assert_eq!(refusal(&scene, &nobody.encode()), PartialError::UnknownCustodian { index: 6 });
        let value = made(&scene, 2, 0).value;
        let mixed = Partial { value, ..good };
        assert_eq!(refusal(&scene, &mixed.encode()), PartialError::Proof { index: 1 });
    }

    #[test]
    fn a_partial_replayed_for_another_capsule_is_refused() {
        let mut scene = scene();
        let partial = made(&scene, 1, 0);
        scene.capsule = checked(&scene.group, 8, "b");
        assert_eq!(
            refusal(&scene, &partial.encode()),
            PartialError::OtherLabel { index: 1 },
            "another snapshot"
        );
        let relabelled = Partial { label: *scene.capsule.label(), ..partial.clone() };
        assert_eq!(refusal(&scene, &relabelled.encode()), PartialError::Proof { index: 1 });
        scene.capsule = checked(&scene.group, 7, "c");
        assert_eq!(
            refusal(&scene, &partial.encode()),
            PartialError::Proof { index: 1 },
            "another capsule of the same label"
        );
    }

    #[test]
    fn a_forged_partial_is_refused() {
        // A stranger runs the honest prover with a scalar of its own.
        let scene = scene();
        let (stranger_group, strangers) = three_of_five("stranger");
        let mut forged = made(&scene, 1, 0);
        let scalar = strangers[0].scalar();
        let (u, nonce) = (scene.capsule.u().point(), Scalar::from(77_u8));
        forged.value = Element::of(u * scalar).expect("point");
        let member = stranger_group.member(1).expect("member").share();
        let (a, b) = (u * nonce, RistrettoPoint::mul_base(&nonce));
        forged.challenge = forged.challenge_for(&scene.capsule, &scene.group, member, &a, &b);
        forged.response = nonce + scalar * forged.challenge;
        assert_eq!(refusal(&scene, &forged.encode()), PartialError::Proof { index: 1 });
    }

    #[test]
    fn shares_and_partials_from_before_a_refresh_are_refused_after_it() {
        let scene = scene();
        let (group, shares) = refreshed(&scene);
        assert_eq!(group.id(), scene.group.id(), "refresh keeps the id");
        let old = made(&scene, 1, 0);
        let err = old.verify(&scene.capsule, &group).expect_err("refused");
        assert_eq!(err, PartialError::Proof { index: 1 });
        let mut rng = Seeded::new("r");
        let err = Partial::make(&scene.capsule, &scene.shares[0], &group, 1, &mut rng)
            .expect_err("an old share");
        assert_eq!(err, PartialError::WrongShare { index: 1 });
        let partials: Vec<_> = shares[..3]
            .iter()
            .map(|share| {
                Partial::make(&scene.capsule, share, &group, 1, &mut rng)
                    .and_then(|partial| partial.verify(&scene.capsule, &group))
                    .expect("the new shares answer for old capsules")
            })
            .collect();
        let opened = crate::open(&scene.capsule, &group, &[], &partials).expect("opens");
        assert_eq!(opened.payload(), b"x");
    }

    #[test]
    fn only_members_of_the_capsules_group_answer() {
        let scene = scene();
        let (other, others) = three_of_five("other");
        let mut rng = Seeded::new("r");
        let expected = PartialError::OtherGroup { found: scene.group.id(), expected: other.id() };
        let err = Partial::make(&scene.capsule, &others[0], &other, 0, &mut rng);
        assert_eq!(err.expect_err("refused"), expected);
        let err = made(&scene, 1, 0).verify(&checked(&other, 7, "o"), &other);
        assert_eq!(err.expect_err("refused"), expected);
        let stranger = SecretShare::from_bytes(9, &others[0].to_bytes()).expect("a share");
        let err = Partial::make(&scene.capsule, &stranger, &scene.group, 0, &mut rng);
        assert_eq!(err.expect_err("refused"), PartialError::UnknownCustodian { index: 9 });
    }

    #[test]
    fn a_stuck_generator_does_not_repeat_nonces_across_capsules() {
        let mut scene = scene();
        let first = Partial::make_with(&scene.capsule, &scene.shares[0], &scene.group, 0, &[0; 32])
            .expect("answers");
        let one = nonce(&scene.capsule, &scene.shares[0], 0, &[0; 32]);
        scene.capsule = checked(&scene.group, 8, "b");
        let two = nonce(&scene.capsule, &scene.shares[0], 0, &[0; 32]);
        assert_ne!(*one, *two);
        assert_eq!(*one, first.response - first.challenge * scene.shares[0].scalar());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = SUITE;
            }
            prop_assert!(Partial::decode(&bytes).is_err());
        }
    }
}
