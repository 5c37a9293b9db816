//! One custodian's answer to one request: its share of a capsule's decryption, with a proof.
//!
//! `u_i = x_i * u`, and a Chaum-Pedersen proof that the discrete logarithm of `u_i` to `u` is that
//! of the custodian's verification share to the base point. The challenge covers group id and
//! key, index, share epoch, label and `u`, so a partial answers one capsule, for one custodian,
//! under one sharing, and cannot be moved to another.
//!
//! The proof's nonce mixes the share into fresh randomness: a broken generator then does not give
//! the share away. The layout is in `docs/formats/partial.md`.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use seawall_base::wire::{Reader, WireError, Writer};
use seawall_base::{GroupId, Rng};
use zeroize::Zeroizing;

use crate::capsule::{CheckedCapsule, SUITE, read_element, read_scalar};
use crate::curve::{Element, hash_to_scalar};
use crate::group::Group;
use crate::label::Label;
use crate::share::SecretShare;

/// Length of an encoded partial, in bytes.
pub const PARTIAL_LEN: usize = 1 + 32 + 32 + 2 + 4 + 3 * 32;

const PROOF_CONTEXT: &str = "seawall 2026-11 partial proof v1";
const NONCE_CONTEXT: &str = "seawall 2026-11 partial nonce v1";

/// Why a partial was refused, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartialError {
    /// Not the encoding of a partial.
    #[error("partial is malformed: {0}")]
    Malformed(#[from] WireError),
    /// Made by a newer version.
    #[error("partial uses suite {found}, this version knows suite {SUITE}; upgrade seawall")]
    Suite {
        /// The suite named.
        found: u8,
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
    group: GroupId,
    label: Label,
    index: u16,
    share_epoch: u32,
    value: Element,
    challenge: Scalar,
    response: Scalar,
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
            group: group.id(),
            label: *capsule.label(),
            index,
            share_epoch,
            value: Element::of(u * share.scalar())
                .expect("a non-zero multiple of a point of prime order is never the identity"),
            challenge: Scalar::ZERO,
            response: Scalar::ZERO,
        };
        let (a, b) = (u * *nonce, RistrettoPoint::mul_base(&nonce));
        partial.challenge = partial.challenge_for(capsule, group, member.share(), &a, &b);
        partial.response = *nonce + share.scalar() * partial.challenge;
        Ok(partial)
    }

    /// Decodes one partial and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, PartialError> {
        let mut r = Reader::new(bytes);
        let suite = r.u8()?;
        if suite != SUITE {
            return Err(PartialError::Suite { found: suite });
        }
        let group = GroupId(r.array()?);
        let label = Label(r.array()?);
        let index = r.u16()?;
        if index == 0 {
            return Err(r.invalid("custodian index").into());
        }
        let partial = Self {
            group,
            label,
            index,
            share_epoch: r.u32()?,
            value: read_element(&mut r, "point u_i")?,
            challenge: read_scalar(&mut r, "scalar e_i")?,
            response: read_scalar(&mut r, "scalar f_i")?,
        };
        r.finish()?;
        Ok(partial)
    }

    /// The partial's [`PARTIAL_LEN`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(SUITE)
            .raw(self.group.as_bytes())
            .raw(&self.label.0)
            .u16(self.index)
            .u32(self.share_epoch)
            .raw(self.value.bytes())
            .raw(self.challenge.as_bytes())
            .raw(self.response.as_bytes());
        w.into_vec()
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
        t.u8(SUITE)
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
