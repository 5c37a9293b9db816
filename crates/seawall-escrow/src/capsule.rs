//! The capsule: a snapshot's root reference, sealed so that only a group's quorum can open it.
//!
//! A hybrid of AES-256-GCM-SIV and TDH2 (Shoup and Gennaro, "Securing threshold cryptosystems
//! against chosen ciphertext attack", J. Cryptology 15, 2002, section 4.1) over ristretto255.
//! The payload is sealed under a key derived from a fresh `K_s`; `K_s` is TDH2-encrypted to the
//! group's key with a label. The proof's challenge covers the group key, the label and *every*
//! other byte of the capsule, so [`Capsule::check`] refuses any altered one without a quorum.
//!
//! A capsule may still have been made wrongly on purpose: that `K_s` matches its commitment and
//! opens the payload is only seen once a quorum has answered (see [`crate::open`]).
//!
//! In suite 1 what TDH2 carries is `K_s` itself. In suite 2 it is one of two secrets that `K_s` is
//! derived from; the other is dealt to the custodians' ML-KEM keys ([`crate::dealing`]). Whoever
//! breaks one of the two schemes has nothing. The label, and so the proof, covers the dealing.
//!
//! In suite 2 the dealing is bound to the snapshot alone, and whoever writes another capsule for
//! the same snapshot can put a copy of it in. Suite 3 binds it to the points `u` and `ū` as well,
//! which are nobody's to use but who made them. Suite 2 is read and no longer made.
//!
//! Which suite a group's capsules must have is not the capsule's to say: a reader states its
//! [`Demand`], and a capsule that falls short is refused.
//!
//! The layout is in `docs/formats/capsule.md`.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{GroupId, Rng};
use zeroize::Zeroizing;

use crate::aead;
use crate::curve::{Element, decode_scalar, hash_to_scalar, random_scalar, second_generator};
use crate::dealing::{Context, Dealing, DealingError, MAX_DEALING, Recipients};
use crate::demand::Demand;
use crate::group::Group;
use crate::label::{Label, LabelError, LabelFields};

/// The suite without a post-quantum half.
pub const SUITE: u8 = 1;
/// The suite with one that is bound to the snapshot alone. No longer made. In records it stands
/// for any post-quantum half.
pub const SUITE_PQ: u8 = 2;
/// The suite with one that is bound to the capsule it stands in as well.
pub const SUITE_BOUND: u8 = 3;
/// Largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 4096;
/// Largest encoded capsule, in bytes.
pub const MAX_CAPSULE: usize = 1 + 8 * 32 + 4 + MAX_PAYLOAD + aead::TAG_LEN + 4 + MAX_DEALING;

const MASK_CONTEXT: &str = "seawall 2026-11 capsule mask v1";
const PROOF_CONTEXT: &str = "seawall 2026-11 capsule proof v1";
const COMMIT_CONTEXT: &str = "seawall 2026-11 capsule commitment v1";
const KEY_CONTEXT: &str = "seawall 2026-11 capsule key v2";
const PAYLOAD_CONTEXT: &str = "seawall 2026-11 capsule payload key v1";

