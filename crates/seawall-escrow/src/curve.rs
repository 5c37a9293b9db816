//! ristretto255 (RFC 9496) as this room uses it: strict decoding, hashing, interpolation.
//!
//! Points that came from outside are [`Element`]s: canonical and never the identity, checked
//! once where they enter. Scalars from outside are canonical. Hashes are BLAKE3 in `derive_key`
//! mode, so the context string separates every use; 64 bytes of output are reduced modulo the
//! group order, which leaves a bias below 2^-250.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use seawall_base::Rng;
use zeroize::{Zeroize, Zeroizing};

/// The string whose SHA-512 is mapped to the second generator.
const SECOND_GENERATOR: &[u8] = b"seawall 2026-11 tdh2 second generator v1";

static SECOND: LazyLock<RistrettoPoint> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA512, SECOND_GENERATOR);
    RistrettoPoint::from_uniform_bytes(hash.as_ref().try_into().expect("SHA-512 gives 64 bytes"))
});

/// The second generator: nobody knows its discrete logarithm to the base point, because it is the
/// one-way map of RFC 9496 section 4.3.4 applied to SHA-512 of a fixed string.
pub(crate) fn second_generator() -> &'static RistrettoPoint {
    &SECOND
}

/// A group element and its one encoding; never the identity.
#[derive(Clone, Copy)]
pub(crate) struct Element {
    bytes: [u8; 32],
    point: RistrettoPoint,
}

impl Element {
    /// Decodes 32 bytes; `None` for a non-canonical encoding, a non-member and the identity.
    pub(crate) fn decode(bytes: [u8; 32]) -> Option<Self> {
        let point = CompressedRistretto(bytes).decompress()?;
        (!point.is_identity()).then_some(Self { bytes, point })
    }

    /// Wraps a computed point; `None` for the identity.
    pub(crate) fn of(point: RistrettoPoint) -> Option<Self> {
        (!point.is_identity()).then(|| Self { bytes: point.compress().to_bytes(), point })
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(crate) const fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

/// The scalar's bytes if they are its canonical encoding (below the group order).
pub(crate) fn decode_scalar(bytes: [u8; 32]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(bytes).into_option()
}

/// A uniform scalar other than zero.
pub(crate) fn random_scalar(rng: &mut dyn Rng) -> Zeroizing<Scalar> {
    loop {
        let mut wide = Zeroizing::new([0; 64]);
        rng.fill(wide.as_mut_slice());
        let scalar = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
        if *scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

/// BLAKE3 `derive_key(context, input)` extended to 64 bytes and reduced modulo the group order.
pub(crate) fn hash_to_scalar(context: &str, input: &[u8]) -> Scalar {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(input);
    let mut wide = Zeroizing::new([0; 64]);
    hasher.finalize_xof().fill(wide.as_mut_slice());
    hasher.zeroize();
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// A polynomial in the exponent, given by its values at distinct indices (Lagrange).
///
/// Not constant-time in its inputs, which are public: verification shares and partials.
pub(crate) struct Polynomial {
    indices: Vec<Scalar>,
    /// The inverse of each index's product of differences to all others.
    weights: Vec<Scalar>,
    values: Vec<RistrettoPoint>,
}

impl Polynomial {
    /// The polynomial of least degree through `points`: pairs of a distinct index and a value.
    pub(crate) fn through(points: &[(u16, RistrettoPoint)]) -> Self {
        let indices: Vec<_> = points.iter().map(|(index, _)| Scalar::from(*index)).collect();
        let differences = |i: usize| {
            let others = indices.iter().enumerate().filter(|(j, _)| *j != i);
            others.map(|(_, x)| indices[i] - x).product::<Scalar>()
        };
        let mut weights: Vec<_> = (0..indices.len()).map(differences).collect();
        Scalar::invert_batch_alloc(&mut weights);
        let values = points.iter().map(|(_, value)| *value).collect();
        Self { indices, weights, values }
    }

    /// The value at `x`; at zero, the group's key or what it makes of a capsule.
    pub(crate) fn at(&self, x: u16) -> RistrettoPoint {
        let x = Scalar::from(x);
        // Each coefficient's numerator is the product of all other differences: those before
        // its index times those after.
        let mut coefficients = self.weights.clone();
        let mut before = Scalar::ONE;
        for (coefficient, index) in coefficients.iter_mut().zip(&self.indices) {
            *coefficient *= before;
            before *= x - index;
        }
        let mut after = Scalar::ONE;
        for (coefficient, index) in coefficients.iter_mut().zip(&self.indices).rev() {
            *coefficient *= after;
            after *= x - index;
        }
        RistrettoPoint::vartime_multiscalar_mul(coefficients, &self.values)
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;

    use super::*;
    use crate::testkit::hex32;

    #[test]
    fn small_multiples_of_the_generator_match_rfc_9496_appendix_a_1() {
        let expected = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
            "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
            "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
            "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
            "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
            "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
            "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
            "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
            "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
            "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
            "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
            "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
            "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
            "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
            "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
        ];
        for (multiple, text) in expected.into_iter().enumerate() {
            let point = RISTRETTO_BASEPOINT_POINT * Scalar::from(multiple as u64);
            assert_eq!(point.compress().to_bytes(), hex32(text), "{multiple} B");
            assert_eq!(Element::decode(hex32(text)).is_some(), multiple != 0, "{multiple} B");
        }
        assert!(Element::of(RistrettoPoint::default()).is_none());
    }

    #[test]
    fn the_bad_encodings_of_rfc_9496_appendix_a_2_are_refused() {
        for text in crate::testkit::BAD_ENCODINGS {
            assert!(Element::decode(hex32(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn the_one_way_map_matches_rfc_9496_appendix_a_3() {
        let hash = digest::digest(
            &digest::SHA512,
            b"Ristretto is traditionally a short shot of espresso coffee",
        );
        let point = RistrettoPoint::from_uniform_bytes(hash.as_ref().try_into().expect("64"));
        assert_eq!(
            point.compress().to_bytes(),
            hex32("3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46")
        );
        assert!(Element::of(*second_generator()).is_some());
        assert_ne!(*second_generator(), RISTRETTO_BASEPOINT_POINT);
    }

    #[test]
    fn scalars_at_and_above_the_group_order_are_refused() {
        let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        assert!(decode_scalar(order).is_none());
        let mut below = order;
        below[0] -= 1;
        assert_eq!(decode_scalar(below), Some(-Scalar::ONE));
        assert!(decode_scalar([0xff; 32]).is_none());
    }

    #[test]
    fn interpolation_recovers_a_polynomial_at_any_index() {
        // f(x) = 5 + 3x + 7x^2 through 1, 4 and 9.
        let f = |x: u64| Scalar::from(5 + 3 * x + 7 * x * x);
        let points: Vec<_> =
            [1, 4, 9].map(|x| (x as u16, RISTRETTO_BASEPOINT_POINT * f(x))).to_vec();
        for at in [0, 2, 9, 255] {
            let expected = RISTRETTO_BASEPOINT_POINT * f(u64::from(at));
            assert_eq!(Polynomial::through(&points).at(at), expected, "at {at}");
        }
    }
}
