//! AES-128's key schedule by instructions, for both fast paths.

#![allow(unsafe_code)] // Entering a function that needs CPU features; see `Schedule::new`.

use std::arch::x86_64::{
    __m128i, _mm_aesdeclast_si128, _mm_aeskeygenassist_si128, _mm_cvtsi128_si64, _mm_set_epi64x,
    _mm_setzero_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_unpackhi_epi64, _mm_xor_si128,
};
use std::is_x86_feature_detected;

use zeroize::ZeroizeOnDrop;

/// Round keys of AES-128.
#[derive(ZeroizeOnDrop)]
pub(super) struct Schedule {
    /// Keys of the first addition and of rounds 1 to 9.
    pub(super) rounds: [u128; 10],
    /// The state before round 10 for which the block is zero.
    pub(super) before_zero: u128,
}

impl Schedule {
    /// Nothing where the CPU lacks AES-NI.
    pub(super) fn new(key: &[u8; 16]) -> Option<Self> {
        // SAFETY: the feature is there.
        is_x86_feature_detected!("aes").then(|| unsafe { Self::expand(key) })
    }

    /// FIPS 197, 5.2, by instructions: no table that the key would index.
    #[target_feature(enable = "aes")]
    fn expand(key: &[u8; 16]) -> Self {
        let k0 = from_u128(u128::from_le_bytes(*key));
        let k1 = next::<0x01>(k0);
        let k2 = next::<0x02>(k1);
        let k3 = next::<0x04>(k2);
        let k4 = next::<0x08>(k3);
        let k5 = next::<0x10>(k4);
        let k6 = next::<0x20>(k5);
        let k7 = next::<0x40>(k6);
        let k8 = next::<0x80>(k7);
        let k9 = next::<0x1b>(k8);
        let k10 = next::<0x36>(k9);
        let rounds = [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9].map(|key| to_u128(key));
        let before_zero = to_u128(_mm_aesdeclast_si128(k10, _mm_setzero_si128()));
        Self { rounds, before_zero }
    }

    /// Of the key of round 9, columns 0 and 3, twice: for a round that two blocks share.
    pub(super) fn shared(&self) -> u128 {
        let column = |i: u32| u128::from((self.rounds[9] >> (32 * i)) as u32);
        let pair = column(0) | column(3) << 32;
        pair | pair << 64
    }

    /// Of `before_zero`, the bytes that decide after that round: 3 and 14 of the first block; 11
    /// and 6, the same ones swapped, of the second.
    pub(super) fn deciding(&self) -> u128 {
        let byte = |i: u32| self.before_zero >> (8 * i) & 0xff;
        let zero = byte(3) << 24 | byte(14) << 48;
        zero | zero << 64
    }
}

#[target_feature(enable = "aes")]
fn next<const RCON: i32>(key: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<RCON>(key));
    let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    let key = _mm_xor_si128(key, _mm_slli_si128::<8>(key));
    _mm_xor_si128(key, word)
}

#[target_feature(enable = "sse2")]
pub(super) fn from_u128(x: u128) -> __m128i {
    _mm_set_epi64x((x >> 64) as i64, x as i64)
}

#[target_feature(enable = "sse2")]
fn to_u128(x: __m128i) -> u128 {
    let (low, high) = (_mm_cvtsi128_si64(x), _mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x)));
    u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned())
}