/// Why a capsule was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// Not the encoding of a capsule.
    #[error("capsule is malformed: {0}")]
    Malformed(#[from] WireError),
    /// Made by a newer version.
    #[error(
        "capsule uses suite {found}, this version knows suites {SUITE} to {SUITE_BOUND}; upgrade \
         seawall"
    )]
    Suite {
        /// The suite named.
        found: u8,
    },
    /// The post-quantum half is malformed.
    #[error(transparent)]
    Half(#[from] DealingError),
    /// The fields make no label.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// No post-quantum half where the group demands one.
    #[error(
        "capsule has no post-quantum half, and its escrow group had demanded one when it was \
         made: a downgrade, or a node that had not learnt of the group's new keys; make a new \
         snapshot, or see --accept-classical if its node is known and gone"
    )]
    Downgraded,
    /// The post-quantum half is not for the custodians of the group.
    #[error("the capsule's post-quantum half is not for the custodians of its escrow group")]
    OtherRecipients,
    /// The payload to seal is too long.
    #[error("capsule payload of {found} bytes is above the limit of {MAX_PAYLOAD}")]
    PayloadTooLong {
        /// Its length.
        found: usize,
    },
    /// Sealed to another group.
    #[error("capsule is sealed to {found}, not to {expected}")]
    OtherGroup {
        /// The group the capsule names.
        found: GroupId,
        /// The group it was checked against.
        expected: GroupId,
    },
    /// Made for another snapshot.
    #[error("capsule was made for another snapshot: its label is not this manifest's")]
    OtherLabel,
    /// The validity proof does not hold: altered, re-randomised, or never valid.
    #[error("capsule proof does not hold: it was altered, or copied from another capsule")]
    Proof,
}

/// A decoded capsule: well-formed bytes that prove nothing yet.
#[derive(Clone)]
pub struct Capsule {
    /// [`SUITE`] if and only if there is no half.
    suite: u8,
    group: GroupId,
    label: Label,
    u: Element,
    u_bar: Element,
    challenge: Scalar,
    response: Scalar,
    masked_key: [u8; 32],
    commitment: [u8; 32],
    sealed: Vec<u8>,
    half: Option<Dealing>,
}

/// The secrets behind one capsule; a second capsule never uses the same.
pub(crate) struct Secrets {
    /// What TDH2 encrypts.
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// What is dealt to post-quantum keys; unused in suite 1.
    pub(crate) quantum: Zeroizing<Scalar>,
    pub(crate) r: Zeroizing<Scalar>,
    pub(crate) s: Zeroizing<Scalar>,
}

impl Secrets {
    /// TDH2's `u` and `ū`.
    fn points(&self) -> (Element, Element) {
        let nonzero = "a non-zero multiple of a generator is never the identity";
        let u = Element::of(RistrettoPoint::mul_base(&self.r)).expect(nonzero);
        (u, Element::of(second_generator() * *self.r).expect(nonzero))
    }

    /// What is dealt for a capsule with these secrets is bound to this.
    pub(crate) fn context(&self, suite: u8, fields: &LabelFields) -> Result<Context, LabelError> {
        let (u, u_bar) = self.points();
        fields.half_context(suite, &u, &u_bar)
    }
}

