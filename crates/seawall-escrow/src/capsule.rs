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
//! The layout is in `docs/formats/capsule.md`. Suite 1 has no post-quantum half; its section is
//! in the encoding and must be empty.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{GroupId, Rng};
use zeroize::Zeroizing;

use crate::aead;
use crate::curve::{Element, decode_scalar, hash_to_scalar, random_scalar, second_generator};
use crate::group::Group;
use crate::label::Label;

/// The one cryptographic suite this version knows.
pub const SUITE: u8 = 1;
/// Largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 4096;
/// Largest encoded capsule, in bytes.
pub const MAX_CAPSULE: usize = 1 + 8 * 32 + 4 + MAX_PAYLOAD + aead::TAG_LEN + 4;

const MASK_CONTEXT: &str = "seawall 2026-11 capsule mask v1";
const PROOF_CONTEXT: &str = "seawall 2026-11 capsule proof v1";
const COMMIT_CONTEXT: &str = "seawall 2026-11 capsule commitment v1";
const PAYLOAD_CONTEXT: &str = "seawall 2026-11 capsule payload key v1";

/// Why a capsule was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// Not the encoding of a capsule.
    #[error("capsule is malformed: {0}")]
    Malformed(#[from] WireError),
    /// Made by a newer version.
    #[error("capsule uses suite {found}, this version knows suite {SUITE}; upgrade seawall")]
    Suite {
        /// The suite named.
        found: u8,
    },
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
    group: GroupId,
    label: Label,
    u: Element,
    u_bar: Element,
    challenge: Scalar,
    response: Scalar,
    masked_key: [u8; 32],
    commitment: [u8; 32],
    sealed: Vec<u8>,
}

/// The secrets behind one capsule; a second capsule never uses the same.
pub(crate) struct Secrets {
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) r: Zeroizing<Scalar>,
    pub(crate) s: Zeroizing<Scalar>,
}

