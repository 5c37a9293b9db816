//! One custodian's share of a group's secret.
//!
//! The scalar leaves this type only as zeroizing bytes for a sealed share file. `Debug` shows the
//! index and nothing else.

use std::fmt;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::curve::decode_scalar;

/// Why bytes are no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Index zero would be the group's secret itself.
    #[error("share index is 0; indices start at 1")]
    ZeroIndex,
    /// Not the canonical encoding of a scalar other than zero.
    #[error("share scalar is zero or not canonically encoded")]
    Scalar,
}

/// A share: the value of the group's secret polynomial at `index`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretShare {
    #[zeroize(skip)]
    index: u16,
    scalar: Scalar,
}

impl SecretShare {
    /// A share from its index and canonical little-endian scalar (RFC 9496 section 4.4).
    pub fn from_bytes(index: u16, scalar: &[u8; 32]) -> Result<Self, ShareError> {
        if index == 0 {
            return Err(ShareError::ZeroIndex);
        }
        match decode_scalar(*scalar) {
            Some(scalar) if scalar != Scalar::ZERO => Ok(Self { index, scalar }),
            _ => Err(ShareError::Scalar),
        }
    }

    /// The custodian's index in the group, 1 or more.
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// The scalar's canonical bytes, for a sealed share file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }

    /// The public verification share: the base point times the scalar.
    pub fn verification_share(&self) -> [u8; 32] {
        RistrettoPoint::mul_base(&self.scalar).compress().to_bytes()
    }

    pub(crate) const fn scalar(&self) -> &Scalar {
        &self.scalar
    }
}

impl fmt::Debug for SecretShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretShare").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_non_canonical_shares_are_refused() {
        assert_eq!(SecretShare::from_bytes(0, &[1; 32]).err(), Some(ShareError::ZeroIndex));
        assert_eq!(SecretShare::from_bytes(1, &[0; 32]).err(), Some(ShareError::Scalar));
        assert_eq!(SecretShare::from_bytes(1, &[0xff; 32]).err(), Some(ShareError::Scalar));
        let mut two = [0; 32];
        two[0] = 2;
        let share = SecretShare::from_bytes(7, &two).expect("a share");
        assert_eq!(*share.to_bytes(), two);
        assert_eq!(format!("{share:?}"), "SecretShare { index: 7, .. }");
    }
}