impl Capsule {
    /// Seals `payload` (at most [`MAX_PAYLOAD`] bytes) to `group` for the snapshot that `fields`
    /// name: in suite 3 if there are `recipients`, and in suite 1 if not.
    pub fn seal(
        group: &Group,
        fields: &LabelFields,
        recipients: Option<&Recipients>,
        payload: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Self, CapsuleError> {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(key.as_mut_slice());
        let (r, s) = (random_scalar(rng), random_scalar(rng));
        let quantum = match recipients {
            Some(_) => random_scalar(rng),
            None => Zeroizing::new(Scalar::ZERO),
        };
        Self::seal_with(group, fields, recipients, payload, &Secrets { key, quantum, r, s })
    }

    pub(crate) fn seal_with(
        group: &Group,
        fields: &LabelFields,
        recipients: Option<&Recipients>,
        payload: &[u8],
        secrets: &Secrets,
    ) -> Result<Self, CapsuleError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(CapsuleError::PayloadTooLong { found: payload.len() });
        }
        let Some(recipients) = recipients else {
            let label = fields.label(SUITE, &[0; 32])?;
            let sealed = aead::seal(&payload_key(&secrets.key), &label.0, payload);
            let commitment = commit(&secrets.key, &label);
            return Ok(Self::prove(group, &label, None, sealed, commitment, secrets));
        };
        let context = secrets.context(SUITE_BOUND, fields)?;
        let half = Dealing::deal(&secrets.quantum, &context, recipients);
        let half = (SUITE_BOUND, half);
        Self::seal_half(group, fields, half, *secrets.quantum, payload, secrets)
    }

    /// Seals around a post-quantum half of a suite, whatever was dealt in it.
    pub(crate) fn seal_half(
        group: &Group,
        fields: &LabelFields,
        (suite, half): (u8, Dealing),
        dealt: Scalar,
        payload: &[u8],
        secrets: &Secrets,
    ) -> Result<Self, CapsuleError> {
        let dealt = Zeroizing::new(dealt);
        let context = secrets.context(suite, fields)?;
        let label = fields.label(suite, &half.digest(&context))?;
        let half = (suite, half);
        let key = snapshot_key(&secrets.key, Some(&dealt), &label);
        let sealed = aead::seal(&payload_key(&key), &label.0, payload);
        Ok(Self::prove(group, &label, Some(half), sealed, commit(&key, &label), secrets))
    }

    /// Encrypts the TDH2 secret and proves it, whatever the rest is.
    pub(crate) fn prove(
        group: &Group,
        label: &Label,
        half: Option<(u8, Dealing)>,
        sealed: Vec<u8>,
        commitment: [u8; 32],
        secrets: &Secrets,
    ) -> Self {
        let (u, u_bar) = secrets.points();
        let (suite, half) = half.map_or((SUITE, None), |(suite, half)| (suite, Some(half)));
        let shared = Zeroizing::new((group.key_element().point() * *secrets.r).compress());
        let mut capsule = Self {
            suite,
            group: group.id(),
            label: *label,
            u,
            u_bar,
            challenge: Scalar::ZERO,
            response: Scalar::ZERO,
            masked_key: xor(&secrets.key, &mask(shared.as_bytes())),
            commitment,
            sealed,
            half,
        };
        let w = RistrettoPoint::mul_base(&secrets.s);
        let w_bar = second_generator() * *secrets.s;
        capsule.challenge = capsule.challenge_for(group, &w, &w_bar);
        capsule.response = *secrets.s + *secrets.r * capsule.challenge;
        capsule
    }

    /// Decodes one capsule and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CapsuleError> {
        let mut r = Reader::new(bytes);
        let suite = r.u8()?;
        if ![SUITE, SUITE_PQ, SUITE_BOUND].contains(&suite) {
            return Err(CapsuleError::Suite { found: suite });
        }
        let mut capsule = Self {
            suite,
            group: GroupId(r.array()?),
            label: Label(r.array()?),
            u: read_element(&mut r, "point u")?,
            u_bar: read_element(&mut r, "point u-bar")?,
            challenge: read_scalar(&mut r, "scalar e")?,
            response: read_scalar(&mut r, "scalar f")?,
            masked_key: r.array()?,
            commitment: r.array()?,
            sealed: r.bytes(MAX_PAYLOAD + aead::TAG_LEN)?.to_vec(),
            half: None,
        };
        if capsule.sealed.len() < aead::TAG_LEN {
            return Err(r.invalid("sealed payload").into());
        }
        let half = r.bytes(if suite == SUITE { 0 } else { MAX_DEALING })?;
        r.finish()?;
        if suite != SUITE {
            capsule.half = Some(Dealing::decode(half)?);
        }
        Ok(capsule)
    }

    /// The capsule's bytes; [`Capsule::decode`] accepts these and no others for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(self.suite())
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .raw(self.u.bytes())
            .raw(self.u_bar.bytes())
            .raw(self.challenge.as_bytes())
            .raw(self.response.as_bytes())
            .raw(&self.masked_key)
            .raw(&self.commitment)
            .bytes(&self.sealed)
            .bytes(&self.half_bytes());
        w.into_vec()
    }

    /// The suite: [`SUITE`], [`SUITE_PQ`] or [`SUITE_BOUND`].
    pub const fn suite(&self) -> u8 {
        self.suite
    }

    fn half_bytes(&self) -> Vec<u8> {
        self.half.as_ref().map_or_else(Vec::new, Dealing::encode)
    }

    /// The group the capsule says it is sealed to. A claim until [`Capsule::check`].
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The label the capsule says it carries. A claim until [`Capsule::check`].
    pub const fn label(&self) -> Label {
        self.label
    }

    /// Checks that the capsule is sealed to `group`, is for the snapshot that `fields` name and
    /// as post-quantum as `demand` has it, and that its maker knew what was encrypted (the TDH2
    /// validity proof).
    pub fn check(
        &self,
        group: &Group,
        fields: &LabelFields,
        demand: &Demand,
    ) -> Result<CheckedCapsule, CapsuleError> {
        if self.group != group.id() {
            return Err(CapsuleError::OtherGroup { found: self.group, expected: group.id() });
        }
        let context = fields.half_context(self.suite, &self.u, &self.u_bar)?;
        let digest = self.half.as_ref().map_or([0; 32], |half| half.digest(&context));
        if self.label != fields.label(self.suite, &digest)? {
            return Err(CapsuleError::OtherLabel);
        }
        // w = f*G - e*u and w-bar = f*G-bar - e*u-bar.
        let commit = |generator: &RistrettoPoint, point: &RistrettoPoint| {
            RistrettoPoint::vartime_multiscalar_mul(
                [self.response, -self.challenge],
                [generator, point],
            )
        };
        let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        let w = commit(&base, self.u.point());
        let w_bar = commit(second_generator(), self.u_bar.point());
        if self.challenge_for(group, &w, &w_bar) != self.challenge {
            return Err(CapsuleError::Proof);
        }
        let recipients = demand.admit(self.half.as_ref())?;
        Ok(CheckedCapsule { capsule: self.clone(), context, recipients })
    }

    fn challenge_for(&self, group: &Group, w: &RistrettoPoint, w_bar: &RistrettoPoint) -> Scalar {
        let mut t = Writer::new();
        t.u8(self.suite())
            .raw(&group.key())
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .raw(&self.masked_key)
            .raw(&self.commitment)
            .bytes(&self.sealed)
            .bytes(&self.half_bytes())
            .raw(self.u.bytes())
            .raw(w.compress().as_bytes())
            .raw(self.u_bar.bytes())
            .raw(w_bar.compress().as_bytes());
        hash_to_scalar(PROOF_CONTEXT, t.as_slice())
    }
}

