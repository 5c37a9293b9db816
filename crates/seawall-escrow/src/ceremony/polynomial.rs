//! Secret polynomials, and commitments to them in the exponent (Feldman 1987).
//!
//! What a dealer publishes fixes its polynomial: whoever receives a value checks it against the
//! commitments alone, so a dealer that gives out a wrong value is named by whoever got it. The
//! lowest term may be left out of what is published where everyone knows it already.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use seawall_base::Rng;
use zeroize::Zeroizing;

use crate::ceremony::CeremonyError;
use crate::curve::{Element, decode_scalar, random_scalar};

/// A polynomial's coefficients, lowest first; wiped when dropped.
pub(crate) struct Secret(Zeroizing<Vec<Scalar>>);

impl Secret {
    /// A polynomial of this constant term and otherwise random, with `terms` terms.
    pub(crate) fn random(constant: &Scalar, terms: u16, rng: &mut dyn Rng) -> Self {
        let mut all = Zeroizing::new(Vec::with_capacity(usize::from(terms)));
        all.push(*constant);
        for _ in 1..terms {
            all.push(*random_scalar(rng));
        }
        Self(all)
    }

    /// The value at `x`.
    pub(crate) fn at(&self, x: u16) -> Zeroizing<Scalar> {
        let x = Scalar::from(x);
        let mut value = Zeroizing::new(Scalar::ZERO);
        for term in self.0.iter().rev() {
            *value = *value * x + term;
        }
        value
    }

    /// Commitments to all terms from the one with this exponent.
    pub(crate) fn commitments(&self, from: usize) -> Vec<[u8; 32]> {
        let commit = |term: &Scalar| RistrettoPoint::mul_base(term).compress().to_bytes();
        self.0[from..].iter().map(commit).collect()
    }
}

/// A committed polynomial.
#[derive(Clone)]
pub(crate) struct Committed(Vec<RistrettoPoint>);

impl Committed {
    /// Decodes what dealer `index` published: points that are canonical and not the identity.
    pub(crate) fn decode(index: u16, points: &[[u8; 32]]) -> Result<Self, CeremonyError> {
        let decode = |bytes: &[u8; 32]| Element::decode(*bytes).map(|e| *e.point());
        let points: Option<Vec<_>> = points.iter().map(decode).collect();
        let why = "published a commitment that is no point of the group";
        points.map(Self).ok_or(CeremonyError::Culprit { index, why })
    }

    /// As [`Committed::decode`], with a constant term of zero in front.
    pub(crate) fn decode_zero(index: u16, points: &[[u8; 32]]) -> Result<Self, CeremonyError> {
        let mut it = Self::decode(index, points)?;
        it.0.insert(0, RistrettoPoint::identity());
        Ok(it)
    }

    /// The committed constant term.
    pub(crate) fn constant(&self) -> Option<&RistrettoPoint> {
        self.0.first()
    }

    /// The points themselves.
    pub(crate) fn into_points(self) -> Vec<RistrettoPoint> {
        self.0
    }

    /// How many terms it has.
    pub(crate) fn terms(&self) -> usize {
        self.0.len()
    }

    /// The value at `x`, in the exponent.
    pub(crate) fn at(&self, x: u16) -> RistrettoPoint {
        let x = Scalar::from(x);
        let fold = |value: RistrettoPoint, term: &RistrettoPoint| value * x + term;
        self.0.iter().rev().fold(RistrettoPoint::identity(), fold)
    }

    /// The value dealer `index` gave for `x`, if it is the committed one.
    pub(crate) fn check(
        &self,
        index: u16,
        x: u16,
        value: &[u8; 32],
    ) -> Result<Zeroizing<Scalar>, CeremonyError> {
        let value = decode_scalar(*value).map(Zeroizing::new);
        let why = "gave a share that is not the one it committed to";
        value
            .filter(|v| RistrettoPoint::mul_base(v) == self.at(x))
            .ok_or(CeremonyError::Culprit { index, why })
    }
}

/// The Lagrange coefficient of `index` at `x`, for values at the distinct `indices`.
pub(crate) fn lagrange(indices: &[u16], index: u16, x: u16) -> Scalar {
    let (x, own) = (Scalar::from(x), Scalar::from(index));
    let (mut above, mut below) = (Scalar::ONE, Scalar::ONE);
    for other in indices.iter().filter(|other| **other != index) {
        let other = Scalar::from(*other);
        above *= x - other;
        below *= own - other;
    }
    above * below.invert()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Seeded;

    #[test]
    fn values_are_the_committed_ones_and_no_others() {
        let secret = Secret::random(&Scalar::from(7_u8), 3, &mut Seeded::new("polynomial"));
        let committed = Committed::decode(1, &secret.commitments(0)).expect("points");
        assert_eq!(committed.terms(), 3);
        let seven = RistrettoPoint::mul_base(&Scalar::from(7_u8));
        assert_eq!(committed.constant(), Some(&seven));
        for x in [1, 2, 16] {
            let value = secret.at(x).to_bytes();
            assert!(committed.check(4, x, &value).is_ok());
            let Err(CeremonyError::Culprit { index: 4, .. }) = committed.check(4, x + 1, &value)
            else {
                panic!("the dealer is named")
            };
            assert!(committed.check(4, x, &[0xff; 32]).is_err());
        }
        let zero = Secret::random(&Scalar::ZERO, 3, &mut Seeded::new("zero"));
        let committed = Committed::decode_zero(1, &zero.commitments(1)).expect("points");
        assert_eq!(committed.at(0), RistrettoPoint::identity());
        assert!(committed.check(1, 5, &zero.at(5).to_bytes()).is_ok());
        assert!(Committed::decode(1, &zero.commitments(0)).is_err(), "the identity is refused");
    }

    #[test]
    fn lagrange_coefficients_interpolate() {
        let secret = Secret::random(&Scalar::from(9_u8), 3, &mut Seeded::new("lagrange"));
        let indices = [2, 5, 7];
        for x in [0, 1, 5] {
            let sum: Scalar =
                indices.iter().map(|i| *secret.at(*i) * lagrange(&indices, *i, x)).sum();
            assert_eq!(sum, *secret.at(x));
        }
    }
}