impl Capsule {
    /// Seals `payload` (at most [`MAX_PAYLOAD`] bytes) to `group` under `label`.
    pub fn seal(
        group: &Group,
        label: &Label,
        payload: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Self, CapsuleError> {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(key.as_mut_slice());
        let secrets = Secrets { key, r: random_scalar(rng), s: random_scalar(rng) };
        Self::seal_with(group, label, payload, &secrets)
    }

    pub(crate) fn seal_with(
        group: &Group,
        label: &Label,
        payload: &[u8],
        secrets: &Secrets,
    ) -> Result<Self, CapsuleError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(CapsuleError::PayloadTooLong { found: payload.len() });
        }
        let sealed = aead::seal(&payload_key(&secrets.key), &label.0, payload);
        let commitment = commit(&secrets.key, label);
        Ok(Self::prove(group, label, sealed, commitment, secrets))
    }

    /// Encrypts `K_s` and proves it, whatever the payload and commitment are.
    pub(crate) fn prove(
        group: &Group,
        label: &Label,
        sealed: Vec<u8>,
        commitment: [u8; 32],
        secrets: &Secrets,
    ) -> Self {
        let nonzero = "a non-zero multiple of a generator is never the identity";
        let shared = Zeroizing::new((group.key_element().point() * *secrets.r).compress());
        let mut capsule = Self {
            group: group.id(),
            label: *label,
            u: Element::of(RistrettoPoint::mul_base(&secrets.r)).expect(nonzero),
            u_bar: Element::of(second_generator() * *secrets.r).expect(nonzero),
            challenge: Scalar::ZERO,
            response: Scalar::ZERO,
            masked_key: xor(&secrets.key, &mask(shared.as_bytes())),
            commitment,
            sealed,
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
        if suite != SUITE {
            return Err(CapsuleError::Suite { found: suite });
        }
        let capsule = Self {
            group: GroupId(r.array()?),
            label: Label(r.array()?),
            u: read_element(&mut r, "point u")?,
            u_bar: read_element(&mut r, "point u-bar")?,
            challenge: read_scalar(&mut r, "scalar e")?,
            response: read_scalar(&mut r, "scalar f")?,
            masked_key: r.array()?,
            commitment: r.array()?,
            sealed: r.bytes(MAX_PAYLOAD + aead::TAG_LEN)?.to_vec(),
        };
        if capsule.sealed.len() < aead::TAG_LEN {
            return Err(r.invalid("sealed payload").into());
        }
        r.bytes(0)?;
        r.finish()?;
        Ok(capsule)
    }

    /// The capsule's bytes; [`Capsule::decode`] accepts these and no others for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(SUITE)
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .raw(self.u.bytes())
            .raw(self.u_bar.bytes())
            .raw(self.challenge.as_bytes())
            .raw(self.response.as_bytes())
            .raw(&self.masked_key)
            .raw(&self.commitment)
            .bytes(&self.sealed)
            .bytes(&[]);
        w.into_vec()
    }

    /// The group the capsule says it is sealed to. A claim until [`Capsule::check`].
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The label the capsule says it carries. A claim until [`Capsule::check`].
    pub const fn label(&self) -> Label {
        self.label
    }

    /// Checks that the capsule is sealed to `group`, carries `label`, and that its maker knew
    /// what was encrypted (the TDH2 validity proof).
    pub fn check(&self, group: &Group, label: &Label) -> Result<CheckedCapsule, CapsuleError> {
        if self.group != group.id() {
            return Err(CapsuleError::OtherGroup { found: self.group, expected: group.id() });
        }
        if self.label != *label {
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
        Ok(CheckedCapsule { capsule: self.clone() })
    }

    fn challenge_for(&self, group: &Group, w: &RistrettoPoint, w_bar: &RistrettoPoint) -> Scalar {
        let mut t = Writer::new();
        t.u8(SUITE)
            .raw(&group.key())
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .raw(&self.masked_key)
            .raw(&self.commitment)
            .bytes(&self.sealed)
            .bytes(&[])
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
}

impl CheckedCapsule {
    /// The capsule as it was received.
    pub const fn capsule(&self) -> &Capsule {
        &self.capsule
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

    /// `K_s`, given the group's secret times `u`.
    pub(crate) fn unmask(&self, shared: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(xor(&self.capsule.masked_key, &mask(shared)))
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
        BAD_ENCODINGS, Seeded, changed_labels, hex32, label_fields, three_of_five,
    };

    fn sealed(payload: &[u8]) -> (Group, Label, Capsule) {
        let (group, _) = three_of_five("capsule");
        let label = label_fields(group.id()).label().expect("a label");
        let capsule =
            Capsule::seal(&group, &label, payload, &mut Seeded::new("capsule")).expect("seals");
        (group, label, capsule)
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

    fn refusal(bytes: &[u8], group: &Group, label: &Label) -> CapsuleError {
        Capsule::decode(bytes)
            .and_then(|capsule| capsule.check(group, label))
            .expect_err("an altered capsule is refused")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_sealed_decodes_to_itself_and_checks(payload in prop::collection::vec(any::<u8>(), 0..MAX_PAYLOAD)) {
            let (group, label, capsule) = sealed(&payload);
            let bytes = capsule.encode();
            prop_assert_eq!(bytes.len(), MAX_CAPSULE - MAX_PAYLOAD + payload.len());
            let decoded = Capsule::decode(&bytes).expect("decodes");
            prop_assert_eq!(&decoded, &capsule);
            prop_assert_eq!((decoded.group(), decoded.label()), (group.id(), label));
            let checked = decoded.check(&group, &label).expect("checks");
            prop_assert_eq!(checked.capsule(), &capsule);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Capsule::decode(&bytes).is_err());
            if let Some(first) = bytes.first_mut() {
                *first = SUITE;
            }
            prop_assert!(Capsule::decode(&bytes).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_is_refused_before_a_quorum_is_asked() {
        let (group, label, capsule) = sealed(b"root reference");
        let bytes = capsule.encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            refusal(&bad, &group, &label);
        }
    }

    #[test]
    fn truncated_and_trailing_bytes_are_refused() {
        let (_, _, capsule) = sealed(b"root reference");
        let mut bytes = capsule.encode();
        for len in 0..bytes.len() {
            let err = Capsule::decode(&bytes[..len]).expect_err("refused");
            assert!(matches!(err, CapsuleError::Malformed(WireError::Truncated { .. })), "{len}");
        }
        bytes.push(0);
        assert_eq!(
            Capsule::decode(&bytes),
            Err(CapsuleError::Malformed(WireError::Trailing { extra: 1 }))
        );
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
        let (group, label, capsule) = sealed(b"x");
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
        assert_eq!(refusal(&shifted.encode(), &group, &label), CapsuleError::Proof);
        let scaled = Capsule {
            u: Element::of(capsule.u.point() * t).expect("point"),
            u_bar: Element::of(capsule.u_bar.point() * t).expect("point"),
            ..capsule
        };
        assert_eq!(refusal(&scaled.encode(), &group, &label), CapsuleError::Proof);
    }

    #[test]
    fn a_proof_over_unequal_logarithms_is_refused() {
        // u-bar with another exponent than u: the forger runs the honest prover for u alone.
        let (group, label, honest) = sealed(b"x");
        let mut forged = honest.clone();
        let (r, s) = (Scalar::from(5_u64), Scalar::from(6_u64));
        forged.u = Element::of(RistrettoPoint::mul_base(&r)).expect("point");
        forged.u_bar = Element::of(second_generator() * (r + Scalar::ONE)).expect("point");
        let (w, w_bar) = (RistrettoPoint::mul_base(&s), second_generator() * s);
        forged.challenge = forged.challenge_for(&group, &w, &w_bar);
        forged.response = s + r * forged.challenge;
        assert_eq!(refusal(&forged.encode(), &group, &label), CapsuleError::Proof);
    }

    #[test]
    fn a_capsule_answers_to_one_label_only() {
        let (group, label, capsule) = sealed(b"x");
        for (name, fields) in changed_labels(&label_fields(group.id())) {
            let other = fields.label().expect("a label");
            assert_eq!(
                capsule.check(&group, &other).expect_err("refused"),
                CapsuleError::OtherLabel,
                "{name}"
            );
            let relabelled = with_field(&capsule, 1, other.0);
            assert_eq!(refusal(&relabelled, &group, &other), CapsuleError::Proof, "{name}");
        }
        capsule.check(&group, &label).expect("its own label");
    }

    #[test]
    fn a_capsule_answers_to_one_group_only() {
        let (group, label, capsule) = sealed(b"x");
        let (other, _) = three_of_five("another group");
        assert_eq!(
            capsule.check(&other, &label).expect_err("refused"),
            CapsuleError::OtherGroup { found: group.id(), expected: other.id() }
        );
        let moved = with_field(&capsule, 0, other.id().0);
        assert_eq!(refusal(&moved, &other, &label), CapsuleError::Proof);
    }

    #[test]
    fn unknown_suites_and_a_filled_pq_section_are_refused() {
        let (_, _, capsule) = sealed(b"x");
        let mut bytes = capsule.encode();
        for suite in [0, 2, 255] {
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
    }

    #[test]
    fn lengths_of_the_payload_are_bounded() {
        let (group, label, capsule) = sealed(b"");
        let mut rng = Seeded::new("long");
        assert_eq!(
            Capsule::seal(&group, &label, &[0; MAX_PAYLOAD + 1], &mut rng),
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