impl std::fmt::Debug for Capsule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capsule")
            .field("group", &self.group)
            .field("label", &hex::encode(self.label.0))
            .field("sealed", &self.sealed.len())
            .field("half", &self.half)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Capsule {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for Capsule {}

/// A capsule whose group, label and validity proof were checked: the only kind that custodians
/// answer and a restorer opens.
#[derive(Debug, Clone)]
pub struct CheckedCapsule {
    capsule: Capsule,
    /// What its post-quantum half is bound to.
    context: Context,
    /// Whom the post-quantum half is for, if there is one.
    recipients: Option<Recipients>,
}

impl CheckedCapsule {
    /// The capsule as it was received.
    pub const fn capsule(&self) -> &Capsule {
        &self.capsule
    }

    /// The post-quantum half, its context and whom it is for.
    pub(crate) fn half(&self) -> Option<(&Dealing, &Context, &Recipients)> {
        let half = self.capsule.half.as_ref()?;
        Some((half, &self.context, self.recipients.as_ref()?))
    }

    pub(crate) const fn suite(&self) -> u8 {
        self.capsule.suite()
    }

    pub(crate) const fn group(&self) -> GroupId {
        self.capsule.group
    }

    pub(crate) const fn label(&self) -> &Label {
        &self.capsule.label
    }

    pub(crate) const fn u(&self) -> &Element {
        &self.capsule.u
    }

    pub(crate) const fn commitment(&self) -> &[u8; 32] {
        &self.capsule.commitment
    }

    /// `K_s`, given the group's secret times `u`, and the secret that was dealt if there is a half.
    pub(crate) fn key(&self, shared: &[u8; 32], dealt: Option<&Scalar>) -> Zeroizing<[u8; 32]> {
        let key = Zeroizing::new(xor(&self.capsule.masked_key, &mask(shared)));
        snapshot_key(&key, dealt, &self.capsule.label)
    }

    pub(crate) fn open_payload(&self, key: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        aead::open(&payload_key(key), &self.capsule.label.0, &self.capsule.sealed)
    }
}

/// The commitment to `K_s` under `label` that a capsule carries.
pub(crate) fn commit(key: &[u8; 32], label: &Label) -> [u8; 32] {
    let mut input = Zeroizing::new([0; 64]);
    input[..32].copy_from_slice(key);
    input[32..].copy_from_slice(&label.0);
    blake3::derive_key(COMMIT_CONTEXT, input.as_slice())
}

/// `K_s`: what TDH2 carries, or with a half a hash of that and of the secret that was dealt.
fn snapshot_key(key: &[u8; 32], dealt: Option<&Scalar>, label: &Label) -> Zeroizing<[u8; 32]> {
    let Some(dealt) = dealt else { return Zeroizing::new(*key) };
    let mut input = Zeroizing::new([0; 96]);
    input[..32].copy_from_slice(key);
    input[32..64].copy_from_slice(dealt.as_bytes());
    input[64..].copy_from_slice(&label.0);
    Zeroizing::new(blake3::derive_key(KEY_CONTEXT, input.as_slice()))
}

fn payload_key(key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(PAYLOAD_CONTEXT, key))
}

