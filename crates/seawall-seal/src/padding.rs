//! Padmé padding (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", `PoPETs` 2019, §4): lengths keep O(log log n) bits.

/// The padded length of `len` bytes; at most 12 % longer.
///
/// Lengths below 64 are raised to 64 first: short pieces would otherwise keep their exact length.
pub fn padme(len: usize) -> usize {
    let len = len.max(64) as u64;
    let exponent = u64::from(len.ilog2());
    let mantissa_bits = u64::from(exponent.ilog2()) + 1;
    let low_bits = exponent - mantissa_bits;
    let mask = (1u64 << low_bits) - 1;
    ((len + mask) & !mask) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::padme;

    #[test]
    fn examples() {
        // Reference values computed from the paper's definition by hand.
        for (len, padded) in
            [(0, 64), (64, 64), (65, 72), (1_000, 1_024), (1_024, 1_024), (1_025, 1_088)]
        {
            assert_eq!(padme(len), padded, "padme({len})");
        }
    }

    proptest! {
        #[test]
        fn never_shrinks_is_idempotent_monotonic_and_cheap(len in 64usize..20_000_000) {
            let padded = padme(len);
            prop_assert!(padded >= len);
            prop_assert!(padded as f64 <= len as f64 * 1.12 + 8.0);
            prop_assert_eq!(padme(padded), padded);
            prop_assert!(padme(len + 1) >= padded);
        }
    }
}