/// TDH2's H1: the one-time pad for `K_s`.
fn mask(shared: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(MASK_CONTEXT, shared))
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// A point that is canonical and not the identity; the error points just past it.
pub(crate) fn read_element(r: &mut Reader<'_>, what: &'static str) -> Result<Element, WireError> {
    let bytes = r.array()?;
    Element::decode(bytes).ok_or_else(|| r.invalid(what))
}

/// A canonical scalar; the error points just past it.
pub(crate) fn read_scalar(r: &mut Reader<'_>, what: &'static str) -> Result<Scalar, WireError> {
    let bytes = r.array()?;
    decode_scalar(bytes).ok_or_else(|| r.invalid(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testkit::{
        BAD_ENCODINGS, Seeded, changed_labels, hex32, kem_keys, label_fields, recipients,
        three_of_five,
    };

    fn sealed(payload: &[u8]) -> (Group, LabelFields, Capsule) {
        let (group, _) = three_of_five("capsule");
        let fields = label_fields(group.id());
        let capsule = Capsule::seal(&group, &fields, None, payload, &mut Seeded::new("capsule"));
        (group, fields, capsule.expect("seals"))
    }

    fn sealed_pq(payload: &[u8]) -> (Group, LabelFields, Demand, Capsule) {
        let (group, _) = three_of_five("capsule");
        let fields = label_fields(group.id());
        let to = recipients(&group, &kem_keys("capsule", 5));
        let mut rng = Seeded::new("capsule");
        let capsule = Capsule::seal(&group, &fields, Some(&to), payload, &mut rng);
        (group, fields, Demand::post_quantum(vec![to], false), capsule.expect("seals"))
    }

    /// Where each 32-byte field starts: group, label, u, u-bar, e, f, masked key, commitment.
    const fn field(n: usize) -> usize {
        1 + 32 * n
    }

    fn with_field(capsule: &Capsule, n: usize, bytes: [u8; 32]) -> Vec<u8> {
        let mut encoded = capsule.encode();
        encoded[field(n)..field(n + 1)].copy_from_slice(&bytes);
        encoded
    }

    fn refusal(bytes: &[u8], group: &Group, fields: &LabelFields) -> CapsuleError {
        refusal_by(&Demand::classical(), bytes, group, fields)
    }

    fn refusal_by(
        demand: &Demand,
        bytes: &[u8],
        group: &Group,
        fields: &LabelFields,
    ) -> CapsuleError {
        Capsule::decode(bytes)
            .and_then(|capsule| capsule.check(group, fields, demand))
            .expect_err("an altered capsule is refused")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_sealed_decodes_to_itself_and_checks(payload in prop::collection::vec(any::<u8>(), 0..MAX_PAYLOAD)) {
            let (group, fields, capsule) = sealed(&payload);
            let bytes = capsule.encode();
            prop_assert_eq!(bytes.len(), 281 + payload.len());
            let decoded = Capsule::decode(&bytes).expect("decodes");
            prop_assert_eq!(&decoded, &capsule);
            prop_assert_eq!((decoded.group(), decoded.suite()), (group.id(), SUITE));
            let checked = decoded.check(&group, &fields, &Demand::classical()).expect("checks");
            prop_assert_eq!(checked.capsule(), &capsule);
            prop_assert_eq!((checked.dealing(), checked.addressed().count()), (None, 0));

            let (group, fields, demand, capsule) = sealed_pq(&payload);
            let bytes = capsule.encode();
            prop_assert_eq!(bytes.len(), 281 + payload.len() + 36 + 5 * 1170);
            let decoded = Capsule::decode(&bytes).expect("decodes");
            prop_assert_eq!(&decoded, &capsule);
            prop_assert_eq!(decoded.suite(), SUITE_BOUND);
            let checked = decoded.check(&group, &fields, &demand).expect("checks");
            prop_assert!(checked.addressed().eq(1..=5));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Capsule::decode(&bytes).is_err());
            for suite in [SUITE, SUITE_PQ, SUITE_BOUND] {
                if let Some(first) = bytes.first_mut() {
                    *first = suite;
                }
                prop_assert!(Capsule::decode(&bytes).is_err());
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_refused_before_a_quorum_is_asked() {
        let (group, fields, capsule) = sealed(b"root reference");
        let bytes = capsule.encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            refusal(&bad, &group, &fields);
        }
        let (group, fields, demand, capsule) = sealed_pq(b"root reference");
        let bytes = capsule.encode();
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let why = refusal_by(&demand, &bad, &group, &fields);
            if bit / 8 >= bytes.len() - 5 * 1170 {
                let other = matches!(why, CapsuleError::OtherLabel | CapsuleError::Half(_));
                assert!(other, "bit {bit}: {why}");
            }
        }
    }

    #[test]
    fn the_group_says_which_suite_it_takes() {
        let (group, fields, classical) = sealed(b"x");
        let (_, _, demand, quantum) = sealed_pq(b"x");
        let why = classical.check(&group, &fields, &demand).expect_err("a downgrade");
        assert_eq!(why, CapsuleError::Downgraded);
        let lenient = Demand::post_quantum(demand.recipients.clone(), true);
        classical.check(&group, &fields, &lenient).expect("from before the group had keys");
        quantum.check(&group, &fields, &lenient).expect("from after");
        for other in [
            Demand::classical(),
            Demand::post_quantum(vec![recipients(&group, &kem_keys("strangers", 5))], true),
            Demand::post_quantum(
                vec![
                    Recipients::new(2, demand.recipients[0].keys().to_vec())
                        .expect("a lower threshold"),
                ],
                true,
            ),
        ] {
            let why = quantum.check(&group, &fields, &other).expect_err("for others");
            assert_eq!(why, CapsuleError::OtherRecipients);
        }
    }

    #[test]
    fn a_half_taken_from_or_put_on_another_capsule_is_refused() {
        let (group, fields, demand, quantum) = sealed_pq(b"x");
        let stripped = Capsule { suite: SUITE, half: None, ..quantum.clone() };
        assert_eq!(refusal(&stripped.encode(), &group, &fields), CapsuleError::OtherLabel);
        let relabelled =
            Capsule { label: fields.label(SUITE, &[0; 32]).expect("a label"), ..stripped };
        assert_eq!(refusal(&relabelled.encode(), &group, &fields), CapsuleError::Proof);
        let later = LabelFields { sequence: 8, ..fields.clone() };
        let mut rng = Seeded::new("another");
        let other = Capsule::seal(&group, &later, demand.recipients.first(), b"x", &mut rng);
        let grafted = Capsule { half: other.expect("seals").half, ..quantum };
        let why = refusal_by(&demand, &grafted.encode(), &group, &fields);
        assert_eq!(why, CapsuleError::OtherLabel);
    }

    #[test]
    fn truncated_and_trailing_bytes_are_refused() {
        for capsule in [sealed(b"root reference").2, sealed_pq(b"root reference").3] {
            let mut bytes = capsule.encode();
            for len in 0..bytes.len() {
                let err = Capsule::decode(&bytes[..len]).expect_err("refused");
                let short = matches!(err, CapsuleError::Malformed(WireError::Truncated { .. }));
                assert!(short, "{len}");
            }
            bytes.push(0);
            assert_eq!(
                Capsule::decode(&bytes),
                Err(CapsuleError::Malformed(WireError::Trailing { extra: 1 }))
            );
        }
    }

    #[test]
    fn identity_and_non_canonical_values_are_refused_in_every_place() {
        let (_, _, capsule) = sealed(b"x");
        for n in [2, 3] {
            for bad in BAD_ENCODINGS.into_iter().map(hex32).chain([[0; 32]]) {
                let err = Capsule::decode(&with_field(&capsule, n, bad)).expect_err("refused");
                let CapsuleError::Malformed(WireError::Invalid { what, .. }) = err else {
                    panic!("{err}")
                };
                assert!(what.starts_with("point u"), "{what}");
            }
        }
        let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        for (n, name) in [(4, "scalar e"), (5, "scalar f")] {
            for bad in [order, [0xff; 32]] {
                let err = Capsule::decode(&with_field(&capsule, n, bad)).expect_err("refused");
                let offset = field(n + 1);
                assert_eq!(err, WireError::Invalid { offset, what: name }.into());
            }
        }
    }

    #[test]
    fn a_re_randomised_capsule_is_refused() {
        let (group, fields, capsule) = sealed(b"x");
        let t = Scalar::from(42_u64);
        let add = |p: &Element, g: &RistrettoPoint| Element::of(p.point() + g * t).expect("point");
        let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        let shifted = Capsule {
            u: add(&capsule.u, &base),
            u_bar: add(&capsule.u_bar, second_generator()),
            // The response a prover would give for r + t, had the challenge stayed the same.
            response: capsule.response + t * capsule.challenge,
            ..capsule.clone()
        };
        assert_eq!(refusal(&shifted.encode(), &group, &fields), CapsuleError::Proof);
        let scaled = Capsule {
            u: Element::of(capsule.u.point() * t).expect("point"),
            u_bar: Element::of(capsule.u_bar.point() * t).expect("point"),
            ..capsule
        };
        assert_eq!(refusal(&scaled.encode(), &group, &fields), CapsuleError::Proof);
    }

    #[test]
    fn a_proof_over_unequal_logarithms_is_refused() {
        // u-bar with another exponent than u: the forger runs the honest prover for u alone.
        let (group, fields, honest) = sealed(b"x");
        let mut forged = honest.clone();
        let (r, s) = (Scalar::from(5_u64), Scalar::from(6_u64));
        forged.u = Element::of(RistrettoPoint::mul_base(&r)).expect("point");
        forged.u_bar = Element::of(second_generator() * (r + Scalar::ONE)).expect("point");
        let (w, w_bar) = (RistrettoPoint::mul_base(&s), second_generator() * s);
        forged.challenge = forged.challenge_for(&group, &w, &w_bar);
        forged.response = s + r * forged.challenge;
        assert_eq!(refusal(&forged.encode(), &group, &fields), CapsuleError::Proof);
    }

    #[test]
    fn a_capsule_answers_to_one_label_only() {
        let (group, good, capsule) = sealed(b"x");
        for (name, fields) in changed_labels(&good) {
            assert_eq!(
                refusal(&capsule.encode(), &group, &fields),
                CapsuleError::OtherLabel,
                "{name}"
            );
            let other = fields.label(SUITE, &[0; 32]).expect("a label");
            let relabelled = with_field(&capsule, 1, other.0);
            assert_eq!(refusal(&relabelled, &group, &fields), CapsuleError::Proof, "{name}");
        }
        capsule.check(&group, &good, &Demand::classical()).expect("its own label");
    }

    #[test]
    fn a_capsule_answers_to_one_group_only() {
        let (group, fields, capsule) = sealed(b"x");
        let (other, _) = three_of_five("another group");
        assert_eq!(
            capsule.check(&other, &fields, &Demand::classical()).expect_err("refused"),
            CapsuleError::OtherGroup { found: group.id(), expected: other.id() }
        );
        let moved = with_field(&capsule, 0, other.id().0);
        assert_eq!(refusal(&moved, &other, &fields), CapsuleError::Proof);
    }

    #[test]
    fn unknown_suites_and_a_half_that_is_not_the_suites_are_refused() {
        let (_, _, capsule) = sealed(b"x");
        let mut bytes = capsule.encode();
        for suite in [0, 4, 255] {
            bytes[0] = suite;
            let err = Capsule::decode(&bytes).expect_err("refused");
            assert_eq!(err, CapsuleError::Suite { found: suite });
            assert!(err.to_string().contains("upgrade"));
        }
        let mut bytes = capsule.encode();
        let at = bytes.len() - 4;
        bytes[at] = 1;
        bytes.push(0);
        let too_long = WireError::TooLong { offset: at, found: 1, limit: 0 };
        assert_eq!(Capsule::decode(&bytes), Err(too_long.into()));
        for suite in [SUITE_PQ, SUITE_BOUND] {
            let mut bytes = capsule.encode();
            bytes[0] = suite;
            let why = Capsule::decode(&bytes).expect_err("an empty half");
            assert!(matches!(why, CapsuleError::Half(DealingError::Malformed(_))), "{why:?}");
        }
        // Neither suite passes for the other.
        let (group, fields, demand, quantum) = sealed_pq(b"x");
        let mut older = quantum.encode();
        older[0] = SUITE_PQ;
        assert_eq!(refusal_by(&demand, &older, &group, &fields), CapsuleError::OtherLabel);
        let core = Context::of_place(fields.core_label(SUITE_PQ).expect("a label").0);
        let digest = quantum.half.as_ref().expect("a half").digest(&core);
        let label = fields.label(SUITE_PQ, &digest).expect("a label");
        older[field(1)..field(2)].copy_from_slice(&label.0);
        assert_eq!(refusal_by(&demand, &older, &group, &fields), CapsuleError::Proof);
    }

    #[test]
    fn lengths_of_the_payload_are_bounded() {
        let (group, fields, capsule) = sealed(b"");
        let mut rng = Seeded::new("long");
        assert_eq!(
            Capsule::seal(&group, &fields, None, &[0; MAX_PAYLOAD + 1], &mut rng),
            Err(CapsuleError::PayloadTooLong { found: MAX_PAYLOAD + 1 })
        );
        let mut bytes = capsule.encode();
        let at = field(8);
        bytes[at..at + 4].copy_from_slice(&15_u32.to_le_bytes());
        bytes.remove(at + 4);
        let err = Capsule::decode(&bytes).expect_err("no room for a tag");
        assert!(err.to_string().contains("sealed payload"), "{err}");
        let debug = format!("{capsule:?}");
        assert!(debug.contains("sealed: 16"), "{debug}");
    }
}
